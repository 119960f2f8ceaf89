#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""A segment that somebody else stretches, with a gateway MAC for each site: here a wire between the two switches.

    user --- wan (BCP 38) ---20 ms--- rx --- dcx --- bx
               \                       ||     | \
                \                    tunnel   |  hv --- vm     re-plugged from dcx to dcy
                 \                     ||     | /
                  `--------0 ms------- ry --- dcy --- by
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import wait_for
from measure import TCP, Sessions, expect_near, gateway_mac, wait_owner
from sites import BX, BX_MAC, BY, BY_MAC, GATEWAY, USER, VM, VM_MAC, Sites

OLD, NEW, BX_GLOBAL, BY_GLOBAL = '203.0.113.10', '203.0.113.74', '203.0.113.21', '203.0.113.86'
MAC = {'x': '02:00:5e:00:00:0a', 'y': '02:00:5e:00:00:0b'}
NAME = {'x': 'r-x', 'y': 'r-y'}


class External(Sites):
    def build(self, delay_ms):
        super().build(delay_ms)
        self.link('dcx:far', 'dcy:far')
        for s in 'xy':
            self.ip(f'dc{s}', 'link set dev far master br0')

    def configs(self, access='nat'):
        out = super().configs(access)
        for s, other in (('x', 'y'), ('y', 'x')):
            g = out[s]['segments'][0]
            g['extension'] = 'external'
            g['gateway'] |= {'mac': MAC[s], 'mode': 'per-site', 'peers': [{'peer': NAME[other], 'mac': MAC[other]}]}
        return out


lab = External('external')
r = lab.routers()
x, y = r['x'], r['y']
for router, mac, ip, glob in ((x, VM_MAC, VM, OLD), (x, BX_MAC, BX, BX_GLOBAL), (y, BY_MAC, BY, BY_GLOBAL)):
    router.call('vm.register', segment='blue', mac=mac, addresses=[{'private': ip, 'global': glob}])
    wait_owner((x, y), mac, router.name)
for host in ('user', 'vm', 'bx', 'by'):
    lab.agent(host).call('listen')


def carried(router):
    """Frames that came through the tunnel and had no business there."""
    return router.drops().get('external', 0)


with case('each VM learns the MAC of its own site\'s gateway, from one router'):
    for host, site, own in (('vm', 'x', VM), ('bx', 'x', BX), ('by', 'y', BY)):
        replies = lab.probe(host).call('arp', ip=GATEWAY, own=own, wait=0.5)
        expect([a['sha'] for a in replies] == [MAC[site]], f'{host}: {replies}')

with case('routers of the group do not contend'):
    for router in (x, y):
        expect(router.drops().get('gw_conflict', 0) == 0, f'{router.name}: {router.drops()}')

lab.exec('vm', ['ping', '-c', '2', '-i', '0.2', USER], check=False)
sessions = Sessions(lab, OLD, TCP)
lab.agent('bx').call('open', name='l2', kind='ping', to=BY, rate=100)

with case('sessions of every kind work'):
    verdicts = sessions.exercise()
    expect(not any(verdicts.values()), f'{verdicts}')

with case('hosts of the two sites talk over the wire, not through our tunnel, and nothing comes twice'):
    out = lab.exec('bx', ['ping', '-c', '10', '-i', '0.05', BY]).stdout
    expect(' 0% packet loss' in out and 'DUP' not in out, out)

lab.plug('y')
time.sleep(1.0)
with case('the VM moved and is told nothing: it goes on through the old site\'s gateway, by the wire'):
    verdicts = sessions.exercise()
    expect(not any(verdicts.values()), f'{verdicts}')
    expect(gateway_mac(lab, 'vm') == MAC['x'], f"{gateway_mac(lab, 'vm')}")

sessions.mark()
y.call('vm.move', segment='blue', mac=VM_MAC, addresses=[{'private': VM, 'global': NEW}])
with case('after the switch the VM is told of its near gateway by one gratuitous ARP'):
    wait_for('the VM has the new MAC', lambda: gateway_mac(lab, 'vm') == MAC['y'], 5)

with case('after the switch: sessions of before are alive, new ones are near'):
    expect_near(lab, sessions, NEW)

with case('bystanders keep their gateways and lost nothing'):
    lab.agent('bx').call('pause', name='l2')
    time.sleep(1.1)
    f = lab.agent('bx').call('stats')['flows']['l2']
    expect(f['lost'] == 0 and f['answered'] > 100, f'{f}')
    for host, site, own in (('bx', 'x', BX), ('by', 'y', BY)):
        replies = lab.probe(host).call('arp', ip=GATEWAY, own=own, wait=0.5)
        expect([a['sha'] for a in replies] == [MAC[site]], f'{host}: {replies}')

with case('the switch lost no numbered packet of the user'):
    lost = sessions.lost_of_user()
    expect(not lost, f'{lost}')

with case('a VM that still knows the old gateway is carried to its owner'):
    lab.ip('vm', 'neigh replace', GATEWAY, 'lladdr', MAC['x'], 'dev eth0 nud permanent')
    out = lab.exec('vm', ['ping', '-c', '5', '-i', '0.1', '-W', '2', USER]).stdout
    expect(' 0% packet loss' in out, out)

with case('the tunnel carried gateway and home frames only, and every packet is accounted for'):
    for router in (x, y):
        expect(carried(router) == 0, f'{router.name}: {carried(router)} frames')
        expect(router.imbalance() == 0, f'{router.name}: {router.imbalance()} packets')

finish(x.process, y.process)
