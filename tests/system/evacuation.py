#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""A site's VMs are evacuated while 1,000 sessions a second begin and each VM has one that goes on: no packet is lost.

    exodus (the world) --- memif --- rx --- memif --- nobody       VMs of X, which stand at Y already: their gateway moves
           |                         || control, nearway-clc
    exodus (the world) --- memif --- ry --- memif --- exodus (the VMs)

The one that gets a packet sends the next one: a packet that is lost leaves a session that never goes on. exodus carries the
tunnel's packets, too, so nothing else can lose one.

usage: evacuation.py [VMS]       5,000 if not given; NEARWAY_ALL=1: 100,000
"""
import json
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import Lab, program, wait_for
from router import Controller, Router, base_config

VMS = int(sys.argv[1]) if len(sys.argv) > 1 else 100000 if os.environ.get('NEARWAY_ALL') else 5000
NEW, ROUNDS = 1000, 2000 if VMS <= 10000 else 10000  # a second
BATCH = 500 if VMS <= 10000 else 1000
CUT = 100  # VMs
BESIDE = 0.5  # seconds of the count before and after
GATEWAY_MAC = '02:00:5e:00:00:01'

lab = Lab('evacuation')
lab.ns('rx', 'ry', 'clc', 'mgmt')
for ns, ip in (('rx', '10.255.0.1'), ('ry', '10.255.0.2'), ('clc', '10.255.0.10')):
    lab.link(f'{ns}:mgmt', f'mgmt:{ns}')
    lab.address(ns, 'mgmt', f'{ip}/24')
lab.bridge('mgmt', 'br0', 'rx', 'ry', 'clc')


def memif(site, n, role):
    """The n-th wire of a site: its router is the server."""
    return f'net_memif{n},role={role},id={n},socket={lab.dir}/{site}.sock,socket-abstract=no,rsize=14'


def config(site, number):
    c = base_config(f'r-{site}', site, f'02:4e:57:00:00:0{number}', f'10.255.0.{number}', vtep=f'198.51.100.{number}')
    c['limits'] = {'vms': 131072, 'routes': 64, 'neighbours': 64, 'macs': 1024, 'sessions': 262144, 'rx-ring': 8192}
    c['ports'] = [{'name': 'wan0', 'device': memif(site, 0, 'server'), 'role': 'wan', 'address': f'198.51.100.{number}/24'},
                  {'name': 'dc0', 'device': memif(site, 1, 'server'), 'role': 'dc'}]
    c['segments'] = [{'name': 'blue', 'vni': 100, 'prefix': '10.0.0.0/9', 'gateway': {'address': '10.0.0.1', 'mac': GATEWAY_MAC},
                      'attachments': [{'port': 'dc0'}]}]
    c['pools'] = [{'name': f'pool-{site}', 'prefix': f'{20 + number}.0.0.0/8'}]
    c['routes'] = [{'prefix': '0.0.0.0/0', 'via': '198.51.100.254'}]
    return c


def start():
    r = {'x': Router(lab, 'rx', config('x', 1), nice=-15), 'y': Router(lab, 'ry', config('y', 2), nice=-15)}
    clc = Controller(lab)
    for a, b, n in (('x', 'y', 2), ('y', 'x', 1)):
        r[a].config['peers'] = [{'name': r[b].name, 'key': r[b].key, 'address': f'10.255.0.{n}:7411', 'vtep': f'198.51.100.{n}',
                                 'mac': r[b].config['router']['mac']}]
        r[a].config['control']['controllers'] = [{'name': 'clc', 'key': clc.key}]
        r[a].start(wait=False)
    for router in r.values():
        router.ready()
    clc.inventory(r)
    return r, clc


def vm(i):
    a, b, c = (i + 256).to_bytes(3, 'big')
    return {'segment': 'blue', 'mac': f'52:54:01:{a:02x}:{b:02x}:{c:02x}',
            'addresses': [{'private': f'10.{a}.{b}.{c}', 'global': f'21.{a}.{b}.{c}'}]}


class Exodus:
    def __init__(self):
        wan = [next(p['mac'] for p in r[s].rows('ports') if p['port'] == 'wan0') for s in 'xy']
        argv = [program('exodus'), '-l', '0', '--no-huge', '-m', '512', '--no-pci', '--no-shconf', '--log-level=error',
                f'--file-prefix=exodus{os.getpid()}',
                *(f'--vdev=net_memif{i},role=client,id={i % 2},socket={lab.dir}/{s}.sock,socket-abstract=no,rsize=14'
                  for i, s in enumerate('xxyy')), '--', *wan, GATEWAY_MAC, str(VMS), str(NEW), str(ROUNDS)]
        self.process = lab.spawn('mgmt', argv, name='exodus', nice=-15)

    def reports(self):
        return [json.loads(line) for line in re.findall(r'^\{.*\}$', self.process.output(), re.M)]

    def wait(self, what, condition, seconds):
        wait_for(what, lambda: condition() or not self.process.alive(), seconds, 0.1)
        expect(self.process.alive(), self.process.output()[-2000:])

    def ready(self):
        self.wait('each VM is answered', lambda: '\nready' in '\n' + self.process.output(), 30 + VMS / 500)

    def count(self, action):
        """What became of the sessions while `action` ran."""
        self.process.kill(signal.SIGUSR1)
        time.sleep(1 + BESIDE)  # what was on its way before is not counted
        action()
        time.sleep(BESIDE)
        self.process.kill(signal.SIGUSR1)
        self.wait('the count', lambda: self.reports()[-1]['ended'], 10)
        return self.reports()[-1]


r, clc = start()
for first in range(0, VMS, 1000):
    r['x'].call('txn.apply', changes=[{'method': 'vm.register', 'params': vm(i)} for i in range(first, min(first + 1000, VMS))])
exodus = Exodus()
result, drops = {}, {}

with case(f'{VMS:,} VMs of X, which stand at Y, are answered through their router'):
    exodus.ready()
    clc.run('sync')


def evacuate():
    before = {s: r[s].drops() for s in 'xy'}
    r0 = json.loads(lab.exec('clc', [*clc.command().split(), '--json', 'evacuate', '--from', 'x', '--to', 'y', '--batch', str(BATCH),
                                     '--drain-min', '1h', '--drain-max', '2h'], timeout=600).stdout)
    result.update(r0)
    for s in 'xy':
        drops.update({f'{s}: {k}': n - before[s].get(k, 0) for k, n in r[s].drops().items() if n != before[s].get(k, 0)})


with case(f'they are evacuated while {NEW:,} sessions a second begin and {VMS:,} go on: no packet is lost, doubled or wrong'):
    last = exodus.count(evacuate)
    print(f"   {result['moved']:,} VMs in {result['took-ms']} ms, {result['batches']} batches; {last['opened']:,} sessions began, "
          f"{last['by_y']:,} of them by their new address; {last['rounds']:,} rounds of those that went on; "
          f"{last['carried']:,} packets through the tunnel")
    expect(result['moved'] == VMS and result['left'] == 0, f'{result}')
    expect(last['opened'] == last['finished'] > 0, f'{last}; drops {drops}')
    expect(last['rounds'] == last['answered'] > 0 and last['unanswered'] == 0, f'{last}; drops {drops}')
    expect(last['doubled'] == last['wrong'] == last['refused'] == 0, f'{last}; drops {drops}')

with case('sessions began by both addresses, so the moves were amid them'):
    expect(0 < last['by_y'] < last['opened'], f'{last}')

with case('every packet of either router is accounted for'):
    for s in 'xy':
        expect(r[s].imbalance() == 0, f'r-{s}: {r[s].imbalance()}')



def cut():
    """Ends the old addresses of some VMs before their time."""
    r['y'].call('txn.apply', changes=[{'method': 'move.cut', 'params': {k: vm(i)[k] for k in ('segment', 'mac')}}
                                      for i in range(0, VMS, VMS // CUT)])


with case('the count can tell: old addresses that are taken away before their time lose packets'):
    last = exodus.count(cut)
    expect(0 < last['unanswered'] <= CUT, f'{last}')

finish(r['x'].process, r['y'].process, exodus.process)
