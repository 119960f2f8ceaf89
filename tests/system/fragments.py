#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Datagrams of 8 KB in fragments, in order and out of order, through NAT, the tunnel and an old session's home.

    user --- wan (BCP 38) ---1 ms--- rx --- dcx
               \                      ||        \
                \                   VXLAN        hv --- vm     re-plugged from dcx to dcy
                 \                    ||        /
                  `------------------ ry --- dcy
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import wait_for
from measure import wait_owner
from sites import USER, VM, VM_MAC, Sites

OLD, NEW = '203.0.113.10', '203.0.113.74'
SIZE, N = 8192, 10
SPORT = 5000  # of the VM, in the old session
ORDERS = ('forward', 'reverse', 'odd')
lab = Sites('fragments', delay_ms=1)
r = lab.routers()
x, y = r['x'], r['y']
x.call('vm.register', segment='blue', mac=VM_MAC, addresses=[{'private': VM, 'global': OLD}])
wait_owner((x, y), VM_MAC, 'r-x')
for ns in ('user', 'vm'):
    lab.agent(ns).call('listen')


def whole(ns, to, seen_as=None, orders=ORDERS, **ports):
    """Questions and answers arrive whole, whatever the order of their fragments; the other end sees one address. By chance
    an identification is one of the last seconds, which the router still takes for that datagram's (RFC 791 forbids senders
    that): one of ten may be lost."""
    for order in (None, *orders):
        a = lab.probe(ns).call('ask', to=to, size=SIZE, order=order, n=N, wait=1.0, **ports)
        expect(a['answers'] >= N - 1, f'{order or "by the kernel"}: {a}; X {x.drops()}, Y {y.drops()}')
        if seen_as:
            senders = {s.split(':')[0] for s in lab.agent('user').call('stats')['echo'][str(a['flow'])]}
            expect(senders == {seen_as}, f'{order}: the user sees {senders}')


with case('8 KB of UDP pass NAT both ways, in order and out of order'):
    whole('user', OLD)
    whole('vm', USER, OLD)

lab.plug('y')
wait_for('the VM reaches the user', lambda: lab.probe('vm').call('ask', to=USER, wait=0.2)['answers'])

with case('8 KB of UDP pass the tunnel, too, which cuts each fragment again'):
    whole('user', OLD)
    whole('vm', USER, OLD)

y.call('vm.move', segment='blue', mac=VM_MAC, addresses=[{'private': VM, 'global': NEW}],
       **{'drain-min': '60s', 'drain-max': '60s'})
wait_owner((x, y), VM_MAC, 'r-y')

with case('after the move: 8 KB of UDP pass by the old address and by the new one'):
    whole('user', OLD)
    whole('user', NEW)
    whole('vm', USER, NEW)

with case('after the move: the VM\'s fragments of an old session leave by the old address, in whatever order they come'):
    lab.probe('user').call('tell', to=OLD, sport=7002, dport=SPORT)
    wait_for('the session is noted at the owner', lambda: any(
        (s['vm-port'], s['remote-port'], s['home']) == (SPORT, 7002, OLD) for s in y.rows('sessions')))
    whole('vm', USER, OLD, sport=SPORT)

with case('all packets are accounted for, and the WAN had nothing to filter'):
    for router in (x, y):
        expect(router.imbalance() == 0, f'{router.name}: {router.imbalance()} packets')
    expect(lab.filtered() == 0, f'{lab.filtered()} packets')

finish(x.process, y.process)
