/* SPDX-License-Identifier: BSD-3-Clause */
#include "tabtest.h"

#include <dataplane/tables/plaintab.h>

#define VMS	60 /* that may exist */
#define LIMIT	40 /* that the table takes */
#define IPS	90 /* few, so that transactions fight for them */
#define GLOBALS 150

static struct rcu *rcu;

/* ---- the naive model: an array of records, searched from end to end ---- */

struct model {
	bool in[VMS];
	struct vm_rec rec[VMS];
};

static uint16_t
seg_of(uint32_t vm)
{
	return (uint16_t)(vm % 2);
}

static struct rte_ether_addr
mac_of(uint32_t vm)
{
	return (struct rte_ether_addr){
		{2, 0, 0, 0, 0, (uint8_t)(vm / 2)}}; /* the same MAC in both segments */
}

static rte_be32_t
ip_number(uint32_t i)
{
	return rte_cpu_to_be_32(0x0a000000 + i);
}

static rte_be32_t
global_number(uint32_t i)
{
	return rte_cpu_to_be_32(0xcb007100 + i);
}

static bool
has_ip(const struct vm_rec *r, uint16_t seg, rte_be32_t ip)
{
	for (int i = 0; i < r->n_addresses; i++)
		if (r->seg == seg && r->addresses[i].ip == ip)
			return true;
	return false;
}

static bool
has_global(const struct vm_rec *r, rte_be32_t global)
{
	for (int i = 0; i < r->n_addresses; i++)
		if (r->addresses[i].global == global)
			return true;
	for (int i = 0; i < r->n_drains; i++)
		if (r->drains[i].global == global)
			return true;
	return false;
}

static bool
two_vms_share_a_key(const struct model *m)
{
	for (uint32_t a = 0; a < VMS; a++) {
		const struct vm_rec *r = &m->rec[a];

		for (uint32_t b = 0; m->in[a] && b < VMS; b++) {
			if (a == b || !m->in[b])
				continue;
			for (int i = 0; i < r->n_addresses; i++)
				if (has_ip(&m->rec[b], r->seg, r->addresses[i].ip) ||
					(r->addresses[i].global != 0 &&
						has_global(&m->rec[b], r->addresses[i].global)))
					return true;
			for (int i = 0; i < r->n_drains; i++)
				if (has_global(&m->rec[b], r->drains[i].global))
					return true;
		}
	}
	return false;
}

static const struct vm_rec *
model_by_ip(const struct model *m, uint16_t seg, rte_be32_t ip)
{
	for (uint32_t v = 0; v < VMS; v++)
		if (m->in[v] && has_ip(&m->rec[v], seg, ip))
			return &m->rec[v];
	return NULL;
}

static const struct vm_rec *
model_by_global(const struct model *m, rte_be32_t global)
{
	for (uint32_t v = 0; v < VMS; v++)
		if (m->in[v] && has_global(&m->rec[v], global))
			return &m->rec[v];
	return NULL;
}

static uint32_t
model_count(const struct model *m)
{
	uint32_t n = 0;

	for (uint32_t v = 0; v < VMS; v++)
		n += m->in[v];
	return n;
}

static void
same(const struct vm_rec *got, const struct vm_rec *want)
{
	struct vm_rec copy;

	if (want == NULL) {
		assert_null(got);
		return;
	}
	assert_non_null(got);
	copy = *got;
	copy.slot = want->slot;
	copy.prev = want->prev;
	assert_memory_equal(&copy, want, sizeof(copy));
}

static void
compare(const struct vmtab *t, const struct model *m)
{
	const struct vm_rec *recs[64];
	uint32_t seen = 0;

	for (uint16_t seg = 0; seg < 2; seg++) {
		struct vm_key_ip ip[45];
		struct vm_key_mac mac[VMS / 2];

		for (uint32_t base = 0; base < IPS; base += 45) {
			for (uint32_t i = 0; i < 45; i++)
				ip[i] = (struct vm_key_ip){.ip = ip_number(base + i), .seg = seg};
			vmtab_by_ip(t, ip, 45, recs);
			for (uint32_t i = 0; i < 45; i++)
				same(recs[i], model_by_ip(m, seg, ip[i].ip));
		}
		for (uint32_t i = 0; i < VMS / 2; i++)
			mac[i] = (struct vm_key_mac){mac_of(i * 2 + seg), seg};
		vmtab_by_mac(t, mac, VMS / 2, recs);
		for (uint32_t i = 0; i < VMS / 2; i++)
			same(recs[i], m->in[i * 2 + seg] ? &m->rec[i * 2 + seg] : NULL);
	}
	for (uint32_t base = 0; base < GLOBALS; base += 50) {
		rte_be32_t global[50];

		for (uint32_t i = 0; i < 50; i++)
			global[i] = global_number(base + i);
		vmtab_by_global(t, global, 50, recs);
		for (uint32_t i = 0; i < 50; i++)
			same(recs[i], model_by_global(m, global[i]));
	}
	assert_int_equal(vmtab_count(t), model_count(m));
	for (uint32_t s = 0; s < vmtab_slots(t); s++) {
		const struct vm_rec *r = vmtab_at(t, s);

		seen += r != NULL;
		if (r != NULL)
			assert_int_equal(r->slot, s);
	}
	assert_int_equal(seen, model_count(m));
}

/* ---- random transactions ---- */

static struct vm_rec
random_rec(struct rng *rng, uint32_t vm)
{
	struct vm_rec r;

	memset(&r, 0, sizeof(r));
	r.mac = mac_of(vm);
	r.seg = seg_of(vm);
	r.flags = (uint16_t)rng_next(rng);
	r.n_addresses = (uint8_t)(1 + rng_below(rng, 2));
	r.n_drains = (uint8_t)(rng_below(rng, 3) == 0 ? rng_below(rng, 3) : 0);
	for (int i = 0; i < r.n_addresses; i++) {
		r.addresses[i].ip = ip_number(rng_below(rng, IPS));
		r.addresses[i].global = rng_below(rng, 4) == 0 ? 0 : global_number(rng_below(rng, GLOBALS));
	}
	for (int i = 0; i < r.n_drains; i++) {
		r.drains[i].global = global_number(rng_below(rng, GLOBALS));
		r.drains[i].home = (uint8_t)rng_below(rng, 3);
	}
	return r;
}

/* Mostly a small change of what is there, so that many transactions succeed. */
static struct vm_rec
changed_rec(struct rng *rng, const struct model *m, uint32_t vm)
{
	struct vm_rec r = m->rec[vm];

	if (!m->in[vm] || rng_below(rng, 4) == 0)
		return random_rec(rng, vm);
	r.flags = (uint16_t)rng_next(rng);
	r.owner = (uint8_t)rng_below(rng, 3);
	if (rng_below(rng, 4) == 0)
		r.addresses[0].ip = ip_number(rng_below(rng, IPS));
	if (rng_below(rng, 3) == 0)
		r.n_drains = 0;
	return r;
}

struct step { /* what a transaction will do, and what the model says of it */
	uint32_t vm;
	bool del;
	struct vm_rec rec;
};

static uint32_t
plan(struct rng *rng, const struct model *m, struct step *steps)
{
	uint32_t n = 1 + rng_below(rng, 6), first = rng_below(rng, VMS);

	for (uint32_t i = 0; i < n; i++) { /* distinct ones: a stride that is coprime to VMS */
		steps[i].vm = (first + i * 7) % VMS;
		steps[i].del = rng_below(rng, 4) == 0 && m->in[steps[i].vm];
		steps[i].rec = changed_rec(rng, m, steps[i].vm);
	}
	return n;
}

/* Two VMs of one segment swap all they have; 0 when these two do not both exist. */
static uint32_t
plan_swap(struct rng *rng, const struct model *m, struct step *steps)
{
	uint32_t a = rng_below(rng, VMS), b = (a + 2) % VMS;

	if (!m->in[a] || !m->in[b])
		return 0;
	steps[0] = (struct step){.vm = a, .rec = m->rec[b]};
	steps[1] = (struct step){.vm = b, .rec = m->rec[a]};
	for (uint32_t i = 0; i < 2; i++) {
		steps[i].rec.mac = mac_of(steps[i].vm);
		steps[i].rec.flags = (uint16_t)rng_next(rng);
	}
	return 2;
}

/* Prepares; the first error. The model takes the steps that were made. */
static int
prepare(struct vmtab_txn *x, struct model *m, const struct step *steps, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct step *s = &steps[i];
		struct rte_ether_addr mac = mac_of(s->vm);
		int rc = s->del ? vmtab_prepare_del(x, seg_of(s->vm), &mac) : vmtab_prepare_put(x, &s->rec);

		if (rc == -ENOSPC) {
			assert_int_equal(model_count(m), LIMIT);
			assert_false(m->in[s->vm]);
			return rc;
		}
		if (!s->del)
			assert_true(m->in[s->vm] || model_count(m) < LIMIT);
		m->in[s->vm] = !s->del;
		m->rec[s->vm] = s->rec;
		if (rc != 0)
			return rc;
	}
	return vmtab_prepare_end(x, NULL);
}

static void
random_transactions_agree_with_a_linear_search(void **state)
{
	enum { UNRETIRED = 5 };
	struct vmtab *t = vmtab_new(LIMIT, rcu);
	struct model *m = calloc(1, sizeof(*m)), *next = calloc(1, sizeof(*next));
	struct vmtab_txn *wait[UNRETIRED];
	struct rng rng = {51};
	struct step steps[6];
	uint32_t n_wait = 0, published = 0, clashes = 0, full = 0;

	(void)state;
	for (int op = 0; op < 60000; op++) {
		struct vmtab_txn *x = vmtab_begin(t, 2);
		uint32_t n = op % 4 == 0 ? plan_swap(&rng, m, steps) : plan(&rng, m, steps);
		int rc;

		*next = *m;
		rc = prepare(x, next, steps, n);
		if (rc == 0)
			assert_false(two_vms_share_a_key(next));
		if (rc == -EEXIST) { /* what was prepared so far, or all, must share a key */
			for (uint32_t i = 0; i < n; i++) {
				next->in[steps[i].vm] = !steps[i].del;
				next->rec[steps[i].vm] = steps[i].rec;
			}
			assert_true(two_vms_share_a_key(next));
		}
		assert_true(rc == 0 || rc == -EEXIST || rc == -ENOSPC);
		clashes += rc == -EEXIST;
		full += rc == -ENOSPC;
		if (op % 8 == 0)
			compare(t, m); /* nothing of what is prepared shows */
		if (rc != 0 || rng_below(&rng, 8) == 0) {
			vmtab_abort(x);
		} else {
			vmtab_publish(x);
			*m = *next;
			published++;
			wait[n_wait++] = x;
		}
		if (op % 8 == 0)
			compare(t, m);
		while (n_wait == UNRETIRED || (n_wait != 0 && rng_below(&rng, 3) == 0)) {
			vmtab_retire(wait[0]);
			memmove(wait, wait + 1, --n_wait * sizeof(wait[0]));
		}
		if (op % 8 == 0)
			compare(t, m);
	}
	assert_true(published > 10000 && clashes > 1000 && full > 100);
	while (n_wait != 0)
		vmtab_retire(wait[--n_wait]);
	compare(t, m);
	vmtab_free(t);
	free(m);
	free(next);
}

/* ---- single cases ---- */

static struct vm_rec
vm(uint32_t number, uint32_t ip, uint32_t global)
{
	struct vm_rec r;

	memset(&r, 0, sizeof(r));
	r.mac = (struct rte_ether_addr){{2, 1, (uint8_t)(number >> 24), (uint8_t)(number >> 16),
		(uint8_t)(number >> 8), (uint8_t)number}};
	r.n_addresses = 1;
	r.addresses[0] = (struct vm_rec_address){ip_number(ip), global == 0 ? 0 : global_number(global)};
	return r;
}

static void
commit(struct vmtab *t, const struct vm_rec *puts, uint32_t n)
{
	struct vmtab_txn *x = vmtab_begin(t, n);

	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(vmtab_prepare_put(x, &puts[i]), 0);
	assert_int_equal(vmtab_prepare_end(x, NULL), 0);
	vmtab_publish(x);
	vmtab_retire(x);
}

static const struct vm_rec *
at_ip(const struct vmtab *t, uint32_t ip)
{
	struct vm_key_ip key = {.ip = ip_number(ip)};
	const struct vm_rec *r;

	vmtab_by_ip(t, &key, 1, &r);
	return r;
}

static void
two_vms_swap_addresses_in_either_order(void **state)
{
	struct vmtab *t = vmtab_new(8, rcu);
	struct vm_rec before[2] = {vm(1, 1, 1), vm(2, 2, 2)}, after[2] = {vm(1, 2, 2), vm(2, 1, 1)};

	(void)state;
	commit(t, before, 2);
	commit(t, after, 2);
	assert_true(rte_is_same_ether_addr(&at_ip(t, 1)->mac, &before[1].mac));
	assert_true(rte_is_same_ether_addr(&at_ip(t, 2)->mac, &before[0].mac));
	commit(t, (struct vm_rec[]){before[1], before[0]}, 2);
	assert_true(rte_is_same_ether_addr(&at_ip(t, 1)->mac, &before[0].mac));
	vmtab_free(t);
}

static void
an_address_that_its_holder_keeps_is_refused(void **state)
{
	struct vmtab *t = vmtab_new(8, rcu);
	struct vm_rec a = vm(1, 1, 1), same_ip = vm(2, 1, 2), same_global = vm(2, 2, 1),
		      twice[2] = {vm(3, 5, 0), vm(4, 5, 0)};
	const struct vm_rec *who = NULL;
	struct vmtab_txn *x;

	(void)state;
	commit(t, &a, 1);
	x = vmtab_begin(t, 1);
	assert_int_equal(vmtab_prepare_put(x, &same_ip), 0); /* vm 1 might still let go of it */
	assert_int_equal(vmtab_prepare_end(x, &who), -EEXIST);
	assert_true(rte_is_same_ether_addr(&who->mac, &same_ip.mac));
	vmtab_abort(x);
	x = vmtab_begin(t, 1);
	assert_int_equal(vmtab_prepare_put(x, &same_global), 0);
	assert_int_equal(vmtab_prepare_put(x, &a), -EEXIST);
	vmtab_abort(x);
	x = vmtab_begin(t, 1);
	assert_int_equal(vmtab_prepare_put(x, &twice[0]), 0);
	assert_int_equal(vmtab_prepare_put(x, &twice[1]), -EEXIST);
	vmtab_abort(x);
	assert_int_equal(vmtab_count(t), 1);
	assert_null(at_ip(t, 5));
	vmtab_free(t);
}

static void
transactions_that_overlap_on_a_vm_or_address_are_busy(void **state)
{
	struct vmtab *t = vmtab_new(8, rcu);
	struct vm_rec a = vm(1, 1, 0), a2 = vm(1, 2, 0), b = vm(2, 1, 0);
	struct vmtab_txn *x, *y;

	(void)state;
	commit(t, &a, 1);
	x = vmtab_begin(t, 1);
	y = vmtab_begin(t, 1);
	assert_int_equal(vmtab_prepare_put(x, &a2), 0);
	assert_int_equal(vmtab_prepare_put(y, &a), -EBUSY);
	assert_int_equal(vmtab_prepare_put(y, &b), -EBUSY);
	vmtab_abort(y);
	assert_int_equal(vmtab_prepare_put(x, &a2), -EINVAL); /* twice in one */
	vmtab_abort(x);
	assert_ptr_not_equal(at_ip(t, 1), NULL);
	vmtab_free(t);
}

static void
the_limit_is_met_exactly_after_many_additions_and_deletions(void **state)
{
	enum { N = 100 };
	struct vmtab *t = vmtab_new(N, rcu);

	(void)state;
	for (uint32_t i = 0; i < N; i++)
		commit(t, (struct vm_rec[]){vm(i, i, 1000 + i)}, 1);
	for (uint32_t i = N; i < 20000; i++) {
		struct vmtab_txn *x = vmtab_begin(t, 1);
		struct vm_rec in = vm(i, i, 1000 + i), out = vm(i - N, 0, 0);

		assert_int_equal(vmtab_prepare_put(x, &in), -ENOSPC);
		assert_int_equal(vmtab_prepare_del(x, 0, &out.mac), 0);
		assert_int_equal(vmtab_prepare_del(x, 0, &in.mac), -ENOENT);
		assert_int_equal(vmtab_prepare_put(x, &in), 0);
		assert_int_equal(vmtab_prepare_end(x, NULL), 0);
		vmtab_publish(x);
		vmtab_retire(x);
		assert_int_equal(vmtab_count(t), N);
	}
	vmtab_free(t);
}

static void
a_deleted_vm_may_return_before_the_deletion_is_retired(void **state)
{
	struct vmtab *t = vmtab_new(8, rcu);
	struct vm_rec a = vm(1, 1, 1), b = vm(2, 1, 1);
	struct vmtab_txn *del, *put;

	(void)state;
	commit(t, &a, 1);
	del = vmtab_begin(t, 1);
	assert_int_equal(vmtab_prepare_del(del, 0, &a.mac), 0);
	vmtab_publish(del);
	assert_null(at_ip(t, 1));
	put = vmtab_begin(t, 1);
	assert_int_equal(vmtab_prepare_put(put, &a), 0);
	vmtab_retire(del); /* must not take the keys that the addition needs */
	assert_int_equal(vmtab_prepare_end(put, NULL), 0);
	vmtab_publish(put);
	vmtab_retire(put);
	assert_non_null(at_ip(t, 1));
	/* And its address may go to another VM at once. */
	del = vmtab_begin(t, 2);
	assert_int_equal(vmtab_prepare_put(del, &b), 0);
	assert_int_equal(vmtab_prepare_del(del, 0, &a.mac), 0);
	assert_int_equal(vmtab_prepare_end(del, NULL), 0);
	vmtab_publish(del);
	vmtab_retire(del);
	assert_true(rte_is_same_ether_addr(&at_ip(t, 1)->mac, &b.mac));
	vmtab_free(t);
}

static void
a_draining_global_address_leads_to_its_vm_until_it_is_dropped(void **state)
{
	struct vmtab *t = vmtab_new(8, rcu);
	struct vm_rec a = vm(1, 1, 1);
	const struct vm_rec *r;
	rte_be32_t key = global_number(7);

	(void)state;
	a.n_drains = 1;
	a.drains[0] = (struct vm_rec_drain){.ip = ip_number(1), .global = key, .home = 2};
	commit(t, &a, 1);
	vmtab_by_global(t, &key, 1, &r);
	assert_non_null(r);
	assert_int_equal(r->drains[0].home, 2);
	a.n_drains = 0;
	commit(t, &a, 1);
	vmtab_by_global(t, &key, 1, &r);
	assert_null(r);
	vmtab_free(t);
}

static void
counts_out_of_range_are_refused(void **state)
{
	struct vmtab *t = vmtab_new(8, rcu);
	struct vm_rec a = vm(1, 1, 1);
	struct vmtab_txn *x = vmtab_begin(t, 1);

	(void)state;
	a.n_addresses = VM_REC_ADDRESSES + 1;
	assert_int_equal(vmtab_prepare_put(x, &a), -EINVAL);
	a.n_addresses = 1;
	a.n_drains = VM_REC_DRAINS + 1;
	assert_int_equal(vmtab_prepare_put(x, &a), -EINVAL);
	vmtab_abort(x);
	vmtab_free(t);
}

struct told {
	unsigned int n;
	uint16_t was, is; /* flags; UINT16_MAX: no record */
};

static void
tell(void *arg, const struct vm_rec *was, const struct vm_rec *is)
{
	struct told *t = arg;

	t->n++;
	t->was = was != NULL ? was->flags : UINT16_MAX;
	t->is = is != NULL ? is->flags : UINT16_MAX;
}

/* A record with these flags; UINT16_MAX deletes it. */
static struct vmtab_txn *
prepared(struct vmtab *t, uint16_t flags)
{
	struct vm_rec r = {.mac = mac_of(0), .flags = flags};
	struct vmtab_txn *x = vmtab_begin(t, 1);

	assert_int_equal(flags != UINT16_MAX ? vmtab_prepare_put(x, &r) : vmtab_prepare_del(x, 0, &r.mac), 0);
	assert_int_equal(vmtab_prepare_end(x, NULL), 0);
	return x;
}

static void
each_change_is_told_when_it_is_published(void **state)
{
	static const uint16_t flags[] = {1, 2, UINT16_MAX};
	struct vmtab *t = vmtab_new(LIMIT, rcu);
	struct told told = {.is = UINT16_MAX};

	(void)state;
	vmtab_on_change(t, tell, &told);
	for (unsigned int i = 0; i < 3; i++) {
		uint16_t before = told.is;
		struct vmtab_txn *x;

		vmtab_abort(prepared(t, flags[i]));
		x = prepared(t, flags[i]);
		assert_int_equal(told.n, i);
		vmtab_publish(x);
		assert_int_equal(told.n, i + 1);
		assert_int_equal(told.was, before);
		assert_int_equal(told.is, flags[i]);
		vmtab_retire(x);
	}
	vmtab_free(t);
}

struct agrees {
	struct vmtab *t;
	rte_be32_t global;
	int n;
};

/* Whatever is published: a plain VM that is found by an address is the one that the table finds by it. */
static void
must_agree(void *arg, const struct vm_rec *was, const struct vm_rec *is)
{
	struct agrees *a = arg;
	const struct plaintab *p = vmtab_plain(a->t);
	const struct plain_vm *plain = plain_by_global(p, plain_line_by_global(p, a->global), a->global);
	const struct vm_rec *rec;

	(void)was;
	(void)is;
	vmtab_by_global(a->t, &a->global, 1, &rec);
	assert_true(plain == NULL || (rec != NULL && rec->slot == plain->slot));
	a->n++;
}

static void
what_is_plain_agrees_with_the_table_while_a_deleted_vm_s_address_becomes_another_s(void **state)
{
	struct vmtab *t = vmtab_new(LIMIT, rcu);
	struct agrees a = {.t = t, .global = global_number(7)};
	struct vm_rec vms[3] = {vm(1, 1, 1), vm(2, 2, 7), vm(3, 3, 7)};
	struct vmtab_txn *x;

	(void)state;
	commit(t, vms, 2);
	vmtab_on_change(t, must_agree, &a);
	x = vmtab_begin(t, 3);
	assert_int_equal(vmtab_prepare_del(x, 0, &vms[0].mac), 0);
	assert_int_equal(vmtab_prepare_del(x, 0, &vms[1].mac), 0);
	assert_int_equal(vmtab_prepare_put(x, &vms[2]), 0);
	assert_int_equal(vmtab_prepare_end(x, NULL), 0);
	vmtab_publish(x);
	assert_int_equal(a.n, 3);
	vmtab_retire(x);
	must_agree(&a, NULL, NULL);
	vmtab_free(t);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_transactions_agree_with_a_linear_search),
		cmocka_unit_test(two_vms_swap_addresses_in_either_order),
		cmocka_unit_test(an_address_that_its_holder_keeps_is_refused),
		cmocka_unit_test(transactions_that_overlap_on_a_vm_or_address_are_busy),
		cmocka_unit_test(the_limit_is_met_exactly_after_many_additions_and_deletions),
		cmocka_unit_test(a_deleted_vm_may_return_before_the_deletion_is_retired),
		cmocka_unit_test(a_draining_global_address_leads_to_its_vm_until_it_is_dropped),
		cmocka_unit_test(counts_out_of_range_are_refused),
		cmocka_unit_test(each_change_is_told_when_it_is_published),
		cmocka_unit_test(
			what_is_plain_agrees_with_the_table_while_a_deleted_vm_s_address_becomes_another_s),
	};

	(void)argc;
	start_eal(argv[0], "64");
	rcu = rcu_new(1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
