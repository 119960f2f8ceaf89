/* SPDX-License-Identifier: BSD-3-Clause */
#include "scrape.h"

#include <common/log.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/util.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

struct scrape {
	struct MHD_Daemon *http;
	struct event *readable; /* something came, by the server's own epoll */
	struct event *timer;	/* somebody may have been silent for too long */
	char *(*text)(void *arg, size_t *n);
	void *arg;
	char *made; /* the last text */
	size_t n_made;
	time_t made_at; /* s; it is told for the rest of this second */
	struct open {
		int fd; /* -1: none */
		time_t since;
	} open[SCRAPE_CONNECTIONS];
};

static time_t
now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ts.tv_sec;
}

/* ---- answers ---- */

static enum MHD_Result
answer(struct MHD_Connection *c, unsigned int code, struct MHD_Response *r)
{
	enum MHD_Result rc;

	if (r == NULL)
		return MHD_NO; /* the connection is closed */
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
	rc = MHD_queue_response(c, code, r);
	MHD_destroy_response(r);
	return rc;
}

static enum MHD_Result
refuse(struct MHD_Connection *c, unsigned int code, const char *why)
{
	struct MHD_Response *r =
		MHD_create_response_from_buffer(strlen(why), (void *)(uintptr_t)why, MHD_RESPMEM_PERSISTENT);

	if (r != NULL && code == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET");
	return answer(c, code, r);
}

static bool
make(struct scrape *s)
{
	time_t now = now_s();

	if (s->made != NULL && s->made_at == now)
		return true;
	free(s->made);
	s->made = s->text(s->arg, &s->n_made);
	s->made_at = now;
	return s->made != NULL;
}

static enum MHD_Result
tell(struct scrape *s, struct MHD_Connection *c)
{
	struct MHD_Response *r;

	if (!make(s))
		return refuse(c, MHD_HTTP_INTERNAL_SERVER_ERROR, "no memory\n");
	r = MHD_create_response_from_buffer(s->n_made, s->made, MHD_RESPMEM_MUST_COPY);
	if (r != NULL)
		MHD_add_response_header(
			r, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
	return answer(c, MHD_HTTP_OK, r);
}

/* Called when the headers are there, and again, with `*seen` set, when the whole request is. */
static enum MHD_Result
on_request(void *arg, struct MHD_Connection *c, const char *url, const char *method, const char *version,
	const char *body, size_t *body_size, void **seen)
{
	struct scrape *s = arg;

	(void)version;
	(void)body;
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0)
		return refuse(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET /metrics\n");
	if (*seen == NULL) {
		*seen = s;
		return MHD_YES;
	}
	if (*body_size != 0)
		return MHD_NO; /* a body: the connection is closed */
	if (strcmp(url, "/metrics") != 0)
		return refuse(c, MHD_HTTP_NOT_FOUND, "GET /metrics\n");
	return tell(s, c);
}

static void __attribute__((format(printf, 2, 0))) on_log(void *arg, const char *fmt, va_list ap)
{
	char text[256];

	(void)arg;
	vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	log_debug("metrics: %s", text);
}

/* ---- connections ---- */

static void
on_connection(void *arg, struct MHD_Connection *c, void **place, enum MHD_ConnectionNotificationCode what)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct scrape *s = arg;
	struct open *o = *place;

	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (o != NULL)
			o->fd = -1;
		return;
	}
	for (o = s->open; info != NULL && o < s->open + SCRAPE_CONNECTIONS; o++) {
		if (o->fd >= 0)
			continue;
		*o = (struct open){info->connect_fd, now_s()};
		*place = o;
		return;
	}
}

/* Who sends a byte now and then is not silent. The server sees the end, and closes. */
static void
end_old(struct scrape *s)
{
	time_t now = now_s();

	for (struct open *o = s->open; o < s->open + SCRAPE_CONNECTIONS; o++)
		if (o->fd >= 0 && now - o->since >= SCRAPE_MOST_S)
			shutdown(o->fd, SHUT_RDWR);
}

/* ---- the loop ---- */

static bool
waits(struct scrape *s, MHD_UNSIGNED_LONG_LONG *ms)
{
	MHD_run(s->http);
	return MHD_get_timeout(s->http, ms) == MHD_YES;
}

/* After it had as many connections as it may, the server listens again in the run behind that in which the last one has ended. */
static void
run(evutil_socket_t fd, short what, void *arg)
{
	struct scrape *s = arg;
	MHD_UNSIGNED_LONG_LONG ms;
	struct timeval tv;

	(void)fd;
	(void)what;
	end_old(s);
	if (!waits(s, &ms) && !waits(s, &ms)) {
		event_del(s->timer);
		return;
	}
	ms = ms < 1000 ? ms : 1000;
	tv.tv_sec = (time_t)(ms / 1000);
	tv.tv_usec = (suseconds_t)(ms % 1000 * 1000);
	event_add(s->timer, &tv);
}

static int
start(struct scrape *s, const char *listen, struct err *e)
{
	struct sockaddr_in sa = {0};
	int len = sizeof(sa);

	if (evutil_parse_sockaddr_port(listen, (struct sockaddr *)&sa, &len) != 0)
		return err_set(e, EINVAL, "%s", listen);
	errno = 0;
	s->http = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, s,
		MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&sa,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned int)SCRAPE_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned int)SCRAPE_IDLE_S, MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned int)SCRAPE_OF_ONE,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)SCRAPE_MEMORY, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_END);
	return s->http != NULL ? 0
			       : err_set(e, errno != 0 ? errno : EIO, "cannot listen on %s: %s", listen,
					 errno != 0 ? strerror(errno) : "the HTTP server does not start");
}

struct scrape *
scrape_new(struct event_base *base, const char *listen, char *(*text)(void *arg, size_t *n), void *arg,
	struct err *e)
{
	struct scrape *s = calloc(1, sizeof(*s));
	const union MHD_DaemonInfo *info;

	if (s == NULL) {
		err_set(e, ENOMEM, "no memory");
		return NULL;
	}
	s->text = text;
	s->arg = arg;
	for (size_t i = 0; i < SCRAPE_CONNECTIONS; i++)
		s->open[i].fd = -1;
	if (start(s, listen, e) != 0) {
		scrape_free(s);
		return NULL;
	}
	info = MHD_get_daemon_info(s->http, MHD_DAEMON_INFO_EPOLL_FD);
	s->readable = info != NULL ? event_new(base, info->epoll_fd, EV_READ | EV_PERSIST, run, s) : NULL;
	s->timer = evtimer_new(base, run, s);
	if (s->readable == NULL || s->timer == NULL || event_add(s->readable, NULL) != 0) {
		err_set(e, ENOMEM, "no memory");
		scrape_free(s);
		return NULL;
	}
	return s;
}

void
scrape_free(struct scrape *s)
{
	if (s == NULL)
		return;
	if (s->readable != NULL)
		event_free(s->readable);
	if (s->timer != NULL)
		event_free(s->timer);
	if (s->http != NULL)
		MHD_stop_daemon(s->http);
	free(s->made);
	free(s);
}
