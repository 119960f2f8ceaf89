#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""One site, other machines: packet memory on hugepages; two workers, two queues a port or one; busy polling.

    world 192.0.2.10 --- 192.0.2.1 rx --- dcx switch --- vm 10.1.0.10       = 203.0.113.10
                                                    \--- other 10.1.0.11    = 203.0.113.11
"""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish, skip
from lab import until
from measure import quiesce
from onesite import HOSTS, WORLD, OneSite
from router import af_packet

HUGEPAGES = '/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages'
PAGES = 96
VM_GLOBAL = HOSTS['vm'][2]
FLOWS = 64  # of other ports each: that the kernel's hash puts them all into one of two queues happens once in 2^63 runs


def pages(n=None):
    """How many 2 MB pages the kernel keeps; sets the number first, as far as memory allows."""
    if n is not None:
        with open(HUGEPAGES, 'w', encoding='ascii') as f:
            f.write(str(n))
    with open(HUGEPAGES, encoding='ascii') as f:
        return int(f.read())


def pages_back(n):
    """A guard that outlives the test, however it ends, and then gives the pages back: it waits for the end of its input."""
    return subprocess.Popen(['sh', '-c', f'read x; echo {n} >{HUGEPAGES}'], stdin=subprocess.PIPE, start_new_session=True)


def forwards(lab, router, **dataplane):
    """A router of this kind carries pings both ways and loses count of nothing."""
    lab.router.config['dataplane'].update(dataplane)
    lab.start()
    for source, to in (('world', VM_GLOBAL), ('vm', WORLD), ('other', WORLD)):
        n = lab.ping(source, to, 20)
        expect(n == 20, f'{n} of 20 pings from {source}')
    expect(router.imbalance() == 0, f'{router.imbalance()} packets')
    return router.call('show.status')


def round_trip(lab, source, to):
    """The median of a few pings, ms, each of which finds a router that sleeps."""
    out = lab.exec(source, ['ping', '-n', '-c', '5', '-i', '0.13', to]).stdout
    return sorted(float(t) for t in re.findall(r'time=([\d.]+) ms', out))[2]


def talk_on_many_ports(lab):
    """FLOWS flows from either side, each answered, until each had ten answers; what is lost for ever."""
    ends = [lab.agent(h) for h in ('world', 'vm')]
    for a in ends:
        a.call('listen')
    for a, to in zip(ends, (VM_GLOBAL, WORLD)):
        for i in range(FLOWS):
            a.call('open', name=f'f{i}', kind='udp', to=to, rate=20)
    until(lambda: all(f['answered'] >= 10 for a in ends for f in a.call('stats')['flows'].values()), 20, 0.2)
    return [f for flows in quiesce(*ends) for f in flows.values() if f['lost'] or f['answered'] < 10]


lab = OneSite('machines')
router = lab.router

HUGE = 'a router whose packets live on hugepages forwards'
before = pages()
guard = pages_back(before)
if pages(max(before, PAGES)) < PAGES:
    guard.communicate()
    skip(HUGE, f'the kernel has no {PAGES} pages of 2 MB to give')
else:
    with case(HUGE):
        try:
            status = forwards(lab, router, memory='hugepages')
            expect(status['memory'] == 'hugepages', f'memory: {status["memory"]}')
            router.stop()
        finally:
            guard.communicate()

with case('two workers share the queues of each port, and both forward'):
    lab.router.config['ports'][0]['device'] = af_packet(0, 'wan0') + ',qpairs=2'
    lab.router.config['ports'][1]['device'] = af_packet(1, 'dc0') + ',qpairs=2'
    first = [w['received'] for w in forwards(lab, router, memory='no-huge', cpus='0-1')['workers']]
    lost = talk_on_many_ports(lab)
    expect(not lost, f'{len(lost)} of {2 * FLOWS} flows lost packets: {lost[:3]}')
    received = [w['received'] - n for w, n in zip(router.call('show.status')['workers'], first)]
    expect(len(received) == 2 and all(n > 100 for n in received), f'received by worker: {received}')
    expect(router.imbalance() == 0, f'{router.imbalance()} packets')

with case('two workers share ports of one queue each: they pass packets to each other, also to one that sleeps'):
    router.stop()
    for n, port in enumerate(('wan0', 'dc0')):
        lab.router.config['ports'][n]['device'] = af_packet(n, port) + ',qpairs=1'
    workers = forwards(lab, router)['workers']
    expect(all(w['received'] > 30 for w in workers), f'received by worker: {[w["received"] for w in workers]}')
    expect(all(w['passed'] > 10 for w in workers), f'passed on by worker: {[w["passed"] for w in workers]}')
    times = [round_trip(lab, *way) for way in (('world', VM_GLOBAL), ('vm', WORLD), ('other', WORLD))]
    expect(max(times) < 50, f'{times} ms: a worker was not woken')
    expect(router.imbalance() == 0, f'{router.imbalance()} packets')

with case('a worker that polls busily forwards'):
    router.stop()
    for n, port in enumerate(('wan0', 'dc0')):
        lab.router.config['ports'][n]['device'] = af_packet(n, port)
    forwards(lab, router, cpus='1', poll='busy')

finish(router.process)
