#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Who has not the right key changes nothing: a controller, a peer, and a router that is not the one it says.

    clc ---- management network ---- rx, ry          only the control channel matters here
"""
import copy
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import program, run, wait_for
from router import Controller, Router
from sites import BX, BX_MAC, SITES, VM, VM_MAC, Sites

lab = Sites('keys', delay_ms=1)
right, wrong = Controller(lab, 'right'), Controller(lab, 'wrong')
r = lab.routers(controller_key=right.key, start=False)
x, y = r['x'], r['y']
good_peer_key = y.config['peers'][0]['key']
x.start()


def state(router, peer):
    return next(p['state'] for p in router.rows('peers') if p['name'] == peer)


def vms(router):
    return sorted(v['mac'] for v in router.rows('vms'))


def refused(router, site, why):
    """Waits until the router's log says that it refused somebody at that site's address, and why."""
    line = re.compile(rf"{re.escape(SITES[site]['mgmt'])}:\d+ refused: .*{why}")
    wait_for(f'{router.name} refuses {site}: {why}', lambda: line.search(router.process.output()), 30, 0.1)


def not_in_step():
    expect(state(x, 'r-y') != 'synced' and state(y, 'r-x') != 'synced', f"{state(x, 'r-y')}, {state(y, 'r-x')}")


# Either tries for 10 s, so both at once.
stranger = run([program('nearwayd'), 'keygen', os.path.join(lab.dir, 'stranger.key')]).stdout.split()[-1]
wrong.inventory({'x': x, 'y': y})
right.inventory({'x': x, 'y': y}, keys={'x': stranger})
with ThreadPoolExecutor() as pool:
    attempts = [pool.submit(c.run, 'create', 'vm1', '--site', 'x', '--segment', 'blue', '--private', VM, '--mac', VM_MAC, check=False)
                for c in (wrong, right)]

with case('a controller with another key is refused and changes nothing'):
    p = attempts[0].result()
    expect(p.returncode != 0, f'it was let in: {p.stdout}')
    expect(vms(x) == [], f'{vms(x)}')

with case('a controller that expects another key of the router does not talk to it'):
    p = attempts[1].result()
    expect(p.returncode != 0, f'it spoke: {p.stdout}')
    expect(vms(x) == [], f'{vms(x)}')

with case('the right controller is let in'):
    right.inventory({'x': x, 'y': y})
    right.create('vm1', 'x', VM, VM_MAC)
    expect(vms(x) == [VM_MAC], f'{vms(x)}')

# Of two routers the one with the lower name dials: this one dials X as well as X dials it.
config = copy.deepcopy(y.config)
config['router']['name'] = 'r-a'
impostor = Router(lab, 'ry', config)

with case('a peer whose key is not the pinned one learns nothing and tells nothing, whoever dials'):
    impostor.start()
    impostor.call('vm.register', segment='blue', mac=BX_MAC, addresses=[{'private': BX, 'global': '203.0.113.80'}])
    refused(x, 'y', 'unknown key')
    refused(impostor, 'x', 'handshake')
    expect(state(x, 'r-y') != 'synced' and state(impostor, 'r-x') != 'synced', f"{state(x, 'r-y')}, {state(impostor, 'r-x')}")
    expect(vms(x) == [VM_MAC], f'X learnt {vms(x)}')
    expect(vms(impostor) == [BX_MAC], f'the impostor learnt {vms(impostor)}')
    expect(impostor.stop() == 0, 'it did not stop')


def restart_x():
    """Its back-off, which may have become a minute, begins anew."""
    expect(x.stop() == 0, 'X did not stop')
    x.start()


with case('a peer that expects another key of us does not speak'):
    y.config['peers'][0]['key'] = stranger
    y.start()
    restart_x()
    refused(y, 'x', 'unknown key')
    not_in_step()
    expect(vms(y) == [], f'Y learnt {vms(y)}')

with case('with the right keys both are in step, whoever was away'):
    expect(y.stop() == 0, 'Y did not stop')
    y.config['peers'][0]['key'] = good_peer_key
    y.start()
    y.call('vm.register', segment='blue', mac=BX_MAC, addresses=[{'private': BX, 'global': '203.0.113.80'}])
    restart_x()
    wait_for('the peers are synced', lambda: state(x, 'r-y') == 'synced' and state(y, 'r-x') == 'synced', 40, 0.2)
    wait_for('the same VMs at both', lambda: vms(x) == vms(y) == sorted([VM_MAC, BX_MAC]), 20)

with case('no log has a byte of a private key'):
    for router in (x, y, impostor):
        with open(router.config['control']['key-file'], encoding='ascii') as f:
            expect(f.read().strip() not in router.process.output(), f"{router.name}'s private key is in the log")

finish(x.process, y.process)
