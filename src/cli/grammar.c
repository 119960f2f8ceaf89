/* SPDX-License-Identifier: BSD-3-Clause */
#include "grammar.h"
#include "value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* "vm.move": group "vm", verb "move". */
static size_t
group_len(const struct method *m)
{
	return strcspn(m->name, ".");
}

static const char *
verb_of(const struct method *m)
{
	const char *dot = strchr(m->name, '.');

	return dot != NULL ? dot + 1 : "";
}

static bool
takes_file(const struct method *m)
{
	return strcmp(m->name, "capture") == 0 || strcmp(m->name, "state.import") == 0;
}

static const char *
file_help(const struct method *m)
{
	return strcmp(m->name, "capture") == 0
		       ? "the file to write, in the pcapng format; - is the standard output"
		       : "the file to read, in the YAML of state export";
}

/* Words before the parameters. */
static size_t
head_words(const struct method *m)
{
	return (strchr(m->name, '.') != NULL ? 2 : 1) + (takes_file(m) ? 1 : 0);
}

static bool
same_group(const struct method *a, const struct method *b)
{
	return group_len(a) == group_len(b) && strncmp(a->name, b->name, group_len(a)) == 0;
}

static bool
first_of_group(const struct method *m)
{
	return m == commands || !same_group(m, m - 1);
}

static bool
begins(const char *word, size_t len, const char *partial)
{
	size_t n = strlen(partial);

	return n <= len && strncmp(word, partial, n) == 0;
}

/* ---- resolving words: exact, or a clear beginning ---- */

struct match {
	const void *found;
	size_t n;	 /* how many fit */
	char names[160]; /* of those */
	char all[320];	 /* of everything that was tried */
};

static void
append_word(char *list, size_t size, const char *word, size_t len)
{
	size_t used = strlen(list);

	snprintf(list + used, size - used, "%s%.*s", used > 0 ? ", " : "", (int)len, word);
}

/* True when it is exact: the search is over. */
static bool
match_try(struct match *m, const void *what, const char *word, size_t len, const char *given)
{
	append_word(m->all, sizeof(m->all), word, len);
	if (!begins(word, len, given))
		return false;
	if (strlen(given) == len) {
		m->found = what;
		m->n = 1;
		return true;
	}
	append_word(m->names, sizeof(m->names), word, len);
	m->found = what;
	m->n++;
	return false;
}

static const void *
match_result(const struct match *m, const char *what, const char *given, struct faults *f)
{
	if (m->n == 1)
		return m->found;
	if (m->n == 0)
		faults_add(f, 0, 0, "", "unknown %s \"%.60s\"; one of: %s", what, given,
			m->all[0] != '\0' ? m->all : "none");
	else
		faults_add(f, 0, 0, "", "\"%.60s\" may be %s; say which", given, m->names);
	return NULL;
}

static const struct method *
find_group(const char *given, struct faults *f)
{
	struct match m = {0};

	for (const struct method *x = commands; x->name != NULL; x++)
		if (first_of_group(x) && match_try(&m, x, x->name, group_len(x), given))
			break;
	return match_result(&m, "command", given, f);
}

static const struct method *
find_verb(const struct method *group, const char *given, struct faults *f)
{
	struct match m = {0};

	for (const struct method *x = group; x->name != NULL && same_group(x, group); x++)
		if (match_try(&m, x, verb_of(x), strlen(verb_of(x)), given))
			break;
	return match_result(&m, "command", given, f);
}

static const struct field *
find_field(const struct kind *k, const char *given, struct faults *f)
{
	struct match m = {0};

	for (const struct field *x = k->fields; x->name != NULL; x++)
		if (match_try(&m, x, x->name, strlen(x->name), given))
			break;
	return match_result(&m, "parameter", given, f);
}

/* ---- parsing ---- */

static const struct method *
parse_method(const char *const *words, size_t n, struct faults *f)
{
	const struct method *m = find_group(n > 0 ? words[0] : "?", f);

	return m == NULL || strchr(m->name, '.') == NULL ? m : find_verb(m, n > 1 ? words[1] : "?", f);
}

static void
parse_pair(const struct kind *k, const char *const *words, size_t n, json_t *tree, struct faults *f)
{
	const struct field *field = find_field(k, words[0], f);
	char text[480];
	json_t *value;

	if (field == NULL)
		return;
	if (n < 2) {
		faults_add(
			f, 0, 0, field->name, "needs a value: %s", field_describe(field, text, sizeof(text)));
		return;
	}
	if (json_object_get(tree, field->name) != NULL) {
		faults_add(f, 0, 0, field->name, "is given twice");
		return;
	}
	value = value_parse(field, words[1], f);
	if (value != NULL)
		json_object_set_new(tree, field->name, value);
}

/* Words are text like YAML's scalars; the object gives each its own JSON type. */
static json_t *
normalise(const struct kind *k, const json_t *tree, struct faults *f)
{
	struct source *src = source_new();
	void *obj = calloc(1, k->size + 1);
	json_t *params = NULL;

	if (src == NULL || obj == NULL)
		faults_add(f, 0, 0, "", "out of memory");
	else if (kind_read(k, tree, src, obj, f) == 0) {
		params = kind_write(k, obj);
		kind_fini(k, obj);
	}
	free(obj);
	source_free(src);
	return params;
}

int
grammar_parse(const char *const *words, size_t n, struct command *c, struct faults *f)
{
	json_t *tree = json_object();
	size_t before = f->n;

	*c = (struct command){.method = parse_method(words, n, f)};
	if (c->method != NULL) {
		size_t head = head_words(c->method);

		if (takes_file(c->method) && n < head)
			faults_add(f, 0, 0, "", "say %s", file_help(c->method));
		else if (takes_file(c->method))
			c->file = words[head - 1];
		for (size_t i = head; i < n; i += 2)
			parse_pair(c->method->params, words + i, n - i, tree, f);
		c->one_page =
			json_object_get(tree, "limit") != NULL || json_object_get(tree, "cursor") != NULL;
		if (f->n == before)
			c->params = normalise(c->method->params, tree, f);
	}
	json_decref(tree);
	return c->params != NULL ? 0 : -EINVAL;
}

void
command_fini(struct command *c)
{
	json_decref(c->params);
	*c = (struct command){0};
}

/* ---- what may follow ---- */

static struct choice *
choices_add(struct choices *c, const char *word, size_t len, const char *help)
{
	struct choice *x;

	if (c->n == sizeof(c->items) / sizeof(c->items[0]))
		return NULL;
	x = &c->items[c->n++];
	*x = (struct choice){.literal = true};
	snprintf(x->word, sizeof(x->word), "%.*s", (int)len, word);
	snprintf(x->help, sizeof(x->help), "%s", help);
	return x;
}

static void
choices_add_place(struct choices *c, const char *word, const char *help)
{
	struct choice *x = choices_add(c, word, strlen(word), help);

	if (x != NULL)
		x->literal = false;
}

static void
choose_group(const char *partial, struct choices *out)
{
	for (const struct method *m = commands; m->name != NULL; m++) {
		char verbs[320] = "";
		size_t n = 0;

		if (!first_of_group(m) || !begins(m->name, group_len(m), partial))
			continue;
		if (strchr(m->name, '.') == NULL) {
			choices_add(out, m->name, group_len(m), m->help);
			continue;
		}
		for (const struct method *v = m; v->name != NULL && same_group(v, m) && n < sizeof(verbs);
			v++)
			n += (size_t)snprintf(
				verbs + n, sizeof(verbs) - n, "%s%s", n > 0 ? ", " : "", verb_of(v));
		choices_add(out, m->name, group_len(m), verbs);
	}
}

static void
choose_verb(const struct method *group, const char *partial, struct choices *out)
{
	for (const struct method *m = group; m->name != NULL && same_group(m, group); m++)
		if (begins(verb_of(m), strlen(verb_of(m)), partial))
			choices_add(out, verb_of(m), strlen(verb_of(m)), m->help);
}

/* The word after `n` of the head. */
static void
choose_head(const struct method *m, size_t n, const char *partial, struct choices *out)
{
	if (n == 1 && strchr(m->name, '.') != NULL)
		choose_verb(m, partial, out);
	else
		choices_add_place(out, "<FILE>", file_help(m));
}

static bool
is_used(const struct kind *k, const char *const *words, size_t n, const struct field *f)
{
	struct faults ignored;
	bool used = false;

	faults_init(&ignored);
	for (size_t i = 0; i < n; i += 2)
		used = used || find_field(k, words[i], &ignored) == f;
	faults_fini(&ignored);
	return used;
}

static const char *
describe(const struct field *f, char *text, size_t size)
{
	char form[128];

	if (f->type != F_LIST)
		return field_describe(f, text, size);
	if (value_list_form(f->kind, form, sizeof(form)) == NULL)
		snprintf(form, sizeof(form), "JSON or @FILE");
	snprintf(text, size, "%s: %s; %s", f->help, form,
		(f->flags & FIELD_REQUIRED) != 0 ? "required" : "optional");
	return text;
}

static void
choose_field(
	const struct kind *k, const char *const *words, size_t n, const char *partial, struct choices *out)
{
	bool complete = true;

	for (const struct field *f = k->fields; f->name != NULL; f++) {
		char text[480];
		struct choice *x;

		if (is_used(k, words, n, f))
			continue;
		complete = complete && (f->flags & FIELD_REQUIRED) == 0;
		if (!begins(f->name, strlen(f->name), partial))
			continue;
		x = choices_add(out, f->name, strlen(f->name), describe(f, text, sizeof(text)));
		if (x != NULL)
			x->needed = (f->flags & FIELD_REQUIRED) != 0;
	}
	if (complete && *partial == '\0')
		choices_add_place(out, "<enter>", "do it");
}

static void
choose_value(const struct field *f, const char *partial, struct choices *out)
{
	static const char *const truth[] = {"on", "off", NULL};
	const char *const *words = f->type == F_BOOL ? truth : f->type == F_ENUM ? f->words : NULL;
	char form[128], allows[240];

	for (; words != NULL && *words != NULL; words++)
		if (begins(*words, strlen(*words), partial))
			choices_add(out, *words, strlen(*words), f->help);
	if (f->type == F_BOOL || f->type == F_ENUM)
		return;
	if (f->type == F_LIST && value_list_form(f->kind, form, sizeof(form)) != NULL)
		choices_add_place(out, form, f->help);
	else if (f->type == F_LIST || f->type == F_JSON || f->type == F_OBJECT)
		choices_add_place(out, "<JSON or @FILE>", f->help);
	else
		choices_add_place(out, "<value>", field_allows(f, allows, sizeof(allows)));
}

void
grammar_choices(const char *const *words, size_t n, const char *partial, struct choices *out)
{
	const struct method *m = NULL;
	const struct field *field;
	struct faults ignored;

	out->n = 0;
	faults_init(&ignored);
	if (n == 0) {
		choose_group(partial, out);
	} else if ((m = find_group(words[0], &ignored)) != NULL && n == 1 && head_words(m) > 1) {
		choose_head(m, n, partial, out);
	} else if (m != NULL && (m = parse_method(words, n, &ignored)) != NULL) {
		size_t head = head_words(m);

		if (n < head)
			choose_head(m, n, partial, out);
		else if ((n - head) % 2 == 0)
			choose_field(m->params, words + head, n - head, partial, out);
		else if ((field = find_field(m->params, words[n - 1], &ignored)) != NULL)
			choose_value(field, partial, out);
	}
	faults_fini(&ignored);
}

void
choices_print(const struct choices *c, FILE *out)
{
	int width = 0;

	for (size_t i = 0; i < c->n; i++)
		if (width < (int)strlen(c->items[i].word))
			width = (int)strlen(c->items[i].word);
	for (size_t i = 0; i < c->n; i++)
		fprintf(out, "  %-*s  %s\n", width, c->items[i].word, c->items[i].help);
}
