/* SPDX-License-Identifier: BSD-3-Clause */
/* storage.c - does the store take rows? While it refuses it is asked again, so that it is known to be well before somebody needs
 * it. */
#include "state.h"

#include <common/log.h>

#define RETRY_MS      5000
#define CHECKPOINT_MS 60000

struct aside {		   /* rows that nobody waits for */
	struct core *core; /* NULL: freed meanwhile */
	struct aside *prev, *next;
};

/* Said when it changes; while it refuses, each refused change is answered, and all of them would be too much for a log. */
void
storage_told(struct core *c, int rc)
{
	struct storage *s = &c->storage;

	if (rc != 0)
		timer_set(c, s->retry, RETRY_MS);
	if (s->rc == rc)
		return;
	if (rc != 0)
		log_error("control: ALARM: the store refuses: %s; changes are answered with an error, "
			  "forwarding goes on, "
			  "tried again every %d s",
			strerror(-rc), RETRY_MS / 1000);
	else
		log_warn("control: the store takes changes again, after %" PRIu64 " s",
			(now_ms(c) - s->since_ms) / 1000);
	if (s->rc == 0 || rc == 0) {
		s->since_ms = now_ms(c);
		event_note(c, rc ? EVENT_STORE_REFUSES : EVENT_STORE_TAKES, "", rc ? strerror(-rc) : "");
	}
	s->rc = rc;
	audit_again(c);
	if (rc == 0) /* peers' claims were refused, too */
		peers_retry(c);
}

json_t *
storage_json(struct core *c)
{
	struct storage *s = &c->storage;

	if (s->rc == 0)
		return json_pack("{s:s}", "state", "ok");
	return json_pack("{s:s, s:s, s:I}", "state", "refuses", "reason", strerror(-s->rc), "since-ms",
		(json_int_t)(now_ms(c) - s->since_ms));
}

static void
aside_committed(void *arg, int rc)
{
	struct aside *a = arg;

	if (a->core) {
		DL_DELETE(a->core->storage.asides, a);
		storage_told(a->core, rc);
	}
	free(a);
}

void
commit_aside(struct core *c, const struct env_row *rows, size_t n)
{
	struct aside *a = zalloc(sizeof(*a));

	a->core = c;
	DL_APPEND(c->storage.asides, a);
	env_call(c->env, commit, rows, n, aside_committed, a);
}

void
meta_row(struct core *c, struct env_row *row)
{
	json_t *v = json_pack("{s:I, s:I, s:s, s:s, s:I, s:I, s:I}", "revision", (json_int_t)c->revision,
		"term", (json_int_t)c->term.number, "controller", c->term.name, "boot-id",
		env_call(c->env, boot_id), "boot-ms", (json_int_t)now_ms(c), "wall-ms",
		(json_int_t)env_call(c->env, wall_ms), "forgotten", (json_int_t)c->vms_from);

	row_set(row, "meta", "router", v);
}

bool
meta_aside(struct core *c)
{
	struct env_row row;

	if (c->group) /* its revision is not true yet; it brings a row of its own */
		return false;
	meta_row(c, &row);
	commit_aside(c, &row, 1);
	row_free(&row);
	return true;
}

static void
checkpoint(void *arg)
{
	struct core *c = arg;

	c->storage.checkpoint_on = false;
	if (!c->draining && !c->timed)
		return;
	meta_aside(c); /* if not now, the group's own row does it */
	checkpoint_watch(c);
}

void
checkpoint_watch(struct core *c)
{
	if ((!c->draining && !c->timed) || c->storage.checkpoint_on)
		return;
	c->storage.checkpoint_on = true;
	timer_set(c, c->storage.checkpoint, CHECKPOINT_MS);
}

static void
retry(void *arg)
{
	struct core *c = arg;

	if (!meta_aside(c))
		timer_set(c, c->storage.retry, RETRY_MS);
}

void
storage_init(struct core *c)
{
	c->storage.retry = timer_new(c, retry, c);
	c->storage.checkpoint = timer_new(c, checkpoint, c);
}

void
storage_fini(struct core *c)
{
	struct aside *a;

	DL_FOREACH(c->storage.asides, a)
	a->core = NULL;
	c->env->ops->timer_free(c->storage.retry);
	c->env->ops->timer_free(c->storage.checkpoint);
}
