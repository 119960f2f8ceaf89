#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""1,000 VMs move in one batch while a numbered stream of more than 100,000 packets a second passes to an unmoved VM.

    stream (world) --- memif --- rx --- memif --- stream (the VM)        every packet numbered, both ways
                                 || control channel
                                 ry                                      the VMs come from Y, 1,000 at a time, 20 times

The stream and the routers' control threads share CPU 0; CPU 1 forwards. X and the stream go before whatever else the machine
does, as a router that polls has its CPU for itself; a batch that had to wait for a CPU all the same says so and is done again.
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import Lab, wait_for, waited_ms
from router import Router, base_config
from stream import Stream, memif

BATCH, ROUNDS, SPARE = 1000, 20, 10  # spare: batches during which the machine had other things to do are done again
DOWN_PPS, UP_PPS, WANTED_PPS = 130000, 20000, 100000
GATEWAY_MAC, UNMOVED_MAC, UNMOVED, GLOBAL = '02:00:5e:00:00:01', '52:54:00:00:00:01', '10.1.0.10', '203.0.0.10'

lab = Lab('batch')
lab.ns('rx', 'ry')
lab.link('rx:mgmt', 'ry:mgmt')
lab.address('rx', 'mgmt', '10.255.0.1/24')
lab.address('ry', 'mgmt', '10.255.0.2/24')


def config(site, number, devices):
    c = base_config(f'r-{site}', site, f'02:4e:57:00:00:0{number}', f'10.255.0.{number}', vtep=f'198.51.100.{number}')
    c['dataplane']['poll'] = 'busy' if site == 'x' else 'adaptive'
    c['limits'] = {'vms': 32768, 'routes': 64, 'neighbours': 64, 'macs': 1024, 'sessions': 65536, 'rx-ring': 8192}
    c['ports'] = [{'name': 'wan0', 'device': devices[0], 'role': 'wan', 'address': f'198.51.100.{number}/24'},
                  {'name': 'dc0', 'device': devices[1], 'role': 'dc'}]
    c['segments'] = [{'name': 'blue', 'vni': 100, 'prefix': '10.1.0.0/16',
                      'gateway': {'address': '10.1.0.1', 'mac': GATEWAY_MAC}, 'attachments': [{'port': 'dc0'}]}]
    c['pools'] = [{'name': f'pool-{site}', 'prefix': f'203.{number - 1}.0.0/16'}]
    c['routes'] = [{'prefix': '0.0.0.0/0', 'via': '198.51.100.254'}]
    return c


x = Router(lab, 'rx', config('x', 1, (memif(lab, 0, 'server'), memif(lab, 1, 'server'))), nice=-15)
y = Router(lab, 'ry', config('y', 2, ('net_null0,no-rx=1', 'net_null1,no-rx=1')))
for a, b, n in ((x, y, 2), (y, x, 1)):
    a.config['peers'] = [{'name': b.name, 'key': b.key, 'address': f'10.255.0.{n}:7411', 'vtep': f'198.51.100.{n}',
                          'mac': b.config['router']['mac']}]
    a.start(wait=False)
x.ready()
y.ready()
x.call('vm.register', segment='blue', mac=UNMOVED_MAC, addresses=[{'private': UNMOVED, 'global': GLOBAL}])


def vm(i, net):
    """The i-th VM that moves, with its global address of site `net`."""
    host = 256 + i
    return {'segment': 'blue', 'mac': f'52:54:01:00:{i >> 8:02x}:{i & 255:02x}',
            'addresses': [{'private': f'10.1.{host >> 8}.{host & 255}', 'global': f'203.{net}.{host >> 8}.{host & 255}'}]}


def batch(router, method, first, net, **extra):
    changes = [{'method': method, 'params': {**vm(i, net), **extra}} for i in range(first, first + BATCH)]
    return router.call('txn.apply', changes=changes)


for i in range(ROUNDS + SPARE):
    batch(y, 'vm.register', i * BATCH, 1)
wait_for('X knows the VMs of Y', lambda: len(x.rows('vms', limit=2000)) == (ROUNDS + SPARE) * BATCH + 1, 120, 0.2)


def rate(samples):
    """Packets a second that arrived at the VM between the first and the last report."""
    if len(samples) < 2:
        return 0.0
    a, b = samples[0], samples[-1]
    return (b['down']['received'] - a['down']['received']) * 1e6 / (b['us'] - a['us'])


def waited():
    """For how long the packets' CPUs were somebody else's: X's workers, all threads but the first, and the stream."""
    return waited_ms(x.process.pid, but=x.process.pid) + waited_ms(stream.process.pid)


def wrong(last):
    """What is not as it was sent, by direction; empty when every packet arrived once and in order."""
    bad = {}
    for way in ('down', 'up'):
        d = last[way]
        if d['sent'] != d['received'] or any(d[k] for k in ('lost', 'refused', 'late', 'wrong')):
            bad[way] = d
    return bad


def when_lost(samples, marks):
    """Seconds into the stream at which losses grew, and whether a batch was on its way then."""
    out = []
    for a, b in zip(samples, samples[1:]):
        n = sum(b[w][k] - a[w][k] for w in ('down', 'up') for k in ('lost', 'refused'))
        if n:
            out.append((round((b['us'] - samples[0]['us']) / 1e6, 1), n, any(s <= b['us'] and a['us'] <= e for s, e in marks)))
    return out[:20]


def one_batch():
    """Moves 1,000 VMs. True when the stream ran as it should, or when nothing but the router explains that it did not."""
    spent, before = waited(), time.monotonic()
    batch(x, 'vm.move', len(marks) * BATCH, 0, **{'drain-min': '1h', 'drain-max': '2h'})
    after = time.monotonic()
    marks.append((before * 1e6, after * 1e6))
    time.sleep(0.4)
    around = [s for s in stream.reports() if before * 1e6 - 150000 <= s['us'] <= after * 1e6 + 150000]
    got, spent = rate(around), waited() - spent
    missing_ms = (after - before + 0.3) * 1e3 * (1 - got / DOWN_PPS)
    if got < WANTED_PPS and spent > missing_ms / 2:
        print(f'   once more: {got:,.0f} packets a second while worker and stream waited {spent:.0f} ms for a CPU')
        return False
    rates.append(got)
    return True


def all_batches():
    good = 0
    while good < ROUNDS and len(marks) < ROUNDS + SPARE:
        good += one_batch()


stream = Stream(lab, x, GATEWAY_MAC, (UNMOVED_MAC, UNMOVED, GLOBAL), (DOWN_PPS, UP_PPS))
marks, rates, seen = [], [], []

with case(f'{ROUNDS} batches of {BATCH} moves: not one numbered packet is lost, doubled or out of order'):
    seen = stream.count(1.0, all_batches)
    times = [(after - before) / 1e3 for before, after in marks]
    print(f"   moved 1,000 VMs in {min(times):.0f} to {max(times):.0f} ms; {seen[-1]['down']['sent']:,} packets down, "
          f"{seen[-1]['up']['sent']:,} up")
    bad = wrong(seen[-1])
    expect(not bad, f'{bad}; drops of the router: {x.drops()}; when: {when_lost(seen, marks)}')

with case(f'the stream ran at {WANTED_PPS:,} packets a second and more during every batch'):
    expect(len(rates) == ROUNDS, f'{len(marks) - len(rates)} of {len(marks)} batches while the machine had other things to do')
    expect(min(rates) >= WANTED_PPS, f'slowest batch: {min(rates):,.0f} packets a second')
    print(f'   slowest batch: {min(rates):,.0f} packets a second')

with case('all VMs that moved are owned here, with their drains'):
    rows = x.rows('vms', limit=2000)
    mine = [v for v in rows if v['owner'] == 'r-x' and v['mac'] != UNMOVED_MAC]
    expect(len(mine) == len(marks) * BATCH, f'{len(mine)} of {len(marks) * BATCH}')
    expect(all(len(v.get('drains', [])) == 1 for v in mine), 'a drain is missing')

with case('the stream can tell: taking the address away for a moment loses packets'):
    def take_away():
        x.call('nat.set', segment='blue', private=UNMOVED)
        time.sleep(0.02)
        x.call('nat.set', segment='blue', private=UNMOVED, **{'global': GLOBAL})

    last = stream.count(0.5, take_away)[-1]
    expect(last['down']['lost'] > 0, f'{last}')
    print(f"   {last['down']['lost']} packets missed")

finish(x.process, y.process, stream.process)
