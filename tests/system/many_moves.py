#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""One VM is moved to and fro, thousands of times, and the controller's words come late, again and out of order.

    user --- wan (BCP 38) --- rx --- dcx --- hv --- vm       both routers are told at the same time, each on a connection of
               \              ry --- dcy ---/                its own; now and then the VM stands somewhere else

Each move has an epoch of its own, and is one word, `vm.move`, or is prepared, paused and committed, or aborted, or neither. In the
end the highest epoch counts, at both routers, nothing of any other move is left, and the sessions that were opened before all that
are alive.

usage: many_moves.py [MOVES]       10,000 if not given; of fewer than 2,000 some step may never be refused, or never taken
"""
import os
import random
import sys
import threading
import time
from collections import Counter

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import until, wait_for
from measure import TCP, TCP_MORE, Sessions, new_session_path
from router import Rpc, RpcError
from sites import VM, VM_MAC, Sites

MOVES = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
LATE, AGAIN, PLUGGED = 8, 0.15, 100  # by so many places; so many are said again; between two places of the VM
PREPARED, STEP = 0.06, 3  # so many are; a word of one of these comes so many places after the one before, as a rule
AHEAD = LATE // 2  # places that a teller may be before the other: who is far behind says nothing but what is over
STALE_EPOCH, CONFLICT, NOT_FOUND, COMMITTED, ABORTED = 2, 3, 4, 10, 11
OVER = (STALE_EPOCH, CONFLICT, NOT_FOUND, COMMITTED, ABORTED)  # of a prepared move: it, or the VM, went on, or another is open
GLOBALS = {'x': '203.0.113.10', 'y': '203.0.113.74'}
BUSY_LESS = [t for t in TCP + TCP_MORE if t[2] == 'idle']

lab = Sites('manymoves', delay_ms=2)
r = lab.routers()
seed = int(os.environ.get('SEED', '11'))
rnd = random.Random(seed)
r['x'].call('vm.register', segment='blue', mac=VM_MAC, epoch=1, addresses=[{'private': VM, 'global': GLOBALS['x']}])


def site_of(epoch):
    return 'xy'[(epoch + 1) % 2]


def verbs_of(epoch):
    if rnd.random() < PREPARED and epoch < MOVES - 100:
        return ['move.prepare', 'move.pause', *rnd.choice([['move.commit', 'move.finish'], ['move.abort'], []])]
    return ['vm.move']


def words():
    """The words to each router, in the order in which they come: (place among all, word, epoch)."""
    at, when = [], 0
    for epoch in range(2, MOVES + 2):
        for verb in verbs_of(epoch):
            at.append((when + rnd.random() * LATE, verb, epoch))
            if rnd.random() < AGAIN:
                at.append((when + rnd.random() * 3 * LATE, verb, epoch))
            when += 1 if verb == 'vm.move' else STEP
    said = {'x': [], 'y': []}
    for place, (_, verb, epoch) in enumerate(sorted(at)):
        said[site_of(epoch)].append((place, verb, epoch))
    return said


class Teller(threading.Thread):
    """Says a router's words, one after another, as fast as it takes them and the other teller follows."""
    reached, step = {'x': 0, 'y': 0}, threading.Condition()

    def __init__(self, site, words_of_it):
        super().__init__(daemon=True)
        other = 'y' if site == 'x' else 'x'
        self.site, self.other = site, other
        self.rpc, self.words, self.done = Rpc(r[site].socket), words_of_it, 0
        self.taken, self.refused, self.faults = Counter(), Counter(), []
        self.plan = {'addresses': [{'private': VM, 'global': GLOBALS[site]}],
                     'old': [{'private': VM, 'global': GLOBALS[other], 'router': f'r-{other}'}],
                     'drain-min': '1h', 'drain-max': '2h'}

    def go_to(self, place):
        """Who is behind never waits."""
        with self.step:
            self.reached[self.site] = place
            self.step.notify_all()
            self.step.wait_for(lambda: place <= self.reached[self.other] + AHEAD)

    def say(self, verb, epoch):
        plan = self.plan if verb in ('vm.move', 'move.prepare') else {}
        try:
            self.rpc.call(verb, segment='blue', mac=VM_MAC, epoch=epoch, **plan)
            self.taken[verb] += 1
        except RpcError as e:
            self.refused[verb] += 1
            if e.code not in ((STALE_EPOCH,) if verb == 'vm.move' else OVER):
                self.faults.append(f'{verb} of epoch {epoch}: {e}')

    def run(self):
        for place, verb, epoch in self.words:
            self.go_to(place)
            self.say(verb, epoch)
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
    expect(all(t.taken['vm.move'] > MOVES // 20 for t in tellers), f'{[t.taken for t in tellers]}')

with case('of those that were prepared each step was taken, and refused'):
    for verb in ('prepare', 'pause', 'commit', 'abort'):
        expect(all(counter[f'move.{verb}'] > 0 for t in tellers for counter in (t.taken, t.refused)),
               f'{verb}: {[(t.taken, t.refused) for t in tellers]}')

with case('both routers say the same in the end: owner, epoch, live and old address'):
    expect(until(agreed, 5), f'seed {seed}: {[row_of(router) for router in r.values()]}')

with case('no move is open in the end'):
    left = [m for router in r.values() for m in router.rows('moves') if m['state'] in ('prepared', 'paused')]
    expect(not left, f'seed {seed}: {left}')

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

print(f'# {MOVES} moves in {took:.1f} s: {[(dict(t.taken), dict(t.refused)) for t in tellers]}')
finish(*[router.process for router in r.values()])
