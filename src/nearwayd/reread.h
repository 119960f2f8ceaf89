/* SPDX-License-Identifier: BSD-3-Clause */
/* reread.h - the configuration file, read again while the router runs: the daemon's side of env.config_*. */
#pragma once

#include <api/kinds.h>
#include <env/env.h>

struct dp;
struct topology;

struct reread { /* what waits for publish or abort */
	struct config next;
	struct topology *topo;
};

/* The private key of the key file, which nobody else may have. */
int own_key_load(const struct config *c, uint8_t private_key[KEY_LEN], struct err *e);

/* Says so when the file has a psk and others than its owner can read it. */
void warn_of_readers(const char *file, const struct config *c);

/* 0, or -errno with the first fault in `e` and all of them in the log. */
int reread_start(struct reread *r, const char *file, const struct config *running, const struct dp *dp,
	struct env_config *out, struct err *e);
/* `running` has the new content, workers the new topology. */
void reread_publish(struct reread *r, struct config *running, struct dp *dp);
void reread_abort(struct reread *r);
