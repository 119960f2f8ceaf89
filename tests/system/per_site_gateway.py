#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Nearway's own extension with a gateway MAC for each site: a move ends with a gratuitous ARP, and does not hang on it.

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
from lab import wait_for
from measure import TCP, Sessions, expect_near, gateway_mac, new_session_path, wait_owner
from sites import BX, BX_MAC, GATEWAY, USER, VM, VM_MAC, PerSite

OLD, NEW, BX_GLOBAL = '203.0.113.10', '203.0.113.74', '203.0.113.21'
MAC = PerSite.MAC
lab = PerSite('per-site')
r = lab.routers()
x, y = r['x'], r['y']
for mac, ip, glob in ((VM_MAC, VM, OLD), (BX_MAC, BX, BX_GLOBAL)):
    x.call('vm.register', segment='blue', mac=mac, addresses=[{'private': ip, 'global': glob}])
    wait_owner((x, y), mac, 'r-x')
for host in ('user', 'vm'):
    lab.agent(host).call('listen')
lab.exec('vm', ['ping', '-c', '2', '-i', '0.2', USER], check=False)
sessions = Sessions(lab, OLD, TCP)


def mac_shown_at(site, mac):
    """The port of the site's switch behind which it has the MAC."""
    for line in lab.sh(f'dc{site}', 'bridge fdb show').stdout.split('\n'):
        if line.startswith(mac):
            return line.split()[2]
    return None


with case('a VM has the MAC of its own site\'s gateway, and its sessions work'):
    expect(gateway_mac(lab, 'vm') == MAC['x'], f"{gateway_mac(lab, 'vm')}")
    verdicts = sessions.exercise()
    expect(not any(verdicts.values()), f'{verdicts}')

with case('each router is every site\'s gateway to the switches of its own'):
    wait_for('pins', lambda: all(mac_shown_at(s, MAC[g]) == 'r' for s in 'xy' for g in 'xy'), 10)

lab.plug('y')
time.sleep(1.0)
with case('the VM moved and is told nothing: what it sends to the old site\'s gateway is carried there'):
    verdicts = sessions.exercise()
    expect(not any(verdicts.values()), f'{verdicts}')
    expect(gateway_mac(lab, 'vm') == MAC['x'], f"{gateway_mac(lab, 'vm')}")

sessions.mark()
y.call('vm.move', segment='blue', mac=VM_MAC, addresses=[{'private': VM, 'global': NEW}])
with case('after the switch the VM is told of its near gateway'):
    wait_for('the VM has the new MAC', lambda: gateway_mac(lab, 'vm') == MAC['y'], 5)

with case('after the switch: sessions of before are alive, new ones are near'):
    expect_near(lab, sessions, NEW)

with case('a VM that missed the gratuitous ARP uses the near router all the same'):
    lab.ip('vm', 'neigh replace', GATEWAY, 'lladdr', MAC['x'], 'dev eth0 nud permanent')
    path = new_session_path(lab, NEW)
    expect(path == ('user > R_Y > VM', 'VM > R_Y > user'), f'{path}')

with case('the switch lost no numbered packet of the user'):
    lost = sessions.lost_of_user()
    expect(not lost, f'{lost}')

with case('every packet is accounted for'):
    for router in (x, y):
        expect(router.imbalance() == 0, f'{router.name}: {router.imbalance()} packets')

finish(x.process, y.process)
