#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the seeds of the fuzz targets, tests/fuzz/seeds/TARGET/NAME, and the dictionaries of the control targets. The
addresses are those of tests/packet/harness.h and router.c; what the bytes mean stands in fuzz.h, talk.h and the targets."""
import hashlib
import json
import os
import re

from scapy.all import ARP, Ether, ICMP, IP, Raw, TCP, UDP, VXLAN, conf

conf.verb = 0
HERE = os.path.dirname(os.path.abspath(__file__))
WAN0, DC0 = 0, 1
VLAN_3, PIECES, MENDED, MORE, LATER = 2 << 2, 16, 32, 64, 128
GW, ISP, PORT0, RY = '02:5e:00:00:00:01', '02:cc:00:00:00:01', '02:aa:00:00:00:00', '02:bb:00:00:00:02'
USER = '192.0.2.10'


def vm(n):
    return '02:00:00:00:01:%02x' % n


def up(n, payload, **ip):
    return Ether(src=vm(n), dst=GW) / IP(src='10.0.0.%d' % n, dst=USER, **ip) / payload


def down(n, payload, **ip):
    return Ether(src=ISP, dst=PORT0) / IP(src=USER, dst='203.0.113.%d' % n, **ip) / payload


def tunnel(frame, vni=5001, **vx):
    return (Ether(src=ISP, dst=PORT0) / IP(src='198.51.100.66', dst='198.51.100.2', flags='DF') /
            UDP(sport=50000, dport=4789, chksum=0) / VXLAN(vni=vni, flags=8, **vx) / frame)


def at(how, frame):
    b = bytes(frame)
    return bytes([how]) + len(b).to_bytes(2, 'big') + b


def quoted(n):
    return IP(src='203.0.113.%d' % n, dst=USER) / UDP(sport=9, dport=53) / b'12345678'


udp, syn = UDP(sport=9, dport=53) / b'12345678', TCP(sport=9, dport=80, flags='S', options=[('MSS', 1460)])
fin = TCP(sport=9, dport=80, flags='FA')
bridged = Ether(src=vm(5), dst='02:00:00:00:02:01') / IP(src='10.0.0.5', dst='10.0.0.77') / udp
routed = Ether(src=RY, dst=vm(6)) / IP(src=USER, dst='10.0.0.6') / TCP(sport=80, dport=9, flags='SA')
returned = Ether(src='02:bb:00:00:00:01', dst=vm(5)) / IP(src=USER, dst='10.0.0.5') / udp
ask = Ether(src=vm(5), dst='ff:ff:ff:ff:ff:ff') / ARP(hwsrc=vm(5), psrc='10.0.0.5', pdst='10.0.0.1')

SEEDS = {
    'path': {
        'udp-out': at(DC0, up(5, udp)),
        'syn-out': at(DC0, up(6, syn)) + at(DC0, up(6, fin)),
        'udp-in': at(WAN0, down(5, udp)),
        'echo': at(WAN0, Ether(src=ISP, dst=PORT0) / IP(src=USER, dst='198.51.100.2') / ICMP()),
        'error-in': at(WAN0, down(5, ICMP(type=3, code=3) / quoted(5))),
        'fragments': at(DC0 | MORE, up(6, Raw(b'x' * 32), flags='MF', proto=17, id=7)) +
        at(DC0, up(6, Raw(b'y' * 16), frag=4, proto=17, id=7)),
        'arp': at(DC0, ask),
        'tunnel': at(WAN0, tunnel(bridged)),
        'routed': at(WAN0, tunnel(routed)) + at(DC0, up(6, fin)),
        'bridged': at(DC0 | MENDED, bridged) + at(DC0 | VLAN_3, bridged),
        'hold': at(DC0, Ether(src=vm(5), dst=GW) / IP(src='10.0.0.5', dst='192.0.2.200') / udp) + bytes([LATER, 12]),
        'cut': at(DC0 | PIECES, up(5, Raw(b'z' * 1300), proto=47)),
        'padded': at(DC0 | PIECES, bytes(up(5, Raw(b'z' * 100), proto=47)) + b'p' * 200),
    },
    'vxlan': {
        'bridged': bytes([0, 1]) + at(0, bridged)[1:],
        'routed': bytes([0, 1]) + at(0, routed)[1:],
        'arp': bytes([0, 1]) + at(0, ask)[1:],
        'hypervisor': bytes([0, 2 | 3 << 2]) + at(0, Ether(src=vm(14), dst=vm(13)) / IP(src='10.0.4.14', dst='10.0.4.13') / udp)[1:],
        'carried': bytes([16, 65]) + at(0, up(6, syn))[1:],
        'returned': bytes([0, 1]) + at(0, returned)[1:],
        'outer': bytes([0, 129]) + at(0, bridged)[1:] + bytes([28] + [0] * 26 + [8, 0]),
    },
    # how, kind, cut off, MACs of receiver, sender, target; IPs of sender, target; XOR
    'arp': {
        'gateway': bytes([DC0, 1, 0, 14, 0, 15, 0, 9, 0]),
        'peer': bytes([DC0, 1, 0, 14, 0, 15, 0, 3, 0]),
        'claim': bytes([DC0, 2, 0, 14, 7, 0, 9, 0, 0]),
        'rarp': bytes([DC0, 11, 0, 14, 0, 0, 15, 15, 0]),
        'wan': bytes([WAN0, 1, 0, 14, 13, 15, 13, 12, 0]),
        'tunnel': bytes([WAN0, 49, 0, 10, 1, 15, 1, 9, 0]),
        'answer': bytes([WAN0, 50, 0, 1, 12, 1, 9, 1, 0]),
    },
    # how, way (2), quoted, type, cut off, XOR of quoted, XOR
    'icmp': {
        'in-udp': bytes([0, 0, 0, 32, 3, 0, 0, 0]),
        'in-tcp': bytes([0, 0, 1, 64, 11, 12, 0, 0]),
        'out-udp': bytes([0, 1, 0, 32, 3, 0, 0, 0]),
        'hairpin': bytes([0, 0x21, 1, 64, 3, 0, 0, 0]),
        'tunnel': bytes([0, 7, 1, 64, 4, 0, 0, 0]),
    },
    # how, (time and VM, its record), way (2), kind, ports, TCP flags
    'homes': {
        'opens-here': bytes([0, 1, 1, 0, 0, 2]) + bytes([0, 0, 1, 0, 0, 18]),
        'opened-there': bytes([0, 6, 1, 0, 0, 2]) + bytes([0, 1, 1, 0, 0, 16]) + bytes([0, 1, 1, 0, 0, 17]),
        'away': bytes([0, 0, 2, 0, 0, 2]) + bytes([0, 7, 2, 0, 0, 18]) + bytes([128, 14, 0, 2, 0, 0, 4]),
        'fragments': bytes([0, 1, 1, 10, 16, 0]) + bytes([0, 1, 1, 18, 16, 0]),
        'errors': bytes([0, 6, 1, 2, 0, 0]) + bytes([0, 1, 1, 7, 0, 0]),
        'cut': bytes([16, 1, 1, 66, 0, 0]),
        'held': bytes([128, 64, 20, 0, 0, 2, 0, 0]) + bytes([0, 0, 0, 1, 0, 2]) + bytes([128, 64, 0, 0, 0, 2, 0, 0]),
        'aborted': bytes([128, 64, 28, 6, 0, 2, 0, 0]) + bytes([0, 1, 0, 2, 0, 0]) + bytes([128, 64, 24, 6, 0, 2, 0, 0]),
        'deleted': bytes([128, 64, 20, 0, 0, 2, 0, 0]) + bytes([128, 64, 32, 0, 0, 2, 0, 0]),
        'clash': bytes([0, 0, 2, 0, 0, 2]) + bytes([0, 0, 1, 0, 0, 2]) + bytes([0, 6, 1, 0, 0, 2]),
    },
}


def vm_of(n, own, **more):
    return {'segment': 'tenant-a', 'mac': '52:54:00:00:00:%02x' % n,
            'addresses': [{'private': '10.0.0.1%x' % n, 'global': '198.%d.0.1%x' % (own, n)}], **more}


def no_vm(n, **more):
    return {'segment': 'tenant-a', 'mac': '52:54:00:00:00:%02x' % n, **more}


def sums(first=0):
    return [first] + [0] * 255


def answer(**members):
    return 'a' + json.dumps(members)


def say(who, method, params=None, ident=1):
    msg = {'jsonrpc': '2.0', 'id': ident, 'method': method}
    if params is not None:
        msg['params'] = params
    return who + json.dumps(msg)


def text(*lines):
    return '\n'.join(lines).encode()


SHORT = {'drain-min': '1s', 'drain-max': '3s'}
BACK = vm_of(2, 51, **{'drain-min': '1h', 'drain-max': 7200000}, epoch=3)
OLD = [{'private': '10.0.0.14', 'global': '198.52.0.14', 'router': 'r-b', 'epoch': 0}]
CLAIM = vm_of(4, 52, owner='r-b', epoch=9)
DRAINING = vm_of(1, 52, owner='r-b', epoch=7, drains=[
    {'private': '10.0.0.11', 'global': '198.51.0.11', 'router': 'r-a', 'epoch': 7, 'min': 1000, 'max': 2000,
     'left-min': 900, 'left-max': 1900}])
GONE = no_vm(3, owner='r-b', epoch=9, deleted=True)
DONE = no_vm(3, **{'global': '198.52.0.13', 'epoch': 2})
CHANGES = [{'method': 'vm.register', 'params': vm_of(7, 51)}, {'method': 'route.delete', 'params': {'prefix': '10.9.0.0/16'}},
           {'method': 'vm.unregister', 'params': no_vm(1)}]

WHOLE = [{'method': 'vm.register', 'params': vm_of(1, 51, epoch=2)}, {'method': 'vm.register', 'params': vm_of(8, 51)},
         {'method': 'route.replace', 'params': {'prefix': '10.8.0.0/16', 'blackhole': True}}]


def digest(changes):
    return hashlib.sha256(''.join(json.dumps(c, sort_keys=True, separators=(',', ':')) + '\n' for c in changes).encode()).hexdigest()


def numbers(first):
    return [first] + [0] * 255


def sums():
    return json.dumps({'mine': numbers(5), 'yours': numbers(7), 'revision': 4}, separators=(',', ':'))


def leaves():
    return json.dumps({'mine': [numbers(5)]}, separators=(',', ':'))


def rows():
    return '{"rows":[["tenant-a","52:54:00:00:00:04",9,1],["tenant-a","52:54:00:00:00:03",9,2]],"leaves":1}'


SEEDS.update({
    'rpc': {
        'register': text(say('l', 'vm.register', vm_of(7, 51)), say('l', 'vm.register', vm_of(7, 51, epoch=1)), say('l', 'show.vms')),
        'move': text(say('c', 'vm.move', {**vm_of(4, 51), **SHORT, 'old': OLD}), say('c', 'show.moves', {'limit': 2}), 't5000',
                     say('l', 'move.cut', no_vm(4)), say('l', 'show.nat')),
        'back': text(say('l', 'vm.move', BACK), 'r', say('l', 'show.counters', {'cursor': '', 'limit': 1})),
        'unregister': text(say('l', 'vm.unregister', no_vm(1, epoch=2)), say('l', 'vm.register', vm_of(1, 51, epoch=1))),
        'nat': text(say('l', 'nat.set', {'segment': 'tenant-a', 'private': '10.0.0.11', 'global': '198.51.0.99'}),
                    say('l', 'nat.set', {'segment': 'tenant-a', 'private': '10.0.0.11'})),
        'routes': text(say('l', 'route.replace', {'prefix': '10.8.0.0/16', 'via': '192.0.2.7', 'port': 'wan0'}),
                       say('l', 'route.replace', {'prefix': '0.0.0.0/0', 'blackhole': True}),
                       say('l', 'route.delete', {'prefix': '10.9.0.0/16'}), say('l', 'show.routes')),
        'batch': text(say('c', 'txn.apply', {'changes': CHANGES}), say('c', 'txn.apply', {'changes': CHANGES, 'dry-run': True})),
        'staged': text(say('c', 'txn.open'), *[say('c', 'txn.add', {'txn': 1, 'part': i + 1, 'changes': CHANGES[i:i + 1]}) for i in (0, 1, 2)],
                       say('c', 'txn.commit', {'txn': 1, 'count': 3, 'sha256': digest(CHANGES), 'dry-run': True}),
                       say('c', 'txn.commit', {'txn': 1, 'count': 3, 'sha256': digest(CHANGES)})),
        'staged-replace': text(say('c', 'txn.open', {'replace': True}), say('c', 'txn.add', {'txn': 1, 'part': 1, 'changes': WHOLE}),
                               say('c', 'txn.commit', {'txn': 1, 'count': len(WHOLE), 'sha256': digest(WHOLE)}), say('c', 'txn.abort', {'txn': 1})),
        'replace': text(say('l', 'state.replace', {'changes': WHOLE, 'max-remove': 9}), say('l', 'state.replace', {'changes': WHOLE}),
                        say('l', 'state.replace', {'changes': CHANGES[:1], 'dry-run': True})),
        'events': text(say('o', 'events', {'classes': ['vm']}), say('l', 'vm.register', vm_of(7, 51)), 't100', say('o', 'vm.register', vm_of(8, 51)),
                       'q', say('c', 'events', {'after': '0'}), say('l', 'vm.unregister', no_vm(7))),
        'terms': text(say('c', 'vm.register', vm_of(7, 51)), say('d', 'vm.register', vm_of(8, 51)), say('c', 'vm.register', vm_of(9, 51)),
                      'q', 'h{"term":5}', say('c', 'vm.unregister', no_vm(8))),
        'full': text('s', say('l', 'vm.register', vm_of(7, 51)), say('l', 'vm.register', vm_of(7, 51)), 'f',
                     say('l', 'vm.register', vm_of(8, 51)), 'f'),
        'watch': text(say('l', 'trace', {'count': 2}), say('l', 'explain', {'src': '10.0.0.11', 'dst': '192.0.2.9'}),
                      say('l', 'capture', {}), 'q'),
        'shows': text(*[say('l', 'show.' + v) for v in ('status', 'segments', 'peers', 'ports', 'sessions', 'macs', 'drops')]),
        'notes': text('l{"jsonrpc":"2.0","method":"vm.register"}', 'l[]', 'l{"jsonrpc":"2.0","id":null,"method":"show.status"}',
                      'l{"jsonrpc":"2.0","id":1,"result":{}}', 'r3600'),
    },
    'sync': {
        'exchange': text('a' + sums(), 'a' + leaves(), 'a' + rows(), 'a' + json.dumps({'vms': [CLAIM, GONE]}), say('p', 'sync.again', {})),
        'equal': text('a{"mine":[],"yours":[],"revision":1}', say('p', 'sync.again', {}), 't20000'),
        'asked': text(say('p', 'sync.sums', {'revision': 1}), say('p', 'sync.sums', {'branches': [0, 7, 255]}),
                      say('p', 'sync.rows', {'leaves': [0, 513, 65535]}), say('p', 'sync.pull', {'vms': [['tenant-a', '52:54:00:00:00:01']]})),
        'update': text(say('p', 'sync.update', {'vms': [CLAIM, DRAINING]}), say('p', 'sync.update', {'vms': [GONE]}), 't3000', 'r'),
        'for-others': text(say('p', 'sync.update', {'vms': [{**CLAIM, 'owner': 'r-c'}, {**GONE, 'owner': 'r-a'}]})),
        'done': text(say('p', 'sync.done', {'drains': [DONE]}), say('l', 'vm.move', {**vm_of(4, 51), 'epoch': 9}),
                     say('p', 'sync.update', {'vms': [CLAIM]})),
        'mine': text('n', 'a{"mine":[-256],"yours":[5,-255],"revision":1}',
                     'a' + json.dumps({'vms': [vm_of(1, 51, owner='r-a', epoch=3)], 'next': 'tenant-a/52:54:00:00:00:01'}),
                     'a{"vms":[]}', 'a' + sums(), say('p', 'sync.mine', {'branches': [0, 7, 255], 'cursor': ''})),
        'hello': text('h{"segments":{"tenant-a":100}}', say('p', 'sync.update', {'vms': [CLAIM]}), 'q', 'h{"instance":7}',
                      say('p', 'sync.update', {'vms': [CLAIM]})),
        'silent': text('a', say('p', 'sync.again', {}), say('l', 'vm.unregister', no_vm(1)), 't15000'),
        'full': text('s', say('p', 'sync.update', {'vms': [CLAIM]}), 'f', say('p', 'sync.update', {'vms': [DRAINING]}), 'f', 't9000'),
    },
    'rows': {
        'vm': text('=vm tenant-a/52:54:00:00:00:07 ' + json.dumps(vm_of(7, 51, owner='r-a', epoch=3))),
        'draining': text('=vm tenant-a/52:54:00:00:00:01 ' + json.dumps(DRAINING), '-vm tenant-a/52:54:00:00:00:02'),
        'another-key': text('=vm tenant-a/52:54:00:00:00:0a ' + json.dumps(DRAINING)),
        'gone': text('=vm tenant-a/52:54:00:00:00:03 ' + json.dumps(GONE)),
        'move': text('=move tenant-a/52:54:00:00:00:03@2 ' + json.dumps(
            {'epoch': 2, 'from': 'r-b', 'to': 'r-a', 'done': True, 'started': 1790000000000, 'ended': 1790000001000})),
        'route': text('=route 10.8.0.0/16 {"prefix":"10.8.0.0/16","via":"192.0.2.7"}', '-route 10.9.0.0/16'),
        'meta': text('=meta router {"revision":9,"term":3,"controller":"clc","boot-id":"boot-0-0","boot-ms":5000,"wall-ms":1790000000000}'),
        'other': text('=other key {}', '=vm  {}'),
    },
})

# Found: VMs that were taken away and came again in each other's slots.
SEEDS['homes']['vms-change-places'] = bytes.fromhex('c0c0beb2c0c0be7f00c0800093c680a6a6a600ff80')

# who; steps: 0 SEND 1 RUN 2 WAIT 3 FLIP 4 CUT 5 REPEAT 6 LOSE 7 SWAP 8 REPLAY 9 REFLECT 10 INSERT 11 SEAL 12 RENEW 13 AGE 14 PIECES
# 15 NEW_KEY 16 HANG_UP, of the responder + 128
TALK = [1, 0, 9, 128, 9, 1]
SEEDS['noise'] = {name: bytes(steps) for name, steps in {
    'talk': [0] + TALK + [0, 255, 1, 2, 4, 2, 4],
    'psk': [32] + TALK, 'wrong-psk': [33] + TALK, 'wrong-role': [2] + TALK, 'wrong-name': [4] + TALK, 'wrong-key': [8] + TALK,
    'wrong-router': [16] + TALK, 'peer': [64] + TALK,
    'flip': [0, 1, 3, 0, 9, 0, 9] + TALK, 'flip-handshake': [0, 3, 0, 30] + TALK, 'cut': [0, 1, 4, 0, 9, 0, 9] + TALK,
    'repeat': [0, 1, 5, 0, 0, 0, 9] + TALK, 'lose': [0, 1, 6, 0, 0, 0, 9] + TALK, 'swap': [0, 1, 7, 0, 0, 0, 9, 0, 9] + TALK,
    'replay': [0, 1, 8, 0, 0, 0, 9] + TALK, 'reflect': [0, 1, 9, 0, 0, 0, 9] + TALK, 'insert': [0, 1, 10, 0, 4, 0, 0, 0, 0, 0, 9] + TALK,
    'renew': [0, 1, 12] + TALK * 2 + [2, 2, 12] + TALK, 'old': [0, 1, 13, 20] + TALK * 3, 'overdue': [0, 1, 13, 21] + TALK * 3,
    'nonces': [0, 1, 13, 131] + TALK * 6,
    'nonces-replay': [0, 1, 13, 135] + [0, 5, 1] * 4 + [13, 135, 8, 0, 1, 0, 5, 1], 'renew-flip': [0, 1, 3, 0, 9, 12] + TALK, 'renew-lose': [0, 1, 6 + 128, 0, 0, 12] + TALK,
    'pieces': [0, 14, 1] + TALK, 'new-key': [0, 1, 15, 7, 12] + TALK, 'unknown-key': [0, 1, 15, 1, 12] + TALK,
    'gone-key': [0, 1, 15, 6, 12] + TALK, 'hang-up': [0, 1, 16, 16 + 128, 1],
    'seal-message': [0, 1, 11, 10, 0] + list(b'{"n":0}  ') + [1], 'seal-parts': [0, 1, 11, 3, 1] + list(b'{"') + [11, 5, 0] + list(b'n":0') + [1],
    'seal-hello': [0, 11, 40, 0] + list(b'{"name":"clc","role":"peer","version":1}') + [1],
}.items()}
# which file (bit 0: the log) and edit (0 XOR 2 cut 4 move 6 remove), where (3), how many, bytes
SEEDS['database'] = {name: bytes(steps) for name, steps in {
    'whole': [], 'header': [0, 0, 0, 18, 2, 3, 3], 'version': [0, 0, 0, 60, 4, 0, 0, 0, 3], 'page': [0, 0, 16, 3, 2, 255, 1],
    'cut': [2, 0, 32, 0, 0], 'log-cut': [3, 0, 20, 0, 0], 'moved': [4, 0, 16, 0, 255], 'no-log': [7, 0, 0, 0, 0], 'no-database': [6, 0, 0, 0, 0],
    'log-frame': [1, 0, 0, 40, 3, 1, 2, 3],
}.items()}
CONF = os.path.join(HERE, '..', '..', 'conf')
SEEDS['yaml'] = {}
for name in os.listdir(CONF):
    if name.endswith('.yaml'):
        with open(os.path.join(CONF, name)) as f:
            SEEDS['yaml'][name] = ''.join(x for x in f if x.strip() and not x.strip().startswith('#')).encode()


def words(pattern, *files):
    """What stands in the tables that everything else is made of."""
    found = {w for name in files for w in re.findall(pattern, open(os.path.join(HERE, '..', '..', name)).read())}
    return sorted(found)


SYNC = ('src/control/sync.c', 'src/control/answers.c', 'src/control/news.c')


def dictionary(name, entries):
    with open(os.path.join(HERE, name), 'w') as f:
        f.write('# Made by seeds.py.\n')
        for e in entries:
            f.write('"%s"\n' % e.replace('\\', '\\\\').replace('"', '\\"'))


def main():
    fields = words(r'\{"([a-z-]+)", F_', 'src/api/kinds.c')
    methods = words(r'METHOD\("([a-z.]+)"', 'src/api/methods.def') + words(r'"(sync\.[a-z]{2,})"', *SYNC)
    dictionary('control.dict', ['"%s"' % w for w in fields + methods + words(r'(?:json_object_get|has_list)\(\w+, "([a-z-]+)"', *SYNC)])
    dictionary('yaml.dict', [w + ': ' for w in sorted({*fields, *words(r'\{"([a-z-]+)", F_', 'src/clc/inventory.c')})])
    for target, seeds in SEEDS.items():
        folder = os.path.join(HERE, 'seeds', target)
        os.makedirs(folder, exist_ok=True)
        for name, data in seeds.items():
            with open(os.path.join(folder, name), 'wb') as f:
                f.write(data)


main()
