/* SPDX-License-Identifier: BSD-3-Clause */
/* vm_text.c - a VM as others see it: compared, listed in order, as JSON, as a stored row. */
#include "state.h"

/* ---- comparing ---- */

/* Room for all that the group must agree on. */
struct content {
	uint8_t b[2 * (NAME_LEN + 1) + 64 + FWD_ADDRESSES_MAX * 16 + FWD_DRAINS_MAX * (NAME_LEN + 1 + 48)];
	size_t n;
};

static void
add(struct content *t, const void *p, size_t n)
{
	memcpy(t->b + t->n, p, n);
	t->n += n;
}

static void
add_name(struct content *t, const char *name)
{
	add(t, name, strlen(name) + 1);
}

/* The hash must not depend on a router's indices or byte order: names, and numbers with the high byte first.
 */
static void
add_number(struct content *t, uint64_t v)
{
	for (int shift = 56; shift >= 0; shift -= 8)
		t->b[t->n++] = (uint8_t)(v >> shift);
}

static void
content_of(struct core *c, const struct vm_state *s, struct content *t)
{
	const struct fwd_vm *f = &s->fwd;

	t->n = 0;
	add_name(t, segment_at(c, f->segment)->name);
	add(t, f->mac.b, sizeof(f->mac.b));
	add_name(t, router_name(c, f->owner));
	add_number(t, s->epoch);
	add_number(t, s->deleted);
	for (unsigned int i = 0; i < f->n_addresses; i++) {
		add_number(t, (uint64_t)f->addresses[i].private_ip << 32 | f->addresses[i].global_ip);
		add_number(t, f->addresses[i].since);
	}
	for (unsigned int i = 0; i < f->n_drains; i++) {
		add_number(t, (uint64_t)f->drains[i].private_ip << 32 | f->drains[i].global_ip);
		add_name(t, router_name(c, f->drains[i].home));
		add_number(t, s->drain[i].epoch);
		add_number(t, f->drains[i].since);
		add_number(t, s->drain[i].min_ms);
		add_number(t, s->drain[i].max_ms);
	}
}

/* FNV-1a, and at the end each bit of it on all others: sums of hashes must not hide what differs. */
uint64_t
hash_bytes(uint64_t h, const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		h = (h ^ b[i]) * UINT64_C(1099511628211);
	return h;
}

uint64_t
hash_end(uint64_t h)
{
	h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
	h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return (h ^ h >> 33) >> 1;
}

uint64_t
vm_hash(struct core *c, const struct vm_state *s)
{
	struct content t;

	content_of(c, s, &t);
	return hash_end(hash_bytes(HASH_START, t.b, t.n));
}

bool
vm_state_same(const struct vm_state *a, const struct vm_state *b)
{
	const struct fwd_vm *x = &a->fwd, *y = &b->fwd;

	if (a->epoch != b->epoch || a->deleted != b->deleted || x->owner != y->owner ||
		x->location != y->location || x->n_addresses != y->n_addresses || x->n_drains != y->n_drains)
		return false;
	for (unsigned int i = 0; i < x->n_addresses; i++)
		if (x->addresses[i].private_ip != y->addresses[i].private_ip ||
			x->addresses[i].global_ip != y->addresses[i].global_ip ||
			x->addresses[i].since != y->addresses[i].since)
			return false;
	for (unsigned int i = 0; i < x->n_drains; i++)
		if (x->drains[i].private_ip != y->drains[i].private_ip ||
			x->drains[i].global_ip != y->drains[i].global_ip ||
			x->drains[i].home != y->drains[i].home ||
			x->drains[i].direct != y->drains[i].direct ||
			x->drains[i].since != y->drains[i].since || a->drain[i].epoch != b->drain[i].epoch ||
			a->drain[i].min_ms != b->drain[i].min_ms || a->drain[i].max_ms != b->drain[i].max_ms)
			return false;
	return true;
}

bool
vm_drains_at(const struct vm_state *s, uint8_t router)
{
	for (unsigned int i = 0; i < s->fwd.n_drains; i++)
		if (s->fwd.drains[i].home == router)
			return true;
	return false;
}

/* ---- listing ---- */

static struct core *sorting; /* qsort has no argument; one thread */

/* As cursors compare, the texts SEGMENT/MAC: a name ends with '/', which comes after '-' and '.'. */
static int
name_order(const char *a, const char *b)
{
	for (; *a != '\0' && *a == *b; a++)
		b++;
	return (*a != '\0' ? *a : '/') - (*b != '\0' ? *b : '/');
}

static int
by_name(const void *pa, const void *pb)
{
	const struct vm_obj *a = *(struct vm_obj *const *)pa, *b = *(struct vm_obj *const *)pb;
	int d = 0;

	if (a->key.segment != b->key.segment)
		d = name_order(
			segment_at(sorting, a->key.segment)->name, segment_at(sorting, b->key.segment)->name);
	return d ? d : memcmp(a->key.mac.b, b->key.mac.b, sizeof(a->key.mac.b));
}

size_t
vm_sorted(struct core *c, const char *cursor)
{
	size_t n = HASH_COUNT(c->vms), low = 0, high = n, i = 0;
	struct vm_obj *o, *next;

	if (!c->sorted) {
		c->sorted = zalloc((n + 1) * sizeof(*c->sorted));
		HASH_ITER (hh, c->vms, o, next)
			c->sorted[i++] = o;
		sorting = c;
		qsort(c->sorted, n, sizeof(*c->sorted), by_name);
	}
	while (low < high) { /* the first one above the cursor */
		size_t mid = (low + high) / 2;
		char text[VM_KEY_TEXT];

		vm_key_text(c, c->sorted[mid]->key.segment, &c->sorted[mid]->key.mac, text);
		if (strcmp(text, cursor) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* ---- texts ---- */

struct whole_vm { /* as on the wire */
	struct vm vm;
	struct vm_address addresses[FWD_ADDRESSES_MAX];
	struct vm_drain drains[FWD_DRAINS_MAX];
};

static void
drains_to_api(struct core *c, const struct vm_state *s, struct whole_vm *w)
{
	for (unsigned int i = 0; i < s->fwd.n_drains; i++) {
		const struct fwd_drain *d = &s->fwd.drains[i];
		const struct drain_time *t = &s->drain[i];
		bool own = d->home == FWD_SELF;

		w->drains[i] = (struct vm_drain){.private_ip = d->private_ip,
			.global_ip = d->global_ip,
			.epoch = t->epoch,
			.since = d->since,
			.direct = d->direct,
			.min_ms = t->min_ms,
			.max_ms = t->max_ms,
			.left_min_ms = own ? drain_left(c, t->min_at) : t->min_ms,
			.left_max_ms = own ? drain_left(c, t->max_at) : t->max_ms};
		strcpy(w->drains[i].router, router_name(c, d->home));
	}
	w->vm.drains = (struct list){w->drains, s->fwd.n_drains};
}

static void
vm_to_api(struct core *c, const struct vm_state *s, struct whole_vm *w)
{
	const struct fwd_vm *f = &s->fwd;

	w->vm = (struct vm){.mac = f->mac, .epoch = s->epoch, .deleted = s->deleted};
	strcpy(w->vm.segment, segment_at(c, f->segment)->name);
	strcpy(w->vm.owner, router_name(c, f->owner));
	if (f->location != f->owner)
		strcpy(w->vm.location, router_name(c, f->location));
	for (unsigned int i = 0; i < f->n_addresses; i++)
		w->addresses[i] = (struct vm_address){
			f->addresses[i].private_ip, f->addresses[i].global_ip, f->addresses[i].since};
	w->vm.addresses = (struct list){w->addresses, f->n_addresses};
	drains_to_api(c, s, w);
}

json_t *
vm_json(struct core *c, const struct vm_state *s)
{
	struct whole_vm w;

	vm_to_api(c, s, &w);
	return kind_write(&kind_vm, &w.vm);
}

void
vm_print(struct core *c, const struct vm_state *s, struct buf *to)
{
	struct whole_vm w;

	vm_to_api(c, s, &w);
	text_add_kind(to, &kind_vm, &w.vm);
}

static void
drains_from_api(struct core *c, const struct vm *vm, struct vm_state *s)
{
	uint64_t now = now_ms(c);

	for (size_t i = 0; i < vm->drains.n; i++) {
		const struct vm_drain *d = list_at(vm->drains, const struct vm_drain, i);
		int home = router_index(c, d->router);
		unsigned int n = s->fwd.n_drains;

		if (home < 0 || n == FWD_DRAINS_MAX)
			continue; /* a router that left the group translates nothing */
		s->fwd.drains[n] = (struct fwd_drain){.private_ip = d->private_ip,
			.global_ip = d->global_ip,
			.home = (uint8_t)home,
			.direct = d->direct,
			.since = d->since};
		s->drain[n] =
			(struct drain_time){.epoch = d->epoch, .min_ms = d->min_ms, .max_ms = d->max_ms};
		if (home == FWD_SELF) {
			uint64_t left_min = d->left_min_ms < d->min_ms ? d->left_min_ms : d->min_ms;
			uint64_t left_max = d->left_max_ms < d->max_ms ? d->left_max_ms : d->max_ms;

			s->drain[n].min_at = now + left_min;
			s->drain[n].max_at = now + left_max;
			s->drain[n].quiet_at = now + SESSION_QUIET_MS;
		}
		s->fwd.n_drains++;
	}
}

bool
vm_from_api(struct core *c, const struct vm *vm, struct vm_state *s, struct fail *f)
{
	int segment = segment_index(c, vm->segment), owner = router_index(c, vm->owner);
	int location = vm->location[0] ? router_index(c, vm->location) : owner;

	memset(s, 0, sizeof(*s));
	if (segment < 0)
		return fail(f, RPC_INVALID_PARAMS, "segment %s is not in this router's configuration",
			       vm->segment),
		       false;
	if (owner < 0)
		return fail(f, RPC_INVALID_PARAMS, "router %s is not in this router's configuration",
			       vm->owner),
		       false;
	if (vm->addresses.n > FWD_ADDRESSES_MAX)
		return fail(f, RPC_INVALID_PARAMS, "more than %d addresses", FWD_ADDRESSES_MAX), false;
	s->fwd.segment = (uint16_t)segment;
	s->fwd.mac = vm->mac;
	s->fwd.owner = (uint8_t)owner;
	s->fwd.location = owner == FWD_SELF && location >= 0 ? (uint8_t)location : (uint8_t)owner;
	s->fwd.attachment = ATTACHMENT_ANY;
	s->epoch = vm->epoch;
	s->deleted = vm->deleted;
	if (vm->deleted)
		return true;
	for (size_t i = 0; i < vm->addresses.n; i++) {
		const struct vm_address *a = list_at(vm->addresses, const struct vm_address, i);

		s->fwd.addresses[s->fwd.n_addresses++] =
			(struct fwd_address){a->private_ip, a->global_ip, a->since};
	}
	drains_from_api(c, vm, s);
	return true;
}

/* ---- rows ---- */

void
row_set(struct env_row *row, const char *kind, const char *key, json_t *value_stolen)
{
	row->kind = kind;
	row->key = strdup(key);
	row->value = NULL;
	if (value_stolen) {
		row->value = json_dumps(value_stolen, JSON_COMPACT);
		json_decref(value_stolen);
	}
}

void
row_set_text(struct env_row *row, const char *kind, const char *key, struct buf *value)
{
	*row = (struct env_row){kind, strdup(key), text_take(value)};
}

void
row_free(struct env_row *row)
{
	free((char *)(uintptr_t)row->key);
	free((char *)(uintptr_t)row->value);
}

json_t *
row_json(const struct env_row *row, struct fail *f)
{
	json_t *v = json_loads(row->value, 0, NULL);

	if (json_is_object(v))
		return v;
	fail(f, RPC_INVALID_PARAMS, "not a JSON object");
	json_decref(v);
	return NULL;
}

/* Takes it out. Rows of before there were revisions are as old as can be. */
uint64_t
row_revision(json_t *v)
{
	json_int_t n = json_integer_value(json_object_get(v, "revision"));

	json_object_del(v, "revision");
	return n > 0 ? (uint64_t)n : 1;
}

/* The object as on the wire, its revision, and the boot clock at which what is left of its drains was true. */
void
vm_row(struct core *c, const struct vm_state *s, struct env_row *row)
{
	char key[VM_KEY_TEXT];
	struct buf vm;

	buf_init(&vm, 0);
	vm_print(c, s, &vm);
	text_reopen(&vm);
	text_add(&vm, ",\"revision\":%" PRIu64 ",\"at\":%" PRIu64 "}", s->revision, now_ms(c));
	vm_key_text(c, s->fwd.segment, &s->fwd.mac, key);
	row_set_text(row, "vm", key, &vm);
}

void
vm_row_gone(struct core *c, const struct vm_obj *o, struct env_row *row)
{
	char key[VM_KEY_TEXT];

	vm_key_text(c, o->key.segment, &o->key.mac, key);
	row_set(row, "vm", key, NULL);
}

int
vm_check(struct core *c, const struct vm_state *s, struct fail *f)
{
	int rc = check_mac(c, &s->fwd.mac, f);

	for (unsigned int i = 0; rc == 0 && i < s->fwd.n_addresses; i++) {
		ip4 global = s->fwd.addresses[i].global_ip;

		rc = check_private(c, s->fwd.segment, s->fwd.addresses[i].private_ip, f);
		if (rc == 0 && global && s->fwd.owner == FWD_SELF)
			rc = check_own_global(c, s->fwd.segment, global, f);
	}
	return rc ? rc : check_clash(c, s, f);
}

int
row_check_key(const struct env_row *row, const char *key, struct fail *f)
{
	return strcmp(row->key, key) == 0 ? 0 : fail(f, RPC_INVALID_PARAMS, "it is about %s", key);
}

static int
vm_check_row(struct core *c, const struct env_row *row, const struct vm_state *s, struct fail *f)
{
	char key[VM_KEY_TEXT];

	vm_key_text(c, s->fwd.segment, &s->fwd.mac, key);
	return row_check_key(row, key, f) == 0 ? vm_check(c, s, f) : f->code;
}

int
vm_load(struct core *c, const struct env_row *row, struct fail *f)
{
	struct vm_state s;
	struct vm_obj *o;
	struct faults faults;
	struct vm vm = {0};
	json_t *v = row_json(row, f);
	uint64_t at = (uint64_t)json_integer_value(json_object_get(v, "at"));
	uint64_t revision;
	struct err e = {0};
	int rc;

	if (!v)
		return f->code;
	revision = row_revision(v);
	json_object_del(v, "at");
	faults_init(&faults);
	rc = kind_read(&kind_vm, v, NULL, &vm, &faults);
	if (rc != 0)
		faults_err(&faults, &e);
	faults_fini(&faults);
	json_decref(v);
	if (rc != 0)
		return fail(f, RPC_INVALID_PARAMS, "%s", e.text);
	rc = vm_from_api(c, &vm, &s, f) ? vm_check_row(c, row, &s, f) : f->code;
	kind_fini(&kind_vm, &vm);
	if (rc != 0)
		return rc;
	o = vm_set(c, &s);
	o->now.revision = revision;
	o->written_at = at;
	o->loaded_at = now_ms(c);
	return 0;
}
