/* SPDX-License-Identifier: BSD-3-Clause */
/* four.h - four packets at once, a packet in each lane of a vector, by the vector types of gcc and clang: SSE on x86, NEON on Arm.
 *
 * What is compared of four headers is put together and branched on once, and both checksums are summed in 9 instructions a packet instead
 * of 40. A four in which one packet is not plain is looked at packet by packet.
 */
#pragma once

#include "plain.h"

#include <dataplane/csum.h>
#include <dataplane/nat.h>

#include <rte_vect.h>
#include <string.h>

typedef uint32_t u32x4 __attribute__((vector_size(16)));
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef uint64_t u64x2 __attribute__((vector_size(16)));
typedef uint16_t u16x8 __attribute__((vector_size(16)));
typedef uint8_t u8x16 __attribute__((vector_size(16)));

/* For each of four, one after the other, also where a compiler would rather loop: lanes are told by constants. */
#ifdef __clang__
#define EACH_OF_FOUR(k) _Pragma("clang loop unroll(full)") for (uint32_t k = 0; k < 4; k++)
#else
#define EACH_OF_FOUR(k) _Pragma("GCC unroll 4") for (uint32_t k = 0; k < 4; k++)
#endif

/* The set of a four whose first packet is one(0). */
#define FOUR UINT64_C(0xf)

static inline u32x4
four_load(const void *p)
{
	u32x4 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void
four_store(void *p, u32x4 v)
{
	memcpy(p, &v, sizeof(v));
}

static inline bool
four_any(u32x4 v)
{
	u64x2 halves = (u64x2)v;

	return (halves[0] | halves[1]) != 0;
}

static inline u32x4
four_times(uint32_t word)
{
	return (u32x4){word, word, word, word};
}

static inline uint32_t
four_sum(u32x4 v)
{
	return v[0] + v[1] + v[2] + v[3];
}

static inline u32x4
four_longest(u32x4 a, u32x4 b)
{
	u32x4 more = (u32x4)((i32x4)a > (i32x4)b);

	return (a & more) | (b & ~more);
}

static inline bool
four_fit(u32x4 len, uint32_t most)
{
	return !four_any((u32x4)((i32x4)len > (i32x4)four_times(most)));
}

/* Bit k: the highest of lane k. */
static inline uint32_t
four_signs(u32x4 v)
{
#ifdef __SSE2__
	return (uint32_t)_mm_movemask_ps((__m128)v);
#else
	v = v >> 31 << (u32x4){0, 1, 2, 3};
	return v[0] | v[1] | v[2] | v[3];
#endif
}

/* In lanes: all bits of those that are meant, bit k for lane k. */
static inline u32x4
four_lanes(uint32_t which)
{
	const u32x4 bits = {1, 2, 4, 8};

	return (u32x4)((four_times(which) & bits) == bits);
}

/* Lane k of each is what was word k of what was loaded. */
static inline void
four_turn(u32x4 v[4])
{
	u32x4 a = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5),
	      b = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5),
	      c = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7),
	      d = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);

	v[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
	v[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
	v[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
	v[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}

/* ---- headers ---- */

/* Words of four headers, each at its place. */
static inline u32x4
four_words(struct rte_ether_hdr *const eth[4], u32x4 at)
{
	uint32_t word[4];

	EACH_OF_FOUR (k)
		memcpy(&word[k], (const char *)eth[k] + at[k], sizeof(word[k]));
	return (u32x4){word[0], word[1], word[2], word[3]};
}

static inline void
four_put(struct rte_ether_hdr *const eth[4], u32x4 at, u32x4 words)
{
	EACH_OF_FOUR (k) {
		uint32_t word = words[k];

		memcpy((char *)eth[k] + at[k], &word, sizeof(word));
	}
}

/* Where words stand in frames. */
enum {
	FOUR_TTL = IP4_OFF + offsetof(struct rte_ipv4_hdr, time_to_live),
	FOUR_SRC = IP4_OFF + offsetof(struct rte_ipv4_hdr, src_addr),
	FOUR_DST = IP4_OFF + offsetof(struct rte_ipv4_hdr, dst_addr),
	FOUR_L4 = IP4_OFF + sizeof(struct rte_ipv4_hdr),
	/* the upper halves are the checksums */
	FOUR_TCP = FOUR_L4 + offsetof(struct rte_tcp_hdr, cksum) - 2,
	FOUR_UDP = FOUR_L4 + offsetof(struct rte_udp_hdr, dgram_cksum) - 2,
	FOUR_FLAGS = FOUR_L4 + offsetof(struct rte_tcp_hdr, data_off),
};

/* What a frame begins with. */
struct four_front {
	struct rte_ether_addr dst, src;
	rte_be16_t type;
	uint8_t vhl, tos;
};

_Static_assert(sizeof(struct four_front) == sizeof(u32x4), "fronts are compared at once");

/* The front of IPv4 without options to this MAC, in the lower bytes of a word as in memory. */
static inline u32x4
four_front(uint64_t mac)
{
	static const struct four_front front = {
		.type = RTE_BE16(RTE_ETHER_TYPE_IPV4), .vhl = RTE_IPV4_VHL_DEF};

	return four_load(&front) | (u32x4)(u64x2){mac, 0};
}

/* Zero when all frames have it, whatever source and TOS. */
static inline u32x4
four_other_front(struct rte_ether_hdr *const eth[4], u32x4 front)
{
	static const struct four_front said = {
		.dst = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}, .type = 0xffff, .vhl = 0xff};
	u32x4 differs = {0};

	EACH_OF_FOUR (k)
		differs |= four_load(eth[k]) ^ front;
	return differs & four_load(&said);
}

struct four {	     /* headers, in words as they stand in memory */
	u32x4 len;   /* of frames */
	u32x4 ip[5]; /* without options */
	u32x4 flags; /* the fourth word of TCP */
};

#define FOUR_PROTO RTE_BE32(0x00ff0000) /* in the third word, behind the TTL */
/* Bytes of frames of fours, at least, so that nothing is read behind them: those that are shorter are padded, mostly. */
#define FOUR_LEN_MIN ((uint16_t)(IP4_OFF + sizeof(struct rte_ipv4_hdr) + sizeof(struct rte_tcp_hdr)))

/* Of frames of these lengths, FOUR_LEN_MIN and more. */
static inline struct four
four_read(struct rte_ether_hdr *const eth[4], u32x4 len)
{
	u32x4 w[4];

	EACH_OF_FOUR (k)
		w[k] = four_load(ip_of(eth[k]));
	four_turn(w);
	return (struct four){.len = len,
		.ip = {w[0], w[1], w[2], w[3], four_words(eth, four_times(FOUR_DST))},
		.flags = four_words(eth, four_times(FOUR_FLAGS))};
}

static inline u32x4
four_total(const struct four *f)
{
	u8x16 w = (u8x16)f->ip[0];

	return (u32x4)__builtin_shufflevector(
		w, (u8x16){0}, 3, 2, 16, 16, 7, 6, 16, 16, 11, 10, 16, 16, 15, 14, 16, 16);
}

/* In lanes, of the third word: all bits or none. */
static inline u32x4
four_is(u32x4 ttl, uint8_t proto)
{
	return (u32x4)((ttl & FOUR_PROTO) == RTE_BE32((uint32_t)proto << 16));
}

/* Zero when all are is_whole() and not padded. */
static inline u32x4
four_not_whole(const struct four *f)
{
	u32x4 tcp = four_is(f->ip[2], IPPROTO_TCP), udp = four_is(f->ip[2], IPPROTO_UDP);

	return ~(tcp | udp) | ((four_total(f) + IP4_OFF) ^ f->len) |
	       (f->ip[1] & RTE_BE32((uint32_t)(uint16_t)~RTE_IPV4_HDR_DF_FLAG)) |
	       (tcp & f->flags & RTE_BE32((uint32_t)TCP_SYN << 16));
}

static inline u32x4
four_halves(u32x4 w)
{
	return (w & 0xffff) + (w >> 16);
}

/* Zero when the sums of all are right: that of all halves of words, with its carry, is 0xffff when that divides it, as it is never zero. The
 * first two words can be added as they are: of what is whole, and no longer than an mbuf, they have no carry. */
static inline u32x4
four_wrong_sum(const struct four *f)
{
	u32x4 sum = four_halves(f->ip[0] + f->ip[1]) + four_halves(f->ip[2]) + four_halves(f->ip[3]) +
		    four_halves(f->ip[4]);

	return four_halves(sum) ^ 0xffff;
}

/* Zero when all are is_routable(), and as above. */
static inline u32x4
four_not_routable(const struct four *f)
{
	u32x4 ttl = f->ip[2] & 0xff;

	return four_not_whole(f) | (u32x4)((i32x4)ttl < 2) | four_wrong_sum(f);
}

/* ---- NAT ---- */

/* As csum_change32(). */
static inline u32x4
four_change(u32x4 from, u32x4 to)
{
	return 2 * 0xffff - (from & 0xffff) - (from >> 16) + (to & 0xffff) + (to >> 16);
}

/* As csum_apply32(), of checksums in the upper halves; what is in the lower ones stays. */
static inline u32x4
four_apply(u32x4 csum, u32x4 delta)
{
	u32x4 sum = (csum >> 16 ^ 0xffff) + delta;
	u16x8 halves = (u16x8)sum;

	sum += (u32x4)__builtin_shufflevector(halves, halves, 1, 0, 3, 2, 5, 4, 7, 6);
	return (~sum & 0xffff0000) | (csum & 0xffff);
}

/* As nat_plain(). `from`: the addresses to be rewritten, `ttl`: the third words of the headers. */
static __rte_always_inline void
four_nat(struct rte_ether_hdr *const eth[4], enum nat_side side, u32x4 from, u32x4 to, u32x4 ttl)
{
	u32x4 delta = four_change(from, to);
	u32x4 udp = four_is(ttl, IPPROTO_UDP);
	u32x4 at = (uint32_t)FOUR_TCP - (udp & (uint32_t)(FOUR_TCP - FOUR_UDP));
	u32x4 old = four_words(eth, at), new = four_apply(old, delta);

	new |= udp &(u32x4)(new >> 16 == 0) & 0xffff0000;
	new &= ~(udp & (u32x4)(old >> 16 == 0)) | 0xffff;
	four_put(eth, at, new);
	four_put(eth, four_times(side == NAT_SRC ? FOUR_SRC : FOUR_DST), to);
	four_put(eth, four_times(FOUR_TTL), four_apply(ttl, delta + (uint32_t)IP4_TTL_DELTA) - 1);
}
