# SPDX-License-Identifier: BSD-3-Clause
r"""Three routers of a group, for what concerns control alone.

        wan switch, 198.51.100.0/24               underlay of the tunnels
        /     |      \
      ra      rb      rc                          pools 203.0.113.0/26, .64/26, .128/26; segment blue at each
        \     |      /
        mgmt switch, 10.255.0.0/24                control; cut(), join() take a router off it and back
"""
from lab import Lab, wait_for
from router import Router, af_packet, base_config

NAMES = 'abc'
MGMT = {s: f'10.255.0.{i + 1}' for i, s in enumerate(NAMES)}
WAN = {s: f'198.51.100.{i + 1}' for i, s in enumerate(NAMES)}


class Trio(Lab):
    def __init__(self, name='trio'):
        super().__init__(name)
        self.ns('wan', 'mgmt', *(f'r{s}' for s in NAMES), *(f'dc{s}' for s in NAMES))
        for s in NAMES:
            self.link(f'r{s}:wan0', f'wan:{s}')
            self.link(f'r{s}:mgmt', f'mgmt:{s}')
            self.link(f'r{s}:dc0', f'dc{s}:r')
            self.address(f'r{s}', 'mgmt', f'{MGMT[s]}/24')
        for switch in ('wan', 'mgmt'):
            self.bridge(switch, 'br0', *NAMES)
        self.r = {s: Router(self, f'r{s}', self.config(s, i)) for i, s in enumerate(NAMES)}
        for s, router in self.r.items():
            router.config['peers'] = [{'name': o.name, 'key': o.key, 'address': f'{MGMT[t]}:7411', 'vtep': WAN[t],
                                       'mac': o.config['router']['mac']} for t, o in self.r.items() if t != s]

    @staticmethod
    def config(s, i):
        c = base_config(f'r-{s}', s, f'02:4e:57:00:00:0{i + 1}', MGMT[s], vtep=WAN[s])
        c['ports'] = [{'name': 'wan0', 'device': af_packet(0, 'wan0'), 'role': 'wan', 'address': f'{WAN[s]}/24'},
                      {'name': 'dc0', 'device': af_packet(1, 'dc0'), 'role': 'dc'}]
        c['segments'] = [{'name': 'blue', 'vni': 100, 'prefix': '10.1.0.0/24', 'attachments': [{'port': 'dc0'}],
                          'gateway': {'address': '10.1.0.1', 'mac': '02:00:5e:00:00:01'}}]
        c['pools'] = [{'name': f'pool-{s}', 'prefix': f'203.0.113.{64 * i}/26'}]
        return c

    def start(self):
        for router in self.r.values():
            router.start(wait=False)
        for router in self.r.values():
            router.ready()
        self.wait_synced()
        return self.r

    def cut(self, s):
        self.ip('mgmt', 'link set dev', s, 'down')

    def join(self, s):
        self.ip('mgmt', 'link set dev', s, 'up')

    def states(self):
        """What each router says of each peer."""
        return {(s, p['name'][-1]): p['state'] for s, r in self.r.items() for p in r.rows('peers')}

    def wait_synced(self, seconds=60):
        wait_for('all peers are in step', lambda: set(self.states().values()) == {'synced'}, seconds, 0.1)

    def table(self, s):
        """What a router knows of the VMs: MAC -> (owner, epoch, addresses, old global addresses)."""
        return {v['mac']: (v['owner'], v['epoch'], tuple(sorted((a['private'], a.get('global')) for a in v['addresses'])),
                           tuple(sorted(d['global'] for d in v.get('drains', ())))) for v in self.r[s].rows('vms')}

    def agreed(self):
        """The table when all have the same one, else None."""
        a, b, c = (self.table(s) for s in NAMES)
        return a if a == b == c else None
