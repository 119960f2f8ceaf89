# SPDX-License-Identifier: BSD-3-Clause
r"""The one-site lab with a management network, a controller and strangers in it.

    world --- rx --- dcx --- vm, other
              |`---------- clc 10.255.0.10        rx listens at 10.255.0.1:7411
              `----------- strangers 10.253.0.2, and all of 10.254.0.0/16
"""
import copy
import json
import os
import re

from lab import LabError, program, run, wait_for
from onesite import HOSTS, OneSite
from router import Router

MGMT, CLC, STRANGERS = '10.255.0.1', '10.255.0.10', '10.254.0.0'
FLOODED = ('10.1.0.12', '52:54:00:00:00:12', '203.0.113.12')


def new_key(lab, name):
    """(private key's file, public key)"""
    path = os.path.join(lab.dir, f'{name}.key')
    return path, run([program('nearwayd'), 'keygen', path]).stdout.split()[-1]


class Managed(OneSite):
    def __init__(self, name):
        super().__init__(name)
        self.ns('clc', 'strangers')
        self.link('rx:mgmt', 'clc:mgmt')
        self.address('rx', 'mgmt', f'{MGMT}/24')
        self.address('clc', 'mgmt', f'{CLC}/24')
        self.link('rx:st', 'strangers:st')
        self.address('rx', 'st', '10.253.0.1/24')
        self.address('strangers', 'st', '10.253.0.2/24', via='10.253.0.1')
        self.ip('strangers', f'route add local {STRANGERS}/16 dev lo')
        self.ip('rx', f'route add {STRANGERS}/16 via 10.253.0.2')
        self.key_file, key = new_key(self, 'clc')
        self.router.config['control'].update(listen=f'{MGMT}:7411', controllers=[{'name': 'clc', 'key': key}])

    def attack(self, handshakes, held, seconds):
        """From another machine, as it were: it takes no CPU from the router."""
        p = self.spawn('strangers', [program('strangers'), MGMT, '7411', 'r-x', self.router.key, STRANGERS, str(handshakes), str(held),
                                     str(seconds)], name='strangers', nice=10)
        wait_for('the strangers have begun', lambda: 'begun' in p.output() or not p.alive(), 60)
        return p

    def bystander(self):
        """Another router on this machine, that nobody attacks: the control of what takes time. A caller of it."""
        self.ns('quiet')
        for dev in ('wan0', 'dc0', 'mgmt'):
            self.link(f'quiet:{dev}', f'clc:q{dev}')
        self.address('quiet', 'mgmt', '10.255.1.1/24')
        self.address('clc', 'qmgmt', '10.255.1.10/24')
        config = copy.deepcopy(self.router.config)
        config['router']['name'] = 'r-q'
        config['control']['listen'] = '10.255.1.1:7411'
        self.quiet = Router(self, 'quiet', config).start()
        return lambda rate, seconds: self.caller(rate, seconds, at='10.255.1.1:7411', router=self.quiet)

    def caller(self, rate, seconds, key_file=None, name='clc', host='other', at=f'{MGMT}:7411', how='', router=None):
        """A controller that changes a VM's address. `how`: 'again' dials again when its channel is lost, and is not waited for;
        'flood' sends as many as the router reads, of another VM."""
        to, (ip, mac, glob) = router or self.router, FLOODED if how == 'flood' else HOSTS[host]
        p = self.spawn('clc', [program('caller'), at, to.name, to.key, name, key_file or self.key_file, 'blue', mac, ip, glob,
                               '203.0.113.42' if how == 'flood' else '203.0.113.40', str(rate), str(seconds), *how.split()],
                       name=f'caller-{len(self.processes)}')
        if how != 'again':
            wait_for('the caller is up, or refused', lambda: p.output() or not p.alive(), 20)
        return p


def report(process, seconds=60):
    """The JSON that a program says last."""
    process.wait(seconds)
    lines = re.findall(r'^\{.*\}$', process.output(), re.M)
    if not lines:
        raise LabError(f'{process.name} reports nothing: {process.output()[-1000:]}')
    return json.loads(lines[-1])
