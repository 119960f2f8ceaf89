#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""What arping says: of the gateway's address to a VM and to a stranger, and of a VM at the other site.

    user --- wan --- rx --- dcx --- bx, stranger (nobody registered it)
               \     ||        \
                \  VXLAN        hv --- vm     re-plugged from dcx to dcy
                 \   ||        /
                  `- ry --- dcy --- by
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import wait_for
from measure import wait_owner
from sites import BX, BX_MAC, BY, BY_MAC, GATEWAY, GATEWAY_MAC, USER, VM, VM_MAC, Sites

STRANGER, STRANGER_MAC = '10.1.0.66', '52:54:00:00:00:66'
lab = Sites('arping', delay_ms=1)
lab.ns('stranger')
lab.link('stranger:eth0', 'dcx:stranger', mac_a=STRANGER_MAC)
lab.ip('dcx', 'link set dev stranger master br0')
lab.address('stranger', 'eth0', f'{STRANGER}/24')
r = lab.routers()
x, y = r['x'], r['y']
for router, mac, ip, glob in ((x, VM_MAC, VM, '203.0.113.10'), (x, BX_MAC, BX, '203.0.113.21'), (y, BY_MAC, BY, '203.0.113.86')):
    router.call('vm.register', segment='blue', mac=mac, addresses=[{'private': ip, 'global': glob}])
for mac, owner in ((VM_MAC, 'r-x'), (BX_MAC, 'r-x'), (BY_MAC, 'r-y')):
    wait_owner((x, y), mac, owner)


def arping(ns, address, *options, n=2):
    """(exit code, MACs of the answers)"""
    p = lab.exec(ns, ['arping', '-I', 'eth0', '-c', str(n), '-w', str(n), *options, address], check=False)
    return p.returncode, [m.lower() for m in re.findall(r'reply from \S+ \[([0-9A-Fa-f:]+)\]', p.stdout)]


def in_use(ns, address, mac):
    code, macs = arping(ns, address, '-D')
    expect(code == 1 and set(macs) == {mac}, f'{ns}: exit {code}, answers {macs}')


def tunnelled(router):
    return next(s['packets'] for s in router.call('show.stages')['rows'] if s['stage'] == 'vxlan-encap')


def reaches():
    return lab.exec('vm', ['ping', '-n', '-c', '1', '-W', '1', USER], check=False).returncode == 0


with case('arping -D: the gateway\'s address is in use, says the owner to a VM at home'):
    in_use('vm', GATEWAY, GATEWAY_MAC)
    in_use('by', GATEWAY, GATEWAY_MAC)

with case('arping -D: the gateway\'s address is in use, to a stranger too, who gets no other answer'):
    in_use('stranger', GATEWAY, GATEWAY_MAC)
    code, macs = arping('stranger', GATEWAY)
    expect(code == 1 and not macs, f'exit {code}, answers {macs}')

with case('arping -D: nobody hears of a question about the gateway at the other site'):
    before = tunnelled(x)
    in_use('stranger', GATEWAY, GATEWAY_MAC)
    expect(tunnelled(x) == before, f'{tunnelled(x) - before} frames went through the tunnel')

with case('arping: a VM at the other site is answered for here, and the question stays here'):
    before = tunnelled(y), tunnelled(x)
    code, macs = arping('by', BX, '-b', n=3)
    expect(code == 0 and macs == [BX_MAC] * 3, f'exit {code}, answers {macs}')
    expect((tunnelled(y), tunnelled(x)) == before, 'a question or an answer went through the tunnel')

with case('arping -D: the address of a VM is in use at both sites, but not for the VM itself'):
    in_use('stranger', BX, BX_MAC)
    in_use('by', BX, BX_MAC)
    in_use('stranger', BY, BY_MAC)
    code, macs = arping('by', BY, '-D', n=1)
    expect(code == 0 and not macs, f'exit {code}, answers {macs}')

wait_for('the VM reaches the user', reaches)
lab.plug('y')
wait_for('the VM reaches the user from the other site', reaches)

with case('arping -D: the gateway\'s address is in use, says the owner through the tunnel to a VM that stands elsewhere'):
    before = tunnelled(x)
    in_use('vm', GATEWAY, GATEWAY_MAC)
    expect(tunnelled(x) > before, 'X did not answer')

with case('arping: a VM that moved is found where it is, from both sites'):
    for ns in ('bx', 'by'):
        code, macs = arping(ns, VM, n=1)  # the one at its site may hear both the VM and our answer for it
        expect(code == 0 and set(macs) == {VM_MAC}, f'{ns}: exit {code}, answers {macs}')

with case('nobody raised an alarm over any of this'):
    for router in (x, y):
        expect('ALARM' not in router.process.output(), router.process.output()[-1000:])
        expect(router.imbalance() == 0, f'{router.name}: {router.imbalance()} packets')

finish(x.process, y.process)
