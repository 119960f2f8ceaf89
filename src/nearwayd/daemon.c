/* SPDX-License-Identifier: BSD-3-Clause */
/* daemon.c - order of the start: lock, key, EAL, store, tables and ports, stored state, peers (at most 2 s), then packets.
 *
 * Ports start last: a router that answered ARP before it knew its VMs, or what its peers took over meanwhile, would do harm.
 */
#include "daemon.h"

#include "census.h"
#include "counters.h"
#include "dp.h"
#include "eal.h"
#include "explain.h"
#include "fwd.h"
#include "listing.h"
#include "lock.h"
#include "macs.h"
#include "notify.h"
#include "reread.h"
#include "scrape.h"
#include "show.h"
#include "topo.h"
#include "watch.h"

#include <common/log.h>
#include <control/core.h>
#include <env/host.h>
#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <sodium.h>
#include <store/store.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

struct daemon {
	struct config *config;
	const struct plan *plan;
	const char *file; /* it was read from */
	struct reread reread;
	int lock;
	bool eal;
	struct host *host;
	struct store *store;
	struct host_store *writer; /* the store's thread */
	struct dp *dp;
	struct core *core;
	struct scrape *scrape; /* NULL: nobody may ask for metrics by HTTP */
	struct event *term, *interrupt, *hangup;
	uint64_t eal_ms, store_ms; /* boot clock: DPDK was ready; the store was read */
	size_t rows;
	struct core_start start; /* holds the private key until the core has it */
};

/* ---- the environment that nearwayd adds to the host's ---- */

static struct fwd *
fwd_of(void *ctx)
{
	struct daemon *d = host_user(ctx);

	return d->dp->fwd;
}

static int
op_prepare(void *ctx, const struct fwd_change *c, size_t n, struct fwd_txn **txn, struct err *e)
{
	return fwd_prepare(fwd_of(ctx), c, n, txn, e);
}

static void
op_publish(void *ctx, struct fwd_txn *txn, void (*retired)(void *arg), void *arg)
{
	fwd_publish(fwd_of(ctx), txn, retired, arg);
}

static void
op_abort(void *ctx, struct fwd_txn *txn)
{
	fwd_abort(fwd_of(ctx), txn);
}

static void
op_announce(void *ctx, enum fwd_announce what, uint16_t segment, const struct mac *mac, ip4 ip)
{
	fwd_announce(fwd_of(ctx), what, segment, mac, ip);
}

static bool
op_sessions(void *ctx, ip4 global_ip, uint64_t *n)
{
	struct daemon *d = host_user(ctx);

	return census_sessions(d->dp->census, rte_cpu_to_be_32(global_ip), n);
}

static void
op_sessions_free(void *ctx, ip4 global_ip)
{
	struct daemon *d = host_user(ctx);

	census_forget(d->dp->census, rte_cpu_to_be_32(global_ip));
}

static struct fwd_list *
op_list_new(void *ctx, const struct fwd_listed *of, size_t n, size_t limit)
{
	struct daemon *d = host_user(ctx);

	return listing_new(d->dp, of, n, limit);
}

static void
op_sessions_learn(void *ctx, const struct fwd_session *rows, size_t n, struct fwd_learnt *out)
{
	struct daemon *d = host_user(ctx);

	listing_learn(d->dp, rows, n, out);
}

static struct json_t *
op_show(void *ctx, const char *what, const char *cursor, uint64_t limit)
{
	struct daemon *d = host_user(ctx);

	return show_view(d->dp, what, cursor, limit);
}

static void
tell_traffic(const struct traffic *t, struct fwd_traffic *out)
{
	*out = (struct fwd_traffic){t->from_packets, t->from_bytes, t->to_packets, t->to_bytes};
}

static const struct vm_rec *
find_vm(struct daemon *d, uint16_t segment, const struct mac *mac)
{
	struct vm_key_mac key = {.mac = topo_mac(mac), .seg = segment};
	const struct vm_rec *vm;

	vmtab_by_mac(d->dp->tables.vms, &key, 1, &vm);
	return vm;
}

static void
op_round_trips(void *ctx, uint16_t segment, const struct mac *mac, struct fwd_round_trips *out)
{
	struct daemon *d = host_user(ctx);
	const struct vm_rec *vm = find_vm(d, segment, mac);

	*out = vm != NULL ? counters_round_trips(d->dp->counters, vm) : (struct fwd_round_trips){0};
}

static void
op_vm_traffic(void *ctx, uint16_t segment, const struct mac *mac, struct fwd_traffic *out)
{
	struct daemon *d = host_user(ctx);
	const struct vm_rec *vm = find_vm(d, segment, mac);
	struct traffic t = {0};

	if (vm != NULL)
		t = counters_vm(d->dp->counters, vm);
	tell_traffic(&t, out);
}

static void
op_router_away(void *ctx, uint8_t router, bool away)
{
	struct daemon *d = host_user(ctx);

	dp_router_away(d->dp, router, away);
}

static void
op_segment(void *ctx, uint16_t segment, struct fwd_segment *out)
{
	struct daemon *d = host_user(ctx);
	struct traffic t = counters_segment(d->dp->counters, segment);
	const struct mac_counts *m = macs_of(d->dp->macs, segment);

	tell_traffic(&t, &out->traffic);
	out->macs = m->learnt;
	out->macs_moved = m->moved;
	out->macs_refused = m->refused;
}

static int
op_watch(void *ctx, const struct watch_params *p, bool capture, struct err *e)
{
	struct daemon *d = host_user(ctx);

	d->dp->watch = watch_new(d->dp, p, capture, e);
	return d->dp->watch != NULL ? 0 : e->code;
}

static void
op_unwatch(void *ctx)
{
	struct daemon *d = host_user(ctx);

	watch_free(d->dp->watch);
	d->dp->watch = NULL;
}

static struct json_t *
op_watched(void *ctx, bool *more)
{
	struct daemon *d = host_user(ctx);
	json_t *v = watch_read(d->dp->watch, more);

	if (!*more)
		op_unwatch(ctx);
	return v;
}

static struct json_t *
op_explain(void *ctx, const struct explain_params *p, struct err *e)
{
	struct daemon *d = host_user(ctx);

	return explain(d->dp, p, e);
}

static void
op_subscribe(void *ctx, void (*event)(void *arg, const struct fwd_event *ev), void *arg)
{
	fwd_subscribe(fwd_of(ctx), event, arg);
}

static int
op_config_read(void *ctx, struct env_config *out, struct err *e)
{
	struct daemon *d = host_user(ctx);

	return reread_start(&d->reread, d->file, d->config, d->dp, out, e);
}

static void
op_config_publish(void *ctx)
{
	struct daemon *d = host_user(ctx);

	reread_publish(&d->reread, d->config, d->dp);
}

static void
op_config_abort(void *ctx)
{
	struct daemon *d = host_user(ctx);

	reread_abort(&d->reread);
}

static void
add_ops(struct env_ops *ops)
{
	ops->config_read = op_config_read;
	ops->config_publish = op_config_publish;
	ops->config_abort = op_config_abort;
	ops->fwd_prepare = op_prepare;
	ops->fwd_publish = op_publish;
	ops->fwd_abort = op_abort;
	ops->fwd_announce = op_announce;
	ops->fwd_sessions = op_sessions;
	ops->fwd_sessions_free = op_sessions_free;
	ops->fwd_list_new = op_list_new;
	ops->fwd_list_next = listing_next;
	ops->fwd_list_free = listing_free;
	ops->fwd_sessions_learn = op_sessions_learn;
	ops->fwd_show = op_show;
	ops->fwd_vm_traffic = op_vm_traffic;
	ops->fwd_round_trips = op_round_trips;
	ops->fwd_segment = op_segment;
	ops->fwd_router_away = op_router_away;
	ops->fwd_watch = op_watch;
	ops->fwd_watched = op_watched;
	ops->fwd_unwatch = op_unwatch;
	ops->fwd_explain = op_explain;
	ops->fwd_subscribe = op_subscribe;
}

/* ---- steps of the start ---- */

static uint64_t
now_ms(struct daemon *d)
{
	return env_call(host_env(d->host), now_ms);
}

/* Keys live in this process: no core file, no debugger of another user. */
static void
harden(void)
{
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	signal(SIGPIPE, SIG_IGN);
}

static void
on_signal(evutil_socket_t sig, short what, void *arg)
{
	struct daemon *d = arg;

	(void)what;
	log_info("%s: stopping", strsignal((int)sig));
	notify("STOPPING=1");
	host_stop(d->host, 0);
}

static void
on_hangup(evutil_socket_t sig, short what, void *arg)
{
	struct daemon *d = arg;

	(void)sig;
	(void)what;
	core_reload(d->core);
}

static int
make_host(struct daemon *d, struct err *e)
{
	d->host = host_new(e);
	if (d->host == NULL)
		return e->code;
	host_set_user(d->host, d);
	add_ops(host_ops(d->host));
	signal(SIGTERM,
		SIG_IGN); /* so it is again once the events are gone: a second one must not end us in the middle */
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	d->term = evsignal_new(host_base(d->host), SIGTERM, on_signal, d);
	d->interrupt = evsignal_new(host_base(d->host), SIGINT, on_signal, d);
	d->hangup = evsignal_new(host_base(d->host), SIGHUP, on_hangup, d);
	if (d->term == NULL || d->interrupt == NULL || d->hangup == NULL)
		return err_set(e, ENOMEM, "no memory");
	event_add(d->hangup, NULL);
	event_add(d->term, NULL);
	event_add(d->interrupt, NULL);
	return 0;
}

static int
open_store(struct daemon *d, struct err *e)
{
	d->eal_ms = now_ms(d);
	d->store = store_open(d->config->control.state, d->config->router.name, &d->start.set_aside, e);
	if (d->store == NULL)
		return e->code;
	d->store_ms = now_ms(d) - d->eal_ms;
	d->writer = host_store_new(d->host, &store_host_ops, d->store, e);
	return d->writer != NULL ? 0 : e->code;
}

static int
load_row(void *arg, const struct env_row *row)
{
	struct daemon *d = arg;

	d->rows++;
	core_load_row(d->core, row); /* a row that breaks an invariant is logged and skipped there */
	return 0;
}

static void
ready(void *arg)
{
	struct daemon *d = arg;
	struct err e;

	if (dp_run(d->dp, &e) != 0) {
		log_error("%s", e.text);
		host_stop(d->host, e.code);
		return;
	}
	log_info("router %s of site %s: packets flow, %" PRIu64
		 " ms after DPDK was ready; %zu stored rows took %" PRIu64 " ms",
		d->config->router.name, d->config->router.site, now_ms(d) - d->eal_ms, d->rows, d->store_ms);
	notify("READY=1");
}

static int
make_core(struct daemon *d, struct err *e)
{
	uint64_t begun = now_ms(d);
	int rc;

	d->start.env = host_env(d->host);
	d->start.config = d->config;
	d->core = core_new(&d->start, e);
	sodium_memzero(d->start.private_key, sizeof(d->start.private_key));
	if (d->core == NULL)
		return e->code;
	rc = store_load(d->store, NULL, load_row, d);
	if (rc != 0)
		return err_set(e, -rc, "%s: cannot be read: %s", d->config->control.state, strerror(-rc));
	d->store_ms += now_ms(d) - begun;
	return core_run(d->core, ready, d, e);
}

static char *
metrics(void *arg, size_t *n)
{
	struct daemon *d = arg;

	return core_metrics(d->core, n);
}

static int
make_scrape(struct daemon *d, struct err *e)
{
	const char *listen = d->config->control.metrics;
	struct err why;

	if (listen[0] == '\0')
		return 0;
	d->scrape = scrape_new(host_base(d->host), listen, metrics, d, &why);
	return d->scrape != NULL ? 0 : err_set(e, -why.code, "control.metrics: %s", why.text);
}

static int
start(struct daemon *d, bool verbose, struct err *e)
{
	const struct config *c = d->config;
	int rc;

	harden();
	d->lock = lock_take(c->control.runtime, e);
	if (d->lock < 0)
		return d->lock;
	warn_of_readers(d->file, c);
	if ((rc = own_key_load(c, d->start.private_key, e)) != 0)
		return rc;
	if ((rc = eal_start(d->plan, c->router.name, verbose, e)) != 0)
		return rc;
	d->eal = true;
	if ((rc = make_host(d, e)) != 0 || (rc = open_store(d, e)) != 0)
		return rc;
	d->dp = dp_new(c, d->plan, host_env(d->host), host_base(d->host), e);
	if (d->dp == NULL)
		return e->code;
	if ((rc = make_core(d, e)) != 0)
		return rc;
	return make_scrape(d, e);
}

static void
stop(struct daemon *d)
{
	scrape_free(d->scrape);
	if (d->core != NULL)
		core_free(d->core);
	if (d->writer != NULL)
		host_store_free(d->writer); /* what was accepted is written */
	dp_free(d->dp);
	if (d->store != NULL)
		store_close(d->store);
	if (d->term != NULL)
		event_free(d->term);
	if (d->interrupt != NULL)
		event_free(d->interrupt);
	if (d->hangup != NULL)
		event_free(d->hangup);
	if (d->host != NULL)
		host_free(d->host);
	if (d->eal)
		eal_stop();
	sodium_memzero(&d->start, sizeof(d->start));
	if (d->lock >= 0)
		close(d->lock);
}

int
daemon_run(const char *file, struct config *c, const struct plan *p, bool verbose)
{
	struct daemon d = {.file = file, .config = c, .plan = p, .lock = -1};
	struct err e = {0};
	int rc = start(&d, verbose, &e);

	if (rc == 0)
		rc = host_run(d.host);
	else
		log_error("%s", e.text);
	stop(&d);
	if (rc == 0)
		log_info("stopped");
	return rc;
}
