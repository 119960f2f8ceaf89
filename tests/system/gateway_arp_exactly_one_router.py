#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Whoever asks, wherever he stands, and while VMs change hands: one answer for the gateway, from the VM's owner.

    wan --- rx --- dcx --- bx, vm        both routers have the same gateway address and MAC,
     |      || VXLAN                     so answers are told apart by the port they came out of
     `----- ry --- dcy --- by
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from measure import gateway_answers, wait_owner
from sites import BX, BX_MAC, BY, BY_MAC, GATEWAY, VM, VM_MAC, Sites

lab = Sites('arp', delay_ms=2)
r = lab.routers()
x, y = r['x'], r['y']
HOSTS = {'vm': (VM, VM_MAC), 'bx': (BX, BX_MAC), 'by': (BY, BY_MAC)}
for host, router, glob in (('vm', x, '203.0.113.10'), ('bx', x, '203.0.113.21'), ('by', y, '203.0.113.86')):
    ip, mac = HOSTS[host]
    router.call('vm.register', segment='blue', mac=mac, addresses=[{'private': ip, 'global': glob}])
    wait_owner((x, y), mac, router.name)


def one_answer(host, who, port):
    ip, _ = HOSTS[host]
    a = gateway_answers(lab, own=ip, host=host)
    expect(a['who'] == [who] and a['ports'] == [port] and len(a['replies']) == 1, f'{host}: {a}')


with case('each VM at home is answered by its own router'):
    one_answer('vm', 'x', 'x')
    one_answer('bx', 'x', 'x')
    one_answer('by', 'y', 'y')

with case('a VM that stands at the other site is answered by its owner, through the tunnel'):
    lab.plug('y')
    one_answer('vm', 'x', 'y')

with case('a question for the gateway never shows up at the other site'):
    lab.probe('dcx').call('sniff', dev='r')
    replies = lab.probe('by').call('arp', ip=GATEWAY, own=BY, first=5, wait=0.3)
    asked = [q for q in lab.probe('dcx').call('sniffed', dev='r')['questions'] if q['way'] == 'in']
    lab.probe('dcx').call('unsniff', dev='r')
    expect(len(replies) == 1, f'{replies}')
    expect(not any(q['tpa'] == GATEWAY or q['spa'] == BY for q in asked), f'came out of R_X: {asked}')

with case('over twenty moves to and fro there is always one answer, from the new owner'):
    for i in range(20):
        site, router, glob = ('y', y, '203.0.113.74') if i % 2 == 0 else ('x', x, '203.0.113.10')
        lab.plug(site)
        router.call('vm.move', segment='blue', mac=VM_MAC, addresses=[{'private': VM, 'global': glob}],
                    **{'drain-min': 0, 'drain-max': 0})
        wait_owner((x, y), VM_MAC, router.name)
        one_answer('vm', site, site)

finish(x.process, y.process)
