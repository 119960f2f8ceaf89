/* SPDX-License-Identifier: BSD-3-Clause */
/* replay.c - a target's main where libFuzzer is not: runs inputs from files, once each. So every build compiles the targets and
 * every test run replays their seeds; a finding is run again by hand.
 *
 * usage: fuzz_TARGET FILE|FOLDER...
 */
#include "target.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX (1u << 20)

/* Nothing is mutated here. */
size_t
LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
{
	(void)data;
	(void)max_size;
	return size;
}

static unsigned int
run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = malloc(INPUT_MAX), *exact;
	size_t n;

	if (f == NULL || data == NULL) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(2);
	}
	n = fread(data, 1, INPUT_MAX, f);
	fclose(f);
	exact = malloc(n + (n == 0)); /* of its size, so that a sanitizer sees who reads behind it */
	memcpy(exact, data, n);
	free(data);
	LLVMFuzzerTestOneInput(exact, n);
	free(exact);
	return 1;
}

static unsigned int
run(const char *path)
{
	DIR *d = opendir(path);
	unsigned int n = 0;
	struct dirent *e;
	char file[4096];

	if (d == NULL)
		return run_file(path);
	while ((e = readdir(d)) != NULL) {
		snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
		if (e->d_name[0] != '.')
			n += run_file(file);
	}
	closedir(d);
	return n;
}

int
main(int argc, char **argv)
{
	unsigned int n = 0;

	if (argc < 2) {
		fprintf(stderr, "usage: %s FILE|FOLDER...\n", argv[0]);
		return 2;
	}
	LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++)
		n += run(argv[i]);
	printf("%u inputs\n", n);
	return n > 0 ? 0 : 1;
}
