/* SPDX-License-Identifier: BSD-3-Clause */
/* start.c - the first publication: what was stored, in as few transactions as forwarding takes. */
#include "state.h"

#include <common/log.h>

struct start { /* the first publication: what was stored, in as few transactions as forwarding takes */
	struct core *core; /* NULL: freed meanwhile */
	size_t waits;
	void (*done)(void *arg);
	void *arg;
	bool begun; /* the timer's wait is taken */
};

static void
start_retired(void *arg)
{
	struct start *s = arg;

	if (--s->waits > 0)
		return;
	if (s->core) {
		s->core->start = NULL;
		s->done(s->arg);
	}
	free(s);
}

/* One entry that forwarding refuses must not cost the others. */
static void
start_range(struct start *s, const struct fwd_change *ch, size_t n)
{
	struct env *env = s->core->env;
	struct fwd_txn *fwd;
	struct err e = {0};
	char mac[MAC_TEXT], prefix[PREFIX4_TEXT];

	if (n == 0)
		return;
	if (env_call(env, fwd_prepare, ch, n, &fwd, &e) == 0) {
		s->waits++;
		env_call(env, fwd_publish, fwd, start_retired, s);
	} else if (n > 1) {
		start_range(s, ch, n / 2);
		start_range(s, ch + n / 2, n - n / 2);
	} else {
		log_error("control: stored %s %s is not forwarded: %s", ch->op == FWD_VM_PUT ? "VM" : "route",
			ch->op == FWD_VM_PUT ? mac_format(&ch->vm.mac, mac)
					     : prefix4_format(&ch->route.prefix, prefix),
			e.text);
	}
}

static void
start_begun(void *arg)
{
	struct core *c = arg;

	c->start->begun = true;
	start_retired(c->start);
}

void
start_forwarding(struct core *c, void (*done)(void *arg), void *arg)
{
	size_t n = 0, max = HASH_COUNT(c->vms) + HASH_COUNT(c->routes);
	struct fwd_change *ch = zalloc((max + 1) * sizeof(*ch));
	struct start *s = zalloc(sizeof(*s));
	struct route_obj *r;
	struct vm_obj *o;

	*s = (struct start){.core = c, .waits = 1, .done = done, .arg = arg};
	c->start = s;
	for (r = c->routes; r; r = r->hh.next) {
		if (!route_live(r))
			continue;
		ch[n].op = FWD_ROUTE_PUT;
		route_fwd(c, route_live(r), &ch[n++].route);
	}
	for (o = c->vms; o; o = o->hh.next) {
		if (!vm_live(o))
			continue;
		ch[n].op = FWD_VM_PUT;
		vm_forwarding(&o->now, &ch[n++].vm);
	}
	start_range(s, ch, n);
	free(ch);
	timer_set(c, c->start_timer, 0); /* takes the first of s->waits, from the event loop */
}

void
start_init(struct core *c)
{
	c->start_timer = timer_new(c, start_begun, c);
}

void
start_fini(struct core *c)
{
	struct start *s = c->start;

	c->env->ops->timer_free(c->start_timer);
	if (!s)
		return;
	s->core = NULL; /* forwarding may still retire what it was given */
	if (!s->begun)
		start_retired(s);
}
