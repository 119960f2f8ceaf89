/* SPDX-License-Identifier: BSD-3-Clause */
#include "addr.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int
mac_parse(const char *s, struct mac *out)
{
	struct mac m;

	for (int i = 0; i < 6; i++, s += 3) {
		int hi = hex_digit(s[0]);
		int lo = hi < 0 ? -1 : hex_digit(s[1]);

		if (lo < 0 || s[2] != (i == 5 ? '\0' : ':'))
			return -EINVAL;
		m.b[i] = (uint8_t)(hi << 4 | lo);
	}
	*out = m;
	return 0;
}

int
ip4_parse(const char *s, ip4 *out)
{
	struct in_addr a;

	if (inet_pton(AF_INET, s, &a) != 1)
		return -EINVAL;
	*out = ntohl(a.s_addr);
	return 0;
}

int
ifaddr4_parse(const char *s, ip4 *addr, uint8_t *len)
{
	const char *slash = strchr(s, '/');
	char text[IP4_TEXT];
	unsigned int n = 0;

	if (slash == NULL) {
		*len = 32;
		return ip4_parse(s, addr);
	}
	if ((size_t)(slash - s) >= sizeof(text) || slash[1] == '\0' || strlen(slash + 1) > 2)
		return -EINVAL;
	if (slash[1] == '0' && slash[2] != '\0')
		return -EINVAL;
	for (const char *p = slash + 1; *p != '\0'; p++) {
		if (!isdigit((unsigned char)*p))
			return -EINVAL;
		n = n * 10 + (unsigned int)(*p - '0');
	}
	if (n > 32)
		return -EINVAL;
	memcpy(text, s, (size_t)(slash - s));
	text[slash - s] = '\0';
	if (ip4_parse(text, addr) < 0)
		return -EINVAL;
	*len = (uint8_t)n;
	return 0;
}

int
prefix4_parse(const char *s, struct prefix4 *out)
{
	struct prefix4 p;

	if (ifaddr4_parse(s, &p.addr, &p.len) < 0)
		return -EINVAL;
	if ((p.addr & ~ip4_mask(p.len)) != 0)
		return -EDOM;
	*out = p;
	return 0;
}

const char *
mac_format(const struct mac *m, char buf[MAC_TEXT])
{
	static const char hex[] = "0123456789abcdef";

	for (int i = 0; i < 6; i++) {
		buf[3 * i] = hex[m->b[i] >> 4];
		buf[3 * i + 1] = hex[m->b[i] & 15];
		buf[3 * i + 2] = i < 5 ? ':' : '\0';
	}
	return buf;
}

const char *
ip4_format(ip4 a, char buf[IP4_TEXT])
{
	snprintf(buf, IP4_TEXT, "%u.%u.%u.%u", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255);
	return buf;
}

const char *
prefix4_format(const struct prefix4 *p, char buf[PREFIX4_TEXT])
{
	char a[IP4_TEXT];

	snprintf(buf, PREFIX4_TEXT, "%s/%u", ip4_format(p->addr, a), p->len & 63u);
	return buf;
}

bool
prefix4_overlap(const struct prefix4 *a, const struct prefix4 *b)
{
	return a->len < b->len ? prefix4_has(a, b->addr) : prefix4_has(b, a->addr);
}

bool
mac_is_unicast(const struct mac *m)
{
	static const struct mac zero;

	return (m->b[0] & 1) == 0 && memcmp(m, &zero, sizeof(zero)) != 0;
}

bool
mac_equal(const struct mac *a, const struct mac *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

bool
ip4_is_martian(ip4 a)
{
	return a >> 24 == 0 || a >> 24 == 127 || a >> 28 >= 14;
}
