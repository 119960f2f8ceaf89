/* SPDX-License-Identifier: BSD-3-Clause */
/* prepared.c - a move to this router before it is committed: move.prepare, pause, commit, abort.
 *
 * Its plan is the call that prepared it, and keeps the global addresses that the VM will have. Committing it is that call as
 * vm.move; preparing it checks all that this would check.
 */
#include "state.h"

static int
refuse(struct core *c, const struct move *m, int code, const char *why, struct fail *f)
{
	f->data = move_shown(c, m, false);
	return fail(f, code, "move %s %s", m->id, why);
}

static void
set_result(const struct move *m, json_t *out)
{
	json_object_set_new(out, "id", json_string(m->id));
	json_object_set_new(out, "epoch", json_integer((json_int_t)m->epoch));
	json_object_set_new(out, "state", json_string(move_words[m->now.state]));
}

/* Its VM, where it is known, is told to forwarding once more. */
void
move_change(struct core *c, struct move *m, const struct move_now *now)
{
	struct vm_obj *o = vm_find(c, m->vm.segment, &m->vm.mac);

	move_set(c, m, now);
	if (vm_live(o))
		vm_touch(c, o);
}

static void
go_on(struct core *c, struct move_now *n, enum move_state state, enum move_time at)
{
	n->state = (uint8_t)state;
	n->reason[0] = '\0';
	n->since = now_ms(c);
	n->at[at] = env_call(c->env, wall_ms);
	n->holds = false;
}

/* A pause that came to nothing: what the old router sends until it hears so would find nobody here. */
static bool
holds_on(struct core *c, const struct move *m)
{
	return m->now.state == MOVE_PAUSED && m->now.from != FWD_SELF && c->peers[m->now.from - 1].session;
}

static void
give_up(struct core *c, struct move *m, const char *reason)
{
	struct move_now n = m->now;

	go_on(c, &n, MOVE_ABORTED, MOVE_AT_DONE);
	n.holds = holds_on(c, m);
	snprintf(n.reason, sizeof(n.reason), "%s", reason);
	arriving_unheard(m);
	move_change(c, m, &n);
}

void
move_time_out(struct core *c, struct move *m)
{
	struct move_now n = m->now;

	if (n.state == MOVE_PREPARED) {
		give_up(c, m, "timeout");
		return;
	}
	go_on(c, &n, MOVE_PREPARED, MOVE_AT_PREPARED);
	n.holds = holds_on(c, m);
	n.at[MOVE_AT_PREPARED] = m->now.at[MOVE_AT_PREPARED];
	snprintf(n.reason, sizeof(n.reason), "timeout");
	arriving_unheard(m);
	move_change(c, m, &n);
}

/* ---- the plan ---- */

static int
plan_read(const json_t *plan, struct vm_move_params *p, struct fail *f)
{
	struct faults faults;
	struct err e = {0};
	int rc;

	faults_init(&faults);
	rc = kind_read(&kind_vm_move_params, plan, NULL, p, &faults);
	if (rc != 0)
		fail(f, RPC_INTERNAL, "its plan: %s", (faults_err(&faults, &e), e.text));
	faults_fini(&faults);
	return rc ? f->code : 0;
}

/* What it asks for, whenever it is asked. */
static json_t *
plan_write(const struct vm_move_params *p, uint64_t epoch)
{
	struct vm_move_params bare = *p;

	bare.guard = (struct change_guard){.if_revision = UINT64_MAX};
	bare.epoch = epoch;
	return kind_write(&kind_vm_move_params, &bare);
}

/* With the addresses that are kept for it, where it did not name one: a VM that returns gets back what drained then. */
static void
plan_complete(const struct move *m, struct vm_move_params *p)
{
	for (size_t i = 0; i < p->addresses.n; i++) {
		struct vm_address *a = list_at(p->addresses, struct vm_address, i);

		for (unsigned int k = 0; k < m->n_reserved; k++)
			if (m->reserved[k].private_ip == a->private_ip)
				a->global_ip = m->reserved[k].global_ip;
	}
}

static int
plan_carry_out(struct core *c, struct move *m, json_t *out, struct fail *f)
{
	struct vm_move_params p;
	int rc = plan_read(m->plan, &p, f);

	if (rc == 0) {
		plan_complete(m, &p);
		rc = vm_take_over(c, &p, true, out, f);
		kind_fini(&kind_vm_move_params, &p);
	}
	return rc;
}

int
move_arrive(struct core *c, struct move *m, int16_t attachment, struct fail *f)
{
	json_t *out = json_object(); /* that nobody waits for */
	struct move_now n;
	struct vm_state s;
	int rc = plan_carry_out(c, m, out, f);

	json_decref(out);
	if (rc != 0)
		return rc;
	s = vm_find(c, m->vm.segment, &m->vm.mac)->now;
	s.fwd.attachment = attachment;
	vm_set(c, &s);
	n = m->now;
	n.arrived = true;
	move_set(c, m, &n);
	return 0;
}

/* ---- move.prepare ---- */

static void
reserve(struct move *m, const struct fwd_vm *vm)
{
	for (unsigned int i = 0; i < vm->n_addresses; i++) {
		if (!vm->addresses[i].global_ip)
			continue;
		m->reserved[m->n_reserved++] = (struct reserved){.private_ip = vm->addresses[i].private_ip,
			.global_ip = vm->addresses[i].global_ip,
			.move = m};
	}
}

/* Whose it is now: as is known, or as the call says. */
static uint8_t
old_router(struct core *c, const struct vm_obj *known, const struct vm_move_params *p)
{
	int i = -1;

	if (vm_live(known))
		return known->now.fwd.owner;
	if (p->old.n > 0)
		i = router_index(c, list_at(p->old, const struct vm_old, p->old.n - 1)->router);
	return i < 0 ? FWD_SELF : (uint8_t)i;
}

/* Tries it as vm.move would be, and keeps nothing but what it would have. */
static int
rehearse(struct core *c, const struct vm_move_params *p, struct move *m, json_t *out, struct fail *f)
{
	size_t mark = txn_mark(c);
	struct vm_move_params q = *p;
	int rc;

	q.epoch = m->epoch;
	rc = vm_take_over(c, &q, true, out, f);
	if (rc == 0)
		reserve(m, &vm_find(c, m->vm.segment, &m->vm.mac)->now.fwd);
	txn_rollback(c, mark);
	return rc;
}

static int
prepare_again(struct core *c, struct move *m, const struct vm_move_params *p, json_t *out, struct fail *f)
{
	json_t *plan = plan_write(p, m->epoch);
	bool same = m->plan && json_equal(plan, m->plan);

	json_decref(plan);
	if (m->now.state == MOVE_ABORTED)
		return refuse(c, m, RPC_ABORTED, "was aborted: a new one needs another epoch", f);
	if (!same && move_open(m))
		return refuse(c, m, RPC_CONFLICT, "is prepared with another plan", f);
	if (!same)
		return refuse(c, m, RPC_COMMITTED, "is committed already", f);
	set_result(m, out);
	return 0;
}

static int
prepare_new(struct core *c, const struct vm_key *key, uint64_t epoch, const struct vm_move_params *p,
	json_t *out, struct fail *f)
{
	struct move *m = move_new(c, key, epoch);
	struct vm_obj *known = vm_find(c, key->segment, &key->mac);
	struct move_now n = {.from = old_router(c, known, p)};
	int rc = rehearse(c, p, m, out, f);

	if (rc != 0) {
		move_free(m);
		return rc;
	}
	m->to = FWD_SELF;
	m->plan = plan_write(p, epoch);
	go_on(c, &n, MOVE_PREPARED, MOVE_AT_PREPARED);
	move_change(c, m, &n);
	set_result(m, out);
	return 0;
}

/* One more than what is known of it, or than what was aborted since. */
static uint64_t
next_epoch(struct core *c, const struct vm_key *key)
{
	const struct vm_obj *o = vm_find(c, key->segment, &key->mac);
	uint64_t epoch = (o ? o->now.epoch : 0) + 1;

	while (move_find(c, key, epoch))
		epoch++;
	return epoch;
}

int
apply_move_prepare(struct core *c, const struct vm_move_params *p, json_t *out, struct fail *f)
{
	int segment = segment_index(c, p->segment);
	struct vm_key key = {segment < 0 ? 0 : (uint16_t)segment, p->mac};
	struct vm_obj *known;
	struct move *m, *active;

	if (segment < 0)
		return fail(f, RPC_INVALID_PARAMS, "segment %s is not in this router's configuration",
			p->segment);
	m = active = move_active(c, &key);
	if (m && !move_open(m))
		m = NULL;
	if (m && p->epoch && p->epoch != m->epoch)
		return refuse(c, m, RPC_CONFLICT, "is open: commit or abort it before there is another", f);
	if (!m && p->epoch)
		m = move_find(c, &key, p->epoch);
	if (m)
		return prepare_again(c, m, p, out, f);
	known = vm_find(c, key.segment, &key.mac);
	if (vm_live(known) && known->now.fwd.owner == FWD_SELF) {
		f->data = vm_shown(c, &known->now);
		return fail(f, RPC_CONFLICT, "the VM is registered here already");
	}
	if (active && active->now.state == MOVE_ABORTED)
		move_hold_no_more(c, active); /* it is of the past, whatever the old router has heard */
	if (HASH_CNT(active_hh, c->active) >= c->conf->limits.vms)
		return fail(f, RPC_LIMIT, "limits.vms is reached: so many moves are open");
	return prepare_new(c, &key, p->epoch ? p->epoch : next_epoch(c, &key), p, out, f);
}

/* ---- move.pause, move.commit, move.abort ---- */

static struct move *
find(struct core *c, const struct move_key_params *p, struct fail *f)
{
	int segment = segment_index(c, p->segment);
	struct vm_key key = {segment < 0 ? 0 : (uint16_t)segment, p->mac};
	struct move *m = NULL;
	char mac[MAC_TEXT];

	if (segment >= 0)
		m = p->epoch ? move_find(c, &key, p->epoch) : move_active(c, &key);
	if (m && (p->epoch ? m->to == FWD_SELF : move_open(m)))
		return m;
	fail(f, RPC_NOT_FOUND, "no move of VM %s in segment %s to this router%s", mac_format(&p->mac, mac),
		p->segment, p->epoch ? " with this epoch" : " is prepared");
	return NULL;
}

static int
refuse_ended(struct core *c, const struct move *m, struct fail *f)
{
	if (m->now.state == MOVE_ABORTED)
		return refuse(c, m, RPC_ABORTED, "was aborted", f);
	return refuse(c, m, RPC_COMMITTED, "is committed already", f);
}

int
apply_move_pause(struct core *c, const struct move_key_params *p, json_t *out, struct fail *f)
{
	struct move *m = find(c, p, f);
	struct move_now n;

	if (!m)
		return f->code;
	if (!move_open(m))
		return refuse_ended(c, m, f);
	if (m->now.state == MOVE_PREPARED) {
		n = m->now;
		go_on(c, &n, MOVE_PAUSED, MOVE_AT_PAUSED);
		move_change(c, m, &n);
	}
	set_result(m, out);
	return 0;
}

int
apply_move_commit(struct core *c, const struct move_key_params *p, json_t *out, struct fail *f)
{
	struct move *m = find(c, p, f);
	int rc;

	if (!m)
		return f->code;
	if (m->now.state == MOVE_ABORTED)
		return refuse_ended(c, m, f);
	rc = move_open(m) ? plan_carry_out(c, m, out, f) : 0;
	if (rc == 0)
		set_result(m, out);
	return rc;
}

int
apply_move_abort(struct core *c, const struct move_key_params *p, json_t *out, struct fail *f)
{
	struct move *m = find(c, p, f);

	if (!m)
		return f->code;
	if (!move_open(m) && m->now.state != MOVE_ABORTED)
		return refuse_ended(c, m, f);
	if (move_open(m))
		give_up(c, m, "asked");
	set_result(m, out);
	return 0;
}
