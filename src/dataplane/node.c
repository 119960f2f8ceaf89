/* SPDX-License-Identifier: BSD-3-Clause */
#include "node.h"

#include <rte_malloc.h>

void *
node_zalloc(const char *what, size_t size, int node)
{
	void *p = rte_zmalloc_socket(what, size, RTE_CACHE_LINE_SIZE, node);

	return p != NULL || node == SOCKET_ID_ANY ? p : rte_zmalloc(what, size, RTE_CACHE_LINE_SIZE);
}

int
node_of(const void *p)
{
	const struct rte_memseg_list *list = rte_mem_virt2memseg_list(p);

	return list != NULL ? list->socket_id : SOCKET_ID_ANY;
}
