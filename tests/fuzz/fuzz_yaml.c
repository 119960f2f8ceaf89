/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_yaml.c - configuration files: of a router, and the inventory of nearway-clc. Every fault has a place in the text; what is
 * taken is the same when it is written down and read again.
 */
#include "oracle.h"
#include "target.h"

#include <api/kinds.h>
#include <api/yaml.h>
#include <clc/inventory.h>
#include <mutate.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int fd;
static char file[40];

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	fd = memfd_create("fuzz.yaml", 0);
	snprintf(file, sizeof(file), "/proc/self/fd/%d", fd);
	return 0;
}

/* Words and marks of YAML go in, pieces of the text are repeated, swapped and cut out. */
size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	mutate_seed = UINT64_C(0x9e3779b97f4a7c15) * (seed + UINT64_C(1)) | 1;
	return mutate_random(2) && size > 0 ? mutate_text((char *)data, size, max_size)
					    : LLVMFuzzerMutate(data, size, max_size);
}

static void
write_file(const void *text, size_t n)
{
	if (ftruncate(fd, 0) != 0 || pwrite(fd, text, n, 0) != (ssize_t)n)
		finding("the file cannot be written");
}

static int
lines_of(const uint8_t *data, size_t size)
{
	int n = 2; /* what is missing is missed behind the last */

	for (size_t i = 0; i < size; i++)
		n += data[i] == '\n' || data[i] == '\r' || data[i] == 0x85 || data[i] == 0xa8 ||
		     data[i] == 0xa9;
	return n;
}

static void
check_faults(const struct faults *f, int lines)
{
	if (f->n == 0)
		finding("it is refused without a reason");
	for (size_t i = 0; i < f->n; i++)
		if (f->items[i].text[0] == '\0' || f->items[i].line < 0 || f->items[i].line > lines)
			finding("a fault without a text, or in line %d of %d", f->items[i].line, lines);
}

static void
check_same_when_read_again(const struct kind *k, const void *obj, void *again)
{
	json_t *tree = kind_write_text(k, obj);
	char *text = yaml_format(tree);
	struct faults f;

	faults_init(&f);
	write_file(text, strlen(text));
	if (yaml_load(k, file, again, NULL, &f) != 0)
		finding("%s, written down, is refused: %s\n%s", k->name, f.items[0].text, text);
	if (!kind_equal(k, obj, again))
		finding("%s, written down and read again, is another:\n%s", k->name, text);
	kind_fini(k, again);
	faults_fini(&f);
	json_decref(tree);
	free(text);
}

static void
router_file(int lines)
{
	struct config c, again;
	struct faults f;

	faults_init(&f);
	if (config_load(file, &c, &f) != 0)
		check_faults(&f, lines);
	else
		check_same_when_read_again(&kind_config, &c, &again);
	kind_fini(&kind_config, &c);
	faults_fini(&f);
}

static void
inventory_file(int lines)
{
	struct inventory inv, again;
	struct faults f;

	faults_init(&f);
	if (inventory_load(file, &inv, &f) != 0)
		check_faults(&f, lines);
	else
		check_same_when_read_again(&kind_inventory, &inv, &again);
	inventory_free(&inv);
	faults_fini(&f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t base = memory_held();
	int lines = lines_of(data, size);

	write_file(data, size);
	router_file(lines);
	write_file(data, size);
	inventory_file(lines);
	memory_check(base, 0, "what has been given back");
	return 0;
}
