/* SPDX-License-Identifier: BSD-3-Clause */
#include "report.h"

#include <stdio.h>
#include <stdlib.h>

#define PCAP_MAGIC    0xa1b2c3d4 /* microseconds, byte order of the machine */
#define PCAP_ETHERNET 1

static FILE *tsv, *pcap;
static unsigned int frames;

struct pcap_file {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t zone, sigfigs, snaplen, linktype;
};

struct pcap_packet {
	uint32_t sec, usec, captured, len;
};

static FILE *
create(const char *dir, const char *program, const char *suffix)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.%s", dir, program, suffix);
	f = fopen(path, "w");
	if (f == NULL) {
		perror(path);
		exit(1);
	}
	return f;
}

void
report_open(const char *program)
{
	const struct pcap_file h = {.magic = PCAP_MAGIC,
		.major = 2,
		.minor = 4,
		.snaplen = UINT16_MAX,
		.linktype = PCAP_ETHERNET};
	const char *dir = getenv("NEARWAY_RESULTS");

	if (dir == NULL || *dir == '\0')
		return;
	tsv = create(dir, program, "tsv");
	pcap = create(dir, program, "pcap");
	fwrite(&h, sizeof(h), 1, pcap);
}

void
report_frame(const void *frame, size_t len)
{
	const struct pcap_packet h = {.sec = frames, .captured = (uint32_t)len, .len = (uint32_t)len};

	if (pcap == NULL)
		return;
	frames++;
	fwrite(&h, sizeof(h), 1, pcap);
	fwrite(frame, len, 1, pcap);
}

void
report_drop(const char *reason, uint64_t n)
{
	if (tsv != NULL && n != 0)
		fprintf(tsv, "drop\t%s\t%llu\n", reason, (unsigned long long)n);
}

void
report_test(const char *name, const char *reference, bool passed)
{
	if (tsv != NULL)
		fprintf(tsv, "test\t%s\t%s\t%s\t%u\n", name, reference, passed ? "passed" : "failed", frames);
}

void
report_close(void)
{
	if (tsv != NULL && (fclose(tsv) != 0 || fclose(pcap) != 0)) {
		perror("NEARWAY_RESULTS");
		exit(1);
	}
}
