/* SPDX-License-Identifier: BSD-3-Clause */
#include "lines.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE	  4096u
#define LINE	  64u
#define LINES_MAX (1u << 16)
#define AREAS_MAX 512
#define OPEN_MAX  8 /* pages that one instruction touches */
#define STACK	  (256u << 10)
#define TLS_BELOW (64u << 10)
#define ERR_WRITE 2	/* of the fault's error code */
#define EFL_STEP  0x100 /* of the flags: trap after one instruction */

struct area {
	uintptr_t start, end;
};

struct open_page {
	uintptr_t at;
	struct line *line; /* that the instruction begins in, when it writes */
	uint8_t next[LINE];
};

/* What the handlers use, in pages of its own that stay open. */
static struct {
	struct line lines[LINES_MAX];
	struct area areas[AREAS_MAX];
	struct open_page open[OPEN_MAX];
	uint32_t n_areas, n_lines, n_open;
	int side;
	bool narrow; /* one instruction after another, in pages that are shared */
	uint8_t stacks[LINES_SIDES][STACK] __attribute__((aligned(4096)));
	char maps[256 << 10];
	uint8_t alt[STACK] __attribute__((aligned(4096)));
} t __attribute__((aligned(4096)));

/* ---- what was touched ---- */

static struct line *
line_at(uintptr_t addr)
{
	uintptr_t at = addr & ~(uintptr_t)((t.narrow ? LINE : PAGE) - 1);
	uint32_t i = (uint32_t)(at / LINE * UINT64_C(0x9e3779b97f4a7c15) >> 32) % LINES_MAX;

	while (t.lines[i].at != 0 && t.lines[i].at != at)
		i = (i + 1) % LINES_MAX;
	if (t.lines[i].at == 0 && ++t.n_lines == LINES_MAX)
		abort();
	t.lines[i].at = at;
	return &t.lines[i];
}

static struct line *
note(uintptr_t addr, bool writes, uintptr_t code)
{
	struct line *l = line_at(addr);
	struct line_side *s = &l->side[t.side];

	if (s->code == 0 || (writes && !s->writes))
		s->code = code;
	s->reads |= !writes;
	s->writes |= writes;
	return l;
}

/* ---- one instruction ---- */

static uintptr_t
page_of(uintptr_t addr)
{
	return addr & ~(uintptr_t)(PAGE - 1);
}

static struct open_page *
open_page(uintptr_t at)
{
	for (uint32_t i = 0; i < t.n_open; i++)
		if (t.open[i].at == at)
			return &t.open[i];
	if (t.n_open == OPEN_MAX)
		abort();
	t.open[t.n_open] = (struct open_page){.at = at};
	return &t.open[t.n_open++];
}

/* The instruction may write beyond the line that it begins in. */
static void
step(struct line *l, uintptr_t addr, bool writes)
{
	struct open_page *p = open_page(page_of(addr));

	p->line = writes && page_of(l->at + LINE) == p->at ? l : NULL;
	if (p->line != NULL)
		memcpy(p->next, (const void *)(l->at + LINE), LINE);
}

static bool
is_watched(uintptr_t addr)
{
	for (uint32_t i = 0; i < t.n_areas; i++)
		if (addr >= t.areas[i].start && addr < t.areas[i].end)
			return true;
	return false;
}

static void
on_fault(int sig, siginfo_t *si, void *context)
{
	ucontext_t *uc = context;
	uintptr_t addr = (uintptr_t)si->si_addr;
	bool writes = (uc->uc_mcontext.gregs[REG_ERR] & ERR_WRITE) != 0;
	struct line *l;

	if (!is_watched(addr)) { /* a fault of the program's own: it comes again, and ends it */
		signal(sig, SIG_DFL);
		return;
	}
	l = note(addr, writes, (uintptr_t)uc->uc_mcontext.gregs[REG_RIP]);
	mprotect((void *)page_of(addr), PAGE, writes ? PROT_READ | PROT_WRITE : PROT_READ);
	if (t.narrow) {
		step(l, addr, writes);
		uc->uc_mcontext.gregs[REG_EFL] |= EFL_STEP;
	}
}

static void
on_step(int sig, siginfo_t *si, void *context)
{
	ucontext_t *uc = context;

	(void)sig;
	(void)si;
	for (uint32_t i = 0; i < t.n_open; i++) {
		struct open_page *p = &t.open[i];

		if (p->line != NULL && memcmp(p->next, (const void *)(p->line->at + LINE), LINE) != 0)
			note(p->line->at + LINE, true, (uintptr_t)uc->uc_mcontext.gregs[REG_RIP]);
		mprotect((void *)p->at, PAGE, PROT_NONE);
	}
	t.n_open = 0;
	uc->uc_mcontext.gregs[REG_EFL] &= ~EFL_STEP;
}

/* ---- what is watched ---- */

static void
watch(uintptr_t start, uintptr_t end)
{
	if (start >= end)
		return;
	if (t.n_areas == AREAS_MAX)
		abort();
	t.areas[t.n_areas++] = (struct area){start, end};
}

/* All of it but what lies in `without`. */
static void
watch_without(uintptr_t start, uintptr_t end, const struct area *without, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (without[i].start >= end || without[i].end <= start)
			continue;
		watch_without(start, without[i].start, without + i + 1, n - i - 1);
		start = without[i].end;
	}
	watch(start, end);
}

/* In order: what stays open, beside the stacks. */
static struct area left_out[2];

/* The stacks of other threads lie behind a page that nobody may touch. */
static bool
is_stack(const char *text, bool behind_guard)
{
	return strstr(text, "[stack]") != NULL || (behind_guard && strchr(text, '/') == NULL);
}

/* Nothing is allocated meanwhile: it would be gone again when it counts. */
static void
read_maps(void)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	size_t n = 0;
	ssize_t rc;

	while ((rc = read(fd, t.maps + n, sizeof(t.maps) - 1 - n)) > 0)
		n += (size_t)rc;
	if (fd < 0 || rc < 0 || n == sizeof(t.maps) - 1)
		abort();
	t.maps[n] = '\0';
	close(fd);
}

static void
find_areas(void)
{
	uintptr_t guard = 0;

	read_maps();
	t.n_areas = 0;
	for (char *text = t.maps, *end; (end = strchr(text, '\n')) != NULL; text = end + 1) {
		unsigned long from, to;
		char perms[5];

		*end = '\0';
		if (sscanf(text, "%lx-%lx %4s", &from, &to, perms) != 3)
			abort();
		if (perms[0] == 'r' && perms[1] == 'w' && !is_stack(text, guard == from))
			watch_without(from, to, left_out, 2);
		guard = perms[0] == '-' && to - from == PAGE ? to : 0;
	}
}

void
lines_begin(void)
{
	if (!t.narrow)
		find_areas();
	for (uint32_t i = 0; i < t.n_areas; i++)
		if (mprotect((void *)t.areas[i].start, t.areas[i].end - t.areas[i].start, PROT_NONE) != 0)
			abort();
}

void
lines_end(void)
{
	for (uint32_t i = 0; i < t.n_areas; i++)
		if (mprotect((void *)t.areas[i].start, t.areas[i].end - t.areas[i].start,
			    PROT_READ | PROT_WRITE) != 0)
			abort();
}

/* ---- the thread ---- */

struct start {
	void (*run)(void *arg);
	void *arg;
};

static void *
begin(void *arg)
{
	const struct start *s = arg;
	stack_t alt = {.ss_sp = t.alt, .ss_size = sizeof(t.alt)};

	if (sigaltstack(&alt, NULL) != 0)
		abort();
	s->run(s->arg);
	return NULL;
}

static void
handle(int sig, void (*handler)(int sig, siginfo_t *si, void *context))
{
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	if (sigaction(sig, &sa, NULL) != 0)
		abort();
}

/* The caller's thread-local memory is the kernel's to write, too (restartable sequences). */
static void
leave_out(void)
{
	uintptr_t tls = (uintptr_t)__builtin_thread_pointer() & ~(uintptr_t)(PAGE - 1);
	struct area ours = {(uintptr_t)&t, (uintptr_t)(&t + 1)}, theirs = {tls - TLS_BELOW, tls + 2 * PAGE};

	left_out[ours.start > theirs.start] = ours;
	left_out[ours.start < theirs.start] = theirs;
}

void
lines_thread(int side, void (*run)(void *arg), void *arg)
{
	struct start s = {run, arg};
	pthread_attr_t attr;
	pthread_t thread;

	t.side = side;
	leave_out();
	handle(SIGSEGV, on_fault);
	handle(SIGTRAP, on_step);
	if (pthread_attr_init(&attr) != 0 || pthread_attr_setstack(&attr, t.stacks[side], STACK) != 0 ||
		pthread_create(&thread, &attr, begin, &s) != 0 || pthread_join(thread, NULL) != 0)
		abort();
	pthread_attr_destroy(&attr);
}

/* ---- what came of it ---- */

void
lines_forget(void)
{
	memset(t.lines, 0, sizeof(t.lines));
	t.n_lines = 0;
	t.narrow = false;
}

uint32_t
lines_noted(int side)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < LINES_MAX; i++)
		n += t.lines[i].side[side].code != 0;
	return n;
}

static bool
is_shared(const struct line *l)
{
	const struct line_side *a = &l->side[0], *b = &l->side[1];

	return (a->writes && b->code != 0) || (b->writes && a->code != 0);
}

const struct line *
lines_next_shared(const struct line *l)
{
	for (l = l == NULL ? t.lines : l + 1; l < t.lines + LINES_MAX; l++)
		if (is_shared(l))
			return l;
	return NULL;
}

void
lines_narrow(void)
{
	t.n_areas = 0;
	for (const struct line *l = NULL; (l = lines_next_shared(l)) != NULL;)
		watch(l->at, l->at + PAGE);
	lines_forget();
	t.narrow = true;
}
