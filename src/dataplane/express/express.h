/* SPDX-License-Identifier: BSD-3-Clause */
/* express.h - what the parts of the express stage share: a burst, in lanes; order; ways to places; plain headers. */
#pragma once

#include <dataplane/ip4.h>
#include <dataplane/pipeline.h>
#include <dataplane/round_trip.h>
#include <dataplane/tables/plaintab.h>
#include <dataplane/tables/sessions_at.h>
#include <dataplane/traffic.h>
#include <dataplane/tunnel.h>
#include <dataplane/tx.h>
#include <dataplane/vmrec.h>

#define EXPRESS_VMS  256 /* that are told apart where order counts */
#define EXPRESS_WAYS 8	 /* that are kept ready in a burst */
#define NO_PLACE     UINT16_MAX

struct gate {		/* where packets come in, ready to be used */
	uint64_t key;	/* whose it is */
	uint64_t mac;	/* to which packets are routed: that of the port, or of the gateway; six bytes */
	uint16_t place; /* from a segment: attachment, or peer (plaintab.h) */
	uint16_t seg;
	bool wan, routes, bridges; /* what may go express that comes in here */
};

struct way { /* to VMs at one place, ready to be used */
	uint16_t place;
	uint16_t seg, vlan;
	bool bare; /* neither tag nor tunnel comes in front of a frame */
	bool tunnel;
	uint32_t packets, bytes; /* that went there, not counted for the segment yet */
	struct vec *out;	 /* of its port, with room for a burst */
	/* Source MAC and ethertype of what is routed, as they stand in the frame: written as one word. */
	struct rte_ether_addr from;
	rte_be16_t type;
	struct tunnel_hdr hdr; /* when `tunnel` */
	uint16_t mtu;	       /* bytes of IP, routed; 0: none goes this way */
	uint16_t most;	       /* bytes of a bridged frame */
};

/* Packets of a burst that take the same steps, side by side. */
struct lane {
	uint16_t n;
	uint16_t found;			      /* of them, the VMs of the first so many are */
	uint64_t homes;			      /* bit i: the i-th one's has homes */
	uint8_t at[BURST_MAX];		      /* in the burst */
	uint8_t home[BURST_MAX];	      /* of a VM that has homes: which of burst.homes */
	uint16_t place[BURST_MAX];	      /* where it came from */
	struct rte_ether_hdr *eth[BURST_MAX]; /* in a tunnelled packet: the inner one */
	const struct plain_line *line[BURST_MAX];
	const struct plain_vm *vm[BURST_MAX];
	/* bridged: of the VM that it is to */
	const struct plain_line *to_line[BURST_MAX];
	const struct plain_vm *to[BURST_MAX];
};

struct homes { /* sessions of packets that are to, or from, VMs that have homes */
	uint16_t n;
	struct session_where where[BURST_MAX];
	rte_be32_t home[BURST_MAX];
	uint8_t router[BURST_MAX]; /* that translates it */
};

struct burst {
	const struct plaintab *vms;
	struct rte_mbuf **m;		 /* NULL: it has left */
	uint64_t stay[EXPRESS_VMS / 64]; /* VMs of packets that stay: what is behind these stays, too */
	bool some_stay;
	bool wan_stays;		  /* one that came by a WAN port, and may tell another home of a session */
	bool unwraps;		  /* some packets are tunnelled */
	struct gate gate, tunnel; /* the last ones used */
	struct {		  /* packets that came from there, not counted for its segment yet */
		uint16_t place;
		uint32_t packets, bytes;
	} from;
	uint32_t ways;	  /* bit k: way[k] is open */
	struct way *last; /* the last one used */
	struct way way[EXPRESS_WAYS];
	struct lane to_vm, from_vm, bridged;
	struct homes homes;
};

void express_to_vm(struct worker *w, struct burst *b);
void express_from_vm(struct worker *w, struct burst *b);
void express_bridged(struct worker *w, struct burst *b);

static inline struct rte_ipv4_hdr *
ip_of(struct rte_ether_hdr *eth)
{
	return (struct rte_ipv4_hdr *)(eth + 1);
}

/* ---- sets ---- */

static inline uint64_t
one(uint16_t i)
{
	return UINT64_C(1) << i;
}

/* The set is not empty. */
static inline uint16_t
first_of(uint64_t set)
{
	return (uint16_t)__builtin_ctzll(set);
}

/* ---- order ---- */

/* A number below EXPRESS_VMS for the VM that the packet is to, when it came by a WAN port, or from. */
uint32_t express_vm(const struct worker *w, struct rte_mbuf *m);
/* A packet stays, and so do those behind it of the same VM; what is too short to have addresses keeps nobody. What waited for its next hop
 * is in front of all, and by its addresses no VM's any more: nobody may overtake it. */
void express_stays(const struct worker *w, struct burst *b, struct rte_mbuf *m);

static inline bool
must_stay(const struct worker *w, const struct burst *b, struct rte_mbuf *m)
{
	uint32_t vm;

	if (likely(!b->some_stay))
		return false;
	vm = express_vm(w, m);
	return b->stay[vm / 64] >> (vm % 64) & 1;
}

static inline void
leaves(struct burst *b, uint8_t at)
{
	b->m[at] = NULL;
}

/* ---- places, and ways to them ---- */

static inline bool
is_peer(uint16_t place)
{
	return place & PLAIN_PEER;
}

static inline uint16_t
segment_of(const struct topology *t, uint16_t place)
{
	return is_peer(place) ? place & 0xff : t->attachments[place].seg;
}

struct way *express_way(struct worker *w, struct burst *b, uint16_t place);

static inline struct way *
way_to(struct worker *w, struct burst *b, uint16_t place)
{
	return likely(b->last->place == place) ? b->last : express_way(w, b, place);
}

/* False: it was dropped, for there is no room in front of the frame. */
bool express_tag(struct worker *w, struct rte_mbuf *m, uint16_t vlan);
/* A segment's counters are one line that each packet would add to: a burst adds once. */
void express_count_to(struct worker *w, const struct way *y);
void express_count_from(struct worker *w, struct burst *b, uint16_t next);

static inline void
count_from(struct worker *w, struct burst *b, uint16_t place, const struct rte_mbuf *m)
{
	if (unlikely(b->from.place != place))
		express_count_from(w, b, place);
	b->from.packets++;
	b->from.bytes += rte_pktmbuf_pkt_len(m);
}

static inline bool
has_room(const struct way *y, const struct rte_mbuf *m, const struct rte_ether_hdr *eth)
{
	return y->bare ||
	       (size_t)((const char *)eth - (const char *)m->buf_addr) >= sizeof(struct tunnel_hdr);
}

/* Bytes in front of the frame in the mbuf. */
static inline uint16_t
wrapping(const struct burst *b, const struct rte_mbuf *m, const struct rte_ether_hdr *eth)
{
	return likely(!b->unwraps) ? 0 : (uint16_t)((const char *)eth - rte_pktmbuf_mtod(m, const char *));
}

/* The mbuf begins with the frame. */
static inline void
unwrap(const struct burst *b, struct rte_mbuf *m, const struct rte_ether_hdr *eth)
{
	uint16_t off = wrapping(b, m, eth);

	if (off == 0)
		return;
	m->data_off += off;
	m->data_len -= off;
	m->pkt_len -= off;
}

static __rte_always_inline void
wrap(struct rte_mbuf *m, const struct way *y)
{
	const struct rte_ipv4_hdr *ip = ip4_hdr(m);
	uint16_t len = rte_pktmbuf_data_len(m);
	uint32_t ports;

	memcpy(&ports, ip + 1, sizeof(ports));
	m->data_off -= sizeof(struct tunnel_hdr);
	m->data_len += sizeof(struct tunnel_hdr);
	m->pkt_len += sizeof(struct tunnel_hdr);
	tunnel_write(rte_pktmbuf_mtod(m, struct tunnel_hdr *), &y->hdr, len, tunnel_entropy_ip4(ip, ports));
}

/* A frame leaves: `y` takes it, there is room. */
static __rte_always_inline void
put(struct worker *w, struct rte_mbuf *m, struct way *y)
{
	y->packets++;
	y->bytes += rte_pktmbuf_pkt_len(m);
	if (!y->bare) {
		if (y->tunnel)
			wrap(m, y);
		else if (!express_tag(w, m, y->vlan))
			return;
	}
	vec_add(y->out, m);
}

/* The Ethernet header of a packet that is routed to `mac`, behind which two bytes can be read. Two words, the second over the first. */
static __rte_always_inline void
write_ether(struct rte_ether_hdr *eth, const struct rte_ether_addr *mac, const struct way *y)
{
	uint64_t to, from;

	memcpy(&to, mac, sizeof(to));
	memcpy(&from, &y->from, sizeof(from));
	memcpy(eth, &to, sizeof(to));
	memcpy(&eth->src_addr, &from, sizeof(from));
}

/* ---- plain headers ---- */

#define TOTAL_MIN ((uint16_t)(sizeof(struct rte_ipv4_hdr) + sizeof(struct rte_udp_hdr)))
#define FRAME_MIN ((uint16_t)(IP4_OFF + TOTAL_MIN))

/* TCP that neither opens nor answers an opening, whose MSS may have to be clamped. */
static inline bool
is_plain_tcp(const struct rte_ipv4_hdr *ip)
{
	const struct rte_tcp_hdr *tcp = (const struct rte_tcp_hdr *)(ip + 1);

	return ip->next_proto_id == IPPROTO_TCP &&
	       rte_be_to_cpu_16(ip->total_length) >= sizeof(*ip) + sizeof(*tcp) &&
	       (tcp->tcp_flags & TCP_SYN) == 0;
}

/* Ethertype, version and header length, which stand side by side. */
static inline bool
is_ip4(const struct rte_ether_hdr *eth)
{
	static const uint8_t plain[4] = {0x08, 0x00, RTE_IPV4_VHL_DEF, 0}, mask[4] = {0xff, 0xff, 0xff, 0};
	uint32_t is, want, of;

	memcpy(&is, &eth->ether_type, sizeof(is));
	memcpy(&want, plain, sizeof(want));
	memcpy(&of, mask, sizeof(of));
	return (is & of) == want;
}

/* IPv4 in one piece without options, whose transport header is whole in these `len` bytes of a frame: FRAME_MIN or more. */
static inline bool
is_whole(const struct rte_ether_hdr *eth, uint16_t len)
{
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(eth + 1);
	uint16_t total = rte_be_to_cpu_16(ip->total_length);

	/* TOTAL_MIN <= total <= len - IP4_OFF */
	return is_ip4(eth) && (uint16_t)(total - TOTAL_MIN) <= (uint16_t)(len - FRAME_MIN) &&
	       (ip->fragment_offset & RTE_BE16(~RTE_IPV4_HDR_DF_FLAG)) == 0 &&
	       (likely(ip->next_proto_id == IPPROTO_UDP) || is_plain_tcp(ip));
}

/* That, and it lives another hop, and its checksum is right. */
static inline bool
is_routable(const struct rte_ether_hdr *eth, uint16_t len)
{
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(eth + 1);

	return is_whole(eth, len) && ip->time_to_live > 1 && ip4_sum_is_right(ip);
}

/* TCP that ends. */
static inline bool
ends(const struct rte_ipv4_hdr *ip)
{
	return ip->next_proto_id == IPPROTO_TCP &&
	       (((const struct rte_tcp_hdr *)(ip + 1))->tcp_flags & (TCP_FIN | TCP_RST)) != 0;
}

/* ---- addresses ---- */

/* A MAC as a word: both in a frame, and all others here, are followed by two bytes that can be read. */
static inline uint64_t
mac_word(const struct rte_ether_addr *mac)
{
	uint64_t word;

	memcpy(&word, mac, sizeof(word));
	return word & RTE_LEN2MASK(48, uint64_t);
}

/* An address of the world: of no segment, pool or port, and that a packet may carry. */
static inline bool
is_outside(const struct topology *t, rte_be32_t a)
{
	if (likely(!topo_may_be(t, a, TOPO_OURS)))
		return true;
	return !ip4_martian(a) && topo_segment_by_ip(t, a) == TOPO_NONE &&
	       topo_port_by_ip(t, a) == TOPO_NONE && !topo_is_pool(t, a);
}

/* One that a VM has outside. */
static inline bool
is_good_global(const struct topology *t, rte_be32_t a)
{
	return likely(!topo_may_be(t, a, TOPO_ODD)) ||
	       (!ip4_martian(a) && topo_segment_by_ip(t, a) == TOPO_NONE);
}

/* ---- sessions of VMs that have homes ---- */

/* Names the session and asks for its memory. Words are put together in registers: read from a structure that was just written in parts
 * they cost a dozen cycles each. */
static inline void
home_locate(struct worker *w, struct burst *b, struct lane *v, uint16_t i, const uint64_t key[2])
{
	struct homes *h = &b->homes;

	v->home[i] = (uint8_t)h->n;
	sessions_locate(w->tables->sessions, key, &h->where[h->n++]);
}

static inline uint64_t
home_ends(rte_be32_t vm, rte_be32_t remote)
{
	return vm | (uint64_t)remote << 32;
}

/* `ports`: the VM's and behind it the remote's, as they stand in memory. */
static inline uint64_t
home_ports(uint32_t ports, uint32_t vni, uint8_t proto)
{
	return ports | (uint64_t)(vni << 8 | proto) << 32;
}

/* Source and destination, as they stand in memory. */
static inline uint32_t
ports_of(const struct rte_ipv4_hdr *ip)
{
	uint32_t ports;

	memcpy(&ports, ip + 1, sizeof(ports));
	return ports;
}

_Static_assert(offsetof(struct session_key, remote) == 4 && offsetof(struct session_key, vm_port) == 8 &&
		       offsetof(struct session_key, remote_port) == 10 &&
		       offsetof(struct session_key, vni_proto) == 12 && RTE_BYTE_ORDER == RTE_LITTLE_ENDIAN,
	"the words of a session's key");

/* A TCP packet of the session goes on towards `to`. */
static inline void
home_time(struct worker *w, const struct vm_rec *vm, const struct rte_ipv4_hdr *ip,
	const struct session_where *where, enum rtt_half to, rte_be32_t home)
{
	struct session_key k;

	memcpy(&k, where->key, sizeof(k));
	round_trip_plain(w, vm, ip, &k, to, home);
}
