# SPDX-License-Identifier: BSD-3-Clause
"""A router that starts with many VMs in its store: how long until packets flow, and what memory it takes.

usage: load.py NEARWAYD [--vms N] [--rounds N] [--limit-ms N]
"""
import argparse
import os
import re
import sqlite3
import sys

import daemon

VM = ('{{"segment":"tenant-a","mac":"52:54:{m[0]:02x}:{m[1]:02x}:{m[2]:02x}:01","owner":"r-x","location":"r-x","epoch":1,'
      '"addresses":[{{"private":"10.{m[0]}.{m[1]}.{m[2]}","global":"100.{m[0]}.{m[1]}.{m[2]}","since":1}}],"at":1}}')
META = '{"revision":1,"term":0,"controller":"","boot-id":"another","boot-ms":1,"wall-ms":1}'


def row(n):
    m = n.to_bytes(3, 'big')
    return 'vm', f'tenant-a/52:54:{m[0]:02x}:{m[1]:02x}:{m[2]:02x}:01', VM.format(m=m)


def fill(router, vms):
    db = sqlite3.connect(f'{router.dir}/state.db')
    db.executemany('INSERT INTO rows VALUES(?, ?, ?)', (row(n + 256) for n in range(vms)))
    db.execute('INSERT OR REPLACE INTO rows VALUES(?, ?, ?)', ('meta', 'router', META))
    db.commit()
    db.close()


def stored(router):
    """Rows in the store: the VMs, and the router's own bookkeeping."""
    db = sqlite3.connect(f'{router.dir}/state.db')
    n, = db.execute('SELECT count(*) FROM rows').fetchone()
    db.close()
    return n


def start(router):
    """(ms from DPDK to packets, rows, ms of them, resident MiB, ms of CPU of the control thread)"""
    with router.running() as p:
        memory, cpu = router.memory_mib(p), router.cpu_ms(p)
    line = re.search(r'packets flow, (\d+) ms after DPDK was ready; (\d+) stored rows took (\d+) ms', router.log)
    if not line or 'refused' in router.log:
        sys.exit(router.log)
    return [int(n) for n in line.groups()] + [memory, cpu]


def main():
    args = argparse.ArgumentParser()
    args.add_argument('program')
    args.add_argument('--vms', type=int, default=100000)
    args.add_argument('--rounds', type=int, default=3)
    args.add_argument('--limit-ms', type=int, help='fail when the best round takes longer')
    o = args.parse_args()
    with daemon.Router(o.program, o.vms) as r:
        empty = start(r)
        fill(r, o.vms)
        size = os.stat(f'{r.dir}/state.db').st_size
        print(f'{o.vms} VMs, {size >> 20} MiB of state; without any: {empty[0]} ms, {empty[4]} ms of CPU, {empty[3]} MiB')
        rounds = [[stored(r)] + start(r) for _ in range(o.rounds)]
    for there, ms, rows, load, memory, cpu in rounds:
        if rows != there or there <= o.vms:
            sys.exit(f'{rows} rows of {there} were loaded, {o.vms} of them VMs')
        print(f'packets flow {ms} ms after DPDK was ready, of which the store took {load} ms; '
              f'{cpu} ms of CPU, {memory} MiB')
    if o.limit_ms and min(r[1] for r in rounds) > o.limit_ms:
        sys.exit(f'more than {o.limit_ms} ms')


main()
