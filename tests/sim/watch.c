/* SPDX-License-Identifier: BSD-3-Clause */
/* watch.c - an observer of one router. It reads what VMs there are, then it lives on events alone, and goes on by its
 * cursor after each connection that it loses: no number may be missing unless it was told to resync, and once all is
 * quiet its copy is what the router knows. Its links are those of the second controller.
 */
#include "sim.h"

#include <net/keys.h>
#include <stdio.h>

#define REDIAL_MS 1000
#define PAGE_ROWS 7

static void read_page(struct watch *o, const char *cursor);

static const char *
mac_of(json_t *vm)
{
	const char *text = json_string_value(json_object_get(vm, "mac"));

	return text ? text : "";
}

/* As it is compared: what is left of a drain changes by itself. */
static json_t *
without_drains(json_t *vm)
{
	json_t *copy = json_copy(vm);

	json_object_del(copy, "drains");
	json_object_del(copy, "stale-ms");
	return copy;
}

static void
take_vm(struct watch *o, json_t *vm)
{
	if (json_is_true(json_object_get(vm, "deleted")))
		json_object_del(o->vms, mac_of(vm));
	else
		json_object_set_new(o->vms, mac_of(vm), without_drains(vm));
}

/* ---- what the router tells ---- */

static void
take_event(struct watch *o, json_t *event)
{
	uint64_t number = (uint64_t)json_integer_value(json_object_get(event, "number"));
	json_t *vm = json_object_get(event, "vm");

	if (o->number && number != o->number + 1)
		world_broken(o->sim->w, "the observer was told event %llu after %llu",
			(unsigned long long)number, (unsigned long long)o->number);
	o->number = number;
	o->sim->did.events++;
	if (vm)
		take_vm(o, vm);
}

static void
set_cursor(struct watch *o, json_t *v)
{
	snprintf(o->cursor, sizeof(o->cursor), "%s", json_string_value(json_object_get(v, "cursor")));
}

/* What came between is lost: everything is read anew. */
static void
resync(struct watch *o)
{
	o->sim->did.resyncs++;
	o->number = 0;
	json_object_clear(o->vms);
	read_page(o, "");
}

static void
take_events(void *arg, struct rpc_request *r, const char *method, json_t *params)
{
	struct watch *o = arg;
	json_t *event;
	size_t i;

	if (strcmp(method, "event") != 0) {
		rpc_fail(r, RPC_NO_METHOD, NULL, "none");
		return;
	}
	json_array_foreach(json_object_get(params, "events"), i, event) take_event(o, event);
	set_cursor(o, params);
	if (json_object_get(params, "resync"))
		resync(o);
	rpc_reply(r, NULL);
}

/* ---- what it asks ---- */

static void
page_came(void *arg, int code, json_t *result)
{
	struct watch *o = arg;
	const char *next = json_string_value(json_object_get(result, "next"));
	json_t *row;
	size_t i;

	o->reading = false;
	if (code < 0 && code > -1000) { /* the connection is gone: what was read is not all */
		o->cursor[0] = '\0';
		return;
	}
	json_array_foreach(json_object_get(result, "rows"), i, row) take_vm(o, row);
	if (next)
		read_page(o, next);
}

static void
read_page(struct watch *o, const char *cursor)
{
	json_t *v = json_pack("{s:i}", "limit", PAGE_ROWS);

	if (cursor[0])
		json_object_set_new(v, "cursor", json_string(cursor));
	o->reading = rpc_call(o->rpc, "show.vms", v, page_came, o) == 0;
}

static void
subscribed(void *arg, int code, json_t *result)
{
	struct watch *o = arg;
	bool anew = !o->cursor[0] || json_object_get(result, "resync");

	if (code < 0 && code > -1000)
		return;
	if (code != 0) {
		world_broken(o->sim->w, "the observer may not subscribe: %d", code);
		return;
	}
	o->on = true;
	set_cursor(o, result);
	if (anew)
		resync(o);
}

/* ---- its connection ---- */

static void
watch_up(void *arg, struct channel *c)
{
	struct watch *o = arg;

	(void)c;
	rpc_call(o->rpc, "events", o->cursor[0] ? json_pack("{s:s}", "after", o->cursor) : json_object(),
		subscribed, o);
}

static void
watch_message(void *arg, struct channel *c, json_t *msg)
{
	(void)c;
	rpc_message(((struct watch *)arg)->rpc, msg);
}

static void
hang_up(struct watch *o)
{
	struct channel *c = o->channel;
	struct rpc *rpc = o->rpc;

	o->channel = NULL;
	o->rpc = NULL;
	o->on = false;
	rpc_free(rpc);
	channel_close(c);
}

static void
watch_down(void *arg, struct channel *c, const char *why)
{
	struct watch *o = arg;

	(void)c;
	(void)why;
	o->channel = NULL; /* it is freed behind this */
	hang_up(o);
	o->env->ops->timer_set(o->redial, 1 + world_random(o->sim->w, REDIAL_MS));
}

static const struct channel_ops watch_ops = {watch_up, watch_message, watch_down};

static void
dial(void *arg)
{
	struct watch *o = arg;
	struct node *to = world_router(o->sim->w, o->router);
	struct channel_local local = {.env = o->env, .role = ROLE_OBSERVER, .private_key = o->key};
	struct channel_identity id = {.role = ROLE_PEER};

	strcpy(local.name, WATCH_NAME);
	strcpy(id.name, to->name);
	memcpy(id.key, to->public_key, 32);
	o->channel = channel_dial(&local, &id, to->conf.control.listen, &watch_ops, o);
	o->rpc = rpc_new(o->channel, take_events, o);
}

/* ---- for the simulator ---- */

void
watch_configure(struct sim *s, struct node *n)
{
	struct conf_controller *o = list_add(&n->conf.control.observers, &kind_conf_observer);

	strcpy(o->name, WATCH_NAME);
	memset(s->watch.key, WATCH_NAME[0], sizeof(s->watch.key));
	key_public(s->watch.key, o->key);
}

void
watch_begin(struct sim *s)
{
	struct watch *o = &s->watch;

	o->sim = s;
	o->env = &s->w->nodes[s->w->n_nodes - 1].env;
	o->router = (unsigned int)world_random(s->w, s->n_routers);
	o->vms = json_object();
	o->redial = o->env->ops->timer_new(o->env->ctx, dial, o);
	o->env->ops->timer_set(o->redial, 1 + world_random(s->w, REDIAL_MS));
}

void
watch_end(struct sim *s)
{
	struct watch *o = &s->watch;

	hang_up(o);
	o->env->ops->timer_free(o->redial);
	json_decref(o->vms);
}

bool
watch_is_up(struct sim *s)
{
	return s->watch.on && !s->watch.reading;
}

bool
watch_agrees(struct sim *s, char why[200])
{
	struct core *c = world_router(s->w, s->watch.router)->core;
	json_t *vms = json_object(), *vm;
	char mac[MAC_TEXT];
	const char *key;
	bool same;

	for (struct vm_obj *o = c->vms; o; o = o->hh.next) {
		if (!vm_live(o))
			continue;
		vm = vm_shown(c, &o->now);
		json_object_set_new(vms, mac_format(&o->key.mac, mac), without_drains(vm));
		json_decref(vm);
	}
	same = json_equal(vms, s->watch.vms);
	snprintf(why, 200, "the observer of %s has %zu VMs, the router %zu", c->conf->router.name,
		json_object_size(s->watch.vms), json_object_size(vms));
	json_object_foreach(vms, key, vm)
	{
		json_t *seen = json_object_get(s->watch.vms, key);

		if (seen && !json_equal(seen, vm))
			snprintf(why, 200, "the observer of %s does not know VM %s as it is",
				c->conf->router.name, key);
	}
	json_decref(vms);
	return same;
}
