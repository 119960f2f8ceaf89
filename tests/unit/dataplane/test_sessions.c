/* SPDX-License-Identifier: BSD-3-Clause */
#include "tabtest.h"

#include <dataplane/tables/sessions_layout.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define HOUR 3600

static bool
has_home(void *arg, const struct session_key *k, rte_be32_t home)
{
	(void)k;
	return home == *(const rte_be32_t *)arg;
}

static uint32_t
free_home(struct sessions *s, rte_be32_t home)
{
	struct sessions_walk walk = {.young = true, .gone = has_home, .arg = &home};
	uint32_t before = sessions_count(s, 0);

	sessions_walk(s, &walk, UINT32_MAX);
	return before - sessions_count(s, 0);
}

static char dir[] = "/dev/shm/nw-sessions-XXXXXX";
static char file[64];

static uint32_t
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint32_t)ts.tv_sec;
}

static struct session_key
key(uint32_t i, uint8_t proto)
{
	return (struct session_key){.vm = 0x0a000001 + i % 17,
		.remote = 0x08000000 + i,
		.vm_port = (rte_be16_t)(i / 3),
		.remote_port = 443,
		.vni_proto = 7 << 8 | proto};
}

static enum session_result
note(struct sessions *s, struct session_key k, uint32_t tick, uint8_t flags, rte_be32_t home, rte_be32_t *got)
{
	*got = home;
	return sessions_note(s, &k, tick, flags, got);
}

static bool
is_there(struct sessions *s, struct session_key k)
{
	struct sessions_info info;
	uint32_t next = 0;

	while (sessions_next(s, 0, &next, &info))
		if (memcmp(&info.key, &k, sizeof(k)) == 0)
			return true;
	return false;
}

/* ---- against a naive model ---- */

#define KEYS 700

struct model {
	bool in;
	rte_be32_t home;
	uint32_t tick;
	uint8_t flags;
};

static uint8_t
proto_of(uint32_t i)
{
	return i % 3 == 0 ? IPPROTO_UDP : IPPROTO_TCP;
}

static bool
ended(uint8_t flags)
{
	return (flags & SESSION_RST) != 0 || (flags & 3) == 3;
}

static uint32_t
lifetime(uint32_t i, uint8_t flags)
{
	if (proto_of(i) == IPPROTO_UDP)
		return 300;
	if ((flags & SESSION_RST) != 0)
		return 240;
	return ended(flags) ? 10 : 7440;
}

static void
compare(struct sessions *s, const struct model *m, uint32_t tick)
{
	struct sessions_info info;
	uint32_t next = 0, count = 0, by_home[5] = {0};

	for (uint32_t i = 0; i < KEYS; i++) {
		count += m[i].in;
		by_home[m[i].in ? m[i].home : 0]++;
	}
	assert_int_equal(sessions_count(s, 0), count);
	for (rte_be32_t h = 1; h < 5; h++)
		assert_int_equal(sessions_count(s, h), by_home[h]);
	while (sessions_next(s, tick, &next, &info)) {
		uint32_t i = info.key.remote - 0x08000000;

		assert_true(i < KEYS && m[i].in);
		assert_int_equal(info.home, m[i].home);
		assert_int_equal(info.flags, m[i].flags);
		assert_int_equal(info.idle_s, tick - m[i].tick);
		count--;
	}
	assert_int_equal(count, 0);
}

static uint32_t
model_sweep(struct model *m, uint32_t tick, rte_be32_t home)
{
	uint32_t freed = 0;

	for (uint32_t i = 0; i < KEYS; i++) {
		bool go = home != 0 ? m[i].home == home : tick - m[i].tick >= lifetime(i, m[i].flags);

		if (!m[i].in || !go)
			continue;
		m[i].in = false;
		freed++;
	}
	return freed;
}

static void
random_operation(struct sessions *s, struct model *m, uint32_t i, uint32_t tick, struct rng *rng)
{
	struct session_key k = key(i, proto_of(i));
	rte_be32_t home = 1 + rng_below(rng, 4), got = home;
	uint8_t flags = proto_of(i) == IPPROTO_TCP && rng_below(rng, 4) == 0 ? (uint8_t)rng_below(rng, 8) : 0;
	enum session_result want = m[i].in ? SESSION_FOUND : SESSION_ABSENT;
	bool guess = m[i].in && (m[i].flags & SESSION_GUESSED);
	uint8_t told = flags;

	flags |= rng_below(rng, 3) == 0 ? SESSION_GUESSED : 0;
	switch (rng_below(rng, 5)) {
	case 0:
	case 1:
		assert_int_equal(
			sessions_note(s, &k, tick, flags, &got), m[i].in ? SESSION_FOUND : SESSION_NOTED);
		if (guess && !(flags & SESSION_GUESSED))
			m[i] = (struct model){true, home, tick, (m[i].flags & 7) | told};
		else if (m[i].in)
			m[i] = (struct model){true, m[i].home, tick, m[i].flags | told};
		else
			m[i] = (struct model){true, home, tick, flags};
		assert_int_equal(got, m[i].home);
		return;
	case 2:
		assert_int_equal(sessions_find(s, &k, tick, flags, &got), want);
		assert_int_equal(got, m[i].in ? m[i].home : home);
		break;
	case 4: /* another router's word changes nothing but a guess */
		assert_int_equal(sessions_learn(s, &k, tick - 5, flags, home),
			m[i].in && !guess ? SESSION_FOUND : SESSION_NOTED);
		if (guess)
			m[i] = (struct model){true, home, m[i].tick, (m[i].flags & 7) | flags};
		else if (!m[i].in)
			m[i] = (struct model){true, home, tick - 5, flags};
		return;
	case 3:
		assert_int_equal(sessions_rehome(s, &k, tick, flags, home), want);
		m[i].home = home;
		m[i].flags = flags & SESSION_GUESSED; /* a new session under the old key */
		break;
	}
	if (!m[i].in)
		return;
	m[i].tick = tick;
	m[i].flags |= told;
}

static uint32_t kept_of[4];

static void
keep(void *arg, rte_be32_t home)
{
	assert_ptr_equal(arg, kept_of);
	kept_of[home]++;
}

static bool
is_two(void *arg, const struct session_key *k, rte_be32_t home)
{
	assert_ptr_equal(arg, kept_of);
	assert_int_equal(k->vni_proto >> 8, 7);
	return home == 2;
}

/* Homes 1 to 3, of which 2 is gone, and what is left after an hour. */
static void
walk_in_steps_frees_ages_and_counts_as_one_would(void **state)
{
	struct sessions_walk walk = {.tick = 1000, .gone = is_two, .kept = keep, .arg = kept_of};
	struct sessions *s = sessions_new(NULL, 10000, "boot", NULL);
	uint32_t steps = 1;

	(void)state;
	for (uint32_t i = 0; i < 9000; i++) {
		struct session_key k = key(i, i % 2 == 0 ? IPPROTO_TCP : IPPROTO_UDP);
		rte_be32_t home = 1 + i % 3;

		sessions_note(s, &k, 1000, 0, &home);
	}
	for (; sessions_walk(s, &walk, 100); steps++)
		;
	assert_true(steps > 10);
	assert_int_equal(kept_of[1], sessions_count(s, 1));
	assert_int_equal(kept_of[2], 0);
	assert_int_equal(kept_of[3], sessions_count(s, 3));
	assert_in_range(kept_of[1] + kept_of[3], 5900, 6000);
	assert_int_equal(sessions_count(s, 2), 0);
	walk = (struct sessions_walk){.tick = 1000 + HOUR, .kept = keep, .arg = kept_of};
	memset(kept_of, 0, sizeof(kept_of));
	sessions_walk(s, &walk, UINT32_MAX);
	assert_int_equal(kept_of[1] + kept_of[3], sessions_count(s, 0));
	assert_in_range(sessions_count(s, 0), 2900, 3000); /* TCP */
	sessions_free(s);
}

static void
count_looked_at(void *arg, const struct sessions_info *info)
{
	uint8_t *times = arg;

	assert_int_equal(info->idle_s, 7);
	assert_int_equal(info->home, 1 + (info->key.remote - 0x08000000) % 3);
	times[info->key.remote - 0x08000000]++;
}

static void
looking_in_steps_sees_each_session_once_and_changes_none(void **state)
{
	struct sessions *s = sessions_new(NULL, 10000, "boot", NULL);
	uint32_t bucket = 0, steps = 1, noted = 0;
	uint8_t times[9000] = {0};

	(void)state;
	for (uint32_t i = 0; i < 9000; i++) {
		struct session_key k = key(i, IPPROTO_TCP);
		rte_be32_t home = 1 + i % 3;

		noted += sessions_note(s, &k, 1000, 0, &home) == SESSION_NOTED;
	}
	for (; sessions_look(s, 1007, &bucket, 100, count_looked_at, times); steps++)
		;
	assert_true(steps > 10);
	for (uint32_t i = 0; i < 9000; i++)
		noted -= times[i];
	assert_int_equal(noted, 0);
	for (uint32_t i = 0; i < 9000; i++)
		assert_in_range(times[i], 0, 1);
	sessions_free(s);
}

static void
random_operations_agree_with_a_plain_array(void **state)
{
	struct sessions *s = sessions_new(NULL, KEYS * 4, "boot", NULL);
	struct model m[KEYS] = {0};
	struct rng rng = {61};
	uint32_t tick = UINT32_MAX - 40 * HOUR, swept = 0; /* ticks wrap on the way */

	(void)state;
	for (int op = 0; op < 400000; op++) {
		uint32_t i = rng_below(&rng, KEYS);
		struct session_key k = key(i, proto_of(i));

		assert_int_equal(sessions_ended(s, &k), m[i].in && ended(m[i].flags));
		random_operation(s, m, i, tick, &rng);
		tick += rng_below(&rng, 4) == 0;
		if (op % 500 == 0)
			tick += rng_below(&rng, 400);
		if (op % 1000 == 0) {
			uint32_t want = model_sweep(m, tick, 0);

			assert_int_equal(sessions_sweep(s, tick), want);
			swept += want;
		}
		if (op % 20000 == 0)
			assert_int_equal(free_home(s, 2), model_sweep(m, tick, 2));
		if (op % 2000 == 0)
			compare(s, m, tick);
	}
	compare(s, m, tick);
	assert_true(swept > 10000);
	sessions_free(s);
}

/* ---- limits ---- */

static void
a_bucket_holds_fourteen_sessions_however_often_they_change(void **state)
{
	struct sessions *s = sessions_new(NULL, 1, "boot", NULL);
	rte_be32_t got;

	(void)state;
	for (uint32_t round = 0; round < 2000; round++) {
		for (uint32_t i = 0; i < 14; i++)
			assert_int_equal(
				note(s, key(round * 14 + i, IPPROTO_TCP), 1, 0, 9, &got), SESSION_NOTED);
		assert_int_equal(note(s, key(round * 14 + 14, IPPROTO_TCP), 1, 0, 9, &got), SESSION_FULL);
		assert_int_equal(note(s, key(round * 14, IPPROTO_TCP), 1, 0, 8, &got), SESSION_FOUND);
		assert_int_equal(got, 9);
		assert_int_equal(free_home(s, 9), 14);
	}
	assert_int_equal(sessions_count(s, 0), 0);
	sessions_free(s);
}

static void
hardly_any_session_is_refused_before_the_size_is_reached(void **state)
{
	const uint32_t entries = 57343; /* just below a power of two of buckets: the fullest there is */
	struct sessions *s = sessions_new(NULL, entries, "boot", NULL);
	uint32_t full = 0;
	rte_be32_t got;

	(void)state;
	for (uint32_t i = 0; i < entries; i++)
		full += note(s, key(i, IPPROTO_TCP), 1, 0, 1, &got) == SESSION_FULL;
	assert_true(full < entries * 3 / 1000);
	assert_int_equal(sessions_count(s, 1), entries - full);
	sessions_free(s);
}

/* ---- where a session stands ---- */

static struct session_where
where(const struct sessions *s, struct session_key k)
{
	struct session_where w;
	uint64_t word[2];

	memcpy(word, &k, sizeof(word));
	sessions_locate(s, word, &w);
	return w;
}

/* In the line that is read first. */
static bool
is_near(const struct sessions *s, struct session_key k)
{
	struct session_where w = where(s, k);
	uint64_t state;

	return session_near(&w, &state) != NULL;
}

static void
a_full_table_has_most_sessions_in_the_line_that_is_read_first(void **state)
{
	const uint32_t entries = 57343; /* as above */
	struct sessions *s = sessions_new(NULL, entries, "boot", NULL);
	uint32_t near_full = 0, near_half = 0;
	rte_be32_t got;

	(void)state;
	for (uint32_t i = 0; i < entries; i++) {
		note(s, key(i, IPPROTO_TCP), 1, 0, 1, &got);
		near_full += is_near(s, key(i, IPPROTO_TCP));
		near_half += i < entries / 2 && is_near(s, key(i, IPPROTO_TCP));
	}
	printf("read first: %.3f, at half of that %.3f\n", near_full * 1.0 / entries,
		near_half * 2.0 / entries);
	assert_true(near_full > entries * 0.85);
	assert_true(near_half > entries / 2 * 0.95);
	sessions_free(s);
}

/* One bucket, full; of each seed as many stand far as chance has it, so over many seeds. */
#define FULL SESSIONS_A_BUCKET

static void
found_where_they_stand(struct sessions *s, uint32_t round, uint32_t *near)
{
	rte_be32_t got;

	for (uint32_t i = 0; i < FULL; i++) {
		note(s, key(i, IPPROTO_TCP), 1, 0, 1 + (i + round) % 2, &got);
		*near += is_near(s, key(i, IPPROTO_TCP));
	}
	for (uint32_t i = 0; i < FULL; i++) {
		struct session_key k = key(i, IPPROTO_TCP);

		assert_int_equal(sessions_find(s, &k, 1, 0, &got), SESSION_FOUND);
		assert_int_equal(got, 1 + (i + round) % 2);
	}
	free_home(s, 2);
	for (uint32_t i = 0; i < FULL; i++) {
		struct session_key k = key(i, IPPROTO_TCP);
		bool freed = (i + round) % 2 == 1;
		struct session_where w = where(s, k);
		uint64_t state;

		assert_int_equal(session_near(&w, &state) == NULL && session_far(&w, &state) == NULL, freed);
		assert_int_equal(sessions_peek(s, &k, &got), freed ? SESSION_ABSENT : SESSION_FOUND);
		assert_false(freed && is_near(s, k));
	}
	free_home(s, 1);
}

static void
a_session_is_found_where_it_stands_and_nowhere_once_it_is_freed(void **state)
{
	const uint32_t tables = 100, rounds = 10;
	uint32_t near = 0;

	(void)state;
	for (uint32_t t = 0; t < tables; t++) {
		struct sessions *s = sessions_new(NULL, 1, "boot", NULL);

		for (uint32_t round = 0; round < rounds; round++)
			found_where_they_stand(s, round, &near);
		sessions_free(s);
	}
	/* Expected: far, 3 to 4 of 14. */
	assert_in_range(near, tables * rounds * FULL / 4, tables * rounds * (FULL - 1));
}

/* ---- ageing ---- */

/* C-56: by ticks of the boot clock, so what the wall clock does (C-54) is nothing to them. */
static void
sessions_age_as_their_protocol_and_end_say(void **state)
{
	const struct {
		uint8_t proto, flags;
		uint32_t life;
	} kinds[] = {
		{IPPROTO_TCP, 0, 7440},
		{IPPROTO_TCP, SESSION_FIN_FROM_VM, 7440},
		{IPPROTO_TCP, SESSION_FIN_FROM_VM | SESSION_FIN_TO_VM, 10},
		{IPPROTO_TCP, SESSION_RST, 240},
		{IPPROTO_UDP, 0, 300},
		{IPPROTO_ICMP, 0, 300},
	};
	rte_be32_t got;

	(void)state;
	for (uint32_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct sessions *s = sessions_new(NULL, 10, "boot", NULL);
		struct session_key k = key(i, kinds[i].proto);

		note(s, k, 100, 0, 1, &got);
		assert_int_equal(sessions_find(s, &k, 1000, kinds[i].flags, &got), SESSION_FOUND);
		assert_int_equal(sessions_sweep(s, 1000 + kinds[i].life - 1), 0);
		assert_int_equal(sessions_sweep(s, 1000 + kinds[i].life), 1);
		assert_int_equal(sessions_find(s, &k, 1000, 0, &got), SESSION_ABSENT);
		sessions_free(s);
	}
}

static void
a_tick_that_is_ahead_counts_as_not_idle(void **state)
{
	struct sessions *s = sessions_new(NULL, 10, "boot", NULL);
	rte_be32_t got;

	(void)state;
	note(s, key(1, IPPROTO_UDP), 1001, 0, 1, &got);
	assert_int_equal(sessions_sweep(s, 1000), 0);
	sessions_free(s);
}

static void
a_new_session_under_an_ended_key_starts_without_its_flags(void **state)
{
	struct sessions *s = sessions_new(NULL, 10, "boot", NULL);
	struct session_key k = key(1, IPPROTO_TCP);
	rte_be32_t got;

	(void)state;
	assert_false(sessions_ended(s, &k));
	note(s, k, 1, SESSION_FIN_FROM_VM, 1, &got);
	assert_false(sessions_ended(s, &k));
	note(s, k, 1, SESSION_FIN_TO_VM, 1, &got);
	assert_true(sessions_ended(s, &k));
	assert_int_equal(sessions_rehome(s, &k, 2, 0, 5), SESSION_FOUND);
	assert_false(sessions_ended(s, &k));
	assert_int_equal(sessions_find(s, &k, 2, 0, &got), SESSION_FOUND);
	assert_int_equal(got, 5);
	sessions_free(s);
}

/* ---- the file ---- */

static struct sessions *
open_file(uint32_t entries, const char *boot, bool *fresh)
{
	struct sessions *s = sessions_new(file, entries, boot, fresh);

	assert_non_null(s);
	return s;
}

static void
a_process_killed_in_the_middle_of_writing_loses_no_session_it_had_noted(void **state)
{
	int pipe_fd[2], status;
	struct sessions *s;
	uint32_t noted = 0;
	rte_be32_t got;
	bool fresh;
	pid_t pid;

	(void)state;
	unlink(file);
	assert_int_equal(pipe(pipe_fd), 0);
	pid = fork();
	if (pid == 0) {
		s = sessions_new(file, 4000, "boot", NULL);
		for (uint32_t i = 0;; i++) { /* the parent kills us at some point */
			if (s == NULL)
				break;
			note(s, key(i % 4000, IPPROTO_TCP), now(), 0, 1 + i % 3, &got);
			free_home(s, i % 4000 == 3999 ? 3 : 0);
			if (i == 2000 && write(pipe_fd[1], "x", 1) != 1)
				_exit(1);
		}
		_exit(1);
	}
	assert_int_equal(read(pipe_fd[0], &got, 1), 1);
	usleep(20000);
	assert_int_equal(kill(pid, SIGKILL), 0);
	waitpid(pid, &status, 0);
	assert_true(WIFSIGNALED(status));
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	s = open_file(4000, "boot", &fresh);
	assert_false(fresh);
	for (uint32_t i = 0; i < 2000; i++) {
		struct session_key k = key(i, IPPROTO_TCP);

		if (sessions_find(s, &k, now(), 0, &got) != SESSION_FOUND)
			continue; /* home 3: it may have been freed */
		assert_in_range(got, 1, 3);
		noted += got != 3;
	}
	assert_true(noted > 600);
	sessions_free(s);
}

static void
sessions_and_their_homes_are_there_again_after_a_restart(void **state)
{
	struct sessions *s;
	rte_be32_t got;
	bool fresh;

	(void)state;
	unlink(file);
	s = open_file(1000, "boot-a", &fresh);
	assert_true(fresh);
	for (uint32_t i = 0; i < 500; i++)
		note(s, key(i, IPPROTO_TCP), now() - i, i % 8 == 7 ? SESSION_RST : 0, 1000 + i, &got);
	sessions_free(s);
	s = open_file(1000, "boot-a", &fresh);
	assert_false(fresh);
	assert_int_equal(sessions_count(s, 0), 500);
	for (uint32_t i = 0; i < 500; i++) {
		struct session_key k = key(i, IPPROTO_TCP);

		assert_int_equal(sessions_ended(s, &k), i % 8 == 7);
		assert_int_equal(sessions_find(s, &k, now(), 0, &got), SESSION_FOUND);
		assert_int_equal(got, 1000 + i);
	}
	sessions_free(s);
}

static void
after_another_boot_what_was_idle_stays_so(void **state)
{
	struct session_key old = key(1, IPPROTO_TCP), young = key(2, IPPROTO_TCP);
	struct sessions_info info;
	uint32_t next = 0, then = 40; /* that boot's clock: nothing to do with ours */
	struct sessions *s;
	rte_be32_t got;
	bool fresh;

	(void)state;
	unlink(file);
	s = open_file(100, "boot-a", NULL);
	note(s, old, then - 7400, 0, 1, &got);
	note(s, young, then - 5, 0, 1, &got);
	assert_int_equal(sessions_sweep(s, then), 0);
	sessions_free(s);
	s = open_file(100, "boot-b", &fresh);
	assert_false(fresh);
	while (sessions_next(s, now(), &next, &info)) {
		uint32_t want = memcmp(&info.key, &old, sizeof(old)) == 0 ? 7400 : 5;

		assert_in_range(info.idle_s, want, want + 3);
	}
	assert_int_equal(sessions_sweep(s, now() + 41), 1);
	assert_true(is_there(s, young));
	sessions_free(s);
}

static void
a_file_of_another_size_or_layout_is_replaced_by_an_empty_one(void **state)
{
	struct sessions *s;
	rte_be32_t got;
	bool fresh;
	int fd;

	(void)state;
	unlink(file);
	s = open_file(1000, "boot", NULL);
	note(s, key(1, IPPROTO_TCP), now(), 0, 1, &got);
	sessions_free(s);
	s = open_file(5000, "boot", &fresh);
	assert_true(fresh);
	assert_int_equal(sessions_count(s, 0), 0);
	sessions_free(s);
	fd = open(file, O_RDWR);
	assert_int_equal(pwrite(fd, "OTHER", 5, 0), 5);
	close(fd);
	s = open_file(5000, "boot", &fresh);
	assert_true(fresh);
	assert_int_equal(note(s, key(1, IPPROTO_TCP), now(), 0, 1, &got), SESSION_NOTED);
	sessions_free(s);
	assert_int_equal(truncate(file, 100), 0);
	s = open_file(5000, "boot", &fresh);
	assert_true(fresh);
	sessions_free(s);
}

static void
a_file_in_use_or_no_file_at_all_is_an_error(void **state)
{
	struct sessions *s;
	char link[80];

	(void)state;
	unlink(file);
	s = open_file(100, "boot", NULL);
	assert_null(sessions_new(file, 100, "boot", NULL));
	assert_int_equal(errno, EBUSY);
	sessions_free(s);
	snprintf(link, sizeof(link), "%s/link", dir);
	assert_int_equal(symlink(file, link), 0);
	assert_null(sessions_new(link, 100, "boot", NULL));
	assert_int_equal(errno, ELOOP);
	unlink(link);
	assert_null(sessions_new("/nonexistent/sessions", 100, "boot", NULL));
	assert_int_equal(errno, ENOENT);
	assert_int_equal(mkfifo(link, 0600), 0);
	assert_null(sessions_new(link, 100, "boot", NULL));
	assert_int_equal(errno, EINVAL);
	unlink(link);
}

/* What the head of a bucket does not call live is none, whatever stands in the cell; what it does, the cell says, too, though the process
 * was killed before it came to that. */
static void
after_a_restart_cells_say_what_the_head_says(void **state)
{
	struct session_key freed = key(1, IPPROTO_TCP), killed = key(2, IPPROTO_TCP);
	struct session_where w;
	struct sessions *s;
	rte_be32_t got;

	(void)state;
	unlink(file);
	s = open_file(1000, "boot", NULL);
	note(s, freed, now(), 0, 1, &got);
	note(s, killed, now(), SESSION_RST, 2, &got);
	w = where(s, freed);
	session_bucket(&w)->head = 0;
	w = where(s, killed);
	w.cell->state |= SESSION_STATE(0, SESSION_FLAG_CLAIMED, 0);
	assert_false(is_near(s, killed));
	assert_int_equal(sessions_peek(s, &killed, &got), SESSION_FOUND);
	sessions_free(s);
	s = open_file(1000, "boot", NULL);
	assert_int_equal(sessions_peek(s, &freed, &got), SESSION_ABSENT);
	assert_int_equal(sessions_count(s, 0), 1);
	assert_true(is_near(s, killed));
	assert_true(sessions_ended(s, &killed));
	sessions_free(s);
}

/* As one has written it that put sessions in whichever cell was free. */
static void
a_file_whose_sessions_stand_anywhere_in_their_buckets_is_taken_up(void **state)
{
	struct session_key k = key(1, IPPROTO_TCP);
	struct session_where w;
	struct sessions *s;
	rte_be32_t got;
	uint32_t to;
	bool fresh;

	(void)state;
	unlink(file);
	s = open_file(1000, "boot", NULL);
	note(s, k, now(), 0, 7, &got);
	w = where(s, k);
	to = (uint32_t)(w.cell - session_bucket(&w)->cell + 5) % SESSIONS_A_BUCKET;
	session_bucket(&w)->cell[to] = *w.cell;
	session_bucket(&w)->tag[to] = session_tag(&w);
	session_bucket(&w)->head = head_with(0, to, LIVE);
	sessions_free(s);
	s = open_file(1000, "boot", &fresh);
	assert_false(fresh);
	assert_int_equal(sessions_find(s, &k, now(), 0, &got), SESSION_FOUND);
	assert_int_equal(got, 7);
	assert_int_equal(free_home(s, 7), 1);
	assert_int_equal(sessions_find(s, &k, now(), 0, &got), SESSION_ABSENT);
	sessions_free(s);
}

/* Whatever stands in the file, what comes out of it can be found, is no double, has a home and can be changed. */
static void
check_all(struct sessions *s)
{
	struct sessions_info info;
	uint32_t next = 0, n = 0;
	rte_be32_t got;

	while (sessions_next(s, now(), &next, &info)) {
		assert_int_not_equal(info.home, 0);
		assert_int_equal(info.flags & ~15, 0);
		assert_int_equal(sessions_find(s, &info.key, now(), 0, &got), SESSION_FOUND);
		assert_int_equal(got, info.home);
		n++;
	}
	assert_int_equal(sessions_count(s, 0), n);
	for (uint32_t i = 0; i < 300; i++)
		assert_int_not_equal(
			note(s, key(90000 + i, IPPROTO_UDP), now(), 0, 0x12345677, &got), SESSION_ABSENT);
	free_home(s, 0x12345677);
	next = 0;
	while (sessions_next(s, now(), &next, &info)) /* one cell for each key: freed once, it is gone */
		assert_int_equal(sessions_rehome(s, &info.key, now(), 0, 0x12345678), SESSION_FOUND);
	assert_int_equal(free_home(s, 0x12345678), n);
	assert_int_equal(sessions_count(s, 0), 0);
}

static void
damage(struct rng *rng, size_t size)
{
	int fd = open(file, O_RDWR);
	uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	uint32_t hits = 1 + rng_below(rng, 2000);

	assert_ptr_not_equal(p, MAP_FAILED);
	for (uint32_t i = 0; i < hits; i++) {
		size_t at = rng_below(rng, 8) == 0 ? rng_below(rng, 128)
						   : 4096 + rng_below(rng, (uint32_t)size - 4096);

		if (at < 8 && rng_below(rng, 50) != 0)
			continue; /* mostly keep the magic number, or nothing else is read */
		p[at] = (uint8_t)rng_next(rng);
	}
	if (rng_below(rng, 3) == 0) { /* copies of whole cells: doubles, cells in the wrong bucket */
		size_t from = 4096 + 64 + 32 * rng_below(rng, 14), to = 4096 + 512 * rng_below(rng, 8) + 64;

		memmove(p + to, p + from, 32);
		memmove(p + to + 64, p + from, 32);
	}
	munmap(p, size);
	close(fd);
}

static void
a_damaged_file_is_taken_up_without_harm(void **state)
{
	struct rng rng = {71};
	uint32_t kept = 0;
	rte_be32_t got;

	(void)state;
	for (int round = 0; round < 1500; round++) {
		struct sessions *s;
		struct stat st;
		bool fresh;

		unlink(file);
		s = open_file(100, "boot", NULL);
		for (uint32_t i = 0; i < 100; i++)
			note(s, key(i, i % 2 ? IPPROTO_TCP : IPPROTO_UDP), now(), 0, 1 + i, &got);
		sessions_free(s);
		assert_int_equal(stat(file, &st), 0);
		damage(&rng, (size_t)st.st_size);
		s = open_file(100, round % 2 ? "boot" : "later", &fresh);
		kept += sessions_count(s, 0);
		check_all(s);
		sessions_free(s);
	}
	assert_true(kept > 0);
}

static int
make_dir(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(file, sizeof(file), "%s/sessions", dir);
	return 0;
}

static int
remove_dir(void **state)
{
	(void)state;
	unlink(file);
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(walk_in_steps_frees_ages_and_counts_as_one_would),
		cmocka_unit_test(looking_in_steps_sees_each_session_once_and_changes_none),
		cmocka_unit_test(random_operations_agree_with_a_plain_array),
		cmocka_unit_test(a_bucket_holds_fourteen_sessions_however_often_they_change),
		cmocka_unit_test(hardly_any_session_is_refused_before_the_size_is_reached),
		cmocka_unit_test(a_full_table_has_most_sessions_in_the_line_that_is_read_first),
		cmocka_unit_test(a_session_is_found_where_it_stands_and_nowhere_once_it_is_freed),
		cmocka_unit_test(sessions_age_as_their_protocol_and_end_say),
		cmocka_unit_test(a_tick_that_is_ahead_counts_as_not_idle),
		cmocka_unit_test(a_new_session_under_an_ended_key_starts_without_its_flags),
		cmocka_unit_test(a_process_killed_in_the_middle_of_writing_loses_no_session_it_had_noted),
		cmocka_unit_test(sessions_and_their_homes_are_there_again_after_a_restart),
		cmocka_unit_test(after_another_boot_what_was_idle_stays_so),
		cmocka_unit_test(a_file_of_another_size_or_layout_is_replaced_by_an_empty_one),
		cmocka_unit_test(a_file_in_use_or_no_file_at_all_is_an_error),
		cmocka_unit_test(after_a_restart_cells_say_what_the_head_says),
		cmocka_unit_test(a_file_whose_sessions_stand_anywhere_in_their_buckets_is_taken_up),
		cmocka_unit_test(a_damaged_file_is_taken_up_without_harm),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
