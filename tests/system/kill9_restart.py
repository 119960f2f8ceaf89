#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""kill -9 at any moment: what was acknowledged is there afterwards, and sessions of a moved VM go on.

    user --- wan (BCP 38) ---20 ms--- rx --- dcx           rx and ry are killed and started again
               `-----------0 ms------ ry --- dcy --- hv --- vm
"""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import LabError, until, wait_for
from measure import TCP, TCP_MORE, Sessions, quiesce, vm_globals, wait_owner
from router import Rpc
from sites import BX, BX_MAC, USER, VM, VM_MAC, Sites

OLD, NEW = '203.0.113.10', '203.0.113.74'
lab = Sites('kill9')
r = lab.routers()
x, y = r['x'], r['y']
x.call('vm.register', segment='blue', mac=VM_MAC, addresses=[{'private': VM, 'global': OLD}])
wait_owner((x, y), VM_MAC, 'r-x')


def restart(router):
    router.kill9()
    router.start()


def vms_of(router):
    return {v['mac']: v for v in router.rows('vms')}


class Changes(threading.Thread):
    """Registers and forgets VMs one by one until the socket dies."""

    def __init__(self, router, seed):
        super().__init__(daemon=True)
        self.router, self.rnd = router, random.Random(seed)
        self.registered, self.unsure, self.n = set(), None, 0  # as acknowledged; the VM whose change was not
        self.begun = threading.Event()
        self.start()

    def change(self, rpc):
        n = self.rnd.randrange(40)
        self.unsure = mac = f'52:54:00:01:00:{n:02x}'
        if mac in self.registered:
            rpc.call('vm.unregister', segment='blue', mac=mac, epoch=0)
        else:
            rpc.call('vm.register', segment='blue', mac=mac,
                     addresses=[{'private': f'10.1.0.{100 + n}', 'global': f'203.0.113.{20 + n}'}])
        self.registered ^= {mac}
        self.unsure = None
        self.n += 1
        self.begun.set()

    def run(self):
        try:
            rpc = Rpc(self.router.socket)
            while True:
                self.change(rpc)
        except (OSError, LabError):
            pass


with case('ten times: every acknowledged change is there after kill -9, and no other'):
    total = 0
    for i in range(10):
        changes = Changes(x, i)
        expect(changes.begun.wait(20), f'round {i}: no change was acknowledged')
        time.sleep(0.03 * i)
        restart(x)
        changes.join()
        total += changes.n
        have, want = set(vms_of(x)), {VM_MAC} | changes.registered
        expect((have ^ want) <= {changes.unsure}, f'round {i}: acknowledged {want}, found {have}, unsure {changes.unsure}')
        for mac in have - {VM_MAC}:
            x.call('vm.unregister', segment='blue', mac=mac, epoch=0)
    expect(total > 50, f'only {total} changes were made')
    print(f'   {total} changes in ten rounds')

with case('the VM that was there before is still there, with its address'):
    expect(vm_globals(x, VM_MAC) == ([OLD], []), f'{vm_globals(x, VM_MAC)}')
    wait_owner((x, y), VM_MAC, 'r-x')

for host in ('user', 'vm'):
    lab.agent(host).call('listen')
lab.exec('vm', ['ping', '-c', '2', '-i', '0.2', USER], check=False)
sessions = Sessions(lab, OLD, TCP + TCP_MORE)
lab.plug('y')
time.sleep(1)
y.call('vm.move', segment='blue', mac=VM_MAC, addresses=[{'private': VM, 'global': NEW}],
       **{'drain-min': '60s', 'drain-max': '120s'})

with case('sessions opened before the move are alive after it'):
    verdicts = sessions.exercise()
    expect(not any(verdicts.values()), f'{verdicts}')

# A session by the new address: after the restart its home is known from the session file alone.
lab.probe('user').call('open', name='new', kind='tcp', mode='busy', to=NEW)


def new_session():
    return lab.probe('user').call('stats')['flows']['new']


def all_alive(what):
    verdicts = sessions.exercise()
    expect(not any(verdicts.values()), f'{what}: {verdicts}')
    lab.probe('user').call('mark')
    until(lambda: new_session()['received'] > 1000 or new_session()['error'], 20)
    new = new_session()
    expect(new['alive'] and not new['error'] and new['received'] > 1000, f'{what}: session by the new address: {new}')


with case('they survive kill -9 of the new router, as does one by the new address'):
    t = time.monotonic()
    restart(y)
    print(f'   up again after {time.monotonic() - t:.1f} s')
    all_alive('new router killed')

with case('they survive kill -9 of the old router, their home'):
    restart(x)
    all_alive('old router killed')

with case('they survive kill -9 of both at once'):
    x.kill9()
    y.kill9()
    x.start(wait=False)
    y.start(wait=False)
    x.ready()
    y.ready()
    all_alive('both killed')

with case('owner, addresses and drain are what they were'):
    for router in (x, y):
        expect(vm_globals(router, VM_MAC) == ([NEW], [OLD]), f'{router.name}: {vm_globals(router, VM_MAC)}')
    wait_owner((x, y), VM_MAC, 'r-y')

with case('a router whose peer stays dead forwards on: no packet of its own VM is lost'):
    x.call('vm.register', segment='blue', mac=BX_MAC, addresses=[{'private': BX, 'global': '203.0.113.21'}])
    lab.agent('bx').call('listen')
    y.kill9()
    wait_for('X knows', lambda: [p['state'] for p in x.rows('peers')] != ['synced'], 60)
    user = lab.probe('user')
    user.call('open', name='bx', kind='udp', to='203.0.113.21', rate=100)
    wait_for('1,000 answers', lambda: user.call('stats')['flows']['bx']['answered'] >= 1000, 60)
    f = quiesce(user)[0]['bx']
    expect(f['lost'] == f['stray'] == 0, f'{f}')
    expect([p['state'] for p in x.rows('peers')] != ['synced'], 'the peer is back')
    y.start()

with case('a store that was torn is set aside, said, and not silently emptied'):
    x.kill9()
    with open(x.config['control']['state'], 'r+b') as f:
        f.write(os.urandom(4096))
    for extra in ('-wal', '-shm'):
        if os.path.exists(x.config['control']['state'] + extra):
            os.unlink(x.config['control']['state'] + extra)
    x.start()
    aside = [f for f in os.listdir(x.dir) if '.corrupt-' in f]
    expect(len(aside) == 1, f'{os.listdir(x.dir)}')
    expect('corrupt' in x.process.output(), 'the log does not say so')
    wait_owner((x,), VM_MAC, 'r-y', 10)  # the group still knows

finish(x.process, y.process)
