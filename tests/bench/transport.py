#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The router beside its peers on a real transport: how many packets a second each gives back of a workload, and what part that is of what
the transport carries at all.

Every round measures each device once, one after the other, so that what else the machine does meets them alike; ratios are of one round,
and their median and quartiles are told. All devices stay up meanwhile, and all but one are stopped (SIGSTOP).
"""
import argparse
import collections
import json
import os
import shutil
import signal
import statistics
import sys

import duts
import peers

LIMIT = 'testpmd'
PAGES = '/proc/sys/vm/nr_hugepages'
FREE = '/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages'
SPREAD = 0.25  # of the median, between quartiles: beyond it a ratio says little
HEAD = 'workload  VMs      frame  device    Mpps (min to max)           lost     of the limit (quartiles)    cycles'

Series = collections.namedtuple('Series', 'workload dut vms frame mpps lost ratios tsc_hz')


# ---- hugepages ----

def number(file):
    with open(file, encoding='ascii') as f:
        return int(f.read())


def set_pages(n):
    with open(PAGES, 'w', encoding='ascii') as f:
        f.write(f'{n}\n')


class Hugepages:
    """So many free ones while it lasts."""

    def __init__(self, free):
        self.before, self.free = number(PAGES), free

    def __enter__(self):
        set_pages(self.before + max(0, self.free - number(FREE)))
        if number(FREE) < self.free:
            sys.exit(f'there are {number(FREE)} free 2 MiB hugepages, and {self.free} are needed')

    def __exit__(self, *_):
        set_pages(self.before)


# ---- measuring ----

def devices(o, vms, what):
    known = {'testpmd': duts.Testpmd, 'nearway': lambda *of: duts.Nearway(*of, o.nearwayd), 'ovs': peers.Ovs, 'kernel': peers.Kernel}
    devs = [known[name](o.generator, vms, what) for name in o.duts]
    return [d for d in devs if any(d.can(w) for w in o.workloads if duts.VMS_OF[w] == what)]


def measure(o, devs, workload, frame):
    """A Series for each device."""
    able = [d for d in devs if d.can(workload)]
    seen = {d.name: [] for d in able}
    for _ in range(o.rounds):
        for d in able:
            seen[d.name].append(d.measure(workload, {'imix': 0, '1500': 1514}.get(frame, frame), o.warm_ms, o.ms))
    limit = [mpps for mpps, _ in seen.get(LIMIT, [])]
    return [Series(workload, d.name, d.vms, frame, [m for m, _ in seen[d.name]], [lost for _, lost in seen[d.name]],
                   [m / top for (m, _), top in zip(seen[d.name], limit)], d.tsc_hz) for d in able]


def run_set(o, vms, what):
    """Of all workloads that want the VMs so."""
    devs = devices(o, vms, what)
    try:
        for d in devs:
            d.start()
        for workload in (w for w in o.workloads if duts.VMS_OF[w] == what):
            for frame in o.frame:
                yield from measure(o, devs, workload, frame)
    finally:
        for d in devs:
            d.stop()


# ---- figures ----

def quartiles(values):
    return statistics.quantiles(values, n=4, method='inclusive') if len(values) > 1 else values * 3


def figures(s):
    q1, ratio, q3 = quartiles(s.ratios) if s.ratios else (None, None, None)
    mpps = statistics.median(s.mpps)
    return {'workload': s.workload, 'dut': s.dut, 'vms': s.vms, 'frame': s.frame if s.frame == 'imix' else int(s.frame), 'mpps_median': mpps,
            'mpps_min': min(s.mpps), 'mpps_max': max(s.mpps), 'lost_percent': statistics.median(s.lost), 'ratio_to_limit': ratio, 'ratio_q1': q1,
            'ratio_q3': q3, 'spread': bool(ratio) and q3 - q1 > SPREAD * ratio,
            'cycles_per_packet': round(s.tsc_hz / mpps / 1e6, 1) if mpps else None}


def line(f):
    ratio = f'{f["ratio_to_limit"]:5.2f} ({f["ratio_q1"]:.2f} to {f["ratio_q3"]:.2f})' if f['ratio_to_limit'] is not None else ''
    spread = '  quartiles spread by more than a quarter' if f['spread'] else ''
    return (f'{f["workload"]:4} {f["vms"]:>12} {f["frame"]:>6}  {f["dut"]:8} {f["mpps_median"]:7.3f} ({f["mpps_min"]:.3f} to {f["mpps_max"]:.3f})'
            f'{f["lost_percent"]:9.2f} %  {ratio:24} {f["cycles_per_packet"] or 0:8.0f}{spread}')


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument('generator')
    args.add_argument('nearwayd')
    args.add_argument('--vms', default='1000,100000')
    args.add_argument('--frame', default='60', help='60, imix, 1500')
    args.add_argument('--workloads', default=','.join(duts.VMS_OF))
    args.add_argument('--duts', default='testpmd,nearway', help='also ovs, kernel')
    args.add_argument('--rounds', type=int, default=9)
    args.add_argument('--ms', type=int, default=300, help='of a measurement')
    args.add_argument('--warm-ms', type=int, default=100, help='before it')
    args.add_argument('--json')
    o = args.parse_args()
    o.workloads, o.duts, o.frame = o.workloads.split(','), o.duts.split(','), o.frame.split(',')
    counts = [int(n) for n in o.vms.split(',')]
    if os.getuid() != 0 or not shutil.which('dpdk-testpmd') or os.cpu_count() < 2:
        print('it needs root, two CPUs and dpdk-testpmd')
        return 77
    rows = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with Hugepages(512 + max(counts) // 1000 + (512 if 'ovs' in o.duts else 0)):
        print(f'{o.rounds} rounds of {o.ms} ms\n{HEAD}', flush=True)
        for vms in counts:
            for what in dict.fromkeys(duts.VMS_OF[w] for w in o.workloads):
                for s in run_set(o, vms, what):
                    rows.append(figures(s))
                    print(line(rows[-1]), flush=True)
    if o.json:
        with open(o.json, 'w', encoding='ascii') as f:
            json.dump(rows, f, indent=1)
            f.write('\n')
    return 0


try:
    sys.exit(main())
except duts.Failed as e:
    sys.exit(str(e))
