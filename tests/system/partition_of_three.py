#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Three routers; one is cut off from the others, changes are made on both sides, and the cut heals.

        mgmt switch
        /    |    \
      ra     rb    X rc
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import until, wait_for
from trio import NAMES, Trio

lab = Trio()
r = lab.start()


def vm(n):
    return {'segment': 'blue', 'mac': f'52:54:00:03:00:{n:02x}'}


def addresses(n, s):
    return [{'private': f'10.1.0.{20 + n}', 'global': f'203.0.113.{64 * NAMES.index(s) + n}'}]


def register(s, n, epoch):
    r[s].call('vm.register', **vm(n), epoch=epoch, addresses=addresses(n, s))


def move(s, n, epoch):
    r[s].call('vm.move', **vm(n), epoch=epoch, addresses=addresses(n, s), **{'drain-min': '1h', 'drain-max': '2h'})


def known(s, n):
    """(owner, epoch) of a VM as a router has it, or None."""
    return lab.table(s).get(vm(n)['mac'], (None, None))[:2]


def everywhere(n):
    return {known(s, n) for s in NAMES}


def doctor(s, of):
    """(verdict, what was found) of a peer."""
    return next((row['verdict'], row['found']) for row in r[s].call('doctor')['rows'] if (row['check'], row['of']) == ('peer', of))


with case('what one router is told, all three know'):
    for i, s in enumerate(NAMES):
        for n in range(10 * i + 1, 10 * i + 9):
            register(s, n, 1)
    wait_for('the same 24 VMs everywhere', lambda: len(lab.agreed() or ()) == 24)
    wait_for('a doctor who finds both peers in step', lambda: {doctor('a', of)[0] for of in ('r-b', 'r-c')} == {'ok'})

lab.cut('c')
cut_at = time.monotonic()

# VM 21 moves from C to B, which C does not hear; 22 moves on both sides at the same epoch, and 23 to C with a higher one.
with case('both sides go on taking changes'):
    move('b', 21, 2)
    move('a', 22, 5)
    move('b', 23, 2)
    register('a', 9, 1)
    r['a'].call('vm.unregister', **vm(1), epoch=2)
    register('c', 29, 1)
    r['c'].call('vm.unregister', **vm(28), epoch=2)
    r['c'].call('vm.register', **vm(22), epoch=5, addresses=addresses(22, 'c'))
    r['c'].call('vm.register', **vm(23), epoch=7, addresses=addresses(23, 'c'))
    expect(known('c', 21) == ('r-c', 1) and known('a', 21) == ('r-b', 2), f"{known('c', 21)}, {known('a', 21)}")
    expect(known('c', 9) == (None, None) and known('a', 29) == (None, None), 'something came through the cut')

with case('after 15 s each side takes the other for gone, and keeps its VMs'):
    wait_for('C is away', lambda: all(v != 'synced' for (s, t), v in lab.states().items() if 'c' in (s, t)), 40, 0.2)
    took = time.monotonic() - cut_at
    expect(8 < took < 40, f'{took:.1f} s')
    print(f'   after {took:.1f} s')
    expect(doctor('a', 'r-b')[0] == 'ok' and doctor('a', 'r-c')[0] == 'fault', f"{doctor('a', 'r-b')}, {doctor('a', 'r-c')}")
    expect(known('a', 24) == ('r-c', 1) and known('c', 11) == ('r-b', 1), f"{known('a', 24)}, {known('c', 11)}")

lab.join('c')
healed_at = time.monotonic()

# C-78: the router that has not heard of a move gives the VM up as soon as it is back.
# C-79: both sides have claimed VM 22 at epoch 5: the lower router name keeps it.
with case('healed, all three say the same'):
    lab.wait_synced(90)
    table = until(lab.agreed, 20, 0.1)
    expect(table is not None, f'they differ: {[lab.table(s) for s in NAMES]}')
    print(f'   {time.monotonic() - healed_at:.1f} s after the cut')

with case('and what the higher epoch says: moves, removals and arrivals of both sides'):
    want = {21: ('r-b', 2), 22: ('r-a', 5), 23: ('r-c', 7), 9: ('r-a', 1), 29: ('r-c', 1), 1: (None, None), 28: (None, None)}
    have = {n: everywhere(n) for n in want}
    expect(have == {n: {v} for n, v in want.items()}, f'{have}')

with case('both owners of one epoch are an alarm'):
    expect(any('claimed by r-a and by r-c' in x.process.output() or 'claimed by r-c and by r-a' in x.process.output() for x in r.values()),
           'no log says so')

with case('a change goes round at once again'):
    register('c', 30, 1)
    wait_for('all know it', lambda: everywhere(30) == {('r-c', 1)}, 5)

finish(*(x.process for x in r.values()))
