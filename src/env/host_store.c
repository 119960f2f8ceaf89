/* SPDX-License-Identifier: BSD-3-Clause */
#include "host_priv.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

struct job {
	STAILQ_ENTRY(job) link;
	int (*run)(struct host_store *s, struct job *j); /* on the thread */
	void (*finish)(struct job *j);			 /* in the loop */
	struct env_row *rows;				 /* committed, or read */
	size_t n, size;
	char *kind, *after; /* of what is read */
	size_t limit;
	union {
		void (*committed)(void *arg, int rc);
		void (*got)(void *arg, int rc, const struct env_row *rows, size_t n);
	} done;
	void *arg;
	int rc;
};

STAILQ_HEAD(jobs, job);

struct host_store {
	struct host *h;
	const struct host_store_ops *ops;
	void *store;
	pthread_t thread;
	bool running;
	pthread_mutex_t lock; /* over waiting, finished, stop */
	pthread_cond_t wake;
	struct jobs waiting, finished;
	bool stop;
	int fd; /* eventfd: something is finished */
	struct event *event;
};

/* There is no way to refuse a job: `done` must come from the loop, and that needs memory, too. */
static void *
must(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

/* ---- the two kinds of job ---- */

static int
run_commit(struct host_store *s, struct job *j)
{
	return s->ops->commit(s->store, j->rows, j->n);
}

static void
finish_commit(struct job *j)
{
	j->done.committed(j->arg, j->rc);
	free(j->rows); /* with the texts they point to, in one block */
}

static int
keep_row(void *arg, const struct env_row *r)
{
	struct job *j = arg;

	if (j->n == j->size) {
		j->size = j->size ? 2 * j->size : 64;
		j->rows = must(realloc(j->rows, j->size * sizeof(*j->rows)));
	}
	j->rows[j->n++] = (struct env_row){j->kind, must(strdup(r->key)), must(strdup(r->value))};
	return 0;
}

static int
run_read(struct host_store *s, struct job *j)
{
	const struct env_range range = {j->kind, j->after, j->limit};

	return s->ops->read(s->store, &range, keep_row, j);
}

static void
free_read(struct job *j)
{
	for (size_t i = 0; i < j->n; i++) {
		free((char *)(uintptr_t)j->rows[i].key);
		free((char *)(uintptr_t)j->rows[i].value);
	}
	free(j->rows);
	free(j->kind);
	free(j->after);
}

static void
finish_read(struct job *j)
{
	j->done.got(j->arg, j->rc, j->rows, j->rc == 0 ? j->n : 0);
	free_read(j);
}

/* ---- the thread ---- */

static struct job *
next_job(struct host_store *s)
{
	struct job *j;

	pthread_mutex_lock(&s->lock);
	while ((j = STAILQ_FIRST(&s->waiting)) == NULL && !s->stop)
		pthread_cond_wait(&s->wake, &s->lock);
	if (j != NULL)
		STAILQ_REMOVE_HEAD(&s->waiting, link);
	pthread_mutex_unlock(&s->lock);
	return j;
}

static void *
run(void *arg)
{
	struct host_store *s = arg;
	struct job *j;
	uint64_t one = 1;

	while ((j = next_job(s)) != NULL) {
		j->rc = j->run(s, j);
		pthread_mutex_lock(&s->lock);
		STAILQ_INSERT_TAIL(&s->finished, j, link);
		pthread_mutex_unlock(&s->lock);
		if (write(s->fd, &one, sizeof(one)) < 0)
			continue; /* the counter is full: the loop will wake anyway */
	}
	return NULL;
}

/* ---- the loop's side ---- */

static void
tell(struct host_store *s)
{
	struct jobs finished = STAILQ_HEAD_INITIALIZER(finished);
	struct job *j;

	pthread_mutex_lock(&s->lock);
	STAILQ_CONCAT(&finished, &s->finished);
	pthread_mutex_unlock(&s->lock);
	while ((j = STAILQ_FIRST(&finished)) != NULL) {
		STAILQ_REMOVE_HEAD(&finished, link);
		j->finish(j);
		free(j);
	}
}

static void
on_finished(evutil_socket_t fd, short what, void *arg)
{
	struct host_store *s = arg;
	uint64_t count;

	(void)what;
	if (read(fd, &count, sizeof(count)) > 0)
		tell(s);
}

static size_t
text_len(const char *text)
{
	return text != NULL ? strlen(text) + 1 : 0;
}

static const char *
copy_text(char **to, const char *text)
{
	size_t n = text_len(text);
	char *at = *to;

	if (n == 0)
		return NULL;
	memcpy(at, text, n);
	*to += n;
	return at;
}

static struct env_row *
copy_rows(const struct env_row *rows, size_t n)
{
	size_t bytes = n * sizeof(*rows);
	struct env_row *copy;
	char *text;

	for (size_t i = 0; i < n; i++)
		bytes += text_len(rows[i].kind) + text_len(rows[i].key) + text_len(rows[i].value);
	copy = malloc(bytes != 0 ? bytes : 1);
	if (copy == NULL)
		return NULL;
	text = (char *)(copy + n);
	for (size_t i = 0; i < n; i++) {
		copy[i].kind = copy_text(&text, rows[i].kind);
		copy[i].key = copy_text(&text, rows[i].key);
		copy[i].value = copy_text(&text, rows[i].value);
	}
	return copy;
}

static void
submit(struct host_store *s, struct job *j)
{
	pthread_mutex_lock(&s->lock);
	STAILQ_INSERT_TAIL(&s->waiting, j, link);
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
}

static void
env_commit(void *ctx, const struct env_row *rows, size_t n, void (*done)(void *arg, int rc), void *arg)
{
	struct job *j = must(calloc(1, sizeof(*j)));

	*j = (struct job){.run = run_commit,
		.finish = finish_commit,
		.rows = must(copy_rows(rows, n)),
		.n = n,
		.done.committed = done,
		.arg = arg};
	submit(((struct host *)ctx)->store, j);
}

static void
env_read(void *ctx, const struct env_range *range,
	void (*done)(void *arg, int rc, const struct env_row *rows, size_t n), void *arg)
{
	struct job *j = must(calloc(1, sizeof(*j)));

	*j = (struct job){.run = run_read,
		.finish = finish_read,
		.kind = must(strdup(range->kind)),
		.after = must(strdup(range->after)),
		.limit = range->limit,
		.done.got = done,
		.arg = arg};
	submit(((struct host *)ctx)->store, j);
}

/* Signals are the loop's: the thread takes none. */
static int
start_thread(struct host_store *s)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&s->thread, NULL, run, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc == 0)
		pthread_setname_np(s->thread, "store");
	return rc;
}

struct host_store *
host_store_new(struct host *h, const struct host_store_ops *ops, void *store, struct err *e)
{
	struct host_store *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		err_set(e, ENOMEM, "out of memory");
		return NULL;
	}
	*s = (struct host_store){.h = h, .ops = ops, .store = store, .fd = -1};
	STAILQ_INIT(&s->waiting);
	STAILQ_INIT(&s->finished);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	s->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (s->fd >= 0)
		s->event = event_new(h->base, s->fd, EV_READ | EV_PERSIST, on_finished, s);
	if (s->event == NULL || event_add(s->event, NULL) != 0 || start_thread(s) != 0) {
		err_set(e, EAGAIN, "cannot start the store's thread");
		host_store_free(s);
		return NULL;
	}
	s->running = true;
	h->store = s;
	h->ops.commit = env_commit;
	h->ops.read = env_read;
	return s;
}

void
host_store_free(struct host_store *s)
{
	if (s == NULL)
		return;
	if (s->running) {
		pthread_mutex_lock(&s->lock);
		s->stop = true;
		pthread_cond_signal(&s->wake);
		pthread_mutex_unlock(&s->lock);
		pthread_join(s->thread, NULL);
		s->h->store = NULL;
		s->h->ops.commit = NULL;
		s->h->ops.read = NULL;
	}
	tell(s);
	if (s->event != NULL)
		event_free(s->event);
	if (s->fd >= 0)
		close(s->fd);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
