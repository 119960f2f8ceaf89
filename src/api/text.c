/* SPDX-License-Identifier: BSD-3-Clause */
#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

int
text_to_u64(const char *s, uint64_t *out)
{
	uint64_t n = 0;

	if (*s == '\0' || (*s == '0' && s[1] != '\0'))
		return -EINVAL;
	for (; *s != '\0'; s++) {
		unsigned int digit = (unsigned int)(*s - '0');

		if (digit > 9)
			return -EINVAL;
		if (n > (UINT64_MAX - digit) / 10)
			return -ERANGE;
		n = n * 10 + digit;
	}
	*out = n;
	return 0;
}

static const struct {
	const char *name;
	uint64_t ms;
} units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

int
text_to_duration(const char *s, uint64_t *ms)
{
	size_t digits = strspn(s, "0123456789");
	char number[24];
	uint64_t n;
	int rc;

	if (digits == 0 || digits >= sizeof(number))
		return -EINVAL;
	memcpy(number, s, digits);
	number[digits] = '\0';
	rc = text_to_u64(number, &n);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(s + digits, units[i].name) != 0)
			continue;
		if (n > UINT64_MAX / units[i].ms)
			return -ERANGE;
		*ms = n * units[i].ms;
		return 0;
	}
	*ms = 0;
	return n == 0 && s[digits] == '\0' ? 0 : -EINVAL;
}

const char *
duration_to_text(uint64_t ms, char buf[32])
{
	size_t i = 0;

	while (units[i].ms != 1 && (ms == 0 || ms % units[i].ms != 0))
		i++;
	snprintf(buf, 32, "%llu%s", (unsigned long long)(ms / units[i].ms), units[i].name);
	return buf;
}

int
text_to_bool(const char *s, bool *out)
{
	static const char *const words[] = {"off", "on", "false", "true", "no", "yes"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(s, words[i]) == 0) {
			*out = i & 1;
			return 0;
		}
	}
	return -EINVAL;
}

bool
text_is_name(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > NAME_LEN || !isalnum((unsigned char)*s))
		return false;
	for (; *s != '\0'; s++)
		if ((unsigned char)*s >= 0x80 || (!isalnum((unsigned char)*s) && strchr("-_.", *s) == NULL))
			return false;
	return true;
}

bool
text_is_hostport(const char *s)
{
	const char *colon = strrchr(s, ':');
	char host[HOSTPORT_LEN + 1];
	uint64_t port;
	ip4 a;

	if (colon == NULL || strlen(s) > HOSTPORT_LEN)
		return false;
	memcpy(host, s, (size_t)(colon - s));
	host[colon - s] = '\0';
	return ip4_parse(host, &a) == 0 && text_to_u64(colon + 1, &port) == 0 && port >= 1 && port <= 65535;
}

/* Levenshtein's distance, for short words. */
static size_t
distance(const char *a, const char *b)
{
	size_t row[64];
	size_t n = strlen(b);

	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; *a != '\0'; a++, i++) {
		size_t corner = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t same = corner + (*a != b[j - 1] && !(*a == '_' && b[j - 1] == '-'));

			corner = row[j];
			row[j] = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
			if (same < row[j])
				row[j] = same;
		}
	}
	return row[n];
}

bool
text_is_near(const char *s, const char *word)
{
	size_t n = strlen(s);

	if (n == 0 || n >= 48 || strlen(word) >= 48)
		return false;
	return distance(s, word) <= (n <= 3 ? 1 : 2) && distance(s, word) < strlen(word);
}
