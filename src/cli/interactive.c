/* SPDX-License-Identifier: BSD-3-Clause */
#include "interactive.h"
#include "wait.h"

#include <errno.h>
#include <histedit.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#define HISTORY_LINES 1000

struct shell {
	struct session *session;
	EditLine *el;
	History *history;
	char prompt[48];
	char file[512]; /* of the history; "" = none */
};

static bool
is_exit(const char *const *words, size_t n)
{
	return n == 1 && (strcmp(words[0], "exit") == 0 || strcmp(words[0], "quit") == 0);
}

/* Splits a line as a shell does, quotes too. -1: a quote is open. The words live as long as the tokenizer. */
static int
split(Tokenizer *tok, const char *line, const char *const **words)
{
	const char **argv;
	int argc;

	tok_reset(tok);
	if (tok_str(tok, line, &argc, &argv) != 0)
		return -1;
	*words = (const char *const *)argv;
	return argc;
}

/* ---- completion ---- */

/* The words before the cursor, and the one it stands in. */
static bool
split_at_cursor(EditLine *el, Tokenizer *tok, const char *const **words, size_t *n, const char **partial)
{
	const LineInfo *li = el_line(el);
	size_t len = (size_t)(li->cursor - li->buffer);
	char *text = strndup(li->buffer, len);
	int argc = text != NULL ? split(tok, text, words) : -1;
	bool inside = len > 0 && text != NULL && text[len - 1] != ' ';

	free(text);
	if (argc < 0)
		return false;
	*n = (size_t)argc - (inside && argc > 0);
	*partial = inside && argc > 0 ? (*words)[argc - 1] : "";
	return true;
}

static size_t
common_length(const struct choices *c)
{
	size_t n = strlen(c->items[0].word);

	for (size_t i = 0; i < c->n; i++) {
		size_t same = 0;

		if (!c->items[i].literal)
			return 0;
		while (same < n && c->items[i].word[same] == c->items[0].word[same])
			same++;
		n = same;
	}
	return n;
}

static unsigned char
insert_rest(EditLine *el, const struct choices *c, size_t have, size_t common)
{
	char rest[80];

	snprintf(rest, sizeof(rest), "%.*s%s", (int)(common - have), c->items[0].word + have,
		c->n == 1 ? " " : "");
	return rest[0] != '\0' && el_insertstr(el, rest) == 0 ? CC_REFRESH : CC_REFRESH_BEEP;
}

static unsigned char
list_choices(const struct shell *sh, const struct choices *c)
{
	fputc('\n', sh->session->out);
	if (c->n == 0)
		fputs("  nothing fits here\n", sh->session->out);
	choices_print(c, sh->session->out);
	fflush(sh->session->out);
	return CC_REDISPLAY;
}

static unsigned char
complete(const struct shell *sh, bool help)
{
	struct choices *c = calloc(1, sizeof(*c));
	Tokenizer *tok = tok_init(NULL);
	const char *const *words;
	const char *partial;
	unsigned char rc = CC_REFRESH_BEEP;
	size_t n;

	if (c != NULL && tok != NULL && split_at_cursor(sh->el, tok, &words, &n, &partial)) {
		size_t common;

		grammar_choices(words, n, partial, c);
		common = c->n > 0 ? common_length(c) : 0;
		if (help || (c->n > 0 && common <= strlen(partial) && c->n != 1))
			rc = list_choices(sh, c);
		else if (c->n > 0 && common >= strlen(partial) && c->items[0].literal)
			rc = insert_rest(sh->el, c, strlen(partial), common);
		else if (c->n > 0)
			rc = list_choices(sh, c);
	}
	tok_end(tok);
	free(c);
	return rc;
}

static struct shell *
shell_of(EditLine *el)
{
	void *sh = NULL;

	el_get(el, EL_CLIENTDATA, &sh);
	return sh;
}

static unsigned char
on_tab(EditLine *el, int key)
{
	(void)key;
	return complete(shell_of(el), false);
}

static unsigned char
on_question_mark(EditLine *el, int key)
{
	(void)key;
	return complete(shell_of(el), true);
}

static const char *
prompt(EditLine *el)
{
	return shell_of(el)->prompt;
}

/* ---- history ---- */

static void
history_open(struct shell *sh)
{
	const char *home = getenv("HOME");
	HistEvent ev;

	history(sh->history, &ev, H_SETSIZE, HISTORY_LINES);
	history(sh->history, &ev, H_SETUNIQUE, 1);
	if (home == NULL ||
		(size_t)snprintf(sh->file, sizeof(sh->file), "%s/.nearway_history", home) >= sizeof(sh->file))
		sh->file[0] = '\0';
	else
		history(sh->history, &ev, H_LOAD, sh->file);
}

static void
history_add(struct shell *sh, const char *line)
{
	HistEvent ev;

	history(sh->history, &ev, H_ENTER, line);
	if (sh->file[0] != '\0')
		history(sh->history, &ev, H_SAVE, sh->file);
}

/* ---- the loop ---- */

/* One character of the terminal; 0 at its end; -1 with EINTR for Ctrl-C. Bytes that are no character are skipped.
 * The terminal is told not to empty its queue at Ctrl-C (shell_open): it would do so between the wait and the read,
 * and the read would block. What was typed before is dropped here. */
static int
read_key(EditLine *el, wchar_t *key)
{
	mbstate_t state = {0};
	size_t length;
	char byte;

	do {
		ssize_t n;

		if (wait_for(STDIN_FILENO, POLLIN, shell_of(el)->session->client.interrupt, -1) < 0) {
			tcflush(STDIN_FILENO, TCIFLUSH);
			errno = EINTR;
			return -1;
		}
		n = read(STDIN_FILENO, &byte, 1);
		if (n <= 0)
			return (int)n;
		length = mbrtowc(key, &byte, 1, &state);
		if (length == (size_t)-1)
			state = (mbstate_t){0};
	} while (length > 1); /* -2: it has more bytes */
	return 1;
}

static bool
shell_open(struct shell *sh)
{
	sh->el = el_init("nearway", stdin, sh->session->out, sh->session->err);
	sh->history = history_init();
	if (sh->el == NULL || sh->history == NULL)
		return false;
	history_open(sh);
	el_set(sh->el, EL_CLIENTDATA, sh);
	el_set(sh->el, EL_GETCFN, read_key);
	el_set(sh->el, EL_PROMPT, prompt);
	el_set(sh->el, EL_EDITOR, "emacs");
	el_set(sh->el, EL_HIST, history, sh->history);
	el_set(sh->el, EL_ADDFN, "nearway-complete", "complete a word", on_tab);
	el_set(sh->el, EL_ADDFN, "nearway-help", "say what may follow", on_question_mark);
	el_set(sh->el, EL_BIND, "^I", "nearway-complete", NULL);
	el_set(sh->el, EL_BIND, "?", "nearway-help", NULL);
	el_set(sh->el, EL_SETTY, "-d", "+noflsh", NULL);
	el_source(sh->el, NULL);
	return true;
}

static void
shell_close(struct shell *sh)
{
	if (sh->el != NULL)
		el_end(sh->el);
	if (sh->history != NULL)
		history_end(sh->history);
}

/* False: leave. */
static bool
run_line(struct session *s, Tokenizer *tok, const char *line, int *rc)
{
	const char *const *words;
	int n = split(tok, line, &words);

	*rc = DONE;
	if (n < 0) {
		fputs("nearway: a quote is not closed\n", s->err);
		*rc = USAGE;
		return true;
	}
	if (n == 0 || words[0][0] == '#')
		return true;
	if (is_exit(words, (size_t)n))
		return false;
	*rc = session_run(s, words, (size_t)n);
	return true;
}

static int
shell_loop(struct shell *sh)
{
	Tokenizer *tok = tok_init(NULL);
	bool go_on = true;
	int rc;

	while (go_on) {
		int n = 0;
		const char *line;

		errno = 0;
		line = el_gets(sh->el, &n);
		if (line == NULL && errno == EINTR) {
			fputc('\n', sh->session->out);
			el_reset(sh->el);
			continue;
		}
		if (line == NULL || n <= 0)
			break;
		if (line[strspn(line, " \t\r\n")] != '\0')
			history_add(sh, line);
		go_on = run_line(sh->session, tok, line, &rc);
		fflush(sh->session->out);
	}
	tok_end(tok);
	return DONE;
}

int
interactive_run(struct session *s)
{
	struct shell sh = {.session = s};
	char name[40];
	struct err e;
	int rc = NO_ROUTER;

	if (!session_name(s, name, sizeof(name), &e)) {
		fprintf(s->err, "nearway: %s\n", e.text);
		return NO_ROUTER;
	}
	snprintf(sh.prompt, sizeof(sh.prompt), "%s> ", name);
	s->client.interrupt = wait_open_interrupt();
	fputs("? says what may follow, Tab completes, exit leaves.\n", s->out);
	if (shell_open(&sh))
		rc = shell_loop(&sh);
	shell_close(&sh);
	return rc;
}

int
lines_run(struct session *s, FILE *in)
{
	Tokenizer *tok = tok_init(NULL);
	char *line = NULL;
	size_t size = 0;
	int number = 0;
	int rc = DONE;

	while (rc == DONE && getline(&line, &size, in) >= 0) {
		number++;
		if (!run_line(s, tok, line, &rc))
			break;
	}
	if (rc != DONE)
		fprintf(s->err, "nearway: stopped at line %d\n", number);
	tok_end(tok);
	free(line);
	return rc;
}
