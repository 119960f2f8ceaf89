#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""A disk that is full, turns read-only, or comes back with other bytes: the router forwards on, says so, and loses nothing
that it acknowledged.

    world --- rx --- dcx --- vm, other           rx keeps its state on a small disk of its own
"""
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish, skip
from lab import LabError, run, wait_for
from onesite import HOSTS, OneSite
from router import RpcError

STORE = 6  # the error's code
lab = OneSite('storage')
router = lab.router
disk = os.path.join(lab.dir, 'disk')
os.mkdir(disk)
router.config['control']['state'] = os.path.join(disk, 'state.db')


def register(n, epoch=1):
    router.call('vm.register', segment='blue', mac=f'52:54:00:04:00:{n:02x}', epoch=epoch, addresses=[{'private': f'10.1.0.{120 + n}'}])


def refused(n):
    try:
        register(n)
    except RpcError as e:
        expect(e.code == STORE, f'{e}')
        return True
    return False


def numbers():
    """Which of the VMs that register() makes are there."""
    return {int(v['mac'][-2:], 16) for v in router.rows('vms') if v['mac'].startswith('52:54:00:04:')}


def forwards():
    n = lab.ping('world', HOSTS['vm'][2], 5)
    expect(n == 5, f'{n} of 5 pings answered')


def alarms():
    return [a for a in router.call('show.status').get('alarms', [])]


def fill(name='filler'):
    """Until nothing more goes on the disk."""
    with open(os.path.join(disk, name), 'wb', buffering=0) as f:
        try:
            while True:
                f.write(b'x' * 512)
        except OSError:
            pass


# C-71: at the socket; ENOSPC at each single write is in the tests of the store.
run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', disk])
try:
    lab.start()
    with case('a full disk: changes are refused as such, nothing of them is applied, and the router forwards'):
        register(1)
        acked, refusals = {1}, 0
        for n in range(2, 100):
            fill(f'filler{n % 2}')  # the store's log is begun anew after a refusal, which makes room
            if refused(n):
                refusals += 1
            else:
                acked.add(n)
            expect(numbers() == acked, f'{numbers()}, acknowledged were {acked}')
            if refusals == 5:
                break
        expect(refusals == 5, f'{refusals} refusals')
        print(f'   {refusals} changes refused, {len(acked)} taken')
        forwards()

    with case('which is an alarm, with its reason'):
        status = str(router.call('show.status'))
        expect('store' in status and ('full' in status or 'space' in status), status[:1500])

    with case('with room it takes changes again, without a restart'):
        for name in ('filler0', 'filler1'):
            os.unlink(os.path.join(disk, name))
        wait_for('a change is taken', lambda: not refused(100), 20, 0.2)

    with case('after kill -9 exactly what was acknowledged is there'):
        router.kill9()
        router.start()
        expect(numbers() == acked | {100}, f'{numbers()}, not {acked | {100}}')
        forwards()
    router.stop()
finally:
    run(['umount', '-l', disk], check=False)


def make_ext4():
    image = os.path.join(lab.dir, 'image')
    with open(image, 'wb') as f:
        f.truncate(8 << 20)
    run(['mkfs.ext4', '-q', '-F', image])
    run(['mount', '-o', 'loop', image, disk])


def read_only():
    with case('a disk that turns read-only: changes are refused, the router forwards and says so'):
        lab.start()
        register(1)
        run(['mount', '-o', 'remount,abort', disk])
        expect(refused(2), 'it takes a change that it cannot store')
        expect(numbers() == {1}, f'{numbers()}')
        forwards()
        expect('store' in str(router.call('show.status')), 'no alarm')

    with case('mounted anew, it starts with what it had acknowledged'):
        router.kill9()
        run(['umount', disk])
        run(['mount', '-o', 'loop', os.path.join(lab.dir, 'image'), disk])
        router.start()
        expect(numbers() == {1}, f'{numbers()}')
        register(2)
        expect(router.stop() == 0, 'it did not stop')


# C-73: with a real file system.
try:
    make_ext4()
except LabError as e:
    skip('a disk that turns read-only', f'no loop device: {e}')
else:
    try:
        read_only()
    finally:
        run(['umount', '-l', disk], check=False)


def flip(rnd, path):
    """Some bytes anywhere in a file, or all of a page."""
    with open(path, 'r+b') as f:
        size = f.seek(0, 2)
        for _ in range(rnd.choice((1, 8, 200))):
            f.seek(rnd.randrange(size))
            f.write(rnd.randbytes(rnd.choice((1, 4, 64))))


# C-74: a thousand flips and cuts are in the tests of the store, and fuzzed; here the whole program starts from them.
with case('bytes flipped while it was stopped: it starts, with its VMs or with none and the old file aside, and takes changes'):
    rnd, ends = random.Random(4), []
    router.start()
    for i in range(6):
        for n in range(1, 30):
            register(n, epoch=0)
        router.kill9()
        for suffix in ('', '-wal'):
            path = router.config['control']['state'] + suffix
            if os.path.exists(path) and os.path.getsize(path) and rnd.random() < 0.7:
                flip(rnd, path)
        before = {f for f in os.listdir(disk) if 'corrupt' in f}
        router.start()
        aside = {f for f in os.listdir(disk) if 'corrupt' in f} - before
        have = numbers()
        expect(have <= set(range(1, 30)) | {31}, f'{have}')
        expect(not aside or not have, f'set aside {aside}, and yet {have}')
        ends.append(f"{len(have)}{' aside' if aside else ''}")
        register(31, epoch=0)
        router.call('vm.unregister', segment='blue', mac='52:54:00:04:00:1f', epoch=0)
    print(f"   VMs left of 29: {', '.join(ends)}")
    expect(any('aside' in e for e in ends), 'no damage was seen')

finish(router.process)
