/* SPDX-License-Identifier: BSD-3-Clause */
/* kinds.c - the field tables. Help says what and the unit; range and default stand in the columns beside it.
 */
#include "kinds.h"
#include "fields.h"
#include "methods.h"

#define EPOCH_MAX    INT64_MAX
#define DURATION_MAX (UINT64_C(30) * 86400000) /* 30 days */
#define MTU_MIN	     576
#define MTU_MAX	     9600

static const char *const words_poll[] = {"busy", "adaptive", NULL};
static const char *const words_memory[] = {"auto", "hugepages", "no-huge", NULL};
static const char *const words_role[] = {"wan", "dc", NULL};
static const char *const words_access[] = {"nat", "routed", NULL};
static const char *const words_extension[] = {"nearway", "external", NULL};
static const char *const words_gateway[] = {"shared", "per-site", NULL};
static const char *const words_home_lost[] = {"wait", "cut", NULL};
static const char *const words_pool[] = {"routed", "on-link", NULL};

const char *const session_policy_words[] = {"home", "direct", "cut", NULL};

/* ---- nearway.yaml ---- */

static const struct field fields_router[] = {
	{"name", F_NAME, REQ, AT(conf_router, name),
		.help = "name of this router, unique in its group; also its name on the control channel"},
	{"site", F_NAME, REQ, AT(conf_router, site), .help = "name of the datacenter it stands in"},
	{"mac", F_MAC, REQ, AT(conf_router, mac),
		.help = "router MAC: its own in the tunnel; differs from every gateway MAC and every other "
			"router's"},
	{"vtep", F_IP4, 0, AT(conf_router, vtep),
		.help = "source address of its VXLAN packets, the address of one of its WAN ports; needed "
			"with peers"},
	{"transit", F_BOOL, 0, AT(conf_router, transit), .def = "off",
		.help = "forward packets from one WAN port to another: a user-side router"},
	END,
};
static const struct kind kind_conf_router = {
	"router", sizeof(struct conf_router), fields_router, "this router"};

static const struct field fields_dataplane[] = {
	{"cpus", F_STRING, 0, AT(conf_dataplane, cpus), 1, 63, "1",
		.help = "CPUs that forward packets, one worker each, such as 1 or 2-5,8"},
	{"control-cpu", F_INT, 0, AT(conf_dataplane, control_cpu), 0, CPU_MAX, "0",
		.help = "CPU of the control thread; none of cpus unless poll is adaptive"},
	{"memory", F_ENUM, 0, AT(conf_dataplane, memory), .def = "auto", .words = words_memory,
		.help = "packet memory: hugepages, ordinary pages (no-huge), or hugepages where there are "
			"any (auto)"},
	{"poll", F_ENUM, 0, AT(conf_dataplane, poll), .def = "busy", .words = words_poll,
		.help = "how workers wait: busy spins on dedicated CPUs, adaptive sleeps when idle on shared "
			"ones"},
	END,
};
static const struct kind kind_conf_dataplane = {"dataplane", sizeof(struct conf_dataplane), fields_dataplane,
	"CPUs and memory of the forwarding part"};

static const struct field fields_limits[] = {
	{"vms", F_INT, 0, AT(conf_limits, vms), 1, 1000000, "16384",
		.help = "VMs of the whole group that the tables hold"},
	{"tombstones", F_INT, 0, AT(conf_limits, tombstones), 1, 1000000, "65536",
		.help = "deleted VMs of each router that are remembered until all of the group have heard of "
			"them"},
	{"routes", F_INT, 0, AT(conf_limits, routes), 1, 1000000, "16384", .help = "routes"},
	{"neighbours", F_INT, 0, AT(conf_limits, neighbours), 1, 65536, "1024",
		.help = "next-hop neighbours; a quarter is for next hops of routes and VTEPs on link"},
	{"macs", F_INT, 0, AT(conf_limits, macs), 1, 1000000, "8192", .help = "learnt MAC addresses"},
	{"sessions", F_INT, 0, AT(conf_limits, sessions), 1024, 16777216, "65536",
		.help = "noted sessions of VMs that drain"},
	{"mbufs", F_INT, 0, AT(conf_limits, mbufs), 0, 16777216, "0",
		.help = "packet buffers; 0 computes them from ports and workers"},
	{"rx-ring", F_INT, 0, AT(conf_limits, rx_ring), 64, 16384, "1024",
		.help = "descriptors of a receive queue, in packets"},
	{"arp-rate", F_INT, 0, AT(conf_limits, arp_rate), 0, 1000000, "500",
		.help = "ARP of one host that each worker hears in a second; more is dropped; 0 is no limit"},
	END,
};
static const struct kind kind_conf_limits = {"limits", sizeof(struct conf_limits), fields_limits,
	"sizes of the tables, fixed at start; memory is taken at start too"};

static const struct field fields_client[] = {
	{"name", F_NAME, KEYED, AT(conf_controller, name), .help = "its name, as it says it"},
	{"key", F_KEY, REQ, AT(conf_controller, key), .help = "its public static key"},
	{"old-key", F_KEY, 0, AT(conf_controller, old_key),
		.help = "its public key before that, taken too while it changes over; none when left out"},
	{"psk", F_KEY, FIELD_SECRET, AT(conf_controller, psk),
		.help = "pre-shared key with it, in addition; none when left out"},
	END,
};
const struct kind kind_conf_controller = {"controller", sizeof(struct conf_controller), fields_client,
	"a cloud controller that may change this router"};
const struct kind kind_conf_observer = {"observer", sizeof(struct conf_controller), fields_client,
	"a program that may look at this router and change nothing"};

static const struct field fields_control[] = {
	{"listen", F_HOSTPORT, 0, AT(conf_control, listen),
		.help = "management address and TCP port for controllers and peers, an address of the "
			"kernel; "
			"never a data port's; needed with controllers or peers"},
	{"metrics", F_HOSTPORT, 0, AT(conf_control, metrics),
		.help = "management address and TCP port where Prometheus may get metrics by HTTP, without a "
			"key; never a data port's"},
	{"key-file", F_STRING, LIVE, AT(conf_control, key_file), 1, 255, "/etc/nearway/key",
		.help = "file with this router's private key, mode 0600, made by nearwayd keygen"},
	{"socket", F_STRING, 0, AT(conf_control, socket), 1, 107, "/run/nearway/nearway.sock",
		.help = "unix socket of the command line"},
	{"state", F_STRING, 0, AT(conf_control, state), 1, 255, "/var/lib/nearway/state.db",
		.help = "database of the accepted state, on a disk that keeps it"},
	{"runtime", F_STRING, 0, AT(conf_control, runtime), 1, 255, "/run/nearway",
		.help = "directory on tmpfs for the session table, which a restarted router takes up"},
	{"log-rows", F_INT, 0, AT(conf_control, log_rows), 100, 100000000, "100000",
		.help = "entries of the log of changes that are kept in the database; the oldest go first"},
	{"controllers", F_LIST, LIVE, AT(conf_control, controllers), 0, 16, .kind = &kind_conf_controller,
		.help = "controllers that may change this router"},
	{"observers", F_LIST, LIVE, AT(conf_control, observers), 0, 16, .kind = &kind_conf_observer,
		.help = "programs that may look at this router and change nothing"},
	END,
};
static const struct kind kind_conf_control = {
	"control", sizeof(struct conf_control), fields_control, "sockets, key and files of the control part"};

static const struct field fields_drain[] = {
	{"min", F_DURATION, LIVE, AT(conf_drain, min_ms), 0, DURATION_MAX, "1h",
		.help = "an old global address works at least this long after a move"},
	{"max", F_DURATION, LIVE, AT(conf_drain, max_ms), 0, DURATION_MAX, "24h",
		.help = "and at most this long; between them it ends with its last session"},
	{"on-home-lost", F_ENUM, LIVE, AT(conf_drain, on_home_lost), .def = "wait", .words = words_home_lost,
		.help = "when the router of an old address is away for too long: wait, its sessions go on "
			"when it is back; or cut, they end"},
	{"home-lost-after", F_DURATION, LIVE, AT(conf_drain, home_lost_after_ms), 1000, DURATION_MAX, "1m",
		.help = "how long is too long"},
	END,
};
static const struct kind kind_conf_drain = {"drain", sizeof(struct conf_drain), fields_drain,
	"how long old global addresses live on, for a move that does not say"};

static const struct field fields_hold[] = {
	{"packets", F_INT, 0, AT(conf_hold, packets), 1, 1000000, "8192",
		.help = "packets that wait in all; so many more buffers are made, unless limits.mbufs says "
			"how many"},
	{"bytes", F_INT, LIVE, AT(conf_hold, bytes), 1, UINT32_MAX, "16777216", .help = "and their bytes"},
	{"packets-per-vm", F_INT, LIVE, AT(conf_hold, vm_packets), 1, 1000000, "1024",
		.help = "packets that wait for one VM"},
	{"bytes-per-vm", F_INT, LIVE, AT(conf_hold, vm_bytes), 1, UINT32_MAX, "2097152",
		.help = "and their bytes"},
	{"max", F_DURATION, LIVE, AT(conf_hold, max_ms), 0, 600000, "3s",
		.help = "how long after the commit they wait for the VM to be heard; then they go to every "
			"attachment of its segment"},
	END,
};
static const struct kind kind_conf_hold = {"hold", sizeof(struct conf_hold), fields_hold,
	"what may wait for VMs that are on their way to this router; workers share it in equal parts"};

static const struct field fields_moves[] = {
	{"prepared-max", F_DURATION, LIVE, AT(conf_moves, prepared_max_ms), 1000, DURATION_MAX, "1h",
		.help = "a move that was prepared and neither paused nor committed is aborted after this "
			"time"},
	{"paused-max", F_DURATION, LIVE, AT(conf_moves, paused_max_ms), 1000, 3600000, "30s",
		.help = "a move that was paused and not committed is prepared again after this time, and "
			"what "
			"waited for the VM goes back to its old router"},
	END,
};
static const struct kind kind_conf_moves = {
	"moves", sizeof(struct conf_moves), fields_moves, "how long a prepared move waits for its commit"};

static const struct field fields_port[] = {
	{"name", F_NAME, KEYED, AT(conf_port, name),
		.help = "name of the port in this file and in every output"},
	{"device", F_STRING, REQ, AT(conf_port, device), 1, 255,
		.help = "DPDK device: a PCI address or a device string such as net_af_packet0,iface=eth1"},
	{"role", F_ENUM, REQ, AT(conf_port, role), .words = words_role,
		.help = "wan: routed, with an address of its own; dc: segments by VLAN"},
	{"address", F_IFADDR4, 0, AT(conf_port, address), 8, 32,
		.help = "own address and length of the connected prefix; needed on a wan port, not allowed "
			"on a dc port"},
	{"mtu", F_INT, 0, AT(conf_port, mtu), MTU_MIN, MTU_MAX, "1500",
		.help = "largest IP packet, in bytes"},
	{"punt", F_BOOL, 0, AT(conf_port, punt), .def = "off",
		.help = "a wan port gives the kernel an interface with its address: packets to that address "
			"which "
			"the router itself does not answer go there; docs/security.md says what that opens"},
	{"punt-name", F_NAME, 0, AT(conf_port, punt_name),
		.help = "name of that interface, at most 15 bytes; nw- and the port's name when left out"},
	{"punt-rate", F_INT, 0, AT(conf_port, punt_rate), 1, 1000000, "1000",
		.help = "packets a second that the kernel gets at most, of ARP, of TCP and of the rest each, "
			"per "
			"worker"},
	END,
};
static const struct kind kind_conf_port = {"port", sizeof(struct conf_port), fields_port, "a data port"};

static const struct field fields_gateway_peer[] = {
	{"peer", F_NAME, KEYED, AT(conf_gateway_peer, peer), .help = "a peer that shares the segment"},
	{"mac", F_MAC, REQ, AT(conf_gateway_peer, mac), .help = "MAC of the gateway at its site"},
	END,
};
static const struct kind kind_conf_gateway_peer = {
	"peer", sizeof(struct conf_gateway_peer), fields_gateway_peer, "the gateway's MAC at another site"};

static const struct field fields_gateway[] = {
	{"address", F_IP4, REQ, AT(conf_gateway, address),
		.help = "default gateway of the VMs, inside the segment's prefix; the same at all sites"},
	{"mode", F_ENUM, 0, AT(conf_gateway, mode), .def = "shared", .words = words_gateway,
		.help = "shared: one MAC at all sites, a move needs nothing of the VM; per-site: each site "
			"has its own, "
			"and a VM that moved is told by a unicast gratuitous ARP"},
	{"mac", F_MAC, REQ, AT(conf_gateway, mac),
		.help = "its MAC; the same at all sites with mode: shared"},
	{"peers", F_LIST, LIVE, AT(conf_gateway, peers), 0, PEERS_MAX, .kind = &kind_conf_gateway_peer,
		.help = "its MAC at each other site, with mode: per-site"},
	END,
};
static const struct kind kind_conf_gateway = {"gateway", sizeof(struct conf_gateway), fields_gateway,
	"the gateway that all routers of the group share"};

static const struct field fields_attachment[] = {
	{"port", F_NAME, FIELD_KEY, AT(conf_attachment, port), .help = "a dc port; or vtep"},
	{"vlan", F_INT, FIELD_KEY, AT(conf_attachment, vlan), 0, 4094, "0",
		.help = "VLAN of the segment on this port; 0 is untagged"},
	{"vtep", F_IP4, 0, AT(conf_attachment, vtep),
		.help = "a local VTEP instead of a port: a hypervisor of this site that speaks VXLAN with "
			"the segment's "
			"VNI to router.vtep"},
	END,
};
static const struct kind kind_conf_attachment = {"attachment", sizeof(struct conf_attachment),
	fields_attachment, "where the segment is: on a dc port, or behind a local VTEP"};

static const struct field fields_storm[] = {
	{"broadcast", F_INT, 0, AT(conf_storm, broadcast), 0, 100000000, "2000",
		.help = "broadcast frames a second; 0 is no limit"},
	{"multicast", F_INT, 0, AT(conf_storm, multicast), 0, 100000000, "10000",
		.help = "multicast frames a second; 0 is no limit"},
	{"unknown-unicast", F_INT, 0, AT(conf_storm, unicast), 0, 100000000, "10000",
		.help = "frames a second to hosts that are neither registered nor learnt; 0 is no limit"},
	END,
};
static const struct kind kind_conf_storm = {
	"storm", sizeof(struct conf_storm), fields_storm, "how much is flooded at most"};

static const struct field fields_exit[] = {
	{"port", F_NAME, KEYED, AT(conf_exit, port), .help = "a wan port"},
	END,
};
static const struct kind kind_conf_exit = {
	"exit", sizeof(struct conf_exit), fields_exit, "a wan port that a routed segment may leave by"};

static const struct field fields_segment[] = {
	{"name", F_NAME, KEYED, AT(conf_segment, name), .help = "name of the segment, the same at all sites"},
	{"vni", F_INT, REQ, AT(conf_segment, vni), 1, 16777215,
		.help = "VXLAN network identifier, the same at all sites"},
	{"prefix", F_PREFIX4, REQ, AT(conf_segment, prefix), 8, 30, .help = "addresses of the segment"},
	{"gateway", F_OBJECT, REQ, AT(conf_segment, gateway), .kind = &kind_conf_gateway,
		.help = "the shared gateway"},
	{"mtu", F_INT, 0, AT(conf_segment, mtu), MTU_MIN, MTU_MAX, "1500",
		.help = "largest IP packet of its VMs, in bytes; at most that of its ports"},
	{"access", F_ENUM, 0, AT(conf_segment, access), .def = "nat", .words = words_access,
		.help = "how the world reaches VMs: nat by global addresses of the site, routed by their "
			"own"},
	{"extension", F_ENUM, 0, AT(conf_segment, extension), .def = "nearway", .words = words_extension,
		.help = "who stretches the segment over the sites: nearway by VXLAN between routers, or "
			"somebody else "
			"(external), for which the gateway's mode must be per-site"},
	{"vrf", F_NAME, 0, AT(conf_segment, vrf), .def = "default",
		.help = "tenant: segments of one vrf reach each other, those of others do not; prefixes of "
			"nat "
			"segments may overlap with other vrfs'"},
	{"storm", F_OBJECT, 0, AT(conf_segment, storm), .kind = &kind_conf_storm,
		.help = "what is flooded at most, per class; shared evenly by the workers"},
	{"macs", F_INT, 0, AT(conf_segment, macs), 0, 1000000, "4096",
		.help = "hosts nobody registered that are learnt at most; frames to others are flooded"},
	{"suppress-arp", F_BOOL, 0, AT(conf_segment, suppress_arp), .def = "on",
		.help = "answer ARP between VMs on behalf of those at other sites"},
	{"attachments", F_LIST, 0, AT(conf_segment, attachments), 0, 64, .kind = &kind_conf_attachment,
		.help = "dc ports, VLANs and local VTEPs where the segment is"},
	{"exits", F_LIST, 0, AT(conf_segment, exits), 0, 32, .kind = &kind_conf_exit,
		.help = "wan ports that a routed segment may leave by; not for nat"},
	END,
};
static const struct kind kind_conf_segment = {"segment", sizeof(struct conf_segment), fields_segment,
	"a layer 2 network of VMs that all routers of the group share"};

static const struct field fields_pool[] = {
	{"name", F_NAME, KEYED, AT(conf_pool, name), .help = "name of the pool"},
	{"prefix", F_PREFIX4, REQ, AT(conf_pool, prefix), 8, 32, .help = "its global addresses"},
	{"mode", F_ENUM, 0, AT(conf_pool, mode), .def = "routed", .words = words_pool,
		.help = "routed: the WAN routes the prefix here; on-link: it is part of a wan port's "
			"connected prefix "
			"and this router answers ARP for addresses in use"},
	END,
};
static const struct kind kind_conf_pool = {
	"pool", sizeof(struct conf_pool), fields_pool, "global addresses of this site"};

static const struct field fields_peer[] = {
	{"name", F_NAME, KEYED, AT(conf_peer, name), .help = "its router name"},
	{"key", F_KEY, REQ, AT(conf_peer, key), .help = "its public static key"},
	{"old-key", F_KEY, 0, AT(conf_peer, old_key),
		.help = "its public key before that, taken too while it changes over; none when left out"},
	{"psk", F_KEY, FIELD_SECRET, AT(conf_peer, psk),
		.help = "pre-shared key with it, in addition; none when left out"},
	{"address", F_HOSTPORT, REQ, AT(conf_peer, address), .help = "its control address and port"},
	{"vtep", F_IP4, REQ, AT(conf_peer, vtep), .help = "its VTEP"},
	{"mac", F_MAC, REQ, AT(conf_peer, mac), .help = "its router MAC"},
	{"mtu", F_INT, FIELD_UNSET, AT(conf_peer, mtu), MTU_MIN, MTU_MAX,
		.help = "largest IP packet that the way to it carries, where that is less than this router's "
			"WAN ports do; the same at all routers of the group: the smallest bounds TCP's MSS"},
	END,
};
const struct kind kind_conf_peer = {
	"peer", sizeof(struct conf_peer), fields_peer, "another router of the group"};

#define ROUTE_FIELDS(s, r)                                                                               \
	{"prefix", F_PREFIX4, KEYED, AT(s, r prefix), 0, 32,                                             \
		.help = "destination; 0.0.0.0/0 is the default route"},                                  \
		{"via", F_IP4, 0, AT(s, r via),                                                          \
			.help = "next hop, on a connected prefix unless port is given"},                 \
		{"port", F_NAME, 0, AT(s, r port),                                                       \
			.help = "wan port; without via the destination itself is the next hop"},         \
	{                                                                                                \
		"blackhole", F_BOOL, 0, AT(s, r blackhole), .def = "off",                                \
							    .help = "drop instead; without via and port" \
	}

static const struct field fields_route[] = {
	ROUTE_FIELDS(route, ),
	END,
};
const struct kind kind_route = {
	"route", sizeof(struct route), fields_route, "a static route: via, port or both, or blackhole"};

static const struct field fields_config[] = {
	{"router", F_OBJECT, REQ, AT(config, router), .kind = &kind_conf_router, .help = "this router"},
	{"dataplane", F_OBJECT, 0, AT(config, dataplane), .kind = &kind_conf_dataplane,
		.help = "CPUs and memory of the forwarding part"},
	{"limits", F_OBJECT, 0, AT(config, limits), .kind = &kind_conf_limits, .help = "sizes of the tables"},
	{"control", F_OBJECT, 0, AT(config, control), .kind = &kind_conf_control,
		.help = "sockets, key and files of the control part"},
	{"drain", F_OBJECT, 0, AT(config, drain), .kind = &kind_conf_drain,
		.help = "how long old global addresses live on after a move"},
	{"hold", F_OBJECT, 0, AT(config, hold), .kind = &kind_conf_hold,
		.help = "what may wait for VMs that are on their way to this router"},
	{"moves", F_OBJECT, 0, AT(config, moves), .kind = &kind_conf_moves,
		.help = "how long a prepared move waits for its commit"},
	{"ports", F_LIST, REQ, AT(config, ports), 1, 32, .kind = &kind_conf_port, .help = "data ports"},
	{"segments", F_LIST, 0, AT(config, segments), 0, SEGMENTS_MAX, .kind = &kind_conf_segment,
		.help = "layer 2 networks of VMs"},
	{"pools", F_LIST, 0, AT(config, pools), 0, 32, .kind = &kind_conf_pool,
		.help = "global addresses of this site"},
	{"peers", F_LIST, LIVE, AT(config, peers), 0, PEERS_MAX, .kind = &kind_conf_peer,
		.help = "the other routers of the group"},
	{"routes", F_LIST, LIVE, AT(config, routes), 0, 4096, .kind = &kind_route, .help = "static routes"},
	END,
};
const struct kind kind_config = {"config", sizeof(struct config), fields_config, "nearway.yaml"};

/* ---- run-time state ---- */

static const struct field fields_vm_address[] = {
	{"private", F_IP4, KEYED, AT(vm_address, private_ip), .help = "address of the VM in its segment"},
	{"global", F_IP4, 0, AT(vm_address, global_ip),
		.help = "its global address at this site; none when left out"},
	END,
};
const struct kind kind_vm_address = {
	"address", sizeof(struct vm_address), fields_vm_address, "an address of a VM"};

static const struct field fields_vm_live[] = {
	{"private", F_IP4, KEYED, AT(vm_address, private_ip), .help = "address of the VM in its segment"},
	{"global", F_IP4, 0, AT(vm_address, global_ip),
		.help = "its global address at the owner's site; none when left out"},
	{"since", F_INT, 0, AT(vm_address, since), 0, EPOCH_MAX, "0",
		.help = "epoch at which the VM got the global address; 0 is unknown"},
	END,
};
static const struct kind kind_vm_live = {
	"address", sizeof(struct vm_address), fields_vm_live, "an address of a VM, as routers tell it"};

static const struct field fields_vm_drain[] = {
	{"private", F_IP4, REQ, AT(vm_drain, private_ip), .help = "address of the VM in its segment"},
	{"global", F_IP4, KEYED, AT(vm_drain, global_ip), .help = "the old global address"},
	{"router", F_NAME, REQ, AT(vm_drain, router), .help = "its home: the router that translates it"},
	{"epoch", F_INT, REQ, AT(vm_drain, epoch), 1, EPOCH_MAX,
		.help = "epoch of the move that began the drain"},
	{"since", F_INT, 0, AT(vm_drain, since), 0, EPOCH_MAX, "0",
		.help = "epoch at which the VM got the address; 0 is unknown"},
	{"direct", F_BOOL, 0, AT(vm_drain, direct), .def = "off",
		.help = "what the VM sends by it, its owner translates and sends itself"},
	{"min", F_DURATION, REQ, AT(vm_drain, min_ms), 0, DURATION_MAX,
		.help = "least time it works, as asked"},
	{"max", F_DURATION, REQ, AT(vm_drain, max_ms), 0, DURATION_MAX,
		.help = "most time it works, as asked"},
	{"left-min", F_DURATION, REQ, AT(vm_drain, left_min_ms), 0, DURATION_MAX,
		.help = "what is left of min"},
	{"left-max", F_DURATION, REQ, AT(vm_drain, left_max_ms), 0, DURATION_MAX,
		.help = "what is left of max"},
	END,
};
const struct kind kind_vm_drain = {
	"drain", sizeof(struct vm_drain), fields_vm_drain, "an old global address that still works"};

static const struct field fields_vm[] = {
	{"segment", F_NAME, KEYED, AT(vm, segment), .help = "its segment"},
	{"mac", F_MAC, KEYED, AT(vm, mac), .help = "its MAC"},
	{"owner", F_NAME, REQ, AT(vm, owner), .help = "router it is registered at: its gateway"},
	{"epoch", F_INT, REQ, AT(vm, epoch), 1, EPOCH_MAX,
		.help = "number of its last move; the higher wins"},
	{"deleted", F_BOOL, 0, AT(vm, deleted), .def = "off", .help = "unregistered; kept to know the epoch"},
	{"location", F_NAME, 0, AT(vm, location),
		.help = "peer where it stands, when not at the owner's site"},
	{"addresses", F_LIST, 0, AT(vm, addresses), 0, VM_ADDRESSES_MAX, .kind = &kind_vm_live,
		.help = "its addresses"},
	{"drains", F_LIST, 0, AT(vm, drains), 0, VM_DRAINS_MAX, .kind = &kind_vm_drain,
		.help = "old global addresses that still work, oldest first"},
	END,
};
const struct kind kind_vm = {"vm", sizeof(struct vm), fields_vm, "a registered VM"};

/* ---- parameters of methods ---- */

#define GUARD(s)                                                                                      \
	{"if-revision", F_INT, FIELD_UNSET, AT(s, guard.if_revision), 0, EPOCH_MAX,                   \
		.help = "only if what it changes is at this revision; 0: only if it does not exist"}, \
	{                                                                                             \
		"dry-run", F_BOOL, 0, AT(s, guard.dry_run), .def = "off",                             \
							    .help = "check, and change nothing"       \
	}

#define HELP_SEGMENT "segment of the VM"
#define HELP_MAC     "MAC of the VM"

static const struct field fields_vm_register[] = {
	{"segment", F_NAME, REQ, AT(vm_register_params, segment), .help = HELP_SEGMENT},
	{"mac", F_MAC, REQ, AT(vm_register_params, mac), .help = HELP_MAC},
	{"epoch", F_INT, 0, AT(vm_register_params, epoch), 0, EPOCH_MAX, "0",
		.help = "number that orders changes of this VM; 0 is one more than the known one"},
	{"addresses", F_LIST, REQ, AT(vm_register_params, addresses), 1, VM_ADDRESSES_MAX,
		.kind = &kind_vm_address, .help = "private addresses, each with its global one of this site"},
	GUARD(vm_register_params),
	END,
};
const struct kind kind_vm_register_params = {
	"vm_register", sizeof(struct vm_register_params), fields_vm_register, "registration of a VM"};

static const struct field fields_vm_old[] = {
	{"private", F_IP4, REQ, AT(vm_old, private_ip), .help = "address of the VM in its segment"},
	{"global", F_IP4, KEYED, AT(vm_old, global_ip), .help = "its global address there"},
	{"router", F_NAME, REQ, AT(vm_old, router), .help = "the router that translates it"},
	{"epoch", F_INT, 0, AT(vm_old, epoch), 0, EPOCH_MAX, "0",
		.help = "number of the move that made it old; 0 is this one"},
	END,
};
static const struct kind kind_vm_old = {
	"old", sizeof(struct vm_old), fields_vm_old, "a global address of a VM at another router"};

static const struct field fields_vm_move[] = {
	{"segment", F_NAME, REQ, AT(vm_move_params, segment), .help = HELP_SEGMENT},
	{"mac", F_MAC, REQ, AT(vm_move_params, mac), .help = HELP_MAC},
	{"epoch", F_INT, 0, AT(vm_move_params, epoch), 0, EPOCH_MAX, "0",
		.help = "number of this move; 0 is one more than the known one"},
	{"addresses", F_LIST, REQ, AT(vm_move_params, addresses), 1, VM_ADDRESSES_MAX,
		.kind = &kind_vm_address,
		.help = "private addresses, each with its new global one of this site"},
	{"drain-min", F_DURATION, FIELD_UNSET, AT(vm_move_params, drain_min_ms), 0, DURATION_MAX,
		.help = "least time that old global addresses work; else the router's drain.min"},
	{"drain-max", F_DURATION, FIELD_UNSET, AT(vm_move_params, drain_max_ms), 0, DURATION_MAX,
		.help = "most time that old global addresses work; else the router's drain.max"},
	{"sessions", F_ENUM, FIELD_UNSET, AT(vm_move_params, sessions), .words = session_policy_words,
		.help = "old sessions; home, when left out: go on through the routers of their addresses; "
			"direct: what the VM sends leaves here, by the old addresses; cut: they end"},
	{"old", F_LIST, 0, AT(vm_move_params, old), 0, VM_DRAINS_MAX, .kind = &kind_vm_old,
		.help = "its global addresses elsewhere, oldest first, for a router that has not heard of "
			"them"},
	GUARD(vm_move_params),
	END,
};
const struct kind kind_vm_move_params = {
	"vm_move", sizeof(struct vm_move_params), fields_vm_move, "a move of a VM to this router"};

static const struct field fields_vm_key[] = {
	{"segment", F_NAME, REQ, AT(vm_key_params, segment), .help = HELP_SEGMENT},
	{"mac", F_MAC, REQ, AT(vm_key_params, mac), .help = HELP_MAC},
	{"epoch", F_INT, 0, AT(vm_key_params, epoch), 0, EPOCH_MAX, "0",
		.help = "number that orders changes of this VM; 0 is one more than the known one"},
	GUARD(vm_key_params),
	END,
};
const struct kind kind_vm_key_params = {"vm_key", sizeof(struct vm_key_params), fields_vm_key, "names a VM"};

static const struct field fields_nat_set[] = {
	{"segment", F_NAME, REQ, AT(nat_set_params, segment), .help = HELP_SEGMENT},
	{"private", F_IP4, REQ, AT(nat_set_params, private_ip), .help = "address of the VM in its segment"},
	{"global", F_IP4, 0, AT(nat_set_params, global_ip),
		.help = "its global address; left out: it has none"},
	GUARD(nat_set_params),
	END,
};
const struct kind kind_nat_set_params = {
	"nat_set", sizeof(struct nat_set_params), fields_nat_set, "a static NAT entry"};

static const struct field fields_route_params[] = {
	ROUTE_FIELDS(route_params, route.),
	GUARD(route_params),
	END,
};
const struct kind kind_route_params = {
	"route_replace", sizeof(struct route_params), fields_route_params, "a route to be"};

static const struct field fields_route_key[] = {
	{"prefix", F_PREFIX4, REQ, AT(route_key_params, prefix), 0, 32, .help = "destination of the route"},
	GUARD(route_key_params),
	END,
};
const struct kind kind_route_key_params = {
	"route_key", sizeof(struct route_key_params), fields_route_key, "names a route"};

static const struct field fields_move_drains[] = {
	{"segment", F_NAME, REQ, AT(move_key_params, segment), .help = HELP_SEGMENT},
	{"mac", F_MAC, REQ, AT(move_key_params, mac), .help = HELP_MAC},
	{"epoch", F_INT, 0, AT(move_key_params, epoch), 0, EPOCH_MAX, "0",
		.help = "number of the move; 0 is all moves of this VM"},
	GUARD(move_key_params),
	END,
};
const struct kind kind_move_drains_params = {
	"move_drains", sizeof(struct move_key_params), fields_move_drains, "names the drains of a move"};

static const struct field fields_move_key[] = {
	{"segment", F_NAME, REQ, AT(move_key_params, segment), .help = HELP_SEGMENT},
	{"mac", F_MAC, REQ, AT(move_key_params, mac), .help = HELP_MAC},
	{"epoch", F_INT, 0, AT(move_key_params, epoch), 0, EPOCH_MAX, "0",
		.help = "number of the move; 0 is the one of this VM that is prepared or paused"},
	GUARD(move_key_params),
	END,
};
const struct kind kind_move_key_params = {
	"move_key", sizeof(struct move_key_params), fields_move_key, "names a move to this router"};

#define HELP_LIMIT  "rows of one reply; 0 is 1000"
#define HELP_CURSOR "go on from here: next of the last reply"

static const struct field fields_show[] = {
	{"limit", F_INT, 0, AT(show_params, limit), 0, 10000, "0", .help = HELP_LIMIT},
	{"cursor", F_STRING, 0, AT(show_params, cursor), 0, 63, .help = HELP_CURSOR},
	END,
};
const struct kind kind_show_params = {"show", sizeof(struct show_params), fields_show, "part of a listing"};

static const struct field fields_show_since[] = {
	{"limit", F_INT, 0, AT(show_params, limit), 0, 10000, "0", .help = HELP_LIMIT},
	{"cursor", F_STRING, 0, AT(show_params, cursor), 0, 63, .help = HELP_CURSOR},
	{"since", F_INT, FIELD_UNSET, AT(show_params, since), 0, EPOCH_MAX,
		.help = "only what changed after this revision, and what is gone since"},
	END,
};
const struct kind kind_show_since_params = {
	"show_since", sizeof(struct show_params), fields_show_since, "part of a listing"};

static const struct field fields_move_show[] = {
	{"id", F_STRING, REQ, AT(move_show_params, id), 1, MOVE_ID_LEN,
		.help = "SEGMENT/MAC@EPOCH, as show moves has it; without @EPOCH the VM's last one"},
	END,
};
const struct kind kind_move_show_params = {
	"move_show", sizeof(struct move_show_params), fields_move_show, "names a move of any router"};

#define HELP_PROTO     "IP protocol: tcp, udp, icmp or a number"
#define HELP_ETHERTYPE "ethertype: ipv4, ipv6, arp, rarp or a number such as 0x88cc"

#define MATCH_FIELDS                                                                                     \
	{"port", F_NAME, 0, AT(watch_params, match.port), .help = "port that a packet comes in by"},     \
		{"segment", F_NAME, 0, AT(watch_params, match.segment),                                  \
			.help = "segment it comes in on, at an attachment or through the tunnel"},       \
		{"vm", F_MAC, 0, AT(watch_params, match.vm),                                             \
			.help = "a registered VM: its MAC, or any of its addresses, private or global"}, \
		{"mac", F_MAC, 0, AT(watch_params, match.mac), .help = "source or destination MAC"},     \
		{"host", F_IP4, 0, AT(watch_params, match.host),                                         \
			.help = "source or destination address, of ARP too"},                            \
		{"proto", F_NAME, 0, AT(watch_params, match.proto), .help = HELP_PROTO},                 \
		{"l4-port", F_INT, 0, AT(watch_params, match.l4_port), 0, 65535, "0",                    \
			.help = "source or destination port of TCP or UDP; 0 is any"},                   \
	{                                                                                                \
		"ethertype", F_NAME, 0, AT(watch_params, match.ethertype), .help = HELP_ETHERTYPE        \
	}
#define WATCH_FIELDS                                                          \
	{"wait", F_DURATION, 0, AT(watch_params, wait_ms), 1, 3600000, "60s", \
		.help = "ends after this time, however many came"},           \
	{                                                                     \
		"cursor", F_STRING, 0, AT(watch_params, cursor), 0, 63,       \
			.help = "go on: next of the last reply"               \
	}

static const struct field fields_trace[] = {
	MATCH_FIELDS,
	{"count", F_INT, 0, AT(watch_params, count), 1, 1000, "10", .help = "how many packets"},
	WATCH_FIELDS,
	END,
};
const struct kind kind_trace_params = {
	"trace", sizeof(struct watch_params), fields_trace, "which packets to follow, as they come in"};

static const char *const words_point[] = {"rx", "tx", "drop", NULL};
static const struct field fields_capture_at[] = {
	{"point", F_ENUM, REQ, AT(capture_at, point), .words = words_point,
		.help = "rx: as received; tx: as sent; drop: as it was when dropped, with the reason"},
	END,
};
static const struct kind kind_capture_at = {
	"at", sizeof(struct capture_at), fields_capture_at, "where packets are copied"};

static const struct field fields_capture[] = {
	MATCH_FIELDS,
	{"at", F_LIST, 0, AT(watch_params, at), 0, 3, .kind = &kind_capture_at,
		.help = "where: rx, tx, drop; left out: all three. What matches when it comes in is "
			"followed"},
	{"count", F_INT, 0, AT(watch_params, count), 1, 1000000, "1000", .help = "how many copies"},
	{"snap", F_INT, 0, AT(watch_params, snap), 0, 9618, "0",
		.help = "bytes of each packet; 0 is whole packets"},
	WATCH_FIELDS,
	END,
};
const struct kind kind_capture_params = {
	"capture", sizeof(struct watch_params), fields_capture, "which packets to copy, and where"};

static const struct field fields_explain[] = {
	{"port", F_NAME, REQ, AT(explain_params, port), .help = "port that the packet comes in by"},
	{"vlan", F_INT, 0, AT(explain_params, vlan), 0, 4094, "0", .help = "its VLAN; 0 is untagged"},
	{"hex", F_STRING, 0, AT(explain_params, hex), 0, EXPLAIN_HEX_MAX,
		.help = "the whole frame from its destination MAC on, as hexadecimal digits; else it is "
			"described"},
	{"smac", F_MAC, 0, AT(explain_params, smac),
		.help = "source MAC; left out: that of the VM with this source address"},
	{"dmac", F_MAC, 0, AT(explain_params, dmac),
		.help = "destination MAC; left out: the gateway's, or the wan port's own; of ARP: broadcast"},
	{"ethertype", F_NAME, 0, AT(explain_params, ethertype),
		.help = HELP_ETHERTYPE "; arp: a request of src for dst"},
	{"src", F_IP4, 0, AT(explain_params, src), .help = "source address"},
	{"dst", F_IP4, 0, AT(explain_params, dst), .help = "destination address"},
	{"proto", F_NAME, 0, AT(explain_params, proto),
		.help = HELP_PROTO "; left out: udp with ports, else icmp: an echo request"},
	{"sport", F_INT, 0, AT(explain_params, sport), 0, 65535, "0", .help = "source port"},
	{"dport", F_INT, 0, AT(explain_params, dport), 0, 65535, "0", .help = "destination port"},
	{"flags", F_NAME, 0, AT(explain_params, flags), .def = "S",
		.help = "flags of TCP, of the letters FSRPAU"},
	{"ttl", F_INT, 0, AT(explain_params, ttl), 0, 255, "64", .help = "its TTL"},
	{"size", F_INT, 0, AT(explain_params, size), 0, 9000, "8", .help = "bytes of payload"},
	{"df", F_BOOL, 0, AT(explain_params, df), .def = "off", .help = "may not be fragmented"},
	END,
};
const struct kind kind_explain_params = {
	"explain", sizeof(struct explain_params), fields_explain, "a packet, described or in hexadecimal"};

const char *const words_event_class[] = {
	"vm", "drain", "move", "route", "peer", "controller", "alarm", "store", NULL};
static const struct field fields_event_choice[] = {
	{"class", F_ENUM, REQ, AT(event_choice, class), .words = words_event_class,
		.help = "what it is about"},
	END,
};
static const struct kind kind_event_choice = {
	"class", sizeof(struct event_choice), fields_event_choice, "a class of events"};

static const struct field fields_events[] = {
	{"after", F_STRING, 0, AT(events_params, after), 0, 63,
		.help = "cursor of the last event that was received; left out: from now on"},
	{"classes", F_LIST, 0, AT(events_params, classes), 0, 8, .kind = &kind_event_choice,
		.help = "which classes; left out: all"},
	END,
};
const struct kind kind_events_params = {
	"events", sizeof(struct events_params), fields_events, "which events to be told"};

static const struct field fields_log[] = {
	{"limit", F_INT, 0, AT(log_params, limit), 0, 10000, "0", .help = "entries of one reply; 0 is 1000"},
	{"cursor", F_STRING, 0, AT(log_params, cursor), 0, 63,
		.help = "go on from here: next of the last reply"},
	{"since", F_DURATION, 0, AT(log_params, since_ms), 0, UINT64_C(3650) * 86400000, "0ms",
		.help = "only what is younger; 0 is all"},
	END,
};
const struct kind kind_log_params = {"log", sizeof(struct log_params), fields_log, "part of the log"};

static const struct field fields_reload[] = {
	{"dry-run", F_BOOL, 0, AT(reload_params, dry_run), .def = "off",
		.help = "tell what would change, and change nothing"},
	END,
};
const struct kind kind_reload_params = {
	"reload", sizeof(struct reload_params), fields_reload, "how the configuration is read again"};

static const struct field fields_no[] = {END};
const struct kind kind_no_params = {"no", 0, fields_no, "no parameters"};

static const struct field fields_txn_change[] = {
	{"method", F_NAME, REQ, AT(txn_change, method), .help = "a method that changes, such as vm.move"},
	{"params", F_JSON, REQ, AT(txn_change, params), .help = "its parameters"},
	END,
};
static const struct kind kind_txn_change = {
	"change", sizeof(struct txn_change), fields_txn_change, "one change of a transaction"};

static const struct field fields_txn[] = {
	{"dry-run", F_BOOL, 0, AT(txn_params, dry_run), .def = "off",
		.help = "check everything, change nothing"},
	{"changes", F_LIST, REQ, AT(txn_params, changes), 1, TXN_CHANGES_MAX, .kind = &kind_txn_change,
		.help = "changes in order, all or nothing"},
	{"if-revision", F_INT, FIELD_UNSET, AT(txn_params, if_revision), 0, EPOCH_MAX,
		.help = "only if the router is at this revision"},
	END,
};
const struct kind kind_txn_params = {"txn", sizeof(struct txn_params), fields_txn, "a transaction"};

#define HELP_MAX_REMOVE "VMs and routes that may go because the list lacks them; more is refused"

static const struct field fields_replace[] = {
	{"changes", F_LIST, REQ, AT(replace_params, changes), 0, TXN_CHANGES_MAX, .kind = &kind_txn_change,
		.help = "vm.register, vm.move and route.replace of all that shall be"},
	{"max-remove", F_INT, 0, AT(replace_params, max_remove), 0, TXN_CHANGES_MAX, "0",
		.help = HELP_MAX_REMOVE},
	{"dry-run", F_BOOL, 0, AT(replace_params, dry_run), .def = "off",
		.help = "tell what would be added, changed and removed, and change nothing"},
	{"if-revision", F_INT, FIELD_UNSET, AT(replace_params, if_revision), 0, EPOCH_MAX,
		.help = "only if the router is at this revision"},
	END,
};
const struct kind kind_replace_params = {"replace", sizeof(struct replace_params), fields_replace,
	"the whole of a router's VMs and run-time routes"};

static const struct field fields_import[] = {
	{"max-remove", F_INT, 0, AT(import_params, max_remove), 0, TXN_CHANGES_MAX, "0",
		.help = HELP_MAX_REMOVE},
	{"dry-run", F_BOOL, 0, AT(import_params, dry_run), .def = "off",
		.help = "tell what would be added, changed and removed, and change nothing"},
	END,
};
const struct kind kind_import_params = {
	"import", sizeof(struct import_params), fields_import, "what to do with a file of state"};

static const struct field fields_state[] = {
	{"router", F_NAME, REQ, AT(state_file, router), .help = "whose state it is"},
	{"revision", F_INT, 0, AT(state_file, revision), 0, EPOCH_MAX, "0", .help = "of the router then"},
	{"vm-count", F_INT, FIELD_UNSET, AT(state_file, n_vms), 0, TXN_CHANGES_MAX,
		.help = "how many VMs follow; a file that has others is refused as cut"},
	{"route-count", F_INT, FIELD_UNSET, AT(state_file, n_routes), 0, TXN_CHANGES_MAX,
		.help = "how many routes follow"},
	{"vms", F_LIST, 0, AT(state_file, vms), 0, TXN_CHANGES_MAX, .kind = &kind_vm_move_params,
		.help = "the router's VMs, with their old addresses elsewhere"},
	{"routes", F_LIST, 0, AT(state_file, routes), 0, TXN_CHANGES_MAX, .kind = &kind_route,
		.help = "routes that were set at run time"},
	END,
};
const struct kind kind_state = {
	"state", sizeof(struct state_file), fields_state, "a router's VMs and run-time routes as a file"};

#define HELP_TXN "the staged transaction: txn of txn.open"

static const struct field fields_txn_open[] = {
	{"replace", F_BOOL, 0, AT(txn_open_params, replace), .def = "off",
		.help = "its changes are to be all that this router has, as for state.replace"},
	END,
};
const struct kind kind_txn_open_params = {
	"txn_open", sizeof(struct txn_open_params), fields_txn_open, "begins a staged transaction"};

static const struct field fields_txn_add[] = {
	{"txn", F_INT, REQ, AT(txn_add_params, txn), 1, TXN_ID_MAX, .help = HELP_TXN},
	{"part", F_INT, REQ, AT(txn_add_params, part), 1, TXN_CHANGES_MAX,
		.help = "number of the part: 1, 2, ...; one that is sent again must be the same"},
	{"changes", F_LIST, REQ, AT(txn_add_params, changes), 1, TXN_CHANGES_MAX, .kind = &kind_txn_change,
		.help = "changes in order"},
	END,
};
const struct kind kind_txn_add_params = {
	"txn_add", sizeof(struct txn_add_params), fields_txn_add, "a part of a staged transaction"};

static const struct field fields_txn_commit[] = {
	{"txn", F_INT, REQ, AT(txn_commit_params, txn), 1, TXN_ID_MAX, .help = HELP_TXN},
	{"count", F_INT, REQ, AT(txn_commit_params, count), 0, TXN_CHANGES_MAX,
		.help = "how many changes its parts have in all"},
	{"sha256", F_STRING, REQ, AT(txn_commit_params, sha256), SHA256_TEXT, SHA256_TEXT,
		.help = "SHA-256 of all of them in order, hexadecimal, lower case"},
	{"dry-run", F_BOOL, 0, AT(txn_commit_params, dry_run), .def = "off",
		.help = "check everything, change nothing; the transaction stays open"},
	{"max-remove", F_INT, 0, AT(txn_commit_params, max_remove), 0, TXN_CHANGES_MAX, "0",
		.help = "of a replace: " HELP_MAX_REMOVE},
	{"if-revision", F_INT, FIELD_UNSET, AT(txn_commit_params, if_revision), 0, EPOCH_MAX,
		.help = "only if the router is at this revision"},
	END,
};
const struct kind kind_txn_commit_params = {
	"txn_commit", sizeof(struct txn_commit_params), fields_txn_commit, "ends a staged transaction"};

static const struct field fields_txn_key[] = {
	{"txn", F_INT, REQ, AT(txn_key_params, txn), 1, TXN_ID_MAX, .help = HELP_TXN},
	END,
};
const struct kind kind_txn_key_params = {
	"txn_key", sizeof(struct txn_key_params), fields_txn_key, "names a staged transaction"};
