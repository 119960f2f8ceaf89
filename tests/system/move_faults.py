#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""A router or the controller is killed, or the routers lose each other, at each step of a prepared move; then the controller
says again what it had said, and goes on, or is gone for good.

    user --- wan (BCP 38) --- rx --- dcx --- hv --- vm         kill -9 and a new start: of rx, of ry, of nearway-clc; or the
               \              ry --- dcy ---/                  routers' management network is cut
                \-------------/

Whatever happens when: the move ends where the controller wanted it, or where its times let it end; both routers say the same, one
answers for the gateway, no address is kept that nobody has or given to another, and sessions of before and new ones live.
"""
import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import until, wait_for
from measure import TCP, TCP_MORE, Sessions, gateway_answers, new_session_path, vm_globals, wait_owner
from router import Controller, RpcError
from sites import VM, VM_MAC, Sites

AT = {'x': '203.0.113.10', 'y': '203.0.113.74'}
STEPS = ('prepare', 'pause', 'commit', 'drain')
VICTIMS = ('x', 'y', 'link')
IDLE = [t for t in TCP + TCP_MORE if t[2] == 'idle']
OTHER = {'segment': 'blue', 'mac': '52:54:00:00:00:77'}
TIMES = {'usual': ('1h', '30s'), 'short': ('2s', '1s')}  # a move that is prepared, and paused, is so for at most

lab = Sites('movefaults', delay_ms=2)
clc = Controller(lab)
r = lab.routers(controller_key=clc.key)
x, y = r['x'], r['y']
clc.inventory(r)
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
    else:
        restart(r[victim])


def mend():
    lab.ip('mgmt', 'link set dev rx up')

    def together():
        return all(p['state'] == 'synced' for router in (x, y) for p in router.rows('peers'))
    wait_for('the routers have found each other', together, 90)


def globals_of(live, draining):
    """Both routers say that these are the VM's addresses."""
    def so():
        return all(vm_globals(router, VM_MAC) == (live, draining) for router in (x, y))
    expect(until(so, 15), f'not {live}, {draining} but {[vm_globals(router, VM_MAC) for router in (x, y)]}')


def home():
    """The VM is at X, with nothing left of moves before."""
    global sessions
    mend()
    lab.plug('x')
    AT['y'] = '203.0.113.74'
    say(x, 'vm.move', addresses=addresses('x'), **{'drain-min': 0, 'drain-max': 0})
    wait_owner((x, y), VM_MAC, 'r-x')
    globals_of([AT['x']], [])
    sessions = Sessions(lab, AT['x'], IDLE)


def stand_still():
    """The VM is nowhere."""
    for s in 'xy':
        lab.ip('hv', f'link set dev up{s} nomaster')


# ---- the steps, told by a controller that is never in doubt ----

def do(step, epoch=None):
    """What the controller says at a step, and what happens then; the epoch of the move."""
    global fresh
    if step == 'prepare':
        more = {} if epoch is None else {'epoch': epoch}
        return say(y, 'move.prepare', addresses=addresses('y'), **{'drain-min': '1h', 'drain-max': '2h'}, **more)['epoch']
    if step == 'pause':
        say(y, 'move.pause', epoch=epoch)
        stand_still()
    elif step == 'commit':
        lab.plug('y', announce=False)  # it may commit by itself before
        say(y, 'move.commit', epoch=epoch)
    elif step == 'drain':
        wait_owner((x, y), VM_MAC, 'r-y', 30)
        fresh = fresh or Sessions(lab, AT['y'], IDLE)
    return epoch


def told_again(step, epoch):
    """A controller that does not know whether it was heard says it once more."""
    expect(do(step, epoch) == epoch, f'{step} again is another move')


# ---- the end ----

def is_given(router, address):
    """Whether another VM could have this address now."""
    try:
        router.call('vm.register', **OTHER, addresses=[{'private': '10.1.0.77', 'global': address}])
    except RpcError:
        return False
    router.call('vm.unregister', **OTHER)
    return True


def gateway(site):
    answers = gateway_answers(lab)
    expect(len(answers['replies']) == 1 and answers['who'] == [site], f'{answers}')


def alive(*of):
    verdicts = {name: why for each in of if each for name, why in each.exercise(0.1).items() if why}
    expect(not verdicts, f'{verdicts}')


def expect_moved(epoch):
    wait_owner((x, y), VM_MAC, 'r-y', 30)
    globals_of([AT['y']], [AT['x']])
    expect(row(y, epoch)['state'] == 'draining', f'{row(y, epoch)}')
    for router, address in ((y, AT['y']), (x, AT['x'])):
        expect(not is_given(router, address), f'{router.name} gives {address} to another VM')
    gateway('y')
    alive(sessions, fresh)
    path = new_session_path(lab, AT['y'])
    expect(path == ('user > R_Y > VM', 'VM > R_Y > user'), f'{path}')


def expect_at_home(epoch, reason):
    """Nothing of the move is left, and its address is free."""
    globals_of([AT['x']], [])
    expect((row(y, epoch)['state'], row(y, epoch)['reason']) == ('aborted', reason), f'{row(y, epoch)}')
    expect(is_given(y, AT['y']), f"{AT['y']} is kept for a move that is over")
    expect(not is_given(x, AT['x']), f"{AT['x']} is given to another VM")
    gateway('x')
    alive(sessions)


# ---- a controller that is killed ----

def known():
    """The VM as the controller has it."""
    return next(v for v in json.loads(clc.run('--json', 'list').stdout)['vms'] if v['mac'] == VM_MAC)


def clc_home():
    """As home(), and the controller knows it. The VM's name there."""
    home()
    clc.run('sync')
    return known()['name']


def begin(*words):
    return lab.spawn('clc', [*clc.command().split(), *words], name=f'clc-{words[0]}')


def killed_and_again(*words):
    """The command is killed at later and later moments until it was done before that. How often it was killed."""
    after, kills = 0.001, 0
    while True:
        p = begin(*words)
        until(lambda: not p.alive(), after, 0.002)
        code = p.stop(signal.SIGKILL)
        if code != -signal.SIGKILL:
            expect(code == 0, f'{words}: {p.output()}')
            return kills
        kills, after = kills + 1, after * 1.5


def killed(state, *words):
    """The command is killed as soon as the new router has done what it asks for."""
    p = begin(*words)
    wait_for(state, lambda: max(y.rows('moves'), key=lambda m: m['epoch'])['state'] == state, step=0.002)
    p.stop(signal.SIGKILL)


def planned():
    """The move's epoch; which address of Y's the controller has chosen for it is AT['y'] from now on."""
    vm = known()
    AT['y'] = vm['to-addresses'][0]['global']
    return vm['to-epoch']


def short_times(name):
    for router in (x, y):
        router.config['moves'] = dict(zip(('prepared-max', 'paused-max'), TIMES[name]))
        router.write()
        router.call('reload')


# ---- the matrix ----

def called(victim):
    return 'the routers lose each other' if victim == 'link' else f'R_{victim.upper()} is killed'


say(x, 'vm.register', addresses=addresses('x'))
for at in STEPS:
    for victim in VICTIMS:
        with case(f'{called(victim)} after {at}: the move goes on, and all sessions live'):
            home()
            moved = fresh = None
            for step in STEPS:
                if step == 'drain':
                    mend()
                moved = do(step, moved)
                if step == at:
                    fault(victim)
                    told_again(step, moved)
            mend()
            expect_moved(moved)

for at in STEPS[:2]:
    for victim in VICTIMS:
        with case(f'{called(victim)} after {at}, and the move is aborted: all is as before'):
            home()
            moved = None
            for step in STEPS[:STEPS.index(at) + 1]:
                moved = do(step, moved)
            fault(victim)
            lab.plug('x', announce=False)
            say(y, 'move.abort', epoch=moved)
            mend()
            say(y, 'move.abort', epoch=moved)
            expect_at_home(moved, 'asked')

with case('the controller is killed at many moments of each step, and begins it again: the move goes on, and all sessions live'):
    name = clc_home()
    n = [killed_and_again('prepare', name, '--to', 'y', '--drain-min', '1h', '--drain-max', '2h')]
    moved = planned()
    n.append(killed_and_again('pause', name))
    stand_still()
    lab.plug('y', announce=False)
    n += [killed_and_again('commit', name), killed_and_again('sync')]
    fresh = None
    do('drain')
    expect_moved(moved)
    expect(min(n) > 0, f'killed {n} times')
    print(f'   killed {n} times')

with case('the controller is killed at many moments, and aborts at last: all is as before'):
    name = clc_home()
    killed_and_again('prepare', name, '--to', 'y')
    moved = planned()
    killed_and_again('pause', name)
    stand_still()
    lab.plug('x', announce=False)
    killed_and_again('abort', name)
    expect_at_home(moved, 'asked')

for at in STEPS[:2]:
    with case(f'the controller is killed in {at} and never comes back: its time ends the move, and all is as before'):
        name = clc_home()
        short_times('short')
        killed('prepared', 'prepare', name, '--to', 'y')
        moved = planned()
        if at == 'pause':
            killed('paused', 'pause', name)
            stand_still()
            lab.plug('x', announce=False)
        wait_for('it is aborted', lambda: row(y, moved)['state'] == 'aborted', 10)
        expect_at_home(moved, 'timeout')
        short_times('usual')

with case('the controller is killed in the commit and never comes back: the VM has moved, and the drain ends by its time'):
    name = clc_home()
    clc.run('prepare', name, '--to', 'y', '--drain-min', '6s', '--drain-max', '6s')
    moved = planned()
    clc.run('pause', name)
    stand_still()
    lab.plug('y', announce=False)
    killed('draining', 'commit', name)
    fresh = None
    expect_moved(moved)
    globals_of([AT['y']], [])
    expect(row(y, moved)['state'] == 'done' and is_given(x, AT['x']), f'{row(y, moved)}')
    gateway('y')

finish(x.process, y.process)
