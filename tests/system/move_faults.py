#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""A router or the controller is killed, or the routers lose each other, at each step of a prepared move; then the controller
says again what it had said, and goes on, or is gone for good.

    user --- wan (BCP 38) or ru --- rx --- dcx --- hv --- vm     kill -9 and a new start: of rx, of ry, of nearway-clc; or the
               \                    ry --- dcy ---/              routers' management network is cut
                \-------------------/

Whatever happens when: the move ends where the controller wanted it, or where its times let it end; both routers say the same, one
answers for the gateway, no address is kept that nobody has or given to another, and sessions of before (TCP, and UDP by the
address that it had) and new ones live.

NEARWAY_ALL=1 walks all steps with all faults in all worlds; else each step meets each fault once, in one of the worlds.
"""
import itertools
import json
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import until, wait_for
from measure import Opened, gateway_answers, go_on, vm_globals, wait_owner
from router import Controller, RpcError
from sites import SITES, VM, VM_MAC, PerSite, Sites

ALL = bool(os.environ.get('NEARWAY_ALL'))
GLOBALS = {'x': '203.0.113.10', 'y': '203.0.113.74'}
WORLDS = {  # what it is called: its lab, access
    'NAT': (lambda: Sites('faults', delay_ms=2), 'nat'),
    'a gateway MAC for each site': (lambda: PerSite('faults-per-site', delay_ms=2), 'nat'),
    'routing method': (lambda: Sites('faults-routed', core='ru', delay_ms=2), 'routed'),
}
VICTIMS = ('x', 'y', 'link')
STEPS = ('prepare', 'pause', 'commit', 'drain', 'arrival', 'abort', 'finish', 'cut')
WALKS = [  # the steps of a move, and after which of them the fault comes
    ('prepare pause commit drain', 'prepare'), ('prepare abort', 'prepare'),
    ('prepare pause commit drain', 'pause'), ('prepare pause abort', 'pause'),
    ('prepare pause commit drain', 'commit'),
    ('prepare pause commit drain', 'drain'),
    ('prepare pause arrival drain', 'arrival'),
    ('prepare abort', 'abort'), ('prepare pause abort', 'abort'),
    ('prepare pause commit drain finish', 'finish'),
    ('prepare pause commit drain cut', 'cut'),
]
OTHER = {'segment': 'blue', 'mac': '52:54:00:00:00:77'}
TIMES = {'usual': ('1h', '30s'), 'short': ('2s', '1s')}  # a move that is prepared, and paused, is so for at most


def say(router, method, **params):
    return router.call(method, segment='blue', mac=VM_MAC, **params)


def addresses(site):
    return [{'private': VM, 'global': AT[site]} if AT[site] != VM else {'private': VM}]


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


def globals_of(live, *draining):
    """Both routers say that these are the VM's addresses, by site; with the routing method it has none of a site's."""
    want = ([AT[live]], [AT[d] for d in draining]) if AT[live] != VM else ([], [])

    def so():
        return all(vm_globals(router, VM_MAC) == want for router in (x, y))
    expect(until(so, 15), f'not {want} but {[vm_globals(router, VM_MAC) for router in (x, y)]}')


def home():
    """The VM is at X, with nothing left of moves before."""
    global sessions, fresh
    for each in filter(None, (sessions, fresh)):
        each.close()
    sessions = fresh = None
    mend()
    lab.plug('x')
    if AT['y'] != VM:
        AT['y'] = GLOBALS['y']
    say(x, 'vm.move', addresses=addresses('x'), **{'drain-min': 0, 'drain-max': 0})
    wait_owner((x, y), VM_MAC, 'r-x')
    route('x')
    globals_of('x')
    sessions = Opened(lab, AT['x'])


def route(site):
    """At the user's router, where there is one that knows VMs."""
    if 'u' in r:
        r['u'].call('route.replace', prefix=f'{VM}/32', via=SITES[site]['wan'])


def stand_still():
    """The VM is nowhere."""
    for s in 'xy':
        lab.ip('hv', f'link set dev up{s} nomaster')


# ---- the steps, told by a controller that is never in doubt ----

def noted():
    """X has heard of the move and notes what passes: TCP that nobody has is older than the move, UDP is not."""
    def is_noted():
        sessions.speak()
        return any(s['protocol'] == 'udp' and s['vm-port'] == sessions.port for s in x.rows('sessions'))
    wait_for('X notes the UDP flow', is_noted)


def do(step, epoch=None):
    """What the controller says at a step, and what happens then; the epoch of the move."""
    global fresh
    if step == 'prepare':
        more = {} if epoch is None else {'epoch': epoch}
        epoch = say(y, 'move.prepare', addresses=addresses('y'), **{'drain-min': '1h', 'drain-max': '2h'}, **more)['epoch']
        if AT['y'] != VM:
            noted()
    elif step == 'pause':
        say(y, 'move.pause', epoch=epoch)
        stand_still()
    elif step == 'commit':
        lab.plug('y', announce=False)  # it may commit by itself before
        say(y, 'move.commit', epoch=epoch)
    elif step == 'arrival':
        lab.plug('y')
        wait_for('it has arrived', lambda: row(y, epoch)['state'] in ('draining', 'done'))
    elif step == 'drain':
        wait_owner((x, y), VM_MAC, 'r-y', 30)
        route('y')
        if AT['y'] != VM:  # until then a UDP flow that Y does not know may be taken for an old or a new one
            wait_for('X has listed its sessions', lambda: 'listed' in row(y, epoch)['times'])
        fresh = fresh or Opened(lab, AT['y'])
    elif step == 'abort':
        lab.plug('x', announce=False)
        say(y, 'move.abort', epoch=epoch)
    elif step in ('finish', 'cut'):
        say(y, f'move.{step}', epoch=epoch)
    return epoch


def told_again(step, epoch):
    """A controller that does not know whether it was heard says it once more."""
    expect(do(step, epoch) == epoch, f'{step} again is another move')


# ---- the end ----

def is_given(router, site):
    """Whether another VM could have the VM's address at a site now."""
    own = {'private': VM} if AT[site] == VM else {'private': '10.1.0.77', 'global': AT[site]}
    try:
        router.call('vm.register', **OTHER, addresses=[own])
    except RpcError:
        return False
    router.call('vm.unregister', **OTHER)
    return True


def gateway(site):
    answers = gateway_answers(lab)
    expect(len(answers['replies']) == 1 and answers['who'] == [site], f'{answers}')


def new_are_near():
    """A UDP flow that began after the move has left by Y: nobody else may use its address, and the WAN's filter sees to it."""
    expect(fresh.home == {AT['y']}, f'{fresh.home}')


def expect_moved(epoch):
    wait_owner((x, y), VM_MAC, 'r-y', 30)
    globals_of('y', 'x')
    expect(row(y, epoch)['state'] == ('draining' if AT['y'] != VM else 'done'), f'{row(y, epoch)}')
    for router, site in ((y, 'y'), (x, 'x')):
        expect(not is_given(router, site), f'{router.name} gives {AT[site]} to another VM')
    gateway('y')
    go_on(sessions, fresh)
    new_are_near()


def expect_at_home(epoch, reason='asked'):
    """Nothing of the move is left, and its address is free."""
    globals_of('x')
    expect((row(y, epoch)['state'], row(y, epoch)['reason']) == ('aborted', reason), f'{row(y, epoch)}')
    expect(is_given(y, 'y') == (AT['y'] != VM), f"{AT['y']} is kept for a move that is over, or given twice")
    expect(not is_given(x, 'x'), f"{AT['x']} is given to another VM")
    gateway('x')
    go_on(sessions)


def expect_done(epoch, reason='cut'):
    """The VM has moved and nothing drains: its old address is free; with the routing method it has no other, and nothing ends."""
    globals_of('y')
    m = row(y, epoch)
    expect(m['state'] == 'done' and (AT['y'] == VM or m['reason'] == reason), f'{m}')
    expect(is_given(x, 'x') == (AT['x'] != VM), f"{AT['x']} is kept for a drain that is over, or given twice")
    expect(not is_given(y, 'y'), f"{AT['y']} is given to another VM")
    gateway('y')
    go_on(fresh, *([sessions] if AT['y'] == VM else []))


ENDS = {'drain': expect_moved, 'finish': expect_moved, 'abort': expect_at_home, 'cut': expect_done}


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


def killed(states, *words):
    """The command is killed as soon as the new router has done what it asks for."""
    p = begin(*words)
    wait_for(states, lambda: max(y.rows('moves'), key=lambda m: m['epoch'])['state'] in states, step=0.002)
    p.stop(signal.SIGKILL)


def planned():
    """The move's epoch; which address of Y's the controller has chosen for it is AT['y'] from now on."""
    vm = known()
    AT['y'] = vm['to-addresses'][0].get('global', VM)
    if AT['y'] != VM:
        noted()
    return vm['to-epoch']


def short_times(name):
    for router in (x, y):
        router.config['moves'] = dict(zip(('prepared-max', 'paused-max'), TIMES[name]))
        router.write()
        router.call('reload')


# ---- the matrix ----

def called(victim):
    return 'the routers lose each other' if victim == 'link' else f'R_{victim.upper()} is killed'


def enter(world, access):
    """All is of this lab from now on."""
    global lab, clc, r, x, y, AT, sessions, fresh
    lab, sessions, fresh = world, None, None
    AT = dict(GLOBALS) if access == 'nat' else dict.fromkeys('xy', VM)
    clc = Controller(lab)
    r = lab.routers(access=access, controller_key=clc.key)
    x, y = r['x'], r['y']
    clc.inventory(r)
    for host in ('user', 'vm'):
        lab.agent(host).call('listen')
    say(x, 'vm.register', addresses=addresses('x'))


def cell(world, steps, at, victim):
    with case(f"{world}: {called(victim)} after {at} of {steps.replace(' ', ', ')}"):
        home()
        moved = None
        for step in steps.split():
            if step in ('drain', 'finish', 'cut'):
                mend()
            moved = do(step, moved)
            if step == at:
                fault(victim)
                told_again(step, moved)
        mend()
        ENDS[steps.split()[-1]](moved)


def cells(world):
    """Walks and who is the victim: all of them where there is time; else each step with each victim in one world."""
    names = list(WORLDS)
    for n, (at, victim) in enumerate(itertools.product(STEPS, VICTIMS)):
        walks = [steps for steps, where in WALKS if where == at]
        if ALL:
            yield from ((steps, at, victim) for steps in walks)
        elif world == names[(n + n // len(VICTIMS)) % len(names)]:
            yield walks[n % len(walks)], at, victim


# ---- the cases of the controller ----

def controller_begins_again():
    global fresh
    name = clc_home()
    n = [killed_and_again('prepare', name, '--to', 'y', '--drain-min', '1h', '--drain-max', '2h')]
    moved = planned()
    n.append(killed_and_again('pause', name))
    stand_still()
    lab.plug('y', announce=False)
    n += [killed_and_again('commit', name), killed_and_again('sync')]
    do('drain', moved)
    expect_moved(moved)
    expect(min(n) > 0, f'killed {n} times')
    print(f'   killed {n} times')


def controller_aborts():
    name = clc_home()
    killed_and_again('prepare', name, '--to', 'y')
    moved = planned()
    killed_and_again('pause', name)
    stand_still()
    lab.plug('x', announce=False)
    killed_and_again('abort', name)
    expect_at_home(moved)


def controller_never_back(at):
    name = clc_home()
    short_times('short')
    killed(('prepared',), 'prepare', name, '--to', 'y')
    moved = planned()
    if at == 'pause':
        killed(('paused',), 'pause', name)
        stand_still()
        lab.plug('x', announce=False)
    wait_for('it is aborted', lambda: row(y, moved)['state'] == 'aborted', 10)
    expect_at_home(moved, 'timeout')
    short_times('usual')


def controller_never_back_from_commit():
    name = clc_home()
    clc.run('prepare', name, '--to', 'y', '--drain-min', '6s', '--drain-max', '6s')
    moved = planned()
    clc.run('pause', name)
    stand_still()
    lab.plug('y', announce=False)
    killed(('draining', 'done'), 'commit', name)
    do('drain', moved)
    expect_moved(moved)
    expect_done(moved, 'deadline')


def controller_cells():
    with case('the controller is killed at many moments of each step, and begins it again: the move goes on, and all sessions live'):
        controller_begins_again()
    with case('the controller is killed at many moments, and aborts at last: all is as before'):
        controller_aborts()
    for at in STEPS[:2]:
        with case(f'the controller is killed in {at} and never comes back: its time ends the move, and all is as before'):
            controller_never_back(at)
    with case('the controller is killed in the commit and never comes back: the VM has moved, and the drain ends by its time'):
        controller_never_back_from_commit()


processes = []
for world_name, (make, access) in WORLDS.items():
    enter(make(), access)
    processes += [router.process for router in r.values()]
    for walk in cells(world_name):
        cell(world_name, *walk)
    if ALL or world_name == 'NAT':
        controller_cells()
    if 'u' not in r:
        with case(f'{world_name}: no packet left by the wrong site'):
            expect(lab.filtered() == 0, f'{lab.filtered()} packets')
finish(*processes)
