/* SPDX-License-Identifier: BSD-3-Clause */
/* key.h - a key of 32 bytes as text. In constant time: some are private. */
#pragma once

#include <stdint.h>

#define KEY_TEXT 45 /* 44 characters of base64 and NUL */

const char *key_format(const uint8_t key[32], char text[KEY_TEXT]);
/* The padding may be missing. -EINVAL: not 32 bytes of base64; -EDOM: all zero, which is no key. Then `key` is untouched. */
int key_parse(const char *text, uint8_t key[32]);
