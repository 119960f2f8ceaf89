#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Keys of routers and of the controller change as docs/operations.md says, while VMs are created and packets flow: no packet
is lost, no command fails, what was acknowledged is there. Then a router leaves the group and comes back.

    user --- wan --- rx ==== VXLAN ==== ry        clc ---- management network ---- rx, ry
                      |                  |
                     vm                  by       vm and by talk through the tunnel
"""
import os
import re
import shutil
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import program, run, wait_for
from measure import wait_owner
from router import Controller
from sites import BY, BY_MAC, USER, VM, VM_MAC, Sites

lab = Sites('rotate', delay_ms=1)
clc = Controller(lab)
r = lab.routers(controller_key=clc.key)
x, y = r['x'], r['y']
PINNED = {'x': y, 'y': x}  # who has that router's key in its file
VM_GLOBAL, BY_GLOBAL = '203.0.113.10', '203.0.113.86'


class Changes(threading.Thread):
    """One command after the other, each a new VM; `during` counts them."""

    def __init__(self):
        super().__init__()
        self.done, self.failed, self.over = [], [], False

    def run(self):
        while not self.over:
            n = len(self.done) + len(self.failed)
            mac = f'52:54:00:00:01:{n:02x}'
            p = clc.run('create', f'w{n}', '--site', 'xy'[n % 2], '--segment', 'blue', '--private', f'10.1.0.{100 + n}', '--mac', mac,
                        check=False)
            if p.returncode == 0:
                self.done.append(mac)
            else:
                self.failed.append(p.stdout + (p.stderr or ''))
            time.sleep(0.1)  # a router takes 10 connections a second from one address

    def more(self):
        """Waits until one that began from now on is through."""
        n = len(self.done) + len(self.failed) + 2
        wait_for('two more changes', lambda: len(self.done) + len(self.failed) >= n, 60, 0.05)


def ping(ns, to):
    return lab.spawn(ns, ['ping', '-n', '-i', '0.01', to], name=f'ping-{ns}')


def lost(p):
    p.stop(signal.SIGINT)
    sent, received = map(int, re.search(r'(\d+) packets transmitted, (\d+) received', p.output()).groups())
    print(f'   {p.name}: {sent} packets')
    expect(sent > 100, f'only {sent} were sent')
    return sent - received


def new_key(directory):
    path = os.path.join(directory, 'key.new')
    return path, run([program('nearwayd'), 'keygen', path]).stdout.split()[-1]



def reload(router):
    router.write()
    return router.call('reload')['changed']


def synced():
    wait_for('both are in step', lambda: all(p['state'] == 'synced' for q in (x, y) for p in q.rows('peers')), 30, 0.05)


def change_router_key(site, inventory_keys):
    """The four steps of docs/operations.md."""
    router, other = r[site], PINNED[site]
    path, public = new_key(router.dir)
    peer = other.config['peers'][0]
    peer['old-key'], peer['key'] = peer['key'], public
    expect(len(reload(other)) == 2, 'two keys should have changed')
    inventory_keys[site] = (public, router.key)
    clc.inventory(r, keys=inventory_keys)
    changes.more()
    os.replace(path, router.config['control']['key-file'])
    expect(reload(router) == [], 'the file says nothing new')
    changes.more()
    synced()
    del peer['old-key']
    reload(other)
    inventory_keys[site] = (public, None)
    clc.inventory(r, keys=inventory_keys)
    router.key = public
    changes.more()
    synced()


for router, mac, ip, glob in ((x, VM_MAC, VM, VM_GLOBAL), (y, BY_MAC, BY, BY_GLOBAL)):
    router.call('vm.register', segment='blue', mac=mac, addresses=[{'private': ip, 'global': glob}])
for mac, owner in ((VM_MAC, 'r-x'), (BY_MAC, 'r-y')):
    wait_owner((x, y), mac, owner)
lab.exec('vm', ['ping', '-c', '2', '-i', '0.2', USER], check=False)
lab.exec('vm', ['ping', '-c', '2', '-i', '0.2', BY], check=False)
keys = {}
clc.inventory(r)
changes = Changes()
pings = [ping('user', VM_GLOBAL), ping('vm', BY)]
changes.start()
changes.more()

with case("a router's key changes while VMs are created: Y's, then X's"):
    change_router_key('y', keys)
    change_router_key('x', keys)

with case("the controller's key changes while it works"):
    old = clc.key_file + '.old'
    shutil.copy2(clc.key_file, old)
    path, public = new_key(clc.dir)
    for router in (x, y):
        router.config['control']['controllers'] = [{'name': 'clc', 'key': public, 'old-key': clc.key}]
        reload(router)
    changes.more()
    os.replace(path, clc.key_file)
    changes.more()
    for router in (x, y):
        router.config['control']['controllers'] = [{'name': 'clc', 'key': public}]
        reload(router)
    changes.more()

with case('no packet was lost meanwhile, and no change'):
    changes.over = True
    changes.join()
    expect(not changes.failed, f'{len(changes.failed)} commands failed: {changes.failed[:1]}')
    for p in pings:
        n = lost(p)
        expect(n <= 1, f'{p.name}: {n} lost')  # one may be on its way when it is told to stop
    wanted = sorted(changes.done + [VM_MAC, BY_MAC])
    wait_for('all VMs at both', lambda: all(sorted(v['mac'] for v in q.rows('vms')) == wanted for q in (x, y)), 20)
    print(f'   {len(changes.done)} VMs were created')

with case('the old keys are good for nothing'):
    os.replace(old, clc.key_file)
    p = clc.run('create', 'late', '--site', 'x', '--segment', 'blue', '--private', '10.1.0.99', '--mac', '52:54:00:00:02:01', check=False)
    expect(p.returncode != 0, f'it was let in: {p.stdout}')

with case('a file with what needs a restart is refused by name, by the command line too'):
    x.config['limits']['vms'] = 5000
    x.write()
    p = x.cli('reload', check=False)
    x.config['limits']['vms'] = 4096
    expect(p.returncode == 1 and 'limits.vms' in p.stdout + (p.stderr or ''), f'{p.returncode}: {p.stdout} {p.stderr}')

# C-84
with case('a peer that is removed takes its VMs with it, and its VTEP is refused'):
    vms_of_y = [v['mac'] for v in y.rows('vms') if v['owner'] == 'r-y']
    before = x.drops().get('vtep_unknown', 0)
    p = ping('by', VM)
    wait_for('they talk through the tunnel', lambda: p.output().count('bytes from') > 5, 10, 0.05)
    peer = x.config['peers'].pop()
    expect(reload(x) == ['peers[r-y] removed'], 'the peer should be gone')
    expect(x.rows('peers') == [], f"{x.rows('peers')}")
    expect(not {v['mac'] for v in x.rows('vms')} & set(vms_of_y), f"{x.rows('vms')}")
    wait_for('its packets are refused', lambda: x.drops().get('vtep_unknown', 0) >= before + 20, 10, 0.05)
    expect(x.imbalance() == 0, f'{x.imbalance()}')
    p.stop(signal.SIGINT)

with case('and is back when it is added again, VMs and packets too'):
    x.config['peers'] = [peer]
    reload(x)
    synced()
    wait_for("Y's VMs", lambda: set(vms_of_y) <= {v['mac'] for v in x.rows('vms')}, 10)
    p = lab.exec('by', ['ping', '-c', '5', '-i', '0.2', VM], check=False)
    expect(p.returncode == 0 and ' 0% packet loss' in p.stdout, p.stdout)

finish(x.process, y.process)
