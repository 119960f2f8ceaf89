/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys stand in memory of api/secret.h and nowhere else: this process looks through its own memory for them. What it looks for
 * is kept in disguise, so that it does not find itself. */
#include "channel_world.h"

#include <api/schema.h>
#include <api/secret.h>
#include <api/yaml.h>
#include <net/channel_priv.h>
#include <net/noise.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define DISGUISE 0xa5
#define NEEDLES	 16

static struct {
	const char *what;
	uint8_t bytes[32];
	size_t n;
} needles[NEEDLES];
static unsigned int n_needles;

static void
look_for(const char *what, const uint8_t *p, size_t n)
{
	assert_true(n_needles < NEEDLES);
	needles[n_needles].what = what;
	needles[n_needles].n = n;
	for (size_t i = 0; i < n; i++)
		needles[n_needles].bytes[i] = p[i] ^ DISGUISE;
	n_needles++;
}

/* Both halves of the key, and of its text. */
static void
look_for_key(const char *what, const uint8_t key[32])
{
	char text[KEY_TEXT];

	look_for(what, key, 16);
	look_for(what, key + 16, 16);
	key_format(key, text);
	look_for(what, (const uint8_t *)text, 21);
	look_for(what, (const uint8_t *)text + 21, 21);
	sodium_memzero(text, sizeof(text));
}

static unsigned int
count_in(const volatile uint8_t *p, const volatile uint8_t *end)
{
	unsigned int found = 0;

	for (; p < end; p++) {
		for (unsigned int i = 0; i < n_needles; i++) {
			size_t k = 0;

			while (k < needles[i].n && p + k < end && (p[k] ^ DISGUISE) == needles[i].bytes[k])
				k++;
			if (k < needles[i].n)
				continue;
			print_message("%s at %p\n", needles[i].what, (void *)p);
			found++;
		}
	}
	return found;
}

/* In all memory that can be written, but for what stays out of core files (dd): that of secret.h, and nothing else of ours. */
static unsigned int
count_outside(unsigned int *guarded)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long start = 0, end = 0, from, to;
	unsigned int found = 0;
	char line[512], word[8], perms[8] = "";

	assert_non_null(f);
	*guarded = 0;
	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%lx-%lx %7s", &from, &to, word) == 3) {
			start = from;
			end = to;
			memcpy(perms, word, sizeof(perms));
		}
		if (strncmp(line, "VmFlags:", 8) != 0 || strncmp(perms, "rw", 2) != 0)
			continue;
		if (strstr(line, " dd") != NULL)
			++*guarded;
		else
			found += count_in((const uint8_t *)start, (const uint8_t *)end);
	}
	fclose(f);
	return found;
}

/* C-30: handshakes and renewals between two ends that live in this process, with a psk. */
static void
no_key_is_outside_guarded_memory_after_a_thousand_handshakes(void **state)
{
	struct world *w = secret_new(sizeof(*w)); /* the keys of a test stand in it */
	unsigned int guarded;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		n_needles = 0;
		world_init(w);
		randombytes_buf(w->known_clc.psk, 32);
		memcpy(w->known_router.psk, w->known_clc.psk, 32);
		look_for_key("the controller's private key", w->clc_key);
		look_for_key("the router's private key", w->router_key);
		look_for_key("the psk", w->known_clc.psk);
		connect_world(w);
		assert_int_equal(w->a.up + w->b.up, 2);
		if (i % 10 == 0) {
			w->f.now_ms += RENEW_PAUSE_MS;
			renewal_start(w->a.c);
			fake_run(&w->f);
			assert_int_equal(w->a.down + w->b.down, 0);
		}
		if (i == 998) { /* while a session is up, too */
			assert_int_equal(count_outside(&guarded), 0);
			assert_true(guarded >= 5);
		}
		if (i < 999)
			world_fini(w);
	}
	world_fini(w);
	assert_int_equal(count_outside(&guarded), 0);
	secret_free(w);
}

/* The search finds what is there. */
static void
a_key_in_ordinary_memory_is_found(void **state)
{
	uint8_t *key = secret_new(32), *copy = malloc(32);
	unsigned int guarded;

	(void)state;
	n_needles = 0;
	randombytes_buf(key, 32);
	look_for_key("a copy", key);
	assert_int_equal(count_outside(&guarded), 0);
	memcpy(copy, key, 32);
	assert_int_equal(count_outside(&guarded), 2);
	sodium_memzero(copy, 32);
	assert_int_equal(count_outside(&guarded), 0);
	free(copy);
	secret_free(key);
}

struct pinned {
	char name[NAME_LEN + 1];
	uint8_t psk[KEY_LEN];
};

struct pins {
	struct list list;
};

static const struct field fields_pinned[] = {
	{"name", F_NAME, FIELD_KEY | FIELD_REQUIRED, offsetof(struct pinned, name), .help = "who"},
	{"psk", F_KEY, FIELD_SECRET, offsetof(struct pinned, psk), .help = "key"},
	{.name = NULL},
};
static const struct kind kind_pinned = {"pinned", sizeof(struct pinned), fields_pinned, "somebody"};
static const struct field fields_pins[] = {
	{"list", F_LIST, 0, offsetof(struct pins, list), 0, 16, .kind = &kind_pinned, .help = "all"},
	{.name = NULL},
};
static const struct kind kind_pins = {"pins", sizeof(struct pins), fields_pins, "a file"};

/* C-30: a psk in a configuration file leaves nothing of its text behind. */
static void
a_psk_of_the_configuration_is_in_guarded_memory_alone(void **state)
{
	char file[] = "/tmp/nearway-psk-XXXXXX", text[KEY_TEXT];
	uint8_t *psk = secret_new(32);
	unsigned int guarded;
	struct faults faults;
	struct pins pins;
	int fd = mkstemp(file);

	(void)state;
	n_needles = 0;
	assert_true(write(fd, "list:\n", 6) == 6);
	for (int i = 0; i < 3; i++) {
		randombytes_buf(psk, 32);
		look_for_key("a psk", psk);
		dprintf(fd, "  - name: x%d\n    psk: ", i);
		key_format(psk, text);
		assert_int_equal(write(fd, text, KEY_TEXT - 1), KEY_TEXT - 1);
		sodium_memzero(text, sizeof(text));
		dprintf(fd, "\n");
	}
	close(fd);
	faults_init(&faults);
	assert_int_equal(yaml_load(&kind_pins, file, &pins, NULL, &faults), 0);
	unlink(file);
	assert_int_equal(pins.list.n, 3);
	assert_memory_equal(list_at(pins.list, struct pinned, 2)->psk, psk, 32);
	assert_int_equal(count_outside(&guarded), 0);
	kind_fini(&kind_pins, &pins);
	faults_fini(&faults);
	secret_free(psk);
	assert_int_equal(count_outside(&guarded), 0);
}

/* C-26: what a forked child has of a session is zero: it writes nothing under a nonce that its parent uses. */
static void
a_forked_child_has_no_keys(void **state)
{
	uint8_t *key = secret_new(5000);
	int status;
	pid_t pid;

	(void)state;
	memset(key, 7, 5000);
	pid = fork();
	if (pid == 0)
		_exit(sodium_is_zero(key, 5000) ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(key[0], 7);
	assert_int_equal(key[4999], 7);
	secret_free(key);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_in_ordinary_memory_is_found),
		cmocka_unit_test(no_key_is_outside_guarded_memory_after_a_thousand_handshakes),
		cmocka_unit_test(a_psk_of_the_configuration_is_in_guarded_memory_alone),
		cmocka_unit_test(a_forked_child_has_no_keys),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
