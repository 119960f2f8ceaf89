/* SPDX-License-Identifier: BSD-3-Clause */
/* pcapng.h - writes a capture file (draft-ietf-opsawg-pcapng): one section, an interface for each port that occurs. */
#pragma once

#include <stdint.h>
#include <stdio.h>

#define PCAPNG_PORTS 64 /* a router has at most 32 */

struct pcapng {
	FILE *out;
	char ports[PCAPNG_PORTS][32];
	uint32_t n_ports;
};

enum pcapng_way { PCAPNG_IN = 1, PCAPNG_OUT = 2 };

struct pcapng_packet {
	const char *port;
	enum pcapng_way way;
	uint64_t time_ns; /* since 1970 */
	const uint8_t *data;
	uint32_t len, wire_len;
	const char *comment; /* NULL = none */
};

/* 0, or -errno of what writing earned. */
int pcapng_begin(struct pcapng *p, FILE *out);
int pcapng_add(struct pcapng *p, const struct pcapng_packet *k);
