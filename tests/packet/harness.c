/* SPDX-License-Identifier: BSD-3-Clause */
#include "harness.h"

#include "testeal.h"
#include <dataplane/express/ready.h>
#include <report.h>
#include <rte_errno.h>
#include <rte_mempool.h>
#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MBUFS	   2047
#define OUT_MAX	   4096
#define TUNNEL_LEN 50
#define ROUNDS_MAX 64 /* bursts until all injected packets are through */
#define GUARDS	   1024

struct net net;

static struct out { /* frames that a port sent and no test has looked at yet */
	struct frame *f;
	uint32_t first, n;
} out[PORTS];
static uint64_t drops_explained[DROPS];
static uint64_t counted_before; /* what the worker had counted of VMs and segments */

/* ---- a test's life ---- */

void
net_begin(void)
{
	network_build();
	net.w = worker_new(0, net.topo, &net.tables, net.pool);
	assert_non_null(net.w);
	net.w->express = net.express = getenv("NEARWAY_STAGES") == NULL;
	net.now_ms = 1000000;
	net.behind = 0;
	net.piece = 0;
	net.front = RTE_PKTMBUF_HEADROOM;
	counted_before = 0;
	net.broken = false;
	worker_tick(net.w, net.now_ms * 1000);
	for (int i = 0; i < PORTS; i++)
		out[i].first = out[i].n = 0;
	memset(drops_explained, 0, sizeof(drops_explained));
}

static uint32_t
waiting(void)
{
	return net.w->n_hold + net.w->vm_hold.packets;
}

static bool
books_balance(void)
{
	const struct counts *c = &net.w->c;
	int64_t off = worker_imbalance(net.w);

	if (off != 0)
		print_error("the books are off by %lld packets (positive: lost)\n", (long long)off);
	if (c->held - c->released != waiting())
		print_error("held %llu - released %llu, but %u packets wait\n", (unsigned long long)c->held,
			(unsigned long long)c->released, waiting());
	return off == 0 && c->held - c->released == waiting();
}

uint32_t
net_missing(void)
{
	return MBUFS - rte_mempool_avail_count(net.pool);
}

static void
report_drops(void)
{
	for (int i = 0; i < DROPS; i++)
		report_drop(drop_names[i].name, net.w->c.drop[i]);
}

static bool nothing_left(void);

bool
net_end(void)
{
	bool balance = books_balance(), nothing = nothing_left(); /* both speak */
	uint32_t missing;

	if (!net.broken) /* chance proves nothing */
		report_drops();
	worker_free(net.w); /* first: the next test wants to start, even if this one failed */
	network_free();
	missing = net_missing();
	if (missing != 0)
		print_error("%u mbufs leaked\n", missing);
	return balance && nothing && missing == 0;
}

void
net_start(void)
{
	char prefix[64];
	char *argv[] = {"test", "--no-huge", "--no-shconf", "-m", "256", "--no-pci", "--log-level=error",
		"--file-prefix", prefix, "-l", "0", NULL};

	snprintf(prefix, sizeof(prefix), "nwtest%d", (int)getpid());
	if (test_eal_init(RTE_DIM(argv) - 1, argv) < 0) {
		fprintf(stderr, "EAL: %s\n", rte_strerror(rte_errno));
		exit(1);
	}
	net.pool = rte_pktmbuf_pool_create(
		"test", MBUFS, 0, sizeof(struct meta), RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (net.pool == NULL) {
		fprintf(stderr, "mbuf pool: %s\n", rte_strerror(rte_errno));
		exit(1);
	}
	for (int i = 0; i < PORTS; i++)
		out[i].f = calloc(OUT_MAX, sizeof(struct frame));
}

/* A test as cmocka runs it: the test, and whether it came to its end. */
struct run {
	const struct CMUnitTest *test;
	bool ended;
};

static int
setup(void **state)
{
	(void)state;
	net_begin();
	return 0;
}

static void
one_test(void **state)
{
	struct run *r = *state;

	r->test->test_func(NULL);
	r->ended = true;
}

static int
teardown(void **state)
{
	struct run *r = *state;
	bool whole = net_end(); /* tells of more than a failed test does */

	report_test(r->test->name, r->test->initial_state != NULL ? r->test->initial_state : "design",
		r->ended && whole);
	return whole ? 0 : -1;
}

/* "../tests/packet/test_nat.c" is the program "nat". */
static const char *
program_of(const char *source)
{
	static char name[64];
	const char *base = strrchr(source, '/') != NULL ? strrchr(source, '/') + 1 : source;

	if (strncmp(base, "test_", 5) == 0)
		base += 5;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(base, "."), base);
	return name;
}

int
net_run(const char *name, const struct CMUnitTest *tests, size_t n)
{
	struct CMUnitTest *mine = calloc(n, sizeof(*mine));
	struct run *runs = calloc(n, sizeof(*runs));
	int rc;

	net_start();
	report_open(program_of(name));
	for (size_t i = 0; i < n; i++) {
		runs[i].test = &tests[i];
		mine[i] = (struct CMUnitTest){tests[i].name, one_test, setup, teardown, &runs[i]};
	}
	rc = _cmocka_run_group_tests(name, mine, n, NULL, NULL);
	report_close();
	for (int i = 0; i < PORTS; i++)
		free(out[i].f);
	free(runs);
	free(mine);
	rte_mempool_free(net.pool);
	rte_eal_cleanup();
	return rc;
}

void
net_advance(uint64_t ms)
{
	net.now_ms += ms;
	worker_tick(net.w, net.now_ms * 1000);
	worker_expire_hold(net.w);
}

void
net_release(uint16_t port, rte_be32_t addr)
{
	struct dp_order o = {.kind = ORDER_RELEASE, .port = port, .ip = addr};

	assert_int_equal(rte_ring_sp_enqueue_elem(net.w->orders, &o, sizeof(o)), 0);
	worker_orders(net.w);
	net_idle();
}

/* ---- in ---- */

/* Under AddressSanitizer nobody may even look at what stands behind a received frame. The pool gives a freed mbuf out
 * again after all others, so a burst is over before anybody may write there. */
static struct guard {
	void *at;
	size_t n;
} guards[GUARDS];
static unsigned int n_guards;

static void
guard(void *at, size_t n)
{
	if (n_guards == GUARDS)
		return;
	guards[n_guards++] = (struct guard){at, n};
	ASAN_POISON_MEMORY_REGION(at, n);
}

static void
unguard(void)
{
	for (; n_guards > 0; n_guards--)
		ASAN_UNPOISON_MEMORY_REGION(guards[n_guards - 1].at, guards[n_guards - 1].n);
}

static struct rte_mbuf *
receive_piece(const uint8_t *p, uint16_t n)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(net.pool);
	char *to;

	assert_non_null(m);
	m->data_off = net.front;
	to = rte_pktmbuf_append(m, n);
	assert_non_null(to);
	memcpy(to, p, n);
	memset(to + n, net.behind, rte_pktmbuf_tailroom(m));
	guard(to + n, rte_pktmbuf_tailroom(m));
	return m;
}

static struct rte_mbuf *
receive(uint16_t port, const struct frame *f)
{
	uint16_t most = net.piece != 0 ? net.piece : RTE_MBUF_DEFAULT_DATAROOM;
	struct rte_mbuf *m = receive_piece(f->b, RTE_MIN(most, f->len));

	for (uint16_t at = most; at < f->len; at += most)
		rte_pktmbuf_chain(m, receive_piece(f->b + at, RTE_MIN(most, (uint16_t)(f->len - at))));
	memset(meta(m), 0xa5, sizeof(struct meta)); /* an mbuf's last user leaves traces */
	meta(m)->in_port = (uint8_t)port;
	meta(m)->origin = net.topo->ports[port].role == TOPO_WAN ? FROM_WAN : FROM_DC;
	meta(m)->enter = ENTER_RX;
	meta(m)->vlan = f->vlan;
	return m;
}

/* A tag counts the same whether it stands in the frame or is left to the device. */
static void
take_tag(struct frame *f, const struct rte_mbuf *m)
{
	if (m->ol_flags & RTE_MBUF_F_TX_VLAN)
		f->vlan = m->vlan_tci & 0xfff;
	if (f->len < 18 || f->b[12] != 0x81 || f->b[13] != 0)
		return;
	f->vlan = (uint16_t)((f->b[14] & 15) << 8 | f->b[15]);
	memmove(f->b + 12, f->b + 16, f->len - 16u);
	f->len -= 4;
}

static uint16_t
collect(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	(void)arg;
	for (uint16_t i = 0; i < n; i++) {
		struct out *o = &out[port];
		struct frame *f = &o->f[o->n];

		assert_true(port < PORTS && o->n < OUT_MAX);
		assert_true(rte_pktmbuf_pkt_len(m[i]) <= FRAME_MAX);
		f->vlan = 0;
		f->len = (uint16_t)rte_pktmbuf_pkt_len(m[i]);
		for (uint16_t at = 0; at < f->len;) {
			uint16_t k = RTE_MIN((uint16_t)(f->len - at), (uint16_t)256);
			const void *p = rte_pktmbuf_read(m[i], at, k, f->b + at);

			if (p != f->b + at)
				memcpy(f->b + at, p, k);
			at += k;
		}
		take_tag(f, m[i]);
		if (!net.broken)
			report_frame(f->b, f->len);
		o->n++;
		rte_pktmbuf_free(m[i]);
	}
	return n;
}

#define same(a, b, what, n) (memcmp((a)->what, (b)->what, (n) * sizeof((a)->what[0])) == 0)

static bool
same_ports(const struct topology *a, const struct topology *b)
{
	for (uint16_t i = 0; i < b->n_ports; i++)
		if (memcmp(&a->ports[i], &b->ports[i], offsetof(struct topo_port, attachment)) != 0)
			return false;
	return true;
}

/* What is in use of it, attachments once: all is a third of a megabyte, which took a minute of the tests' time. */
static bool
same_topology(const struct topology *a, const struct topology *b)
{
	return memcmp(a, b, offsetof(struct topology, ports)) == 0 && same_ports(a, b) &&
	       same(a, b, segments, b->n_segments) && same(a, b, attachments, b->n_attachments) &&
	       same(a, b, peers, b->n_peers) && same(a, b, vteps, b->n_vteps) &&
	       same(a, b, pools, b->n_pools) && memcmp(&a->hold, &b->hold, sizeof(a->hold)) == 0;
}

/* The test may have changed it. */
static void
take_topology(void)
{
	static struct topology taken;

	topo_index(net.topo);
	if (same_topology(&taken, net.topo))
		return;
	taken = *net.topo;
	ready_forget(net.w->ready);
}

static void
run(struct vec *rx)
{
	take_topology();
	pipeline_run(net.w, rx);
	assert_true(books_balance());
	worker_flush(net.w, collect, NULL);
	assert_true(books_balance());
}

void
net_idle(void)
{
	struct vec rx = {.n = 0};
	uint64_t released;
	int i = 0;

	do {
		assert_true(i++ < ROUNDS_MAX);
		released = net.w->c.released;
		run(&rx);
	} while (net.w->inject.n != 0 || net.w->c.released != released);
}

void
net_burst(uint16_t port, const struct frame *f, uint16_t n)
{
	static struct vec rx;

	for (uint16_t i = 0; i < n;) {
		rx.n = 0;
		while (i < n && rx.n < RX_MAX)
			vec_add(&rx, receive(port, &f[i++]));
		run(&rx);
	}
	net_idle();
	unguard();
}

/* ---- out ---- */

static void
print_row(const char *what, const uint8_t *p, uint16_t len, uint16_t at)
{
	print_error("%s %04x ", what, at);
	for (uint16_t i = at; i < at + 16; i++)
		if (i < len)
			print_error(" %02x", p[i]);
	print_error("\n");
}

static void
print_marks(const struct frame *a, const struct frame *b, uint16_t at)
{
	print_error("               ");
	for (uint16_t i = at; i < at + 16; i++)
		print_error(" %s", i < a->len && i < b->len && a->b[i] == b->b[i] ? "  "
				   : i < a->len || i < b->len			  ? "^^"
										  : "  ");
	print_error("\n");
}

static void
print_diff(const struct frame *want, const struct frame *got)
{
	print_error("expected %u bytes, vlan %u; got %u bytes, vlan %u\n", want->len, want->vlan, got->len,
		got->vlan);
	for (uint16_t at = 0; at < RTE_MAX(want->len, got->len); at += 16) {
		print_row("expected", want->b, want->len, at);
		if (at + 16 <= RTE_MIN(want->len, got->len) && memcmp(want->b + at, got->b + at, 16) == 0)
			continue;
		print_row("     got", got->b, got->len, at);
		print_marks(want, got, at);
	}
}

static void
print_drops(void)
{
	for (int i = 0; i < DROPS; i++)
		if (net.w->c.drop[i] != drops_explained[i])
			print_error("dropped %llu packets more than expected: %s (%s)\n",
				(unsigned long long)(net.w->c.drop[i] - drops_explained[i]),
				drop_names[i].name, drop_names[i].help);
}

static const struct frame *
pop(uint16_t port, const char *file, int line)
{
	struct out *o = &out[port];

	if (o->first == o->n) {
		print_error("%s sent no (more) frame\n", net.topo->ports[port].name);
		for (int i = 0; i < PORTS; i++)
			if (out[i].n != out[i].first)
				print_error("%s has %u unexpected frames\n", net.topo->ports[i].name,
					out[i].n - out[i].first);
		print_drops();
		_fail(file, line);
	}
	return &o->f[o->first++];
}

void
net_expect_frame(uint16_t port, const struct frame *f, const char *file, int line)
{
	const struct frame *got = pop(port, file, line);

	if (got->len == f->len && got->vlan == f->vlan && memcmp(got->b, f->b, f->len) == 0)
		return;
	print_error("%s sent another frame:\n", net.topo->ports[port].name);
	print_diff(f, got);
	_fail(file, line);
}

uint16_t
net_expect_tunnel(uint8_t tunnel, uint16_t seg, const struct frame *inner, const char *file, int line)
{
	uint16_t sport = 0;
	struct out *o = &out[WAN0];
	struct spec outer = {.smac = MAC_WAN0,
		.dmac = MAC_ISP,
		.src = WAN0_IP,
		.dst = vtep_of(tunnel),
		.frag = RTE_IPV4_HDR_DF_FLAG};
	struct frame f;

	if (o->first < o->n && o->f[o->first].len >= TUNNEL_LEN)
		sport = (uint16_t)(o->f[o->first].b[34] << 8 | o->f[o->first].b[35]);
	outer.sport = sport;
	f = vxlan_frame(&outer, VNI(seg), inner);
	net_expect_frame(WAN0, &f, file, line);
	if (sport < 49152) {
		print_error("outer source port %u is below 49152\n", sport);
		_fail(file, line);
	}
	return sport;
}

void
net_expect_punt(uint16_t port, const struct frame *f, const char *file, int line)
{
	struct frame got = {.len = 0};
	void *p;

	if (rte_ring_sc_dequeue(net.w->punts, &p) != 0) {
		print_error("the kernel got no (more) frame\n");
		print_drops();
		_fail(file, line);
	}
	if (meta(p)->in_port != port) {
		print_error("expected a frame of port %u, got one of port %u\n", port, meta(p)->in_port);
		_fail(file, line);
	}
	got.len = (uint16_t)rte_pktmbuf_pkt_len((struct rte_mbuf *)p);
	memcpy(got.b, rte_pktmbuf_mtod((struct rte_mbuf *)p, const void *), got.len);
	rte_pktmbuf_free(p);
	if (got.len == f->len && memcmp(got.b, f->b, f->len) == 0)
		return;
	print_error("the kernel got another frame:\n");
	print_diff(f, &got);
	_fail(file, line);
}

void
net_expect_drop(enum drop why, uint64_t n, const char *file, int line)
{
	uint64_t got = net.w->c.drop[why] - drops_explained[why];

	if (got != n) {
		print_error("expected %llu drops of %s, got %llu\n", (unsigned long long)n,
			drop_names[why].name, (unsigned long long)got);
		print_drops();
		_fail(file, line);
	}
	drops_explained[why] += n;
}

static bool
nothing_left(void)
{
	bool bad = false;

	for (int i = 0; i < PORTS; i++) {
		if (out[i].first == out[i].n)
			continue;
		print_error("%s sent %u frames that nobody expected; the first:\n", net.topo->ports[i].name,
			out[i].n - out[i].first);
		print_diff(&(const struct frame){.len = 0}, &out[i].f[out[i].first]);
		bad = true;
	}
	for (int i = 0; i < DROPS; i++)
		bad |= net.w->c.drop[i] != drops_explained[i];
	if (rte_ring_count(net.w->punts) != 0) {
		print_error("the kernel got %u frames that nobody expected\n", rte_ring_count(net.w->punts));
		bad = true;
	}
	if (bad)
		print_drops();
	return !bad;
}

void
net_expect_nothing(const char *file, int line)
{
	if (!nothing_left())
		_fail(file, line);
}

struct dp_event
net_expect_event(enum dp_event_kind kind, const char *file, int line)
{
	struct dp_event ev = {0};

	if (rte_ring_sc_dequeue_elem(net.w->events[kind], &ev, sizeof(ev)) != 0) {
		print_error("no event %s\n", event_names[kind].name);
		_fail(file, line);
	}
	assert_int_equal(ev.kind, kind);
	return ev;
}

void
net_expect_no_event(enum dp_event_kind kind, const char *file, int line)
{
	if (rte_ring_count(net.w->events[kind]) != 0) {
		print_error("%u events %s that nobody expected\n", rte_ring_count(net.w->events[kind]),
			event_names[kind].name);
		_fail(file, line);
	}
}

static void
forget_punts(void)
{
	void *m;

	while (rte_ring_sc_dequeue(net.w->punts, &m) == 0)
		rte_pktmbuf_free(m);
}

static uint64_t counted(void);

void
net_forget(void)
{
	counted_before = counted();
	for (int i = 0; i < PORTS; i++)
		out[i].first = out[i].n = 0;
	memcpy(drops_explained, net.w->c.drop, sizeof(drops_explained));
	for (int k = 0; k < EVENTS; k++)
		rte_ring_reset(net.w->events[k]);
	forget_punts();
}

#define FNV_START UINT64_C(14695981039346656037)
#define FNV_PRIME UINT64_C(1099511628211)

static uint64_t
digest_bytes(uint64_t h, const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ ((const uint8_t *)p)[i]) * FNV_PRIME;
	return h;
}

const struct frame *
net_sent(uint16_t port, uint32_t i)
{
	const struct out *o = &out[port];

	return i < o->n - o->first ? &o->f[o->first + i] : NULL;
}

/* Drops, and what the kernel got, added to the digest. */
static uint64_t
digest_others(uint64_t h)
{
	void *m;

	for (int i = 0; i < DROPS; i++) {
		uint64_t n = net.w->c.drop[i] - drops_explained[i];

		h = digest_bytes(h, &n, sizeof(n));
	}
	while (rte_ring_sc_dequeue(net.w->punts, &m) == 0) {
		h = digest_bytes(h, rte_pktmbuf_mtod((struct rte_mbuf *)m, const void *),
			rte_pktmbuf_data_len((struct rte_mbuf *)m));
		rte_pktmbuf_free(m);
	}
	return h;
}

/* The flow of a frame, in the tunnel that of the inner one: MACs, and of IPv4 addresses, protocol and ports, or of a fragment its
 * identifier. */
static uint64_t
flow_of(const struct frame *f)
{
	const uint8_t *p = f->b;
	uint16_t len = f->len;
	uint64_t h = FNV_START;
	bool fragment;

	if (len >= TUNNEL_LEN + 14 && p[12] == 8 && p[23] == IPPROTO_UDP && p[36] == 0x12 && p[37] == 0xb5) {
		h = digest_bytes(h, p + 30, 4);
		p += TUNNEL_LEN;
		len -= TUNNEL_LEN;
	}
	h = digest_bytes(h, p, RTE_MIN(len, 14));
	if (len < 42 || p[12] != 8 || p[13] != 0)
		return h;
	fragment = (p[20] & 0x3f) != 0 || p[21] != 0;
	h = digest_bytes(h, p + 23, 1);
	h = digest_bytes(h, p + 26, 8);
	return digest_bytes(h, fragment ? p + 18 : p + 34, fragment ? 2 : 4);
}

/* What is sent of one flow counts in its order; that of two does not. */
static uint64_t
sent_by_flow(uint16_t port)
{
	static uint64_t flow[OUT_MAX];
	const struct out *o = &out[port];
	uint64_t sum = 0;

	for (uint32_t i = o->first; i < o->n; i++) {
		uint64_t h = digest_bytes(FNV_START, &port, sizeof(port));

		flow[i] = flow_of(&o->f[i]);
		for (uint32_t k = o->first; k < i; k++)
			if (flow[k] == flow[i])
				h = digest_bytes(h, "", 1);
		h = digest_bytes(h, &o->f[i].vlan, sizeof(o->f[i].vlan));
		sum += digest_bytes(h, o->f[i].b, o->f[i].len);
	}
	return sum;
}

/* Whose a slot is, wherever it stands: VMs that go and come again may change places. */
static uint64_t
name_of_slot(uint32_t slot)
{
	const struct vm_rec *r = vmtab_at(net.tables.vms, slot);

	return r != NULL ? digest_bytes(FNV_START, &r->mac, sizeof(r->mac)) + r->seg : 1;
}

/* Of what the worker has counted of VMs and segments: a sum, so that what a burst adds is the difference of two. */
static uint64_t
counted(void)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < vmtab_slots(net.tables.vms); i++) {
		const struct traffic t = traffic_of_vm(net.w, i);

		sum += name_of_slot(i) *
		       (t.from_packets + 3 * t.to_packets + 5 * t.from_bytes + 7 * t.to_bytes);
	}
	for (uint32_t i = 0; i < TOPO_SEGMENTS; i++) {
		const struct traffic *t = &net.w->seg_traffic[i];

		sum += (i + 1) *
		       (11 * t->from_packets + 13 * t->to_packets + 17 * t->from_bytes + 19 * t->to_bytes);
	}
	return sum;
}

/* What was told, and is not told any more. */
static uint64_t
told(void)
{
	uint64_t h = FNV_START;
	struct dp_event ev;

	for (int k = 0; k < EVENTS; k++)
		while (rte_ring_sc_dequeue_elem(net.w->events[k], &ev, sizeof(ev)) == 0) {
			h = digest_bytes(h, &ev.kind, sizeof(ev.kind));
			h = digest_bytes(h, &ev.router, sizeof(ev.router));
			h = digest_bytes(h, &ev.att, sizeof(ev.att));
			h = digest_bytes(h, &ev.mac, sizeof(ev.mac));
			h = digest_bytes(h, &ev.ip, sizeof(ev.ip));
		}
	return h;
}

uint64_t
net_effect(void)
{
	uint64_t sum = counted() - counted_before + told();

	for (uint16_t i = 0; i < PORTS; i++)
		sum += sent_by_flow(i);
	return digest_others(sum);
}

#define ALONE_MS 40000 /* every bucket is full again, nothing is held, no first fragment is remembered */

uint64_t
net_sessions(void)
{
	struct sessions_info s;
	uint64_t sum = 0;
	uint32_t next = 0;

	while (sessions_next(net.tables.sessions, net.w->tick, &next, &s)) {
		uint32_t idle_s = RTE_MIN(s.idle_s, ALONE_MS / 1000 + 1u);
		uint64_t h = digest_bytes(FNV_START, &s.key, sizeof(s.key));

		h = digest_bytes(h, &s.home, sizeof(s.home));
		h = digest_bytes(h, &s.flags, sizeof(s.flags));
		sum += digest_bytes(h, &idle_s, sizeof(idle_s));
	}
	return sum;
}

static uint64_t
effect_of(uint16_t port, const struct frame *f, uint16_t n, uint8_t behind, bool express)
{
	uint64_t effect;

	net.behind = behind;
	net.w->express = express;
	net_burst(port, f, n);
	net_advance(ALONE_MS);
	net_idle();
	effect = net_effect();
	net_forget();
	return effect;
}

static uint64_t
went_express(void)
{
	const struct stage_count *stage = net.w->c.stage;

	return stage[STAGE_EXPRESS].packets - stage[STAGE_CLASSIFY].packets;
}

static void
report_burst(const char *what, const struct frame *f, uint16_t n)
{
	print_error("%s:\n", what);
	for (uint16_t i = 0; i < n; i++)
		print_diff(&f[i], &f[i]);
	fail();
}

static void
same_by_stages(uint16_t port, const struct frame *f, uint16_t n, uint64_t effect)
{
	uint64_t sessions = net_sessions();

	if (effect_of(port, f, n, 0, false) != effect)
		report_burst("the stages end otherwise than express with this", f, n);
	if (net_sessions() != sessions)
		report_burst("the stages leave other sessions than express of this", f, n);
}

/* The first time has sessions noted that the others find; of several frames one may find what another has noted. */
void
net_same_either_way(uint16_t port, const struct frame *f, uint16_t n)
{
	uint64_t effect = effect_of(port, f, n, 0, true), before;

	if (n > 1)
		effect = effect_of(port, f, n, 0, true);
	before = went_express();
	if (effect_of(port, f, n, 0xff, true) != effect)
		report_burst("a stage reads behind the end of this", f, n);
	if (went_express() != before)
		same_by_stages(port, f, n, effect);
	net.behind = 0;
	net.w->express = net.express;
}
