#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""A VM moves from X to Y and back: sessions that said nothing all the while, and so were noted nowhere, go on when either
end wakes them; so do those that were opened at Y, for Y lists them: UDP and TCP, also when the VM is first to speak.

    user --- wan (BCP 38) ---20 ms--- rx --- dcx
               \                       ||        \
                \                    VXLAN        hv --- vm     re-plugged from dcx to dcy and back
                 \                     ||        /
                  `--------0 ms------- ry --- dcy
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import until, wait_for
from measure import key, vm_globals, wait_owner
from sites import USER, VM, VM_MAC, Sites

AT_X, AT_Y = '203.0.113.10', '203.0.113.74'
WAYS = [(f'{opener} opened, {waker} wakes', opener, waker) for opener in ('user', 'vm') for waker in ('user', 'vm')]
IDLE = [(f'idle over both moves: {name}', *ends) for name, *ends in WAYS]
OF_Y = [(f'opened at Y: {name}', *ends) for name, *ends in WAYS]
lab = Sites('return')
r = lab.routers()
x, y = r['x'], r['y']
x.call('vm.register', segment='blue', mac=VM_MAC, addresses=[{'private': VM, 'global': AT_X}])
wait_owner((x, y), VM_MAC, 'r-x')
agents = {'user': lab.agent('user'), 'vm': lab.agent('vm')}
for a in agents.values():
    a.call('listen')


def other(who):
    return agents['vm' if who == 'user' else 'user']


def alive(name, opener):
    a = agents[opener].call('stats')['flows'][key(name)]
    b = other(opener).call('stats')['accepted'].get(key(name), {'alive': False, 'error': 'unknown', 'received': 0})
    return a, b


def opened(name, opener, to):
    agents[opener].call('open', name=key(name), kind='tcp', mode='idle', to=to if opener == 'user' else USER)
    wait_for(name, lambda: alive(name, opener)[1]['alive'])


def goes_on(name, opener, waker):
    for a in agents.values():
        a.call('mark')
    agents[waker].call('wake', name=key(name))
    wait_for(name, lambda: all(e['alive'] and e['received'] > 0 for e in alive(name, opener)), 5)


def move(router, site, name):
    lab.plug(site)
    router.call('vm.move', segment='blue', mac=VM_MAC, addresses=[{'private': VM, **name}],
                **{'drain-min': '1h', 'drain-max': '2h'})
    wait_owner((x, y), VM_MAC, f'r-{site}')


def listed():
    """Sessions that X has from Y's list."""
    return next(p['sessions-noted'] + p['sessions-known'] for p in x.call('show.peers')['rows'] if p['name'] == 'r-y')


def senders():
    """By which addresses the user has seen the UDP session."""
    return {s.split(':')[0] for s in agents['user'].call('stats')['echo'][str(flow)]}


for name, opener, _ in IDLE:
    opened(name, opener, AT_X)
move(y, 'y', {'global': AT_Y})
time.sleep(0.5)
for name, opener, _ in OF_Y:
    opened(name, opener, AT_Y)
flow = agents['vm'].call('open', name='udp', kind='udp', to=USER)['flow']
wait_for('UDP of the VM at Y', lambda: agents['vm'].call('stats')['flows']['udp']['answered'] > 10)
agents['vm'].call('pause', name='udp')
move(x, 'x', {})
wait_for('the list of Y', lambda: listed() >= len(OF_Y) + 1, 5)

with case('the VM has its first address back, and that of Y drains'):
    expect(vm_globals(x, VM_MAC) == ([AT_X], [AT_Y]), f'{vm_globals(x, VM_MAC)}')

for name, opener, waker in IDLE + OF_Y:
    with case(name):
        goes_on(name, opener, waker)

with case('UDP that the VM opened at Y, and wakes at X, goes on by its address of Y'):
    agents['vm'].call('mark')
    agents['vm'].call('pause', name='udp', paused=False)
    wait_for('answers', lambda: agents['vm'].call('stats')['flows']['udp']['answered'] > 10, 5)
    expect(senders() == {AT_Y}, f'{senders()}')

def tcp_noted():
    return [s for router in (x, y) for s in router.rows('sessions') if s['protocol'] == 'tcp']


with case('neither router has TCP sessions noted once the VM has one address: they could end and nobody would see it'):
    expect(tcp_noted(), 'none was noted before')
    x.call('move.cut', segment='blue', mac=VM_MAC)
    expect(until(lambda: not tcp_noted(), 5), f'{tcp_noted()}')

with case('the WAN had nothing to filter: no packet left by the wrong site'):
    expect(lab.filtered() == 0, f'{lab.filtered()} packets')

finish(x.process, y.process)
