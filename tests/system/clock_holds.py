#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Packets wait for a next hop while the wall clock steps: each waits its time, and none is lost.

    world --- rx --- dcx --- vm          rx's wall clock is wallclock.c's
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import wait_for
from onesite import OneSite
from wallclock import WallClock

N, DAY = 5, 86400
STEPS = (-1, 1, DAY, -DAY)  # the first as a leap second is
lab = OneSite('holds')
jump = WallClock(lab, lab.router).jump
router = lab.start()


def gone():
    """Packets that waited in vain."""
    drops = router.drops()
    return drops.get('hold_expired', 0) + drops.get('neighbour_failed', 0)


def ask(host):
    """N packets of the VM to a host of the WAN that the router has not heard of."""
    return lab.spawn('vm', ['ping', '-n', '-c', str(N), '-i', '0.02', '-W', '5', f'192.0.2.{host}'], name=f'ping-{host}')


def waited(host, step):
    """For how long they wait for a host that is not there, in seconds."""
    before, start = gone(), time.monotonic()
    ping = ask(host)
    time.sleep(0.5)
    jump(step)
    wait_for('all are dropped', lambda: gone() >= before + N, 15)
    took = time.monotonic() - start
    jump(0)
    ping.stop()
    expect(gone() == before + N, f'{gone() - before} were dropped')
    return took


# C-54: of the data plane; that of drains is in clock_jumps.py.
with case('packets for a next hop that does not answer wait as long as ever'):
    calm = waited(100, 0)
    took = {step: waited(101 + i, step) for i, step in enumerate(STEPS)}
    print(f'   {calm:.2f} s; ' + ', '.join(f'{step:+} s: {t:.2f} s' for step, t in took.items()))
    expect(calm > 1 and all(abs(t - calm) < 0.7 for t in took.values()), f'{took}, {calm} without a step')

with case('those for one that answers late leave, all of them'):
    before = gone()
    for i, step in enumerate(STEPS):
        ping = ask(110 + i)
        time.sleep(0.3)
        jump(step)
        lab.address('world', 'eth0', f'192.0.2.{110 + i}/24')
        ping.wait(15)
        expect(f'{N} received' in ping.output(), f'{step} s: {ping.output()[-300:]}')
        jump(0)
    expect(gone() == before, f'{gone() - before} were dropped')

finish(router.process)
