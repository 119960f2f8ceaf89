#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Somebody on the wire between a client and a router's control port, who has no key.

usage: wire.py pass LISTEN TARGET TRICK N [FILE]   takes one connection at LISTEN, and passes it on to TARGET; the client's N-th
                                                   frame (the handshake's is 0) is: kept, flipped, repeated, lost, swapped, or
                                                   cutM: M of its bytes go, and then both ends are closed. FILE gets what the
                                                   client sent
       wire.py replay TARGET FILE TIMES            sends what FILE holds, each time on a new connection

Addresses are IP:PORT. Says `ready` when it listens. Prints at the end how many bytes came back of each replay.
"""
import socket
import sys
import threading


def address(text):
    host, port = text.rsplit(':', 1)
    return host, int(port)


def frames(sock):
    """Whole frames, their two bytes of length included, until the end."""
    data = b''
    while True:
        while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], 'big'):
            part = sock.recv(65536)
            if not part:
                return
            data += part
        n = 2 + int.from_bytes(data[:2], 'big')
        yield data[:n]
        data = data[n:]


def played(trick, n, source):
    """The client's frames as the router gets them."""
    held = None
    for i, frame in enumerate(source):
        if held:
            yield frame
            yield held
            held = None
        elif i != n or trick == 'kept':
            yield frame
        elif trick == 'flipped':
            yield frame[:-1] + bytes([frame[-1] ^ 1])
        elif trick == 'repeated':
            yield frame + frame
        elif trick == 'swapped':
            held = frame
        elif trick.startswith('cut'):
            yield frame[:int(trick[3:])]
            return


def back(router, client):
    try:
        while data := router.recv(65536):
            client.sendall(data)
        client.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def pass_on(listen, target, trick, n, file=None):
    server = socket.create_server(address(listen))
    print('ready', flush=True)
    client, _ = server.accept()
    router = socket.create_connection(address(target))
    threading.Thread(target=back, args=(router, client), daemon=True).start()
    try:
        with open(file or '/dev/null', 'wb') as record:
            for data in played(trick, int(n), frames(client)):
                record.write(data)
                record.flush()
                router.sendall(data)
    except OSError:
        pass
    router.close()
    client.close()


def replay(target, file, times):
    with open(file, 'rb') as f:
        data = f.read()
    for _ in range(int(times)):
        came = 0
        with socket.create_connection(address(target)) as s:
            s.settimeout(10)
            try:
                s.sendall(data)
                while part := s.recv(65536):
                    came += len(part)
            except ConnectionError:
                pass
        print(came, flush=True)


if __name__ == '__main__':
    {'pass': pass_on, 'replay': replay}[sys.argv[1]](*sys.argv[2:])
