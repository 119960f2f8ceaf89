# SPDX-License-Identifier: BSD-3-Clause
"""Changes of VMs in quick succession on one connection, and what a router must know after any of them.

The router makes the changes of a connection in their order. So after a kill its state is what the first k of those that were
sent make, with k at least the number of those acknowledged: all of that and nothing of the next, be it one of two VMs.
"""
import json
import random
import selectors
import socket
import struct
import time

from lab import LabError

VMS = 60


def mac(n):
    return f'52:54:00:02:00:{n:02x}'


def private(n):
    return f'10.1.0.{100 + n}'


class Model:
    """VMs by number: (epoch, global address or None), or an epoch alone when it is gone."""

    def __init__(self, globals_):
        self.vms, self.epochs, self.free = {}, {}, list(globals_)

    def copy(self):
        m = Model(())
        m.vms, m.epochs, m.free = dict(self.vms), dict(self.epochs), list(self.free)
        return m

    def apply(self, change):
        for n, value in change:
            self.epochs[n] = self.epochs.get(n, 0) + 1
            if self.vms.get(n):
                self.free.append(self.vms[n])
            if value is None:
                self.vms.pop(n, None)
            else:
                self.free.remove(value)
                self.vms[n] = value

    def random_change(self, rnd):
        """One VM registered, with another address, or gone; or two that exchange their addresses, at once."""
        n, m = rnd.sample(range(VMS), 2)
        if n in self.vms and m in self.vms and rnd.random() < 0.3:
            a, b = self.vms[n], self.vms[m]
            return [(n, None), (m, a), (n, b)]
        if n in self.vms and rnd.random() < 0.3:
            return [(n, None)]
        return [(n, rnd.choice(self.free))]


def call_of(model, change):
    """The request that makes a change, with the epochs that it will have."""
    calls, epochs = [], dict(model.epochs)
    for n, value in change:
        epochs[n] = epochs.get(n, 0) + 1
        params = {'segment': 'blue', 'mac': mac(n), 'epoch': epochs[n]}
        if value is not None:
            params['addresses'] = [{'private': private(n), 'global': value}]
        calls.append({'method': 'vm.unregister' if value is None else 'vm.register', 'params': params})
    return calls[0] if len(calls) == 1 else {'method': 'txn.apply', 'params': {'changes': calls}}


class Pipeline:
    """Sends changes at `rate` a second until the socket dies, without waiting for their acknowledgements."""

    def __init__(self, path, model, rate, seed):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(path)
        self.sock.setblocking(False)
        self.model, self.rate, self.rnd = model, rate, random.Random(seed)
        self.first, self.changes, self.acked, self.refused = model.copy(), [], 0, []
        self.out, self.inp = b'', b''

    def add(self):
        change = self.model.random_change(self.rnd)
        text = json.dumps({'jsonrpc': '2.0', 'id': len(self.changes), **call_of(self.model, change)}).encode()
        self.model.apply(change)
        self.changes.append(change)
        self.out += struct.pack('!I', len(text)) + text

    def take(self):
        data = self.sock.recv(1 << 16)
        if not data:
            raise ConnectionError('the router is gone')
        self.inp += data
        while len(self.inp) >= 4 and len(self.inp) >= 4 + struct.unpack('!I', self.inp[:4])[0]:
            n = struct.unpack('!I', self.inp[:4])[0]
            reply = json.loads(self.inp[4:4 + n])
            self.inp = self.inp[4 + n:]
            if 'error' in reply:
                self.refused.append(reply['error'])
            elif reply['id'] != self.acked:
                raise LabError(f"change {reply['id']} is acknowledged, {self.acked} was next")
            self.acked += 1

    def turn(self, start):
        for _ in range(int((time.monotonic() - start) * self.rate) - len(self.changes)):
            if len(self.changes) - self.acked < 512:
                self.add()
        if self.out:
            self.out = self.out[self.sock.send(self.out[:1 << 16]):]

    def run(self, seconds):
        """For so long; what came behind a kill is nothing."""
        start = time.monotonic()
        with selectors.DefaultSelector() as sel:
            sel.register(self.sock, selectors.EVENT_READ)
            while time.monotonic() < start + seconds:
                self.turn(start)
                if sel.select(0.002):
                    self.take()

    def drain(self):
        """What the dead router had still said."""
        try:
            while True:
                self.take()
        except OSError:
            pass
        self.sock.close()

    def states(self):
        """The model after the changes that were acknowledged, and after each of those behind them: (k, model)."""
        m = self.first
        for k, change in enumerate(self.changes):
            if k >= self.acked:
                yield k, m
            m.apply(change)
        yield len(self.changes), m
