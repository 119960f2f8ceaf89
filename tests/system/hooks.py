#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The libvirt hook as libvirt calls it: what it tells the controller, and what becomes of it when that refuses.

The QMP helper is part of qemu_live_migration.py.
"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import ROOT

HOOK = os.path.join(ROOT, 'scripts/hooks/libvirt-qemu')
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

folder.cleanup()
finish()
