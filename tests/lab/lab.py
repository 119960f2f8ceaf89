# SPDX-License-Identifier: BSD-3-Clause
"""A lab of network namespaces: makes them, runs programs in them, takes all of it down again.

Every run has its own prefix, so that labs stand side by side; what a lab started it ends by process id, and its
namespaces by name. Nothing outside of them is touched. What a killed run left is taken down by the next one: programs
die with it, its folder and namespaces have its process id in their names.
"""
import atexit
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get('NEARWAY_BUILD', os.path.join(ROOT, 'build'))
AGENT = os.path.join(ROOT, 'tests/lab/agent.py')
PYTHON = '/usr/bin/python3'

PROGRAMS = {'nearwayd': 'src/nearwayd/nearwayd', 'nearway': 'src/cli/nearway', 'nearway-clc': 'src/clc/nearway-clc',
            'delay': 'tests/lab/delay', 'stream': 'tests/lab/stream', 'exodus': 'tests/lab/exodus', 'guest': 'tests/lab/guest',
            'strangers': 'tests/lab/strangers', 'caller': 'tests/lab/caller', 'wallclock': 'tests/lab/wallclock.so'}


ORDERLY = ('nearwayd', 'delay')
# On tmpfs: the routers' session tables live here, and a socket's path must be short.
BASE = '/dev/shm' if os.access('/dev/shm', os.W_OK) else tempfile.gettempdir()
CLONE_NEWNET = 0x40000000
HOME = f'/proc/self/fd/{os.open("/proc/self/ns/net", os.O_RDONLY)}'
KEPT = 'kept'  # a file in the folder of a lab that outlives its run


class LabError(Exception):
    """Something the lab needs did not work; the text says what."""


def program(name):
    return os.path.join(BUILD, PROGRAMS[name])


def run(argv, check=True, timeout=60, **kw):
    """Runs a command to its end; its output as text."""
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout,
                       stdin=subprocess.DEVNULL, **kw)
    if check and p.returncode != 0:
        raise LabError(f"{' '.join(argv)}: exit {p.returncode}: {(p.stderr or p.stdout).strip()}")
    return p


def enter(namespace):
    """This thread's sockets, and those of threads that it starts, are made there from now on."""
    with open(namespace, encoding='ascii') as f:
        if ctypes.CDLL(None).setns(f.fileno(), CLONE_NEWNET) != 0:
            raise LabError(f'setns {namespace} failed')


def until(cond, seconds=10.0, step=0.02):
    """Waits until cond() is true, at most so long; its last value."""
    end = time.monotonic() + seconds
    while True:
        value = cond()
        if value or time.monotonic() > end:
            return value
        time.sleep(step)


def wait_for(what, cond, seconds=10.0, step=0.02):
    """Waits until cond() is true and returns its value; LabError names `what` when time is over."""
    value = until(cond, seconds, step)
    if not value:
        raise LabError(f'{what}: not within {seconds:g} s')
    return value


def stat_of(pid):
    """Fields of /proc/PID/stat that follow the name: state first. Empty when there is no such process."""
    try:
        with open(f'/proc/{pid}/stat', encoding='utf-8', errors='replace') as f:
            return f.read().rpartition(')')[2].split()
    except OSError:
        return []


def born(pid):
    """When a process began, in clock ticks since boot: with its id, what no other process has. None: there is none."""
    return int((stat_of(pid) or [0] * 20)[19]) or None


def waited_ms(pid, but=None):
    """For how long the threads of a process (`but` one) have been ready to run and had no CPU, since they began: the
    machine's doing."""
    total = 0
    for task in set(os.listdir(f'/proc/{pid}/task')) - {str(but)} if os.path.exists(f'/proc/{pid}/task') else ():
        try:
            with open(f'/proc/{pid}/task/{task}/schedstat', encoding='ascii') as f:
                total += int(f.read().split()[1])
        except OSError:
            pass  # it ended meanwhile
    return total / 1e6


def stands_at(pid):
    """What each thread of a process is about, and what the disk still has to take: why it does not answer."""
    def line(path):
        try:
            with open(path, encoding='ascii') as f:
                return f.read().strip()
        except OSError:
            return '?'
    threads = [f'/proc/{pid}/task/{t}' for t in os.listdir(f'/proc/{pid}/task')] if os.path.exists(f'/proc/{pid}/task') else []
    disk = [' '.join(m.split()) for m in line('/proc/meminfo').splitlines() if m.startswith(('Dirty', 'Writeback:'))]
    return '; '.join([f"{line(t + '/comm')}: {line(t + '/stat').rpartition(')')[2].split()[0]} in {line(t + '/wchan')}" for t in threads] + disk)


class Process:
    """A program in a namespace, with its log. `orderly`: it must end by SIGTERM and with 0, if no test kills it."""

    def __init__(self, name, popen, log, orderly):
        self.name, self.popen, self.log, self.pid, self.orderly = name, popen, log, popen.pid, orderly
        self.killed = self.slow = False

    def alive(self):
        return self.popen.poll() is None

    def output(self):
        with open(self.log, encoding='utf-8', errors='replace') as f:
            return f.read()

    def kill(self, sig):
        if self.alive():
            self.killed |= sig == signal.SIGKILL
            self.popen.send_signal(sig)

    def stop(self, sig=signal.SIGTERM, seconds=20.0):
        """Ends it; its exit code (negative: the signal that did it)."""
        self.kill(sig)
        return self.wait(seconds)

    def wait(self, seconds=20.0):
        """Its exit code once it has ended; it is killed if it does not."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.slow = True
            self.popen.kill()
            return self.popen.wait(5)

    def fault(self):
        """What is wrong with the way in which it ended: a crash, a sanitizer's finding, no end at all. None: nothing."""
        code = self.popen.returncode
        if not self.orderly or code == 0 or (self.killed and code == -signal.SIGKILL and not self.slow):
            return None
        return f"{self.name} {'did not end' if self.slow else f'ended with {code}'}: {self.output()[-3000:]}"


class Agent:
    """A traffic agent (agent.py) in a namespace; commands go over a unix socket in the lab's folder."""

    def __init__(self, lab, ns, role):
        self.path = os.path.join(lab.dir, f'{role}-{ns}.sock')
        self.ns = ns
        self.process = lab.spawn(ns, [PYTHON, AGENT, self.path], name=f'{role}-{ns}')
        wait_for(f'agent in {ns}', lambda: os.path.exists(self.path) or not self.process.alive())
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        wait_for(f'agent in {ns}', self.connected)
        self.file = self.sock.makefile('r')

    def connected(self):
        try:
            self.sock.connect(self.path)
            return True
        except OSError:
            return False

    def call(self, cmd, timeout=20.0, **args):
        try:
            self.sock.settimeout(timeout)
            self.sock.sendall((json.dumps({'cmd': cmd, **args}) + '\n').encode())
            line = self.file.readline()
        except OSError as e:
            self.sock.close()  # a late answer must not be taken for that of the next question
            raise LabError(f'agent in {self.ns}: {cmd}: no answer ({e})') from e
        if not line:
            raise LabError(f'agent in {self.ns} is gone: {self.process.output()[-2000:]}')
        reply = json.loads(line)
        if 'error' in reply:
            raise LabError(f"agent in {self.ns}: {cmd}: {reply['error']}")
        return reply['result']


class Lab:
    all = []
    outlives = False  # its programs go on when the run that made it has ended

    def __init__(self, name='lab'):
        if os.geteuid() != 0:
            raise LabError('namespaces need root')
        if not Lab.all:
            sweep()
        self.prefix = f'nw{os.getpid()}{chr(97 + len(Lab.all))}-'
        Lab.all.append(self)
        self.dir = tempfile.mkdtemp(prefix=f'{self.prefix}{name}-', dir=BASE)
        self.namespaces, self.processes, self.agents = [], [], {}
        self.kept = False
        atexit.register(self.close)
        for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(sig, lambda s, _: sys.exit(128 + s))

    def close(self):
        """Takes it down; says what was wrong with the way in which programs ended. Routers go first: see Stream."""
        if self.kept or self.dir is None:
            return []
        for first in (True, False):
            some = [p for p in self.processes if p.orderly == first]
            for p in some:
                p.kill(signal.SIGTERM)
            for p in some:
                p.wait()
        faults = [p.fault() for p in self.processes if p.fault()]
        take_down({'dir': self.dir, 'namespaces': [self.prefix + n for n in self.namespaces], 'pids': []})
        self.dir = None
        self.namespaces, self.processes = [], []
        return faults

    def keep(self):
        """Leaves it up when the run ends. Returns what `take_down` needs."""
        self.kept = True
        self.file(KEPT)
        return {'dir': self.dir, 'namespaces': [self.prefix + n for n in self.namespaces],
                'pids': [(p.pid, born(p.pid)) for p in self.processes if p.alive()]}

    def waited_ms(self):
        """The time that this lab's programs have waited for a CPU, all together."""
        return sum(waited_ms(p.pid) for p in self.processes)

    # ---- namespaces and links ----

    def ns(self, *names, forward=False, sysctl=()):
        """Adds namespaces: loopback up, no IPv6 (its chatter would only blur counters)."""
        for name in names:
            full = self.prefix + name
            run(['ip', 'netns', 'add', full])
            self.namespaces.append(name)
            settings = ['net/ipv6/conf/all/disable_ipv6=1', 'net/ipv6/conf/default/disable_ipv6=1',
                        'net/ipv4/conf/all/send_redirects=0', 'net/ipv4/conf/default/send_redirects=0',
                        'net/ipv4/conf/all/accept_redirects=0', 'net/ipv4/conf/default/accept_redirects=0',
                        'net/ipv4/conf/all/rp_filter=0', 'net/ipv4/conf/default/rp_filter=0',
                        f'net/ipv4/ip_forward={int(forward)}', *sysctl]
            script = ''.join('echo {1} >/proc/sys/{0};'.format(*s.split('=')) for s in settings)
            self.sh(name, script + 'ip link set lo up')

    def exec(self, ns, argv, **kw):
        return run(['ip', 'netns', 'exec', self.prefix + ns, *argv], **kw)

    @contextlib.contextmanager
    def inside(self, ns):
        """This thread's sockets are made in a namespace of the lab meanwhile."""
        enter(f'/var/run/netns/{self.prefix}{ns}')
        try:
            yield
        finally:
            enter(HOME)

    def sh(self, ns, script, **kw):
        return self.exec(ns, ['sh', '-ec', script], **kw)

    def ip(self, ns, *args, **kw):
        """lab.ip('user', 'route add default via 192.0.2.1')"""
        return run(['ip', '-n', self.prefix + ns, *' '.join(args).split()], **kw)

    def link(self, a, b, mtu=1500, mac_a=None, mac_b=None):
        """A wire between 'ns:interface' and 'ns:interface', as plain as a real one: no offloads, so every frame has its
        checksums and no frame exceeds the MTU."""
        (ns_a, if_a), (ns_b, if_b) = a.split(':'), b.split(':')
        extra_a = ['address', mac_a] if mac_a else []
        extra_b = ['address', mac_b] if mac_b else []
        run(['ip', 'link', 'add', 'name', if_a, 'netns', self.prefix + ns_a, 'mtu', str(mtu), *extra_a, 'type', 'veth',
             'peer', 'name', if_b, 'netns', self.prefix + ns_b, 'mtu', str(mtu), *extra_b])
        for ns, dev in ((ns_a, if_a), (ns_b, if_b)):
            self.exec(ns, ['ethtool', '-K', dev, 'tx', 'off', 'rx', 'off', 'tso', 'off', 'gso', 'off', 'gro', 'off'])
            self.ip(ns, 'link set dev', dev, 'up')

    def bridge(self, ns, name, *ports):
        """A learning switch."""
        self.ip(ns, 'link add name', name, 'type bridge stp_state 0 forward_delay 0 mcast_snooping 0')
        for p in ports:
            self.ip(ns, 'link set dev', p, 'master', name)
        self.ip(ns, 'link set dev', name, 'up')

    def address(self, ns, dev, *addresses, via=None):
        for a in addresses:
            self.ip(ns, 'addr add', a, 'dev', dev)
        if via:
            self.ip(ns, 'route add default via', via)

    def mac(self, ns, dev):
        return json.loads(self.ip(ns, '-j link show', dev).stdout)[0]['address']

    # ---- programs ----

    def spawn(self, ns, argv, name=None, nice=0, **kw):
        name = name or os.path.basename(argv[0])
        orderly = argv[0] in [program(n) for n in ORDERLY]
        argv = ['ip', 'netns', 'exec', self.prefix + ns, *argv]
        if not self.outlives:
            argv = ['setpriv', '--pdeathsig', 'KILL', *argv]
        if nice:  # of the session, too: where sessions share the CPU (sched_autogroup), that of a process means nothing
            argv = ['sh', '-c', f'{{ echo {nice} >/proc/self/autogroup; }} 2>/dev/null; exec nice -n {nice} "$@"', 'sh', *argv]
        log = os.path.join(self.dir, f'{name}.log')
        with open(log, 'ab') as out:
            popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                     start_new_session=True, **kw)
        p = Process(name, popen, log, orderly)
        self.processes.append(p)
        return p

    def delay(self, ns, a, b, ms):
        """A long wire between two interfaces of a namespace."""
        p = self.spawn(ns, [program('delay'), a, b, str(int(ms * 1000))], name=f'delay-{ns}')
        wait_for('delay', lambda: 'ready' in p.output() or not p.alive())
        if not p.alive():
            raise LabError(p.output())
        return p

    def agent(self, ns, role='agent'):
        """The host's traffic. A command that waits stops the sessions of its agent: see probe()."""
        if (ns, role) not in self.agents:
            self.agents[ns, role] = Agent(self, ns, role)
        return self.agents[ns, role]

    def probe(self, ns):
        """A second agent in the same host, for questions that wait for an answer."""
        return self.agent(ns, 'probe')

    def iperf(self, client, server, address, *options, seconds=2):
        """iperf3 between two hosts; the client's JSON."""
        s = self.spawn(server, ['iperf3', '-s', '-1', '--forceflush'], name=f'iperf-{server}-{len(self.processes)}')
        wait_for('iperf3 listens', lambda: 'listening' in s.output() or not s.alive())
        out = json.loads(self.exec(client, ['iperf3', '-J', '-c', address, '-t', str(seconds), *options], check=False).stdout)
        s.stop()
        if 'error' in out:
            raise LabError(f"iperf3: {out['error']}")
        return out

    def file(self, name, text='', mode=0o644):
        path = os.path.join(self.dir, name)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        os.chmod(path, mode)
        return path


def take_down(state):
    """Ends a lab: its processes by id, then what else runs in its namespaces, then these."""
    for pid, began in state['pids']:
        try:
            if born(pid) == began:  # else it is somebody else's by now
                os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
    for ns in state['namespaces']:
        for sig in (signal.SIGTERM, signal.SIGKILL):
            pids = run(['ip', 'netns', 'pids', ns], check=False).stdout.split()
            for pid in pids:
                try:
                    os.kill(int(pid), sig)
                except ProcessLookupError:
                    pass
            end = time.monotonic() + 2
            while pids and time.monotonic() < end and run(['ip', 'netns', 'pids', ns], check=False).stdout.split():
                time.sleep(0.05)
        run(['ip', 'netns', 'del', ns], check=False)
    if state['dir']:
        shutil.rmtree(state['dir'], ignore_errors=True)


def sweep():
    """Takes down what runs left that were killed: their folders, and namespaces that have no folder any more."""
    def dead(name):
        m = re.match(r'(nw(\d+)[a-z]-)', name)
        return m[1] if m and not stat_of(m[2]) else None

    namespaces = [line.split()[0] for line in run(['ip', 'netns', 'list']).stdout.splitlines() if line]
    folders = {f: dead(f) for f in os.listdir(BASE) if dead(f)}
    kept = {prefix for f, prefix in folders.items() if os.path.exists(os.path.join(BASE, f, KEPT))}
    left = [n for n in namespaces if dead(n) and dead(n) not in kept]
    take_down({'dir': None, 'namespaces': left, 'pids': []})
    for folder, prefix in folders.items():
        if prefix not in kept:
            shutil.rmtree(os.path.join(BASE, folder), ignore_errors=True)
