/* SPDX-License-Identifier: BSD-3-Clause */
#include "faultfs.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct unsafe { /* a write or truncation that no fsync has made safe: what was there before */
	struct unsafe *older;
	struct faulty *f;
	sqlite3_int64 size, at;
	int n;
	char before[];
};

struct faulty { /* SQLite's handle of a file; the real one's behind it */
	sqlite3_file base;
	sqlite3_file *real;
};

static sqlite3_vfs vfs, *real_vfs;
static struct fault fault;
static unsigned int counted;
static bool armed;
static struct unsafe *unsafe;

/* ---- power ---- */

static void
remember(struct faulty *f, sqlite3_int64 at, int n)
{
	struct unsafe *u = calloc(1, sizeof(*u) + (size_t)n);

	*u = (struct unsafe){.older = unsafe, .f = f, .at = at, .n = n};
	f->real->pMethods->xFileSize(f->real, &u->size);
	f->real->pMethods->xRead(f->real, u->before, n, at); /* zeros behind the end */
	unsafe = u;
}

static void
forget(const struct faulty *f)
{
	struct unsafe **p = &unsafe;

	while (*p != NULL) {
		struct unsafe *u = *p;

		if (u->f != f) {
			p = &u->older;
			continue;
		}
		*p = u->older;
		free(u);
	}
}

static void
power_off(void)
{
	unsigned int n = 0, keep;

	for (struct unsafe *u = unsafe; u != NULL; u = u->older)
		n++;
	keep = fault.at % 2 ? 0 : n / 2;
	for (struct unsafe *u = unsafe; u != NULL && n-- > keep; u = u->older) {
		sqlite3_file *real = u->f->real;

		if (u->n > 0)
			real->pMethods->xWrite(real, u->before, u->n, u->at);
		real->pMethods->xTruncate(real, u->size);
	}
}

/* ---- the fault ---- */

static bool
ends_the_process(void)
{
	return fault.how == HOW_KILL || fault.how == HOW_POWER;
}

/* Does this operation go wrong? One that ends the process is left to the caller, who may do half of it first. */
static bool
strikes(unsigned int op)
{
	unsigned int last = fault.last > fault.at ? fault.last : fault.at;

	if (!armed || !(fault.ops & op))
		return false;
	counted++;
	return counted >= fault.at && counted <= last && (op != OP_STATEMENT || ends_the_process());
}

static void
end_if_killed(void)
{
	if (!ends_the_process())
		return;
	if (fault.how == HOW_POWER)
		power_off();
	_exit(KILLED);
}

static int
code(int eio)
{
	return fault.how == HOW_ENOSPC ? SQLITE_FULL : fault.how == HOW_EROFS ? SQLITE_READONLY : eio;
}

#define STRIKE(op, eio)                   \
	do {                              \
		if (strikes(op)) {        \
			end_if_killed();  \
			return code(eio); \
		}                         \
	} while (0)

/* ---- files ---- */

static sqlite3_file *
real_of(sqlite3_file *f)
{
	return ((struct faulty *)f)->real;
}

static int
f_close(sqlite3_file *f)
{
	forget((struct faulty *)f);
	return real_of(f)->pMethods->xClose(real_of(f));
}

static int
f_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
	STRIKE(OP_READ, SQLITE_IOERR_READ);
	return real_of(f)->pMethods->xRead(real_of(f), p, n, at);
}

static int
f_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	bool bad = strikes(OP_WRITE);

	remember((struct faulty *)f, at, n);
	if (!bad)
		return real_of(f)->pMethods->xWrite(real_of(f), p, n, at);
	if (fault.how != HOW_EROFS)
		real_of(f)->pMethods->xWrite(real_of(f), p, n / 2, at);
	end_if_killed();
	return code(SQLITE_IOERR_WRITE);
}

static int
f_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	sqlite3_int64 now = 0;

	STRIKE(OP_TRUNCATE, SQLITE_IOERR_TRUNCATE);
	real_of(f)->pMethods->xFileSize(real_of(f), &now);
	remember((struct faulty *)f, size, now > size ? (int)(now - size) : 0);
	return real_of(f)->pMethods->xTruncate(real_of(f), size);
}

static int
f_sync(sqlite3_file *f, int flags)
{
	int rc;

	STRIKE(OP_SYNC, SQLITE_IOERR_FSYNC);
	rc = real_of(f)->pMethods->xSync(real_of(f), flags);
	forget((struct faulty *)f);
	return rc;
}

static int
f_size(sqlite3_file *f, sqlite3_int64 *size)
{
	return real_of(f)->pMethods->xFileSize(real_of(f), size);
}

static int
f_lock(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int
f_unlock(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int
f_reserved(sqlite3_file *f, int *out)
{
	return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}

static int
f_control(sqlite3_file *f, int op, void *arg)
{
	return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int
f_sector(sqlite3_file *f)
{
	return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int
f_traits(sqlite3_file *f)
{
	return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static const sqlite3_io_methods methods = {
	/* version 1: no shared memory, as an exclusive WAL needs none */
	.iVersion = 1,
	.xClose = f_close,
	.xRead = f_read,
	.xWrite = f_write,
	.xTruncate = f_truncate,
	.xSync = f_sync,
	.xFileSize = f_size,
	.xLock = f_lock,
	.xUnlock = f_unlock,
	.xCheckReservedLock = f_reserved,
	.xFileControl = f_control,
	.xSectorSize = f_sector,
	.xDeviceCharacteristics = f_traits,
};

static int
v_open(sqlite3_vfs *v, const char *name, sqlite3_file *file, int flags, int *out)
{
	struct faulty *f = (struct faulty *)file;
	int rc;

	(void)v;
	f->base.pMethods = NULL;
	STRIKE(OP_OPEN, SQLITE_CANTOPEN);
	f->real = (sqlite3_file *)(f + 1);
	rc = real_vfs->xOpen(real_vfs, name, f->real, flags, out);
	if (rc == SQLITE_OK)
		f->base.pMethods = &methods;
	return rc;
}

static int
v_delete(sqlite3_vfs *v, const char *name, int sync)
{
	(void)v;
	STRIKE(OP_DELETE, SQLITE_IOERR_DELETE);
	return real_vfs->xDelete(real_vfs, name, sync);
}

/* ---- statements ---- */

static int
on_statement(unsigned int what, void *ctx, void *statement, void *text)
{
	(void)what;
	(void)ctx;
	(void)statement;
	(void)text;
	if (strikes(OP_STATEMENT))
		end_if_killed();
	return 0;
}

static int
on_connection(sqlite3 *db, const char **error, const struct sqlite3_api_routines *api)
{
	(void)error;
	(void)api;
	return sqlite3_trace_v2(db, SQLITE_TRACE_STMT, on_statement, NULL);
}

/* ---- what the store itself asks of the kernel ---- */

static int
struck_errno(void)
{
	end_if_killed();
	errno = fault.how == HOW_ENOSPC ? ENOSPC : fault.how == HOW_EROFS ? EROFS : EIO;
	return -1;
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __real_unlink(const char *name);
int __wrap_unlink(const char *name);
/* what ftruncate() is with 64-bit offsets */
int __real_ftruncate64(int fd, off_t size);
int __wrap_ftruncate64(int fd, off_t size);
int __real_fsync(int fd);
int __wrap_fsync(int fd);

int
__wrap_rename(const char *from, const char *to)
{
	return strikes(OP_RENAME) ? struck_errno() : __real_rename(from, to);
}

int
__wrap_unlink(const char *name)
{
	return strikes(OP_DELETE) ? struck_errno() : __real_unlink(name);
}

int
__wrap_ftruncate64(int fd, off_t size)
{
	return strikes(OP_TRUNCATE) ? struck_errno() : __real_ftruncate64(fd, size);
}

int
__wrap_fsync(int fd)
{
	return strikes(OP_SYNC) ? struck_errno() : __real_fsync(fd);
}

/* ---- public ---- */

void
faultfs_install(void)
{
	real_vfs = sqlite3_vfs_find("unix");
	vfs = *real_vfs;
	vfs.zName = "faulty";
	vfs.szOsFile = (int)sizeof(struct faulty) + real_vfs->szOsFile;
	vfs.xOpen = v_open;
	vfs.xDelete = v_delete;
	sqlite3_vfs_register(&vfs, 1);
	sqlite3_auto_extension((void (*)(void))on_connection);
}

void
fault_set(const struct fault *f)
{
	fault = *f;
	counted = 0;
	armed = true;
}

void
fault_clear(void)
{
	armed = false;
}

bool
fault_reached(void)
{
	return counted >= fault.at;
}

unsigned int
fault_counted(void)
{
	return counted;
}
