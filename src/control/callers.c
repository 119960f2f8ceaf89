/* SPDX-License-Identifier: BSD-3-Clause */
/* callers.c - whose key stands for whom. A key has one name and one role; a name has two keys while it changes from one to
 * the other. */
#include "state.h"

/* One identity for each key that is set: how many. */
static size_t
identities(struct channel_identity *id, enum channel_role role, const char *name,
	const uint8_t *const keys[2], const uint8_t psk[32])
{
	static const uint8_t none[32];
	size_t n = 0;

	for (int i = 0; i < 2; i++) {
		if (memcmp(keys[i], none, sizeof(none)) == 0)
			continue;
		memset(&id[n], 0, sizeof(id[n]));
		snprintf(id[n].name, sizeof(id[n].name), "%s", name);
		id[n].role = role;
		memcpy(id[n].key, keys[i], sizeof(id[n].key));
		memcpy(id[n].psk, psk, sizeof(id[n].psk));
		n++;
	}
	return n;
}

static void
add_list(struct core *c, const struct list *list, enum channel_role role)
{
	for (size_t i = 0; i < list->n; i++) {
		const struct conf_controller *k = list_at(*list, const struct conf_controller, i);

		c->n_callers += identities(&c->callers[c->n_callers], role, k->name,
			(const uint8_t *const[2]){k->key, k->old_key}, k->psk);
	}
}

void
callers_init(struct core *c)
{
	const struct conf_control *conf = &c->conf->control;

	c->callers = zalloc_secret((2 * (conf->controllers.n + conf->observers.n) + 1) * sizeof(*c->callers));
	add_list(c, &conf->controllers, ROLE_CONTROLLER);
	add_list(c, &conf->observers, ROLE_OBSERVER);
	clients_follow(c);
}

void
callers_fini(struct core *c)
{
	secret_free(c->callers);
	c->callers = NULL;
	c->n_callers = 0;
}

void
peer_identify(struct peer *p)
{
	explicit_bzero(p->identities, sizeof(p->identities));
	p->n_identities = identities(p->identities, ROLE_PEER, p->conf->name,
		(const uint8_t *const[2]){p->conf->key, p->conf->old_key}, p->conf->psk);
	p->dials_old = false;
}

static const struct channel_identity *
with_key(const struct channel_identity *id, size_t n, const uint8_t key[32])
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(id[i].key, key, 32) == 0)
			return &id[i];
	return NULL;
}

static const struct channel_identity *
find(const struct core *c, const uint8_t key[32])
{
	const struct channel_identity *id = with_key(c->callers, c->n_callers, key);

	for (size_t i = 0; i < c->n_peers && !id; i++)
		id = with_key(c->peers[i].identities, c->peers[i].n_identities, key);
	return id;
}

const struct channel_identity *
caller_find(void *arg, const uint8_t key[32])
{
	return find(((const struct session *)arg)->core, key);
}

bool
caller_is_known(struct core *c, const struct channel_identity *id)
{
	const struct channel_identity *now = find(c, id->key);

	return now && now->role == id->role && strcmp(now->name, id->name) == 0 &&
	       memcmp(now->psk, id->psk, sizeof(now->psk)) == 0;
}
