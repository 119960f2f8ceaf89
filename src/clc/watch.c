/* SPDX-License-Identifier: BSD-3-Clause */
#include "watch.h"

#include <common/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_MS 100

struct watched {
	const struct inv_router *router;
	char cursor[64];	      /* of the last event */
	bool dialled, subscribed;     /* since it was last down */
	uint64_t dial_at, backoff_ms; /* 0 = not tried yet, or it was up */
};

struct watch {
	struct links *links;
	void (*event)(void *arg, const struct inv_router *r, const json_t *event);
	void *arg;
	struct env_timer *tick; /* ends a turn in which nothing happens */
	size_t n;
	struct watched routers[];
};

static void
ticked(void *arg)
{
	struct watch *w = arg;

	w->links->env->ops->timer_set(w->tick, TICK_MS);
}

static struct watched *
find(struct watch *w, const struct inv_router *r)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->routers[i].router == r)
			return &w->routers[i];
	return NULL;
}

/* Of the reply, or of a notification. */
static void
take(struct watch *w, struct watched *x, const json_t *params)
{
	const char *cursor = json_string_value(json_object_get(params, "cursor"));
	json_t *resync = json_object_get(params, "resync"), *e;
	size_t i;

	if (cursor != NULL)
		snprintf(x->cursor, sizeof(x->cursor), "%s", cursor);
	if (json_is_string(resync)) {
		e = json_pack("{s:O}", "resync", resync);
		w->event(w->arg, x->router, e);
		json_decref(e);
	}
	json_array_foreach(json_object_get(params, "events"), i, e) if (json_is_object(e))
		w->event(w->arg, x->router, e);
}

static void
told(void *arg, const struct inv_router *from, const char *method, const json_t *params)
{
	struct watched *x = find(arg, from);

	if (x != NULL && x->subscribed && strcmp(method, "event") == 0)
		take(arg, x, params);
}

static void
subscribe(struct watch *w, struct watched *x)
{
	json_t *reply = NULL;
	struct err e = {0};

	x->subscribed = true; /* what comes right behind the reply counts */
	x->backoff_ms = 0;
	if (link_call(w->links, x->router->name, "events", json_pack("{s:s}", "after", x->cursor), &reply,
		    &e) == 0)
		take(w, x, reply);
	else
		log_warn("%s", e.text);
	json_decref(reply);
}

static void
back_off(struct watch *w, struct watched *x)
{
	if (x->backoff_ms == 0)
		log_warn("router %s: %s; dialling", x->router->name, link_why(w->links, x->router));
	x->dial_at = env_call(w->links->env, now_ms) + link_pause_ms(w->links, &x->backoff_ms);
	x->subscribed = x->dialled = false;
}

static void
look_after(struct watch *w, struct watched *x)
{
	if (link_is_up(w->links, x->router)) {
		if (!x->subscribed)
			subscribe(w, x);
	} else if (x->dialled) {
		if (link_why(w->links, x->router)[0] != '\0')
			back_off(w, x);
	} else if (env_call(w->links->env, now_ms) >= x->dial_at) {
		x->dialled = true;
		link_dial(w->links, x->router->name);
	}
}

void
watch_turn(struct watch *w)
{
	for (size_t i = 0; i < w->n; i++)
		look_after(w, &w->routers[i]);
	w->links->turn(w->links->turn_arg);
}

struct watch *
watch_new(
	struct links *l, void (*event)(void *arg, const struct inv_router *r, const json_t *event), void *arg)
{
	size_t n = l->inv->routers.n;
	struct watch *w = calloc(1, sizeof(*w) + n * sizeof(w->routers[0]));

	if (w == NULL)
		abort();
	*w = (struct watch){.links = l, .event = event, .arg = arg, .n = n};
	for (size_t i = 0; i < n; i++)
		w->routers[i].router = list_at(l->inv->routers, struct inv_router, i);
	l->told = told;
	l->told_arg = w;
	w->tick = env_call(l->env, timer_new, ticked, w);
	ticked(w);
	return w;
}

void
watch_free(struct watch *w)
{
	w->links->told = NULL;
	w->links->env->ops->timer_free(w->tick);
	free(w);
}
