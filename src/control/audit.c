/* SPDX-License-Identifier: BSD-3-Clause */
/* audit.c - the log of what was asked of this router and what became of it, hash-chained, in the store.
 *
 * Entries of a transaction are rows of its own commit: neither is there without the other. All others wait for the
 * next commit, or make one. Commits with entries go one after another, as groups do, so each knows what it follows:
 *
 *   stored --- entries that waited, entries of the group's transactions ---> next; and stored = next once it is durable
 *
 * Who is refused decides how often, so those are bounded by a rate, and how many were left out is an entry, too.
 */
#include "state.h"

#include <common/log.h>

#define EFFECTS	    100	 /* objects that one entry names */
#define WAITING_MAX 1000 /* entries, while the store refuses */
#define BURST	    100
#define PER_SECOND  10
#define LEFT_OUT_MS 1000

struct line {
	char *text; /* an object, without hash and number */
	struct line *prev, *next;
};

static void
lines_free(struct line **list, size_t n)
{
	struct line *l;

	while ((l = *list) != NULL && n-- > 0) {
		DL_DELETE(*list, l);
		free(l->text);
		free(l);
	}
}

/* Printable ASCII without quotes, so that it needs no escapes and every JSON library writes the same bytes again. */
static const char *
plain(const char *text, char *out, size_t size)
{
	size_t n = 0;

	for (; text[n] && n < size - 1; n++)
		out[n] = text[n] >= 0x20 && text[n] < 0x7f && text[n] != '"' && text[n] != '\\' ? text[n]
												: '?';
	out[n] = '\0';
	return out;
}

json_t *
audit_text(const char *text)
{
	char out[400];

	return json_string(plain(text, out, sizeof(out)));
}

/* {"time":...,"who":...,"what":..., and the members of `more`}: put together as text, for there are 20,000 a second. */
static char *
entry_text(struct core *c, const char *who, const char *what, const char *more)
{
	char time[WALL_TEXT], a[WHO_TEXT], b[WHO_TEXT];
	struct buf text;

	buf_init(&text, 0);
	text_add(&text, "{\"time\":\"%s\",\"who\":\"%s\",\"what\":\"%s\"%s%s",
		wall_text(env_call(c->env, wall_ms), time), plain(who, a, sizeof(a)),
		plain(what, b, sizeof(b)), more[1] != '}' ? "," : "", more + 1);
	return text_take(&text);
}

static void
line_add(struct core *c, struct line **list, const char *who, const char *what, char *more_stolen)
{
	struct line *l = zalloc(sizeof(*l));

	l->text = entry_text(c, who, what, more_stolen);
	free(more_stolen);
	DL_APPEND(*list, l);
}

const char *
audit_who(enum channel_role role, const char *name, char who[WHO_TEXT])
{
	snprintf(who, WHO_TEXT, "%s %s", channel_role_name(role), name);
	return who;
}

/* ---- entries of transactions ---- */

void
audit_change(struct core *c, const char *who, const char *what, struct buf *more)
{
	line_add(c, &c->audit.of_group, who, what, text_take(more));
}

static void
effect(struct core *c, const struct undo *u, struct buf *to)
{
	char text[VM_KEY_TEXT];
	struct prefix4 prefix;

	switch (u->kind) {
	case UNDO_VM:
		vm_key_text(c, u->vm->key.segment, &u->vm->key.mac, text);
		text_add(to, "\"%s@%" PRIu64 "\"", text, u->vm->now.epoch);
		break;
	case UNDO_ROUTE:
		prefix = route_prefix(u->route);
		text_add(to, "\"%s\"", prefix4_format(&prefix, text));
		break;
	case UNDO_TERM:
		text_add(to, "\"term %" PRIu64 "\"", c->term.number);
		break;
	case UNDO_MOVE:
		text_add(to, "\"move %s %s\"", u->move->id, move_words[u->move->now.state]);
		break;
	}
}

/* Not what follows for a move from a change of its VM, nor that its VM is told to forwarding once more. */
static bool
is_effect(const struct undo *u)
{
	if (u->kind == UNDO_VM)
		return !u->present || !u->vm->present || !vm_state_same(&u->old.vm, &u->vm->now);
	return u->kind != UNDO_MOVE || move_open(u->move) || u->move->now.state == MOVE_ABORTED;
}

/* Those from the log's i-th on, as many as an entry names; where the next one goes on. */
static size_t
effects(struct core *c, const struct txn *t, size_t i, struct buf *to)
{
	size_t n = 0;

	for (; i < t->log_to && n < EFFECTS; i++) {
		if (!is_effect(&c->log[i]))
			continue;
		if (n++ > 0)
			text_add(to, ",");
		effect(c, &c->log[i], to);
	}
	return i;
}

void
audit_effects(struct core *c, const struct txn *t, const char *who, const char *what)
{
	for (size_t i = t->log_from; i < t->log_to;) {
		struct buf changed, more;

		buf_init(&changed, 0);
		i = effects(c, t, i, &changed);
		if (buf_len(&changed) > 0) {
			buf_init(&more, 0);
			text_add(&more, "{\"result\":\"ok\",\"revision\":%" PRIu64 ",\"changed\":[",
				t->revision);
			text_add_text(&more, &changed);
			text_add(&more, "]}");
			audit_change(c, who, what, &more);
		}
		buf_fini(&changed);
	}
}

/* ---- other entries ---- */

bool
audit_waits(const struct core *c)
{
	return c->audit.waiting != NULL || audit_overfull(c);
}

void
audit_again(struct core *c)
{
	if (c->running && !c->group && c->storage.rc == 0 && audit_waits(c))
		timer_set(c, c->pump, 0);
}

static void
left_out(struct core *c)
{
	if (c->audit.left_out++ == 0 && c->running)
		timer_set(c, c->audit.timer, LEFT_OUT_MS);
}

void
audit_note(struct core *c, const char *who, const char *what, json_t *more_stolen)
{
	char *more;

	if (c->audit.n_waiting == WAITING_MAX) {
		json_decref(more_stolen);
		left_out(c);
		return;
	}
	more = more_stolen ? json_dumps(more_stolen, JSON_COMPACT | JSON_ENSURE_ASCII) : strdup("{}");
	if (!more)
		abort(); /* as zalloc() */
	json_decref(more_stolen);
	line_add(c, &c->audit.waiting, who, what, more);
	c->audit.n_waiting++;
	audit_again(c);
}

/* A bucket of BURST, filled by PER_SECOND. */
static bool
take_token(struct core *c)
{
	struct audit *a = &c->audit;
	uint64_t now = now_ms(c), more = (now - a->filled_at) * PER_SECOND / 1000;

	if (more > 0) {
		a->tokens = a->tokens + more < BURST ? a->tokens + more : BURST;
		a->filled_at = now;
	}
	if (a->tokens == 0)
		return false;
	a->tokens--;
	return true;
}

void
audit_refusal(struct core *c, const char *who, const char *what, json_t *more_stolen)
{
	if (take_token(c)) {
		audit_note(c, who, what, more_stolen);
		return;
	}
	json_decref(more_stolen);
	left_out(c);
}

void
audit_refused(struct core *c, const char *who, const char *method, int code, const char *why)
{
	audit_refusal(c, who, method,
		json_pack("{s:s, s:i, s:o}", "result", "refused", "code", code, "error", audit_text(why)));
}

static void
tell_left_out(void *arg)
{
	struct core *c = arg;
	uint64_t n = c->audit.left_out;

	if (c->audit.n_waiting == WAITING_MAX) {
		timer_set(c, c->audit.timer, LEFT_OUT_MS);
		return;
	}
	c->audit.left_out = 0;
	audit_note(c, "router", "refusals",
		json_pack("{s:s, s:I}", "result", "left out", "count", (json_int_t)n));
}

/* ---- rows of a commit ---- */

static void
number_key(uint64_t number, char key[24])
{
	snprintf(key, 24, "%020" PRIu64, number);
}

static void
lines_rows(struct core *c, struct line *lines, struct env_row *rows, size_t *n)
{
	struct line *l;
	char key[24];

	DL_FOREACH(lines, l)
	{
		char *value = chain_append(&c->audit.next, l->text + 1);

		number_key(c->audit.next.number, key);
		rows[(*n)++] = (struct env_row){"log", strdup(key), value};
	}
}

static void
cut_rows(struct core *c, struct env_row *rows, size_t *n)
{
	char key[24];

	for (uint64_t i = c->audit.before.number + 1; i <= c->audit.next_before.number; i++) {
		number_key(i, key);
		row_set(&rows[(*n)++], "log", key, NULL);
	}
}

/* Where the log begins and ends: with it, what is gone at either end is missed. */
static void
ends_row(struct core *c, struct env_row *row)
{
	const struct chain *before = &c->audit.next_before;
	char anchor[CHAIN_HASH_TEXT], hash[CHAIN_HASH_TEXT];

	row_set(row, "meta", "log",
		json_pack("{s:I, s:s, s:I, s:s}", "before", (json_int_t)before->number, "anchor",
			chain_hash_text(before->hash, anchor), "last", (json_int_t)c->audit.next.number,
			"hash", chain_hash_text(c->audit.next.hash, hash)));
}

size_t
audit_rows(struct core *c, struct env_row **rows, size_t n)
{
	struct audit *a = &c->audit;
	struct line *l;
	size_t of_group, cut;

	DL_COUNT(a->of_group, l, of_group);
	a->next_before = a->cut.number > 0 ? a->cut : a->before;
	cut = a->next_before.number - a->before.number;
	if (a->n_waiting + of_group + cut == 0)
		return n;
	*rows = realloc(*rows, (n + a->n_waiting + of_group + cut + 1) * sizeof(**rows));
	if (!*rows)
		abort(); /* as zalloc() */
	a->next = a->stored;
	a->taken = a->n_waiting;
	lines_rows(c, a->waiting, *rows, &n);
	lines_rows(c, a->of_group, *rows, &n);
	cut_rows(c, *rows, &n);
	ends_row(c, &(*rows)[n++]);
	return n;
}

void
audit_begin(struct core *c)
{
	lines_free(&c->audit.of_group, SIZE_MAX);
	c->audit.next = c->audit.stored;
	c->audit.next_before = c->audit.before;
	c->audit.taken = 0;
}

void
audit_stored(struct core *c, bool stored)
{
	struct audit *a = &c->audit;

	if (stored) {
		a->stored = a->next;
		lines_free(&a->waiting, a->taken);
		a->n_waiting -= a->taken;
		a->before = a->next_before;
		if (a->cut.number <= a->before.number)
			a->cut.number = 0;
		audit_trim(c);
	}
	audit_begin(c);
}

/* ---- start and stop ---- */

int
audit_load(struct core *c, const struct env_row *row, struct fail *f)
{
	json_t *v = json_loads(row->value, 0, NULL);
	struct audit *a = &c->audit;
	const char *anchor, *hash;
	json_int_t before, last;
	int rc = 0;

	if (!v ||
		json_unpack(v, "{s:I, s:s, s:I, s:s}", "before", &before, "anchor", &anchor, "last", &last,
			"hash", &hash) != 0 ||
		before < 0 || last < before || !chain_hash_parse(anchor, a->before.hash) ||
		!chain_hash_parse(hash, a->stored.hash)) {
		rc = fail(f, RPC_INVALID_PARAMS, "not the ends of a log");
	} else {
		a->before.number = (uint64_t)before;
		a->stored.number = (uint64_t)last;
		audit_begin(c);
	}
	json_decref(v);
	return rc;
}

void
audit_start(struct core *c, const char *store)
{
	audit_check(c);
	audit_note(c, "router", "start",
		json_pack("{s:s, s:s, s:s}", "result", "ok", "version", NEARWAY_VERSION, "store", store));
}

/* A commit on its way may be refused, and then this entry would follow none. */
void
audit_stop(struct core *c)
{
	struct env_row *rows = NULL;
	size_t n;

	if (c->group || !c->running || c->audit.seeking)
		return;
	audit_begin(c);
	audit_note(c, "router", "stop", json_pack("{s:s}", "result", "ok"));
	n = audit_rows(c, &rows, 0);
	commit_aside(c, rows, n);
	for (size_t i = 0; i < n; i++)
		row_free(&rows[i]);
	free(rows);
}

void
audit_init(struct core *c)
{
	c->audit.tokens = BURST;
	c->audit.filled_at = now_ms(c);
	c->audit.timer = timer_new(c, tell_left_out, c);
}

void
audit_fini(struct core *c)
{
	audit_reads_end(c);
	lines_free(&c->audit.of_group, SIZE_MAX);
	lines_free(&c->audit.waiting, SIZE_MAX);
	c->env->ops->timer_free(c->audit.timer);
}
