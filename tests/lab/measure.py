# SPDX-License-Identifier: BSD-3-Clause
"""What the demo and the move tests do in the two-site lab: sessions of all kinds, and what each phase of a move shows."""
import time

from lab import wait_for
from sites import GATEWAY, SITES, USER, VM

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
        """UDP and ping, by who opened them."""
        u, v = self.user.call('stats'), self.vm.call('stats')
        return {('user', 'udp'): u['flows']['udp'], ('user', 'ping'): u['flows']['ping'],
                ('vm', 'udp'): v['flows']['udp'], ('vm', 'ping'): v['flows']['ping'],
                'senders': u['echo'].get(str(self.vm_flow), {})}

    def settle(self):
        """Stops the numbered flows for as long as answers may be on their way; nothing waits after this."""
        for a in (self.user, self.vm):
            for name in ('udp', 'ping'):
                a.call('pause', name=name)
        time.sleep(1.1)

    def resume(self):
        for a in (self.user, self.vm):
            for name in ('udp', 'ping'):
                a.call('pause', name=name, paused=False)

    def close(self):
        for name, opener, _, _ in self.tcp:
            self.agent_of(opener).call('close', name=key(name))


def gateway_answers(lab, own=VM, host='vm'):
    """Asks for the gateway as the VM does, and looks at every way an answer may take. Returns (who, port, replies):
    the routers whose answers were seen, the switch they came out of, and what the VM got."""
    places = [('dcx', 'r'), ('dcy', 'r'), (lab.core, 'x'), (lab.core, 'y')]
    for ns, dev in places:
        lab.probe(ns).call('sniff', dev=dev, arp_ip=GATEWAY)
    replies = lab.probe(host).call('arp', ip=GATEWAY, own=own, wait=0.4)
    seen = {p: lab.probe(p[0]).call('sniffed', dev=p[1])['arps'] for p in places}
    for ns, dev in places:
        lab.probe(ns).call('unsniff', dev=dev)
    ports = [s for s in 'xy' for a in seen[f'dc{s}', 'r'] if a['way'] == 'in']
    tunnelled = [s for s in 'xy' for a in seen[lab.core, s] if a['way'] == 'in' and a['tunnel']]
    return {'ports': ports, 'tunnel': tunnelled, 'who': tunnelled or ports, 'replies': replies}


FAR_ENDS = {'user': ('user', 'eth0'), 'x': ('line', 'a'), 'y': ('ry', 'wan0')}  # of the WAN's interfaces


def path_of(lab, flow, kind, origin, target):
    """The way that most numbered packets of a flow take now, from what arrives at both ends of the WAN's wires: a packet
    that a program sends through a packet socket is not seen where it leaves."""
    places = [(lab.core, dev, dev, 'in') for dev in FAR_ENDS]
    places += [(ns, dev, name, 'out') for name, (ns, dev) in FAR_ENDS.items()]
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


def phase(lab, sessions, address, name):
    """One column of the table: `address` is where new sessions of the user go."""
    flow = sessions.user_flow
    sessions.mark()
    time.sleep(0.6)
    ping = sessions.user.call('stats')['flows']['ping']['rtt_ms']
    return {'name': name, 'at': lab.at, 'arp': gateway_answers(lab), 'address': address,
            'in': path_of(lab, flow, 'q', 'user', 'VM'), 'out': path_of(lab, flow, 'a', 'VM', 'user'),
            'rtt_new': lab.probe('user').call('connect', to=address, n=7),
            'rtt_old': ping and ping['median']}


def new_session_path(lab, address):
    """The way of a UDP flow that begins now."""
    probe = lab.probe('user')
    flow = probe.call('open', name='path', kind='udp', to=address, rate=50)['flow']
    out = path_of(lab, flow, 'q', 'user', 'VM'), path_of(lab, flow, 'a', 'VM', 'user')
    probe.call('close', name='path')
    return out


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
