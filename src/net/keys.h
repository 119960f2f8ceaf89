/* SPDX-License-Identifier: BSD-3-Clause */
/* keys.h - static X25519 keys in files. */
#pragma once

#include <api/key.h>
#include <common/err.h>
#include <stdint.h>

int key_generate(uint8_t private_key[32]);
void key_public(const uint8_t private_key[32], uint8_t public_key[32]);
/* Refuses a file that is missing, not 0600 or 0400, not a regular file of ours, not one base64 line of 32
 * bytes, or zero; says why, prints no key bytes. */
int key_load(const char *file, uint8_t private_key[32], struct err *e);
/* Makes `file` with mode 0600; refuses to overwrite. */
int key_save(const char *file, const uint8_t private_key[32], struct err *e);
/* keygen and pubkey: the public key of a new private key in `file`, or of the one that is there. */
int key_make(const char *file, uint8_t public_key[32], struct err *e);
int key_load_public(const char *file, uint8_t public_key[32], struct err *e);
