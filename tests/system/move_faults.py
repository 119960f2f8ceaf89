#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""A router is killed, or the routers lose each other, at each step of a prepared move; then the controller says again what it
had said, and goes on.

    user --- wan (BCP 38) --- rx --- dcx --- hv --- vm         kill -9 and a new start: of rx, of ry; or their management
               \              ry --- dcy ---/                  network is cut
                \-------------/

Whatever happens when: the move ends where the controller wanted it, both routers say the same, one answers for the gateway, no
address is kept that nobody has, and sessions of before and new ones live, also when either router is killed while the VM drains.
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import until, wait_for
from measure import TCP, TCP_MORE, Sessions, gateway_answers, new_session_path, vm_globals, wait_owner
from sites import VM, VM_MAC, Sites

AT = {'x': '203.0.113.10', 'y': '203.0.113.74'}
STEPS = ('prepare', 'pause', 'commit')
VICTIMS = ('x', 'y', 'link')
IDLE = [t for t in TCP + TCP_MORE if t[2] == 'idle']

lab = Sites('movefaults', delay_ms=2)
r = lab.routers()
x, y = r['x'], r['y']
for host in ('user', 'vm'):
    lab.agent(host).call('listen')


def say(router, method, **params):
    return router.call(method, segment='blue', mac=VM_MAC, **params)


def addresses(site):
    return [{'private': VM, 'global': AT[site]}]


def row(router, epoch):
    return next((m for m in router.rows('moves') if m['mac'] == VM_MAC and m['epoch'] == epoch), None)


def restart(router):
    router.kill9()
    router.start()


def fault(victim):
    """What is killed starts again; the network is cut, and mended by mend()."""
    if victim == 'link':
        lab.ip('mgmt', 'link set dev rx down')
    elif victim is not None:
        restart(r[victim])


def mend():
    lab.ip('mgmt', 'link set dev rx up')

    def together():
        return all(p['state'] == 'synced' for router in (x, y) for p in router.rows('peers'))
    wait_for('the routers have found each other', together, 90)


def home():
    """The VM is at X, with nothing left of moves before."""
    global sessions
    mend()
    lab.plug('x')
    say(x, 'vm.move', addresses=addresses('x'), **{'drain-min': 0, 'drain-max': 0})
    wait_owner((x, y), VM_MAC, 'r-x')
    wait_for('nothing drains', lambda: all(vm_globals(router, VM_MAC) == ([AT['x']], []) for router in (x, y)))
    sessions = Sessions(lab, AT['x'], IDLE)


def stand_still():
    """The VM is nowhere."""
    for s in 'xy':
        lab.ip('hv', f'link set dev up{s} nomaster')


def do(step, epoch=None):
    """What the controller says at a step, and what happens then; the epoch of the move."""
    if step == 'prepare':
        more = {} if epoch is None else {'epoch': epoch}
        return say(y, 'move.prepare', addresses=addresses('y'), **{'drain-min': '1h', 'drain-max': '2h'}, **more)['epoch']
    if step == 'pause':
        say(y, 'move.pause', epoch=epoch)
        stand_still()
    elif step == 'commit':
        lab.plug('y', announce=False)  # it may commit by itself before
        say(y, 'move.commit', epoch=epoch)
    return epoch


def told_again(step, epoch):
    """A controller that does not know whether it was heard says it once more."""
    expect(do(step, epoch) == epoch, f'{step} again is another move')


def expect_moved(epoch):
    wait_owner((x, y), VM_MAC, 'r-y', 30)
    expect(until(lambda: all(vm_globals(router, VM_MAC) == ([AT['y']], [AT['x']]) for router in (x, y)), 10),
           f'{[vm_globals(router, VM_MAC) for router in (x, y)]}')
    expect(row(y, epoch)['state'] == 'draining', f'{row(y, epoch)}')
    verdicts = sessions.exercise()
    expect(not any(verdicts.values()), f'{verdicts}')
    path = new_session_path(lab, AT['y'])
    expect(path == ('user > R_Y > VM', 'VM > R_Y > user'), f'{path}')
    answers = gateway_answers(lab)
    expect(len(answers['replies']) == 1 and answers['who'] == ['y'], f'{answers}')


def expect_at_home(epoch):
    """Nothing of the move is left, and its address is free."""
    expect(until(lambda: all(vm_globals(router, VM_MAC) == ([AT['x']], []) for router in (x, y)), 10),
           f'{[vm_globals(router, VM_MAC) for router in (x, y)]}')
    expect(row(y, epoch)['state'] == 'aborted', f'{row(y, epoch)}')
    y.call('vm.register', segment='blue', mac='52:54:00:00:00:77', addresses=[{'private': '10.1.0.77', 'global': AT['y']}])
    y.call('vm.unregister', segment='blue', mac='52:54:00:00:00:77')
    verdicts = sessions.exercise()
    expect(not any(verdicts.values()), f'{verdicts}')
    answers = gateway_answers(lab)
    expect(len(answers['replies']) == 1 and answers['who'] == ['x'], f'{answers}')


say(x, 'vm.register', addresses=addresses('x'))
for at in STEPS:
    for victim in VICTIMS:
        name = 'the routers lose each other' if victim == 'link' else f'R_{victim.upper()} is killed'
        with case(f'{name} after {at}: the move goes on, and all sessions live'):
            home()
            moved = None
            for step in STEPS:
                moved = do(step, moved)
                if step == at:
                    fault(victim)
                    told_again(step, moved)
            mend()
            expect_moved(moved)

for at in STEPS[:2]:
    for victim in VICTIMS:
        name = 'the routers lose each other' if victim == 'link' else f'R_{victim.upper()} is killed'
        with case(f'{name} after {at}, and the move is aborted: all is as before'):
            home()
            moved = None
            for step in STEPS[:STEPS.index(at) + 1]:
                moved = do(step, moved)
            fault(victim)
            lab.plug('x', announce=False)
            say(y, 'move.abort', epoch=moved)
            mend()
            say(y, 'move.abort', epoch=moved)
            expect_at_home(moved)

with case('R_Y is killed as it was committed and again while the VM drains: sessions of before and new ones live'):
    home()
    moved = do('prepare')
    do('pause', moved)
    do('commit', moved)
    restart(y)
    mend()
    expect_moved(moved)
    restart(x)
    mend()
    expect_moved(moved)

finish(x.process, y.process)
