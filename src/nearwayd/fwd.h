/* SPDX-License-Identifier: BSD-3-Clause */
/* fwd.h - the forwarding side of `struct env`: what the control core says becomes tables, what workers say becomes events.
 *
 * Here, and nowhere else, the control core's addresses (host order) and indices become the data plane's.
 */
#pragma once

#include <dataplane/worker.h>
#include <env/env.h>

struct dp;
struct fwd;

struct fwd *fwd_new(struct dp *dp);
void fwd_free(struct fwd *f); /* what waits for readers is retired without a word */

/* The operations of struct env_ops, on the object instead of the context. */
int fwd_prepare(struct fwd *f, const struct fwd_change *c, size_t n, struct fwd_txn **txn, struct err *e);
/* VMs are live at once; a route whose next hop has not answered yet takes the place of another up to 1 s later. */
void fwd_publish(struct fwd *f, struct fwd_txn *txn, void (*retired)(void *arg), void *arg);
void fwd_abort(struct fwd *f, struct fwd_txn *txn);
void fwd_announce(struct fwd *f, enum fwd_announce what, uint16_t segment, const struct mac *mac, ip4 ip);
void fwd_subscribe(struct fwd *f, void (*event)(void *arg, const struct fwd_event *ev), void *arg);

/* Retires what no reader can have any more; true when something still waits. Run by dp's grace timer. */
bool fwd_retire(struct fwd *f);
/* A DC port lost its link. */
void fwd_link_down(struct fwd *f, uint16_t port);
/* A worker's VM_SEEN, CONFLICT, LOOP or HOLD_OVER. */
void fwd_tell(struct fwd *f, const struct dp_event *ev);
