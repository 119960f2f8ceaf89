/* SPDX-License-Identifier: BSD-3-Clause */
/* Four packets at once are treated as each by itself. */
#include "tabtest.h"

#include <dataplane/express/four.h>

#define ROUNDS 200000
#define FRAME  96

static const uint64_t mac = UINT64_C(0x0605040302fe);

struct frame {
	uint8_t head[RTE_PKTMBUF_HEADROOM];
	union {
		struct rte_ether_hdr eth;
		uint8_t b[FRAME];
	};
};

struct some {
	struct frame f[4];
	u32x4 len;
	struct rte_ether_hdr *eth[4];
};

/* Words at the ends of ones' complement come often: carries and both zeros are there. */
static uint16_t
word(struct rng *rng)
{
	static const uint16_t edge[] = {0, 0xffff, 1, 0xfffe, 0x100, 0xff};

	return rng_below(rng, 2) ? edge[rng_below(rng, RTE_DIM(edge))] : (uint16_t)rng_next(rng);
}

static void
make(struct rng *rng, struct frame *f, uint16_t *len)
{
	struct rte_ipv4_hdr *ip = ip_of(&f->eth);
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(ip + 1);

	*len = (uint16_t)(FOUR_LEN_MIN + rng_below(rng, 8));
	for (int i = 0; i + 2 <= FRAME; i += 2) {
		uint16_t w = word(rng);

		memcpy(f->b + i, &w, sizeof(w));
	}
	memcpy(&f->eth.dst_addr, &mac, sizeof(f->eth.dst_addr));
	f->eth.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	ip->version_ihl = RTE_IPV4_VHL_DEF;
	ip->total_length = rte_cpu_to_be_16(*len - IP4_OFF);
	ip->fragment_offset &= RTE_BE16(RTE_IPV4_HDR_DF_FLAG);
	ip->time_to_live |= 2;
	ip->next_proto_id = rng_below(rng, 2) ? IPPROTO_UDP : IPPROTO_TCP;
	if (ip->next_proto_id == IPPROTO_TCP)
		tcp->tcp_flags &= (uint8_t)~TCP_SYN;
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
}

static void
spoil(struct rng *rng, struct frame *f, uint16_t *len)
{
	struct rte_ipv4_hdr *ip = ip_of(&f->eth);

	if (rng_below(rng, 4) == 0)
		*len = (uint16_t)(FOUR_LEN_MIN + rng_below(rng, 8));
	else if (rng_below(rng, 4) == 0)
		ip->total_length = rte_cpu_to_be_16(rng_below(rng, 60));
	else
		f->b[rng_below(rng, FOUR_LEN_MIN)] ^= (uint8_t)(1 << rng_below(rng, 8));
	if (rng_below(rng, 2) == 0) {
		ip->hdr_checksum = 0;
		ip->hdr_checksum = rte_ipv4_cksum(ip);
	}
}

/* `good`: one in so many is spoilt. */
static void
make_some(struct rng *rng, struct some *s, uint32_t good)
{
	for (int k = 0; k < 4; k++) {
		uint16_t len;

		make(rng, &s->f[k], &len);
		if (rng_below(rng, good) == 0)
			spoil(rng, &s->f[k], &len);
		s->len[k] = len;
		s->eth[k] = &s->f[k].eth;
	}
}

static bool
is_simple(const struct some *s, int k)
{
	const struct rte_ether_hdr *eth = s->eth[k];
	uint16_t len = (uint16_t)s->len[k];
	bool padded = false;

	return memcmp(&eth->dst_addr, &mac, sizeof(eth->dst_addr)) == 0 && is_routable(eth, len, &padded) &&
	       !padded;
}

static void
four_are_simple_when_each_is_routable_and_not_padded(void **state)
{
	struct rng rng = {4};
	uint32_t simple = 0;

	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		bool all = true;
		struct some s;
		struct four f;

		make_some(&rng, &s, 4);
		f = four_read(s.eth, s.len);
		for (int k = 0; k < 4; k++)
			all &= is_simple(&s, k);
		simple += all;
		assert_int_equal(
			!four_any(four_other_front(s.eth, four_front(mac)) | four_not_routable(&f)), all);
	}
	assert_in_range(simple, ROUNDS / 4, ROUNDS * 3 / 4);
}

static void
four_are_translated_as_each_alone(void **state)
{
	struct rng rng = {5};

	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		enum nat_side side = rng_below(&rng, 2) ? NAT_SRC : NAT_DST;
		struct some s, each;
		struct four f;
		u32x4 to;

		make_some(&rng, &s, UINT32_MAX);
		f = four_read(s.eth, s.len);
		each = s;
		for (int k = 0; k < 4; k++) {
			to[k] = (uint32_t)word(&rng) << 16 | word(&rng);
			nat_plain(ip_of(&each.f[k].eth), side, to[k]);
		}
		four_nat(s.eth, side, f.ip[side == NAT_SRC ? 3 : 4], to, f.ip[2]);
		assert_memory_equal(s.f, each.f, sizeof(s.f));
	}
}

static void
words_of_four_are_turned_into_lanes(void **state)
{
	u32x4 v[4];

	(void)state;
	for (uint32_t k = 0; k < 4; k++)
		for (uint32_t i = 0; i < 4; i++)
			v[k][i] = 10 * k + i;
	four_turn(v);
	for (uint32_t k = 0; k < 4; k++)
		for (uint32_t i = 0; i < 4; i++)
			assert_int_equal(v[i][k], 10 * k + i);
	for (uint32_t set = 0; set < 16; set++) {
		for (uint32_t k = 0; k < 4; k++)
			v[0][k] = (set >> k & 1) << 31 | k;
		assert_int_equal(four_signs(v[0]), set);
	}
}

static void
the_longest_of_four_must_fit(void **state)
{
	u32x4 longest = four_longest((u32x4){60, 90, 60, 60}, (u32x4){70, 60, 100, 60});

	(void)state;
	assert_true(four_fit(longest, 100));
	assert_false(four_fit(longest, 99));
	assert_int_equal(four_sum(longest), 70 + 90 + 100 + 60);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(four_are_simple_when_each_is_routable_and_not_padded),
		cmocka_unit_test(four_are_translated_as_each_alone),
		cmocka_unit_test(words_of_four_are_turned_into_lanes),
		cmocka_unit_test(the_longest_of_four_must_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
