/* SPDX-License-Identifier: BSD-3-Clause */
/* attach.h - a frame on its way to an attachment: out of a DC port, or through the tunnel to a local VTEP. */
#pragma once

#include "topology.h"
#include "worker.h"

static inline bool
attach_is_vtep(const struct topology *t, uint16_t att)
{
	return t->attachments[att].tunnel != 0;
}

/* Points the metadata at the attachment; true: it leaves by vxlan-encap, else by its port. meta.seg is set. */
static inline bool
attach_aim(const struct topology *t, struct meta *md, uint16_t att)
{
	const struct topo_attachment *a = &t->attachments[att];

	if (a->tunnel != 0) {
		md->out_tunnel = (uint8_t)a->tunnel;
		return true;
	}
	md->out_port = (uint8_t)a->port;
	md->out_vlan = a->vlan;
	return false;
}

/* The same for a frame that enters with the next burst. */
static inline void
attach_enter(const struct topology *t, struct meta *md, uint16_t att)
{
	md->enter = attach_aim(t, md, att) ? ENTER_ENCAP : ENTER_PORT;
}
