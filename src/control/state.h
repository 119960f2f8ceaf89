/* SPDX-License-Identifier: BSD-3-Clause */
/* state.h - the control core's own structures. Seen by src/control alone.
 *
 * The model (VMs, routes, term) is changed by transactions only, through vm_set(), route_set() and
 * term_set(), which log what was there before. One group of transactions is on its way at a time:
 *
 *   queued -> apply (check, change the model) -> fwd_prepare -> commit -> publish -> retired -> acknowledged
 *
 * What waits meanwhile makes the next group. A failure before publish undoes the model from the log.
 */
#pragma once

#include "core.h"
#include "histogram.h"

#include <api/chain.h>
#include <api/kinds.h>
#include <api/methods.h>
#include <api/secret.h>
#include <inttypes.h>
#include <jansson.h>
#include <net/channel.h>
#include <net/gate.h>
#include <net/rpc.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#define EPOCH_MAX      INT64_MAX
#define EPOCH_STEP     (UINT64_C(1) << 32) /* a larger step over a known epoch is a fault */
#define ATTACHMENT_ANY (-1)
#define SESSION_QUIET_MS \
	(UINT64_C(124) * 60 * 1000) /* RFC 5382: an idle TCP session may live so long unseen */
#define DRAIN_TICK_MS 1000
#define MOVES_KEPT    1000  /* moves that are done and still shown, */
#define MOVES_SLACK   100   /* and so many more, until all above are forgotten in one commit */
#define MOVE_OPEN_MS  5000  /* so long an old router's list of sessions is waited for, */
#define PEER_BACK_MS  2000  /* while its channel is up or was lost so short ago: it may have been restarted */
#define QUEUE_MAX     20000 /* transactions that wait */
#define GROUP_MAX     4096  /* transactions of one commit */
#define TURN_CHANGES  500   /* applied in one turn of the event loop */
#define PROBES	      4	    /* of a VM that came, until it is heard */
#define TXN_MORE      (-1)
#define VM_KEY_TEXT   (NAME_LEN + 1 + MAC_TEXT)
#define EVENTS_KEPT   65536 /* a subscriber that is further behind must resync */
#define MOVE_ID_TEXT  (VM_KEY_TEXT + 21)

/* ---- VMs (vms.c) ---- */

struct vm_key { /* no padding: hashed as bytes */
	uint16_t segment;
	struct mac mac;
};

struct drain_time {		 /* beside fwd.drains[i] */
	uint64_t epoch;		 /* of the move that began it */
	uint64_t min_ms, max_ms; /* as asked */
	uint64_t min_at, max_at; /* boot clock; 0 where the home is another router */
	uint64_t quiet_at;	 /* from then on a table without sessions proves that none is left */
};

enum departs { DEPARTS_NOT, DEPARTS_PREPARED, DEPARTS_PAUSED };

struct departure { /* of a VM of ours, by a move that its new router has told of; in memory alone: departing.c */
	uint8_t phase; /* enum departs */
	uint8_t to;    /* router index */
	uint64_t epoch;
	uint64_t until;			/* boot clock: believed so long while that router is away */
	uint64_t session;		/* told in this one (peer.up_serial) */
	int64_t prepared_at, paused_at; /* wall clock: heard of; 0 = not */
	uint64_t late_from;		/* as in move_now, since it is paused */
};

/* What of it forwarding is told is vm_forwarding(). */
struct vm_state {
	struct fwd_vm fwd; /* flags: vm_set() says them */
	struct departure departure;
	uint64_t epoch;
	uint64_t revision; /* of the router when it became so: vm_set() says it */
	bool deleted;
	uint64_t deleted_at; /* boot clock; 0: just now */
	struct drain_time drain[FWD_DRAINS_MAX];
};

struct touched { /* by the group on its way: its first and last place in the log */
	uint64_t group;
	size_t first, last;
};

struct hint {	   /* evidence that came too early to move a location */
	bool kept; /* in core.hinted */
	uint8_t location;
	int16_t attachment;
	uint64_t epoch; /* of the VM then */
};

struct vm_obj {
	struct vm_key key;
	struct vm_state now;
	bool present;	    /* false: being made by a transaction that was undone */
	bool waits;	    /* a transaction on its way moves its location */
	bool has_own_drain; /* in core.draining */
	bool probing;	    /* in core.probing[probe] */
	uint8_t probe;	    /* ARP probes sent */
	uint64_t probe_since;
	uint64_t seen_at; /* its location was last moved */
	uint8_t left;	  /* from where; means something once seen_at is set */
	int16_t left_attachment;
	struct hint hint;
	uint64_t poll_at; /* its sessions are counted again */
	struct touched touched;
	uint64_t named;	 /* by the replace with this serial */
	uint64_t hash;	 /* of its content, while present */
	uint64_t listed; /* by the peer, in the exchange with this serial */
	uint16_t leaf;	 /* of the digests: by its key */
	struct vm_obj *leaf_next;
	struct vm_obj *tomb_prev, *tomb_next; /* in core.tombstones: one of ours */
	uint64_t written_at, loaded_at;	      /* boot clock: of the stored row, and when it was read */
	struct vm_obj *drain_prev, *drain_next, *probe_prev, *probe_next, *hint_prev, *hint_next;
	struct vm_obj *depart_prev, *depart_next; /* in core.departing, while it departs */
	struct hand *hands;			  /* peers that are to list its sessions: handover.c */
	uint64_t handed_over;			  /* the move (its epoch) for which all have listed them */
	uint64_t held_for; /* the last one for which its packets waited here; 0: none */
	UT_hash_handle hh;
};

#define DIGEST_FAN    256
#define DIGEST_LEAVES (DIGEST_FAN * DIGEST_FAN)

struct digest { /* sums of hashes of VMs, modulo 2^64 here and 2^63 on the wire */
	uint64_t branch[DIGEST_FAN];
	uint64_t *leaves[DIGEST_FAN]; /* of each branch, or NULL: all of them are 0 */
};

struct address { /* (segment, private address) or a global address -> VM */
	uint64_t key;
	struct vm_obj *vm;
	UT_hash_handle hh;
};

/* ---- routes ---- */

struct route_obj {
	uint64_t key; /* prefix */
	bool has_conf, has_run;
	struct route conf, run; /* of the file; of route.replace, which wins */
	uint64_t revision;	/* of the router when the run-time route was set or removed */
	struct touched touched;
	uint64_t named; /* by the replace with this serial */
	UT_hash_handle hh;
};

/* ---- moves ---- */

enum move_state { MOVE_PREPARED, MOVE_PAUSED, MOVE_DRAINING, MOVE_DONE, MOVE_ABORTED };

/* When it was first so. */
enum move_time {
	MOVE_AT_PREPARED,
	MOVE_AT_PAUSED,
	MOVE_AT_COMMITTED,
	MOVE_AT_TOLD, /* the old router has taken it */
	MOVE_AT_HEARD,
	MOVE_AT_RELEASED,
	MOVE_AT_LISTED,
	MOVE_AT_DONE, /* or aborted */
	MOVE_TIMES
};

/* How long a move to here took, in microseconds: the histograms. */
enum move_took {
	MOVE_TOOK_SWITCH,  /* from the order, or the VM's first word, until forwarding has it */
	MOVE_TOOK_STORE,   /* of that, until it was on disk */
	MOVE_TOOK_CONTROL, /* and all the rest */
	MOVE_TOOK_HOLD,	   /* from the pause, or the commit, until what waited has gone on */
	MOVE_TOOK_TELL,	   /* from the switch until the old router has taken it */
	MOVE_TOOK
};

struct move_now {      /* what transactions change of it, by move_set() */
	uint8_t state; /* enum move_state */
	uint8_t from;  /* router index */
	bool arrived;  /* committed because the VM was heard here */
	bool sought;   /* it came here, and was not heard yet */
	/* And what is for it waits so long. Or its pause came to nothing, and the old router, which has still to hear so,
	 * sends it here. */
	bool holds;
	bool open;	 /* and what is unknown is an old session, until the old router's list has ended */
	char reason[12]; /* why it is done, aborted, or prepared again; "" = nothing to say */
	uint64_t since;	 /* boot clock: of the state; modulo 2^64, for it may be of before this boot */
	int64_t at[MOVE_TIMES]; /* wall clock; 0 = not */
	uint64_t asked_us; /* clock of microseconds: when its commit was asked for, or its VM was heard */
	uint64_t held, released, dropped, sessions;
	uint64_t cut; /* at the home of its old addresses: sessions that were noted when these ended */
	/* At the old router: packets for the VM that it has sent on since the pause, or the commit, counted up to
	 * this number of all (fwd_traffic.to_packets). */
	uint64_t late, late_from;
	/* At the new router since the commit, of what drains: as it ended. At the old one, of a prepared move: `old`, before. */
	struct fwd_round_trips trips;
};

struct reserved { /* a global address that a move will give its VM */
	ip4 private_ip, global_ip;
	struct move *move;
	UT_hash_handle hh;
};

struct move {
	char id[MOVE_ID_TEXT]; /* SEGMENT/MAC@EPOCH */
	struct vm_key vm;
	uint64_t epoch;
	uint8_t to; /* router index */
	struct move_now now;
	uint64_t live_us; /* clock of microseconds, in memory alone: since then it is live; 0 = it is not */
	/* up to here it is told by events */
	bool present;	   /* false: being made by a transaction that was undone */
	bool arriving;	   /* a transaction that commits it is on its way */
	bool undated;	   /* its stored row had no `since`: it has ended, or is of an older version */
	uint64_t waits_us; /* the same clock: since then what is for the VM waits; 0 = nothing does */
	uint64_t switch_us, store_us; /* so long its commit took, and the store of that; 0 = unknown */
	uint64_t word; /* of those to its old router, the one that tells its state; UINT64_MAX: none could */
	uint64_t
		back_at; /* what is held goes back then, for the old router has heard of the end of a pause; 0: it has not */
	int16_t stands; /* the attachment where its VM was heard, until the move is committed; else ATTACHMENT_ANY */
	json_t *plan; /* the parameters of move.prepare; NULL: it was not prepared here */
	uint8_t n_reserved;
	struct reserved reserved[FWD_ADDRESSES_MAX]; /* in core.reserved while it is open */
	struct touched touched;
	struct move *prev, *next, *timed_prev, *timed_next;
	UT_hash_handle hh, active_hh;
};

/* ---- transactions (txn.c) ---- */

struct core;

struct fail {
	int code; /* RPC_... */
	json_t *data;
	char text[400];
};

struct txn {
	struct txn *next, *prev;
	/* Changes the model; 0, or an RPC_ code with t->fail filled, and then what it changed is undone. May
	 * be called again after an undo. One of many changes asks txn_turn() before each, and gives TXN_MORE when the
	 * turn is over: it is called again with `goes_on` set, and everybody but other transactions had their turn. */
	int (*apply)(struct core *c, struct txn *t);
	/* It is live, or refused; frees t. */
	void (*done)(struct core *c, struct txn *t, int code);
	/* It has changed something and will be live: its entries for the log. NULL: none. */
	void (*audit)(struct core *c, struct txn *t);
	struct fail fail;
	bool changed, dry_run, goes_on;
	bool plans;	   /* a dry run of one change, whose result tells what a move would do: plan.c */
	uint64_t asked_us; /* clock of microseconds: it was submitted */
	size_t size;	   /* about how many changes it has */
	uint64_t revision;
	size_t log_from, log_to; /* what it did to the model: core.log[from] to [to - 1] */
};

enum undo_kind { UNDO_VM, UNDO_ROUTE, UNDO_TERM, UNDO_MOVE };

struct term {
	uint64_t number;
	char name[NAME_LEN + 1]; /* who spoke it first */
};

struct undo {
	enum undo_kind kind;
	bool present;
	size_t before;	   /* the object's last place in the log before this */
	uint64_t revision; /* of the transaction that made it */
	union {
		struct vm_obj *vm;
		struct route_obj *route;
		struct move *move;
	};
	union {
		struct vm_state vm;
		struct move_now move;
		struct {
			bool has_conf, has_run;
			struct route conf, run;
			uint64_t revision;
		} route;
		struct term term;
	} old;
};

struct group;	   /* txn.c */
struct pause_call; /* arriving.c */
struct plan_call;  /* plan.c */

/* ---- sessions and peers ---- */

struct subscription { /* to events */
	bool on;
	unsigned int classes; /* bits */
	uint64_t next,
		told; /* number of the next event to look at, and that when it was last sent a cursor */
};

struct session { /* one channel that is up or being made */
	struct core *core;
	struct channel *channel;
	struct rpc *rpc;   /* NULL until up */
	struct peer *peer; /* NULL: controller, observer or local user */
	enum channel_role role;
	bool dialled;
	char name[112];
	uint64_t term;
	struct subscription events;
	struct session *prev, *next;
};

struct client { /* a controller or observer of the configuration */
	enum channel_role role;
	char name[NAME_LEN + 1];
	uint64_t since_ms; /* boot clock: it came, or went, or was never here since */
	uint64_t heard_ms; /* boot clock, of sessions that are gone; 0 = never */
	uint64_t term;	   /* that it said last */
	char from[96];
};

enum peer_retry { TRY_NONE, TRY_LATER, TRY_SOON };
enum peer_state { PEER_AWAY, PEER_DIALLING, PEER_SYNCING, PEER_SYNCED };

/* Drains are told first: an address that is free again may already belong to one of the VMs. */
enum news_kind { NEWS_DRAINS, NEWS_VMS, NEWS_KINDS };

struct news {		  /* that a peer is to be told unasked */
	struct buf items; /* JSON texts, with commas between them */
	struct buf told;  /* and which VMs at which epoch they are of */
	size_t n;
};

struct peer {
	struct core *core;
	uint8_t index; /* router index */
	const struct conf_peer *conf;
	struct channel_identity identities[2]; /* by its key; by its old one, while it changes over */
	size_t n_identities;
	char address[HOSTPORT_LEN + 1];	    /* that it was last told to have */
	bool leaving;			    /* a reload that removes it is on its way */
	bool dials_old;			    /* the one it is dialled by: what answered last, else in turn */
	struct session *session, *dialling; /* the one that is up; the one on its way */
	enum peer_state state;
	struct env_timer *timer; /* next dial, or next exchange after refused claims */
	uint64_t backoff_ms;
	struct exchange *exchange;
	struct env_timer *deadline; /* of its next answer */
	bool *shared;		    /* by segment: it has that one, too */
	bool shares_all;
	uint64_t mtu;			 /* the least of its WAN ports, by its hello; 0: it did not say */
	struct digest *mine, *theirs;	 /* of what this router owns, and of what it has as the peer's */
	uint64_t up_serial;		 /* of the session: tells replies on an older one */
	uint64_t since_ms;		 /* boot clock of the last change between up and down */
	uint64_t accepted, refused;	 /* claims */
	unsigned int unacked;		 /* updates on their way to it */
	bool lagging;			 /* updates were left out: it is told to ask again */
	bool retry;			 /* claims were refused that may be taken later, */
	enum peer_retry next_try;	 /* when another exchange is to come */
	uint64_t alarm_at, alarms_quiet; /* one alarm line a second */
	bool sure;	  /* since our start we have learnt what it has as ours, whatever our store was */
	bool told_unsure; /* that we have not yet */
	bool is_sure;	  /* it has learnt what we have as its own: by its last answer on this session */
	bool agrees;	  /* by the last check: the same VMs of either here and there */
	uint64_t agrees_since;	    /* boot clock of its last change */
	size_t differing;	    /* of its VMs, after the last exchange */
	bool outdated;		    /* it told of a VM, since, of which we knew better */
	uint64_t took_at;	    /* boot clock: it had all of ours then; 0 = not since it came up */
	uint64_t revision;	    /* the highest that it told of itself */
	uint64_t stale_since;	    /* boot clock; 0 = its VMs are as it says */
	bool home_away;		    /* for long, and forwarding knows: homes.c */
	bool home_ended;	    /* what drained there is given up */
	size_t claims_wait;	    /* of its updates, not applied yet */
	unsigned int questions;	    /* of its own, that wait for what waits already */
	bool overrun;		    /* some were refused for that */
	struct handover *handover;  /* sessions that it is to list */
	struct listing *listing;    /* and those that it asks for */
	struct fwd_learnt sessions; /* that it has listed */
	uint64_t sessions_refused;
	struct news news[NEWS_KINDS];
	json_t *news_moves;   /* and moves of VMs of its own to here; NULL when empty */
	uint64_t words;	      /* messages of these */
	json_t *untold;	      /* of these, what it refused: told again with the next tick; NULL when empty */
	uint64_t words_heard; /* up to this one it has answered that forwarding is as told, */
	uint64_t heard_at;    /* and when */
	bool asked;	      /* one exchange finished or failed since the start */
};

struct audit {				/* the log in the store: audit.c */
	struct chain stored;		/* its end */
	struct chain before;		/* what is gone of it: the last of that */
	struct chain next, next_before; /* the same once the commit on its way is durable */
	struct chain cut;		/* the next one removes all up to this; number 0 = nothing */
	bool seeking;			/* its end is: no commit before */
	bool cutting;			/* that is being looked for */
	struct line *waiting, *of_group;
	size_t n_waiting, taken; /* so many of those that wait are in the commit on its way */
	uint64_t tokens, filled_at, left_out;
	struct env_timer *timer;
	struct reading *readings;
	struct chain checked; /* the end that the check at start must find */
};

/* VMs or moves that a timer changes in one transaction: the control thread has others to serve. */
#define TURN_MAX 200

struct core {
	struct env *env;
	const struct config *conf;
	uint8_t private_key[32];
	uint64_t started_ms, instance; /* in hellos: another with each start */
	bool running, remembers;       /* the store had rows */
	bool set_aside;		       /* another one had, and was unusable */

	struct vm_obj *vms;
	struct address *addresses;
	struct vm_obj **leaves;			     /* DIGEST_LEAVES lists of all VMs, by key */
	struct vm_obj **sorted;			     /* by (segment name, MAC); NULL = to be made */
	size_t n_live, n_tombstones, *tombstones_of; /* by owner */
	struct vm_obj *tombstones;		     /* our own, the oldest first */
	struct env_timer *tomb_timer;
	struct forget_txn *forgetting; /* being filled */
	struct route_obj *routes;
	struct move *moves;	 /* hash by id */
	struct move *moves_list; /* in order of start */
	struct move *active;	 /* hash by VM: it is to come here, or is here and something waits for it */
	struct move *timed;	 /* of these, who must go on by some time */
	struct reserved *reserved;
	size_t n_moves_ended;
	struct term term;
	uint64_t revision, stored_revision, /* the last one that the store has, */
		seen_revision;		    /* and that a peer had seen when the store was older */
	uint64_t live_revision;		    /* without the group on its way */
	uint64_t vms_from, routes_from;	    /* what was removed up to this revision may be forgotten */
	size_t routes_swept; /* objects that were left when removed ones were last looked for */

	/* transactions */
	struct txn *queue;
	size_t queued;
	struct env_timer *pump;
	struct group *group; /* on its way */
	uint64_t groups;     /* counter, stamps what a group touches */
	uint64_t replaces;   /* counter, names what a replace names */
	size_t solo;	     /* so many of the next transactions go one by one */
	struct txn *current; /* being applied */
	size_t turn;	     /* what is left of this turn of the event loop */
	struct undo *log;
	size_t n_log, log_size;
	struct start *start;
	struct env_timer *start_timer;
	struct staged *staged; /* open ones, in order of opening */
	uint64_t staged_ids, staged_bytes;
	struct env_timer *staged_timer;

	/* moves */
	struct env_timer *drain_timer, *probe_timer, *hint_timer;
	struct vm_obj *draining, *hinted, *departing;
	struct env_timer *arriving_timer, *departing_timer, *homes_timer;
	bool arriving_on, departing_on; /* they run */
	bool moves_due, departures_end; /* a transaction that ends some is on its way */
	struct pause_call *pauses;
	struct plan_call *plans;
	struct histogram move_times[MOVE_TOOK];
	uint64_t store_us;		/* the group that becomes live was so long at the store */
	struct vm_obj *probing[PROBES]; /* that wait for the i-th probe, each list in the order of its time */
	bool drains_end;		/* a transaction that ends some is on its way */
	const char *drain_why;		/* why the change being made ends drains; NULL: the VM says it */

	/* channels */
	struct env_listener *tcp, *local;
	struct gate gate;				      /* before tcp */
	uint64_t strangers, stranger_log_at, strangers_quiet; /* that never said who they are */
	struct session *sessions;
	struct peer *peers;
	size_t n_peers;
	uint64_t serials;
	bool reloading;
	struct channel_identity *callers; /* controllers and observers, one for each key */
	size_t n_callers;
	struct client *clients;
	size_t n_clients;
	struct session *watcher; /* who traces or captures; NULL = nobody */
	uint64_t watches;	 /* counter: names the one that is on */
	uint64_t events[FWD_EVENTS], events_ignored, alarm_at[FWD_EVENTS];

	/* events */
	struct event **ring; /* EVENTS_KEPT */
	uint64_t n_events;   /* number of the last */
	struct env_timer *events_timer;
	bool events_due; /* the timer runs */
	struct audit audit;
	struct term superseded; /* the last one told of */

	struct storage {
		int rc;		   /* of the last commit */
		uint64_t since_ms; /* it refuses, or takes */
		struct env_timer *retry, *checkpoint;
		bool checkpoint_on;   /* it runs */
		struct aside *asides; /* on their way */
	} storage;

	/* start */
	struct env_timer *ready_timer;
	void (*ready)(void *arg);
	void *ready_arg;
	struct {
		bool present;
		char boot_id[64];
		uint64_t boot_ms;
		int64_t wall_ms;
	} stored; /* clocks when the last row was written */
};

/* ---- vms.c, vm_text.c ---- */

struct vm_obj *vm_find(struct core *c, uint16_t segment, const struct mac *mac);
struct vm_obj *vm_by_private(struct core *c, uint16_t segment, ip4 a);
struct vm_obj *vm_by_global(struct core *c, ip4 a);
/* The one way to change a VM inside a transaction. */
struct vm_obj *vm_set(struct core *c, const struct vm_state *s);
/* Takes an address from it, inside a transaction: another VM gets it. */
void vm_strip(struct core *c, const struct vm_obj *o, ip4 which);
/* A tombstone is gone: inside a transaction, after which the object goes, too. */
void vm_forget(struct core *c, struct vm_obj *o);
void vm_free(struct core *c, struct vm_obj *o);
void vm_undo(struct core *c, struct vm_obj *o, const struct vm_state *old, bool present);
/* The same state again: what its move makes of it has changed. */
void vm_touch(struct core *c, const struct vm_obj *o);
/* A VM of ours departs so, from now on. */
void vm_depart(struct core *c, struct vm_obj *o, const struct departure *d);
/* What forwarding is to have: while a move is paused the VM stands at its new router. */
void vm_forwarding(const struct vm_state *s, struct fwd_vm *out);
/* Equal but for where it was heard and what is left of drains. */
bool vm_state_same(const struct vm_state *a, const struct vm_state *b);
/* What of a VM the group must agree on, as a number of 63 bits. */
uint64_t vm_hash(struct core *c, const struct vm_state *s);
#define HASH_START UINT64_C(14695981039346656037)
uint64_t hash_bytes(uint64_t h, const void *p, size_t n);
uint64_t hash_end(uint64_t h);
void vm_key_text(struct core *c, uint16_t segment, const struct mac *mac, char text[VM_KEY_TEXT]);
json_t *vm_json(struct core *c, const struct vm_state *s);
void vm_print(struct core *c, const struct vm_state *s, struct buf *to); /* the same as text, appended */
/* Names to indices. Unknown segment or owner: false and `why`. Drains of unknown homes are left out. */
bool vm_from_api(struct core *c, const struct vm *vm, struct vm_state *s, struct fail *f);
/* All VMs, tombstones too, by (segment name, MAC): the first one after `cursor` ("SEGMENT/MAC", "" = start).
 */
size_t vm_sorted(struct core *c, const char *cursor);
bool vm_live(const struct vm_obj *o);
/* What others may see of it: live and durable. NULL: nothing yet. */
const struct vm_state *vm_settled(const struct core *c, const struct vm_obj *o);
/* May it stand here: MAC, addresses, and nobody else's? */
int vm_check(struct core *c, const struct vm_state *s, struct fail *f);
int vm_load(struct core *c, const struct env_row *row, struct fail *f);
/* Fills a row of malloc'ed strings. */
void vm_row(struct core *c, const struct vm_state *s, struct env_row *row);
void vm_row_gone(struct core *c, const struct vm_obj *o, struct env_row *row); /* deletes it */
void row_set(struct env_row *row, const char *kind, const char *key, json_t *value_stolen);
/* The same with a text, which is taken out of the buffer. */
void row_set_text(struct env_row *row, const char *kind, const char *key, struct buf *value);
void row_free(struct env_row *row);
json_t *row_json(const struct env_row *row, struct fail *f); /* NULL: no object */
/* A row stands under the key of what it is about, so that there is one for each thing. */
int row_check_key(const struct env_row *row, const char *key, struct fail *f);
uint64_t row_revision(json_t *v);
void vms_free(struct core *c);
/* Inside a transaction: what of a VM a router owns is no more, nor are drains whose home it is; of all VMs. */
void vm_withdraw(struct core *c, const struct vm_obj *o, uint8_t router);
void vms_withdraw(struct core *c, uint8_t router);
/* Soon its deletions are forgotten, epochs too. */
void vms_forget(struct core *c, uint8_t router);
bool vm_drains_at(const struct vm_state *s, uint8_t router);
bool vm_has_private(const struct vm_state *s, ip4 private);
bool vm_has_global(const struct vm_state *s, ip4 global); /* live */
/* Is this global address, live or draining, one of the private one? */
bool vm_has_home(const struct vm_state *s, ip4 private, ip4 home);
/* Live global addresses that lived or drained before are as old as they were; the others keep the age that they have. */
void vm_keep_ages(const struct vm_state *old, struct vm_state *s);

/* Router index -> name and back; -1 when unknown. */
const char *router_name(struct core *c, uint8_t index);
int router_index(struct core *c, const char *name);
int segment_index(struct core *c, const char *name);
/* The name of its port, or the address of its local VTEP. */
const char *attachment_text(struct core *c, int attachment, char text[IP4_TEXT]);
const struct conf_segment *segment_at(struct core *c, uint16_t index);

/* ---- check.c ---- */

int fail(struct fail *f, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void fail_clear(struct fail *f);
int check_mac(struct core *c, const struct mac *mac, struct fail *f);
/* A private address and, where given, a global one that this router may give it. */
int check_private(struct core *c, uint16_t segment, ip4 a, struct fail *f);
int check_own_global(struct core *c, uint16_t segment, ip4 a, struct fail *f);
bool in_own_pool(struct core *c, ip4 a);
/* Another VM that holds an address of `s`, and which. */
struct vm_obj *vm_clash(struct core *c, const struct vm_state *s, ip4 *which);
/* RPC_CONFLICT naming the holder, VM or move, which is f->data. */
int check_clash(struct core *c, const struct vm_state *s, struct fail *f);

/* ---- txn.c ---- */

void txn_submit(struct core *c, struct txn *t);
/* Once all that waits now is live or refused; at once when nothing is. `code`: 0, or why not. */
void txn_after(struct core *c, void (*fn)(struct core *c, void *arg, int code), void *arg);
void txn_init(struct core *c);
void txn_fini(struct core *c);
struct undo *txn_log(struct core *c);
/* The log's last entry is of the object with this mark. */
void txn_touch(struct core *c, struct touched *t);
/* What the object was before the group that is on its way; NULL: as it is now. Who only shows, shows that. */
const struct undo *txn_before(const struct core *c, const struct touched *t);
size_t txn_mark(struct core *c);
void txn_rollback(struct core *c, size_t mark);
void term_set(struct core *c, uint64_t number, const char *name);
bool txn_turn(struct core *c);	/* one more change in this turn of the event loop? */
void txn_count(struct core *c); /* the current transaction has changed something that is stored */

/* ---- storage.c ---- */

void storage_init(struct core *c);
void storage_fini(struct core *c);
void storage_told(struct core *c, int rc); /* what became of a commit */
json_t *storage_json(struct core *c);
/* Rows that nobody waits for. */
void commit_aside(struct core *c, const struct env_row *rows, size_t n);
/* Revision, term and clocks. */
void meta_row(struct core *c, struct env_row *row);
bool meta_aside(struct core *c); /* false: not now, a group is on its way */
/* That row, each minute while something drains here or a move is open: what they have spent is known by it after a reboot. */
void checkpoint_watch(struct core *c);

/* ---- start.c ---- */

void start_init(struct core *c);
void start_fini(struct core *c);
/* Tells forwarding the loaded state; `done` after the grace period. */
void start_forwarding(struct core *c, void (*done)(void *arg), void *arg);

/* ---- apply_*.c: one change, checked and made; `out` gets members of the result ---- */

int apply_vm_register(struct core *c, const struct vm_register_params *p, json_t *out, struct fail *f);
int apply_vm_move(struct core *c, const struct vm_move_params *p, json_t *out, struct fail *f);
/* The same; `prepared`: a plan tells the steps of a move that is. */
int vm_take_over(struct core *c, const struct vm_move_params *p, bool prepared, json_t *out, struct fail *f);
int apply_vm_unregister(struct core *c, const struct vm_key_params *p, json_t *out, struct fail *f);
int apply_nat_set(struct core *c, const struct nat_set_params *p, json_t *out, struct fail *f);
int apply_route_replace(struct core *c, const struct route *p, json_t *out, struct fail *f);
int apply_route_delete(struct core *c, const struct route_key_params *p, json_t *out, struct fail *f);

/* ---- apply_route.c ---- */

struct route_obj *route_find(struct core *c, const struct prefix4 *p);
void route_undo(const struct undo *u);
const struct route *route_live(const struct route_obj *o); /* NULL = none */
/* Run-time routes by prefix: those that changed after `since`, or were removed. */
json_t *routes_since(struct core *c, const struct show_params *p);
void route_json_revision(
	struct core *c, json_t *row);	       /* of a row with a prefix, where it is a run-time route's */
json_t *route_json(const struct route_obj *o); /* as it is now */
void routes_trim(struct core *c); /* forgets removed ones when they are many; no group is on its way */
void route_fwd(struct core *c, const struct route *r, struct fwd_route *out);
void route_row(const struct route_obj *o, struct env_row *row);
int routes_configure(struct core *c, struct err *e);
/* Inside a transaction: those of the file are these from now on. */
void routes_follow(struct core *c, const struct list *routes);
int route_load(struct core *c, const struct env_row *row, struct fail *f);
void routes_free(struct core *c);
struct prefix4 route_prefix(const struct route_obj *o);

/* ---- moves.c: moves as objects, and what a change of a VM makes of them ---- */

void moves_init(struct core *c);
void moves_fini(struct core *c);
void move_id(struct core *c, const struct vm_key *vm, uint64_t epoch, char id[MOVE_ID_TEXT]);
struct move *move_find(struct core *c, const struct vm_key *vm, uint64_t epoch);
/* That is to come here, or is here and something waits for it: one for each VM. */
struct move *move_active(struct core *c, const struct vm_key *vm);
bool move_open(const struct move *m); /* neither committed nor aborted */
/* One that nobody knows yet, to be filled; move_set() makes it known. */
struct move *move_new(struct core *c, const struct vm_key *vm, uint64_t epoch);
void move_free(struct move *m);
/* The one way to change a move inside a transaction. vm_touch() its VM behind it. */
void move_set(struct core *c, struct move *m, const struct move_now *now);
void move_undo(struct core *c, struct move *m, const struct move_now *old, bool present);
/* The same, of an aborted one whose VM went on: what it holds is sent by what the VM is now. */
void move_hold_no_more(struct core *c, struct move *m);
/* move_set() outside of transactions: at start, and for one that goes. */
void move_put(struct core *c, struct move *m, const struct move_now *now, bool present);
/* Inside vm_set(): what it makes of the VM's moves. old NULL: it was not known. */
void moves_follow(struct core *c, const struct vm_obj *o, const struct vm_state *old);
/* FWD_VM_*, of a VM in this state. */
uint8_t move_flags(struct core *c, const struct vm_state *s);
/* Who will have this address once a move of another VM is committed, or NULL. */
struct move *move_reserving(struct core *c, const struct vm_key *vm, ip4 global);
/* The change of a VM is live: timers, announcements, sessions of addresses that are gone. */
void vm_changed(struct core *c, struct vm_obj *o, const struct vm_state *old, bool was_present);
/* That of a move. `old` NULL: it was not known. */
void move_changed(struct core *c, struct move *m, const struct move_now *old);
void moves_trim(struct core *c);  /* forgets the oldest that ended, many at a time */
void moves_start(struct core *c); /* after the load: clocks of drains, moves that ended meanwhile */

/* ---- move_text.c ---- */

extern const char *const move_words[], *const move_time_words[MOVE_TIMES];
const struct move_now *move_settled(const struct core *c, const struct move *m); /* NULL: nothing yet */
json_t *move_time_json(int64_t wall_ms);					 /* null for 0 */
void move_row(struct core *c, const struct move *m, struct env_row *row);
int move_load(struct core *c, const struct env_row *row, struct fail *f);
/* As it is live and durable; NULL: not at all yet. `whole`: all times and counts. */
json_t *move_shown(struct core *c, const struct move *m, bool whole);
json_t *move_event_json(struct core *c, const struct move *m); /* as it was when the event was made */

/* ---- move_record.c: what is noted of a move beside what transactions change ---- */

static inline bool
move_begun(const struct move_now *n)
{
	return n && (n->state == MOVE_DRAINING || n->state == MOVE_DONE);
}

/* Sessions that end with an address of ours: those that are noted. */
uint64_t move_cut(struct core *c, ip4 global);
/* At the old router, when it begins: what comes for the VM from its pause on, or else from now on, comes late. */
void move_begin_late(struct core *c, const struct move *m, const struct vm_state *old, struct move_now *n);
/* So many packets did. */
uint64_t move_late(struct core *c, const struct move *m, const struct move_now *now);
/* What it has brought the sessions, as far as this router knows. */
struct fwd_round_trips move_round_trips(struct core *c, const struct move *m, const struct move_now *now);
/* A list of its VM's sessions went to the new router. */
void move_listed(struct core *c, const struct vm_key *vm, uint64_t epoch, uint64_t sessions);
/* The old router has taken that it began: an item of sync.update; all that it was to take. */
void move_told(struct core *c, uint8_t peer, const struct vm_key *vm, uint64_t epoch);
void moves_told(struct core *c, uint8_t peer);
/* It has begun and is live; what is for its VM waits, or goes on. */
void move_note_live(struct core *c, struct move *m);
void move_note_waits(struct core *c, struct move *m);
void move_note_released(struct core *c, struct move *m);
json_t *move_times_shown(struct core *c);
void move_show_call(struct session *s, struct rpc_request *r, const void *params);

/* ---- homes.c: old addresses whose home is lost ---- */

void homes_init(struct core *c);
void homes_start(struct core *c); /* after the load */
void homes_fini(struct core *c);
bool home_lost(struct core *c, uint8_t router); /* and its old addresses are to be given up */

/* ---- plan.c: what a move will do, told before ---- */

/* Inside a dry run whose result shall have it: of a VM that is as here now, and was `old` (NULL: not known). */
void plan_tell(struct core *c, const struct vm_state *old, const struct vm_state *now, bool prepared,
	json_t *result);
/* Answers a dry run: with the sessions that the old router has noted, if it says so within a second. */
void plan_answer(struct core *c, json_t *result_stolen, struct rpc_request *r);
/* Asked by a peer: how many sessions each of these global addresses of ours has. */
void plan_count(struct peer *p, struct rpc_request *r, const json_t *globals);
void plan_fini(struct core *c);

/* ---- prepared.c: a move to this router before it is committed ---- */

int apply_move_prepare(struct core *c, const struct vm_move_params *p, json_t *out, struct fail *f);
int apply_move_pause(struct core *c, const struct move_key_params *p, json_t *out, struct fail *f);
int apply_move_commit(struct core *c, const struct move_key_params *p, json_t *out, struct fail *f);
int apply_move_abort(struct core *c, const struct move_key_params *p, json_t *out, struct fail *f);
/* Inside transactions. */
void move_change(struct core *c, struct move *m,
	const struct move_now *now); /* and of what forwarding does with its VM */
void move_time_out(struct core *c, struct move *m);
/* Its VM was heard here: commits it. 0 or an RPC_ code. */
int move_arrive(struct core *c, struct move *m, int16_t attachment, struct fail *f);

/* ---- arriving.c: open moves to this router, and their old routers ---- */

void arriving_init(struct core *c);
void arriving_fini(struct core *c);
uint64_t move_most_ms(struct core *c, const struct move *m); /* that an open one may be as it is */
void arriving_watch(struct core *c);
void arriving_tell(struct core *c, struct move *m);
/* What the old router has heard of it is of before. */
void arriving_unheard(struct move *m);
void arriving_flush(struct core *c);
void arriving_up(struct peer *p);
void arriving_down(struct peer *p);
/* True: the VM has come by a move, which it commits. */
bool arriving_heard(struct core *c, const struct fwd_event *ev);
void arriving_released(struct core *c, const struct fwd_event *ev);
/* Answers move.pause once the old router has heard of it, is away, or has not answered in a second. */
void pause_answer(
	struct core *c, const void *params, bool changed, json_t *result_stolen, struct rpc_request *r);

/* ---- departing.c: VMs of ours that are to move ---- */

void departing_init(struct core *c);
void departing_fini(struct core *c);
void departing_watch(struct core *c);
void departing_told(struct peer *p, struct rpc_request *r, json_t *moves);

/* ---- drains.c ---- */

void drains_init(struct core *c);
int apply_move_finish(struct core *c, const struct move_key_params *p, json_t *out, struct fail *f);
int apply_move_cut(struct core *c, const struct move_key_params *p, json_t *out, struct fail *f);
void drain_remove(struct vm_state *s, unsigned int i); /* the i-th */
/* The VM is to be as here, where drains were removed, if any: for this reason, a word of the record of their moves. */
void drain_end(struct core *c, const struct vm_state *s, const char *why);
/* Keeps core.draining, and with it the clock of drains. */
void drains_track(struct core *c, struct vm_obj *o);
/* Global addresses that neither live nor drain any more lose their sessions; the group is told of our own. */
void drains_release(struct core *c, const struct vm_state *old, const struct vm_state *now);
/* After a start: TCP that was noted before it, of VMs whose sessions nobody looks at any more. Peers have told of open moves by then. */
void drains_release_rest(struct core *c);
void drains_restore(struct core *c, struct vm_obj *o, bool same_boot); /* of a loaded VM */
uint64_t drain_left(struct core *c, uint64_t at);
/* So much of `left` remains after a reboot in which the wall clock advanced by `wall`. */
uint64_t drain_left_after_boot(uint64_t left, int64_t wall);

/* ---- location.c ---- */

void location_init(struct core *c);
/* A change is live: probes for a VM that came, one RARP for one that went. */
void location_changed(struct core *c, struct vm_obj *o, const struct vm_state *old);
void location_event(struct core *c, const struct fwd_event *ev);

/* ---- evidence.c ---- */

void evidence_init(struct core *c);
void evidence_fini(struct core *c);
/* Does a VM that has just moved still speak where it was? Two have its addresses, then. Before evidence_seen(). */
bool evidence_of_two(struct core *c, const struct fwd_event *ev);
/* Nothing of it is kept any more; for one that goes. */
void evidence_forget(struct core *c, struct vm_obj *o);
void evidence_seen(struct core *c, const struct fwd_event *ev);
/* Our VMs that stood behind this port are searched for. */
void evidence_link_down(struct core *c, uint16_t port);

/* ---- callers.c: whose key stands for whom ---- */

void callers_init(struct core *c); /* controllers and observers of the configuration */
void callers_fini(struct core *c);
void peer_identify(struct peer *p); /* its identities by its part of the configuration */
/* Whose key it is: for channel_accept(), which gets the session as `arg`. */
const struct channel_identity *caller_find(void *arg, const uint8_t key[32]);
bool caller_is_known(struct core *c, const struct channel_identity *id); /* still, as it is */

/* ---- reload.c ---- */

void reload_call(struct session *s, struct rpc_request *r, const void *params);

/* ---- peers.c, sync.c, claims.c ---- */

/* It takes less than is reckoned with on the ways of the group. */
bool peer_is_narrow(const struct peer *p);
void peers_init(struct core *c);
int peers_listen(struct core *c, struct err *e);
void peers_start(struct core *c);
/* It is about to be removed: its session is closed, and it is let in no more; or it is not, after all. */
void peer_leave(struct peer *p);
void peer_stay(struct peer *p);
/* The configuration has new content: peers come and go, and who changed is spoken to anew. */
void peers_follow(struct core *c);
void peers_fini(struct core *c);
/* Is the list of sessions of this router (not FWD_SELF) worth waiting for? */
bool peer_may_list(struct core *c, uint8_t router);
void peer_up(struct core *c, struct session *s);
void peer_down(struct core *c, struct session *s);
void peer_alarm(struct peer *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* It has seen this revision of ours: if our store is older, we go on above it. */
void peer_saw_revision(struct peer *p, uint64_t revision);
void peer_told_revision(struct peer *p, uint64_t revision);
/* The exchange ended; not whole: the session did, or claims were refused that may be taken later. */
void peer_exchanged(struct peer *p, bool whole);
/* Something here has changed: what stood in the way of claims that were refused may be gone. */
void peers_retry(struct core *c);
/* Deletions are forgotten: VMs of peers that began anew at a lower epoch can be taken. */
void peers_forgot(struct core *c);

void digest_enter(struct core *c, struct vm_obj *o);
void digest_leave(struct core *c, struct vm_obj *o);
/* A VM that is present comes (+1) or goes (-1), or did so with other content. */
void digest_count(struct core *c, struct vm_obj *o, int by);
void digest_shared(struct peer *p); /* made anew: other segments are shared */
void digest_clear(struct digest *d);
/* The sums of a branch's leaves, until the digest changes. */
const uint64_t *digest_leaves(const struct digest *d, uint8_t branch);
json_t *digest_json(const uint64_t sums[DIGEST_FAN]);
bool digest_well_formed(const json_t *sums);
/* Which of them differ; their number. */
size_t digest_compare(const uint64_t sums[DIGEST_FAN], const json_t *theirs, uint8_t differ[DIGEST_FAN]);

void sync_start(struct peer *p); /* a full exchange, unless one runs */
void sync_stop(struct peer *p);
/* The exchange with this serial, if it still runs; so many claims of it were refused. */
bool sync_go_on(struct peer *p, uint64_t serial, size_t refused);
/* VMs that a peer told us: in answer to an exchange, or by a request that waits for the outcome. */
void claims_new(struct peer *p, json_t *vms, uint64_t exchange, struct rpc_request *r);
/* VMs of our own that a peer remembers, in answer to an exchange. */
void claims_returned(struct peer *p, json_t *vms, uint64_t exchange);
void sync_request(struct session *s, struct rpc_request *r, const char *method, json_t *params);
/* News: our VMs that changed, and our drains that are over. Collected while a group is made live, then sent.
 */
void sync_changed(struct core *c, const struct vm_state *s);
void sync_drain_done(struct core *c, const struct vm_state *s, ip4 global_ip, uint64_t epoch);
void sync_flush(struct core *c);
void news_fini(struct peer *p);

/* ---- handover.c: the sessions of VMs that came here, as their old routers know them ---- */

void handover_init(struct peer *p);
void handover_fini(struct peer *p);
void handover_start(struct core *c); /* after the load */
/* A change of a VM is live: does it wait for a list, and from whom? */
void handover_follow(struct core *c, struct vm_obj *o);
void handover_forget(struct core *c, struct vm_obj *o);
void handover_up(struct peer *p); /* its channel, and down */
void handover_down(struct peer *p);

/* ---- tombstones.c: deletions, remembered until nobody can be wrong about them ---- */

void tombstones_init(struct core *c);
void tombstones_fini(struct core *c);
void tombstones_start(struct core *c);				/* after the load */
void tombstone_count(struct core *c, struct vm_obj *o, int by); /* one comes (+1) or goes (-1) */
/* Room for one more of this owner's? */
int tombstone_check(struct core *c, uint8_t owner, struct fail *f);
/* Collects tombstones that are not needed any more; flush forgets them. */
void tombstone_forget(struct core *c, const struct vm_obj *o);
/* The same, of a VM that lives here and that its owner, a peer, has deleted and forgotten. */
void ghost_end(struct core *c, const struct vm_obj *o);
void tombstones_flush(struct core *c);

/* ---- clients.c ---- */

void clients_follow(struct core *c); /* the configuration; at start, too */
void clients_fini(struct core *c);
/* A session is up; one ends, whose channel is still there. Of peers and local users nothing is noted. */
void client_came(struct session *s);
void client_goes(struct session *s);
json_t *client_json(struct core *c, const struct client *k);

/* ---- dispatch.c ---- */

struct session *session_new(struct core *c, enum channel_role role, const char *name);
void session_close(struct session *s); /* without a word to its peer object */
void session_end(struct session *s, const char *why);
void sessions_follow(struct core *c); /* those whose key is known no more end */
void sessions_trim(struct core *c);
extern const struct channel_ops session_ops;
void sessions_fini(struct core *c);
void dispatch(void *arg, struct rpc_request *r, const char *method, json_t *params);

/* ---- export.c ---- */

json_t *state_export(struct core *c, const struct show_params *p);

/* ---- changes.c: a change is answered once it is live, or refused ---- */

void change_call(struct session *s, struct rpc_request *r, const char *method, const json_t *params);
void txn_apply_call(struct session *s, struct rpc_request *r, const void *params);
void state_replace_call(struct session *s, struct rpc_request *r, const void *params);

/* ---- staged.c: changes that come in parts, and are one transaction at their commit ---- */

void txn_open_call(struct session *s, struct rpc_request *r, const void *params);
void txn_add_call(struct session *s, struct rpc_request *r, const void *params);
void txn_commit_call(struct session *s, struct rpc_request *r, const void *params);
void txn_abort_call(struct session *s, struct rpc_request *r, const void *params);
void staged_gone(struct session *s); /* forgets what it staged */
void staged_init(struct core *c);
void staged_fini(struct core *c);

/* ---- events.c ---- */

enum event_kind {
	EVENT_VM_REGISTERED,
	EVENT_VM_CHANGED,
	EVENT_VM_MOVED,
	EVENT_VM_LOCATED,
	EVENT_VM_UNREGISTERED,
	EVENT_DRAIN_BEGUN,
	EVENT_DRAIN_OVER,
	EVENT_MOVE_PREPARED,
	EVENT_MOVE_PAUSED,
	EVENT_MOVE_BEGUN,
	EVENT_MOVE_ABORTED,
	EVENT_MOVE_DONE,
	EVENT_ROUTE_REPLACED,
	EVENT_ROUTE_DELETED,
	EVENT_PEER_UP,
	EVENT_PEER_SYNCED,
	EVENT_PEER_AWAY,
	EVENT_CONTROLLER_UP,
	EVENT_CONTROLLER_AWAY,
	EVENT_CONTROLLER_TERM,
	EVENT_CONTROLLER_SUPERSEDED,
	EVENT_ALARM,
	EVENT_STORE_REFUSES,
	EVENT_STORE_TAKES,
};

void events_init(struct core *c);
void events_fini(struct core *c);
/* Each is called once what it tells is durable and live. `old`: NULL when the VM was not known. */
void event_vm(struct core *c, const struct vm_state *old, const struct vm_state *now, uint64_t revision);
void event_move(struct core *c, enum event_kind kind, const struct move *m);
void event_route(struct core *c, const struct route_obj *o, uint64_t revision);
void event_note(struct core *c, enum event_kind kind, const char *name, const char *text); /* "" = none */
void event_term(struct core *c, enum event_kind kind, const char *controller, uint64_t term);
/* A controller was refused for its term: told once. */
void event_superseded(struct core *c, const char *controller, uint64_t term);
/* An alarm line in the log, too. peer: the name of one that it is about, or "". */
void event_alarm(struct core *c, const char *peer, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void events_call(struct session *s, struct rpc_request *r, const void *params);
/* What a subscriber has still to hear, as far as its channel takes it now. */
void events_send(struct session *s);

#define WALL_TEXT 40
const char *wall_text(int64_t wall_ms, char text[WALL_TEXT]); /* "2026-11-25T18:52:53.123Z" */

/* ---- audit.c, audit_read.c: the log of changes, in the store ---- */

#define WHO_TEXT 128

void audit_init(struct core *c);
void audit_fini(struct core *c);
int audit_load(struct core *c, const struct env_row *row, struct fail *f);
/* store: what became of it, in a word. */
void audit_start(struct core *c, const char *store);
void audit_stop(struct core *c);
/* Inside txn.audit: an entry of the transaction. `more`, an object as text of printable ASCII, which is taken out of the
 * buffer, is put behind time, who and what. */
void audit_change(struct core *c, const char *who, const char *what, struct buf *more);
/* The same, of what it did to the model. */
void audit_effects(struct core *c, const struct txn *t, const char *who, const char *what);
/* An entry that belongs to no transaction; refusals, and what others can make happen as often as they like, have a rate. */
void audit_note(struct core *c, const char *who, const char *what, json_t *more_stolen);
void audit_refusal(struct core *c, const char *who, const char *what, json_t *more_stolen);
void audit_refused(struct core *c, const char *who, const char *method, int code, const char *why);
json_t *audit_text(const char *text); /* as it may stand in an entry */
const char *audit_who(enum channel_role role, const char *name, char who[WHO_TEXT]);
/* For commits, one after another: begin forgets what a group had, rows appends to `rows` and returns how many there are
 * now, stored tells how it ended. */
bool audit_waits(const struct core *c);
void audit_again(struct core *c); /* what waits may be written now */
void audit_begin(struct core *c);
size_t audit_rows(struct core *c, struct env_row **rows, size_t n);
void audit_stored(struct core *c, bool stored);
void audit_trim(struct core *c);
bool audit_overfull(const struct core *c); /* what goes does not wait for a commit of somebody else */
void audit_check(struct core *c);	   /* of the end of the log; an alarm tells */
void audit_reads_end(struct core *c);
void audit_show(struct session *s, struct rpc_request *r, const void *params);

/* ---- show.c ---- */

/* A VM as it is shown: with the attachment where it stands, when that is known. */
json_t *vm_shown(struct core *c, const struct vm_state *s);

json_t *show(struct core *c, const char *what, const struct show_params *p);

/* ---- watch.c ---- */

/* One page; the first call begins it. */
void trace_call(struct session *s, struct rpc_request *r, const void *params);
void capture_call(struct session *s, struct rpc_request *r, const void *params);
void explain_call(struct session *s, struct rpc_request *r, const void *params);
void watch_gone(struct session *s); /* ends what it watched */

/* ---- metrics.c ---- */

void metrics_call(struct session *s, struct rpc_request *r, const void *params);

/* ---- doctor.c ---- */

void doctor_call(struct session *s, struct rpc_request *r, const void *params);

/* ---- core.c ---- */

void core_ready(struct core *c, bool now);

static inline uint64_t
now_ms(struct core *c)
{
	return env_call(c->env, now_ms);
}

static inline uint64_t
now_us(struct core *c)
{
	return env_call(c->env, now_us);
}

static inline struct env_timer *
timer_new(struct core *c, void (*cb)(void *arg), void *arg)
{
	return env_call(c->env, timer_new, cb, arg);
}

static inline void
timer_set(struct core *c, struct env_timer *t, uint64_t after_ms)
{
	c->env->ops->timer_set(t, after_ms);
}

/* ---- text.c: without memory there is no router, as for zalloc() ---- */

void text_add(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_add_kind(struct buf *b, const struct kind *k, const void *obj);
void text_add_text(struct buf *b, const struct buf *from);
void text_add_bytes(struct buf *b, const void *p, size_t n);
void text_reopen(struct buf *b); /* takes the last brace off, so that members can be added */
char *text_take(struct buf *b);	 /* malloc'ed, ended; the buffer is empty */

/* Memory of the control thread: without it there is no router. */
void *zalloc(size_t n);
/* For what holds keys; secret_free() frees it. */
void *zalloc_secret(size_t n);
