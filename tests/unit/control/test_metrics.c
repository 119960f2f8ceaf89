/* SPDX-License-Identifier: BSD-3-Clause */
/* metrics: what show.* tells, in the text format of Prometheus. */
#include "control.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

static char *
metrics(struct node *r)
{
	json_t *v = get(r, "metrics", "{}");
	char *text = strdup(json_string_value(json_object_get(v, "text")));

	json_decref(v);
	return text;
}

/* The value of a series, as it is printed; "" when there is none. */
static const char *
value_of(struct node *r, const char *series)
{
	static char value[64];
	char *text = metrics(r), line[200];
	const char *at;

	snprintf(line, sizeof(line), "\nnearway_%s ", series);
	at = strstr(text, line);
	value[0] = '\0';
	if (at != NULL)
		sscanf(at + strlen(line), "%63s", value);
	free(text);
	return value;
}

static void
matches(const char *line, const char *pattern)
{
	regex_t re;

	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&re, line, 0, NULL, 0) != 0)
		fail_msg("\"%s\" is not %s", line, pattern);
	regfree(&re);
}

static void
every_metric_has_help_and_type_once_and_samples_are_of_the_last_one_named(void **state)
{
	struct world *w = routers(2);
	char *text, *line, *at, name[64] = "", word[128], type[16] = "";
	unsigned int named = 0;

	(void)state;
	assert_int_equal(vm_register(world_router(w, 0), 1, 0, 0), 0);
	text = metrics(world_router(w, 0));
	for (line = strtok_r(text, "\n", &at); line != NULL; line = strtok_r(NULL, "\n", &at)) {
		if (strncmp(line, "# HELP ", 7) == 0) {
			char *all = metrics(world_router(w, 0));

			matches(line, "^# HELP nearway_[a-z0-9_]+ [A-Z0-9].*\\.$");
			sscanf(line, "# HELP %63s", name);
			snprintf(word, sizeof(word), "# HELP %s ", name);
			assert_null(strstr(strstr(all, word) + 1, word));
			free(all);
			named++;
		} else if (strncmp(line, "# TYPE ", 7) == 0) {
			matches(line, "^# TYPE nearway_[a-z0-9_]+ (counter|gauge)$");
			sscanf(line, "# TYPE %127s %15s", word, type);
			assert_string_equal(word, name);
			assert_int_equal(strcmp(type, "counter") == 0,
				strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0);
		} else {
			matches(line, "^nearway_[a-z0-9_]+([{][a-z]+=\"[^\"]*\"(,[a-z]+=\"[^\"]*\")*[}])? "
				      "-?[0-9.e+-]+$");
			snprintf(word, sizeof(word), "%.*s", (int)strcspn(line, "{ "), line);
			assert_string_equal(word, name);
		}
	}
	assert_true(named > 60);
	free(text);
	world_free(w);
}

static void
metrics_tell_what_the_views_tell(void **state)
{
	struct world *w = routers(2);
	struct node *a = world_router(w, 0), *b = world_router(w, 1);
	json_t *v;
	double us;

	(void)state;
	for (unsigned int n = 1; n <= 3; n++)
		assert_int_equal(vm_register(a, n, 0, vm_global(0, n)), 0);
	assert_int_equal(vm_register(b, 4, 0, vm_global(1, 4)), 0);
	world_run(w, 500);
	assert_int_equal(vm_move(a, 4, 0, vm_global(0, 4), 3600000, 7200000), 0);
	world_run(w, 500);
	assert_string_equal(
		value_of(a, "info{router=\"r-a\",site=\"site-0\",version=\"" NEARWAY_VERSION "\"}"), "1");
	assert_string_equal(value_of(a, "own_vms"), "4");
	assert_string_equal(value_of(b, "own_vms"), "0");
	assert_string_equal(value_of(b, "peer_vms{peer=\"r-a\"}"), "4");
	assert_string_equal(value_of(a, "moves{state=\"draining\"}"), "1");
	assert_string_equal(value_of(a, "moves{state=\"paused\"}"), "0");
	assert_string_equal(value_of(a, "move_times_measured_total{step=\"switch\"}"), "1");
	v = get(a, "show.move-times", "{}");
	us = (double)json_integer_value(
		json_object_get(json_array_get(json_object_get(v, "rows"), 0), "max-us"));
	json_decref(v);
	assert_true(us > 0);
	assert_float_equal(
		atof(value_of(a, "move_time_seconds{step=\"switch\",quantile=\"1\"}")), us * 1e-6, 1e-9);
	assert_float_equal(atof(value_of(a, "uptime_seconds")),
		(double)get_number(a, "show.status", "uptime-ms") / 1000, 0.01);
	assert_string_equal(value_of(a, "store_takes_changes"), "1");
	assert_string_equal(value_of(a, "peer_up{peer=\"r-b\"}"), "1");
	assert_string_equal(value_of(a, "peer_agrees{peer=\"r-b\"}"), "1");
	node_crash(b);
	world_run(w, 60000);
	assert_string_equal(value_of(a, "peer_up{peer=\"r-b\"}"), "0");
	world_free(w);
}

/* ---- what forwarding tells ---- */

static struct json_t *
numbers(void *ctx, const char *what, const char *cursor, uint64_t limit)
{
	(void)ctx;
	(void)cursor;
	(void)limit;
	if (strcmp(what, "status") == 0)
		return json_pack("{s:i, s:i, s:i, s:i, s:i, s:{s:i}, s:{s:i}, s:{s:{s:i, s:i}}, s:{s:i, s:i, "
				 "s:i, s:i, s:i},"
				 " s:[{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}]}",
			"sessions-full", 1, "home-away", 2, "mbufs", 3, "mbufs-free", 4, "own-frames-lost", 5,
			"packets", "imbalance", -6, "made", "icmp_error", 7, "events", "mac-learn", "told", 8,
			"lost", 9, "tables", "vms", 10, "routes", 11, "neighbours", 12, "macs", 13,
			"sessions", 14, "workers", "worker", 3, "received", 15, "made", 16, "released", 17,
			"sent", 18, "dropped", 19, "held", 20, "punted", 21, "passed", 22, "sleeps", 23);
	if (strcmp(what, "every-drop") == 0)
		return json_pack("{s:[{s:s, s:i}, {s:s, s:i}]}", "rows", "reason", "no_route", "packets", 24,
			"reason", "mtu", "packets", 0);
	if (strcmp(what, "stages") == 0)
		return json_pack("{s:[{s:s, s:i, s:i}]}", "rows", "stage", "tx", "packets", 25, "calls", 26);
	if (strcmp(what, "ports") == 0)
		return json_pack("{s:[{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i}, {s:s, s:s}]}", "rows",
			"port", "wan0", "link", "up", "rx-packets", 27, "rx-bytes", 28, "rx-missed", 29,
			"tx-packets", 30, "tx-bytes", 31, "tx-drops", 32, "tx-errors", 33, "port", "dc0",
			"link", "down");
	return NULL;
}

static void
segment_numbers(void *ctx, uint16_t segment, struct fwd_segment *out)
{
	(void)ctx;
	(void)segment;
	*out = (struct fwd_segment){
		.traffic = {34, 35, 36, 37}, .macs = 38, .macs_moved = 39, .macs_refused = 40};
}

static void
every_figure_of_forwarding_is_told_under_its_name(void **state)
{
	static const struct {
		const char *series, *value;
	} expected[] = {
		{"sessions_full_total", "1"},
		{"home_away_total", "2"},
		{"packet_buffers", "3"},
		{"packet_buffers_free", "4"},
		{"own_frames_lost_total", "5"},
		{"imbalance_packets", "-6"},
		{"made_total{reason=\"icmp_error\"}", "7"},
		{"worker_events_total{kind=\"mac-learn\"}", "8"},
		{"worker_events_lost_total{kind=\"mac-learn\"}", "9"},
		{"table_entries{table=\"vms\"}", "10"},
		{"table_entries{table=\"routes\"}", "11"},
		{"table_entries{table=\"neighbours\"}", "12"},
		{"table_entries{table=\"macs\"}", "13"},
		{"table_entries{table=\"sessions\"}", "14"},
		{"worker_received_packets_total{worker=\"3\"}", "15"},
		{"worker_made_packets_total{worker=\"3\"}", "16"},
		{"worker_released_packets_total{worker=\"3\"}", "17"},
		{"worker_sent_packets_total{worker=\"3\"}", "18"},
		{"worker_dropped_packets_total{worker=\"3\"}", "19"},
		{"worker_held_packets_total{worker=\"3\"}", "20"},
		{"worker_punted_packets_total{worker=\"3\"}", "21"},
		{"worker_passed_packets_total{worker=\"3\"}", "22"},
		{"worker_sleeps_total{worker=\"3\"}", "23"},
		{"drops_total{reason=\"no_route\"}", "24"},
		{"drops_total{reason=\"mtu\"}", "0"},
		{"stage_packets_total{stage=\"tx\"}", "25"},
		{"stage_calls_total{stage=\"tx\"}", "26"},
		{"port_up{port=\"wan0\"}", "1"},
		{"port_up{port=\"dc0\"}", "0"},
		{"port_receive_packets_total{port=\"wan0\"}", "27"},
		{"port_receive_bytes_total{port=\"wan0\"}", "28"},
		{"port_receive_missed_total{port=\"wan0\"}", "29"},
		{"port_transmit_packets_total{port=\"wan0\"}", "30"},
		{"port_transmit_bytes_total{port=\"wan0\"}", "31"},
		{"port_transmit_drops_total{port=\"wan0\"}", "32"},
		{"port_transmit_errors_total{port=\"wan0\"}", "33"},
		{"segment_from_packets_total{segment=\"tenant-a\"}", "34"},
		{"segment_from_bytes_total{segment=\"tenant-a\"}", "35"},
		{"segment_to_packets_total{segment=\"tenant-a\"}", "36"},
		{"segment_to_bytes_total{segment=\"tenant-a\"}", "37"},
		{"segment_macs{segment=\"tenant-a\"}", "38"},
		{"segment_macs_refused_total{segment=\"tenant-a\"}", "40"},
		{"segment_vms{segment=\"tenant-a\"}", "2"},
		{"segment_own_vms{segment=\"tenant-a\"}", "1"},
		{"peer_claims_accepted_total{peer=\"r-b\"}", "1"},
		{"peer_claims_refused_total{peer=\"r-b\"}", "0"},
	};
	struct world *w = routers(2);
	struct node *a = world_router(w, 0);
	const struct env_ops *ops = a->env.ops;
	struct env_ops told = *ops;

	(void)state;
	assert_int_equal(vm_register(a, 1, 0, 0), 0);
	assert_int_equal(vm_register(world_router(w, 1), 2, 0, 0), 0);
	world_run(w, 500);
	told.fwd_show = numbers;
	told.fwd_segment = segment_numbers;
	a->env.ops = &told;
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		assert_string_equal(value_of(a, expected[i].series), expected[i].value);
	a->env.ops = ops;
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_metric_has_help_and_type_once_and_samples_are_of_the_last_one_named),
		cmocka_unit_test(metrics_tell_what_the_views_tell),
		cmocka_unit_test(every_figure_of_forwarding_is_told_under_its_name),
	};

	return cmocka_run_group_tests(tests, control_setup, NULL);
}
