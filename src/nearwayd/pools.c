/* SPDX-License-Identifier: BSD-3-Clause */
#include "pools.h"

#include "eal.h"

#include <common/err.h>
#include <common/log.h>
#include <dataplane/meta.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf_pool_ops.h>
#include <stdlib.h>

struct pools {
	uint16_t n;
	struct rte_mempool *at[RTE_MAX_NUMA_NODES];
};

/* As rte_pktmbuf_pool_create() does; but where pages are ordinary ones no device looks for a buffer by physical address, and
 * buffers may lie across pages: else each would take whole ones. NULL with rte_errno. */
static struct rte_mempool *
make_pool(const struct plan *p, const char *name, int node)
{
	struct rte_pktmbuf_pool_private room = {
		.mbuf_data_room_size = (uint16_t)(RTE_PKTMBUF_HEADROOM + p->room),
		.mbuf_priv_size = RTE_ALIGN(sizeof(struct meta), RTE_MBUF_PRIV_ALIGN),
	};
	struct rte_mempool *pool = rte_mempool_create_empty(name, p->mbufs,
		sizeof(struct rte_mbuf) + room.mbuf_priv_size + room.mbuf_data_room_size,
		RTE_MEMPOOL_CACHE_MAX_SIZE / 2, sizeof(room), node,
		p->hugepages ? 0 : RTE_MEMPOOL_F_NO_IOVA_CONTIG);
	int rc;

	if (pool == NULL)
		return NULL;
	rc = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL);
	if (rc == 0) {
		rte_pktmbuf_pool_init(pool, &room);
		rc = rte_mempool_populate_default(pool);
	}
	if (rc < 0) {
		rte_mempool_free(pool);
		rte_errno = -rc;
		return NULL;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}

static bool
has(const struct pools *ps, int node)
{
	for (uint16_t i = 0; i < ps->n; i++)
		if (ps->at[i]->socket_id == node)
			return true;
	return false;
}

static void
add(struct pools *ps, const struct plan *p, int node)
{
	char name[RTE_MEMPOOL_NAMESIZE];

	if (node < 0 || ps->n == RTE_DIM(ps->at) || has(ps, node))
		return;
	snprintf(name, sizeof(name), "nearway%d", node);
	ps->at[ps->n] = make_pool(p, name, node);
	if (ps->at[ps->n] != NULL)
		ps->n++;
	else
		log_warn("memory: NUMA node %d has no room for %u packet buffers of %u bytes: %s; those of "
			 "another node are used, which costs time; reserve hugepages there",
			node, p->mbufs, p->room, rte_strerror(rte_errno));
}

/* The control thread's own first: it is what stands in for others. */
static void
add_nodes(struct pools *ps, const struct plan *p)
{
	add(ps, p, (int)rte_socket_id());
	for (uint16_t i = 0; i < p->n_workers; i++)
		add(ps, p, (int)rte_lcore_to_socket_id(eal_lcore(i)));
	for (uint16_t i = 0; i < p->n_ports; i++) {
		uint16_t id;

		if (rte_eth_dev_get_port_by_name(p->ports[i].name, &id) == 0)
			add(ps, p, rte_eth_dev_socket_id(id));
	}
}

struct pools *
pools_new(const struct plan *p, struct err *e)
{
	struct pools *ps = calloc(1, sizeof(*ps));

	if (ps == NULL) {
		err_set(e, ENOMEM, "no memory");
		return NULL;
	}
	if (p->hugepages)
		add_nodes(ps, p);
	if (ps->n == 0 && (ps->at[0] = make_pool(p, "nearway", SOCKET_ID_ANY)) != NULL)
		ps->n = 1;
	if (ps->n != 0)
		return ps;
	err_set(e, rte_errno, "no memory for %u packet buffers of %u bytes: %s", p->mbufs, p->room,
		rte_strerror(rte_errno));
	free(ps);
	return NULL;
}

void
pools_free(struct pools *ps)
{
	for (uint16_t i = 0; ps != NULL && i < ps->n; i++)
		rte_mempool_free(ps->at[i]);
	free(ps);
}

struct rte_mempool *
pools_at(const struct pools *ps, int node)
{
	for (uint16_t i = 0; i < ps->n; i++)
		if (ps->at[i]->socket_id == node)
			return ps->at[i];
	return ps->at[0];
}

bool
pools_several(const struct pools *ps)
{
	return ps->n > 1;
}

uint32_t
pools_size(const struct pools *ps)
{
	uint32_t n = 0;

	for (uint16_t i = 0; i < ps->n; i++)
		n += ps->at[i]->size;
	return n;
}

uint32_t
pools_available(const struct pools *ps)
{
	uint32_t n = 0;

	for (uint16_t i = 0; i < ps->n; i++)
		n += rte_mempool_avail_count(ps->at[i]);
	return n;
}
