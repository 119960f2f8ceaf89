/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_database.c - the files of a store, damaged: they open, or are set aside, and what opens can be read, changed, and opened again.
 *
 * The input is edits of a good database and its log: which file and kind of edit, where (3 bytes), how many, and the bytes.
 */
#include "oracle.h"
#include "target.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <store/store.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROWS	 40
#define ID	 "router r-a"
#define FILES	 2
#define FILE_MAX (1u << 20)

static char folder[] = "/dev/shm/nw-fuzz-XXXXXX", file[64];
static const char *const suffix[FILES] = {"", "-wal"};
static uint8_t good[FILES][FILE_MAX];
static size_t good_len[FILES];

struct input {
	const uint8_t *at;
	size_t left;
};

static uint8_t
next(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

/* ---- files ---- */

static void
put_file(size_t i, const uint8_t *b, size_t n)
{
	char name[80];
	int fd;

	snprintf(name, sizeof(name), "%s%s", file, suffix[i]);
	fd = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	if (fd < 0 || write(fd, b, n) != (ssize_t)n)
		finding("%s cannot be written", name);
	close(fd);
}

static void
get_file(size_t i)
{
	char name[80];
	ssize_t n;
	int fd;

	snprintf(name, sizeof(name), "%s%s", file, suffix[i]);
	fd = open(name, O_RDONLY);
	n = fd >= 0 ? read(fd, good[i], FILE_MAX) : -1;
	if (n <= 0)
		finding("%s cannot be read", name);
	good_len[i] = (size_t)n;
	close(fd);
}

static void
clear_folder(void)
{
	DIR *d = opendir(folder);
	struct dirent *e;

	while ((e = readdir(d)) != NULL)
		unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
}

static void
remove_folder(void)
{
	clear_folder();
	rmdir(folder);
}

/* ---- the store ---- */

static struct store *
open_store(bool *set_aside, struct err *e)
{
	return store_open(file, ID, set_aside, e);
}

static int
put(struct store *s, const char *key, const char *value)
{
	struct env_row row = {"vm", key, value};

	return store_commit(s, &row, 1);
}

/* As a kill leaves it: half of the rows are in the log alone. */
static void
make_good(void)
{
	struct err e = {0};
	char key[32], value[120];
	bool set_aside;
	struct store *s = NULL;

	for (int i = 0; i < ROWS; i++) {
		if (i % (ROWS / 2) == 0) {
			store_close(s);
			s = open_store(&set_aside, &e);
			if (s == NULL)
				finding("%s", e.text);
		}
		snprintf(key, sizeof(key), "blue/02:00:00:00:00:%02x", i);
		snprintf(value, sizeof(value), "{\"owner\": \"r-a\", \"epoch\": %d}", i);
		if (put(s, key, value) != 0)
			finding("a good store takes no row");
	}
	for (size_t i = 0; i < FILES; i++)
		get_file(i);
	store_close(s);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	if (mkdtemp(folder) == NULL)
		finding("no folder in /dev/shm");
	atexit(remove_folder);
	snprintf(file, sizeof(file), "%s/state.db", folder);
	make_good();
	return 0;
}

/* ---- damage ---- */

enum edit { WRITE, CUT_OFF, MOVE, REMOVE, EDITS };

static void
edit(struct input *in, uint8_t b[FILES][FILE_MAX], size_t len[FILES])
{
	uint8_t how = next(in);
	size_t i = how & 1, at, n;

	at = (size_t)next(in) << 16;
	at |= (size_t)next(in) << 8;
	at |= next(in);
	at = len[i] > 0 ? at % len[i] : 0;
	n = next(in);
	n = n < len[i] - at ? n : len[i] - at;
	switch ((how >> 1) % EDITS) {
	case WRITE:
		for (size_t k = 0; k < n; k++)
			b[i][at + k] ^= next(in);
		break;
	case CUT_OFF:
		len[i] = at;
		break;
	case MOVE: /* 16 times so much, as a page that went astray */
		n = n * 16 < len[i] - at ? n * 16 : len[i] - at;
		memmove(b[i] + len[i] / 2 % (len[i] - n + 1), b[i] + at, n);
		break;
	default:
		len[i] = 0;
	}
}

static void
damage(struct input *in)
{
	static uint8_t b[FILES][FILE_MAX];
	size_t len[FILES];

	memcpy(b, good, sizeof(b));
	memcpy(len, good_len, sizeof(len));
	while (in->left > 0)
		edit(in, b, len);
	for (size_t i = 0; i < FILES; i++)
		if (len[i] > 0 || (i == 0 && good_len[i] > 0))
			put_file(i, b[i], len[i]);
}

/* ---- what must be true ---- */

static int
count_row(void *arg, const struct env_row *r)
{
	if (r->kind == NULL || r->key == NULL || r->value == NULL)
		finding("a row has no kind, key or value");
	if (strcmp(r->key, "new") == 0 && strcmp(r->value, "{}") == 0)
		*(unsigned int *)arg += 1000;
	*(unsigned int *)arg += 1;
	return 0;
}

static void
check_again(void)
{
	struct err e = {0};
	bool set_aside;
	struct store *s = open_store(&set_aside, &e);
	unsigned int rows = 0;

	if (s == NULL || set_aside || store_load(s, NULL, count_row, &rows) != 0)
		finding("what was taken is gone: %s", s ? "set aside, or cannot be read" : e.text);
	if (rows < 1000)
		finding("the row that was acknowledged is gone");
	store_close(s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct err e = {0};
	unsigned int rows = 0;
	bool set_aside, taken;
	struct store *s;

	clear_folder();
	damage(&in);
	s = open_store(&set_aside, &e);
	if (s == NULL && e.text[0] == '\0')
		finding("it is refused without a reason");
	if (s == NULL)
		return 0;
	if (store_load(s, NULL, count_row, &rows) == 0 && set_aside && rows > 0)
		finding("what was set aside is there");
	taken = put(s, "new", "{}") == 0;
	store_close(s);
	if (taken)
		check_again();
	return 0;
}
