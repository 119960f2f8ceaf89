/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cli/grammar.h>
#include <cmocka.h>

#define WORDS_MAX 32

/* Splits at blanks; the words live in `buf`. */
static size_t
split(const char *line, char *buf, const char *words[WORDS_MAX])
{
	size_t n = 0;

	strcpy(buf, line);
	for (char *w = strtok(buf, " "); w != NULL; w = strtok(NULL, " "))
		words[n++] = w;
	return n;
}

static int
parse(const char *line, struct command *c, struct faults *f)
{
	const char *words[WORDS_MAX];
	char buf[1024];
	size_t n = split(line, buf, words);

	faults_init(f);
	return grammar_parse(words, n, c, f);
}

static void
expect_call(const char *line, const char *method, const char *params)
{
	json_t *want = json_loads(params, 0, NULL);
	struct command c;
	struct faults f;
	char *got;

	assert_non_null(want);
	if (parse(line, &c, &f) != 0)
		fail_msg("%s: %s: %s", line, f.items[0].path, f.items[0].text);
	assert_string_equal(c.method->name, method);
	got = json_dumps(c.params, 0);
	if (!json_equal(want, c.params))
		fail_msg("%s: %s", line, got);
	free(got);
	json_decref(want);
	command_fini(&c);
}

static void
expect_fault(const char *line, const char *path, const char *part)
{
	struct command c;
	struct faults f;

	if (parse(line, &c, &f) != -EINVAL)
		fail_msg("%s: was accepted", line);
	assert_null(c.params);
	assert_true(f.n > 0);
	assert_string_equal(f.items[0].path, path);
	if (strstr(f.items[0].text, part) == NULL)
		fail_msg("%s: %s", line, f.items[0].text);
	faults_fini(&f);
}

static void
words_become_a_method_and_typed_parameters(void **state)
{
	(void)state;
	expect_call("show status", "show.status", "{}");
	expect_call("show vms limit 5 cursor abc", "show.vms", "{\"limit\": 5, \"cursor\": \"abc\"}");
	expect_call("route replace prefix 10.0.0.5/32 via 198.51.100.2", "route.replace",
		"{\"prefix\": \"10.0.0.5/32\", \"via\": \"198.51.100.2\", \"blackhole\": false, \"dry-run\": "
		"false}");
	expect_call("route replace prefix 0.0.0.0/0 blackhole on", "route.replace",
		"{\"prefix\": \"0.0.0.0/0\", \"blackhole\": true, \"dry-run\": false}");
	expect_call("route delete prefix 10.0.0.5", "route.delete",
		"{\"prefix\": \"10.0.0.5/32\", \"dry-run\": false}");
	expect_call("nat set segment seg1 private 10.0.0.5 global 203.0.113.9", "nat.set",
		"{\"segment\": \"seg1\", \"private\": \"10.0.0.5\", \"global\": \"203.0.113.9\", "
		"\"dry-run\": false}");
	expect_call("nat set segment seg1 private 10.0.0.5", "nat.set",
		"{\"segment\": \"seg1\", \"private\": \"10.0.0.5\", \"dry-run\": false}");
	expect_call("move finish segment seg1 mac 02:00:00:00:00:05", "move.finish",
		"{\"segment\": \"seg1\", \"mac\": \"02:00:00:00:00:05\", \"epoch\": 0, \"dry-run\": false}");
}

static void
addresses_are_written_as_private_and_global(void **state)
{
	(void)state;
	expect_call("vm move segment seg1 mac 02:00:00:00:00:05 addresses 10.0.0.5=203.0.113.70,10.0.0.6 "
		    "drain-min 1h",
		"vm.move",
		"{\"segment\": \"seg1\", \"mac\": \"02:00:00:00:00:05\", \"epoch\": 0, \"addresses\": "
		"[{\"private\": \"10.0.0.5\", \"global\": \"203.0.113.70\"}, {\"private\": \"10.0.0.6\"}], "
		"\"drain-min\": 3600000, \"dry-run\": false}");
	expect_call(
		"vm register segment s mac 02:00:00:00:00:05 epoch 7 addresses [{\"private\":\"10.0.0.5\"}]",
		"vm.register",
		"{\"segment\": \"s\", \"mac\": \"02:00:00:00:00:05\", \"epoch\": 7, \"addresses\": "
		"[{\"private\": \"10.0.0.5\"}], \"dry-run\": false}");
	expect_fault("vm register segment s mac 02:00:00:00:00:05 addresses 10.0.0.5=203.0.113.1=x",
		"addresses", "has too many parts; write PRIVATE[=GLOBAL],...");
	expect_fault("vm register segment s mac 02:00:00:00:00:05 addresses 10.0.0.5,",
		"addresses[1].private", "is not allowed");
	expect_fault("vm register segment s mac 02:00:00:00:00:05 addresses 10.0.0.5,10.0.0.5",
		"addresses[1]", "is there already");
}

static void
changes_are_json_on_the_line_or_in_a_file(void **state)
{
	static const char text[] =
		"[{\"method\": \"vm.move\", \"params\": {\"epoch\": 9}},\n"
		" {\"method\": \"route.delete\", \"params\": {\"prefix\": \"10.0.0.0/8\"}}]\n";
	char file[] = "/tmp/nearway-changes-XXXXXX";
	int fd = mkstemp(file);
	char line[128], want[512];

	(void)state;
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	snprintf(line, sizeof(line), "txn apply changes @%s dry-run on", file);
	snprintf(want, sizeof(want), "{\"dry-run\": true, \"changes\": %s}", text);
	expect_call(line, "txn.apply", want);
	unlink(file);
	expect_fault(line, "changes", "cannot read /tmp/nearway-changes-");
	expect_call("txn apply changes [{\"method\":\"vm.move\",\"params\":{}}]", "txn.apply",
		"{\"dry-run\": false, \"changes\": [{\"method\": \"vm.move\", \"params\": {}}]}");
	expect_fault("txn apply changes [{\"method\":]", "changes", "line 1, column 12 is not JSON");
	expect_fault("txn apply changes [{\"method\":\"vm.move\"}]", "changes[0].params", "missing");
}

static void
clear_beginnings_of_words_are_enough(void **state)
{
	(void)state;
	expect_call("sh vms", "show.vms", "{\"limit\": 0}");
	expect_call(
		"ro del pre 10.0.0.0/8", "route.delete", "{\"prefix\": \"10.0.0.0/8\", \"dry-run\": false}");
	expect_fault("show s", "", "\"s\" may be status, segments, sessions, stages; say which");
	expect_fault("ro d p 10.0.0.0/8 p 10.0.0.0/8", "prefix", "is given twice");
}

static void
what_is_no_command_is_told_with_what_is(void **state)
{
	(void)state;
	expect_fault("", "", "one of: vm, nat, route, move, txn, state, show");
	expect_fault("vm", "", "one of: register, unregister, move");
	expect_fault("vms", "", "unknown command \"vms\"; one of: vm, nat");
	expect_fault("vm mv", "", "unknown command \"mv\"; one of: register, unregister, move");
	expect_fault("show status limit 5", "", "unknown parameter \"limit\"; one of: none");
	expect_fault(
		"nat set segmnt seg1", "", "unknown parameter \"segmnt\"; one of: segment, private, global");
	expect_fault("route delete prefix", "prefix", "needs a value");
	expect_fault("route delete", "prefix", "missing; must be an IPv4 prefix");
	expect_fault("route delete prefix 10.0.0.1/8", "prefix", "has bits set behind the prefix length");
	expect_fault("show vms limit many", "limit", "a number from 0 to 10000");
}

static void
capture_is_followed_by_its_file(void **state)
{
	struct command c;
	struct faults f;

	(void)state;
	expect_call("trace host 10.0.0.5 count 3", "trace",
		"{\"host\": \"10.0.0.5\", \"l4-port\": 0, \"count\": 3, \"wait\": 60000}");
	assert_int_equal(parse("capture out.pcapng at rx,drop", &c, &f), 0);
	assert_string_equal(c.file, "out.pcapng");
	assert_int_equal(json_array_size(json_object_get(c.params, "at")), 2);
	command_fini(&c);
	expect_fault("capture", "", "say the file to write");
	expect_fault("capture out.pcapng at nowhere", "at[0].point", "one of: rx, tx, drop");
	expect_fault("trace count 0", "count", "1 to 1000");
}

static void
a_page_is_told_apart_from_a_whole_listing(void **state)
{
	struct command c;
	struct faults f;

	(void)state;
	assert_int_equal(parse("show vms", &c, &f), 0);
	assert_false(c.one_page);
	command_fini(&c);
	assert_int_equal(parse("show vms limit 2", &c, &f), 0);
	assert_true(c.one_page);
	command_fini(&c);
}

/* ---- completion ---- */

/* Literal words joined by blanks, needed ones with '*'. */
static void
expect_choices(const char *line, const char *partial, const char *want)
{
	const char *words[WORDS_MAX];
	static struct choices c;
	char buf[1024], got[1024] = "";
	size_t n = split(line, buf, words);

	grammar_choices(words, n, partial, &c);
	for (size_t i = 0; i < c.n; i++) {
		if (got[0] != '\0')
			strcat(got, " ");
		strcat(got, c.items[i].word);
		if (c.items[i].needed)
			strcat(got, "*");
		assert_true(c.items[i].help[0] != '\0');
		assert_true(c.items[i].literal == (strpbrk(c.items[i].word, "<[,") == NULL));
	}
	if (strcmp(got, want) != 0)
		fail_msg("\"%s\" + \"%s\": %s", line, partial, got);
}

static void
completion_follows_the_tables(void **state)
{
	(void)state;
	expect_choices("", "",
		"vm nat route move txn state show explain doctor metrics events reload trace capture");
	expect_choices("", "s", "state show");
	expect_choices("show", "s", "status segments sessions stages");
	expect_choices("vm", "", "register unregister move");
	expect_choices("vm move", "",
		"segment* mac* epoch addresses* drain-min drain-max sessions old if-revision dry-run");
	expect_choices("vm move segment seg1", "dr", "drain-min drain-max dry-run");
	expect_choices("route delete prefix 10.0.0.0/8", "", "if-revision dry-run <enter>");
	expect_choices("route replace prefix 10.0.0.0/8 blackhole", "", "on off");
	expect_choices("route replace prefix 10.0.0.0/8 blackhole", "of", "off");
	expect_choices("route replace prefix", "", "<value>");
	expect_choices("vm move addresses", "", "PRIVATE[=GLOBAL],...");
	expect_choices("txn apply changes", "", "<JSON or @FILE>");
	expect_choices("show status", "", "<enter>");
	expect_choices("trace host 10.0.0.1", "p", "port proto");
	expect_choices("capture", "", "<FILE>");
	expect_choices("capture out.pcapng", "sn", "snap");
	expect_choices("capture out.pcapng at", "", "POINT,...");
	expect_choices("explain", "s", "smac src sport size");
	expect_choices("nonsense", "", "");
	expect_choices("vm nonsense", "", "");
	expect_choices("vm move nonsense", "", "");
}

static void
every_method_can_be_completed_word_by_word(void **state)
{
	(void)state;
	for (const struct method *m = methods; m->name != NULL; m++) {
		static struct choices c;
		char group[32], verb[32];
		const char *words[] = {group, verb};
		bool found = false;

		if (sscanf(m->name, "%31[^.].%31s", group, verb) == 2)
			grammar_choices(words, 1, verb, &c);
		else /* one word; what may follow a capture is a file */
			grammar_choices(words, 0, strcpy(verb, group), &c);
		for (size_t i = 0; i < c.n; i++)
			found = found || strcmp(c.items[i].word, verb) == 0;
		assert_true(found);
		grammar_choices(
			words, strchr(m->name, '.') != NULL || strcmp(group, "capture") == 0 ? 2 : 1, "", &c);
		assert_true(c.n > 0);
	}
}

static void
random_words_never_crash_it(void **state)
{
	static const char *const vocabulary[] = {"vm", "move", "register", "txn", "apply", "changes", "route",
		"replace", "prefix", "addresses", "a", "", "=", ",", "10.0.0.5=", "10.0.0.5=203.0.113.1,",
		"[", "[{}]", "{\"a\":1}", "@", "@/nowhere", "seg", "segment", "s", "mac", "02:00:00:00:00:05",
		"on", "\xff", "\xc3\xa9", "epoch", "99999999999999999999", "0.0.0.0/0", "blackhole", "show",
		"vms", "limit", "5", "null", "\"x\"", "?", "trace", "capture", "explain", "at", "rx,tx"};
	uint64_t seed = 4711;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		static struct choices choices;
		const char *words[12];
		struct command c;
		struct faults f;
		size_t n;

		for (n = 0; n < 12 && (n == 0 || seed % 9 != 0); n++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			words[n] = vocabulary[(seed >> 33) % (sizeof(vocabulary) / sizeof(vocabulary[0]))];
		}
		if (seed >> 63) { /* half of them get beyond the first words */
			words[0] = "vm";
			words[n > 1] = "move";
		}
		faults_init(&f);
		if (grammar_parse(words, n, &c, &f) < 0)
			assert_true(f.n > 0);
		command_fini(&c);
		grammar_choices(words, n - 1, words[n - 1], &choices);
		faults_fini(&f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_become_a_method_and_typed_parameters),
		cmocka_unit_test(addresses_are_written_as_private_and_global),
		cmocka_unit_test(changes_are_json_on_the_line_or_in_a_file),
		cmocka_unit_test(clear_beginnings_of_words_are_enough),
		cmocka_unit_test(what_is_no_command_is_told_with_what_is),
		cmocka_unit_test(capture_is_followed_by_its_file),
		cmocka_unit_test(a_page_is_told_apart_from_a_whole_listing),
		cmocka_unit_test(completion_follows_the_tables),
		cmocka_unit_test(every_method_can_be_completed_word_by_word),
		cmocka_unit_test(random_words_never_crash_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
