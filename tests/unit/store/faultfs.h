/* SPDX-License-Identifier: BSD-3-Clause */
/* faultfs.h - a file system for SQLite in which the N-th operation goes wrong.
 *
 * Counted is what a disk sees (and rename(), unlink(), wrapped by the linker), and the start of each SQL statement, so that a
 * test walks every step of what it does: at = 1, 2, 3... until fault_reached() is false.
 */
#pragma once

#include <stdbool.h>

enum {
	OP_OPEN = 1,
	OP_READ = 2,
	OP_WRITE = 4,
	OP_SYNC = 8,
	OP_TRUNCATE = 16,
	OP_DELETE = 32,
	OP_RENAME = 64,
	OP_STATEMENT = 128, /* can only be killed before */
	OP_DISK = OP_OPEN | OP_READ | OP_WRITE | OP_SYNC | OP_TRUNCATE | OP_DELETE | OP_RENAME,
	OP_ALL = OP_DISK | OP_STATEMENT,
};

enum fault_how {
	HOW_EIO,
	HOW_ENOSPC, /* a write goes half */
	HOW_EROFS,
	HOW_KILL,  /* the process ends at that operation; a write goes half */
	HOW_POWER, /* and what no fsync had made safe is gone, the latest first: all, or half of it */
};

#define KILLED 99 /* exit status */

struct fault {
	unsigned int ops;
	enum fault_how how;
	unsigned int at;   /* 1 = the first */
	unsigned int last; /* all up to this one; 0 = that one alone */
};

void faultfs_install(void); /* becomes what SQLite uses */
void fault_set(const struct fault *f);
void fault_clear(void);
bool fault_reached(void);
unsigned int fault_counted(void); /* operations of f->ops since fault_set() */
