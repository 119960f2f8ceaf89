/* SPDX-License-Identifier: BSD-3-Clause */
#include "reread.h"

#include "check.h"
#include "dp.h"

#include <common/log.h>
#include <errno.h>
#include <net/keys.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int
own_key_load(const struct config *c, uint8_t private_key[KEY_LEN], struct err *e)
{
	uint8_t public_key[KEY_LEN];
	int rc = key_load(c->control.key_file, private_key, e);

	if (rc != 0)
		return rc;
	key_public(private_key, public_key);
	rc = config_check_own_key(c, public_key, e);
	if (rc != 0)
		sodium_memzero(private_key, KEY_LEN);
	return rc;
}

static bool
any_psk(const struct config *c)
{
	const struct list *lists[] = {&c->control.controllers, &c->control.observers};

	for (size_t i = 0; i < c->peers.n; i++)
		if (!sodium_is_zero(list_at(c->peers, struct conf_peer, i)->psk, KEY_LEN))
			return true;
	for (int k = 0; k < 2; k++)
		for (size_t i = 0; i < lists[k]->n; i++)
			if (!sodium_is_zero(list_at(*lists[k], struct conf_controller, i)->psk, KEY_LEN))
				return true;
	return false;
}

void
warn_of_readers(const char *file, const struct config *c)
{
	struct stat st;

	if (any_psk(c) && stat(file, &st) == 0 && (st.st_mode & 077) != 0)
		log_warn("%s: has a psk and mode %04o: others may read it; chmod 600 it", file,
			st.st_mode & 07777);
}

static int
refused(const char *file, const struct faults *f, struct err *e)
{
	const struct fault *first = &f->items[0];

	for (size_t i = 0; i < f->n; i++)
		log_error("%s:%d:%d: %s: %s", file, f->items[i].line, f->items[i].column, f->items[i].path,
			f->items[i].text);
	err_set(e, EINVAL, "%s:%d:%d: %s%s%s", file, first->line, first->column, first->path,
		first->path[0] != '\0' ? ": " : "", first->text);
	if (f->n + f->dropped > 1)
		snprintf(e->text + strlen(e->text), sizeof(e->text) - strlen(e->text),
			" (and %zu more faults, see the log)", f->n + f->dropped - 1);
	return -EINVAL;
}

/* Every fault of the file, or every key that needs a restart. */
static int
read_file(struct reread *r, const char *file, const struct config *running, json_t *changed, struct err *e)
{
	struct faults f;
	int rc;

	faults_init(&f);
	rc = config_load(file, &r->next, &f);
	if (rc == 0 && config_follow(running, &r->next, changed, &f) != 0) {
		rc = -EINVAL;
		check_locate(file, &f);
	}
	if (rc != 0)
		rc = refused(file, &f, e);
	faults_fini(&f);
	return rc;
}

int
reread_start(struct reread *r, const char *file, const struct config *running, const struct dp *dp,
	struct env_config *out, struct err *e)
{
	int rc;

	out->next = &r->next;
	out->changed = json_array();
	rc = read_file(r, file, running, out->changed, e);
	if (rc == 0)
		rc = own_key_load(&r->next, out->private_key, e);
	if (rc == 0 && (r->topo = dp_topology(dp, &r->next, e)) == NULL)
		rc = e->code;
	if (rc != 0)
		reread_abort(r);
	else
		warn_of_readers(file, &r->next);
	return rc;
}

void
reread_publish(struct reread *r, struct config *running, struct dp *dp)
{
	struct config old = *running;

	*running = r->next;
	r->next = old;
	dp_follow(dp, r->topo);
	r->topo = NULL;
	reread_abort(r); /* what was before */
}

void
reread_abort(struct reread *r)
{
	kind_fini(&kind_config, &r->next);
	free(r->topo);
	r->topo = NULL;
}
