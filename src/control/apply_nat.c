/* SPDX-License-Identifier: BSD-3-Clause */
/* apply_nat.c - nat.set: the live global address of a VM of ours. It does not raise the epoch: the owner's
 * word on its own VM is taken by the peers in the order in which it is told. */
#include "state.h"

int
apply_nat_set(struct core *c, const struct nat_set_params *p, json_t *out, struct fail *f)
{
	int segment = segment_index(c, p->segment), rc;
	char ip[IP4_TEXT];
	struct vm_state s;
	struct vm_obj *o;

	if (segment < 0)
		return fail(f, RPC_INVALID_PARAMS, "segment %s is not in this router's configuration",
			p->segment);
	o = vm_by_private(c, (uint16_t)segment, p->private_ip);
	if (!o)
		return fail(f, RPC_NOT_FOUND, "no VM has %s in segment %s", ip4_format(p->private_ip, ip),
			p->segment);
	if (o->now.fwd.owner != FWD_SELF)
		return fail(f, RPC_NOT_FOUND, "the VM with %s is registered at router %s: tell that one",
			ip4_format(p->private_ip, ip), router_name(c, o->now.fwd.owner));
	s = o->now;
	for (unsigned int i = s.fwd.n_drains; i-- > 0;) /* it is taken back */
		if (p->global_ip && s.fwd.drains[i].global_ip == p->global_ip &&
			s.fwd.drains[i].private_ip == p->private_ip && s.fwd.drains[i].home == FWD_SELF)
			drain_remove(&s, i);
	for (unsigned int i = 0; i < s.fwd.n_addresses; i++) {
		if (s.fwd.addresses[i].private_ip == p->private_ip)
			s.fwd.addresses[i] = (struct fwd_address){p->private_ip, p->global_ip, s.epoch};
		else if (p->global_ip && s.fwd.addresses[i].global_ip == p->global_ip)
			return fail(f, RPC_CONFLICT,
				"global address %s belongs to another address of this VM",
				ip4_format(p->global_ip, ip));
	}
	for (unsigned int i = 0; i < s.fwd.n_drains; i++)
		if (p->global_ip && s.fwd.drains[i].global_ip == p->global_ip)
			return fail(f, RPC_CONFLICT, "global address %s drains: it cannot be live too",
				ip4_format(p->global_ip, ip));
	rc = p->global_ip ? check_own_global(c, (uint16_t)segment, p->global_ip, f) : 0;
	if (rc == 0)
		rc = check_clash(c, &s, f);
	if (rc != 0)
		return rc;
	vm_keep_ages(&o->now, &s);
	if (!vm_state_same(&s, &o->now))
		vm_set(c, &s);
	json_object_set_new(out, "epoch", json_integer((json_int_t)s.epoch));
	return 0;
}
