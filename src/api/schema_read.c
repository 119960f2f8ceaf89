/* SPDX-License-Identifier: BSD-3-Clause */
/* schema_read.c - the one walker that turns a JSON tree, from the wire or from YAML, into an object. */
#include "key.h"
#include "schema.h"
#include "text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct step { /* of the path to what is being read: a key, or with NULL an index; on the stack */
	const struct step *up;
	const char *key;
	size_t i;
};

struct reader {
	const struct source *src;
	struct faults *faults;
	const struct step *at; /* NULL: the top */
	size_t count;	       /* of faults, those above FAULTS_MAX too */
};

struct place {
	int line, column;
};

static size_t
path_text(const struct step *s, char *out, size_t size)
{
	size_t len = s->up ? path_text(s->up, out, size) : 0;
	int n;

	if (s->key)
		n = snprintf(out + len, size - len, "%s%s", len > 0 ? "." : "", s->key);
	else
		n = snprintf(out + len, size - len, "[%zu]", s->i);
	len += n > 0 ? (size_t)n : 0;
	return len < size ? len : size - 1;
}

static void fault(struct reader *r, struct place p, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void
fault(struct reader *r, struct place p, const char *fmt, ...)
{
	char text[320], path[160] = "";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (r->at)
		path_text(r->at, path, sizeof(path));
	faults_add(r->faults, p.line, p.column, path, "%s", text);
	r->count++;
}

static struct place
place_of(const struct reader *r, const json_t *value, struct place around)
{
	struct place p;

	source_find(r->src, value, &p.line, &p.column);
	return p.line != 0 ? p : around;
}

static struct place
place_of_key(const struct reader *r, const json_t *object, const char *key, struct place around)
{
	struct place p;

	source_find_key(r->src, object, key, &p.line, &p.column);
	return p.line != 0 ? p : around;
}

/* ---- scalars ---- */

static int
parse_number(const struct field *f, const char *text, uint64_t *out, const char **what)
{
	uint64_t value = 0;
	int rc = f->type == F_INT ? text_to_u64(text, &value) : text_to_duration(text, &value);

	if (rc == -EINVAL)
		return -EINVAL;
	if (rc == -ERANGE || value < f->min || value > f->max) {
		*what = "is out of range";
		return -ERANGE;
	}
	*out = value;
	return 0;
}

static int
parse_words(const struct field *f, const char *text, int *out)
{
	for (int i = 0; f->words[i] != NULL; i++) {
		if (strcmp(text, f->words[i]) == 0) {
			*out = i;
			return 0;
		}
	}
	return -EINVAL;
}

static int
parse_text(const struct field *f, const char *text, char *out, const char **what)
{
	size_t n = strlen(text);

	for (const char *p = text; *p != '\0'; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f) {
			*what = "has a control character";
			return -EINVAL;
		}
	}
	if (n < f->min || n > f->max) {
		*what = n == 0 ? "is empty" : "is too long";
		return -ERANGE;
	}
	memcpy(out, text, n + 1);
	return 0;
}

static int
parse_mac(const char *text, struct mac *out, const char **what)
{
	struct mac m;

	if (mac_parse(text, &m) < 0)
		return -EINVAL;
	if (!mac_is_unicast(&m)) {
		*what = "is not a unicast address";
		return -EINVAL;
	}
	*out = m;
	return 0;
}

static int
parse_ip4(const char *text, ip4 *out, const char **what)
{
	ip4 a;

	if (ip4_parse(text, &a) < 0)
		return -EINVAL;
	if (ip4_is_martian(a)) {
		*what = "is not an address that a host may have";
		return -EINVAL;
	}
	*out = a;
	return 0;
}

static int
parse_prefix(const struct field *f, const char *text, struct prefix4 *out, const char **what)
{
	struct prefix4 p = {0};
	int rc = f->type == F_PREFIX4 ? prefix4_parse(text, &p) : ifaddr4_parse(text, &p.addr, &p.len);

	if (rc == -EDOM) {
		*what = "has bits set behind the prefix length";
		return -EINVAL;
	}
	if (rc < 0)
		return -EINVAL;
	if (f->type == F_IFADDR4 && strchr(text, '/') == NULL) {
		*what = "lacks the prefix length";
		return -EINVAL;
	}
	if (p.len < f->min || p.len > f->max) {
		*what = "has a prefix length out of range";
		return -EINVAL;
	}
	if (p.len > 0 && ip4_is_martian(p.addr)) {
		*what = "is not a unicast address";
		return -EINVAL;
	}
	*out = p;
	return 0;
}

static int
parse_copy(bool ok, const char *text, char *out)
{
	if (!ok)
		return -EINVAL;
	memcpy(out, text, strlen(text) + 1);
	return 0;
}

/* Writes `at` only on success. `what` says what is wrong where more is known than "not that". */
static int
parse_scalar(const struct field *f, const char *text, void *at, const char **what)
{
	switch (f->type) {
	case F_STRING:
		return parse_text(f, text, at, what);
	case F_NAME:
		return parse_copy(text_is_name(text), text, at);
	case F_HOSTPORT:
		return parse_copy(text_is_hostport(text), text, at);
	case F_BOOL:
		return text_to_bool(text, at);
	case F_INT:
	case F_DURATION:
		return parse_number(f, text, at, what);
	case F_ENUM:
		return parse_words(f, text, at);
	case F_MAC:
		return parse_mac(text, at, what);
	case F_IP4:
		return parse_ip4(text, at, what);
	case F_IFADDR4:
	case F_PREFIX4:
		return parse_prefix(f, text, at, what);
	case F_KEY:
		return key_parse(text, at);
	default:
		return -EINVAL;
	}
}

int
field_parse(const struct field *f, const char *text, void *obj, char *why, size_t size)
{
	const char *what = NULL;
	char allows[240];
	int rc = parse_scalar(f, text, (char *)obj + f->offset, &what);

	if (rc == 0)
		return 0;
	field_allows(f, allows, sizeof(allows));
	/* A key may be a secret: its text is never repeated. */
	if (f->type == F_KEY)
		snprintf(why, size, "is no key; allowed: %s", allows);
	else
		snprintf(why, size, "\"%.60s\" %s; allowed: %s", text, what != NULL ? what : "is not allowed",
			allows);
	return -EINVAL;
}

/* ---- values ---- */

static const char *
json_type_name(const json_t *value)
{
	static const char *const names[] = {
		[JSON_OBJECT] = "a mapping",
		[JSON_ARRAY] = "a list",
		[JSON_STRING] = "text",
		[JSON_INTEGER] = "a number",
		[JSON_REAL] = "a number with a fraction",
		[JSON_TRUE] = "true",
		[JSON_FALSE] = "false",
		[JSON_NULL] = "empty",
	};

	return names[json_typeof(value)];
}

static void
fault_type(struct reader *r, struct place p, const struct field *f, const json_t *value)
{
	char allows[240];

	fault(r, p, "is %s; allowed: %s", json_type_name(value), field_allows(f, allows, sizeof(allows)));
}

static void
read_integer(struct reader *r, struct place p, const struct field *f, const json_t *value, uint64_t *out)
{
	json_int_t n = json_integer_value(value);
	char allows[240];

	if (n >= 0 && (uint64_t)n >= f->min && (uint64_t)n <= f->max) {
		*out = (uint64_t)n;
		return;
	}
	fault(r, p, "%" JSON_INTEGER_FORMAT " is out of range; allowed: %s", n,
		field_allows(f, allows, sizeof(allows)));
}

/* JSON has its own numbers and truth values; only YAML and command lines say them as text. */
static bool
text_may_be(const struct reader *r, const struct field *f)
{
	return r->src != NULL || (f->type != F_BOOL && f->type != F_INT);
}

static void
read_text(struct reader *r, struct place p, const struct field *f, const json_t *value, void *obj)
{
	const char *text = json_string_value(value);
	char why[320];

	if (strlen(text) != json_string_length(value))
		fault(r, p, "has a NUL byte");
	else if (*text == '\0' && (f->flags & FIELD_REQUIRED) == 0 && f->def == NULL &&
		 (f->type == F_STRING || f->type == F_NAME || f->type == F_HOSTPORT))
		return; /* says the same as leaving it out */
	else if (field_parse(f, text, obj, why, sizeof(why)) < 0)
		fault(r, p, "%s", why);
}

static void
read_scalar(struct reader *r, struct place p, const struct field *f, const json_t *value, void *obj)
{
	void *at = (char *)obj + f->offset;

	if (json_is_string(value) && text_may_be(r, f))
		read_text(r, p, f, value, obj);
	else if (json_is_integer(value) && (f->type == F_INT || f->type == F_DURATION))
		read_integer(r, p, f, value, at);
	else if (json_is_boolean(value) && f->type == F_BOOL)
		*(bool *)at = json_is_true(value);
	else
		fault_type(r, p, f, value);
}

static void read_object(
	struct reader *r, struct place p, const struct kind *k, const json_t *value, void *obj);

/* Whether both have the same values in every FIELD_KEY; an unset first one identifies nothing. */
static bool
same_identity(const struct kind *k, const void *a, const void *b)
{
	bool any = false;

	for (const struct field *f = k->fields; f->name != NULL; f++) {
		if ((f->flags & FIELD_KEY) == 0)
			continue;
		if ((!any && field_is_unset(f, a)) || !field_equal(f, a, b))
			return false;
		any = true;
	}
	return any;
}

static void
identity_text(const struct kind *k, const void *obj, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	for (const struct field *f = k->fields; f->name != NULL && n < size; f++) {
		json_t *value = (f->flags & FIELD_KEY) != 0 ? field_write(f, obj) : NULL;

		if (json_is_string(value))
			n += (size_t)snprintf(buf + n, size - n, "%s%s %s", n > 0 ? ", " : "", f->name,
				json_string_value(value));
		else if (json_is_integer(value))
			n += (size_t)snprintf(buf + n, size - n, "%s%s %" JSON_INTEGER_FORMAT,
				n > 0 ? ", " : "", f->name, json_integer_value(value));
		json_decref(value);
	}
}

static bool
has_identity(const struct kind *k)
{
	for (const struct field *f = k->fields; f->name != NULL; f++)
		if ((f->flags & FIELD_KEY) != 0)
			return true;
	return false;
}

static void
check_twin(struct reader *r, struct place p, const struct kind *k, const struct list *l)
{
	const char *last = (const char *)l->items + (l->n - 1) * k->size;
	char text[160];

	for (size_t i = 0; i + 1 < l->n; i++) {
		if (!same_identity(k, last, (const char *)l->items + i * k->size))
			continue;
		identity_text(k, last, text, sizeof(text));
		fault(r, p, "%s is there already, as item %zu of this list; each must differ", text, i);
		return;
	}
}

static void
read_list(struct reader *r, struct place p, const struct field *f, const json_t *value, struct list *l)
{
	bool twins =
		has_identity(f->kind); /* 10,000 changes of a transaction are not compared with each other */
	size_t n = json_array_size(value);
	char allows[240];

	if (n < f->min || n > f->max)
		fault(r, p, "has %zu items; allowed: %s", n, field_allows(f, allows, sizeof(allows)));
	for (size_t i = 0; i < n && i < f->max; i++) {
		const json_t *v = json_array_get(value, i);
		const struct step step = {.up = r->at, .i = i};
		void *x = list_add(l, f->kind);

		r->at = &step;
		if (x != NULL)
			read_object(r, place_of(r, v, p), f->kind, v, x);
		else
			fault(r, p, "out of memory");
		if (x != NULL && twins)
			check_twin(r, place_of(r, v, p), f->kind, l);
		r->at = step.up;
		if (x == NULL)
			return;
	}
}

static void
read_field(struct reader *r, struct place p, const struct field *f, json_t *value, void *obj)
{
	void *at = (char *)obj + f->offset;

	if (f->type == F_JSON && json_is_null(value) && (f->flags & FIELD_REQUIRED) != 0)
		fault_type(r, p, f, value);
	else if (f->type == F_JSON)
		*(json_t **)at = json_is_null(value) ? NULL : json_incref(value);
	else if (f->type == F_OBJECT)
		read_object(r, p, f->kind, value, at);
	else if (f->type != F_LIST)
		read_scalar(r, p, f, value, obj);
	else if (json_is_array(value))
		read_list(r, p, f, value, at);
	else if (!json_is_null(value) || (f->flags & FIELD_REQUIRED) != 0)
		fault_type(r, p, f, value); /* an empty optional list is one without items */
}

/* ---- objects ---- */

static void
fault_unknown(struct reader *r, struct place p, const struct kind *k, const char *key)
{
	const struct field *near = NULL;
	const struct field all = {.type = F_OBJECT, .kind = k};
	char allows[240];

	for (const struct field *f = k->fields; f->name != NULL && near == NULL; f++)
		if (text_is_near(key, f->name))
			near = f;
	if (near != NULL)
		fault(r, p, "unknown key; did you mean \"%s\"?", near->name);
	else if (k->fields->name == NULL)
		fault(r, p, "unknown key; none is allowed here");
	else
		fault(r, p, "unknown key; allowed: %s", field_allows(&all, allows, sizeof(allows)));
}

static void
read_unknown(struct reader *r, struct place p, const struct kind *k, const json_t *object)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		const struct step step = {.up = r->at, .key = key};

		if (kind_field(k, key) != NULL)
			continue;
		r->at = &step;
		fault_unknown(r, place_of_key(r, object, key, p), k, key);
		r->at = step.up;
	}
}

static void
read_one(struct reader *r, struct place p, const struct field *f, const json_t *object, void *obj)
{
	json_t *value = json_object_get(object, f->name);
	const struct step step = {.up = r->at, .key = f->name};
	size_t faults = r->count;
	char allows[240];

	r->at = &step;
	if (value != NULL) {
		struct place key = place_of_key(r, object, f->name, p);

		read_field(r, place_of(r, value, key), f, value, obj);
	} else if ((f->flags & FIELD_REQUIRED) != 0) {
		fault(r, p, "missing; must be %s", field_allows(f, allows, sizeof(allows)));
	}
	if (r->count != faults)
		field_unset(f, obj);
	r->at = step.up;
}

static void
read_object(struct reader *r, struct place p, const struct kind *k, const json_t *value, void *obj)
{
	const struct field all = {.type = F_OBJECT, .kind = k};
	static json_t *const nothing = NULL;

	if (value != NULL && !json_is_object(value) && !json_is_null(value)) {
		fault_type(r, p, &all, value);
		for (const struct field *f = k->fields; f->name != NULL; f++)
			field_unset(f, obj);
		return;
	}
	/* An empty mapping in YAML is null, as is one that is not there; it may still lack required keys. */
	read_unknown(r, p, k, json_is_object(value) ? value : nothing);
	for (const struct field *f = k->fields; f->name != NULL; f++)
		read_one(r, p, f, json_is_object(value) ? value : nothing, obj);
}

int
kind_read_partial(
	const struct kind *k, const json_t *value, const struct source *src, void *obj, struct faults *faults)
{
	struct reader r = {.src = src, .faults = faults};
	struct place p;

	kind_init(k, obj);
	source_find(src, value, &p.line, &p.column);
	read_object(&r, p, k, value, obj);
	return r.count == 0 ? 0 : -EINVAL;
}

int
kind_read(
	const struct kind *k, const json_t *value, const struct source *src, void *obj, struct faults *faults)
{
	int rc = kind_read_partial(k, value, src, obj, faults);

	if (rc < 0)
		kind_fini(k, obj);
	return rc;
}
