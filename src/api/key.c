/* SPDX-License-Identifier: BSD-3-Clause */
#include "key.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

const char *
key_format(const uint8_t key[32], char text[KEY_TEXT])
{
	return sodium_bin2base64(text, KEY_TEXT, key, 32, sodium_base64_VARIANT_ORIGINAL);
}

int
key_parse(const char *text, uint8_t key[32])
{
	size_t len = strlen(text), n = 0;
	int variant = len == 44 ? sodium_base64_VARIANT_ORIGINAL : sodium_base64_VARIANT_ORIGINAL_NO_PADDING;
	uint8_t out[32];
	int rc = -EINVAL;

	if (len != 43 && len != 44)
		return -EINVAL;
	if (sodium_base642bin(out, sizeof(out), text, len, NULL, &n, NULL, variant) == 0 && n == sizeof(out))
		rc = sodium_is_zero(out, sizeof(out)) ? -EDOM : 0;
	if (rc == 0)
		memcpy(key, out, sizeof(out));
	sodium_memzero(out, sizeof(out));
	return rc;
}
