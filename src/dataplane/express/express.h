/* SPDX-License-Identifier: BSD-3-Clause */
/* express.h - what the parts of the express stage share: a burst, in lanes; sets; order; ways to places; addresses; homes. */
#pragma once

#include "four.h"
#include "ready.h"

#include <dataplane/pipeline.h>
#include <dataplane/round_trip.h>
#include <dataplane/tables/plaintab.h>
#include <dataplane/traffic.h>
#include <dataplane/tunnel.h>
#include <dataplane/tx.h>
#include <dataplane/vmrec.h>

#define EXPRESS_VMS 256 /* that are told apart where order counts */

/* Packets are named by their place in the burst, 0 to 63; sets of them are words, bit i for packet i. A lane is the set of those that take
 * the same steps. */
struct burst {
	const struct plaintab *vms;
	struct rte_mbuf **m;
	uint64_t left;			 /* those that have left the burst */
	uint64_t stay[EXPRESS_VMS / 64]; /* VMs of packets that stay: what is behind these stays, too */
	bool some_stay;
	bool wan_stays; /* one that came by a WAN port, and may tell another home of a session */
	bool unwraps;	/* some packets are tunnelled */
	struct ready *ready;
	struct { /* what came from there, not counted for its segment yet */
		uint16_t place;
		uint64_t frames; /* (one_frame) */
	} from;
	uint32_t longer; /* READY_LONGER: some destinations may have other routes than the default one */
	struct {	 /* of the segment at a place, the last one asked for: as in a session's key */
		uint32_t place, key;
	} vni;
	uint32_t ways;			  /* bit k: ready->way[k] was used */
	struct way *last;		  /* the last one used */
	uint64_t to_vm, from_vm, bridged; /* the lanes */
	uint64_t odd;			  /* those from VMs that are tunnelled or padded */
	uint64_t homes_of;		  /* those whose VMs have homes */
	uint64_t far;	/* of these those whose sessions are not where they are looked for first */
	uint64_t peers; /* and those that go to a peer, which translates; they are put aside */
	uint64_t
		simple; /* those that may go by fours: nothing more is to be said of them, `ttl` and `len` are known */
	uint64_t timed; /* those whose round trips are measured, once they have left */
	/* of packet i, when it is in a lane: */
	struct rte_ether_hdr *eth[BURST_MAX]; /* in a tunnelled packet: the inner one */
	const struct plain_line *line[BURST_MAX];
	const struct plain_vm *vm[BURST_MAX];
	uint16_t place[BURST_MAX];		   /* from a segment: where it came from */
	rte_be32_t src[BURST_MAX], dst[BURST_MAX]; /* of what is routed */
	/* of a four: the third word of its IPv4 header; bytes */
	uint32_t ttl[BURST_MAX], len[BURST_MAX];
	/* of their VMs (plaintab.h): at: the place; tally: tally_at() */
	uint32_t other[BURST_MAX], tally[BURST_MAX], at[BURST_MAX];
	u32x4 longest;			       /* length of all simple ones, in each lane of the vector */
	struct session_where where[BURST_MAX]; /* when the VM has homes */
	struct {			       /* what is put aside, and the peer that translates it */
		struct rte_ether_hdr *eth;
		uint32_t tally;
		uint16_t peer;
	} aside[BURST_MAX];
	/* bridged: of the VM that it is to */
	const struct plain_line *to_line[BURST_MAX];
	const struct plain_vm *to[BURST_MAX];
};

_Static_assert(BURST_MAX <= 64, "a set of packets is a word");

/* In burst.vm[] for who is not found: at no place, so that it is told where places are compared. NULL in bridged packets. */
extern const struct plain_vm express_nobody;
#define NOBODY (&express_nobody)

/* Of packets in lanes, the VMs; asks for what is read of these. */
void express_find(struct worker *w, struct burst *b, uint64_t set);
void express_to_vm(struct worker *w, struct burst *b);
void express_from_vm(struct worker *w, struct burst *b);
void express_bridged(struct worker *w, struct burst *b);

/* The ports of TCP and UDP, source and destination, as they stand in memory. */
static inline uint32_t
ports_of(const struct rte_ipv4_hdr *ip)
{
	uint32_t ports;

	memcpy(&ports, ip + 1, sizeof(ports));
	return ports;
}

/* ---- sets ---- */

/* Fours begin at every fourth packet. */
#define FIRSTS UINT64_C(0x1111111111111111)

static inline uint64_t
one(uint32_t i)
{
	return UINT64_C(1) << i;
}

static inline uint64_t
lanes(const struct burst *b)
{
	return b->to_vm | b->from_vm | b->bridged;
}

/* The set is not empty. Without BMI the instruction keeps its result register when there is no bit, and so waits for what that held before:
 * here the last packet's checksum, which cost a quarter of all. It waits for nothing after a zero. */
static inline uint32_t
first_of(uint64_t set)
{
#if defined(__x86_64__) && !defined(__BMI__)
	uint64_t i = 0;

	__asm__("bsf %1, %0" : "+r"(i) : "r"(set) : "cc");
	return (uint32_t)i;
#else
	return (uint32_t)__builtin_ctzll(set);
#endif
}

/* For each i of a set. Not by a look at each bit, which nobody can foretell when the set is half of a burst. */
#define EACH(i, set)                                       \
	for (uint32_t i, once_ = 1; once_ != 0; once_ = 0) \
		for (uint64_t left_ = (set); left_ != 0 && (i = first_of(left_), true); left_ &= left_ - 1)

/* ---- order ---- */

static inline uint32_t
express_hash(rte_be32_t vm)
{
	return vm * UINT32_C(0x9e3779b1) / (UINT32_MAX / EXPRESS_VMS + 1);
}

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

typedef bool express_try(struct worker *w, struct burst *b, uint32_t i, struct rte_mbuf *m, void *with);
/* Of four simple ones, i to i + 3, those that are meant: bit k for i + k. False: nothing was done. */
typedef bool express_try_four(struct worker *w, struct burst *b, uint32_t i, uint32_t which, void *with);

/* Of a lane the packets that leave as try() wants; others stay, with all of their VMs behind them. Returns these. */
static __rte_always_inline uint64_t
express_some(struct worker *w, struct burst *b, uint64_t lane, express_try *try, void *with)
{
	uint64_t stay = 0;

	EACH (i, lane) {
		struct rte_mbuf *m = b->m[i];

		if (likely(!must_stay(w, b, m) && try(w, b, i, m, with)))
			continue;
		stay |= one(i);
		express_stays(w, b, m);
	}
	return stay;
}

static __rte_always_inline void
express_each(struct worker *w, struct burst *b, uint64_t lane, express_try *try, void *with)
{
	b->left |= lane & ~express_some(w, b, lane, try, with);
}

/* Must one of four stay? By their VMs' addresses, as express_vm() has it. */
static inline bool
some_must_stay(const struct burst *b, const rte_be32_t addr[4])
{
	uint64_t any = 0;

	if (likely(!b->some_stay))
		return false;
	EACH_OF_FOUR (k) {
		uint32_t vm = express_hash(addr[k]);

		any |= b->stay[vm / 64] >> (vm % 64);
	}
	return any & 1;
}

struct leave { /* how packets leave: alone, and by fours */
	express_try *one;
	express_try_four *four;
	void *with;
	const rte_be32_t *addr; /* of packets their VMs' addresses, by which they must stay */
};

/* Of a lane the packets that stay. `fours`: their first ones; `whole`: none of these is put aside. */
static __rte_always_inline uint64_t
by_fours(
	struct worker *w, struct burst *b, uint64_t lane, uint64_t fours, bool whole, const struct leave *how)
{
	uint64_t stay = 0;

	for (;; fours &= fours - 1) {
		uint64_t before = lane & ((fours & -fours) - 1);
		uint32_t i;

		if (before != 0) {
			stay |= express_some(w, b, before, how->one, how->with);
			lane &= ~before;
		}
		if (fours == 0)
			return stay;
		i = first_of(fours);
		if (likely(!some_must_stay(b, how->addr + i) &&
			    how->four(w, b, i, whole ? FOUR : lane >> i & FOUR, how->with)))
			lane &= ~(FOUR << i);
	}
}

/* As express_each(), by fours where these go on as four() wants, also those of which some are put `aside`. */
static __rte_always_inline void
express_fours(struct worker *w, struct burst *b, uint64_t lane, uint64_t aside, const struct leave *how)
{
	uint64_t fours = (lane | aside) & b->simple, stay;

	fours &= fours >> 1;
	fours &= fours >> 2 & FIRSTS;

	if (likely((fours * FOUR & aside) == 0))
		stay = by_fours(w, b, lane, fours, true, how);
	else
		stay = by_fours(w, b, lane, fours, false, how);
	b->left |= lane & ~stay;
}

/* ---- places, and ways to them ---- */

/* What goes there has room for a burst. */
static inline bool
takes_burst(const struct vec *out)
{
	return out->n <= VEC_MAX - BURST_MAX;
}

static inline uint16_t
frame_of(uint16_t mtu)
{
	return (uint16_t)(mtu + sizeof(struct rte_ether_hdr));
}

static inline bool
is_peer(uint16_t place)
{
	return (place & PLAIN_PEER) != 0;
}

static inline uint16_t
segment_of(const struct topology *t, uint16_t place)
{
	return is_peer(place) ? place & 0xff : t->attachments[place].seg;
}

struct way *express_way(struct worker *w, struct burst *b, uint16_t place);

/* Of a burst's frames to one place, or from it, bytes in the lower half of a word, packets in the upper: one addition. */
static inline uint64_t
one_frame(const struct rte_mbuf *m)
{
	return UINT64_C(1) << 32 | rte_pktmbuf_pkt_len(m);
}

/* False: it was dropped, for there is no room in front of the frame. */
bool express_tag(struct worker *w, struct rte_mbuf *m, uint16_t vlan);
/* A segment's counters are one line that each packet would add to: a burst adds once. */
void express_count_to(struct worker *w, const struct way *y);
void express_count_from(struct worker *w, struct burst *b, uint16_t next);

/* `frames`: one_frame() of each. */
static inline void
count_from(struct worker *w, struct burst *b, uint16_t place, uint64_t frames)
{
	if (unlikely(b->from.place != place))
		express_count_from(w, b, place);
	b->from.frames += frames;
}

static inline bool
has_room(const struct way *y, const struct rte_mbuf *m, const struct rte_ether_hdr *eth)
{
	return likely(y->bare) ||
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

	if (likely(off == 0))
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
	uint32_t ports = ports_of(ip);

	m->data_off -= sizeof(struct tunnel_hdr);
	m->data_len += sizeof(struct tunnel_hdr);
	m->pkt_len += sizeof(struct tunnel_hdr);
	tunnel_write(rte_pktmbuf_mtod(m, struct tunnel_hdr *), &y->hdr, len, tunnel_entropy_ip4(ip, ports));
}

/* Of a way that is not bare what it needs in front of a frame. False: it was dropped. */
static __rte_always_inline bool
wrap_or_tag(struct worker *w, struct rte_mbuf *m, const struct way *y)
{
	if (!y->tunnel)
		return express_tag(w, m, y->vlan);
	wrap(m, y);
	return true;
}

/* Packets to one place, one after the other. What each of them would count up in memory is kept in registers: a packet had waited
 * for the one before it, which cost 6 cycles. */
struct run_to {
	struct way *y;
	struct rte_mbuf **out; /* where y->out ends */
	uint64_t went;
	u32x4 bytes; /* of fours, not in `went` */
};

static inline struct run_to
run_begin(struct way *y)
{
	return (struct run_to){.y = y, .out = y->out->m + y->out->n};
}

static inline void
run_end(const struct run_to *r)
{
	r->y->went += r->went + four_sum(r->bytes);
	r->y->out->n = (uint16_t)(r->out - r->y->out->m);
}

/* To another place. */
void run_turn(struct worker *w, struct burst *b, struct run_to *r, uint16_t place);

/* False: the frame was dropped. */
static __rte_always_inline bool
run_put(struct worker *w, struct run_to *r, struct rte_mbuf *m)
{
	r->went += one_frame(m);
	if (unlikely(!r->y->bare) && !wrap_or_tag(w, m, r->y))
		return false;
	*r->out++ = m;
	return true;
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

/* ---- addresses ---- */

/* Eight bytes from a MAC on. */
static inline uint64_t
mac_bits(const struct rte_ether_addr *mac)
{
	uint64_t word;

	memcpy(&word, mac, sizeof(word));
	return word;
}

/* Not zero: the frame does not come from this VM's MAC. */
static inline uint64_t
other_src(const struct plain_vm *vm, const struct rte_ether_hdr *eth)
{
	return (mac_bits(&vm->mac) ^ mac_bits(&eth->src_addr)) << 16;
}

/* As plain_bits_mac(), of a MAC behind which two bytes can be read. */
static inline uint64_t
mac_in(const struct rte_ether_addr *mac, uint16_t seg)
{
	return mac_bits(mac) << 16 | seg;
}

/* The MAC, behind which two bytes can be read, against that of a gate. */
static inline bool
is_mac(const struct rte_ether_addr *mac, uint64_t gate)
{
	return mac_in(mac, 0) == gate;
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

_Static_assert(sizeof(struct plain_homes) == sizeof(struct tally), "both are found by slot");

static inline const struct plain_homes *
homes_at(const struct burst *b, uint32_t i)
{
	return (const struct plain_homes *)((const char *)b->vms->homes + b->tally[i]);
}

/* What becomes of a packet whose session is known, in this state (sessions_at.h). False: it stays. */
typedef bool express_known(struct burst *b, uint32_t i, uint64_t state);

struct known {
	express_known *fn;
};

/* `c`: the session's cell. It notices the packet alone that does not stay. */
static __rte_always_inline bool
goes_on(struct worker *w, struct burst *b, uint32_t i, struct session_cell *c, uint64_t state,
	const struct known *k)
{
	if (!k->fn(b, i, state))
		return false;
	session_touch(c, w->tick);
	return true;
}

static __rte_always_inline bool
known_near(struct worker *w, struct burst *b, uint32_t i, struct rte_mbuf *m, void *with)
{
	uint64_t state;
	struct session_cell *c = session_near(&b->where[i], &state);

	(void)m;
	if (likely(c != NULL))
		return goes_on(w, b, i, c, state, with);
	sessions_expect_far(&b->where[i]);
	b->far |= one(i);
	return true;
}

static __rte_always_inline bool
known_far(struct worker *w, struct burst *b, uint32_t i, struct rte_mbuf *m, void *with)
{
	uint64_t state;
	struct session_cell *c = session_far(&b->where[i], &state);

	(void)m;
	return c != NULL && goes_on(w, b, i, c, state, with);
}

/* Of packets whose VMs have homes those that stay. Sessions were asked for when the VMs were found; where they are not near, what tells of them
 * is asked for first for all. */
static __rte_always_inline uint64_t
express_decide(struct worker *w, struct burst *b, uint64_t set, express_known *fn)
{
	struct known k = {fn};
	uint64_t stay = express_some(w, b, set, known_near, &k), far = b->far & set;

	if (far != 0)
		stay |= express_some(w, b, far, known_far, &k);
	return stay;
}

/* Of packets that have left, their sessions' round trips. */
void express_time(struct worker *w, const struct burst *b, uint64_t set);
