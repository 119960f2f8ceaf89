#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Looking into a running router: trace, capture, explain and the counters of VMs, held against what really happens.

    world 192.0.2.10 --- 192.0.2.1 rx --- dcx switch --- vm 10.1.0.10       = 203.0.113.10
                                                    \--- other 10.1.0.11    = 203.0.113.11
                                                     \-- stranger 10.1.0.66   nobody registered it
"""
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import program, wait_for
from onesite import GATEWAY_MAC, HOSTS, ROUTER, WORLD, OneSite
from scapy.all import ARP, ICMP, IP, UDP, Ether, Raw
from scapy.utils import RawPcapNgReader

lab = OneSite('seeing')
router = lab.start()
VM, VM_MAC, VM_GLOBAL = HOSTS['vm']
STRANGER_MAC = HOSTS['stranger'][1]
FILE = os.path.join(lab.dir, 'out.pcapng')
lab.ping('vm', WORLD, 2)  # neighbours are known


def nearway(*words):
    """The CLI, started; it has begun to watch when this returns."""
    p = subprocess.Popen([program('nearway'), '-s', router.socket, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True)
    time.sleep(0.4)
    return p


def end(p, seconds=10):
    out, err = p.communicate(timeout=seconds)
    return p.returncode, out, err


def stages(story):
    return [step['stage'] for step in story['path']]


def explain(*words):
    return json.loads(router.cli('explain', *words, '--json').stdout)['rows']


with case('a trace of a ping through NAT tells each stage and what it decided'):
    p = nearway('trace', 'vm', VM_MAC, 'proto', 'icmp', 'count', '2')
    lab.ping('vm', WORLD, 1)
    code, out, err = end(p)
    expect(code == 0, f'{code} {err}')
    for line in (f'{VM} > {WORLD}, icmp echo request', f'VM {VM_MAC} of segment blue, owner this router',
                 f'source {VM} -> {VM_GLOBAL}', f'next hop {WORLD} by wan0; ', 'sent by wan0',
                 f'destination {VM_GLOBAL} -> {VM}', 'sent by dc0'):
        expect(line.rstrip('; ') in out, f'no "{line}" in\n{out}')
    print(out)

with case('a trace as JSON is one object for each packet'):
    p = nearway('--json', 'trace', 'host', WORLD, 'proto', 'icmp', 'count', '2')
    lab.ping('vm', WORLD, 1)
    stories = [json.loads(line) for line in end(p)[1].splitlines()]
    expect([stages(s) for s in stories] == [
        ['classify', 'segment', 'gateway', 'nat-out', 'route', 'neighbour', 'tx'],
        ['classify', 'wan', 'nat-in', 'to-vm', 'tx']], f'{stories}')
    expect([(s['end'], s['by']) for s in stories] == [('sent', 'wan0'), ('sent', 'dc0')], f'{stories}')

spoofed = Ether(src=STRANGER_MAC, dst=GATEWAY_MAC) / IP(src=VM, dst=WORLD) / UDP(sport=7002, dport=7002) / Raw(b'x' * 20)

with case('a trace tells why a packet is dropped'):
    p = nearway('trace', 'mac', STRANGER_MAC, 'count', '1')
    lab.probe('stranger').call('send', dev='eth0', frame=bytes(spoofed).hex(), n=1)
    out = end(p)[1]
    expect('dropped: spoofed (source MAC and IP are not one registered VM' in out, out)

with case('a packet that waits for its next hop is shown as held, or with its end'):
    p = nearway('--json', 'trace', 'host', '192.0.2.77', 'proto', 'icmp', 'wait', '2s')
    lab.ping('vm', '192.0.2.77', 1)
    stories = [json.loads(line) for line in end(p)[1].splitlines()]
    ends = {s['end'] for s in stories}
    expect(ends <= {'held', 'dropped'} and ends, f'{stories}')

with case('a trace ends in time though nothing comes, and when its client is interrupted'):
    started = time.monotonic()
    code, out, err = end(nearway('trace', 'host', '198.18.0.1', 'wait', '1s'))
    expect(code == 0 and out == '' and time.monotonic() - started < 5, f'{code} {out} {err}')
    p = nearway('trace', 'host', '198.18.0.1')
    p.send_signal(signal.SIGINT)
    expect(end(p)[0] == 0, 'Ctrl-C is no failure')

with case('one watches at a time, and whoever is killed gives way'):
    p = nearway('trace', 'host', '198.18.0.1')
    r = router.cli('trace', 'wait', '1s', check=False)
    expect(r.returncode == 1 and 'another trace or capture is on' in r.stderr, f'{r}')
    p.kill()
    p.wait()
    wait_for('the watch is given up', lambda: router.cli('trace', 'host', '198.18.0.1', 'wait', '1ms', check=False).returncode == 0, 5)

with case('scapy reads a capture: the same packet before and after, and a drop with its reason'):
    p = nearway('capture', FILE, 'mac', STRANGER_MAC, 'count', '2', 'at', 'rx,drop')
    lab.probe('stranger').call('send', dev='eth0', frame=bytes(spoofed).hex(), n=1)
    code, out, err = end(p)
    expect(code == 0 and '2 packets in' in err, f'{code} {out} {err}')
    packets = list(RawPcapNgReader(FILE))
    expect([Ether(d)[Raw].load for d, _ in packets] == [b'x' * 20] * 2, f'{packets}')
    comments = [getattr(meta, 'comment', None) for _, meta in packets]
    expect(comments[0] is None and comments[1] == b'dropped: spoofed', f'{comments}')

with case('tcpdump reads a capture of what was received and sent, with the right times'):
    p = nearway('capture', FILE, 'vm', VM_MAC, 'proto', 'icmp', 'count', '4', 'at', 'rx,tx')
    now = time.time()
    lab.ping('vm', WORLD, 1)
    code, out, err = end(p)
    expect(code == 0, err)
    lines = subprocess.run(['tcpdump', '-n', '-tt', '-r', FILE], capture_output=True, text=True, check=True).stdout.splitlines()
    ways = [line.split(' IP ')[1].split(': ')[0] for line in lines]
    expect(ways == [f'{VM} > {WORLD}', f'{VM_GLOBAL} > {WORLD}', f'{WORLD} > {VM_GLOBAL}', f'{WORLD} > {VM}'], f'{lines}')
    expect(all(abs(float(line.split()[0]) - now) < 2 for line in lines), f'{now} {lines}')

with case('explain agrees with what happens, and sends and counts nothing'):
    before = (router.call('show.status')['packets'], router.drops(), router.rows('counters'))
    ping = explain('port', 'dc0', 'src', VM, 'dst', WORLD)
    drop = explain('port', 'dc0', 'smac', STRANGER_MAC, 'dmac', GATEWAY_MAC, 'src', VM, 'dst', WORLD)
    hexed = explain('port', 'dc0', 'hex', bytes(spoofed).hex())
    back = explain('port', 'wan0', 'src', WORLD, 'dst', VM_GLOBAL, 'proto', 'tcp', 'sport', '1', 'dport', '80')
    ttl = explain('port', 'wan0', 'src', WORLD, 'dst', VM_GLOBAL, 'ttl', '1')
    arp = explain('port', 'dc0', 'ethertype', 'arp', 'src', VM, 'dst', '10.1.0.1')
    after = (router.call('show.status')['packets'], router.drops(), router.rows('counters'))
    expect(before == after, f'{before}\n{after}')
    expect([(s['end'], s.get('by')) for s in ping] == [('sent', 'wan0')], f'{ping}')
    expect(stages(ping[0]) == ['classify', 'segment', 'gateway', 'nat-out', 'route', 'neighbour', 'tx'], f'{ping}')
    expect([s['reason'] for s in drop + hexed] == ['spoofed'] * 2, f'{drop} {hexed}')
    expect(f'{WORLD} > {VM}, tcp 1 > 80 [S], ttl 63' in back[0]['sent'], f'{back}')
    expect([(s.get('made'), s['end']) for s in ttl] == [(None, 'dropped'), ('icmp_error', 'sent')], f'{ttl}')
    expect(f'arp 10.1.0.1 tells {VM}' in arp[0]['sent'], f'{arp}')

with case('explain refuses what makes no packet, and says why'):
    for words, why in ((('port', 'nope'), 'there is no nope; one of: wan0, dc0'), (('port', 'dc0', 'hex', 'abc'), 'odd number'),
                       (('port', 'dc0', 'hex', 'zz'), 'not two hexadecimal digits'), (('port', 'dc0'), 'smac'),
                       (('port', 'wan0'), 'needs src and dst'),
                       (('port', 'wan0', 'src', WORLD, 'dst', ROUTER, 'proto', 'tcp', 'flags', 'X'), 'flags')):
        r = router.cli('explain', *words, check=False)
        expect(r.returncode == 1 and why in r.stderr, f'{words}: {r}')

with case('the counters of a VM are what it sent and got'):
    def vm():
        return next(r for r in router.rows('counters') if r['mac'] == VM_MAC)
    before = vm()
    lab.ping('vm', WORLD, 10)
    after = vm()
    grown = {k: after[k] - before[k] for k in ('from-packets', 'to-packets', 'from-bytes', 'to-bytes')}
    expect(10 <= grown['from-packets'] <= 12 and 10 <= grown['to-packets'] <= 12, f'{grown}')
    expect(980 <= grown['from-bytes'] <= 1160 and 980 <= grown['to-bytes'] <= 1160, f'{grown}')

with case('a VM registered anew starts at zero'):
    router.call('vm.unregister', segment='blue', mac=VM_MAC, epoch=0)
    lab.register('vm')
    expect(vm()['from-packets'] <= 2, f'{vm()}')
    expect(lab.ping('vm', WORLD, 3) == 3, 'it does not work')

with case('the router is alive and every packet is accounted for'):
    expect(router.alive(), 'it ended')
    expect(router.imbalance() == 0, f'{router.imbalance()} packets')

finish(router.process)
