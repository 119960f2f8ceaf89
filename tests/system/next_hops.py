#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Routes change under a numbered stream of 10,000 packets a second, each to a next hop that was never asked for before.

    stream (the VM) --- memif --- rx --- memif --- stream (world: answers ARP for every address)

Next hops stand on the port's prefix, outside of it, or are the destination itself.
"""
import json
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import Lab, LabError, program, wait_for
from router import Router, base_config

PPS, CHANGES = 10000, 100
GATEWAY_MAC, VM_MAC, VM, GLOBAL = '02:00:5e:00:00:01', '52:54:00:00:00:01', '10.1.0.10', '203.0.113.10'
WORLD = '192.0.2.0/24'

lab = Lab('hops')
lab.ns('rx')
memif = os.path.join(lab.dir, 'memif.sock')
device = 'net_memif{0},role={1},id={0},socket=' + memif + ',socket-abstract=no,rsize=12'
c = base_config('r-x', 'x', '02:4e:57:00:00:01', '127.0.0.1', vtep='198.51.100.1')
c['limits'] = {'neighbours': 1024}
c['ports'] = [{'name': 'wan0', 'device': device.format(0, 'server'), 'role': 'wan', 'address': '198.51.100.1/24'},
              {'name': 'dc0', 'device': device.format(1, 'server'), 'role': 'dc'}]
c['segments'] = [{'name': 'blue', 'vni': 100, 'prefix': '10.1.0.0/24',
                  'gateway': {'address': '10.1.0.1', 'mac': GATEWAY_MAC}, 'attachments': [{'port': 'dc0'}]}]
c['pools'] = [{'name': 'pool-x', 'prefix': '203.0.113.0/26'}]
c['routes'] = [{'prefix': '0.0.0.0/0', 'via': '198.51.100.254'}]
x = Router(lab, 'rx', c, nice=-15)
x.start()
x.call('vm.register', segment='blue', mac=VM_MAC, addresses=[{'private': VM, 'global': GLOBAL}])
wan_mac = {p['port']: p for p in x.rows('ports')}['wan0']['mac']
argv = [program('stream'), '-l', '0', '--no-huge', '-m', '256', '--no-pci', '--no-shconf', '--log-level=error',
        f'--file-prefix=hops{os.getpid()}'] + [f"--vdev={device.format(n, 'client')}" for n in (0, 1)]
stream = lab.spawn('rx', argv + ['--', wan_mac, GATEWAY_MAC, VM_MAC, VM, GLOBAL, '1000', str(PPS)], name='stream', nice=-15)
wait_for('packets pass both ways', lambda: '\nready' in '\n' + stream.output() or not stream.alive(), 40)
if not stream.alive():
    raise LabError(stream.output())


def reports():
    return [json.loads(line) for line in re.findall(r'^\{.*\}$', stream.output(), re.M)]


def count(action):
    """Runs `action` amid a new count of what the VM sends; the count when all has arrived."""
    stream.kill(signal.SIGUSR1)
    first = len(reports())
    time.sleep(0.3)
    action()
    time.sleep(0.3)
    stream.kill(signal.SIGUSR1)
    wait_for('the count', lambda: len(reports()) > first and reports()[-1]['paused'], 10)
    return reports()[-1]['up']


def state(address):
    return next((n['state'] for n in x.rows('neighbours') if n['address'] == address), None)


stream.kill(signal.SIGUSR1)
wait_for('the first count', lambda: reports() and reports()[-1]['paused'], 10)

with case(f'{CHANGES} routes, each to a new next hop: not one packet is lost'):
    times = []

    def change():
        for i in range(CHANGES):
            before = time.monotonic()
            x.call('route.replace', prefix=WORLD, via=f'198.51.100.{i + 10}')
            times.append((time.monotonic() - before) * 1e3)

    up = count(change)
    expect(up['sent'] == up['received'] and not up['lost'], f'{up}; {x.drops()}')
    expect(up['sent'] > PPS * sum(times) / 1e3 / 2, f'the stream was slow: {up}')
    print(f"   {up['sent']:,} packets; a change took {min(times):.1f} to {max(times):.1f} ms")

with case('a next hop outside the prefix of the port that the route names'):
    up = count(lambda: x.call('route.replace', prefix=WORLD, via='10.99.0.1', port='wan0'))
    expect(state('10.99.0.1') == 'reachable', f"{state('10.99.0.1')}")
    expect(up['sent'] == up['received'] and not up['lost'], f'{up}')

with case('a route that names the port alone: the destination itself is asked for'):
    count(lambda: x.call('route.replace', prefix=WORLD, port='wan0'))
    up = count(lambda: None)
    expect(state('192.0.2.10') == 'reachable', f"{state('192.0.2.10')}")
    expect(up['sent'] == up['received'] > 0, f'{up}')

finish(x.process, stream)
