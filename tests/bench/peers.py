# SPDX-License-Identifier: BSD-3-Clause
"""What others make of static NAT and VXLAN: Open vSwitch with DPDK, and the Linux kernel. Of the workloads they take W1 to W5."""
import os
import re
import subprocess

import duts
from duts import DUT_CPU, GENERATOR_CPU, Device, global_of, mac_of, private_of

OVS = '/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk'
SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema'
WAN_MAC, GW_MAC, ROUTER_MAC, HOP_MAC = '02:aa:00:00:00:00', '02:5e:00:00:00:01', '02:bb:00:00:00:01', '02:cc:00:00:00:01'
WAN_IP, NEXT_HOP, PEER_IP, VNI = '198.51.100.2', '198.51.100.1', '198.51.100.66', 5001
NEVER_MS, FLOWS = 1000000000, 1000000000


def run(*words, text=None):
    p = subprocess.run(words, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if p.returncode != 0:
        raise duts.Failed(f'{" ".join(words)[:200]}: {p.stdout[-1000:]}')
    return p.stdout


class Peer(Device):
    def can(self, workload):
        return workload in ('W1', 'W2', 'W3', 'W4', 'W5')


class Ovs(Peer):
    """OpenFlow rules for each VM, and a tunnel port, in a bridge of the userspace datapath; database, sockets and network namespace of its
    own. Its forwarding thread sends by the second queue of a port, the first is its main thread's.

    It learns a flow by the first packet of it, some 100,000 a second, looks at all of them every half second, and keeps no more than it can
    look at in time: that limit begins at 10,000 and rises by 1,000 each time. None of it is what is to be measured: so there is no limit, flows
    are neither looked at nor forgotten, and each workload runs before until there are no new ones."""
    name, queues = 'ovs', 2

    def __init__(self, *args):
        super().__init__(*args)
        self.settled = set()

    def vsctl(self, *words):
        run('ovs-vsctl', '--timeout=60', f'--db=unix:{self.dir}/db.sock', *words)

    def appctl(self, *words):
        return run('ovs-appctl', '--timeout=60', f'--target={self.dir}/ovs.ctl', *words)

    def add_port(self, n, name, *options):
        self.vsctl('add-port', 'br0', name, '--', 'set', 'Interface', name, f'ofport_request={n}', *options)

    def add_memif(self, n, name):
        self.add_port(n + 1, name, 'type=dpdk', 'mtu_request=1600', f'options:dpdk-devargs="{self.memif(n, "server")}"')

    def here(self, n):
        yield (f'in_port=1,ip,nw_dst={global_of(n)} actions=mod_dl_src:{GW_MAC},mod_dl_dst:{mac_of(n)},mod_nw_dst:{private_of(n)},dec_ttl,'
               'output:2')
        yield (f'in_port=2,ip,nw_src={private_of(n)} actions=mod_dl_src:{WAN_MAC},mod_dl_dst:{HOP_MAC},mod_nw_src:{global_of(n)},dec_ttl,'
               'output:1')

    def pairs(self, n):
        yield f'in_port=2,dl_dst={mac_of(n)} actions=output:3' if n % 2 else f'in_port=3,dl_dst={mac_of(n)} actions=output:2'

    def trombone(self, n):
        yield (f'in_port=1,ip,nw_dst={global_of(n)} actions=mod_dl_src:{ROUTER_MAC},mod_dl_dst:{mac_of(n)},mod_nw_dst:{private_of(n)},dec_ttl,'
               'output:3')

    def flows(self):
        yield f'in_port=1,ip,nw_dst={WAN_IP} actions=LOCAL'
        yield 'in_port=LOCAL actions=output:1'
        for n in range(max(self.vms, 2)):
            yield from getattr(self, self.what)(n)

    def start_tunnel(self, pid):
        """Its own end is the address of the bridge's own port."""
        for words in (f'link set br0 mtu 1600 up', f'address add {WAN_IP}/24 dev br0'):
            run('nsenter', '-t', str(pid), '-n', 'ip', *words.split())
        self.add_port(3, 'vxlan', 'type=vxlan', f'options:remote_ip={PEER_IP}', f'options:local_ip={WAN_IP}', f'options:key={VNI}')
        self.appctl('tnl/neigh/set', 'br0', PEER_IP, HOP_MAC)

    def start_device(self):
        run('ovsdb-tool', 'create', f'{self.dir}/conf.db', SCHEMA)
        env = {**os.environ, 'OVS_RUNDIR': self.dir, 'OVS_LOGDIR': self.dir, 'OVS_DBDIR': self.dir}
        db = self.spawn(['ovsdb-server', f'{self.dir}/conf.db', f'--remote=punix:{self.dir}/db.sock', f'--unixctl={self.dir}/ovsdb.ctl'], 'ovsdb', env=env)
        self.wait(db, 'ovsdb', lambda: os.path.exists(f'{self.dir}/db.sock'))
        self.vsctl('--no-wait', 'init', '--', 'set', 'Open_vSwitch', '.', 'other_config:dpdk-init=true', f'other_config:dpdk-lcore-mask={1 << GENERATOR_CPU:#x}',
                   f'other_config:pmd-cpu-mask={1 << DUT_CPU:#x}', 'other_config:dpdk-extra="--no-pci --in-memory --no-telemetry"',
                   f'other_config:flow-limit={FLOWS}', f'other_config:max-idle={NEVER_MS}', f'other_config:max-revalidator={NEVER_MS}')
        ovs = self.spawn(['unshare', '-n', OVS, f'unix:{self.dir}/db.sock', f'--unixctl={self.dir}/ovs.ctl'], 'ovs', env=env)
        self.vsctl('add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=netdev', 'fail-mode=secure', f'other-config:hwaddr="{WAN_MAC}"')
        self.appctl('upcall/set-flow-limit', str(FLOWS))
        self.add_memif(0, 'wan')
        self.add_memif(1, 'dc')
        self.start_tunnel(ovs.pid)
        run('ovs-ofctl', '--bundle', 'add-flows', f'unix:{self.dir}/br0.mgmt', '-', text='\n'.join(self.flows()))

    def prepare(self):
        self.ask('serve 500')

    def known(self):
        return int(re.search(r'flows: (\d+)', self.appctl('dpctl/show'))[1])

    def measure(self, workload, frame, warm_ms, ms):
        if workload not in self.settled:
            self.go_on()
            self.settle(workload)
            self.settled.add(workload)
        return super().measure(workload, frame, warm_ms, ms)


TABLE = """\
table ip bench {{
    map down {{ type ipv4_addr : ipv4_addr; elements = {{ {down} }}; }}
    map up {{ type ipv4_addr : ipv4_addr; elements = {{ {up} }}; }}
    chain in {{ type filter hook prerouting priority -300; iifname "wan" ip daddr set ip daddr map @down; }}
    chain out {{ type filter hook postrouting priority 300; oifname "wan" ip saddr set ip saddr map @up; }}
}}
"""


class Kernel(Peer):
    """nftables' maps, without connection tracking, or a bridge with a VXLAN port whose entries stand all, in a network namespace; the
    generator speaks by net_af_packet and a veth pair to it. Its work is done by CPU 1 (RPS); there is no process to stop, and nothing to do
    without packets."""
    name = 'kernel'

    def __init__(self, *args):
        super().__init__(*args)
        self.ns = f'nw-bench-{os.getpid()}'

    def ports(self):
        return [f'net_af_packet{n},iface={self.ns[-9:]}-{n},qdisc_bypass=1' for n in (0, 1)]

    def inside(self, *words, text=None):
        run('ip', 'netns', 'exec', self.ns, *words, text=text)

    def batch(self, tool, lines):
        self.inside(tool, '-batch', '-', text=''.join(f'{line}\n' for line in lines))

    def link(self, n, name, mac):
        ours = f'{self.ns[-9:]}-{n}'
        run('ip', 'link', 'add', ours, 'type', 'veth', 'peer', 'name', name, 'netns', self.ns)
        run('sysctl', '-qw', f'net.ipv6.conf.{ours}.disable_ipv6=1')
        self.inside('ip', 'link', 'set', name, 'address', mac, 'mtu', '1600', 'up')
        self.inside('sh', '-c', f'echo {1 << DUT_CPU:x} > /sys/class/net/{name}/queues/rx-0/rps_cpus')
        run('ip', 'link', 'set', ours, 'mtu', '1600', 'up')

    def start_tunnel(self):
        """The VMs' link is a bridge then, of `dc` and the tunnel. Whose VM is here is behind `dc`."""
        self.batch('ip', [f'link add br0 address {ROUTER_MAC if self.what == "trombone" else GW_MAC} mtu 1500 type bridge',
                          f'link add vxlan type vxlan id {VNI} local {WAN_IP} dev wan dstport 4789 nolearning df set noudpcsum',
                          *(f'link set {port} master br0 up' for port in ('dc', 'vxlan')), 'link set br0 up'])
        away = [mac_of(n) for n in range(max(self.vms, 2)) if self.what == 'trombone' or n % 2]
        here = [mac_of(n) for n in range(max(self.vms, 2)) if self.what == 'pairs' and n % 2 == 0]
        self.batch('bridge', [*(f'link set dev {port} learning off' for port in ('dc', 'vxlan')),
                              *(f'fdb add {mac} dev vxlan dst {PEER_IP} self permanent' for mac in away),
                              *(f'fdb add {mac} dev vxlan master static' for mac in away), *(f'fdb add {mac} dev dc master static' for mac in here)])
        return 'br0'

    def translate(self):
        pairs = [(global_of(n), private_of(n)) for n in range(self.vms)]
        self.inside('nft', '-f', '-', text=TABLE.format(down=', '.join(f'{g} : {p}' for g, p in pairs), up=', '.join(f'{p} : {g}' for g, p in pairs)))

    def start_device(self):
        run('ip', 'netns', 'add', self.ns)
        self.inside('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.default.rp_filter=0',
                    'net.ipv6.conf.default.disable_ipv6=1')
        self.link(0, 'wan', WAN_MAC)
        self.link(1, 'dc', GW_MAC)
        vms = 'dc' if self.what == 'here' else self.start_tunnel()
        hosts = [f'{host} lladdr {HOP_MAC} dev wan' for host in (NEXT_HOP, PEER_IP)]
        if self.what != 'pairs':
            hosts += [f'{private_of(n)} lladdr {mac_of(n)} dev {vms}' for n in range(self.vms)]
            self.translate()
        self.batch('ip', [f'address add {WAN_IP}/24 dev wan', f'address add 10.0.0.1/8 dev {vms}', f'route add default via {NEXT_HOP}',
                          *(f'neigh add {host} nud permanent' for host in hosts)])

    def stop(self):
        super().stop()
        for what in (('link', f'{self.ns[-9:]}-0'), ('link', f'{self.ns[-9:]}-1'), ('netns', self.ns)):
            subprocess.run(['ip', what[0], 'delete', what[1]], stderr=subprocess.DEVNULL, check=False)
