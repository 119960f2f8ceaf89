#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""A real guest moves: Linux under QEMU, live-migrated from X to Y while it talks.

    user --- wan (BCP 38) ---20 ms--- rx --- dcx --- QEMU 1     the guest's memory goes from QEMU 1 to QEMU 2, and
               \                       ||                       the guest with it
                \                    VXLAN
                 \                     ||
                  `--------0 ms------- ry --- dcy --- QEMU 2
"""
import datetime
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
import guest
from check import case, expect, finish, skip
from lab import ROOT, until, wait_for
from measure import TCP, TCP_MORE, Sessions, expect_near, near, new_session_rtt, path_of, quiesce, resume, wait_owner
from router import Controller
from sites import BY, BY_MAC, DELAY_MS, GATEWAY, VM, VM_MAC, Sites

RATE = 200
GAP_MS = 50  # of a TCP session, by the switch alone
if why := guest.missing():
    skip('a real guest moves', why)
    sys.exit(0)


class GuestSites(Sites):
    """The VM is a guest under QEMU."""

    def host_vm(self):
        self.guest = guest.Guest(self, VM_MAC, f'{VM}/24', GATEWAY)

    def agent(self, ns, role='agent'):
        return self.guest.agent if ns == 'vm' else super().agent(ns, role)

    def configs(self, access='nat'):
        out = super().configs(access)
        for c in out.values():  # an emulated guest stands still for longer than one that is not
            c['hold'] = {'packets': 8192, 'packets-per-vm': 4096}
        return out


lab = GuestSites('guest')
clc = Controller(lab)
r = lab.routers(controller_key=clc.key)
x, y = r['x'], r['y']
clc.inventory(r)
clc.create('vm', 'x', VM, VM_MAC)
clc.create('by', 'y', BY, BY_MAC)
for mac, owner in ((VM_MAC, 'r-x'), (BY_MAC, 'r-y')):
    wait_owner((x, y), mac, owner)


def address_of(mac):
    return next(v['addresses'][0]['global'] for v in y.rows('vms') if v['mac'] == mac)


lab.guest.boot('dcx')
for host in ('user', 'vm', 'by'):
    lab.agent(host).call('listen')
OLD, NEAR = address_of(VM_MAC), address_of(BY_MAC)
sessions = Sessions(lab, OLD, TCP + TCP_MORE)
sessions.user.call('open', name='near', kind='tcp', mode='busy', to=NEAR)
print(f'   the guest runs by {lab.guest.accel}')


def all_alive():
    verdicts = sessions.exercise()
    expect(not any(verdicts.values()), f'{verdicts}')


def helper(move, uri):
    """nearway-qmp, as an operator runs it."""
    return subprocess.run([os.path.join(ROOT, 'scripts/hooks/nearway-qmp'), '--vm', 'vm', '--to', 'y', '--source', move.source.hook_path,
                           '--target', move.target.hook_path, '--uri', uri, '--wait', '60',
                           '--clc', f'ip netns exec {lab.prefix}clc {clc.command()}'],
                          capture_output=True, text=True, check=False, timeout=90)


def at_ms(text):
    return datetime.datetime.fromisoformat(text.replace('Z', '+00:00')).timestamp() * 1e3


def moves():
    return [m for m in y.rows('moves') if m['mac'] == VM_MAC]


def lost():
    """Of the user's numbered flows since the mark; the longest silence of its TCP sessions; and of one that does not move."""
    flows = sessions.user.call('stats')
    gap = max(f['gap_ms'] for table in ('flows', 'accepted') for n, f in flows[table].items()
              if f['kind'] == 'tcp' and f['mode'] == 'busy' and n != 'near')
    quiesce(sessions.user)
    numbered = sessions.user.call('stats')['flows']
    return {k: numbered[k]['lost'] for k in ('udp', 'ping')}, gap, flows['flows']['near']['gap_ms']


with case('before: sessions of every kind work and go by X'):
    all_alive()
    for kind, ends in (('q', ('user', 'VM')), ('a', ('VM', 'user'))):
        wait_for('its path', lambda: path_of(lab, sessions.user_flow, kind, *ends) == f'{ends[0]} > R_X > {ends[1]}', 5)

move = lab.guest.migration('dcy')

with case('a migration that fails is aborted: the guest goes on, and nothing is lost'):
    sessions.mark()
    p = helper(move, f'unix:{lab.dir}/nobody')
    expect(p.returncode == 1 and 'failed' in p.stderr, f'{p}')
    expect([m['state'] for m in moves()] == ['aborted'], f'{moves()}')
    sessions.answered(50, 'user')
    gone, _, _ = lost()
    expect(not any(gone.values()), f'{gone}')
    resume(sessions.user)

def watch(at):
    """What the guest sends, on its wires at both sites."""
    return [lab.probe(qemu.ns).call(at, dev=qemu.tap) for qemu in (move.source, move.target)]


def silence_ms():
    """For how long nothing came from the guest: it asks 200 times a second, and an emulated one takes its time to go on."""
    x_side, y_side = ([q['at'] for q in seen['packets'] if (q['flow'], q['kind'], q['way']) == (sessions.vm_flow, 'q', 'in')]
                      for seen in watch('sniffed'))
    return (min(y_side) - max(x_side)) * 1e3


sessions.mark()
sessions.answered(50, 'user')
watch('sniff')
p = helper(move, move.uri)
move.wait()
time.sleep(1)
move.finish()
silent = silence_ms()
gone, gap, near_gap = lost()
row = until(lambda: (m := moves()[0])['released'] > 0 and m, 5) or moves()[0]
print(f"   the guest stood still for {move.pause_s * 1e3:.0f} ms; held {row['held']}, released {row['released']}, dropped {row['dropped']}")
print(f'   lost: {gone}; silence of the guest {silent:.0f} ms, of TCP {gap:.0f} ms, of a session that does not move {near_gap:.0f} ms')

with case('pause told before the stop: not a packet is lost, and all that was held is released'):
    expect(p.returncode == 0, f'{p}, {row}')
    expect(not any(gone.values()), f'{gone}, {row}')
    expect(row['held'] == row['released'] > 0 and row['dropped'] == 0, f'{row}')

with case('TCP is silent for no longer than its packets were held, or the guest was, and 50 ms of the switch'):
    hold = (at_ms(row['times']['heard']) - at_ms(row['times']['paused']))
    expect(gap < max(hold, silent) + GAP_MS + near_gap, f'{gap} ms, held {hold} ms, the guest {silent} ms, {near_gap} ms')

with case('after: every session opened before is alive, byte for byte, idle ones too'):
    all_alive()

with case('after: a new session uses the near router, both ways, and takes no longer than one of its neighbour'):
    expect_near(lab, sessions, address_of(VM_MAC))
    rtt, control = new_session_rtt(lab, address_of(VM_MAC), NEAR, 25)
    beside = lab.probe('by').call('connect', to=VM, n=25)['min_ms']  # what the guest itself takes to answer
    expect(near(rtt, 0, max(control, beside)) and rtt < DELAY_MS, f'{rtt} ms, to the other {control} ms, of its neighbour {beside} ms')
    print(f'   a new session takes {rtt:.1f} ms, of its neighbour at Y {beside:.1f} ms')

resume(sessions.user)
sessions.mark()
sessions.answered(50, 'user')
back = lab.guest.migration('dcx')
back.start()
back.wait()
clc.move('vm', 'x', 3600, 7200)
time.sleep(1)
back.finish()
gone, _, _ = lost()
print(f"   back, not prepared: the guest stood still for {back.pause_s * 1e3:.0f} ms, {gone['udp']} packets are lost")

with case('a move that was not prepared loses what came in the standstill: the others could have failed'):
    expect(gone['udp'] >= int(RATE * back.pause_s) - 2, f'{gone} in {back.pause_s} s')

with case('both routers account for every packet'):
    for router in (x, y):
        expect(router.imbalance() == 0, f'{router.name}: {router.imbalance()} packets')

finish(x.process, y.process)
