#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The main job, shown: a VM moves between two datacenters while it talks. scripts/demo runs this."""
import argparse
import json
import os
import sys
import time

from lab import BUILD, Lab, LabError, take_down, wait_for
from measure import (TCP, Bystanders, Sessions, near, new_session_path, new_session_rtt, phase, quiesce, vm_globals,
                     wait_owner)
from router import Controller
from sites import BX, BX_MAC, BY, BY_MAC, DELAY_MS, SITES, USER, VM, VM_MAC, Sites

KEPT = '/run/nearway-demo.json'
TTY = sys.stdout.isatty()
DRAIN_MIN, DRAIN_MAX = 12, 30
SILENCE_MS = 400  # one retransmission timeout at 80 ms: packets on the shorter way overtake those on the longer
HERE = {'x': 'X', 'y': 'Y'}
COLUMNS = 'Before, between, after   (= is the tunnel between the sites; ways are read from captured packets)'


def paint(text, code):
    return f'\033[{code}m{text}\033[0m' if TTY else text


def say(text=''):
    print(text, flush=True)


def head(text):
    say('\n' + paint(text, '1'))


class Claims:
    """What the table asserts. A claim that does not hold is marked, and fails the demo."""

    def __init__(self):
        self.broken = []

    def __call__(self, holds, text, wanted):
        """The text for the table, marked if the claim does not hold."""
        if holds:
            return text
        self.broken.append(f'{text} (should be: {wanted})')
        return f'{text} !'

    def line(self, holds, text, wanted):
        mark = paint('ok ', '32') if holds else paint('NOT', '31')
        say(f'  {mark} {self(holds, text, wanted)}')


def table(rows):
    """Rows of cells; the first row is the heading."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    for n, r in enumerate(rows):
        text = '  ' + '   '.join(c.ljust(w) for c, w in zip(r, widths)).rstrip()
        say(paint(text, '1') if n == 0 else paint(text, '31') if any(c.endswith(' !') for c in r) else text)
        if n == 0:
            say('  ' + '   '.join('-' * w for w in widths))


def ms(value):
    return 'none' if value is None else f'{value:.1f} ms'


def who(answers):
    """`R_X, at DC X` or `R_X through the tunnel, at DC Y`."""
    if len(answers['ports']) != 1 or len(answers['who']) != 1:
        return f"{len(answers['ports'])} answers"
    router, port = answers['who'][0], answers['ports'][0]
    way = ' by tunnel' if answers['tunnel'] else ''
    return f'R_{HERE[router]}{way}, out of DC {HERE[port]}\'s port'


class Demo:
    def __init__(self, method):
        self.claim = Claims()
        self.method = method
        self.lab = Sites('demo-' + method, core='ru' if method == 'routed' else 'wan')
        self.clc = Controller(self.lab)
        self.r = self.lab.routers(access=method, controller_key=self.clc.key)
        self.clc.inventory(self.r, method)
        self.new = VM

    # ---- before ----

    def create(self):
        """The controller's sequence "create": private and global address, registration, NAT."""
        for name, site, ip, mac in (('vm1', 'x', VM, VM_MAC), ('bystander-x', 'x', BX, BX_MAC), ('bystander-y', 'y', BY, BY_MAC)):
            self.clc.create(name, site, ip, mac)
            wait_owner((self.r['x'], self.r['y']), mac, SITES[site]['router'])
        self.old = self.address_of(VM_MAC, VM)

    def address_of(self, mac, private):
        """Where the user reaches a VM: its global address, or with the routing method its own."""
        live, _ = vm_globals(self.r['x'], mac)
        return live[0] if live else private

    def talk(self):
        lab = self.lab
        for host in ('user', 'vm', 'bx', 'by'):
            lab.agent(host).call('listen')
        lab.exec('vm', ['ping', '-c', '2', '-i', '0.2', USER], check=False)  # it learns its gateway's MAC, and keeps it
        self.sessions = Sessions(lab, self.old, TCP)
        self.near = self.address_of(BY_MAC, BY)
        self.bystanders = Bystanders(lab, self.address_of(BX_MAC, BX), self.near)
        verdicts = self.sessions.exercise()
        if any(verdicts.values()):
            raise LabError(f'sessions do not work before the move: {verdicts}')

    def mark(self):
        self.bystanders.mark()
        self.sessions.mark()

    def plug(self):
        """The VM appears at Y and nobody is told: what bystanders saw of that, and the column of the table."""
        self.mark()
        time.sleep(0.3)
        self.lab.plug('y')
        time.sleep(1.2)
        seen = self.bystanders.seen()
        self.sessions.exercise(0.5)
        return seen, self.column(self.old)

    # ---- columns ----

    def column(self, address):
        return phase(self.lab, self.sessions, self.bystanders, address, self.near)

    def rows(self, columns, new_path):
        c, claim = columns, self.claim
        before, trombone, after = c
        x_both = ('user > R_X > VM', 'VM > R_X > user')
        bone = ('user > R_X = R_Y > VM', 'VM > R_Y = R_X > user')
        short = ('user > R_Y > VM', 'VM > R_Y > user')
        far_ms, bone_ms = 2 * DELAY_MS, 4 * DELAY_MS
        old_after = bone if self.method == 'nat' else short
        arp = [who(p['arp']) for p in c]

        def path(got, wanted):
            return [claim(g == w, g, w) for g, w in zip(got, wanted)]

        def rtt(values, wanted):
            return [claim(near(v, w, control), ms(v), f'about {w} ms, as a near one takes {ms(control)}')
                    for (v, control), w in zip(values, wanted)]

        one = ('R_X, out of DC X\'s port', 'R_X by tunnel, out of DC Y\'s port', 'R_Y, out of DC Y\'s port')
        return [['', 'before', 'VM moved, no switch', 'after the switch'],
                ['VM stands at', *[f'DC {HERE[p["at"]]}' for p in c]],
                ['gateway ARP answered by', *path(arp, one)],
                ['user reaches it by', *[p['address'] for p in c]],
                ['new session: user to VM', *path((before['in'], trombone['in'], new_path[0]), (x_both[0], bone[0], short[0]))],
                ['new session: VM to user', *path((before['out'], trombone['out'], new_path[1]), (x_both[1], bone[1], short[1]))],
                ['new session: round trip', *rtt([p['new'] for p in c], (far_ms, bone_ms, 0))],
                ['old session: user to VM', *path([p['in'] for p in c], (x_both[0], bone[0], old_after[0]))],
                ['old session: VM to user', *path([p['out'] for p in c], (x_both[1], bone[1], old_after[1]))],
                ['old session: round trip', *rtt([p['old'] for p in c], (far_ms, bone_ms, bone_ms if self.method == 'nat' else 0))]]

    # ---- sessions ----

    def session_table(self, gaps):
        verdicts = self.sessions.exercise()
        rows = [['TCP session opened before the move', 'now', 'bytes checked to VM', 'and back', 'longest gap at the switch']]
        for name, opener, mode, _ in TCP:
            a, b = self.sessions.ends()[name]
            vm, user = (b, a) if opener == 'user' else (a, b)
            state = self.claim(verdicts[name] is None, 'alive' if verdicts[name] is None else f'DEAD: {verdicts[name]}', 'alive')
            rows.append([name, state, f"{vm['total_received']:,}", f"{user['total_received']:,}",
                         f'{gaps[name]:.0f} ms' if mode == 'busy' else 'silent'])
        table(rows)

    def gaps(self):
        return {n: max(a['gap_ms'] or 0, b['gap_ms'] or 0) for n, (a, b) in self.sessions.ends().items()}

    def losses(self, numbered, who_opened):
        for kind in ('udp', 'ping'):
            f = numbered[who_opened, kind]
            yield kind, f

    def user_losses(self, numbered, what):
        for kind, f in self.losses(numbered, 'user'):
            other = sum(n for a, n in f['senders'].items() if a != f['to'])
            more = f', {other} answered from the new address' if other else ''
            self.claim.line(f['lost'] == 0, f"user > VM {kind}: {f['sent']} numbered packets around {what}, {f['lost']} lost{more}",
                            '0 lost')

    def bystanders_told(self, seen, what):
        for host, where in (('bx', 'X'), ('by', 'Y')):
            s, tcp = seen[host], seen[host]['tcp']
            self.claim.line(Bystanders.fine(s), f"bystander at {where}, {what}: {s['sent']} numbered packets, {s['lost']} lost; "
                            f"TCP {'alive' if tcp['alive'] else 'DEAD'}, longest gap {tcp['gap_ms']:.0f} ms",
                            f"nothing lost, no gap but the {s['spent_ms']:.0f} ms that the lab waited for CPUs")

    def silence_told(self, gaps, control):
        longest = max(gaps.values())
        self.claim.line(longest < control + SILENCE_MS, f'longest silence of a TCP session: {longest:.0f} ms',
                        f'less than {SILENCE_MS} ms above that of a bystander, {control:.0f} ms')


def nat():
    head('1. NAT: each site has its own global addresses')
    d = Demo('nat')
    lab, x, y = d.lab, d.r['x'], d.r['y']
    d.create()
    d.talk()
    say(f'  nearway-clc created vm1 {VM} = {d.old} at X; sessions are open')
    before = d.column(d.old)
    plugged, trombone = d.plug()

    d.mark()
    time.sleep(0.5)
    t0 = time.monotonic()
    d.clc.move('vm1', 'y', DRAIN_MIN, DRAIN_MAX)
    took = time.monotonic() - t0
    say(f'  nearway-clc move vm1 --to y: {took * 1e3:.0f} ms')
    time.sleep(1.8)
    gaps, control = d.gaps(), d.bystanders.control()[0]
    switched = d.bystanders.seen()
    numbered = d.sessions.numbered()
    d.new = new = vm_globals(y, VM_MAC)[0][0]

    head('The physical move, then the switch')
    d.bystanders_told(plugged, 'the physical move')
    d.user_losses(numbered, 'the switch')
    d.bystanders_told(switched, 'the switch')
    senders = numbered['senders']
    addresses = [a.split(':')[0] for a in senders]
    for kind, f in d.losses(numbered, 'vm'):
        seen = f": the user saw it come from {' then '.join(dict.fromkeys(addresses))}" if kind == 'udp' else ''
        say(f"  --  VM > user {kind}: {f['sent']} sent, {f['lost']} lost; not carried without prepare, goes on by the new address{seen}")
    d.silence_told(gaps, control)

    after = d.column(new)
    rows = d.rows((before, trombone, after), new_session_path(lab, new))
    head(COLUMNS)
    table(rows)
    say()
    d.session_table(gaps)
    d.claim.line(new != d.old and new.startswith('203.0.113.'), f'the new address {new} is in use at Y', 'an address of Y')
    d.claim.line(lab.filtered() == 0, f'packets that the WAN refused by their source (BCP 38): {lab.filtered()}', '0')

    head(f'The old address {d.old} drains: at least {DRAIN_MIN} s, at most {DRAIN_MAX} s, gone when its sessions are')
    left = t0 + DRAIN_MIN - 1 - time.monotonic()
    time.sleep(max(0, left))
    works = lab.probe('user').call('connect', to=d.old, n=1)['median_ms']
    d.claim.line(works is not None, f'after {DRAIN_MIN - 1} s it still takes new sessions', 'works during its minimum')
    d.sessions.close()
    d.sessions.settle()
    wait_for('the old address goes away', lambda: vm_globals(x, VM_MAC)[1] == [] and vm_globals(y, VM_MAC)[1] == [], DRAIN_MAX + 10)
    gone = time.monotonic() - t0
    d.claim.line(DRAIN_MIN <= gone < DRAIN_MAX + 3, f'gone after {gone:.1f} s', f'between {DRAIN_MIN} and {DRAIN_MAX} s')
    c = lab.probe('user').call('connect', to=d.old, n=1, wait=1.0)
    d.claim.line(c['median_ms'] is None, 'nobody answers at the old address any more', 'no answer')
    rtt, control = new_session_rtt(lab, new, d.near)
    d.claim.line(near(rtt, 0, control), f'{new} goes on: {ms(rtt)}', f'as near as a bystander at Y, {ms(control)}')
    return d


def routed():
    head('2. Routing: the VM keeps its address; the user\'s router R_U is another Nearway')
    d = Demo('routed')
    lab, u = d.lab, d.r['u']
    d.create()
    d.clc.route(f'{BY}/32', 'r-u', SITES['y']['wan'])
    d.clc.route(f'{VM}/32', 'r-u', SITES['x']['wan'])
    d.talk()
    before = d.column(VM)
    plugged, trombone = d.plug()

    d.mark()
    time.sleep(0.3)
    d.clc.move('vm1', 'y', DRAIN_MIN, DRAIN_MAX)
    time.sleep(1.7)
    switched = d.bystanders.seen()
    moved = d.sessions.numbered()
    head('The physical move, the move, then the route')
    d.bystanders_told(plugged, 'the physical move')
    d.bystanders_told(switched, 'the move')
    for w in ('user', 'vm'):
        for kind, f in d.losses(moved, w):
            d.claim.line(f['lost'] == 0, f"{w} opened, {kind}: {f['sent']} numbered packets around the move, {f['lost']} lost", '0 lost')
    d.mark()
    time.sleep(0.3)
    d.clc.route(f'{VM}/32', 'r-u', SITES['y']['wan'])
    time.sleep(1.7)
    gaps, control = d.gaps(), d.bystanders.control()[0]
    routed_seen = d.bystanders.seen()
    numbered = d.sessions.numbered()
    for w in ('user', 'vm'):
        for kind, f in d.losses(numbered, w):
            d.claim.line(f['lost'] == 0, f"{w} opened, {kind}: {f['sent']} numbered packets around route replace, {f['lost']} lost",
                         '0 lost')
    d.bystanders_told(routed_seen, 'the route')
    d.silence_told(gaps, control)
    after = d.column(VM)
    head(COLUMNS)
    table(d.rows((before, trombone, after), new_session_path(lab, VM)))
    say()
    d.session_table(gaps)
    return d


def look_around(demos):
    d = demos[0]
    p = d.lab.prefix
    say(f"""
The lab stays up. Namespaces of the NAT part: {p}user {p}wan {p}rx {p}ry {p}dcx {p}dcy {p}hv {p}vm {p}bx {p}by {p}clc
(those of the routing part begin with {demos[-1].lab.prefix}).

  {BUILD}/src/cli/nearway -s {d.r['y'].socket}      interactive: `show vms`, `show moves`, `?`
  {BUILD}/src/cli/nearway -s {d.r['x'].socket} show drops
  ip netns exec {p}clc {d.clc.command()} list
  ip netns exec {p}user ping {d.new}
  ip netns exec {p}ry tcpdump -ni dc0

  scripts/demo --down        takes it down
""")


def keep(demos):
    for d in demos:
        quiesce(*[d.lab.agent(h) for h in ('user', 'vm', 'bx', 'by')])  # nothing fills the captures of who looks around
    with open(KEPT, 'w', encoding='utf-8') as f:
        json.dump([d.lab.keep() for d in demos], f)
    look_around(demos)


def down():
    if os.path.exists(KEPT):
        with open(KEPT, encoding='utf-8') as f:
            for state in json.load(f):
                take_down(state)
        os.unlink(KEPT)


def main():
    p = argparse.ArgumentParser(prog='scripts/demo', description=__doc__)
    p.add_argument('--keep', action='store_true', help='leave the lab up and say how to look around in it')
    p.add_argument('--down', action='store_true', help='take down a lab that was kept')
    p.add_argument('--only', choices=('nat', 'routed'), help='one of the two parts')
    args = p.parse_args()
    if args.down or args.keep:
        down()
    if args.down:
        return 0
    Lab.outlives = args.keep
    t, demos, broken = time.monotonic(), [], []
    for name, part in (('nat', nat), ('routed', routed)):
        if args.only in (None, name):
            d = part()
            demos.append(d)
            broken += d.claim.broken
            if not args.keep:
                broken += [f'every program ends in order: {fault}' for fault in d.lab.close()]
    say()
    for b in broken:
        say(paint('NOT ', '31') + b)
    say(f"{'Every claim of the tables holds.' if not broken else f'{len(broken)} claims do not hold.'} "
        f'({time.monotonic() - t:.0f} s)')
    if args.keep:
        keep(demos)
    return 1 if broken else 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except LabError as e:
        say(f'{paint("demo failed:", "31")} {e}')
        sys.exit(1)
