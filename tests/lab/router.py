# SPDX-License-Identifier: BSD-3-Clause
"""Nearway's programs in a lab: a router with its configuration, its unix socket, its life and death; the controller."""
import itertools
import json
import os
import signal
import socket
import struct
import time

from lab import LabError, program, run, stands_at, until, wait_for


def yaml(value, indent=0):
    """Block-style YAML of dicts, lists and scalars: what an operator would write."""
    pad = '  ' * indent
    if isinstance(value, dict):
        return ''.join(f'{pad}{k}:' + (f'\n{yaml(v, indent + 1)}' if isinstance(v, (dict, list)) and v else f' {scalar(v)}\n')
                       for k, v in value.items())
    return ''.join(f'{pad}-' + yaml(v, indent + 1)[len(pad) + 1:] if isinstance(v, dict) else f'{pad}- {scalar(v)}\n'
                   for v in value)


def scalar(v):
    if isinstance(v, bool):
        return 'on' if v else 'off'
    if isinstance(v, (dict, list)):
        return '[]' if isinstance(v, list) else '{}'
    return f'"{v}"' if isinstance(v, str) and (':' in v or '=' in v) else str(v)


class RpcError(LabError):
    def __init__(self, method, error):
        super().__init__(f"{method}: {error.get('code')}: {error.get('message')}")
        self.code, self.data = error.get('code'), error.get('data')


class Rpc:
    """JSON-RPC 2.0 on a router's unix socket: 4-byte length, then JSON."""

    def __init__(self, path, timeout=20.0):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.sock.connect(path)
        self.ids = itertools.count(1)

    def read(self, n):
        data = b''
        while len(data) < n:
            part = self.sock.recv(n - len(data))
            if not part:
                raise LabError('the router closed the socket')
            data += part
        return data

    def call(self, method, **params):
        text = json.dumps({'jsonrpc': '2.0', 'id': next(self.ids), 'method': method, 'params': params}).encode()
        self.sock.sendall(struct.pack('!I', len(text)) + text)
        reply = json.loads(self.read(struct.unpack('!I', self.read(4))[0]))
        if 'error' in reply:
            raise RpcError(method, reply['error'])
        return reply['result']

    def close(self):
        self.sock.close()


class Router:
    """nearwayd in a namespace. `config` is a dict with the keys of nearway.yaml."""

    def __init__(self, lab, ns, config, nice=0):
        self.lab, self.ns, self.config, self.name, self.nice = lab, ns, config, config['router']['name'], nice
        self.dir = os.path.join(lab.dir, self.name)
        os.makedirs(os.path.join(self.dir, 'run'), exist_ok=True)
        control = config['control']
        control['key-file'] = os.path.join(self.dir, 'key')
        control['socket'] = self.socket = os.path.join(self.dir, 'sock')
        control['state'] = os.path.join(self.dir, 'state.db')
        control['runtime'] = os.path.join(self.dir, 'run')
        self.key = run([program('nearwayd'), 'keygen', control['key-file']]).stdout.split()[-1]
        self.process = None
        self.rpc = None
        self.env = {}  # beside this process's own

    def write(self):
        self.file = os.path.join(self.dir, 'nearway.yaml')
        with open(self.file, 'w', encoding='utf-8') as f:
            f.write(yaml(self.config))
        return self.file

    def start(self, wait=True):
        self.write()
        self.process = self.lab.spawn(self.ns, [program('nearwayd'), '-c', self.file], name=self.name, nice=self.nice,
                                      env={**os.environ, **self.env})
        if wait:
            self.ready()
        return self

    def ready(self, seconds=30):
        def up():
            if not self.process.alive():
                raise LabError(f'{self.name} ended: {self.process.output()[-2000:]}')
            try:
                self.rpc = Rpc(self.socket)
                return self.rpc.call('show.status')['ready']
            except (OSError, LabError):
                return False
        wait_for(f'{self.name} is up', up, seconds)

    def call(self, method, **params):
        try:
            return self.rpc.call(method, **params)
        except TimeoutError as e:
            raise LabError(f'{self.name} has not answered {method}: {stands_at(self.process.pid)}') from e

    def rows(self, what, **params):
        """All rows of a view, page by page."""
        rows, cursor = [], ''
        while True:
            r = self.call(f'show.{what}', cursor=cursor, **params)
            rows += r['rows']
            cursor = r.get('next')
            if not cursor:
                return rows

    def cli(self, *words, check=True):
        return run([program('nearway'), '-s', self.socket, *words], check=check)

    def stop(self):
        return self.process.stop()

    def kill9(self):
        self.rpc.close()
        return self.process.stop(signal.SIGKILL)

    def alive(self):
        return self.process is not None and self.process.alive()

    def drops(self):
        """Counters by reason."""
        return {row['reason']: row['packets'] for row in self.call('show.drops')['rows']}

    def dropped(self, reason, n, action):
        """By how much a drop counter grows through `action`. Waits until it has grown by n, then for what would be too many."""
        def grown():
            return self.drops().get(reason, 0) - before

        before = self.drops().get(reason, 0)
        action()
        until(lambda: grown() >= n)
        time.sleep(0.3)
        return grown()

    def imbalance(self):
        """Packets that conservation misses: received + made + released - sent - dropped - held - punted."""
        return self.call('show.status')['packets']['imbalance']


def base_config(name, site, mac, listen, vtep=None, transit=False, cpu=1):
    c = {'router': {'name': name, 'site': site, 'mac': mac},
         'dataplane': {'cpus': cpu, 'control-cpu': 0, 'memory': 'no-huge', 'poll': 'adaptive'},
         'limits': {'vms': 4096, 'routes': 256, 'neighbours': 64, 'macs': 1024, 'sessions': 16384},
         'control': {'listen': f'{listen}:7411', 'controllers': []},
         'ports': [], 'segments': [], 'pools': [], 'peers': [], 'routes': []}
    if vtep:
        c['router']['vtep'] = vtep
    if transit:
        c['router']['transit'] = True
    return c


def af_packet(n, iface):
    return f'net_af_packet{n},iface={iface}'


class Controller:
    """nearway-clc in the namespace `clc`: each call is one command, as an operator or an orchestrator gives it."""

    def __init__(self, lab, name='clc'):
        self.lab, self.name = lab, name
        self.dir = os.path.join(lab.dir, f'controller-{name}')
        os.makedirs(self.dir)
        self.key_file = os.path.join(self.dir, 'key')
        self.file = os.path.join(self.dir, 'clc.yaml')
        self.key = run([program('nearwayd'), 'keygen', self.key_file]).stdout.split()[-1]

    def inventory(self, routers, method='nat', keys=None, psk=None):
        """Writes clc.yaml: `routers` by site; a site is one that has a segment. `keys` replaces routers' public keys: one, or a
        pair with the old one; `psk` is that of all."""
        def keys_of(s, r):
            new, old = given if isinstance(given := (keys or {}).get(s, r.key), tuple) else (given, None)
            return {'key': new} | ({'old-key': old} if old else {}) | ({'psk': psk} if psk else {})

        sites = {s: r for s, r in routers.items() if r.config['segments']}
        segments = [{'name': g['name'], 'prefix': g['prefix'], 'gateway': g['gateway']['address'],
                     'access': g.get('access', method)}
                    for r in list(sites.values())[:1] for g in r.config['segments']]
        text = yaml({'clc': {'name': 'clc', 'key-file': self.key_file, 'state': os.path.join(self.dir, 'state.db')},
                     'routers': [{'name': r.name, 'address': r.config['control']['listen'], **keys_of(s, r)}
                                 for s, r in routers.items()],
                     'sites': [{'name': s, 'router': r.name, 'pools': [{'prefix': p['prefix']} for p in r.config['pools']]}
                               for s, r in sites.items()],
                     'segments': segments})
        with open(self.file + '.new', 'w', encoding='utf-8') as f:
            f.write(text)
        os.replace(self.file + '.new', self.file)  # commands may be reading it

    def command(self):
        return f"{program('nearway-clc')} -c {self.file}"

    def run(self, *words, check=True):
        return self.lab.exec('clc', [*self.command().split(), *words], check=check)

    def create(self, name, site, private, mac):
        return self.run('create', name, '--site', site, '--segment', 'blue', '--private', private, '--mac', mac)

    def move(self, name, site, drain_min_s, drain_max_s):
        return self.run('move', name, '--to', site, '--drain-min', f'{drain_min_s}s', '--drain-max', f'{drain_max_s}s')

    def route(self, prefix, router, via):
        return self.run('route', prefix, '--router', router, '--via', via)
