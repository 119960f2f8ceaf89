/* SPDX-License-Identifier: BSD-3-Clause */
/* nodes.c - what a node is configured to be, its starts and its ends. */
#include "world_priv.h"

#include <stdio.h>

/* ---- configuration ---- */

static void
conf_common(struct node *n)
{
	struct config *c = &n->conf;
	unsigned int i = n->index;

	snprintf(c->router.name, sizeof(c->router.name), "%s", n->name);
	snprintf(c->router.site, sizeof(c->router.site), "site-%u", i);
	c->router.mac = (struct mac){{2, 0, 0, 1, 0, (uint8_t)i}};
	c->router.vtep = 0xc0000200 + i + 1; /* 192.0.2.0/24 */
	c->limits.vms = c->limits.tombstones = 200000;
	c->drain.min_ms = 3600000;
	c->drain.max_ms = 86400000;
	c->hold.max_ms = 3000;
	c->moves.prepared_max_ms = 3600000;
	c->moves.paused_max_ms = 30000;
	c->control.log_rows = 300;
	snprintf(c->control.listen, sizeof(c->control.listen), "203.0.113.%u:7411", i + 1);
	snprintf(c->control.socket, sizeof(c->control.socket), "/run/%s.sock", n->name);
}

void
node_add_segment(struct node *n, const char *name, uint32_t vni, ip4 prefix, uint8_t len, int access)
{
	struct config *c = &n->conf;
	struct conf_attachment *a = calloc(1, sizeof(*a));
	struct conf_segment *s;

	c->segments.items = realloc(c->segments.items, (c->segments.n + 1) * sizeof(*s));
	s = &((struct conf_segment *)c->segments.items)[c->segments.n++];
	memset(s, 0, sizeof(*s));
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->vni = vni;
	s->prefix = (struct prefix4){prefix, len};
	s->gateway.address = prefix + 1;
	s->gateway.mac = (struct mac){{2, 0, 0, 0, 0, 1}};
	s->mtu = 1500;
	s->access = access;
	strcpy(a->port, "dc0");
	s->attachments = (struct list){a, 1};
}

void
node_drop_segments(struct node *n)
{
	for (size_t i = 0; i < n->conf.segments.n; i++)
		free(list_at(n->conf.segments, struct conf_segment, i)->attachments.items);
	free(n->conf.segments.items);
	n->conf.segments = (struct list){0};
}

void
node_configure(struct node *n, unsigned int routers)
{
	struct config *c = &n->conf;
	struct conf_port *ports = calloc(2, sizeof(*ports));
	struct conf_pool *pool = calloc(1, sizeof(*pool));
	struct conf_controller *controller;
	struct conf_peer *p;
	struct route *route = calloc(1, sizeof(*route));

	conf_common(n);
	strcpy(ports[0].name, "wan0");
	ports[0].role = PORT_WAN;
	ports[0].mtu = 1500;
	ports[0].address = (struct prefix4){c->router.vtep, 24};
	strcpy(ports[1].name, "dc0");
	ports[1].role = PORT_DC;
	c->ports = (struct list){ports, 2};
	strcpy(pool->name, "pool");
	pool->prefix = (struct prefix4){0xc6336400 + 0x10000u * n->index, 16}; /* 198.51.100.0 + n * /16 */
	pool->prefix.addr &= ip4_mask(16);
	c->pools = (struct list){pool, 1};
	node_add_segment(n, "tenant-a", 100, 0x0a000000, 8, ACCESS_NAT);
	node_add_segment(n, "lab", 200, 0xac100000, 16, ACCESS_ROUTED);
	for (unsigned int i = 0; i < routers; i++) {
		struct node *o = &n->w->nodes[i];

		if (o == n)
			continue;
		p = list_add(&c->peers, &kind_conf_peer);
		strcpy(p->name, o->name);
		memcpy(p->key, o->public_key, 32);
		snprintf(p->address, sizeof(p->address), "203.0.113.%u:7411", i + 1);
		p->vtep = 0xc0000200 + i + 1;
		p->mac = (struct mac){{2, 0, 0, 1, 0, (uint8_t)i}};
	}
	for (unsigned int i = 0; i < 2; i++) {
		controller = list_add(&c->control.controllers, &kind_conf_controller);
		snprintf(controller->name, sizeof(controller->name), "%s", n->w->nodes[routers + i].name);
		memcpy(controller->key, n->w->nodes[routers + i].public_key, 32);
	}
	route->prefix = (struct prefix4){0, 0};
	route->via = 0xc00002fe;
	c->routes = (struct list){route, 1};
}

/* ---- starts and ends ---- */

static void
node_ready(void *arg)
{
	((struct node *)arg)->ready = true;
}

void
node_start(struct node *n)
{
	struct core_start s = {&n->env, &n->conf, {0}};
	struct err e = {0};

	memcpy(s.private_key, n->private_key, 32);
	n->ready = false;
	n->core = core_new(&s, &e);
	if (!n->core || (disk_load(n), core_run(n->core, node_ready, n, &e)) != 0) {
		fprintf(stderr, "%s: %s\n", n->name, e.text);
		abort();
	}
}

static void
node_end(struct node *n, bool silent)
{
	streams_crash(n, silent);
	core_free(n->core);
	streams_sweep(n);
	n->core = NULL;
	n->event = NULL;
	n->generation++;
	n->crash_on = STEP_NONE;
	n->told_after = 0;
	n->prepare_fails = false; /* the data plane goes with the process */
	n->prepare_limit = 0;
	disk_crash(n);
	model_clear(n);
}

void
node_crash(struct node *n)
{
	node_end(n, false);
}

void
node_lose_power(struct node *n)
{
	node_end(n, true);
}

static void
crash_now(void *arg, uint64_t generation)
{
	struct node *n = arg;

	if (n->core && n->generation == generation)
		node_end(n, false);
}

bool
node_stepped(struct node *n, enum node_step step)
{
	if (n->crash_on != step)
		return false;
	if (n->crash_after > 0) {
		n->crash_after--;
		return false;
	}
	n->crash_on = STEP_NONE;
	world_first(n->w, crash_now, n, n->generation);
	return true;
}

void
node_reboot(struct node *n, int64_t wall_jump_ms)
{
	model_sessions_clear(n);
	n->boot_base = n->w->now;
	n->wall_offset += wall_jump_ms;
	snprintf(n->boot_id, sizeof(n->boot_id), "boot-%u-%u", n->index, n->generation);
}

void
node_suspend(struct node *n, uint64_t ms)
{
	n->boot_base -= ms;
	n->wall_offset += (int64_t)ms;
	timers_suspend(n, ms);
}

void
node_event(struct node *n, const struct fwd_event *ev)
{
	n->w->running = n;
	if (n->event)
		n->event(n->event_arg, ev);
}

void
node_fini(struct node *n)
{
	if (n->core)
		node_crash(n);
	if (n->has_next)
		kind_fini(&kind_config, &n->next);
	stored_clear(n);
	model_sessions_clear(n);
	kind_fini(&kind_config, &n->conf);
}
