/* SPDX-License-Identifier: BSD-3-Clause */
#include "host_priv.h"

#include <common/buf.h>
#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define USER_TIMEOUT \
	10000 /* ms that sent bytes may stay unacknowledged: a peer that is gone, or does not read */

struct env_stream {
	struct host *h;
	int fd;
	const struct env_stream_ops *ops;
	void *arg;
	struct event *read_event, *write_event;
	struct buf out;
	bool connecting, paused;
	bool stranger; /* accepted by TCP, and nothing was written to it yet */
	bool closed;   /* by the user or by its end; freed once no callback is under way */
	int busy;
	char why[128]; /* of a dial that failed at once */
};

/* ---- addresses: "192.0.2.1:7411", "[2001:db8::1]:7411", "unix:/run/x.sock" ---- */

static int
parse_unix(const char *path, struct address *a)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&a->sa;

	if (path[0] == '\0' || strlen(path) >= sizeof(un->sun_path))
		return -EINVAL;
	un->sun_family = AF_UNIX;
	strcpy(un->sun_path, path);
	strcpy(a->path, path);
	a->len = sizeof(*un);
	return 0;
}

/* Numeric only: a name's resolution would hold up the loop. */
static int
parse_inet(const char *text, struct address *a)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM},
			*found;
	const char *colon = strrchr(text, ':');
	char host[64];
	size_t n = colon != NULL ? (size_t)(colon - text) : 0;

	if (n == 0 || n >= sizeof(host))
		return -EINVAL;
	if (text[0] == '[' && colon[-1] == ']') {
		text++;
		n -= 2;
	}
	memcpy(host, text, n);
	host[n] = '\0';
	if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
		return -EINVAL;
	memcpy(&a->sa, found->ai_addr, found->ai_addrlen);
	a->len = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

int
host_address(const char *text, struct address *a)
{
	*a = (struct address){0};
	return strncmp(text, "unix:", 5) == 0 ? parse_unix(text + 5, a) : parse_inet(text, a);
}

int
host_socket(const struct address *a)
{
	int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

void
host_tune_tcp(int fd)
{
	int one = 1, timeout = USER_TIMEOUT;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
}

/* ---- a stream's life ---- */

static void
release(struct env_stream *s)
{
	buf_fini(&s->out);
	free(s);
}

static void
shut(struct env_stream *s)
{
	s->closed = true;
	if (s->read_event != NULL)
		event_free(s->read_event);
	if (s->write_event != NULL)
		event_free(s->write_event);
	s->read_event = s->write_event = NULL;
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

static void
stream_close(struct env_stream *s)
{
	shut(s);
	if (s->busy == 0)
		release(s);
}

static void
end(struct env_stream *s, const char *why)
{
	const struct env_stream_ops *ops = s->ops;

	shut(s);
	if (ops != NULL)
		ops->closed(s->arg, why);
}

/* Around the body of an event: the stream is freed behind it when it ended in there. */
static void
leave(struct env_stream *s)
{
	if (--s->busy == 0 && s->closed)
		release(s);
}

/* ---- turns ---- */

static void
on_turn_over(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	((struct host *)arg)->turn++;
}

int
host_stream_start(struct host *h)
{
	h->turn_over = event_new(h->base, -1, 0, on_turn_over, h);
	return h->turn_over != NULL ? 0 : -ENOMEM;
}

bool
host_has_turn(struct host *h, struct share *s, unsigned int max)
{
	if (s->turn != h->turn)
		*s = (struct share){.turn = h->turn};
	if (s->used == max)
		return false;
	s->used++;
	event_active(h->turn_over, EV_TIMEOUT, 1);
	return true;
}

/* ---- bytes in and out ---- */

static void
flush(struct env_stream *s)
{
	ssize_t n;

	while (buf_len(&s->out) > 0) {
		n = send(s->fd, buf_head(&s->out), buf_len(&s->out), MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			end(s, strerror(errno));
			return;
		}
		buf_consume(&s->out, (size_t)n);
	}
	event_del(s->write_event);
	s->ops->drained(s->arg);
}

static void
finish_connect(struct env_stream *s)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (s->fd < 0) {
		end(s, s->why);
		return;
	}
	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
		end(s, strerror(error != 0 ? error : errno));
		return;
	}
	s->connecting = false;
	if (buf_len(&s->out) == 0)
		event_del(s->write_event);
	if (!s->paused)
		event_add(s->read_event, NULL);
	s->ops->connected(s->arg);
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct env_stream *s = arg;

	(void)fd;
	(void)what;
	s->busy++;
	if (s->connecting)
		finish_connect(s);
	else
		flush(s);
	leave(s);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct env_stream *s = arg;
	ssize_t n;

	(void)what;
	if (s->stranger && !host_has_turn(s->h, &s->h->strangers, TURN_STRANGERS))
		return;
	s->busy++;
	n = recv(fd, s->h->read_buffer, HOST_READ_MAX, 0);
	if (n > 0)
		s->ops->data(s->arg, s->h->read_buffer, (size_t)n);
	else if (n == 0)
		end(s, "closed by peer");
	else if (errno != EAGAIN && errno != EINTR)
		end(s, strerror(errno));
	leave(s);
}

/* Takes the descriptor in any case. */
static struct env_stream *
new_stream(struct host *h, int fd)
{
	struct env_stream *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	s->h = h;
	s->fd = fd;
	buf_init(&s->out, ENV_STREAM_QUEUE_MAX);
	s->read_event = event_new(h->base, fd, EV_READ | EV_PERSIST, on_readable, s);
	s->write_event = event_new(h->base, fd, EV_WRITE | EV_PERSIST, on_writable, s);
	if (s->read_event == NULL || s->write_event == NULL) {
		shut(s);
		release(s);
		return NULL;
	}
	return s;
}

static int
stream_write(struct env_stream *s, const void *p, size_t n)
{
	int rc = buf_append(&s->out, p, n);

	if (rc != 0)
		return -ENOSPC;
	s->stranger = false;
	/* From the loop, so that what is written in one go leaves in one go. */
	if (!s->connecting)
		event_add(s->write_event, NULL);
	return 0;
}

static size_t
stream_waiting(const struct env_stream *s)
{
	return buf_len(&s->out);
}

static void
stream_attach(struct env_stream *s, const struct env_stream_ops *ops, void *arg)
{
	s->ops = ops;
	s->arg = arg;
}

static void
stream_pause(struct env_stream *s, bool paused)
{
	s->paused = paused;
	if (paused)
		event_del(s->read_event);
	else if (!s->connecting)
		event_add(s->read_event, NULL);
}

/* ---- dial ---- */

static int
start_connect(const struct address *a, char *why, size_t size)
{
	int fd = host_socket(a);

	if (fd >= 0 && a->sa.ss_family != AF_UNIX)
		host_tune_tcp(fd);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&a->sa, a->len) != 0 && errno != EINPROGRESS) {
		snprintf(why, size, "%s", strerror(errno));
		close(fd);
		return -1;
	}
	if (fd < 0)
		snprintf(why, size, "%s", strerror(-fd));
	return fd;
}

static struct env_stream *
dial(void *ctx, const char *address, const struct env_stream_ops *ops, void *arg)
{
	struct address a;
	struct env_stream *s;
	char why[128] = "";
	int fd = -1;

	if (host_address(address, &a) != 0)
		snprintf(why, sizeof(why), "not an address: IP:PORT or unix:PATH");
	else
		fd = start_connect(&a, why, sizeof(why));
	s = new_stream(ctx, fd);
	if (s == NULL)
		return NULL;
	stream_attach(s, ops, arg);
	s->connecting = true;
	memcpy(s->why, why, sizeof(why));
	if (fd < 0) /* told from the loop, like every end */
		event_active(s->write_event, EV_WRITE, 1);
	else
		event_add(s->write_event, NULL);
	return s;
}

/* ---- accept ---- */

void
host_accepted(struct host *h, int fd, const struct env_peer_id *id,
	void (*accepted)(void *arg, struct env_stream *s, const struct env_peer_id *id), void *arg)
{
	struct env_stream *s = new_stream(h, fd);

	if (s == NULL)
		return;
	s->stranger = !id->local;
	s->busy++;
	event_add(s->read_event, NULL);
	accepted(arg, s, id);
	if (!s->closed && s->ops == NULL)
		shut(s);
	leave(s);
}

void
host_stream_ops(struct env_ops *ops)
{
	ops->dial = dial;
	ops->stream_attach = stream_attach;
	ops->stream_write = stream_write;
	ops->stream_waiting = stream_waiting;
	ops->stream_close = stream_close;
	ops->stream_pause = stream_pause;
}
