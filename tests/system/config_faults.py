#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""nearwayd --check FILE: names every fault with line and column, and takes any file at all without harm. No namespaces."""
import os
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import ROOT, program

work = tempfile.TemporaryDirectory()
PATH = os.path.join(work.name, 'nearway.yaml')


def check(data):
    with open(PATH, 'wb') as f:
        f.write(data if isinstance(data, bytes) else data.encode())
    return subprocess.run([program('nearwayd'), '--check', PATH], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20,
                          text=True, errors='replace', check=False)


FAULTY = """\
router:
  name: r-x
  site: x
  mac: "02:4e:57:00:00:01"
  vtep: 192.0.2.300
  colour: blue
dataplane:
  cpus: 1
  poll: sometimes
ports:
  - name: wan0
    device: net_null0
    role: wan
    address: 192.0.2.1/24
  - name: wan0
    device: net_null1
    role: dc
segments:
  - name: blue
    vni: 99999999
    prefix: 10.1.0.0/24
    gateway:
      address: 10.2.0.1
      mac: "02:00:5e:00:00:01"
    attachments:
      - port: nowhere
"""
WHERE = {5: 'vtep', 6: 'colour', 9: 'poll', 15: 'name', 20: 'vni', 23: 'address', 26: 'port'}

with case('a file with many faults has every one of them named with line and column'):
    p = check(FAULTY)
    expect(p.returncode not in (0, None) and p.returncode > 0, f'exit {p.returncode}')
    for line, name in WHERE.items():
        hit = [text for text in p.stdout.split('\n') if f':{line}:' in text]
        expect(hit and name in ' '.join(hit), f'line {line} ({name}) is not named in: {p.stdout}')

with case('what is allowed stands in the message'):
    expect('busy' in p.stdout and 'adaptive' in p.stdout and '16777215' in p.stdout, p.stdout)

with case('a duplicate key is a fault with its place'):
    p = check(FAULTY.replace('  site: x\n', '  site: x\n  site: y\n'))
    expect(p.returncode > 0 and ':4:' in p.stdout, p.stdout)

with case('every example in conf is without fault'):
    examples = [f for f in sorted(os.listdir(os.path.join(ROOT, 'conf'))) if f.endswith('.yaml')]
    expect(len(examples) >= 4, f'{examples}')
    for f in examples:
        path = os.path.join(ROOT, 'conf', f)
        argv = [program('nearway-clc'), '-c', path, 'check'] if f.startswith('clc') else [program('nearwayd'), '--check', path]
        p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20, check=False)
        expect(p.returncode == 0, f'{f}: {p.stdout}')

with case('no file at all is an error that names it'):
    p = subprocess.run([program('nearwayd'), '--check', '/nonexistent/nearway.yaml'], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, timeout=20, check=False)
    expect(p.returncode > 0 and '/nonexistent/nearway.yaml' in p.stdout, f'{p.returncode} {p.stdout}')

with case('empty files, noise, NUL bytes, deep nesting and great length end in an error, not in a crash'):
    noise = random.Random(1).randbytes
    for data in (b'', b'\0', b'\n' * 100000, noise(1), noise(100), noise(1 << 20), b'[' * 100000, b'a: ' * 50000,
                 b'- ' * 100000, b'&a [*a, *a]', b'{' * 17 + b'}' * 17, b'\xff\xfe' * 1000, b'a: |\n' + b' x\n' * 500000):
        p = check(data)
        expect(p.returncode > 0, f'exit {p.returncode} of {data[:20]!r}: {p.stdout[-200:]}')

with case('300 mutations of the annotated example are judged, never crashed on'):
    with open(os.path.join(ROOT, 'conf/nearway.yaml'), 'rb') as f:
        good = f.read()
    rnd = random.Random(7)
    judged = {0: 0, 1: 0}
    for i in range(300):
        text = bytearray(good)
        for _ in range(rnd.randint(1, 8)):
            at = rnd.randrange(len(text))
            how = rnd.randrange(4)
            if how == 0:
                text[at] = rnd.randrange(256)
            elif how == 1:
                del text[at:at + rnd.randint(1, 40)]
            elif how == 2:
                text[at:at] = rnd.randbytes(rnd.randint(1, 10))
            else:
                text[at:at] = text[:rnd.randint(1, 200)]
        p = check(bytes(text))
        expect(p.returncode >= 0 and p.returncode < 126, f'mutation {i}: exit {p.returncode}: {p.stdout[-300:]}')
        judged[int(p.returncode != 0)] += 1
    expect(judged[1] > 200, f'{judged}')

finish()
