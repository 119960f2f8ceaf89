#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""A port that gives the kernel an interface: a server on the router's own WAN address, and what must not change by it.

    world 192.0.2.10 --- 192.0.2.1 wan0, rx --- dcx switch --- vm 10.1.0.10 = 203.0.113.10
                              |
                          nw-wan0 192.0.2.1: the kernel of rx, with a TCP server and a UDP echo
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import PYTHON, wait_for
from onesite import GATEWAY, HOSTS, ROUTER, WORLD, OneSite

VM, VM_MAC, VM_GLOBAL = HOSTS['vm']
TAP, RATE, FLOOD_S, FLOOD_PPS = 'nw-wan0', 500, 3, 5000
lab = OneSite('punt')
router = lab.router
wan0 = router.config['ports'][0]


def punted():
    return router.call('show.status')['packets']['punted']


def port():
    return next(p for p in router.rows('ports') if p['port'] == 'wan0')


def sysctl(key):
    return lab.sh('rx', f'cat /proc/sys/net/ipv4/conf/{key}').stdout.strip()


def has_tap():
    return lab.ip('rx', 'link show', TAP, check=False).returncode == 0


def refused(ns, to, tcp_port=7001):
    """True when a session to there cannot be opened."""
    return not lab.probe(ns).call('connect', to=to, n=1, port=tcp_port, wait=1.0)['median_ms']


def flood(ns, to, seconds, rate):
    """Numbers of UDP packets a second to a port where nobody listens; in a process of its own."""
    script = f'''
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
t = time.monotonic()
for i in range({seconds * rate}):
    try: s.sendto(b"x" * 100, ("{to}", 9))
    except OSError: pass
    if i % 10 == 9: time.sleep(max(0, t + i / {rate} - time.monotonic()))
'''
    return lab.spawn(ns, [PYTHON, '-c', script], name=f'flood-{ns}')


lab.agent('rx').call('listen')
lab.agent('vm').call('listen')

with case('without punt the kernel has no interface and gets nothing'):
    lab.start()
    expect(not has_tap(), f'{TAP} is there')
    expect(refused('world', ROUTER), 'a session was opened')
    out = lab.exec('world', [PYTHON, '-c', f'''
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); s.connect(("{ROUTER}", 7002)); s.send(b"x")
try: s.recv(10)
except ConnectionRefusedError: print("unreachable")
'''], check=False).stdout
    expect('unreachable' in out, 'no port unreachable')
    expect(punted() == 0 and 'punt' not in port(), f'punted {punted()}')
    expect(router.stop() == 0, 'it did not stop')

wan0.update({'punt': True, 'punt-rate': RATE})

with case('with punt the interface has the port\'s MAC, address and MTU, and forwards nothing'):
    lab.start()
    link = lab.ip('rx', '-d addr show', TAP).stdout
    expect(lab.mac('rx', 'wan0') in link and f'inet {ROUTER}/24' in link and 'mtu 1500' in link, link)
    expect(sysctl(f'{TAP}/forwarding') == '0', 'it forwards')
    wait_for('its carrier', lambda: 'LOWER_UP' in lab.ip('rx', 'link show', TAP).stdout)

with case('a TCP server on the router\'s own address is reached by the data port, every byte right'):
    lab.agent('world').call('open', name='ssh', kind='tcp', to=ROUTER)
    lab.agent('world').call('open', name='echo', kind='udp', to=ROUTER, rate=50)
    time.sleep(2)
    s = lab.agent('world').call('stats')['flows']
    expect(s['ssh']['error'] is None and s['ssh']['received'] > 50000, s['ssh'])
    expect(s['echo']['lost'] == 0 and s['echo']['answered'] > 50, s['echo'])
    expect(s['echo']['stray'] == 0, f'the kernel heard {s["echo"]["stray"]} packets twice')

with case('one answer to ARP for the router\'s address: the kernel never adds its own'):
    for _ in range(3):
        replies = lab.probe('world').call('arp', ip=ROUTER, own=WORLD)
        expect(len(replies) == 1, f'{replies}')

with case('the kernel finds its neighbours by ARP of its own'):
    neigh = lab.ip('rx', 'neigh show dev', TAP).stdout
    expect(f'{WORLD} lladdr {lab.mac("world", "eth0")}' in neigh, neigh)
    lab.ip('rx', 'neigh flush dev', TAP)
    expect(lab.ping('rx', WORLD, 5) == 5, 'the kernel pings nobody')

with case('a ping is still answered by the fast path'):
    lab.agent('world').call('close', name='echo')
    lab.agent('world').call('close', name='ssh')
    time.sleep(0.5)
    before = punted()
    expect(lab.ping('world', ROUTER, 50) == 50, 'not all answered')
    expect(punted() - before < 10, f'{punted() - before} packets went to the kernel')
    expect(lab.ping('world', ROUTER, 3, '-s', '4000') == 3, 'fragments are not put together by the kernel')

with case('a VM reaches the kernel by no address of the router'):
    expect(refused('vm', ROUTER) and refused('vm', GATEWAY), 'a session was opened')

with case('a flood to the own address is cut to the rate and harms neither VMs nor a session to the router'):
    world = lab.agent('world')
    world.call('open', name='vm', kind='udp', to=VM_GLOBAL, rate=200)
    world.call('open', name='ssh', kind='tcp', to=ROUTER, mode='idle')
    time.sleep(0.5)
    world.call('mark')
    before, dropped, t = punted(), router.drops().get('punt_rate', 0), time.monotonic()
    f = flood('world', ROUTER, FLOOD_S, FLOOD_PPS)
    while f.alive():
        world.call('wake', name='ssh')
        time.sleep(0.2)
    t = time.monotonic() - t
    time.sleep(1.2)
    s = world.call('stats')['flows']
    most = (RATE + 50) * (t + 0.2) + 64
    got, cut = punted() - before, router.drops().get('punt_rate', 0) - dropped
    print(f'   {got} packets to the kernel in {t:.1f} s, {cut} cut; VM {s["vm"]["sent"]} sent, {s["vm"]["lost"]} lost; '
          f'session answers {s["ssh"]["answer_ms"]}')
    expect(RATE * FLOOD_S / 2 < got < most, f'{got} punted, at most {most:.0f} are right')
    expect(cut > FLOOD_S * FLOOD_PPS / 2, f'{cut} cut')
    expect(s['vm']['lost'] == 0, f"the VM's flow lost {s['vm']['lost_seqs']}; {port()}")
    expect(s['ssh']['error'] is None and s['ssh']['answers'] > 5, s['ssh'])
    expect(s['ssh']['answer_ms']['max'] < 500, s['ssh']['answer_ms'])

with case('the kernel cannot speak by another address, and nothing of it leaves'):
    lab.ip('rx', 'addr add 10.99.0.1/32 dev lo')
    before = port()['punt-out-refused']
    counter = 'cat /sys/class/net/eth0/statistics/rx_packets'
    came = int(lab.sh('world', counter).stdout)
    lab.agent('world').call('close', name='vm')
    lab.agent('world').call('close', name='ssh')
    lab.exec('rx', ['ping', '-n', '-c', '5', '-i', '0.02', '-W', '1', '-I', '10.99.0.1', WORLD], check=False)
    n, came = port()['punt-out-refused'] - before, int(lab.sh('world', counter).stdout) - came
    expect(n >= 5, f'{n} refused; {port()}')
    expect(came < 5, f'{came} packets reached the world')

with case('the interface\'s carrier follows the port\'s link'):
    def carrier(up):
        wait_for(f'carrier {up}', lambda: ('LOWER_UP' in lab.ip('rx', 'link show', TAP).stdout) == up, 5)
    lab.ip('wan', 'link set rx down')
    carrier(False)
    lab.ip('wan', 'link set rx up')
    carrier(True)
    wait_for('a session again', lambda: not refused('world', ROUTER), 5)

with case('every packet is accounted for, and the status tells what went to the kernel'):
    def told():
        s, p = router.call('show.status'), port()
        return (s['packets']['imbalance'] == 0 and p['punt-in'] + p['punt-in-lost'] == s['packets']['punted'] > 0 and
                s['made']['punt'] == p['punt-out'] > 0 and p['punt'] == TAP)
    wait_for('numbers that agree', told, 5)

with case('the interface goes with the router, but for one that an operator made before'):
    expect(router.stop() == 0, 'it did not stop')
    expect(not has_tap(), f'{TAP} was left behind')
    lab.ip('rx', 'tuntap add', TAP, 'mode tap')
    lab.start()
    wait_for('a session', lambda: not refused('world', ROUTER), 5)
    expect(router.stop() == 0, 'it did not stop')
    expect(has_tap(), f'{TAP} was taken away')
    lab.ip('rx', 'tuntap del', TAP, 'mode tap')

with case('a name that is taken is told at the start'):
    lab.ip('rx', 'link add', TAP, 'type veth peer name other')
    router.start(wait=False)
    router.process.orderly = False  # it is to fail
    expect(router.process.popen.wait(20) == 1, 'it started')
    expect(f'interface {TAP} cannot be made' in router.process.output(), router.process.output()[-500:])
    lab.ip('rx', 'link del', TAP)

finish(router.process)
