/* SPDX-License-Identifier: BSD-3-Clause */
#include "control.h"

static char lines[65536];

static void
keep_line(void *arg, enum log_level level, const char *line)
{
	size_t n = strlen(lines);

	(void)arg;
	(void)level;
	if (n + strlen(line) + 2 < sizeof(lines))
		sprintf(lines + n, "%s\n", line);
}

int
control_setup(void **state)
{
	(void)state;
	lines[0] = '\0';
	log_set_sink(keep_line, NULL);
	return 0;
}

unsigned int
logged_times(const char *text)
{
	unsigned int n = 0;

	for (const char *p = lines; (p = strstr(p, text)) != NULL; p++)
		n++;
	return n;
}

bool
logged(const char *text)
{
	return strstr(lines, text) != NULL;
}

struct mac
vm_mac(unsigned int n)
{
	return (struct mac){{0x52, 0x54, 0, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n}};
}

ip4
vm_private(unsigned int n)
{
	return 0x0a000005 + n;
}

ip4
vm_global(unsigned int i, unsigned int n)
{
	return 0xc6330005 + 0x10000 * i + n;
}

struct world *
routers(unsigned int n)
{
	struct world *w = world_new(1, n);

	for (unsigned int i = 0; i < n; i++)
		node_start(world_router(w, i));
	world_run(w, 6000);
	for (unsigned int i = 0; i < n; i++)
		assert_true(world_router(w, i)->ready);
	return w;
}

int
call(struct node *r, const char *method, const char *params)
{
	json_t *p = json_loads(params, 0, NULL), *v;
	int code;

	assert_non_null(p);
	v = ask(r, &code, method, "o", p);
	json_decref(v);
	return code;
}

json_t *
get(struct node *r, const char *method, const char *params)
{
	json_t *p = json_loads(params, 0, NULL), *v;
	int code;

	assert_non_null(p);
	v = ask(r, &code, method, "o", p);
	assert_int_equal(code, 0);
	return v;
}

int64_t
get_number(struct node *r, const char *method, const char *name)
{
	json_t *v = get(r, method, "{}");
	int64_t n = json_integer_value(json_object_get(v, name));

	json_decref(v);
	return n;
}

static const char *
vm_params(unsigned int n, uint64_t epoch, ip4 global, const char *more)
{
	static char text[400];
	struct mac mac = vm_mac(n);
	char m[MAC_TEXT], a[IP4_TEXT], b[IP4_TEXT], g[40] = "";

	if (global)
		snprintf(g, sizeof(g), ", \"global\": \"%s\"", ip4_format(global, b));
	snprintf(text, sizeof(text),
		"{\"segment\": \"tenant-a\", \"mac\": \"%s\", \"epoch\": %" PRIu64
		", \"addresses\": [{\"private\": \"%s\"%s}]%s}",
		mac_format(&mac, m), epoch, ip4_format(vm_private(n), a), g, more);
	return text;
}

json_t *
vm_register_params(unsigned int n, uint64_t epoch, ip4 global)
{
	return json_loads(vm_params(n, epoch, global, ""), 0, NULL);
}

int
vm_register(struct node *r, unsigned int n, uint64_t epoch, ip4 global)
{
	return call(r, "vm.register", vm_params(n, epoch, global, ""));
}

int
vm_move(struct node *r, unsigned int n, uint64_t epoch, ip4 global, uint64_t min_ms, uint64_t max_ms)
{
	char more[120];

	snprintf(more, sizeof(more), ", \"drain-min\": %" PRIu64 ", \"drain-max\": %" PRIu64, min_ms, max_ms);
	return call(r, "vm.move", vm_params(n, epoch, global, more));
}

int
vm_unregister(struct node *r, unsigned int n, uint64_t epoch)
{
	struct mac mac = vm_mac(n);
	char text[200], m[MAC_TEXT];

	snprintf(text, sizeof(text), "{\"segment\": \"tenant-a\", \"mac\": \"%s\", \"epoch\": %" PRIu64 "}",
		mac_format(&mac, m), epoch);
	return call(r, "vm.unregister", text);
}

void
vm_many(struct node *r, const char *method, unsigned int from, unsigned int to, uint64_t epoch)
{
	int code;

	while (from < to) {
		json_t *changes = json_array(), *params;

		for (unsigned int end = from + 4000 < to ? from + 4000 : to; from < end; from++) {
			struct mac mac = vm_mac(from);
			char m[MAC_TEXT], p[IP4_TEXT];

			params = json_pack("{s:s, s:s, s:I}", "segment", "tenant-a", "mac",
				mac_format(&mac, m), "epoch", (json_int_t)epoch);
			if (strcmp(method, "vm.register") == 0 || strcmp(method, "move.prepare") == 0)
				json_object_set_new(params, "addresses",
					json_pack("[{s:s}]", "private", ip4_format(vm_private(from), p)));
			json_array_append_new(
				changes, json_pack("{s:s, s:o}", "method", method, "params", params));
		}
		json_decref(ask(r, &code, "txn.apply", "{s:o}", "changes", changes));
		assert_int_equal(code, 0);
		world_run(r->w, 500);
	}
}

struct vm_obj *
vm_at(struct node *r, unsigned int n)
{
	struct mac mac = vm_mac(n);

	return vm_find(r->core, 0, &mac);
}

const struct fwd_vm *
fwd_at(struct node *r, unsigned int n)
{
	struct mac mac = vm_mac(n);

	return model_vm(r, 0, &mac);
}

void
assert_agreed(struct world *w, unsigned int n)
{
	struct core *first = world_router(w, 0)->core;
	struct vm_obj *o;

	for (unsigned int i = 0; i < n; i++) {
		struct node *r = world_router(w, i);

		if (!model_is_true(r))
			fail_msg("%s", w->why);
		assert_int_equal(HASH_COUNT(r->core->vms), HASH_COUNT(first->vms));
		for (o = r->core->vms; o; o = o->hh.next) {
			struct vm_obj *p = vm_find(first, o->key.segment, &o->key.mac);

			assert_non_null(p);
			assert_int_equal(vm_hash(r->core, &o->now), vm_hash(first, &p->now));
		}
	}
}

/* ---- callers ---- */

static void
caller_up(void *arg, struct channel *c)
{
	(void)c;
	((struct caller *)arg)->up = true;
}

static void
caller_message(void *arg, struct channel *c, json_t *msg)
{
	(void)c;
	rpc_message(((struct caller *)arg)->rpc, msg);
}

static void
caller_down(void *arg, struct channel *c, const char *why)
{
	struct caller *k = arg;

	(void)c;
	k->down = true;
	k->channel = NULL;
	snprintf(k->why, sizeof(k->why), "%s", why);
}

static const struct channel_ops caller_ops = {caller_up, caller_message, caller_down};

static void
take_events(struct caller *k, json_t *params)
{
	if (!k->events)
		k->events = json_array();
	json_array_extend(k->events, json_object_get(params, "events"));
	k->resyncs += json_object_get(params, "resync") != NULL;
	json_decref(k->told);
	k->told = json_incref(params);
}

static void
hold(struct caller *k, struct rpc_request *r)
{
	for (size_t i = 0; i < 16; i++) {
		if (k->held[i])
			continue;
		k->held[i] = r;
		return;
	}
	fail_msg("more is asked than the test can leave open");
}

static void
caller_called(void *arg, struct rpc_request *r, const char *method, json_t *params)
{
	struct caller *k = arg;

	k->calls++;
	snprintf(k->last, sizeof(k->last), "%s", method);
	json_decref(k->last_params);
	k->last_params = json_incref(params);
	if (strcmp(method, "event") == 0)
		take_events(k, params);
	if (k->silent)
		hold(k, r);
	else if (k->answer)
		rpc_reply(r, k->answer(method, params));
	else
		rpc_reply(r, strcmp(method, "sync.sums") == 0 ? sums_answer(0) : json_object());
}

json_t *
sums_with(json_int_t first)
{
	json_t *v = json_array();

	json_array_append_new(v, json_integer(first));
	for (int i = 1; i < DIGEST_FAN; i++)
		json_array_append_new(v, json_integer(0));
	return v;
}

json_t *
sums_answer(json_int_t yours)
{
	return json_pack("{s:o, s:o, s:i, s:b}", "mine", sums_with(0), "yours", sums_with(yours), "revision",
		0, "sure", true);
}

struct caller *
caller_new(struct node *from, const char *name, enum channel_role role, struct node *to, json_t *hello)
{
	return caller_with(from, name, role, to, hello, NULL);
}

struct caller *
caller_with(struct node *from, const char *name, enum channel_role role, struct node *to, json_t *hello,
	json_t *(*answer)(const char *method, const json_t *params))
{
	struct channel_local local = {.env = &from->env, .role = role, .hello = hello};
	struct channel_identity id = {.role = ROLE_PEER};
	struct caller *k = calloc(1, sizeof(*k));
	uint64_t until = from->w->now + 20000;

	k->from = from;
	k->answer = answer;
	k->to = to;
	snprintf(local.name, sizeof(local.name), "%s", name);
	local.private_key = from->private_key;
	snprintf(id.name, sizeof(id.name), "%s", to->name);
	memcpy(id.key, to->public_key, 32);
	k->channel = channel_dial(&local, &id, to->conf.control.listen, &caller_ops, k);
	k->rpc = rpc_new(k->channel, caller_called, k);
	json_decref(hello);
	while (!k->up && !k->down && world_step(from->w, until))
		;
	world_run(from->w, 100);
	return k;
}

void
caller_free(struct caller *k)
{
	rpc_free(k->rpc);
	channel_close(k->channel);
	for (size_t i = 0; i < 16; i++)
		if (k->held[i])
			rpc_reply(k->held[i], json_object()); /* to nobody */
	json_decref(k->last_params);
	json_decref(k->events);
	json_decref(k->told);
	free(k);
}

struct outcome {
	int code;
	bool done;
	json_t *result;
};

static void
call_done(void *arg, int code, json_t *result)
{
	struct outcome *o = arg;

	*o = (struct outcome){code, true, json_incref(result)};
}

int
caller_ask(struct caller *k, const char *method, json_t *params, json_t **result)
{
	struct outcome o = {0};
	uint64_t until = k->from->w->now + 5000;

	assert_non_null(params);
	assert_int_equal(rpc_call(k->rpc, method, params, call_done, &o), 0);
	while (!o.done && world_step(k->from->w, until))
		;
	assert_true(o.done);
	*result = o.result;
	return o.code;
}

int
caller_call(struct caller *k, const char *method, json_t *params)
{
	json_t *result;
	int code = caller_ask(k, method, params, &result);

	json_decref(result);
	return code;
}

json_t *
caller_get(struct caller *k, const char *method, json_t *params)
{
	json_t *result;

	assert_int_equal(caller_ask(k, method, params, &result), 0);
	return result;
}
