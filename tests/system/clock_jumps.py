#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""The wall clock jumps by a day, both ways, under three routers that run and over restarts: nothing ends early or never.

    ra ==== rb ==== rc        ra's wall clock is wallclock.c's; its boot-time clock, as that of the others, is the kernel's
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import wait_for
from trio import Trio
from wallclock import WallClock

DAY = 86400
VM = {'segment': 'blue', 'mac': '52:54:00:05:00:01'}
SHORT = {'segment': 'blue', 'mac': '52:54:00:05:00:02'}

lab = Trio('clocks')
jump = WallClock(lab, lab.r['a']).jump
r = lab.start()
a = r['a']


def left(vm):
    """What is left of a VM's drain at A: (min, max) in seconds, None when it is over."""
    for v in a.rows('vms'):
        if v['mac'] == vm['mac'] and v.get('drains'):
            d, = v['drains']
            return d['left-min'] / 1000, d['left-max'] / 1000
    return None


def register(s, vm, n, epoch, method='vm.register', **more):
    r[s].call(method, **vm, epoch=epoch, addresses=[{'private': f'10.1.0.{n}', 'global': f"203.0.113.{64 * 'abc'.index(s) + n}"}], **more)


def log_date():
    """The date of A's last entry."""
    return a.call('show.log', limit=1000)['rows'][-1]['time'][:10]


def change(n):
    """Something that A logs."""
    a.call('route.replace', prefix=f'10.7.{n}.0/24', blackhole=True)


for vm, n in ((VM, 10), (SHORT, 11)):
    register('a', vm, n, 1)
    wait_for('B knows', lambda vm=vm: any(v['mac'] == vm['mac'] for v in r['b'].rows('vms')))
began = time.monotonic()
register('b', VM, 10, 2, 'vm.move', **{'drain-min': '1h', 'drain-max': '2h'})


def as_long_as_it_should(what):
    low, high = left(VM) or (0, 0)
    passed = time.monotonic() - began
    expect(abs(3600 - passed - low) < 8 and abs(7200 - passed - high) < 8, f'{what}: {low:.0f} s and {high:.0f} s are left after {passed:.0f} s')


# C-54: on a real clock, with a real store.
with case('a day forward and back again while it runs: its log shows it, and nothing else does'):
    wait_for('the drain is known', lambda: left(VM), 10)
    change(1)
    today = log_date()
    for n, seconds in ((2, DAY), (3, -DAY), (4, 0)):
        jump(seconds)
        change(n)
        expect((log_date() == today) == (seconds == 0), f'{seconds} s: the log has {log_date()}, today is {today}')
        as_long_as_it_should(f'{seconds} s')
        expect(set(lab.states().values()) == {'synced'}, f'{seconds} s: {lab.states()}')

with case('a short drain that begins before a jump ends in its time'):
    register('b', SHORT, 11, 2, 'vm.move', **{'drain-min': '2s', 'drain-max': '5s'})
    start = time.monotonic()
    wait_for('it drains', lambda: left(SHORT), 5)
    jump(-DAY)
    wait_for('its end', lambda: left(SHORT) is None, 20)
    took = time.monotonic() - start
    expect(1.5 < took < 12, f'{took:.1f} s')

# C-54: a leap second that the kernel takes back, and one that is smeared: 500 ppm for a while, here as steps of a millisecond.
with case('a leap second in the middle of a drain moves its end by nothing'):
    for epoch, steps in ((4, [-1]), (6, [-0.001 * n for n in range(1, 1001)])):
        register('a', SHORT, 11, epoch - 1, 'vm.move', **{'drain-min': '0s', 'drain-max': '0s'})
        wait_for('B knows', lambda n=epoch - 1: any(v['mac'] == SHORT['mac'] and v['epoch'] == n for v in r['b'].rows('vms')))
        register('b', SHORT, 11, epoch, 'vm.move', **{'drain-min': '2s', 'drain-max': '3s'})
        start = time.monotonic()
        wait_for('it drains', lambda: left(SHORT), 5)
        for seconds in steps:
            jump(seconds)
            time.sleep(1 / len(steps))
        wait_for('its end', lambda: left(SHORT) is None, 20)
        took = time.monotonic() - start
        expect(2.9 < took < 6, f'{took:.1f} s')
        as_long_as_it_should('a leap second')

# C-85: of one boot; after a reboot the simulated world jumps.
with case('a day both ways over a kill -9: what is left of a drain is what was left'):
    for seconds in (DAY, -DAY, 0):
        a.kill9()
        jump(seconds)
        a.start()
        as_long_as_it_should(f'{seconds} s')

with case('and the group is in step'):
    lab.wait_synced()
    register('a', {'segment': 'blue', 'mac': '52:54:00:05:00:03'}, 12, 1)
    wait_for('all know it', lambda: lab.agreed() is not None and len(lab.table('c')) == 3)

finish(*(x.process for x in r.values()))
