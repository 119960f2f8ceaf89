#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Hypervisors that speak VXLAN themselves (Linux kernel devices) as attachments of both sites.

    user --- wan --20 ms-- rx -fab0- fabric 10.200.1.0/24 --+-- ha 10.200.1.10 --- vxlan 100 \
              \             ||                              `-- hb 10.200.1.11 --- vxlan 100 --- hv --- vm
               `---------- ry -fab0- fabric 10.200.2.0/24 ----- hc 10.200.2.10 --- vxlan 100 /     re-plugged
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import wait_for
from measure import TCP, Sessions, expect_near, wait_owner
from router import af_packet
from sites import BX, BX_MAC, GATEWAY, GATEWAY_MAC, SITES, VM, VM_MAC, Sites

OLD, NEW, BX_GLOBAL = '203.0.113.10', '203.0.113.74', '203.0.113.21'
FABRIC = {'x': '10.200.1', 'y': '10.200.2'}
HYPERVISORS = {'ha': ('x', '10.200.1.10'), 'hb': ('x', '10.200.1.11'), 'hc': ('y', '10.200.2.10')}


class Fabric(Sites):
    def build(self, delay_ms):
        super().build(delay_ms)
        for s in 'xy':
            self.ns(f'fab{s}')
            self.link(f'r{s}:fab0', f'fab{s}:r')
        for name, (s, ip) in HYPERVISORS.items():
            self.ns(name)
            self.link(f'{name}:eth0', f'fab{s}:{name}')
            self.address(name, 'eth0', f'{ip}/24', via=f'{FABRIC[s]}.1')
            self.link(f'hv:up{name}', f'{name}:guest')
            self.ip(name, f'link add name vx0 type vxlan id 100 dev eth0 local {ip} dstport 4789 learning')
            others = [o for n, (t, o) in HYPERVISORS.items() if t == s and n != name]
            for to in (SITES[s]['wan'], *others):
                self.sh(name, f'bridge fdb append 00:00:00:00:00:00 dev vx0 dst {to}')
            self.bridge(name, 'br0', 'vx0', 'guest')
            self.ip(name, 'link set dev vx0 up')
        for s in 'xy':
            self.bridge(f'fab{s}', 'br0', 'r', *[n for n, (t, _) in HYPERVISORS.items() if t == s])

    def configs(self, access='nat'):
        out = super().configs(access)
        for s, c in out.items():
            c['ports'].append({'name': 'fab0', 'device': af_packet(2, 'fab0'), 'role': 'wan', 'address': f'{FABRIC[s]}.1/24'})
            c['segments'][0]['attachments'] += [{'vtep': ip} for t, ip in HYPERVISORS.values() if t == s]
        return out

    def plug_into(self, name):
        """At once, with carrier and caches of the VM untouched, and then the hypervisor's RARPs."""
        for port in ('upx', *[f'up{n}' for n in HYPERVISORS]):
            self.ip('hv', f'link set dev {port} nomaster')
        self.ip('hv', f'link set dev up{name} master br0')
        self.probe('hv').call('rarp', dev=f'up{name}', mac=VM_MAC)


lab = Fabric('vteps')
r = lab.routers()
x, y = r['x'], r['y']
lab.plug_into('ha')
for mac, ip, glob in ((VM_MAC, VM, OLD), (BX_MAC, BX, BX_GLOBAL)):
    x.call('vm.register', segment='blue', mac=mac, addresses=[{'private': ip, 'global': glob}])
    wait_owner((x, y), mac, 'r-x')
for host in ('user', 'vm', 'bx'):
    lab.agent(host).call('listen')


def place(router):
    return next((v.get('port') for v in router.rows('vms') if v['mac'] == VM_MAC), None)


with case('a VM behind a hypervisor gets its gateway\'s MAC and is heard there'):
    lab.exec('vm', ['ping', '-c', '3', '-i', '0.2', '-W', '2', GATEWAY])
    expect(GATEWAY_MAC in lab.ip('vm', 'neigh show').stdout, lab.ip('vm', 'neigh show').stdout)
    wait_for('the VM is heard', lambda: place(x) == '10.200.1.10', 5)

sessions = Sessions(lab, OLD, TCP)

with case('sessions of every kind work through the local VTEP'):
    verdicts = sessions.exercise()
    expect(not any(verdicts.values()), f'{verdicts}')

with case('a host on a port of the site reaches the VM, and the kernel learnt where it is'):
    lab.exec('bx', ['ping', '-c', '3', '-i', '0.2', '-W', '2', VM])
    fdb = lab.sh('ha', 'bridge fdb show dev vx0').stdout
    expect(any(BX_MAC in line and SITES['x']['wan'] in line for line in fdb.split('\n')), fdb)

with case('the gateway\'s MAC is pinned in the hypervisor\'s table'):
    def pinned():
        return any(GATEWAY_MAC in line and SITES['x']['wan'] in line
                   for line in lab.sh('hb', 'bridge fdb show dev vx0').stdout.split('\n'))
    wait_for('a pin', pinned, 10)

sessions.mark()
lab.plug_into('hb')
with case('the VM moves to the other hypervisor of the site: its location follows, every session goes on'):
    wait_for('the location follows', lambda: place(x) == '10.200.1.11', 5)
    verdicts = sessions.exercise()
    expect(not any(verdicts.values()), f'{verdicts}')

lab.plug_into('hc')
time.sleep(0.5)
with case('the VM moves to a hypervisor of the other site and is told nothing: sessions go on by the tunnel'):
    verdicts = sessions.exercise()
    expect(not any(verdicts.values()), f'{verdicts}')

sessions.mark()
y.call('vm.move', segment='blue', mac=VM_MAC, addresses=[{'private': VM, 'global': NEW}])
with case('after the switch the new router hears it at its own local VTEP'):
    wait_for('the VM is heard', lambda: place(y) == '10.200.2.10', 5)

with case('after the switch: sessions of before are alive, new ones are near'):
    expect_near(lab, sessions, NEW)

with case('the switch lost no numbered packet of the user'):
    lost = sessions.lost_of_user()
    expect(not lost, f'{lost}')

with case('every packet is accounted for'):
    for router in (x, y):
        expect(router.imbalance() == 0, f'{router.name}: {router.imbalance()} packets')

finish(x.process, y.process)
