/* SPDX-License-Identifier: BSD-3-Clause */
/* sim.c - three routers and a controller under faults, decided by a seed.
 *
 *   sim                  50 seeds, from 1
 *   sim --seed N         this one, with the routers' log; the same events every time
 *   sim --seeds N --from M
 *
 * For two minutes the controller registers, moves and unregisters VMs and replaces routes, while connections
 * break, routers are cut from each other, disks refuse, processes are killed and machines reboot with wrong
 * clocks. Then all is healed, and after a time: every router knows the same of every VM, at its highest
 * epoch; nothing acknowledged is lost forwarding is what the core wants; no address has led to two VMs at any
 * moment no drain has outlived its time; at the end none is left; no router has gone back to an older epoch
 *   a router that starts has soon asked all peers; a restart from the store changes nothing
 */
#include "world.h"

#include <common/log.h>
#include <getopt.h>
#include <stdio.h>
#include <time.h>

#define ROUTERS	 3
#define SLOTS	 24 /* sets of addresses, each used by one VM after another */
#define CHAOS_MS 120000
#define HEAL_MS	 150000
#define SLACK_MS 4000 /* a drain ends with the second and its transaction, on a disk that takes it */
#define ASKED_MS 3000 /* the wait at start, and some for lines of 180 ms */
#define PREFIXES 5

enum op { OP_REGISTER, OP_MOVE, OP_UNREGISTER };

struct change {
	enum op op;
	uint64_t epoch;
	unsigned int router;
};

struct slot {
	unsigned int number;
	uint8_t generation; /* in the MAC: another VM with the same addresses */
	uint64_t epoch;	    /* last used for this VM */
	bool registered;    /* as far as the controller knows */
	bool busy;
	struct change asked, acked; /* acked.epoch 0 = nothing yet */
};

struct line { /* to one router */
	struct sim *sim;
	unsigned int router;
	struct channel *channel;
	struct rpc *rpc;
	struct env_timer *redial;
};

struct sim {
	struct world *w;
	struct line lines[ROUTERS];
	struct slot slots[SLOTS];
	struct { /* of a router's route to 203.0.PREFIX.0/24 */
		uint32_t via[PREFIXES], unsure[PREFIXES];
		uint32_t asked;
		int prefix; /* -1: none on its way */
	} routes[ROUTERS];
	uint64_t up_since[ROUTERS]; /* since then without a restart or a fault of the disk */
	uint64_t started[ROUTERS];
	uint64_t line_fault[ROUTERS + 1][ROUTERS + 1]; /* when the last one between two was made or healed */
	uint64_t epochs[ROUTERS][SLOTS];	       /* of the slot's VM, as last seen at the router */
	uint8_t generations[ROUTERS][SLOTS];
	uint64_t restart_at[ROUTERS];
	uint64_t acks, refusals, unknown, crashes, moves;
	bool verbose;
};

struct asked {
	struct sim *sim;
	struct slot *slot;
	unsigned int router;
};

static void
broken(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (s->w->why[0])
		return;
	va_start(ap, fmt);
	vsnprintf(s->w->why, sizeof(s->w->why), fmt, ap);
	va_end(ap);
}

static struct mac
slot_mac(const struct slot *t)
{
	return (struct mac){{0x52, 0x54, 0, 0, t->generation, (uint8_t)t->number}};
}

/* ---- the controller ---- */

static void line_dial(void *arg);

static void
line_up(void *arg, struct channel *c)
{
	(void)arg;
	(void)c;
}

static void
line_message(void *arg, struct channel *c, json_t *msg)
{
	(void)c;
	rpc_message(((struct line *)arg)->rpc, msg);
}

static void
line_down(void *arg, struct channel *c, const char *why)
{
	struct line *l = arg;
	struct rpc *rpc = l->rpc;

	(void)c;
	(void)why;
	l->channel = NULL;
	l->rpc = NULL;
	rpc_free(rpc);
	l->sim->w->nodes[0].env.ops->timer_set(l->redial, 200 + world_random(l->sim->w, 1500));
}

static const struct channel_ops line_ops = {line_up, line_message, line_down};

static void
no_calls(void *arg, struct rpc_request *r, const char *method, json_t *params)
{
	(void)arg;
	(void)method;
	(void)params;
	rpc_fail(r, RPC_NO_METHOD, NULL, "none");
}

static void
line_dial(void *arg)
{
	struct line *l = arg;
	struct node *clc = world_controller(l->sim->w), *to = world_router(l->sim->w, l->router);
	struct channel_local local = {.env = &clc->env, .name = "clc", .role = ROLE_CONTROLLER};
	struct channel_identity id = {.role = ROLE_PEER};

	local.private_key = clc->private_key;
	local.hello = json_pack("{s:i}", "term", 1);
	strcpy(id.name, to->name);
	memcpy(id.key, to->public_key, 32);
	l->channel = channel_dial(&local, &id, to->conf.control.listen, &line_ops, l);
	l->rpc = rpc_new(l->channel, no_calls, l);
	json_decref(local.hello);
}

static void
answered(void *arg, int code, json_t *result)
{
	struct asked *a = arg;
	struct slot *t = a->slot;

	(void)result;
	t->busy = false;
	if (code < 0 && code > -1000) { /* the line was lost: perhaps done, perhaps not */
		a->sim->unknown++;
	} else if (code == 0) {
		a->sim->acks++;
		a->sim->moves += t->asked.op == OP_MOVE;
		t->acked = t->asked;
		t->registered = t->asked.op != OP_UNREGISTER;
		if (!t->registered) { /* the next VM with these addresses */
			t->generation++;
			t->epoch = 0;
			t->acked.epoch = 0;
		}
	} else {
		a->sim->refusals++;
		if (code == RPC_STALE_EPOCH || code == RPC_EPOCH_STEP || code == RPC_SUPERSEDED ||
			code == RPC_DENIED || code == RPC_INVALID_PARAMS)
			broken(a->sim, "slot %u: a right change was refused with %d: %s", t->number, code,
				json_string_value(json_object_get(result, "message")));
	}
	free(a);
}

static json_t *
slot_params(const struct slot *t, const struct change *ch)
{
	struct mac mac = slot_mac(t);
	char m[MAC_TEXT], private[24], global[24];
	json_t *v = json_pack("{s:s, s:s, s:I}", "segment", "tenant-a", "mac", mac_format(&mac, m), "epoch",
		(json_int_t)ch->epoch);

	snprintf(private, sizeof(private), "10.0.0.%u", 10 + t->number);
	snprintf(global, sizeof(global), "198.%u.0.%u", 51 + ch->router, 10 + t->number);
	if (ch->op != OP_UNREGISTER)
		json_object_set_new(
			v, "addresses", json_pack("[{s:s, s:s}]", "private", private, "global", global));
	return v;
}

/* Where its address was live when a change was last acknowledged. */
static json_t *
slot_old(const struct slot *t)
{
	static const char *const names[] = {"r-a", "r-b", "r-c"};
	char private[24], global[24];

	snprintf(private, sizeof(private), "10.0.0.%u", 10 + t->number);
	snprintf(global, sizeof(global), "198.%u.0.%u", 51 + t->acked.router, 10 + t->number);
	return json_pack(
		"[{s:s, s:s, s:s}]", "private", private, "global", global, "router", names[t->acked.router]);
}

static void
send_change(struct sim *s, struct slot *t)
{
	static const char *const method[] = {"vm.register", "vm.move", "vm.unregister"};
	struct line *l = &s->lines[t->asked.router];
	struct asked *a = malloc(sizeof(*a));
	json_t *v = slot_params(t, &t->asked);

	*a = (struct asked){s, t, t->asked.router};
	if (t->asked.op == OP_MOVE) {
		if (t->acked.epoch > 0 && t->acked.router != t->asked.router)
			json_object_set_new(v, "old", slot_old(t));
		json_object_set_new(v, "drain-min", json_integer((json_int_t)world_random(s->w, 10000)));
		json_object_set_new(
			v, "drain-max", json_integer((json_int_t)(10000 + world_random(s->w, 30000))));
	}
	if (!l->rpc || rpc_call(l->rpc, method[t->asked.op], v, answered, a) != 0)
		free(a);
	else
		t->busy = true;
	if (!l->rpc)
		json_decref(v);
}

/* A new change of a slot's VM, or once more the last one whose outcome is unknown. */
static void
change_slot(struct sim *s)
{
	struct slot *t = &s->slots[world_random(s->w, SLOTS)];
	bool again =
		t->asked.epoch > t->acked.epoch && t->epoch == t->asked.epoch && world_random(s->w, 2) == 0;

	if (t->busy)
		return;
	if (!again) {
		t->asked.epoch = ++t->epoch;
		if (!t->registered && t->acked.epoch == 0) {
			t->asked.op = OP_REGISTER;
			t->asked.router = (unsigned int)world_random(s->w, ROUTERS);
		} else if (world_random(s->w, 6) == 0) {
			t->asked.op = OP_UNREGISTER;
		} else {
			t->asked.op = OP_MOVE;
			t->asked.router = (unsigned int)world_random(s->w, ROUTERS);
		}
	}
	send_change(s, t);
}

static void
route_answered(void *arg, int code, json_t *result)
{
	struct asked *a = arg;
	struct sim *s = a->sim;
	int p = s->routes[a->router].prefix;

	(void)result;
	s->routes[a->router].prefix = -1;
	if (code == 0)
		s->routes[a->router].via[p] = s->routes[a->router].asked;
	if (code >= 0)
		s->routes[a->router].unsure[p] = 0; /* refused: nothing was changed */
	free(a);
}

static void
change_route(struct sim *s)
{
	unsigned int r = (unsigned int)world_random(s->w, ROUTERS);
	int p = (int)world_random(s->w, PREFIXES);
	struct asked *a;
	char prefix[24], via[24];
	json_t *v;

	if (!s->lines[r].rpc || s->routes[r].prefix >= 0 || s->routes[r].unsure[p])
		return;
	a = malloc(sizeof(*a));
	*a = (struct asked){s, NULL, r};
	s->routes[r].asked = 100 + (uint32_t)world_random(s->w, 100);
	snprintf(prefix, sizeof(prefix), "203.0.%d.0/24", p);
	snprintf(via, sizeof(via), "192.0.2.%u", s->routes[r].asked);
	v = json_pack("{s:s, s:s}", "prefix", prefix, "via", via);
	s->routes[r].prefix = p;
	s->routes[r].unsure[p] = s->routes[r].asked;
	if (rpc_call(s->lines[r].rpc, "route.replace", v, route_answered, a) == 0)
		return;
	s->routes[r].prefix = -1;
	s->routes[r].unsure[p] = 0;
	free(a);
}

/* ---- faults ---- */

static void
crash(struct sim *s, unsigned int i)
{
	struct node *n = world_router(s->w, i);

	node_crash(n);
	s->crashes++;
	s->restart_at[i] = s->w->now + 50 + world_random(s->w, 8000);
	if (world_random(s->w, 3) == 0) { /* the machine, too; its clock may come back wrong */
		int64_t jumps[] = {0, -315360000000, 315360000000, 3000, -3000};

		node_reboot(n, jumps[world_random(s->w, 5)]);
	}
}

static void
restart_due(struct sim *s, bool all)
{
	for (unsigned int i = 0; i < ROUTERS; i++) {
		if (world_router(s->w, i)->core || (!all && s->w->now < s->restart_at[i]))
			continue;
		node_start(world_router(s->w, i));
		s->up_since[i] = s->started[i] = s->w->now;
	}
}

static void
fault(struct sim *s)
{
	unsigned int a = (unsigned int)world_random(s->w, ROUTERS);
	unsigned int b =
		(a + 1 + (unsigned int)world_random(s->w, ROUTERS)) % (ROUTERS + 1); /* the controller, too */
	struct node *n = world_router(s->w, a);
	uint64_t what = world_random(s->w, 8);

	if (what < 5)
		s->line_fault[a][b] = s->line_fault[b][a] = s->w->now;
	switch (what) {
	case 0:
		world_reset(s->w, a, b);
		break;
	case 1:
	case 2:
		world_cut(s->w, a, b, true);
		break;
	case 3:
	case 4:
		world_cut(s->w, a, b, false);
		break;
	case 5:
		n->commits_to_fail = 1 + (int)world_random(s->w, 2);
		s->up_since[a] = s->w->now + 1000;
		break;
	case 6:
		if (n->core)
			crash(s, a);
		break;
	case 7:
		s->w->delay_max = s->w->delay_min + world_random(s->w, 4) * world_random(s->w, 60);
		break;
	}
}

/* The data plane hears a VM somewhere. */
static void
evidence(struct sim *s)
{
	struct slot *t = &s->slots[world_random(s->w, SLOTS)];
	struct fwd_event ev = {.kind = FWD_VM_SEEN, .mac = slot_mac(t), .ip = 0x0a00000a + t->number};

	ev.location = (uint8_t)world_random(s->w, ROUTERS);
	node_event(world_router(s->w, (unsigned int)world_random(s->w, ROUTERS)), &ev);
}

/* ---- what must hold ---- */

/* While a router runs, no drain of its own is older than it may be. */
static void
check_drains(struct sim *s, unsigned int i)
{
	struct node *n = world_router(s->w, i);
	uint64_t now = n->env.ops->now_ms(n->env.ctx);
	struct vm_obj *o;

	if (!n->core || n->commits_to_fail || s->w->now < s->up_since[i] + SLACK_MS)
		return;
	DL_FOREACH2(n->core->draining, o, drain_next)
	{
		for (unsigned int d = 0; d < o->now.fwd.n_drains; d++) {
			const struct drain_time *t = &o->now.drain[d];

			if (o->now.fwd.drains[d].home != FWD_SELF)
				continue;
			if (t->max_at > now + t->max_ms)
				broken(s, "%s: a drain was given more time than it was asked for", n->name);
			if (now > t->max_at + SLACK_MS)
				broken(s, "%s: a drain has outlived its time by %llu ms", n->name,
					(unsigned long long)(now - t->max_at));
		}
	}
}

/* While a router runs, what it knows of a VM never gets older. */
static void
check_epochs(struct sim *s, unsigned int i)
{
	struct core *c = world_router(s->w, i)->core;

	for (unsigned int k = 0; k < SLOTS; k++) {
		struct mac mac = slot_mac(&s->slots[k]);
		struct vm_obj *o;

		if (!c || s->generations[i][k] != s->slots[k].generation)
			s->epochs[i][k] = 0;
		s->generations[i][k] = s->slots[k].generation;
		if (!c || c->group) /* what is on its way may still be undone */
			continue;
		o = vm_find(c, 0, &mac);
		if ((o ? o->now.epoch : 0) < s->epochs[i][k])
			broken(s, "%s: slot %u went back from epoch %llu", world_router(s->w, i)->name, k,
				(unsigned long long)s->epochs[i][k]);
		s->epochs[i][k] = o ? o->now.epoch : 0;
	}
}

/* A router that starts, or whose peer does, has soon asked it, if nothing was between them at the later start and
 * since: however long the other had been trying in vain. */
static void
check_asked(struct sim *s, unsigned int i)
{
	struct core *c = world_router(s->w, i)->core;

	for (unsigned int j = 0; j < ROUTERS; j++) {
		uint64_t later = s->started[i] > s->started[j] ? s->started[i] : s->started[j];

		if (i == j || !c || !world_router(s->w, j)->core || s->w->cut[i][j] ||
			s->line_fault[i][j] >= later || s->w->now < later + ASKED_MS)
			continue;
		if (!c->peers[j - (j > i)].asked)
			broken(s, "%s has not asked %s", world_router(s->w, i)->name,
				world_router(s->w, j)->name);
	}
}

static void
check_always(struct sim *s)
{
	for (unsigned int i = 0; i < ROUTERS; i++) {
		check_drains(s, i);
		check_epochs(s, i);
		check_asked(s, i);
	}
}

static void
check_agreement(struct sim *s)
{
	struct core *first = world_router(s->w, 0)->core;
	struct vm_obj *o, *p;
	char mac[MAC_TEXT];

	for (unsigned int i = 1; i < ROUTERS; i++) {
		struct core *c = world_router(s->w, i)->core;

		if (HASH_COUNT(c->vms) != HASH_COUNT(first->vms))
			broken(s, "%s knows %u VMs, %s %u", world_router(s->w, i)->name, HASH_COUNT(c->vms),
				world_router(s->w, 0)->name, HASH_COUNT(first->vms));
		for (o = c->vms; o; o = o->hh.next) {
			p = vm_find(first, o->key.segment, &o->key.mac);
			if (!p || vm_hash(c, &o->now) != vm_hash(first, &p->now))
				broken(s, "%s and %s differ about %s: epochs %llu and %llu, owners %s and %s",
					world_router(s->w, i)->name, world_router(s->w, 0)->name,
					mac_format(&o->key.mac, mac), (unsigned long long)o->now.epoch,
					p ? (unsigned long long)p->now.epoch : 0,
					router_name(c, o->now.fwd.owner),
					p ? router_name(first, p->now.fwd.owner) : "nobody");
			if (o->now.fwd.n_drains > 0)
				broken(s, "%s still drains at %s", mac_format(&o->key.mac, mac),
					world_router(s->w, i)->name);
		}
	}
}

static void
check_acked(struct sim *s, const struct slot *t)
{
	struct node *n = world_router(s->w, t->acked.router);
	struct mac mac = slot_mac(t);
	struct vm_obj *o = vm_find(n->core, 0, &mac);

	if (t->acked.epoch == 0)
		return;
	if (!o || o->now.epoch < t->acked.epoch)
		broken(s, "slot %u: epoch %llu was acknowledged and is lost", t->number,
			(unsigned long long)t->acked.epoch);
	else if (o->now.epoch == t->acked.epoch &&
		 (o->now.fwd.owner != FWD_SELF || o->now.deleted != (t->acked.op == OP_UNREGISTER)))
		broken(s, "slot %u: what was acknowledged at epoch %llu has changed", t->number,
			(unsigned long long)t->acked.epoch);
}

static void
check_routes(struct sim *s, unsigned int r)
{
	char prefix[24];

	for (int p = 0; p < PREFIXES; p++) {
		const struct fwd_route *route;
		uint32_t host;

		snprintf(prefix, sizeof(prefix), "203.0.%d.0/24", p);
		route = model_route(world_router(s->w, r), prefix);
		host = route ? route->via & 0xff : 0;
		if (host != s->routes[r].via[p] && (!host || host != s->routes[r].unsure[p]))
			broken(s, "%s: route %s goes to .%u, acknowledged was .%u",
				world_router(s->w, r)->name, prefix, host, s->routes[r].via[p]);
	}
}

static void
check_end(struct sim *s)
{
	for (unsigned int i = 0; i < ROUTERS && !s->w->why[0]; i++) {
		model_is_true(world_router(s->w, i));
		log_is_whole(world_router(s->w, i));
		check_routes(s, i);
	}
	check_agreement(s);
	for (unsigned int i = 0; i < SLOTS; i++)
		check_acked(s, &s->slots[i]);
}

/* Everything is in the store: the same again after kill -9. */
static void
check_restart(struct sim *s)
{
	uint64_t before[ROUTERS] = {0}, after[ROUTERS] = {0};
	struct vm_obj *o;

	for (unsigned int i = 0; i < ROUTERS; i++)
		for (o = world_router(s->w, i)->core->vms; o; o = o->hh.next)
			before[i] += vm_hash(world_router(s->w, i)->core, &o->now);
	for (unsigned int i = 0; i < ROUTERS; i++)
		node_crash(world_router(s->w, i));
	for (unsigned int i = 0; i < ROUTERS; i++) {
		node_start(world_router(s->w, i));
		for (o = world_router(s->w, i)->core->vms; o; o = o->hh.next)
			after[i] += vm_hash(world_router(s->w, i)->core, &o->now);
		if (before[i] != after[i])
			broken(s, "%s: a restart changed what it knows", world_router(s->w, i)->name);
	}
	world_run(s->w, 10000);
	check_end(s);
}

/* ---- one seed ---- */

static void
begin(struct sim *s, uint64_t seed)
{
	memset(s, 0, sizeof(*s));
	s->w = world_new(seed, ROUTERS);
	for (unsigned int i = 0; i < SLOTS; i++)
		s->slots[i].number = i;
	restart_due(s, true);
	for (unsigned int i = 0; i < ROUTERS; i++) {
		struct node *clc = world_controller(s->w);

		s->routes[i].prefix = -1;
		s->lines[i].sim = s;
		s->lines[i].router = i;
		s->lines[i].redial = clc->env.ops->timer_new(clc->env.ctx, line_dial, &s->lines[i]);
		line_dial(&s->lines[i]);
	}
}

static void
chaos(struct sim *s)
{
	while (s->w->now < CHAOS_MS && !s->w->why[0]) {
		world_run(s->w, 20 + world_random(s->w, 200));
		restart_due(s, false);
		change_slot(s);
		if (world_random(s->w, 4) == 0)
			change_route(s);
		if (world_random(s->w, 3) == 0)
			evidence(s);
		if (world_random(s->w, 12) == 0)
			fault(s);
		check_always(s);
	}
}

static void
heal(struct sim *s)
{
	uint64_t until;

	for (unsigned int a = 0; a < s->w->n_nodes; a++)
		for (unsigned int b = 0; b < s->w->n_nodes; b++)
			s->w->cut[a][b] = false;
	for (unsigned int a = 0; a <= ROUTERS; a++)
		for (unsigned int b = 0; b <= ROUTERS; b++)
			s->line_fault[a][b] = s->w->now;
	for (unsigned int i = 0; i < ROUTERS; i++)
		world_router(s->w, i)->commits_to_fail = 0;
	restart_due(s, true);
	for (until = s->w->now + HEAL_MS; s->w->now < until && !s->w->why[0];) {
		world_run(s->w, 1000);
		check_always(s);
	}
}

static void
finish(struct sim *s)
{
	struct node *clc = world_controller(s->w);

	for (unsigned int i = 0; i < ROUTERS; i++) {
		clc->env.ops->timer_free(s->lines[i].redial);
		rpc_free(s->lines[i].rpc);
		channel_close(s->lines[i].channel);
	}
	world_free(s->w);
}

/* True when all held. The number of events is the fingerprint of a run. */
static bool
run(uint64_t seed, uint64_t *events, bool tell)
{
	struct sim s;
	bool good;

	begin(&s, seed);
	chaos(&s);
	if (!s.w->why[0])
		heal(&s);
	if (!s.w->why[0])
		check_end(&s);
	if (!s.w->why[0])
		check_restart(&s);
	good = !s.w->why[0];
	*events = s.w->serial ^ world_random(s.w, UINT64_MAX);
	if (!good)
		printf("seed %llu FAILED at %llu ms: %s\nreplay: sim --seed %llu\n", (unsigned long long)seed,
			(unsigned long long)s.w->now, s.w->why, (unsigned long long)seed);
	else if (tell)
		printf("seed %llu: %llu changes acknowledged (%llu moves), %llu refused, %llu unknown, %llu "
		       "crashes, %llu "
		       "events, fingerprint %016llx\n",
			(unsigned long long)seed, (unsigned long long)s.acks, (unsigned long long)s.moves,
			(unsigned long long)s.refusals, (unsigned long long)s.unknown,
			(unsigned long long)s.crashes, (unsigned long long)s.w->serial,
			(unsigned long long)*events);
	finish(&s);
	return good;
}

static void
no_line(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static int
run_many(uint64_t from, uint64_t seeds)
{
	uint64_t first = 0, again = 0, events, failed = 0;

	for (uint64_t i = 0; i < seeds; i++)
		failed += !run(from + i, i == 0 ? &first : &events, i < 5);
	run(from, &again, false);
	if (first != again) {
		printf("seed %llu does not replay: %016llx, then %016llx\n", (unsigned long long)from,
			(unsigned long long)first, (unsigned long long)again);
		failed++;
	}
	printf("%llu seeds, %llu failed\n", (unsigned long long)seeds, (unsigned long long)failed);
	return failed ? 1 : 0;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {{"seed", required_argument, NULL, 's'},
		{"seeds", required_argument, NULL, 'n'}, {"from", required_argument, NULL, 'f'},
		{NULL, 0, NULL, 0}};
	uint64_t seed = 0, seeds = 50, from = 1, events;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 's')
			seed = strtoull(optarg, NULL, 10);
		else if (opt == 'n')
			seeds = strtoull(optarg, NULL, 10);
		else if (opt == 'f')
			from = strtoull(optarg, NULL, 10);
		else
			return 2;
	}
	if (seed)
		return run(seed, &events, true) ? 0 : 1;
	log_set_sink(no_line, NULL);
	return run_many(from, seeds);
}
