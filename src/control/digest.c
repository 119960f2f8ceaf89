/* SPDX-License-Identifier: BSD-3-Clause */
/* digest.c - sums by which two routers see whether they agree, and where not.
 *
 * Each VM has a leaf, by a hash of its key, and a hash of its content. For each peer there are two digests: of what this
 * router owns, and of what it has as the peer's, both in the segments that the two share. A digest is the sum of the hashes
 * in each of its leaves and, above them, in each of its branches of 256 leaves. All are kept up to date as VMs change.
 * A router with few VMs has few branches: only those have leaves in memory.
 */
#include "state.h"

/* As vm_hash(), of the key alone: every router finds a VM in the same leaf. */
static uint16_t
leaf_of(struct core *c, const struct vm_key *key)
{
	const char *name = segment_at(c, key->segment)->name;
	uint64_t h = hash_bytes(HASH_START, name, strlen(name) + 1);

	return (uint16_t)(hash_end(hash_bytes(h, key->mac.b, sizeof(key->mac.b))) >> 40);
}

void
digest_enter(struct core *c, struct vm_obj *o)
{
	o->leaf = leaf_of(c, &o->key);
	LL_PREPEND2(c->leaves[o->leaf], o, leaf_next);
}

void
digest_leave(struct core *c, struct vm_obj *o)
{
	LL_DELETE2(c->leaves[o->leaf], o, leaf_next);
}

void
digest_clear(struct digest *d)
{
	for (size_t i = 0; i < DIGEST_FAN; i++)
		free(d->leaves[i]);
	memset(d, 0, sizeof(*d));
}

const uint64_t *
digest_leaves(const struct digest *d, uint8_t branch)
{
	static const uint64_t none[DIGEST_FAN];

	return d->leaves[branch] ? d->leaves[branch] : none;
}

static void
add(struct digest *d, const struct vm_obj *o, int by)
{
	uint64_t h = by > 0 ? o->hash : -o->hash, **leaves = &d->leaves[o->leaf / DIGEST_FAN];

	if (!*leaves)
		*leaves = zalloc(DIGEST_FAN * sizeof(**leaves));
	(*leaves)[o->leaf % DIGEST_FAN] += h;
	d->branch[o->leaf / DIGEST_FAN] += h;
}

static void
add_for(struct peer *p, const struct vm_obj *o, int by)
{
	if (!p->shared[o->key.segment])
		return;
	if (o->now.fwd.owner == FWD_SELF)
		add(p->mine, o, by);
	else if (o->now.fwd.owner == p->index)
		add(p->theirs, o, by);
}

void
digest_count(struct core *c, struct vm_obj *o, int by)
{
	if (by > 0)
		o->hash = vm_hash(c, &o->now);
	for (size_t i = 0; i < c->n_peers; i++)
		add_for(&c->peers[i], o, by);
}

void
digest_shared(struct peer *p)
{
	struct vm_obj *o;

	digest_clear(p->mine);
	digest_clear(p->theirs);
	for (o = p->core->vms; o; o = o->hh.next)
		if (o->present)
			add_for(p, o, 1);
}

/* ---- on the wire: arrays of 256 numbers of 63 bits, in which a negative number stands for so many zeros ---- */

static size_t
zeros_at(const uint64_t sums[DIGEST_FAN], size_t i)
{
	size_t n = 0;

	while (i + n < DIGEST_FAN && (sums[i + n] & INT64_MAX) == 0)
		n++;
	return n;
}

json_t *
digest_json(const uint64_t sums[DIGEST_FAN])
{
	json_t *v = json_array();
	size_t i = 0, zeros;

	while (i < DIGEST_FAN) {
		zeros = zeros_at(sums, i);
		json_array_append_new(
			v, json_integer(zeros > 0 ? -(json_int_t)zeros : (json_int_t)(sums[i] & INT64_MAX)));
		i += zeros > 0 ? zeros : 1;
	}
	return v;
}

static bool
read_sums(const json_t *v, uint64_t sums[DIGEST_FAN])
{
	const json_t *number;
	size_t i, at = 0;

	memset(sums, 0, DIGEST_FAN * sizeof(sums[0]));
	json_array_foreach(v, i, number)
	{
		json_int_t n = json_integer_value(number);

		if (!json_is_integer(number) || at == DIGEST_FAN || n < (json_int_t)at - DIGEST_FAN)
			return false;
		if (n >= 0)
			sums[at++] = (uint64_t)n;
		else
			at += (size_t)-n;
	}
	return at == DIGEST_FAN;
}

bool
digest_well_formed(const json_t *sums)
{
	uint64_t read[DIGEST_FAN];

	return read_sums(sums, read);
}

size_t
digest_compare(const uint64_t sums[DIGEST_FAN], const json_t *theirs, uint8_t differ[DIGEST_FAN])
{
	uint64_t read[DIGEST_FAN];
	size_t n = 0;

	read_sums(theirs, read);
	for (size_t i = 0; i < DIGEST_FAN; i++)
		if ((sums[i] & INT64_MAX) != read[i])
			differ[n++] = (uint8_t)i;
	return n;
}
