#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Somebody between a controller and its router who has no key: what he flips, repeats, loses, swaps, cuts or plays again ends
the connection, and changes nothing. And keys in the wrong hands.

    clc 127.0.0.1:7412 --- wire.py --- rx 10.255.0.1:7411
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import PYTHON, ROOT, wait_for
from managed import MGMT, Managed, new_key, report
from onesite import HOSTS, PEER, PEER_MAC

WIRE, HERE, THERE = os.path.join(ROOT, 'tests/lab/wire.py'), '127.0.0.1:7412', f'{MGMT}:7411'
lab = Managed('wire')
peer_file, peer_key = new_key(lab, 'peer')
watch_file, watch_key = new_key(lab, 'watch')
control = lab.router.config['control']
lab.router.config['peers'] = [{'name': 'r-k', 'key': peer_key, 'address': '127.0.0.1:7999', 'vtep': PEER, 'mac': PEER_MAC}]
control['observers'] = [{'name': 'watch', 'key': watch_key}]
router = lab.start()
count = 0


def revision():
    return router.call('show.status')['revision']


def fresh_revision():
    """With an address of the VM that the caller does not give it: each of its changes is one."""
    ip, mac, _ = HOSTS['other']
    router.call('vm.register', segment='blue', mac=mac, addresses=[{'private': ip, 'global': '203.0.113.41'}])
    return revision()


def through(trick, n, *record):
    """What a caller tells of its channel through the wire, and how many of its changes were made."""
    global count
    count += 1
    before = fresh_revision()
    wire = lab.spawn('clc', [PYTHON, WIRE, 'pass', HERE, THERE, trick, str(n), *record], name=f'wire-{count}')
    wait_for('the wire', lambda: 'ready' in wire.output())
    told = report(lab.caller(40, 1, at=HERE))
    wire.stop()
    return told, revision() - before


# C-10, C-16: over real sockets.
with case('left alone, the wire shows nothing: all changes are made'):
    told, made = through('kept', 0, os.path.join(lab.dir, 'record'))
    expect(told['acked'] == told['sent'] == made == 40 and not told['why'], f'{told}, {made} changes')

for trick in ('flipped', 'repeated', 'lost', 'swapped', 'cut1', 'cut2', 'cut17'):
    with case(f'a frame {trick} ends the channel; the changes before it are made, and none behind it'):
        told, made = through(trick, 12)
        expect(told['why'] and told['acked'] < 40, f'{told}')
        # Frame 0 is the handshake, 1 the hello: of changes, 2 to 11 came before, and of what is repeated, the first.
        want = 11 if trick == 'repeated' else 10
        expect(made == want, f'{made} changes were made, {want} came before; {told}')

for trick in ('flipped', 'lost', 'cut50'):
    with case(f'message 1 {trick} brings no channel up'):
        told, made = through(trick, 0)
        expect(told['sent'] == made == 0 and told['why'], f'{told}, {made} changes')

# C-08: with all that follows message 1, too.
with case('a whole session played again, 15 times, changes nothing, and nobody is put out for it'):
    before = fresh_revision()
    live = lab.caller(20, 4)
    p = lab.exec('clc', [PYTHON, WIRE, 'replay', THERE, os.path.join(lab.dir, 'record'), '15'])
    live = report(live)
    came = [int(n) for n in p.stdout.split()]
    expect(len(came) == 15 and max(came) < 1000, f'bytes that came back: {came}')
    expect(live['acked'] == live['sent'] == 80 and not live['why'], f'{live}')
    expect(revision() - before == 80, f'{revision() - before} changes, 80 were made')

# C-07: a key is good for its role alone.
for name, file, who in (('r-k', peer_file, 'the key of a peer'), ('watch', watch_file, 'the key of an observer'),
                        ('clc', peer_file, "the key of a peer with a controller's name")):
    with case(f'{who} makes no controller'):
        before = revision()
        told = report(lab.caller(40, 1, file, name))
        expect(told['sent'] == 0 and told['why'], f'{told}')
        expect(revision() == before, 'it changed something')

with case('the right key still does'):
    told = report(lab.caller(40, 1))
    expect(told['acked'] == told['sent'] == 40, f'{told}')

finish(router.process)
