/* SPDX-License-Identifier: BSD-3-Clause */
#include "check.h"

#include <api/secret.h>
#include <api/yaml.h>
#include <errno.h>
#include <string.h>

/* The value at a path such as "ports[1].device"; the nearest one that exists. */
static const json_t *
walk(const json_t *v, const char *path)
{
	while (*path != '\0') {
		const json_t *inner;
		unsigned int index;
		char key[64];
		int n = 0;

		if (sscanf(path, "[%u]%n", &index, &n) == 1 && n > 0)
			inner = json_array_get(v, index);
		else if (sscanf(path, "%63[^.[]%n", key, &n) == 1 && n > 0)
			inner = json_object_get(v, key);
		else
			return v;
		if (inner == NULL)
			return v;
		v = inner;
		path += n;
		path += *path == '.';
	}
	return v;
}

void
check_locate(const char *file, struct faults *f)
{
	struct faults none;
	struct source *src = NULL;
	json_t *tree;

	faults_init(&none);
	secret_json_begin();
	tree = yaml_parse_file(file, &src, &none);
	for (size_t i = 0; i < f->n && tree != NULL; i++)
		source_find(src, walk(tree, f->items[i].path), &f->items[i].line, &f->items[i].column);
	if (tree != NULL)
		source_free(src);
	json_decref(tree);
	secret_json_end();
	faults_fini(&none);
}

int
check_load(const char *file, struct config *c, struct plan *p)
{
	struct faults f;
	int rc;

	faults_init(&f);
	rc = config_load(file, c, &f);
	if (rc == 0) {
		rc = plan_make(c, plan_free_hugepages_mb(), p, &f);
		if (rc != 0) {
			check_locate(file, &f);
			kind_fini(&kind_config, c);
		}
	}
	faults_print(&f, file, stderr);
	faults_fini(&f);
	return rc;
}
