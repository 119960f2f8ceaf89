#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""How long a packet takes through the router, and through testpmd, at parts of what each carries without a drop.

For each device its no-drop rate is sought first: by halves, below what came back of a flood; a rate holds if of three trials one lost no
more than --loss. Then each round offers each device 10, 50 and 90 % of its own rate, evenly spaced, and times each 16th packet, from its
being handed to the ring until it is taken from one. All devices stay up meanwhile, and all but one are stopped.
"""
import argparse
import collections
import os
import shutil
import signal
import statistics
import sys

import duts
from hugepages import Hugepages

STEPS = 7  # of the search: to within a hundredth
TRIALS = 3  # of a rate: something else may have had the CPU in one
REACHED = 0.98  # of the rate that was asked; with less, the generator was the limit

Trial = collections.namedtuple('Trial', 'mpps lost median p99 p999 most')  # ns
Series = collections.namedtuple('Series', 'workload dut vms frame limit share trials')


def pace(o, device, workload, frame, mpps, ms):
    device.go_on()
    try:
        return Trial(*(float(n) for n in device.ask(f'pace {workload} {frame} {mpps:.5f} {o.warm_ms} {ms}').split()))
    finally:
        device.halt()


def held(o, device, workload, frame, mpps):
    """What was offered of such a rate, if that lost nothing; else 0."""
    for _ in range(TRIALS):
        t = pace(o, device, workload, frame, mpps, o.trial_ms)
        if t.lost <= o.loss:
            return t.mpps
    return 0


def flood(o, device, workload, frame):
    return device.measure(workload, frame, o.warm_ms, o.trial_ms)[0]


def no_drop_rate(o, device, workload, frame):
    """What it is, and what came back of a flood then."""
    top = statistics.median(flood(o, device, workload, frame) for _ in range(3))
    low, high, rate = 0, top, top
    for _ in range(STEPS + 1):
        got = held(o, device, workload, frame, rate)
        if got < REACHED * rate:
            high = rate
        elif rate == high:
            return rate, top
        low = max(low, got)
        rate = (low + high) / 2
    if not low:
        raise duts.Failed(f'{device.name}, {workload}: {high:.3f} Mpps are lost, too')
    return low, top


def measure(o, devices, workload, frame):
    """A Series for each device and share."""
    limit = {d: no_drop_rate(o, d, workload, frame) for d in devices}
    trials, rates = {(d, share): [] for d in devices for share in o.shares}, {d: [] for d in devices}
    for _ in range(o.rounds):
        for d, (rate, top) in limit.items():
            rates[d].append(rate * flood(o, d, workload, frame) / top)
            for share in o.shares:
                trials[d, share].append(pace(o, d, workload, frame, rates[d][-1] * share / 100, o.ms))
    return [Series(workload, d.name, d.vms, frame, statistics.median(rates[d]), share, seen) for (d, share), seen in trials.items()]


def run_count(o, vms):
    """Of all workloads, each with its VMs."""
    for what in dict.fromkeys(duts.VMS_OF[w] for w in o.workloads):
        devices = [duts.Testpmd(o.generator, vms, what), duts.Nearway(o.generator, vms, what, o.nearwayd)]
        try:
            for d in devices:
                d.start()
            for workload in (w for w in o.workloads if duts.VMS_OF[w] == what):
                yield from measure(o, devices, workload, o.frame)
        finally:
            for d in devices:
                d.stop()


def figures(s):
    row = {'workload': s.workload, 'dut': s.dut, 'vms': s.vms, 'frame': s.frame, 'no_drop_mpps': round(s.limit, 3), 'share': s.share,
           'mpps': statistics.median(t.mpps for t in s.trials), 'lost_percent': statistics.median(t.lost for t in s.trials)}
    for name in ('median', 'p99', 'p999', 'most'):
        us = [getattr(t, name) / 1000 for t in s.trials]
        row |= {f'{name}_us': statistics.median(us), f'{name}_us_min': min(us), f'{name}_us_max': max(us)}
    return row


HEAD = 'workload  VMs      device   no drop Mpps   load   offered  lost        median (min to max)       99 %                    99.9 %, us'


def line(f):
    times = '  '.join(f'{f[n + "_us"]:7.2f} ({f[n + "_us_min"]:.2f} to {f[n + "_us_max"]:.2f})' for n in ('median', 'p99', 'p999'))
    return (f'{f["workload"]:4} {f["vms"]:>9}      {f["dut"]:8} {f["no_drop_mpps"]:10.3f}   {f["share"]:4} %  {f["mpps"]:7.3f}  {f["lost_percent"]:.3f} %  '
            f'{times}')


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument('generator')
    args.add_argument('nearwayd')
    args.add_argument('--vms', default='1000,100000')
    args.add_argument('--frame', type=int, default=60)
    args.add_argument('--workloads', default='W1,W2', help='of ' + ', '.join(duts.VMS_OF))
    args.add_argument('--shares', default='10,50,90', help='of the no-drop rate, in percent')
    args.add_argument('--loss', type=float, default=0, help='percent of packets that a no-drop rate may lose')
    args.add_argument('--rounds', type=int, default=9)
    args.add_argument('--ms', type=int, default=300, help='of a measurement')
    args.add_argument('--trial-ms', type=int, default=100, help='of a step of the search')
    args.add_argument('--warm-ms', type=int, default=50, help='before each')
    args.add_argument('--json')
    o = args.parse_args()
    o.workloads, o.shares = o.workloads.split(','), [int(n) for n in o.shares.split(',')]
    counts = [int(n) for n in o.vms.split(',')]
    if os.getuid() != 0 or not shutil.which('dpdk-testpmd') or os.cpu_count() < 2:
        print('it needs root, two CPUs and dpdk-testpmd')
        return 77
    rows = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with Hugepages(512 + max(counts) // 1000):
        print(f'{o.rounds} rounds of {o.ms} ms\n{HEAD}', flush=True)
        for vms in counts:
            for s in run_count(o, vms):
                rows.append(figures(s))
                print(line(rows[-1]), flush=True)
    duts.save(rows, o.json)
    return 0


try:
    sys.exit(main())
except duts.Failed as e:
    sys.exit(str(e))
