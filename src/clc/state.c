/* SPDX-License-Identifier: BSD-3-Clause */
#include "evacuation.h"

#include <api/fields.h>
#include <common/log.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOCK_WAIT_MS 10000 /* another command may be at work */

static const char *const words_step[] = {
	"active", "creating", "moving", "deleting", "prepared", "committing", "aborting", NULL};
static const char *const words_ended[] = {"none", "committed", "aborted", NULL};

static const struct field fields_held[] = {
	{"private", F_IP4, REQ, AT(held, private_ip), .help = "address of the VM in its segment"},
	{"global", F_IP4, REQ, AT(held, global_ip), .help = "its old global address"},
	{"site", F_NAME, REQ, AT(held, site), .help = "site of the address"},
	{"epoch", F_INT, REQ, AT(held, epoch), 1, INT64_MAX, .help = "epoch of the move that made it old"},
	END,
};
const struct kind kind_held = {
	"held", sizeof(struct held), fields_held, "an old global address that may still work"};

static const struct field fields_vm[] = {
	{"name", F_NAME, REQ, AT(clc_vm, name), .help = "name of the VM"},
	{"segment", F_NAME, REQ, AT(clc_vm, segment), .help = "its segment"},
	{"mac", F_MAC, REQ, AT(clc_vm, mac), .help = "its MAC"},
	{"site", F_NAME, REQ, AT(clc_vm, site), .help = "site whose router is its gateway"},
	{"epoch", F_INT, REQ, AT(clc_vm, epoch), 1, INT64_MAX, .help = "epoch of its last change"},
	{"state", F_ENUM, REQ, AT(clc_vm, step), .words = words_step, .help = "what is under way"},
	{"addresses", F_LIST, 0, AT(clc_vm, addresses), 0, VM_ADDRESSES_MAX, .kind = &kind_vm_address,
		.help = "its addresses"},
	{"held", F_LIST, 0, AT(clc_vm, held), 0, HELD_MAX, .kind = &kind_held,
		.help = "old global addresses"},
	{"to", F_NAME, 0, AT(clc_vm, to), .help = "site that it moves to"},
	{"to-epoch", F_INT, 0, AT(clc_vm, to_epoch), 0, INT64_MAX, "0",
		.help = "epoch of the move under way"},
	{"to-addresses", F_LIST, 0, AT(clc_vm, to_addresses), 0, VM_ADDRESSES_MAX, .kind = &kind_vm_address,
		.help = "its addresses there"},
	{"drain-min", F_DURATION, FIELD_UNSET, AT(clc_vm, drain_min_ms), 0, UINT64_C(30) * 86400000,
		.help = "least time that old addresses work, as asked"},
	{"drain-max", F_DURATION, FIELD_UNSET, AT(clc_vm, drain_max_ms), 0, UINT64_C(30) * 86400000,
		.help = "most time that old addresses work, as asked"},
	{"sessions", F_ENUM, FIELD_UNSET, AT(clc_vm, sessions), .words = session_policy_words,
		.help = "what becomes of its old sessions, as asked"},
	{"ended", F_ENUM, 0, AT(clc_vm, ended), .def = "none", .words = words_ended,
		.help = "how its last prepared move ended"},
	{"ended-epoch", F_INT, 0, AT(clc_vm, ended_epoch), 0, INT64_MAX, "0",
		.help = "epoch of the last prepared move that ended"},
	END,
};
const struct kind kind_clc_vm = {"vm", sizeof(struct clc_vm), fields_vm, "a VM as the controller knows it"};

/* ---- rows in memory ---- */

static void
id_of(const char *segment, const struct mac *mac, char id[NAME_LEN + 1 + MAC_TEXT])
{
	char text[MAC_TEXT];

	snprintf(id, NAME_LEN + 1 + MAC_TEXT, "%s/%s", segment, mac_format(mac, text));
}

struct clc_vm *
state_find(const struct state *s, const char *name)
{
	struct clc_vm *vm;

	HASH_FIND(by_name, s->vms, name, strlen(name), vm);
	return vm;
}

struct clc_vm *
state_find_id(const struct state *s, const char *segment, const struct mac *mac)
{
	char id[NAME_LEN + 1 + MAC_TEXT];
	struct clc_vm *vm;

	id_of(segment, mac, id);
	HASH_FIND(by_id, s->ids, id, strlen(id), vm);
	return vm;
}

static void
link_vm(struct state *s, struct clc_vm *vm)
{
	id_of(vm->segment, &vm->mac, vm->id);
	HASH_ADD_KEYPTR(by_name, s->vms, vm->name, strlen(vm->name), vm);
	HASH_ADD_KEYPTR(by_id, s->ids, vm->id, strlen(vm->id), vm);
}

struct clc_vm *
state_add(struct state *s, const char *name, const char *segment, const struct mac *mac)
{
	struct clc_vm *vm;

	if (state_find(s, name) != NULL || state_find_id(s, segment, mac) != NULL ||
		json_object_get(s->skipped, name) != NULL)
		return NULL;
	vm = calloc(1, sizeof(*vm));
	if (vm == NULL)
		return NULL;
	kind_init(&kind_clc_vm, vm);
	snprintf(vm->name, sizeof(vm->name), "%s", name);
	snprintf(vm->segment, sizeof(vm->segment), "%s", segment);
	vm->mac = *mac;
	vm->dirty = true;
	link_vm(s, vm);
	return vm;
}

void
state_forget(struct state *s, struct clc_vm *vm)
{
	HASH_DELETE(by_name, s->vms, vm);
	HASH_DELETE(by_id, s->ids, vm);
	kind_fini(&kind_clc_vm, vm);
	free(vm);
}

uint64_t
state_last_epoch(const struct state *s, const char *segment, const struct mac *mac)
{
	char id[NAME_LEN + 1 + MAC_TEXT];
	struct tombstone *t;

	id_of(segment, mac, id);
	HASH_FIND_STR(s->tombstones, id, t);
	return t != NULL ? t->epoch : 0;
}

uint64_t
epoch_after(uint64_t epoch, struct err *e)
{
	if (epoch < INT64_MAX)
		return epoch + 1;
	err_set(e, EOVERFLOW, "a router has told the last epoch, 2^63-1: nothing can come after it");
	return 0;
}

static int
bury(struct state *s, const char *id, uint64_t epoch)
{
	struct tombstone *t;

	HASH_FIND_STR(s->tombstones, id, t);
	if (t == NULL) {
		t = calloc(1, sizeof(*t));
		if (t == NULL)
			return -ENOMEM;
		snprintf(t->id, sizeof(t->id), "%s", id);
		HASH_ADD_STR(s->tombstones, id, t);
	}
	t->epoch = epoch;
	return 0;
}

json_t *
vm_row(const struct clc_vm *vm)
{
	return kind_write(&kind_clc_vm, vm);
}

/* ---- database ---- */

static int
load_vm(struct state *s, const struct env_row *row, const json_t *v, struct err *e)
{
	struct clc_vm *vm = calloc(1, sizeof(*vm));
	struct faults f;
	int rc;

	if (vm == NULL)
		return err_set(e, ENOMEM, "out of memory");
	faults_init(&f);
	rc = kind_read(&kind_clc_vm, v, NULL, vm, &f);
	if (rc != 0)
		faults_err(&f, e);
	faults_fini(&f);
	if (rc == 0 && (strcmp(vm->name, row->key) != 0 || state_find_id(s, vm->segment, &vm->mac) != NULL)) {
		kind_fini(&kind_clc_vm, vm);
		rc = err_set(e, EINVAL, "another name than its key, or the MAC of another VM");
	}
	if (rc == 0)
		link_vm(s, vm);
	else
		free(vm);
	return rc;
}

static int
load_tombstone(struct state *s, const struct env_row *row, const json_t *v, struct err *e)
{
	json_int_t epoch = json_integer_value(json_object_get(v, "epoch"));

	if (epoch < 1)
		return err_set(e, EINVAL, "no epoch");
	return bury(s, row->key, (uint64_t)epoch) == 0 ? 0 : err_set(e, ENOMEM, "out of memory");
}

static int
load_evacuation(struct state *s, json_t *v, struct err *e)
{
	struct evacuation x;

	if (!evacuation_read(v, &x))
		return err_set(e, EINVAL, "not an evacuation");
	s->evacuation = json_incref(v);
	return 0;
}

static int
load_row(void *arg, const struct env_row *row)
{
	json_t *v = json_loads(row->value, 0, NULL);
	struct state *s = arg;
	struct err e = {0};
	int rc;

	if (v == NULL)
		rc = err_set(&e, EINVAL, "not JSON");
	else if (strcmp(row->kind, "vm") == 0)
		rc = load_vm(s, row, v, &e);
	else if (strcmp(row->kind, "tombstone") == 0)
		rc = load_tombstone(s, row, v, &e);
	else if (strcmp(row->kind, "evacuation") == 0)
		rc = load_evacuation(s, v, &e);
	else
		rc = err_set(&e, EINVAL, "unknown kind");
	json_decref(v);
	if (rc == 0 || rc == -ENOMEM)
		return rc;
	log_error("%s: the row of %s %s is skipped, and kept: %s", s->inv->clc.state, row->kind, row->key,
		e.text);
	json_object_set_new(s->skipped, row->key, json_true());
	return 0;
}

static struct store *
open_store(const struct inventory *inv, struct err *e)
{
	const struct timespec pause = {.tv_nsec = 100000000};
	char identity[NAME_LEN + 8];
	struct store *db;
	bool set_aside;

	snprintf(identity, sizeof(identity), "clc %s", inv->clc.name);
	for (int waited = 0;; waited += 100) {
		db = store_open(inv->clc.state, identity, &set_aside, e);
		if (db != NULL || e->code != -EBUSY || waited >= LOCK_WAIT_MS)
			return db;
		nanosleep(&pause, NULL);
	}
}

int
state_open(struct state *s, const struct inventory *inv, struct err *e)
{
	int rc;

	*s = (struct state){.inv = inv, .skipped = json_object()};
	s->db = open_store(inv, e);
	rc = s->db == NULL ? e->code : store_load(s->db, NULL, load_row, s);
	if (rc == 0)
		return 0;
	if (s->db != NULL)
		err_set(e, -rc, "%s: %s", inv->clc.state, strerror(-rc));
	state_close(s);
	return rc;
}

void
state_close(struct state *s)
{
	struct clc_vm *vm, *next;
	struct tombstone *t, *next_t;

	HASH_ITER (by_name, s->vms, vm, next)
		state_forget(s, vm);
	HASH_ITER (hh, s->tombstones, t, next_t) {
		HASH_DEL(s->tombstones, t);
		free(t);
	}
	pool_free(s);
	json_decref(s->skipped);
	s->skipped = NULL;
	json_decref(s->evacuation);
	s->evacuation = NULL;
	if (s->db != NULL)
		store_close(s->db);
	s->db = NULL;
}

struct rows {
	struct env_row *row;
	size_t n;
};

static void
add_row(struct rows *r, const char *kind, const char *key, json_t *value_stolen)
{
	r->row[r->n++] = (struct env_row){
		kind, key, value_stolen != NULL ? json_dumps(value_stolen, JSON_COMPACT) : NULL};
	json_decref(value_stolen);
}

static void
free_rows(struct rows *r)
{
	for (size_t i = 0; i < r->n; i++)
		free((char *)r->row[i].value);
	free(r->row);
}

static void
settle(struct state *s)
{
	struct clc_vm *vm, *next;

	HASH_ITER (by_name, s->vms, vm, next) {
		vm->dirty = false;
		if (!vm->gone)
			continue;
		bury(s, vm->id, vm->epoch);
		state_forget(s, vm);
	}
}

int
state_commit(struct state *s, struct err *e)
{
	struct rows r = {calloc(2 * (size_t)HASH_CNT(by_name, s->vms) + 1, sizeof(struct env_row)), 0};
	struct clc_vm *vm, *next;
	int rc;

	if (r.row == NULL)
		return err_set(e, ENOMEM, "out of memory");
	HASH_ITER (by_name, s->vms, vm, next) {
		if (vm->gone) {
			add_row(&r, "vm", vm->name, NULL);
			if (vm->epoch > 0) /* else no router has ever had it */
				add_row(&r, "tombstone", vm->id,
					json_pack("{s:I}", "epoch", (json_int_t)vm->epoch));
		} else if (vm->dirty) {
			add_row(&r, "vm", vm->name, vm_row(vm));
		}
	}
	rc = r.n > 0 && !s->dry ? store_commit(s->db, r.row, r.n) : 0;
	free_rows(&r);
	if (rc != 0)
		return err_set(e, -rc, "%s: %s; nothing was changed", s->inv->clc.state, strerror(-rc));
	settle(s);
	return 0;
}

int
state_set_evacuation(struct state *s, json_t *evacuation_stolen, struct err *e)
{
	struct rows r = {calloc(1, sizeof(struct env_row)), 0};
	int rc = r.row == NULL ? -ENOMEM : 0;

	if (rc == 0 && !s->dry) {
		add_row(&r, "evacuation", "under way", json_incref(evacuation_stolen));
		rc = store_commit(s->db, r.row, r.n);
	}
	free_rows(&r);
	if (rc != 0) {
		json_decref(evacuation_stolen);
		return err_set(e, -rc, "%s: %s; nothing was changed", s->inv->clc.state, strerror(-rc));
	}
	json_decref(s->evacuation);
	s->evacuation = evacuation_stolen;
	return 0;
}
