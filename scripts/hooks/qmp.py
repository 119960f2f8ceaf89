# SPDX-License-Identifier: BSD-3-Clause
"""QEMU's machine protocol (QMP) on a unix socket: commands, their answers, and the events that come between."""
import json
import select
import socket
import time


class QmpError(Exception):
    """QEMU refused a command, or is gone; the text says what."""


class Qmp:
    def __init__(self, path, timeout=20.0):
        self.path, self.timeout = path, timeout
        self.events, self.buffer = [], b''
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.connect(path)
        except OSError as e:
            raise QmpError(f'{path}: {e.strerror}') from e
        self.take(time.monotonic() + timeout)  # the greeting
        self.call('qmp_capabilities')

    def fileno(self):
        return self.sock.fileno()

    def take(self, deadline):
        """The next message, or None when there is none by then."""
        while b'\n' not in self.buffer:
            if not select.select([self.sock], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return None
            data = self.sock.recv(65536)
            if not data:
                raise QmpError(f'{self.path}: QEMU has gone')
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b'\n')
        return json.loads(line)

    def call(self, command, **arguments):
        """A command's answer. Names are written with _ for -."""
        arguments = {k.replace('_', '-'): v for k, v in arguments.items()}
        self.sock.sendall(json.dumps({'execute': command, 'arguments': arguments}).encode() + b'\n')
        deadline = time.monotonic() + self.timeout
        while True:
            message = self.take(deadline)
            if message is None:
                raise QmpError(f'{self.path}: {command}: no answer within {self.timeout:g} s')
            if 'error' in message:
                raise QmpError(f"{self.path}: {command}: {message['error']['desc']}")
            if 'return' in message:
                return message['return']
            self.events.append(message)

    def poll(self, seconds=0.0):
        """Takes up what has come, or comes within so long; all events that nobody has taken yet."""
        deadline = time.monotonic() + seconds
        while not self.events or self.buffer or select.select([self.sock], [], [], 0)[0]:
            message = self.take(deadline)
            if message is None:
                break
            self.events.append(message)
        events, self.events = self.events, []
        return events
