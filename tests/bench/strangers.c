/* SPDX-License-Identifier: BSD-3-Clause */
/* strangers.c - what handshakes of strangers cost a router's control thread, in CPU time: the ones that get through the
 * gate (their message 1 is right, and their key is unknown), and the ones that do not.
 *
 *   bench_strangers [--handshakes N]
 */
#include <common/log.h>
#include <net/channel.h>
#include <net/gate.h>
#include <net/keys.h>
#include <net/noise.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fake_env.h"

#define ADDRESS "192.0.2.1:7411"

static double
cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static const struct channel_identity *
nobody(void *arg, const uint8_t key[32])
{
	(void)arg;
	(void)key;
	return NULL;
}

static void
nothing_up(void *arg, struct channel *c)
{
	(void)arg;
	(void)c;
}

static void
nothing_said(void *arg, struct channel *c, json_t *msg)
{
	(void)arg;
	(void)c;
	(void)msg;
}

static void
note_down(void *arg, struct channel *c, const char *why)
{
	(void)c;
	*(unsigned int *)arg += strstr(why, "unknown key") != NULL;
}

static const struct channel_ops ops = {nothing_up, nothing_said, note_down};
static struct channel_local router = {.name = "r-x", .role = ROLE_PEER};
static unsigned int refused;

static void
accepted(void *arg, struct env_stream *s, const struct env_peer_id *id)
{
	(void)arg;
	channel_accept(&router, s, id, nobody, &ops, &refused);
}

static void
message_one(const uint8_t router_public[32], uint8_t out[2 + NOISE_IK_MSG1])
{
	static const char prologue[] = CHANNEL_PROLOGUE "r-x";
	uint8_t key[32];
	struct noise *n;
	size_t len;

	key_generate(key);
	n = noise_new(&(struct noise_config){.initiator = true,
		.prologue = prologue,
		.prologue_len = strlen(prologue),
		.static_private = key,
		.remote_static = router_public});
	if (n == NULL || noise_write(n, NULL, 0, out + 2, &len) != 0)
		abort();
	out[0] = 0;
	out[1] = NOISE_IK_MSG1;
	noise_free(n);
}

static double
handshakes(struct fake_env *f, const uint8_t *messages, unsigned int n)
{
	static const struct env_stream_ops none;
	double start = cpu_us();

	for (unsigned int i = 0; i < n; i++) {
		struct env_stream *s = env_call(&f->env, dial, ADDRESS, &none, NULL);

		f->ops.stream_write(s, messages + (size_t)i * (2 + NOISE_IK_MSG1), 2 + NOISE_IK_MSG1);
		f->ops.stream_close(s);
		fake_run(f);
	}
	return (cpu_us() - start) / n;
}

static double
knocks(unsigned int n)
{
	static const uint8_t key[GATE_KEY] = {1};
	struct gate g;
	char from[64];
	double start;

	gate_init(&g, key);
	start = cpu_us();
	for (unsigned int i = 0; i < n; i++) {
		snprintf(from, sizeof(from), "192.0.%u.%u:40000", i / 250 % 250, i % 250);
		gate_admit(&g, 1000, from);
	}
	return (cpu_us() - start) / n;
}

int
main(int argc, char **argv)
{
	unsigned int n =
		argc == 3 && strcmp(argv[1], "--handshakes") == 0 ? (unsigned int)atoi(argv[2]) : 2000;
	uint8_t private_key[32], public_key[32], *messages = malloc((size_t)n * (2 + NOISE_IK_MSG1));
	struct env_listener *l;
	struct fake_env f;
	double one, knock;

	if (n == 0 || messages == NULL || key_generate(private_key) != 0)
		return 2;
	log_set_level(LOG_ERROR);
	key_public(private_key, public_key);
	for (unsigned int i = 0; i < n; i++)
		message_one(public_key, messages + (size_t)i * (2 + NOISE_IK_MSG1));
	fake_init(&f);
	router.env = &f.env;
	router.private_key = private_key;
	l = env_call(&f.env, listen, ADDRESS, accepted, NULL, NULL);
	one = handshakes(&f, messages, n);
	knock = knocks(n);
	f.ops.listener_close(l);
	fake_fini(&f);
	free(messages);
	printf("a stranger's handshake costs %.0f us, one that the gate refuses %.1f us (without accept and "
	       "close of the socket)\n",
		one, knock);
	printf("1,000 a second from 1,000 addresses: %d get through, %.1f %% of one CPU\n", GATE_ALL_RATE,
		(GATE_ALL_RATE * one + 800 * knock) / 1e4);
	return refused == n ? 0 : 1;
}
