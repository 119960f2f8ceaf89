#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""nearway-clc against real routers: addresses from the pools, moves, what a kill or a lost state leaves behind.

    clc ---- management network ---- rx, ry          only the control channel matters here
"""
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ('../lab', '../pyclient'):
    sys.path.insert(0, os.path.join(HERE, folder))
from channel import Identity, Target, decode_key, key_from_file
from check import case, expect, finish
from client import Router, RpcError, change
from lab import wait_for
from managed import new_key
from router import Controller
from sites import Sites

FLOOD = '''
import socket, sys, time
held, end = [], time.monotonic() + 2
while time.monotonic() < end:
    held.append(socket.create_connection((sys.argv[1], int(sys.argv[2]))))
    if len(held) == 40:
        print('begun', flush=True)
    time.sleep(0.005)
'''
MANY = 6000  # VMs: more than one message holds
lab = Sites('clc', delay_ms=1)
clc = Controller(lab)
r = lab.routers(controller_key=clc.key, start=False)
for router in r.values():
    router.config['segments'].append({'name': 'wide', 'vni': 200, 'prefix': '10.2.0.0/16', 'access': 'routed',
                                      'gateway': {'address': '10.2.0.1', 'mac': '02:00:5e:00:00:01'},
                                      'attachments': [{'port': 'dc0', 'vlan': 200}], 'exits': [{'port': 'wan0'}]})
    router.config['limits']['vms'] = 2 * MANY
    router.config['control']['observers'] = [{'name': 'mon', 'key': new_key(lab, f'mon-{router.name}')[1]}]
    router.start(wait=False)
for router in r.values():
    router.ready()
x, y = r['x'], r['y']
clc.inventory({'x': x, 'y': y})


def ask(*words, ok=True):
    """One command's JSON; `ok`: it must have worked."""
    p = clc.run('--json', *words, check=False)
    expect((p.returncode == 0) == ok, f'{words}: exit {p.returncode}: {p.stdout} {p.stderr}')
    return json.loads(p.stdout)


def create(name, site, ok=True):
    return ask('create', name, '--site', site, '--segment', 'blue', ok=ok)


def listed():
    return {v['name']: v for v in ask('list')['vms']}


def glob(vm):
    return vm['addresses'][0]['global']


def at(router, vm):
    """The VM as a router shows it, or None."""
    return next((v for v in router.rows('vms') if v['mac'] == vm['mac']), None)


def in_step():
    """What the controller's list and both routers disagree about."""
    wrong = []
    for name, vm in listed().items():
        for router in (x, y):
            seen = at(router, vm)
            want = (vm['router'], vm['epoch'], vm['addresses'])
            for a in seen['addresses'] if seen else ():
                a.pop('since', None)  # the routers' own
            if seen is None or (seen['owner'], seen['epoch'], seen['addresses']) != want or vm['state'] != 'active':
                wrong.append(f'{name}: {vm} at {router.name}: {seen}')
    return wrong


def asked(router, call):
    """What comes of call(router's channel), as the controller's key: its result, or the error."""
    target = Target(router.name, router.config['control']['listen'], decode_key(router.key))
    with lab.inside('clc'), Router(Identity('clc', key_from_file(clc.key_file), term=1), target) as channel:
        try:
            return call(channel)
        except RpcError as e:
            return e


def told(router):
    """What was told to the router of each VM."""
    return {v['mac']: (v['owner'], v['epoch'], v['addresses'], v['revision']) for v in router.rows('vms')}


def forget():
    """The controller's state is gone."""
    for suffix in ('', '-wal', '-shm'):
        path = os.path.join(clc.dir, 'state.db' + suffix)
        if os.path.exists(path):
            os.unlink(path)


def settle():
    wait_for('controller and routers are in step', lambda: not in_step(), 30)


with case('create takes addresses from the pools and both routers know the VM'):
    a, b = create('a', 'x'), create('b', 'y')
    expect(glob(a).startswith('203.0.113.') and glob(a) != glob(b), f'{a} {b}')
    expect(create('a', 'x', ok=False)['error'].startswith('VM a exists'), 'a second VM of the same name')
    settle()

with case('move is told to the new router, and the old address is not given away before it has drained'):
    old, before = glob(a), (listed(), told(x), told(y))
    words = ('move', 'a', '--to', 'y', '--drain-min', '1h', '--drain-max', '2h')
    plan, text = ask(*words, '--dry-run')['plans'][0], clc.run(*words, '--dry-run').stdout
    expect((listed(), told(x), told(y)) == before, f'a dry run has changed {before}')
    expect(re.match(rf'a: r-x to r-y, .*@2\n.* {old} +at r-x, at least 1h, at most 2h.*  committed +r-y ', text, re.S), text)
    a = ask(*words)['vms'][0]
    expect((plan['vm'], plan['live'][0]['global']) == ('a', glob(a)), f'{a} is not as planned: {plan}')
    done = {s['step'] for s in y.call('show.move', id=plan['id'])['timeline']}
    expect(done and done <= {s['step'] for s in plan['steps']}, f'{done} is not as planned: {plan}')
    expect(a['site'] == 'y' and a['epoch'] == 2 and a['held'][0]['global'] == old, f'{a}')
    c = create('c', 'x')
    expect(glob(c) != old, f'{old} still drains, and c has it')
    settle()
    x.call('move.cut', segment='blue', mac=a['mac'], epoch=0)
    wait_for('the drain has ended at both routers', lambda: not any(at(router, a).get('drains') for router in (x, y)), 30)
    expect(ask('release')['released'] == 1, 'nothing was released')
    d = create('d', 'x')
    expect(glob(d) == old, f'{old} is free, and d has {glob(d)}')

with case('a VM that returns gets its draining address back'):
    before = glob(d)
    ask('move', 'd', '--to', 'y', '--drain-min', '1m', '--drain-max', '1m', '--sessions', 'direct')
    wait_for('the new router sends old sessions itself', lambda: [g['direct'] for g in at(y, d)['drains']] == [True], 5)
    d = ask('move', 'd', '--to', 'x', '--drain-min', '1m', '--drain-max', '1m')['vms'][0]
    expect(glob(d) == before and d['epoch'] == 3, f'{d}')
    settle()

with case('a command killed at any moment is finished by giving it again'):
    rng = random.Random(1)
    killed = given = 0
    length, end = 0.1, time.monotonic() + 120
    while killed < 10 and time.monotonic() < end:
        to = 'x' if given % 2 else 'y'
        p = lab.spawn('clc', [*clc.command().split(), 'move', 'a', 'b', 'c', '--to', to, '--drain-min', '1s',
                              '--drain-max', '2s'], name=f'move-{given}')
        time.sleep(rng.uniform(0, length))
        length *= 1.2 if p.alive() else 0.8  # about half are killed, whatever the machine takes for one
        killed += p.stop(signal.SIGKILL) == -signal.SIGKILL
        given += 1
        if rng.random() < 0.5:
            ask('move', 'a', 'b', 'c', '--to', to, '--drain-min', '1s', '--drain-max', '2s')
            expect(all(listed()[n]['site'] == to for n in 'abc'), f'{listed()}')
    ask('sync')
    settle()
    expect(killed >= 10, f'only {killed} of {given} commands were killed')
    print(f'   {killed} of {given} commands were killed')

with case('routers restarted with kill -9 still agree with the controller'):
    for router in (x, y):
        router.kill9()
        router.start()
    wait_for('the peers are in step', lambda: all(p['state'] == 'synced' for q in (x, y) for p in q.rows('peers')), 60)
    settle()

# C-53: of an observer that never came, too.
with case('show controllers tells who is here, who is away and since when'):
    def clients():
        return {v['name']: v for v in json.loads(x.cli('--json', 'show', 'controllers').stdout)['rows']}

    ask('status')
    away, never = clients()['clc'], clients()['mon']
    expect(away['state'] == 'away' and away['sessions'] == 0 and away['since-ms'] <= away['heard-ms'] + 1000 < 20000, f'{away}')
    expect(away['from'].startswith('10.255.0.10:') and away['term'] == 1, f'{away}')
    expect(never['role'] == 'observer' and never['state'] == 'away' and 'heard-ms' not in never, f'{never}')
    channel = asked(x, lambda r: clients()['clc'])
    expect(channel['state'] == 'up' and channel['sessions'] == 1 and channel['heard-ms'] < 5000, f'{channel}')
    time.sleep(0.2)
    expect(away['since-ms'] < 20000 and clients()['clc']['since-ms'] >= 200, f'{clients()}')
    expect(re.search(r'clc +controller +away', x.cli('show', 'controllers').stdout), x.cli('show', 'controllers').stdout)

with case('two commands at once wait for each other'):
    both = [subprocess.Popen(['ip', 'netns', 'exec', lab.prefix + 'clc', *clc.command().split(), 'create', n, '--site', 'x',
                              '--segment', 'blue'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for n in 'ef']
    out = [p.communicate(timeout=30)[0] for p in both]
    expect([p.returncode for p in both] == [0, 0], f'{out}')
    expect(glob(listed()['e']) != glob(listed()['f']), 'the same address twice')

# C-46: it knows nothing, and the VMs have been moved: epochs above 1.
with case('a controller that lost its state can wipe nothing, and its first epochs are stale'):
    ask('move', 'a', '--to', 'x')
    ask('move', 'b', '--to', 'y')
    settle()
    known = {v['mac']: (v['site'], v['epoch'], v['addresses']) for v in listed().values()}
    moved = listed()['a']
    expect(moved['epoch'] > 1, f'{moved}')
    before = [told(router) for router in (x, y)]
    forget()
    expect(listed() == {}, f'{listed()}')
    for router in (x, y):
        own = sum(v['owner'] == router.name for v in router.rows('vms'))
        for e in (asked(router, lambda r: r.replace([])), asked(router, lambda r: r.call('state.replace', changes=[]))):
            expect(isinstance(e, RpcError) and e.code == 5 and e.data['removed']['vms'] == own > 0, f'{router.name}: {e}')
    e = asked(x, lambda r: r.call('vm.register', segment='blue', mac=moved['mac'], epoch=1, addresses=moved['addresses']))
    expect(isinstance(e, RpcError) and e.code == 2 and e.data['epoch'] == moved['epoch'], f'{e}')
    expect([told(router) for router in (x, y)] == before, f'VMs have changed: {before}')

with case('it takes over what the routers have, and goes on above their epochs'):
    ask('sync')
    adopted = {v['mac']: (v['site'], v['epoch'], v['addresses']) for v in listed().values()}
    expect(adopted == known, f'{known} became {adopted}')
    name = next(n for n, v in listed().items() if v['mac'] == moved['mac'])
    again = ask('move', name, '--to', 'y')['vms'][0]
    expect(again['epoch'] == moved['epoch'] + 1 > 2 and again['site'] == 'y', f'{again}')
    settle()

# C-50: 20 at once and 10 a second of those that do not prove who they are; here come 200 a second for 2 s.
with case('a router that turns newcomers away for a moment is dialled again'):
    flood = lab.spawn('clc', ['/usr/bin/python3', '-c', FLOOD, *x.config['control']['listen'].split(':')], name='flood')
    wait_for('they come', lambda: 'begun' in flood.output(), 10)
    p = clc.run('status')
    expect('r-x' in p.stderr and 'dialling again' in p.stderr, f'it was let in at once, or is silent: {p.stdout} {p.stderr}')
    expect(flood.wait(20) == 0, 'the flood failed')

with case('deleted VMs are gone at both routers, and their addresses are free'):
    for name in listed():
        ask('delete', name)
    wait_for('the routers forget them', lambda: x.rows('vms') == [] and y.rows('vms') == [], 30)
    again = create('again', 'x')
    expect(glob(again) == old, f'{old} is free, and it has {glob(again)}')
    settle()

with case('a router that is down is named, and the others answer'):
    x.kill9()
    status = {s['name']: s for s in ask('status', ok=False)['routers']}
    expect(status['r-y']['up'] and not status['r-x']['up'], f'{status}')
    expect('r-x at ' in status['r-x']['error'], f'{status}')
    error = create('late', 'x', ok=False)['error']
    expect('r-x' in error and 'late' not in listed(), error)
    expect(listed()['again']['site'] == 'x', 'again has moved')
    ask('move', 'again', '--to', 'y')  # nothing waits for a dead old router
    expect(at(y, listed()['again'])['owner'] == 'r-y', 'Y is not its gateway')
    x.start()
    settle()

with case('a route is written only while it is at the revision that was read'):
    def write(revision, ok=True):
        via = x.config['routes'][0]['via']
        return ask('route', '10.7.0.0/16', '--router', 'r-x', '--via', via, '--if-revision', str(revision), ok=ok)

    def there():
        return next(v for v in x.rows('routes') if v['prefix'] == '10.7.0.0/16')

    write(0)
    x.call('route.replace', prefix='10.7.0.0/16', blackhole=True)  # somebody else
    error = write(0, ok=False)['error']
    expect('revision' in error and 'via' not in there(), f'{error} {there()}')
    write(there()['revision'])
    expect('via' in there(), f'{there()}')
    x.call('route.delete', prefix='10.7.0.0/16')

with case('more VMs than a message holds move in one transaction'):
    for name in listed():
        ask('delete', name)
    vms = [change('vm.register', segment='wide', mac=f'02:00:00:02:{n // 256:02x}:{n % 256:02x}', epoch=1,
                  addresses=[{'private': f'10.2.{16 + n // 200}.{1 + n % 200}'}]) for n in range(MANY)]
    expect(asked(x, lambda r: r.replace(vms, **{'max-remove': 0}))['vms']['added'] == MANY, 'they are not there')
    wait_for('Y knows', lambda: len(y.rows('vms')) == MANY, 60)
    expect(ask('sync')['adopted'] == MANY, 'not all were adopted')
    before = y.call('show.status')['revision']
    would = ask('evacuate', '--from', 'x', '--to', 'y', '--batch', str(2 * MANY), '--dry-run')
    expect((would['moved'], would['batches'], would['refused'], would['dry-run']) == (MANY, 1, [], True), f'{would}')
    began = time.monotonic()
    ask('move', '--all', '--from', 'x', '--to', 'y')
    print(f'   {MANY} moved in {time.monotonic() - began:.2f} s')
    expect(all(v['owner'] == 'r-y' and v['epoch'] == 2 for v in y.rows('vms')), 'not all have moved')
    log = [v for v in y.call('show.log', limit=1000, since='1m')['rows'] if v.get('of') == 'txn.commit']
    expect({v['revision'] for v in log} == {log[0]['revision']} and log[0]['revision'] > before, f'{before}: {log[:2]}')
    again = create('again', 'x')

with case('an evacuation of a list is told to stop, goes on, and is ended where it is; each VM moves once'):
    def stopped(*words):
        """Exits with 3; it has heeded the signal after the batch that was on its way."""
        p = lab.spawn('clc', [*clc.command().split(), 'evacuate', *words, '--batch', '10'], name='stopped')
        heeds = re.compile(r'SigCgt:\s+[0-9a-f]*[4-7c-f][0-9a-f]{3}$', re.M)  # SIGTERM
        wait_for('it heeds signals', lambda: heeds.search(open(f'/proc/{p.popen.pid}/status', encoding='ascii').read()), 10, 0.01)
        expect(p.stop(signal.SIGTERM) == 3, p.output())
        return int(re.findall(r'stopped: (\d+) of 2000 VMs moved; the same command, or evacuate --resume, goes on', p.output())[-1])

    some = [n for n in listed() if n != 'again'][:2000]
    names = os.path.join(clc.dir, 'names')
    with open(names, 'w', encoding='ascii') as f:
        f.writelines(f'{n}\n' for n in some)
    words = ('--from', 'y', '--to', 'x', '--vms', names)
    first = stopped(*words)
    went = lab.sh('clc', f"{clc.command()} --json evacuate {' '.join(words[:5])} - --batch 2000 <{names}")
    went = json.loads(went.stdout)
    expect((went['before'], went['left']) == (first, 0), f'{first}: {went}')
    vms = listed()
    expect({vms[n]['epoch'] for n in some} == {3} and {at(x, vms[n])['epoch'] for n in some[:3]} == {3}, 'not each has moved once')
    words = ('--from', 'x', '--to', 'y', '--vms', names)
    first = stopped(*words)
    ended = clc.run('evacuate', '--abort')
    gone = ended.stdout.split()
    vms = listed()
    expect(len(gone) == first and {n for n in some if vms[n]['site'] == 'y'} == set(gone), f'{first}: {len(gone)}')
    expect(f'{len(gone)} VMs had moved to site y, {2000 - len(gone)} stay at site x' in ended.stderr, ended.stderr)
    with open(names, 'w', encoding='ascii') as f:
        f.write(ended.stdout)
    back = ask('evacuate', '--from', 'y', '--to', 'x', '--vms', names)
    expect(back['moved'] == len(gone) and back['left'] == 0, f'{back}')
    ask('evacuate', '--resume', ok=False)

with case('a controller with an older term may change nothing any more'):
    older = open(clc.file, encoding='utf-8').read()
    newer = older.replace('state:', 'term: 5\n  state:', 1)
    with open(clc.file, 'w', encoding='utf-8') as f:
        f.write(newer)
    ask('status')
    ask('move', 'again', '--to', 'x')
    with open(clc.file, 'w', encoding='utf-8') as f:
        f.write(older)
    error = ask('move', 'again', '--to', 'y', ok=False)['error']
    expect('superseded' in error, error)
    expect(at(x, listed()['again'])['owner'] == 'r-x', 'it has moved')

finish(x.process, y.process)
