#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""A Linux kernel VXLAN device as the other router: the L2 extension speaks RFC 7348 and not a dialect.

    vm, stranger --- dcx --- rx 192.0.2.1 ==== VXLAN, VNI 100 ==== 192.0.2.20 peer (kernel) --- bridge --- far 10.1.0.33
"""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import until, wait_for
from measure import quiesce
from onesite import HOSTS, ROUTER
from peersite import FAR, FAR_MAC, PEER, PeerSite

lab = PeerSite('vxlan')
lab.kernel_vtep()
router = lab.start()
VM, VM_MAC, _ = HOSTS['vm']
STRANGER, STRANGER_MAC, _ = HOSTS['stranger']

lab.they_find_each_other('the kernel')

with case('a host that nobody registered is reached by flooding, and learnt'):
    n = lab.ping('far', STRANGER, 5)
    expect(n == 5, f'{n} of 5 answered')
    def macs():
        return {m['mac'] for m in router.rows('macs')}

    expect(until(lambda: {FAR_MAC, STRANGER_MAC} <= macs()), f'learnt: {macs()}')

with case('a registered VM is not learnt'):
    expect(VM_MAC not in macs(), f'learnt: {macs()}')

with case('the kernel learnt both hosts behind our VTEP'):
    def fdb():
        return lab.sh('peer', 'bridge fdb show dev vx0').stdout

    for mac in (VM_MAC, STRANGER_MAC):
        expect(until(lambda: any(mac in line and ROUTER in line for line in fdb().split('\n'))), fdb())

with case('unicast to a learnt host is not flooded'):
    lab.probe('other').call('sniff', dev='eth0')
    lab.probe('stranger').call('listen')
    far = lab.agent('far')
    far.call('open', name='u', kind='udp', to=STRANGER, rate=100)
    wait_for('40 answers', lambda: far.call('stats')['flows']['u']['answered'] >= 40, 30)
    got = quiesce(far)[0]['u']
    seen = [p for p in lab.probe('other').call('sniffed', dev='eth0')['packets'] if p['dst'] == STRANGER]
    far.call('close', name='u')
    expect(got['lost'] == got['stray'] == 0, f'{got}')
    expect(len(seen) == 0, f'{len(seen)} packets at another host')

with case('a TCP session fits the tunnel, whoever opens it'):
    for a, b, ip in (('vm', 'far', FAR), ('far', 'vm', VM)):
        lab.agent(b, f'server-{a}').call('listen')
        lab.agent(a).call('open', name='t', kind='tcp', mode='busy', to=ip)
        until(lambda: (t := lab.agent(a).call('stats')['flows']['t'])['received'] > 10000 or t['error'])
        r = lab.agent(a).call('stats')['flows']['t']
        lab.agent(a).call('close', name='t')
        expect(r['alive'] and r['received'] > 10000, f'{r}')
        expect(r['mss'] <= 1500 - 50 - 40, f"MSS {r['mss']} does not fit a tunnel of 1450 bytes")


def vxlan(vni, source=PEER, src_mac=FAR_MAC):
    from scapy.all import IP, UDP, Ether
    inner = bytes(Ether(src=src_mac, dst='ff:ff:ff:ff:ff:ff') / IP(src=FAR, dst='10.1.0.255') / UDP(sport=9, dport=9))
    payload = struct.pack('!II', 0x08000000, vni << 8) + inner
    code = (f'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("{source}", 0)); '
            f'[s.sendto(bytes.fromhex("{payload.hex()}"), ("{ROUTER}", 4789)) for _ in range(5)]')
    lab.exec('peer', ['/usr/bin/python3', '-c', code])


def dropped(reason, **how):
    return router.dropped(reason, 5, lambda: vxlan(**how))


with case('a VNI that no segment has is dropped'):
    n = dropped('vni_unknown', vni=101)
    expect(n == 5, f'counted {n} of 5')

with case('a VTEP that is no configured peer is dropped'):
    n = dropped('vtep_unknown', vni=100, source='192.0.2.21')
    expect(n == 5, f'counted {n} of 5')

with case('the gateway MAC as a source in the tunnel is dropped'):
    n = dropped('src_mac_invalid', vni=100, src_mac='02:00:5e:00:00:01')
    expect(n == 5, f'counted {n} of 5')

finish(router.process)
