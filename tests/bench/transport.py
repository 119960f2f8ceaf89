#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The router beside its peers on a real transport: how many packets a second each gives back of a workload, and what part that is of what
the transport carries at all.

Every round measures each device once, one after the other, so that what else the machine does meets them alike; ratios are of one round,
and their median and quartiles are told. All devices stay up meanwhile, and all but one are stopped (SIGSTOP). At the end stands what is
asked of the router (verdict.py), and whether it holds.
"""
import argparse
import collections
import os
import shutil
import signal
import statistics
import sys

import duts
import peers
from hugepages import Hugepages
from verdict import is_spread, quartiles, verdicts

LIMIT = 'testpmd'
OURS = (LIMIT, 'nearway')
TRIES = 4  # times as many rounds as are asked for, where some do not count
HEAD = 'workload  VMs      frame  device    Mpps (min to max)           lost     of the limit (quartiles)    cycles'

Series = collections.namedtuple('Series', 'workload dut vms frame mpps lost ratios tsc_hz')


# ---- measuring ----

def devices(o, vms, what):
    known = {'testpmd': duts.Testpmd, 'nearway': lambda *of: duts.Nearway(*of, o.nearwayd), 'ovs': peers.Ovs, 'kernel': peers.Kernel}
    devs = [known[name](o.generator, vms, what) for name in o.duts if name in OURS or vms <= o.peers_most]
    return [d for d in devs if any(d.can(w) for w in o.workloads if duts.VMS_OF[w] == what)]


def one_round(o, able, workload, frame):
    """What each device gave; nothing where the limit, before the others or after them, was below what the user takes for a fast line, or
    gave no frame back: something else had the CPU."""
    bytes_ = {'imix': 0, '1500': 1514}.get(frame, frame)
    seen = {d.name: d.measure(workload, bytes_, o.warm_ms, o.ms) for d in able}
    limits = [seen[LIMIT]] if LIMIT in seen else []
    if o.line:
        limits += [d.measure(workload, bytes_, o.warm_ms, o.ms) for d in able if d.name == LIMIT]
    return seen if all(mpps and mpps >= o.line for mpps, _ in limits) else {}


def measure(o, devs, workload, frame):
    """A Series for each device."""
    able = [d for d in devs if d.can(workload)]
    rounds, left = [], o.rounds * TRIES
    while len(rounds) < o.rounds and left > 0:
        rounds += filter(None, [one_round(o, able, workload, frame)])
        left -= 1
    if len(rounds) < o.rounds:
        print(f'{workload:4} {devs[0].vms:>12} {frame:>6}  {len(rounds)} of {o.rounds * TRIES} rounds had a limit that counts', flush=True)
    limit = [seen[LIMIT][0] for seen in rounds if LIMIT in seen]
    for d in able if rounds else ():
        mpps = [seen[d.name][0] for seen in rounds]
        yield Series(workload, d.name, d.vms, frame, mpps, [seen[d.name][1] for seen in rounds], [m / top for m, top in zip(mpps, limit)], d.tsc_hz)


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

def figures(s):
    q1, ratio, q3 = quartiles(s.ratios) if s.ratios else (None, None, None)
    mpps = statistics.median(s.mpps)
    return {'workload': s.workload, 'dut': s.dut, 'vms': s.vms, 'frame': s.frame if s.frame == 'imix' else int(s.frame), 'mpps_median': mpps,
            'mpps_min': min(s.mpps), 'mpps_max': max(s.mpps), 'lost_percent': statistics.median(s.lost), 'ratio_to_limit': ratio, 'ratio_q1': q1,
            'ratio_q3': q3, 'spread': bool(ratio) and is_spread(q1, ratio, q3), 'rounds': len(s.mpps),
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
    args.add_argument('--peers-most', type=int, default=100000, help='with more VMs ovs and kernel are left out: they take minutes to start')
    args.add_argument('--rounds', type=int, default=9)
    args.add_argument('--line', type=float, default=0, help='Mpps: rounds with a limit below it do not count, and are made again')
    args.add_argument('--ms', type=int, default=150, help='of a measurement')
    args.add_argument('--warm-ms', type=int, default=50, help='before it')
    args.add_argument('--json')
    o = args.parse_args()
    o.workloads, o.duts, o.frame = o.workloads.split(','), o.duts.split(','), o.frame.split(',')
    counts = [int(n) for n in o.vms.split(',')]
    if os.getuid() != 0 or not shutil.which('dpdk-testpmd') or os.cpu_count() < 2:
        print('it needs root, two CPUs and dpdk-testpmd')
        return 77
    if o.line and LIMIT not in o.duts:
        print(f'--line is told by {LIMIT}')
        return 2
    rows, rounds = [], collections.defaultdict(dict)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with Hugepages(512 + max(counts) // 1000 + (512 if 'ovs' in o.duts else 0)):
        print(f'{o.rounds} rounds of {o.ms} ms\n{HEAD}', flush=True)
        for vms in counts:
            for what in dict.fromkeys(duts.VMS_OF[w] for w in o.workloads):
                for s in run_set(o, vms, what):
                    rows.append(figures(s))
                    rounds[s.workload, s.vms, s.frame][s.dut] = s.mpps
                    print(line(rows[-1]), flush=True)
    for verdict in verdicts(rounds):
        print(verdict)
    duts.save(rows, o.json)
    return 0


try:
    sys.exit(main())
except duts.Failed as e:
    sys.exit(str(e))
