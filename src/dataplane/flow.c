/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow.h"

#include "ip4.h"

struct ends {
	rte_be32_t src, dst;
	rte_be16_t port[2]; /* of src, of dst */
	uint8_t proto;
};

static void
set_key(struct flow *f, uint32_t vni, const struct ends *e, bool vm_is_src)
{
	f->tcp = e->proto == IPPROTO_TCP;
	f->key = (struct session_key){
		.vm = vm_is_src ? e->src : e->dst,
		.remote = vm_is_src ? e->dst : e->src,
		.vm_port = e->port[vm_is_src ? 0 : 1],
		.remote_port = e->proto == IPPROTO_ICMP ? 0 : e->port[vm_is_src ? 1 : 0],
		.vni_proto = vni << 8 | e->proto,
	};
}

static uint8_t
tells(const struct meta *md, enum flow_dir dir)
{
	uint8_t t = 0;

	if (md->tcp_flags & TCP_FIN)
		t |= dir == FLOW_FROM_VM ? SESSION_FIN_FROM_VM : SESSION_FIN_TO_VM;
	if (md->tcp_flags & TCP_RST)
		t |= SESSION_RST;
	return t;
}

void
flow_of(const struct worker *w, struct rte_mbuf *m, enum flow_dir dir, struct flow *f)
{
	const struct meta *md = meta(m);
	const struct rte_ipv4_hdr *ip = ip4_hdr(m);
	uint32_t vni = w->topo->segments[md->seg].vni;
	struct ends e = {
		.src = ip->src_addr, .dst = ip->dst_addr, .port = {md->sport, md->dport}, .proto = md->proto};
	struct ip4_quoted q;

	*f = (struct flow){.known = md->fragment != 2};
	if ((md->flags & META_ICMP_ERROR) && ip4_quoted(m, &q)) {
		f->quoted = true;
		e = (struct ends){.src = q.ip->src_addr, .dst = q.ip->dst_addr, .proto = q.ip->next_proto_id};
		ip4_ports(e.proto, q.l4, q.l4_len, e.port);
		set_key(f, vni, &e, dir == FLOW_TO_VM); /* what it quotes went the other way */
		return;
	}
	set_key(f, vni, &e, dir == FLOW_FROM_VM);
	if (f->tcp && f->known) {
		f->syn = ip4_is_tcp_syn(md);
		f->tells = tells(md, dir);
	}
}

bool
flow_home(const struct worker *w, const struct flow *f, uint8_t tells, rte_be32_t *home)
{
	struct sessions *s = w->tables->sessions;

	return (w->scratch ? sessions_peek(s, &f->key, home)
			   : sessions_find(s, &f->key, w->tick, tells, home)) == SESSION_FOUND;
}
