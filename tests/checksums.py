#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Recomputes with scapy the checksums of all frames in pcap files: IPv4, ICMP, TCP and UDP, in the frame, in a VXLAN packet,
and as far as it is whole in the packet that an ICMP error quotes. Usage: checksums.py FILE.pcap..."""
import struct
import sys

from scapy.layers.inet import IP, in4_chksum
from scapy.utils import RawPcapReader, checksum

IPV4, VXLAN_PORT = 0x0800, 4789
ICMP_ERRORS = (3, 4, 5, 11, 12)


class Frame:
    """One frame; `sums` counts what was recomputed, `wrong` says where it did not fit."""

    def __init__(self, data):
        self.sums, self.wrong = 0, []
        self.ether(data, '')

    def expect(self, what, value):
        self.sums += 1
        if value != 0:  # the sum over data and its checksum
            self.wrong.append(what)

    def ether(self, b, where):
        if len(b) >= 14 and struct.unpack_from('!H', b, 12)[0] == IPV4:
            self.ip(b[14:], where)

    def ip(self, b, where):
        if len(b) < 20 or b[0] >> 4 != 4 or (b[0] & 15) < 5 or len(b) < (b[0] & 15) * 4:
            return
        ihl, total = (b[0] & 15) * 4, struct.unpack_from('!H', b, 2)[0]
        self.expect(where + 'IPv4', checksum(b[:ihl]))
        if struct.unpack_from('!H', b, 6)[0] & 0x3fff or total < ihl or total > len(b):
            return  # a fragment's sum is of the whole packet
        self.transport(b[9], IP(b[:20]), b[ihl:total], where)

    def transport(self, proto, header, p, where):
        if proto == 1 and len(p) >= 8:
            self.expect(where + 'ICMP', checksum(p))
            if p[0] in ICMP_ERRORS:
                self.ip(p[8:], where + 'quoted ')
        elif proto == 6 and len(p) >= 20:
            self.expect(where + 'TCP', in4_chksum(proto, header, p))
        elif proto == 17 and len(p) >= 8:
            if p[6:8] != b'\0\0':
                self.expect(where + 'UDP', in4_chksum(proto, header, p))
            if struct.unpack_from('!H', p, 2)[0] == VXLAN_PORT and len(p) >= 16:
                self.ether(p[16:], where + 'tunnelled ')


def check(path):
    """Number of checksums, and a list of (number of the frame, what is wrong in it)."""
    sums, wrong = 0, []
    for n, (data, _) in enumerate(RawPcapReader(path)):
        frame = Frame(data)
        sums += frame.sums
        wrong += [(n, what) for what in frame.wrong]
    return sums, wrong


def main():
    failed = False
    for path in sys.argv[1:]:
        sums, wrong = check(path)
        print('%s: %d checksums, %d wrong' % (path, sums, len(wrong)))
        for n, what in wrong[:10]:
            print('  frame %d: %s' % (n, what))
        failed |= bool(wrong)
    sys.exit(failed)


if __name__ == '__main__':
    main()
