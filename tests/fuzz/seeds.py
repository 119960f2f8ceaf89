#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the seeds of the fuzz targets, tests/fuzz/seeds/TARGET/NAME, and the dictionary. The addresses are those of
tests/packet/harness.h, what the bytes in front of a frame mean stands in fuzz.h."""
import os

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
    # how, way (2), kind, ports, TCP flags
    'homes': {
        'opens-here': bytes([0, 1, 1, 0, 0, 2]) + bytes([0, 0, 1, 0, 0, 18]),
        'opened-there': bytes([0, 6, 1, 0, 0, 2]) + bytes([0, 1, 1, 0, 0, 16]) + bytes([0, 1, 1, 0, 0, 17]),
        'away': bytes([0, 0, 2, 0, 0, 2]) + bytes([0, 7, 2, 0, 0, 18]) + bytes([128, 14, 0, 2, 0, 0, 4]),
        'fragments': bytes([0, 1, 1, 10, 16, 0]) + bytes([0, 1, 1, 18, 16, 0]),
        'errors': bytes([0, 6, 1, 2, 0, 0]) + bytes([0, 1, 1, 7, 0, 0]),
        'cut': bytes([16, 1, 1, 66, 0, 0]),
        'clash': bytes([0, 0, 2, 0, 0, 2]) + bytes([0, 0, 1, 0, 0, 2]) + bytes([0, 6, 1, 0, 0, 2]),
    },
}


def main():
    for target, seeds in SEEDS.items():
        folder = os.path.join(HERE, 'seeds', target)
        os.makedirs(folder, exist_ok=True)
        for name, data in seeds.items():
            with open(os.path.join(folder, name), 'wb') as f:
                f.write(data)


main()
