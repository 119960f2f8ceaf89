# SPDX-License-Identifier: BSD-3-Clause
r"""The one-site lab with somebody else's VTEP as the other router.

    vm, other, stranger --- dcx --- rx 192.0.2.1 ==== VXLAN, VNI 100 ==== 192.0.2.20 peer --- far 10.1.0.33
                                                                          (and .21, which is no configured peer)

Which program is the VTEP in `peer`, between eth0 and the port `far`, is the test's matter; kernel_vtep() makes Linux one.
"""
import os

from check import case, expect
from lab import program, run
from onesite import HOSTS, PEER, PEER_MAC, ROUTER, OneSite

FAR, FAR_MAC, VNI = '10.1.0.33', '52:54:00:00:00:33', 100


class PeerSite(OneSite):
    def __init__(self, name, mtu=1500, wan_mtu=1500):
        super().__init__(name, mtu, wan_mtu)
        self.ns('peer', 'far')
        self.link('peer:eth0', 'wan:peer', mtu=wan_mtu)
        self.ip('wan', 'link set dev peer master br0')
        self.address('peer', 'eth0', f'{PEER}/24', '192.0.2.21/24')
        self.link('peer:far', 'far:eth0', mtu=mtu, mac_b=FAR_MAC)
        self.address('far', 'eth0', f'{FAR}/24')
        key = run([program('nearwayd'), 'keygen', os.path.join(self.dir, 'peer.key')]).stdout.split()[-1]
        self.router.config['peers'] = [{'name': 'r-k', 'key': key, 'address': '127.0.0.1:7999', 'vtep': PEER,
                                        'mac': PEER_MAC}]

    def kernel_vtep(self):
        self.ip('peer', f'link add name vx0 mtu {self.mtu} type vxlan id {VNI} local {PEER} dstport 4789 learning')
        self.sh('peer', f'bridge fdb append 00:00:00:00:00:00 dev vx0 dst {ROUTER}')
        self.bridge('peer', 'br0', 'vx0', 'far')
        self.ip('peer', 'link set dev vx0 up')

    def they_find_each_other(self, vtep):
        """The first cases of every VTEP that may stand there."""
        with case(f'a VM finds and pings a host behind {vtep}: flooded question, unicast answer'):
            n = self.ping('vm', FAR, 10)
            expect(n == 10, f'{n} of 10 answered; {self.router.drops()}')

        with case(f'a host behind {vtep} pings a VM'):
            self.ip('far', 'neigh flush dev eth0')
            n = self.ping('far', HOSTS['vm'][0], 10)
            expect(n == 10, f'{n} of 10 answered; {self.router.drops()}')
