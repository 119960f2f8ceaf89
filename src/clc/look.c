/* SPDX-License-Identifier: BSD-3-Clause */
#include "look.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE	 1000
#define VIEW_MAX 1000000 /* as many as a router's limits.vms may be */

int
vm_from_json(const json_t *v, struct vm *vm)
{
	json_t *known = json_object();
	struct faults f;
	int rc;

	/* A newer router may show more than we know. */
	for (const struct field *field = kind_vm.fields; field->name != NULL; field++)
		json_object_set(known, field->name, json_object_get(v, field->name));
	*vm = (struct vm){0};
	faults_init(&f);
	rc = kind_read(&kind_vm, known, NULL, vm, &f);
	faults_fini(&f);
	json_decref(known);
	return rc;
}

static int
add_sight(struct sight **view, const json_t *row)
{
	struct sight *s = calloc(1, sizeof(*s)), *old;
	char mac[MAC_TEXT];

	if (s == NULL || vm_from_json(row, &s->vm) != 0) {
		free(s);
		return -EINVAL;
	}
	snprintf(s->id, sizeof(s->id), "%s/%s", s->vm.segment, mac_format(&s->vm.mac, mac));
	HASH_REPLACE_STR(*view, id, s, old);
	if (old != NULL) { /* changed between two pages */
		kind_fini(&kind_vm, &old->vm);
		free(old);
	}
	return 0;
}

static int
add_page(struct sight **view, const json_t *page)
{
	json_t *row;
	size_t i;

	if (!json_is_array(json_object_get(page, "rows")))
		return -EINVAL;
	json_array_foreach(
		json_object_get(page, "rows"), i, row) if (add_sight(view, row) != 0) return -EINVAL;
	return 0;
}

int
view_get(struct links *l, const char *router, struct sight **view, struct err *e)
{
	char cursor[64] = "";
	json_t *page = NULL;
	size_t n;
	int rc = 0;

	*view = NULL;
	do {
		json_t *params = json_pack("{s:i}", "limit", PAGE);

		if (cursor[0] != '\0')
			json_object_set_new(params, "cursor", json_string(cursor));
		n = HASH_COUNT(*view);
		rc = link_call(l, router, "show.vms", params, &page, e);
		if (rc == 0 && add_page(view, page) != 0)
			rc = err_set(e, EPROTO,
				"router %s shows VMs in a form that this program does not know", router);
		snprintf(cursor, sizeof(cursor), "%s",
			json_is_string(json_object_get(page, "next"))
				? json_string_value(json_object_get(page, "next"))
				: "");
		json_decref(page);
		page = NULL;
		if (rc == 0 && cursor[0] != '\0' && (HASH_COUNT(*view) == n || HASH_COUNT(*view) > VIEW_MAX))
			rc = err_set(e, EPROTO, "router %s shows its VMs without an end", router);
	} while (rc == 0 && cursor[0] != '\0');
	if (rc != 0)
		view_free(view);
	return rc;
}

void
view_free(struct sight **view)
{
	struct sight *s, *next;

	HASH_ITER (hh, *view, s, next) {
		HASH_DEL(*view, s);
		kind_fini(&kind_vm, &s->vm);
		free(s);
	}
}

const struct vm *
view_find(const struct sight *view, const char *id)
{
	struct sight *s;

	HASH_FIND_STR(view, id, s);
	return s != NULL ? &s->vm : NULL;
}
