/* SPDX-License-Identifier: BSD-3-Clause */
#include "control.h"

#include <time.h>

#define ADDRESSES(p, g) "\"addresses\": [{\"private\": \"" p "\", \"global\": \"" g "\"}]"
#define VM(m, a)	"{\"segment\": \"tenant-a\", \"mac\": \"" m "\", " a "}"

static void
a_registered_vm_reaches_forwarding_store_and_show(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	json_t *v;

	(void)state;
	v = get(r, "vm.register", VM("52:54:00:00:00:01", ADDRESSES("10.0.0.6", "198.51.0.6")));
	assert_int_equal(json_integer_value(json_object_get(v, "epoch")), 1);
	assert_true(json_is_true(json_object_get(v, "changed")));
	assert_int_equal(json_integer_value(json_object_get(v, "revision")), 1);
	json_decref(v);
	assert_int_equal(fwd_at(r, 1)->addresses[0].global_ip, vm_global(0, 1));
	assert_int_equal(fwd_at(r, 1)->attachment, ATTACHMENT_ANY);
	assert_non_null(strstr(stored_row(r, "vm", "tenant-a/52:54:00:00:00:01"), "198.51.0.6"));
	v = get(r, "show.vms", "{}");
	assert_int_equal(json_array_size(json_object_get(v, "rows")), 1);
	json_decref(v);
	v = get(r, "show.nat", "{}");
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(json_object_get(v, "rows"), 0), "global")),
		"198.51.0.6");
	json_decref(v);
	world_free(w);
}

/* C-33: each is refused whole, and the state unchanged. VNIs are the configuration's: test_config.c. */
static void
wrong_parameters_are_refused_and_change_nothing(void **state)
{
	static const char *const bad[] = {
		"{}",
		"{\"segment\": \"tenant-a\"}",
		"{\"segment\": \"nowhere\", \"mac\": \"52:54:00:00:00:01\", " ADDRESSES(
			"10.0.0.6", "198.51.0.6") "}",
		VM("53:54:00:00:00:01", ADDRESSES("10.0.0.6", "198.51.0.6")), /* group bit */
		VM("00:00:00:00:00:00", ADDRESSES("10.0.0.6", "198.51.0.6")),
		VM("02:00:00:00:00:01", ADDRESSES("10.0.0.6", "198.51.0.6")), /* the gateway's */
		VM("02:00:00:01:00:00", ADDRESSES("10.0.0.6", "198.51.0.6")), /* the router's */
		VM("02:00:00:01:00:01", ADDRESSES("10.0.0.6", "198.51.0.6")), /* the peer's */
		VM("52:54:00:00:00:01", ADDRESSES("11.0.0.6", "198.51.0.6")), /* outside the segment */
		VM("52:54:00:00:00:01", ADDRESSES("10.0.0.1", "198.51.0.6")), /* the gateway */
		VM("52:54:00:00:00:01", ADDRESSES("10.0.0.0", "198.51.0.6")),
		VM("52:54:00:00:00:01", ADDRESSES("10.255.255.255", "198.51.0.6")),
		VM("52:54:00:00:00:01", ADDRESSES("10.0.0.6", "198.52.0.6")), /* the other router's pool */
		VM("52:54:00:00:00:01", ADDRESSES("10.0.0.6", "224.0.0.6")),
		VM("52:54:00:00:00:01", ADDRESSES("10.0.0.6", "127.0.0.6")),
		VM("52:54:00:00:00:01", ADDRESSES("0.0.0.6", "198.51.0.6")),
		VM("52:54:00:00:00:01", ADDRESSES("127.0.0.6", "198.51.0.6")),
		VM("52:54:00:00:00:01", "\"epoch\": 9.3e18, " ADDRESSES("10.0.0.6", "198.51.0.6")),
		VM("52:54:00:00:00:01", "\"if-revision\": -1, " ADDRESSES("10.0.0.6", "198.51.0.6")),
		VM("52:54:00:00:00:01", "\"addresses\": []"),
		VM("52:54:00:00:00:01",
			"\"addresses\": [{\"private\": \"10.0.0.6\"}, {\"private\": \"10.0.0.6\"}]"),
		VM("52:54:00:00:00:01",
			"\"addresses\": [{\"private\": \"10.0.0.6\", \"global\": \"198.51.0.6\"}, "
			"{\"private\": \"10.0.0.7\", \"global\": \"198.51.0.6\"}]"),
		VM("52:54:00:00:00:01", "\"addresses\": [{\"private\": \"10.0.0.6\"}, {\"private\": "
					"\"10.0.0.7\"}, {\"private\": \"10.0.0.8\"}, "
					"{\"private\": \"10.0.0.9\"}, {\"private\": \"10.0.0.10\"}]"),
		VM("52:54:00:00:00:01", "\"epoch\": -1, " ADDRESSES("10.0.0.6", "198.51.0.6")),
		VM("52:54:00:00:00:01", "\"epoch\": 0.5, " ADDRESSES("10.0.0.6", "198.51.0.6")),
		VM("52:54:00:00:00:01", "\"epoch\": null, " ADDRESSES("10.0.0.6", "198.51.0.6")),
		VM("52:54:00:00:00:01", "\"epoch\": \"one\", " ADDRESSES("10.0.0.6", "198.51.0.6")),
		VM("52:54:00:00:00:01", "\"extra\": 1, " ADDRESSES("10.0.0.6", "198.51.0.6")),
		"{\"segment\": \"lab\", \"mac\": \"52:54:00:00:00:01\", " ADDRESSES(
			"172.16.0.6", "198.51.0.6") "}",
	};
	struct world *w = routers(2);
	struct node *r = world_router(w, 0);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (call(r, "vm.register", bad[i]) != RPC_INVALID_PARAMS)
			fail_msg("taken: %s", bad[i]);
	assert_int_equal(HASH_COUNT(r->core->vms), 0);
	assert_int_equal(model_count(r), 0);
	assert_int_equal(r->core->revision, 0);
	assert_int_equal(call(r, "vm.register",
				 "{\"segment\": \"lab\", \"mac\": \"52:54:00:00:00:01\", "
				 "\"addresses\": [{\"private\": \"172.16.0.6\"}]}"),
		0);
	world_free(w);
}

/* C-34, C-44: said again, the acknowledgement lost or not, it is done, and nothing is written. */
static void
the_same_change_twice_is_done_and_writes_nothing(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	uint64_t commits;

	(void)state;
	assert_int_equal(vm_register(r, 1, 5, vm_global(0, 1)), 0);
	commits = r->n_commits;
	assert_int_equal(vm_register(r, 1, 5, vm_global(0, 1)), 0);
	assert_int_equal(vm_register(r, 1, 0, vm_global(0, 1)), 0);
	assert_int_equal(vm_move(r, 1, 5, vm_global(0, 1), 0, 1000), 0);
	assert_int_equal(vm_at(r, 1)->now.epoch, 5);
	assert_int_equal(r->n_commits, commits);
	assert_int_equal(vm_unregister(r, 1, 6), 0);
	commits = r->n_commits;
	assert_int_equal(vm_unregister(r, 1, 6), 0);
	assert_int_equal(vm_unregister(r, 1, 0), 0);
	assert_int_equal(r->n_commits, commits);
	world_free(w);
}

/* C-36: a lower epoch has no effect, and is told what is. */
static void
an_older_epoch_is_stale_and_tells_the_current_vm(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	json_t *v;
	int code;

	(void)state;
	assert_int_equal(vm_register(r, 1, 5, vm_global(0, 1)), 0);
	assert_int_equal(vm_register(r, 1, 4, vm_global(0, 2)), RPC_STALE_EPOCH);
	assert_int_equal(vm_move(r, 1, 4, vm_global(0, 2), 0, 0), RPC_STALE_EPOCH);
	assert_int_equal(vm_unregister(r, 1, 4), RPC_STALE_EPOCH);
	assert_int_equal(fwd_at(r, 1)->addresses[0].global_ip, vm_global(0, 1));
	v = ask(r, &code, "vm.unregister", "{s:s, s:s, s:i}", "segment", "tenant-a", "mac",
		"52:54:00:00:00:01", "epoch", 1);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(v, "data"), "epoch")), 5);
	assert_string_equal(json_string_value(json_object_get(json_object_get(v, "data"), "owner")), "r-a");
	json_decref(v);
	world_free(w);
}

/* C-35: at one epoch the first stays. */
static void
the_same_epoch_with_other_content_is_a_conflict(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);

	(void)state;
	assert_int_equal(vm_register(r, 1, 5, vm_global(0, 1)), 0);
	assert_int_equal(vm_register(r, 1, 5, vm_global(0, 2)), RPC_CONFLICT);
	assert_true(logged("ALARM: VM tenant-a/52:54:00:00:00:01 has other content at epoch 5"));
	assert_int_equal(vm_unregister(r, 1, 5), RPC_CONFLICT);
	assert_int_equal(fwd_at(r, 1)->addresses[0].global_ip, vm_global(0, 1));
	world_free(w);
}

static void
a_step_of_more_than_2_to_the_32_is_refused(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);

	(void)state;
	assert_int_equal(vm_register(r, 1, 5, 0), 0);
	assert_int_equal(vm_register(r, 1, 5 + EPOCH_STEP + 1, 0), RPC_EPOCH_STEP);
	assert_int_equal(vm_register(r, 1, 5 + EPOCH_STEP, vm_global(0, 1)), 0);
	assert_int_equal(
		vm_register(r, 2, UINT64_C(1) << 40, 0), 0); /* nothing known: nothing to step over */
	world_free(w);
}

/* C-38 */
static void
an_unregister_that_overtakes_its_register_wins(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);

	(void)state;
	assert_int_equal(vm_unregister(r, 1, 5), 0);
	assert_int_equal(vm_register(r, 1, 4, vm_global(0, 1)), RPC_STALE_EPOCH);
	assert_true(vm_at(r, 1)->now.deleted);
	assert_null(fwd_at(r, 1));
	assert_int_equal(vm_register(r, 1, 6, vm_global(0, 1)), 0);
	assert_non_null(fwd_at(r, 1));
	assert_int_equal(vm_unregister(r, 77, 0), RPC_NOT_FOUND);
	world_free(w);
}

/* C-37: in whatever order changes arrive, the highest epoch decides. */
static void
changes_in_any_order_end_alike(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	unsigned int order[12];

	(void)state;
	for (unsigned int round = 0; round < 60; round++) {
		for (unsigned int i = 0; i < 12; i++) {
			unsigned int j = (unsigned int)world_random(w, i + 1);

			order[i] = order[j];
			order[j] = i;
		}
		for (unsigned int i = 0; i < 12; i++) {
			uint64_t epoch = order[i] + 1;
			int rc = epoch % 4 == 3 ? vm_unregister(r, round, epoch)
						: vm_register(r, round, epoch,
							  vm_global(0, round + 1000 * order[i]));

			assert_true(rc == 0 || rc == RPC_STALE_EPOCH);
		}
		assert_int_equal(vm_at(r, round)->now.epoch, 12);
		assert_int_equal(fwd_at(r, round)->addresses[0].global_ip, vm_global(0, round + 11000));
	}
	world_free(w);
}

/* C-33: already used. */
static void
an_address_of_another_vm_is_refused(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	json_t *v;
	int code;

	(void)state;
	assert_int_equal(vm_register(r, 1, 0, vm_global(0, 1)), 0);
	assert_int_equal(vm_register(r, 2, 0, vm_global(0, 1)), RPC_CONFLICT);
	v = ask(r, &code, "vm.register", "{s:s, s:s, s:[{s:s}]}", "segment", "tenant-a", "mac",
		"52:54:00:00:00:02", "addresses", "private", "10.0.0.6");
	assert_int_equal(code, RPC_CONFLICT);
	assert_string_equal(json_string_value(json_object_get(json_object_get(v, "data"), "mac")),
		"52:54:00:00:00:01"); /* the VM in the way */
	json_decref(v);
	assert_int_equal(
		call(r, "vm.register", VM("52:54:00:00:00:02", ADDRESSES("10.0.0.6", "198.51.0.99"))),
		RPC_CONFLICT);
	assert_null(vm_at(r, 2));
	assert_int_equal(vm_unregister(r, 1, 0), 0);
	assert_int_equal(vm_register(r, 2, 0, vm_global(0, 1)), 0);
	world_free(w);
}

static void
the_routers_own_addresses_are_no_global_addresses(void **state)
{
	struct world *w = world_new(1, 1);
	struct node *r = world_router(w, 0);

	(void)state;
	list_at(r->conf.pools, struct conf_pool, 0)->prefix =
		(struct prefix4){0xc0000200, 24}; /* on wan0's prefix */
	node_start(r);
	world_run(w, 100);
	assert_int_equal(vm_register(r, 1, 0, 0xc0000201), RPC_INVALID_PARAMS); /* wan0's own */
	assert_int_equal(vm_register(r, 1, 0, 0xc0000200), RPC_INVALID_PARAMS);
	assert_int_equal(vm_register(r, 1, 0, 0xc00002ff), RPC_INVALID_PARAMS);
	assert_int_equal(vm_register(r, 1, 0, 0xc0000209), 0);
	world_free(w);
}

static void
nat_set_changes_removes_and_keeps_the_epoch(void **state)
{
	struct world *w = routers(2);
	struct node *r = world_router(w, 0);

	(void)state;
	assert_int_equal(vm_register(r, 1, 5, 0), 0);
	assert_int_equal(vm_register(r, 2, 5, vm_global(0, 2)), 0);
#define NAT(g) "{\"segment\": \"tenant-a\", \"private\": \"10.0.0.6\"" g "}"
	assert_int_equal(call(r, "nat.set", NAT(", \"global\": \"198.51.0.50\"")), 0);
	assert_int_equal(fwd_at(r, 1)->addresses[0].global_ip, 0xc6330032);
	assert_int_equal(vm_at(r, 1)->now.epoch, 5);
	assert_int_equal(call(r, "nat.set", NAT(", \"global\": \"198.51.0.7\"")), RPC_CONFLICT);
	assert_int_equal(call(r, "nat.set", NAT(", \"global\": \"198.52.0.7\"")), RPC_INVALID_PARAMS);
	assert_int_equal(
		call(r, "nat.set", "{\"segment\": \"tenant-a\", \"private\": \"10.0.9.9\"}"), RPC_NOT_FOUND);
	assert_int_equal(call(r, "nat.set", "{\"segment\": \"tenant-b\", \"private\": \"10.0.9.9\"}"),
		RPC_INVALID_PARAMS);
	world_run(w, 100);
	assert_int_equal(fwd_at(world_router(w, 1), 1)->addresses[0].global_ip, 0xc6330032);
	assert_int_equal(call(world_router(w, 1), "nat.set", NAT("")), RPC_NOT_FOUND); /* not its VM */
	assert_int_equal(call(r, "nat.set", NAT("")), 0);
	assert_int_equal(fwd_at(r, 1)->addresses[0].global_ip, 0);
	world_run(w, 100);
	assert_agreed(w, 2);
	world_free(w);
}

static void
routes_are_replaced_deleted_and_those_of_the_file_come_back(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);

	(void)state;
	assert_int_equal(model_route(r, "0.0.0.0/0")->via, 0xc00002fe);
	assert_int_equal(
		call(r, "route.replace", "{\"prefix\": \"10.9.0.5/32\", \"via\": \"192.0.2.7\"}"), 0);
	assert_int_equal(model_route(r, "10.9.0.5/32")->via, 0xc0000207);
	assert_int_equal(
		call(r, "route.replace", "{\"prefix\": \"10.9.0.5/32\", \"via\": \"192.0.2.8\"}"), 0);
	assert_int_equal(model_route(r, "10.9.0.5/32")->via, 0xc0000208);
	assert_int_equal(call(r, "route.replace", "{\"prefix\": \"10.9.1.0/24\", \"blackhole\": true}"), 0);
	assert_true(model_route(r, "10.9.1.0/24")->blackhole);
	assert_int_equal(call(r, "route.delete", "{\"prefix\": \"10.9.0.5/32\"}"), 0);
	assert_int_equal(call(r, "route.delete", "{\"prefix\": \"10.9.0.5/32\"}"), 0);
	assert_null(model_route(r, "10.9.0.5/32"));
	assert_int_equal(call(r, "route.replace", "{\"prefix\": \"0.0.0.0/0\", \"via\": \"192.0.2.9\"}"), 0);
	assert_int_equal(model_route(r, "0.0.0.0/0")->via, 0xc0000209);
	assert_int_equal(call(r, "route.delete", "{\"prefix\": \"0.0.0.0/0\"}"), 0);
	assert_int_equal(model_route(r, "0.0.0.0/0")->via, 0xc00002fe);
	assert_int_equal(call(r, "route.delete", "{\"prefix\": \"0.0.0.0/0\"}"), RPC_CONFLICT);
	assert_int_equal(call(r, "route.replace", "{\"prefix\": \"10.9.0.5/32\", \"via\": \"203.0.113.1\"}"),
		RPC_INVALID_PARAMS);
	assert_int_equal(call(r, "route.replace", "{\"prefix\": \"10.9.0.5/32\"}"), RPC_INVALID_PARAMS);
	assert_int_equal(call(r, "route.replace", "{\"prefix\": \"10.9.0.5/32\", \"port\": \"dc0\"}"),
		RPC_INVALID_PARAMS);
	assert_int_equal(
		call(r, "route.replace",
			"{\"prefix\": \"10.9.0.5/32\", \"via\": \"192.0.2.7\", \"blackhole\": true}"),
		RPC_INVALID_PARAMS);
	assert_int_equal(
		call(r, "route.replace",
			"{\"prefix\": \"10.9.0.0/24\", \"via\": \"203.0.113.1\", \"port\": \"wan0\"}"),
		0);
	assert_int_equal(model_route(r, "10.9.0.0/24")->port, 0);
	world_free(w);
}

/* C-41: one of three is refused: none is applied. */
static void
a_batch_is_all_or_nothing(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	json_t *v;
	int code;

	(void)state;
	assert_int_equal(vm_register(r, 9, 0, vm_global(0, 9)), 0);
	v = ask(r, &code, "txn.apply",
		"{s:[{s:s, s:{s:s, s:s, s:[{s:s}]}}, {s:s, s:{s:s, s:s}}, {s:s, s:{s:s, s:s, s:[{s:s}]}}]}",
		"changes", "method", "vm.register", "params", "segment", "tenant-a", "mac",
		"52:54:00:00:00:01", "addresses", "private", "10.0.0.6", "method", "route.replace", "params",
		"prefix", "10.9.0.0/24", "via", "192.0.2.7", "method", "vm.register", "params", "segment",
		"tenant-a", "mac", "52:54:00:00:00:02", "addresses", "private", "10.0.0.14" /* VM 9's */);
	assert_int_equal(code, RPC_CONFLICT);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(v, "data"), "change")), 2);
	json_decref(v);
	assert_null(vm_at(r, 1));
	assert_null(model_route(r, "10.9.0.0/24"));
	assert_int_equal(stored_count(r, "vm"), 1);
	assert_int_equal(call(r, "txn.apply", "{\"changes\": [{\"method\": \"show.vms\", \"params\": {}}]}"),
		RPC_NO_METHOD);
	assert_int_equal(call(r, "txn.apply", "{\"changes\": [{\"method\": \"txn.apply\", \"params\": {}}]}"),
		RPC_NO_METHOD);
	assert_int_equal(call(r, "txn.apply", "{\"changes\": []}"), RPC_INVALID_PARAMS);
	assert_true(model_is_true(r));
	world_free(w);
}

static void
a_dry_run_checks_and_changes_nothing(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	uint64_t prepares = r->n_prepares;

	(void)state;
#define DRY(p)                                                                             \
	"{\"dry-run\": true, \"changes\": [{\"method\": \"vm.register\", \"params\": " VM( \
		"52:54:00:00:00:01", ADDRESSES(p, "198.51.0.6")) "}]}"
	assert_int_equal(call(r, "txn.apply", DRY("10.0.0.6")), 0);
	assert_int_equal(call(r, "txn.apply", DRY("11.0.0.6")), RPC_INVALID_PARAMS);
	assert_null(vm_at(r, 1));
	assert_int_equal(r->n_prepares, prepares);
	assert_int_equal(r->core->revision, 0);
	world_free(w);
}

static json_t *
many(const char *method, unsigned int n, unsigned int router)
{
	json_t *changes = json_array();

	for (unsigned int i = 0; i < n; i++) {
		struct mac mac = vm_mac(i);
		char m[MAC_TEXT], a[IP4_TEXT], b[IP4_TEXT];

		json_array_append_new(changes,
			json_pack("{s:s, s:{s:s, s:s, s:[{s:s, s:s}]}}", "method", method, "params",
				"segment", "tenant-a", "mac", mac_format(&mac, m), "addresses", "private",
				ip4_format(vm_private(i), a), "global", ip4_format(vm_global(router, i), b)));
	}
	return json_pack("{s:o}", "changes", changes);
}

static double
cpu_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static void
a_batch_of_1000_moves_is_one_commit_and_one_publication(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	uint64_t commits, publishes;
	double began;
	json_t *v;
	int code;

	(void)state;
	v = ask(a, &code, "txn.apply", "o", many("vm.register", 1000, 0));
	assert_int_equal(code, 0);
	json_decref(v);
	world_run(w, 1000);
	assert_int_equal(model_count(b), 1000);
	commits = b->n_commits;
	publishes = b->n_publishes;
	began = cpu_ms();
	v = ask(b, &code, "txn.apply", "o", many("vm.move", 1000, 1));
	print_message(
		"1,000 moves: %.1f ms of CPU, the caller's side and the wire included\n", cpu_ms() - began);
	assert_int_equal(code, 0);
	assert_int_equal(json_array_size(json_object_get(v, "results")), 1000);
	json_decref(v);
	assert_int_equal(b->n_commits, commits + 1);
	assert_int_equal(b->n_publishes, publishes + 1);
	world_run(w, 1000);
	assert_agreed(w, 2);
	assert_int_equal(get_number(a, "show.status", "moves-draining"), 1000);
	assert_int_equal(get_number(a, "show.status", "own-vms"), 0);
	world_free(w);
}

static void
what_the_store_refuses_is_not_done(void **state)
{
	struct world *w = routers(2);
	struct node *r = world_router(w, 0);

	(void)state;
	assert_int_equal(vm_register(r, 1, 0, vm_global(0, 1)), 0);
	r->commits_to_fail = 3;
	assert_int_equal(vm_register(r, 2, 0, vm_global(0, 2)), RPC_STORE);
	assert_int_equal(vm_unregister(r, 1, 0), RPC_STORE);
	assert_int_equal(
		call(r, "route.replace", "{\"prefix\": \"10.9.0.5/32\", \"via\": \"192.0.2.7\"}"), RPC_STORE);
	assert_null(vm_at(r, 2));
	assert_true(vm_live(vm_at(r, 1)));
	assert_null(model_route(r, "10.9.0.5/32"));
	assert_int_equal(r->core->revision, 1);
	assert_int_equal(vm_register(r, 2, 0, vm_global(0, 2)), 0); /* space has returned */
	world_run(w, 100);
	assert_agreed(w, 2);
	world_free(w);
}

static void
what_forwarding_refuses_is_not_done(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);

	(void)state;
	r->prepare_fails = true;
	assert_int_equal(vm_register(r, 1, 0, 0), RPC_LIMIT);
	assert_null(vm_at(r, 1));
	assert_null(stored_row(r, "vm", "tenant-a/52:54:00:00:00:01"));
	r->prepare_fails = false;
	assert_int_equal(vm_register(r, 1, 0, 0), 0);
	world_free(w);
}

static void
the_limit_of_vms_is_kept(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);

	(void)state;
	r->conf.limits.vms = 2;
	assert_int_equal(vm_register(r, 1, 0, 0), 0);
	assert_int_equal(vm_register(r, 2, 0, 0), 0);
	assert_int_equal(vm_register(r, 3, 0, 0), RPC_LIMIT);
	assert_int_equal(vm_unregister(r, 1, 0), 0); /* a tombstone takes no place */
	assert_int_equal(vm_register(r, 3, 0, 0), 0);
	world_free(w);
}

static void
a_restart_brings_back_everything_acknowledged(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);

	(void)state;
	assert_int_equal(vm_register(r, 1, 7, vm_global(0, 1)), 0);
	assert_int_equal(vm_register(r, 2, 0, vm_global(0, 2)), 0);
	assert_int_equal(vm_unregister(r, 2, 0), 0);
	assert_int_equal(
		call(r, "route.replace", "{\"prefix\": \"10.9.0.5/32\", \"via\": \"192.0.2.7\"}"), 0);
	node_crash(r);
	node_start(r);
	world_run(w, 100);
	assert_true(r->ready);
	assert_int_equal(fwd_at(r, 1)->addresses[0].global_ip, vm_global(0, 1));
	assert_int_equal(vm_at(r, 1)->now.epoch, 7);
	assert_true(vm_at(r, 2)->now.deleted);
	assert_int_equal(vm_register(r, 2, 1, 0), RPC_STALE_EPOCH);
	assert_int_equal(model_route(r, "10.9.0.5/32")->via, 0xc0000207);
	assert_int_equal(get_number(r, "show.status", "revision"), 4);
	assert_true(model_is_true(r));
	world_free(w);
}

static void
stored_rows_that_break_an_invariant_are_skipped(void **state)
{
	static const char *const bad[][2] = {
		{"tenant-a/52:54:00:00:00:09", "garbage"},
		{"tenant-a/52:54:00:00:00:0a", "{}"},
		{"nowhere/52:54:00:00:00:0b", "{\"segment\":\"nowhere\",\"mac\":\"52:54:00:00:00:0b\","
					      "\"owner\":\"r-a\",\"epoch\":1}"},
		{"tenant-a/52:54:00:00:00:0c", "{\"segment\":\"tenant-a\",\"mac\":\"52:54:00:00:00:0c\","
					       "\"owner\":\"stranger\",\"epoch\":1}"},
		{"tenant-a/52:54:00:00:00:0d", "{\"segment\":\"tenant-a\",\"mac\":\"52:54:00:00:00:0d\","
					       "\"owner\":\"r-a\",\"epoch\":1,"
					       "\"addresses\":[{\"private\":\"10.0.0.6\"}]}"}, /* VM 1's */
		{"tenant-a/52:54:00:00:00:0e",
			"{\"segment\":\"tenant-a\",\"mac\":\"52:54:00:00:00:0e\",\"owner\":\"r-a\",\"epoch\":"
			"1,"
			"\"addresses\":[{\"private\":\"10.0.0.99\",\"global\":\"9.9.9.9\"}]}"},
	};
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);

	(void)state;
	assert_int_equal(vm_register(r, 1, 0, vm_global(0, 1)), 0);
	node_crash(r);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		stored_set(r, "vm", bad[i][0], bad[i][1]);
	stored_set(r, "route", "10.0.0.0/33", "{\"prefix\": \"10.0.0.0/33\", \"via\": \"192.0.2.7\"}");
	stored_set(r, "move", "x", "{}");
	stored_set(r, "riddle", "x", "{}");
	node_start(r);
	world_run(w, 100);
	assert_int_equal(model_count(r), 1);
	assert_non_null(fwd_at(r, 1));
	assert_int_equal(HASH_COUNT(r->core->routes), 1);
	assert_true(logged("refused and skipped"));
	world_free(w);
}

static void
one_entry_that_forwarding_refuses_at_start_does_not_cost_the_others(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);

	(void)state;
	assert_int_equal(vm_register(r, 1, 0, vm_global(0, 1)), 0);
	node_crash(r);
	r->prepare_fails = true;
	node_start(r);
	world_run(w, 100);
	assert_true(r->ready); /* the router runs, and says so in its log */
	assert_true(logged("is not forwarded"));
	node_crash(r);
	r->prepare_fails = false;
	r->prepare_limit = 1; /* not two at once */
	node_start(r);
	world_run(w, 100);
	assert_non_null(fwd_at(r, 1));
	assert_non_null(model_route(r, "0.0.0.0/0"));
	assert_true(model_is_true(r));
	world_free(w);
}

static void
listings_go_on_from_their_cursor(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	char cursor[200] = "{\"limit\": 7}";
	unsigned int rows = 0, pages = 0;
	json_t *v;
	int code;

	(void)state;
	v = ask(r, &code, "txn.apply", "o", many("vm.register", 100, 0));
	json_decref(v);
	do {
		const char *next;

		v = get(r, pages % 2 ? "show.nat" : "show.vms", cursor);
		rows += (unsigned int)json_array_size(json_object_get(v, "rows"));
		assert_true(json_array_size(json_object_get(v, "rows")) <= 7);
		next = json_string_value(json_object_get(v, "next"));
		snprintf(cursor, sizeof(cursor), "{\"limit\": 7, \"cursor\": \"%s\"}", next ? next : "");
		pages++;
		if (pages == 3) /* what is added or gone meanwhile neither repeats nor hides others */
			assert_int_equal(vm_unregister(r, 0, 0), 0);
		json_decref(v);
	} while (strstr(cursor, "tenant"));
	assert_int_equal(rows, 100);
	assert_true(pages >= 15);
	world_free(w);
}

static void
views_of_forwarding_come_from_forwarding(void **state)
{
	struct world *w = routers(1);
	struct node *r = world_router(w, 0);
	json_t *v;

	(void)state;
	assert_int_equal(get_number(r, "show.status", "workers"), 1);
	v = get(r, "show.ports", "{}");
	json_decref(v);
	assert_int_equal(call(r, "show.macs", "{}"), RPC_INTERNAL); /* this model has none */
	v = get(r, "show.segments", "{}");
	assert_int_equal(json_array_size(json_object_get(v, "rows")), 2);
	json_decref(v);
	assert_int_equal(call(r, "show.nothing", "{}"), RPC_NO_METHOD);
	assert_int_equal(call(r, "show.vms", "{\"limit\": -1}"), RPC_INVALID_PARAMS);
	world_free(w);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup(f, control_setup)
	const struct CMUnitTest tests[] = {
		T(a_registered_vm_reaches_forwarding_store_and_show),
		T(wrong_parameters_are_refused_and_change_nothing),
		T(the_same_change_twice_is_done_and_writes_nothing),
		T(an_older_epoch_is_stale_and_tells_the_current_vm),
		T(the_same_epoch_with_other_content_is_a_conflict),
		T(a_step_of_more_than_2_to_the_32_is_refused),
		T(an_unregister_that_overtakes_its_register_wins),
		T(changes_in_any_order_end_alike),
		T(an_address_of_another_vm_is_refused),
		T(the_routers_own_addresses_are_no_global_addresses),
		T(nat_set_changes_removes_and_keeps_the_epoch),
		T(routes_are_replaced_deleted_and_those_of_the_file_come_back),
		T(a_batch_is_all_or_nothing),
		T(a_dry_run_checks_and_changes_nothing),
		T(a_batch_of_1000_moves_is_one_commit_and_one_publication),
		T(what_the_store_refuses_is_not_done),
		T(what_forwarding_refuses_is_not_done),
		T(the_limit_of_vms_is_kept),
		T(a_restart_brings_back_everything_acknowledged),
		T(stored_rows_that_break_an_invariant_are_skipped),
		T(one_entry_that_forwarding_refuses_at_start_does_not_cost_the_others),
		T(listings_go_on_from_their_cursor),
		T(views_of_forwarding_come_from_forwarding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
