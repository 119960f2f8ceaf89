/* SPDX-License-Identifier: BSD-3-Clause */
#include "story.h"

#include "topo.h"

#include <common/addr.h>
#include <dataplane/mss.h>
#include <dataplane/stages.h>
#include <dataplane/view.h>
#include <rte_arp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- frames ---- */

struct text { /* grows in a buffer, and is cut at its end */
	char *p;
	size_t size, n;
};

static void put(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void
put(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->p + t->n, t->size - t->n, fmt, ap);
	va_end(ap);
	t->n = RTE_MIN(t->n + (size_t)RTE_MAX(n, 0), t->size - 1);
}

static const char *
ip_text(rte_be32_t ip, char buf[IP4_TEXT])
{
	return ip4_format(rte_be_to_cpu_32(ip), buf);
}

static const char *
mac_text(const struct rte_ether_addr *a, char buf[MAC_TEXT])
{
	struct mac m = topo_mac_back(a);

	return mac_format(&m, buf);
}

static void
put_flags(struct text *t, uint8_t flags)
{
	static const char letters[] = "FSRPAU";

	put(t, " [");
	for (int i = 0; letters[i] != '\0'; i++)
		if (flags >> i & 1)
			put(t, "%c", letters[i]);
	put(t, "]");
}

static void
put_l4(struct text *t, const struct frame_view *v)
{
	if (v->later_fragment)
		put(t, ", protocol %u, later fragment", v->proto);
	else if (v->proto == IPPROTO_ICMP && v->ports)
		put(t, ", icmp echo %s id %u seq %u", v->icmp_type == 8 ? "request" : "reply", v->sport,
			v->dport);
	else if (v->proto == IPPROTO_ICMP)
		put(t, ", icmp type %u code %u", v->icmp_type, v->icmp_code);
	else if (v->proto == IPPROTO_TCP || v->proto == IPPROTO_UDP)
		put(t, ", %s %u > %u", v->proto == IPPROTO_TCP ? "tcp" : "udp", v->sport, v->dport);
	else
		put(t, ", protocol %u", v->proto);
	if (v->proto == IPPROTO_TCP && !v->later_fragment)
		put_flags(t, v->tcp_flags);
	put(t, ", ttl %u", v->ttl);
}

static void
put_arp(struct text *t, const struct frame_view *v)
{
	char a[IP4_TEXT], b[IP4_TEXT];

	if (v->ethertype == RTE_ETHER_TYPE_RARP)
		put(t, ", rarp");
	else if (v->arp_op == RTE_ARP_OP_REQUEST)
		put(t, ", arp who has %s, tell %s", ip_text(v->dip, b), ip_text(v->sip, a));
	else
		put(t, ", arp %s tells %s", ip_text(v->sip, a), ip_text(v->dip, b));
}

static void
put_frame(struct text *t, const uint8_t *p, uint32_t len)
{
	char a[MAC_TEXT], b[MAC_TEXT], s[IP4_TEXT], d[IP4_TEXT];
	struct frame_view v;

	frame_look(p, len, &v);
	if (!v.ether) {
		put(t, "a frame of %u bytes", len);
		return;
	}
	put(t, "%s > %s", mac_text(&v.src, a), mac_text(&v.dst, b));
	if (v.vlan != 0)
		put(t, ", vlan %u", v.vlan);
	if (v.arp)
		put_arp(t, &v);
	else if (!v.ip)
		put(t, ", ethertype 0x%04x", v.ethertype);
	else
		put(t, ", %s > %s", ip_text(v.sip, s), ip_text(v.dip, d));
	if (v.inner != 0) {
		put(t, ", vxlan %u: ", v.vni);
		put_frame(t, p + v.inner, len - v.inner);
	} else if (v.ip) {
		put_l4(t, &v);
	}
}

const char *
story_frame(const uint8_t *p, uint32_t len, char buf[STORY_FRAME])
{
	struct text t = {.p = buf, .size = STORY_FRAME};

	buf[0] = '\0';
	put_frame(&t, p, len);
	return buf;
}

/* ---- what a stage decided ---- */

struct step { /* from the entry of a stage to what came next */
	const struct topology *topo;
	enum stage stage;
	const struct probe_record *a, *b;
	struct frame_view va, vb;
	json_t *said;
};

static void say(const struct step *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void
say(const struct step *s, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(s->said, json_string(text));
}

static const char *
router_name(const struct topology *t, uint8_t router)
{
	return router == ROUTER_SELF ? "this router" : router <= t->n_peers ? t->peers[router - 1].name : "?";
}

/* A peer, or a local VTEP by its address. */
static const char *
tunnel_name(const struct topology *t, uint16_t tunnel, char buf[IP4_TEXT])
{
	if (tunnel >= TOPO_VTEP_TUNNEL && tunnel < TOPO_TUNNELS)
		return ip_text(topo_tunnel_end(t, tunnel), buf);
	return router_name(t, (uint8_t)tunnel);
}

static const char *
segment_name(const struct topology *t, uint16_t seg)
{
	return seg < t->n_segments ? t->segments[seg].name : "?";
}

static const char *
port_name(const struct topology *t, uint8_t port)
{
	return port < t->n_ports ? t->ports[port].name : "?";
}

static bool
goes_to(const struct step *s, enum stage stage)
{
	return s->b->point == PROBE_STAGE && s->b->what == stage;
}

static void
say_vm(const struct step *s)
{
	const struct probe_vm *v = &s->b->vm;
	char mac[MAC_TEXT];

	if (!v->known || (s->a->vm.known && rte_is_same_ether_addr(&v->mac, &s->a->vm.mac)))
		return;
	say(s, "VM %s of segment %s, owner %s%s%s%s", mac_text(&v->mac, mac), segment_name(s->topo, v->seg),
		router_name(s->topo, v->owner), v->location != v->owner ? ", stands at " : "",
		v->location != v->owner ? router_name(s->topo, v->location) : "",
		v->n_drains != 0 ? ", draining" : "");
}

static void
say_addresses(const struct step *s)
{
	const struct frame_view *a = &s->va, *b = &s->vb;
	char x[IP4_TEXT], y[IP4_TEXT];

	if (!a->ip || !b->ip)
		return;
	if (a->sip != b->sip)
		say(s, "source %s -> %s", ip_text(a->sip, x), ip_text(b->sip, y));
	if (a->dip != b->dip)
		say(s, "destination %s -> %s", ip_text(a->dip, x), ip_text(b->dip, y));
	if (a->ttl != b->ttl)
		say(s, "TTL %u -> %u", a->ttl, b->ttl);
	if (a->l3_len > b->l3_len)
		say(s, "fragmented: this part has %u bytes", b->l3_len);
}

static void
say_macs(const struct step *s)
{
	char x[MAC_TEXT];

	if (!rte_is_same_ether_addr(&s->va.src, &s->vb.src))
		say(s, "source MAC %s", mac_text(&s->vb.src, x));
	if (!rte_is_same_ether_addr(&s->va.dst, &s->vb.dst))
		say(s, "destination MAC %s", mac_text(&s->vb.dst, x));
}

/* Value of the MSS option of a SYN, or 0. */
static uint16_t
mss_of(const struct probe_record *r, const struct frame_view *v)
{
	const uint8_t *tcp = r->data + v->l4_off;
	uint16_t room, hlen, at;

	if (v->proto != IPPROTO_TCP || v->l4_off == 0 || !(v->tcp_flags & RTE_TCP_SYN_FLAG) ||
		r->len < v->l4_off + sizeof(struct rte_tcp_hdr))
		return 0;
	room = (uint16_t)(r->len - v->l4_off);
	hlen = RTE_MIN((uint16_t)((tcp[12] >> 4) * 4), room);
	at = mss_find(tcp, hlen);
	return at != 0 ? (uint16_t)(tcp[at] << 8 | tcp[at + 1]) : 0;
}

static void
say_mss(const struct step *s)
{
	uint16_t a = mss_of(s->a, &s->va), b = mss_of(s->b, &s->vb);

	if (a != b)
		say(s, "MSS %u -> %u", a, b);
}

static void
say_way(const struct step *s)
{
	const struct meta *b = &s->b->meta;
	char x[IP4_TEXT];

	if (b->seg != s->a->meta.seg && b->seg != TOPO_NONE)
		say(s, "segment %s", segment_name(s->topo, b->seg));
	if ((goes_to(s, STAGE_NAT_OUT)) && b->nat_ip != 0)
		say(s, "by the global address %s", ip_text(b->nat_ip, x));
	if (goes_to(s, STAGE_HOME_OUT))
		say(s, "the VM drains: the home of the session decides");
	if (goes_to(s, STAGE_HOME_IN))
		say(s, "the VM drains: evidence of a session's home");
	if (goes_to(s, STAGE_ENCAP))
		say(s, "through the tunnel to %s", tunnel_name(s->topo, b->out_tunnel, x));
	if (goes_to(s, STAGE_LOCAL))
		say(s, "an address of this router");
	if (goes_to(s, STAGE_NEIGHBOUR))
		say(s, "next hop %s by %s", ip_text(b->via, x), port_name(s->topo, b->out_port));
	if (goes_to(s, STAGE_TX) && b->out_vlan != 0)
		say(s, "out by %s, vlan %u", port_name(s->topo, b->out_port), b->out_vlan);
	else if (goes_to(s, STAGE_TX))
		say(s, "out by %s", port_name(s->topo, b->out_port));
}

/* What arrives by a WAN port is a routed packet or an ARP message; at a DC port, a frame of a segment. */
static void
say_classified(const struct step *s)
{
	const struct meta *b = &s->b->meta;

	if (s->a->point != PROBE_RX)
		say(s, "goes on at %s",
			s->b->point == PROBE_STAGE ? stage_names[s->b->what].name : "its end");
	else if (goes_to(s, STAGE_SEGMENT))
		say(s, "frame of segment %s", segment_name(s->topo, b->seg));
	else if (goes_to(s, STAGE_DECAP))
		say(s, "to this router's VTEP");
	else if (goes_to(s, STAGE_ARP_WAN))
		say(s, "ARP of a routed port");
	else if (goes_to(s, STAGE_WAN))
		say(s, "IPv4 of a routed port");
}

static void
say_differences(const struct step *s)
{
	say_vm(s);
	if (s->stage == STAGE_ARP && s->va.arp_op != s->vb.arp_op)
		say(s, "answered");
	if (s->stage == STAGE_LOCAL && s->b->point == PROBE_STAGE)
		say(s, "echo is answered");
	say_addresses(s);
	say_mss(s);
	say_macs(s);
	say_way(s);
}

static const char *
tunnel_from(const struct step *s, char buf[IP4_TEXT])
{
	const struct meta *md = &s->b->meta;

	return tunnel_name(s->topo,
		md->origin == FROM_TUNNEL ? md->in_router : s->topo->attachments[md->in_att].tunnel, buf);
}

static void
say_all(const struct step *s)
{
	char x[IP4_TEXT];

	if (s->stage == STAGE_CLASSIFY) {
		say_classified(s);
	} else if (s->stage == STAGE_DECAP && goes_to(s, STAGE_SEGMENT)) {
		say(s, "from %s, segment %s", tunnel_from(s, x), segment_name(s->topo, s->b->meta.seg));
	} else if (s->stage == STAGE_ENCAP && goes_to(s, STAGE_ROUTE)) {
		say(s, "VXLAN %u to %s", s->vb.vni, tunnel_name(s->topo, s->a->meta.out_tunnel, x));
	} else {
		say_differences(s);
	}
}

/* ---- the whole ---- */

static json_t *
tell_step(const struct story *s, size_t i)
{
	const struct probe_record *a = s->records[i];
	struct step step = {.topo = s->topo, .a = a, .said = json_array()};
	uint64_t ns = (a->tsc - s->records[0]->tsc) * 1000 / RTE_MAX(s->tsc_hz / 1000000, UINT64_C(1));

	step.stage = a->point == PROBE_STAGE ? a->what : STAGE_CLASSIFY;
	if (i + 1 < s->n) {
		step.b = s->records[i + 1];
		frame_look(a->data, a->len, &step.va);
		frame_look(step.b->data, step.b->len, &step.vb);
		say_all(&step);
	}
	return json_pack("{s:s, s:I, s:o}", "stage", stage_names[step.stage].name, "ns", (json_int_t)ns,
		"decided", step.said);
}

/* Records of receipt stand for the entry of the first stage; those of making and ending are no stage. */
static bool
is_step(const struct probe_record *r)
{
	return r->point == PROBE_STAGE || r->point == PROBE_RX;
}

bool
story_has_ended(const struct probe_record *last)
{
	return last->point == PROBE_DROP || last->point == PROBE_SENT || last->point == PROBE_PUNTED;
}

static const char *
waits_for(uint8_t enter)
{
	return enter == ENTER_NEIGH	? "waits until its next hop has answered ARP"
	       : enter == ENTER_GATEWAY ? "waits for its first fragment"
					: "waits until its VM, which is on its way here, has arrived";
}

static void
tell_end(const struct story *s, json_t *o)
{
	const struct probe_record *last = s->records[s->n - 1];
	char buf[STORY_FRAME];

	if (last->point == PROBE_SENT) {
		json_object_set_new(o, "end", json_string("sent"));
		json_object_set_new(o, "by", json_string(port_name(s->topo, last->what)));
		json_object_set_new(o, "sent", json_string(story_frame(last->data, last->len, buf)));
		json_object_set_new(o, "sent-length", json_integer(last->wire_len));
	} else if (last->point == PROBE_DROP) {
		json_object_set_new(o, "end", json_string("dropped"));
		json_object_set_new(o, "reason", json_string(drop_names[last->what].name));
		json_object_set_new(o, "help", json_string(drop_names[last->what].help));
	} else if (last->point == PROBE_HELD) {
		json_object_set_new(o, "end", json_string("held"));
		json_object_set_new(o, "help", json_string(waits_for(last->what)));
	} else if (last->point == PROBE_PUNTED) {
		json_object_set_new(o, "end", json_string("punted"));
		json_object_set_new(o, "by", json_string(port_name(s->topo, last->what)));
		json_object_set_new(o, "help", json_string("given to the kernel"));
	} else {
		json_object_set_new(o, "end", json_string("unfinished"));
	}
}

static void
tell_time(int64_t ns, json_t *o)
{
	time_t seconds = (time_t)(ns / 1000000000);
	char text[48], day[24];
	struct tm tm;

	if (ns == 0)
		return;
	gmtime_r(&seconds, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%06dZ", day, (int)(ns % 1000000000 / 1000));
	json_object_set_new(o, "time", json_string(text));
}

json_t *
story_tell(const struct story *s)
{
	const struct probe_record *first = s->records[0];
	json_t *o = json_object(), *path = json_array();
	char buf[STORY_FRAME];

	json_object_set_new(o, "packet", json_integer(s->number));
	if (first->point == PROBE_MADE)
		json_object_set_new(o, "made", json_string(made_names[first->what].name));
	if (s->of != 0)
		json_object_set_new(o, "of", json_integer(s->of));
	tell_time(s->time_ns, o);
	if (first->point == PROBE_RX)
		json_object_set_new(o, "port", json_string(port_name(s->topo, first->what)));
	if (first->point == PROBE_RX && first->meta.vlan != 0)
		json_object_set_new(o, "vlan", json_integer(first->meta.vlan));
	json_object_set_new(o, "length", json_integer(first->wire_len));
	json_object_set_new(o, "frame", json_string(story_frame(first->data, first->len, buf)));
	for (size_t i = 0; i < s->n; i++)
		if (is_step(s->records[i]))
			json_array_append_new(path, tell_step(s, i));
	json_object_set_new(o, "path", path);
	tell_end(s, o);
	return o;
}
