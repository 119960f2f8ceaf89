#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""One router, real hosts: NAT both ways, gateway ARP, and what must not pass.

    world 192.0.2.10 --- 192.0.2.1 rx --- dcx switch --- vm 10.1.0.10       = 203.0.113.10
                                                    \--- other 10.1.0.11    = 203.0.113.11
                                                     \-- stranger 10.1.0.66   nobody registered it
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import wait_for
from measure import quiesce
from onesite import GATEWAY, GATEWAY_MAC, HOSTS, ROUTER, WORLD, OneSite

lab = OneSite()
router = lab.start()
VM, VM_MAC, VM_GLOBAL = HOSTS['vm']
OTHER_GLOBAL = HOSTS['other'][2]


def flow(host, n, **how):
    """A numbered flow of a host once it has had n answers and has come to rest."""
    a = lab.agent(host)
    a.call('open', name='f', kind='udp', **how)
    wait_for(f'{n} answers', lambda: a.call('stats')['flows']['f']['answered'] >= n, 60)
    f = quiesce(a)[0]['f']
    a.call('close', name='f')
    return f


for host in ('world', 'vm'):
    lab.agent(host).call('listen')

with case('the world pings a VM by its global address'):
    n = lab.ping('world', VM_GLOBAL, 20)
    expect(n == 20, f'{n} of 20 answered')

with case('a VM pings the world, which sees the global address'):
    number = flow('vm', 50, to=WORLD, rate=100)['flow']
    senders = [s.split(':')[0] for s in lab.agent('world').call('stats')['echo'][str(number)]]
    expect(senders == [VM_GLOBAL], f'senders: {senders}')
    n = lab.ping('vm', WORLD, 20)
    expect(n == 20, f'{n} of 20 answered')

with case('iperf3 moves TCP from the world to a VM'):
    rate = lab.iperf('world', 'vm', VM_GLOBAL)['end']['sum_received']['bits_per_second'] / 1e6
    expect(rate > 10, f'{rate:.0f} Mbit/s')
    print(f'   {rate:.0f} Mbit/s')

with case('iperf3 moves TCP from a VM to the world'):
    rate = lab.iperf('vm', 'world', WORLD)['end']['sum_received']['bits_per_second'] / 1e6
    expect(rate > 10, f'{rate:.0f} Mbit/s')
    print(f'   {rate:.0f} Mbit/s')

with case('of 4,000 UDP packets of 1,200 bytes, at up to 20 Mbit/s each way, none is lost or doubled'):
    for source, to in (('world', VM_GLOBAL), ('vm', WORLD)):
        f = flow(source, 4000, to=to, rate=2083, size=1200, window=256)
        expect(f['lost'] == f['stray'] == 0, f'{source}: {f}; {router.drops()}; {router.rows("ports")}')

with case('fragments pass both ways'):
    expect(lab.ping('world', VM_GLOBAL, 5, '-s', '4000') == 5, 'world to VM')
    expect(lab.ping('vm', WORLD, 5, '-s', '4000') == 5, 'VM to world')

with case('two VMs reach each other by their global addresses'):
    n = lab.ping('vm', OTHER_GLOBAL, 5)
    expect(n == 5, f'{n} of 5 answered')

with case('a packet whose TTL ends at the router earns time exceeded from its WAN address'):
    out = lab.exec('world', ['ping', '-n', '-c', '1', '-t', '1', '-W', '1', VM_GLOBAL], check=False).stdout
    expect(f'From {ROUTER}' in out and 'Time to live exceeded' in out, out)

with case('the router answers a ping to its own address'):
    expect(lab.ping('world', ROUTER, 5) == 5, 'no')

with case('the gateway MAC is what a VM gets for the gateway address'):
    replies = lab.probe('vm').call('arp', ip=GATEWAY, own=VM)
    expect([r['sha'] for r in replies] == [GATEWAY_MAC], f'replies: {replies}')

with case('a host that nobody registered gets no gateway'):
    replies = []
    n = router.dropped('gw_arp_unregistered', 1,
                       lambda: replies.extend(lab.probe('stranger').call('arp', ip=GATEWAY, own=HOSTS['stranger'][0])))
    expect(replies == [], f'replies: {replies}')
    expect(n == 1, f'counted {n}')


def ip_udp(src_mac, src, dst):
    from scapy.all import IP, UDP, Ether, Raw
    return bytes(Ether(src=src_mac, dst=GATEWAY_MAC) / IP(src=src, dst=dst) / UDP(sport=7002, dport=7002) / Raw(b'x' * 20)).hex()


with case('a stranger who uses a VM\'s address is dropped'):
    f = ip_udp(HOSTS['stranger'][1], VM, WORLD)
    n = router.dropped('spoofed', 7, lambda: lab.probe('stranger').call('send', dev='eth0', frame=f, n=7))
    expect(n == 7, f'counted {n} of 7')

with case('a stranger with an address of its own is dropped at the gateway'):
    f = ip_udp(HOSTS['stranger'][1], HOSTS['stranger'][0], WORLD)
    n = router.dropped('gw_unregistered', 7, lambda: lab.probe('stranger').call('send', dev='eth0', frame=f, n=7))
    expect(n == 7, f'counted {n} of 7')

with case('a global address that no VM has is dropped and comes back to nobody'):
    def received():
        """IP packets that the world has received, for itself or not."""
        lines = lab.sh('world', 'grep ^Ip: /proc/net/snmp').stdout.split('\n')
        return int(dict(zip(lines[0].split(), lines[1].split()))['InReceives'])

    before = received()
    n = router.dropped('global_unregistered', 5, lambda: lab.ping_in_vain('world', '203.0.113.50', 5))
    expect(n == 5, f'counted {n} of 5')
    expect(received() == before, f'{received() - before} packets came back')

with case('the world cannot claim an address of the inside'):
    from scapy.all import IP, UDP, Ether
    f = bytes(Ether(src=lab.mac('world', 'eth0'), dst=lab.mac('rx', 'wan0')) / IP(src=HOSTS['other'][0], dst=VM_GLOBAL) /
              UDP(sport=1, dport=2)).hex()
    n = router.dropped('inside_source', 7, lambda: lab.probe('world').call('send', dev='eth0', frame=f, n=7))
    expect(n == 7, f'counted {n} of 7')

with case('a VM that is forgotten is out of reach, and back once registered'):
    router.call('vm.unregister', segment='blue', mac=HOSTS['other'][1], epoch=0)
    expect(lab.ping_in_vain('world', OTHER_GLOBAL, 3) == 0, 'still answers')
    lab.register('other')
    expect(lab.ping('world', OTHER_GLOBAL, 3) == 3, 'does not answer')

with case('the router is alive and every packet is accounted for'):
    expect(router.alive(), 'it ended')
    expect(router.imbalance() == 0, f'{router.imbalance()} packets')

finish(router.process)
