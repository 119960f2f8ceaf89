/* SPDX-License-Identifier: BSD-3-Clause */
/* A controller that registers VMs one by one over the encrypted channel, so many of them on their way: what a router acknowledges
 * in a second, and after how long.
 *
 *   bench_changes KEY-FILE ROUTER-KEY ADDRESS:PORT VMS IN-FLIGHT
 */
#include <env/host.h>
#include <net/keys.h>
#include <net/rpc.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct bench {
	struct host *host;
	struct rpc *rpc;
	unsigned int vms, in_flight;
	unsigned int sent, done, refused;
	uint64_t began_us;
	uint64_t *sent_us; /* then how long it took */
};

struct call {
	struct bench *b;
	unsigned int i;
};

static uint64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void fill(struct bench *b);

static void
answered(void *arg, int code, json_t *result)
{
	struct call *call = arg;
	struct bench *b = call->b;

	if (code != 0 && b->refused++ == 0)
		fprintf(stderr, "bench_changes: refused: %s\n",
			json_string_value(json_object_get(result, "message")));
	b->sent_us[call->i] = now_us() - b->sent_us[call->i];
	free(call);
	if (++b->done == b->vms || code < 0)
		host_stop(b->host, code < 0);
	else
		fill(b);
}

/* VM i: 10.a.b.c with 100.a.b.c, a.b.c being i and something. */
static void
send_one(struct bench *b)
{
	unsigned int i = b->sent++, n = i + 256;
	struct call *call = malloc(sizeof(*call));
	char mac[24], private[24], global[24];

	snprintf(mac, sizeof(mac), "52:54:%02x:%02x:%02x:01", n >> 16 & 255, n >> 8 & 255, n & 255);
	snprintf(private, sizeof(private), "10.%u.%u.%u", n >> 16 & 255, n >> 8 & 255, n & 255);
	snprintf(global, sizeof(global), "100.%u.%u.%u", n >> 16 & 255, n >> 8 & 255, n & 255);
	*call = (struct call){b, i};
	b->sent_us[i] = now_us();
	if (rpc_call(b->rpc, "vm.register",
		    json_pack("{s:s, s:s, s:i, s:[{s:s, s:s}]}", "segment", "tenant-a", "mac", mac, "epoch",
			    1, "addresses", "private", private, "global", global),
		    answered, call) != 0)
		host_stop(b->host, 1);
}

static void
fill(struct bench *b)
{
	while (b->sent < b->vms && b->sent - b->done < b->in_flight)
		send_one(b);
}

static void
handle(void *arg, struct rpc_request *r, const char *method, json_t *params)
{
	(void)arg;
	(void)params;
	rpc_fail(r, -32601, NULL, "no method %s", method);
}

static void
up(void *arg, struct channel *c)
{
	struct bench *b = arg;

	b->rpc = rpc_new(c, handle, b);
	b->began_us = now_us();
	fill(b);
}

static void
message(void *arg, struct channel *c, json_t *msg)
{
	struct bench *b = arg;

	(void)c;
	rpc_message(b->rpc, msg);
}

static void
down(void *arg, struct channel *c, const char *why)
{
	struct bench *b = arg;

	(void)c;
	fprintf(stderr, "bench_changes: the channel ended: %s\n", why);
	host_stop(b->host, 1);
}

static int
by_time(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void
report(struct bench *b)
{
	double seconds = (double)(now_us() - b->began_us) / 1e6;

	qsort(b->sent_us, b->vms, sizeof(*b->sent_us), by_time);
	printf("%u changes, %u in flight: %.0f acknowledged a second; after %.1f ms (median), %.1f ms (99 "
	       "%%), %.1f ms (all)\n",
		b->vms, b->in_flight, b->vms / seconds, (double)b->sent_us[b->vms / 2] / 1e3,
		(double)b->sent_us[b->vms - 1 - b->vms / 100] / 1e3, (double)b->sent_us[b->vms - 1] / 1e3);
}

int
main(int argc, char **argv)
{
	static const struct channel_ops ops = {.up = up, .message = message, .down = down};
	struct channel_local local = {.name = "clc", .role = ROLE_CONTROLLER};
	struct channel_identity to = {.name = "r-x", .role = ROLE_PEER};
	struct bench b = {0};
	uint8_t key[32];
	struct err e;
	int rc;

	if (argc != 6 || sodium_init() < 0 || key_load(argv[1], key, &e) != 0 ||
		key_parse(argv[2], to.key) != 0) {
		fprintf(stderr, "usage: bench_changes KEY-FILE ROUTER-KEY ADDRESS:PORT VMS IN-FLIGHT\n");
		return 2;
	}
	b.vms = (unsigned int)atoi(argv[4]);
	b.in_flight = (unsigned int)atoi(argv[5]);
	b.sent_us = calloc(b.vms, sizeof(*b.sent_us));
	b.host = host_new(&e);
	if (b.host == NULL || b.sent_us == NULL)
		return 1;
	local.env = host_env(b.host);
	local.private_key = key;
	local.hello = json_pack("{s:i}", "term", 1);
	channel_dial(&local, &to, argv[3], &ops, &b);
	rc = host_run(b.host);
	if (rc == 0 && b.refused == 0)
		report(&b);
	return rc != 0 || b.refused != 0;
}
