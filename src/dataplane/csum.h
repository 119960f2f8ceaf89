/* SPDX-License-Identifier: BSD-3-Clause */
/* csum.h - incremental Internet checksums: RFC 1624, equation 3, HC' = ~(~HC + ~m + m').
 *
 * A delta is the unfolded sum of ~m + m' of all words that changed; it is the same for every checksum that covers
 * them (IPv4 header, TCP's pseudo header). Words are taken as they stand in memory: the sum does not care for the
 * byte order as long as it is always the same, and two words may be added as one, for 2^16 is 1 modulo 2^16 - 1.
 */
#pragma once

#include <stdint.h>

static inline uint64_t
csum_delta16(uint16_t from, uint16_t to)
{
	return (uint64_t)(uint16_t)~from + to;
}

static inline uint64_t
csum_delta32(uint32_t from, uint32_t to)
{
	return (uint64_t)(uint32_t)~from + to;
}

/* The same of a 32-bit word that changed, in 32 bits: up to 4 * 0xffff. */
static inline uint32_t
csum_change32(uint32_t from, uint32_t to)
{
	return 2 * 0xffff - (from & 0xffff) - (from >> 16) + (to & 0xffff) + (to >> 16);
}

/* To 16 bits, zero only of zero: the sum of both halves, whose carry comes round, is the upper half of the sum with them exchanged. */
static inline uint16_t
csum_fold(uint32_t sum)
{
	return (uint16_t)((sum + (sum << 16 | sum >> 16)) >> 16);
}

/* As csum_apply(), of a delta below 2^31. */
static inline uint16_t
csum_apply32(uint16_t csum, uint32_t delta)
{
	return (uint16_t)~csum_fold((csum ^ 0xffffu) + delta);
}

/* Of one csum_change32(), to a checksum of UDP, which is there and therefore never zero (RFC 768): by RFC 1624, equation 4, which has
 * 0xffff for it. */
static inline uint16_t
csum_apply_udp(uint16_t csum, uint32_t delta)
{
	return csum_fold(csum + (4 * 0xffff - delta));
}

/* The delta is the sum of at most eight of the above. */
static inline uint16_t
csum_apply(uint16_t csum, uint64_t delta)
{
	uint64_t sum = (uint64_t)(uint16_t)~csum + delta;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}
