# SPDX-License-Identifier: BSD-3-Clause
"""All VMs of a site move to another: two routers, nearway-clc between them; what time and memory it takes.

usage: evacuate.py NEARWAYD NEARWAY_CLC [--vms N] [--batch N] [--alone N] [--dir DIR]

--alone: no evacuation, but so many VMs one by one, each moved when the one before has its answer.
"""
import argparse
import json
import os
import subprocess
import sys
import time

import daemon

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from router import Rpc

CLC = """\
clc: {{name: clc, key-file: {x.controller}, state: {x.dir}/clc.db}}
routers:
  - {{name: r-x, address: 127.0.0.1:{x.port}, key: "{x.key}"}}
  - {{name: r-y, address: 127.0.0.1:{y.port}, key: "{y.key}"}}
sites:
  - {{name: x, router: r-x, pools: [{{prefix: {x.words[pool]}}}]}}
  - {{name: y, router: r-y, pools: [{{prefix: {y.words[pool]}}}]}}
segments:
  - {{name: tenant-a, prefix: 10.0.0.0/8, gateway: 10.0.0.1, access: nat}}
"""
THREADS = {'control thread': None, 'store thread': 'store'}


def vm(n):
    m = (n + 256).to_bytes(3, 'big')
    return {'segment': 'tenant-a', 'mac': f'52:54:{m[0]:02x}:{m[1]:02x}:{m[2]:02x}:01', 'epoch': 1,
            'addresses': [{'private': f'10.{m[0]}.{m[1]}.{m[2]}', 'global': f'100.{m[0]}.{m[1]}.{m[2]}'}]}


def register(router, vms):
    rpc = Rpc(router.socket, timeout=60)
    for first in range(0, vms, 1000):
        rpc.call('txn.apply', changes=[{'method': 'vm.register', 'params': vm(n)} for n in range(first, min(first + 1000, vms))])
    rpc.close()


def spent(processes):
    return {site: {'in all': daemon.Router.cpu_all_ms(p), **{what: daemon.Router.cpu_ms(p, name) for what, name in THREADS.items()}}
            for site, p in processes.items()}


class Controller:
    def __init__(self, program, x, y):
        self.program, self.file = program, f'{x.dir}/clc.yaml'
        with open(self.file, 'w', encoding='ascii') as f:
            f.write(CLC.format(x=x, y=y))

    def run(self, *words):
        c = subprocess.run([self.program, '-c', self.file, *words], check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if c.returncode != 0:
            sys.exit(c.stderr or c.stdout)
        return c.stdout


def evacuate(clc, processes, vms, batch):
    clc.run('sync')  # it learns of the VMs
    before, began = spent(processes), time.monotonic()
    r = json.loads(clc.run('--json', 'evacuate', '--from', 'x', '--to', 'y', '--batch', str(batch)))
    took, after = time.monotonic() - began, spent(processes)
    if r['moved'] != vms or r['left'] > 0:
        sys.exit(f'{r["moved"]} of {vms} VMs moved, {r["left"]} are left')
    print(f'{vms} VMs in {took:.1f} s, {r["batches"]} batches, the slowest {r["slowest-ms"]} ms')
    for site, p in processes.items():
        used = [f'{(after[site][what] - before[site][what]) / 1000:.1f} s {what}' for what in after[site]]
        print(f'r-{site}: CPU {used[0]}, {used[1]}, {used[2]}; {daemon.Router.memory_mib(p)} MiB resident')


def move_alone(router, n):
    rpc, began = Rpc(router.socket, timeout=60), time.monotonic()
    for each in range(n):
        to = vm(each)
        rpc.call('vm.move', **{**to, 'epoch': 2, 'addresses': [{**to['addresses'][0], 'global': to['addresses'][0]['global'].replace('100.', '101.', 1)}]})
    print(f'{n} VMs moved alone, one after another, in {time.monotonic() - began:.1f} s')
    rpc.close()


def print_times(router):
    """How long the moves took, as the new router says."""
    rpc = Rpc(router.socket)
    for row in rpc.call('show.move-times')['rows']:
        if row['moves'] > 0:
            print(f"{row['what']:8} {row['moves']:7} moves: half within {row['p50-us']} us, 99 % {row['p99-us']} us, all {row['max-us']} us")
    rpc.close()


def main():
    args = argparse.ArgumentParser()
    args.add_argument('program')
    args.add_argument('clc')
    args.add_argument('--vms', type=int, default=100000)
    args.add_argument('--batch', type=int, default=1000)
    args.add_argument('--alone', type=int, default=0)
    args.add_argument('--dir', help='on the disk that shall hold the state')
    o = args.parse_args()
    with daemon.Router(o.program, o.vms, o.dir, idle=True) as x, \
            daemon.Router(o.program, o.vms, o.dir, site='y', idle=True) as y:
        x.meet(y)
        y.meet(x)
        y.words['controller'] = x.words['controller']
        with x.running(beside=y) as (px, py):
            register(x, o.vms)
            if o.alone:
                move_alone(y, min(o.alone, o.vms))
            else:
                evacuate(Controller(o.clc, x, y), {'x': px, 'y': py}, o.vms, o.batch)
            print_times(y)


main()
