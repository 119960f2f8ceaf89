# SPDX-License-Identifier: BSD-3-Clause
"""A router that starts with many VMs in its store: how long until packets flow, and what memory it takes.

usage: load.py NEARWAYD [--vms N] [--rounds N] [--limit-ms N]
"""
import argparse
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile

CONFIG = """\
router: {{name: r-x, site: x, mac: 02:00:5e:10:00:0a}}
dataplane: {{cpus: "1", control-cpu: 0, poll: adaptive, memory: no-huge}}
limits: {{vms: {vms}, routes: 100, neighbours: 16, macs: 100, sessions: 1024, rx-ring: 64}}
control: {{key-file: {dir}/key, socket: {dir}/sock, state: {dir}/state.db, runtime: {dir}/run}}
ports:
  - {{name: wan0, device: net_null0, role: wan, address: 192.0.2.1/24}}
  - {{name: dc0, device: net_null1, role: dc}}
segments:
  - name: tenant-a
    vni: 7001
    prefix: 10.0.0.0/8
    gateway: {{address: 10.0.0.1, mac: 02:00:5e:10:00:01}}
    attachments: [{{port: dc0, vlan: 0}}]
pools: [{{name: public, prefix: 100.0.0.0/8}}]
"""

VM = ('{{"segment":"tenant-a","mac":"52:54:{m[0]:02x}:{m[1]:02x}:{m[2]:02x}:01","owner":"r-x","location":"r-x","epoch":1,'
      '"addresses":[{{"private":"10.{m[0]}.{m[1]}.{m[2]}","global":"100.{m[0]}.{m[1]}.{m[2]}","since":1}}],"at":1}}')


class Router:
    def __init__(self, program, vms):
        self.program, self.dir = program, tempfile.mkdtemp(prefix='nearway-load-')
        self.file = f'{self.dir}/nearway.yaml'
        os.mkdir(f'{self.dir}/run')
        with open(self.file, 'w', encoding='ascii') as f:
            f.write(CONFIG.format(dir=self.dir, vms=max(vms, 1)))
        subprocess.run([program, 'keygen', f'{self.dir}/key'], check=True, stdout=subprocess.DEVNULL)

    def run(self):
        """Starts, waits for READY, stops: (ms from DPDK to packets, rows, ms of them, resident KiB, ms of CPU of the control thread)."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            notify = f'{self.dir}/notify'
            ready.bind(notify)
            ready.settimeout(1)
            p = subprocess.Popen([self.program, '-c', self.file], stderr=subprocess.PIPE, text=True,
                                 env={**os.environ, 'NOTIFY_SOCKET': notify})
            try:
                told = self.wait(p, ready)
                with open(f'/proc/{p.pid}/status', encoding='ascii') as f:
                    memory = int(re.search(r'VmRSS:\s+(\d+)', f.read())[1])
                with open(f'/proc/{p.pid}/task/{p.pid}/schedstat', encoding='ascii') as f:
                    cpu = int(f.read().split()[0]) // 1000000
            finally:
                p.send_signal(signal.SIGTERM)
                log = p.communicate()[1]
                os.unlink(notify)
        line = re.search(r'packets flow, (\d+) ms after DPDK was ready; (\d+) stored rows took (\d+) ms', log)
        if told != b'READY=1' or not line or 'refused' in log:
            sys.exit(log)
        return [int(n) for n in line.groups()] + [memory, cpu]

    @staticmethod
    def wait(p, ready):
        while p.poll() is None:
            try:
                return ready.recv(100)
            except TimeoutError:
                continue
        sys.exit(p.stderr.read())

    def fill(self, vms):
        db = sqlite3.connect(f'{self.dir}/state.db')
        db.executemany('INSERT INTO rows VALUES(?, ?, ?)', (row(n + 256) for n in range(vms)))
        db.execute('INSERT INTO rows VALUES(?, ?, ?)', ('meta', 'router', '{"revision":1,"term":0,"controller":"",'
                                                        '"boot-id":"another","boot-ms":1,"wall-ms":1}'))
        db.commit()
        db.close()


def row(n):
    m = n.to_bytes(3, 'big')
    return 'vm', f'tenant-a/52:54:{m[0]:02x}:{m[1]:02x}:{m[2]:02x}:01', VM.format(m=m)


def main():
    args = argparse.ArgumentParser()
    args.add_argument('program')
    args.add_argument('--vms', type=int, default=100000)
    args.add_argument('--rounds', type=int, default=3)
    args.add_argument('--limit-ms', type=int, help='fail when the best round takes longer')
    o = args.parse_args()
    r = Router(o.program, o.vms)
    try:
        empty = r.run()
        r.fill(o.vms)
        size = os.stat(f'{r.dir}/state.db').st_size
        print(f'{o.vms} VMs, {size >> 20} MiB of state; without any: {empty[0]} ms, {empty[4]} ms of CPU, {empty[3] >> 10} MiB')
        rounds = [r.run() for _ in range(o.rounds)]
    finally:
        shutil.rmtree(r.dir)
    for ms, rows, load, memory, cpu in rounds:
        if rows != o.vms + 1:
            sys.exit(f'{rows} rows of {o.vms + 1} were loaded')
        print(f'packets flow {ms} ms after DPDK was ready, of which the store took {load} ms; '
              f'{cpu} ms of CPU, {memory >> 10} MiB')
    if o.limit_ms and min(r[0] for r in rounds) > o.limit_ms:
        sys.exit(f'more than {o.limit_ms} ms')


main()
