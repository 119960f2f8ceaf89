#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Who has not the right key changes nothing: a controller, a peer, and a router that is not the one it says.

    clc ---- management network ---- rx, ry          only the control channel matters here
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import program, run, wait_for
from router import Controller
from sites import BX, BX_MAC, VM, VM_MAC, Sites

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


with case('a controller with another key is refused and changes nothing'):
    wrong.inventory({'x': x, 'y': y})
    p = wrong.run('create', 'vm1', '--site', 'x', '--segment', 'blue', '--private', VM, '--mac', VM_MAC, check=False)
    expect(p.returncode != 0, f'it was let in: {p.stdout}')
    expect(vms(x) == [], f'{vms(x)}')

with case('a controller that expects another key of the router does not talk to it'):
    stranger = run([program('nearwayd'), 'keygen', os.path.join(lab.dir, 'stranger.key')]).stdout.split()[-1]
    right.inventory({'x': x, 'y': y}, keys={'x': stranger})
    p = right.run('create', 'vm1', '--site', 'x', '--segment', 'blue', '--private', VM, '--mac', VM_MAC, check=False)
    expect(p.returncode != 0, f'it spoke: {p.stdout}')
    expect(vms(x) == [], f'{vms(x)}')

with case('the right controller is let in'):
    right.inventory({'x': x, 'y': y})
    right.create('vm1', 'x', VM, VM_MAC)
    expect(vms(x) == [VM_MAC], f'{vms(x)}')

with case('a peer whose key is not the pinned one learns nothing and tells nothing'):
    impostor = os.path.join(lab.dir, 'impostor.key')
    run([program('nearwayd'), 'keygen', impostor])
    kept = y.config['control']['key-file']
    y.config['control']['key-file'] = impostor
    y.start()
    y.call('vm.register', segment='blue', mac=BX_MAC, addresses=[{'private': BX, 'global': '203.0.113.80'}])
    time.sleep(3)
    expect(state(x, 'r-y') != 'synced' and state(y, 'r-x') != 'synced', f"{state(x, 'r-y')}, {state(y, 'r-x')}")
    expect(vms(x) == [VM_MAC], f'X learnt {vms(x)}')
    expect(vms(y) == [BX_MAC], f'Y learnt {vms(y)}')

with case('a peer that expects another key of us does not speak'):
    y.stop()
    y.config['control']['key-file'] = kept
    y.config['peers'][0]['key'] = stranger
    y.start()
    time.sleep(3)
    expect(state(x, 'r-y') != 'synced' and state(y, 'r-x') != 'synced', f"{state(x, 'r-y')}, {state(y, 'r-x')}")

with case('with the right keys both are in step, whoever was away'):
    y.stop()
    y.config['peers'][0]['key'] = good_peer_key
    y.start()
    wait_for('the peers are synced', lambda: state(x, 'r-y') == 'synced' and state(y, 'r-x') == 'synced', 40, 0.2)
    wait_for('the same VMs at both', lambda: vms(x) == vms(y) == sorted([VM_MAC, BX_MAC]), 5)

with case('refusals are in the log without a byte of a key'):
    log = x.process.output()
    expect('refused' in log or 'unknown key' in log or 'handshake' in log, log[-1000:])
    with open(x.config['control']['key-file'], encoding='ascii') as f:
        expect(f.read().strip() not in log, 'the private key is in the log')

finish(x.process, y.process)
