/* SPDX-License-Identifier: BSD-3-Clause */
/* story.h - what the records of one packet say: each stage with what it decided, and the end.
 *
 * A stage's decision is the difference between the record at its entry and the next one. Pure.
 */
#pragma once

#include <dataplane/probe.h>
#include <dataplane/topology.h>
#include <jansson.h>

struct story {
	const struct topology *topo;
	uint32_t number, of; /* of the packet, and of what it was made of; 0 = nothing */
	int64_t time_ns;     /* wall clock of its first record; 0 = left out */
	uint64_t tsc_hz;
	const struct probe_record *const *records; /* in order */
	size_t n;
};

/* {"packet", "of", "made", "time", "port", "length", "frame", "path": [{"stage", "ns", "decided": [text]}], "end", ...} */
json_t *story_tell(const struct story *s);
/* The end alone: "sent by wan0", "dropped: spoofed (...)". */
bool story_has_ended(const struct probe_record *last);
/* "52:54:.. > 02:.., 10.1.0.10 > 192.0.2.10, tcp 80 > 1000 [S], ttl 64" */
#define STORY_FRAME 320
const char *story_frame(const uint8_t *p, uint32_t len, char buf[STORY_FRAME]);
