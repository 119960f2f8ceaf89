/* SPDX-License-Identifier: BSD-3-Clause */
#include "link.h"

#include <api/secret.h>
#include <common/log.h>
#include <errno.h>
#include <net/rpc.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL_MS	     60000 /* a router that keeps its channel up has so long to answer */
#define DIAL_MS	     10000 /* one that turns us away is dialled again for so long */
#define PAUSE_MIN_MS 1000
#define PAUSE_MAX_MS 60000
#define TURNED_AWAY                                                                                         \
	"closed without an answer: it has too many newcomers, or one of us has another key than the other " \
	"knows"

struct link {
	struct link *next;
	struct links *all;
	const struct inv_router *router;
	bool by_old_key;	 /* it is dialled by its key of before */
	bool turned_away;	 /* it closed the last one without an answer */
	struct channel *channel; /* NULL once down */
	struct rpc *rpc;	 /* NULL until up */
	char why[200];		 /* it is down */
	/* of the call that waits */
	bool done;
	int code;
	json_t *result;
};

void
links_init(struct links *l, struct env *env, const struct inventory *inv, const uint8_t private_key[32])
{
	*l = (struct links){.env = env, .inv = inv};
	l->private_key = secret_new(KEY_LEN);
	if (l->private_key == NULL)
		abort();
	memcpy(l->private_key, private_key, KEY_LEN);
}

void
links_fini(struct links *l)
{
	struct link *k;

	while ((k = l->first) != NULL) {
		l->first = k->next;
		channel_close(k->channel);
		rpc_free(k->rpc);
		free(k);
	}
	json_decref(l->plans);
	l->plans = NULL;
	secret_free(l->private_key);
	l->private_key = NULL;
}

/* A router asks a controller nothing; what it tells is no question, and the answer goes nowhere. */
static void
on_request(void *arg, struct rpc_request *q, const char *method, json_t *params)
{
	struct link *k = arg;

	if (k->all->told != NULL)
		k->all->told(k->all->told_arg, k->router, method, params);
	rpc_fail(q, -32601, NULL, "a controller has no method %s", method);
}

static void
on_up(void *arg, struct channel *c)
{
	struct link *k = arg;

	k->rpc = rpc_new(c, on_request, k);
}

static void
on_message(void *arg, struct channel *c, json_t *msg)
{
	struct link *k = arg;

	(void)c;
	if (k->rpc != NULL)
		rpc_message(k->rpc, msg);
}

static void
lost(struct link *k, const char *why)
{
	struct rpc *rpc = k->rpc;

	k->channel = NULL;
	k->rpc = NULL;
	snprintf(k->why, sizeof(k->why), "%s", why);
	rpc_free(rpc); /* ends the call that waits */
}

static void
on_down(void *arg, struct channel *c, const char *why)
{
	struct link *k = arg;

	k->turned_away = channel_turned_away(c);
	lost(k, k->turned_away ? TURNED_AWAY : why);
}

static const struct channel_ops ops = {on_up, on_message, on_down};

static struct link *
find_link(struct links *l, const struct inv_router *router)
{
	struct link *k;

	for (k = l->first; k != NULL; k = k->next)
		if (k->router == router)
			return k;
	k = calloc(1, sizeof(*k));
	if (k == NULL)
		abort();
	*k = (struct link){.next = l->first, .all = l, .router = router};
	l->first = k;
	return k;
}

static void
dial(struct links *l, struct link *k)
{
	struct channel_local local = {.env = l->env, .role = ROLE_CONTROLLER};
	struct channel_identity to = {.role = ROLE_PEER};

	if (k->channel != NULL)
		return;
	snprintf(local.name, sizeof(local.name), "%s", l->inv->clc.name);
	snprintf(to.name, sizeof(to.name), "%s", k->router->name);
	memcpy(to.key, k->by_old_key ? k->router->old_key : k->router->key, sizeof(to.key));
	memcpy(to.psk, k->router->psk, sizeof(to.psk));
	local.private_key = l->private_key;
	local.hello = json_pack("{s:I, s:s}", "term", (json_int_t)l->inv->clc.term, "software",
		"nearway-clc " NEARWAY_VERSION);
	k->why[0] = '\0';
	k->turned_away = false;
	k->channel = channel_dial(&local, &to, k->router->address, &ops, k);
	if (k->channel == NULL)
		snprintf(k->why, sizeof(k->why), "out of memory");
	json_decref(local.hello);
	sodium_memzero(&to, sizeof(to));
}

void
link_dial(struct links *l, const char *router)
{
	const struct inv_router *r = inventory_router(l->inv, router);

	if (r != NULL)
		dial(l, find_link(l, r));
}

static const struct link *
known_link(const struct links *l, const struct inv_router *router)
{
	const struct link *k = l->first;

	while (k != NULL && k->router != router)
		k = k->next;
	return k;
}

bool
link_is_up(const struct links *l, const struct inv_router *router)
{
	const struct link *k = known_link(l, router);

	return k != NULL && k->rpc != NULL;
}

const char *
link_why(const struct links *l, const struct inv_router *router)
{
	const struct link *k = known_link(l, router);

	return k != NULL && k->channel == NULL ? k->why : "";
}

static void
on_done(void *arg, int code, json_t *result)
{
	struct link *k = arg;

	k->done = true;
	k->code = code;
	k->result = json_incref(result);
}

static int
down(const struct link *k, const char *how, struct err *e)
{
	err_set(e, EHOSTUNREACH, "router %s at %s %s: %s", k->router->name, k->router->address, how, k->why);
	return LINK_DOWN;
}

/* Gives up on a router that lives and does not answer: no command waits for ever. */
static void
wait_for_answer(struct links *l, struct link *k)
{
	uint64_t until = env_call(l->env, now_ms) + CALL_MS;

	while (!k->done && env_call(l->env, now_ms) < until)
		l->turn(l->turn_arg); /* heartbeats alone end it in time */
	if (k->done)
		return;
	channel_close(k->channel);
	lost(k, "no answer within 60 s");
}

/* The error object's data go to the caller, its message to the person. */
static int
refused(struct link *k, const char *method, json_t **result, struct err *e)
{
	const char *text = json_string_value(json_object_get(k->result, "message"));

	err_set(e, EPROTO, "router %s refused %s: %s", k->router->name, method,
		text != NULL ? text : "no reason given");
	if (result != NULL)
		*result = json_incref(json_object_get(k->result, "data"));
	json_decref(k->result);
	return k->code;
}

static void
connect_once(struct links *l, struct link *k)
{
	dial(l, k);
	while (k->channel != NULL && k->rpc == NULL)
		l->turn(l->turn_arg);
}

/* A router that changes its key has either until it was reloaded: which one answers is remembered. */
static void
connect_by_keys(struct links *l, struct link *k)
{
	connect_once(l, k);
	if (k->channel != NULL || sodium_is_zero(k->router->old_key, sizeof(k->router->old_key)))
		return;
	k->by_old_key = !k->by_old_key;
	connect_once(l, k);
}

uint64_t
link_pause_ms(struct links *l, uint64_t *most_ms)
{
	uint64_t random;

	*most_ms = *most_ms == 0 ? PAUSE_MIN_MS : 2 * *most_ms < PAUSE_MAX_MS ? 2 * *most_ms : PAUSE_MAX_MS;
	env_call(l->env, random, &random, sizeof(random));
	return random % *most_ms;
}

static void
nothing(void *arg)
{
	(void)arg; /* it ends a turn of the loop */
}

static void
wait_until(struct links *l, uint64_t at)
{
	struct env_timer *t = env_call(l->env, timer_new, nothing, NULL);
	uint64_t now;

	if (t == NULL)
		abort();
	while ((now = env_call(l->env, now_ms)) < at) {
		l->env->ops->timer_set(t, at - now);
		l->turn(l->turn_arg);
	}
	l->env->ops->timer_free(t);
}

static void
connect_to(struct links *l, struct link *k)
{
	uint64_t until = env_call(l->env, now_ms) + DIAL_MS, most = 0, at, now;

	connect_by_keys(l, k);
	if (k->channel == NULL && k->turned_away)
		log_warn("router %s at %s: %s; dialling again for %d s", k->router->name, k->router->address,
			k->why, DIAL_MS / 1000);
	while (k->channel == NULL && k->turned_away && (now = env_call(l->env, now_ms)) < until) {
		at = now + link_pause_ms(l, &most);
		wait_until(l, at < until ? at : until);
		connect_by_keys(l, k);
	}
}

int
link_call(struct links *l, const char *router, const char *method, json_t *params_stolen, json_t **result,
	struct err *e)
{
	const struct inv_router *r = inventory_router(l->inv, router);
	struct link *k = r != NULL ? find_link(l, r) : NULL;
	int rc;

	if (result != NULL)
		*result = NULL;
	if (k == NULL) {
		json_decref(params_stolen);
		err_set(e, ENOENT, "router %s is not in the inventory", router);
		return LINK_DOWN;
	}
	connect_to(l, k);
	if (k->channel == NULL) {
		json_decref(params_stolen);
		return down(k, "cannot be reached", e);
	}
	k->done = false;
	rc = rpc_call(k->rpc, method, params_stolen, on_done, k);
	if (rc != 0) {
		snprintf(k->why, sizeof(k->why), "%s", strerror(-rc));
		return down(k, "cannot be asked", e);
	}
	wait_for_answer(l, k);
	if (k->code == -ECONNRESET)
		return down(k, "was lost before it answered", e);
	if (k->code != 0)
		return refused(k, method, result, e);
	if (result != NULL)
		*result = k->result;
	else
		json_decref(k->result);
	return 0;
}

int
link_change(struct links *l, const char *router, const char *method, json_t *params_stolen, json_t **result,
	struct err *e)
{
	json_t *data = NULL;
	int rc;

	if (l->plans != NULL)
		json_object_set_new(params_stolen, "dry-run", json_true());
	rc = link_call(l, router, method, params_stolen, &data, e);
	if (rc == 0 && l->plans != NULL && json_is_object(json_object_get(data, "plan")))
		json_array_append(l->plans, json_object_get(data, "plan"));
	if (result != NULL)
		*result = data;
	else
		json_decref(data);
	return rc;
}
