/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_noise.c - both ends of an encrypted channel with real keys, and somebody on the wire between them.
 *
 * The first byte says who the two are (enum who), then each byte is a step (enum step) with its arguments. Messages are numbered: at
 * either end come those that the other has sent, from the first on, each once and in order, and none of those that the wire
 * has touched or that come behind one. Left alone, all come. Whoever is not who he says brings no channel up.
 */
#include "oracle.h"
#include "target.h"

#include <fake_env.h>
#include <net/channel_priv.h>
#include <net/keys.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESS	  "192.0.2.1:7411"
#define SENT_MAX  (2u << 20) /* bytes of messages of an input */
#define HELD_MAX  (32u << 20)
#define CHUNKS	  32 /* recorded of each direction */
#define STEPS_MAX 200

enum who {
	WRONG_PSK = 1,
	WRONG_ROLE = 2,
	WRONG_NAME = 4,
	WRONG_KEY = 8,
	WRONG_ROUTER = 16,
	WITH_PSK = 32,
	A_PEER = 64
};

enum step {
	SEND,
	RUN,
	WAIT,
	FLIP,
	CUT,
	REPEAT,
	LOSE,
	SWAP,
	REPLAY,
	REFLECT,
	INSERT,
	SEAL,
	RENEW,
	AGE,
	PIECES,
	NEW_KEY,
	HANG_UP,
	STEPS
};

static const uint16_t waits[] = {1, 100, 1000, 4000, 5000, 9000, 10000, 16000};

struct end {
	struct pair *pair;
	struct channel *c;
	bool up, sealed;	    /* the other end has sealed what it likes */
	uint64_t sent, come, limit; /* messages; so many may come at the other end */
	struct buf chunk[CHUNKS];
	size_t n_chunks;
};

struct pair {
	struct fake_env f;
	struct channel_local local[2];
	struct channel_identity known[2]; /* as the other end pins them */
	struct end end[2];		  /* dialler, responder */
	enum step trick;		  /* for the next chunk of `whose` */
	int whose;
	uint16_t where;
	struct buf swapped;
	bool hung_up;
	bool aged; /* nonces have been set: once, for a nonce never goes back under its key */
	size_t bytes;
	const uint8_t *at;
	size_t left;
};

static struct pair *pair; /* of the find callback */
static uint8_t private_keys[3][32], public_keys[3][32];

static uint8_t
next(struct pair *p)
{
	if (p->left == 0)
		return 0;
	p->left--;
	return *p->at++;
}

/* ---- the ends ---- */

static void
came_up(void *arg, struct channel *c)
{
	(void)c;
	((struct end *)arg)->up = true;
}

static void
message(void *arg, struct channel *c, json_t *msg)
{
	struct end *to = arg, *from = &to->pair->end[to == &to->pair->end[0]];
	json_int_t n = json_integer_value(json_object_get(msg, "n"));
	size_t len = json_string_length(json_object_get(msg, "text"));

	(void)c;
	if (to->sealed)
		return;
	if (n != (json_int_t)from->come || len != (size_t)json_integer_value(json_object_get(msg, "len")))
		finding("message %lld came, %llu was next", (long long)n, (unsigned long long)from->come);
	if (++from->come > from->limit)
		finding("a message came that the wire had touched");
}

static void
went_down(void *arg, struct channel *c, const char *why)
{
	(void)c;
	(void)why;
	((struct end *)arg)->c = NULL;
}

static const struct channel_ops ops = {came_up, message, went_down};

static const struct channel_identity *
find(void *arg, const uint8_t key[32])
{
	(void)arg;
	return memcmp(key, pair->known[0].key, 32) == 0 ? &pair->known[0] : NULL;
}

static void
accepted(void *arg, struct env_stream *s, const struct env_peer_id *id)
{
	struct pair *p = arg;

	p->end[1].c = channel_accept(&p->local[1], s, id, find, &ops, &p->end[1]);
}

/* ---- the wire ---- */

/* From this chunk on nothing of `d` is good any more; `also`: it has come by itself. */
static void
touched(struct pair *p, int d, bool also)
{
	struct end *e = &p->end[d];

	if (e->limit > e->sent + also)
		e->limit = e->sent + also;
}

static void
empty(struct buf *b, size_t keep)
{
	b->tail = b->head + keep;
}

static void
replay(struct pair *p, int from, struct buf *bytes)
{
	struct end *e = &p->end[from];

	if (e->n_chunks == 0)
		return;
	buf_append(bytes, buf_head(&e->chunk[p->where % e->n_chunks]),
		buf_len(&e->chunk[p->where % e->n_chunks]));
	touched(p, p->whose, true);
}

static void
swap(struct pair *p, int d, struct buf *bytes)
{
	if (buf_len(&p->swapped) == 0) {
		buf_append(&p->swapped, buf_head(bytes), buf_len(bytes));
		empty(bytes, 0);
		touched(p, d, false);
		return; /* the trick goes on with the next */
	}
	buf_append(bytes, buf_head(&p->swapped), buf_len(&p->swapped));
	buf_fini(&p->swapped);
	p->trick = STEPS;
}

static void
insert(struct pair *p, struct buf *bytes)
{
	size_t n = p->where % 64 < p->left ? p->where % 64 : p->left;

	buf_append(bytes, p->at, n);
	p->at += n;
	p->left -= n;
	if (n > 0)
		touched(p, p->whose, true);
}

static void
play(struct pair *p, int d, struct buf *bytes)
{
	size_t n = buf_len(bytes);
	enum step trick = p->trick;

	if (trick == SWAP) {
		swap(p, d, bytes);
		return;
	}
	p->trick = STEPS;
	if (trick == FLIP) {
		buf_head(bytes)[p->where % n] ^= (uint8_t)(1 << (p->where >> 13));
		touched(p, d, false);
	} else if (trick == CUT || trick == LOSE) {
		empty(bytes, trick == CUT ? p->where % n : 0);
		touched(p, d, false);
	} else if (trick == REPEAT) {
		buf_reserve(bytes, n);
		buf_append(bytes, buf_head(bytes), n);
		touched(p, d, true);
	} else if (trick == REPLAY || trick == REFLECT) {
		replay(p, trick == REPLAY ? d : !d, bytes);
	} else if (trick == INSERT) {
		insert(p, bytes);
	}
}

static void
wire(void *arg, bool by_dialler, struct buf *bytes)
{
	struct pair *p = arg;
	int d = by_dialler ? 0 : 1;
	struct end *e = &p->end[d];

	if (p->trick < STEPS && p->whose == d && buf_len(bytes) > 0)
		play(p, d, bytes);
	if (e->n_chunks < CHUNKS && buf_len(bytes) > 0) {
		buf_init(&e->chunk[e->n_chunks], 0);
		buf_append(&e->chunk[e->n_chunks++], buf_head(bytes), buf_len(bytes));
	}
}

/* ---- steps ---- */

static void
send(struct pair *p, struct end *e, size_t len)
{
	char *text = malloc(len + 1);
	json_t *msg;

	if (e->c == NULL || p->bytes + len > SENT_MAX) {
		free(text);
		return;
	}
	p->bytes += len;
	memset(text, 'x', len);
	msg = json_pack(
		"{s:I, s:I, s:s#}", "n", (json_int_t)e->sent, "len", (json_int_t)len, "text", text, len);
	if (channel_send(e->c, msg) == 0)
		e->sent++;
	json_decref(msg);
	free(text);
}

/* What the one who holds the keys may put into a frame. */
static void
seal(struct pair *p, int d)
{
	struct channel *c = p->end[d].c;
	size_t n = next(p);
	const uint8_t *text = p->at;

	n = n < p->left ? n : p->left;
	p->at += n;
	p->left -= n;
	if (c == NULL || c->state < CH_HELLO || c->state == CH_DEAD)
		return;
	p->end[!d].sealed = true;
	write_sealed(c, c->noise, text, n);
}

static bool
are_up(const struct pair *p)
{
	for (int d = 0; d < 2; d++)
		if (p->end[d].c == NULL || p->end[d].c->state != CH_UP || p->end[d].c->next != NULL)
			return false;
	return true;
}

/* As if so much had passed each way: the keys are to be renewed, or the nonces are nearly used up. */
static void
age(struct pair *p, uint8_t how)
{
	bool nonces = how & 128, untouched = p->end[0].limit == UINT64_MAX && p->end[1].limit == UINT64_MAX;

	fake_run(&p->f);
	if (!are_up(p) || (nonces && (p->aged || !untouched)))
		return;
	p->aged |= nonces;
	for (int d = 0; d < 2; d++) {
		struct channel *c = p->end[d].c;

		if (nonces)
			noise_set_nonces(c->noise, UINT64_MAX - 8 - (how & 7));
		else
			c->tx_bytes = c->rx_bytes = RENEW_BYTES * (how & 1 ? RENEW_OVERDUE : 1) - (how & 126);
	}
}

/* The dialler's key is another from the next renewal on, and the responder knows of it, or not. */
static void
new_key(struct pair *p, uint8_t how)
{
	if (!are_up(p))
		return;
	p->end[0].c->private_key = private_keys[how & 1 ? 2 : 0];
	if (how & 2)
		memcpy(p->known[0].key, public_keys[how & 4 ? 2 : 0], 32);
}

static void
hang_up(struct pair *p, int d)
{
	channel_close(p->end[d].c);
	p->end[d].c = NULL;
	p->hung_up = true;
}

static void
wait(struct pair *p, uint64_t ms)
{
	fake_run(&p->f);
	fake_advance(&p->f, ms);
	fake_run(&p->f);
}

static void
step(struct pair *p)
{
	uint8_t what = next(p), d = what >> 7;
	enum step s = (what & 127) % STEPS;

	switch (s) {
	case SEND:
		what = next(p);
		send(p, &p->end[d], what < 200 ? what : (size_t)(what - 199) << 12);
		break;
	case RUN:
		fake_run(&p->f);
		break;
	case WAIT:
		wait(p, waits[next(p) & 7]);
		break;
	case SEAL:
		seal(p, d);
		break;
	case RENEW:
		if (are_up(p))
			renewal_start(p->end[0].c);
		break;
	case AGE:
		age(p, next(p));
		break;
	case PIECES:
		p->f.chunk = next(p);
		break;
	case NEW_KEY:
		new_key(p, next(p));
		break;
	case HANG_UP:
		hang_up(p, d);
		break;
	default:
		if (buf_len(&p->swapped) > 0)
			break;
		p->trick = s;
		p->whose = d;
		p->where = next(p);
		p->where = (uint16_t)(p->where << 8 | next(p));
	}
}

/* ---- an input ---- */

static void
name(struct pair *p, int i, const char *text, enum channel_role role, int key)
{
	snprintf(p->local[i].name, sizeof(p->local[i].name), "%s", text);
	snprintf(p->known[i].name, sizeof(p->known[i].name), "%s", text);
	p->local[i].role = p->known[i].role = role;
	p->local[i].env = &p->f.env;
	p->local[i].private_key = private_keys[key];
	memcpy(p->known[i].key, public_keys[key], 32);
}

static void
begin(struct pair *p, uint8_t who)
{
	struct err e = {0};

	fake_init(&p->f);
	p->f.wire = wire;
	p->f.wire_arg = p;
	p->trick = STEPS;
	pair = p;
	name(p, 0, "clc", who & A_PEER ? ROLE_PEER : ROLE_CONTROLLER, 0);
	name(p, 1, "r-x", ROLE_PEER, 1);
	for (int i = 0; i < 2; i++) {
		p->end[i].pair = p;
		p->end[i].limit = UINT64_MAX;
		memset(p->known[i].psk, who & WITH_PSK ? 7 : 0, 32);
	}
	p->known[1].psk[0] ^= (who & WRONG_PSK) != 0;
	if (who & WRONG_ROLE)
		p->local[0].role = ROLE_OBSERVER;
	if (who & WRONG_NAME)
		strcpy(p->local[0].name, "clc-2");
	if (who & WRONG_KEY)
		p->local[0].private_key = private_keys[2];
	if (who & WRONG_ROUTER)
		strcpy(p->known[1].name, "r-y");
	env_call(&p->f.env, listen, ADDRESS, accepted, p, &e);
	p->end[0].c = channel_dial(&p->local[0], &p->known[1], ADDRESS, &ops, &p->end[0]);
}

static void
check_ends(struct pair *p, uint8_t who)
{
	bool wrong = who & (WRONG_PSK | WRONG_ROLE | WRONG_NAME | WRONG_KEY | WRONG_ROUTER);

	if (wrong && p->end[1].up && !p->end[1].sealed)
		finding("who is not who he says is taken in (%#x)", who);
	if (who & WRONG_KEY && p->end[1].n_chunks > 0)
		finding("a stranger gets an answer");
	for (int d = 0; d < 2; d++) {
		const struct end *from = &p->end[d], *to = &p->end[!d];
		bool alone = from->limit == UINT64_MAX && to->limit == UINT64_MAX && !p->hung_up;

		if (alone && !wrong && !to->sealed && !from->sealed && from->c && to->c &&
			from->come != from->sent)
			finding("%llu messages were sent, %llu came", (unsigned long long)from->sent,
				(unsigned long long)from->come);
	}
}

static void
end(struct pair *p)
{
	for (int d = 0; d < 2; d++)
		channel_close(p->end[d].c);
	fake_run(&p->f);
	for (int d = 0; d < 2; d++)
		for (size_t i = 0; i < p->end[d].n_chunks; i++)
			buf_fini(&p->end[d].chunk[i]);
	buf_fini(&p->swapped);
	p->f.env.ops->listener_close(p->f.listeners);
	fake_fini(&p->f);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	for (int i = 0; i < 3; i++) {
		memset(private_keys[i], i + 1, 32);
		key_public(private_keys[i], public_keys[i]);
	}
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pair p = {.at = data, .left = size};
	size_t base = memory_held();
	uint8_t who = next(&p);

	fuzz_random_reset();
	begin(&p, who);
	for (int i = 0; i < STEPS_MAX && p.left > 0; i++) {
		step(&p);
		memory_check(base, HELD_MAX, "two ends");
	}
	wait(&p, 1000);
	check_ends(&p, who);
	end(&p);
	memory_check(base, 0, "what has been given back");
	return 0;
}
