#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""A VM moves on, from X to Y to Z, or back, while what it left behind still drains: sessions that were opened at each of these
sites go on by the address that they have, whoever speaks first, and whichever router could not be asked for them at the time.

    user --- wan (BCP 38) --- rx --- dcx
               \              ry --- dcy --- hv --- vm
                \-----------  rz --- dcz
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import until, wait_for
from measure import Opened, gateway_answers, go_on, vm_globals, wait_owner
from sites import SITES, VM, VM_MAC, ThreePerSite, ThreeSites

GLOBALS = {'x': '203.0.113.10', 'y': '203.0.113.74', 'z': '203.0.113.138'}


def say(site, method, **params):
    return r[site].call(method, segment='blue', mac=VM_MAC, **params)


def cut(site):
    lab.ip('mgmt', f'link set dev r{site} down')


def join():
    for site in r:
        lab.ip('mgmt', f'link set dev r{site} up')
    wait_for('the routers have found each other', lambda: all(
        p['state'] == 'synced' for router in r.values() for p in router.rows('peers')), 60)


# ---- moves ----

def begin_at_x_and_prepare_y():
    """The VM is at X, with nothing left of moves before, and will be at Y. What is opened there, and the move's epoch."""
    join()
    lab.plug('x')
    say('x', 'vm.move', addresses=addresses('x'))
    wait_owner(r.values(), VM_MAC, 'r-x')
    for site in r:
        say(site, 'move.cut', epoch=0)
    agreed('x')
    opened = Opened(lab, AT['x'])
    epoch = prepare('y')
    opened.speak()  # so that X has noted it: TCP that nobody has is older than the move, UDP is not
    return [opened], epoch


def agreed(site, draining=''):
    def so():
        return all(vm_globals(router, VM_MAC) == ([AT[site]], [AT[d] for d in draining]) for router in r.values())
    expect(until(so, 10), f'{[vm_globals(router, VM_MAC) for router in r.values()]}')


def addresses(site):
    return [{'private': VM, 'global': AT[site]} if AT[site] != VM else {'private': VM}]


def prepare(to):
    return say(to, 'move.prepare', addresses=addresses(to), **{'drain-min': '1h', 'drain-max': '2h'})['epoch']


def move(to, epoch=None):
    """Prepared, paused, and committed by the controller."""
    epoch = epoch or prepare(to)
    say(to, 'move.pause', epoch=epoch)
    lab.unplug()
    say(to, 'move.commit', epoch=epoch)
    lab.plug(to, announce=False)


class List:
    """That one router lists the VM's sessions to another."""

    def __init__(self, by, to):
        self.by, self.to, self.before = by, to, self.count(by, to)

    @staticmethod
    def count(by, to):
        return r[to].process.output().count(f'r-{by} has listed the sessions of')

    def wait(self):
        wait_for(f'the list of {self.by}', lambda: self.count(self.by, self.to) > self.before, 10)


def gateway(site):
    answers = gateway_answers(lab)
    expect(len(answers['replies']) == 1 and answers['who'] == [site], f'{answers}')


def balanced():
    expect(all(router.imbalance() == 0 for router in r.values()), f'{[router.imbalance() for router in r.values()]}')


# ---- the cases ----

def enter(world, at, access='nat'):
    """All is of this lab from now on, and the VM has these addresses at its sites."""
    global lab, r, AT
    lab, AT = world, at
    r = lab.routers(access=access)
    for host in ('user', 'vm'):
        lab.agent(host).call('listen')


def routed():
    """The user's router has the VM's route rewritten; what drains are no addresses, and no session has a home."""
    enter(ThreeSites('chain-routed', core='ru', delay_ms=2), dict.fromkeys('xyz', VM), 'routed')
    user_side = r.pop('u')
    say('x', 'vm.register', addresses=addresses('x'))
    with case('routing method: from X to Y to Z and back to X: sessions of all three go on'):
        there = [Opened(lab, AT['x'])]
        for site in 'yzx':
            move(site)
            user_side.call('route.replace', prefix=f'{VM}/32', via=SITES[site]['wan'])
            wait_owner(r.values(), VM_MAC, SITES[site]['router'])
            go_on(*there)
            gateway(site)
            there.append(Opened(lab, AT[site]))
    with case('routing method: all routers account for every packet'):
        balanced()
    return [router.process for router in (user_side, *r.values())]


def chain(world, what):
    enter(world, GLOBALS)
    say('x', 'vm.register', addresses=addresses('x'))

    with case(f'{what}: from X to Y to Z while X drains: sessions of all three go on'):
        there, prepared = begin_at_x_and_prepare_y()
        move('y', prepared)
        agreed('y', 'x')
        there.append(Opened(lab, AT['y']))
        move('z')
        agreed('z', 'xy')
        there.append(Opened(lab, AT['z']))
        go_on(*there)
        gateway('z')

    with case(f'{what}: and back to X while Y and Z drain: X gets its address again, and all go on'):
        move('x')
        agreed('x', 'yz')
        go_on(*there)
        gateway('x')
        for each in there:
            each.close()

    with case(f'{what}: to Y and at once back to X: the same'):
        there, prepared = begin_at_x_and_prepare_y()
        move('y', prepared)
        there.append(Opened(lab, AT['y']))
        move('x')
        agreed('x', 'y')
        go_on(*there)
        for each in there:
            each.close()

    with case(f'{what}: X cannot be asked when the VM goes to Y, and on to Z: Z asks it when it is back'):
        there, prepared = begin_at_x_and_prepare_y()
        listed = List('x', 'z')
        cut('x')
        move('y', prepared)
        there.append(Opened(lab, AT['y']))
        move('z')
        there.append(Opened(lab, AT['z']))
        join()
        agreed('z', 'xy')
        listed.wait()
        go_on(*there)
        for each in there:
            each.close()

    with case(f'{what}: Y cannot be asked when the VM goes on to Z, and the VM speaks first: TCP waits, and what was guessed gives way'):
        there, prepared = begin_at_x_and_prepare_y()
        move('y', prepared)
        agreed('y', 'x')
        there.append(Opened(lab, AT['y']))
        listed = List('y', 'z')
        cut('y')
        move('z')
        for each in there:
            each.wake('vm')
        join()
        agreed('z', 'xy')
        listed.wait()
        go_on(*there, wake=('user',))
        for each in there:
            each.close()

    with case(f'{what}: the WAN had nothing to filter: no packet left by the wrong site'):
        expect(lab.filtered() == 0, f'{lab.filtered()} packets')

    with case(f'{what}: all routers account for every packet'):
        balanced()
    return [router.process for router in r.values()]


processes = chain(ThreeSites('chain', delay_ms=2), 'one gateway MAC')
processes += chain(ThreePerSite('chain-per-site', delay_ms=2), 'a gateway MAC for each site')
processes += routed()
finish(*processes)
