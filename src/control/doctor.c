/* SPDX-License-Identifier: BSD-3-Clause */
/* doctor.c - is the router well? The machine and its ports, as forwarding tells; the peers; the store. */
#include "state.h"

#include <api/finding.h>
#include <inttypes.h>
#include <string.h>

#define START_MS 30000 /* so long peers may take to come */

static void
look_at_peer(struct core *c, const struct peer *p, json_t *rows)
{
	unsigned long long s = (now_ms(c) - (p->since_ms ? p->since_ms : c->started_ms)) / 1000;
	const char *name = p->conf->name;
	char advice[HOSTPORT_LEN + 120];

	if (p->state == PEER_SYNCED && p->agrees) {
		finding_add(rows, VERDICT_OK, "peer", name, NULL, "in step, for %llu s",
			(unsigned long long)(now_ms(c) - p->agrees_since) / 1000);
	} else if (p->session) {
		finding_add(rows, VERDICT_WARNING, "peer", name,
			"if it lasts: compare show vms of both routers, and their segments and pools",
			"here for %llu s, and not in step: %zu of its VMs differ", s, p->differing);
	} else if (p->since_ms == 0 && now_ms(c) - c->started_ms < START_MS) {
		finding_add(rows, VERDICT_WARNING, "peer", name, "wait", "not here yet: the router starts");
	} else {
		snprintf(advice, sizeof(advice),
			"does it run, is %s reached from here, has each the other's key? The log says why",
			p->address[0] != '\0' ? p->address : "its address");
		finding_add(rows, VERDICT_FAULT, "peer", name, advice,
			"away for %llu s: its VMs are as it told last, and moves from it wait", s);
	}
}

/* Of what its hello told, too, while it is away. */
static void
look_at_mtu(const struct peer *p, json_t *rows)
{
	char advice[64];

	if (!peer_is_narrow(p))
		return;
	snprintf(advice, sizeof(advice), "mtu %" PRIu64 " of this peer, and reload", p->mtu);
	finding_add(rows, VERDICT_FAULT, "peer", p->conf->name, advice,
		"its WAN ports take %" PRIu64 " bytes, and %" PRIu64
		" are reckoned with: large packets of moved VMs are lost",
		p->mtu, config_group_mtu(p->core->conf));
}

static void
look_at_store(struct core *c, json_t *rows)
{
	const char *file = c->conf->control.state;

	if (c->storage.rc != 0)
		finding_add(rows, VERDICT_FAULT, "store", file,
			"is the disk full, or read-only? Packets are forwarded on",
			"it refuses changes for %llu s: %s",
			(unsigned long long)(now_ms(c) - c->storage.since_ms) / 1000,
			strerror(-c->storage.rc));
	else
		finding_add(rows, VERDICT_OK, "store", file, NULL, "it takes changes");
}

void
doctor_call(struct session *s, struct rpc_request *r, const void *params)
{
	struct core *c = s->core;
	json_t *rows = (json_t *)env_call(c->env, fwd_show, "doctor", "", 0);

	(void)params;
	if (!rows)
		rows = json_array();
	for (size_t i = 0; i < c->n_peers; i++)
		if (!c->peers[i].conf->removed) {
			look_at_peer(c, &c->peers[i], rows);
			look_at_mtu(&c->peers[i], rows);
		}
	look_at_store(c, rows);
	rpc_reply(r, json_pack("{s:o}", "rows", findings_sorted(rows)));
}
