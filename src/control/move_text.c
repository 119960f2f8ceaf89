/* SPDX-License-Identifier: BSD-3-Clause */
/* move_text.c - a move as others see it: as JSON, as a stored row. */
#include "state.h"

const char *const move_words[] = {"prepared", "paused", "draining", "done", "aborted", NULL};
const char *const move_time_words[MOVE_TIMES] = {
	"prepared", "paused", "committed", "told", "heard", "released", "listed", "done"};

/* ---- what it is, and what became of it ---- */

static json_t *
basic(struct core *c, const struct move *m, const struct move_now *now)
{
	char mac[MAC_TEXT];

	return json_pack("{s:s, s:s, s:I, s:s, s:s, s:s}", "segment", segment_at(c, m->vm.segment)->name,
		"mac", mac_format(&m->vm.mac, mac), "epoch", (json_int_t)m->epoch, "from",
		router_name(c, now->from), "to", router_name(c, m->to), "state", move_words[now->state]);
}

/* Words that say how it came to its state; left out where there is nothing to say. */
static void
set_why(json_t *v, const struct move *m, const struct move_now *now)
{
	if (now->at[MOVE_AT_COMMITTED] && m->to == FWD_SELF)
		json_object_set_new(v, "by", json_string(now->arrived ? "arrival" : "controller"));
	if (now->reason[0])
		json_object_set_new(v, "reason", json_string(now->reason));
}

static void
set_counts(json_t *v, const struct move_now *now, uint64_t late)
{
	json_object_set_new(v, "held", json_integer((json_int_t)now->held));
	json_object_set_new(v, "released", json_integer((json_int_t)now->released));
	json_object_set_new(v, "dropped", json_integer((json_int_t)now->dropped));
	json_object_set_new(v, "listed", json_integer((json_int_t)now->sessions));
	json_object_set_new(v, "cut", json_integer((json_int_t)now->cut));
	json_object_set_new(v, "forwarded-late", json_integer((json_int_t)late));
}

static void
set_round_trip(json_t *v, const char *name, const struct fwd_round_trip *t)
{
	if (t->samples > 0)
		json_object_set_new(v, name,
			json_pack("{s:I, s:I, s:I, s:I}", "us", (json_int_t)(t->to_remote_us + t->to_vm_us),
				"to-remote-us", (json_int_t)t->to_remote_us, "to-vm-us",
				(json_int_t)t->to_vm_us, "samples", (json_int_t)t->samples));
}

/* What nobody has measured is left out. */
static void
set_round_trips(json_t *v, const struct fwd_round_trips *t)
{
	const struct fwd_round_trip *old = &t->old, *near = &t->near;
	json_t *trips;

	if (old->samples + near->samples == 0)
		return;
	trips = json_object();
	set_round_trip(trips, "old", old);
	set_round_trip(trips, "near", near);
	if (old->samples > 0 && near->samples > 0)
		json_object_set_new(trips, "gain-us",
			json_integer((json_int_t)(old->to_remote_us + old->to_vm_us) -
				     (json_int_t)(near->to_remote_us + near->to_vm_us)));
	json_object_set_new(v, "round-trips", trips);
}

json_t *
move_time_json(int64_t wall_ms)
{
	char text[WALL_TEXT];

	return wall_ms == 0 ? json_null() : json_string(wall_text(wall_ms, text));
}

static int64_t
started_ms(const struct move_now *now)
{
	return now->at[MOVE_AT_PREPARED] ? now->at[MOVE_AT_PREPARED] : now->at[MOVE_AT_COMMITTED];
}

static json_t *
told(struct core *c, const struct move *m, const struct move_now *now)
{
	const struct fwd_round_trips trips = move_round_trips(c, m, now);
	json_t *v = basic(c, m, now);

	json_object_set_new(v, "id", json_string(m->id));
	json_object_set_new(v, "started", move_time_json(started_ms(now)));
	json_object_set_new(v, "ended", move_time_json(now->at[MOVE_AT_DONE]));
	set_why(v, m, now);
	set_round_trips(v, &trips);
	return v;
}

json_t *
move_event_json(struct core *c, const struct move *m)
{
	return told(c, m, &m->now);
}

/* ---- shown ---- */

static uint64_t
drain_sessions(struct core *c, const struct vm_obj *o, uint64_t epoch)
{
	uint64_t n = 0, of_one;

	for (unsigned int i = 0; i < o->now.fwd.n_drains; i++) {
		if (o->now.drain[i].epoch != epoch)
			continue;
		env_call(c->env, fwd_sessions, o->now.fwd.drains[i].global_ip, &of_one);
		n += of_one;
	}
	return n;
}

static void
set_drains(struct core *c, const struct move *m, json_t *v)
{
	struct vm_obj *o = vm_find(c, m->vm.segment, &m->vm.mac);

	json_object_set_new(v, "sessions", json_integer(o ? (json_int_t)drain_sessions(c, o, m->epoch) : 0));
	for (unsigned int i = 0; o && i < o->now.fwd.n_drains; i++) {
		const struct drain_time *t = &o->now.drain[i];

		if (t->epoch != m->epoch || o->now.fwd.drains[i].home != FWD_SELF)
			continue;
		json_object_set_new(v, "left-min", json_integer((json_int_t)drain_left(c, t->min_at)));
		json_object_set_new(v, "left-max", json_integer((json_int_t)drain_left(c, t->max_at)));
	}
}

static void
set_times(json_t *v, const struct move_now *now, json_t *(*as)(int64_t wall_ms))
{
	json_t *times = json_object();

	for (unsigned int i = 0; i < MOVE_TIMES; i++)
		if (now->at[i])
			json_object_set_new(times, move_time_words[i], as(now->at[i]));
	json_object_set_new(v, "times", times);
}

const struct move_now *
move_settled(const struct core *c, const struct move *m)
{
	const struct undo *u = txn_before(c, &m->touched);

	if (u ? !u->present : !m->present)
		return NULL;
	return u ? &u->old.move : &m->now;
}

json_t *
move_shown(struct core *c, const struct move *m, bool whole)
{
	const struct move_now *now = move_settled(c, m);
	json_t *v;

	if (!now)
		return NULL;
	v = told(c, m, now);
	if (now->state == MOVE_DRAINING)
		set_drains(c, m, v);
	if (whole) {
		set_times(v, now, move_time_json);
		set_counts(v, now, move_late(c, m, now));
	}
	return v;
}

/* ---- rows ---- */

static json_t *
number(int64_t n)
{
	return json_integer(n);
}

void
move_row(struct core *c, const struct move *m, struct env_row *row)
{
	json_t *v = basic(c, m, &m->now), *reserved;
	char a[IP4_TEXT], b[IP4_TEXT];

	set_times(v, &m->now, number);
	set_why(v, m, &m->now);
	set_round_trips(v, &m->now.trips);
	if (m->plan || m->now.from == FWD_SELF)
		set_counts(v, &m->now, m->now.late);
	if (m->plan) {
		json_object_set(v, "plan", m->plan);
		reserved = json_array();
		for (unsigned int i = 0; i < m->n_reserved; i++)
			json_array_append_new(
				reserved, json_pack("[s, s]", ip4_format(m->reserved[i].private_ip, a),
						  ip4_format(m->reserved[i].global_ip, b)));
		json_object_set_new(v, "reserved", reserved);
	}
	if (move_open(m))
		json_object_set_new(v, "since", number((int64_t)m->now.since));
	row_set(row, "move", m->id, v);
}

static int
word_index(const char *const *words, const char *word)
{
	for (int i = 0; words[i]; i++)
		if (word && strcmp(words[i], word) == 0)
			return i;
	return -1;
}

static const char *
text(const json_t *v, const char *name)
{
	const char *s = json_string_value(json_object_get(v, name));

	return s ? s : "";
}

static uint64_t
count(const json_t *v, const char *name)
{
	json_int_t n = json_integer_value(json_object_get(v, name));

	return n > 0 ? (uint64_t)n : 0;
}

static struct fwd_round_trip
load_round_trip(const json_t *v)
{
	return (struct fwd_round_trip){count(v, "to-remote-us"), count(v, "to-vm-us"), count(v, "samples")};
}

/* Rows of before moves could be prepared have `started` and `ended`. */
static void
load_now(struct move_now *n, const json_t *v)
{
	const json_t *times = json_object_get(v, "times"), *trips = json_object_get(v, "round-trips");

	n->trips.old = load_round_trip(json_object_get(trips, "old"));
	n->trips.near = load_round_trip(json_object_get(trips, "near"));
	for (unsigned int i = 0; i < MOVE_TIMES; i++)
		n->at[i] = (int64_t)count(times, move_time_words[i]);
	if (!times) {
		n->at[MOVE_AT_COMMITTED] = (int64_t)count(v, "started");
		n->at[MOVE_AT_DONE] = (int64_t)count(v, "ended");
	}
	n->arrived = strcmp(text(v, "by"), "arrival") == 0;
	snprintf(n->reason, sizeof(n->reason), "%s", text(v, "reason"));
	n->held = count(v, "held");
	n->released = count(v, "released");
	n->dropped = count(v, "dropped");
	n->sessions = count(v, "listed");
	n->cut = count(v, "cut");
	n->late = count(v, "forwarded-late");
	n->since = (uint64_t)json_integer_value(json_object_get(v, "since"));
}

static bool
load_reserved(struct move *m, const json_t *list)
{
	const json_t *v;
	size_t i;

	if (json_array_size(list) > FWD_ADDRESSES_MAX)
		return false;
	json_array_foreach(list, i, v)
	{
		const char *a = json_string_value(json_array_get(v, 0));
		const char *b = json_string_value(json_array_get(v, 1));
		struct reserved *r = &m->reserved[m->n_reserved++];

		if (!a || !b || ip4_parse(a, &r->private_ip) != 0 || ip4_parse(b, &r->global_ip) != 0)
			return false;
		r->move = m;
	}
	return true;
}

/* Fills a new object; false: it is none. */
static bool
load(struct core *c, struct move *m, const json_t *v)
{
	int from = router_index(c, text(v, "from")), to = router_index(c, text(v, "to"));
	int state = word_index(move_words, text(v, "state"));
	struct move_now n = {0};

	if (state < 0)
		return false;
	load_now(&n, v);
	n.state = (uint8_t)state;
	n.from = (uint8_t)from;
	m->to = (uint8_t)to;
	m->undated = !json_is_integer(json_object_get(v, "since"));
	m->plan = json_deep_copy(json_object_get(v, "plan"));
	if (!load_reserved(m, json_object_get(v, "reserved")))
		return false;
	m->now = n;
	return !move_open(m) || (json_is_object(m->plan) && to == FWD_SELF && !move_active(c, &m->vm));
}

int
move_load(struct core *c, const struct env_row *row, struct fail *f)
{
	json_t *v = row_json(row, f);
	int segment = segment_index(c, text(v, "segment"));
	struct vm_key key = {0};
	uint64_t epoch = count(v, "epoch");
	struct move *m;
	int rc = 0;

	if (!v)
		return f->code;
	if (mac_parse(text(v, "mac"), &key.mac) != 0 || epoch == 0 || epoch > EPOCH_MAX) {
		json_decref(v);
		return fail(f, RPC_INVALID_PARAMS, "not a move");
	}
	if (segment < 0 || router_index(c, text(v, "from")) < 0 || router_index(c, text(v, "to")) < 0) {
		json_decref(v); /* the configuration has that segment or router no more */
		return 0;
	}
	key.segment = (uint16_t)segment;
	m = move_new(c, &key, epoch);
	rc = row_check_key(row, m->id, f);
	if (rc == 0 && (move_find(c, &key, epoch) || !load(c, m, v)))
		rc = fail(f, RPC_INVALID_PARAMS, "not a move");
	if (rc == 0)
		move_put(c, m, &m->now, true);
	else
		move_free(m);
	json_decref(v);
	return rc;
}
