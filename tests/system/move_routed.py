#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""The routing method: a VM moves, and the user's router R_U has its host route rewritten from R_X to R_Y.

    user --- ru (Nearway, transit) ---20 ms--- rx --- dcx --- bx
               \                               ||        \
                \                            VXLAN        hv --- vm     re-plugged from dcx to dcy
                 \                             ||        /
                  `------------0 ms----------- ry --- dcy --- by
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from measure import TCP, TCP_MORE, Sessions, gateway_answers, near, path_of, quiesce, resume, wait_owner
from sites import BX, BX_MAC, BY, BY_MAC, SITES, USER, VM, VM_MAC, Sites

lab = Sites('routed', core='ru')
r = lab.routers(access='routed')
x, y, u = r['x'], r['y'], r['u']
for router, mac, ip in ((x, VM_MAC, VM), (x, BX_MAC, BX), (y, BY_MAC, BY)):
    router.call('vm.register', segment='blue', mac=mac, addresses=[{'private': ip}])
for mac, owner in ((VM_MAC, 'r-x'), (BX_MAC, 'r-x'), (BY_MAC, 'r-y')):
    wait_owner((x, y), mac, owner)
u.call('route.replace', prefix=f'{BY}/32', via=SITES['y']['wan'])
u.call('route.replace', prefix=f'{VM}/32', via=SITES['x']['wan'])
for host in ('user', 'vm', 'bx', 'by'):
    lab.agent(host).call('listen')
lab.exec('vm', ['ping', '-c', '2', '-i', '0.2', USER], check=False)
sessions = Sessions(lab, VM, TCP + TCP_MORE)
lab.agent('user').call('open', name='bx', kind='udp', to=BX, rate=100)
lab.agent('user').call('open', name='by', kind='udp', to=BY, rate=100)


def path():
    return path_of(lab, sessions.user_flow, 'q', 'user', 'VM'), path_of(lab, sessions.user_flow, 'a', 'VM', 'user')


def nothing_lost():
    """Of the flows that are on their way since the mark, bystanders' too, once each has had 300 answers."""
    sessions.answered(300, 'user', 'vm')
    hosts = sessions.user, sessions.vm
    for flows in quiesce(*hosts):
        for name, f in flows.items():
            expect(f['kind'] == 'tcp' or f['lost'] == f['stray'] == 0, f'{name}: {f}')
            expect(f['kind'] == 'tcp' or f['answered'] > 100, f'{name}: {f}')
    resume(*hosts)


with case('before: sessions of every kind work and go by X'):
    verdicts = sessions.exercise()
    expect(not any(verdicts.values()), f'{verdicts}')
    expect(path() == ('user > R_X > VM', 'VM > R_X > user'), f'{path()}')

lab.plug('y')
time.sleep(1.5)

with case('trombone: the VM stands at Y and all sessions go on through X'):
    verdicts = sessions.exercise()
    expect(not any(verdicts.values()), f'{verdicts}')
    expect(path() == ('user > R_X = R_Y > VM', 'VM > R_Y = R_X > user'), f'{path()}')

sessions.mark()
time.sleep(0.3)  # what is on its way when the switch comes must count
y.call('vm.move', segment='blue', mac=VM_MAC, addresses=[{'private': VM}])

with case('the move: no packet is lost, whoever opened the session'):
    nothing_lost()

with case('after the move the VM leaves by Y; the user still comes by X'):
    expect(path() == ('user > R_X = R_Y > VM', 'VM > R_Y > user'), f'{path()}')
    a = gateway_answers(lab)
    expect(a['who'] == ['y'] and a['ports'] == ['y'] and len(a['replies']) == 1, f'{a}')

sessions.mark()
time.sleep(0.3)
u.call('route.replace', prefix=f'{VM}/32', via=SITES['y']['wan'])

with case('the route: no packet is lost, whoever opened the session'):
    nothing_lost()

with case('after the route both ways are near, for old sessions too'):
    expect(path() == ('user > R_Y > VM', 'VM > R_Y > user'), f'{path()}')
    verdicts = sessions.exercise()
    expect(not any(verdicts.values()), f'{verdicts}')
    flows = sessions.user.call('stats')['flows']
    rtt, control = (flows[name]['rtt_ms']['min'] for name in ('udp', 'by'))
    expect(near(rtt, 0, control), f'a packet takes {rtt} ms, to a VM that was always at Y {control} ms')

with case('all three routers account for every packet'):
    for router in (x, y, u):
        expect(router.imbalance() == 0, f'{router.name}: {router.imbalance()} packets')

finish(x.process, y.process, u.process)
