#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""100,000 host routes that come, change their next hop and go while packets flow; next hops that fail and return.

                                 lo: 198.18.0.1             lo: 198.18.0.1, the same on both
                    world 192.0.2.10                far 192.0.2.20
                              \                      /
                               +----- wan switch ---+
                                         |
                                  rx 192.0.2.1 --- dcx switch --- vm 10.1.0.10 = 203.0.113.10
"""
import os
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import PYTHON, wait_for
from onesite import HOSTS, PEER, ROUTER, WORLD, OneSite
from router import Rpc, RpcError

ROUTES, BATCH = 100000, 2000
ANYCAST = '198.18.0.1'
DARK = '192.0.2.77'  # nobody, until the test says otherwise
VM_GLOBAL = HOSTS['vm'][2]

lab = OneSite('routes')
lab.ns('far')
lab.link('far:eth0', 'wan:far')
lab.ip('wan', 'link set dev far master br0')
lab.address('far', 'eth0', f'{PEER}/24')
lab.ip('far', 'route add 203.0.113.0/26 via', ROUTER)
for ns in ('world', 'far'):
    lab.ip(ns, 'addr add', f'{ANYCAST}/32 dev lo')
lab.router.config['limits']['routes'] = ROUTES + 100
lab.router.config['routes'] = [{'prefix': '0.0.0.0/0', 'via': WORLD}]
router = lab.start()
for ns in ('world', 'far'):
    lab.agent(ns).call('listen')
vm = lab.agent('vm')
vm.call('open', name='default', kind='udp', to=WORLD, rate=250)
vm.call('open', name='routed', kind='udp', to=ANYCAST, rate=250)


def prefix(i):
    return socket.inet_ntoa(struct.pack('!I', 0xc6120001 + i)) + '/32'  # from ANYCAST on


class Watch(threading.Thread):
    """Asks the router something small, again and again: the longest wait is the longest stall of its control thread."""

    def __init__(self):
        super().__init__(daemon=True)
        self.rpc, self.longest, self.over = Rpc(router.socket), 0.0, threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.005):
            t = time.monotonic()
            self.rpc.call('show.peers', limit=1)
            self.longest = max(self.longest, time.monotonic() - t)

    def end(self):
        self.over.set()
        self.join(20)
        self.rpc.close()
        return self.longest


def apply(what, changes, batch=BATCH, silent=0.5):
    """All changes in batches while packets flow; nothing may be lost, and the router never be silent for long."""
    vm.call('mark')
    watch, t = Watch(), time.monotonic()
    for i in range(0, len(changes), batch):
        router.call('txn.apply', changes=changes[i:i + batch])
    t, longest = time.monotonic() - t, watch.end()
    time.sleep(1.2)
    flows = vm.call('stats')['flows']
    print(f'   {what}: {len(changes)} in {t:.1f} s, batches of {batch}; longest stall {longest * 1e3:.0f} ms; ' +
          ', '.join(f"{n}: {f['sent']} sent, {f['lost']} lost, longest gap {f['gap_ms']:.0f} ms" for n, f in flows.items()))
    lost = {n: f['lost_seqs'] for n, f in flows.items() if f['lost']}
    expect(not lost, f'lost {lost}; {router.drops()}')
    expect(t < 60, f'{t:.0f} s')
    expect(longest < silent, f'{longest * 1e3:.0f} ms')


def replace(via, first=0, n=ROUTES):
    return [{'method': 'route.replace', 'params': {'prefix': prefix(i), 'via': via}} for i in range(first, n)]


def delete(first=0, n=ROUTES):
    return [{'method': 'route.delete', 'params': {'prefix': prefix(i)}} for i in range(first, n)]


def count():
    return router.call('show.status')['tables']['routes']


def heard_by(ns):
    """How many packets of the flow to the anycast address this host has answered."""
    flow = vm.call('stats')['flows']['routed']['flow']
    return sum(s['n'] for s in lab.agent(ns).call('stats')['echo'].get(str(flow), {}).values())


def icmp_of(n, to, gap=0.0, wait=0.5):
    """A VM sends n datagrams; which errors its kernel was told, by name."""
    script = f'''
import errno, socket, struct, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
s.connect(("{to}", 9))
end = time.monotonic() + {n} * {gap} + {wait}
told, sent = [], 0
while time.monotonic() < end:
    try:
        if sent < {n}:
            sent += 1
            s.send(b"x" * 32)
    except OSError as e: pass
    try:
        while True:
            _, extra, _, who = s.recvmsg(64, 512, 0x2000 | socket.MSG_DONTWAIT)  # MSG_ERRQUEUE
            e = struct.unpack_from("=IBBB", extra[0][2])
            told.append((e[2], e[3]))
    except OSError: pass
    time.sleep({gap} if sent < {n} else 0.02)
print(told)
'''
    return eval(lab.exec('vm', [PYTHON, '-c', script]).stdout)  # a list of (type, code)


def grown(reason, before):
    return router.drops().get(reason, 0) - before.get(reason, 0)


base = count()

with case('100,000 host routes are installed while packets flow, and none is lost'):
    time.sleep(1)
    apply('installed', replace(WORLD))
    expect(count() == base + ROUTES, f'{count()} routes')

with case('100,000 routes change their next hop, and no packet sees neither'):
    before = heard_by('far')
    apply('replaced', replace(PEER))
    expect(heard_by('far') > before, 'the new next hop got nothing')
    expect(count() == base + ROUTES, f'{count()} routes')

with case('a batch as large as a message holds is taken at once'):
    apply('replaced', replace(WORLD), 10000, 1.5)

with case('asking for what is so already changes nothing, however many'):
    revision = router.call('show.status')['revision']
    apply('asked again', replace(WORLD))
    expect(router.call('show.status')['revision'] == revision, 'the revision rose')

with case('more routes than limits.routes are refused with their whole transaction, and packets flow on'):
    vm.call('mark')
    try:
        router.call('txn.apply', changes=replace(WORLD, ROUTES, ROUTES + 101))
        expect(False, 'they were taken')
    except RpcError as e:
        expect(f'limits.routes is {ROUTES + 100}' in str(e), str(e))
    expect(count() == base + ROUTES, f'{count()} routes')
    router.call('txn.apply', changes=replace(WORLD, ROUTES, ROUTES + 50))
    router.call('txn.apply', changes=delete(ROUTES, ROUTES + 50))
    expect(count() == base + ROUTES, f'{count()} routes')

with case('after kill -9 the router has them all again'):
    router.kill9()
    t = time.monotonic()
    router.start()
    print(f'   ready after {time.monotonic() - t:.1f} s')
    expect(count() == base + ROUTES, f'{count()} routes')
    wait_for('the VM is answered', lambda: lab.ping('vm', WORLD, 1))

with case('a next hop that 40,000 of 100,000 routes left is still one'):
    apply('replaced', replace(PEER, 0, 40000))
    kept = {n['address']: n['next-hop'] for n in router.rows('neighbours')}
    expect(kept == {WORLD: True, PEER: True}, kept)

with case('a next hop that answers ARP no more: its packets earn host unreachable, others flow on'):
    vm.call('mark')
    lab.ip('wan', 'link set dev far down')
    state = lambda a: next((n['state'] for n in router.rows('neighbours') if n['address'] == a), None)
    t = time.monotonic()
    wait_for('it has failed', lambda: state(PEER) == 'failed', 40, 0.1)
    print(f'   failed after {time.monotonic() - t:.1f} s')
    before = router.drops()
    told = icmp_of(20, prefix(7)[:-3], 0.01)
    expect(told and set(told) == {(3, 1)}, f'the VM was told {told}')
    expect(grown('neighbour_failed', before) >= 20, f'{router.drops()}')
    expect(vm.call('stats')['flows']['default']['lost'] == 0, 'the flow by the other next hop lost packets')

with case('its return is found, and packets flow within 3 s'):
    lab.ip('wan', 'link set dev far up')
    t = time.monotonic()
    wait_for('it is reachable', lambda: state(PEER) == 'reachable', 5)
    vm.call('mark')
    time.sleep(1.5)
    f = vm.call('stats')['flows']['routed']
    print(f'   reachable after {time.monotonic() - t - 1.5:.1f} s')
    expect(f['answered'] > 200 and f['lost'] == 0, f)

with case('a next hop can be changed away from one that fails, at once'):
    router.call('route.replace', prefix=prefix(3), via=DARK)
    wait_for('it has failed', lambda: state(DARK) == 'failed', 8)
    expect(set(icmp_of(3, prefix(3)[:-3], 0.01)) == {(3, 1)}, 'not told')
    router.call('route.replace', prefix=prefix(3), via=WORLD)
    lab.ip('world', 'addr add', prefix(3), 'dev lo')
    expect(lab.ping('vm', prefix(3)[:-3], 5) == 5, 'not answered by the other next hop')
    router.call('route.replace', prefix=prefix(3), via=PEER)

with case('what waits for a next hop is bounded, and told when it does not answer'):
    before = router.drops()
    told = icmp_of(100, '192.0.2.78', wait=4.5)
    full, failed = grown('hold_full', before), grown('neighbour_failed', before)
    print(f'   of 100: {full} found the queue full, {failed} waited in vain, {len(told)} errors told')
    expect(full >= 80 and full + failed + grown('hold_expired', before) >= 100, f'{before} {router.drops()}')
    expect(told and set(told) == {(3, 1)}, f'the VM was told {told}')

with case('what waits for a next hop that answers late leaves, in order'):
    lab.ip('world', 'link set eth0 arp off')
    lab.ip('world', 'addr add 192.0.2.79/24 dev eth0')
    vm.call('open', name='late', kind='udp', to='192.0.2.79', rate=10)
    time.sleep(0.6)
    lab.ip('world', 'link set eth0 arp on')
    time.sleep(2.5)
    f = vm.call('stats')['flows']['late']
    vm.call('close', name='late')
    expect(f['lost'] == f['stray'], f'{f}')  # a stray one is the answer to one held for more than a second

with case('a blackhole swallows its prefix without a word, but for longer routes and without the others'):
    before = router.drops()
    router.call('route.replace', prefix='198.51.100.0/24', blackhole=True)
    router.call('route.replace', prefix='198.51.100.5/32', via=WORLD)
    lab.ip('world', 'addr add 198.51.100.5/32 dev lo')
    told = icmp_of(10, '198.51.100.9', 0.01)
    expect(told == [] and grown('blackhole', before) == 10, f'told {told}, {router.drops()}')
    expect(lab.ping('vm', '198.51.100.5', 5) == 5, 'the longer route is not used')
    router.call('route.delete', prefix='198.51.100.0/24')
    n = grown('blackhole', before)
    icmp_of(5, '198.51.100.9', 0.01)
    expect(grown('blackhole', before) == n, 'it still swallows')
    router.call('route.delete', prefix='198.51.100.5/32')

with case('100,000 routes are removed while packets flow, and the default route takes over without a loss'):
    before = heard_by('world')
    apply('removed', delete())
    expect(count() == base, f'{count()} routes')
    expect(heard_by('world') > before, 'the default route was not used')

with case('every packet is accounted for'):
    expect(router.imbalance() == 0, f'{router.imbalance()} packets')

finish(router.process)
