/* SPDX-License-Identifier: BSD-3-Clause */
/* schema.h - object kinds as field tables.
 *
 * A kind says once what an object's fields are: name, type, range, default, help. YAML, JSON, the
 * CLI's grammar and completion, the store, `--check` and the documents walk these tables; nothing
 * else in the project knows a field's name.
 *
 * An object is a C struct. Scalars are embedded; a list is {items, n}, owned by the object.
 */
#pragma once

#include <common/addr.h>
#include <common/buf.h>
#include <common/err.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum field_type {
	F_STRING, /* char[max + 1]; min..max bytes */
	F_NAME,	  /* char[NAME_LEN + 1]; letters, digits, - _ . ; not empty when required */
	F_BOOL,	  /* bool; YAML on/off/true/false/yes/no */
	F_INT,	  /* uint64_t, min..max */
	F_ENUM,	  /* int, index into .words */
	F_DURATION, /* uint64_t milliseconds, min..max; "500ms", "30s", "90m", "1h", "1d"; JSON also a number of ms */
	F_MAC,	    /* struct mac, unicast */
	F_IP4,	    /* ip4; 0 = absent */
	F_IFADDR4,  /* struct prefix4 whose host bits may be set; min..max prefix length */
	F_PREFIX4,  /* struct prefix4; min..max prefix length */
	F_HOSTPORT, /* char[HOSTPORT_LEN + 1]; "address:port" */
	F_KEY,	    /* uint8_t[32] as 43 or 44 characters of base64; all zero = absent */
	F_JSON,	    /* json_t *, any value but null, owned; NULL = absent */
	F_OBJECT,   /* embedded struct of .kind */
	F_LIST,	    /* struct list of .kind objects */
};

#define NAME_LEN     31
#define HOSTPORT_LEN 63
#define KEY_LEN	     32

enum {
	FIELD_REQUIRED = 1, /* must be given */
	FIELD_KEY = 2,	    /* identifies the object in its list: no two alike (several fields: together) */
	FIELD_UNSET = 4,    /* F_INT, F_DURATION: absent is UINT64_MAX; F_ENUM: below 0 */
	FIELD_SECRET = 8,   /* a list whose items have it stands in memory of secret.h */
	FIELD_LIVE =
		16, /* with all in it, and items of a list come and go: may change while the router runs */
};

struct list {	     /* grown by list_add() alone */
	void *items; /* n structs of the list's kind */
	size_t n;
};

struct kind;

struct field {
	const char *name;
	enum field_type type;
	unsigned int flags;
	size_t offset;
	uint64_t min, max; /* F_INT, F_DURATION: value; F_STRING: bytes; F_LIST: items; prefixes: length */
	const char *def;   /* default as text, or NULL: zero / empty */
	const char *const *words; /* F_ENUM, NULL-terminated */
	const struct kind *kind;  /* F_OBJECT, F_LIST */
	const char *help;	  /* one line, no full stop */
};

struct kind {
	const char *name; /* "segment" */
	size_t size;
	const struct field *fields; /* ended by .name == NULL */
	const char *help;
};

/* Faults found while reading: all of them, in order of appearance. */
struct fault {
	int line, column; /* 1-based; 0 where the input has no lines (JSON-RPC) */
	char path[160];	  /* "segments[0].gateway.mac" */
	char text[320];	  /* what is wrong and what is allowed */
};

struct faults {
	struct fault *items;
	size_t n;
	size_t dropped; /* above FAULTS_MAX */
};

#define FAULTS_MAX 200

void faults_init(struct faults *f);
void faults_fini(struct faults *f);
void faults_add(struct faults *f, int line, int column, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* Puts the first fault into `e` as "path: text (and N more)". */
int faults_err(const struct faults *f, struct err *e);
/* "FILE:LINE:COL: PATH: TEXT" lines. */
void faults_print(const struct faults *f, const char *file, FILE *out);
/* By line and column, those of one place in the order they were added. */
void faults_sort(struct faults *f);

/* Where a JSON value, or a key of a JSON object, stood in its source text; (0,0) when unknown. */
struct source;
struct source *source_new(void); /* NULL without memory */
void source_free(struct source *s);
int source_add(struct source *s, const void *value_or_key, int line, int column); /* 0 or -ENOMEM */
void source_find(const struct source *s, const json_t *value, int *line, int *column);
void source_find_key(const struct source *s, const json_t *object, const char *key, int *line, int *column);
/* The value at "segments[0].gateway.mac", or NULL. */
const json_t *tree_at(const json_t *tree, const char *path);
/* The place of "segments[0].gateway.mac" in `tree`, or of the nearest thing around it that is there. */
void source_find_path(const struct source *s, const json_t *tree, const char *path, int *line, int *column);

/* Reads `value` into `obj` (kind->size bytes, zeroed by the callee, defaults applied). Reports every
 * fault, goes on after each. `src` is NULL for JSON from the wire: then scalars must have JSON's own
 * types; with a source (it may be an empty one: words of a command line) a string may stand for any of
 * them, as in YAML. Returns 0 or -EINVAL; on failure `obj` is freed and zeroed. */
int kind_read(const struct kind *k, const json_t *value, const struct source *src, void *obj,
	struct faults *faults);
/* The same, but a failure leaves what could be read: faulty fields are unset (zero, empty; enums -1, numbers
 * UINT64_MAX, prefixes that may have length 0: length 255), so that checks between fields can name their faults
 * too. The caller frees `obj` in any case. */
int kind_read_partial(const struct kind *k, const json_t *value, const struct source *src, void *obj,
	struct faults *faults);

/* The object as JSON, fields in table order, absent optional fields left out. New reference or NULL. */
json_t *kind_write(const struct kind *k, const void *obj);
/* The same as compact JSON text of ASCII alone, appended. 0 or -ENOMEM. */
int kind_print(const struct kind *k, const void *obj, struct buf *to);
/* The same as YAML has it: durations as text, where the wire has a number of milliseconds. */
json_t *kind_write_text(const struct kind *k, const void *obj);
/* The same for one field. */
json_t *field_write(const struct field *f, const void *obj);

void kind_init(const struct kind *k, void *obj);		 /* zero + defaults */
void kind_fini(const struct kind *k, void *obj);		 /* frees lists, wipes, zeroes */
int kind_copy(const struct kind *k, void *to, const void *from); /* 0 or -ENOMEM */
bool kind_equal(const struct kind *k, const void *a, const void *b);

struct difference {
	const char *path; /* "ports[1].mtu"; items of a live list by their keys: "peers[r-z].psk" */
	const char *what; /* "changed", "added", "removed" */
	bool live;
	const struct kind *kind; /* of the item that was added or removed; else NULL */
	const void *item;
};
/* Calls each() for whatever differs in `b`. Items of a live list are the same when their keys are, others when their
 * places are. */
void kind_differences(const struct kind *k, const void *a, const void *b,
	void (*each)(void *arg, const struct difference *d), void *arg);

const struct field *kind_field(const struct kind *k, const char *name);
bool field_is_unset(const struct field *f, const void *obj);
/* As if it was never given, not even by its default: also what could not be read. */
void field_unset(const struct field *f, void *obj);
bool field_equal(const struct field *f, const void *a, const void *b);
/* Reads a scalar of text into obj; 0, or -EINVAL with `why` ("is ...; allowed: ..."). */
int field_parse(const struct field *f, const char *text, void *obj, char *why, size_t size);
/* "a number from 1 to 4094", "one of: nat, routed": what a field allows, for faults, help and docs. */
const char *field_allows(const struct field *f, char *buf, size_t size);
/* "VLAN on this port; a number from 0 to 4094; default 0": one line for people. */
const char *field_describe(const struct field *f, char *buf, size_t size);
const char *duration_to_text(uint64_t ms, char buf[32]); /* "90m" */
/* Appends a zeroed, defaulted item; NULL on ENOMEM. */
void *list_add(struct list *l, const struct kind *k);
void list_fini(struct list *l, const struct kind *k); /* frees the items; empty again */
#define list_at(list, type, i) (&((type *)(list).items)[i])
