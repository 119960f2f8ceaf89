/* SPDX-License-Identifier: BSD-3-Clause */
#include "host_priv.h"

#include <common/log.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct env_timer {
	struct host *h;
	void (*cb)(void *arg);
	void *arg;
	uint64_t due_ms, seq;
	size_t at; /* place in the heap + 1; 0 = not set */
};

/* ---- clock ---- */

static int64_t
clock_ms(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static uint64_t
now_ms(void *ctx)
{
	(void)ctx;
	return (uint64_t)clock_ms(CLOCK_BOOTTIME);
}

static uint64_t
now_us(void *ctx)
{
	struct timespec ts;

	(void)ctx;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static int64_t
wall_ms(void *ctx)
{
	(void)ctx;
	return clock_ms(CLOCK_REALTIME);
}

static const char *
boot_id(void *ctx)
{
	return ((struct host *)ctx)->boot_id;
}

static int
read_boot_id(struct host *h, struct err *e)
{
	static const char file[] = "/proc/sys/kernel/random/boot_id";
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, h->boot_id, sizeof(h->boot_id) - 1);

	if (n <= 0)
		err_set(e, EIO, "%s: %s", file, strerror(errno));
	if (fd >= 0)
		close(fd);
	h->boot_id[strcspn(h->boot_id, "\n")] = '\0';
	return n > 0 ? 0 : -EIO;
}

/* ---- heap ---- */

static bool
before(const struct env_timer *a, const struct env_timer *b)
{
	return a->due_ms < b->due_ms || (a->due_ms == b->due_ms && a->seq < b->seq);
}

static void
place(struct host *h, struct env_timer *t, size_t i)
{
	h->heap[i] = t;
	t->at = i + 1;
}

static void
sift_up(struct host *h, struct env_timer *t, size_t i)
{
	for (; i > 0 && before(t, h->heap[(i - 1) / 2]); i = (i - 1) / 2)
		place(h, h->heap[(i - 1) / 2], i);
	place(h, t, i);
}

static void
sift_down(struct host *h, struct env_timer *t, size_t i)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child + 1 < h->n_heap && before(h->heap[child + 1], h->heap[child]))
			child++;
		if (child >= h->n_heap || !before(h->heap[child], t))
			break;
		place(h, h->heap[child], i);
		i = child;
	}
	place(h, t, i);
}

static void
heap_remove(struct env_timer *t)
{
	struct host *h = t->h;
	struct env_timer *last;
	size_t i = t->at - 1;

	t->at = 0;
	last = h->heap[--h->n_heap];
	if (last == t)
		return;
	if (i > 0 && before(last, h->heap[(i - 1) / 2]))
		sift_up(h, last, i);
	else
		sift_down(h, last, i);
}

/* ---- timers ---- */

/* A timerfd that fires for nothing, or not later than the first timer is due, is let be: a call into the kernel costs more. */
static void
arm(struct host *h)
{
	struct itimerspec at = {0};

	if (h->n_heap == 0 || h->heap[0]->due_ms >= h->armed_ms)
		return;
	h->armed_ms = h->heap[0]->due_ms;
	at.it_value.tv_sec = (time_t)(h->armed_ms / 1000);
	at.it_value.tv_nsec = (long)(h->armed_ms % 1000) * 1000000;
	timerfd_settime(h->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

/* Those that are due, in order. One that is set anew in a callback, even for now, waits for the next round,
 * so that sockets get their turn. */
static void
on_timerfd(evutil_socket_t fd, short what, void *arg)
{
	struct host *h = arg;
	uint64_t fired, now = now_ms(h), until = h->timer_seq;

	(void)what;
	if (read(fd, &fired, sizeof(fired)) < 0 && errno != EAGAIN)
		log_error("timerfd: %s", strerror(errno));
	h->armed_ms = UINT64_MAX;
	while (h->n_heap > 0 && h->heap[0]->due_ms <= now && h->heap[0]->seq < until) {
		struct env_timer *t = h->heap[0];

		heap_remove(t);
		t->cb(t->arg);
	}
	arm(h);
}

static struct env_timer *
timer_new(void *ctx, void (*cb)(void *arg), void *arg)
{
	struct host *h = ctx;
	struct env_timer *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	*t = (struct env_timer){.h = h, .cb = cb, .arg = arg};
	return t;
}

static void
timer_stop(struct env_timer *t)
{
	if (t->at != 0)
		heap_remove(t);
}

static void
timer_set(struct env_timer *t, uint64_t after_ms)
{
	struct host *h = t->h;

	timer_stop(t);
	if (h->n_heap == h->cap_heap) {
		size_t cap = h->cap_heap != 0 ? 2 * h->cap_heap : 64;
		struct env_timer **heap = reallocarray(h->heap, cap, sizeof(*heap));

		if (heap == NULL) {
			log_error("out of memory for a timer");
			abort();
		}
		h->heap = heap;
		h->cap_heap = cap;
	}
	t->due_ms = now_ms(h) + after_ms;
	t->seq = h->timer_seq++;
	sift_up(h, t, h->n_heap++);
	if (t->at == 1)
		arm(h);
}

static void
timer_free(struct env_timer *t)
{
	timer_stop(t);
	free(t);
}

/* ---- random ---- */

static int
get_random(uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t got = getrandom(p, n, 0);

		if (got < 0 && errno != EINTR)
			return -errno;
		if (got > 0) {
			p += got;
			n -= (size_t)got;
		}
	}
	return 0;
}

static void
fill_random(void *ctx, void *buf, size_t n)
{
	(void)ctx;
	if (get_random(buf, n) != 0) { /* host_new() has seen it work */
		log_error("getrandom: %s", strerror(errno));
		abort();
	}
}

/* ---- the host ---- */

static int
start(struct host *h, struct err *e)
{
	uint8_t probe;

	if (get_random(&probe, 1) != 0)
		return err_set(e, EIO, "getrandom: %s", strerror(errno));
	if (read_boot_id(h, e) != 0)
		return -EIO;
	h->base = event_base_new();
	h->read_buffer = malloc(HOST_READ_MAX);
	if (h->base == NULL || h->read_buffer == NULL || host_stream_start(h) != 0)
		return err_set(e, ENOMEM, "cannot make an event loop");
	h->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (h->timer_fd < 0)
		return err_set(e, errno, "timerfd on the boot-time clock: %s", strerror(errno));
	h->timer_event = event_new(h->base, h->timer_fd, EV_READ | EV_PERSIST, on_timerfd, h);
	if (h->timer_event == NULL || event_add(h->timer_event, NULL) != 0)
		return err_set(e, ENOMEM, "cannot watch the timerfd");
	return 0;
}

struct host *
host_new(struct err *e)
{
	struct host *h = calloc(1, sizeof(*h));

	if (h == NULL) {
		err_set(e, ENOMEM, "out of memory");
		return NULL;
	}
	h->timer_fd = -1;
	h->armed_ms = UINT64_MAX;
	h->ops = (struct env_ops){
		.now_ms = now_ms,
		.now_us = now_us,
		.wall_ms = wall_ms,
		.boot_id = boot_id,
		.timer_new = timer_new,
		.timer_set = timer_set,
		.timer_stop = timer_stop,
		.timer_free = timer_free,
		.random = fill_random,
	};
	host_stream_ops(&h->ops);
	host_listen_ops(&h->ops);
	h->env = (struct env){.ops = &h->ops, .ctx = h};
	if (start(h, e) != 0) {
		host_free(h);
		return NULL;
	}
	return h;
}

void
host_free(struct host *h)
{
	if (h == NULL)
		return;
	if (h->timer_event != NULL)
		event_free(h->timer_event);
	if (h->timer_fd >= 0)
		close(h->timer_fd);
	if (h->turn_over != NULL)
		event_free(h->turn_over);
	if (h->base != NULL)
		event_base_free(h->base);
	free(h->read_buffer);
	free(h->heap);
	free(h);
}

struct env *
host_env(struct host *h)
{
	return &h->env;
}

struct env_ops *
host_ops(struct host *h)
{
	return &h->ops;
}

struct event_base *
host_base(struct host *h)
{
	return h->base;
}

void
host_set_user(struct host *h, void *user)
{
	h->user = user;
}

void *
host_user(const struct host *h)
{
	return h->user;
}

int
host_run(struct host *h)
{
	h->code = 0;
	if (event_base_dispatch(h->base) < 0)
		return -EIO;
	return h->code;
}

void
host_stop(struct host *h, int code)
{
	h->code = code;
	event_base_loopexit(h->base, NULL);
}
