#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""One VM is moved to and fro, thousands of times, and the controller's words come late, again and out of order.

    user --- wan (BCP 38) --- rx --- dcx --- hv --- vm       both routers are told at the same time, each on a connection of
               \              ry --- dcy ---/                its own; now and then the VM stands somewhere else

Each word is a `vm.move` with an epoch of its own. In the end the highest epoch counts, at both routers, and the sessions that
were opened before all that are alive.

usage: many_moves.py [MOVES]       10,000 if not given
"""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import until, wait_for
from measure import TCP, TCP_MORE, Sessions, new_session_path
from router import Rpc, RpcError
from sites import VM, VM_MAC, Sites

MOVES = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
LATE, AGAIN, PLUGGED = 8, 0.3, 100  # by so many places; so many are said again; between two places of the VM
AHEAD = LATE // 2  # places that a teller may be before the other: who is far behind says nothing but what is over
STALE_EPOCH = 2
GLOBALS = {'x': '203.0.113.10', 'y': '203.0.113.74'}
BUSY_LESS = [t for t in TCP + TCP_MORE if t[2] == 'idle']

lab = Sites('manymoves', delay_ms=2)
r = lab.routers()
seed = int(os.environ.get('SEED', '11'))
rnd = random.Random(seed)
r['x'].call('vm.register', segment='blue', mac=VM_MAC, epoch=1, addresses=[{'private': VM, 'global': GLOBALS['x']}])


def site_of(epoch):
    return 'xy'[(epoch + 1) % 2]


def words():
    """The words to each router, in the order in which they come: (place among all, epoch)."""
    at = []
    for epoch in range(2, MOVES + 2):
        at.append((epoch + rnd.random() * LATE, epoch))
        if rnd.random() < AGAIN:
            at.append((epoch + rnd.random() * 3 * LATE, epoch))
    said = {'x': [], 'y': []}
    for place, (_, epoch) in enumerate(sorted(at)):
        said[site_of(epoch)].append((place, epoch))
    return said


class Teller(threading.Thread):
    """Says a router's words, one after another, as fast as it takes them and the other teller follows."""
    reached, step = {'x': 0, 'y': 0}, threading.Condition()

    def __init__(self, site, words_of_it):
        super().__init__(daemon=True)
        other = 'y' if site == 'x' else 'x'
        self.site, self.other = site, other
        self.rpc, self.words, self.done = Rpc(r[site].socket), words_of_it, 0
        self.results, self.faults = {'taken': 0, 'stale': 0}, []
        self.params = {'segment': 'blue', 'mac': VM_MAC, 'addresses': [{'private': VM, 'global': GLOBALS[site]}],
                       'old': [{'private': VM, 'global': GLOBALS[other], 'router': f'r-{other}'}],
                       'drain-min': '1h', 'drain-max': '2h'}

    def go_to(self, place):
        """Who is behind never waits."""
        with self.step:
            self.reached[self.site] = place
            self.step.notify_all()
            self.step.wait_for(lambda: place <= self.reached[self.other] + AHEAD)

    def run(self):
        for place, epoch in self.words:
            self.go_to(place)
            try:
                self.rpc.call('vm.move', epoch=epoch, **self.params)
                self.results['taken'] += 1
            except RpcError as e:
                self.results['stale'] += 1
                if e.code != STALE_EPOCH:
                    self.faults.append(f'epoch {epoch}: {e}')
            self.done += 1
        with self.step:
            self.reached[self.site] = float('inf')
            self.step.notify_all()


def row_of(router):
    return next(v for v in router.rows('vms') if v['mac'] == VM_MAC)


def agreed():
    last = MOVES + 1
    site = site_of(last)
    rows = [row_of(router) for router in r.values()]
    return all((v['owner'], v['epoch'], [a['global'] for a in v['addresses']], [d['global'] for d in v['drains']]) ==
               (f'r-{site}', last, [GLOBALS[site]], [GLOBALS['y' if site == 'x' else 'x']]) for v in rows)


for host in ('user', 'vm'):
    lab.agent(host).call('listen')
sessions = Sessions(lab, GLOBALS['x'], BUSY_LESS)
tellers = [Teller(*each) for each in words().items()]
began = time.monotonic()
for t in tellers:
    t.start()
for at in range(PLUGGED, MOVES, PLUGGED):
    wait_for('the words go on', lambda: sum(t.done for t in tellers) >= at or not any(t.is_alive() for t in tellers), 60)
    lab.plug(rnd.choice('xy'))
for t in tellers:
    t.join(120)
took = time.monotonic() - began

with case(f'each of {MOVES} moves, some said twice, was taken or was overtaken by a later one'):
    expect(not any(t.is_alive() for t in tellers) and not any(t.faults for t in tellers),
           f'seed {seed}: {[t.faults[:3] for t in tellers]}')
    expect(all(t.results['taken'] > MOVES // 20 for t in tellers), f'{[t.results for t in tellers]}')

with case('both routers say the same in the end: owner, epoch, live and old address'):
    expect(until(agreed, 5), f'seed {seed}: {[row_of(router) for router in r.values()]}')

lab.plug(site_of(MOVES + 1))
with case('the sessions of before all these moves are alive'):
    verdicts = sessions.exercise(patience=30)
    expect(not any(verdicts.values()), f'seed {seed}: {verdicts}')
    sessions.mark()
    sessions.answered(50, 'user', 'vm')

with case('new sessions use the router that has the VM now, both ways'):
    end = site_of(MOVES + 1)
    path = new_session_path(lab, GLOBALS[end])
    expect(path == (f'user > R_{end.upper()} > VM', f'VM > R_{end.upper()} > user'), f'{path}')

with case('no packet got lost in the books, and the WAN had nothing to filter'):
    expect(all(router.imbalance() == 0 for router in r.values()), f'{[router.imbalance() for router in r.values()]}')
    expect(lab.filtered() == 0, f'{lab.filtered()} packets')

print(f'# {MOVES} moves in {took:.1f} s: {[t.results for t in tellers]}')
finish(*[router.process for router in r.values()])
