#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""A broadcast storm and an ARP flood from 100,000 MACs, 50,000 packets a second each, with a full MAC table: registered VMs
keep their sessions and their gateway, and memory stays bounded.

    stream (world) --- memif --- rx --- memif --- stream (32 VMs, and the storm)
                                 || \--- a second port of the segment, to which floods go, too
                                 ||
                                 peer, by the world: its copies of the floods come back to the stream, which ignores them

10,000 packets a second each way, every one numbered. The stream and the control thread share CPU 0; CPU 1 forwards.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import Lab, program, run, wait_for
from router import Router, base_config
from stream import Stream, memif

PPS, STORM_PPS, STORM_MACS, VMS, MACS = 10000, 50000, 100000, 32, 4096
SECONDS = 2.0  # half of a count
LOSS = 0.001
GROWTH_KB = 4096
GATEWAY, GATEWAY_MAC = '10.1.0.1', '02:00:5e:00:00:01'

lab = Lab('storm')
lab.ns('rx')
c = base_config('r-x', 'x', '02:4e:57:00:00:01', '127.0.0.1', vtep='198.51.100.1')
c['dataplane']['poll'] = 'busy'
c['limits'] = {'vms': 1024, 'routes': 64, 'neighbours': 64, 'macs': MACS, 'sessions': 16384, 'rx-ring': 8192}
c['ports'] = [{'name': 'wan0', 'device': memif(lab, 0, 'server'), 'role': 'wan', 'address': '198.51.100.1/24'},
              {'name': 'dc0', 'device': memif(lab, 1, 'server'), 'role': 'dc'},
              {'name': 'dc1', 'device': 'net_null0,no-rx=1', 'role': 'dc'}]
c['segments'] = [{'name': 'blue', 'vni': 100, 'prefix': '10.1.0.0/16', 'gateway': {'address': GATEWAY, 'mac': GATEWAY_MAC},
                  'attachments': [{'port': 'dc0'}, {'port': 'dc1'}]}]
c['pools'] = [{'name': 'pool-x', 'prefix': '203.0.0.0/16'}]
c['routes'] = [{'prefix': '0.0.0.0/0', 'via': '198.51.100.254'}]
router = Router(lab, 'rx', c, nice=-15)
peer_key = run([program('nearwayd'), 'keygen', os.path.join(lab.dir, 'peer.key')]).stdout.split()[-1]
c['peers'] = [{'name': 'r-y', 'key': peer_key, 'address': '127.0.0.1:7999',
               'vtep': '198.51.100.2', 'mac': '02:4e:57:00:00:02'}]
router.start()


def vm(i):
    return f'52:54:00:00:00:{i + 1:02x}', f'10.1.0.{i + 10}', f'203.0.0.{i + 10}'


def rss_kb():
    with open(f'/proc/{router.process.pid}/status', encoding='ascii') as f:
        return int(next(line for line in f if line.startswith('VmRSS')).split()[1])


def counted():
    """Packets to VMs and from them, as the router counts what it has handled of each."""
    rows = router.rows('counters')
    return {'down': sum(r['to-packets'] for r in rows), 'up': sum(r['from-packets'] for r in rows)}


def grown(before, after):
    return {k: after[k] - before.get(k, 0) for k in after if after[k] != before.get(k, 0)}


for i in range(VMS):
    mac, ip, glob = vm(i)
    router.call('vm.register', segment='blue', mac=mac, addresses=[{'private': ip, 'global': glob}])
stream = Stream(lab, router, GATEWAY_MAC, vm(0), (PPS, PPS), VMS, GATEWAY, STORM_PPS, STORM_PPS, STORM_MACS)


def loss(last):
    """The share of each way's packets that did not arrive, once and as the VM that they belong to."""
    return {way: 1 - (last[way]['received'] - last[way]['wrong'] - last[way]['late']) / last[way]['sent'] for way in ('down', 'up')}


with case('in calm weather not one packet is lost'):
    calm = stream.count(0.5)[-1]
    expect(loss(calm) == {'down': 0, 'up': 0}, f'{calm}; {router.drops()}')

stream.storm()
with case('the storm fills the MAC table'):
    wait_for('the MAC table is full', lambda: router.call('show.status')['tables']['macs'] == MACS, 20)

before = stream.count(SECONDS)[-1]  # every packet buffer has been used once: from now on memory must stay as it is
kb, drops, handled = rss_kb(), router.drops(), counted()
last = stream.count(SECONDS)[-1]
drops, handled = grown(drops, router.drops()), grown(handled, counted())

with case(f'it blows: {STORM_PPS:,} broadcasts and {STORM_PPS:,} ARP questions a second from {STORM_MACS:,} MACs'):
    seconds = (last['us'] - before['us']) / 1e6
    for kind in ('broadcasts', 'arp'):
        sent, refused = (last[kind][k] - before[kind][k] for k in ('sent', 'refused'))
        taken = sent - refused
        print(f'   {taken / seconds:,.0f} {kind} a second, {refused} not taken')
        expect(taken / seconds > 0.95 * STORM_PPS, f'{kind}: {taken / seconds:,.0f} a second')

with case('amid the storm registered VMs lose less than one packet in a thousand, end to end'):
    print(f"   {last['down']['sent']:,} packets down, {last['up']['sent']:,} up, lost {loss(last)}; drops {drops}")
    expect(max(loss(last).values()) < LOSS, f'{last}; drops {drops}; {router.rows("ports")}')

with case('and by the router\'s own counters: all of them were handled, and no queue ran over'):
    sent = last['down']['sent'], last['up']['sent']
    expect(handled['down'] >= (1 - LOSS) * sent[0] and handled['up'] >= (1 - LOSS) * sent[1], f'{sent}: {handled}')
    over = sum(drops.get(k, 0) for k in ('tx_full', 'no_mbuf', 'inject_full', 'hold_full'))
    expect(over < LOSS * sum(sent), f'{drops}')

with case('a VM that asks for its gateway is answered amid the ARP flood'):
    asked, answered = last['asks']['sent'] - before['asks']['sent'], last['answered'] - before['answered']
    expect(answered >= 0.95 * asked > 0, f'{answered} of {asked}')

with case('memory stays as it is'):
    print(f'   {kb} KB, {rss_kb() - kb:+} KB')
    expect(rss_kb() - kb < GROWTH_KB, f'{kb} KB before, {rss_kb()} after')

with case('every packet is accounted for'):
    expect(router.imbalance() == 0, f'{router.imbalance()} packets')

finish(router.process, stream.process)
