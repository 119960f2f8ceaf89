#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Does a packet cost more instructions than it did? Counted by valgrind inside pipeline_run(), so that it comes out the same on any machine,
however busy; held to instructions.json of the same compiler and options.

usage: instructions.py BENCH_PIPELINE BUILT-BY [--write]

Fails when a workload needs 5 % more than it did, and when it needs 5 % less: then the file is renewed, by --write, and says so in the
history. Ends with 77, skipped, where the file is of another compiler or valgrind is not there.
"""
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'instructions.json')
WORKLOADS = [f'W{n}' for n in range(1, 9)]
PACKETS, TOLERANCE = 3200, 0.05


def count(bench, workload):
    """Instructions per packet."""
    out = subprocess.run(['valgrind', '--tool=callgrind', '--toggle-collect=pipeline_run', '--callgrind-out-file=/dev/null', bench,
                          '--rounds', '1', '--packets', str(PACKETS), '--vms', '1000', '--no-huge', '--workloads', workload],
                         capture_output=True, text=True, check=False)
    found = re.search(r'Collected : (\d+)', out.stderr)
    if out.returncode != 0 or not found or int(found[1]) == 0:
        sys.exit(f'{workload} cannot be counted:\n{out.stdout}{out.stderr}')
    return round(int(found[1]) / PACKETS)


def main(bench, built_by, write=False):
    if not shutil.which('valgrind'):
        print('valgrind is not installed')
        return 77
    with open(FILE, encoding='utf-8') as f:
        known = json.load(f)
    if known['built-by'] != built_by and not write:
        print(f'the file is of {known["built-by"]}, this build is {built_by}')
        return 77
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        now = dict(zip(WORKLOADS, pool.map(lambda w: count(bench, w), WORKLOADS)))
    if write:
        with open(FILE, 'w', encoding='utf-8') as f:
            json.dump({'built-by': built_by, 'instructions-per-packet': now}, f, indent=2)
            f.write('\n')
        return 0
    rc = 0
    for workload, n in now.items():
        before = known['instructions-per-packet'][workload]
        good = abs(n - before) <= TOLERANCE * before
        print(f'{"ok" if good else "not ok"} {workload}: {n} instructions a packet, {before} before')
        rc |= not good
    return rc


sys.exit(main(*sys.argv[1:3], *sys.argv[3:] and [sys.argv[3] == '--write']))
