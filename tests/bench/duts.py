# SPDX-License-Identifier: BSD-3-Clause
"""Devices under test of transport.py, each with a generator of its own: started, told to go on while it is measured, stopped."""
import contextlib
import json
import os
import signal
import socket
import sqlite3
import struct
import subprocess
import tempfile
import time

import daemon

GENERATOR_CPU, DUT_CPU = 0, 1
VMS_OF = {'W1': 'here', 'W2': 'here', 'W3': 'pairs', 'W4': 'pairs', 'W5': 'trombone', 'W6': 'pairs', 'W7': 'draining', 'W8': 'away'}
SESSIONS = 1 << 20
SPEAK = {'here': 'W2', 'pairs': 'W3', 'draining': 'W7'}  # the VMs that stand here do
NICE = -15
START_S, SETTLED_S = 120, 240


class Failed(Exception):
    pass


def save(rows, path):
    """As --json asks; path None: nobody does."""
    if path:
        with open(path, 'w', encoding='ascii') as f:
            json.dump(rows, f, indent=1)
            f.write('\n')


class Device:
    """In a directory of its own. What is not being measured is stopped (SIGSTOP), so that the CPU is the other one's."""
    name, check, queues = '', 'routed', 1

    def __init__(self, generator, vms, what):
        self.program, self.vms, self.what, self.processes = generator, vms, what, []
        self.home = tempfile.TemporaryDirectory(prefix='nearway-bench-')  # goes with it, also where it never starts
        self.dir = self.home.name
        self.generator, self.tsc_hz = None, 0

    def spawn(self, words, name, **more):
        """First of all others at the CPU: a core that forwards has nothing else to do."""
        with open(f'{self.dir}/{name}.log', 'w', encoding='utf-8') as log:
            p = subprocess.Popen(words, stderr=log, preexec_fn=lambda: os.nice(NICE), **{'stdout': log, 'stdin': subprocess.DEVNULL, **more})
        self.processes.append(p)
        return p

    def log(self, name):
        with open(f'{self.dir}/{name}.log', encoding='utf-8', errors='replace') as f:
            return f.read()

    def wait(self, p, name, ready):
        end = time.monotonic() + START_S
        while not ready():
            if p.poll() is not None or time.monotonic() > end:
                raise Failed(f'{self.name} does not start: {self.log(name)[-2000:]}')
            time.sleep(0.05)

    # ---- a transport ----

    def memif(self, n, role, more=''):
        return f'net_memif{n},role={role},id={n},socket={self.dir}/memif.sock,socket-abstract=no,rsize=10{more}'

    def ports(self):
        return [self.memif(n, 'client') for n in (0, 1)]

    def start(self):
        """Whatever it is; then its generator."""
        self.start_device()
        words = [self.program, f'--lcores=0@{GENERATOR_CPU}', '--no-pci', '--in-memory', '--no-telemetry', '--log-level=error']
        words += [f'--vdev={port}' for port in self.ports()] + ['--', str(self.vms), self.check, str(self.queues)]
        self.generator = self.spawn(words, 'generator', stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.tsc_hz = int(self.hear())
        self.prepare()
        self.halt()

    def ask(self, line):
        self.generator.stdin.write(f'{line}\n')
        self.generator.stdin.flush()
        return self.hear()

    def hear(self):
        line = self.generator.stdout.readline()
        if not line:
            raise Failed(f'{self.name}: {self.log("generator")[-4000:]}')
        return line

    def measure(self, workload, frame, warm_ms, ms):
        """Mpps that came back, and how much of 100 that were sent did not."""
        self.go_on()
        try:
            return [float(n) for n in self.ask(f'run {workload} {frame} {warm_ms} {ms}').split()]
        finally:
            self.halt()

    def settle(self, workload):
        """Runs it, each VM once at least, until the device learns nothing by it. The router tells the same of a VM each 100 ms at most.
        What learns beside the forwarding is at the generator's CPU, and goes first."""
        os.setpriority(os.PRIO_PROCESS, self.generator.pid, 0)
        before, known, end = -1, self.known(), time.monotonic() + SETTLED_S
        while known != before:
            if time.monotonic() > end:
                raise Failed(f'{self.name}: {workload}, {self.vms} VMs: something is new after {SETTLED_S} s, too')
            self.ask(f'run {workload} 60 0 {200 + self.vms // 1000}')
            before, known = known, self.known()
        os.setpriority(os.PRIO_PROCESS, self.generator.pid, NICE)

    def halt(self):
        for p in self.processes:
            if p is not self.generator:
                p.send_signal(signal.SIGSTOP)

    def go_on(self):
        for p in self.processes:
            if p is not self.generator:
                p.send_signal(signal.SIGCONT)

    def stop(self):
        """None of both may look into the other one's memory after it: so they are killed together."""
        for p in self.processes:
            p.kill()
        for p in self.processes:
            p.wait()
        self.home.cleanup()

    # ---- of each ----

    def can(self, workload):
        return workload in VMS_OF

    def start_device(self):
        raise NotImplementedError

    def prepare(self):
        """Once frames can pass."""

    def known(self):
        """How much it has learnt by what passed."""
        raise NotImplementedError


class Testpmd(Device):
    """Swaps the MACs and sends the frame out of the other port: the limit of the transport."""
    name, check = 'testpmd', 'swapped'

    def start_device(self):
        p = self.spawn(['stdbuf', '-oL', 'dpdk-testpmd', f'--lcores=0@{GENERATOR_CPU},1@{DUT_CPU}', '--no-pci', '--in-memory', '--no-telemetry', '--log-level=error',
                        *(f'--vdev={self.memif(n, "server")}' for n in (0, 1)), '--', '--forward-mode=macswap', '--auto-start', '--disable-link-check',
                        '--total-num-mbufs=32768', '--burst=32'], 'testpmd', stdin=subprocess.PIPE)
        self.wait(p, 'testpmd', lambda: 'nb forwarding ports=2' in self.log('testpmd'))


CONFIG = """\
router: {{name: r-x, site: x, mac: 02:bb:00:00:00:01, vtep: 198.51.100.2}}
dataplane: {{cpus: "{cpu}", control-cpu: {control}, poll: {poll}, memory: hugepages}}
limits: {{vms: {vms}, routes: 100, neighbours: 16, macs: 100, sessions: {sessions}, rx-ring: 1024, arp-rate: 0}}
control: {{key-file: {dir}/key, socket: {dir}/sock, state: {dir}/state.db, runtime: {dir}/run, listen: 127.0.0.1:{port}}}
drain: {{home-lost-after: 30d}}
ports:
  - {{name: wan0, device: "{wan}", role: wan, address: 198.51.100.2/24, mtu: {mtu}}}
  - {{name: dc0, device: "{dc}", role: dc, mtu: 1500}}
segments:
  - name: tenant-a
    vni: 5001
    prefix: 10.0.0.0/8
    gateway: {{address: 10.0.0.1, mac: 02:5e:00:00:00:01}}
    attachments: [{{port: dc0, vlan: 0}}]
pools: [{{name: public, prefix: 100.64.0.0/10}}]
peers: [{peer}]
routes: [{{prefix: 0.0.0.0/0, via: 198.51.100.1}}]
"""
PEER = '{{name: r-y, key: "{key}", address: 127.0.0.1:9, vtep: 198.51.100.66, mac: 02:bb:00:00:00:02}}'
META = '{"revision":1,"term":0,"controller":"","boot-id":"another","boot-ms":1,"wall-ms":1}'


def address(first, n):
    """`n` behind the address of the number `first`."""
    a = first + n
    return f'{a >> 24}.{a >> 16 & 255}.{a >> 8 & 255}.{a & 255}'


def private_of(n):
    return address(0x0a000002, n)


def global_of(n):
    return address(0x64400000, n)


def mac_of(n):
    return f'02:01:{n >> 24:02x}:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}'


def row(n, what):
    """As frames.h says: a VM that is `here`, `away`, a `trombone`, one of `pairs`, or one whose session's home is the peer."""
    owner = 'r-y' if what == 'away' or what == 'pairs' and n % 2 else 'r-x'
    location = 'r-y' if what == 'trombone' else owner
    public = f'"global":"{global_of(n)}",' if owner == 'r-x' else ''
    drains = ''
    if what == 'away' or what == 'draining' and n % 2 == 0:
        home, old = ('r-x', global_of(n)) if what == 'away' else ('r-y', address(0xcb000000, n))
        drains = (f'"drains":[{{"private":"{private_of(n)}","global":"{old}","router":"{home}","epoch":2,"since":1,"min":"1d","max":"30d",'
                  '"left-min":"1d","left-max":"30d"}],')
    return ('vm', f'tenant-a/{mac_of(n)}', f'{{"segment":"tenant-a","mac":"{mac_of(n)}","owner":"{owner}","location":"{location}","epoch":2,'
            f'"addresses":[{{"private":"{private_of(n)}",{public}"since":2}}],{drains}"at":1}}')


class Nearway(Device):
    name, poll, mtu = 'nearway', 'busy', 1600

    def __init__(self, generator, vms, what, nearwayd):
        super().__init__(generator, vms, what)
        self.nearwayd, self.peer = nearwayd, ''

    def keygen(self, file):
        return subprocess.run([self.nearwayd, 'keygen', f'{self.dir}/{file}'], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]

    def listens(self):
        """Its store is made before."""
        return os.path.exists(f'{self.dir}/sock')

    def flows(self):
        return 'packets flow' in self.log('nearwayd')

    def run(self, wan, dc, ready):
        """With these ports, until it is so far."""
        with open(f'{self.dir}/nearway.yaml', 'w', encoding='ascii') as f:
            f.write(CONFIG.format(dir=self.dir, port=daemon.free_port(), cpu=DUT_CPU, control=GENERATOR_CPU, vms=max(self.vms, 2), peer=self.peer,
                                  poll=self.poll, mtu=self.mtu, sessions=SESSIONS if self.what in ('draining', 'away') else 1024, wan=wan, dc=dc))
        p = self.spawn([self.nearwayd, '-c', f'{self.dir}/nearway.yaml'], 'nearwayd')
        self.wait(p, 'nearwayd', ready)
        return p

    def fill(self):
        """The store that it has made, with VMs in it."""
        with contextlib.closing(sqlite3.connect(f'{self.dir}/state.db')) as db, db:
            db.executemany('INSERT INTO rows VALUES(?, ?, ?)', (row(n, self.what) for n in range(max(self.vms, 2))))
            db.execute('INSERT OR REPLACE INTO rows VALUES(?, ?, ?)', ('meta', 'router', META))

    def devices(self):
        """Its WAN and its DC port."""
        return [self.memif(0, 'server', ',mac=02:aa:00:00:00:00'), self.memif(1, 'server', ',mac=02:aa:00:00:00:01')]

    def start_device(self):
        os.mkdir(f'{self.dir}/run')
        self.keygen('key')
        if self.what != 'here':  # else it would wait for one in vain, 2 s
            self.peer = PEER.format(key=self.keygen('peer'))
        p = self.run('net_null0,no-rx=1', 'net_null1,no-rx=1', self.listens)
        p.terminate()
        p.wait()
        self.processes.remove(p)
        self.fill()
        self.run(*self.devices(), self.flows)
        if 'refused and skipped' in self.log('nearwayd'):
            raise Failed(self.log('nearwayd')[-2000:])

    def show(self, what):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.connect(f'{self.dir}/sock')
            text = json.dumps({'jsonrpc': '2.0', 'id': 1, 'method': f'show.{what}'}).encode()
            s.sendall(struct.pack('!I', len(text)) + text)
            n, = struct.unpack('!I', s.recv(4, socket.MSG_WAITALL))
            return json.loads(s.recv(n, socket.MSG_WAITALL))['result']

    def known(self):
        """How often it has heard a VM where it did not have it: at first it has none, and what is for them goes the long way."""
        heard = self.show('status')['events']['vm-seen']
        return heard['told'] + heard['lost']

    def prepare(self):
        """It looks at links once a second, and for its next hops then."""
        end = time.monotonic() + START_S
        while any(hop['state'] != 'reachable' for hop in self.show('neighbours')['rows']):
            if time.monotonic() > end:
                raise Failed(f'nearway: no next hop answers: {self.log("nearwayd")[-2000:]}')
            self.ask('serve 50')
        if self.what == 'draining':
            sent, back = (int(n) for n in self.ask('teach W7').split())
            if back < sent:
                raise Failed(f'nearway: {back} of {sent} packets that open sessions came back')
        if self.what in SPEAK:
            self.settle(SPEAK[self.what])
