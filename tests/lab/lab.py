# SPDX-License-Identifier: BSD-3-Clause
"""A lab of network namespaces: makes them, runs programs in them, takes all of it down again.

Every run has its own prefix, so that labs stand side by side; what a lab started it ends by process id, and its
namespaces by name. Nothing outside of them is touched.
"""
import atexit
import json
import os
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
            'delay': 'tests/lab/delay', 'stream': 'tests/lab/stream'}


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


def wait_for(what, cond, seconds=10.0, step=0.02):
    """Waits until cond() is true and returns its value; LabError names `what` when time is over."""
    end = time.monotonic() + seconds
    while True:
        value = cond()
        if value:
            return value
        if time.monotonic() > end:
            raise LabError(f'{what}: not within {seconds:g} s')
        time.sleep(step)


class Process:
    """A program in a namespace, with its log."""

    def __init__(self, name, popen, log):
        self.name, self.popen, self.log, self.pid = name, popen, log, popen.pid

    def alive(self):
        return self.popen.poll() is None

    def output(self):
        with open(self.log, encoding='utf-8', errors='replace') as f:
            return f.read()

    def kill(self, sig):
        if self.alive():
            self.popen.send_signal(sig)

    def stop(self, sig=signal.SIGTERM, seconds=5.0):
        """Ends it; its exit code (negative: the signal that did it)."""
        self.kill(sig)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait(5)


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
        self.sock.settimeout(timeout)
        self.sock.sendall((json.dumps({'cmd': cmd, **args}) + '\n').encode())
        line = self.file.readline()
        if not line:
            raise LabError(f'agent in {self.ns} is gone: {self.process.output()[-2000:]}')
        reply = json.loads(line)
        if 'error' in reply:
            raise LabError(f"agent in {self.ns}: {cmd}: {reply['error']}")
        return reply['result']


class Lab:
    count = 0

    def __init__(self, name='lab'):
        if os.geteuid() != 0:
            raise LabError('namespaces need root')
        self.prefix = f'nw{os.getpid()}{chr(97 + Lab.count)}-'
        Lab.count += 1
        # On tmpfs: the routers' session tables live here, and a socket's path must be short.
        base = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None
        self.dir = tempfile.mkdtemp(prefix=f'nw-{name}-', dir=base)
        self.namespaces, self.processes, self.agents = [], [], {}
        self.keep = False
        atexit.register(self.close)
        for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(sig, lambda s, _: sys.exit(128 + s))

    def close(self):
        if self.keep or self.dir is None:
            return
        for p in self.processes:
            p.kill(signal.SIGTERM)
        for p in self.processes:
            p.stop(seconds=3.0)
        take_down({'dir': self.dir, 'namespaces': [self.prefix + n for n in self.namespaces], 'pids': []})
        self.dir = None
        self.namespaces, self.processes = [], []

    def state(self):
        """What `take_down` needs to end a lab that was kept."""
        return {'dir': self.dir, 'namespaces': [self.prefix + n for n in self.namespaces],
                'pids': [p.pid for p in self.processes if p.alive()]}

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
        if nice:
            argv = ['nice', '-n', str(nice), *argv]
        log = os.path.join(self.dir, f'{name}.log')
        with open(log, 'ab') as out:
            popen = subprocess.Popen(['ip', 'netns', 'exec', self.prefix + ns, *argv], stdin=subprocess.DEVNULL,
                                     stdout=out, stderr=subprocess.STDOUT, start_new_session=True, **kw)
        p = Process(name, popen, log)
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
    for pid in state['pids']:
        try:
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
    shutil.rmtree(state['dir'], ignore_errors=True)
