# SPDX-License-Identifier: BSD-3-Clause
"""What others make of static NAT: Open vSwitch with DPDK, and the Linux kernel. Of the workloads they take W1 and W2."""
import os
import subprocess

import duts
from duts import DUT_CPU, GENERATOR_CPU, Device, global_of, mac_of, private_of

OVS = '/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk'
SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema'
WAN_MAC, GW_MAC, HOP_MAC = '02:aa:00:00:00:00', '02:5e:00:00:00:01', '02:cc:00:00:00:01'


def run(*words, text=None):
    p = subprocess.run(words, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if p.returncode != 0:
        raise duts.Failed(f'{" ".join(words)[:200]}: {p.stdout[-1000:]}')


class Peer(Device):
    def can(self, workload):
        return workload in ('W1', 'W2')


class Ovs(Peer):
    """Two OpenFlow rules for a VM, in a bridge of the userspace datapath; database, sockets and network namespace of its own. Its
    forwarding thread sends by the second queue of a port, the first is its main thread's."""
    name, queues = 'ovs', 2

    def vsctl(self, *words):
        run('ovs-vsctl', '--timeout=60', f'--db=unix:{self.dir}/db.sock', *words)

    def add_port(self, n, name):
        self.vsctl('add-port', 'br0', name, '--', 'set', 'Interface', name, 'type=dpdk', f'ofport_request={n + 1}',
                   f'options:dpdk-devargs="{self.memif(n, "server")}"')

    def flows(self):
        for n in range(self.vms):
            yield (f'in_port=1,ip,nw_dst={global_of(n)} actions=mod_dl_src:{GW_MAC},mod_dl_dst:{mac_of(n)},mod_nw_dst:{private_of(n)},dec_ttl,'
                   'output:2')
            yield (f'in_port=2,ip,nw_src={private_of(n)} actions=mod_dl_src:{WAN_MAC},mod_dl_dst:{HOP_MAC},mod_nw_src:{global_of(n)},dec_ttl,'
                   'output:1')

    def start_device(self):
        run('ovsdb-tool', 'create', f'{self.dir}/conf.db', SCHEMA)
        env = {**os.environ, 'OVS_RUNDIR': self.dir, 'OVS_LOGDIR': self.dir, 'OVS_DBDIR': self.dir}
        db = self.spawn(['ovsdb-server', f'{self.dir}/conf.db', f'--remote=punix:{self.dir}/db.sock', f'--unixctl={self.dir}/ovsdb.ctl'], 'ovsdb', env=env)
        self.wait(db, 'ovsdb', lambda: os.path.exists(f'{self.dir}/db.sock'))
        self.vsctl('--no-wait', 'init', '--', 'set', 'Open_vSwitch', '.', 'other_config:dpdk-init=true', f'other_config:dpdk-lcore-mask={1 << GENERATOR_CPU:#x}',
                   f'other_config:pmd-cpu-mask={1 << DUT_CPU:#x}', 'other_config:dpdk-extra="--no-pci --in-memory --no-telemetry"')
        self.spawn(['unshare', '-n', OVS, f'unix:{self.dir}/db.sock', f'--unixctl={self.dir}/ovs.ctl'], 'ovs', env=env)
        self.vsctl('add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=netdev', 'fail-mode=secure')
        self.add_port(0, 'wan')
        self.add_port(1, 'dc')
        run('ovs-ofctl', 'add-flows', f'unix:{self.dir}/br0.mgmt', '-', text='\n'.join(self.flows()))

    def prepare(self):
        self.ask('serve 500')


TABLE = """\
table ip bench {{
    map down {{ type ipv4_addr : ipv4_addr; elements = {{ {down} }}; }}
    map up {{ type ipv4_addr : ipv4_addr; elements = {{ {up} }}; }}
    chain in {{ type filter hook prerouting priority -300; iifname "wan" ip daddr set ip daddr map @down; }}
    chain out {{ type filter hook postrouting priority 300; oifname "wan" ip saddr set ip saddr map @up; }}
}}
"""


class Kernel(Peer):
    """nftables' maps, without connection tracking, in a network namespace; the generator speaks by net_af_packet and a veth pair to it.
    Its work is done by CPU 1 (RPS); there is no process to stop, and nothing to do without packets."""
    name = 'kernel'

    def __init__(self, *args):
        super().__init__(*args)
        self.ns = f'nw-bench-{os.getpid()}'

    def ports(self):
        return [f'net_af_packet{n},iface={self.ns[-9:]}-{n},qdisc_bypass=1' for n in (0, 1)]

    def inside(self, *words, text=None):
        run('ip', 'netns', 'exec', self.ns, *words, text=text)

    def link(self, n, name, mac, address):
        ours = f'{self.ns[-9:]}-{n}'
        run('ip', 'link', 'add', ours, 'type', 'veth', 'peer', 'name', name, 'netns', self.ns)
        run('sysctl', '-qw', f'net.ipv6.conf.{ours}.disable_ipv6=1')
        self.inside('sysctl', '-qw', f'net.ipv6.conf.{name}.disable_ipv6=1', f'net.ipv4.conf.{name}.rp_filter=0')
        self.inside('ip', 'link', 'set', name, 'address', mac, 'mtu', '1600', 'up')
        self.inside('ip', 'address', 'add', address, 'dev', name)
        self.inside('sh', '-c', f'echo {1 << DUT_CPU:x} > /sys/class/net/{name}/queues/rx-0/rps_cpus')
        run('ip', 'link', 'set', ours, 'mtu', '1600', 'up')

    def start_device(self):
        run('ip', 'netns', 'add', self.ns)
        self.inside('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0')
        self.link(0, 'wan', WAN_MAC, '198.51.100.2/24')
        self.link(1, 'dc', GW_MAC, '10.0.0.1/8')
        hosts = [f'198.51.100.1 lladdr {HOP_MAC} dev wan'] + [f'{private_of(n)} lladdr {mac_of(n)} dev dc' for n in range(self.vms)]
        self.inside('ip', '-batch', '-', text='route add default via 198.51.100.1\n' + ''.join(f'neigh add {h} nud permanent\n' for h in hosts))
        pairs = [(global_of(n), private_of(n)) for n in range(self.vms)]
        self.inside('nft', '-f', '-', text=TABLE.format(down=', '.join(f'{g} : {p}' for g, p in pairs), up=', '.join(f'{p} : {g}' for g, p in pairs)))

    def stop(self):
        super().stop()
        subprocess.run(['ip', 'netns', 'delete', self.ns], stderr=subprocess.DEVNULL, check=False)
