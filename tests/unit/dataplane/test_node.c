/* SPDX-License-Identifier: BSD-3-Clause */
/* A second NUMA node is a heap of its own, as EAL has for memory that came from outside. */
#include "tabtest.h"

#include <dataplane/node.h>
#include <dataplane/worker.h>
#include <rte_malloc.h>
#include <sys/mman.h>

#define PAGE 4096u
#define ROOM (32u << 20)

static struct topology topo;
static struct tables tables;

/* The node of so much memory. */
static int
make_node(const char *name, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	assert_int_equal(rte_malloc_heap_create(name), 0);
	assert_int_equal(rte_malloc_heap_memory_add(name, p, size, NULL, 0, PAGE), 0);
	return rte_malloc_heap_get_socket(name);
}

static struct worker *
make_worker(const char *pool, int node)
{
	struct rte_mempool *p = rte_pktmbuf_pool_create(pool, 63, 0, sizeof(struct meta), 256, node);

	assert_non_null(p);
	return worker_new(0, &topo, &tables, p);
}

static void
free_worker(struct worker *w)
{
	struct rte_mempool *pool = w->pool;

	worker_free(w);
	rte_mempool_free(pool);
}

static void
all_that_a_worker_has_alone_lies_on_the_node_of_its_pool(void **state)
{
	int node = make_node("far", ROOM);
	struct worker *w = make_worker("far", node);

	(void)state;
	assert_non_null(w);
	assert_int_equal(node_of(w), node);
	assert_int_equal(node_of(w->paths), node);
	assert_int_equal(node_of(w->from_vm), node);
	assert_int_equal(node_of(w->to_vm), node);
	assert_int_equal(node_of(w->mac_seen), node);
	assert_int_equal(node_of(w->orders), node);
	assert_int_equal(node_of(w->punts), node);
	for (int k = 0; k < EVENTS; k++)
		assert_int_equal(node_of(w->events[k]), node);
	free_worker(w);
}

static void
a_node_without_memory_borrows_from_another(void **state)
{
	int node = make_node("small", 64 * PAGE);
	void *p = node_zalloc("test", 2 * 64 * PAGE, node), *q = node_zalloc("test", PAGE, node);
	struct worker *w;

	(void)state;
	assert_int_equal(node_of(q), node); /* it has a little */
	assert_int_equal(node_of(p), 0);
	w = make_worker("small", node);
	assert_non_null(w);
	assert_int_equal(node_of(w), 0);
	assert_int_equal(node_of(w->orders), 0);
	free_worker(w);
	rte_free(p);
	rte_free(q);
}

static void
what_is_no_memory_of_eals_lies_nowhere(void **state)
{
	int here = 0;

	(void)state;
	assert_int_equal(node_of(&here), SOCKET_ID_ANY);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_that_a_worker_has_alone_lies_on_the_node_of_its_pool),
		cmocka_unit_test(a_node_without_memory_borrows_from_another),
		cmocka_unit_test(what_is_no_memory_of_eals_lies_nowhere),
	};

	(void)argc;
	start_eal(argv[0], "64");
	tables.rcu = rcu_new(1);
	tables.vms = vmtab_new(1000, tables.rcu);
	tables.macs = mactab_new(1000, tables.rcu);
	return tables.vms == NULL || tables.macs == NULL ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
