/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench.h"

#include <errno.h>
#include <event2/event.h>
#include <nearwayd/eal.h>
#include <nearwayd/loop.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct env_timer {
	void (*cb)(void *arg);
	void *arg;
	uint64_t due; /* 0 = not set */
	struct env_timer *next;
};

const char *bench_devices[2] = {"net_null0", "net_null1"}, *bench_cpus = "0";
enum poll_mode bench_poll = POLL_ADAPTIVE;
struct dp *bench;
struct config bench_config;

static struct {
	uint64_t now;
	struct env_timer *timers;
	struct event_base *base;
	struct plan plan;
	char runtime[64];
} on = {.now = 1000000};

static struct conf_port ports[2] = {
	{.name = "wan0", .role = PORT_WAN, .mtu = 1500, .address = {0xc0000201, 24}},
	{.name = "dc0", .role = PORT_DC, .mtu = 1500},
};
static struct conf_attachment at[2] = {{.port = "dc0"}, {.port = "dc0", .vlan = 7}};
static struct conf_segment segments[2] = {
	{.name = "web",
		.vni = 1,
		.macs = 4096,
		.prefix = {0x0a000000, 24},
		.mtu = 1500,
		.attachments = {&at[0], 1},
		.gateway = {0x0a000001, {{2, 0, 0, 0, 0, 1}}}},
	{.name = "db",
		.vni = 2,
		.macs = 4096,
		.prefix = {0x0a000100, 24},
		.mtu = 1500,
		.attachments = {&at[1], 1},
		.gateway = {0x0a000101, {{2, 0, 0, 0, 0, 2}}}},
};
static struct conf_peer peers[1] = {{.name = "r-y", .vtep = 0xc6336409, .mac = {{2, 0, 0, 0, 9, 9}}}};

/* ---- a clock that the test turns ---- */

static uint64_t
now_ms(void *ctx)
{
	(void)ctx;
	return on.now;
}

static const char *
boot_id(void *ctx)
{
	(void)ctx;
	return "test";
}

static struct env_timer *
timer_new(void *ctx, void (*cb)(void *arg), void *arg)
{
	struct env_timer *t = calloc(1, sizeof(*t));

	(void)ctx;
	*t = (struct env_timer){.cb = cb, .arg = arg, .next = on.timers};
	on.timers = t;
	return t;
}

static void
timer_set(struct env_timer *t, uint64_t after_ms)
{
	t->due = on.now + after_ms;
}

static void
timer_stop(struct env_timer *t)
{
	t->due = 0;
}

static void
timer_free(struct env_timer *t)
{
	struct env_timer **p = &on.timers;

	while (*p != t)
		p = &(*p)->next;
	*p = t->next;
	free(t);
}

static const struct env_ops ops = {
	.now_ms = now_ms,
	.boot_id = boot_id,
	.timer_new = timer_new,
	.timer_set = timer_set,
	.timer_stop = timer_stop,
	.timer_free = timer_free,
};
static struct env env = {.ops = &ops};

static struct env_timer *
first_due(uint64_t until)
{
	struct env_timer *first = NULL;

	for (struct env_timer *t = on.timers; t != NULL; t = t->next)
		if (t->due != 0 && t->due <= until && (first == NULL || t->due < first->due))
			first = t;
	return first;
}

void
bench_advance(uint64_t ms)
{
	uint64_t until = on.now + ms;
	struct env_timer *t;

	while ((t = first_due(until)) != NULL) {
		on.now = t->due > on.now ? t->due : on.now;
		t->due = 0;
		t->cb(t->arg);
	}
	on.now = until;
}

/* ---- orders ---- */

bool
bench_order(struct dp_order *o)
{
	return rte_ring_sc_dequeue_elem(loop_worker(bench->loops[0])->orders, o, sizeof(*o)) == 0;
}

struct rte_mbuf *
bench_frame(void)
{
	struct dp_order o;

	if (!bench_order(&o))
		fail_msg("no order is left");
	assert_non_null(o.inject);
	return o.inject;
}

void
bench_no_more(void)
{
	struct dp_order o;

	if (bench_order(&o))
		fail_msg("an order more than expected: %s", o.inject != NULL ? "a frame" : "a release");
}

void
bench_forget(void)
{
	struct dp_order o;

	while (bench_order(&o))
		rte_pktmbuf_free(o.inject);
}

void
bench_events(void)
{
	event_base_loop(on.base, EVLOOP_NONBLOCK);
	bench_advance(5);
}

/* ---- life ---- */

static void
configure(void)
{
	bench_config.limits = (struct conf_limits){
		.vms = 64, .routes = 64, .neighbours = 8, .macs = 16, .sessions = 1024, .rx_ring = 64};
	bench_config.hold = (struct conf_hold){
		.packets = 64, .bytes = 1 << 20, .vm_packets = 64, .vm_bytes = 1 << 20, .max_ms = 3000};
	strcpy(bench_config.dataplane.cpus, bench_cpus);
	bench_config.dataplane.poll = bench_poll;
	for (int i = 0; i < 2; i++)
		strcpy(ports[i].device, bench_devices[i]);
	bench_config.dataplane.memory = MEMORY_NO_HUGE;
	bench_config.router =
		(struct conf_router){.name = "r-x", .mac = {{2, 0, 0, 0, 9, 1}}, .vtep = 0xc0000201};
	strcpy(bench_config.control.runtime, on.runtime);
	bench_config.ports.items = ports;
	bench_config.ports.n = 2;
	bench_config.segments.items = segments;
	bench_config.segments.n = 2;
	bench_config.peers.items = peers;
	bench_config.peers.n = 1;
}

int
bench_start(void **state)
{
	struct faults f;
	struct err e = {0};

	(void)state;
	strcpy(on.runtime, "/tmp/nearway-bench-XXXXXX");
	if (mkdtemp(on.runtime) == NULL)
		return -1;
	configure();
	faults_init(&f);
	if (plan_make(&bench_config, 0, &on.plan, &f) != 0)
		return -1;
	faults_fini(&f);
	on.base = event_base_new();
	if (eal_start(&on.plan, "bench", false, &e) != 0 ||
		(bench = dp_new(&bench_config, &on.plan, &env, on.base, &e)) == NULL) {
		print_error("%s\n", e.text);
		return -1;
	}
	return 0;
}

int
bench_stop(void **state)
{
	char file[128];

	(void)state;
	dp_free(bench);
	event_base_free(on.base);
	eal_stop();
	snprintf(file, sizeof(file), "%s/sessions", on.runtime);
	unlink(file);
	rmdir(on.runtime);
	return 0;
}
