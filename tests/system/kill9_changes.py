#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""kill -9 at random moments under 1,000 changes a second: what was acknowledged is there, and nothing half.

    world --- rx --- dcx --- vm, other          rx is killed and started again; the changes come by its unix socket

usage: kill9_changes.py [KILLS]       20 if not given; NEARWAY_ALL=1: 200
"""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from changes import Model, Pipeline, mac, private
from check import case, expect, finish
from onesite import WORLD, OneSite

KILLS = int(sys.argv[1]) if len(sys.argv) > 1 else 200 if os.environ.get('NEARWAY_ALL') else 20
RATE = 1000
GLOBALS = [f'203.0.112.{n}' for n in range(1, 255)]

lab = OneSite('killc')
lab.router.config['pools'] = [{'name': 'pool', 'prefix': '203.0.112.0/24'}]
router = lab.router.start()
rnd = random.Random(int(os.environ.get('SEED', '7')))
model = Model(GLOBALS)


def kill_at(pipeline, seconds):
    """Kills the router amid the stream; the pipeline meanwhile goes on until it hears of that."""
    timer = threading.Timer(seconds, router.kill9)
    timer.start()
    try:
        pipeline.run(seconds + 5)
    except OSError:
        pass
    timer.join()
    pipeline.drain()


def known():
    """VM number -> (epoch, global address), by show.vms."""
    rows = {v['mac']: v for v in router.rows('vms')}
    out = {}
    for n in range(256):
        v = rows.pop(mac(n), None)
        if v:
            a, = v['addresses']
            expect(a['private'] == private(n) and v['owner'] == 'r-x', f'{v}')
            out[n] = (v['epoch'], a['global'])
    expect(not rows, f'VMs that nobody registered: {rows}')
    return out


def as_table(m):
    return {n: (m.epochs[n], value) for n, value in m.vms.items()}


def check_nat(table):
    """The addresses that NAT has, both ways, are those of the VMs."""
    nat = {(r['private'], r['global']) for r in router.rows('nat')}
    want = {(private(n), value) for n, (_, value) in table.items()}
    expect(nat == want, f'NAT has {nat ^ want} too many or too few')
    for n in rnd.sample(sorted(table), min(2, len(table))):
        down = str(router.call('explain', **{'src': WORLD, 'dst': table[n][1], 'port': 'wan0'}))
        expect(private(n) in down, f'{table[n][1]} does not lead to {private(n)}: {down[:300]}')


def round_(i):
    """One kill; how many changes were sent and acknowledged, how many of the others are there, the time."""
    global model
    p = Pipeline(router.socket, model, RATE, rnd.random())
    seconds = rnd.uniform(0.05, 0.6)
    kill_at(p, seconds)
    router.start()
    table = known()
    fits = [(k, m.copy()) for k, m in p.states() if as_table(m) == table]
    expect(not p.refused, f'round {i}: refused: {p.refused[:3]}')
    expect(fits, f'round {i}: of {len(p.changes)} changes {p.acked} were acknowledged; no number of them makes {table}')
    check_nat(table)
    k, model = fits[0]
    return len(p.changes), p.acked, k - p.acked, seconds


with case(f'{KILLS} times: kill -9 leaves what was acknowledged, and of the next change all or nothing'):
    start, done = time.monotonic(), []
    for i in range(KILLS):
        done.append(round_(i))
    sent, acked, more, busy = map(sum, zip(*done))
    print(f'   {KILLS} kills in {time.monotonic() - start:.0f} s: {acked} changes acknowledged, {acked / busy:.0f} a second; '
          f'{more} more were there, {sent - acked - more} were not')
    expect(acked > KILLS * 20, 'so few changes show nothing')

with case('it takes changes as before'):
    p = Pipeline(router.socket, model, RATE, 1)
    p.run(0.2)
    expect(p.acked > 0 and not p.refused, f'{p.acked} acknowledged, refused: {p.refused[:3]}')

finish(router.process)
