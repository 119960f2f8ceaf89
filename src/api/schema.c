/* SPDX-License-Identifier: BSD-3-Clause */
/* schema.c - objects of any kind: make, free, copy, compare, write. Reading is schema_read.c. */
#include "schema_write.h"

#include "key.h"
#include "secret.h"
#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define for_each_field(f, k) for (const struct field *f = (k)->fields; f->name != NULL; f++)

static void *
at(const struct field *f, void *obj)
{
	return (char *)obj + f->offset;
}

static const void *
at_const(const struct field *f, const void *obj)
{
	return (const char *)obj + f->offset;
}

static void *
item(const struct list *l, const struct kind *k, size_t i)
{
	return (char *)l->items + i * k->size;
}

static size_t
field_size(const struct field *f)
{
	switch (f->type) {
	case F_STRING:
		return f->max + 1;
	case F_NAME:
		return NAME_LEN + 1;
	case F_BOOL:
		return sizeof(bool);
	case F_INT:
	case F_DURATION:
		return sizeof(uint64_t);
	case F_ENUM:
		return sizeof(int);
	case F_MAC:
		return sizeof(struct mac);
	case F_IP4:
		return sizeof(ip4);
	case F_IFADDR4:
	case F_PREFIX4:
		return sizeof(struct prefix4);
	case F_HOSTPORT:
		return HOSTPORT_LEN + 1;
	case F_KEY:
		return KEY_LEN;
	case F_JSON:
		return sizeof(json_t *);
	case F_OBJECT:
		return f->kind->size;
	case F_LIST:
		return sizeof(struct list);
	}
	return 0;
}

void
field_unset(const struct field *f, void *obj)
{
	void *p = at(f, obj);

	if (f->type == F_ENUM)
		*(int *)p = -1;
	else if (f->type == F_INT || f->type == F_DURATION)
		*(uint64_t *)p = UINT64_MAX;
	else if (f->type == F_PREFIX4 && f->min == 0)
		((struct prefix4 *)p)->len = UINT8_MAX;
}

void
kind_init(const struct kind *k, void *obj)
{
	char why[160];

	memset(obj, 0, k->size);
	for_each_field(f, k)
	{
		if (f->type == F_OBJECT)
			kind_init(f->kind, at(f, obj));
		else if (f->flags & FIELD_UNSET)
			field_unset(f, obj);
		else if (f->def != NULL)
			field_parse(f, f->def, obj, why, sizeof(why));
	}
}

static bool
is_secret(const struct kind *k)
{
	for_each_field(f, k)
	{
		if (f->flags & FIELD_SECRET)
			return true;
	}
	return false;
}

void
list_fini(struct list *l, const struct kind *k)
{
	for (size_t i = 0; i < l->n; i++)
		kind_fini(k, item(l, k, i));
	if (is_secret(k))
		secret_free(l->items);
	else
		free(l->items);
	*l = (struct list){0};
}

void
kind_fini(const struct kind *k, void *obj)
{
	for_each_field(f, k)
	{
		if (f->type == F_OBJECT)
			kind_fini(f->kind, at(f, obj));
		else if (f->type == F_LIST)
			list_fini(at(f, obj), f->kind);
		else if (f->type == F_JSON)
			json_decref(*(json_t **)at(f, obj));
	}
	explicit_bzero(obj, k->size);
}

static void *
resize_secret(void *items, size_t old, size_t size)
{
	void *p = secret_new(size);

	if (p == NULL)
		return NULL;
	if (items != NULL)
		memcpy(p, items, old);
	secret_free(items);
	return p;
}

void *
list_add(struct list *l, const struct kind *k)
{
	void *items;

	/* Grows by doubling at each power of two. */
	if ((l->n & (l->n - 1)) == 0) {
		size_t n = l->n == 0 ? 1 : l->n * 2;

		items = is_secret(k) ? resize_secret(l->items, l->n * k->size, n * k->size)
				     : reallocarray(l->items, n, k->size);
		if (items == NULL)
			return NULL;
		l->items = items;
	}
	kind_init(k, item(l, k, l->n));
	return item(l, k, l->n++);
}

/* `to` has been given a shallow copy: own what it only borrows. */
static int
list_copy(struct list *to, const struct list *from, const struct kind *k)
{
	for (size_t i = 0; i < from->n; i++) {
		void *x = list_add(to, k);

		if (x == NULL || kind_copy(k, x, item(from, k, i)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int
field_copy(const struct field *f, void *to, const void *from)
{
	switch (f->type) {
	case F_OBJECT:
		return kind_copy(f->kind, at(f, to), at_const(f, from));
	case F_LIST:
		return list_copy(at(f, to), at_const(f, from), f->kind);
	case F_JSON: {
		json_t *value = *(json_t *const *)at_const(f, from);

		*(json_t **)at(f, to) = json_deep_copy(value);
		return value != NULL && *(json_t **)at(f, to) == NULL ? -ENOMEM : 0;
	}
	default:
		memcpy(at(f, to), at_const(f, from), field_size(f));
		return 0;
	}
}

int
kind_copy(const struct kind *k, void *to, const void *from)
{
	memset(to, 0, k->size);
	for_each_field(f, k)
	{
		if (field_copy(f, to, from) < 0) {
			kind_fini(k, to);
			return -ENOMEM;
		}
	}
	return 0;
}

static bool
list_equal(const struct list *a, const struct list *b, const struct kind *k)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (!kind_equal(k, item(a, k, i), item(b, k, i)))
			return false;
	return true;
}

static bool
json_same(const json_t *a, const json_t *b)
{
	return a == b || (a != NULL && b != NULL && json_equal(a, b));
}

bool
field_equal(const struct field *f, const void *obj_a, const void *obj_b)
{
	const void *a = at_const(f, obj_a);
	const void *b = at_const(f, obj_b);

	switch (f->type) {
	case F_STRING:
	case F_NAME:
	case F_HOSTPORT:
		return strcmp(a, b) == 0;
	case F_IFADDR4:
	case F_PREFIX4: {
		const struct prefix4 *p = a, *q = b; /* has padding */

		return p->addr == q->addr && p->len == q->len;
	}
	case F_JSON:
		return json_same(*(json_t *const *)a, *(json_t *const *)b);
	case F_OBJECT:
		return kind_equal(f->kind, a, b);
	case F_LIST:
		return list_equal(a, b, f->kind);
	default:
		return memcmp(a, b, field_size(f)) == 0;
	}
}

bool
kind_equal(const struct kind *k, const void *a, const void *b)
{
	for_each_field(f, k) if (!field_equal(f, a, b)) return false;
	return true;
}

static bool
all_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != 0)
			return false;
	return true;
}

bool
field_is_unset(const struct field *f, const void *obj)
{
	const void *p = at_const(f, obj);

	switch (f->type) {
	case F_BOOL:
		return false;
	case F_INT:
	case F_DURATION:
		return (f->flags & FIELD_UNSET) != 0 && *(const uint64_t *)p == UINT64_MAX;
	case F_ENUM:
		return *(const int *)p < 0;
	case F_STRING:
	case F_NAME:
	case F_HOSTPORT:
		return *(const char *)p == '\0';
	case F_IFADDR4:
	case F_PREFIX4: {
		const struct prefix4 *prefix = p;

		/* Where a length of 0 is allowed, 0.0.0.0/0 is the default route. */
		return prefix->len > 32 || (f->min > 0 && prefix->len == 0);
	}
	case F_JSON:
		return *(json_t *const *)p == NULL;
	case F_OBJECT:
		return false;
	case F_LIST:
		return ((const struct list *)p)->n == 0;
	default:
		return all_zero(p, field_size(f));
	}
}

static json_t *write_object(const struct kind *k, const void *obj, bool text);

static json_t *
list_write(const struct list *l, const struct kind *k, bool text)
{
	json_t *array = json_array();

	for (size_t i = 0; array != NULL && i < l->n; i++) {
		if (json_array_append_new(array, write_object(k, item(l, k, i), text)) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

const char *
scalar_write(const struct field *f, const void *p, char buf[64])
{
	switch (f->type) {
	case F_ENUM:
		return f->words[*(const int *)p];
	case F_DURATION:
		return duration_to_text(*(const uint64_t *)p, buf);
	case F_MAC:
		return mac_format(p, buf);
	case F_IP4:
		return ip4_format(*(const ip4 *)p, buf);
	case F_IFADDR4:
	case F_PREFIX4:
		return prefix4_format(p, buf);
	case F_KEY:
		return key_format(p, buf);
	default:
		return p; /* text already */
	}
}

static json_t *
write_field(const struct field *f, const void *obj, bool text)
{
	const void *p = at_const(f, obj);
	char buf[64];

	if (f->type == F_DURATION && !text)
		return json_integer((json_int_t)(*(const uint64_t *)p));
	switch (f->type) {
	case F_BOOL:
		return json_boolean(*(const bool *)p);
	case F_INT:
		return json_integer((json_int_t)(*(const uint64_t *)p));
	case F_JSON:
		return *(json_t *const *)p != NULL ? json_incref(*(json_t *const *)p) : json_null();
	case F_OBJECT:
		return write_object(f->kind, p, text);
	case F_LIST:
		return list_write(p, f->kind, text);
	default:
		return json_string(scalar_write(f, p, buf));
	}
}

bool
field_left_out(const struct field *f, const void *obj)
{
	if ((f->flags & FIELD_REQUIRED) != 0 && f->type != F_ENUM)
		return false;
	return field_is_unset(f, obj);
}

static json_t *
write_object(const struct kind *k, const void *obj, bool text)
{
	json_t *o = json_object();

	if (o == NULL)
		return NULL;
	for_each_field(f, k)
	{
		if (field_left_out(f, obj))
			continue;
		if (json_object_set_new(o, f->name, write_field(f, obj, text)) < 0) {
			json_decref(o);
			return NULL;
		}
	}
	return o;
}

json_t *
field_write(const struct field *f, const void *obj)
{
	return write_field(f, obj, false);
}

json_t *
kind_write(const struct kind *k, const void *obj)
{
	return write_object(k, obj, false);
}

json_t *
kind_write_text(const struct kind *k, const void *obj)
{
	return write_object(k, obj, true);
}

const struct field *
kind_field(const struct kind *k, const char *name)
{
	for_each_field(f, k) if (strcmp(f->name, name) == 0) return f;
	return NULL;
}

static void
allows_words(const struct field *f, char *buf, size_t size)
{
	size_t n = (size_t)snprintf(buf, size, "one of: ");

	for (size_t i = 0; f->words[i] != NULL && n < size; i++)
		n += (size_t)snprintf(buf + n, size - n, "%s%s", i > 0 ? ", " : "", f->words[i]);
}

static void
allows_keys(const struct field *f, char *buf, size_t size)
{
	size_t n = (size_t)snprintf(buf, size, "a mapping with: ");

	for_each_field(sub, f->kind)
	{
		if (n < size)
			n += (size_t)snprintf(
				buf + n, size - n, "%s%s", sub == f->kind->fields ? "" : ", ", sub->name);
	}
}

static void
allows_duration(const struct field *f, char *buf, size_t size)
{
	char lo[32], hi[32];

	snprintf(buf, size, "a duration from %s to %s, such as 500ms, 30s, 90m, 1h or 1d",
		duration_to_text(f->min, lo), duration_to_text(f->max, hi));
}

const char *
field_allows(const struct field *f, char *buf, size_t size)
{
	static const char *const fixed[] = {
		[F_NAME] = "a name of 1 to 31 letters, digits, '-', '_' and '.', the first a letter or digit",
		[F_BOOL] = "on or off",
		[F_MAC] = "a unicast MAC address such as 02:00:5e:10:00:01",
		[F_IP4] = "an IPv4 address of a host, such as 192.0.2.1",
		[F_HOSTPORT] = "an IPv4 address and a port, such as 192.0.2.1:7411",
		[F_KEY] = "a key: 32 bytes, not all zero, as 44 characters of base64",
		[F_JSON] = "any JSON value but null",
	};
	unsigned long long min = f->min, max = f->max;

	switch (f->type) {
	case F_STRING:
		snprintf(buf, size, "text of %llu to %llu bytes", min, max);
		break;
	case F_INT:
		snprintf(buf, size, "a number from %llu to %llu", min, max);
		break;
	case F_ENUM:
		allows_words(f, buf, size);
		break;
	case F_DURATION:
		allows_duration(f, buf, size);
		break;
	case F_IFADDR4:
		snprintf(buf, size,
			"an IPv4 address and its prefix length (%llu to %llu), such as 192.0.2.1/30", min,
			max);
		break;
	case F_PREFIX4:
		snprintf(buf, size, "an IPv4 prefix of length %llu to %llu, such as 192.0.2.0/24", min, max);
		break;
	case F_OBJECT:
		allows_keys(f, buf, size);
		break;
	case F_LIST:
		snprintf(buf, size, "a list of %llu to %llu items", min, max);
		break;
	default:
		snprintf(buf, size, "%s", fixed[f->type]);
	}
	return buf;
}

const char *
field_describe(const struct field *f, char *buf, size_t size)
{
	const char *rest = (f->flags & FIELD_REQUIRED) != 0 ? "required" : "optional";
	char allows[240];

	field_allows(f, allows, sizeof(allows));
	if (f->type == F_OBJECT)
		snprintf(buf, size, "%s; %s", f->help, rest);
	else if (f->def != NULL)
		snprintf(buf, size, "%s; %s; default %s", f->help, allows, f->def);
	else
		snprintf(buf, size, "%s; %s; %s", f->help, allows, rest);
	return buf;
}
