/* SPDX-License-Identifier: BSD-3-Clause */
#include "value.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool
is_scalar(const struct field *f)
{
	return f->type != F_OBJECT && f->type != F_LIST && f->type != F_JSON;
}

const char *
value_list_form(const struct kind *k, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	for (const struct field *f = k->fields; f->name != NULL && n < size; f++) {
		bool optional = (f->flags & FIELD_REQUIRED) == 0;

		if (!is_scalar(f))
			return NULL;
		n += (size_t)snprintf(buf + n, size - n, "%s%s%s%s", optional ? "[" : "", n > 0 ? "=" : "",
			f->name, optional ? "]" : "");
	}
	for (char *p = buf; *p != '\0'; p++)
		*p = (char)toupper((unsigned char)*p);
	if (n < size)
		snprintf(buf + n, size - n, ",...");
	return buf;
}

/* All of it, or what is just above the limit; NULL with errno. */
static char *
read_all(FILE *in, size_t *len)
{
	size_t size = 1 << 16;
	char *text = malloc(size), *more;

	for (*len = 0; text != NULL; text = more) {
		*len += fread(text + *len, 1, size - *len, in);
		if (*len < size || size > VALUE_FILE_MAX)
			break;
		size *= 2;
		more = realloc(text, size);
		if (more == NULL)
			free(text);
	}
	if (text != NULL && ferror(in)) {
		free(text);
		text = NULL;
	}
	return text;
}

static char *
read_file(const char *name, size_t *len)
{
	FILE *in = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
	char *text = in != NULL ? read_all(in, len) : NULL;

	if (in != NULL && in != stdin)
		fclose(in);
	return text;
}

static json_t *
parse_json(const struct field *f, const char *text, size_t len, struct faults *faults)
{
	json_error_t e;
	json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);

	if (value == NULL)
		faults_add(faults, e.line, e.column, f->name, "line %d, column %d is not JSON: %s", e.line,
			e.column, e.text);
	return value;
}

static json_t *
parse_file(const struct field *f, const char *name, struct faults *faults)
{
	size_t len = 0;
	char *text = read_file(name, &len);
	json_t *value = NULL;

	if (text == NULL)
		faults_add(faults, 0, 0, f->name, "cannot read %s: %s", name, strerror(errno));
	else if (len > VALUE_FILE_MAX)
		faults_add(faults, 0, 0, f->name, "%s is longer than %u MiB; split it", name,
			VALUE_FILE_MAX >> 20);
	else
		value = parse_json(f, text, len, faults);
	free(text);
	return value;
}

/* "10.0.0.5=203.0.113.70" with the fields of its kind. */
static json_t *
parse_item(const struct field *f, const char *item, size_t len, struct faults *faults)
{
	json_t *o = json_object();
	const struct field *sub = f->kind->fields;
	const char *end = item + len;
	char form[128];

	for (; item <= end; sub++) {
		const char *equals = memchr(item, '=', (size_t)(end - item));
		const char *stop = equals != NULL ? equals : end;

		if (sub->name == NULL) {
			faults_add(faults, 0, 0, f->name, "has too many parts; write %s",
				value_list_form(f->kind, form, sizeof(form)));
			json_decref(o);
			return NULL;
		}
		json_object_set_new(o, sub->name, json_stringn(item, (size_t)(stop - item)));
		item = stop + 1;
	}
	return o;
}

static json_t *
parse_items(const struct field *f, const char *word, struct faults *faults)
{
	json_t *list = json_array();

	for (;;) {
		size_t n = strcspn(word, ",");
		json_t *item = parse_item(f, word, n, faults);

		if (item == NULL) {
			json_decref(list);
			return NULL;
		}
		json_array_append_new(list, item);
		if (word[n] == '\0')
			return list;
		word += n + 1;
	}
}

json_t *
value_parse(const struct field *f, const char *word, struct faults *faults)
{
	char form[128];
	json_t *text;

	if (is_scalar(f)) {
		text = json_string(word);
		if (text == NULL)
			faults_add(faults, 0, 0, f->name, "is not valid UTF-8 text");
		return text;
	}
	if (word[0] == '@')
		return parse_file(f, word + 1, faults);
	if (word[0] == '[' || word[0] == '{' || f->type != F_LIST ||
		value_list_form(f->kind, form, sizeof(form)) == NULL)
		return parse_json(f, word, strlen(word), faults);
	return parse_items(f, word, faults);
}
