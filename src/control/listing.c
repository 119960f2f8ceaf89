/* SPDX-License-Identifier: BSD-3-Clause */
/* listing.c - VMs went from here to a peer, which asks for their sessions: see handover.c for what is said.
 *
 * One list at a time for each peer; a new question takes its place. A page is made when it is asked for, so a slow reader keeps
 * nothing but its place in one walk over the table, whatever the number of VMs.
 */
#include "sync.h"

#define PAGE_SESSIONS 4000

struct listed {
	struct vm_key vm;
	uint64_t epoch; /* of its move; 0: it is not listed */
	uint64_t sessions;
};

struct listing { /* for a peer */
	struct listed *vms;
	size_t n_vms;
	struct fwd_list *list;	     /* NULL: nothing is being listed */
	uint64_t cursor;	     /* of the next page; never used again, in no other list */
	json_t *unknown;	     /* until the first page */
	struct rpc_request *request; /* that waits for a page; NULL = none */
};

void
listing_end(struct peer *p)
{
	struct listing *l = p->listing;

	if (l->request)
		rpc_fail(l->request, RPC_NOT_FOUND, NULL, "another list of sessions was asked for");
	if (l->list)
		p->core->env->ops->fwd_list_free(l->list);
	json_decref(l->unknown);
	free(l->vms);
	*l = (struct listing){.cursor = l->cursor};
}

/* ---- pages ---- */

/* A home that is the VM's no more is about to be forgotten here. */
static json_t *
rows_json(struct peer *p, const struct fwd_session *rows, size_t n)
{
	char private[IP4_TEXT], remote[IP4_TEXT], home[IP4_TEXT];
	json_t *v = json_array();

	for (size_t i = 0; i < n; i++) {
		const struct fwd_session *s = &rows[i];
		struct listed *l = &p->listing->vms[s->which];
		const struct vm_obj *o = vm_find(p->core, l->vm.segment, &l->vm.mac);

		if (!vm_live(o) || !vm_has_home(&o->now, s->private_ip, s->global_ip))
			continue;
		l->sessions++;
		json_array_append_new(
			v, json_pack("[I, i, s, i, s, i, s, i, I]", (json_int_t)s->which, s->protocol,
				   ip4_format(s->private_ip, private), s->port,
				   ip4_format(s->remote_ip, remote), s->remote_port,
				   ip4_format(s->global_ip, home), s->flags, (json_int_t)s->idle_s));
	}
	return v;
}

static void
note_listed(struct peer *p)
{
	const struct listing *l = p->listing;

	for (size_t i = 0; i < l->n_vms; i++)
		if (l->vms[i].epoch != 0)
			move_listed(p->core, &l->vms[i].vm, l->vms[i].epoch, l->vms[i].sessions);
}

static void
page_made(void *arg, const struct fwd_session *rows, size_t n, bool more)
{
	struct peer *p = arg;
	struct listing *l = p->listing;
	json_t *v = json_pack("{s:o}", "sessions", rows_json(p, rows, n));

	if (l->unknown)
		json_object_set_new(v, "unknown", l->unknown);
	l->unknown = NULL;
	if (more)
		json_object_set_new(v, "next", json_integer((json_int_t)++l->cursor));
	rpc_reply(l->request, v);
	l->request = NULL;
	if (more)
		return;
	note_listed(p);
	listing_end(p);
}

static void
page_next(struct peer *p, struct rpc_request *r)
{
	p->listing->request = r;
	p->core->env->ops->fwd_list_next(p->listing->list, page_made, p);
}

/* ---- a list begins ---- */

/* The VM of this row if it is that peer's at this epoch. */
static const struct vm_obj *
asked_for(const struct peer *p, const json_t *row)
{
	int segment = segment_index(p->core, text_at(row, 0));
	json_int_t epoch = json_integer_value(json_array_get(row, 2));
	const struct vm_obj *o;
	struct mac mac;

	if (segment < 0 || !p->shared[segment] || mac_parse(text_at(row, 1), &mac) != 0)
		return NULL;
	o = vm_find(p->core, (uint16_t)segment, &mac);
	return vm_live(o) && o->now.fwd.owner == p->index && epoch > 0 && o->now.epoch == (uint64_t)epoch
		       ? o
		       : NULL;
}

/* Whose sessions are to be found; their number. */
static size_t
addresses(struct peer *p, const json_t *vms, struct fwd_listed *of)
{
	struct listing *l = p->listing;
	const json_t *row;
	size_t n = 0, i;

	json_array_foreach(vms, i, row)
	{
		const struct vm_obj *o = asked_for(p, row);

		if (!o) {
			json_array_append_new(l->unknown, json_integer((json_int_t)i));
			continue;
		}
		l->vms[i] = (struct listed){.vm = o->key, .epoch = o->now.epoch};
		for (unsigned int k = 0; k < o->now.fwd.n_addresses; k++)
			of[n++] = (struct fwd_listed){
				o->key.segment, o->now.fwd.addresses[k].private_ip, (uint32_t)i};
	}
	return n;
}

struct question {
	uint8_t peer;
	uint64_t session; /* its serial */
	struct rpc_request *request;
	json_t *vms;
};

static void
no_memory(struct peer *p)
{
	rpc_fail(p->listing->request, RPC_LIMIT, NULL, "no memory for a list of sessions: ask again later");
	p->listing->request = NULL;
	listing_end(p);
}

static void
list_new(struct peer *p, struct rpc_request *r, const json_t *vms)
{
	struct fwd_listed *of = zalloc((json_array_size(vms) * FWD_ADDRESSES_MAX + 1) * sizeof(*of));
	struct listing *l = p->listing;
	size_t n;

	listing_end(p);
	l->unknown = json_array();
	l->n_vms = json_array_size(vms);
	l->vms = zalloc((l->n_vms + 1) * sizeof(*l->vms));
	n = addresses(p, vms, of);
	if (n > 0)
		l->list = env_call(p->core->env, fwd_list_new, of, n, PAGE_SESSIONS);
	free(of);
	l->request = r;
	if (l->list)
		page_next(p, r);
	else if (n == 0)
		page_made(p, NULL, 0, false);
	else
		no_memory(p);
}

/* What the peer told before is in the model now. */
static void
settled(struct core *c, void *arg, int code)
{
	struct question *q = arg;
	struct peer *p = &c->peers[q->peer - 1];

	if (code != 0)
		rpc_fail(q->request, code, NULL, "too much waits already: ask again later");
	else if (!p->session || p->up_serial != q->session)
		rpc_fail(q->request, RPC_NOT_FOUND, NULL, "the channel is another one");
	else
		list_new(p, q->request, q->vms);
	json_decref(q->vms);
	free(q);
}

void
listing_ask(struct peer *p, struct rpc_request *r, json_t *vms)
{
	struct question *q = zalloc(sizeof(*q));

	*q = (struct question){p->index, p->up_serial, r, json_incref(vms)};
	txn_after(p->core, settled, q);
}

void
listing_go_on(struct peer *p, struct rpc_request *r, json_int_t cursor)
{
	const struct listing *l = p->listing;

	if (!l->list || l->request || cursor < 1 || (uint64_t)cursor != l->cursor)
		rpc_fail(r, RPC_NOT_FOUND, NULL, "no list of sessions goes on there: ask anew");
	else
		page_next(p, r);
}

void
listing_init(struct peer *p)
{
	p->listing = zalloc(sizeof(*p->listing));
}

void
listing_fini(struct peer *p)
{
	listing_end(p);
	free(p->listing);
}
