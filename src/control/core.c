/* SPDX-License-Identifier: BSD-3-Clause */
/* core.c - start and stop: stored rows, then forwarding, then peers for at most 2 s, then ports. */
#include "state.h"

#include <common/log.h>
#include <errno.h>

#define READY_MS 2000 /* peers are waited for so long at start */

static void
event(void *arg, const struct fwd_event *ev)
{
	location_event(arg, ev);
}

static void
ready_now(void *arg)
{
	core_ready(arg, true);
}

struct core *
core_new(const struct core_start *s, struct err *e)
{
	struct core *c = zalloc_secret(sizeof(*c)); /* the private key */
	uint8_t key[GATE_KEY];

	c->env = s->env;
	env_call(c->env, random, key, sizeof(key));
	gate_init(&c->gate, key);
	env_call(c->env, random, &c->instance, sizeof(c->instance));
	c->instance >>= 1; /* a JSON number */
	c->conf = s->config;
	memcpy(c->private_key, s->private_key, sizeof(c->private_key));
	c->started_ms = now_ms(c);
	events_init(c);
	c->leaves = zalloc(DIGEST_LEAVES * sizeof(struct vm_obj *));
	audit_init(c);
	c->set_aside = s->set_aside;
	txn_init(c);
	storage_init(c);
	staged_init(c);
	start_init(c);
	moves_init(c);
	peers_init(c);
	tombstones_init(c);
	c->ready_timer = timer_new(c, ready_now, c);
	if (routes_configure(c, e) != 0) {
		core_free(c);
		return NULL;
	}
	return c;
}

static int
meta_load(struct core *c, const struct env_row *row, struct fail *f)
{
	json_t *v = json_loads(row->value, 0, NULL);
	json_int_t revision, term, boot_ms, wall_ms;
	const char *controller, *boot_id;

	if (!v || json_unpack(v, "{s:I, s:I, s:s, s:s, s:I, s:I}", "revision", &revision, "term", &term,
			  "controller", &controller, "boot-id", &boot_id, "boot-ms", &boot_ms, "wall-ms",
			  &wall_ms) != 0) {
		json_decref(v);
		return fail(f, RPC_INVALID_PARAMS, "not a row of a router");
	}
	c->revision = c->stored_revision = (uint64_t)revision;
	c->vms_from = (uint64_t)json_integer_value(json_object_get(v, "forgotten"));
	c->term.number = (uint64_t)term;
	snprintf(c->term.name, sizeof(c->term.name), "%s", controller);
	c->stored.present = true;
	snprintf(c->stored.boot_id, sizeof(c->stored.boot_id), "%s", boot_id);
	c->stored.boot_ms = (uint64_t)boot_ms;
	c->stored.wall_ms = wall_ms;
	json_decref(v);
	return 0;
}

int
core_load_row(struct core *c, const struct env_row *row)
{
	bool of_log = strcmp(row->kind, "meta") == 0 && strcmp(row->key, "log") == 0;
	struct fail f = {0};
	int rc;

	c->remembers |= !of_log;
	if (strcmp(row->kind, "vm") == 0)
		rc = vm_load(c, row, &f);
	else if (strcmp(row->kind, "route") == 0)
		rc = route_load(c, row, &f);
	else if (strcmp(row->kind, "move") == 0)
		rc = move_load(c, row, &f);
	else if (of_log)
		rc = audit_load(c, row, &f);
	else if (strcmp(row->kind, "meta") == 0)
		rc = meta_load(c, row, &f);
	else
		rc = fail(&f, RPC_INVALID_PARAMS, "unknown kind");
	if (rc != 0)
		log_error("control: stored %s %s is refused and skipped: %s", row->kind, row->key, f.text);
	fail_clear(&f);
	c->n_log = 0; /* what was loaded cannot be undone */
	return rc ? -EINVAL : 0;
}

void
core_ready(struct core *c, bool now)
{
	void (*ready)(void *arg) = c->ready;

	if (!ready || !c->running)
		return;
	for (size_t i = 0; i < c->n_peers && !now; i++)
		if (!c->peers[i].asked)
			return;
	c->ready = NULL;
	c->env->ops->timer_stop(c->ready_timer);
	ready(c->ready_arg);
	drains_release_rest(c);
}

/* The tables hold what was stored. */
static void
started(void *arg)
{
	struct core *c = arg;

	c->running = true;
	timer_set(c, c->pump, 0);
	timer_set(c, c->ready_timer, c->n_peers > 0 ? READY_MS : 0);
	peers_start(c);
}

/* After a reboot what is left of drains and open moves is written down by the new clock, with the row that names that clock. */
static void
rebase(struct core *c)
{
	struct env_row *rows;
	struct vm_obj *o;
	struct move *m;
	size_t n = 0, max = 1;

	if (!c->remembers)
		return;
	if (c->stored.present && strcmp(c->stored.boot_id, env_call(c->env, boot_id)) == 0)
		return;
	DL_FOREACH2(c->draining, o, drain_next)
	max++;
	DL_FOREACH2(c->timed, m, timed_next)
	max++;
	rows = zalloc(max * sizeof(*rows));
	DL_FOREACH2(c->draining, o, drain_next)
	vm_row(c, &o->now, &rows[n++]);
	DL_FOREACH2(c->timed, m, timed_next)
	if (move_open(m))
		move_row(c, m, &rows[n++]);
	meta_row(c, &rows[n++]);
	commit_aside(c, rows, n);
	for (size_t i = 0; i < n; i++)
		row_free(&rows[i]);
	free(rows);
}

int
core_run(struct core *c, void (*ready)(void *arg), void *arg, struct err *e)
{
	int rc;

	c->live_revision = c->routes_from = c->revision;
	c->ready = ready;
	c->ready_arg = arg;
	moves_start(c);
	tombstones_start(c);
	audit_start(c, c->set_aside ? "set aside" : c->remembers ? "kept" : "empty");
	rebase(c);
	env_call(c->env, fwd_subscribe, event, c);
	rc = peers_listen(c, e);
	if (rc == 0)
		start_forwarding(c, started, c);
	return rc;
}

void
core_free(struct core *c)
{
	if (!c)
		return;
	audit_stop(c);
	c->running = false;
	txn_fini(c);
	storage_fini(c);
	staged_fini(c);
	start_fini(c);
	moves_fini(c);
	peers_fini(c);
	tombstones_fini(c);
	audit_fini(c);
	events_fini(c);
	c->env->ops->timer_free(c->ready_timer);
	vms_free(c);
	routes_free(c);
	secret_free(c);
}
