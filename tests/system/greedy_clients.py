#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Who has a key and asks for more than it reads, or changes more than can be done: nobody else is the worse for it.

    world --- rx --- dcx --- vm, other          numbered packets pass between world and vm all the while
               `--- clc                         one channel that is up gives `other` a new address 50 times a second; beside it
                                                eight of a controller and one of a peer after another read nothing, so that their
                                                window is 0, and one is behind 100,000 changes a second
        quiet ---- clc                          a router that nobody bothers: the control
"""
import datetime
import json
import os
import sys
import threading

for folder in ('../lab', '../pyclient'):
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), folder))
from channel import LAST, Channel, Identity, Target, decode_key, key_from_file
from check import case, expect, finish
from client import Router as Session
from lab import until, wait_for
from managed import MGMT, Managed, new_key, report
from measure import quiesce
from onesite import HOSTS, PEER, PEER_MAC

SECONDS = 4
WORD = (1 << 64) - 1
lab = Managed('greedy')
deaf_file, deaf_key = new_key(lab, 'deaf')
peer_file, peer_key = new_key(lab, 'peer')
lab.router.config['control']['controllers'].append({'name': 'deaf', 'key': deaf_key})
lab.router.config['peers'] = [{'name': 'r-k', 'key': peer_key, 'address': '127.0.0.1:7999', 'vtep': PEER, 'mac': PEER_MAC}]
router = lab.start()
lab.agent('vm').call('listen')
world = lab.agent('world')


class PeerIdentity(Identity):
    def hello(self):
        return {**super().hello(), 'segments': {'blue': 100}, 'instance': 1, 'revision': 0}


class Deaf(Channel):
    """Up, and from then on it reads nothing."""

    def __init__(self, who):
        with lab.inside('clc'):
            super().__init__(who, Target('r-x', f'{MGMT}:7411', decode_key(router.key)), None, lambda e: None)
        self.asked, self.at = 0, '{}:{}'.format(*self._sock.getsockname())

    def _start(self):
        pass

    def ask(self, most, method, patience=0.5, **params):
        """So many questions, or until the router has read nothing for `patience` seconds, or has closed the channel."""
        self._sock.settimeout(patience)
        try:
            for self.asked in range(1, most + 1):
                text = json.dumps({'jsonrpc': '2.0', 'id': self.asked, 'method': method, 'params': params})
                self._write(LAST + text.encode())
        except OSError:
            pass
        return self


def peer():
    return Deaf(PeerIdentity('r-k', key_from_file(peer_file), 'peer'))


def controller():
    return Deaf(Identity('deaf', key_from_file(deaf_file)))


def tell_all_again():
    """As a controller that has its state does when it starts: what became of each VM."""
    who, target = Identity('clc', key_from_file(lab.key_file)), Target('r-x', f'{MGMT}:7411', decode_key(router.key))
    with lab.inside('clc'):
        session = Session(who, target)
    with session:
        return [session.call('vm.register', segment='blue', mac=v['mac'], epoch=v['epoch'],
                             addresses=[{k: a[k] for k in ('private', 'global') if k in a} for a in v['addresses']])['changed']
                for v in vms]


def leaf_of(segment, mac):
    """docs/controller-protocol.md, section 10."""
    h = 0xcbf29ce484222325
    for byte in segment.encode() + b'\0' + bytes.fromhex(mac.replace(':', '')):
        h = (h ^ byte) * 0x100000001b3 & WORD
    for factor in 0xff51afd7ed558ccd, 0xc4ceb9fe1a85ec53:
        h = (h ^ h >> 33) * factor & WORD
    return (h ^ h >> 33) >> 1 >> 40 & 0xffff


def when(line):
    return datetime.datetime.fromisoformat(line.split('Z')[0]).timestamp()


def end_of(channel):
    """(seconds that it was up, why it ended) by the router's log; None: it is still up."""
    lines = router.process.output().splitlines()
    up = [s for s in lines if f' up, {channel.at}, ' in s]
    down = [s for s in lines if f'({channel.at}): ' in s]
    return (when(down[0]) - when(up[0]), down[0].split('): ')[1]) if up and down else None


def scheduled():
    """Of the router's control thread: ns that it ran, and that it was ready to and had no CPU."""
    with open(f'/proc/{router.process.pid}/task/{router.process.pid}/schedstat', encoding='ascii') as f:
        return [int(n) for n in f.read().split()[:2]]


def resident_kb():
    with open(f'/proc/{router.process.pid}/status', encoding='ascii') as f:
        return int(next(line for line in f if line.startswith('VmRSS')).split()[1])


class Memory(threading.Thread):
    """The most that the router has resident, from now on."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most, self.over = resident_kb(), threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.02):
            self.most = max(self.most, resident_kb())


# The question that costs a router the most: the longest, and each leaf of it has a VM.
DEAREST = [leaf_of('blue', HOSTS['vm'][1])] * 1024
for n in range(100):
    router.call('vm.register', segment='blue', mac=f'52:54:00:00:01:{n:02x}', addresses=[{'private': f'10.1.0.{n + 100}'}])
world.call('open', name='f', kind='udp', to=HOSTS['vm'][2], rate=200)
wait_for('packets pass', lambda: world.call('stats')['flows']['f']['answered'] >= 50, 20)
quiet = lab.bystander()
before_kb, memory = resident_kb(), Memory()

ran, waited = scheduled()
control, caller = quiet(50, SECONDS), lab.caller(50, SECONDS)
full = peer().ask(100000, 'sync.rows', patience=9, leaves=DEAREST)
wait_for('the peer whose answers wait is cut off', lambda: end_of(full))
deaf = [controller().ask(3000, 'show.vms', limit=1000) for _ in range(8)] + [peer().ask(100, 'sync.rows', leaves=DEAREST)]
legal, control = report(caller), report(control)
slower = 1 + (scheduled()[1] - waited) / (scheduled()[0] - ran)  # than on a machine that has nothing else to do
other = lab.caller(50, SECONDS)
flood, other = report(lab.caller(100000, SECONDS, how='flood')), report(other)
until(lambda: all(end_of(c) for c in deaf), 18, 0.2)
memory.over.set()
vms, before = router.rows('vms'), router.call('show.status')['revision']
changed = [tell_all_again() for _ in range(3)]
flow = quiesce(world)[0]['f']
print(f'   {legal}\n   {control} is the control, the machine {slower:.1f} times as slow as it could be\n   {flood} is the flood\n   {other} beside it\n   {flow["answered"]} packets answered\n'
      f'   {full.asked} questions: {end_of(full)}; {[end_of(c) for c in deaf]}\n   {memory.most - before_kb} KB more than before')

# C-19: a controller's replies are bounded by 1 MiB, then nothing is read from it; a peer's by 16 MiB, then it is cut off.
with case('a peer that reads no answers is cut off when 16 MiB wait'):
    expect('queue full' in end_of(full)[1] and end_of(full)[0] < 9, f'{end_of(full)}')

with case('a controller and a peer that read nothing are cut off after 10 to 15 s'):
    expect(all(end_of(c) and 9 < end_of(c)[0] < 16.5 for c in deaf), f'{[end_of(c) for c in deaf]}')

# C-49
with case('who sends 100,000 changes a second is read as fast as they are done, and each is done'):
    expect(flood['pushed_back'] > 10 and flood['sent'] < 100000 * SECONDS, f'nothing pushed it back: {flood}')
    expect(flood['why'] == '' and flood['refused'] == 0 and flood['acked'] == flood['sent'] > 2000 * SECONDS, f'{flood}')

with case('beside the flood another is served, too'):
    expect(other['why'] == '' and other['refused'] == 0 and other['acked'] == other['sent'] > 150, f'{other}')

with case('what the router holds for all of them is bounded'):
    expect(memory.most - before_kb < 40 << 10, f'{memory.most} KB, {before_kb} before')

with case('beside those who read nothing each change of another is acknowledged within 60 ms'):
    expect(legal['why'] == '' and legal['refused'] == 0 and legal['acked'] == legal['sent'] > 150, f'{legal}')
    expect(control['acked'] == control['sent'] > 150, f'{control}')
    expect(legal['max_ms'] < 60 * slower + control['max_ms'], f'{legal}, {slower:.1f} times as slow, control {control}')

# C-45: the packets are those of the next case.
with case('a controller that restarts three times and tells all of it again changes nothing'):
    expect(len(vms) > 100 and not any(sum(changed, [])), f'{changed}')
    expect(router.call('show.status')['revision'] == before, 'the revision has changed')

with case('no packet is lost for any of them'):
    expect(flow['lost'] == flow['stray'] == 0 and flow['answered'] > 1000, f'{flow}')

finish(router.process, lab.quiet.process, caller)
