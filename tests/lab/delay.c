/* SPDX-License-Identifier: BSD-3-Clause */
/* delay - a long wire: bridges two interfaces and adds a fixed one-way delay, for kernels without sch_netem.
 *
 *   usage: delay IFACE IFACE MICROSECONDS
 *
 * Frames leave in the order in which they came, none is lost as long as a direction's ring has room (32,768
 * frames: 1.6 million a second at 20 ms). What could not be kept is counted and told on SIGTERM or SIGINT,
 * after which the program exits 0 if it lost nothing, else 3.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 32768u /* power of two */
#define ROOM  2032   /* bytes of a frame; a slot is 2 KB */
#define BATCH 64

struct slot {
	uint64_t due_ns;
	uint32_t len;
	uint8_t frame[ROOM];
};

struct wire { /* one direction */
	int from, to;
	struct slot *slots; /* mapped: pages that are never used cost nothing */
	uint32_t head, tail;
	uint64_t sent, lost;
};

static volatile sig_atomic_t stopped;

static void
on_signal(int sig)
{
	(void)sig;
	stopped = 1;
}

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "delay: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int
port_open(const char *name)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, bytes = 256 << 20;
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	struct packet_mreq all = {.mr_type = PACKET_MR_PROMISC};

	if (fd < 0)
		die("socket");
	at.sll_ifindex = all.mr_ifindex = (int)if_nametoindex(name);
	if (at.sll_ifindex == 0)
		die(name);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) != 0 ||
		setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) != 0 ||
		setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) != 0 ||
		setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) != 0)
		die("setsockopt");
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0)
		die("bind");
	return fd;
}

static void
wire_init(struct wire *w, int from, int to)
{
	*w = (struct wire){.from = from, .to = to};
	w->slots = mmap(NULL, SLOTS * sizeof(struct slot), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (w->slots == MAP_FAILED)
		die("mmap");
}

static struct slot *
wire_slot(struct wire *w, uint32_t at)
{
	return &w->slots[at & (SLOTS - 1)];
}

/* Reads straight into the ring. Full: leaves the frames with the socket, which has a buffer of its own. */
static void
wire_receive(struct wire *w, uint64_t delay_ns)
{
	struct mmsghdr m[BATCH] = {0};
	struct iovec v[BATCH];
	uint32_t room = SLOTS - (w->head - w->tail), n = room < BATCH ? room : BATCH;
	uint64_t due;
	int got;

	for (uint32_t i = 0; i < n; i++) {
		v[i] = (struct iovec){wire_slot(w, w->head + i)->frame, ROOM};
		m[i].msg_hdr = (struct msghdr){.msg_iov = &v[i], .msg_iovlen = 1};
	}
	got = n == 0 ? 0 : recvmmsg(w->from, m, n, MSG_DONTWAIT, NULL);
	due = now_ns() + delay_ns;
	for (int i = 0; i < got; i++) {
		struct slot *s = wire_slot(w, w->head + (uint32_t)i);

		s->due_ns = due;
		s->len = m[i].msg_len;
		if (m[i].msg_hdr.msg_flags & MSG_TRUNC) /* no frame of this lab: sent as nothing */
			s->len = 0;
	}
	if (got > 0)
		w->head += (uint32_t)got;
}

/* Sends what is due. A full device keeps the frame for the next turn; a frame it will never take is lost. */
static void
wire_send(struct wire *w)
{
	uint64_t now = now_ns();

	for (int i = 0; i < BATCH && w->tail != w->head; i++, w->tail++) {
		struct slot *s = wire_slot(w, w->tail);

		if (s->due_ns > now)
			return;
		if (s->len == 0 || send(w->to, s->frame, s->len, MSG_DONTWAIT) < 0) {
			if (s->len != 0 && (errno == EAGAIN || errno == ENOBUFS || errno == EINTR))
				return;
			w->lost++;
			continue;
		}
		w->sent++;
	}
}

static uint64_t
wire_due(const struct wire *w)
{
	return w->head == w->tail ? UINT64_MAX : w->slots[w->tail & (SLOTS - 1)].due_ns;
}

static void
wait_for_work(struct wire w[2])
{
	struct pollfd fds[2] = {{.fd = w[0].from, .events = POLLIN}, {.fd = w[1].from, .events = POLLIN}};
	uint64_t a = wire_due(&w[0]), b = wire_due(&w[1]), due = a < b ? a : b, now = now_ns();
	uint64_t left = due == UINT64_MAX ? 500000000 : due > now ? due - now : 0;
	struct timespec t = {(time_t)(left / 1000000000), (long)(left % 1000000000)};

	ppoll(fds, 2, &t, NULL);
}

/* Frames that the kernel had no room for, since the last call. */
static uint64_t
port_lost(int fd)
{
	struct tpacket_stats st = {0};
	socklen_t len = sizeof(st);

	getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &st, &len);
	return st.tp_drops;
}

int
main(int argc, char **argv)
{
	struct wire w[2];
	uint64_t delay_ns;
	int a, b;

	if (argc != 4) {
		fprintf(stderr, "usage: delay IFACE IFACE MICROSECONDS\n");
		return 2;
	}
	delay_ns = strtoull(argv[3], NULL, 10) * 1000;
	prctl(PR_SET_TIMERSLACK, 1);
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	a = port_open(argv[1]);
	b = port_open(argv[2]);
	wire_init(&w[0], a, b);
	wire_init(&w[1], b, a);
	puts("ready");
	fflush(stdout);
	while (!stopped) {
		wait_for_work(w);
		for (int i = 0; i < 2; i++) {
			wire_receive(&w[i], delay_ns);
			wire_send(&w[i]);
		}
	}
	w[0].lost += port_lost(a);
	w[1].lost += port_lost(b);
	printf("sent %lu %lu lost %lu %lu\n", w[0].sent, w[1].sent, w[0].lost, w[1].lost);
	return w[0].lost + w[1].lost == 0 ? 0 : 3;
}
