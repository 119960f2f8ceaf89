# SPDX-License-Identifier: BSD-3-Clause
r"""The one-site lab.

       world 192.0.2.10          far host, where a test adds one
         |                       |
         +------- wan switch ----+---- peer 192.0.2.20, where a test adds one
                     |
              rx 192.0.2.1            Nearway; pool 203.0.113.0/26; segment 10.1.0.0/24, gateway 10.1.0.1
                     |
                dcx switch
              /      |      \
           vm      other     stranger
      10.1.0.10  10.1.0.11  10.1.0.66        vm and other are registered, nobody registered the stranger
"""
import re

from lab import Lab
from router import Router, af_packet, base_config

WORLD, ROUTER, GATEWAY, PEER = '192.0.2.10', '192.0.2.1', '10.1.0.1', '192.0.2.20'
GATEWAY_MAC, ROUTER_MAC, PEER_MAC = '02:00:5e:00:00:01', '02:4e:57:00:00:01', '02:4e:57:00:00:09'
HOSTS = {'vm': ('10.1.0.10', '52:54:00:00:00:10', '203.0.113.10'),
         'other': ('10.1.0.11', '52:54:00:00:00:11', '203.0.113.11'),
         'stranger': ('10.1.0.66', '52:54:00:00:00:66', None)}


class OneSite(Lab):
    def __init__(self, name='onesite', mtu=1500, wan_mtu=1500):
        super().__init__(name)
        self.mtu, self.wan_mtu = mtu, wan_mtu
        self.ns('world', 'wan', 'rx', 'dcx', *HOSTS)
        self.link('world:eth0', 'wan:world', mtu=wan_mtu)
        self.link('rx:wan0', 'wan:rx', mtu=wan_mtu)
        self.bridge('wan', 'br0', 'world', 'rx')
        self.address('world', 'eth0', f'{WORLD}/24')
        self.ip('world', 'route add 203.0.113.0/26 via', ROUTER)
        self.link('rx:dc0', 'dcx:r', mtu=mtu)
        for host, (ip, mac, _) in HOSTS.items():
            self.link(f'{host}:eth0', f'dcx:{host}', mtu=mtu, mac_a=mac)
            self.address(host, 'eth0', f'{ip}/24', via=GATEWAY)
        self.bridge('dcx', 'br0', 'r', *HOSTS)
        self.router = Router(self, 'rx', self.config())

    def config(self):
        c = base_config('r-x', 'x', ROUTER_MAC, '127.0.0.1', vtep=ROUTER)
        c['ports'] = [{'name': 'wan0', 'device': af_packet(0, 'wan0'), 'role': 'wan', 'address': f'{ROUTER}/24',
                       'mtu': self.wan_mtu},
                      {'name': 'dc0', 'device': af_packet(1, 'dc0'), 'role': 'dc', 'mtu': self.mtu}]
        c['segments'] = [{'name': 'blue', 'vni': 100, 'prefix': '10.1.0.0/24', 'mtu': self.mtu,
                          'gateway': {'address': GATEWAY, 'mac': GATEWAY_MAC}, 'attachments': [{'port': 'dc0'}]}]
        c['pools'] = [{'name': 'pool-x', 'prefix': '203.0.113.0/26'}]
        return c

    def start(self):
        self.router.start()
        for host in ('vm', 'other'):
            self.register(host)
        return self.router

    def register(self, host):
        ip, mac, glob = HOSTS[host]
        return self.router.call('vm.register', segment='blue', mac=mac, addresses=[{'private': ip, 'global': glob}])

    def ping(self, ns, ip, n=5, *options):
        """How many of the first n pings were answered, however late. (By itself ping does not wait for the last.)"""
        out = self.exec(ns, ['ping', '-n', '-c', str(n), '-i', '0.02', '-w', '10', *options, ip], check=False).stdout
        return len({s for s in map(int, re.findall(r'from .*icmp_seq=(\d+) ttl', out)) if s <= n})

    def ping_in_vain(self, ns, ip, n=5):
        """How many of n pings were answered, of which none should be: exactly n are sent."""
        out = self.exec(ns, ['ping', '-n', '-c', str(n), '-i', '0.02', '-W', '1', ip], check=False).stdout
        return int(re.search(r'(\d+) received', out).group(1))
