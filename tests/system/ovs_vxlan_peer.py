#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
r"""Open vSwitch as the other router: its userspace datapath (`netdev`), which needs no kernel module, encapsulates itself.

    vm, stranger --- dcx --- rx 192.0.2.1 ==== VXLAN, VNI 100 ==== br-phy 192.0.2.20, br-int (OVS) --- far 10.1.0.33

Its database and daemon are the test's own: sockets in the lab's folder, ended by process id.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish, skip
from lab import LabError, run, wait_for
from onesite import HOSTS, PEER, ROUTER
from peersite import FAR, FAR_MAC, VNI, PeerSite

SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema'
VM, VM_MAC, _ = HOSTS['vm']
STRANGER, STRANGER_MAC, _ = HOSTS['stranger']
lab = PeerSite('ovs')
rundir = os.path.join(lab.dir, 'ovs')
env = {**os.environ, 'OVS_RUNDIR': rundir, 'OVS_LOGDIR': rundir, 'OVS_DBDIR': rundir}


def vsctl(*words):
    lab.exec('peer', ['ovs-vsctl', f'--db=unix:{rundir}/db.sock', '--timeout=10', *words], env=env)


def appctl(*words):
    return lab.exec('peer', ['ovs-appctl', '-t', f'{rundir}/vswitchd.ctl', *words], env=env).stdout


def daemons():
    os.makedirs(rundir)
    run(['ovsdb-tool', 'create', f'{rundir}/conf.db', SCHEMA])
    db = lab.spawn('peer', ['ovsdb-server', f'{rundir}/conf.db', f'--remote=punix:{rundir}/db.sock',
                            f'--unixctl={rundir}/ovsdb.ctl'], name='ovsdb', env=env)
    wait_for('ovsdb-server listens', lambda: os.path.exists(f'{rundir}/db.sock') or not db.alive())
    vsctl('--no-wait', 'init')
    switch = lab.spawn('peer', ['ovs-vswitchd', f'unix:{rundir}/db.sock', f'--unixctl={rundir}/vswitchd.ctl'],
                       name='ovs-vswitchd', env=env)
    wait_for('ovs-vswitchd listens', lambda: os.path.exists(f'{rundir}/vswitchd.ctl') or not switch.alive())


def bridges():
    """The underlay's address moves to br-phy: there the datapath looks for the way of what it encapsulates."""
    vsctl('add-br', 'br-phy', '--', 'set', 'bridge', 'br-phy', 'datapath_type=netdev',
          f'other-config:hwaddr="{lab.mac("peer", "eth0")}"')
    lab.ip('peer', 'addr flush dev eth0')
    vsctl('add-port', 'br-phy', 'eth0')
    lab.address('peer', 'br-phy', f'{PEER}/24')
    lab.ip('peer', 'link set dev br-phy up')
    vsctl('add-br', 'br-int', '--', 'set', 'bridge', 'br-int', 'datapath_type=netdev')
    vsctl('add-port', 'br-int', 'far')
    vsctl('add-port', 'br-int', 'vx0', '--', 'set', 'interface', 'vx0', 'type=vxlan', f'options:remote_ip={ROUTER}',
          f'options:local_ip={PEER}', f'options:key={VNI}')


try:
    daemons()
    bridges()
except (LabError, OSError) as e:
    skip('Open vSwitch as a peer', f'it does not run here: {" ".join(str(e).split())}')
    sys.exit(0)
router = lab.start()

lab.they_find_each_other('Open vSwitch')

with case('hosts that nobody registered find each other by flooding, and are learnt at both ends'):
    n = lab.ping('stranger', FAR, 10)
    expect(n == 10, f'{n} of 10 answered')
    macs = {m['mac'] for m in router.rows('macs')}
    expect({FAR_MAC, STRANGER_MAC} <= macs and VM_MAC not in macs, f'learnt here: {macs}')
    fdb = appctl('fdb/show', 'br-int')
    expect(VM_MAC in fdb and STRANGER_MAC in fdb, f'learnt there: {fdb}')

with case('packets of every size up to the tunnel\'s MTU pass both ways'):
    for size in (0, 18, 1000, 1450 - 28):
        expect(lab.ping('far', VM, 2, '-s', str(size), '-M', 'do') == 2, f'{size} bytes and headers')

with case('TCP passes both ways, clamped to the tunnel'):
    for a, b, address in (('vm', 'far', FAR), ('far', 'vm', VM)):
        out = lab.iperf(a, b, address, seconds=1)
        rate, mss = out['end']['sum_received']['bits_per_second'] / 1e6, out['start']['tcp_mss_default']
        print(f'   {rate:.0f} Mbit/s from {a}, MSS {mss}')
        expect(rate > 10 and mss <= 1450 - 40, f'{rate:.0f} Mbit/s, MSS {mss}')

with case('what Open vSwitch sent was VXLAN to the letter: nothing was dropped, all is accounted for'):
    bad = {k: v for k, v in router.drops().items() if k.startswith(('vxlan', 'vni', 'vtep', 'inner'))}
    expect(not bad, f'{bad}')
    expect(router.imbalance() == 0, f'{router.imbalance()} packets')

finish(router.process)
