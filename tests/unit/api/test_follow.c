/* SPDX-License-Identifier: BSD-3-Clause */
/* Which configuration may replace another one while the router runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <api/kinds.h>
#include <cmocka.h>

static const char *conf_dir;
static struct config running;

static int
load(void **state)
{
	struct faults f;
	char file[600];

	(void)state;
	snprintf(file, sizeof(file), "%s/nearway.yaml", conf_dir);
	faults_init(&f);
	return config_load(file, &running, &f);
}

static int
unload(void **state)
{
	(void)state;
	kind_fini(&kind_config, &running);
	return 0;
}

/* 0 or -EINVAL; the first fault's path, or the first change. */
static int
follow(struct config *next, char said[200])
{
	json_t *changed = json_array();
	struct faults f;
	int rc;

	faults_init(&f);
	rc = config_follow(&running, next, changed, &f);
	snprintf(said, 200, "%s",
		rc != 0			       ? f.items[0].path
		: json_array_size(changed) > 0 ? json_string_value(json_array_get(changed, 0))
					       : "");
	faults_fini(&f);
	json_decref(changed);
	return rc;
}

static bool
may_change(const char *path)
{
	static const char *const live[] = {"control.key-file", "control.controllers[", "control.observers[",
		"drain.", "hold.bytes", "hold.packets-per-vm", "hold.max", "moves.", "peers[", "routes[",
		"segments[0].gateway.peers["};

	for (size_t i = 0; i < sizeof(live) / sizeof(live[0]); i++)
		if (strncmp(path, live[i], strlen(live[i])) == 0)
			return true;
	return false;
}

static unsigned int fields_seen;

/* Changes a field of a copy, reached from the copy's root by `offset` bytes, or inside the item of a list. */
static void
expect_field(struct config *next, void *field, const char *path)
{
	char said[200];
	int rc;

	*(uint8_t *)field ^= 1;
	rc = follow(next, said);
	if ((rc == 0) != may_change(path))
		fail_msg("%s: %s", path, rc == 0 ? "taken" : "refused");
	if (rc != 0 && strcmp(said, path) != 0)
		fail_msg("%s is refused as %s", path, said);
	fields_seen++;
}

static void *
reach(struct config *next, const size_t *at, const bool *list, int depth)
{
	char *p = (char *)next;

	for (int i = 0; i < depth; i++)
		p = list[i] ? ((struct list *)(void *)(p + at[i]))->items : p + at[i];
	return p;
}

/* Every field that the annotated file has, each in a copy of its own. */
static void
walk(const struct kind *k, const void *obj, const char *path, size_t *at, bool *list, int depth)
{
	for (const struct field *f = k->fields; f->name != NULL; f++) {
		const char *inner = (const char *)obj + f->offset;
		const struct list *l = (const struct list *)(const void *)inner;
		char sub[200];

		snprintf(sub, sizeof(sub), "%s%s%s%s", path, path[0] != '\0' ? "." : "", f->name,
			f->type == F_LIST ? "[0]" : "");
		at[depth] = f->offset;
		list[depth] = f->type == F_LIST;
		if (f->type == F_OBJECT) {
			walk(f->kind, inner, sub, at, list, depth + 1);
		} else if (f->type == F_LIST) {
			if (l->n > 0)
				walk(f->kind, l->items, sub, at, list, depth + 1);
		} else {
			struct config next;

			assert_int_equal(kind_copy(&kind_config, &next, &running), 0);
			expect_field(&next, (char *)reach(&next, at, list, depth) + f->offset, sub);
			kind_fini(&kind_config, &next);
		}
	}
}

static void
what_may_change_is_taken_and_all_else_refused_by_name(void **state)
{
	size_t at[8];
	bool list[8];

	(void)state;
	walk(&kind_config, &running, "", at, list, 0);
	assert_true(fields_seen > 60);
}

static void
the_same_again_is_no_change(void **state)
{
	struct config next;
	char said[200];

	(void)state;
	assert_int_equal(kind_copy(&kind_config, &next, &running), 0);
	assert_int_equal(follow(&next, said), 0);
	assert_string_equal(said, "");
	kind_fini(&kind_config, &next);
}

static void
peers_keep_their_places(void **state)
{
	struct config next;
	struct conf_peer *p;
	char said[200];

	(void)state;
	assert_int_equal(kind_copy(&kind_config, &next, &running), 0);
	p = list_at(next.peers, struct conf_peer, 0);
	strcpy(p->name, "r-new"); /* the first one goes, another comes */
	assert_int_equal(follow(&next, said), 0);
	assert_string_equal(said, "peers[r-y] removed");
	assert_int_equal(next.peers.n, running.peers.n + 1);
	p = list_at(next.peers, struct conf_peer, 0);
	assert_string_equal(p[0].name, "r-y");
	assert_true(p[0].removed);
	assert_string_equal(p[running.peers.n].name, "r-new");
	assert_false(p[running.peers.n].removed);
	kind_fini(&kind_config, &next);
}

static void
places_are_bounded(void **state)
{
	struct config next;
	char said[200];

	(void)state;
	assert_int_equal(kind_copy(&kind_config, &next, &running), 0);
	for (size_t i = 0; i < PEERS_MAX; i++) {
		struct conf_peer *p = i == 0 ? next.peers.items : list_add(&next.peers, &kind_conf_peer);

		snprintf(p->name, sizeof(p->name), "n-%zu", i);
	}
	assert_int_not_equal(follow(&next, said), 0);
	assert_string_equal(said, "peers");
	kind_fini(&kind_config, &next);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_may_change_is_taken_and_all_else_refused_by_name),
		cmocka_unit_test(the_same_again_is_no_change),
		cmocka_unit_test(peers_keep_their_places),
		cmocka_unit_test(places_are_bounded),
	};

	conf_dir = argc > 1 ? argv[1] : "conf";
	return cmocka_run_group_tests(tests, load, unload);
}
