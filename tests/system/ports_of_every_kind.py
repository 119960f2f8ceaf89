#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Ports by every kind of virtual device that the man page names: frames pass each, both ways.

    rx's own stack 192.0.2.10 --- net_tap --- rx 192.0.2.1 --- net_pcap on a veth --- vm      = 203.0.113.10

(net_af_packet is under every other test here, net_memif under batch_moves_lose_nothing; a PCI NIC needs a machine that has one.)
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import wait_for
from onesite import GATEWAY, GATEWAY_MAC, HOSTS, ROUTER, WORLD, OneSite

VM, VM_MAC, VM_GLOBAL = HOSTS['vm']
lab = OneSite('ports')
router = lab.router
ports = router.config['ports']


def start(wan, dc):
    ports[0]['device'], ports[1]['device'] = wan, dc
    router.start()


with case('net_tap and net_pcap on an interface: the world pings a VM, and back'):
    start('net_tap0,iface=tap0', 'net_pcap0,iface=dc0')
    lab.register('vm')
    lab.ip('rx', 'addr add', f'{WORLD}/24', 'dev tap0')
    lab.ip('rx', 'link set tap0 up')
    lab.ip('rx', 'route add 203.0.113.0/26 via', ROUTER)
    wait_for('a first answer', lambda: lab.ping('rx', VM_GLOBAL, 1))
    n = lab.ping('rx', VM_GLOBAL, 20)
    expect(n == 20, f'{n} of 20 answered')
    n = lab.ping('vm', WORLD, 20)
    expect(n == 20, f'{n} of 20 answered')
    expect(lab.ping('rx', VM_GLOBAL, 5, '-s', '1472', '-M', 'do') == 5, 'not at the full MTU')
    expect(router.imbalance() == 0, f'{router.imbalance()} packets')

with case('net_pcap on files, and net_ring: the gateway ARP in one file is answered in the other'):
    from scapy.all import ARP, Ether, rdpcap, wrpcap
    ask, answers = os.path.join(router.dir, 'in.pcap'), os.path.join(router.dir, 'out.pcap')
    wrpcap(ask, [Ether(src=VM_MAC, dst='ff:ff:ff:ff:ff:ff') / ARP(op=1, hwsrc=VM_MAC, psrc=VM, pdst=GATEWAY)] * 3)
    expect(router.stop() == 0, 'it did not stop')
    start('net_ring0', f'net_pcap0,rx_pcap={ask},tx_pcap={answers}')
    wait_for('three frames', lambda: router.call('show.status')['packets']['received'] >= 3)
    time.sleep(0.2)
    expect(router.stop() == 0, 'it did not stop')
    got = [p[ARP] for p in rdpcap(answers) if ARP in p and p[ARP].op == 2]
    expect(len(got) == 3 and all(a.psrc == GATEWAY and a.hwsrc == GATEWAY_MAC and a.pdst == VM for a in got),
           f'{len(got)} answers: {[a.summary() for a in got]}')

finish(router.process)
