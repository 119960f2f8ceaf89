#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Moves that were prepared: nothing is lost, the VM's own standstill included.

    user --- wan (BCP 38) or ru ---20 ms--- rx --- dcx
               \                             ||        \
                \                          VXLAN        hv --- vm     stands still, is re-plugged, goes on
                 \                           ||        /
                  `-----------0 ms---------- ry --- dcy

The VM is a namespace. As a guest that is migrated it stops (its programs, then its wire), is somewhere else, and goes on with its
hypervisor's RARPs. qemu_live_migration.py does the same with a real one.
"""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import until, wait_for
from measure import Sessions, expect_near, near, new_session_rtt, path_of, resume, vm_globals, wait_owner
from router import RpcError
from sites import BX, BY, SITES, USER, VM, VM_MAC, PerSite, Sites

AT = {'x': '203.0.113.10', 'y': '203.0.113.74'}
NAME = {s: site['router'] for s, site in SITES.items()}
OTHER = {'x': 'y', 'y': 'x'}
RTT_MS = {'x': 40, 'y': 0}
STANDSTILL_S, RATE = 0.15, 200
SETTLE_S = 0.02  # so long nothing reaches the VM any more: what was sent before the pause is there
COMMITTED, ABORTED = 10, 11


class World:
    """One VM with sessions, and moves of it."""

    def __init__(self, lab, access='nat'):
        self.lab, self.access = lab, access
        self.r = lab.routers(access=access)
        self.site = 'x'
        self.r['x'].call('vm.register', segment='blue', mac=VM_MAC, addresses=self.addresses('x'))
        wait_owner((self.r['x'], self.r['y']), VM_MAC, 'r-x')
        for host in ('user', 'vm'):
            lab.agent(host).call('listen')
        lab.exec('vm', ['ping', '-c', '2', '-i', '0.2', USER], check=False)
        self.sessions = Sessions(lab, AT['x'] if access == 'nat' else VM)
        self.route()

    def addresses(self, site):
        return [{'private': VM, **({'global': AT[site]} if self.access == 'nat' else {})}]

    def route(self):
        """At the user's router, where there is one that knows VMs."""
        if 'u' in self.r:
            self.r['u'].call('route.replace', prefix=f'{VM}/32', via=SITES[self.site]['wan'])

    # ---- what a hypervisor does ----

    def is_quiet(self):
        before = self.reached_vm()
        time.sleep(SETTLE_S)
        return self.reached_vm() == before

    def reached_vm(self):
        return sum(s['n'] for flow in self.sessions.vm.call('stats')['echo'].values() for s in flow.values())

    def stop(self):
        """The guest runs no more: first its programs, which shall not notice that its wire is gone."""
        until(self.is_quiet, 0.5, 0)
        self.lab.agent('vm').process.popen.send_signal(signal.SIGSTOP)
        self.lab.unplug()
        time.sleep(STANDSTILL_S)

    def go_on(self, site, announce=True):
        self.lab.plug(site, announce)
        self.lab.agent('vm').process.popen.send_signal(signal.SIGCONT)

    # ---- what a controller says ----

    def at(self, site, method, **params):
        return self.r[site].call(method, segment='blue', mac=VM_MAC, **params)

    def prepare(self, to, **more):
        return self.at(to, 'move.prepare', addresses=self.addresses(to), **{'drain-min': '1h', 'drain-max': '2h'}, **more)['epoch']

    def move_row(self, at, epoch):
        return next(m for m in self.r[at].rows('moves') if m['mac'] == VM_MAC and m['epoch'] == epoch)

    def commit(self, to, epoch):
        self.at(to, 'move.commit', epoch=epoch)
        self.committed(to)

    def committed(self, to):
        wait_owner((self.r['x'], self.r['y']), VM_MAC, NAME[to])
        self.site = to
        self.route()

    # ---- what is expected ----

    def begin(self):
        self.sessions.mark()
        self.sessions.answered(20, 'user')

    def nothing_lost(self):
        self.sessions.answered(60, 'user')
        lost = self.sessions.lost_of_user()
        expect(all(f['lost'] == 0 and f['answered'] > 50 for f in lost.values()), f'{lost}')
        verdicts = self.sessions.exercise()
        expect(not any(verdicts.values()), f'{verdicts}')

    def held_and_released(self, to, epoch):
        row = wait_for('the hold is over', lambda: (m := self.move_row(to, epoch))['released'] > 0 and m, 5)
        expect(row['held'] == row['released'] > 0 and row['dropped'] == 0, f'{row}')
        return row

    def refused(self, code, site, method, epoch):
        try:
            self.at(site, method, epoch=epoch)
        except RpcError as e:
            expect(e.code == code and e.data['epoch'] == epoch, f'{e}, {e.data}')
            return e.data
        raise AssertionError(f'{method} was not refused')

    def switch(self, to, arrives=False, announce=True, **more):
        """A move, in the order of its steps, until the VM goes on. Returns its epoch."""
        self.begin()
        epoch = self.prepare(to, **more)
        answer = self.at(to, 'move.pause', epoch=epoch)
        expect(answer['old-router'] == 'ready', f'{answer}')
        self.stop()
        if not arrives:
            self.commit(to, epoch)
        self.go_on(to, announce)
        if arrives:
            self.committed(to)
        return epoch

    def move(self, to, arrives=False, **more):
        """A whole move. Returns its record."""
        epoch = self.switch(to, arrives, **more)
        self.nothing_lost()
        row = self.held_and_released(to, epoch)
        expect(row['by'] == ('arrival' if arrives else 'controller'), f'{row}')
        return row


def there_and_back(w, what):
    with case(f'{what}: prepared, paused, committed by the controller: not a packet of the user is lost'):
        row = w.move('y')
        print(f"   held and released: {row['held']} packets")

    with case(f'{what}: back, committed by its arrival: the same'):
        row = w.move('x', arrives=True)
        print(f"   held and released: {row['held']} packets")


def aborts(w, what):
    with case(f'{what}: aborted when it was prepared: nothing has changed'):
        w.begin()
        epoch = w.prepare('y')
        w.at('y', 'move.abort', epoch=epoch)
        w.nothing_lost()
        w.refused(ABORTED, 'y', 'move.commit', epoch)

    with case(f'{what}: aborted in the pause: what was held, and what was in the tunnel then, goes back'):
        w.begin()
        epoch = w.prepare('y')
        w.at('y', 'move.pause', epoch=epoch)
        w.stop()
        w.go_on('x')
        w.at('y', 'move.abort', epoch=epoch)
        w.nothing_lost()
        row = w.held_and_released('y', epoch)
        expect(row['state'] == 'aborted' and row['reason'] == 'asked', f'{row}')

    with case(f'{what}: aborted after the commit: refused, with the move as it is'):
        w.begin()
        epoch = w.prepare('y')
        w.at('y', 'move.pause', epoch=epoch)
        w.stop()
        w.commit('y', epoch)
        w.go_on('y')
        data = w.refused(COMMITTED, 'y', 'move.abort', epoch)
        expect(data['state'] in ('draining', 'done'), f'{data}')
        w.nothing_lost()


def ways_to_vm(w):
    """Behind which port each site's switch thinks that the VM is: `hv`, its host, or `r`, the router."""
    lines = {s: w.lab.sh(f'dc{s}', 'bridge fdb show br br0').stdout.split('\n') for s in 'xy'}
    return {s: next((line.split()[2] for line in lines[s] if line.startswith(VM_MAC)), None) for s in 'xy'}


def silent(w, what):
    old, new = w.site, OTHER[w.site]
    with case(f'{what}: a VM that says nothing is found at its new site, past entries of both switches that lead elsewhere, and gets '
              'what was held'):
        w.lab.exec('vm', ['ping', '-c', '1', '-W', '1', BX if new == 'x' else BY])
        expect(ways_to_vm(w) == {old: 'hv', new: 'r'}, f'before: {ways_to_vm(w)}')
        w.sessions.vm.call('pause', tcp=True)
        epoch = w.switch(new, announce=False)
        w.held_and_released(new, epoch)
        w.sessions.vm.call('pause', paused=False, tcp=True)
        w.nothing_lost()

    with case(f'{what}: then the switch of the old site has been told, and that of the new one; neighbours at both reach the VM'):
        expect(ways_to_vm(w) == {old: 'r', new: 'hv'}, f'{ways_to_vm(w)}')
        for neighbour in ('bx', 'by'):
            w.lab.exec(neighbour, ['ping', '-c', '1', '-W', '1', VM])


def policies(w):
    """Ends the sessions of a world that begins and ends at Y."""
    def ways():
        return (path_of(w.lab, w.sessions.user_flow, 'q', 'user', 'VM'), path_of(w.lab, w.sessions.user_flow, 'a', 'VM', 'user'))

    with case('sessions home: what the VM sends in an old session goes through the old router'):
        expect(ways() == ('user > R_X = R_Y > VM', 'VM > R_Y = R_X > user'), f'{ways()}')

    with case('sessions direct: it leaves the near router by the old address, where the providers let it out; nothing is lost'):
        w.lab.sh('wan', 'for i in all x y; do echo 0 >/proc/sys/net/ipv4/conf/$i/rp_filter; done')
        w.move('x')
        w.move('y', sessions='direct')
        expect(ways() == ('user > R_X = R_Y > VM', 'VM > R_Y > user'), f'{ways()}')

    with case('sessions cut: they end with the move, the old address is free at once, and new ones work'):
        w.move('x')
        epoch = w.prepare('y', sessions='cut')
        w.at('y', 'move.pause', epoch=epoch)
        w.stop()
        w.commit('y', epoch)
        w.go_on('y')
        wait_for('it is free', lambda: all(vm_globals(w.r[s], VM_MAC) == ([AT['y']], []) for s in 'xy'), 5)
        dead = w.sessions.exercise(patience=0)
        expect(all(dead.values()), f'{dead}')
        row = w.move_row('x', epoch)
        expect((row['state'], row['reason']) == ('done', 'cut') and row['cut'] >= len(dead), f'{row}')
        rtt = wait_for('a new session', lambda: new_session_rtt(w.lab, AT['y'], AT['y'], 2)[0], 5)
        expect(near(rtt, RTT_MS['y'], 0.5), f'{rtt} ms')


def dead_old_router(w, what):
    """The last of a world: one of its routers is gone."""
    with case(f'{what}: the old router is dead: prepared and committed all the same, and new sessions work at once'):
        old, new = w.site, OTHER[w.site]
        epoch = w.prepare(new)
        w.r[old].kill9()
        answer = w.at(new, 'move.pause', epoch=epoch)
        expect(answer['old-router'] == 'away', f'{answer}')
        w.stop()
        w.at(new, 'move.commit', epoch=epoch)
        w.site = new
        w.route()
        w.go_on(new)
        to = AT[new] if w.access == 'nat' else VM
        rtt = wait_for('a new session', lambda: new_session_rtt(w.lab, to, to, 2)[0], 5)
        expect(near(rtt, RTT_MS[new], 0.5), f'{rtt} ms')


def unreachables(w):
    names, values = (line.split() for line in w.lab.sh('vm', 'grep ^Icmp: /proc/net/snmp').stdout.strip().split('\n'))
    return int(values[names.index('InDestUnreachs')])


def home_lost(w, what):
    """After dead_old_router(): sessions have their home there."""
    router = w.r[w.site]

    def say(policy):
        router.config['drain'] = {'home-lost-after': '1s', 'on-home-lost': policy}
        router.write()
        router.call('reload')

    with case(f'{what}: the VM is told that the home of its sessions is out of reach, and no session ends by that'):
        before = unreachables(w)
        say('wait')
        wait_for('the home is away', lambda: w.sessions.exercise(0.2, 0) and router.call('show.status')['home-away'] > 0, 10)
        expect(unreachables(w) > before, f'{before} before, {unreachables(w)} now')
        dead = [e for pair in w.sessions.ends().values() for e in pair if e['error'] or not e['alive']]
        expect(not dead, f'{dead}')

    with case(f'{what}: on-home-lost cut: its old addresses are given up, and the record says why'):
        epoch = next(d['epoch'] for vm in router.rows('vms') if vm['mac'] == VM_MAC for d in vm['drains'])
        say('cut')
        wait_for('nothing drains', lambda: not vm_globals(router, VM_MAC)[1], 10)
        row = w.move_row(w.site, epoch)
        expect((row['state'], row['reason']) == ('done', 'lost'), f'{row}')


# ---- NAT, one gateway MAC for all sites ----

nat = World(Sites('nat'))
there_and_back(nat, 'NAT')
aborts(nat, 'NAT')

with case('NAT: after the move a new session uses the near router, both ways'):
    expect_near(nat.lab, nat.sessions, AT['y'])

silent(nat, 'NAT')

with case('without a pause what comes in the standstill is lost: the others could have failed'):
    nat.begin()
    number = nat.prepare('y')
    nat.stop()
    nat.commit('y', number)
    nat.go_on('y')
    nat.sessions.settle()
    lost = nat.sessions.user.call('stats')['flows']['udp']['lost']
    expect(lost >= RATE * STANDSTILL_S / 2, f'{lost} packets lost')
    print(f'   {lost} lost in {STANDSTILL_S} s')
    resume(nat.sessions.user, nat.sessions.vm)

with case('every session opened before all these moves is alive, byte for byte'):
    for each in nat.sessions.exercise().values():
        expect(each is None, f'{each}')

with case('both routers account for every packet'):
    for router in (nat.r['x'], nat.r['y']):
        expect(router.imbalance() == 0, f'{router.name}: {router.imbalance()} packets')

policies(nat)
dead_old_router(nat, 'NAT')

# ---- the other ways ----

routed = World(Sites('routed', core='ru'), 'routed')
there_and_back(routed, 'routing method')
aborts(routed, 'routing method')
silent(routed, 'routing method')
dead_old_router(routed, 'routing method')

per_site = World(PerSite('per-site'))
there_and_back(per_site, 'a gateway MAC for each site')
aborts(per_site, 'a gateway MAC for each site')
silent(per_site, 'a gateway MAC for each site')
dead_old_router(per_site, 'a gateway MAC for each site')
home_lost(per_site, 'a gateway MAC for each site')

finish(*[router.process for world in (nat, routed, per_site) for router in world.r.values()])
