/* SPDX-License-Identifier: BSD-3-Clause */
/* nearway-clc: the reference cloud controller. One command and out; docs/nearway-clc.1 says what each does.
 */
#include "evacuation.h"
#include "print.h"
#include "watch.h"

#include <api/json_pool.h>
#include <api/secret.h>
#include <common/log.h>
#include <ctype.h>
#include <env/host.h>
#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <net/keys.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#define EXIT_STOPPED 3
#define CONF_DEFAULT "/etc/nearway/clc.yaml"

enum opt { /* bits: which options a command takes */
	O_SITE = 1 << 0,
	O_SEGMENT = 1 << 1,
	O_MAC = 1 << 2,
	O_PRIVATE = 1 << 3,
	O_TO = 1 << 4,
	O_FROM = 1 << 5,
	O_ALL = 1 << 6,
	O_OLD = 1 << 7,
	O_ROUTER = 1 << 8,
	O_VIA = 1 << 9,
	O_IF_REVISION = 1 << 10,
	O_BATCH = 1 << 11,
	O_DRY_RUN = 1 << 12,
	O_VMS = 1 << 13,
	O_RESUME = 1 << 14,
	O_ABORT = 1 << 15,
};

struct args {
	const char *conf, *site, *segment, *mac, *private_ip, *to, *from, *router, *via, *if_revision, *batch,
		*vms;
	json_t *old; /* {"drain-min": text, "drain-max": text, "sessions": text} */
	unsigned int given;
	bool all, json, dry, resume, abort;
	char **words;
	int n_words;
};

struct command {
	const char *name;
	int min_words, max_words;
	unsigned int allowed, required;
	int (*run)(struct clc *c, const struct args *a, json_t **out, struct err *e);
	const char *usage, *help;
	bool stateless; /* leaves the state's lock to other commands */
};

static int cmd_create(struct clc *c, const struct args *a, json_t **out, struct err *e);
static int cmd_move(struct clc *c, const struct args *a, json_t **out, struct err *e);
static int cmd_prepare(struct clc *c, const struct args *a, json_t **out, struct err *e);
static int cmd_pause(struct clc *c, const struct args *a, json_t **out, struct err *e);
static int cmd_commit(struct clc *c, const struct args *a, json_t **out, struct err *e);
static int cmd_abort(struct clc *c, const struct args *a, json_t **out, struct err *e);
static int cmd_evacuate(struct clc *c, const struct args *a, json_t **out, struct err *e);
static int cmd_delete(struct clc *c, const struct args *a, json_t **out, struct err *e);
static int cmd_route(struct clc *c, const struct args *a, json_t **out, struct err *e);
static int cmd_list(struct clc *c, const struct args *a, json_t **out, struct err *e);
static int cmd_status(struct clc *c, const struct args *a, json_t **out, struct err *e);
static int cmd_sync(struct clc *c, const struct args *a, json_t **out, struct err *e);
static int cmd_release(struct clc *c, const struct args *a, json_t **out, struct err *e);
static int cmd_watch(struct clc *c, const struct args *a, json_t **out, struct err *e);

#define OLD_USAGE "[--drain-min TIME] [--drain-max TIME] [--sessions home|direct|cut] [--dry-run]"

static const struct command commands[] = {
	{"create", 1, 1, O_SITE | O_SEGMENT | O_MAC | O_PRIVATE, O_SITE | O_SEGMENT, cmd_create,
		"create VM --site SITE --segment SEGMENT [--mac MAC] [--private IP]",
		"give a VM its addresses and register it at the site's router"},
	{"move", 0, 1 << 20, O_TO | O_FROM | O_ALL | O_OLD | O_DRY_RUN, O_TO, cmd_move,
		"move VM... --to SITE | move --all --from SITE --to SITE  " OLD_USAGE,
		"make the site's router the gateway of VMs that moved there"},
	{"evacuate", 0, 0,
		O_TO | O_FROM | O_SEGMENT | O_VMS | O_BATCH | O_OLD | O_DRY_RUN | O_RESUME | O_ABORT, 0,
		cmd_evacuate,
		"evacuate --from SITE --to SITE [--segment SEGMENT | --vms FILE] [--batch N] " OLD_USAGE
		" | evacuate --resume | evacuate --abort",
		"move all VMs of a site, or those of a list, N at a time; Ctrl-C stops after a batch, the "
		"command given again, or --resume, goes on, --abort ends it there and prints what has moved"},
	{"prepare", 1, 1, O_TO | O_OLD | O_DRY_RUN, O_TO, cmd_prepare, "prepare VM --to SITE " OLD_USAGE,
		"make the site's router ready for a VM that will move there"},
	{"pause", 1, 1, 0, 0, cmd_pause, "pause VM",
		"let the new router hold what comes for the VM, just before it is stopped to move"},
	{"commit", 1, 1, O_TO | O_DRY_RUN, 0, cmd_commit, "commit VM [--to SITE] [--dry-run]",
		"it has moved: the new router is its gateway"},
	{"abort", 1, 1, O_TO, 0, cmd_abort, "abort VM [--to SITE]",
		"it does not move: all is as before prepare"},
	{"route", 1, 1, O_ROUTER | O_VIA | O_IF_REVISION, O_ROUTER | O_VIA, cmd_route,
		"route PREFIX --router ROUTER --via IP [--if-revision N]",
		"write a route into a router on the user's side"},
	{"delete", 1, 1, 0, 0, cmd_delete, "delete VM", "unregister a VM and free its addresses"},
	{"list", 0, 0, 0, 0, cmd_list, "list", "VMs with site, addresses and what is under way"},
	{"status", 0, 0, 0, 0, cmd_status, "status",
		"can each router be reached, and what does it say of itself"},
	{"release", 0, 0, 0, 0, cmd_release, "release",
		"free old addresses that no router translates any more"},
	{"watch", 0, 0, 0, 0, cmd_watch, "watch",
		"follow what happens at all routers, across lost connections, until Ctrl-C", true},
	{"sync", 0, 0, 0, 0, cmd_sync, "sync", "compare with all routers; finish what was cut off"},
	{.name = NULL},
};

static int
usage(FILE *out)
{
	fprintf(out, "usage: nearway-clc [-c FILE] [--json] [-v] COMMAND ...\n\n");
	for (const struct command *k = commands; k->name != NULL; k++)
		fprintf(out, "  %s\n      %s\n", k->usage, k->help);
	fprintf(out,
		"  check\n      name every fault of the inventory\n"
		"  keygen FILE\n      write a new private key to FILE (mode 0600), print the public key\n"
		"  pubkey FILE\n      print the public key of the private key in FILE\n\n"
		"  -c FILE   the inventory, " CONF_DEFAULT " if not given\n"
		"  --json    output as JSON\n"
		"  --dry-run routers tell what they would do, and nothing changes\n"
		"  -v        say what happens on the channels\n");
	return out == stdout ? 0 : 2;
}

/* ---- commands ---- */

static int
cmd_create(struct clc *c, const struct args *a, json_t **out, struct err *e)
{
	struct create_params p = {.name = a->words[0], .site = a->site, .segment = a->segment};
	int rc;

	if (a->mac != NULL && (mac_parse(a->mac, &p.mac) != 0 || !mac_is_unicast(&p.mac)))
		return err_set(e, EINVAL, "--mac %s: not a unicast MAC", a->mac);
	if (a->private_ip != NULL && ip4_parse(a->private_ip, &p.private_ip) != 0)
		return err_set(e, EINVAL, "--private %s: not an IPv4 address", a->private_ip);
	rc = clc_create(c, &p, e);
	if (rc == 0)
		*out = print_vm(c, state_find(&c->state, p.name));
	return rc;
}

static int
pick_all(struct clc *c, const char *site, struct clc_vm **vms, size_t *n)
{
	struct clc_vm *vm, *next;

	HASH_ITER (by_name, c->state.vms, vm, next)
		if (vm->step != VM_CREATING && vm->step != VM_DELETING && strcmp(vm->site, site) == 0)
			vms[(*n)++] = vm;
	return 0;
}

static struct clc_vm *
need_vm(struct clc *c, const char *name, struct err *e)
{
	struct clc_vm *vm = state_find(&c->state, name);

	if (vm == NULL)
		err_set(e, ENOENT, "no VM %s", name);
	return vm;
}

static int
pick_named(struct clc *c, const struct args *a, struct clc_vm **vms, size_t *n, struct err *e)
{
	for (int i = 0; i < a->n_words; i++) {
		struct clc_vm *vm = need_vm(c, a->words[i], e);

		if (vm == NULL)
			return e->code;
		for (size_t k = 0; k < *n; k++)
			if (vms[k] == vm)
				return err_set(e, EINVAL, "VM %s is given twice", a->words[i]);
		vms[(*n)++] = vm;
	}
	return 0;
}

struct old {
	uint64_t min_ms, max_ms;
	int sessions;
};

static int
read_old(const json_t *given, struct move_params *p, struct err *e)
{
	static const struct field fields[] = {
		{"drain-min", F_DURATION, FIELD_UNSET, offsetof(struct old, min_ms), 0,
			UINT64_C(30) * 86400000, .help = "least time that old addresses work"},
		{"drain-max", F_DURATION, FIELD_UNSET, offsetof(struct old, max_ms), 0,
			UINT64_C(30) * 86400000, .help = "most time that old addresses work"},
		{"sessions", F_ENUM, FIELD_UNSET, offsetof(struct old, sessions),
			.words = session_policy_words, .help = "what becomes of old sessions"},
		{.name = NULL},
	};
	static const struct kind kind = {
		"old", sizeof(struct old), fields, "what becomes of old addresses and sessions"};
	struct old d = {0};
	struct faults f;
	int rc;

	faults_init(&f);
	rc = kind_read(&kind, given, NULL, &d, &f);
	if (rc != 0)
		faults_err(&f, e);
	faults_fini(&f);
	if (rc == 0 && d.min_ms != UINT64_MAX && d.max_ms != UINT64_MAX && d.min_ms > d.max_ms)
		rc = err_set(e, EINVAL, "--drain-min is above --drain-max");
	p->drain_min_ms = d.min_ms;
	p->drain_max_ms = d.max_ms;
	p->sessions = d.sessions;
	return rc;
}

static json_t *
moved(struct clc *c, const char names[][NAME_LEN + 1], size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		struct clc_vm *vm = state_find(&c->state, names[i]);

		if (vm != NULL)
			json_array_append_new(list, print_vm(c, vm));
	}
	return json_pack("{s:o}", "vms", list);
}

static int
cmd_move(struct clc *c, const struct args *a, json_t **out, struct err *e)
{
	size_t room = HASH_CNT(by_name, c->state.vms) + (size_t)a->n_words + 1, n = 0;
	struct clc_vm **vms = calloc(room, sizeof(struct clc_vm *));
	char(*names)[NAME_LEN + 1] = calloc(room, sizeof(*names));
	struct move_params p = {.to = a->to};
	int rc = vms == NULL || names == NULL ? err_set(e, ENOMEM, "out of memory") : 0;

	if (rc == 0 && a->all != (a->n_words == 0))
		rc = err_set(e, EINVAL, "move: name VMs, or give --all --from SITE");
	if (rc == 0 && a->all && a->from == NULL)
		rc = err_set(e, EINVAL, "move --all needs --from SITE");
	if (rc == 0)
		rc = read_old(a->old, &p, e);
	if (rc == 0)
		rc = a->all ? pick_all(c, a->from, vms, &n) : pick_named(c, a, vms, &n, e);
	for (size_t i = 0; rc == 0 && i < n; i++)
		memcpy(names[i], vms[i]->name, sizeof(names[i]));
	if (rc == 0)
		rc = clc_move(c, vms, n, &p, e);
	if (rc == 0)
		*out = a->dry ? print_plans(c) : moved(c, (const char(*)[NAME_LEN + 1]) names, n);
	free(names);
	free(vms);
	return rc;
}

/* The VM of the command as it is now, or what would be made of it. */
static json_t *
came_of_it(struct clc *c, const struct args *a)
{
	return a->dry ? print_plans(c) : print_vm(c, state_find(&c->state, a->words[0]));
}

static int
cmd_prepare(struct clc *c, const struct args *a, json_t **out, struct err *e)
{
	struct clc_vm *vm = need_vm(c, a->words[0], e);
	struct move_params p = {.to = a->to};
	int rc = vm == NULL ? e->code : read_old(a->old, &p, e);

	if (rc == 0)
		rc = clc_prepare(c, vm, &p, e);
	if (rc == 0)
		*out = came_of_it(c, a);
	return rc;
}

static int
cmd_pause(struct clc *c, const struct args *a, json_t **out, struct err *e)
{
	struct clc_vm *vm = need_vm(c, a->words[0], e);
	json_t *old_router = NULL;
	int rc = vm == NULL ? e->code : clc_pause(c, vm, &old_router, e);

	if (rc != 0)
		return rc;
	*out = print_vm(c, vm);
	json_object_set_new(*out, "old-router", old_router);
	return 0;
}

static int
end_move(struct clc *c, const struct args *a, int (*how)(struct clc *, struct clc_vm *, struct err *),
	json_t **out, struct err *e)
{
	struct clc_vm *vm = need_vm(c, a->words[0], e);
	int rc = vm == NULL ? e->code : 0;

	if (rc == 0 && a->to != NULL && vm_is_leaving(vm) && strcmp(a->to, vm->to) != 0)
		rc = err_set(e, ENOENT, "VM %s moves to site %s, not to %s", vm->name, vm->to, a->to);
	if (rc == 0)
		rc = how(c, vm, e);
	if (rc == 0)
		*out = came_of_it(c, a);
	return rc;
}

static int
cmd_commit(struct clc *c, const struct args *a, json_t **out, struct err *e)
{
	return end_move(c, a, clc_commit, out, e);
}

static int
cmd_abort(struct clc *c, const struct args *a, json_t **out, struct err *e)
{
	return end_move(c, a, clc_abort, out, e);
}

/* ---- evacuate ---- */

static int
cmd_evacuate(struct clc *c, const struct args *a, json_t **out, struct err *e)
{
	struct evacuate_args x = {.from = a->from,
		.to = a->to,
		.segment = a->segment,
		.vms = a->vms,
		.batch = a->batch,
		.resume = a->resume,
		.abort = a->abort,
		.dry = a->dry};
	int rc = read_old(a->old, &x.move, e);

	return rc == 0 ? evacuate_command(c, &x, out, e) : rc;
}

static int
cmd_delete(struct clc *c, const struct args *a, json_t **out, struct err *e)
{
	int rc = clc_delete(c, a->words[0], e);

	if (rc == 0)
		*out = json_pack("{s:s}", "deleted", a->words[0]);
	return rc;
}

static int
read_revision(const char *text, uint64_t *revision, struct err *e)
{
	char *end;

	*revision = strtoull(text, &end, 10);
	if (isdigit((unsigned char)text[0]) && *end == '\0' && *revision <= INT64_MAX)
		return 0;
	return err_set(e, EINVAL, "--if-revision %s: not a revision, a number of 0 to 2^63-1", text);
}

static int
cmd_route(struct clc *c, const struct args *a, json_t **out, struct err *e)
{
	struct route_write r = {.router = a->router, .if_revision = UINT64_MAX};
	int rc;

	if (a->if_revision != NULL && read_revision(a->if_revision, &r.if_revision, e) != 0)
		return e->code;
	if (prefix4_parse(a->words[0], &r.prefix) != 0)
		return err_set(e, EINVAL, "%s: not an IPv4 prefix", a->words[0]);
	if (ip4_parse(a->via, &r.via) != 0 || r.via == 0)
		return err_set(e, EINVAL, "--via %s: not an IPv4 address", a->via);
	rc = clc_route(c, &r, e);
	if (rc == 0)
		*out = json_pack(
			"{s:s, s:s, s:s}", "prefix", a->words[0], "router", a->router, "via", a->via);
	return rc;
}

static int
cmd_list(struct clc *c, const struct args *a, json_t **out, struct err *e)
{
	(void)a;
	(void)e;
	*out = print_list(c);
	return 0;
}

static int
cmd_status(struct clc *c, const struct args *a, json_t **out, struct err *e)
{
	json_t *list = json_array();
	int failed = 0;

	(void)a;
	for (size_t i = 0; i < c->inv->routers.n; i++)
		link_dial(&c->links, list_at(c->inv->routers, struct inv_router, i)->name);
	for (size_t i = 0; i < c->inv->routers.n; i++) {
		const struct inv_router *r = list_at(c->inv->routers, struct inv_router, i);
		json_t *row = json_pack("{s:s, s:s}", "name", r->name, "address", r->address), *status;
		int rc = link_call(&c->links, r->name, "show.status", NULL, &status, e);

		json_object_set_new(row, "up", json_boolean(rc == 0));
		if (rc == 0)
			json_object_set_new(row, "status", status);
		else
			json_object_set_new(row, "error", json_string(e->text));
		failed += rc != 0;
		json_array_append_new(list, row);
	}
	*out = json_pack("{s:o}", "routers", list);
	return failed == 0 ? 0
			   : err_set(e, EHOSTUNREACH, "%d of %zu routers did not answer", failed,
				     c->inv->routers.n);
}

/* Every site, whatever happens at the others. */
static int
every_site(struct clc *c, int (*f)(struct clc *, const struct inv_site *, struct seen_count *, struct err *),
	json_t **out, struct err *e)
{
	struct seen_count n = {0};
	json_t *errors = json_array();
	struct err one;

	for (size_t i = 0; i < c->inv->sites.n; i++)
		link_dial(&c->links, list_at(c->inv->sites, struct inv_site, i)->router);
	for (size_t i = 0; i < c->inv->sites.n; i++)
		if (f(c, list_at(c->inv->sites, struct inv_site, i), &n, &one) != 0)
			json_array_append_new(errors, json_string(one.text));
	*out = json_pack("{s:I, s:I, s:I, s:I, s:O}", "adopted", (json_int_t)n.adopted, "released",
		(json_int_t)n.released, "registered", (json_int_t)n.registered, "finished",
		(json_int_t)n.finished, "errors", errors);
	json_decref(errors);
	if (json_array_size(json_object_get(*out, "errors")) == 0)
		return 0;
	return err_set(e, EHOSTUNREACH, "%zu of %zu sites are not in step",
		json_array_size(json_object_get(*out, "errors")), c->inv->sites.n);
}

static int
cmd_sync(struct clc *c, const struct args *a, json_t **out, struct err *e)
{
	(void)a;
	return every_site(c, clc_sync, out, e);
}

static int
cmd_release(struct clc *c, const struct args *a, json_t **out, struct err *e)
{
	(void)a;
	return every_site(c, clc_look, out, e);
}

static void
print_told(void *arg, const struct inv_router *r, const json_t *event)
{
	print_event(r->name, event, ((const struct args *)arg)->json);
}

/* Ends with the program. */
static int
cmd_watch(struct clc *c, const struct args *a, json_t **out, struct err *e)
{
	struct watch *w = watch_new(&c->links, print_told, (void *)(uintptr_t)a);

	(void)out;
	(void)e;
	while (fflush(stdout) == 0)
		watch_turn(w);
	watch_free(w);
	return err_set(e, EIO, "standard output: %s", strerror(errno));
}

/* ---- keys ---- */

static int
key_command(const char *what, const char *file)
{
	uint8_t public_key[32];
	char text[KEY_TEXT];
	struct err e;
	int rc = strcmp(what, "keygen") == 0 ? key_make(file, public_key, &e)
					     : key_load_public(file, public_key, &e);

	if (rc == 0)
		puts(key_format(public_key, text));
	else
		fprintf(stderr, "nearway-clc: %s\n", e.text);
	return rc == 0 ? 0 : 1;
}

/* ---- start ---- */

static void
turn(void *arg)
{
	event_base_loop(arg, EVLOOP_ONCE);
}

static int
run_with(struct clc *c, const struct command *k, const struct args *a, json_t **out, struct err *e)
{
	uint8_t key[32];
	struct host *h;
	int rc;

	rc = key_load(c->inv->clc.key_file, key, e);
	if (rc != 0)
		return rc;
	h = host_new(e);
	rc = h == NULL ? e->code : k->stateless ? 0 : state_open(&c->state, c->inv, e);
	if (rc == 0) {
		links_init(&c->links, host_env(h), c->inv, key);
		c->links.turn = turn;
		c->links.turn_arg = host_base(h);
		if (a->dry)
			clc_dry_run(c);
		rc = k->run(c, a, out, e);
		links_fini(&c->links);
		if (!k->stateless)
			state_close(&c->state);
	}
	sodium_memzero(key, sizeof(key));
	host_free(h);
	return rc;
}

static int
run(const struct command *k, const struct args *a)
{
	struct inventory inv;
	struct clc c = {.inv = &inv};
	struct err e = {0};
	struct faults f;
	json_t *out = NULL;
	int rc;

	faults_init(&f);
	rc = inventory_load(a->conf, &inv, &f);
	if (rc != 0) {
		faults_print(&f, a->conf, stderr);
		faults_fini(&f);
		return 1;
	}
	faults_fini(&f);
	if (k != NULL) {
		rc = run_with(&c, k, a, &out, &e);
		print_result(k->name, out, rc == 0 ? NULL : e.text, a->json);
		json_decref(out);
	}
	inventory_free(&inv);
	return rc == 0 ? 0 : rc == -EINTR ? EXIT_STOPPED : 1;
}

/* ---- arguments ---- */

static const struct option long_options[] = {
	{"config", required_argument, NULL, 'c'},
	{"json", no_argument, NULL, 'j'},
	{"verbose", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{"site", required_argument, NULL, 1},
	{"segment", required_argument, NULL, 2},
	{"mac", required_argument, NULL, 3},
	{"private", required_argument, NULL, 4},
	{"to", required_argument, NULL, 5},
	{"from", required_argument, NULL, 6},
	{"all", no_argument, NULL, 7},
	{"drain-min", required_argument, NULL, 8},
	{"drain-max", required_argument, NULL, 8},
	{"sessions", required_argument, NULL, 8},
	{"router", required_argument, NULL, 9},
	{"via", required_argument, NULL, 10},
	{"if-revision", required_argument, NULL, 11},
	{"batch", required_argument, NULL, 12},
	{"dry-run", no_argument, NULL, 13},
	{"vms", required_argument, NULL, 14},
	{"resume", no_argument, NULL, 15},
	{"abort", no_argument, NULL, 16},
	{0},
};

static void
take_option(struct args *a, int id, const char *name, const char *value)
{
	const char **at[] = {&a->site, &a->segment, &a->mac, &a->private_ip, &a->to, &a->from, NULL, NULL,
		&a->router, &a->via, &a->if_revision, &a->batch, NULL, &a->vms};

	a->given |= 1u << (id - 1);
	if (id == 7)
		a->all = true;
	else if (id == 13)
		a->dry = true;
	else if (id == 15)
		a->resume = true;
	else if (id == 16)
		a->abort = true;
	else if (id == 8)
		json_object_set_new(a->old, name, json_string(value));
	else
		*at[id - 1] = value;
}

/* 0 to go on, else the exit code + 1. */
static int
parse(struct args *a, int argc, char **argv)
{
	int opt, index = 0;

	while ((opt = getopt_long(argc, argv, "c:vh", long_options, &index)) != -1) {
		if (opt == 'c')
			a->conf = optarg;
		else if (opt == 'j')
			a->json = true;
		else if (opt == 'v')
			log_set_level(LOG_INFO);
		else if (opt == 'h')
			return usage(stdout) + 1;
		else if (opt == 'V')
			return printf("nearway-clc " NEARWAY_VERSION "\n") > 0;
		else if (opt == '?')
			return usage(stderr) + 1;
		else
			take_option(a, opt, long_options[index].name, optarg);
	}
	a->words = argv + optind;
	a->n_words = argc - optind;
	return a->n_words > 0 ? 0 : usage(stderr) + 1;
}

static int
check_words(const struct command *k, const struct args *a)
{
	if (a->n_words >= k->min_words && a->n_words <= k->max_words && (a->given & ~k->allowed) == 0 &&
		(a->given & k->required) == k->required)
		return 0;
	fprintf(stderr, "usage: nearway-clc %s\n", k->usage);
	return 2;
}

static int
dispatch(struct args *a)
{
	const struct command *k = commands;
	const char *name = a->words[0];

	a->words++;
	a->n_words--;
	if ((strcmp(name, "keygen") == 0 || strcmp(name, "pubkey") == 0) && a->n_words == 1)
		return key_command(name, a->words[0]);
	if (strcmp(name, "check") == 0 && a->n_words == 0)
		return run(NULL, a);
	while (k->name != NULL && strcmp(k->name, name) != 0)
		k++;
	if (k->name == NULL)
		return usage(stderr);
	return check_words(k, a) != 0 ? 2 : run(k, a);
}

int
main(int argc, char **argv)
{
	struct args a = {.conf = CONF_DEFAULT, .old = json_object()};
	int rc;

	prctl(PR_SET_DUMPABLE, 0); /* no key in a core file */
	if (secret_start() != 0) {
		fputs("nearway-clc: libsodium does not start\n", stderr);
		return 1;
	}
	json_pool_start();
	log_set_level(LOG_WARN);
	rc = parse(&a, argc, argv);
	rc = rc == 0 ? dispatch(&a) : rc - 1;
	json_decref(a.old);
	return rc;
}
