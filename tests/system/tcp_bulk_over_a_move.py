#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Bulk TCP born before a move, over an underlay of 1,500 bytes: it fits the tunnel from its first segment, so it never stalls.

    user --- wan (BCP 38) ---20 ms--- rx --- dcx
               \                       ||        \
                \                    VXLAN        hv --- vm     re-plugged from dcx to dcy
                 \                     ||        /
                  `--------0 ms------- ry --- dcy

Four sessions at once, by who opens and who sends, each byte checked; the longest silence of each is measured over all phases.
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import wait_for
from measure import wait_owner
from sites import USER, VM, VM_MAC, Sites

OLD, NEW, TUNNEL = '203.0.113.10', '203.0.113.74', 1450
STALL_MS = 1000
ENOUGH = 1 << 20  # bytes of each session in a phase
lab = Sites('bulk')
r = lab.routers()
x, y = r['x'], r['y']
x.call('vm.register', segment='blue', mac=VM_MAC, addresses=[{'private': VM, 'global': OLD}])
wait_owner((x, y), VM_MAC, 'r-x')
user, vm = lab.agent('user'), lab.agent('vm')
for agent in (user, vm):
    agent.call('listen')
SESSIONS = [(f'{opener}-{mode}', opener, mode) for opener in ('user', 'vm') for mode in ('bulk', 'bulk-back')]
for name, opener, mode in SESSIONS:
    agent, to = (user, OLD) if opener == 'user' else (vm, USER)
    agent.call('open', name=name, kind='tcp', mode=mode, to=to)


def receivers():
    """The end of each session that takes the bytes, and the one that sends them."""
    u, v = user.call('stats'), vm.call('stats')
    out = {}
    for name, opener, mode in SESSIONS:
        a, b = (u, v) if opener == 'user' else (v, u)
        ends = a['flows'][name], b['accepted'].get(name)
        if ends[1] is None:
            return {}
        out[name] = ends if mode == 'bulk-back' else ends[::-1]
    return out


def all_got(more):
    """Until every session has received `more` bytes from now on, or one has failed."""
    before = {n: rx['total_received'] for n, (rx, _) in receivers().items()}

    def enough():
        now = receivers()
        return (any(e['error'] for ends in now.values() for e in ends)
                or all(rx['total_received'] >= before[n] + more for n, (rx, _) in now.items()))
    wait_for(f'{more} bytes in each session', enough, 20)


def fine():
    for name, (rx, tx) in receivers().items():
        expect(not rx['error'] and not tx['error'] and rx['alive'] and tx['alive'], f'{name}: {rx} {tx}')
        expect(rx['gap_ms'] < STALL_MS, f'{name}: silent for {rx["gap_ms"]} ms')


wait_for('the sessions are open', receivers)
located = time.monotonic()
with case('before the move: every session is clamped to the tunnel, though nothing is tunnelled yet'):
    all_got(ENOUGH)
    for agent in (user, vm):
        agent.call('mark')
    all_got(ENOUGH)
    fine()
    mss = {name: (rx['mss'], tx['mss']) for name, (rx, tx) in receivers().items()}
    expect(all(m <= TUNNEL - 40 for pair in mss.values() for m in pair), f'{mss}')

time.sleep(max(0, located + 1.2 - time.monotonic()))  # a VM's location moves at most once a second
lab.plug('y')
with case('the VM stands at the other site: no session stalls for a second'):
    all_got(ENOUGH)
    fine()

y.call('vm.move', segment='blue', mac=VM_MAC, addresses=[{'private': VM, 'global': NEW}],
       **{'drain-min': '60s', 'drain-max': '60s'})
with case('over the move and after it: no session stalls for a second, every byte is right'):
    wait_owner((x, y), VM_MAC, 'r-y')
    all_got(2 * ENOUGH)
    fine()
    for name, (rx, _) in receivers().items():
        print(f"   {name:14} {rx['received'] >> 20:4} MB, longest silence {rx['gap_ms']:.0f} ms")

with case('no segment was ever too big for its way'):
    for router in (x, y):
        expect(router.drops().get('too_big', 0) == 0, f'{router.name}: {router.drops()}')
        expect(router.imbalance() == 0, f'{router.name}: {router.imbalance()} packets')

finish(x.process, y.process)
