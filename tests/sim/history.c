/* SPDX-License-Identifier: BSD-3-Clause */
/* history.c - the VMs, and all that controllers have asked for them. A slot's addresses are always the same: a private
 * one, and a global one for each router. Once a VM is gone for good, the slot's next VM has them. */
#include "sim.h"

#include <stdio.h>

const char *const segment_names[VM_SEGMENTS] = {"tenant-a", "tenant-b"};

struct mac
slot_mac(const struct slot *t, uint8_t generation)
{
	return (struct mac){{0x52, 0x54, 0, 0, generation, (uint8_t)t->number}};
}

ip4
slot_private(const struct slot *t)
{
	return (t->segment == 0 ? 0x0a00000a : 0xac14000a) + t->number; /* 10.0.0.10, 172.20.0.10 */
}

ip4
slot_global(const struct slot *t, unsigned int router)
{
	return 0xc633000a + 0x10000 * router + t->number; /* 198.51.0.10 */
}

static json_t *
address_json(const struct slot *t, unsigned int router)
{
	char private[IP4_TEXT], global[IP4_TEXT];

	return json_pack("{s:s, s:s}", "private", ip4_format(slot_private(t), private), "global",
		ip4_format(slot_global(t, router), global));
}

json_t *
change_key(const struct slot *t, const struct change *ch)
{
	struct mac mac = slot_mac(t, t->generation);
	char m[MAC_TEXT];

	return json_pack("{s:s, s:s, s:I}", "segment", segment_names[t->segment], "mac", mac_format(&mac, m),
		"epoch", (json_int_t)ch->epoch);
}

json_t *
change_params(struct sim *s, const struct slot *t, const struct change *ch)
{
	json_t *v = change_key(t, ch);

	if (ch->op != OP_UNREGISTER)
		json_object_set_new(v, "addresses", json_pack("[o]", address_json(t, ch->router)));
	if (ch->op != OP_MOVE)
		return v;
	json_object_set_new(v, "drain-min", json_integer((json_int_t)ch->drain_min));
	json_object_set_new(v, "drain-max", json_integer((json_int_t)ch->drain_max));
	json_object_set_new(v, "sessions", json_string(ch->sessions));
	if (ch->old != ch->router) {
		json_t *old = address_json(t, ch->old);

		json_object_set_new(old, "router", json_string(world_router(s->w, ch->old)->name));
		json_object_set_new(v, "old", json_pack("[o]", old));
	}
	return v;
}

unsigned int
slot_router(struct sim *s, const struct slot *t)
{
	unsigned int r;

	do
		r = (unsigned int)world_random(s->w, s->n_routers);
	while (!s->has[t->segment][r]);
	return r;
}

struct change *
change_new(struct sim *s, struct slot *t, enum op op, uint64_t epoch, unsigned int router)
{
	struct change *ch = calloc(1, sizeof(*ch));

	*ch = (struct change){
		.op = op, .epoch = epoch, .router = router, .old = router, .asked_at = s->w->now};
	LL_PREPEND(t->changes, ch);
	if (epoch > t->highest)
		t->highest = epoch;
	return ch;
}

/* It is gone for good if nobody has asked for anything else with that epoch, or a higher one. */
static bool
ends_vm(const struct slot *t, const struct change *gone)
{
	const struct change *ch;

	if (gone->op != OP_UNREGISTER || gone->epoch < t->highest)
		return false;
	LL_FOREACH(t->changes, ch)
	if (ch != gone && ch->epoch == gone->epoch)
		return false;
	return true;
}

void
change_acked(struct sim *s, struct slot *t, struct change *ch)
{
	ch->outcome = ACKED;
	s->did.acks++;
	s->did.moves += ch->op == OP_MOVE;
	if (!ends_vm(t, ch))
		return;
	t->gone_at[t->generation++] = ch->asked_at;
	LL_CONCAT(s->ended, t->changes);
	t->changes = NULL;
	t->highest = 0;
}

struct vm_obj *
slot_vm(struct sim *s, unsigned int router, const struct slot *t, uint8_t generation)
{
	struct core *c = world_router(s->w, router)->core;
	int segment = segment_index(c, segment_names[t->segment]);
	struct mac mac = slot_mac(t, generation);

	return segment < 0 ? NULL : vm_find(c, (uint16_t)segment, &mac);
}

static void
changes_free(struct change *list)
{
	struct change *ch, *next;

	LL_FOREACH_SAFE(list, ch, next)
	free(ch);
}

void
history_free(struct sim *s)
{
	changes_free(s->ended);
	for (unsigned int i = 0; i < s->n_slots; i++)
		changes_free(s->slots[i].changes);
}
