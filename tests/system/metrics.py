#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Metrics for Prometheus: by HTTP and by the command line, read by the client library's own parser; and who should not get any.

    world --- rx --- dcx --- vm, other
               `- 127.0.0.1:9464 in rx
"""
import http.client
import os
import random
import socket
import sys
import time

from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import wait_for
from onesite import HOSTS, OneSite

ADDRESS = ('127.0.0.1', 9464)
CONNECTIONS, OF_ONE, IDLE_S, MOST_S = 16, 4, 3, 10  # scrape.h

lab = OneSite('metrics')
lab.router.config['control']['metrics'] = f'{ADDRESS[0]}:{ADDRESS[1]}'
router = lab.start()


def ask(method, path, **kw):
    """(status, headers, body)"""
    with lab.inside('rx'):
        c = http.client.HTTPConnection(*ADDRESS, timeout=30)
        c.request(method, path, **kw)
        r = c.getresponse()
        reply = r.status, r.headers, r.read().decode()
        c.close()
    return reply


def talk(data):
    """What comes back on a connection that says this and no more."""
    with lab.inside('rx'):
        s = socket.create_connection(ADDRESS, timeout=1)
    try:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        return s.recv(65536)
    except OSError:
        return b''
    finally:
        s.close()


def series(text):
    """{(name, labels): value}"""
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in text_string_to_metric_families(text) for s in f.samples}


def value(text, name, **labels):
    return series(text)[f'nearway_{name}', tuple(sorted(labels.items()))]


def scrape():
    status, _, body = ask('GET', '/metrics')
    expect(status == 200, f'{status} {body[:100]}')
    return body


with case('a scrape is what Prometheus reads, each metric with its type, and the same as the command line prints'):
    status, headers, body = ask('GET', '/metrics')
    expect(status == 200 and headers['Content-Type'] == 'text/plain; version=0.0.4; charset=utf-8', f'{status} {headers}')
    families = list(text_string_to_metric_families(body))
    expect(len(families) > 60 and all(f.type in ('counter', 'gauge') and f.documentation and f.samples for f in families
                                      if not f.name.startswith(('nearway_peer', 'nearway_controller'))),
           [f.name for f in families if not f.samples])
    expect(value(body, 'info', router='r-x', site='x', version='0.1.0') == 1 and value(body, 'own_vms') == 2, body[:300])
    expect(series(router.cli('metrics').stdout).keys() == series(body).keys(), 'other series than the command line')

with case('every drop reason is a series from the start, so that its rate is known'):
    expect(sum(name == 'nearway_drops_total' for name, _ in series(body)) > 50, body)
    expect(value(body, 'drops_total', reason='no_route') == 0, body)

with case('packets that pass are counted, and no packet is missing'):
    before = scrape()
    expect(lab.ping('world', HOSTS['vm'][2], 20) == 20, 'pings are lost')
    time.sleep(1.1)  # the text is made once a second
    after = scrape()
    for name, labels in (('port_receive_packets_total', {'port': 'wan0'}), ('port_transmit_packets_total', {'port': 'dc0'}),
                         ('segment_to_packets_total', {'segment': 'blue'}), ('worker_received_packets_total', {'worker': '0'}),
                         ('stage_packets_total', {'stage': 'classify'})):
        grown = value(after, name, **labels) - value(before, name, **labels)
        expect(20 <= grown < 200, f'{name}: {grown}')
    expect(value(after, 'imbalance_packets') == 0, 'imbalance')
    ports = {row['port']: row for row in router.rows('ports')}
    expect(after != before and value(after, 'port_up', port='dc0') == 1 and
           value(after, 'port_receive_bytes_total', port='wan0') <= ports['wan0']['rx-bytes'], ports)

with case('drops by reason are the drops of all workers'):
    def dropped():
        text = scrape()
        return (sum(v for (name, _), v in series(text).items() if name == 'nearway_drops_total'),
                value(text, 'worker_dropped_packets_total', worker='0'))
    lab.ping_in_vain('world', '203.0.113.50', 5)
    wait_for('the same sum, of 5 and more', lambda: dropped()[0] == dropped()[1] >= 5, 10)

with case('nothing but GET /metrics is answered'):
    expect(ask('GET', '/')[0] == 404 and ask('GET', '/metrics/..')[0] == 404, 'another path')
    for method in ('POST', 'PUT', 'DELETE', 'HEAD'):
        status, headers, _ = ask(method, '/metrics', body=b'x' * 100)
        expect(status == 405 and headers['Allow'] == 'GET', f'{method}: {status}')

with case('noise, long headers and half requests end in an error or in nothing, and the router goes on'):
    rnd = random.Random(7)
    for n in (0, 1, 16, 1000, 70000):
        talk(rnd.randbytes(n))
    good = b'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'
    for text in (good[:20], b'GET /metrics HTTP/1.1\r\n' + b'X: ' + b'y' * 100000 + b'\r\n\r\n', b'GET ' + b'/' * 100000 + b' HTTP/1.1\r\n\r\n',
                 b'GET /metrics HTTP/9.9\r\n\r\n', b'\r\n' * 1000, b'GET /metrics HTTP/1.1\r\nContent-Length: -1\r\n\r\n',
                 b'GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n'):
        reply = talk(text)
        expect(not reply.startswith(b'HTTP/1.1 200') or text.startswith((good[:20], b'\r\n')), f'{text[:40]}: {reply[:60]}')
    for _ in range(200):
        bad = bytearray(good)
        for _ in range(rnd.randint(1, 4)):
            bad[rnd.randrange(len(bad))] = rnd.randrange(256)
        talk(bytes(bad))
    expect(value(scrape(), 'own_vms') == 2, 'it does not answer any more')
    expect(lab.ping('world', HOSTS['vm'][2], 5) == 5, 'pings are lost')



def connect(host):
    """From another address of the loopback."""
    with lab.inside('rx'):
        return socket.create_connection(ADDRESS, timeout=5, source_address=(host, 0))


def scrape_from(host):
    s = connect(host)
    s.settimeout(30)
    s.sendall(b'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n')
    head = s.recv(12)
    s.close()
    return head == b'HTTP/1.1 200'


with case('who connects and says nothing keeps a place for a few seconds, and of one address no more than four'):
    files = len(os.listdir(f'/proc/{router.process.pid}/fd'))
    silent = [connect('127.0.0.2') for _ in range(2 * OF_ONE)]
    time.sleep(0.2)
    expect(len(os.listdir(f'/proc/{router.process.pid}/fd')) <= files + OF_ONE, 'more connections of one address than there may be')
    expect(scrape_from('127.0.0.9'), 'no answer beside them')
    silent += [connect(f'127.0.0.{3 + i // OF_ONE}') for i in range(CONNECTIONS)]
    time.sleep(0.2)
    expect(len(os.listdir(f'/proc/{router.process.pid}/fd')) <= files + CONNECTIONS, 'more connections than there is room for')
    began = time.monotonic()
    expect(scrape_from('127.0.0.9'), 'no answer behind them')
    print(f'   a scrape behind {len(silent)} silent connections took {time.monotonic() - began:.1f} s')
    for s in silent:
        s.close()

with case('when all places were taken and have ended, there is room again'):
    silent = [connect(f'127.0.0.{2 + i // OF_ONE}') for i in range(CONNECTIONS)]
    time.sleep(IDLE_S + 2.5)
    expect(scrape_from('127.0.0.9'), 'no answer after them')
    for s in silent:
        s.close()

with case('who sends a byte now and then is not silent, and gives his place back all the same'):
    slow, began = connect('127.0.0.2'), time.monotonic()
    try:
        while time.monotonic() - began < 2 * MOST_S:
            slow.sendall(b'x')
            time.sleep(0.5)
    except OSError:
        pass
    took = time.monotonic() - began
    expect(MOST_S - 1 <= took < MOST_S + 4, f'{took:.1f} s')
    slow.close()

finish(router.process)
