# SPDX-License-Identifier: BSD-3-Clause
"""What the demo and the move tests do in the two-site lab: sessions of all kinds, and what each phase of a move shows."""
import itertools
import time

from check import expect
from lab import until, wait_for
from sites import BY, GATEWAY, SITES, USER, VM

TCP = [  # name, opener, mode, who speaks first when an idle one is woken
    ('user > VM, busy', 'user', 'busy', None),
    ('user > VM, idle', 'user', 'idle', 'user'),
    ('VM > user, busy', 'vm', 'busy', None),
    ('VM > user, idle', 'vm', 'idle', 'vm'),
]
TCP_MORE = [  # idle ones that the other end wakes
    ('user > VM, idle, VM wakes', 'user', 'idle', 'vm'),
    ('VM > user, idle, user wakes', 'vm', 'idle', 'user'),
]


GAP_MS = 100  # a TCP session that sends every 10 ms and loses a packet is silent for 200 and more
QUIET = 2.0  # seconds without an answer, after which none will come


def quiesce(*agents):
    """Stops the numbered flows of hosts until every question is answered, or no answer has come for QUIET seconds: what has
    none by then is lost. Returns each agent's flows; resume() lets them go on."""
    for a in agents:
        a.call('pause')
    best, since = None, time.monotonic()
    while True:
        flows = [a.call('stats')['flows'] for a in agents]
        waiting = sum(f.get('waiting', 0) for table in flows for f in table.values())
        if best is None or waiting < best:
            best, since = waiting, time.monotonic()
        if waiting == 0 or time.monotonic() - since > QUIET:
            return flows
        time.sleep(0.05)


def resume(*agents):
    for a in agents:
        a.call('pause', paused=False)


def key(name):
    """A session's name on the wire has no blanks."""
    return name.replace(' ', '').replace(',', '-')


class Sessions:
    """The sessions of one VM with the user, opened before the move, and their state at any time."""

    def __init__(self, lab, vm_address, tcp=TCP):
        self.lab, self.tcp, self.to = lab, tcp, vm_address
        self.user, self.vm = lab.agent('user'), lab.agent('vm')
        for name, opener, mode, _ in tcp:
            agent, to = (self.user, vm_address) if opener == 'user' else (self.vm, USER)
            agent.call('open', name=key(name), kind='tcp', mode=mode, to=to)
        self.user_flow = self.user.call('open', name='udp', kind='udp', to=vm_address)['flow']
        self.user.call('open', name='ping', kind='ping', to=vm_address)
        self.vm_flow = self.vm.call('open', name='udp', kind='udp', to=USER)['flow']
        self.vm.call('open', name='ping', kind='ping', to=USER)
        wait_for('sessions are known at both ends', lambda: all(b['alive'] for _, b in self.ends().values()))
        for s in tcp:
            self.wake(*s)

    def agent_of(self, who):
        return self.user if who == 'user' else self.vm

    def wake(self, name, _opener, mode, waker):
        if mode == 'idle':
            self.agent_of(waker).call('wake', name=key(name))

    def mark(self):
        for a in (self.user, self.vm):
            a.call('mark')

    def ends(self):
        """Both ends of every TCP session: name -> (opener's end, acceptor's end)."""
        u, v = self.user.call('stats'), self.vm.call('stats')
        out = {}
        for name, opener, _, _ in self.tcp:
            a, b = (u, v) if opener == 'user' else (v, u)
            out[name] = (a['flows'][key(name)], b['accepted'].get(key(name), {'alive': False, 'error': 'unknown to the acceptor'}))
        return out

    def exercise(self, seconds=1.0, patience=10.0):
        """Uses every session now, idle ones too. Returns name -> None (alive, bytes right both ways) or what is wrong."""
        self.mark()
        for s in self.tcp:
            self.wake(*s)
        time.sleep(seconds)
        end = time.monotonic() + patience
        while True:
            verdicts = {name: self.verdict(a, b) for name, (a, b) in self.ends().items()}
            if not any(verdicts.values()) or time.monotonic() > end:
                return verdicts
            time.sleep(0.1)

    @staticmethod
    def verdict(a, b):
        for side, e in (('opener', a), ('acceptor', b)):
            if e['error'] or not e['alive']:
                return f"{side}: {e['error'] or 'closed'}"
        if a['received'] == 0 or b['received'] == 0:
            return f"bytes since: {b['received']} one way, {a['received']} back"
        return None

    def numbered(self):
        """UDP and ping, by who opened them, once they have come to rest; they go on after this."""
        u, v = quiesce(self.user, self.vm)
        senders = self.user.call('stats')['echo'].get(str(self.vm_flow), {})
        resume(self.user, self.vm)
        return {('user', 'udp'): u['udp'], ('user', 'ping'): u['ping'], ('vm', 'udp'): v['udp'], ('vm', 'ping'): v['ping'],
                'senders': senders}

    def lost_of_user(self):
        """Stops the numbered flows; what of the user's was lost, or hardly ran, since the mark: nothing, if all is well."""
        self.settle()
        flows = self.numbered()
        return {k: f for k in ('udp', 'ping') if (f := flows['user', k])['lost'] != 0 or f['answered'] <= 50}

    def settle(self):
        quiesce(self.user, self.vm)

    def answered(self, n, *who):
        """Waits until `who` has had n answers by each of its numbered flows since the mark."""
        def enough():
            stats = [self.agent_of(w).call('stats')['flows'] for w in who]
            return all(f[kind]['answered'] >= n for f in stats for kind in ('udp', 'ping'))
        wait_for(f'{n} answers', enough, 30)

    def close(self):
        for name, opener, _, _ in self.tcp:
            self.agent_of(opener).call('close', name=key(name))


WAYS = [(opener, waker) for opener in ('user', 'vm') for waker in ('user', 'vm')]
serial = itertools.count(1)


class Opened:
    """Idle TCP sessions, one for each of who opens and who speaks first, and a UDP flow of the VM's, opened while the user
    reaches the VM by `address`. Nobody speaks before it is woken."""

    def __init__(self, lab, address):
        self.address, n = address, next(serial)
        self.agents = agents = {who: lab.agent(who) for who in ('user', 'vm')}
        self.tcp = {key(f'{n}: to {address} by {o}, woken by {w}'): (o, w) for o, w in WAYS}
        for name, (opener, _) in self.tcp.items():
            agents[opener].call('open', name=name, kind='tcp', mode='idle', to=address if opener == 'user' else USER)
        wait_for('sessions are known at both ends', lambda: all(b.get('alive') for _, b in self.ends().values()))
        self.udp = f'udp-{n}'
        self.flow, self.port = agents['vm'].call('open', name=self.udp, kind='udp', to=USER).values()
        self.speak()
        self.home = self.senders()  # while the new router waits for the old one's list, it may be the old address

    def speak(self):
        """The UDP flow does, for a while."""
        vm = self.agents['vm']
        vm.call('mark')
        vm.call('pause', name=self.udp, paused=False)
        wait_for('UDP', lambda: vm.call('stats')['flows'][self.udp]['answered'] > 5)
        vm.call('pause', name=self.udp)

    def ends(self):
        """name -> what both ends say of a session."""
        stats = {who: a.call('stats') for who, a in self.agents.items()}
        other = {'user': 'vm', 'vm': 'user'}
        return {name: (stats[o]['flows'][name], stats[other[o]]['accepted'].get(name, {}))
                for name, (o, _) in self.tcp.items()}

    def senders(self):
        """By which addresses the user has seen the UDP flow."""
        return {s.split(':')[0] for s in self.agents['user'].call('stats')['echo'].get(str(self.flow), {})}

    def mark(self):
        for a in self.agents.values():
            a.call('mark')

    def wake(self, *who):
        for name, (_, waker) in self.tcp.items():
            if waker in who:
                self.agents[waker].call('wake', name=name)

    def dead(self):
        return {name: [e.get('error') or e.get('received') for e in ends] for name, ends in self.ends().items()
                if not all(e.get('alive') and e['received'] > 0 for e in ends)}

    def close(self):
        for name, (opener, _) in self.tcp.items():
            self.agents[opener].call('close', name=name)
        self.agents['vm'].call('close', name=self.udp)


def go_on(*opened, wake=('user', 'vm')):
    """All of them go on, and UDP by the address that it had."""
    for each in opened[:1]:
        each.mark()
    for each in opened:
        each.wake(*wake)
    until(lambda: not any(each.dead() for each in opened), 8, 0.1)
    dead = {k: v for each in opened for k, v in each.dead().items()}
    expect(not dead, f'{dead}')
    for each in opened:
        each.speak()
        expect(each.senders() == each.home and len(each.home) == 1, f'opened by {each.address}: {each.home} {each.senders()}')


class Bystanders:
    """VMs that do not move and talk with the user and each other: `bx` at X and `by` at Y, which is near."""

    def __init__(self, lab, bx, by):
        self.lab, self.user, self.hosts = lab, lab.agent('user'), {h: lab.agent(h) for h in ('bx', 'by')}
        for host, to in (('bx', bx), ('by', by)):
            self.user.call('open', name=f'{host}-tcp', kind='tcp', mode='busy', to=to)
            self.user.call('open', name=f'{host}-udp', kind='udp', to=to, rate=100)
            self.hosts[host].call('open', name='ping', kind='ping', to=USER, rate=100)
        self.hosts['bx'].call('open', name='l2', kind='ping', to=BY, rate=100)
        self.mark()

    def mark(self):
        """The user's flows, too, have a new mark with this, whosever they are."""
        for a in (self.user, *self.hosts.values()):
            a.call('mark')
        self.waited = self.lab.waited_ms()

    def control(self):
        """What the machine makes of a way that no move changes: longest gap of TCP, least round trip of UDP, user and `by`."""
        flows = self.user.call('stats')['flows']
        return flows['by-tcp']['gap_ms'], flows['by-udp']['rtt_ms']['min']

    def seen(self):
        """Since the mark, by host: packets sent, lost, answered by the flow that had fewest; the TCP session's state; and for
        how long it may have been silent because the machine had other things to do."""
        tcp = {h: self.user.call('stats')['flows'][f'{h}-tcp'] for h in self.hosts}
        spent = self.lab.waited_ms() - self.waited
        user, *own = quiesce(self.user, *self.hosts.values())
        resume(self.user, *self.hosts.values())
        out = {}
        for host, flows in zip(self.hosts, own):
            flows = [user[f'{host}-udp'], *flows.values()]
            out[host] = {'sent': sum(f['sent'] for f in flows), 'lost': sum(f['lost'] for f in flows), 'tcp': tcp[host],
                         'answered': min(f['answered'] for f in flows), 'spent_ms': round(spent, 1)}
        return out

    @staticmethod
    def fine(seen):
        """Nothing lost, the session alive and never silent for longer than GAP, but for what the machine took."""
        tcp = seen['tcp']
        return (seen['lost'] == 0 and seen['answered'] > 50 and tcp['alive'] and not tcp['error'] and
                tcp['gap_ms'] < GAP_MS + seen['spent_ms'])


def gateway_answers(lab, own=VM, host='vm'):
    """Asks for the gateway as the VM does, and looks at every way an answer may take. Returns (who, port, replies):
    the routers whose answers were seen, the switch they came out of, and what the VM got."""
    places = [(f'dc{s}', 'r') for s in lab.sites] + [(lab.core, s) for s in lab.sites]
    for ns, dev in places:
        lab.probe(ns).call('sniff', dev=dev, arp_ip=GATEWAY)
    replies = lab.probe(host).call('arp', ip=GATEWAY, own=own, first=5, wait=0.3)
    seen = {p: lab.probe(p[0]).call('sniffed', dev=p[1])['arps'] for p in places}
    for ns, dev in places:
        lab.probe(ns).call('unsniff', dev=dev)
    ports = [s for s in lab.sites for a in seen[f'dc{s}', 'r'] if a['way'] == 'in']
    tunnelled = [s for s in lab.sites for a in seen[lab.core, s] if a['way'] == 'in' and a['tunnel']]
    return {'ports': ports, 'tunnel': tunnelled, 'who': tunnelled or ports, 'replies': replies}


def far_ends(lab):
    """Of the WAN's interfaces."""
    return {'user': ('user', 'eth0'), 'x': ('line', 'a'), **{s: (f'r{s}', 'wan0') for s in lab.sites[1:]}}


def path_of(lab, flow, kind, origin, target):
    """The way that most numbered packets of a flow take now, from what arrives at both ends of the WAN's wires: a packet
    that a program sends through a packet socket is not seen where it leaves."""
    ends = far_ends(lab)
    places = [(lab.core, dev, dev, 'in') for dev in ends]
    places += [(ns, dev, name, 'out') for name, (ns, dev) in ends.items()]
    for ns, dev, _, _ in places:
        lab.probe(ns).call('sniff', dev=dev)
    time.sleep(0.4)
    ways = {}
    for ns, dev, name, way in places:
        for p in lab.probe(ns).call('sniffed', dev=dev)['packets']:
            if p['way'] == 'in' and p['flow'] == flow and p['kind'] == kind:
                ways.setdefault(p['seq'], []).append({**p, 'dev': name, 'way': way})
    for ns, dev, _, _ in places:
        lab.probe(ns).call('unsniff', dev=dev)
    texts = [path_text(sorted(w, key=lambda p: p['at']), origin, target) for w in ways.values()]
    return max(set(texts), key=texts.count) if texts else 'none seen'


def path_text(packets, origin, target):
    nodes, joints = [origin], []
    for p in packets:
        node = 'user' if p['dev'] == 'user' else 'R_' + p['dev'].upper()
        if nodes[-1] != node:
            nodes.append(node)
            joints.append('=' if p['tunnel'] and p['way'] == 'out' else '>')
    if nodes[-1] != target:
        nodes.append(target)
        joints.append('>')
    return nodes[0] + ''.join(f' {j} {n}' for j, n in zip(joints, nodes[1:]))


def near(value, away_ms, control_ms):
    """Whether a round trip is that of a way with so much delay in it, beside one without at the same moment. All are the
    least of several: what a busy machine adds is not the way's. The longest way has four turns of what the control has one."""
    return value is not None and control_ms is not None and away_ms <= value < away_ms + 4 * control_ms + 5


def phase(lab, sessions, bystanders, address, near_address):
    """One column of the table: `address` is where new sessions of the user go, those to `near_address` are the control."""
    flow = sessions.user_flow
    bystanders.mark()
    sessions.mark()
    sessions.answered(60, 'user')
    ping = sessions.user.call('stats')['flows']['ping']['rtt_ms']['min']
    return {'at': lab.at, 'arp': gateway_answers(lab), 'address': address, 'old': (ping, bystanders.control()[1]),
            'in': path_of(lab, flow, 'q', 'user', 'VM'), 'out': path_of(lab, flow, 'a', 'VM', 'user'),
            'new': new_session_rtt(lab, address, near_address)}


def new_session_rtt(lab, address, control, n=9):
    """Least round trip of new sessions of the user, and of the control's."""
    c = lab.probe('user').call('connect', to=address, n=n, control=control)
    return c['min_ms'], c['control_ms']


def new_session_path(lab, address):
    """The way of a UDP flow that begins now."""
    probe = lab.probe('user')
    flow = probe.call('open', name='path', kind='udp', to=address, rate=50)['flow']
    out = path_of(lab, flow, 'q', 'user', 'VM'), path_of(lab, flow, 'a', 'VM', 'user')
    probe.call('close', name='path')
    return out


def gateway_mac(lab, host):
    """What a host has in its ARP cache for the gateway, or None."""
    words = lab.ip(host, 'neigh show', GATEWAY).stdout.split()
    return words[words.index('lladdr') + 1] if 'lladdr' in words else None


def vm_globals(router, mac):
    """(live, draining) global addresses of a VM, as a router knows them."""
    for vm in router.rows('vms'):
        if vm['mac'] == mac:
            return ([a['global'] for a in vm['addresses'] if a.get('global')],
                    [d['global'] for d in vm.get('drains', [])])
    return [], []


def wait_owner(routers, mac, owner, seconds=5):
    """Until every router says the same."""
    def agreed():
        return all(any(v['mac'] == mac and v['owner'] == owner for v in r.rows('vms')) for r in routers)
    wait_for(f'{mac} owned by {owner} everywhere', agreed, seconds)


def expect_near(lab, sessions, address):
    """After a switch: the sessions of before are alive, and a new one to `address` uses the near router, both ways."""
    verdicts = sessions.exercise()
    expect(not any(verdicts.values()), f'{verdicts}')
    near_path = ('user > R_Y > VM', 'VM > R_Y > user')
    path = None

    def is_near():  # a sniffer that had no CPU has seen a part of it
        nonlocal path
        path = new_session_path(lab, address)
        return path == near_path

    expect(until(is_near, 5), f'{path}')
