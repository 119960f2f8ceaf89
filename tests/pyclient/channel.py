# SPDX-License-Identifier: BSD-3-Clause
"""The encrypted channel to a router: handshake, frames, parts, hello, heartbeats, renewal of the keys.

docs/controller-protocol.md, sections 1 to 4. A channel carries JSON texts both ways; what they say is client.py's.
Two threads of its own: one writes, so that nonces and frames have one order; one reads, always, so that neither side
waits for the other.
"""
import base64
import json
import queue
import random
import select
import socket
import struct
import threading
import time

from noise import MESSAGE_2, NO_PSK, Handshake, NoiseError

VERSION = 1
LAST, MORE, RENEWAL = b'\0', b'\1', b'\2'
FRAME_MIN, FRAME_MAX, TAG = 16, 65535, 16
PART_MAX = FRAME_MAX - TAG - 1
TEXT_MAX = 1 << 20
HEARTBEAT_S, DEAD_S, FRAME_S, HANDSHAKE_S = 5, 15, 10, 5
RENEW_S, RENEW_BYTES, RENEW_PAUSE_S = 3600, 1 << 30, 2


class ChannelError(ConnectionError):
    """The channel could not be made or has ended; the text says why."""


class Identity:
    """Who dials: name, role ('controller' or 'observer'), private key (32 bytes), and of a controller its term."""

    def __init__(self, name, private, role='controller', term=None):
        self.name, self.private, self.role, self.term = name, private, role, term

    def hello(self):
        own = {'name': self.name, 'role': self.role, 'version': VERSION}
        return own if self.term is None else {**own, 'term': self.term}


class Target:
    """Whom one dials: a router's name, 'ADDRESS:PORT', public key, the key before that, the psk of the pair (32 bytes each)."""

    def __init__(self, name, address, key, old_key=None, psk=NO_PSK):
        self.name, self.psk = name, psk
        host, _, port = address.rpartition(':')
        self.address = (host, int(port))
        self.keys = [k for k in (key, old_key) if k]

    def worked(self, key):
        """Remembers the key that the router had: it is tried first from now on."""
        self.keys.sort(key=lambda k: k != key)


def key_from_file(path):
    """The private key of a file that keygen made. ValueError when it holds none."""
    with open(path, encoding='ascii') as f:
        return decode_key(f.read().strip())


def decode_key(text):
    """32 bytes of 44 characters of base64."""
    key = base64.b64decode(text, validate=True)
    if len(key) != 32:
        raise ValueError(f'a key has 32 bytes, not {len(key)}')
    return key


def prologue(name):
    return b'nearway/1 ' + name.encode('ascii')


def pauses():
    """How long to wait before each further dial: a random time up to 1 s, then 2, 4, ... up to 60 s."""
    most = 1
    while True:
        yield random.uniform(0, most)
        most = min(2 * most, 60)


class Channel:
    """A channel that is up. `texts` is called, in the reading thread, with each JSON text that comes (bytes); `ended`
    with a ChannelError, once, when the channel is over."""

    def __init__(self, identity, target, texts, ended):
        self.identity, self.target = identity, target
        self._texts, self._ended = texts, ended
        self._out = queue.SimpleQueue()
        self._buffer, self._parts = bytearray(), bytearray()
        self._sock = self._handshake = None
        self._renewed = threading.Event()
        self._over = threading.Lock()
        self.error = None
        self.renewals = 0
        self._dial()

    # ---- setting up ----

    def _dial(self):
        """Tries the router's keys, the one that worked first. ChannelError when none does."""
        for key in list(self.target.keys):
            try:
                self._connect(key)
            except (NoiseError, OSError) as e:
                error = e
                if self._sock:
                    self._sock.close()
            else:
                self.target.worked(key)
                return self._start()
        raise ChannelError(f'{self.target.name} at {self.target.address[0]}:{self.target.address[1]}: {error}') from error

    def _connect(self, key):
        self._key = key
        self._sock = socket.create_connection(self.target.address, timeout=HANDSHAKE_S)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer.clear()
        deadline = time.monotonic() + HANDSHAKE_S
        h = Handshake(prologue(self.target.name), self.identity.private, key, self.target.psk)
        message = h.message_1()
        self._sock.sendall(struct.pack('!H', len(message)) + message)
        h.read_message_2(self._frame(deadline, lengths=(MESSAGE_2, MESSAGE_2)))
        self._take_keys(h)
        self._check_hello(self._open(self._frame(deadline)))
        self._write(LAST + json.dumps(self.identity.hello()).encode())

    def _take_keys(self, handshake):
        """First keys: both directions at once."""
        self.hash = handshake.hash
        self._send, self._receive = handshake.split()
        self._began, self._sent, self._received = time.monotonic(), 0, 0

    def _check_hello(self, plaintext):
        try:
            hello = json.loads(plaintext[1:]) if plaintext[:1] == LAST else None
        except ValueError:
            hello = None
        if not isinstance(hello, dict):
            raise NoiseError('its first message is no hello')
        told = {m: hello.get(m) for m in ('name', 'role', 'version')}
        wanted = {'name': self.target.name, 'role': 'peer', 'version': VERSION}
        if told != wanted:
            raise NoiseError(f'its hello says {told}, not {wanted}')
        self.hello = hello

    def _start(self):
        self._sock.settimeout(DEAD_S)
        for run in (self._read_all, self._write_all):
            threading.Thread(target=run, name=f'{run.__name__} {self.target.name}', daemon=True).start()

    # ---- ending ----

    def close(self, why='closed by this side'):
        """Ends it; what waits for replies gets a ChannelError."""
        with self._over:
            first, self.error = self.error is None, self.error or ChannelError(f'{self.target.name}: {why}')
        if first:
            try:
                self._sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the router was faster
            self._out.put(None)
            self._renewed.set()
            self._ended(self.error)

    # ---- writing ----

    def send(self, text):
        """Queues one JSON text (bytes). ValueError when it is too long, ChannelError when the channel has ended."""
        if len(text) > TEXT_MAX:
            raise ValueError(f'a text of {len(text)} bytes; a message holds {TEXT_MAX}')
        if self.error:
            raise self.error
        self._out.put(text)

    def renew(self, seconds=20):
        """New keys, now; waits until both directions have them. ChannelError when the router refuses."""
        self._renewed.clear()
        self._out.put(self._begin_renewal)
        if not self._renewed.wait(seconds):
            raise ChannelError(f'{self.target.name}: no renewal within {seconds} s')
        if self.error:
            raise self.error

    def _write_all(self):
        try:
            while not self.error:
                self._write_next()
        except (OSError, NoiseError) as e:
            self.close(str(e))
        finally:
            self._sock.close()

    def _write_next(self):
        """A text, a step of a renewal, or after 5 s without either a heartbeat."""
        try:
            item = self._out.get(timeout=HEARTBEAT_S)
        except queue.Empty:
            item = b''
        if callable(item):
            item()
        elif item is not None:
            self._write_text(item)
        if self._due():
            self._begin_renewal()

    def _write_text(self, text):
        """All parts of a text; an empty one is a heartbeat."""
        if not text:
            self._write(b'')
        for at in range(0, len(text), PART_MAX):
            more = at + PART_MAX < len(text)
            self._write((MORE if more else LAST) + text[at:at + PART_MAX])

    def _write(self, plaintext):
        sealed = self._send.seal(plaintext)
        self._sock.sendall(struct.pack('!H', len(sealed)) + sealed)
        self._sent += 2 + len(sealed)

    # ---- renewal: the writer begins and ends it, the reader takes message 2 between ----

    def _due(self):
        old = time.monotonic() - self._began
        return not self._handshake and (old >= RENEW_S or max(self._sent, self._received) >= RENEW_BYTES)

    def _begin_renewal(self):
        if self._handshake:
            return
        time.sleep(max(0, self._began + RENEW_PAUSE_S - time.monotonic()))
        self._handshake = Handshake(prologue(self.target.name) + self.hash, self.identity.private, self._key, self.target.psk)
        self._write(RENEWAL + self._handshake.message_1())

    def _take_message_2(self, message):
        """The router's last frame by its old key: what follows opens by the new one."""
        if not self._handshake:
            raise NoiseError('a renewal that nobody asked for')
        self._handshake.read_message_2(message)
        send, self._receive = self._handshake.split()
        self._out.put(lambda: self._end_renewal(send))

    def _end_renewal(self, send):
        """The last frame by the old key; then the new one."""
        self._write(RENEWAL)
        self._send, self.hash = send, self._handshake.hash
        self._began, self._sent, self._received = time.monotonic(), 0, 0
        self._handshake = None
        self.renewals += 1
        self._renewed.set()

    # ---- reading ----

    def _read_all(self):
        try:
            while not self.error:
                self._take(self._open(self._frame()))
        except (OSError, NoiseError) as e:
            self.close(str(e))

    def _take(self, plaintext):
        """One frame's plaintext."""
        if not plaintext:
            return
        kind, rest = plaintext[:1], plaintext[1:]
        if kind == RENEWAL:
            self._take_message_2(rest)
        elif kind in (LAST, MORE) and rest:
            self._take_part(rest, kind == LAST)
        else:
            raise NoiseError(f'a frame that begins with {kind.hex()} and {len(rest)} bytes')

    def _take_part(self, part, last):
        self._parts += part
        if len(self._parts) > TEXT_MAX:
            raise NoiseError('a text above 1 MiB')
        if last:
            text, self._parts = bytes(self._parts), bytearray()
            self._texts(text)

    def _open(self, frame):
        self._received += 2 + len(frame)
        return self._receive.open(frame)

    def _frame(self, deadline=None, lengths=(FRAME_MIN, FRAME_MAX)):
        """One Noise message. Without a deadline of its own: 15 s for the first byte, 10 s for the rest."""
        self._fill(1, deadline or time.monotonic() + DEAD_S)
        deadline = deadline or time.monotonic() + FRAME_S
        self._fill(2, deadline)
        n = struct.unpack_from('!H', self._buffer)[0]
        if not lengths[0] <= n <= lengths[1]:
            raise NoiseError(f'a frame of {n} bytes')
        self._fill(2 + n, deadline)
        frame = bytes(self._buffer[2:2 + n])
        del self._buffer[:2 + n]
        return frame

    def _fill(self, n, deadline):
        """Waits until n bytes stand in the buffer."""
        while len(self._buffer) < n:
            if not select.select([self._sock], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError('nothing came in time')
            more = self._sock.recv(1 << 16)
            if not more:
                raise ConnectionResetError('the router closed the channel')
            self._buffer += more
