/* SPDX-License-Identifier: BSD-3-Clause */
/* host_listen.c - sockets that others connect to, and who it is that does. */
#include "host_priv.h"

#include <common/log.h>
#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ACCEPT_REST_S 1 /* after accept() failed for want of descriptors */

struct env_listener {
	struct host *h;
	int fd;
	struct event *event, *rest;
	struct share turn;
	void (*accepted)(void *arg, struct env_stream *s, const struct env_peer_id *id);
	void *arg;
	struct address address;
	dev_t dev; /* of the unix socket's file, so that only our own is removed */
	ino_t ino;
};

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

	identify(fd, sa, len, &id);
	if (sa->ss_family != AF_UNIX)
		host_tune_tcp(fd);
	host_accepted(l->h, fd, &id, l->accepted, l->arg);
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
	while (host_has_turn(l->h, &l->turn, TURN_ACCEPTS)) {
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
	fd = host_socket(a);
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

	if (host_address(address, &l->address) != 0)
		return err_set(e, EINVAL, "not an address: IP:PORT or unix:PATH");
	l->fd = host_socket(&l->address);
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
host_listen_ops(struct env_ops *ops)
{
	ops->listen = listen_at;
	ops->listener_close = listener_close;
}
