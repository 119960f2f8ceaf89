#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""1,000 handshakes a second by strangers, and 10,000 connections that say nothing: nobody else is the worse for it.

    world --- rx --- dcx --- vm, other       numbered packets pass between world and vm all the while
              |`-- clc                       one channel that is up gives `other` a new address 50 times a second
              `--- strangers, 65,000 addresses
        quiet ---- clc                       and so does one of a router that nobody attacks: the control
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import wait_for
from managed import Managed, report
from measure import quiesce
from onesite import HOSTS

RATE, HELD, SECONDS = 1000, 10000, 5
lab = Managed('strangers')
router = lab.start()
lab.agent('vm').call('listen')
world = lab.agent('world')


def fds():
    return len(os.listdir(f'/proc/{router.process.pid}/fd'))


def peak_kb():
    with open(f'/proc/{router.process.pid}/status', encoding='ascii') as f:
        return int(next(line for line in f if line.startswith('VmHWM')).split()[1])


world.call('open', name='f', kind='udp', to=HOSTS['vm'][2], rate=200)
wait_for('packets pass', lambda: world.call('stats')['flows']['f']['answered'] >= 50, 20)
quiet = lab.bystander()
control = quiet(50, SECONDS + 6)
caller = lab.caller(50, SECONDS + 6)
before_fds, before_kb = fds(), peak_kb()
strangers = lab.attack(RATE, HELD, SECONDS)
during_fds = fds()
attack = report(strangers)
legal, control = report(caller), report(control)
flow = quiesce(world)[0]['f']
print(f'   {attack}\n   {legal}\n   {control} is the control\n   {flow["answered"]} packets answered')

# C-21, C-20: at the socket; where the bounds are counted, the simulated world does it.
with case('the strangers were there: 10,000 connections, and 1,000 handshakes a second'):
    expect(attack['held'] == HELD, f'{attack}')
    expect(attack['calls'] >= RATE * SECONDS * 0.8 and attack['handshakes'] > 400, f'{attack}')

with case('none of them gets a byte, and at most 64 are kept'):
    expect(attack['answered'] == 0, f'{attack}')
    expect(attack['open'] <= 64, f'{attack}')
    expect(during_fds <= before_fds + 80, f'{during_fds} descriptors, {before_fds} before')
    expect(peak_kb() < before_kb + 32768, f'{peak_kb()} KB, {before_kb} before')

# A machine that stops for a moment stops the control, too.
with case('each change on the channel that is up is acknowledged within 100 ms'):
    expect(legal['why'] == '' and legal['refused'] == 0 and legal['acked'] == legal['sent'] > 400, f'{legal}')
    expect(control['acked'] == control['sent'] > 400, f'{control}')
    expect(legal['p99_ms'] < 100 and legal['max_ms'] < 100 + control['max_ms'], f'{legal}, control {control}')

with case('no packet is lost'):
    expect(flow['lost'] == flow['stray'] == 0 and flow['answered'] > 1000, f'{flow}')

with case('who has a key is let in again'):
    again = report(lab.caller(50, 1))
    expect(again['acked'] == again['sent'] > 20, f'{again}')

finish(router.process, lab.quiet.process, strangers, caller)
