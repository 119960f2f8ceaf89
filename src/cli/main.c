/* SPDX-License-Identifier: BSD-3-Clause */
/* nearway - the command line of a router. */
#include "interactive.h"

#include <api/kinds.h>
#include <getopt.h>
#include <locale.h>
#include <string.h>
#include <unistd.h>

/* Where nearwayd listens when its configuration does not say. */
static const char *
default_socket(void)
{
	return kind_field(kind_field(&kind_config, "control")->kind, "socket")->def;
}

static void
print_usage(FILE *out)
{
	fprintf(out,
		"usage: nearway [-s SOCKET] [--json] [COMMAND...]\n"
		"\n"
		"Without a command: interactive on a terminal, else commands from the standard input, one a "
		"line.\n"
		"\n"
		"  -s, --socket SOCKET  the router's control.socket (%s)\n"
		"      --json           print the router's answer as JSON\n"
		"  -V, --version        print the version\n"
		"  -h, --help           print this\n"
		"\n"
		"Commands (nearway help COMMAND tells more):\n",
		default_socket());
	session_help(NULL, 0, out);
	fputs("\nExit status: 0 done, 1 refused by the router, 2 not a command, 3 no connection.\n", out);
}

static const struct option options[] = {
	{"socket", required_argument, NULL, 's'},
	{"json", no_argument, NULL, 'j'},
	{"version", no_argument, NULL, 'V'},
	{"help", no_argument, NULL, 'h'},
	{0},
};

static int
run(struct session *s, char **words, int n)
{
	int rc;

	if (n > 0)
		rc = session_run(s, (const char *const *)words, (size_t)n);
	else if (isatty(STDIN_FILENO))
		rc = interactive_run(s);
	else
		rc = lines_run(s, stdin);
	client_close(&s->client);
	return rc;
}

int
main(int argc, char **argv)
{
	struct session s = {.client = {.fd = -1, .interrupt = -1},
		.socket = default_socket(),
		.out = stdout,
		.err = stderr};
	int option, rc;

	setlocale(LC_CTYPE, "");
	while ((option = getopt_long(argc, argv, "s:Vh", options, NULL)) != -1) {
		switch (option) {
		case 's':
			s.socket = optarg;
			break;
		case 'j':
			s.json = true;
			break;
		case 'V':
			puts("nearway " NEARWAY_VERSION);
			return DONE;
		case 'h':
			print_usage(stdout);
			return DONE;
		default:
			fputs("nearway --help tells more\n", stderr);
			return USAGE;
		}
	}
	rc = run(&s, argv + optind, argc - optind);
	if (fflush(stdout) != 0 && rc == DONE) {
		perror("nearway: standard output");
		rc = NO_ROUTER;
	}
	return rc;
}
