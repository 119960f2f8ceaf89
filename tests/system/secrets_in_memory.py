#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Keys of a router that runs: not in its memory but where they belong, not in its log, not in what it shows.

    clc ---- management network ---- rx, ry          only the control channel matters here
"""
import base64
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import wait_for
from router import Controller
from sites import Sites, VM, VM_MAC

SHOWN = ('status', 'vms', 'nat', 'moves', 'routes', 'peers', 'segments', 'counters')


def key_of(path):
    with open(path) as f:
        return base64.b64decode(f.read())


def needles(key):
    """Each half of a key, and of its text."""
    text = base64.b64encode(key)
    return [key[:16], key[16:], text[:21], text[21:42]]


def found(pid, keys):
    """Which of these texts stand in memory that a core file would have: all that can be written and is not marked dd."""
    hits = []
    with open(f'/proc/{pid}/smaps') as f:
        smaps = re.findall(r'^([0-9a-f]+)-([0-9a-f]+) (rw..) (.*?)^VmFlags: ([^\n]*)$', f.read(), re.M | re.S)
    with open(f'/proc/{pid}/mem', 'rb', buffering=0) as mem:
        for start, end, _, _, flags in smaps:
            if ' dd' in ' ' + flags:
                continue
            at, end = int(start, 16), int(end, 16)
            mem.seek(at)
            tail = b''
            while at < end:
                try:
                    piece = mem.read(min(1 << 24, end - at))
                except OSError:
                    break  # memory of a device
                if not piece:
                    break
                hits += [name for name, texts in keys.items() if any(t in tail + piece for t in texts)]
                at, tail = at + len(piece), piece[-32:]
    return hits


lab = Sites('secrets', delay_ms=1)
clc = Controller(lab)
r = lab.routers(controller_key=clc.key, start=False)
x, y = r['x'], r['y']
psk = os.urandom(32)
for a in (x, y):
    a.config['control']['controllers'][0]['psk'] = base64.b64encode(psk).decode()
    a.config['peers'][0]['psk'] = base64.b64encode(psk).decode()
    a.start()
clc.inventory({'x': x, 'y': y}, psk=base64.b64encode(psk).decode())
keys = {'the private key': needles(key_of(x.config['control']['key-file'])), 'the psk': needles(psk)}

# C-30: after handshakes of controller and peer; 1,000 of them are in tests/unit/net/test_secrets.c.
with case('a router that has spoken with controller and peer has its keys in guarded memory alone'):
    clc.create('vm1', 'x', VM, VM_MAC)
    for _ in range(10):
        clc.run('status')
    wait_for('both in step', lambda: x.rows('peers')[0]['state'] == 'synced')
    hits = found(x.process.pid, {**keys, 'a path that it knows': [x.config['control']['state'].encode()]})
    expect(set(hits) == {'a path that it knows'}, f'{hits}')

with case('no key is in the log or in what is shown'):
    told = x.process.output() + ''.join(x.cli('--json', 'show', what).stdout for what in SHOWN)
    for name, texts in keys.items():
        for text in (texts[2].decode(), texts[3].decode(), texts[0].hex(), texts[1].hex()):
            expect(text not in told, name)

with case('the kernel writes no core file of it'):
    with open(f'/proc/{x.process.pid}/limits') as f:
        expect(re.search(r'Max core file size +0 +0 ', f.read()), 'a core file may be written')
    owner = os.stat(f'/proc/{x.process.pid}/mem').st_uid
    expect(owner == 0, f'memory belongs to {owner}')

finish(x.process, y.process)
