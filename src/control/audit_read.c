/* SPDX-License-Identifier: BSD-3-Clause */
/* audit_read.c - the log read back: shown page by page, checked at start, and cut at its front. */
#include "state.h"

#define CHECKED	   1000	 /* entries at the end of the log that are checked at start */
#define CUT_MAX	   10000 /* rows that go in one commit */
#define PAGE_ROWS  1000
#define PAGE_BYTES (512u << 10) /* of one reply, which holds twice as much */
#define PAGES_MAX  4		/* on their way to one caller: each is read before the commits behind it */

struct reading { /* outlives the core when that is freed meanwhile: core is NULL then */
	struct core *core;
	struct rpc_request *request; /* of a page */
	uint64_t since_ms;
	size_t limit;
	struct reading *prev, *next;
};

typedef void (*reading_done)(void *arg, int rc, const struct env_row *rows, size_t n);

/* At most `limit` entries behind number `after`. */
static void
read_entries(struct core *c, uint64_t after, size_t limit, const struct reading *as, reading_done done)
{
	struct reading *r = zalloc(sizeof(*r));
	char key[24];

	*r = *as;
	r->core = c;
	r->limit = limit;
	DL_APPEND(c->audit.readings, r);
	snprintf(key, sizeof(key), "%020" PRIu64, after);
	env_call(c->env, read, &(struct env_range){"log", key, limit}, done, r);
}

/* The core, or NULL when it is gone; frees r. */
static struct core *
reading_end(struct reading *r)
{
	struct core *c = r->core;

	if (c)
		DL_DELETE(c->audit.readings, r);
	free(r);
	return c;
}

void
audit_reads_end(struct core *c)
{
	struct reading *r, *next;

	DL_FOREACH_SAFE(c->audit.readings, r, next)
	r->core = NULL;
}

/* ---- the check at start ---- */

/* The entry before the first one that is checked is believed, unless it is the anchor. */
static struct chain
check_from(const struct core *c, const struct env_row *rows, size_t n, size_t *i)
{
	struct chain ch = c->audit.before;

	*i = 0;
	if (n == 0 || strtoull(rows[0].key, NULL, 10) <= c->audit.before.number + 1)
		return ch;
	ch.number = strtoull(rows[0].key, NULL, 10);
	if (!chain_hash_of(rows[0].value, ch.hash))
		ch.number--; /* it will be refused */
	else
		*i = 1;
	return ch;
}

static void
checked(void *arg, int rc, const struct env_row *rows, size_t n)
{
	struct core *c = reading_end(arg);
	struct chain ch;
	char why[100] = "";
	size_t i;

	if (!c)
		return;
	if (rc != 0) {
		event_alarm(c, "", "the log in the store cannot be read: %s", strerror(-rc));
		return;
	}
	ch = check_from(c, rows, n, &i);
	while (i < n && chain_follow(&ch, rows[i].value, why, sizeof(why)))
		i++;
	if (i < n)
		event_alarm(
			c, "", "the log in the store was altered: entry %" PRIu64 ": %s", ch.number + 1, why);
	else if (memcmp(&ch, &c->audit.checked, sizeof(ch)) != 0)
		event_alarm(c, "", "the log in the store was altered: its end is not that which was written");
}

/* ---- a log whose ends are not stored: a new one, or somebody took that row away ---- */

/* Of its first entry nobody knows what was before: it counts as gone. */
static void
take_entry(struct audit *a, const struct env_row *row)
{
	struct chain here = {.number = strtoull(row->key, NULL, 10)};

	chain_hash_of(row->value, here.hash);
	if (a->before.number == 0)
		a->before = here;
	a->stored = here;
}

static void
sought(void *arg, int rc, const struct env_row *rows, size_t n)
{
	struct core *c = reading_end(arg);

	if (!c)
		return;
	for (size_t i = 0; i < n; i++)
		take_entry(&c->audit, &rows[i]);
	if (rc == 0 && n > 0) {
		read_entries(c, c->audit.stored.number, PAGE_ROWS, &(struct reading){0}, sought);
		return;
	}
	c->audit.seeking = false;
	if (rc != 0)
		event_alarm(c, "", "the log in the store cannot be read: %s", strerror(-rc));
	else if (c->audit.stored.number > 0)
		event_alarm(c, "", "the log in the store was altered: nothing says where it begins and ends");
	audit_begin(c);
	if (c->running)
		timer_set(c, c->pump, 0);
}

void
audit_check(struct core *c)
{
	const struct chain *last = &c->audit.stored;
	uint64_t all = last->number - c->audit.before.number, n = all < CHECKED ? all : CHECKED;

	c->audit.checked = *last;
	c->audit.seeking = last->number == 0;
	if (c->audit.seeking)
		read_entries(c, 0, PAGE_ROWS, &(struct reading){0}, sought);
	else if (n > 0)
		read_entries(c, last->number - n, n, &(struct reading){0}, checked);
}

/* ---- the front ---- */

static void
cut_found(void *arg, int rc, const struct env_row *rows, size_t n)
{
	struct core *c = reading_end(arg);
	struct chain cut;

	if (!c)
		return;
	c->audit.cutting = false;
	if (rc != 0 || n == 0 || !chain_hash_of(rows[0].value, cut.hash))
		return; /* the check at the next start tells */
	cut.number = strtoull(rows[0].key, NULL, 10);
	if (cut.number - c->audit.before.number <= CUT_MAX)
		c->audit.cut = cut;
	audit_again(c);
}

static uint64_t
kept(const struct core *c)
{
	return c->audit.stored.number - c->audit.before.number;
}

/* So many more than the bound may be there before some go. */
static uint64_t
slack(const struct core *c)
{
	uint64_t tenth = c->conf->control.log_rows / 10;

	return tenth < CUT_MAX ? tenth + 1 : CUT_MAX;
}

/* A commit of many changes brings more than one takes away. */
bool
audit_overfull(const struct core *c)
{
	return c->audit.cut.number > 0 && kept(c) > c->conf->control.log_rows + 2 * slack(c);
}

/* The oldest go in bulk, with the next commit; the hash of the last of them stays. */
void
audit_trim(struct core *c)
{
	uint64_t max = c->conf->control.log_rows, over;

	if (kept(c) <= max + slack(c) || c->audit.cutting || c->audit.cut.number > 0)
		return;
	over = kept(c) - max < CUT_MAX ? kept(c) - max : CUT_MAX;
	c->audit.cutting = true;
	read_entries(c, c->audit.before.number + over - 1, 1, &(struct reading){0}, cut_found);
}

/* ---- show.log ---- */

/* So many of the entries fit into a reply; one always does. */
static size_t
fitting(const struct env_row *rows, size_t n)
{
	size_t i = 0, bytes = 0;

	while (i < n && (i == 0 || bytes + strlen(rows[i].value) <= PAGE_BYTES))
		bytes += strlen(rows[i++].value);
	return i;
}

static bool
is_since(const json_t *entry, const char *since)
{
	const char *time = json_string_value(json_object_get(entry, "time"));

	return !time || strcmp(time, since) >= 0;
}

static json_t *
page(struct core *c, const struct reading *r, const struct env_row *rows, size_t n)
{
	int64_t from = r->since_ms ? env_call(c->env, wall_ms) - (int64_t)r->since_ms : 0;
	size_t fit = fitting(rows, n);
	json_t *list = json_array(), *v;
	char next[24], since[WALL_TEXT];

	wall_text(from, since);
	for (size_t i = 0; i < fit; i++) {
		json_t *entry = json_loads(rows[i].value, 0, NULL);

		if (entry && is_since(entry, since))
			json_array_append(list, entry);
		json_decref(entry);
	}
	v = json_pack("{s:o}", "rows", list);
	if (fit < n || n == r->limit) {
		snprintf(next, sizeof(next), "%" PRIu64, (uint64_t)strtoull(rows[fit - 1].key, NULL, 10));
		json_object_set_new(v, "next", json_string(next));
	}
	return v;
}

static void
page_read(void *arg, int rc, const struct env_row *rows, size_t n)
{
	struct reading *r = arg;
	struct rpc_request *request = r->request;

	if (!r->core)
		rpc_fail(request, RPC_INTERNAL, NULL, "the router stops");
	else if (rc != 0)
		rpc_fail(request, RPC_STORE, NULL, "the log cannot be read: %s", strerror(-rc));
	else
		rpc_reply(request, page(r->core, r, rows, n));
	reading_end(r);
}

static bool
takes_page(struct session *s)
{
	const struct reading *r;
	unsigned int pages = 0;

	DL_FOREACH(s->core->audit.readings, r)
	pages += r->request && rpc_request_channel(r->request) == s->channel;
	return pages < PAGES_MAX;
}

void
audit_show(struct session *s, struct rpc_request *r, const void *params)
{
	const struct log_params *p = params;
	size_t limit = p->limit == 0 || p->limit > PAGE_ROWS ? PAGE_ROWS : p->limit;

	if (!takes_page(s)) {
		rpc_fail(r, RPC_LIMIT, NULL,
			"%d pages of the log are on their way: ask again when they are here", PAGES_MAX);
		return;
	}
	read_entries(s->core, strtoull(p->cursor, NULL, 10), limit,
		&(struct reading){.request = r, .since_ms = p->since_ms}, page_read);
}
