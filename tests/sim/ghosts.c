/* SPDX-License-Identifier: BSD-3-Clause */
/* ghosts.c - VMs that a store which was put back brings back: they were deleted after it was made, more than a day ago, and
 * all others have forgotten that. Nobody can know it (docs/architecture.md, Group sync) but who keeps the books: once the
 * channels are up, the operator unregisters them, and within the same 2 s they are gone everywhere. No other VM comes back. */
#include "sim.h"

#include <stdio.h>

static struct slot *
slot_of(struct sim *s, const struct mac *mac)
{
	return mac->b[5] < s->n_slots ? &s->slots[mac->b[5]] : NULL;
}

static bool
deletion_asked(const struct slot *t)
{
	const struct change *ch;

	LL_FOREACH(t->changes, ch)
	if (ch->op == OP_UNREGISTER && ch->outcome != REFUSED)
		return true;
	return false;
}

void
ghosts_put_back(struct sim *s, struct node *n)
{
	const char *key, *value, *slash;
	struct slot *t;
	struct mac mac;

	for (unsigned int i = 0; (key = stored_at(n, i, &value)) != NULL; i++) {
		slash = strchr(key, '/');
		if (strncmp(key, "vm ", 3) != 0 || !slash || mac_parse(slash + 1, &mac) != 0)
			continue;
		t = slot_of(s, &mac);
		if (t && (mac.b[4] < t->generation || deletion_asked(t)))
			t->put_back[mac.b[4]] = true;
	}
}

static void
unregister(struct sim *s, struct node *n, const struct slot *t, uint8_t generation)
{
	struct mac mac = slot_mac(t, generation);
	char text[MAC_TEXT];
	int code;

	note(s, "operator: slot %u.%u, which came back, is unregistered at %s", t->number, generation,
		n->name);
	json_decref(ask(n, &code, "vm.unregister", "{s:s, s:s}", "segment", segment_names[t->segment], "mac",
		mac_format(&mac, text)));
}

void
ghosts_unregister(struct sim *s)
{
	for (unsigned int k = 0; k < s->n_slots; k++) {
		const struct slot *t = &s->slots[k];

		for (uint8_t g = 0; g < t->generation; g++) {
			if (!t->put_back[g] || t->gone_at[g] >= s->day_at)
				continue;
			for (unsigned int i = 0; i < s->n_routers; i++)
				if (vm_live(slot_vm(s, i, t, g)))
					unregister(s, world_router(s->w, i), t, g);
		}
	}
}
