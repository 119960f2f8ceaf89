#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The unix socket and the command line under a crowd: clients that stall, flood and send rubbish, and lists of 100,000 rows while
they change. Ports that go nowhere, no namespaces."""
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import program, wait_for
from router import Rpc, yaml

ROWS, PART = 100000, 5000
work = tempfile.TemporaryDirectory()
SOCK = os.path.join(work.name, 'sock')


def config():
    return {'router': {'name': 'r-x', 'site': 'x', 'mac': '02:00:5e:10:00:0a'},
            'dataplane': {'cpus': 1, 'control-cpu': 0, 'poll': 'adaptive', 'memory': 'no-huge'},
            'limits': {'vms': ROWS + 1000, 'sessions': 1024, 'rx-ring': 64},
            'control': {'key-file': f'{work.name}/key', 'socket': SOCK, 'state': f'{work.name}/state.db', 'runtime': work.name},
            'ports': [{'name': 'wan0', 'device': 'net_null0', 'role': 'wan', 'address': '192.0.2.1/24'},
                      {'name': 'dc0', 'device': 'net_null1', 'role': 'dc'}],
            'segments': [{'name': 'blue', 'vni': 100, 'prefix': '10.0.0.0/8', 'access': 'routed',
                          'gateway': {'address': '10.0.0.1', 'mac': '02:00:5e:00:00:01'}, 'attachments': [{'port': 'dc0'}]}]}


def vm(n, epoch=0):
    v = {'segment': 'blue', 'mac': f'52:54:{n >> 24 & 255:02x}:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}'}
    if epoch:
        v['epoch'] = epoch
    return v


def register(n):
    return {'method': 'vm.register', 'params': vm(n) | {'addresses': [{'private': f'10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}'}]}}


def memory_kb(pid, what='VmRSS'):
    with open(f'/proc/{pid}/status', encoding='ascii') as f:
        return int(next(line.split()[1] for line in f if line.startswith(what + ':')))


def nearway(*words, **kw):
    return subprocess.run([program('nearway'), '-s', SOCK, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                          check=False, **kw)


def raw():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(SOCK)
    return s


def say(s, text):
    s.sendall(struct.pack('!I', len(text)) + text)


def hear(s):
    """The next reply; None: the router has closed."""
    data = b''
    try:
        while len(data) < 4 or len(data) < 4 + struct.unpack('!I', data[:4])[0]:
            part = s.recv(1 << 16)
            if not part:
                return None
            data += part
    except ConnectionError:
        return None
    return json.loads(data[4:])


with open(f'{work.name}/nearway.yaml', 'w', encoding='utf-8') as f:
    f.write(yaml(config()))
subprocess.run([program('nearwayd'), 'keygen', f'{work.name}/key'], stdout=subprocess.DEVNULL, check=True)
log = open(f'{work.name}/log', 'wb')
router = subprocess.Popen([program('nearwayd'), '-c', f'{work.name}/nearway.yaml'], stderr=log)
wait_for('the router is up', lambda: os.path.exists(SOCK) or router.poll() is not None, 60)
rpc = Rpc(SOCK, timeout=60)
wait_for('packets flow', lambda: rpc.call('show.status')['ready'], 60)
for first in range(10, ROWS + 10, PART):
    rpc.call('txn.apply', changes=[register(n) for n in range(first, first + PART)])

# C-57
with case('a list of 100,000 rows is consistent while VMs come and go: each that stays stands there once'):
    stays = {vm(n)['mac'] for n in range(10, ROWS + 10) if n % 1000}
    seen, cursor, page = [], '', 0
    other = Rpc(SOCK, timeout=60)
    while cursor is not None:
        reply = rpc.call('show.vms', limit=2000, cursor=cursor)
        seen += [row['mac'] for row in reply['rows']]
        cursor, page = reply.get('next'), page + 1
        for n in (page * 1000, ROWS + 1000 - page * 1000):  # behind the cursor, and before it
            if n >= 1000:
                other.call('vm.unregister', **vm(n))
    expect(len(seen) == len(set(seen)), f'{len(seen) - len(set(seen))} rows stand there twice')
    expect(stays <= set(seen), f'{len(stays - set(seen))} are missing')
    print(f'   {page} pages')

# C-57
with case('a client that asks and does not read delays no other, and costs no memory without end'):
    stalled, before = raw(), memory_kb(router.pid)
    stalled.setblocking(False)
    ask = json.dumps({'jsonrpc': '2.0', 'id': 1, 'method': 'show.vms', 'params': {'limit': 2000}}).encode()
    sent = 0
    try:
        for sent in range(5000):
            stalled.send(struct.pack('!I', len(ask)) + ask)
    except OSError:
        pass
    started = time.monotonic()
    alone = rpc.call('show.status')['ready'] and time.monotonic() - started
    expect(alone < 5, f'another waited {alone:.1f} s')
    expect(memory_kb(router.pid) - before < 65536, f'{memory_kb(router.pid) - before} KiB more after {sent} questions')

# C-57
with case('ten clients at once are all served, one of them stalled'):
    replies = []

    def client():
        r = Rpc(SOCK, timeout=60)
        for _ in range(20):
            replies.append(len(r.call('show.vms', limit=500)['rows']))
        r.close()

    threads = [threading.Thread(target=client) for _ in range(9)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    expect(replies == [500] * 180, f'{len(replies)} replies')
    stalled.close()

# C-57
with case('rubbish on the socket is answered or ends that connection, and no other'):
    for text in (b'{"jsonrpc": "2.0", "id": 1, "method": "show.vms\xc3"}', b'\x00\x01\x1b[2J', b'"' + b'x' * ((1 << 20) - 2) + b'"',
                 b'[' * 1000):
        s = raw()
        say(s, text)
        reply = hear(s)
        expect(reply is None or reply['error']['code'] in (-32700, -32600), f'{text[:30]!r}: {reply}')
        s.close()
    s = raw()  # longer than a message may be
    s.sendall(struct.pack('!I', (1 << 20) + 1))
    expect(hear(s) is None, 'it should have been closed')
    expect(rpc.call('show.status')['ready'], 'the router is well')

# C-57
with case('rubbish on the command line is a fault in one line, and no escape sequence reaches the terminal'):
    for words in (['show', 'vms', 'limit', '\x01\x1b[2J'], ['show', b'vm\xc3'], ['x' * 100000], ['vm', 'move', 'segment', '\x7f\x9b']):
        p = nearway(*words)
        expect(p.returncode in (1, 2), f'{words[:3]}: {p.returncode}')
        expect(not any(c < 32 and c not in (9, 10) for c in p.stdout), f'{p.stdout[:200]!r}')
    for line in (b'show status ' + b'x' * (1 << 20) + b'\n', b'\x00\x01\x02\n', b'show vm\xc3\n', b'show status\n'):
        p = nearway(input=line)
        expect(p.returncode >= 0, f'{line[:20]!r}: {p.returncode}')
        expect(b'\x1b' not in p.stdout and b'\x01' not in p.stdout, f'{p.stdout[:200]!r}')
    expect(b'r-x' in p.stdout, 'a good line is carried out')

rpc.close()
router.terminate()
with case('the router ends in order'):
    expect(router.wait(30) == 0, f'{router.returncode}')
finish()
