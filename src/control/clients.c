/* SPDX-License-Identifier: BSD-3-Clause */
/* clients.c - controllers and observers of the configuration: who is here, since when the others are away, and when each
 * was last heard. Routers of the group are in peers.c. */
#include "state.h"

static struct client *
find(const struct core *c, enum channel_role role, const char *name)
{
	for (size_t i = 0; i < c->n_clients; i++)
		if (c->clients[i].role == role && strcmp(c->clients[i].name, name) == 0)
			return &c->clients[i];
	return NULL;
}

static bool
is_of(const struct session *s, const struct client *k)
{
	return s->rpc && s->role == k->role && strcmp(s->name, k->name) == 0;
}

static size_t
count_sessions(const struct core *c, const struct client *k)
{
	struct session *s;
	size_t n = 0;

	DL_FOREACH(c->sessions, s)
	n += is_of(s, k);
	return n;
}

static void
add_list(struct core *c, const struct client *old, size_t n_old, const struct list *list,
	enum channel_role role)
{
	for (size_t i = 0; i < list->n; i++) {
		struct client *k = &c->clients[c->n_clients++];

		*k = (struct client){.role = role, .since_ms = now_ms(c)};
		snprintf(k->name, sizeof(k->name), "%s",
			list_at(*list, const struct conf_controller, i)->name);
		for (size_t j = 0; j < n_old; j++)
			if (old[j].role == role && strcmp(old[j].name, k->name) == 0)
				*k = old[j];
	}
}

void
clients_follow(struct core *c)
{
	const struct conf_control *conf = &c->conf->control;
	struct client *old = c->clients;
	size_t n_old = c->n_clients;

	c->clients = zalloc((conf->controllers.n + conf->observers.n + 1) * sizeof(*c->clients));
	c->n_clients = 0;
	add_list(c, old, n_old, &conf->controllers, ROLE_CONTROLLER);
	add_list(c, old, n_old, &conf->observers, ROLE_OBSERVER);
	free(old);
}

void
clients_fini(struct core *c)
{
	free(c->clients);
	c->clients = NULL;
	c->n_clients = 0;
}

void
client_came(struct session *s)
{
	struct client *k = find(s->core, s->role, s->name);

	if (!k)
		return;
	if (count_sessions(s->core, k) == 1)
		k->since_ms = now_ms(s->core);
	k->term = s->term;
	snprintf(k->from, sizeof(k->from), "%s", channel_from(s->channel));
}

void
client_goes(struct session *s)
{
	struct client *k = s->rpc ? find(s->core, s->role, s->name) : NULL;

	if (!k)
		return;
	if (count_sessions(s->core, k) == 1)
		k->since_ms = now_ms(s->core);
	if (channel_heard_at(s->channel) > k->heard_ms)
		k->heard_ms = channel_heard_at(s->channel);
}

static uint64_t
last_heard(const struct core *c, const struct client *k)
{
	uint64_t at = k->heard_ms;
	struct session *s;

	DL_FOREACH(c->sessions, s)
	if (is_of(s, k) && channel_heard_at(s->channel) > at)
		at = channel_heard_at(s->channel);
	return at;
}

json_t *
client_json(struct core *c, const struct client *k)
{
	uint64_t heard = last_heard(c, k), n = count_sessions(c, k), now = now_ms(c);
	json_t *v = json_pack("{s:s, s:s, s:s, s:I}", "name", k->name, "role", channel_role_name(k->role),
		"state", n > 0 ? "up" : "away", "since-ms", (json_int_t)(now - k->since_ms));

	if (heard > 0) {
		json_object_set_new(v, "heard-ms", json_integer((json_int_t)(now - heard)));
		json_object_set_new(v, "from", json_string(k->from));
	}
	json_object_set_new(v, "sessions", json_integer((json_int_t)n));
	if (k->term > 0)
		json_object_set_new(v, "term", json_integer((json_int_t)k->term));
	return v;
}
