#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Noise on every way into a router: unix socket, control port, both data ports. It stays alive, and counts.

    world --- rx --- dcx --- vm, stranger
               `- unix socket, TCP 127.0.0.1:7411 in rx
"""
import os
import random
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import program, run
from onesite import GATEWAY, GATEWAY_MAC, HOSTS, PEER, PEER_MAC, ROUTER, WORLD, OneSite

lab = OneSite('garbage')
key = run([program('nearwayd'), 'keygen', os.path.join(lab.dir, 'peer.key')]).stdout.split()[-1]
lab.router.config['peers'] = [{'name': 'r-k', 'key': key, 'address': '127.0.0.1:7999', 'vtep': PEER, 'mac': PEER_MAC}]
router = lab.start()
rnd = random.Random(3)


def alive():
    expect(router.alive(), f'it ended: {router.process.output()[-500:]}')
    router.call('show.status')
    n = lab.ping('world', HOSTS['vm'][2], 5)
    expect(n == 5, f'{n} of 5 pings answered')


def unix_talk(data):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.settimeout(0.05)
    s.connect(router.socket)
    try:
        s.sendall(data)
        s.recv(65536)
    except OSError:
        pass
    s.close()


def frame(text):
    return struct.pack('!I', len(text)) + text


with case('noise, cut frames, great lengths and wrong JSON on the unix socket'):
    unix_talk(b'')
    for n in (1, 3, 4, 5, 100, 70000):
        unix_talk(rnd.randbytes(n))
    for text in (b'', b'{', b'[]', b'null', b'1', b'"x"', b'{}' * 100, b'{"jsonrpc":"2.0","id":1}', b'\0' * 64, b'[' * 5000,
                 b'{"jsonrpc":"2.0","id":1,"method":"vm.register","params":[]}',
                 b'{"jsonrpc":"2.0","id":1,"method":"vm.register","params":{"segment":1,"mac":{},"addresses":"x"}}',
                 b'{"jsonrpc":"2.0","id":1,"method":"txn.apply","params":{"changes":[{"method":"route.delete","params":null}]}}',
                 b'{"jsonrpc":"2.0","id":{},"method":7,"params":null}',
                 b'{"jsonrpc":"2.0","id":1,"method":"no.such","params":{}}'):
        unix_talk(frame(text))
    unix_talk(struct.pack('!I', 0xffffffff) + b'x' * 1000)
    unix_talk(struct.pack('!I', 1000) + b'{"jsonrpc"')
    good = frame(b'{"jsonrpc":"2.0","id":1,"method":"vm.register","params":{"segment":"blue","mac":"52:54:00:00:00:99",'
                 b'"epoch":1,"addresses":[{"private":"10.1.0.99"}]}}')
    for _ in range(200):
        bad = bytearray(good)
        for _ in range(rnd.randint(1, 6)):
            bad[rnd.randrange(4, len(bad))] = rnd.randrange(256)
        unix_talk(bytes(bad))
    alive()

with case('noise on the control port'):
    script = '''
import random, socket
rnd = random.Random(5)
for n in [0, 1, 2, 95, 96, 97, 98, 99, 1000, 65537] * 3:
    s = socket.socket(); s.settimeout(0.05)
    try:
        s.connect(("127.0.0.1", 7411))
        if n: s.sendall((b"\\0\\x60" if n % 2 else b"") + rnd.randbytes(n))
        s.recv(100)
    except OSError: pass
    s.close()
held = []
for _ in range(100):  # silent connections
    s = socket.socket(); s.settimeout(0.2)
    try: s.connect(("127.0.0.1", 7411)); held.append(s)
    except OSError: pass
'''
    lab.exec('rx', ['/usr/bin/python3', '-c', script])
    alive()


def noise_frames(target_mac, n=2000):
    """Frames that begin as what the router parses and go wrong later: ARP, IPv4 with all that it carries, VXLAN."""
    from scapy.all import ARP, ICMP, IP, TCP, UDP, Ether, Raw
    ip = dict(src=HOSTS['vm'][0], dst=WORLD)
    seeds = [bytes(Ether(src=HOSTS['vm'][1], dst=target_mac) / p) for p in (
        ARP(op=1, hwsrc=HOSTS['vm'][1], psrc=HOSTS['vm'][0], pdst=GATEWAY),
        IP(**ip) / TCP(flags='S', options=[('MSS', 1460)]), IP(**ip) / UDP() / Raw(b'x' * 50),
        IP(**ip) / ICMP(type=3, code=4) / IP(src=WORLD, dst=HOSTS['vm'][0]) / UDP(), IP(flags='MF', frag=3, **ip) / Raw(b'y' * 64),
        IP(src=WORLD, dst=HOSTS['vm'][2]) / TCP(flags='S'), IP(src=WORLD, dst=HOSTS['vm'][2]) / ICMP() / Raw(b'z' * 40),
        IP(src=PEER, dst=ROUTER) / UDP(sport=5, dport=4789) / Raw(struct.pack('!II', 0x08000000, 100 << 8)) /
        Raw(bytes(Ether(src='52:54:00:00:00:33', dst=HOSTS['vm'][1]) / IP(src='10.1.0.33', dst=HOSTS['vm'][0]) / UDP())))]
    for i in range(n):
        f = bytearray(seeds[i % len(seeds)])
        for _ in range(rnd.randint(0, 4)):
            f[rnd.randrange(12 if rnd.random() < 0.9 else 0, len(f))] = rnd.randrange(256)
        if rnd.random() < 0.3:
            f = f[:rnd.randint(14, len(f))]
        if rnd.random() < 0.1:
            f += rnd.randbytes(rnd.randint(1, 1400 - len(f)))
        yield bytes(f)


def send_noise(ns, target_mac):
    before = sum(router.drops().values())
    path = os.path.join(lab.dir, 'frames')
    with open(path, 'w', encoding='ascii') as out:
        out.writelines(f.hex() + '\n' for f in noise_frames(target_mac))
    script = f'''
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0); s.bind(("eth0", 0))
for line in open("{path}"): s.send(bytes.fromhex(line))
'''
    lab.exec(ns, ['/usr/bin/python3', '-c', script])
    time.sleep(0.5)
    return sum(router.drops().values()) - before


with case('broken frames on the WAN port end in counted drops'):
    n = send_noise('world', lab.mac('rx', 'wan0'))
    expect(n > 200, f'{n} drops counted')
    alive()

with case('broken frames on the DC port end in counted drops'):
    n = send_noise('vm', GATEWAY_MAC)
    expect(n > 200, f'{n} drops counted')
    alive()

with case('every packet is accounted for'):
    expect(router.imbalance() == 0, f'{router.imbalance()} packets')

with case('the unix socket still takes a change, and the table holds what it held'):
    router.call('vm.register', segment='blue', mac='52:54:00:00:01:01', addresses=[{'private': '10.1.0.201'}])
    macs = {v['mac'] for v in router.rows('vms')}
    expect({HOSTS['vm'][1], HOSTS['other'][1], '52:54:00:00:01:01'} <= macs, f'{macs}')

finish(router.process)
