/* SPDX-License-Identifier: BSD-3-Clause */
/* Message 1 of a session that is up, played again a million times, each on a connection of its own.
 *
 * One point of X25519 costs 34 us and a page that is locked and guarded 10 us, so that a million would take four minutes: here
 * a product is computed once and then remembered, the ephemeral key is the same each time, and secrets are ordinary memory.
 * All else is the real thing, and what a replay costs is counted instead. */
#include "channel_world.h"

#include <api/secret.h>

#define REPLAYS	 1000000
#define PRODUCTS 64

int __real_crypto_scalarmult(unsigned char *q, const unsigned char *n, const unsigned char *p);
int __wrap_crypto_scalarmult(unsigned char *q, const unsigned char *n, const unsigned char *p);
int __real_crypto_scalarmult_base(unsigned char *q, const unsigned char *n);
int __wrap_crypto_scalarmult_base(unsigned char *q, const unsigned char *n);
void __real_randombytes_buf(void *p, size_t n);
void __wrap_randombytes_buf(void *p, size_t n);
void *__wrap_secret_new(size_t n);
void __wrap_secret_free(void *p);

struct product {
	unsigned char n[32], p[32], q[32];
};

static struct product products[PRODUCTS];
static size_t n_products;
static uint64_t asked;
static long secrets;
static bool ephemeral_stays;

static struct product *
product_of(const unsigned char *n, const unsigned char *p)
{
	struct product *x = products;

	while (x < products + n_products && (memcmp(x->n, n, 32) != 0 || memcmp(x->p, p, 32) != 0))
		x++;
	return x;
}

int
__wrap_crypto_scalarmult(unsigned char *q, const unsigned char *n, const unsigned char *p)
{
	struct product *x = product_of(n, p);

	asked++;
	if (x == products + n_products) {
		assert_true(n_products++ < PRODUCTS);
		memcpy(x->n, n, 32);
		memcpy(x->p, p, 32);
		assert_int_equal(__real_crypto_scalarmult(x->q, n, p), 0);
	}
	memcpy(q, x->q, 32);
	return 0;
}

int
__wrap_crypto_scalarmult_base(unsigned char *q, const unsigned char *n)
{
	static const unsigned char base[32] = {9};

	return __wrap_crypto_scalarmult(q, n, base);
}

void
__wrap_randombytes_buf(void *p, size_t n)
{
	if (ephemeral_stays)
		memset(p, 0x40, n);
	else
		__real_randombytes_buf(p, n);
}

void *
__wrap_secret_new(size_t n)
{
	secrets++;
	return calloc(1, n);
}

void
__wrap_secret_free(void *p)
{
	secrets -= p != NULL;
	free(p);
}

static void
replay(struct world *w, const struct buf *one)
{
	struct stranger x = {0};

	memset(&w->b, 0, sizeof(w->b));
	x.s = env_call(&w->f.env, dial, ADDRESS, &stranger_ops, &x);
	stranger_write(w, &x, buf_head(one), buf_len(one));
	assert_int_equal(w->b.up, 0);
	w->f.ops.stream_close(x.s);
	fake_run(&w->f);
	assert_int_equal(w->b.down, 1);
	buf_consume(&w->sent[0], buf_len(&w->sent[0]));
	buf_consume(&w->sent[1], buf_len(&w->sent[1]));
}

/* C-08: it is answered, by one who cannot know better, and nothing comes of it. */
static void
message_one_replayed_a_million_times_changes_nothing(void **state)
{
	struct world w;
	struct buf one;
	struct end up;
	long held;

	(void)state;
	buf_init(&one, 0);
	world_init(&w);
	connect_world(&w);
	assert_int_equal(w.b.up, 1);
	buf_append(&one, buf_head(&w.sent[0]), 2 + NOISE_IK_MSG1);
	up = w.b;
	held = secrets;
	ephemeral_stays = true;
	asked = w.finds = 0;
	for (unsigned int i = 0; i < REPLAYS; i++) {
		replay(&w, &one);
		assert_int_equal(secrets, held);
		assert_int_equal(fake_streams(&w.f), 2);
	}
	ephemeral_stays = false;
	/* Its own public key, es and ss; its ephemeral key, ee and se. */
	assert_int_equal(asked, 6 * (uint64_t)REPLAYS);
	assert_int_equal(w.finds, REPLAYS);
	w.b = up; /* the session that is up is not displaced */
	send_text(w.a.c, 5, 0);
	send_text(w.b.c, 6, 0);
	fake_run(&w.f);
	assert_int_equal(w.b.last_len, 5);
	assert_int_equal(w.a.last_len, 6);
	world_fini(&w);
	buf_fini(&one);
	assert_int_equal(secrets, 0);
}

static void
say_nothing(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(message_one_replayed_a_million_times_changes_nothing),
	};

	log_set_sink(say_nothing, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
