#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""What hosts find out about their path: its routers by traceroute, its MTU by tracepath and by ICMP, through NAT and tunnel.

    user --- wan ---5 ms--- rx --- dcx
               \            ||        \
                \         VXLAN        hv --- vm     re-plugged from dcx to dcy
                 \          ||        /
                  `-------- ry --- dcy               the tunnel takes 1,450 bytes of the segment's 1,500

Asked where the VM is at home; where it stands at Y and X is its owner; and after the move, on the path of an old session.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import wait_for
from measure import wait_owner
from sites import GATEWAY, SITES, USER, VM, VM_MAC, Sites

OLD, NEW, TUNNEL = '203.0.113.10', '203.0.113.74', 1450
SPORT, DPORT = 5000, 33434  # of the old session that is traced: the VM's and the user's
lab = Sites('paths', delay_ms=5)
r = lab.routers()
x, y = r['x'], r['y']
x.call('vm.register', segment='blue', mac=VM_MAC, addresses=[{'private': VM, 'global': OLD}])
wait_owner((x, y), VM_MAC, 'r-x')
for ns in ('wan', 'user', 'vm'):  # the kernels' own rate limit of ICMP is not what is asked here
    lab.sh(ns, 'echo 0 >/proc/sys/net/ipv4/icmp_ratelimit')
for ns in ('user', 'vm'):
    lab.agent(ns).call('listen')


def reaches():
    """Until the VM's pings are answered: a VM's location moves at most once a second."""
    wait_for('the VM reaches the user', lambda: lab.exec('vm', ['ping', '-n', '-c', '1', '-W', '1', USER], check=False).returncode == 0)


reaches()

TO_VM = ['192.0.2.1', SITES['x']['wan'], OLD]
BY_X, BY_Y = [GATEWAY, SITES['x']['next'], USER], [GATEWAY, SITES['y']['next'], USER]


def hops(ns, to, *options):
    """The routers that traceroute saw, two probes for each, '*' where none spoke."""
    out = lab.exec(ns, ['traceroute', '-n', '-q', '2', '-N', '1', '-w', '2', *options, to]).stdout
    return re.findall(r'^ *\d+ +(?:\* +)?(\S+)', out, re.M)


def tracepath(ns, to):
    out = lab.exec(ns, ['tracepath', '-n', to]).stdout
    seen = dict(re.findall(r'^ *(\d+): +([\d.]+)', out, re.M))
    return list(seen.values()), int(re.search(r'Resume: pmtu (\d+)', out).group(1))


def forget(ns):
    """The kernel's cache of path MTUs."""
    lab.ip(ns, 'route flush cache')


def cached(ns, to):
    """The path MTU that the kernel knows, or None."""
    m = re.search(r'mtu (\d+)', lab.ip(ns, 'route get', to).stdout)
    return m and int(m.group(1))


def reassembled(ns):
    lines = [line.split() for line in lab.sh(ns, 'grep ^Ip: /proc/net/snmp').stdout.split('\n') if line]
    return int(dict(zip(*lines))['ReasmOKs'])


def traces(ns, to, path, mtu):
    forget(ns)
    for kind in ((), ('-I',)):
        seen = hops(ns, to, *kind)
        expect(seen == path, f'{kind}: {seen}; X {x.drops()}, Y {y.drops()}')
    seen, found = tracepath(ns, to)
    expect(seen == path and found == mtu, f'tracepath: {seen}, MTU {found}')


def df_and_not(ns, other, to, mtu, **ports):
    """A full packet with DF earns an error and the cached MTU; without DF it arrives whole, in fragments."""
    forget(ns)
    a = lab.probe(ns).call('ask', to=to, size=1472, df=True, n=2, wait=2.0, **ports)
    expect(a['answers'] == 0 and a['errors'] == ['EMSGSIZE'] * 2 and a['mtu'] == mtu, f'{a}')
    expect(cached(ns, to) == mtu, f'cached: {cached(ns, to)}')
    a = lab.probe(ns).call('ask', to=to, size=mtu - 28, df=True, **ports)
    expect(a['answers'] == 1, f'a packet that fits: {a}')
    forget(ns)
    before = reassembled(other)
    a = lab.probe(ns).call('ask', to=to, size=1472, df=False, n=3, wait=2.0, **ports)
    expect(a['answers'] == 3 and a['mtu'] == 1500, f'{a}')
    expect(reassembled(other) - before == 3, f'{reassembled(other) - before} of 3 came in fragments')


def old_session(port):
    """The user speaks to SPORT of the old address: that is evidence of the session's home."""
    lab.probe('user').call('tell', to=OLD, sport=port, dport=SPORT)
    wait_for('the session is noted at the owner', lambda: any(
        (s['vm-port'], s['remote-port'], s['home']) == (SPORT, port, OLD) for s in y.rows('sessions')))


with case('at home: traceroute and tracepath see the routers, the VM by its global address, and 1,500 bytes'):
    traces('user', OLD, TO_VM, 1500)
    traces('vm', USER, BY_X, 1500)

lab.plug('y')
reaches()

with case('the owner is elsewhere: the same routers, and the tunnel\'s MTU, from the user'):
    traces('user', OLD, TO_VM, TUNNEL)

with case('the owner is elsewhere: the same routers, and the tunnel\'s MTU, from the VM'):
    traces('vm', USER, BY_X, TUNNEL)

with case('the owner is elsewhere: UDP with DF is told the tunnel\'s MTU, without it goes in fragments, from the user'):
    df_and_not('user', 'vm', OLD, TUNNEL)

with case('the owner is elsewhere: UDP with DF is told the tunnel\'s MTU, without it goes in fragments, from the VM'):
    df_and_not('vm', 'user', USER, TUNNEL)

y.call('vm.move', segment='blue', mac=VM_MAC, addresses=[{'private': VM, 'global': NEW}],
       **{'drain-min': '60s', 'drain-max': '60s'})
wait_owner((x, y), VM_MAC, 'r-y')

with case('after the move: the old address has the old path and the tunnel\'s MTU, the new one is near and wide'):
    traces('user', OLD, TO_VM, TUNNEL)
    traces('user', NEW, ['192.0.2.1', SITES['y']['wan'], NEW], 1500)
    traces('vm', USER, BY_Y, 1500)

with case('after the move: a session of the old address is traced through the old router, from the VM'):
    old_session(DPORT)
    seen = hops('vm', USER, '-U', f'--sport={SPORT}', '-p', str(DPORT))
    expect(seen == BY_X, f'{seen}')

with case('after the move: UDP with DF of an old session is told the tunnel\'s MTU, from the user'):
    df_and_not('user', 'vm', OLD, TUNNEL)

with case('after the move: UDP with DF of an old session is told the tunnel\'s MTU, from the VM'):
    old_session(7002)
    df_and_not('vm', 'user', USER, TUNNEL, sport=SPORT)

with case('all packets are accounted for'):
    for router in (x, y):
        expect(router.imbalance() == 0, f'{router.name}: {router.imbalance()} packets')

finish(x.process, y.process)
