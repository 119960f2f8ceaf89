/* SPDX-License-Identifier: BSD-3-Clause */
/* sessions.c - the model of a router's table of sessions. It outlives the process, as the file does. */
#include "world_priv.h"

struct model_session {
	struct fwd_session s;
	uint64_t seen_at; /* world time */
};

struct fwd_list {
	struct node *node;
	struct env_timer *timer;
	struct fwd_listed *of;
	size_t n_of, limit, at;
	void (*page)(void *arg, const struct fwd_session *rows, size_t n, bool more);
	void *arg;
};

static bool
same_key(const struct fwd_session *a, const struct fwd_session *b)
{
	return a->segment == b->segment && a->protocol == b->protocol && a->private_ip == b->private_ip &&
	       a->remote_ip == b->remote_ip && a->port == b->port && a->remote_port == b->remote_port;
}

static struct model_session *
find(const struct node *n, const struct fwd_session *s)
{
	for (size_t i = 0; i < n->n_sessions; i++)
		if (same_key(&n->table[i].s, s))
			return &n->table[i];
	return NULL;
}

const struct fwd_session *
model_session(const struct node *n, const struct fwd_session *s)
{
	const struct model_session *m = find(n, s);

	return m ? &m->s : NULL;
}

void
model_session_add(struct node *n, const struct fwd_session *s)
{
	n->table = realloc(n->table, (n->n_sessions + 1) * sizeof(*n->table));
	n->table[n->n_sessions++] = (struct model_session){*s, n->w->now - (uint64_t)s->idle_s * 1000};
}

void
model_sessions_clear(struct node *n)
{
	free(n->table);
	n->table = NULL;
	n->n_sessions = 0;
}

void
op_sessions_learn(void *ctx, const struct fwd_session *rows, size_t count, struct fwd_learnt *out)
{
	struct node *n = ctx;

	*out = (struct fwd_learnt){0};
	for (size_t i = 0; i < count; i++) {
		struct model_session *known = find(n, &rows[i]);

		if (known && (known->s.flags & FWD_SESSION_GUESSED)) {
			known->s = rows[i];
			out->noted++;
		} else if (known) {
			out->known++;
		} else if (n->sessions_room && n->n_sessions >= n->sessions_room) {
			out->no_room++;
		} else {
			model_session_add(n, &rows[i]);
			out->noted++;
		}
	}
}

void
model_sessions_free(struct node *n, ip4 home, uint8_t protocol)
{
	size_t kept = 0;

	for (size_t i = 0; i < n->n_sessions; i++)
		if (n->table[i].s.global_ip != home || (protocol && n->table[i].s.protocol != protocol))
			n->table[kept++] = n->table[i];
	n->n_sessions = kept;
}

static const struct fwd_listed *
asked_for(const struct fwd_list *l, const struct fwd_session *s)
{
	for (size_t i = 0; i < l->n_of; i++)
		if (l->of[i].segment == s->segment && l->of[i].private_ip == s->private_ip)
			return &l->of[i];
	return NULL;
}

static void
turn(void *arg)
{
	struct fwd_list *l = arg;
	struct node *n = l->node;
	struct fwd_session *rows = calloc(l->limit, sizeof(*rows));
	size_t found = 0;

	for (; l->at < n->n_sessions && found < l->limit; l->at++) {
		const struct model_session *m = &n->table[l->at];
		const struct fwd_listed *of = asked_for(l, &m->s);

		if (!of)
			continue;
		rows[found] = m->s;
		rows[found].which = of->which;
		rows[found++].idle_s = (uint32_t)((n->w->now - m->seen_at) / 1000);
	}
	l->page(l->arg, rows, found, l->at < n->n_sessions);
	free(rows);
}

struct fwd_list *
op_list_new(void *ctx, const struct fwd_listed *of, size_t count, size_t limit)
{
	struct node *n = ctx;
	struct fwd_list *l = n->lists_fail ? NULL : calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	*l = (struct fwd_list){.node = n, .n_of = count, .limit = limit};
	l->timer = op_timer_new(n, turn, l);
	l->of = calloc(count + 1, sizeof(*of));
	memcpy(l->of, of, count * sizeof(*of));
	n->n_lists++;
	return l;
}

void
op_list_next(struct fwd_list *l, void (*page)(void *arg, const struct fwd_session *rows, size_t n, bool more),
	void *arg)
{
	l->page = page;
	l->arg = arg;
	op_timer_set(l->timer, world_random(l->node->w, 5));
}

void
op_list_free(struct fwd_list *l)
{
	if (!l)
		return;
	op_timer_free(l->timer);
	free(l->of);
	free(l);
}
