/* SPDX-License-Identifier: BSD-3-Clause */
#include "sessions_layout.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_TCP_S    7440
#define IDLE_OTHER_S  300
#define IDLE_CLOSED_S 10
#define IDLE_RESET_S  240

static inline bool
head_swap(struct session_bucket *b, uint64_t *from, uint64_t to)
{
	if (!__atomic_compare_exchange_n(&b->head, from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return false;
	*from = to;
	return true;
}

static inline uint64_t
head_load(const struct session_bucket *b)
{
	return __atomic_load_n(&b->head, __ATOMIC_ACQUIRE);
}

static inline struct session_where
hash(const struct sessions *s, const struct session_key *k)
{
	uint64_t key[2];
	struct session_where w;

	_Static_assert(sizeof(key) == sizeof(*k), "a key is two words");
	memcpy(key, k, sizeof(key));
	sessions_hash(s, key, &w);
	return w;
}

/* ---- one cell ---- */

static inline bool
is_busy(uint64_t state)
{
	return (SESSION_STATE_FLAGS(state) & SESSION_FLAG_BUSY) != 0;
}

static inline bool
is_claimed(uint64_t state)
{
	return (SESSION_STATE_FLAGS(state) & SESSION_FLAG_CLAIMED) != 0;
}

/* A consistent copy of key and state; false: it is no session, or was written anew meanwhile. */
static inline bool
cell_read(const struct session_cell *c, uint64_t key[2], uint64_t *state)
{
	uint64_t before = __atomic_load_n(&c->state, __ATOMIC_ACQUIRE);

	key[0] = __atomic_load_n(&c->key[0], __ATOMIC_RELAXED);
	key[1] = __atomic_load_n(&c->key[1], __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	*state = __atomic_load_n(&c->state, __ATOMIC_RELAXED);
	return SESSION_STATE_GEN(*state) == SESSION_STATE_GEN(before) && !is_busy(before | *state);
}

static inline bool
cell_swap(struct session_cell *c, uint64_t *from, uint64_t to)
{
	return __atomic_compare_exchange_n(&c->state, from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* Only by who claimed the cell. Returns its state. */
static uint64_t
cell_write(struct session_cell *c, const uint64_t key[2], uint32_t tick, uint8_t flags, rte_be32_t home)
{
	uint32_t gen = (SESSION_STATE_GEN(__atomic_load_n(&c->state, __ATOMIC_RELAXED)) + 1) & 0xffffff;
	uint64_t state = SESSION_STATE(home, flags | SESSION_FLAG_CLAIMED, gen);

	__atomic_store_n(&c->state, SESSION_STATE(0, SESSION_FLAG_BUSY, gen), __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE); /* who sees a new key sees that it is busy */
	__atomic_store_n(&c->key[0], key[0], __ATOMIC_RELAXED);
	__atomic_store_n(&c->key[1], key[1], __ATOMIC_RELAXED);
	__atomic_store_n(&c->tick, tick, __ATOMIC_RELAXED);
	__atomic_store_n(&c->state, state, __ATOMIC_RELEASE);
	return state;
}

/* By who has published it, unless it is another session by now. */
static void
cell_unmark(struct session_cell *c, uint64_t state)
{
	uint32_t gen = SESSION_STATE_GEN(state);

	while (SESSION_STATE_GEN(state) == gen && !is_busy(state) &&
		!cell_swap(c, &state, state & ~SESSION_STATE(0, SESSION_FLAG_CLAIMED, 0)))
		;
}

/* Sets home and flags, unless the cell became another session; `home` 0: as it is, and flags are added. */
static bool
cell_change(struct session_cell *c, uint64_t *state, uint8_t flags, rte_be32_t home)
{
	uint32_t gen = SESSION_STATE_GEN(*state);
	uint64_t to;

	do {
		if (SESSION_STATE_GEN(*state) != gen || is_busy(*state))
			return false;
		to = home != 0 ? SESSION_STATE(home, flags, gen) : *state | SESSION_STATE(0, flags, 0);
		if (to == *state)
			return true;
	} while (!cell_swap(c, state, to));
	*state = to;
	return true;
}

/* ---- one bucket ---- */

enum { ABSENT = -1, CHANGED = -2 };

#define LOW_BITS  UINT64_C(0x0001000100010001)
#define HIGH_BITS UINT64_C(0x8000800080008000)

/* Bit 16 * n + 15: cell 4 * word + n may have this tag; all that have it are among them. Four at once: where a word is zero, one less
 * borrows (Warren, Hacker's Delight, 6-1). A loop over 14 tags, whose branches cannot be foretold, cost 60 cycles more. */
static inline uint64_t
with_tag(const struct session_bucket *b, uint32_t word, uint16_t tag)
{
	uint64_t x = __atomic_load_n(&b->tags[word], __ATOMIC_RELAXED) ^ tag * LOW_BITS;

	return (x - LOW_BITS) & ~x & HIGH_BITS;
}

static inline uint32_t
cell_at(uint32_t word, uint64_t bits)
{
	return 4 * word + (uint32_t)__builtin_ctzll(bits) / 16;
}

/* The live cell of the key under this head. What was freed since is passed over: then there was a moment in which the key had none. */
static inline int
search(const struct session_where *w, uint64_t head, uint64_t *state)
{
	struct session_bucket *b = session_bucket(w);
	uint16_t tag = session_tag(w);
	uint64_t key[2];

	for (uint32_t word = 0; word < SESSION_TAG_WORDS; word++) {
		for (uint64_t bits = with_tag(b, word, tag); bits != 0; bits &= bits - 1) {
			uint32_t i = cell_at(word, bits);

			if (i >= CELLS || cell_of(head, i) != LIVE || !cell_read(&b->cell[i], key, state) ||
				key[0] != w->key[0] || key[1] != w->key[1])
				continue;
			/* Another one's, if the cell was freed and claimed since, may never be published. */
			__atomic_thread_fence(__ATOMIC_ACQUIRE);
			return unlikely(is_claimed(*state) && head_load(b) != head) ? CHANGED : (int)i;
		}
	}
	return ABSENT;
}

struct session_cell *
session_far(const struct session_where *w, uint64_t *state)
{
	struct session_bucket *b = session_bucket(w);
	int i;

	do
		i = search(w, head_load(b), state);
	while (unlikely(i == CHANGED));
	return i == ABSENT ? NULL : &b->cell[i];
}

static inline struct session_cell *
find(const struct session_where *w, uint64_t *state)
{
	struct session_cell *c = session_near(w, state);

	return c != NULL ? c : session_far(w, state);
}

/* The cell that the key is looked for in first, or else beside it, or else anywhere; -1: the bucket is full. */
static int
free_cell(const struct session_where *w, uint64_t head)
{
	uint32_t first = (uint32_t)(w->cell - session_bucket(w)->cell);

	if (cell_of(head, first) == FREE)
		return (int)first;
	if (cell_of(head, first ^ 1) == FREE)
		return (int)(first ^ 1);
	for (uint32_t i = 0; i < CELLS; i++)
		if (cell_of(head, i) == FREE)
			return (int)i;
	return -1;
}

static void
give_back(struct session_bucket *b, int claimed)
{
	uint64_t head = head_load(b);

	while (claimed >= 0 && !head_swap(b, &head, head_with(head, (uint32_t)claimed, FREE)))
		;
}

/* Inserts the key unless it is there. What is there ends in *cell and *state. */
static enum session_result
find_or_insert(const struct session_where *w, uint32_t tick, uint8_t flags, rte_be32_t home,
	struct session_cell **cell, uint64_t *state)
{
	struct session_bucket *b = session_bucket(w);
	uint64_t head = head_load(b), written = 0;
	int claimed = -1, i;

	*cell = session_near(w, state);
	if (*cell != NULL)
		return SESSION_FOUND;
	for (;; head = head_load(b)) {
		i = search(w, head, state);
		if (i == CHANGED)
			continue;
		if (i != ABSENT)
			break;
		if (claimed < 0) {
			int c = free_cell(w, head);

			if (c < 0)
				return SESSION_FULL;
			if (!head_swap(b, &head, head_with(head, (uint32_t)c, CLAIMED)))
				continue;
			claimed = c;
			__atomic_store_n(&b->tag[c], session_tag(w), __ATOMIC_RELAXED);
			written = cell_write(&b->cell[c], w->key, tick, flags, home);
		}
		if (head_swap(b, &head, head_with(head, (uint32_t)claimed, LIVE))) {
			cell_unmark(&b->cell[claimed], written);
			return SESSION_NOTED;
		}
	}
	give_back(b, claimed);
	*cell = &b->cell[i];
	return SESSION_FOUND;
}

/* ---- workers ---- */

enum session_result
sessions_find(struct sessions *s, const struct session_key *k, uint32_t tick, uint8_t flags, rte_be32_t *home)
{
	struct session_where w = hash(s, k);
	uint64_t state;
	struct session_cell *c = find(&w, &state);

	if (c == NULL)
		return SESSION_ABSENT;
	*home = SESSION_STATE_HOME(state);
	session_touch(c, tick);
	cell_change(c, &state, flags & SESSION_FLAGS_TCP, 0);
	return SESSION_FOUND;
}

enum session_result
sessions_peek(const struct sessions *s, const struct session_key *k, rte_be32_t *home)
{
	struct session_where w = hash(s, k);
	uint64_t state;

	if (find(&w, &state) == NULL)
		return SESSION_ABSENT;
	*home = SESSION_STATE_HOME(state);
	return SESSION_FOUND;
}

/* Puts another home in the place of one that was guessed. */
static bool
take_guess(struct session_cell *c, uint64_t *state, uint8_t flags, rte_be32_t home)
{
	uint8_t told = SESSION_STATE_FLAGS(*state) & SESSION_FLAGS_TCP;

	return (SESSION_STATE_FLAGS(*state) & SESSION_GUESSED) &&
	       cell_change(c, state, told | (flags & SESSION_FLAGS_NOTED), home);
}

enum session_result
sessions_note(struct sessions *s, const struct session_key *k, uint32_t tick, uint8_t flags, rte_be32_t *home)
{
	struct session_where w = hash(s, k);
	enum session_result r;
	struct session_cell *c;
	uint64_t state;

	r = find_or_insert(&w, tick, flags & SESSION_FLAGS_NOTED, *home, &c, &state);
	if (r != SESSION_FOUND)
		return r;
	if (!(flags & SESSION_GUESSED))
		take_guess(c, &state, flags, *home);
	*home = SESSION_STATE_HOME(state);
	session_touch(c, tick);
	cell_change(c, &state, flags & SESSION_FLAGS_TCP, 0);
	return SESSION_FOUND;
}

enum session_result
sessions_learn(struct sessions *s, const struct session_key *k, uint32_t tick, uint8_t flags, rte_be32_t home)
{
	struct session_where w = hash(s, k);
	enum session_result r;
	struct session_cell *c;
	uint64_t state;

	r = find_or_insert(&w, tick, flags & SESSION_FLAGS_NOTED, home, &c, &state);
	return r == SESSION_FOUND && take_guess(c, &state, flags, home) ? SESSION_NOTED : r;
}

enum session_result
sessions_rehome(
	struct sessions *s, const struct session_key *k, uint32_t tick, uint8_t flags, rte_be32_t home)
{
	struct session_where w = hash(s, k);
	uint64_t state;
	struct session_cell *c;

	do {
		c = find(&w, &state);
		if (c == NULL)
			return SESSION_ABSENT;
	} while (!cell_change(c, &state, flags & SESSION_FLAGS_NOTED, home));
	session_touch(c, tick);
	return SESSION_FOUND;
}

static bool
has_ended(uint8_t flags)
{
	const uint8_t both = SESSION_FIN_FROM_VM | SESSION_FIN_TO_VM;

	return (flags & SESSION_RST) != 0 || (flags & both) == both;
}

bool
sessions_ended(struct sessions *s, const struct session_key *k)
{
	struct session_where w = hash(s, k);
	uint64_t state;

	return find(&w, &state) != NULL && has_ended(SESSION_STATE_FLAGS(state));
}

/* ---- control thread ---- */

static bool
has_aged(uint32_t vni_proto, uint8_t flags, uint32_t idle)
{
	if ((uint8_t)vni_proto != IPPROTO_TCP)
		return idle >= IDLE_OTHER_S;
	if (!has_ended(flags))
		return idle >= IDLE_TCP_S;
	return idle >= ((flags & SESSION_RST) != 0 ? IDLE_RESET_S : IDLE_CLOSED_S);
}

static bool
must_go(const struct sessions_walk *how, const struct session_cell *c, const uint64_t key[2], uint64_t state)
{
	struct session_key k;

	memcpy(&k, key, sizeof(k));
	if (how->gone != NULL && how->gone(how->arg, &k, SESSION_STATE_HOME(state)))
		return true;
	return !how->young && has_aged(k.vni_proto, SESSION_STATE_FLAGS(state), cell_idle(c, how->tick));
}

/* A session whose cell tells by itself that it is live. */
static bool
published(const struct session_cell *c, uint64_t key[2], uint64_t *state)
{
	return cell_read(c, key, state) && !is_claimed(*state);
}

/* False: it is no more what was seen. From the first step on it is nobody's session, from the second on it can be claimed. */
static bool
take_away(struct session_bucket *b, uint32_t i, uint64_t state)
{
	uint64_t head;

	if (!cell_swap(&b->cell[i], &state, SESSION_STATE(0, SESSION_FLAG_BUSY, SESSION_STATE_GEN(state))))
		return false;
	head = head_load(b);
	while (!head_swap(b, &head, head_with(head, i, FREE)))
		;
	return true;
}

/* True: it was freed. */
static bool
sweep_cell(struct session_bucket *b, uint32_t i, const struct sessions_walk *how)
{
	uint64_t key[2], state;

	do {
		if (!published(&b->cell[i], key, &state))
			return false;
		if (!must_go(how, &b->cell[i], key, state)) {
			if (how->kept != NULL)
				how->kept(how->arg, SESSION_STATE_HOME(state));
			return false;
		}
	} while (!take_away(b, i, state));
	return true;
}

static uint32_t
sweep_bucket(struct session_bucket *b, const struct sessions_walk *how)
{
	uint64_t head = head_load(b);
	uint32_t freed = 0;

	for (uint32_t i = 0; i < CELLS; i++)
		freed += cell_of(head, i) == LIVE && sweep_cell(b, i, how);
	return freed;
}

uint32_t
sessions_sweep(struct sessions *s, uint32_t tick)
{
	const struct sessions_walk how = {.tick = tick};
	uint32_t freed = 0;

	s->file->newest = tick;
	for (uint32_t b = 0; b <= s->mask; b++)
		freed += sweep_bucket(&s->buckets[b], &how);
	return freed;
}

bool
sessions_walk(struct sessions *s, struct sessions_walk *walk, uint32_t buckets)
{
	s->file->newest = walk->tick;
	for (; buckets > 0 && walk->next <= s->mask; buckets--)
		sweep_bucket(&s->buckets[walk->next++], walk);
	return walk->next <= s->mask;
}

/* The session in a cell, counted through all buckets; false: none, or it is being replaced right now. */
static bool
look(const struct sessions *s, uint32_t tick, uint32_t at, struct sessions_info *info)
{
	const struct session_bucket *b = &s->buckets[at / CELLS];
	const struct session_cell *c = &b->cell[at % CELLS];
	uint64_t key[2], state;

	if (cell_of(head_load(b), at % CELLS) != LIVE || !published(c, key, &state))
		return false;
	memcpy(&info->key, key, sizeof(info->key));
	info->home = SESSION_STATE_HOME(state);
	info->flags = SESSION_STATE_FLAGS(state);
	info->idle_s = cell_idle(c, tick);
	return true;
}

bool
sessions_next(const struct sessions *s, uint32_t tick, uint32_t *next, struct sessions_info *info)
{
	while (*next / CELLS <= s->mask)
		if (look(s, tick, (*next)++, info))
			return true;
	return false;
}

bool
sessions_look(const struct sessions *s, uint32_t tick, uint32_t *bucket, uint32_t buckets,
	void (*seen)(void *arg, const struct sessions_info *info), void *arg)
{
	struct sessions_info info;

	for (; buckets > 0 && *bucket <= s->mask; buckets--, (*bucket)++)
		for (uint32_t i = 0; i < CELLS; i++)
			if (look(s, tick, *bucket * CELLS + i, &info))
				seen(arg, &info);
	return *bucket <= s->mask;
}

uint32_t
sessions_count(const struct sessions *s, rte_be32_t home)
{
	struct sessions_info info;
	uint32_t next = 0, n = 0;

	while (sessions_next(s, 0, &next, &info))
		n += home == 0 || info.home == home;
	return n;
}
