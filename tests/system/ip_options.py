#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""IP options through NAT, with the kernel's own ping: carried as they are, but for source routes.

    world 192.0.2.10 --- 192.0.2.1 rx --- dcx switch --- vm 10.1.0.10       = 203.0.113.10
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from onesite import GATEWAY_MAC, HOSTS, ROUTER, WORLD, OneSite

VM, VM_MAC, VM_GLOBAL = HOSTS['vm']
lab = OneSite('options')
router = lab.start()


def ping(ns, *options):
    """Answers, and the addresses that the first one tells below `RR:` or `TS:`."""
    out = lab.exec(ns, ['ping', '-n', '-c', '3', '-i', '0.05', '-W', '1', *options], check=False).stdout
    told = re.search(r'(?:RR|TS): *((?:.+\n)+)', out)
    return int(re.search(r'(\d+) received', out).group(1)), re.findall(r'\d+\.\d+\.\d+\.\d+', told.group(1)) if told else []


def dropped(reason, ns, frame):
    before = router.drops().get(reason, 0)
    lab.probe(ns).call('send', dev='eth0', frame=frame, n=5)
    n = lab.ping(ns, WORLD if ns == 'vm' else VM_GLOBAL, 1)  # comes behind them: they were counted
    expect(n == 1, 'the way is gone')
    return router.drops().get(reason, 0) - before


def source_routed(option, src_mac, dst_mac, src, dst):
    from scapy.all import ICMP, IP, Ether
    routers = b'\x07\x04' + bytes([10, 1, 0, 11])
    return bytes(Ether(src=src_mac, dst=dst_mac) / IP(src=src, dst=dst, options=[bytes([option]) + routers + b'\0']) / ICMP()).hex()


with case('ping -R passes both ways: hosts record the route, the router does not'):
    n, route = ping('world', '-R', VM_GLOBAL)
    expect(n == 3 and route == [WORLD, VM, VM, WORLD], f'{n} answered, route {route}')
    n, route = ping('vm', '-R', WORLD)
    expect(n == 3 and route == [VM, WORLD, WORLD, VM], f'{n} answered, route {route}')

with case('ping -R of the router\'s own address is answered'):
    n, route = ping('world', '-R', ROUTER)
    expect(n == 3, f'{n} answered, route {route}')

with case('timestamps pass both ways, and the router stamps nothing'):
    for ns, to in (('world', VM_GLOBAL), ('vm', WORLD)):
        n, stamps = ping(ns, '-T', 'tsandaddr', to)
        expect(n == 3 and ROUTER not in stamps, f'{n} answered, stamps of {stamps}')

with case('source routes, loose and strict, are dropped from both sides'):
    for option in (131, 137):
        f = source_routed(option, lab.mac('world', 'eth0'), lab.mac('rx', 'wan0'), WORLD, VM_GLOBAL)
        n = dropped('source_route', 'world', f)
        expect(n == 5, f'from the world: counted {n} of 5')
        f = source_routed(option, VM_MAC, GATEWAY_MAC, VM, WORLD)
        n = dropped('source_route', 'vm', f)
        expect(n == 5, f'from the VM: counted {n} of 5')

with case('every packet is accounted for'):
    expect(router.imbalance() == 0, f'{router.imbalance()} packets')

finish(router.process)
