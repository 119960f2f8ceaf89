/* SPDX-License-Identifier: BSD-3-Clause */
#include "sessions.h"

#include "sessions_layout.h"

#include <netinet/in.h>
#include <rte_branch_prediction.h>
#include <rte_prefetch.h>
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
	locate(s, key, &w);
	return w;
}

/* ---- one cell ---- */

/* A consistent copy of key and state; false when the cell was written anew meanwhile. */
static inline bool
cell_read(const struct cell *c, uint64_t key[2], uint64_t *state)
{
	uint64_t before = __atomic_load_n(&c->state, __ATOMIC_ACQUIRE);

	key[0] = __atomic_load_n(&c->key[0], __ATOMIC_RELAXED);
	key[1] = __atomic_load_n(&c->key[1], __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	*state = __atomic_load_n(&c->state, __ATOMIC_RELAXED);
	return STATE_GEN(*state) == STATE_GEN(before) &&
	       ((STATE_FLAGS(before) | STATE_FLAGS(*state)) & FLAG_BUSY) == 0;
}

/* Only by who claimed the cell. */
static void
cell_write(struct cell *c, const uint64_t key[2], uint32_t tick, uint8_t flags, rte_be32_t home)
{
	uint32_t gen = (STATE_GEN(__atomic_load_n(&c->state, __ATOMIC_RELAXED)) + 1) & 0xffffff;

	__atomic_store_n(&c->state, STATE(0, FLAG_BUSY, gen), __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE); /* who sees a new key sees that it is busy */
	__atomic_store_n(&c->key[0], key[0], __ATOMIC_RELAXED);
	__atomic_store_n(&c->key[1], key[1], __ATOMIC_RELAXED);
	__atomic_store_n(&c->tick, tick, __ATOMIC_RELAXED);
	__atomic_store_n(&c->state, STATE(home, flags, gen), __ATOMIC_RELEASE);
}

static inline void
cell_touch(struct cell *c, uint32_t tick)
{
	if (__atomic_load_n(&c->tick, __ATOMIC_RELAXED) != tick)
		__atomic_store_n(&c->tick, tick, __ATOMIC_RELAXED);
}

/* Sets home and flags, unless the cell became another session; `home` 0: as it is, and flags are added. */
static bool
cell_change(struct cell *c, uint64_t *state, uint8_t flags, rte_be32_t home)
{
	uint32_t gen = STATE_GEN(*state);
	uint64_t to;

	do {
		if (STATE_GEN(*state) != gen || (STATE_FLAGS(*state) & FLAG_BUSY) != 0)
			return false;
		to = home != 0 ? STATE(home, flags, gen)
			       : STATE(STATE_HOME(*state), STATE_FLAGS(*state) | flags, gen);
		if (to == *state)
			return true;
	} while (!__atomic_compare_exchange_n(
		&c->state, state, to, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
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

/* The live cell of the key under this head. */
static inline int
search(const struct session_where *w, uint64_t head, uint64_t *state)
{
	uint64_t key[2];

	for (uint32_t word = 0; word < TAG_WORDS; word++) {
		for (uint64_t bits = with_tag(w->b, word, w->tag); bits != 0; bits &= bits - 1) {
			uint32_t i = cell_at(word, bits);

			if (i >= CELLS || cell_of(head, i) != LIVE)
				continue;
			if (!cell_read(&w->b->cell[i], key, state))
				return CHANGED;
			if (key[0] == w->key[0] && key[1] == w->key[1])
				return (int)i;
		}
	}
	return ABSENT;
}

static inline struct cell *
find(const struct session_where *w, uint64_t *state)
{
	int i;

	do
		i = search(w, head_load(w->b), state);
	while (unlikely(i == CHANGED));
	return i == ABSENT ? NULL : &w->b->cell[i];
}

static int
first_free(uint64_t head)
{
	for (int i = 0; i < CELLS; i++)
		if (cell_of(head, (uint32_t)i) == FREE)
			return i;
	return -1;
}

static void
give_back(struct session_bucket *b, int claimed)
{
	uint64_t head = head_load(b);

	while (claimed >= 0 && !head_swap(b, &head, head_with(head, (uint32_t)claimed, FREE)))
		;
}

/* Finds the key or inserts it. What is found ends in *cell and *state. */
static enum session_result
find_or_insert(const struct session_where *w, uint32_t tick, uint8_t flags, rte_be32_t home,
	struct cell **cell, uint64_t *state)
{
	struct session_bucket *b = w->b;
	uint64_t head = head_load(b);
	int claimed = -1, i;

	for (;; head = head_load(b)) {
		i = search(w, head, state);
		if (i == CHANGED)
			continue;
		if (i != ABSENT)
			break;
		if (claimed < 0) {
			int c = first_free(head);

			if (c < 0)
				return SESSION_FULL;
			if (!head_swap(b, &head, head_with(head, (uint32_t)c, CLAIMED)))
				continue;
			claimed = c;
			__atomic_store_n(&b->tag[c], w->tag, __ATOMIC_RELAXED);
			cell_write(&b->cell[c], w->key, tick, flags, home);
		}
		if (head_swap(b, &head, head_with(head, (uint32_t)claimed, LIVE)))
			return SESSION_NOTED;
	}
	give_back(b, claimed);
	*cell = &b->cell[i];
	return SESSION_FOUND;
}

/* Frees cell i if it is what was seen under `head`. */
static bool
free_cell(struct session_bucket *b, uint64_t *head, uint32_t i)
{
	return head_swap(b, head, head_with(*head, i, FREE));
}

/* ---- workers ---- */

enum session_result
sessions_find(struct sessions *s, const struct session_key *k, uint32_t tick, uint8_t flags, rte_be32_t *home)
{
	struct session_where w = hash(s, k);
	uint64_t state;
	struct cell *c = find(&w, &state);

	if (c == NULL)
		return SESSION_ABSENT;
	*home = STATE_HOME(state);
	cell_touch(c, tick);
	cell_change(c, &state, flags & FLAGS_TCP, 0);
	return SESSION_FOUND;
}

enum session_result
sessions_peek(const struct sessions *s, const struct session_key *k, rte_be32_t *home)
{
	struct session_where w = hash(s, k);
	uint64_t state;

	if (find(&w, &state) == NULL)
		return SESSION_ABSENT;
	*home = STATE_HOME(state);
	return SESSION_FOUND;
}

/* Puts another home in the place of one that was guessed. */
static bool
take_guess(struct cell *c, uint64_t *state, uint8_t flags, rte_be32_t home)
{
	uint8_t told = STATE_FLAGS(*state) & FLAGS_TCP;

	return (STATE_FLAGS(*state) & SESSION_GUESSED) &&
	       cell_change(c, state, told | (flags & FLAGS_NOTED), home);
}

enum session_result
sessions_note(struct sessions *s, const struct session_key *k, uint32_t tick, uint8_t flags, rte_be32_t *home)
{
	struct session_where w = hash(s, k);
	enum session_result r;
	struct cell *c;
	uint64_t state;

	r = find_or_insert(&w, tick, flags & FLAGS_NOTED, *home, &c, &state);
	if (r != SESSION_FOUND)
		return r;
	if (!(flags & SESSION_GUESSED))
		take_guess(c, &state, flags, *home);
	*home = STATE_HOME(state);
	cell_touch(c, tick);
	cell_change(c, &state, flags & FLAGS_TCP, 0);
	return SESSION_FOUND;
}

enum session_result
sessions_learn(struct sessions *s, const struct session_key *k, uint32_t tick, uint8_t flags, rte_be32_t home)
{
	struct session_where w = hash(s, k);
	enum session_result r;
	struct cell *c;
	uint64_t state;

	r = find_or_insert(&w, tick, flags & FLAGS_NOTED, home, &c, &state);
	return r == SESSION_FOUND && take_guess(c, &state, flags, home) ? SESSION_NOTED : r;
}

enum session_result
sessions_rehome(
	struct sessions *s, const struct session_key *k, uint32_t tick, uint8_t flags, rte_be32_t home)
{
	struct session_where w = hash(s, k);
	uint64_t state;
	struct cell *c;

	do {
		c = find(&w, &state);
		if (c == NULL)
			return SESSION_ABSENT;
	} while (!cell_change(c, &state, flags & FLAGS_NOTED, home));
	cell_touch(c, tick);
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

	return find(&w, &state) != NULL && has_ended(STATE_FLAGS(state));
}

void
sessions_locate(const struct sessions *s, const uint64_t key[2], struct session_where *w)
{
	locate(s, key, w);
	rte_prefetch0(w->b);
}

void
sessions_prefetch_cell(const struct session_where *w)
{
	for (uint32_t word = 0; word < TAG_WORDS; word++) {
		uint64_t bits = with_tag(w->b, word, w->tag);

		if (bits != 0) {
			rte_prefetch0(&w->b->cell[cell_at(word, bits)]);
			return;
		}
	}
}

enum session_result
sessions_find_at(const struct session_where *w, uint32_t tick, rte_be32_t *home, uint8_t *flags)
{
	uint64_t state;
	struct cell *c = find(w, &state);

	if (c == NULL)
		return SESSION_ABSENT;
	*home = STATE_HOME(state);
	*flags = STATE_FLAGS(state);
	cell_touch(c, tick);
	return SESSION_FOUND;
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
must_go(const struct sessions_walk *how, const struct cell *c, const uint64_t key[2], uint64_t state)
{
	struct session_key k;

	memcpy(&k, key, sizeof(k));
	if (how->gone != NULL && how->gone(how->arg, &k, STATE_HOME(state)))
		return true;
	return !how->young && has_aged(k.vni_proto, STATE_FLAGS(state), cell_idle(c, how->tick));
}

static uint32_t
sweep_bucket(struct session_bucket *b, const struct sessions_walk *how)
{
	uint64_t head = head_load(b), key[2], state;
	uint32_t freed = 0, i = 0;

	while (i < CELLS) {
		const struct cell *c = &b->cell[i];

		if (cell_of(head, i) != LIVE) {
			i++;
		} else if (!cell_read(c, key, &state)) {
			head = head_load(b); /* it is another session now: look at this cell again */
		} else if (!must_go(how, c, key, state)) {
			if (how->kept != NULL)
				how->kept(how->arg, STATE_HOME(state));
			i++;
		} else if (free_cell(b, &head, i)) {
			freed++;
			i++;
		}
	}
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
	const struct cell *c = &b->cell[at % CELLS];
	uint64_t key[2], state;

	if (cell_of(head_load(b), at % CELLS) != LIVE || !cell_read(c, key, &state))
		return false;
	memcpy(&info->key, key, sizeof(info->key));
	info->home = STATE_HOME(state);
	info->flags = STATE_FLAGS(state);
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
