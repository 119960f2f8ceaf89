/* SPDX-License-Identifier: BSD-3-Clause */
#include "show.h"

#include "census.h"
#include "doctor.h"
#include "dp.h"
#include "loop.h"
#include "macs.h"
#include "neighs.h"
#include "pools.h"
#include "punt.h"
#include "topo.h"

#include <common/addr.h>
#include <inttypes.h>
#include <rte_ethdev.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_DEFAULT 1000

struct rows { /* a list under construction */
	json_t *rows;
	uint64_t limit;
	bool full;
};

static void
add_row(struct rows *r, json_t *row)
{
	json_array_append_new(r->rows, row);
	r->full = json_array_size(r->rows) >= r->limit;
}

/* Tables are walked by position: what is added or removed meanwhile may or may not be seen, all else is seen once. */
static json_t *
finish(struct rows *r, uint32_t next)
{
	json_t *o = json_object();
	char cursor[16];

	json_object_set_new(o, "rows", r->rows);
	if (r->full) {
		snprintf(cursor, sizeof(cursor), "%" PRIu32, next);
		json_object_set_new(o, "next", json_string(cursor));
	}
	return o;
}

static void
set_int(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void
set_text(json_t *o, const char *key, const char *v)
{
	json_object_set_new(o, key, json_string(v));
}

static void
set_ip(json_t *o, const char *key, rte_be32_t ip)
{
	char text[IP4_TEXT];

	set_text(o, key, ip4_format(rte_be_to_cpu_32(ip), text));
}

static void
set_mac(json_t *o, const char *key, const struct rte_ether_addr *a)
{
	struct mac m = topo_mac_back(a);
	char text[MAC_TEXT];

	set_text(o, key, mac_format(&m, text));
}

/* ---- counters ---- */

static uint64_t
sum(const uint64_t *v, int n)
{
	uint64_t s = 0;

	for (int i = 0; i < n; i++)
		s += v[i];
	return s;
}

static void
add_counts(struct counts *to, const struct counts *c)
{
	to->received += c->received;
	to->released += c->released;
	to->sent += c->sent;
	to->held += c->held;
	to->punted += c->punted;
	to->sessions_full += c->sessions_full;
	to->home_away += c->home_away;
	to->passed += c->passed;
	for (int i = 0; i < DROPS; i++)
		to->drop[i] += c->drop[i];
	for (int i = 0; i < MADES; i++)
		to->made[i] += c->made[i];
	for (int i = 0; i < EVENTS; i++) {
		to->events[i] += c->events[i];
		to->events_lost[i] += c->events_lost[i];
	}
	for (int i = 0; i < STAGES; i++) {
		to->stage[i].packets += c->stage[i].packets;
		to->stage[i].calls += c->stage[i].calls;
		to->stage[i].timed += c->stage[i].timed;
		to->stage[i].cycles += c->stage[i].cycles;
	}
	for (int i = 0; i < TOPO_PORTS; i++) {
		to->port[i].rx_packets += c->port[i].rx_packets;
		to->port[i].rx_bytes += c->port[i].rx_bytes;
		to->port[i].tx_packets += c->port[i].tx_packets;
		to->port[i].tx_bytes += c->port[i].tx_bytes;
		to->port[i].tx_drops += c->port[i].tx_drops;
	}
}

static void
totals(struct dp *dp, struct counts *to)
{
	struct loop_counts one;

	memset(to, 0, sizeof(*to));
	for (uint16_t i = 0; i < dp->plan->n_workers; i++) {
		loop_counts(dp->loops[i], &one);
		add_counts(to, &one.c);
	}
}

static void
set_packets(json_t *o, const struct counts *c)
{
	set_int(o, "received", c->received);
	set_int(o, "made", sum(c->made, MADES));
	set_int(o, "released", c->released);
	set_int(o, "sent", c->sent);
	set_int(o, "dropped", sum(c->drop, DROPS));
	set_int(o, "held", c->held);
	set_int(o, "punted", c->punted);
}

/* ---- status ---- */

static json_t *
worker_row(struct dp *dp, uint16_t i, struct counts *total, int64_t *imbalance)
{
	struct loop_counts n;
	json_t *o = json_object();

	loop_counts(dp->loops[i], &n);
	add_counts(total, &n.c);
	*imbalance += n.exact ? n.imbalance : 0;
	set_int(o, "worker", i);
	set_int(o, "cpu", dp->plan->cpu[i]);
	set_text(o, "state", n.asleep ? "asleep" : "running");
	set_int(o, "sleeps", n.sleeps);
	set_packets(o, &n.c);
	set_int(o, "passed", n.c.passed);
	set_int(o, "waiting", n.n_hold);
	set_int(o, "waiting-for-vms", n.n_vm_hold);
	json_object_set_new(o, "imbalance", n.exact ? json_integer(n.imbalance) : json_null());
	return o;
}

static json_t *
tables_object(struct dp *dp)
{
	const struct tables *t = &dp->tables;
	json_t *o = json_object();
	uint64_t sessions;

	census_sessions(dp->census, 0, &sessions);
	set_int(o, "vms", vmtab_count(t->vms));
	set_int(o, "routes", routetab_count(t->routes));
	set_int(o, "neighbours", neightab_count(t->neighbours));
	set_int(o, "neighbours-refused", neighs_refused(dp->neighs));
	set_int(o, "macs", mactab_count(t->macs));
	set_int(o, "macs-refused", macs_refused(dp->macs));
	set_int(o, "vms-timed", rtt_vms(t->rtt));
	set_int(o, "vms-timed-waiting", rtt_waiting(t->rtt));
	set_int(o, "sessions", sessions);
	json_object_set_new(o, "sessions-taken-up", json_boolean(!dp->sessions_fresh));
	return o;
}

static json_t *
events_object(const struct counts *c)
{
	json_t *o = json_object();

	for (int i = 0; i < EVENTS; i++) {
		json_t *one = json_object();

		set_int(one, "told", c->events[i]);
		set_int(one, "lost", c->events_lost[i]);
		json_object_set_new(o, event_names[i].name, one);
	}
	return o;
}

static json_t *
view_status(struct dp *dp)
{
	json_t *o = json_object(), *workers = json_array(), *packets = json_object(), *made = json_object();
	int64_t imbalance = 0;
	struct counts total;

	memset(&total, 0, sizeof(total));
	for (uint16_t i = 0; i < dp->plan->n_workers; i++)
		json_array_append_new(workers, worker_row(dp, i, &total, &imbalance));
	set_packets(packets, &total);
	json_object_set_new(packets, "imbalance", json_integer(imbalance));
	for (int i = 0; i < MADES; i++)
		set_int(made, made_names[i].name, total.made[i]);
	set_text(o, "memory", dp->plan->hugepages ? "hugepages" : "no-huge");
	set_int(o, "memory-mb", dp->plan->memory_mb);
	set_text(o, "poll", dp->config->dataplane.poll == POLL_BUSY ? "busy" : "adaptive");
	set_int(o, "mbufs", pools_size(dp->pools));
	set_int(o, "mbufs-free", pools_available(dp->pools));
	set_int(o, "sessions-full", total.sessions_full);
	set_int(o, "home-away", total.home_away);
	set_int(o, "own-frames-lost", dp->frames_lost);
	json_object_set_new(o, "packets", packets);
	json_object_set_new(o, "made", made);
	json_object_set_new(o, "events", events_object(&total));
	json_object_set_new(o, "tables", tables_object(dp));
	json_object_set_new(o, "workers", workers);
	return o;
}

/* ---- lists ---- */

/* `every`: those too that there were none of. */
static json_t *
view_drops(struct dp *dp, struct rows *r, bool every)
{
	struct counts total;

	totals(dp, &total);
	for (int i = 0; i < DROPS; i++) {
		json_t *o;

		if (total.drop[i] == 0 && !every)
			continue;
		o = json_object();
		set_text(o, "reason", drop_names[i].name);
		set_int(o, "packets", total.drop[i]);
		set_text(o, "help", drop_names[i].help);
		json_array_append_new(r->rows, o);
	}
	return finish(r, 0);
}

static json_t *
view_stages(struct dp *dp, struct rows *r)
{
	struct counts total;

	totals(dp, &total);
	for (int i = 0; i < STAGES; i++) {
		const struct stage_count *c = &total.stage[i];
		json_t *o = json_object();

		set_text(o, "stage", stage_names[i].name);
		set_int(o, "packets", c->packets);
		set_int(o, "calls", c->calls);
		set_int(o, "cycles-per-packet", c->timed != 0 ? c->cycles / c->timed : 0);
		set_text(o, "help", stage_names[i].help);
		json_array_append_new(r->rows, o);
	}
	return finish(r, 0);
}

static void
set_punt(struct dp *dp, json_t *o, uint16_t port)
{
	struct punt_info p;

	if (!punt_info(dp->punt, port, &p))
		return;
	set_text(o, "punt", p.name);
	set_int(o, "punt-in", p.in);
	set_int(o, "punt-in-lost", p.in_lost);
	set_int(o, "punt-out", p.out);
	set_int(o, "punt-out-refused", p.out_refused);
	set_int(o, "punt-out-lost", p.out_lost);
}

static json_t *
port_row(struct dp *dp, uint16_t i, const struct port_count *c)
{
	const struct port *p = ports_at(dp->ports, i);
	const struct topo_port *t = &dp->topo->ports[i];
	struct rte_eth_stats stats;
	json_t *o = json_object();

	memset(&stats, 0, sizeof(stats));
	rte_eth_stats_get(p->id, &stats);
	set_text(o, "port", t->name);
	set_text(o, "role", t->role == TOPO_WAN ? "wan" : "dc");
	set_text(o, "device", dp->plan->ports[i].args);
	set_text(o, "driver", p->driver);
	set_text(o, "link", p->up ? "up" : "down");
	set_mac(o, "mac", &t->mac);
	if (t->ip != 0)
		set_ip(o, "address", t->ip);
	set_int(o, "mtu", t->mtu);
	set_int(o, "rx-queues", p->rxqs);
	set_int(o, "tx-queues", p->txqs);
	set_text(o, "wake", dp->config->dataplane.poll == POLL_BUSY ? "busy" : port_wake_name(p));
	set_int(o, "rx-packets", c->rx_packets);
	set_int(o, "rx-bytes", c->rx_bytes);
	set_int(o, "rx-missed", ports_missed(dp->ports, i));
	set_int(o, "tx-packets", c->tx_packets);
	set_int(o, "tx-bytes", c->tx_bytes);
	set_int(o, "tx-drops", c->tx_drops);
	set_int(o, "tx-errors", stats.oerrors);
	set_punt(dp, o, i);
	return o;
}

static json_t *
view_ports(struct dp *dp, struct rows *r, uint32_t next)
{
	struct counts total;

	totals(dp, &total);
	for (; next < dp->topo->n_ports && !r->full; next++)
		add_row(r, port_row(dp, next, &total.port[next]));
	r->full &= next < dp->topo->n_ports;
	return finish(r, next);
}

static json_t *
view_routes(struct dp *dp, struct rows *r, uint32_t next)
{
	static const char *const kinds[] = {"none", "connected", "via", "blackhole", "segment"};
	struct nexthop nh;
	rte_be32_t addr;
	uint16_t vrf;
	uint8_t len;

	while (!r->full && routetab_next(dp->tables.routes, &next, &vrf, &addr, &len, &nh)) {
		struct prefix4 p = {.addr = rte_be_to_cpu_32(addr), .len = len};
		json_t *o = json_object();
		char text[PREFIX4_TEXT];

		set_text(o, "prefix", prefix4_format(&p, text));
		set_text(o, "kind", kinds[nh.kind]);
		if (nh.kind == NH_VIA)
			set_ip(o, "via", nh.via);
		if (nh.kind == NH_VIA || nh.kind == NH_CONNECTED)
			set_text(o, "port", dp->topo->ports[nh.port].name);
		if (nh.kind == NH_SEGMENT)
			set_text(o, "segment", dp->topo->segments[nh.seg].name);
		add_row(r, o);
	}
	return finish(r, next);
}

static json_t *
view_neighbours(struct dp *dp, struct rows *r, uint32_t next)
{
	static const char *const states[] = {"none", "resolving", "reachable", "failed"};
	struct neigh_info n;

	while (!r->full && neighs_next(dp->neighs, &next, &n)) {
		json_t *o = json_object();

		set_text(o, "port", dp->topo->ports[n.port].name);
		set_ip(o, "address", n.ip);
		set_text(o, "state", states[n.state]);
		if (n.state == NEIGH_REACHABLE)
			set_mac(o, "mac", &n.mac);
		json_object_set_new(o, "next-hop", json_boolean(n.kept));
		if (n.heard_ms != UINT64_MAX)
			set_int(o, "heard-ms-ago", n.heard_ms);
		add_row(r, o);
	}
	return finish(r, next);
}

static json_t *
view_macs(struct dp *dp, struct rows *r, uint32_t next)
{
	struct vm_key_mac key;
	struct mac_entry e;

	while (!r->full && mactab_next(dp->tables.macs, &next, &key, &e)) {
		const struct topo_attachment *a = &dp->topo->attachments[e.att];
		json_t *o = json_object();

		set_text(o, "segment", dp->topo->segments[key.seg].name);
		set_mac(o, "mac", &key.mac);
		if (e.router == ROUTER_SELF) {
			if (a->tunnel != 0) {
				set_ip(o, "vtep", topo_tunnel_end(dp->topo, a->tunnel));
			} else {
				set_text(o, "port", dp->topo->ports[a->port].name);
				set_int(o, "vlan", a->vlan);
			}
		} else {
			set_text(o, "peer", dp->topo->peers[e.router - 1].name);
		}
		set_int(o, "idle-s", macs_idle_s(dp->macs, &e));
		add_row(r, o);
	}
	return finish(r, next);
}

static const char *
proto_name(uint8_t proto, char buf[8])
{
	if (proto == IPPROTO_TCP)
		return "tcp";
	if (proto == IPPROTO_UDP)
		return "udp";
	if (proto == IPPROTO_ICMP)
		return "icmp";
	snprintf(buf, 8, "%u", proto);
	return buf;
}

static json_t *
view_sessions(struct dp *dp, struct rows *r, uint32_t next)
{
	uint32_t now_s = (uint32_t)(env_call(dp->env, now_ms) / 1000);
	struct sessions_info s;
	char buf[8];

	while (!r->full && sessions_next(dp->tables.sessions, now_s, &next, &s)) {
		uint16_t seg = topo_segment_by_vni(dp->topo, s.key.vni_proto >> 8);
		bool ended = (s.flags & SESSION_RST) != 0 ||
			     (s.flags & (SESSION_FIN_FROM_VM | SESSION_FIN_TO_VM)) ==
				     (SESSION_FIN_FROM_VM | SESSION_FIN_TO_VM);
		json_t *o = json_object();

		set_text(o, "segment", seg != TOPO_NONE ? dp->topo->segments[seg].name : "?");
		set_text(o, "protocol", proto_name(s.key.vni_proto & 0xff, buf));
		set_ip(o, "vm", s.key.vm);
		set_int(o, "vm-port", rte_be_to_cpu_16(s.key.vm_port));
		set_ip(o, "remote", s.key.remote);
		set_int(o, "remote-port", rte_be_to_cpu_16(s.key.remote_port));
		set_ip(o, "home", s.home);
		set_text(o, "state", ended ? "ended" : "live");
		set_int(o, "idle-s", s.idle_s);
		add_row(r, o);
	}
	return finish(r, next);
}

json_t *
show_view(struct dp *dp, const char *what, const char *cursor, uint64_t limit)
{
	static const struct {
		const char *name;
		json_t *(*view)(struct dp *dp, struct rows *r, uint32_t next);
	} walks[] = {{"ports", view_ports}, {"routes", view_routes}, {"neighbours", view_neighbours},
		{"macs", view_macs}, {"sessions", view_sessions}};
	struct rows r = {.limit = limit != 0 ? limit : ROWS_DEFAULT};
	uint32_t next = cursor != NULL ? (uint32_t)strtoul(cursor, NULL, 10) : 0;
	bool every;

	if (strcmp(what, "status") == 0)
		return view_status(dp);
	if (strcmp(what, "doctor") == 0)
		return doctor_rows(dp, "");
	for (size_t i = 0; i < RTE_DIM(walks); i++) {
		if (strcmp(walks[i].name, what) == 0) {
			r.rows = json_array();
			return walks[i].view(dp, &r, next);
		}
	}
	every = strcmp(what, "every-drop") == 0;
	if (!every && strcmp(what, "drops") != 0 && strcmp(what, "stages") != 0)
		return NULL;
	r.rows = json_array();
	return strcmp(what, "stages") == 0 ? view_stages(dp, &r) : view_drops(dp, &r, every);
}
