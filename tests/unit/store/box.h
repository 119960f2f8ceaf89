/* SPDX-License-Identifier: BSD-3-Clause */
/* box.h - a directory for one test's store, and what tests ask of a store. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <store/store.h>

extern char dir[64], file[128]; /* file: DIR/state.db */

int setup(void **state); /* a directory where no disk makes fsync() slow, a log that is quiet */
int teardown(void **state);
/* How many files of the directory have `with` in their name; deletes them, too. */
int count_files(const char *with, bool delete);
struct store *open_ok(bool want_aside); /* as r-x */
void put(struct store *s, const char *key, const char *value);
/* "KIND/KEY=VALUE;" of each row */
const char *dump(struct store *s, const char *kind);
const char *dump_range(struct store *s, const char *kind, const char *after, size_t limit);
/* Past the store and any fault: */
void sql(const char *text);
void make_version_1(void); /* as it was made then, with one row: vm/a=1 */
