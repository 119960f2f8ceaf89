/* SPDX-License-Identifier: BSD-3-Clause */
#include "guest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUSY_PERIOD 0.010
#define BUSY_BYTES  1000
#define IDLE_BYTES  sizeof(((struct flow *)0)->partial)
#define QUEUE	    sizeof(((struct flow *)0)->queue)
#define BLOCK	    65521

/* What agent.py's pattern() makes: FNV-1a of the seed, then splitmix64; twice, so that no slice ends at the block's end. */
static uint8_t *
pattern(const char *name, char end)
{
	uint8_t *block = malloc(2 * BLOCK + 8);
	uint64_t state = 0xcbf29ce484222325ULL, z;
	char seed[80];

	snprintf(seed, sizeof(seed), "%s/%c", name, end);
	for (const char *p = seed; *p; p++)
		state = (state ^ (uint8_t)*p) * 0x100000001b3ULL;
	for (size_t at = 0; at < BLOCK; at += 8) {
		z = state += 0x9e3779b97f4a7c15ULL;
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
		z ^= z >> 31;
		memcpy(block + at, &z, 8);
	}
	memcpy(block + BLOCK, block, BLOCK);
	return block;
}

static void
fail(struct flow *f, const char *what, int error)
{
	if (!f->error[0])
		snprintf(f->error, sizeof(f->error), "%s%s", what, error ? strerror(error) : "");
	f->closed = true;
	close(f->fd);
}

static void
push(struct flow *f)
{
	ssize_t n = send(f->fd, f->queue, f->queued, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN)
		fail(f, "send: ", errno);
	if (n <= 0)
		return;
	f->queued -= (size_t)n;
	memmove(f->queue, f->queue + n, f->queued);
}

static void
say(struct flow *f, const char *head, size_t n)
{
	size_t l = strlen(head);

	if (f->queued + l + n > QUEUE)
		return;
	memcpy(f->queue + f->queued, head, l);
	memcpy(f->queue + f->queued + l, f->out + f->sent % BLOCK, n);
	f->queued += l + n;
	f->sent += n;
	push(f);
}

static void
check(struct flow *f, const uint8_t *data, size_t n)
{
	for (size_t part; n > 0; data += part, n -= part) {
		part = n < BLOCK / 2 ? n : BLOCK / 2;
		if (memcmp(data, f->expect + f->received % BLOCK, part) != 0) {
			fail(f, "wrong bytes", 0);
			return;
		}
		f->received += part;
	}
}

/* idle: a question earns an answer */
static void
exchange(struct flow *f, const uint8_t *data, size_t n)
{
	for (size_t part; n > 0 && !f->closed; data += part, n -= part) {
		part = n < IDLE_BYTES - f->have ? n : IDLE_BYTES - f->have;
		memcpy(f->partial + f->have, data, part);
		f->have += part;
		if (f->have < IDLE_BYTES)
			continue;
		f->have = 0;
		check(f, f->partial + 1, IDLE_BYTES - 1);
		if (f->partial[0] == 'Q')
			say(f, "A", IDLE_BYTES - 1);
		else
			f->answers++;
	}
}

static void
session_start(struct flow *f, bool opener)
{
	f->kind = TCP;
	f->opener = opener;
	f->out = pattern(f->name, opener ? 'a' : 'b');
	f->expect = pattern(f->name, opener ? 'b' : 'a');
	f->last_rx = f->next_send = guest_now();
}

/* The opener says `NW mode name\n`; what follows is the session. */
static void
greeting(struct flow *f)
{
	char mode[16], *head = (char *)f->partial;

	if (f->have + 1 >= IDLE_BYTES || recv(f->fd, head + f->have, 1, 0) != 1) {
		close(f->fd);
		f->kind = NONE;
		return;
	}
	if (head[f->have++] != '\n')
		return;
	head[f->have] = '\0';
	f->have = 0;
	if (sscanf(head, "NW %15s %63s", mode, f->name) != 2) {
		fail(f, "no greeting", 0);
		return;
	}
	f->idle = strcmp(mode, "idle") == 0;
	session_start(f, false);
}

static void
take(struct flow *f)
{
	static uint8_t data[1 << 16];
	ssize_t n = recv(f->fd, data, sizeof(data), MSG_DONTWAIT);
	double t = guest_now();

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		fail(f, n ? "receive: " : "closed by the other end", n ? errno : 0);
		return;
	}
	f->gap = t - f->last_rx > f->gap ? t - f->last_rx : f->gap;
	f->last_rx = t;
	if (f->idle)
		exchange(f, data, (size_t)n);
	else
		check(f, data, (size_t)n);
}

void
session_readable(struct flow *f)
{
	if (f->kind == GREETING)
		greeting(f);
	else
		take(f);
}

bool
session_tick(struct flow *f, double t)
{
	double behind = t - 10 * BUSY_PERIOD;

	if (f->closed)
		return false;
	if (f->queued)
		push(f);
	if (!f->idle && !f->closed && t >= f->next_send) {
		f->next_send = (f->next_send > behind ? f->next_send : behind) + BUSY_PERIOD;
		say(f, "", BUSY_BYTES);
	}
	return !f->idle || f->queued;
}

void
session_wake(struct flow *f)
{
	say(f, "Q", IDLE_BYTES - 1);
}

void
session_accept(struct flow *f, int listener)
{
	int fd = accept(listener, NULL, NULL), yes = 1;

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	f->kind = GREETING;
	f->fd = fd;
}

const char *
session_open(struct flow *f, const char *mode, const struct sockaddr_in *to)
{
	char head[96];
	int yes = 1;

	f->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(f->fd, (const struct sockaddr *)to, sizeof(*to)) != 0) {
		close(f->fd);
		return "cannot connect";
	}
	setsockopt(f->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	f->idle = strcmp(mode, "idle") == 0;
	session_start(f, true);
	snprintf(head, sizeof(head), "NW %s %s\n", mode, f->name);
	say(f, head, 0);
	return NULL;
}

void
session_report(const struct flow *f, FILE *to)
{
	struct sockaddr_in a = {0};
	socklen_t l = sizeof(a);

	getpeername(f->fd, (struct sockaddr *)&a, &l);
	fprintf(to,
		"\"kind\": \"tcp\", \"mode\": \"%s\", \"opener\": %s, \"alive\": %s, \"sent\": %lu, "
		"\"received\": %lu, "
		"\"total_sent\": %lu, \"total_received\": %lu, \"answers\": %lu, \"remote\": \"%s:%u\", "
		"\"error\": ",
		f->idle ? "idle" : "busy", f->opener ? "true" : "false", f->closed ? "false" : "true",
		f->sent - f->sent0, f->received - f->received0, f->sent, f->received, f->answers,
		inet_ntoa(a.sin_addr), ntohs(a.sin_port));
	fprintf(to, f->error[0] ? "\"%s\"" : "null%s", f->error);
}
