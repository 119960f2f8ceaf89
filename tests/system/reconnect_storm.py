#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Controllers that all come at once: at first, and again when the router was killed and is back.

    world --- rx --- dcx --- vm, other       numbered packets pass between world and vm until the kill, and from the start on
               `---- clc                     32 clients of four keys, and 12 more of a key that has 8 sessions already
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import wait_for
from managed import Managed, new_key, report
from measure import quiesce
from onesite import HOSTS

NAMES, EACH, SECONDS, KEPT = ('clc-1', 'clc-2', 'clc-3', 'clc-4'), 8, 16, 8
lab = Managed('storm')
keys = {name: new_key(lab, name) for name in NAMES}
lab.router.config['control']['controllers'] = [{'name': n, 'key': k} for n, (_, k) in keys.items()]
router = lab.start()
lab.agent('vm').call('listen')
world = lab.agent('world')


def connections():
    """Of the control port, as the kernel has them."""
    return len(lab.exec('rx', ['ss', '-Htn', 'state', 'established', 'sport = :7411']).stdout.split('\n')) - 1


def flow(name, action):
    """What became of the packets that passed while `action` did."""
    world.call('open', name=name, kind='udp', to=HOSTS['vm'][2], rate=200)
    wait_for('packets pass', lambda: world.call('stats')['flows'][name]['answered'] >= 20, 20)
    action()
    f = quiesce(world)[0][name]
    world.call('close', name=name)
    return f


def ups(client):
    """How often it has been up: a connection that the kernel has is no channel yet."""
    return client.output().count('up\n')


def all_up(before):
    """Each once more than `before`."""
    return lambda: wait_for(f'{len(clients)} channels', lambda: all(ups(c) > n for c, n in zip(clients, before)), 20, 0.1)


def call_all():
    global clients
    clients = [lab.caller(4, SECONDS, keys[n][0], n, how='again') for n in NAMES for _ in range(EACH)]
    all_up([0] * len(clients))()


# C-50: dialled from one address, in the times that a dialler keeps.
began = time.monotonic()
with case('32 clients of four keys that come at once are all let in, and no packet is lost for it'):
    f = flow('first', call_all)
    print(f'   after {time.monotonic() - began:.1f} s')
    expect(f['lost'] == f['stray'] == 0, f'{f}')

with case('killed and back, the router has all of them again, and no packet is lost from its start on'):
    before = [ups(c) for c in clients]
    router.kill9()
    router.start()
    began = time.monotonic()
    f = flow('again', all_up(before))
    print(f'   after {time.monotonic() - began:.1f} s')
    expect(f['lost'] == f['stray'] == 0, f'{f}')

with case('each has its changes acknowledged, on both sides of that'):
    told = [report(c) for c in clients]
    dials = [t['dials'] for t in told]
    print(f'   {sum(t["acked"] for t in told)} changes; {min(dials)} to {max(dials)} dials each')
    expect(all(t['ups'] >= 2 and t['is_up'] and t['acked'] > 20 and not t['refused'] for t in told), f'{told}')

with case('20 of one key: 8 are kept, and the others of other keys do not notice'):
    other = lab.caller(20, 8, keys['clc-2'][0], 'clc-2')
    many = [lab.caller(1, 5, keys['clc-1'][0], 'clc-1', how='again') for _ in range(20)]
    wait_for('the eighth', lambda: connections() == KEPT + 1, 10, 0.05)
    seen = set()
    end = time.monotonic() + 2
    while time.monotonic() < end:
        seen.add(connections())
        time.sleep(0.05)
    expect(max(seen) <= KEPT + 3, f'{seen} connections')  # one may be on its way in
    told = report(other)
    expect(told['acked'] == told['sent'] == 160 and not told['why'], f'{told}')
    for c in many:
        report(c)

with case('when all have gone, nothing is left of them'):
    wait_for('no connection', lambda: connections() == 0, 10)

finish(router.process)
