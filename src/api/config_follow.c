/* SPDX-License-Identifier: BSD-3-Clause */
/* config_follow.c - may this configuration replace that one while the router runs? */
#include "config_priv.h"

#include <errno.h>
#include <string.h>

struct follow {
	json_t *changed;
	struct faults *f;
};

static void
each_difference(void *arg, const struct difference *d)
{
	struct follow *x = arg;
	char text[200];

	if (d->kind == &kind_conf_peer && ((const struct conf_peer *)d->item)->removed)
		return; /* by a reload before this one */
	if (!d->live) {
		faults_add(x->f, 0, 0, d->path, "cannot change while the router runs: it needs a restart");
		return;
	}
	snprintf(text, sizeof(text), "%s %s", d->path, d->what);
	json_array_append_new(x->changed, json_string(text));
}

static const struct conf_peer *
peer_named(const struct list *peers, const char *name)
{
	for (size_t i = 0; i < peers->n; i++)
		if (strcmp(list_at(*peers, const struct conf_peer, i)->name, name) == 0)
			return list_at(*peers, const struct conf_peer, i);
	return NULL;
}

static int
append(struct list *to, const struct conf_peer *p)
{
	struct conf_peer *own = list_add(to, &kind_conf_peer);

	if (own == NULL)
		return -ENOMEM;
	*own = *p;
	return 0;
}

/* Peers of `running` keep their places, new ones come behind them. */
static int
keep_places(const struct config *running, const struct config *next, struct list *to)
{
	int rc = 0;

	for (size_t i = 0; i < running->peers.n && rc == 0; i++) {
		const struct conf_peer *p = peer_named(&next->peers, PEER(running, i)->name);
		struct conf_peer gone = {.removed = true};

		memcpy(gone.name, PEER(running, i)->name, sizeof(gone.name));
		rc = append(to, p != NULL ? p : &gone);
	}
	for (size_t i = 0; i < next->peers.n && rc == 0; i++)
		if (peer_named(&running->peers, PEER(next, i)->name) == NULL)
			rc = append(to, PEER(next, i));
	return rc;
}

int
config_follow(const struct config *running, struct config *next, json_t *changed, struct faults *f)
{
	struct follow x = {changed, f};
	struct list peers = {0};

	kind_differences(&kind_config, running, next, each_difference, &x);
	if (f->n > 0)
		return -EINVAL;
	if (keep_places(running, next, &peers) != 0)
		faults_add(f, 0, 0, "peers", "out of memory");
	else if (peers.n > PEERS_MAX)
		faults_add(f, 0, 0, "peers",
			"%zu with those that were removed since the start, which keep their places; at most "
			"%d: a "
			"restart forgets them",
			peers.n, PEERS_MAX);
	list_fini(&next->peers, &kind_conf_peer);
	next->peers = peers;
	return f->n == 0 ? 0 : -EINVAL;
}
