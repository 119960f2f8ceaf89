#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""A controller in Python, written from docs/controller-protocol.md alone (tests/pyclient), drives two routers.

    clc ---- management network ---- rx, ry          only the control channel matters here
"""
import atexit
import itertools
import json
import os
import re
import sys
import threading
import time
from operator import itemgetter

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ('../lab', '../pyclient'):
    sys.path.insert(0, os.path.join(HERE, folder))
from channel import ChannelError, Identity, Target, decode_key, key_from_file
from check import case, expect, finish
from clc import moved
from client import Conflict, Denied, LimitReached, NotFound, RevisionDiffers, Router, RpcError, StaleEpoch, Superseded, canonical, change, follow
from controller import Controller
from inventory import load
from lab import HOME, ROOT, enter, program, run, wait_for
from noise import Handshake, public_key
from sites import Sites

DOCUMENT = os.path.join(ROOT, 'docs/controller-protocol.md')
CLC = os.path.join(ROOT, 'tests/pyclient/clc.py')
PYTHON = '/usr/bin/python3'


# ---- the example of section 4 ----

def example():
    """[(label, bytes)] of the document's example, in its order."""
    with open(DOCUMENT, encoding='utf-8') as f:
        text = f.read().split('### An example, byte for byte')[1].split('```')[1]
    return [(m[1].strip(), bytes.fromhex(''.join(m[2].split())))
            for m in re.finditer(r'^(\S.*)\n((?:    [0-9a-f]+\n)+)', text, re.M)]


def frame(cipher, plaintext):
    sealed = cipher.seal(plaintext)
    return len(sealed).to_bytes(2, 'big') + sealed


def handshake(values, prologue, ephemeral):
    return Handshake(prologue, values["client's private key"], values["router's public key"], values['psk'], bytes([ephemeral]) * 32)


def vectors():
    """Makes every byte of the client's, and opens every byte of the router's."""
    found = example()
    values, hashes = dict(found[:5]), [v for k, v in found if k == 'handshake hash']
    wire = iter((k, v) for k, v in found[5:] if k != 'handshake hash')

    def sent(data):
        label, want = next(wire)
        expect(label.startswith('->') and data == want, f'{label}: {data.hex()}, not {want.hex()}')

    def came():
        label, data = next(wire)
        expect(label.startswith('<-') and len(data) == 2 + int.from_bytes(data[:2], 'big'), label)
        return label, data[2:]

    expect(public_key(values["client's private key"]) == values["client's public key"], 'public key')
    h = handshake(values, b'nearway/1 r-x', 0x31)
    sent((96).to_bytes(2, 'big') + h.message_1())
    h.read_message_2(came()[1])
    expect(h.hash == hashes[0], f'handshake hash {h.hash.hex()}')
    send, receive = h.split()
    label, data = came()
    expect(receive.open(data) == b'\0' + label[6:].encode(), label)
    sent(frame(send, b'\0{"name":"clc","role":"controller","version":1,"term":1}'))
    sent(frame(send, b''))
    h = handshake(values, b'nearway/1 r-x' + hashes[0], 0x33)
    sent(frame(send, b'\2' + h.message_1()))
    message = receive.open(came()[1])
    expect(message[:1] == b'\2', 'message 2 of the renewal')
    h.read_message_2(message[1:])
    sent(frame(send, b'\2'))
    expect(h.hash == hashes[1], f'handshake hash {h.hash.hex()}')
    send, receive = h.split()
    sent(frame(send, b'\0{"jsonrpc":"2.0","id":1,"method":"show.status"}'))
    expect(receive.open(came()[1]) == b'' and next(wire, None) is None, 'the last heartbeat')


with case('every byte of the example in the document is made, or opened, by a client that was written from it'):
    vectors()


# ---- two routers, each with a segment of NAT and a wide one of routed VMs ----

def build():
    """(lab, routers by site), all up; this process's sockets are made in the controller's namespace from now on."""
    lab = Sites('python', delay_ms=1)
    keys = {n: run([program('nearwayd'), 'keygen', os.path.join(lab.dir, f'{n}.key')]).stdout.split()[-1] for n in NAMES}
    routers = lab.routers(start=False)
    for r in routers.values():
        r.config['control'].update(controllers=[{'name': n, 'key': keys[n]} for n in ('clc', 'next')],
                                   observers=[{'name': 'mon', 'key': keys['mon'], 'psk': PSK}])
        r.config['segments'].append({'name': 'wide', 'vni': 200, 'prefix': '10.2.0.0/16', 'access': 'routed',
                                     'gateway': {'address': '10.2.0.1', 'mac': '02:00:5e:00:00:01'},
                                     'attachments': [{'port': 'dc0', 'vlan': 200}], 'exits': [{'port': 'wan0'}]})
        r.start(wait=False)
    for r in routers.values():
        r.ready()
    atexit.register(enter, HOME)  # the lab ends all that is left in its namespaces
    enter(f'/var/run/netns/{lab.prefix}clc')
    return lab, routers


NAMES = ('clc', 'next', 'mon', 'stranger')
PSK = 'MzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzM='
lab, routers = build()
x, y = routers['x'], routers['y']
wait_for('the peers are in step', lambda: all(p['state'] == 'synced' for r in (x, y) for p in r.rows('peers')), 30)


def identity(name='clc', role='controller', term=1):
    return Identity(name, key_from_file(os.path.join(lab.dir, f'{name}.key')), role, term)


def observer():
    return Identity('mon', key_from_file(os.path.join(lab.dir, 'mon.key')), 'observer')


def target(router, **other):
    return Target(router.name, router.config['control']['listen'], **{'key': decode_key(router.key), **other})


def refused(kind, call, *words, **params):
    """The exception of a call that must fail so."""
    try:
        result = call(*words, **params)
    except kind as e:
        return e
    raise AssertionError(f'{kind.__name__} did not come but {result}')


def blue(n, site='x', epoch=1):
    """The parameters of VM n of segment blue."""
    return {'segment': 'blue', 'mac': f'02:00:00:00:01:{n:02x}', 'epoch': epoch,
            'addresses': [{'private': f'10.1.0.{n}', 'global': f"203.0.113.{n + (64 if site == 'y' else 0)}"}]}


def wide(n, epoch=1):
    """The registration of VM n of segment wide."""
    return change('vm.register', segment='wide', mac=f'02:00:00:02:{n // 256:02x}:{n % 256:02x}', epoch=epoch,
                  addresses=[{'private': f'10.2.{16 + n // 200}.{1 + n % 200}'}])


def known_at(router, mac):
    return next((v for v in router.rows('vms') if v['mac'] == mac), None)


idle, idle_since = Router(observer(), target(x, psk=decode_key(PSK))), time.monotonic()
at_x, at_y = Router(identity(), target(x)), Router(identity(), target(y))

with case('pipelined requests get their own replies, in whatever order these come'):
    macs = [blue(n)['mac'] for n in range(10, 60)]
    replies = [at_x.send('vm.register', **blue(n)) for n in range(10, 60)]
    replies += [at_x.send('show.status') for _ in range(2000)]
    results = [r.result(30) for r in replies]
    expect(all(r['epoch'] == 1 and r['changed'] for r in results[:50]), f'{results[:50]}')
    expect(all('packets' in r for r in results[50:]), 'a status is none')
    expect(sorted(v['mac'] for v in at_x.rows('vms', limit=7)) == macs, 'the pages are not the VMs that were registered')
    for epoch in (1, 0):
        expect(not at_x.call('vm.register', **blue(10, epoch=epoch))['changed'], 'the same again is answered like a success')

with case('errors are exceptions of their own with the VM that the router has'):
    at_x.call('vm.register', **blue(10, epoch=3))
    e = refused(StaleEpoch, at_x.call, 'vm.register', **blue(10, epoch=2))
    expect(e.data['epoch'] == 3 and e.data['owner'] == 'r-x', f'{e.data}')
    e = refused(Conflict, at_x.call, 'vm.register', **{**blue(61), 'addresses': blue(11)['addresses']})
    expect(e.data['mac'] == blue(11)['mac'], f'{e.data}')
    for method in ('move.cut', 'vm.unregister'):
        refused(NotFound, at_x.call, method, segment='blue', mac=blue(99)['mac'], epoch=0)
    refused(NotFound, at_x.call, 'txn.abort', txn=99)
    expect(not at_x.call('route.delete', prefix='10.77.0.0/16')['changed'], 'what is gone already is no error')
    e = refused(RpcError, at_x.call, 'vm.register', **blue(12), colour='red')
    expect(e.code == -32602, f'{e}')
    e = refused(RpcError, at_x.call, 'vm.paint')
    expect(e.code == -32601, f'{e}')

with case('keys decide who comes in: another key, role or psk does not, a router\'s old key does'):
    for who in (identity('stranger'), Identity('clc', identity('next').private), identity('clc', role='observer'),
                Identity('mon', observer().private, 'observer')):
        refused(ChannelError, lambda who=who: Router(who, target(x)).call('show.status'))
    with Router(identity('next', term=1), target(y, key=decode_key(x.key), old_key=decode_key(y.key))) as r:
        expect(r.call('show.status')['ready'] and r.peer['segments'] == {'blue': 100, 'wide': 200}, f'{r.peer}')

with case('an observer looks, explains and hears of events, and changes nothing'):
    with Router(observer(), target(x, psk=decode_key(PSK))) as mon:
        expect(len(mon.rows('vms')) == 50, 'it does not see the VMs')
        mon.events(classes=['vm'])
        at_x.call('vm.register', **blue(11, epoch=2))
        event = mon.next_events(10)['events'][0]
        expect((event['kind'], event['vm']['mac'], event['vm']['epoch']) == ('changed', blue(11)['mac'], 2), f'{event}')
        refused(Denied, mon.call, 'vm.register', **blue(12, epoch=9))
        expect(at_x.rows('log')[-1]['who'] == 'observer mon', 'the refusal is not in the log')

with case('a move told to the new router drains the old address at the old one, until it is told that it may end'):
    at_y.call('vm.move', **blue(10, 'y', epoch=4), drain_min='1h', drain_max='2h',
              old=[{'private': '10.1.0.10', 'global': '203.0.113.10', 'router': 'r-x'}])
    wait_for('the old router drains', lambda: (known_at(x, blue(10)['mac']) or {}).get('drains'))
    for r in (at_x, at_y):
        vm = next(v for v in r.rows('vms') if v['mac'] == blue(10)['mac'])
        drain = vm['drains'][0]
        expect((vm['owner'], vm['epoch'], vm['addresses'][0]['since']) == ('r-y', 4, 4), f'{vm}')
        expect((drain['global'], drain['router'], drain['epoch'], drain['min']) == ('203.0.113.10', 'r-x', 4, 3600000), f'{drain}')
    refused(Conflict, at_x.call, 'vm.register', **{**blue(62), 'addresses': [{'private': '10.1.0.62', 'global': '203.0.113.10'}]})
    at_x.call('move.cut', segment='blue', mac=blue(10)['mac'], epoch=4)
    wait_for('the drain is over', lambda: not known_at(y, blue(10)['mac']).get('drains'))

with case('keys are renewed while calls are under way, and no reply is lost'):
    before, stop, answers = at_x.channel.hash, threading.Event(), []

    def ask():
        while not stop.is_set():
            answers.append(at_x.call('show.status')['ready'])

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    for _ in range(2):
        at_x.renew()
    after = len(answers)
    wait_for('calls go on', lambda: len(answers) > after + 20)
    stop.set()
    asking.join()
    expect(at_x.channel.renewals == 2 and at_x.channel.hash != before and all(answers), f'{at_x.channel.renewals}')
    expect(len(at_x.rows('vms')) == 50, 'the channel does not go on')

with case('a staged list is applied whole or not at all'):
    with at_x.transaction() as t:
        t.extend(wide(n) for n in range(10))
        t.flush()
        t.count += 1
        refused(Conflict, t.commit)
        t.count -= 1
        t.commit(dry_run=True)
        expect(not any(v['segment'] == 'wide' for v in at_x.rows('vms')), 'a refused list, or a dry run, was applied')
        t.add(wide(10))
        done = t.commit()
    expect((done['count'], done['changed']) == (11, True), f'{done}')
    e = refused(Conflict, at_x.apply, [wide(11), change('vm.register', **{**blue(63), 'addresses': blue(12)['addresses']})])
    expect(e.data['change'] == 1 and e.data['vm']['mac'] == blue(12)['mac'], f'{e.data}')

with case('the state of a router is replaced by three thousand VMs in parts, and only what differs is changed'):
    mine, _ = at_x.export()
    wanted = [c for c in mine if c['params']['segment'] == 'blue'] + [wide(n) for n in range(3000)]
    counts = at_x.replace(wanted, dry_run=True)['vms']
    expect((counts['added'], counts['unchanged'], counts['removed']) == (2989, 60, 0), f'{counts}')
    first = at_x.replace(wanted)
    expect(first['vms'] == counts and first['changed'], f'{first}')
    again = at_x.replace(wanted)
    expect(not again['changed'] and again['vms']['unchanged'] == 3049 and again['revision'] == first['revision'], f'{again}')
    e = refused(LimitReached, at_x.replace, wanted[:-1000])
    expect(e.data == {'removed': {'vms': 1000, 'routes': 0}}, f'{e.data}')
    expect(at_x.replace(wanted[:-1000], max_remove=1000)['vms']['removed'] == 1000, 'nothing was removed')
    copy, _ = at_x.export(limit=500)
    expect(sorted(map(canonical, copy)) == sorted(map(canonical, wanted[:-1000])), 'the exported list is not the one that was given')
    wait_for('the other router has them all', lambda: sum(v['owner'] == 'r-x' for v in y.rows('vms')) == 2049, 20)

with case('a change that asks for a revision is refused when somebody was faster, and can be repeated'):
    before = at_x.call('vm.register', **blue(13, epoch=2))['revision']
    done = at_x.call('vm.register', **blue(13, epoch=3), if_revision=before)
    expect(done['changed'] and not at_x.call('vm.register', **blue(13, epoch=3), if_revision=before)['changed'], 'the repetition')
    e = refused(RevisionDiffers, at_x.call, 'vm.register', **blue(13, epoch=4), if_revision=before)
    expect((e.data['revision'], e.data['epoch']) == (done['revision'], 3), f'{e.data}')
    refused(RevisionDiffers, at_x.call, 'vm.register', **blue(14, epoch=2), if_revision=0)
    with at_x.transaction() as t:
        t.add(change('vm.register', **blue(14, epoch=2)))
        expect(refused(RevisionDiffers, t.commit, if_revision=before).data == {'revision': done['revision']}, 'the router as a whole')
        t.commit(if_revision=done['revision'])

with case('a copy that is read by pages while the table changes is that of one revision'):
    stop, made = threading.Event(), []  # (revision, mac, epoch) of each change

    def turn():
        for i in itertools.count(40):
            vm = blue(20 + i % 20, epoch=i // 20)
            made.append((at_x.call('vm.register', **vm)['revision'], vm['mac'], vm['epoch']))
            if stop.wait(0.02):
                return

    turning = threading.Thread(target=turn, daemon=True)
    turning.start()
    with Router(identity(), target(x)) as other:
        wait_for('the table changes', lambda: len(made) > 20)
        copy, revision = other.copy('vms', itemgetter('segment', 'mac'), limit=100)
    begun = len(made)
    stop.set()
    turning.join()
    then = {mac: epoch for r, mac, epoch in made if r <= revision}
    expect(begun > 20 and len(then) == 20 and len(copy) == 2050, f'{begun} {len(then)} {len(copy)}')
    wrong = {mac: epoch for mac, epoch in then.items() if copy['blue', mac]['epoch'] != epoch}
    expect(not wrong and max(v['revision'] for v in copy.values()) <= revision, f'as of {revision}: {wrong}')

with case('events that came while the connection was lost are told once and in order after it is back'):
    news, over = [], threading.Event()

    def watch():
        for event in follow(identity(), target(x), ['vm', 'route'], stop=over):
            news.append(event)

    def heard(n):
        return [e['vm']['epoch'] for e in news if e.get('vm', {}).get('mac') == blue(50)['mac']] == list(range(2, n + 1))

    def first():
        at_x.call('route.replace', prefix='10.66.0.0/16', blackhole=True)
        at_x.call('route.delete', prefix='10.66.0.0/16')
        return news

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    wait_for('the subscription is there', first, 10, step=0.1)
    for epoch in range(2, 30):
        at_x.call('vm.register', **blue(50, epoch=epoch))
        if epoch == 15:
            crowd = [Router(identity(), target(x)) for _ in range(8)]  # the router keeps 8 sessions of a client
            at_x = crowd[-1]
    wait_for('all events are there', lambda: heard(29), 15)
    expect(not any('resync' in e for e in news), 'something was missing')
    numbers = [e['number'] for e in news]
    expect(numbers == sorted(set(numbers)), 'twice, or out of order')
    over.set()
    watching.join()

with case('a router that started anew says that events may be missing, and one that is read on goes on'):
    cursor = at_y.events(classes=['route'])['cursor']
    y.kill9()
    y.start()
    refused(ChannelError, at_y.call, 'show.status')
    at_y = Router(identity(), target(y))
    expect('resync' in at_y.events(cursor, ['route']), 'no resync')
    at_y.call('route.replace', prefix='10.66.0.0/16', via='198.51.100.5')
    event = at_y.next_events(10)['events'][0]
    expect((event['kind'], event['route']['via']) == ('replaced', '198.51.100.5'), f'{event}')
    wait_for('the peers are in step', lambda: all(p['state'] == 'synced' for r in (x, y) for p in r.rows('peers')), 30)


# ---- the command ----

def inventory():
    """Writes clc.yaml for the two routers; its path."""
    return lab.file('clc.yaml', f"""
clc:
  name: clc
  key-file: {os.path.join(lab.dir, 'clc.key')}
  state: {os.path.join(lab.dir, 'clc.db')}
sites:
  - {{name: x, router: r-x, pools: [{{prefix: 203.0.113.0/26}}], routes: [{{router: r-y, via: 198.51.100.5}}]}}
  - {{name: y, router: r-y, pools: [{{prefix: 203.0.113.64/26}}], routes: [{{router: r-x, via: 198.51.100.1}}]}}
routers:
  - {{name: r-x, address: {x.config['control']['listen']}, key: {x.key}}}
  - {{name: r-y, address: {y.config['control']['listen']}, key: {y.key}}}
segments:
  - {{name: blue, prefix: 10.1.0.0/24, gateway: 10.1.0.1, range: {{first: 10.1.0.10, last: 10.1.0.250}}}}
  - {{name: wide, prefix: 10.2.0.0/16, gateway: 10.2.0.1, access: routed}}
""")


def clc(*words, ok=True):
    """One command's JSON."""
    p = lab.exec('clc', [PYTHON, CLC, '-c', file, '--json', *words], check=False)
    expect((p.returncode == 0) == ok, f'{words}: exit {p.returncode}: {p.stdout} {p.stderr}')
    return json.loads(p.stdout) if p.stdout.startswith('{') else p.stdout.strip()


def created(name, site='x', segment='blue'):
    return clc('create', name, '--site', site, '--segment', segment)['vms'][0]


file = inventory()

with case('the command makes keys that the daemon reads, and names every fault of an inventory with its place'):
    mine = os.path.join(lab.dir, 'mine.key')
    made = clc('keygen', mine)
    expect(run([program('nearwayd'), 'pubkey', mine]).stdout.split()[-1] == made == clc('pubkey', mine), made)
    clc('keygen', mine, ok=False)
    clc('check')
    bad = lab.file('bad.yaml', 'clc:\n  name: clc\n  term: none\nsites: []\nsegments:\n  - name: a\n    gateway: b\n')
    p = run([PYTHON, CLC, '-c', bad, 'check'], check=False)
    expect(p.returncode == 1 and all(f'bad.yaml:{at}: ' in p.stderr for at in ('3:9', '6:5', '7:14')), p.stderr)

with case('create, move, return and delete keep controller and routers in step, and an address that drains is given to nobody'):
    a = created('a')
    expect(a == created('a'), 'the second time it is another')
    expect(a['addresses'][0]['private'] not in [f'10.1.0.{n}' for n in range(10, 60)], f'an address that is in use: {a}')
    b = clc('move', 'a', '--to', 'y', '--drain-min', '1h', '--drain-max', '2h', '--sessions', 'direct')['vms'][0]
    old = a['addresses'][0]['global']
    expect((b['epoch'], b['held'][0]['global'], b['todo']) == (2, old, None), f'{b}')
    wait_for('the old router drains', lambda: [d['direct'] for d in (known_at(x, a['mac']) or {}).get('drains', [])] == [True])
    expect(created('b')['addresses'][0]['global'] != old, f'{old} was given away')
    back = clc('move', 'a', '--to', 'x')['vms'][0]
    expect(back['addresses'] == a['addresses'] and back['epoch'] == 3, f'{back}')
    wait_for('the move back is known', lambda: (known_at(y, a['mac']) or {}).get('epoch') == 3)
    at_y.call('move.cut', segment='blue', mac=a['mac'], epoch=0)
    wait_for('its drain is over', lambda: not known_at(x, a['mac']).get('drains'))
    expect(clc('release') == {'released': 1}, 'nothing was released')
    clc('delete', 'a')
    clc('delete', 'a')
    wait_for('it is gone', lambda: not known_at(x, a['mac']) and not known_at(y, a['mac']))
    c = created('c')
    expect((c['mac'], c['epoch'], c['addresses'][0]['global']) == (a['mac'], 5, old), f'{old} is free: {c}')

with case('a site is left in batches, and only the VM that the router refuses stays'):
    vms = {f'e{n}': clc('create', f'e{n}', '--site', 'x', '--segment', 'wide', '--mac', f'02:00:00:00:0e:0{n}')['vms'][0] for n in range(5)}
    two = vms['e2']['addresses'] + [{'private': '10.2.200.1'}]
    at_y.call('vm.move', segment='wide', mac=vms['e2']['mac'], epoch=2, addresses=two)  # somebody else was faster
    names = os.path.join(lab.dir, 'names')
    for text, why in (('e0\n\nnone\n', 'line 3: no VM none'), ('e0\ne0\n', 'line 2: VM e0 is given twice, first in line 1')):
        with open(names, 'w', encoding='ascii') as f:
            f.write(text)
        error = clc('evacuate', '--from', 'x', '--to', 'y', '--vms', names, ok=False)['error']
        expect(error == f'--vms: {why}', error)
    with open(names, 'w', encoding='ascii') as f:
        f.write(''.join(f'{n}\n' for n in vms))
    words = ('evacuate', '--from', 'x', '--to', 'y', '--vms', names, '--batch', '2')
    before, would = clc('list'), clc(*words, '--dry-run')
    expect(clc('list') == before and known_at(y, vms['e0']['mac'])['owner'] == 'r-x', 'a dry run has changed something')
    told = clc(*words)
    expect({**told, 'dry-run': True} == would, f'{told} is not as it was told: {would}')
    sites = {v['name']: v['site'] for v in clc('list')['vms']}
    expect([r['vm'] for r in told['refused']] == ['e2'] and told['wanted'] == told['moved'] + 1, f'{told}')
    expect([sites[n] for n in vms] == ['y', 'y', 'x', 'y', 'y'], f'{sites}')
    at_y.call('vm.unregister', segment='wide', mac=vms['e2']['mac'], epoch=3)
    for n in vms:
        clc('delete', n)

with case('a move that was cut off is finished by giving it again, or by sync, with the epoch that it had'):
    for name in ('before', 'after', 'synced'):
        created(name)
    c = Controller(load(file))
    c.open_state()
    for name in ('before', 'after', 'synced'):
        c.state.store(moved(c, c.vm(name), 'y', {}, c.in_use('r-y')))
    c.router('r-y').apply([c.request(c.vm('after'))])  # the answer is lost, as it were
    c.close()
    finished = clc('move', 'before', 'after', '--to', 'y')['vms'] + [v for v in clc('sync')['vms'] if v['name'] == 'synced']
    for vm in finished:
        seen = known_at(y, vm['mac'])
        expect((vm['site'], vm['epoch'], vm['todo']) == ('y', 2, None), f'{vm}')
        expect((seen['owner'], seen['epoch'], seen['addresses'][0]['global']) == ('r-y', 2, vm['addresses'][0]['global']), f'{seen}')
    expect(len(finished) == 3, f'{finished}')
    clc('move', 'before', 'after', 'synced', '--to', 'x')

with case('a move told step by step: nothing changes before its commit, which may come by the VM, and an aborted one leaves nothing'):
    p = created('p')

    def at(router):
        return known_at(router, p['mac'])

    def planned(*words):
        before = clc('list'), at(x), at(y)
        plans = clc(*words, '--dry-run')['plans']
        expect((clc('list'), at(x), at(y)) == before, f'a dry run of {words} has changed something')
        return plans

    plans = planned('move', 'p', '--to', 'y') + planned('prepare', 'p', '--to', 'y')
    for _ in range(2):  # each step may be given again
        expect(clc('prepare', 'p', '--to', 'y')['state'] == 'prepared' and at(y)['owner'] == 'r-x', f"{at(y)}")
    expect(clc('pause', 'p')['old-router'] == 'ready', 'the old router is there')
    plans += planned('commit', 'p')
    b = clc('commit', 'p')['vms'][0]
    expect([[a['global'] for a in q['live']] for q in plans] == 3 * [[b['addresses'][0]['global']]], f'{b} is not as planned: {plans}')
    expect((b['site'], b['epoch'], at(y)['owner'], at(y)['epoch']) == ('y', 2, 'r-y', 2), f'{b}')
    clc('prepare', 'p', '--to', 'x')
    clc('abort', 'p')
    expect((at(x)['owner'], clc('prepare', 'p', '--to', 'x')['epoch']) == ('r-y', 4), 'an aborted move has used up its epoch')
    at_x.call('move.commit', segment='blue', mac=p['mac'], epoch=4)  # as when the VM arrives
    expect(next(v for v in clc('sync')['vms'] if v['name'] == 'p')['site'] == 'x', 'sync did not find it')
    clc('delete', 'p')

with case('host routes follow a routed VM, and a route of the command is in the router'):
    v = created('v', segment='wide')
    clc('route', '10.99.0.0/16', '--router', 'r-x', '--via', '198.51.100.1', '--if-revision', '0')
    clc('move', 'v', '--to', 'y')
    routes = {r['prefix']: r.get('via') for r in x.rows('routes')}
    host = v['addresses'][0]['private'] + '/32'
    expect((routes.get(host), routes.get('10.99.0.0/16')) == ('198.51.100.1', '198.51.100.1'), f'{routes}')

with case('a controller that lost its state takes over what the routers have, and goes on above their epochs'):
    known = {vm['mac']: (vm['site'], vm['epoch'], vm['addresses']) for vm in clc('list')['vms']}
    os.unlink(os.path.join(lab.dir, 'clc.db'))
    adopted = {vm['mac']: vm for vm in clc('sync')['vms']}
    seen = {m: (v['site'], v['epoch'], v['addresses']) for m, v in adopted.items() if m in known}
    expect(seen == known and len(adopted) >= 2050, f'{known} became {seen}, {len(adopted)} in all')
    name = adopted[blue(52)['mac']]['name']
    expect(clc('move', name, '--to', 'y')['vms'][0]['epoch'] == 2, 'not the next epoch')
    at_x.call('vm.unregister', segment='blue', mac=blue(53)['mac'], epoch=2)
    expect(not any(vm['mac'] == blue(53)['mac'] for vm in clc('sync')['vms']), 'a VM that was deleted came back')
    everybody = clc('move', '--all', '--from', 'y', '--to', 'x')['vms']
    expect(len(everybody) == 3 and all(vm['site'] == 'x' for vm in everybody), f'{everybody}')

with case('watch prints what happens at each router, and status what each says of itself'):
    w = lab.spawn('clc', [PYTHON, CLC, '-c', file, '--json', 'watch'], name='watch')

    epochs = itertools.count(100)

    def told():
        at_x.call('vm.register', **blue(40, epoch=next(epochs)))
        lines = [json.loads(line) for line in w.output().splitlines()]
        return {e['router'] for e in lines if e.get('vm', {}).get('mac') == blue(40)['mac']} == {'r-x', 'r-y'}

    wait_for('both routers tell of the VM', told, 20, step=0.2)
    w.stop()
    expect([s['status']['ready'] for s in clc('status')['routers']] == [True, True], 'status')

with case('a controller with a higher term takes over, and the one before may look but change nothing'):
    with Router(identity('next', term=2), target(x)) as new:
        new.call('vm.register', **blue(41, epoch=5))
        expect(refused(Superseded, at_x.call, 'vm.register', **blue(42, epoch=9)).code == 8, 'code')
        expect(len(at_x.rows('vms')) > 2000, 'it may not even look')
        with Router(identity(term=None), target(x)) as untold:
            refused(Superseded, untold.call, 'vm.register', **blue(42, epoch=9))
    expect('error 8' in clc('create', 'late', '--site', 'x', '--segment', 'blue', ok=False)['error'], 'the command')

with case('a channel on which nobody says anything lives by its heartbeats'):
    wait_for('nothing was said for longer than the dead are waited for', lambda: time.monotonic() - idle_since > 17, 20, step=0.1)
    expect(idle.call('show.status')['ready'], 'the status')

enter(HOME)
finish(x.process, y.process)
