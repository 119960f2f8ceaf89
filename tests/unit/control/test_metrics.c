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
	assert_true(atof(value_of(a, "move_time_seconds{step=\"switch\",quantile=\"1\"}")) > 0);
	assert_true(atof(value_of(a, "move_time_seconds{step=\"switch\",quantile=\"1\"}")) < 1);
	assert_string_equal(value_of(a, "store_takes_changes"), "1");
	assert_string_equal(value_of(a, "peer_up{peer=\"r-b\"}"), "1");
	assert_string_equal(value_of(a, "peer_agrees{peer=\"r-b\"}"), "1");
	node_crash(b);
	world_run(w, 60000);
	assert_string_equal(value_of(a, "peer_up{peer=\"r-b\"}"), "0");
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_metric_has_help_and_type_once_and_samples_are_of_the_last_one_named),
		cmocka_unit_test(metrics_tell_what_the_views_tell),
	};

	return cmocka_run_group_tests(tests, control_setup, NULL);
}
