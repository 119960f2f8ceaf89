/* SPDX-License-Identifier: BSD-3-Clause */
#include "guest.h"

#include <arpa/inet.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NUMBERS 65536 /* questions whose answers are remembered */
#define ROOM	(4 << 20)

struct question {
	char magic[4], kind;
	uint32_t flow;
	uint64_t seq;
	uint8_t filler[100];
} __attribute__((packed));

struct icmp_echo {
	uint8_t type, code;
	uint16_t sum, id, seq;
	uint64_t number;
	uint8_t filler[48];
} __attribute__((packed));

static uint16_t
checksum(const void *data, size_t n)
{
	const uint8_t *p = data;
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < n; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void
ask(struct flow *f, double t)
{
	struct question q = {"NWUD", 'q', htonl(f->id), htobe64(f->seq), {0}};
	struct icmp_echo e = {8, 0, 0, (uint16_t)f->id, htons((uint16_t)f->seq), htobe64(f->seq), {0}};

	memcpy(q.magic, "NWUD", 4);
	e.sum = checksum(&e, sizeof(e));
	f->asked[f->seq++ % NUMBERS] = t;
	/* What the kernel refuses is lost, and counted so. */
	if (f->kind == UDP)
		(void)!send(f->fd, &q, sizeof(q), MSG_DONTWAIT);
	else
		(void)!send(f->fd, &e, sizeof(e), MSG_DONTWAIT);
}

static void
answered(struct flow *f, uint64_t seq)
{
	double t = guest_now(), *asked = &f->asked[seq % NUMBERS];

	if (seq >= f->seq || *asked == 0) {
		f->stray++;
		return;
	}
	f->gap = t - f->last_rx > f->gap ? t - f->last_rx : f->gap;
	f->last_rx = t;
	if (seq >= f->first) {
		f->answered++;
		f->late += t - *asked >= LATE;
		if (f->rtt_min == 0 || t - *asked < f->rtt_min)
			f->rtt_min = t - *asked;
	}
	*asked = 0;
}

void
ask_readable(struct flow *f)
{
	uint8_t data[2048];
	ssize_t n;

	while ((n = recv(f->fd, data, sizeof(data), MSG_DONTWAIT)) >= 0) {
		const struct question *q = (const struct question *)data;
		const struct icmp_echo *e = (const struct icmp_echo *)(data + (data[0] & 15) * 4);

		if (f->kind == UDP && n >= 17 && q->kind == 'a' && ntohl(q->flow) == f->id)
			answered(f, be64toh(q->seq));
		else if (f->kind == PING && n >= 36 && e->type == 0 && e->id == (uint16_t)f->id)
			answered(f, be64toh(e->number));
	}
}

void
echo_readable(int echo)
{
	struct sockaddr_in from;
	struct question q;
	ssize_t n;

	for (socklen_t l = sizeof(from);
		(n = recvfrom(echo, &q, sizeof(q), MSG_DONTWAIT, (struct sockaddr *)&from, &l)) >= 0;
		l = sizeof(from)) {
		if (n < 17 || q.kind != 'q')
			continue;
		q.kind = 'a';
		(void)!sendto(echo, &q, (size_t)n, MSG_DONTWAIT, (struct sockaddr *)&from, l);
	}
}

static uint64_t
unanswered(const struct flow *f, double seconds)
{
	double t = guest_now();
	uint64_t n = 0;

	for (uint64_t seq = f->first; seq < f->seq; seq++)
		n += f->asked[seq % NUMBERS] != 0 && t - f->asked[seq % NUMBERS] >= seconds;
	return n;
}

const char *
ask_open(struct flow *f, enum kind kind, const char *rate, const struct sockaddr_in *to)
{
	int room = ROOM;

	f->fd = kind == UDP ? socket(AF_INET, SOCK_DGRAM, 0) : socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	setsockopt(f->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	if (f->fd < 0 || connect(f->fd, (const struct sockaddr *)to, sizeof(*to)) != 0 || atoi(rate) < 1)
		return "cannot ask";
	f->kind = kind;
	f->period = 1.0 / atoi(rate);
	f->asked = calloc(NUMBERS, sizeof(double));
	f->id = (uint32_t)(getpid() << 16 ^ (int)(guest_now() * 1e6));
	f->last_rx = f->next_send = guest_now();
	return NULL;
}

bool
ask_tick(struct flow *f, double t)
{
	for (; t >= f->next_send; f->next_send += f->period) {
		if (t - f->next_send > 10 * f->period)
			f->next_send = t - 10 * f->period;
		ask(f, t);
	}
	return true;
}

void
ask_report(const struct flow *f, FILE *to)
{
	fprintf(to,
		"\"kind\": \"%s\", \"sent\": %lu, \"answered\": %lu, \"lost\": %lu, \"waiting\": %lu, "
		"\"late\": %lu, "
		"\"stray\": %lu, \"rtt_ms\": ",
		f->kind == UDP ? "udp" : "ping", f->seq - f->first, f->answered, unanswered(f, LATE),
		unanswered(f, 0), f->late, f->stray);
	fprintf(to, f->answered ? "{\"min\": %.3f}" : "null", f->rtt_min * 1e3);
}
