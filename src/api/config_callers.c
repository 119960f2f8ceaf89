/* SPDX-License-Identifier: BSD-3-Clause */
/* config_callers.c - checks of who may call this router: peers, controllers, observers. A key stands for one name and role. */
#include "config_priv.h"

#include <errno.h>
#include <string.h>

static bool
key_is_set(const uint8_t key[KEY_LEN])
{
	static const uint8_t none[KEY_LEN];

	return memcmp(key, none, KEY_LEN) != 0;
}

/* Two callers with one key, or one name, could not be told apart. */
struct caller {
	const char *name;
	const uint8_t *keys[2]; /* key, old-key */
	const char *list;
	size_t index;
};

size_t
config_callers(const struct config *c)
{
	return c->peers.n + c->control.controllers.n + c->control.observers.n;
}

static struct caller
caller_at(const struct config *c, size_t i)
{
	const struct conf_control *control = &c->control;
	const struct list *list = &control->controllers;
	const char *name = "control.controllers";
	const struct conf_controller *x;

	if (i < c->peers.n)
		return (struct caller){PEER(c, i)->name, {PEER(c, i)->key, PEER(c, i)->old_key}, "peers", i};
	i -= c->peers.n;
	if (i >= control->controllers.n) {
		i -= control->controllers.n;
		list = &control->observers;
		name = "control.observers";
	}
	x = list_at(*list, const struct conf_controller, i);
	return (struct caller){x->name, {x->key, x->old_key}, name, i};
}

static const char *const key_fields[2] = {"key", "old-key"};

static void
check_two_callers(struct check *k, const struct caller *a, const struct caller *b)
{
	/* Inside one list the reader has compared the names. */
	if (a->list != b->list && b->name[0] != '\0' && strcmp(a->name, b->name) == 0)
		bad(k, PATH("%s[%zu].name", b->list, b->index), "\"%s\" is %s[%zu] too; names must differ",
			b->name, a->list, a->index);
	for (int i = 0; i < 2; i++)
		for (int j = 0; j < 2; j++)
			if (key_is_set(b->keys[j]) && memcmp(a->keys[i], b->keys[j], KEY_LEN) == 0)
				bad(k, PATH("%s[%zu].%s", b->list, b->index, key_fields[j]),
					"is the %s of %s[%zu] too; each has its own", key_fields[i], a->list,
					a->index);
}

static void
check_caller(struct check *k, const struct caller *b)
{
	if (b->name[0] != '\0' && strcmp(b->name, k->c->router.name) == 0)
		bad(k, PATH("%s[%zu].name", b->list, b->index), "\"%s\" is this router; names must differ",
			b->name);
	if (key_is_set(b->keys[0]) && memcmp(b->keys[0], b->keys[1], KEY_LEN) == 0)
		bad(k, PATH("%s[%zu].old-key", b->list, b->index),
			"is its key too; leave it out when no change is under way");
}

void
check_callers(struct check *k)
{
	for (size_t i = 0; i < config_callers(k->c); i++) {
		struct caller b = caller_at(k->c, i);

		check_caller(k, &b);
		for (size_t j = 0; j < i; j++) {
			struct caller a = caller_at(k->c, j);

			check_two_callers(k, &a, &b);
		}
	}
}

int
config_check_own_key(const struct config *c, const uint8_t public_key[KEY_LEN], struct err *e)
{
	for (size_t i = 0; i < config_callers(c); i++) {
		struct caller a = caller_at(c, i);

		for (int j = 0; j < 2; j++)
			if (memcmp(a.keys[j], public_key, KEY_LEN) == 0)
				return err_set(e, EINVAL,
					"%s[%zu].%s is this router's own public key; each has its own: make "
					"one with "
					"keygen there",
					a.list, a.index, key_fields[j]);
	}
	return 0;
}
