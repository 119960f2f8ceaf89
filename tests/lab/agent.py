#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A host's traffic: TCP sessions checked byte by byte, numbered UDP and ping, ARP questions, a sniffer.

usage: agent.py SOCKET    one JSON command a line, one JSON reply a line; one event loop, one process a host

Sessions are `busy` (both ends send a pattern without pause), `idle` (silent; when woken, a checked exchange), `bulk` or
`bulk-back` (the opener or the acceptor sends the pattern as fast as it is taken). A flow's numbers start anew at `mark`,
so that each phase of a test is measured by itself. A numbered question is `lost` while it has no answer after a second; one
that comes still is `late`, not lost. So what is lost for ever is known when flows have paused.
"""
import errno
import itertools
import json
import os
import random
import selectors
import socket
import struct
import sys
import time

TCP_PORT, UDP_PORT = 7001, 7002
BUSY_PERIOD, BUSY_BYTES = 0.010, 1000
BULK_BYTES = 32000  # at most in a tick: 128 Mbit/s, so that sessions share the machine
IDLE_BYTES = 2048
UDP_MAGIC = b'NWUD'
WORD = (1 << 64) - 1
BLOCK = 65521  # prime: a pattern that lost, doubled or moved bytes does not fit any more
TICK = 0.002
LATE = 1.0
SO_RCVBUFFORCE = 33
ROOM = 16 << 20  # of a socket's receive buffer: this process may have to wait for its CPU


def pattern(seed, size=BLOCK):
    """Bytes that have no order and are made from a name alone, by guest.c as well: FNV-1a, then splitmix64."""
    state, words = 0xcbf29ce484222325, []
    for byte in str(seed).encode():
        state = (state ^ byte) * 0x100000001b3 & WORD
    for _ in range(0, size, 8):
        state = state + 0x9e3779b97f4a7c15 & WORD
        z = (state ^ state >> 30) * 0xbf58476d1ce4e5b9 & WORD
        z = (z ^ z >> 27) * 0x94d049bb133111eb & WORD
        words.append(z ^ z >> 31)
    return struct.pack(f'<{len(words)}Q', *words)[:size]


def slice_of(block, at, n):
    at %= BLOCK
    return block[at:at + n]


class Rtt:
    def __init__(self):
        self.values = []

    def add(self, s):
        self.values.append(s)

    def report(self):
        if not self.values:
            return None
        v = sorted(self.values)
        return {'n': len(v), 'min': round(v[0] * 1e3, 3), 'median': round(v[len(v) // 2] * 1e3, 3),
                'max': round(v[-1] * 1e3, 3)}


class Tcp:
    """One end of a session. Both ends check every byte; any difference or reset is kept as `error`."""

    def __init__(self, agent, sock, name, mode, opener):
        self.agent, self.sock, self.name, self.mode, self.opener = agent, sock, name, mode, opener
        self.bulk = mode == ('bulk' if opener else 'bulk-back')
        self.receives = mode == 'busy' or mode.startswith('bulk') and not self.bulk
        self.out = 2 * pattern(f'{name}/{"a" if opener else "b"}')
        self.expect = 2 * pattern(f'{name}/{"b" if opener else "a"}')
        self.sent = self.received = 0
        self.queue, self.partial = b'', b''
        self.error = None
        self.closed = False
        self.answers = 0
        self.pending = None
        self.rtt = Rtt()
        self.paused, self.next_send = False, time.monotonic()
        self.mark()

    def mark(self):
        self.since = self.last_rx = time.monotonic()
        self.gap = 0.0
        self.sent0, self.received0, self.answers0 = self.sent, self.received, self.answers
        self.rtt = Rtt()

    def fail(self, why):
        if self.error is None:
            self.error = why
        self.closed = True
        self.agent.forget(self.sock)

    def push(self, data=b''):
        self.queue += data
        try:
            while self.queue:
                n = self.sock.send(self.queue)
                self.queue = self.queue[n:]
        except BlockingIOError:
            pass
        except OSError as e:
            self.fail(f'send: {errno.errorcode.get(e.errno, e)}')

    def tick(self, now):
        if self.closed:
            return
        if self.queue:
            self.push()
        if self.mode == 'busy' and not self.paused and now >= self.next_send:
            self.next_send = max(self.next_send + BUSY_PERIOD, now - 10 * BUSY_PERIOD)
            if len(self.queue) < 1 << 20:
                self.push(slice_of(self.out, self.sent, BUSY_BYTES))
                self.sent += BUSY_BYTES
        if self.bulk and not self.queue:
            self.push(slice_of(self.out, self.sent, BULK_BYTES))
            self.sent += BULK_BYTES

    def wake(self):
        """idle: one exchange, asked for by this end."""
        self.pending = (self.answers, time.monotonic())
        self.say(b'Q')

    def say(self, kind):
        self.push(kind + slice_of(self.out, self.sent, IDLE_BYTES - 1))
        self.sent += IDLE_BYTES - 1

    def readable(self):
        try:
            data = self.sock.recv(1 << 17)
        except BlockingIOError:
            return
        except OSError as e:
            self.fail(f'receive: {errno.errorcode.get(e.errno, e)}')
            return
        if not data:
            self.fail('closed by the other end')
            return
        now = time.monotonic()
        self.gap = max(self.gap, now - self.last_rx)
        self.last_rx = now
        if self.mode == 'idle':
            self.exchange(data)
        else:
            self.check(data)

    def check(self, data):
        for at in range(0, len(data), BLOCK // 2):
            part = data[at:at + BLOCK // 2]
            if part != slice_of(self.expect, self.received, len(part)):
                self.fail(f'wrong bytes at or after {self.received}')
                return
            self.received += len(part)

    def exchange(self, data):
        self.partial += data
        while len(self.partial) >= IDLE_BYTES and not self.closed:
            message, self.partial = self.partial[:IDLE_BYTES], self.partial[IDLE_BYTES:]
            self.check(message[1:])
            if message[:1] == b'Q':
                self.say(b'A')
            else:
                self.answers += 1
                if self.pending:
                    self.rtt.add(time.monotonic() - self.pending[1])
                    self.pending = None

    def flows(self):
        return not self.closed and (self.mode == 'busy' or bool(self.queue))

    def report(self):
        r = {'kind': 'tcp', 'mode': self.mode, 'opener': self.opener, 'error': self.error, 'alive': not self.closed,
             'sent': self.sent - self.sent0, 'received': self.received - self.received0,
             'total_sent': self.sent, 'total_received': self.received, 'answers': self.answers - self.answers0,
             'gap_ms': round(max(self.gap, time.monotonic() - self.last_rx) * 1e3, 1) if self.receives else None,
             'answer_ms': self.rtt.report()}
        if not self.closed:
            info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
            r['rtt_ms'] = round(struct.unpack_from('=I', info, 68)[0] / 1e3, 2)
            r['mss'] = struct.unpack_from('=I', info, 16)[0]
            r['retransmits'] = struct.unpack_from('=I', info, 100)[0]
            r['local'] = '%s:%d' % self.sock.getsockname()[:2]
            r['remote'] = '%s:%d' % self.sock.getpeername()[:2]
        return r


class Numbered:
    """Numbered questions at a fixed rate, each answered by the other end: UDP echo or ping. At most `window` wait for
    their answers, when that is given: then no ring on the way can overflow while its reader waits for a CPU."""

    def __init__(self, agent, name, to, rate, window=None):
        self.agent, self.name, self.to, self.period, self.window = agent, name, to, 1.0 / rate, window
        self.seq = 0
        self.waiting = {}
        self.paused = False
        self.next_send = time.monotonic()
        self.mark()

    def mark(self):
        self.sent = self.answered = self.late = self.stray = 0
        self.first = self.seq
        self.rtt = Rtt()
        self.last_rx = time.monotonic()
        self.gap = 0.0
        self.senders = {}

    def tick(self, now):
        while self.flows() and now >= self.next_send:
            self.next_send = max(self.next_send + self.period, now - 10 * self.period)
            if self.window and len(self.waiting) >= self.window:
                continue
            self.waiting[self.seq] = time.monotonic()
            self.sent += 1
            try:
                self.transmit(self.seq)
            except OSError:
                pass  # no route, host unreachable: counted as lost, as it is
            self.seq += 1

    def flows(self):
        return not self.paused

    def unanswered(self, seconds):
        """Numbers since the mark that have waited so long."""
        now = time.monotonic()
        return [seq for seq, sent in self.waiting.items() if seq >= self.first and now - sent >= seconds]

    def answer(self, seq, sender):
        now = time.monotonic()
        sent = self.waiting.pop(seq, None)
        if sent is None:
            self.stray += 1
            return
        self.gap = max(self.gap, now - self.last_rx)
        self.last_rx = now
        if seq >= self.first:
            self.answered += 1
            self.late += now - sent >= LATE
            self.rtt.add(now - sent)
            self.senders[sender] = self.senders.get(sender, 0) + 1

    def wake(self):
        pass

    def report(self):
        lost = self.unanswered(LATE)
        return {'kind': self.kind, 'sent': self.sent, 'answered': self.answered, 'lost': len(lost), 'lost_seqs': lost[:50],
                'late': self.late, 'waiting': len(self.unanswered(0)), 'stray': self.stray, 'gap_ms': round(max(self.gap, time.monotonic() - self.last_rx) * 1e3, 1),
                'rtt_ms': self.rtt.report(), 'senders': self.senders, 'to': self.to, 'seq': self.seq}


class Udp(Numbered):
    kind = 'udp'

    def __init__(self, agent, name, to, rate, port, size=117, window=None):
        super().__init__(agent, name, to, rate, window)
        self.port = port
        self.filler = bytes(size - 17)
        self.flow = random.getrandbits(32)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
        self.sock.bind(('0.0.0.0', 0))
        agent.watch(self.sock, self.readable)

    def transmit(self, seq):
        self.sock.sendto(UDP_MAGIC + struct.pack('!cIQ', b'q', self.flow, seq) + self.filler, (self.to, self.port))

    def readable(self):
        while True:
            try:
                data, addr = self.sock.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError:
                continue
            if len(data) >= 17 and data[:5] == UDP_MAGIC + b'a':
                flow, seq = struct.unpack_from('!IQ', data, 5)
                if flow == self.flow:
                    self.answer(seq, addr[0])

    def report(self):
        return {**super().report(), 'flow': self.flow}


def checksum(data):
    if len(data) % 2:
        data += b'\0'
    s = sum(struct.unpack(f'!{len(data) // 2}H', data))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff


class Ping(Numbered):
    kind = 'ping'

    def __init__(self, agent, name, to, rate):
        super().__init__(agent, name, to, rate)
        self.id = random.randint(1, 65535)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
        self.sock.setblocking(False)
        agent.watch(self.sock, self.readable)

    def transmit(self, seq):
        body = struct.pack('!Q', seq) + bytes(range(48))
        head = struct.pack('!BBHHH', 8, 0, 0, self.id, seq & 0xffff)
        self.sock.sendto(struct.pack('!BBHHH', 8, 0, checksum(head + body), self.id, seq & 0xffff) + body, (self.to, 0))

    def readable(self):
        while True:
            try:
                data, addr = self.sock.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError:
                continue
            at = (data[0] & 15) * 4
            if len(data) < at + 16 or data[at] != 0 or struct.unpack_from('!H', data, at + 4)[0] != self.id:
                continue
            self.answer(struct.unpack_from('!Q', data, at + 8)[0], addr[0])


class Echo:
    """The other end of Udp: answers, and remembers from which addresses each flow's questions came."""

    def __init__(self, agent, port):
        self.flows = {}
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER: answers never have DF
        self.sock.bind(('0.0.0.0', port))
        agent.watch(self.sock, self.readable)

    def readable(self):
        while True:
            try:
                data, addr = self.sock.recvfrom(65535)
            except BlockingIOError:
                return
            except OSError:
                continue
            if len(data) < 17 or data[:5] != UDP_MAGIC + b'q':
                continue
            flow, seq = struct.unpack_from('!IQ', data, 5)
            senders = self.flows.setdefault(flow, {})
            s = senders.setdefault(f'{addr[0]}:{addr[1]}', {'n': 0, 'first': seq, 'last': seq})
            s['n'] += 1
            s['last'] = seq
            try:
                self.sock.sendto(UDP_MAGIC + b'a' + data[5:], addr)
            except OSError:
                pass


class Sniffer:
    """What passes an interface: ARP replies about one address, ARP questions, and the numbered UDP packets, plain or in VXLAN."""

    def __init__(self, agent, dev, arp_ip):
        self.dev, self.arp_ip = dev, socket.inet_aton(arp_ip)
        self.arps, self.questions, self.packets = [], [], []
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
        self.sock.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS: several interfaces are read one after another
        self.sock.bind((dev, 0))
        self.sock.setblocking(False)
        agent.watch(self.sock, self.readable)

    def readable(self):
        for _ in range(256):
            try:
                data, extra, _, addr = self.sock.recvmsg(2048, 64)
            except OSError:
                return
            self.at = next((s + ns / 1e9 for _, _, d in extra for s, ns in [struct.unpack('=qq', d)]), 0.0)
            self.frame(data, 'out' if addr[2] == socket.PACKET_OUTGOING else 'in', None)

    def frame(self, f, way, tunnel):
        kind = f[12:14]
        if kind == b'\x08\x06' and len(f) >= 42 and f[20:22] == b'\0\2' and f[28:32] == self.arp_ip:
            self.arps.append({'at': self.at, 'way': way, 'src': f[6:12].hex(':'), 'dst': f[0:6].hex(':'),
                              'sha': f[22:28].hex(':'), 'tpa': socket.inet_ntoa(f[38:42]), 'tunnel': tunnel})
        if kind == b'\x08\x06' and len(f) >= 42 and f[20:22] == b'\0\1':
            self.questions.append({'way': way, 'spa': socket.inet_ntoa(f[28:32]), 'tpa': socket.inet_ntoa(f[38:42])})
        if kind != b'\x08\0' or len(f) < 42 or f[23] != 17:
            return
        at = 14 + (f[14] & 15) * 4
        src, dst = socket.inet_ntoa(f[26:30]), socket.inet_ntoa(f[30:34])
        if f[at + 2:at + 4] == b'\x12\xb5' and tunnel is None and len(f) > at + 16:
            self.frame(f[at + 16:], way, f'{src}>{dst}')
        elif f[at + 8:at + 12] == UDP_MAGIC and len(self.packets) < 20000:
            flow, seq = struct.unpack_from('!IQ', f, at + 13)
            self.packets.append({'at': self.at, 'dev': self.dev, 'way': way, 'kind': chr(f[at + 12]),
                                 'flow': flow, 'seq': seq, 'src': src, 'dst': dst, 'tunnel': tunnel})


def udp_fragments(src, dst, sport, dport, data, unit):
    """The IPv4 packets of one datagram, each with `unit` bytes of it at most, in order."""
    length = 8 + len(data)
    pseudo = socket.inet_aton(src) + socket.inet_aton(dst) + struct.pack('!HH', 17, length)
    head = struct.pack('!HHH', sport, dport, length)
    whole = head + struct.pack('!H', checksum(pseudo + head + b'\0\0' + data) or 0xffff) + data
    ident, out = random.randint(1, 65535), []
    for at in range(0, len(whole), unit):
        part = whole[at:at + unit]
        more = 0x2000 if at + unit < len(whole) else 0
        out.append(struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(part), ident, more | at // 8, 64, 17, 0,
                               socket.inet_aton(src), socket.inet_aton(dst)) + part)
    return out


def arp_frame(op, src, dst, sha, spa, tha, tpa):
    return dst + src + b'\x08\x06' + struct.pack('!HHBBH', 1, 0x0800, 6, 4, op) + sha + spa + tha + tpa


class Agent:
    def __init__(self, path):
        self.sel = selectors.DefaultSelector()
        self.flows, self.accepted, self.sniffers = {}, {}, {}
        self.echo, self.ports = None, itertools.count(20000)  # below those that the kernel chooses
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(4)
        self.watch(self.listener, self.command_client)

    def watch(self, sock, cb):
        self.sel.register(sock, selectors.EVENT_READ, cb)

    def forget(self, sock):
        try:
            self.sel.unregister(sock)
        except (KeyError, ValueError):
            pass
        sock.close()

    # ---- commands ----

    def command_client(self):
        c, _ = self.listener.accept()
        buf = bytearray()
        self.watch(c, lambda: self.command_readable(c, buf))

    def command_readable(self, c, buf):
        data = c.recv(65536)
        if not data:
            self.forget(c)
            return
        buf += data
        while b'\n' in buf:
            line, _, rest = bytes(buf).partition(b'\n')
            buf[:] = rest
            try:
                msg = json.loads(line)
                result = getattr(self, 'do_' + msg.pop('cmd'))(**msg)
                reply = {'result': result}
            except Exception as e:  # told to the caller, who decides
                reply = {'error': f'{type(e).__name__}: {e}'}
            c.setblocking(True)
            c.sendall((json.dumps(reply) + '\n').encode())

    def do_listen(self):
        """Accepts TCP sessions and answers numbered UDP."""
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(('0.0.0.0', TCP_PORT))
        s.listen(64)
        s.setblocking(False)
        self.watch(s, lambda: self.accept(s))
        self.echo = Echo(self, UDP_PORT)

    def accept(self, listener):
        try:
            c, _ = listener.accept()
        except OSError:
            return
        c.setblocking(False)
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = bytearray()
        self.watch(c, lambda: self.greeting(c, head))

    def greeting(self, c, head):
        """The opener says `NW mode name\\n`; what follows is the session."""
        try:
            data = c.recv(1)
        except BlockingIOError:
            return
        except OSError:
            data = b''
        if not data:
            self.forget(c)
            return
        head += data
        if data != b'\n':
            return
        _, mode, name = bytes(head).decode().split()
        self.sel.unregister(c)
        self.add_session(self.accepted, Tcp(self, c, name, mode, False))

    def add_session(self, table, flow):
        table[flow.name] = flow
        self.watch(flow.sock, flow.readable)

    def from_new_port(self):
        """A TCP socket with a port that no session of this host had before: by another address of the same VM, the VM could not
        tell it from one that is alive."""
        while True:
            s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                s.bind(('0.0.0.0', next(self.ports)))
                return s
            except OSError as e:
                s.close()
                if e.errno != errno.EADDRINUSE:
                    raise

    def do_open(self, name, kind, to, mode='busy', rate=200, port=None, size=117, window=None):
        """Starts a flow; for TCP, the time the handshake took. `size`: bytes of a UDP datagram."""
        if kind == 'udp':
            self.flows[name] = Udp(self, name, to, rate, port or UDP_PORT, size, window)
            return {'flow': self.flows[name].flow, 'port': self.flows[name].sock.getsockname()[1]}
        if kind == 'ping':
            self.flows[name] = Ping(self, name, to, rate)
            return {}
        s = self.from_new_port()
        s.settimeout(5)
        t = time.monotonic()
        s.connect((to, port or TCP_PORT))
        t = time.monotonic() - t
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.sendall(f'NW {mode} {name}\n'.encode())
        s.setblocking(False)
        self.add_session(self.flows, Tcp(self, s, name, mode, True))
        return {'connect_ms': round(t * 1e3, 3)}

    def do_connect(self, to, n=5, port=None, wait=3.0, control=None):
        """Handshake times of new sessions, which are closed again. Retransmitted SYNs would show as whole seconds.
        `control`: an address that is asked in turn with the other, to know what the machine makes of a way that is known."""
        times, errors = {to: [], control: []}, []
        for _ in range(n):
            for address in filter(None, (to, control)):
                s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                s.settimeout(wait)
                t = time.monotonic()
                try:
                    s.connect((address, port or TCP_PORT))
                    times[address].append((time.monotonic() - t) * 1e3)
                except OSError as e:
                    errors.append(f'{address}: {e}')
                s.close()
        least = {a: round(min(v), 3) if v else None for a, v in times.items()}
        return {'min_ms': least[to], 'control_ms': least[control], 'errors': errors,
                'median_ms': round(sorted(times[to])[len(times[to]) // 2], 3) if times[to] else None,
                'max_ms': round(max(times[to]), 3) if times[to] else None}

    def do_pause(self, name=None, paused=True, tcp=False):
        """One flow of numbered questions, or all; `tcp`: and what busy sessions send, whoever opened them."""
        flows = [self.flows[name]] if name else [f for f in self.flows.values() if isinstance(f, Numbered)]
        if tcp:
            flows += [f for f in (*self.flows.values(), *self.accepted.values()) if isinstance(f, Tcp)]
        for f in flows:
            f.paused = paused
            f.next_send = time.monotonic()

    def do_wake(self, name):
        (self.flows.get(name) or self.accepted[name]).wake()

    def do_mark(self):
        for f in [*self.flows.values(), *self.accepted.values()]:
            f.mark()
        return time.monotonic()

    def do_stats(self):
        return {'flows': {n: f.report() for n, f in self.flows.items()},
                'accepted': {n: f.report() for n, f in self.accepted.items()},
                'echo': self.echo.flows if self.echo else {}}

    def do_close(self, name):
        f = self.flows.pop(name, None) or self.accepted.pop(name)
        f.closed = True
        self.forget(f.sock)

    def do_sniff(self, dev, arp_ip='0.0.0.0'):
        """Starts to look at an interface; a second call empties what was seen."""
        if dev in self.sniffers:
            s = self.sniffers[dev]
            s.readable()
            s.arps, s.questions, s.packets = [], [], []
            return
        self.sniffers[dev] = Sniffer(self, dev, arp_ip)

    def do_sniffed(self, dev):
        s = self.sniffers[dev]
        s.readable()
        return {'arps': s.arps, 'questions': s.questions, 'packets': s.packets}

    def do_unsniff(self, dev):
        self.forget(self.sniffers.pop(dev).sock)

    # ---- single datagrams ----

    def do_ask(self, to, size=100, sport=0, dport=UDP_PORT, df=False, order=None, n=1, wait=1.0):
        """Questions of `size` bytes of UDP, one after another, each answered with the same bytes. `order` sends them as
        fragments made by hand, in this order of theirs: 'forward', 'reverse', 'odd' (1, 0, 3, 2, ...)."""
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.IPPROTO_IP, 10, 2 if df else 0)  # IP_MTU_DISCOVER: DO or DONT
        s.bind(('0.0.0.0', sport))
        s.connect((to, dport))
        s.settimeout(wait)
        flow, answers, errors = random.getrandbits(32), 0, []
        for seq in range(n):
            data = UDP_MAGIC + struct.pack('!cIQ', b'q', flow, seq) + pattern(seq, size - 17)
            try:
                self.send_datagram(s, data, order)
                answers += s.recv(65535) == UDP_MAGIC + b'a' + data[5:]
            except OSError as e:
                errors.append(errno.errorcode.get(e.errno, str(e)))
                if len(errors) > 2:
                    break
        mtu = s.getsockopt(socket.IPPROTO_IP, 14)  # IP_MTU: what the kernel knows of this path
        s.close()
        return {'answers': answers, 'errors': errors, 'mtu': mtu, 'flow': flow}

    def do_tell(self, to, sport, dport):
        """One datagram that nobody answers, from a port that another socket may have: routers note its session."""
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.connect((to, dport))
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        raw.sendto(udp_fragments(s.getsockname()[0], to, sport, dport, b'hello', 1480)[0], (to, 0))
        raw.close()
        s.close()

    @staticmethod
    def send_datagram(s, data, order):
        if order is None:
            s.send(data)
            return
        (src, sport), (dst, dport) = s.getsockname(), s.getpeername()
        parts = udp_fragments(src, dst, sport, dport, data, 1480)
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        turn = {'forward': lambda i: i, 'reverse': lambda i: -i, 'odd': lambda i: i ^ 1}[order]
        for i in sorted(range(len(parts)), key=turn):
            raw.sendto(parts[i], (dst, 0))
        raw.close()

    # ---- frames by hand ----

    def mac_of(self, dev):
        with open(f'/sys/class/net/{dev}/address', encoding='ascii') as f:
            return bytes.fromhex(f.read().strip().replace(':', ''))

    def do_arp(self, ip, own, dev='eth0', mac=None, wait=0.5, first=0.0):
        """Asks who has `ip`, as `own`. Waits for the first reply, up to `first` seconds, and from then on (or from the
        question on) for `wait` more: every reply that came."""
        me = bytes.fromhex(mac.replace(':', '')) if mac else self.mac_of(dev)
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
        s.bind((dev, 0x0806))
        t = time.monotonic()
        end = t + max(first, wait)
        s.send(arp_frame(1, me, b'\xff' * 6, me, socket.inet_aton(own), bytes(6), socket.inet_aton(ip)))
        replies = []
        while time.monotonic() < end:
            s.settimeout(max(0.001, end - time.monotonic()))
            try:
                f, addr = s.recvfrom(2048)
            except (TimeoutError, BlockingIOError):
                break
            if addr[2] != socket.PACKET_OUTGOING and f[20:22] == b'\0\2' and f[28:32] == socket.inet_aton(ip):
                replies.append({'src': f[6:12].hex(':'), 'sha': f[22:28].hex(':'),
                                'ms': round((time.monotonic() - t) * 1e3, 2)})
                if first and len(replies) == 1:
                    end = time.monotonic() + wait
        s.close()
        return replies

    def do_rarp(self, dev, mac, n=5):
        """What a hypervisor sends when a VM has arrived: RARP with the VM's MAC, so that switches learn it."""
        me = bytes.fromhex(mac.replace(':', ''))
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        s.bind((dev, 0))
        for _ in range(n):
            s.send(b'\xff' * 6 + me + b'\x80\x35' + struct.pack('!HHBBH', 1, 0x0800, 6, 4, 3) + me + bytes(4) + me +
                   bytes(4) + bytes(18))
        s.close()

    def do_send(self, dev, frame, n=1):
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        s.bind((dev, 0))
        for _ in range(n):
            s.send(bytes.fromhex(frame))
        s.close()

    # ---- loop ----

    def run(self):
        last = 0.0
        while True:
            busy = any(f.flows() for f in [*self.flows.values(), *self.accepted.values()])
            for key, _ in self.sel.select(TICK if busy else None):
                if key.fileobj.fileno() < 0:  # a command closed it just now
                    continue
                try:
                    key.data()
                except (ConnectionError, BrokenPipeError):
                    self.forget(key.fileobj)
            now = time.monotonic()
            if now - last >= TICK / 2:
                last = now
                for f in [*self.flows.values(), *self.accepted.values()]:
                    f.tick(now)


if __name__ == '__main__':
    if os.path.exists(sys.argv[1]):
        os.unlink(sys.argv[1])
    Agent(sys.argv[1]).run()
