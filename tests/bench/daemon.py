# SPDX-License-Identifier: BSD-3-Clause
"""A nearwayd with two null ports for benches of the control part, alone or with a peer: started, waited for, stopped, its CPU
time read."""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

CONFIG = """\
router: {{name: r-{site}, site: {site}, mac: {mac}, vtep: {vtep}}}
dataplane: {{cpus: "1", control-cpu: 0, poll: adaptive, memory: no-huge}}
limits: {{vms: {vms}, routes: 100, neighbours: 16, macs: 100, sessions: 1024, rx-ring: 64}}
control:
  key-file: {dir}/key
  socket: {dir}/sock
  state: {dir}/state.db
  runtime: {dir}/run
  listen: 127.0.0.1:{port}
  controllers: [{{name: clc, key: "{controller}"}}]
ports:
  - {{name: wan0, device: "net_null0{rx}", role: wan, address: {vtep}/24}}
  - {{name: dc0, device: "net_null1{rx}", role: dc}}
segments:
  - name: tenant-a
    vni: 7001
    prefix: 10.0.0.0/8
    gateway: {{address: 10.0.0.1, mac: 02:00:5e:10:00:01}}
    attachments: [{{port: dc0, vlan: 0}}]
pools: [{{name: public, prefix: {pool}}}]
peers: [{peers}]
"""


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Router:
    def __init__(self, program, vms, where=None, site='x', idle=False):
        self.program, self.dir, self.port = program, tempfile.mkdtemp(prefix='nearway-bench-', dir=where), free_port()
        self.file, self.socket, self.log = f'{self.dir}/nearway.yaml', f'{self.dir}/sock', ''
        os.mkdir(f'{self.dir}/run')
        self.key = self.keygen(f'{self.dir}/key')
        self.controller = f'{self.dir}/clc.key'
        # Null ports receive empty frames without end: the worker is busy, unless `idle`.
        number = ord(site) - ord('w')
        self.words = {'dir': self.dir, 'vms': max(vms, 1), 'port': self.port, 'controller': self.keygen(self.controller), 'site': site,
                      'mac': f'02:00:5e:10:00:{9 + number:02x}', 'vtep': f'192.0.2.{number}', 'pool': f'{99 + number}.0.0.0/8', 'rx': ',no-rx=1' if idle else '', 'peers': ''}

    def meet(self, other):
        """The other one is its peer when it starts."""
        w = other.words
        self.words['peers'] = (f'{{name: r-{w["site"]}, key: "{other.key}", address: 127.0.0.1:{other.port}, vtep: {w["vtep"]}, '
                               f'mac: {w["mac"]}}}')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir)

    def keygen(self, file):
        return subprocess.run([self.program, 'keygen', file], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]

    @contextlib.contextmanager
    def running(self, beside=None):
        """Gives the process once it is ready; its log is in self.log afterwards. With another one `beside` it, which starts at the same time,
        both processes: who starts alone waits 2 s for its peer."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, open(f'{self.dir}/log', 'w+', encoding='utf-8') as log:
            ready.bind(f'{self.dir}/notify')
            ready.settimeout(1)
            with open(self.file, 'w', encoding='ascii') as f:
                f.write(CONFIG.format(**self.words))
            p = subprocess.Popen([self.program, '-c', self.file], stderr=log,
                                 env={**os.environ, 'NOTIFY_SOCKET': f'{self.dir}/notify'})
            try:
                with beside.running() if beside else contextlib.nullcontext() as other:
                    self.wait(p, ready)
                    yield (p, other) if beside else p
            finally:
                p.send_signal(signal.SIGTERM)
                p.wait()
                os.unlink(f'{self.dir}/notify')
                log.seek(0)
                self.log = log.read()

    def wait(self, p, ready):
        while p.poll() is None:
            try:
                if ready.recv(100) == b'READY=1':
                    return
            except TimeoutError:
                continue
        with open(f'{self.dir}/log', encoding='utf-8') as log:
            sys.exit(log.read())

    @staticmethod
    def memory_mib(p):
        with open(f'/proc/{p.pid}/status', encoding='ascii') as f:
            return int(re.search(r'VmRSS:\s+(\d+)', f.read())[1]) >> 10

    @staticmethod
    def cpu_all_ms(p):
        with open(f'/proc/{p.pid}/stat', encoding='ascii') as f:
            user, system = f.read().rpartition(')')[2].split()[11:13]
        return (int(user) + int(system)) * 1000 // os.sysconf('SC_CLK_TCK')

    @staticmethod
    def cpu_ms(p, thread=None):
        """Of the thread of this name; None: the control thread."""
        for task in os.listdir(f'/proc/{p.pid}/task'):
            with open(f'/proc/{p.pid}/task/{task}/comm', encoding='ascii') as f:
                name = f.read().strip()
            if (name == thread) if thread else task == str(p.pid):
                with open(f'/proc/{p.pid}/task/{task}/schedstat', encoding='ascii') as f:
                    return int(f.read().split()[0]) // 1000000
        return 0
