/* SPDX-License-Identifier: BSD-3-Clause */
/* caller.c - a controller that gives one VM another address again and again, on one channel, and takes the time.
 *
 * usage: caller ADDRESS:PORT ROUTER KEY NAME KEY-FILE SEGMENT MAC PRIVATE GLOBAL GLOBAL RATE SECONDS [again|flood]
 *
 * Sends RATE changes a second without waiting for their answers. Prints "up" when it is, then when it is done, or its channel, JSON:
 * {"sent", "acked", "refused", "median_ms", "p99_ms", "max_ms", "why" (the channel went down)}. With `again` it dials anew
 * when its channel went down, after the times of docs/controller-protocol.md, until SECONDS are over; then the JSON has also
 * {"dials", "ups", "is_up" (at the end)}. With `flood` it is behind its RATE while the router reads no faster, and "pushed_back"
 * tells how many times it had to wait for that.
 */
#include <api/key.h>
#include <env/host.h>
#include <net/keys.h>
#include <net/rpc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS	    5
#define LINGER_MS   3000 /* for the last answers */
#define CHANGES_MAX 1000000
#define FLOOD_MAX   2000 /* in one tick */

static struct caller {
	struct host *host;
	struct env *env;
	struct channel *channel;
	struct rpc *rpc;
	struct env_timer *timer;
	const char *segment, *mac, *private, *global[2];
	unsigned long rate, seconds, sent, acked, refused, dials, ups, pushed_back;
	unsigned long failed; /* dials in a row */
	uint64_t started, began;
	bool again, flood, was_up;
	char **argv;
	uint8_t private_key[32];
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

static bool
change(void)
{
	json_t *p = json_pack("{s:s, s:s, s:i, s:[{s:s, s:s}]}", "segment", k.segment, "mac", k.mac, "epoch",
		0, "addresses", "private", k.private, "global", k.global[k.sent & 1]);

	k.sent_at[k.sent] = clock_ms();
	if (rpc_call(k.rpc, "vm.register", p, answered, &k.sent_at[k.sent]) != 0)
		return false;
	k.sent++;
	return true;
}

static void dial(void);

static bool
is_over(void)
{
	return k.again && now() - k.began > k.seconds * 1000;
}

/* How many of those that are due may have been sent. A flood leaves out what was not read in its time. */
static unsigned long
takes(unsigned long due, bool over)
{
	if (!k.flood || due <= k.sent)
		return due;
	if (over)
		return k.sent;
	if (!channel_idle(k.channel)) {
		k.pushed_back++;
		return k.sent;
	}
	return due < k.sent + FLOOD_MAX ? due : k.sent + FLOOD_MAX;
}

static void
send_until(unsigned long n)
{
	while (k.sent < n && k.sent < CHANGES_MAX && change())
		;
}

static void
tick(void *arg)
{
	uint64_t passed = now() - k.started, end = k.seconds * 1000;
	unsigned long due = (passed < end ? passed : end) * k.rate / 1000;

	(void)arg;
	if (k.channel == NULL && k.again && !is_over()) {
		dial();
		return;
	}
	if (k.ups > 0 && k.channel != NULL)
		send_until(takes(due, passed >= end));
	if (k.channel == NULL || passed > end + LINGER_MS || (passed >= end && k.acked == k.sent) ||
		is_over())
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
	if (k.ups++ == 0)
		k.started = now();
	k.failed = 0;
	k.env->ops->timer_set(k.timer, 0);
}

static void
message(void *arg, struct channel *c, json_t *msg)
{
	(void)arg;
	(void)c;
	rpc_message(k.rpc, msg);
}

/* After a random time of up to 1 s, then 2, 4, ... up to 60 s. */
static uint64_t
back_off(void)
{
	uint64_t most = UINT64_C(1000) << (k.failed < 6 ? k.failed : 6);

	k.failed++;
	return (uint64_t)random() % (most < 60000 ? most : 60000);
}

static uint64_t
next_dial(void)
{
	uint64_t passed = now() - k.began, all = k.seconds * 1000, wait = back_off();

	return passed + wait < all ? wait : all > passed ? all - passed + 1 : 0;
}

static void
down(void *arg, struct channel *c, const char *why)
{
	(void)arg;
	(void)c;
	k.channel = NULL;
	rpc_free(k.rpc);
	k.rpc = NULL;
	snprintf(k.why, sizeof(k.why), "%s", why);
	k.env->ops->timer_set(k.timer, k.again ? next_dial() : 0);
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
	       "\"why\": \"%s\", \"dials\": %lu, \"ups\": %lu, \"is_up\": %s, "
	       "\"pushed_back\": %lu}\n",
		k.sent, n, k.refused, n ? k.ms[n / 2] : 0, n ? k.ms[n * 99 / 100] : 0, n ? k.ms[n - 1] : 0,
		k.why, k.dials, k.ups, k.was_up ? "true" : "false", k.pushed_back);
}

static void
dial(void)
{
	static const struct channel_ops ops = {up, message, down};
	struct channel_local local = {.env = k.env, .role = ROLE_CONTROLLER, .private_key = k.private_key};
	struct channel_identity to = {.role = ROLE_PEER};

	snprintf(local.name, sizeof(local.name), "%s", k.argv[4]);
	snprintf(to.name, sizeof(to.name), "%s", k.argv[2]);
	k.channel =
		key_parse(k.argv[3], to.key) == 0 ? channel_dial(&local, &to, k.argv[1], &ops, NULL) : NULL;
	k.rpc = k.channel != NULL ? rpc_new(k.channel, asked, NULL) : NULL;
	k.dials++;
	if (k.rpc == NULL)
		host_stop(k.host, 1);
}

int
main(int argc, char **argv)
{
	struct err e = {0};

	if (argc < 13 || key_load(argv[5], k.private_key, &e) != 0 || (k.host = host_new(&e)) == NULL) {
		fprintf(stderr, "caller: %s\n", argc >= 13 ? e.text : "see its source for the usage");
		return 2;
	}
	k.argv = argv;
	k.env = host_env(k.host);
	k.segment = argv[6];
	k.mac = argv[7];
	k.private = argv[8];
	k.global[0] = argv[9];
	k.global[1] = argv[10];
	k.rate = strtoul(argv[11], NULL, 10);
	k.seconds = strtoul(argv[12], NULL, 10);
	k.again = argc > 13 && strcmp(argv[13], "again") == 0;
	k.flood = argc > 13 && strcmp(argv[13], "flood") == 0;
	srandom((unsigned int)getpid());
	k.timer = env_call(k.env, timer_new, tick, NULL);
	k.began = now();
	dial();
	host_run(k.host);
	k.was_up = k.channel != NULL;
	report();
	rpc_free(k.rpc);
	channel_close(k.channel);
	k.env->ops->timer_free(k.timer);
	host_free(k.host);
	return 0;
}
