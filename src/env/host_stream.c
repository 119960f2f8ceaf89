/* SPDX-License-Identifier: BSD-3-Clause */
#include "host_priv.h"

#include <common/buf.h>
#include <common/log.h>
#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPT_REST_S 1 /* after accept() failed for want of descriptors */
#define USER_TIMEOUT \
	10000 /* ms that sent bytes may stay unacknowledged: a peer that is gone, or does not read */

struct address {
	struct sockaddr_storage sa;
	socklen_t len;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* unix only */
};

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

struct env_listener {
	struct host *h;
	int fd;
	struct event *event, *rest;
	void (*accepted)(void *arg, struct env_stream *s, const struct env_peer_id *id);
	void *arg;
	struct address address;
	dev_t dev; /* of the unix socket's file, so that only our own is removed */
	ino_t ino;
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

static int
parse_address(const char *text, struct address *a)
{
	*a = (struct address){0};
	return strncmp(text, "unix:", 5) == 0 ? parse_unix(text + 5, a) : parse_inet(text, a);
}

static int
make_socket(const struct address *a)
{
	int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static void
tune_tcp(int fd)
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
	struct host *h = arg;

	(void)fd;
	(void)what;
	h->accepts = h->strangers = 0;
}

int
host_stream_start(struct host *h)
{
	h->turn_over = event_new(h->base, -1, 0, on_turn_over, h);
	return h->turn_over != NULL ? 0 : -ENOMEM;
}

/* One more in this turn? Else the socket stays ready, and the next turn finds it so. */
static bool
has_turn(struct host *h, unsigned int *used, unsigned int max)
{
	if (*used == max)
		return false;
	++*used;
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
	if (s->stranger && !has_turn(s->h, &s->h->strangers, TURN_STRANGERS))
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
	int fd = make_socket(a);

	if (fd >= 0 && a->sa.ss_family != AF_UNIX)
		tune_tcp(fd);
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

	if (parse_address(address, &a) != 0)
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

/* ---- listen ---- */

static void
identify(int fd, const struct sockaddr_storage *sa, socklen_t len, struct env_peer_id *id)
{
	struct ucred cred;
	socklen_t n = sizeof(cred);
	char host[64], port[8];

	*id = (struct env_peer_id){.local = sa->ss_family == AF_UNIX, .uid = UINT32_MAX};
	if (id->local) {
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) == 0) {
			id->uid = cred.uid;
			id->pid = (uint32_t)cred.pid;
		}
		snprintf(id->text, sizeof(id->text), "unix:uid=%u", id->uid);
	} else if (getnameinfo((const struct sockaddr *)sa, len, host, sizeof(host), port, sizeof(port),
			   NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
		snprintf(id->text, sizeof(id->text), strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host,
			port);
	}
}

static void
take_connection(struct env_listener *l, int fd, const struct sockaddr_storage *sa, socklen_t len)
{
	struct env_peer_id id;
	struct env_stream *s;

	identify(fd, sa, len, &id);
	if (sa->ss_family != AF_UNIX)
		tune_tcp(fd);
	s = new_stream(l->h, fd);
	if (s == NULL)
		return;
	s->stranger = sa->ss_family != AF_UNIX;
	s->busy++;
	event_add(s->read_event, NULL);
	l->accepted(l->arg, s, &id);
	if (!s->closed && s->ops == NULL)
		shut(s);
	leave(s);
}

static void
on_rested(evutil_socket_t fd, short what, void *arg)
{
	struct env_listener *l = arg;

	(void)fd;
	(void)what;
	event_add(l->event, NULL);
}

static void
on_acceptable(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval rest = {.tv_sec = ACCEPT_REST_S};
	struct env_listener *l = arg;

	(void)what;
	while (has_turn(l->h, &l->h->accepts, TURN_ACCEPTS)) {
		struct sockaddr_storage sa = {0};
		socklen_t len = sizeof(sa);
		int got = accept4(fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (got >= 0) {
			take_connection(l, got, &sa, len);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			/* The connection stays in the queue: without a rest the loop would spin on it. */
			log_warn("accept: %s; resting %d s", strerror(errno), ACCEPT_REST_S);
			event_del(l->event);
			event_add(l->rest, &rest);
		}
		return;
	}
}

/* A socket file that nobody listens on is left over from a process that was killed. */
static int
remove_stale(const struct address *a, struct err *e)
{
	struct stat st;
	int fd, rc;

	if (lstat(a->path, &st) != 0)
		return errno == ENOENT ? 0 : err_set(e, errno, "%s: %s", a->path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, EEXIST, "%s: is there and is no socket", a->path);
	fd = make_socket(a);
	if (fd < 0)
		return err_set(e, -fd, "%s", strerror(-fd));
	rc = connect(fd, (const struct sockaddr *)&a->sa, a->len) == 0 ? 0 : errno;
	close(fd);
	if (rc != ECONNREFUSED)
		return err_set(e, EADDRINUSE, "%s: another process listens there", a->path);
	if (unlink(a->path) != 0)
		return err_set(e, errno, "%s: %s", a->path, strerror(errno));
	return 0;
}

static int
bind_unix(struct env_listener *l, struct err *e)
{
	struct stat st;

	if (remove_stale(&l->address, e) != 0)
		return e != NULL ? e->code : -EADDRINUSE;
	/* Linux gives the file the socket's own mode: there is no moment in which others may connect. */
	if (fchmod(l->fd, 0600) != 0 || bind(l->fd, (struct sockaddr *)&l->address.sa, l->address.len) != 0)
		return err_set(e, errno, "%s: %s", l->address.path, strerror(errno));
	if (stat(l->address.path, &st) == 0) {
		l->dev = st.st_dev;
		l->ino = st.st_ino;
	}
	return 0;
}

static int
bind_inet(struct env_listener *l, struct err *e)
{
	int one = 1;

	setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(l->fd, (struct sockaddr *)&l->address.sa, l->address.len) != 0)
		return err_set(e, errno, "%s", strerror(errno));
	return 0;
}

static int
open_listener(struct env_listener *l, const char *address, struct err *e)
{
	int rc;

	if (parse_address(address, &l->address) != 0)
		return err_set(e, EINVAL, "not an address: IP:PORT or unix:PATH");
	l->fd = make_socket(&l->address);
	if (l->fd < 0)
		return err_set(e, -l->fd, "%s", strerror(-l->fd));
	rc = l->address.path[0] != '\0' ? bind_unix(l, e) : bind_inet(l, e);
	if (rc != 0)
		return rc;
	if (listen(l->fd, SOMAXCONN) != 0)
		return err_set(e, errno, "%s", strerror(errno));
	l->event = event_new(l->h->base, l->fd, EV_READ | EV_PERSIST, on_acceptable, l);
	l->rest = event_new(l->h->base, -1, 0, on_rested, l);
	if (l->event == NULL || l->rest == NULL || event_add(l->event, NULL) != 0)
		return err_set(e, ENOMEM, "out of memory");
	return 0;
}

static void
listener_close(struct env_listener *l)
{
	struct stat st;

	if (l->event != NULL)
		event_free(l->event);
	if (l->rest != NULL)
		event_free(l->rest);
	if (l->ino != 0 && lstat(l->address.path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
		unlink(l->address.path);
	if (l->fd >= 0)
		close(l->fd);
	free(l);
}

static struct env_listener *
listen_at(void *ctx, const char *address,
	void (*accepted)(void *arg, struct env_stream *s, const struct env_peer_id *id), void *arg,
	struct err *e)
{
	struct env_listener *l = calloc(1, sizeof(*l));

	if (l == NULL) {
		err_set(e, ENOMEM, "out of memory");
		return NULL;
	}
	*l = (struct env_listener){.h = ctx, .fd = -1, .accepted = accepted, .arg = arg};
	if (open_listener(l, address, e) != 0) {
		err_wrap(e, "listen %s", address);
		listener_close(l);
		return NULL;
	}
	return l;
}

void
host_stream_ops(struct env_ops *ops)
{
	ops->dial = dial;
	ops->listen = listen_at;
	ops->listener_close = listener_close;
	ops->stream_attach = stream_attach;
	ops->stream_write = stream_write;
	ops->stream_waiting = stream_waiting;
	ops->stream_close = stream_close;
	ops->stream_pause = stream_pause;
}
