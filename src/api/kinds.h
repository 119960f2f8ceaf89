/* SPDX-License-Identifier: BSD-3-Clause */
/* kinds.h - the objects of Nearway: the C structs that the field tables in kinds.c describe.
 * Words: site, router, group, peer, segment, VM, owner, location, epoch, drain, move.
 */
#pragma once

#include "schema.h"

/* ---- configuration: nearway.yaml ---- */

enum poll_mode { POLL_BUSY, POLL_ADAPTIVE };
enum memory_mode { MEMORY_AUTO, MEMORY_HUGEPAGES, MEMORY_NO_HUGE };
enum port_role { PORT_WAN, PORT_DC };
enum access_mode { ACCESS_NAT, ACCESS_ROUTED };
enum extension_mode { EXTENSION_NEARWAY, EXTENSION_EXTERNAL };
enum gateway_mode { GATEWAY_SHARED, GATEWAY_PER_SITE };
enum pool_mode { POOL_ROUTED, POOL_ON_LINK };

struct conf_router {
	char name[NAME_LEN + 1]; /* unique in the group; also the name on the control channel */
	char site[NAME_LEN + 1];
	struct mac mac; /* router MAC */
	ip4 vtep;     /* source of its VXLAN packets: an address of one of its WAN ports; 0 = no extension */
	bool transit; /* WAN to WAN forwarding: the R_U role */
};

struct conf_dataplane {
	char cpus[64]; /* worker CPUs, one worker each: "1" or "2-5,8" */
	uint64_t control_cpu;
	int memory; /* enum memory_mode */
	int poll;   /* enum poll_mode */
};

struct conf_limits {
	uint64_t vms, tombstones, routes, neighbours, macs, sessions;
	uint64_t mbufs; /* 0 = computed from ports and workers */
	uint64_t rx_ring;
	uint64_t arp_rate; /* ARP a second of one host, for each worker; 0 = no limit */
};

struct conf_port {
	char name[NAME_LEN + 1];
	char device[256];	      /* any DPDK device string or PCI address */
	int role;		      /* enum port_role */
	struct prefix4 address;	      /* WAN: own address and the connected prefix's length; len 0 = none */
	uint64_t mtu;		      /* bytes of IP */
	bool punt;		      /* WAN: the kernel gets what the router itself does not answer */
	char punt_name[NAME_LEN + 1]; /* of the kernel's interface; "" = conf_punt_name() makes one */
	uint64_t punt_rate;	      /* packets a second, of each class and worker */
};

struct conf_attachment { /* a port, or a hypervisor that speaks VXLAN */
	char port[NAME_LEN + 1];
	uint64_t vlan; /* 0 = untagged */
	ip4 vtep;      /* 0 = none */
};

struct conf_exit {
	char port[NAME_LEN + 1];
};

struct conf_gateway_peer {
	char peer[NAME_LEN + 1];
	struct mac mac;
};

struct conf_gateway {
	ip4 address;
	struct mac mac;	   /* shared: the same at all sites of the group */
	int mode;	   /* enum gateway_mode */
	struct list peers; /* conf_gateway_peer: per-site MACs of the others */
};

struct conf_storm { /* flooded frames a second; 0 = no limit */
	uint64_t broadcast, multicast, unicast;
};

struct conf_segment {
	char name[NAME_LEN + 1];
	uint64_t vni;
	struct prefix4 prefix;
	struct conf_gateway gateway;
	uint64_t mtu;
	int access;    /* enum access_mode */
	int extension; /* enum extension_mode */
	char vrf[NAME_LEN + 1];
	struct conf_storm storm;
	uint64_t macs;		 /* learnt ones at most */
	bool suppress_arp;	 /* answer ARP between VMs for those at peers */
	struct list attachments; /* conf_attachment */
	struct list exits;	 /* conf_exit: WAN ports a routed segment may leave by */
};

struct conf_pool { /* global addresses of this site */
	char name[NAME_LEN + 1];
	struct prefix4 prefix;
	int mode; /* enum pool_mode */
};

#define PEERS_MAX    32
#define SEGMENTS_MAX 256

struct conf_peer { /* another router of the group */
	char name[NAME_LEN + 1];
	uint8_t key[KEY_LEN];		/* its public static key */
	uint8_t old_key[KEY_LEN];	/* the one before, while it is being replaced; zero = none */
	char address[HOSTPORT_LEN + 1]; /* of its control channel */
	ip4 vtep;
	struct mac mac; /* its router MAC */
	uint64_t mtu;	/* of the way to it; UINT64_MAX = what our WAN ports carry */
	uint8_t psk[KEY_LEN];
	bool removed; /* since the start: it keeps its index, and is nothing else any more (config_follow()) */
};

struct conf_controller { /* or an observer */
	char name[NAME_LEN + 1];
	uint8_t key[KEY_LEN];
	uint8_t old_key[KEY_LEN]; /* the one before, while it is being replaced; zero = none */
	uint8_t psk[KEY_LEN];
};

struct conf_control {
	char listen[HOSTPORT_LEN + 1];
	char metrics[HOSTPORT_LEN + 1];
	char key_file[256];
	char socket[108];
	char state[256];
	char runtime[256]; /* directory on tmpfs for the session table */
	uint64_t log_rows;
	struct list controllers; /* conf_controller */
	struct list observers;	 /* conf_controller */
};

enum home_lost { HOME_LOST_WAIT, HOME_LOST_CUT };

struct conf_drain { /* defaults for a move that says nothing */
	uint64_t min_ms, max_ms;
	int on_home_lost; /* enum home_lost */
	uint64_t home_lost_after_ms;
};

struct conf_hold { /* packets for VMs that are on their way here */
	uint64_t packets, bytes, vm_packets, vm_bytes;
	uint64_t max_ms;
};

struct conf_moves { /* how long a move that was prepared waits */
	uint64_t prepared_max_ms, paused_max_ms;
};

struct route { /* also at run time: route.replace */
	struct prefix4 prefix;
	ip4 via;		 /* 0 with `port`: connected; 0 without: blackhole */
	char port[NAME_LEN + 1]; /* needed only where `via` is not on a connected prefix */
	bool blackhole;
};

struct config {
	struct conf_router router;
	struct conf_dataplane dataplane;
	struct conf_limits limits;
	struct conf_control control;
	struct conf_drain drain;
	struct conf_hold hold;
	struct conf_moves moves;
	struct list ports, segments, pools, peers, routes;
};

extern const struct kind kind_config, kind_conf_controller, kind_conf_observer, kind_conf_peer, kind_route;

/* Cross-field checks: references exist, prefixes do not overlap, gateway inside prefix, MACs differ...
 * Adds faults with their source positions; `tree`/`src` may be NULL. 0 or -EINVAL. */
int config_check(const struct config *c, const json_t *tree, const struct source *src, struct faults *f);
/* Reads, checks; 0 or -EINVAL with all faults and `c` zeroed. */
int config_load(const char *file, struct config *c, struct faults *f);
/* Whether a route, of the file or of route.replace, can be used with this configuration; 0 or -EINVAL. */
int config_check_route(const struct config *c, const struct route *r, struct err *e);
/* Makes `next`, which was read and checked, ready to replace `running` without a restart: its peers keep the places they
 * have, removed ones too. Adds to `changed`, an array, a line for whatever differs. -EINVAL: a fault for each key that needs
 * a restart. */
int config_follow(const struct config *running, struct config *next, json_t *changed, struct faults *f);
/* Bytes of IP that every way between the routers of the group carries, as far as the file knows: the least of the WAN ports and of the peers. */
uint64_t config_group_mtu(const struct config *c);
uint64_t config_wan_mtu(const struct config *c); /* of the WAN ports alone: VXLAN may leave by each */
/* That no caller has this router's own key; 0 or -EINVAL. */
int config_check_own_key(const struct config *c, const uint8_t public_key[KEY_LEN], struct err *e);
/* Name of the kernel interface of a port that punts. False: the one that its own name makes is too long. */
#define PUNT_NAME_LEN 15
bool conf_punt_name(const struct conf_port *p, char name[PUNT_NAME_LEN + 1]);
/* "2-5,8" as numbers in that order; how many, or -EINVAL: malformed, twice the same, above CPU_MAX; -ENOSPC: more
 * than `max`. */
#define CPU_MAX 1023
int cpus_parse(const char *text, uint16_t *cpus, size_t max);

/* ---- run-time state ---- */

#define VM_ADDRESSES_MAX 4 /* private addresses of one VM */
#define VM_DRAINS_MAX	 4 /* global addresses that drain at once */

struct vm_address {
	ip4 private_ip;
	ip4 global_ip;	/* 0 = none */
	uint64_t since; /* a VM's, not a parameter: the epoch at which it got the global one; 0 = unknown */
};

struct vm_drain { /* an old global address that still works for a given time; named by its move */
	ip4 private_ip;
	ip4 global_ip;
	char router[NAME_LEN + 1]; /* its home */
	uint64_t epoch;		   /* of the move that began it */
	uint64_t since;		   /* the epoch at which the VM got it */
	bool direct;		   /* what the VM sends by it, its owner translates and sends itself */
	uint64_t min_ms, max_ms;   /* as asked */
	uint64_t left_min_ms, left_max_ms; /* of these, when written; counted down by the home alone */
};

struct vm {
	char segment[NAME_LEN + 1];
	struct mac mac;
	char owner[NAME_LEN + 1];
	uint64_t epoch;
	bool deleted;		     /* a tombstone */
	char location[NAME_LEN + 1]; /* "" = at the owner's own attachments, else a peer's name */
	struct list addresses;	     /* vm_address, at most VM_ADDRESSES_MAX */
	struct list drains;	     /* vm_drain, oldest first, at most VM_DRAINS_MAX */
};

extern const struct kind kind_vm, kind_vm_address, kind_vm_drain;

/* ---- parameters of methods (methods.def) ---- */

/* First of all in the parameters of a change. */
struct change_guard {
	uint64_t if_revision; /* its object must be at it; 0: must not exist; UINT64_MAX: whatever it is at */
	bool dry_run;
};

struct vm_register_params {
	struct change_guard guard;
	char segment[NAME_LEN + 1];
	struct mac mac;
	uint64_t epoch; /* 0: one more than what is known */
	struct list addresses;
};

struct vm_old { /* a global address of the VM at another router, live or draining there */
	ip4 private_ip;
	ip4 global_ip;
	char router[NAME_LEN + 1];
	uint64_t epoch; /* of the move that makes it old; 0: the one that it is told with */
};

enum session_policy { SESSIONS_HOME, SESSIONS_DIRECT, SESSIONS_CUT };
extern const char *const session_policy_words[];

struct vm_move_params { /* told to the new router alone */
	struct change_guard guard;
	char segment[NAME_LEN + 1];
	struct mac mac;
	uint64_t epoch;			     /* 0: one more than what is known */
	struct list addresses;		     /* with the new site's global addresses */
	uint64_t drain_min_ms, drain_max_ms; /* UINT64_MAX = the router's configured default */
	int sessions;			     /* enum session_policy; below 0: home */
	struct list old;		     /* vm_old, oldest first, at most VM_DRAINS_MAX */
};

struct vm_key_params {
	struct change_guard guard;
	char segment[NAME_LEN + 1];
	struct mac mac;
	uint64_t epoch;
};

struct nat_set_params { /* global_ip 0 removes the entry */
	struct change_guard guard;
	char segment[NAME_LEN + 1];
	ip4 private_ip;
	ip4 global_ip;
};

struct route_params {
	struct change_guard guard;
	struct route route;
};

struct route_key_params {
	struct change_guard guard;
	struct prefix4 prefix;
};

struct move_key_params {
	struct change_guard guard;
	char segment[NAME_LEN + 1];
	struct mac mac;
	uint64_t epoch; /* the move's; 0: the open one, or (move.finish, move.cut) all that drain */
};

struct show_params {
	uint64_t limit;	 /* rows; 0 = 1,000 */
	char cursor[64]; /* "" = from the start; else the `next` of the last reply */
	uint64_t since; /* what changed after this revision; UINT64_MAX: all that is. show.vms, show.routes */
};

#define MOVE_ID_LEN (NAME_LEN + 39) /* SEGMENT/MAC@EPOCH */

struct move_show_params {
	char id[MOVE_ID_LEN + 1];
};

/* Which packets; what is left out asks nothing. MACs, addresses and ports: of either end, inside a tunnel too. */
struct packet_match {
	char port[NAME_LEN + 1];
	char segment[NAME_LEN + 1];
	struct mac vm; /* a registered one: its MAC, or any of its addresses */
	struct mac mac;
	ip4 host;
	char proto[NAME_LEN + 1];
	uint64_t l4_port;
	char ethertype[NAME_LEN + 1];
};

enum capture_point { CAPTURE_RX, CAPTURE_TX, CAPTURE_DROP };

struct capture_at {
	int point; /* enum capture_point */
};

struct watch_params { /* of trace and capture */
	struct packet_match match;
	uint64_t count;
	uint64_t wait_ms;
	struct list at;	 /* capture_at; none: all. capture only */
	uint64_t snap;	 /* capture only */
	char cursor[64]; /* "" = begin; else the `next` of the last reply */
};

#define EXPLAIN_HEX_MAX 19200

struct reload_params {
	bool dry_run;
};

struct log_params {
	uint64_t limit;
	char cursor[64];
	uint64_t since_ms; /* 0 = all */
};

enum event_class { /* words_event_class */
	EVENTS_VM,
	EVENTS_DRAIN,
	EVENTS_MOVE,
	EVENTS_ROUTE,
	EVENTS_PEER,
	EVENTS_CONTROLLER,
	EVENTS_ALARM,
	EVENTS_STORE,
};

extern const char *const words_event_class[];

struct event_choice {
	int class; /* enum event_class */
};

struct events_params {
	char after[64];	     /* cursor; "" = from now on */
	struct list classes; /* event_choice; none: all */
};

struct explain_params {
	char port[NAME_LEN + 1];
	uint64_t vlan;
	char hex[EXPLAIN_HEX_MAX + 1]; /* the whole frame; else it is described by what follows */
	struct mac smac, dmac;
	char ethertype[NAME_LEN + 1];
	ip4 src, dst;
	char proto[NAME_LEN + 1];
	uint64_t sport, dport;
	char flags[NAME_LEN + 1]; /* of TCP: letters of FSRPAU */
	uint64_t ttl, size;
	bool df;
};

extern const struct kind kind_vm_register_params, kind_vm_move_params, kind_vm_key_params,
	kind_nat_set_params, kind_route_params, kind_route_key_params, kind_move_drains_params,
	kind_move_key_params, kind_show_params, kind_show_since_params, kind_no_params, kind_reload_params,
	kind_trace_params, kind_capture_params, kind_explain_params, kind_events_params, kind_log_params,
	kind_move_show_params;
