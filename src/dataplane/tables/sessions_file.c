/* SPDX-License-Identifier: BSD-3-Clause */
/* The session table's memory: anonymous, or a file that outlives the process. */
#include "sessions_layout.h"

#include <errno.h>
#include <fcntl.h>
#include <rte_common.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static uint32_t
now_tick(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint32_t)ts.tv_sec;
}

/* The same key in a cell before it. */
static bool
is_double(const struct session_bucket *b, uint64_t head, uint32_t i)
{
	for (uint32_t j = 0; j < i; j++)
		if (cell_of(head, j) == LIVE &&
			memcmp(b->cell[j].key, b->cell[i].key, sizeof(b->cell[i].key)) == 0)
			return true;
	return false;
}

static bool
makes_sense(const struct sessions *s, const struct session_bucket *b, uint32_t i)
{
	const struct session_cell *c = &b->cell[i];
	struct session_where w;

	sessions_hash(s, c->key, &w);
	return session_bucket(&w) == b && session_tag(&w) == b->tag[i] && SESSION_STATE_HOME(c->state) != 0 &&
	       (SESSION_STATE_FLAGS(c->state) & ~(SESSION_FLAGS_NOTED | SESSION_FLAG_CLAIMED)) == 0;
}

/* The file is input from outside: whatever stands in it, afterwards the bucket is one that we could have written. `old`:
 * the tick by which the cells' own count; NULL: nobody knows. */
static void
take_up_bucket(const struct sessions *s, struct session_bucket *b, const uint32_t *old, uint32_t now)
{
	uint64_t head = 0;

	for (uint32_t i = 0; i < CELLS; i++) {
		struct session_cell *c = &b->cell[i];

		if (cell_of(b->head, i) != LIVE || !makes_sense(s, b, i) || is_double(b, head, i)) {
			memset(c, 0, sizeof(*c));
			continue;
		}
		c->state &= ~SESSION_STATE(0, SESSION_FLAG_CLAIMED, 0);
		c->zero = 0;
		c->tick = now - (old != NULL ? cell_idle(c, *old) : 0);
		head = head_with(head, i, LIVE);
	}
	b->head = head;
	memset(b->pad, 0, sizeof(b->pad));
}

static void
take_up(struct sessions *s, const char *boot_id)
{
	struct file_head *f = s->file;
	bool same_boot = strncmp(f->boot_id, boot_id, sizeof(f->boot_id)) == 0;
	uint32_t now = now_tick();
	/* A start that was killed while it re-based left ticks of two boots: then all count as just seen. */
	uint32_t old = same_boot ? now : f->newest;
	bool known = !f->rebasing;

	f->rebasing = !same_boot || f->rebasing;
	for (uint32_t b = 0; b <= s->mask; b++)
		take_up_bucket(s, &s->buckets[b], known ? &old : NULL, now);
	memset(f->boot_id, 0, sizeof(f->boot_id));
	memcpy(f->boot_id, boot_id, strnlen(boot_id, sizeof(f->boot_id) - 1));
	f->newest = now;
	__atomic_store_n(&f->rebasing, 0, __ATOMIC_RELEASE);
}

static bool
is_ours(const struct file_head *f, uint32_t buckets)
{
	return f->magic == FILE_MAGIC && f->buckets == buckets &&
	       f->bucket_size == sizeof(struct session_bucket) &&
	       memchr(f->boot_id, 0, sizeof(f->boot_id)) != NULL;
}

/* 0 and the size the file had, or -errno. */
static int
open_locked(struct sessions *s, const char *file, size_t *had)
{
	struct stat st;

	s->fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (s->fd < 0)
		return -errno;
	if (flock(s->fd, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (fstat(s->fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	*had = (size_t)st.st_size;
	return 0;
}

static int
make_empty(const struct sessions *s)
{
	return ftruncate(s->fd, 0) != 0 || ftruncate(s->fd, (off_t)s->size) != 0 ? -errno : 0;
}

/* Of a tmpfs the kernel gives 2 MiB pages by its mount's huge=, and where that says advise only to who asks before there are others. Room for
 * all of it now: a full tmpfs is an error here, not a SIGBUS later. */
static int
map(struct sessions *s)
{
	int flags = s->fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, rc = 0;
	void *p = mmap(NULL, s->size, PROT_READ | PROT_WRITE, flags, s->fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	madvise(p, s->size, MADV_HUGEPAGE);
	madvise(p, s->size, MADV_POPULATE_WRITE);
	if (s->fd >= 0)
		rc = -posix_fallocate(s->fd, 0, (off_t)s->size);
	if (rc != 0) {
		munmap(p, s->size);
		return rc;
	}
	s->file = p;
	s->buckets = (struct session_bucket *)((char *)p + FILE_HEAD_SIZE);
	return 0;
}

static int
open_map(struct sessions *s, const char *file, bool *fresh)
{
	size_t had = 0;
	int rc = open_locked(s, file, &had);

	if (rc != 0)
		return rc;
	if (had == s->size) {
		rc = map(s);
		if (rc != 0)
			return rc;
		*fresh = !is_ours(s->file, s->mask + 1);
		if (!*fresh)
			return 0;
		munmap(s->file, s->size);
		s->file = NULL;
	}
	*fresh = true;
	rc = make_empty(s);
	return rc != 0 ? rc : map(s);
}

static int
begin_file(struct sessions *s, const char *boot_id)
{
	struct file_head *f = s->file;

	if (getrandom(f->seed, sizeof(f->seed), 0) != sizeof(f->seed))
		return -EAGAIN;
	f->buckets = s->mask + 1;
	f->bucket_size = sizeof(struct session_bucket);
	f->newest = now_tick();
	memcpy(f->boot_id, boot_id, strnlen(boot_id, sizeof(f->boot_id) - 1));
	__atomic_store_n(&f->magic, FILE_MAGIC, __ATOMIC_RELEASE);
	return 0;
}

struct sessions *
sessions_new(const char *file, uint32_t entries, const char *boot_id, bool *fresh)
{
	struct sessions *s = calloc(1, sizeof(*s));
	bool is_fresh = true;
	int rc;

	if (s == NULL)
		return NULL;
	s->fd = -1;
	s->mask = rte_align32pow2((uint32_t)((uint64_t)entries * 2 / CELLS + 1)) - 1;
	s->size = FILE_HEAD_SIZE + (size_t)(s->mask + 1) * sizeof(struct session_bucket);
	rc = file == NULL ? map(s) : open_map(s, file, &is_fresh);
	if (rc == 0 && is_fresh)
		rc = begin_file(s, boot_id);
	if (rc != 0) {
		sessions_free(s);
		errno = -rc;
		return NULL;
	}
	memcpy(s->seed, s->file->seed, sizeof(s->seed));
	if (!is_fresh)
		take_up(s, boot_id);
	if (fresh != NULL)
		*fresh = is_fresh;
	return s;
}

void
sessions_free(struct sessions *s)
{
	if (s == NULL)
		return;
	if (s->file != NULL)
		munmap(s->file, s->size);
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}
