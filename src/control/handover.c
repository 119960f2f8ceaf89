/* SPDX-License-Identifier: BSD-3-Clause */
/* handover.c - a VM came here: the routers where addresses of it drain are asked for the VM's sessions, so that those that nobody
 * has seen here yet go on by the addresses that they have. The other side is listing.c.
 *
 *   sync.sessions {vms: [[segment, mac, epoch]...]}  -> {sessions, unknown, next}
 *   sync.sessions {cursor}                           -> {sessions, next}   the answer without `next` is the end of the list
 *
 *   a session: [vm, protocol, address, port, remote, remote port, home, flags, idle seconds], vm: which of those asked for
 *   unknown:   which of them the router does not have at that epoch; they are asked for again
 *
 * One list at a time from each peer, of all VMs that wait for it. A VM waits for each of its old routers by itself, for the one before
 * may not know what those before it know; while it is ours and drains there, until the list has ended: over the loss of the
 * channel, and again after a restart, for what was noted may have been lost. Sessions that are noted here already have
 * evidence, and stay as they are; those whose home was guessed take the one that is listed.
 *
 * What a peer says is believed of the VMs that it was asked for, and of homes that are theirs.
 */
#include "sync.h"

#include <common/log.h>

#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS 60000
#define IDLE_MAX_S   (24 * 3600) /* no session is kept for so long */
#define TCP	     6
#define FLAGS	     FWD_SESSION_GUESSED
#define FLAGS_TCP    (FLAGS | FWD_SESSION_FIN_FROM_VM | FWD_SESSION_FIN_TO_VM | FWD_SESSION_RST)
#define ROWS_MAX     (UINT64_C(1) << 25) /* more than any table holds */

struct asked {
	struct vm_key vm;
	uint64_t move; /* epoch of the newest drain */
	bool unknown;
};

struct hand { /* a VM, and a router that is to list its sessions */
	struct vm_obj *vm;
	uint64_t move;	   /* as in asked */
	uint64_t sessions; /* listed and good */
	uint8_t from;
	bool listed; /* it is not among those that wait any more */
	struct hand *next_of_vm;
	struct hand *prev, *next; /* of those that wait for this router */
};

struct handover { /* of a peer's */
	struct env_timer *timer;
	struct hand *wanted; /* the first of them are those that are asked for */
	uint64_t retry_ms;
	uint64_t serial; /* of the question on its way */
	bool waits;	 /* for its answer */
	struct asked *asked;
	size_t n_asked;
	struct fwd_learnt learnt; /* of this list */
	uint64_t rows, refused;
};

/* ---- who waits for whom ---- */

/* The newest move that brought the VM here while it drains elsewhere: its epoch. 0: none. */
static uint64_t
last_move(const struct vm_obj *o)
{
	uint64_t epoch = 0;

	if (!vm_live(o) || o->now.fwd.owner != FWD_SELF)
		return 0;
	for (unsigned int i = 0; i < o->now.fwd.n_drains; i++)
		if (o->now.fwd.drains[i].home != FWD_SELF && o->now.drain[i].epoch > epoch)
			epoch = o->now.drain[i].epoch;
	return epoch;
}

static struct hand *
hand_of(const struct vm_obj *o, uint8_t from)
{
	struct hand *h;

	LL_SEARCH_SCALAR2(o->hands, h, from, from, next_of_vm);
	return h;
}

static struct handover *
handover_of(struct core *c, uint8_t router)
{
	return c->peers[router - 1].handover;
}

static void
soon(struct peer *p, uint64_t after_ms)
{
	if (p->session && !p->handover->waits && p->handover->wanted)
		timer_set(p->core, p->handover->timer, after_ms);
}

static void
hand_begin(struct core *c, struct vm_obj *o, uint8_t from, uint64_t move)
{
	struct hand *h = zalloc(sizeof(*h));

	*h = (struct hand){.vm = o, .move = move, .from = from};
	LL_PREPEND2(o->hands, h, next_of_vm);
	DL_APPEND(handover_of(c, from)->wanted, h);
	soon(&c->peers[from - 1], 0);
}

static void
hand_listed(struct core *c, struct hand *h)
{
	DL_DELETE(handover_of(c, h->from)->wanted, h);
	h->listed = true;
}

static void
hand_end(struct core *c, struct hand *h)
{
	if (!h->listed)
		hand_listed(c, h);
	LL_DELETE2(h->vm->hands, h, next_of_vm);
	free(h);
}

void
handover_forget(struct core *c, struct vm_obj *o)
{
	while (o->hands)
		hand_end(c, o->hands);
}

/* When all have listed its sessions nobody is asked again. */
static void
settle(struct core *c, struct vm_obj *o)
{
	const struct hand *h;

	LL_SEARCH_SCALAR2(o->hands, h, listed, false, next_of_vm);
	if (h || !o->hands)
		return;
	o->handed_over = o->hands->move;
	handover_forget(c, o);
}

void
handover_follow(struct core *c, struct vm_obj *o)
{
	uint64_t move = last_move(o);
	struct hand *h, *next;

	if (move == 0 || move == o->handed_over) {
		handover_forget(c, o);
		return;
	}
	LL_FOREACH_SAFE2(o->hands, h, next, next_of_vm)
	if (h->move != move || !vm_drains_at(&o->now, h->from))
		hand_end(c, h);
	for (unsigned int i = 0; i < o->now.fwd.n_drains; i++) {
		uint8_t from = o->now.fwd.drains[i].home;

		if (from != FWD_SELF && !hand_of(o, from))
			hand_begin(c, o, from, move);
	}
	settle(c, o);
}

/* Is a list of its sessions on its way, or may be? */
static bool
still_open(struct core *c, const struct vm_obj *o)
{
	const struct hand *h;

	LL_FOREACH2(o->hands, h, next_of_vm)
	if (!h->listed && peer_may_list(c, h->from))
		return true;
	return false;
}

/* ---- one session of a list ---- */

/* The VM that was asked for, if it still waits for this list. */
static struct hand *
still_waits(struct peer *p, const struct asked *a)
{
	struct vm_obj *o = vm_find(p->core, a->vm.segment, &a->vm.mac);
	struct hand *h = o ? hand_of(o, p->index) : NULL;

	return h && !h->listed && h->move == a->move ? h : NULL;
}

enum row { ROW_WRONG, ROW_LATE, ROW_GOOD };

static enum row
read_row(struct peer *p, const json_t *row, struct fwd_session *s)
{
	json_int_t which, protocol, port, remote_port, flags, idle;
	const struct handover *h = p->handover;
	const char *private, *remote, *home;
	const struct hand *waits;

	memset(s, 0, sizeof(*s));
	if (json_unpack((json_t *)(uintptr_t)row, "[I, I, s, I, s, I, s, I, I!]", &which, &protocol, &private,
		    &port, &remote, &remote_port, &home, &flags, &idle) != 0 ||
		which < 0 || (uint64_t)which >= h->n_asked || protocol < 0 || protocol > UINT8_MAX ||
		port < 0 || port > UINT16_MAX || remote_port < 0 || remote_port > UINT16_MAX || flags < 0 ||
		(flags & ~(protocol == TCP ? FLAGS_TCP : FLAGS)) != 0 || idle < 0 || idle > IDLE_MAX_S ||
		ip4_parse(private, &s->private_ip) != 0 || ip4_parse(remote, &s->remote_ip) != 0 ||
		ip4_parse(home, &s->global_ip) != 0)
		return ROW_WRONG;
	waits = still_waits(p, &h->asked[which]);
	if (!waits || h->asked[which].unknown)
		return waits ? ROW_WRONG : ROW_LATE;
	s->which = (uint32_t)which;
	s->segment = waits->vm->key.segment;
	s->protocol = (uint8_t)protocol;
	s->port = (uint16_t)port;
	s->remote_port = (uint16_t)remote_port;
	s->flags = (uint8_t)flags;
	s->idle_s = (uint32_t)idle;
	return vm_has_home(&waits->vm->now, s->private_ip, s->global_ip) ? ROW_GOOD : ROW_WRONG;
}

static void
take_rows(struct peer *p, const json_t *rows)
{
	struct fwd_session *good = zalloc((json_array_size(rows) + 1) * sizeof(*good));
	struct handover *h = p->handover;
	struct fwd_learnt learnt;
	size_t n = 0, i;
	json_t *row;

	json_array_foreach(rows, i, row)
	{
		enum row what = read_row(p, row, &good[n]);

		if (what == ROW_GOOD)
			still_waits(p, &h->asked[good[n++].which])->sessions++;
		h->refused += what == ROW_WRONG;
	}
	env_call(p->core->env, fwd_sessions_learn, good, n, &learnt);
	h->learnt.noted += learnt.noted;
	h->learnt.known += learnt.known;
	h->learnt.no_room += learnt.no_room;
	h->rows += i;
	free(good);
}

static void
take_unknown(struct handover *h, const json_t *unknown)
{
	const json_t *which;
	size_t i;

	json_array_foreach(unknown, i, which)
	{
		json_int_t n = json_is_integer(which) ? json_integer_value(which) : -1;

		if (n >= 0 && (uint64_t)n < h->n_asked)
			h->asked[n].unknown = true;
	}
}

/* ---- a list ends ---- */

static void
tell(struct peer *p, size_t vms)
{
	struct handover *h = p->handover;

	p->sessions.noted += h->learnt.noted;
	p->sessions.known += h->learnt.known;
	p->sessions.no_room += h->learnt.no_room;
	p->sessions_refused += h->refused;
	if (h->refused > 0)
		peer_alarm(p,
			"%" PRIu64
			" sessions that it lists are refused: they are of no VM that moved from there",
			h->refused);
	if (h->learnt.no_room > 0)
		log_warn("control: %zu sessions that %s lists find no room (limits.sessions is %" PRIu64 ")",
			h->learnt.no_room, p->conf->name, p->core->conf->limits.sessions);
	if (vms > 0)
		log_info("control: %s has listed the sessions of %zu VMs: %zu noted, %zu known already",
			p->conf->name, vms, h->learnt.noted, h->learnt.known);
}

/* Moves of which a list has ended: with the last of them what is unknown is new. */
struct listed {
	struct vm_key vm;
	uint64_t move, sessions;
};

struct listed_txn {
	struct txn txn;
	size_t n;
	struct listed item[];
};

static int
listed_apply(struct core *c, struct txn *t)
{
	struct listed_txn *x = (struct listed_txn *)t;

	for (size_t i = 0; i < x->n; i++) {
		const struct listed *l = &x->item[i];
		struct vm_obj *o = vm_find(c, l->vm.segment, &l->vm.mac);
		struct move *m = move_find(c, &l->vm, l->move);
		struct move_now n;

		if (!m || m->to != FWD_SELF || move_open(m) || m->now.state == MOVE_ABORTED)
			continue;
		n = m->now;
		n.open = n.open && o && still_open(c, o);
		n.sessions = l->sessions;
		n.at[MOVE_AT_LISTED] = env_call(c->env, wall_ms);
		if (m->now.open != n.open)
			move_change(c, m, &n);
		else
			move_set(c, m, &n);
	}
	return 0;
}

static void
listed_done(struct core *c, struct txn *t, int code)
{
	(void)c;
	if (code != 0)
		log_warn("control: the end of a list of sessions cannot be noted: %s", t->fail.text);
	fail_clear(&t->fail);
	free(t);
}

/* The sessions of a VM that its old routers have listed so far. */
static uint64_t
sessions_of(const struct vm_obj *o)
{
	const struct hand *h;
	uint64_t n = 0;

	LL_FOREACH2(o->hands, h, next_of_vm)
	n += h->sessions;
	return n;
}

/* Of those whose list has ended nothing more is asked; what is unknown there goes to the end of those that wait. */
static size_t
take_ends(struct peer *p)
{
	struct handover *h = p->handover;
	struct listed_txn *x = zalloc(sizeof(*x) + h->n_asked * sizeof(x->item[0]));
	size_t listed;

	for (size_t i = 0; i < h->n_asked; i++) {
		struct hand *waits = still_waits(p, &h->asked[i]);

		if (waits && h->asked[i].unknown) {
			DL_DELETE(h->wanted, waits);
			DL_APPEND(h->wanted, waits);
		} else if (waits) {
			struct vm_obj *o = waits->vm;

			x->item[x->n++] = (struct listed){o->key, waits->move, sessions_of(o)};
			hand_listed(p->core, waits);
			settle(p->core, o);
		}
	}
	listed = x->n;
	x->txn.apply = listed_apply;
	x->txn.done = listed_done;
	if (listed > 0)
		txn_submit(p->core, &x->txn);
	else
		free(x);
	return listed;
}

static void
list_end(struct peer *p, bool whole)
{
	struct handover *h = p->handover;
	size_t listed = whole ? take_ends(p) : 0;
	bool all = whole && (!h->wanted || listed == h->n_asked);

	tell(p, listed);
	h->waits = false;
	h->n_asked = 0;
	if (listed > 0)
		h->retry_ms = RETRY_MIN_MS;
	soon(p, all ? 0 : h->retry_ms);
	if (listed == 0)
		h->retry_ms = 2 * h->retry_ms < RETRY_MAX_MS ? 2 * h->retry_ms : RETRY_MAX_MS;
}

/* ---- asking ---- */

static void page_came(void *arg, int code, json_t *v);

static void
ask(struct peer *p, json_t *params)
{
	struct reply_to *r = reply_new(p, ++p->handover->serial);

	p->handover->waits = true;
	if (rpc_call(p->session->rpc, "sync.sessions", params, page_came, r) != 0)
		free(r); /* the channel is ending and will say so */
}

static void
page_came(void *arg, int code, json_t *v)
{
	struct reply_to *r = arg;
	struct peer *p = &r->core->peers[r->peer - 1];
	struct handover *h = p->handover;
	const json_t *rows = json_object_get(v, "sessions"), *next = json_object_get(v, "next");
	bool mine = h->serial == r->serial;

	free(r);
	if (!mine)
		return;
	if (code == 0) {
		take_unknown(h, json_object_get(v, "unknown"));
		take_rows(p, rows);
	}
	if (code != 0 || !json_is_array(rows))
		list_end(p, false);
	else if (!next)
		list_end(p, true);
	else if (!json_is_integer(next) || json_array_size(rows) == 0 || h->rows > ROWS_MAX || !p->session)
		list_end(p, false); /* a list that leads nowhere */
	else
		ask(p, json_pack("{s:O}", "cursor", next));
}

static void
ask_first(void *arg)
{
	struct peer *p = arg;
	struct handover *h = p->handover;
	const struct hand *waits;
	char mac[MAC_TEXT];
	json_t *vms;

	if (!p->session || h->waits || !h->wanted)
		return;
	vms = json_array();
	h->learnt = (struct fwd_learnt){0};
	h->rows = h->refused = h->n_asked = 0;
	DL_FOREACH(h->wanted, waits)
	{
		const struct vm_obj *o = waits->vm;

		if (h->n_asked == LIST_VMS)
			break;
		h->asked[h->n_asked++] = (struct asked){.vm = o->key, .move = waits->move};
		json_array_append_new(vms, json_pack("[s, s, I]", segment_at(p->core, o->key.segment)->name,
						   mac_format(&o->key.mac, mac), (json_int_t)o->now.epoch));
	}
	ask(p, json_pack("{s:o}", "vms", vms));
}

void
handover_up(struct peer *p)
{
	p->handover->retry_ms = RETRY_MIN_MS;
	soon(p, 0);
}

void
handover_down(struct peer *p)
{
	struct handover *h = p->handover;

	h->serial++; /* no answer is waited for any more */
	h->waits = false;
	h->n_asked = 0;
	p->core->env->ops->timer_stop(h->timer);
	listing_end(p);
}

void
handover_start(struct core *c)
{
	for (struct vm_obj *o = c->vms; o; o = o->hh.next)
		handover_follow(c, o);
}

void
handover_init(struct peer *p)
{
	p->handover = zalloc(sizeof(*p->handover));
	p->handover->timer = timer_new(p->core, ask_first, p);
	p->handover->retry_ms = RETRY_MIN_MS;
	p->handover->asked = zalloc(LIST_VMS * sizeof(*p->handover->asked));
	listing_init(p);
}

void
handover_fini(struct peer *p)
{
	while (p->handover->wanted)
		handover_forget(p->core, p->handover->wanted->vm);
	listing_fini(p);
	p->core->env->ops->timer_free(p->handover->timer);
	free(p->handover->asked);
	free(p->handover);
}
