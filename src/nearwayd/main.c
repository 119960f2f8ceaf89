/* SPDX-License-Identifier: BSD-3-Clause */
/* main.c - the command line of nearwayd. */
#include "check.h"
#include "check_log.h"
#include "daemon.h"

#include <api/json_pool.h>
#include <api/secret.h>
#include <common/log.h>
#include <net/keys.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_CONFIG };

static const char help[] =
	"usage: nearwayd [-v] -c FILE   run the router that FILE describes\n"
	"       nearwayd --check FILE   read FILE, name every fault with line and column, print the plan\n"
	"       nearwayd --check-log FILE  verify the log of changes in the database FILE of a stopped "
	"router\n"
	"       nearwayd keygen FILE    write a new private key to FILE (mode 0600), print the public key\n"
	"       nearwayd pubkey FILE    print the public key of the private key in FILE\n"
	"       nearwayd --version      print the version\n"
	"       nearwayd --help         print this\n"
	"\n"
	"  -v   log more, DPDK's own lines too\n"
	"\n"
	"Exit status: 0 done or stopped by a signal, 1 failed, 2 wrong usage, 3 faults in FILE.\n";

static int
usage(void)
{
	fputs(help, stderr);
	return EXIT_USAGE;
}

static int
failed(const struct err *e)
{
	fprintf(stderr, "nearwayd: %s\n", e->text);
	return EXIT_FAILED;
}

static int
cmd_key(int (*get)(const char *file, uint8_t public_key[32], struct err *e), const char *file)
{
	uint8_t public_key[32];
	char text[KEY_TEXT];
	struct err e = {0};

	if (get(file, public_key, &e) != 0)
		return failed(&e);
	puts(key_format(public_key, text));
	return fflush(stdout) == 0 ? EXIT_OK : EXIT_FAILED;
}

static int
cmd_check(const char *file)
{
	struct config c;
	struct plan p;

	if (check_load(file, &c, &p) != 0)
		return EXIT_CONFIG;
	printf("%s: no faults\n", file);
	plan_print(&c, &p, stdout);
	kind_fini(&kind_config, &c);
	return EXIT_OK;
}

static int
cmd_run(const char *file, bool verbose)
{
	struct config c;
	struct plan p;
	int rc;

	if (check_load(file, &c, &p) != 0)
		return EXIT_CONFIG;
	if (verbose)
		log_set_level(LOG_DEBUG);
	rc = daemon_run(file, &c, &p, verbose);
	kind_fini(&kind_config, &c);
	return rc == 0 ? EXIT_OK : EXIT_FAILED;
}

int
main(int argc, char **argv)
{
	const char *file = NULL;
	bool verbose = false;
	struct err e = {0};

	if (secret_start() != 0) {
		fputs("nearwayd: libsodium does not start\n", stderr);
		return EXIT_FAILED;
	}
	json_pool_start();
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return puts("nearwayd " NEARWAY_VERSION) < 0 ? EXIT_FAILED : EXIT_OK;
	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return fputs(help, stdout) < 0 ? EXIT_FAILED : EXIT_OK;
	if (argc == 3 && strcmp(argv[1], "--check") == 0)
		return cmd_check(argv[2]);
	if (argc == 3 && strcmp(argv[1], "--check-log") == 0)
		return check_log(argv[2], &e) == 0 ? EXIT_OK : failed(&e);
	if (argc == 3 && strcmp(argv[1], "keygen") == 0)
		return cmd_key(key_make, argv[2]);
	if (argc == 3 && strcmp(argv[1], "pubkey") == 0)
		return cmd_key(key_load_public, argv[2]);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-v") == 0)
			verbose = true;
		else if (strcmp(argv[i], "-c") == 0 && i + 1 < argc)
			file = argv[++i];
		else
			return usage();
	}
	return file != NULL ? cmd_run(file, verbose) : usage();
}
