# SPDX-License-Identifier: BSD-3-Clause
r"""The two-site lab, and one of three.

                         user 192.0.2.10
                          |
                         wan 192.0.2.1        a kernel router that filters sources by site (BCP 38: strict reverse
               .1 /           \ .5            path), or with core='ru' a Nearway in the role of R_U
           198.51.100.0/30     198.51.100.4/30
                 |                |
           20 ms each way         |
              .2 |                | .6
                rx ==== VXLAN === ry          Nearway; pools 203.0.113.0/26 and 203.0.113.64/26
                 |  (through wan) |
                dcx              dcy          learning switches
               /  \              /  \
             bx    \            /    by       bystanders 10.1.0.21 and 10.1.0.22
                    \ upx   upy/
                     hv switch                the VM's host: upx or upy is plugged in, so the VM's carrier stays up
                      |                       and its ARP cache is what a live move leaves
                     vm 10.1.0.10

A third site Z, where there is one, is at the WAN as Y is: .8/30, rz .10, pool 203.0.113.128/26, dcz, upz.

The control channel has a network of its own: 10.255.0.0/24, rx .1, ry .2, ru .3, rz .4, clc .10.
"""
from lab import Lab
from router import Router, af_packet, base_config

USER, VM, BX, BY, GATEWAY = '192.0.2.10', '10.1.0.10', '10.1.0.21', '10.1.0.22', '10.1.0.1'
VM_MAC, BX_MAC, BY_MAC = '52:54:00:00:00:10', '52:54:00:00:00:21', '52:54:00:00:00:22'
GATEWAY_MAC = '02:00:5e:00:00:01'
DELAY_MS = 20
SITES = {
    'x': {'router': 'r-x', 'mac': '02:4e:57:00:00:01', 'wan': '198.51.100.2', 'next': '198.51.100.1',
          'pool': '203.0.113.0/26', 'mgmt': '10.255.0.1'},
    'y': {'router': 'r-y', 'mac': '02:4e:57:00:00:02', 'wan': '198.51.100.6', 'next': '198.51.100.5',
          'pool': '203.0.113.64/26', 'mgmt': '10.255.0.2'},
    'z': {'router': 'r-z', 'mac': '02:4e:57:00:00:04', 'wan': '198.51.100.10', 'next': '198.51.100.9',
          'pool': '203.0.113.128/26', 'mgmt': '10.255.0.4'},
}
RU = {'router': 'r-u', 'mac': '02:4e:57:00:00:03', 'mgmt': '10.255.0.3'}
CLC_MGMT = '10.255.0.10'


class Sites(Lab):
    sites = 'xy'

    def __init__(self, name='sites', core='wan', delay_ms=DELAY_MS):
        super().__init__(name)
        self.core = core
        self.at = 'x'
        self.build(delay_ms)

    # ---- wires ----

    def build(self, delay_ms):
        strict = [f'net/ipv4/conf/{c}/rp_filter=0' for c in ('all', 'default')]
        self.ns('user', 'line', 'bx', 'by', 'clc', *(f'{of}{s}' for s in self.sites for of in ('r', 'dc')))
        self.ns(self.core, forward=self.core == 'wan', sysctl=strict)
        core = self.core
        self.link('user:eth0', f'{core}:user')
        self.link(f'{core}:x', 'line:a')
        self.link('line:b', 'rx:wan0')
        for s in self.sites[1:]:
            self.link(f'{core}:{s}', f'r{s}:wan0')
        self.delay('line', 'a', 'b', delay_ms)
        for s in self.sites:
            self.link(f'r{s}:dc0', f'dc{s}:r')
            self.bridge(f'dc{s}', 'br0', 'r')
        for host, dc, mac in (('bx', 'dcx', BX_MAC), ('by', 'dcy', BY_MAC)):
            self.link(f'{host}:eth0', f'{dc}:b', mac_a=mac)
            self.ip(dc, 'link set dev b master br0')
        self.address('user', 'eth0', f'{USER}/24', via='192.0.2.1')
        for host, ip in (('bx', BX), ('by', BY)):
            self.address(host, 'eth0', f'{ip}/24', via=GATEWAY)
        self.host_vm()
        if core == 'wan':
            self.wan_addresses()
        self.management()

    def host_vm(self):
        self.ns('hv', 'vm')
        for s in self.sites:
            self.link(f'dc{s}:hv', f'hv:up{s}')
            self.ip(f'dc{s}', 'link set dev hv master br0')
        self.link('vm:eth0', 'hv:tap', mac_a=VM_MAC)
        self.bridge('hv', 'br0', 'tap', 'upx')
        self.address('vm', 'eth0', f'{VM}/24', via=GATEWAY)

    def wan_addresses(self):
        """Plain routing, and the filter that providers have: a source is taken only from the site it belongs to."""
        self.address('wan', 'user', '192.0.2.1/24')
        for s in self.sites:
            self.address('wan', s, f"{SITES[s]['next']}/30")
            self.ip('wan', 'route add', SITES[s]['pool'], 'via', SITES[s]['wan'])
        self.sh('wan', f"for i in all {' '.join(self.sites)}; do echo 1 >/proc/sys/net/ipv4/conf/$i/rp_filter; done")

    def management(self):
        self.ns('mgmt')
        ends = [(f'r{s}', SITES[s]['mgmt']) for s in self.sites] + [('clc', CLC_MGMT)]
        if self.core == 'ru':
            ends.append(('ru', RU['mgmt']))
        for ns, ip in ends:
            self.link(f'{ns}:mgmt', f'mgmt:{ns}')
            self.address(ns, 'mgmt', f'{ip}/24')
        self.bridge('mgmt', 'br0', *[ns for ns, _ in ends])

    def plug(self, site, announce=True):
        """Moves the VM as a live migration does: at once, carrier and caches untouched, and then (`announce`) the
        hypervisor's RARPs at the new place."""
        self.unplug()
        self.ip('hv', f'link set dev up{site} master br0')
        self.at = site
        if announce:
            self.probe('hv').call('rarp', dev=f'up{site}', mac=VM_MAC)

    def unplug(self):
        for site in self.sites:
            self.ip('hv', f'link set dev up{site} nomaster')

    def filtered(self):
        """Packets that the WAN refused because of their source."""
        lines = self.sh('wan', 'grep TcpExt /proc/net/netstat').stdout.split('\n')
        return int(dict(zip(lines[0].split(), lines[1].split()))['IPReversePathFilter'])

    # ---- Nearway ----

    def configs(self, access='nat'):
        """nearway.yaml of each site, but for keys."""
        out = {}
        for s in self.sites:
            site = SITES[s]
            c = base_config(site['router'], s, site['mac'], site['mgmt'], vtep=site['wan'])
            c['ports'] = [{'name': 'wan0', 'device': af_packet(0, 'wan0'), 'role': 'wan', 'address': site['wan'] + '/30'},
                          {'name': 'dc0', 'device': af_packet(1, 'dc0'), 'role': 'dc'}]
            segment = {'name': 'blue', 'vni': 100, 'prefix': '10.1.0.0/24',
                       'gateway': {'address': GATEWAY, 'mac': GATEWAY_MAC}, 'access': access,
                       'attachments': [{'port': 'dc0'}]}
            if access == 'routed':
                segment['exits'] = [{'port': 'wan0'}]
            else:
                c['pools'] = [{'name': f'pool-{s}', 'prefix': site['pool']}]
            c['segments'] = [segment]
            c['routes'] = [{'prefix': '0.0.0.0/0', 'via': site['next']}]
            out[s] = c
        return out

    def ru_config(self):
        """R_U takes the place of the WAN router: VMs stand at X until the controller says otherwise."""
        c = base_config(RU['router'], 'user', RU['mac'], RU['mgmt'], transit=True)
        c['ports'] = [{'name': n, 'device': af_packet(i, n), 'role': 'wan', 'address': a} for i, (n, a) in enumerate(
            [('user', '192.0.2.1/24'), *((s, f"{SITES[s]['next']}/30") for s in self.sites)])]
        c['routes'] = [{'prefix': '10.1.0.0/24', 'via': SITES['x']['wan']}]
        return c

    def routers(self, access='nat', controller_key=None, start=True):
        """Makes the routers, each with the others' keys, and starts them. Returns them by site ('u' is R_U)."""
        configs = self.configs(access)
        r = {s: Router(self, f'r{s}', c) for s, c in configs.items()}
        for s in self.sites:
            r[s].config['peers'] = [{'name': o['router'], 'key': r[other].key, 'address': f"{o['mgmt']}:7411",
                                     'vtep': o['wan'], 'mac': o['mac']}
                                    for other, o in ((t, SITES[t]) for t in self.sites if t != s)]
        if self.core == 'ru':
            r['u'] = Router(self, 'ru', self.ru_config())
        for router in r.values():
            if controller_key:
                router.config['control']['controllers'] = [{'name': 'clc', 'key': controller_key}]
            if start:
                router.start(wait=False)
        if start:
            for router in r.values():
                router.ready()
        return r


class PerSite(Sites):
    """Each site's gateway has a MAC of its own."""
    MAC = {'x': '02:00:5e:00:00:0a', 'y': '02:00:5e:00:00:0b', 'z': '02:00:5e:00:00:0c'}

    def configs(self, access='nat'):
        out = super().configs(access)
        for s in self.sites:
            others = [{'peer': SITES[o]['router'], 'mac': self.MAC[o]} for o in self.sites if o != s]
            out[s]['segments'][0]['gateway'] |= {'mac': self.MAC[s], 'mode': 'per-site', 'peers': others}
        return out


class ThreeSites(Sites):
    sites = 'xyz'


class ThreePerSite(PerSite):
    sites = 'xyz'
