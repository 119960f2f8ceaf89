/* SPDX-License-Identifier: BSD-3-Clause */
/* strangers.c - who has no key at a router's control port, in numbers.
 *
 * usage: strangers ADDRESS PORT ROUTER KEY NET HANDSHAKES HELD SECONDS
 *
 * Opens HELD connections and leaves them; then, HANDSHAKES times a second, one that sends message 1 of a handshake, made with
 * ROUTER's name and public KEY and a static key that nobody knows: the router finds that out only after its share of X25519.
 * Each comes from an address of NET (a.b.0.0/16), which must lead to this host. At the end tells what came of it, as JSON:
 * {"calls", "handshakes" (of these, message 1 was sent), "held", "open" (of those, at the end), "answered" (a byte came)}.
 */
#include <api/key.h>
#include <arpa/inet.h>
#include <errno.h>
#include <net/keys.h>
#include <net/noise.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MESSAGES 64
#define FDS	 16384
#define GIVE_UP	 1000 /* ms: a handshake that nothing comes of */

struct stranger {
	bool held;
	uint64_t opened;
};

static uint8_t message[MESSAGES][2 + NOISE_IK_MSG1];
static struct stranger strangers[FDS];
static struct sockaddr_in router;
static uint32_t net;
static int ep;
static unsigned long calls, handshakes, held, answered;

static uint64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int
make_messages(const char *name, const uint8_t key[32])
{
	char prologue[64];
	int n = snprintf(prologue, sizeof(prologue), "nearway/1 %s", name);

	for (int i = 0; i < MESSAGES; i++) {
		uint8_t nobody[32];
		struct noise_config c = {.initiator = true,
			.prologue = prologue,
			.prologue_len = (size_t)n,
			.static_private = nobody,
			.remote_static = key};
		struct noise *noise;
		size_t len;

		key_generate(nobody);
		noise = noise_new(&c);
		if (noise == NULL || noise_write(noise, NULL, 0, message[i] + 2, &len) != 0)
			return -1;
		noise_free(noise);
		message[i][1] = NOISE_IK_MSG1;
	}
	return 0;
}

/* From another address each time. */
static void
call(bool hold)
{
	static uint32_t last;
	struct sockaddr_in from = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(net + 1 + last++ * 7919 % 65000)};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct epoll_event ev = {.events = EPOLLIN | (hold ? 0 : EPOLLOUT), .data.fd = fd};

	if (fd < 0 || fd >= FDS)
		return;
	setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)) != 0 ||
		(connect(fd, (struct sockaddr *)&router, sizeof(router)) != 0 && errno != EINPROGRESS)) {
		close(fd);
		return;
	}
	strangers[fd] = (struct stranger){hold, now_ms()};
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	held += hold;
	calls += !hold;
}

static void
hang_up(int fd)
{
	close(fd);
	strangers[fd] = (struct stranger){0};
}

static void
happens(const struct epoll_event *e)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = e->data.fd};
	int fd = e->data.fd;
	char c;

	if (e->events & EPOLLOUT) {
		handshakes += send(fd, message[handshakes % MESSAGES], sizeof(message[0]), MSG_NOSIGNAL) > 0;
		epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev);
	}
	if (e->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		answered += recv(fd, &c, 1, 0) > 0;
		hang_up(fd);
	}
}

static void
wait_ms(int ms)
{
	struct epoll_event e[256];
	int n = epoll_wait(ep, e, 256, ms);

	for (int i = 0; i < n; i++)
		happens(&e[i]);
}

static void
give_up_old(uint64_t now)
{
	for (int fd = 0; fd < FDS; fd++)
		if (strangers[fd].opened != 0 && !strangers[fd].held && now - strangers[fd].opened > GIVE_UP)
			hang_up(fd);
}

static void
attack(unsigned long rate, unsigned long hold, unsigned long seconds)
{
	uint64_t start, now, swept = 0;
	unsigned long made = 0;

	while (held < hold) {
		unsigned long was = held;

		for (int i = 0; i < 50 && held < hold; i++)
			call(true);
		wait_ms(2);
		if (held == was)
			break;
	}
	start = now = now_ms();
	printf("begun\n");
	fflush(stdout);
	while (now < start + seconds * 1000) {
		for (; made < (now - start) * rate / 1000; made++)
			call(false);
		wait_ms(1);
		now = now_ms();
		if (now > swept + 100)
			give_up_old(swept = now);
	}
}

static unsigned long
still_open(void)
{
	unsigned long n = 0;

	for (int fd = 0; fd < FDS; fd++)
		n += strangers[fd].held;
	return n;
}

int
main(int argc, char **argv)
{
	struct rlimit files = {FDS, FDS};
	uint8_t key[32];
	struct in_addr a;

	if (argc != 9 || inet_aton(argv[1], &router.sin_addr) == 0 || key_parse(argv[4], key) != 0 ||
		inet_aton(argv[5], &a) == 0) {
		fprintf(stderr, "usage: strangers ADDRESS PORT ROUTER KEY NET HANDSHAKES HELD SECONDS\n");
		return 2;
	}
	router.sin_family = AF_INET;
	router.sin_port = htons((uint16_t)atoi(argv[2]));
	net = ntohl(a.s_addr);
	ep = epoll_create1(0);
	if (setrlimit(RLIMIT_NOFILE, &files) != 0 || make_messages(argv[3], key) != 0) {
		fprintf(stderr, "strangers: fewer than %d files are allowed, or no messages can be made\n",
			FDS);
		return 1;
	}
	attack(strtoul(argv[6], NULL, 10), strtoul(argv[7], NULL, 10), strtoul(argv[8], NULL, 10));
	printf("{\"calls\": %lu, \"handshakes\": %lu, \"held\": %lu, \"open\": %lu, \"answered\": %lu}\n",
		calls, handshakes, held, still_open(), answered);
	return 0;
}
