/* SPDX-License-Identifier: BSD-3-Clause */
#include "yaml.h"

#include "secret.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#define MIB	  ((size_t)1 << 20)
#define DEPTH_MAX 16

struct level {	      /* an open mapping or list */
	json_t *node; /* borrowed from its parent, or the root */
	char *key;    /* a mapping's key that waits for its value */
	bool skip;    /* the value of a duplicate key: read, not kept */
};

struct reading {
	yaml_parser_t parser;
	struct source *src;
	struct faults *faults;
	json_t *root;
	json_t *skipped; /* keeps values of duplicate keys alive until the end */
	struct level level[DEPTH_MAX];
	size_t depth;
	yaml_mark_t key_mark;
	bool failed; /* stop */
};

static void
fault_at(struct reading *r, const yaml_mark_t *m, const char *what)
{
	faults_add(r->faults, (int)m->line + 1, (int)m->column + 1, "", "%s", what);
}

static void
fatal(struct reading *r, const yaml_mark_t *m, const char *what)
{
	fault_at(r, m, what);
	r->failed = true;
}

static void
note(struct reading *r, const void *thing, const yaml_mark_t *m)
{
	if (source_add(r->src, thing, (int)m->line + 1, (int)m->column + 1) < 0)
		fatal(r, m, "out of memory");
}

/* Gives the finished value to the mapping or list that is open; takes the reference. */
static void
add_to_mapping(struct reading *r, struct level *l, json_t *value)
{
	int rc;

	if (l->skip) {
		json_array_append_new(r->skipped, value);
	} else {
		rc = json_object_set_new(l->node, l->key, value);
		if (rc < 0)
			fatal(r, &r->key_mark, "is not valid UTF-8 text");
	}
	free(l->key);
	l->key = NULL;
}

static void
add_value(struct reading *r, json_t *value, const yaml_mark_t *m)
{
	struct level *l = r->depth > 0 ? &r->level[r->depth - 1] : NULL;

	if (value == NULL) {
		fatal(r, m, "is not valid UTF-8 text");
		return;
	}
	if (!json_is_null(value)) /* all nulls are one */
		note(r, value, m);
	if (l == NULL)
		r->root = value;
	else if (json_is_array(l->node))
		json_array_append_new(l->node, value);
	else
		add_to_mapping(r, l, value);
}

static void
take_key(struct reading *r, struct level *l, const yaml_event_t *ev)
{
	const char *text = (const char *)ev->data.scalar.value;
	char what[120];
	void *iter;

	if (strlen(text) != ev->data.scalar.length) {
		fatal(r, &ev->start_mark, "a key has a NUL character");
		return;
	}
	l->key = strdup(text);
	if (l->key == NULL) {
		fatal(r, &ev->start_mark, "out of memory");
		return;
	}
	l->skip = json_object_get(l->node, text) != NULL;
	r->key_mark = ev->start_mark;
	if (l->skip) {
		snprintf(what, sizeof(what), "duplicate key \"%.60s\"; remove one", text);
		fault_at(r, &ev->start_mark, what);
		return;
	}
	/* The place of a key is known by its address inside the object, so it must be there first. */
	if (json_object_set_new(l->node, text, json_null()) < 0) {
		fatal(r, &ev->start_mark, "a key is not valid UTF-8 text");
		return;
	}
	iter = json_object_iter_at(l->node, text);
	note(r, json_object_iter_key(iter), &ev->start_mark);
}

static bool
is_null(const yaml_event_t *ev)
{
	const char *s = (const char *)ev->data.scalar.value;

	return ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (*s == '\0' || strcmp(s, "~") == 0 || strcasecmp(s, "null") == 0);
}

static bool
expects_key(const struct reading *r)
{
	const struct level *l = r->depth > 0 ? &r->level[r->depth - 1] : NULL;

	return l != NULL && json_is_object(l->node) && l->key == NULL;
}

static void
check_decoration(struct reading *r, const yaml_mark_t *m, const yaml_char_t *anchor, const yaml_char_t *tag)
{
	if (anchor != NULL)
		fault_at(r, m, "anchors are not allowed; write the value where it is used");
	if (tag != NULL)
		fault_at(r, m, "tags are not allowed; types follow from the key");
}

static void
on_scalar(struct reading *r, const yaml_event_t *ev)
{
	const char *text = (const char *)ev->data.scalar.value;
	size_t len = ev->data.scalar.length;

	check_decoration(r, &ev->start_mark, ev->data.scalar.anchor, ev->data.scalar.tag);
	if (expects_key(r))
		take_key(r, &r->level[r->depth - 1], ev);
	else if (memchr(text, '\0', len) != NULL)
		fatal(r, &ev->start_mark, "a value has a NUL character");
	else
		add_value(r, is_null(ev) ? json_null() : json_stringn(text, len), &ev->start_mark);
}

static void
on_open(struct reading *r, const yaml_event_t *ev, json_t *node)
{
	if (expects_key(r) || r->depth == DEPTH_MAX || node == NULL) {
		json_decref(node);
		fatal(r, &ev->start_mark,
			expects_key(r)		? "a key must be a plain word"
			: r->depth == DEPTH_MAX ? "nested too deep; at most 16 levels are allowed"
						: "out of memory");
		return;
	}
	add_value(r, node, &ev->start_mark);
	if (!r->failed)
		r->level[r->depth++] = (struct level){.node = node};
}

static void
on_alias(struct reading *r, const yaml_event_t *ev)
{
	fault_at(r, &ev->start_mark, "aliases are not allowed; write the value itself");
	if (expects_key(r))
		r->failed = true;
	else
		add_value(r, json_null(), &ev->start_mark);
}

static void
on_event(struct reading *r, const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (r->root != NULL)
			fatal(r, &ev->start_mark, "a second document begins here; only one is allowed");
		break;
	case YAML_ALIAS_EVENT:
		on_alias(r, ev);
		break;
	case YAML_SCALAR_EVENT:
		on_scalar(r, ev);
		break;
	case YAML_SEQUENCE_START_EVENT:
		check_decoration(
			r, &ev->start_mark, ev->data.sequence_start.anchor, ev->data.sequence_start.tag);
		on_open(r, ev, json_array());
		break;
	case YAML_MAPPING_START_EVENT:
		check_decoration(
			r, &ev->start_mark, ev->data.mapping_start.anchor, ev->data.mapping_start.tag);
		on_open(r, ev, json_object());
		break;
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		r->depth--;
		break;
	default:
		break;
	}
}

/* Where the n-th byte of the text is. */
static yaml_mark_t
mark_of(const char *text, size_t n)
{
	yaml_mark_t m = {0};

	for (const char *p = text; p < text + n; p++) {
		m.column = *p == '\n' ? 0 : m.column + 1;
		m.line += *p == '\n';
	}
	return m;
}

static void
fault_syntax(struct reading *r, const char *text)
{
	const yaml_parser_t *p = &r->parser;
	yaml_mark_t m = p->problem_mark;
	char what[240];

	if (p->error == YAML_READER_ERROR) /* it reads ahead of its marks */
		m = mark_of(text, p->problem_offset);
	snprintf(what, sizeof(what), "is not YAML: %s%s%s",
		p->problem != NULL ? p->problem : "cannot be read", p->context != NULL ? ", " : "",
		p->context != NULL ? p->context : "");
	fatal(r, &m, what);
}

static void
read_events(struct reading *r, const char *text)
{
	bool end = false;

	while (!end && !r->failed) {
		yaml_event_t ev;

		if (!yaml_parser_parse(&r->parser, &ev)) {
			fault_syntax(r, text);
			return;
		}
		end = ev.type == YAML_STREAM_END_EVENT;
		on_event(r, &ev);
		if (ev.type == YAML_SCALAR_EVENT) /* perhaps a psk */
			explicit_bzero(ev.data.scalar.value, ev.data.scalar.length);
		yaml_event_delete(&ev);
	}
}

/* libyaml's words for a tab are hard to understand, and it stops at the first. */
static bool
check_tabs(const char *text, size_t len, struct faults *f)
{
	bool ok = true;
	int line = 1;

	for (size_t i = 0; i < len; line++) {
		const char *eol = memchr(text + i, '\n', len - i);
		size_t end = eol != NULL ? (size_t)(eol - text) : len;
		size_t start = i;

		while (i < end && text[i] == ' ')
			i++;
		if (i < end && text[i] == '\t') {
			faults_add(f, line, (int)(i - start) + 1, "", "a tab; indent with spaces");
			ok = false;
		}
		i = end + 1;
	}
	return ok;
}

static bool
check_text(const char *text, size_t len, size_t limit, struct faults *f)
{
	const char *nul = memchr(text, '\0', len);
	yaml_mark_t m;

	if (len > limit * MIB) {
		faults_add(f, 1, 1, "", "is %zu bytes long; at most %zu (%zu MiB) are allowed", len,
			limit * MIB, limit);
		return false;
	}
	if (nul == NULL)
		return check_tabs(text, len, f);
	m = mark_of(text, (size_t)(nul - text));
	faults_add(f, (int)m.line + 1, (int)m.column + 1, "", "a NUL byte; only text is allowed");
	return false;
}

static json_t *
read_text(struct reading *r, const char *text, size_t len)
{
	yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, len);
	read_events(r, text);
	for (size_t i = 0; i < r->depth; i++)
		free(r->level[i].key);
	json_decref(r->skipped);
	if (!r->failed && r->root == NULL)
		fatal(r, &(yaml_mark_t){0}, "is empty");
	if (r->failed) {
		json_decref(r->root);
		return NULL;
	}
	return r->root;
}

/* They hold much of the text. */
static void
wipe_buffers(yaml_parser_t *p)
{
	explicit_bzero(p->raw_buffer.start, (size_t)(p->raw_buffer.end - p->raw_buffer.start));
	explicit_bzero(p->buffer.start, (size_t)(p->buffer.end - p->buffer.start));
}

/* The tree as far as the text has one: a duplicate key or an anchor is a fault, but the rest can be read. */
static json_t *
parse_lenient(const char *text, size_t len, size_t limit, struct source **src, struct faults *f)
{
	struct reading r = {.faults = f};
	json_t *tree = NULL;

	*src = NULL;
	if (!check_text(text, len, limit, f))
		return NULL;
	r.src = source_new();
	r.skipped = json_array();
	if (r.src == NULL || r.skipped == NULL || !yaml_parser_initialize(&r.parser)) {
		json_decref(r.skipped);
		faults_add(f, 0, 0, "", "out of memory");
	} else {
		tree = read_text(&r, text, len);
		wipe_buffers(&r.parser);
		yaml_parser_delete(&r.parser);
	}
	if (tree == NULL)
		source_free(r.src);
	else
		*src = r.src;
	return tree;
}

static size_t
fault_count(const struct faults *f)
{
	return f->n + f->dropped;
}

static json_t *
parse(const char *text, size_t len, size_t limit, struct source **src, struct faults *faults)
{
	size_t before = fault_count(faults);
	json_t *tree = parse_lenient(text, len, limit, src, faults);

	if (tree != NULL && fault_count(faults) != before) {
		source_free(*src);
		*src = NULL;
		json_decref(tree);
		tree = NULL;
	}
	return tree;
}

json_t *
yaml_parse(const char *text, size_t len, struct source **src, struct faults *faults)
{
	return parse(text, len, 1, src, faults);
}

/* Up to one byte more than allowed, so that the fault is found where all others are. */
static char *
read_file(const char *file, size_t limit, size_t *len, struct faults *faults)
{
	FILE *in = fopen(file, "re");
	char *text = in != NULL ? malloc(limit * MIB + 1) : NULL;

	if (text != NULL) {
		setvbuf(in, NULL, _IONBF, 0); /* no copy of it */
		*len = fread(text, 1, limit * MIB + 1, in);
		if (ferror(in)) {
			secret_wipe_free(text, *len);
			text = NULL;
		}
	}
	if (text == NULL)
		faults_add(faults, 0, 0, "", "cannot be read: %s", strerror(errno));
	if (in != NULL)
		fclose(in);
	return text;
}

json_t *
yaml_parse_long_file(const char *file, size_t limit, struct source **src, struct faults *faults)
{
	json_t *tree = NULL;
	size_t len = 0;
	char *text = read_file(file, limit, &len, faults);

	*src = NULL;
	if (text != NULL)
		tree = parse(text, len, limit, src, faults);
	secret_wipe_free(text, len);
	return tree;
}

json_t *
yaml_parse_file(const char *file, struct source **src, struct faults *faults)
{
	return yaml_parse_long_file(file, 1, src, faults);
}

int
yaml_load(const struct kind *k, const char *file, void *obj,
	void (*check)(const void *obj, const json_t *tree, const struct source *src, struct faults *f),
	struct faults *f)
{
	size_t before = fault_count(f);
	struct source *src = NULL;
	json_t *tree = NULL;
	size_t len = 0;
	char *text = read_file(file, 1, &len, f);

	secret_json_begin();
	memset(obj, 0, k->size);
	if (text != NULL)
		tree = parse_lenient(text, len, 1, &src, f);
	secret_wipe_free(text, len);
	if (tree != NULL) {
		kind_read_partial(k, tree, src, obj, f);
		if (check != NULL)
			check(obj, tree, src, f);
	}
	source_free(src);
	json_decref(tree);
	secret_json_end();
	if (fault_count(f) == before)
		return 0;
	kind_fini(k, obj);
	faults_sort(f);
	return -EINVAL;
}

/* ---- writing ---- */

/* Would another YAML reader take this plain word for something that is no text? */
static bool
needs_quotes(const char *s)
{
	static const char *const words[] = {
		"null", "~", "true", "false", "yes", "no", "on", "off", "y", "n", "<<"};
	char *end;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcasecmp(s, words[i]) == 0)
			return true;
	if (*s == '\0' || strspn(s, "0123456789:_") == strlen(s))
		return true;
	strtod(s, &end);
	return *end == '\0';
}

static int
emit_text(yaml_emitter_t *em, const char *s, bool quoted)
{
	yaml_event_t ev;

	return yaml_scalar_event_initialize(&ev, NULL, NULL, (const yaml_char_t *)s, (int)strlen(s), 1, 1,
		       quoted ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_PLAIN_SCALAR_STYLE) &&
	       yaml_emitter_emit(em, &ev);
}

static int
emit_scalar(yaml_emitter_t *em, const json_t *v)
{
	char number[64];

	switch (json_typeof(v)) {
	case JSON_STRING:
		return emit_text(em, json_string_value(v), needs_quotes(json_string_value(v)));
	case JSON_INTEGER:
		snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		return emit_text(em, number, false);
	case JSON_REAL:
		snprintf(number, sizeof(number), "%.17g", json_real_value(v));
		return emit_text(em, number, false);
	case JSON_TRUE:
		return emit_text(em, "on", false);
	case JSON_FALSE:
		return emit_text(em, "off", false);
	default:
		return emit_text(em, "null", false);
	}
}

static int emit_value(yaml_emitter_t *em, const json_t *v);

static int
emit_list(yaml_emitter_t *em, const json_t *v)
{
	yaml_event_t ev;
	size_t i;
	json_t *item;

	if (!yaml_sequence_start_event_initialize(&ev, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE) ||
		!yaml_emitter_emit(em, &ev))
		return 0;
	json_array_foreach(v, i, item) if (!emit_value(em, item)) return 0;
	return yaml_sequence_end_event_initialize(&ev) && yaml_emitter_emit(em, &ev);
}

static int
emit_mapping(yaml_emitter_t *em, const json_t *v)
{
	const char *key;
	json_t *value;
	yaml_event_t ev;

	if (!yaml_mapping_start_event_initialize(&ev, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE) ||
		!yaml_emitter_emit(em, &ev))
		return 0;
	json_object_foreach((json_t *)(uintptr_t)v, key,
		value) if (!emit_text(em, key, needs_quotes(key)) || !emit_value(em, value)) return 0;
	return yaml_mapping_end_event_initialize(&ev) && yaml_emitter_emit(em, &ev);
}

static int
emit_value(yaml_emitter_t *em, const json_t *v)
{
	if (json_is_array(v))
		return emit_list(em, v);
	return json_is_object(v) ? emit_mapping(em, v) : emit_scalar(em, v);
}

static int
emit_document(yaml_emitter_t *em, const json_t *tree)
{
	yaml_event_t ev;

	return yaml_stream_start_event_initialize(&ev, YAML_UTF8_ENCODING) && yaml_emitter_emit(em, &ev) &&
	       yaml_document_start_event_initialize(&ev, NULL, NULL, NULL, 1) && yaml_emitter_emit(em, &ev) &&
	       emit_value(em, tree) && yaml_document_end_event_initialize(&ev, 1) &&
	       yaml_emitter_emit(em, &ev) && yaml_stream_end_event_initialize(&ev) &&
	       yaml_emitter_emit(em, &ev) && yaml_emitter_flush(em);
}

static int
write_file(void *out, unsigned char *p, size_t n)
{
	return fwrite(p, 1, n, out) == n;
}

char *
yaml_format(const json_t *tree)
{
	yaml_emitter_t em;
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int ok = 0;

	if (out == NULL)
		return NULL;
	if (yaml_emitter_initialize(&em)) {
		yaml_emitter_set_output(&em, write_file, out);
		yaml_emitter_set_width(&em, -1);
		yaml_emitter_set_unicode(&em, 1);
		ok = emit_document(&em, tree);
		yaml_emitter_delete(&em);
	}
	if (fclose(out) != 0 || !ok) {
		free(text);
		return NULL;
	}
	return text;
}
