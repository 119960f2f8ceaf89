/* SPDX-License-Identifier: BSD-3-Clause */
/* caller.c - a controller that gives one VM another address again and again, on one channel, and takes the time.
 *
 * usage: caller ADDRESS:PORT ROUTER KEY NAME KEY-FILE SEGMENT MAC PRIVATE GLOBAL GLOBAL RATE SECONDS
 *
 * Sends RATE changes a second without waiting for their answers. Prints "up", then when it is done, or its channel, JSON:
 * {"sent", "acked", "refused", "median_ms", "p99_ms", "max_ms", "why" (the channel went down)}.
 */
#include <api/key.h>
#include <env/host.h>
#include <net/keys.h>
#include <net/rpc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TICK_MS	    5
#define LINGER_MS   3000 /* for the last answers */
#define CHANGES_MAX 1000000

static struct caller {
	struct host *host;
	struct env *env;
	struct channel *channel;
	struct rpc *rpc;
	struct env_timer *timer;
	const char *segment, *mac, *private, *global[2];
	unsigned long rate, seconds, sent, acked, refused;
	uint64_t started;
	double ms[CHANGES_MAX], sent_at[CHANGES_MAX];
	char why[200];
} k;

static double
clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static uint64_t
now(void)
{
	return env_call(k.env, now_ms);
}

static void
answered(void *arg, int code, json_t *v)
{
	const double *sent = arg;

	(void)v;
	if (code < 0 && code > -1000) /* the channel is gone */
		return;
	k.refused += code != 0;
	k.ms[k.acked++] = clock_ms() - *sent;
}

static void
change(void)
{
	json_t *p = json_pack("{s:s, s:s, s:i, s:[{s:s, s:s}]}", "segment", k.segment, "mac", k.mac, "epoch",
		0, "addresses", "private", k.private, "global", k.global[k.sent & 1]);

	k.sent_at[k.sent] = clock_ms();
	if (rpc_call(k.rpc, "vm.register", p, answered, &k.sent_at[k.sent]) == 0)
		k.sent++;
}

static void
tick(void *arg)
{
	uint64_t passed = now() - k.started, end = k.seconds * 1000;
	unsigned long due = (passed < end ? passed : end) * k.rate / 1000;

	(void)arg;
	while (k.sent < due && k.sent < CHANGES_MAX && k.channel != NULL)
		change();
	if (k.channel == NULL || passed > end + LINGER_MS || (passed >= end && k.acked == k.sent))
		host_stop(k.host, 0);
	else
		k.env->ops->timer_set(k.timer, TICK_MS);
}

static void
up(void *arg, struct channel *c)
{
	(void)arg;
	(void)c;
	printf("up\n");
	fflush(stdout);
	k.started = now();
	k.env->ops->timer_set(k.timer, 0);
}

static void
message(void *arg, struct channel *c, json_t *msg)
{
	(void)arg;
	(void)c;
	rpc_message(k.rpc, msg);
}

static void
down(void *arg, struct channel *c, const char *why)
{
	(void)arg;
	(void)c;
	k.channel = NULL;
	snprintf(k.why, sizeof(k.why), "%s", why);
	k.env->ops->timer_set(k.timer, 0);
}

static void
asked(void *arg, struct rpc_request *r, const char *method, json_t *params)
{
	(void)arg;
	(void)params;
	rpc_fail(r, -32601, NULL, "no method %s", method);
}

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void
report(void)
{
	unsigned long n = k.acked;

	qsort(k.ms, n, sizeof(k.ms[0]), by_size);
	printf("{\"sent\": %lu, \"acked\": %lu, \"refused\": %lu, \"median_ms\": %.1f, \"p99_ms\": %.1f, "
	       "\"max_ms\": %.1f, "
	       "\"why\": \"%s\"}\n",
		k.sent, n, k.refused, n ? k.ms[n / 2] : 0, n ? k.ms[n * 99 / 100] : 0, n ? k.ms[n - 1] : 0,
		k.why);
}

static void
dial(char **argv, const uint8_t private_key[32])
{
	static const struct channel_ops ops = {up, message, down};
	struct channel_local local = {.env = k.env, .role = ROLE_CONTROLLER, .private_key = private_key};
	struct channel_identity to = {.role = ROLE_PEER};

	snprintf(local.name, sizeof(local.name), "%s", argv[4]);
	snprintf(to.name, sizeof(to.name), "%s", argv[2]);
	if (key_parse(argv[3], to.key) != 0)
		return;
	k.channel = channel_dial(&local, &to, argv[1], &ops, NULL);
}

int
main(int argc, char **argv)
{
	static uint8_t private_key[32];
	struct err e = {0};

	if (argc != 13 || key_load(argv[5], private_key, &e) != 0 || (k.host = host_new(&e)) == NULL) {
		fprintf(stderr, "caller: %s\n", argc == 13 ? e.text : "see its source for the usage");
		return 2;
	}
	k.env = host_env(k.host);
	k.segment = argv[6];
	k.mac = argv[7];
	k.private = argv[8];
	k.global[0] = argv[9];
	k.global[1] = argv[10];
	k.rate = strtoul(argv[11], NULL, 10);
	k.seconds = strtoul(argv[12], NULL, 10);
	k.timer = env_call(k.env, timer_new, tick, NULL);
	dial(argv, private_key);
	if (k.channel == NULL || (k.rpc = rpc_new(k.channel, asked, NULL)) == NULL)
		return 1;
	host_run(k.host);
	rpc_free(k.rpc);
	channel_close(k.channel);
	report();
	k.env->ops->timer_free(k.timer);
	host_free(k.host);
	return 0;
}
