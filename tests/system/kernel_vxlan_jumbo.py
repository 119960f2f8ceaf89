#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Jumbo frames: a segment of MTU 9000 over an underlay of 9100, with a Linux kernel VXLAN device as the other router.

    vm 10.1.0.10 --- dcx --- rx 192.0.2.1 ==== VXLAN, VNI 100 ==== 192.0.2.20 peer (kernel) --- bridge --- far 10.1.0.33
    world 192.0.2.10 ---------'
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from onesite import HOSTS, WORLD
from peersite import FAR, PeerSite

FULL, OVER = str(9000 - 28), str(9000 - 28 + 1)  # ping's bytes of a full packet, and one more
VM, _, VM_GLOBAL = HOSTS['vm']
lab = PeerSite('jumbo', mtu=9000, wan_mtu=9100)
lab.kernel_vtep()
router = lab.start()

with case('full packets of 9,000 bytes that may not be fragmented cross the tunnel, whoever asks'):
    for a, b in (('vm', FAR), ('far', VM)):
        n = lab.ping(a, b, 5, '-s', FULL, '-M', 'do')
        expect(n == 5, f'{n} of 5 answered from {a}; {router.drops()}')



def bulk(a, b, address):
    """A second of TCP in packets as large as the segment takes."""
    out = lab.iperf(a, b, address, seconds=1)
    rate, mss = out['end']['sum_received']['bits_per_second'] / 1e6, out['start']['tcp_mss_default']
    print(f'   {rate:.0f} Mbit/s from {a}, MSS {mss}')
    expect(rate > 20, f'{rate:.0f} Mbit/s from {a}')
    expect(8900 < mss <= 9000 - 40, f'MSS {mss} from {a}')


with case('TCP fills them: it is clamped to the tunnel, which takes what the segment takes'):
    bulk('vm', 'far', FAR)
    bulk('far', 'vm', VM)

with case('the same packets pass NAT, both ways'):
    for a, b in (('world', VM_GLOBAL), ('vm', WORLD)):
        n = lab.ping(a, b, 5, '-s', FULL, '-M', 'do')
        expect(n == 5, f'{n} of 5 answered from {a}; {router.drops()}')
    bulk('vm', 'world', WORLD)
    bulk('world', 'vm', VM_GLOBAL)

with case('one byte more than the segment takes earns fragmentation needed, with the MTU'):
    out = lab.exec('world', ['ping', '-n', '-c', '1', '-W', '1', '-s', OVER, '-M', 'do', VM_GLOBAL], check=False).stdout
    expect('Frag needed' in out and 'mtu = 9000' in out, out)

with case('every packet is accounted for'):
    expect(router.imbalance() == 0, f'{router.imbalance()} packets')

finish(router.process)
