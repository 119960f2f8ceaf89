#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""A VM moves from X to Y while it talks: no session ends, new ones are near, the old address goes in its time.

    user --- wan (BCP 38) ---20 ms--- rx --- dcx --- bx
               \                       ||        \
                \                    VXLAN        hv --- vm     re-plugged from dcx to dcy
                 \                     ||        /
                  `--------0 ms------- ry --- dcy --- by
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import until, wait_for
from measure import (TCP, TCP_MORE, Bystanders, Sessions, gateway_answers, near, new_session_path, new_session_rtt, path_of,
                     vm_globals, wait_owner)
from sites import BX, BX_MAC, BY, BY_MAC, DELAY_MS, GATEWAY_MAC, USER, VM, VM_MAC, Sites

OLD, NEW, BX_GLOBAL, BY_GLOBAL = '203.0.113.10', '203.0.113.74', '203.0.113.21', '203.0.113.86'
lab = Sites('move')
r = lab.routers()
x, y = r['x'], r['y']
for router, mac, ip, glob in ((x, VM_MAC, VM, OLD), (x, BX_MAC, BX, BX_GLOBAL), (y, BY_MAC, BY, BY_GLOBAL)):
    router.call('vm.register', segment='blue', mac=mac, addresses=[{'private': ip, 'global': glob}])
for mac, owner in ((VM_MAC, 'r-x'), (BX_MAC, 'r-x'), (BY_MAC, 'r-y')):
    wait_owner((x, y), mac, owner)
for host in ('user', 'vm', 'bx', 'by'):
    lab.agent(host).call('listen')
lab.exec('vm', ['ping', '-c', '2', '-i', '0.2', USER], check=False)  # the VM has its gateway's MAC in its cache, and keeps it

sessions = Sessions(lab, OLD, TCP + TCP_MORE)
bystanders = Bystanders(lab, BX_GLOBAL, BY_GLOBAL)
TCP_SILENCE_MS = 400  # above that of a session that does not move: one retransmission timeout at 80 ms


def bystanders_fine(seen):
    for host, s in seen.items():
        expect(Bystanders.fine(s), f'{host}: {s}')


def mark():
    bystanders.mark()
    sessions.mark()


def rtt_is(address, away_ms):
    """A new session to the address takes so long, beside one to a VM that stands still at Y."""
    rtt, control = new_session_rtt(lab, address, BY_GLOBAL)
    expect(near(rtt, away_ms, control), f'a new session takes {rtt} ms, to a VM at Y {control} ms')
    print(f'   a new session takes {rtt:.1f} ms')


with case('before: sessions of every kind work and go by X'):
    verdicts = sessions.exercise()
    expect(not any(verdicts.values()), f'{verdicts}')
    path = path_of(lab, sessions.user_flow, 'q', 'user', 'VM'), path_of(lab, sessions.user_flow, 'a', 'VM', 'user')
    expect(path == ('user > R_X > VM', 'VM > R_X > user'), f'{path}')

with case('before: the gateway ARP of the VM is answered by X alone, out of its own port'):
    a = gateway_answers(lab)
    expect(a['who'] == ['x'] and a['ports'] == ['x'] and len(a['replies']) == 1, f'{a}')
    expect(a['replies'][0]['sha'] == GATEWAY_MAC, f'{a}')

mark()
time.sleep(0.3)
lab.plug('y')
time.sleep(1.2)

with case('the physical move: bystanders notice nothing'):
    bystanders_fine(bystanders.seen())

with case('trombone: the VM stands at Y, is told nothing, and all sessions go on through X'):
    verdicts = sessions.exercise()
    expect(not any(verdicts.values()), f'{verdicts}')
    path = path_of(lab, sessions.user_flow, 'q', 'user', 'VM'), path_of(lab, sessions.user_flow, 'a', 'VM', 'user')
    expect(path == ('user > R_X = R_Y > VM', 'VM > R_Y = R_X > user'), f'{path}')
    rtt_is(OLD, 4 * DELAY_MS)

with case('trombone: the gateway ARP is answered by X alone, through the tunnel'):
    a = gateway_answers(lab)
    expect(a['who'] == ['x'] and a['ports'] == ['y'] and len(a['replies']) == 1, f'{a}')
    expect(a['replies'][0]['src'] == GATEWAY_MAC, f'a router MAC appeared in the DC: {a}')

mark()
time.sleep(0.3)
t0 = time.monotonic()
y.call('vm.move', segment='blue', mac=VM_MAC, addresses=[{'private': VM, 'global': NEW}],
       **{'drain-min': '6s', 'drain-max': '120s'})
took = (time.monotonic() - t0) * 1e3
time.sleep(1.7)
gaps = {n: max(a['gap_ms'], b['gap_ms']) for n, (a, b) in sessions.ends().items() if a['mode'] == 'busy'}
gap_by, _ = bystanders.control()
sessions.answered(200, 'user')
seen = bystanders.seen()
numbered = sessions.numbered()

with case('the switch: no numbered packet of the user is lost'):
    for kind in ('udp', 'ping'):
        f = numbered['user', kind]
        expect(f['lost'] == f['stray'] == 0, f'{kind}: {f}')
    print(f'   vm.move acknowledged after {took:.1f} ms')

with case('the switch: no TCP session is silent for longer than one retransmission'):
    expect(max(gaps.values()) < gap_by + TCP_SILENCE_MS, f'{gaps}, a bystander {gap_by}')
    print(f'   longest gap {max(gaps.values()):.0f} ms, of a bystander {gap_by:.0f} ms')

with case('the switch: bystanders notice nothing'):
    bystanders_fine(seen)

with case('after: all sessions opened before the move are alive, whoever opened and whoever wakes them'):
    verdicts = sessions.exercise()
    expect(not any(verdicts.values()), f'{verdicts}')

with case('after: old sessions keep the old address and its path'):
    path = path_of(lab, sessions.user_flow, 'q', 'user', 'VM'), path_of(lab, sessions.user_flow, 'a', 'VM', 'user')
    expect(path == ('user > R_X = R_Y > VM', 'VM > R_Y = R_X > user'), f'{path}')
    ends = {b['remote'].split(':')[0] for n, (a, b) in sessions.ends().items() if n.startswith('VM >')}
    expect(ends == {OLD}, f'the user sees {ends}')

with case('after: new sessions use the new address and the near router, both ways'):
    path = new_session_path(lab, NEW)
    expect(path == ('user > R_Y > VM', 'VM > R_Y > user'), f'{path}')
    rtt_is(NEW, 0)

with case('after: a session that the VM opens now leaves by the new address'):
    lab.probe('vm').call('open', name='new', kind='tcp', mode='busy', to=USER)
    end = wait_for('the user has it', lambda: lab.agent('user').call('stats')['accepted'].get('new'))
    lab.probe('vm').call('close', name='new')
    expect(end['remote'].startswith(NEW + ':'), f'the user sees {end["remote"]}')

with case('after: a new session by the old address works while it drains'):
    lab.probe('user').call('open', name='late', kind='tcp', mode='busy', to=OLD)
    until(lambda: (t := lab.probe('user').call('stats')['flows']['late'])['received'] > 1000 or t['error'])
    s = lab.probe('user').call('stats')['flows']['late']
    lab.probe('user').call('close', name='late')
    expect(s['alive'] and s['received'] > 1000, f'{s}')

with case('after: the gateway ARP is answered by Y alone, out of its own port'):
    a = gateway_answers(lab)
    expect(a['who'] == ['y'] and a['ports'] == ['y'] and len(a['replies']) == 1, f'{a}')

with case('after: the record of the move tells what a session gains, measured in passing'):
    trips = y.call('show.move', id=f'blue/{VM_MAC}')['round-trips']
    expect(trips['old']['to-remote-us'] / 1e3 >= 3.5 * DELAY_MS, f'{trips}')
    expect(trips['gain-us'] / 1e3 > 2 * DELAY_MS, f'{trips}')
    print(f'   by the old address {trips["old"]["us"] / 1e3:.1f} ms, near {trips["near"]["us"] / 1e3:.1f} ms')

with case('the old address stays after its minimum as long as a session uses it'):
    time.sleep(max(0, t0 + 8 - time.monotonic()))
    expect(vm_globals(x, VM_MAC) == ([NEW], [OLD]), f'{vm_globals(x, VM_MAC)}')
    expect(vm_globals(y, VM_MAC) == ([NEW], [OLD]), f'{vm_globals(y, VM_MAC)}')
    verdicts = sessions.exercise()
    expect(not any(verdicts.values()), f'{verdicts}')

with case('the WAN had nothing to filter: no packet left by the wrong site'):
    expect(lab.filtered() == 0, f'{lab.filtered()} packets')

with case('both routers account for every packet'):
    for router in (x, y):
        expect(router.imbalance() == 0, f'{router.name}: {router.imbalance()} packets')

with case('a drain that is cut frees the old address, which is then dropped'):
    for router in (x, y):
        router.call('move.cut', segment='blue', mac=VM_MAC, epoch=0) if router is x else None
    wait_for('the old address is gone', lambda: vm_globals(x, VM_MAC)[1] == [] and vm_globals(y, VM_MAC)[1] == [], 5)
    before = x.drops().get('global_unregistered', 0)
    c = lab.probe('user').call('connect', to=OLD, n=1, wait=1.0)
    expect(c['median_ms'] is None, f'{c}')
    expect(until(lambda: x.drops().get('global_unregistered', 0) > before), 'not counted')
    rtt_is(NEW, 0)

finish(x.process, y.process)
