/* SPDX-License-Identifier: BSD-3-Clause */
/* addr.h - MAC and IPv4 addresses as text and as values.
 *
 * Outside the data plane an IPv4 address is an `ip4`: 32 bits in *host* order. The data plane
 * uses rte_be32_t; the forwarding adapter is the one place that converts.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef uint32_t ip4; /* host order */

struct mac {
	uint8_t b[6];
};

struct prefix4 {
	ip4 addr; /* host bits are zero once parsed by prefix4_parse() */
	uint8_t len;
};

#define MAC_TEXT     18
#define IP4_TEXT     16
#define PREFIX4_TEXT 19

/* Parse the whole of `s`; 0, or -EINVAL and *out untouched. Strict: no leading zeroes that
 * would read as octal, no spaces, exactly six hexadecimal pairs with ':' between. */
int mac_parse(const char *s, struct mac *out);
int ip4_parse(const char *s, ip4 *out);
/* "a.b.c.d/len"; host bits that are set are an error (-EDOM). A bare address is a /32. */
int prefix4_parse(const char *s, struct prefix4 *out);
/* "a.b.c.d/len" where host bits may be set: an interface address. */
int ifaddr4_parse(const char *s, ip4 *addr, uint8_t *len);

const char *mac_format(const struct mac *m, char buf[MAC_TEXT]);
const char *ip4_format(ip4 a, char buf[IP4_TEXT]);
const char *prefix4_format(const struct prefix4 *p, char buf[PREFIX4_TEXT]);

static inline ip4
ip4_mask(uint8_t len)
{
	return len == 0 ? 0 : ~UINT32_C(0) << (32 - len);
}

static inline bool
prefix4_has(const struct prefix4 *p, ip4 a)
{
	return ((a ^ p->addr) & ip4_mask(p->len)) == 0;
}

bool prefix4_overlap(const struct prefix4 *a, const struct prefix4 *b);
bool mac_is_unicast(const struct mac *m); /* not zero, group bit clear */
bool mac_equal(const struct mac *a, const struct mac *b);
/* True for addresses that no host may own: 0/8, 127/8, 224/4 and above, 255.255.255.255. */
bool ip4_is_martian(ip4 a);
