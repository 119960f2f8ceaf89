#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a router costs that has nothing to do, and what its sleep costs the packet that ends it.

The same router twice, one `poll: busy` and one `poll: adaptive`, each between the two ports of a generator, by veth pairs, taps or memif. Its
worker's CPU time while nothing comes is what the scheduler says. Then packets come alone, each after a pause; the median of those that the
adaptive one got, less that of the busy one, is what sleeping added. Both are asked in turn, and the other one is stopped meanwhile. Beside
it stands what the machine itself takes to wake a thread that did nothing but sleep (wakeup.c).
"""
import argparse
import contextlib
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys

import duts
from hugepages import Hugepages

MACS = ('02:aa:00:00:00:00', '02:aa:00:00:00:01')  # of the router's WAN and DC port
WORKLOAD, BYTES = 'W1', 60
ASIDE = 'NEARWAY_BENCH_ASIDE'


def ip(*words):
    subprocess.run(('ip', *words), check=True)


class Router(duts.Nearway):
    def __init__(self, poll, *of):
        super().__init__(*of)
        self.poll = poll

    def interface(self, end, n):
        return f'{end}{self.poll[0]}{n}'

    def thread(self):
        """Of its worker, with what the scheduler knows of it."""
        tasks = f'/proc/{self.processes[0].pid}/task'
        for task in os.listdir(tasks):
            with open(f'{tasks}/{task}/comm', encoding='ascii') as f:
                if re.match('(rte|lcore)-worker-1', f.read()):
                    return f'{tasks}/{task}/schedstat'
        raise duts.Failed('the router has no worker')

    def cpu_ns(self):
        with open(self.thread(), encoding='ascii') as f:
            return int(f.read().split()[0])

    def ping(self, count, pause_ms):
        """Microseconds of each packet."""
        self.go_on()
        try:
            self.ask(f'ping {WORKLOAD} {BYTES} 3 1000')  # it was stopped
            times = [int(ns) / 1000 for ns in self.ask(f'ping {WORKLOAD} {BYTES} {count} {int(pause_ms * 1000)}').split()]
        finally:
            self.halt()
        if 0 in times:
            raise duts.Failed(f'{self.poll}: {times.count(0)} of {count} packets did not come back')
        return times

    def idle(self, seconds):
        """Percent of a CPU that its worker took."""
        self.go_on()
        try:
            self.ask(f'ping {WORKLOAD} {BYTES} 3 1000')
            before = self.cpu_ns()
            self.ask(f'ping {WORKLOAD} {BYTES} 1 {int(seconds * 1e6)}')
            return (self.cpu_ns() - before) / seconds / 1e7
        finally:
            self.halt()


class Memif(Router):
    """It has no descriptor to wait for: the worker sleeps for a time."""
    wire = 'memif'


class Kernel(Router):
    """The generator speaks by packet sockets of the kernel's interfaces."""

    def ports(self):
        return [f'net_af_packet{n},iface={self.interface("g", n)},qdisc_bypass=1' for n in (0, 1)]

    def quiet(self, name):
        subprocess.run(('sysctl', '-qw', f'net.ipv6.conf.{name}.disable_ipv6=1'), check=True)
        ip('link', 'set', name, 'mtu', '1600', 'up')


class Veth(Kernel):
    wire = 'veth'

    def devices(self):
        for n in (0, 1):
            ours, its = self.interface('g', n), self.interface('r', n)
            ip('link', 'add', ours, 'type', 'veth', 'peer', 'name', its, 'address', MACS[n])
            self.quiet(ours)
            self.quiet(its)
        return [f'net_af_packet{n},iface={self.interface("r", n)}' for n in (0, 1)]

    def stop(self):
        super().stop()
        for n in (0, 1):
            ip('link', 'delete', self.interface('g', n))


class Tap(Kernel):
    wire, mtu = 'tap', 1500  # all that net_tap takes

    def devices(self):
        return [f'net_tap{n},iface={self.interface("g", n)},mac={MACS[n]}' for n in (0, 1)]

    def start_device(self):
        super().start_device()
        for n in (0, 1):
            self.quiet(self.interface('g', n))


WIRES = {c.wire: c for c in (Veth, Tap, Memif)}


# ---- measuring ----

def wakeup(o, count, pause_ms):
    """Microseconds, of the machine alone."""
    words = ['nice', '-n', '-15', o.wakeup, duts.GENERATOR_CPU, duts.DUT_CPU, count, int(pause_ms * 1000)]
    return [int(ns) / 1000 for ns in subprocess.run([str(w) for w in words], check=True, stdout=subprocess.PIPE, text=True).stdout.split()]


def measure(o, busy, adaptive):
    """Its idle CPU, and for each pause what wake-ups and both routers' packets took."""
    idle = adaptive.idle(o.seconds)
    took = {pause: ([], [], []) for pause in o.pauses}
    for _ in range(o.rounds):
        for pause, (wakeups, *both) in took.items():
            count = max(1, round(o.ms / pause))
            wakeups += wakeup(o, count, pause)
            for router, times in zip((busy, adaptive), both):
                times += router.ping(count, pause)
    return idle, took


def run_wire(o, wire):
    routers = [WIRES[wire](poll, o.generator, o.vms, 'here', o.nearwayd) for poll in ('busy', 'adaptive')]
    try:
        for r in routers:
            r.start()
        return measure(o, *routers)
    finally:
        for r in routers:
            r.stop()


def p99(values):
    return sorted(values)[-1 - len(values) // 100]


def rows(wire, idle, took):
    for pause, times in took.items():
        row = {'wire': wire, 'idle_percent': round(idle, 3), 'pause_ms': pause, 'packets': len(times[0])}
        for name, us in zip(('wakeup', 'busy', 'adaptive'), times):
            row |= {f'{name}_us_median': round(statistics.median(us), 1), f'{name}_us_p99': round(p99(us), 1)}
        yield row | {'added_us': round(row['adaptive_us_median'] - row['busy_us_median'], 1)}


HEAD = 'wire  idle worker    pause  packets   wake-up: median, 99 %   busy: median, 99 %   adaptive: median, 99 %     added (medians), us'


def line(r):
    times = ''.join(f'{r[name + "_us_median"]:{w}.1f} {r[name + "_us_p99"]:8.1f}' for name, w in (('wakeup', 14), ('busy', 13), ('adaptive', 14)))
    return f'{r["wire"]:6}{r["idle_percent"]:9.2f} %{r["pause_ms"]:6g} ms{r["packets"]:9}{times}{r["added_us"]:18.1f}'


@contextlib.contextmanager
def awake(cpu):
    """The kernel polls there when it is idle and does not halt it: so a wake-up takes nobody's help."""
    file = f'/sys/devices/system/cpu/cpu{cpu}/power/pm_qos_resume_latency_us'
    with open(file, encoding='ascii') as f:
        before = f.read()
    with open(file, 'w', encoding='ascii') as f:
        f.write('n/a')
    try:
        yield
    finally:
        with open(file, 'w', encoding='ascii') as f:
            f.write(before)


def aside():
    """In a network namespace of its own, so that nothing is left of its links."""
    if ASIDE not in os.environ:
        os.environ[ASIDE] = '1'
        os.execvp('unshare', ['unshare', '--net', sys.executable, *sys.argv])
    ip('link', 'set', 'lo', 'up')


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument('generator')
    args.add_argument('wakeup')
    args.add_argument('nearwayd')
    args.add_argument('--vms', type=int, default=1000)
    args.add_argument('--wires', default=','.join(WIRES))
    args.add_argument('--pauses', default='1,100,1000', help='ms before a packet')
    args.add_argument('--rounds', type=int, default=5)
    args.add_argument('--ms', type=int, default=2000, help='of pauses in a round')
    args.add_argument('--seconds', type=float, default=10, help='of idleness')
    args.add_argument('--awake', action='store_true', help="the router's CPU polls in the kernel instead of halting")
    args.add_argument('--json')
    o = args.parse_args()
    o.pauses = [float(p) for p in o.pauses.split(',')]
    if os.getuid() != 0 or not shutil.which('unshare') or os.cpu_count() < 2:
        print('it needs root and two CPUs')
        return 77
    aside()
    all_rows = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with Hugepages(512 + o.vms // 1000), awake(duts.DUT_CPU) if o.awake else contextlib.nullcontext():
        print(HEAD, flush=True)
        for wire in o.wires.split(','):
            for r in rows(wire, *run_wire(o, wire)):
                all_rows.append(r)
                print(line(r), flush=True)
    duts.save(all_rows, o.json)
    return 0


try:
    sys.exit(main())
except duts.Failed as e:
    sys.exit(str(e))
