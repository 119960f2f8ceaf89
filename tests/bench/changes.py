# SPDX-License-Identifier: BSD-3-Clause
"""What a router acknowledges in a second: single changes of one controller over the encrypted channel, each durable.

usage: changes.py NEARWAYD BENCH_CHANGES [--vms N] [--in-flight N] [--dir DIR]
"""
import argparse
import subprocess
import sys

import daemon


def main():
    args = argparse.ArgumentParser()
    args.add_argument('program')
    args.add_argument('bench')
    args.add_argument('--vms', type=int, default=100000)
    args.add_argument('--in-flight', type=int, default=1024)
    args.add_argument('--dir', help='on the disk that shall hold the state')
    o = args.parse_args()
    with daemon.Router(o.program, o.vms, o.dir) as r:
        with r.running() as p:
            before = r.cpu_ms(p), r.cpu_ms(p, 'store')
            c = subprocess.run([o.bench, r.controller, r.key, f'127.0.0.1:{r.port}', str(o.vms), str(o.in_flight)], check=False)
            control, store = r.cpu_ms(p) - before[0], r.cpu_ms(p, 'store') - before[1]
        if c.returncode != 0:
            sys.exit(r.log[-2000:])
        print(f'CPU for each change: {1000 * control / o.vms:.1f} us of the control thread, {1000 * store / o.vms:.1f} us of the '
              'store thread')


main()
