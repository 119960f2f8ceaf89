/* SPDX-License-Identifier: BSD-3-Clause */
/* guest - a host's traffic, as agent.py makes it, in one static program for a guest that has no Python.
 *
 *   usage: guest TERMINAL     one command of words a line comes in by this terminal, one JSON reply a line goes out
 *
 *   listen                       accepts TCP sessions, answers numbered UDP
 *   open NAME tcp busy|idle IP   open NAME udp|ping IP RATE
 *   wake NAME   close NAME   pause 0|1   mark   stats
 *
 * The wire is that of agent.py: sessions whose every byte is checked by both ends, numbered questions.
 */
#include "guest.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define TCP_PORT 7001
#define UDP_PORT 7002
#define TICK_MS	 2
#define FLOWS	 32
#define ROOM	 (4 << 20)

static struct flow flows[FLOWS];
static int listener = -1, echo = -1;
static bool paused;
static FILE *reply;

double
guest_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- commands ---- */

static struct flow *
flow_free(void)
{
	for (size_t i = 0; i < FLOWS; i++)
		if (flows[i].kind == NONE) {
			memset(&flows[i], 0, sizeof(flows[i]));
			return &flows[i];
		}
	return NULL;
}

static struct flow *
flow_named(const char *name)
{
	for (size_t i = 0; i < FLOWS; i++)
		if (flows[i].kind != NONE && strcmp(flows[i].name, name) == 0)
			return &flows[i];
	return NULL;
}

static int
bound(int type, uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, type, 0), yes = 1, room = ROOM;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	return bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && (type == SOCK_DGRAM || listen(fd, 64) == 0)
		       ? fd
		       : -1;
}

static const char *
do_open(char **w)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(strcmp(w[2], "tcp") == 0 ? TCP_PORT : UDP_PORT)};
	struct flow *f = flow_free();
	const char *error;
	bool tcp = strcmp(w[2], "tcp") == 0;

	if (!f || inet_pton(AF_INET, w[tcp ? 4 : 3], &to.sin_addr) != 1)
		return "no such flow";
	snprintf(f->name, sizeof(f->name), "%s", w[1]);
	error = tcp ? session_open(f, w[3], &to)
		    : ask_open(f, strcmp(w[2], "udp") == 0 ? UDP : PING, w[4], &to);
	fprintf(reply, "{\"flow\": %u}", f->id);
	return error;
}

static void
mark(struct flow *f)
{
	f->last_rx = guest_now();
	f->gap = f->rtt_min = 0;
	f->sent0 = f->sent;
	f->received0 = f->received;
	f->first = f->seq;
	f->answered = f->late = f->stray = f->answers = 0;
}

static void
report(bool accepted)
{
	const char *comma = "";

	for (const struct flow *f = flows; f < flows + FLOWS; f++) {
		if (f->kind == NONE || f->kind == GREETING || (f->kind == TCP && !f->opener) != accepted)
			continue;
		fprintf(reply, "%s\"%s\": {", comma, f->name);
		if (f->kind == TCP)
			session_report(f, reply);
		else
			ask_report(f, reply);
		fprintf(reply, ", \"gap_ms\": %.1f}",
			(guest_now() - f->last_rx > f->gap ? guest_now() - f->last_rx : f->gap) * 1e3);
		comma = ", ";
	}
}

static void
do_stats(void)
{
	fprintf(reply, "{\"flows\": {");
	report(false);
	fprintf(reply, "}, \"accepted\": {");
	report(true);
	fprintf(reply, "}, \"echo\": {}}");
}

static const char *
do_named(const char *command, struct flow *f)
{
	if (!f)
		return "no such flow";
	fputs("{}", reply);
	if (strcmp(command, "wake") == 0) {
		session_wake(f);
		return NULL;
	}
	if (!f->closed)
		close(f->fd);
	free(f->out);
	free(f->expect);
	free(f->asked);
	f->kind = NONE;
	return NULL;
}

static void
do_pause(bool on)
{
	paused = on;
	for (size_t i = 0; i < FLOWS; i++)
		if (flows[i].kind == UDP || flows[i].kind == PING)
			flows[i].next_send = guest_now();
}

static const char *
command(char **w, int n)
{
	if (n == 5 && strcmp(w[0], "open") == 0)
		return do_open(w);
	if (n == 2 && (strcmp(w[0], "wake") == 0 || strcmp(w[0], "close") == 0))
		return do_named(w[0], flow_named(w[1]));
	if (n == 1 && strcmp(w[0], "stats") == 0) {
		do_stats();
		return NULL;
	}
	fputs("{}", reply);
	if (n == 2 && strcmp(w[0], "pause") == 0) {
		do_pause(w[1][0] == '1');
	} else if (n == 1 && strcmp(w[0], "mark") == 0) {
		for (size_t i = 0; i < FLOWS; i++)
			mark(&flows[i]);
	} else if (n == 1 && strcmp(w[0], "listen") == 0) {
		listener = bound(SOCK_STREAM, TCP_PORT);
		echo = bound(SOCK_DGRAM, UDP_PORT);
	} else {
		return "no such command";
	}
	return NULL;
}

static void
line(int tty, char *text)
{
	char *w[6], *out = NULL, *save;
	const char *error;
	size_t l = 0, at = 0;
	int n = 0;

	for (char *p = strtok_r(text, " ", &save); p && n < 6; p = strtok_r(NULL, " ", &save))
		w[n++] = p;
	reply = open_memstream(&out, &l);
	fputs("{\"result\": ", reply);
	error = command(w, n);
	fputs("}\n", reply);
	fclose(reply);
	if (error) {
		snprintf(out, l, "{\"error\": \"%s\"}\n", error);
		l = strlen(out);
	}
	for (ssize_t r; at < l && (r = write(tty, out + at, l - at)) > 0; at += (size_t)r)
		;
	free(out);
}

static void
tty_readable(int tty)
{
	static char text[256];
	static size_t have;
	char c;

	while (read(tty, &c, 1) == 1) {
		if (c != '\n' && have < sizeof(text) - 1) {
			text[have++] = c;
			continue;
		}
		text[have] = '\0';
		have = 0;
		line(tty, text);
	}
}

/* ---- loop ---- */

static bool
tick(struct flow *f, double t)
{
	if (f->kind == TCP)
		return session_tick(f, t);
	return (f->kind == UDP || f->kind == PING) && !paused && ask_tick(f, t);
}

static void
readable(struct flow *f)
{
	if (f->kind == TCP || f->kind == GREETING)
		session_readable(f);
	else
		ask_readable(f);
}

static void
listener_readable(void)
{
	struct flow *f = flow_free();

	if (f)
		session_accept(f, listener);
}

static void
turn(int tty)
{
	struct pollfd p[FLOWS + 3] = {{tty, POLLIN, 0}, {listener, POLLIN, 0}, {echo, POLLIN, 0}};
	bool busy = false;

	for (size_t i = 0; i < FLOWS; i++) {
		p[3 + i] = (struct pollfd){
			flows[i].kind == NONE || flows[i].closed ? -1 : flows[i].fd, POLLIN, 0};
		busy |= tick(&flows[i], guest_now());
	}
	poll(p, FLOWS + 3, busy ? TICK_MS : -1);
	for (size_t i = 0; i < FLOWS; i++)
		if (p[3 + i].revents && !flows[i].closed)
			readable(&flows[i]);
	if (p[2].revents)
		echo_readable(echo);
	if (p[1].revents)
		listener_readable();
	if (p[0].revents)
		tty_readable(tty);
}

int
main(int argc, char **argv)
{
	int tty = argc == 2 ? open(argv[1], O_RDWR | O_NOCTTY) : -1;
	struct termios raw;

	if (tty < 0 || tcgetattr(tty, &raw) != 0) {
		fprintf(stderr, "usage: guest TERMINAL\n");
		return 1;
	}
	cfmakeraw(&raw);
	raw.c_cc[VMIN] = raw.c_cc[VTIME] = 0;
	tcsetattr(tty, TCSANOW, &raw);
	dprintf(tty, "{\"result\": \"ready\"}\n");
	for (;;)
		turn(tty);
}
