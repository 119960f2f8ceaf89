/* SPDX-License-Identifier: BSD-3-Clause */
#include "statefile.h"
#include "output.h"
#include "stage.h"

#include <api/kinds.h>
#include <api/yaml.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TRIES	 10   /* the state may change while it is read */
#define FILE_MIB 1024 /* a million VMs are some 250 */

/* ---- export ---- */

/* One page after another onto *whole; 0, -ESTALE when the state changed meanwhile, else an exit code. */
static int
read_pages(struct session *s, json_t **whole)
{
	json_t *params = json_object(), *reply = NULL, *page;
	const char *next = "";
	struct err e;
	int rc = 0;

	while (rc == 0 && next != NULL) {
		json_object_set_new(params, "cursor", json_string(next));
		json_decref(reply);
		reply = NULL;
		if (session_call(s, "state.export", params, &reply, &e) < 0) {
			rc = session_fail(s, &e);
			break;
		}
		page = json_object_get(reply, "result");
		if (page == NULL)
			rc = session_refuse(s, reply);
		else if (*whole == NULL)
			*whole = json_deep_copy(page);
		else if (!json_equal(json_object_get(*whole, "revision"), json_object_get(page, "revision")))
			rc = -ESTALE;
		else
			json_array_extend(json_object_get(*whole, "rows"), json_object_get(page, "rows"));
		next = json_string_value(json_object_get(page, "next"));
	}
	json_decref(reply);
	json_decref(params);
	return rc;
}

/* Text as YAML has it: durations with their units. */
static json_t *
as_text(const struct kind *k, const json_t *params)
{
	void *obj = calloc(1, k->size);
	struct faults none;
	json_t *v = NULL;

	faults_init(&none);
	if (obj != NULL && kind_read(k, params, NULL, obj, &none) == 0) {
		v = kind_write_text(k, obj);
		json_object_del(v, "dry-run"); /* how a change is made is no state */
		kind_fini(k, obj);
	}
	faults_fini(&none);
	free(obj);
	return v;
}

static json_t *
state_tree(const json_t *whole)
{
	json_t *vms = json_array(), *routes = json_array(), *row, *v;
	size_t i;

	json_array_foreach(json_object_get(whole, "rows"), i, row)
	{
		const char *method = json_string_value(json_object_get(row, "method"));
		bool vm = method != NULL && strncmp(method, "vm.", 3) == 0;

		v = as_text(vm ? &kind_vm_move_params : &kind_route, json_object_get(row, "params"));
		if (v != NULL)
			json_array_append_new(vm ? vms : routes, v);
	}
	return json_pack("{s:O, s:O, s:I, s:I, s:o, s:o}", "router", json_object_get(whole, "router"),
		"revision", json_object_get(whole, "revision"), "vm-count", (json_int_t)json_array_size(vms),
		"route-count", (json_int_t)json_array_size(routes), "vms", vms, "routes", routes);
}

static int
print_state(struct session *s, const json_t *whole)
{
	json_t *tree = state_tree(whole);
	char *text = tree != NULL ? yaml_format(tree) : NULL;

	if (text != NULL)
		fputs(text, s->out);
	else
		fprintf(s->err, "nearway: out of memory\n");
	free(text);
	json_decref(tree);
	return text != NULL ? DONE : REFUSED;
}

int
export_run(struct session *s, const struct command *c)
{
	json_t *whole = NULL;
	int rc = -ESTALE;

	(void)c;
	for (int i = 0; i < TRIES && rc == -ESTALE; i++) {
		json_decref(whole);
		whole = NULL;
		rc = read_pages(s, &whole);
	}
	if (rc == -ESTALE) {
		fprintf(s->err, "nearway: the state changed %d times while it was read: try again\n", TRIES);
		rc = REFUSED;
	} else if (rc == DONE && s->json) {
		json_object_del(whole, "next");
		output_json(whole, s->out);
	} else if (rc == DONE) {
		rc = print_state(s, whole);
	}
	json_decref(whole);
	return rc;
}

/* ---- import ---- */

static void
check_count(const char *what, uint64_t said, size_t n, const json_t *tree, const struct source *src,
	struct faults *f)
{
	int line, column;

	if (said == UINT64_MAX || said == n)
		return;
	source_find_path(src, tree, what, &line, &column);
	faults_add(f, line, column, what, "is %llu, but %zu follow: the file is cut, or was changed by hand",
		(unsigned long long)said, n);
}

static int
load_state(const char *file, struct state_file *st, struct faults *f)
{
	struct source *src;
	json_t *tree = yaml_parse_long_file(file, FILE_MIB, &src, f);
	int rc = tree != NULL ? kind_read(&kind_state, tree, src, st, f) : -EINVAL;

	if (rc == 0) {
		check_count("vm-count", st->n_vms, st->vms.n, tree, src, f);
		check_count("route-count", st->n_routes, st->routes.n, tree, src, f);
	}
	if (rc == 0 && f->n > 0) {
		kind_fini(&kind_state, st);
		rc = -EINVAL;
	}
	source_free(src);
	json_decref(tree);
	return rc;
}

static json_t *
changes_of(const struct state_file *st)
{
	json_t *changes = json_array();

	for (size_t i = 0; i < st->vms.n; i++) {
		const struct vm_move_params *vm = list_at(st->vms, const struct vm_move_params, i);
		bool moved = vm->old.n > 0 || vm->drain_min_ms != UINT64_MAX ||
			     vm->drain_max_ms != UINT64_MAX || vm->sessions >= 0;

		json_array_append_new(
			changes, json_pack("{s:s, s:o}", "method", moved ? "vm.move" : "vm.register",
					 "params", kind_write(&kind_vm_move_params, vm)));
	}
	for (size_t i = 0; i < st->routes.n; i++)
		json_array_append_new(changes,
			json_pack("{s:s, s:o}", "method", "route.replace", "params",
				kind_write(&kind_route, list_at(st->routes, const struct route, i))));
	return changes;
}

static int
replace(struct session *s, const struct state_file *st, const json_t *params)
{
	json_t *changes = changes_of(st), *open = json_pack("{s:b}", "replace", 1), *reply = NULL;
	struct err e;
	int rc = DONE;

	if (stage_call(s, changes, open, params, &reply, &e) < 0)
		rc = session_fail(s, &e);
	else if (json_object_get(reply, "error") != NULL)
		rc = session_refuse(s, reply);
	else if (s->json)
		output_json(json_object_get(reply, "result"), s->out);
	else
		output_text(json_object_get(reply, "result"), s->out);
	json_decref(reply);
	json_decref(open);
	json_decref(changes);
	return rc;
}

static int
import_to(struct session *s, const char *file, const struct state_file *st, const json_t *params)
{
	char name[64];
	struct err e;

	if (!session_name(s, name, sizeof(name), &e))
		return session_fail(s, &e);
	if (strcmp(name, st->router) == 0)
		return replace(s, st, params);
	fprintf(s->err, "nearway: %s is the state of router %s, and this is %s: nothing was sent\n", file,
		st->router, name);
	return USAGE;
}

int
import_run(struct session *s, const struct command *c)
{
	struct state_file st;
	struct faults f;
	int rc;

	faults_init(&f);
	if (load_state(c->file, &st, &f) != 0) {
		faults_print(&f, c->file, s->err);
		rc = USAGE;
	} else {
		rc = import_to(s, c->file, &st, c->params);
		kind_fini(&kind_state, &st);
	}
	faults_fini(&f);
	return rc;
}
