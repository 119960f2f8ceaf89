/* SPDX-License-Identifier: BSD-3-Clause */
#include "pcapng.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum { BLOCK_SECTION = 0x0a0d0d0a, BLOCK_INTERFACE = 1, BLOCK_PACKET = 6 };
enum {
	OPT_END = 0,
	OPT_COMMENT = 1,
	OPT_USERAPPL = 4,
	OPT_IF_NAME = 2,
	OPT_IF_TSRESOL = 9,
	OPT_PACKET_FLAGS = 2
};
enum { MAGIC = 0x1a2b3c4d, LINK_ETHERNET = 1, NANOSECONDS = 9 };

#define OPTIONS_MAX 1024

struct options { /* of one block */
	uint8_t b[OPTIONS_MAX];
	uint32_t n;
};

static uint32_t
padded(uint32_t n)
{
	return (n + 3) & ~3u;
}

/* Leaves room for the end; what does not fit is cut. */
static void
add_option(struct options *o, uint16_t code, const void *value, size_t size)
{
	size_t room = sizeof(o->b) - o->n - 12;
	uint16_t head[2] = {code, (uint16_t)(size < room ? size : room)};

	memcpy(o->b + o->n, head, sizeof(head));
	memcpy(o->b + o->n + sizeof(head), value, head[1]);
	o->n += (uint32_t)sizeof(head) + padded(head[1]);
}

static void
end_options(struct options *o)
{
	o->n += 4; /* code 0, length 0 */
}

struct part {
	const void *p;
	uint32_t n;
};

/* type, length, body in parts each padded to 32 bits, length */
static int
put_block(FILE *out, uint32_t type, const struct part *parts, size_t n)
{
	static const uint8_t zero[4];
	uint32_t total = 12;
	bool ok;

	for (size_t i = 0; i < n; i++)
		total += padded(parts[i].n);
	ok = fwrite(&type, 4, 1, out) == 1 && fwrite(&total, 4, 1, out) == 1;
	for (size_t i = 0; i < n && ok; i++) {
		uint32_t pad = padded(parts[i].n) - parts[i].n;

		ok = fwrite(parts[i].p, 1, parts[i].n, out) == parts[i].n && fwrite(zero, 1, pad, out) == pad;
	}
	return ok && fwrite(&total, 4, 1, out) == 1 ? 0 : -errno;
}

int
pcapng_begin(struct pcapng *p, FILE *out)
{
	static const char us[] = "nearway " NEARWAY_VERSION;
	struct {
		uint32_t magic;
		uint16_t major, minor;
		int32_t length[2]; /* of the section: not known */
	} head = {.magic = MAGIC, .major = 1, .length = {-1, -1}};
	struct options o = {.n = 0};

	memset(p, 0, sizeof(*p));
	p->out = out;
	add_option(&o, OPT_USERAPPL, us, strlen(us));
	end_options(&o);
	return put_block(out, BLOCK_SECTION, (struct part[]){{&head, sizeof(head)}, {o.b, o.n}}, 2);
}

/* Its number; declares it when it is new. */
static int
interface(struct pcapng *p, const char *port, uint32_t *number)
{
	struct {
		uint16_t link, zero;
		uint32_t snap; /* no limit */
	} head = {.link = LINK_ETHERNET};
	const uint8_t resolution = NANOSECONDS;
	struct options o = {.n = 0};

	for (*number = 0; *number < p->n_ports; (*number)++)
		if (strcmp(p->ports[*number], port) == 0)
			return 0;
	if (p->n_ports == PCAPNG_PORTS)
		return -ENOSPC;
	snprintf(p->ports[p->n_ports++], sizeof(p->ports[0]), "%s", port);
	add_option(&o, OPT_IF_NAME, port, strlen(port));
	add_option(&o, OPT_IF_TSRESOL, &resolution, sizeof(resolution));
	end_options(&o);
	return put_block(p->out, BLOCK_INTERFACE, (struct part[]){{&head, sizeof(head)}, {o.b, o.n}}, 2);
}

int
pcapng_add(struct pcapng *p, const struct pcapng_packet *k)
{
	uint32_t head[5] = {0, (uint32_t)(k->time_ns >> 32), (uint32_t)k->time_ns, k->len, k->wire_len};
	uint32_t flags = k->way;
	struct options o = {.n = 0};
	int rc = interface(p, k->port, &head[0]);

	if (rc != 0)
		return rc;
	add_option(&o, OPT_PACKET_FLAGS, &flags, sizeof(flags));
	if (k->comment != NULL)
		add_option(&o, OPT_COMMENT, k->comment, strlen(k->comment));
	end_options(&o);
	return put_block(p->out, BLOCK_PACKET,
		(struct part[]){{head, sizeof(head)}, {k->data, k->len}, {o.b, o.n}}, 3);
}
