#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The libvirt hook as libvirt calls it, and the QMP helper that follows a migration: what they tell the controller, and what becomes of it
when that refuses.

With a real QEMU the helper is part of qemu_live_migration.py.
"""
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import ROOT

HOOK, QMP = (os.path.join(ROOT, 'scripts/hooks', name) for name in ('libvirt-qemu', 'nearway-qmp'))
folder = tempfile.TemporaryDirectory()
told, conf, clc = (os.path.join(folder.name, name) for name in ('told', 'hooks.conf', 'clc'))
with open(clc, 'w', encoding='utf-8') as f:
    f.write(f'#!/bin/sh\necho "$@" >>{told}\necho words\n[ "$2" != refused ]\n')
os.chmod(clc, 0o755)


def hook(*words, settings='SITE=y'):
    """Its run, and what it told."""
    open(told, 'w', encoding='utf-8').close()
    with open(conf, 'w', encoding='utf-8') as out:
        out.write(f'{settings}\nCLC={clc}\n')
    p = subprocess.run([HOOK, *words], input='<domain/>', text=True, capture_output=True, check=False,
                       env={**os.environ, 'NEARWAY_HOOKS': conf})
    with open(told, encoding='utf-8') as lines:
        return p, lines.read().splitlines()


with case('a guest that comes is prepared for, and its description stays as it is'):
    p, lines = hook('vm1', 'migrate', 'begin', '-')
    expect(lines == ['prepare vm1 --to y'] and p.returncode == 0 and p.stdout == '', f'{lines} {p}')

with case('a guest that is gone without having come is aborted; one that was here is nothing to the hook'):
    p, lines = hook('vm1', 'release', 'end', '-')
    expect(lines == ['abort vm1 --to y'] and p.returncode == 0, f'{lines} {p}')
    p, lines = hook('refused', 'release', 'end', '-')
    expect(p.returncode == 0 and 'words' in p.stderr, f'{p}')

with case('a controller that refuses stops a migration only where that is asked'):
    p, lines = hook('refused', 'migrate', 'begin', '-')
    expect(p.returncode == 0 and 'refused: prepare: words' in p.stderr, f'{p}')
    p, lines = hook('refused', 'migrate', 'begin', '-', settings='SITE=y\nREQUIRED=yes')
    expect(p.returncode == 1, f'{p}')

with case('all else that libvirt tells is not told on'):
    for words in (('prepare', 'begin'), ('start', 'begin'), ('started', 'begin'), ('stopped', 'end'), ('reconnect', 'begin')):
        p, lines = hook('vm1', *words, '-')
        expect(lines == [] and p.returncode == 0, f'{words}: {lines} {p}')

with case('without a site it does nothing and says so'):
    p, lines = hook('vm1', 'migrate', 'begin', '-', settings='')
    expect(lines == [] and p.returncode == 0 and 'SITE' in p.stderr, f'{p}')

# ---- the QMP helper, when somebody else migrates ----

class Qemu(threading.Thread):
    """A monitor that tells of a migration: what it says of it, one after another, and again the last."""
    def __init__(self, *says):
        super().__init__(daemon=True)
        self.path, self.says, self.limit = os.path.join(folder.name, 'qmp'), list(says), 1 << 30
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen()
        self.start()

    def answer(self, command, arguments):
        if command == 'query-migrate':
            return self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if command == 'migrate-set-parameters':
            self.limit = arguments['max-bandwidth']
        return {'max-bandwidth': self.limit} if command == 'query-migrate-parameters' else {}

    def run(self):
        conn = self.listener.accept()[0]
        lines = conn.makefile('rw', encoding='utf-8')
        for greeting_or_answer in itertools.chain([{'QMP': {}}], ({'return': self.answer(q['execute'], q.get('arguments', {}))}
                                                                   for q in map(json.loads, lines))):
            lines.write(json.dumps(greeting_or_answer) + '\n')
            lines.flush()


def follow(*says):
    """What nearway-qmp told the controller, and how it ended."""
    open(told, 'w', encoding='utf-8').close()
    qemu = Qemu(*says)
    p = subprocess.run([QMP, '--follow', '--vm', 'vm1', '--to', 'y', '--source', qemu.path, '--clc', clc, '--wait', '10'],
                       text=True, capture_output=True, check=False)
    expect(qemu.limit == 1 << 30, f'the speed is {qemu.limit}')
    with open(told, encoding='utf-8') as steps:
        return p.returncode, steps.read().splitlines()


COPYING = {'status': 'active', 'ram': {'remaining': 1 << 34, 'dirty-pages-rate': 0}}
NEARLY = {'status': 'active', 'ram': {'remaining': 4096, 'dirty-pages-rate': 0}}

with case('a migration that somebody else begins is followed: pause when little is left, commit at its end'):
    end = follow({}, {}, COPYING, COPYING, NEARLY, NEARLY, {'status': 'completed'})
    expect(end == (0, ['prepare vm1 --to y', 'pause vm1', 'commit vm1']), f'{end}')

with case('how an earlier migration ended is not how this one does'):
    end = follow(*[{'status': 'cancelled'}] * 3, COPYING, NEARLY, NEARLY, {'status': 'completed'})
    expect(end == (0, ['prepare vm1 --to y', 'pause vm1', 'commit vm1']), f'{end}')

with case('one that fails is aborted'):
    end = follow({}, {}, COPYING, {'status': 'failed', 'error-desc': 'no room'})
    expect(end == (1, ['prepare vm1 --to y', 'abort vm1']), f'{end}')

folder.cleanup()
finish()
