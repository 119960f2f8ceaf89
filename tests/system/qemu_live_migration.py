#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""A real guest moves: Linux under QEMU, live-migrated from X to Y while it talks.

    user --- wan (BCP 38) ---20 ms--- rx --- dcx --- QEMU 1     the guest's memory goes from QEMU 1 to QEMU 2, and
               \                       ||                       the guest with it
                \                    VXLAN
                 \                     ||
                  `--------0 ms------- ry --- dcy --- QEMU 2
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
import guest
from check import case, expect, finish, skip
from measure import TCP, TCP_MORE, Sessions, expect_near, path_of, wait_owner
from sites import GATEWAY, VM, VM_MAC, Sites

OLD, NEW, RATE = '203.0.113.10', '203.0.113.74', 200
if why := guest.missing():
    skip('a real guest moves', why)
    sys.exit(0)


class GuestSites(Sites):
    """The VM is a guest under QEMU."""

    def host_vm(self):
        self.guest = guest.Guest(self, VM_MAC, f'{VM}/24', GATEWAY)

    def agent(self, ns, role='agent'):
        return self.guest.agent if ns == 'vm' else super().agent(ns, role)


lab = GuestSites('guest')
r = lab.routers()
x, y = r['x'], r['y']
x.call('vm.register', segment='blue', mac=VM_MAC, addresses=[{'private': VM, 'global': OLD}])
wait_owner((x, y), VM_MAC, 'r-x')
lab.guest.boot('dcx')
for host in ('user', 'vm'):
    lab.agent(host).call('listen')
sessions = Sessions(lab, OLD, TCP + TCP_MORE)
print(f'   the guest runs by {lab.guest.accel}')


def all_alive():
    verdicts = sessions.exercise()
    expect(not any(verdicts.values()), f'{verdicts}')


with case('before: sessions of every kind work and go by X'):
    all_alive()
    path = path_of(lab, sessions.user_flow, 'q', 'user', 'VM'), path_of(lab, sessions.user_flow, 'a', 'VM', 'user')
    expect(path == ('user > R_X > VM', 'VM > R_X > user'), f'{path}')

sessions.mark()
move = lab.guest.migration('dcy')
move.start()
move.wait()
y.call('vm.move', segment='blue', mac=VM_MAC, addresses=[{'private': VM, 'global': NEW}],
       **{'drain-min': '1h', 'drain-max': '2h'})
move.finish()
sessions.settle()
udp = sessions.user.call('stats')['flows']['udp']
print(f"   the guest stood still for {move.pause_s * 1e3:.0f} ms, {udp['lost']} of {udp['sent']} packets are lost")

with case('a move that was not prepared: what came in the pause is lost, and no more than a moment around it'):
    pause = RATE * move.pause_s
    expect(int(pause) - 2 <= udp['lost'] <= pause + RATE, f"{udp['lost']} lost in {move.pause_s} s")

with case('after: every session opened before is alive, byte for byte, idle ones too'):
    all_alive()

with case('after: a new session uses the near router, both ways'):
    expect_near(lab, sessions, NEW)

with case('both routers account for every packet'):
    for router in (x, y):
        expect(router.imbalance() == 0, f'{router.name}: {router.imbalance()} packets')

finish(x.process, y.process)
