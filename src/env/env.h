/* SPDX-License-Identifier: BSD-3-Clause */
/* env.h - what the control core needs of the world: clock and timers, streams, random, store, forwarding.
 *
 * All of src/control and src/net is written against this and nothing else, so that it runs unchanged on
 * libevent, sockets, SQLite and DPDK (nearwayd), and inside the simulator. One thread calls all of it;
 * every callback comes from the event loop, never from inside the call that asked for it.
 */
#pragma once

#include <common/addr.h>
#include <common/err.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct env;
struct env_timer;
struct env_stream;
struct env_listener;

/* ---- streams: bytes, in order ---- */

struct env_stream_ops {
	void (*connected)(void *arg);			     /* dialled streams only */
	void (*data)(void *arg, const uint8_t *p, size_t n); /* p is valid during the call */
	void (*drained)(void *arg);			     /* everything written has left */
	/* The stream ended (peer, network, or a failed dial); `why` is one line. The stream is gone when
	 * this returns: nothing may be called on it any more. Not called after env_stream_close(). */
	void (*closed)(void *arg, const char *why);
};

struct env_peer_id {	   /* who is at the other end, as the kernel says */
	bool local;	   /* unix socket */
	uint32_t uid, pid; /* local only */
	char text[96];	   /* "unix:uid=0" or "192.0.2.1:40312" */
};

/* ---- store: rows of (kind, key) -> JSON text ---- */

struct env_row {
	const char *kind, *key;
	const char *value; /* JSON text; NULL deletes the row */
};

/* Rows of kind "log" have decimal keys of 20 digits. At start everything but them is loaded. */
struct env_range { /* at most `limit` rows of `kind` with keys above `after` ("" = from the first), by key */
	const char *kind, *after;
	size_t limit;
};

/* ---- forwarding: what the data plane is told ---- */

enum fwd_op { FWD_VM_PUT, FWD_VM_DEL, FWD_ROUTE_PUT, FWD_ROUTE_DEL };

#define FWD_SELF 0 /* router index: 0 is this router, i + 1 is peers[i] of the configuration */

#define FWD_ADDRESSES_MAX 4
#define FWD_DRAINS_MAX	  4

/* `since`: the epoch at which the VM got the global address. A drain that becomes live again keeps it, and so its age. */
struct fwd_address {
	ip4 private_ip, global_ip; /* global 0 = none */
	uint64_t since;
};

struct fwd_drain {
	ip4 private_ip, global_ip;
	uint8_t home; /* router index that translates it */
	bool direct;  /* what the VM sends by it, its owner translates and sends itself */
	uint64_t since;
};

/* What a move that is on its way makes of a VM. */
enum {
	FWD_VM_NOTES = 1, /* its sessions by its live addresses are noted: it is about to leave */
	FWD_VM_OPEN =
		2, /* it came; until the old router's list of sessions has ended, unknown ones are old */
	FWD_VM_HOLDS = 4, /* what is for it at our attachments waits: it is on its way here */
};

struct fwd_vm {
	uint16_t segment; /* index in the configuration */
	struct mac mac;
	uint8_t owner; /* router index */
	/* FWD_SELF: at our own attachments (`attachment` once heard, else -1: every attachment);
	 * else the peer. A VM of another owner: that owner. */
	uint8_t location;
	int16_t attachment;
	uint8_t flags; /* FWD_VM_* */
	uint8_t n_addresses, n_drains;
	struct fwd_address addresses[FWD_ADDRESSES_MAX];
	struct fwd_drain drains[FWD_DRAINS_MAX]; /* oldest first, by `since` */
};

struct fwd_route {
	struct prefix4 prefix;
	ip4 via;      /* 0 = none */
	int16_t port; /* index in the configuration, -1 = found by `via` */
	bool blackhole;
};

struct fwd_change {
	enum fwd_op op;
	union {
		struct fwd_vm vm;	/* VM_DEL: segment and mac */
		struct fwd_route route; /* ROUTE_DEL: prefix */
	};
};

struct fwd_txn; /* prepared changes */

enum fwd_announce { FWD_ARP_PROBE, FWD_RARP, FWD_GARP };

enum fwd_event_kind {
	FWD_VM_SEEN,	 /* a registered VM was heard where the tables do not have it */
	FWD_VM_HEARD,	 /* a VM that is being probed (attachment -1) was heard at an attachment */
	FWD_GW_CONFLICT, /* somebody outside the group claims a gateway address */
	FWD_LOOP,	 /* a group member's router MAC was heard on a DC port */
	FWD_LINK_DOWN,	 /* a DC port lost its link: `port` alone counts */
	FWD_HOLD_OVER,	 /* a worker has no packet left that waited for the VM; one event for each worker */
	FWD_EVENTS
};

struct fwd_traffic { /* through this router; bytes of Ethernet frames */
	uint64_t from_packets, from_bytes, to_packets, to_bytes;
};

struct fwd_round_trip { /* of TCP sessions of a VM, this router between both ends: medians */
	uint64_t to_remote_us, to_vm_us;
	uint64_t samples; /* of the half that has fewer; 0: nothing is known */
};

struct fwd_round_trips {
	struct fwd_round_trip near, old; /* by the VM's live address; by old ones */
};

enum { /* of a TCP session: what its packets have told; and of any, that its home is a guess */
	FWD_SESSION_FIN_FROM_VM = 1,
	FWD_SESSION_FIN_TO_VM = 2,
	FWD_SESSION_RST = 4,
	FWD_SESSION_GUESSED = 8,
};

struct fwd_session {	/* of a VM, and by which of its global addresses it goes */
	uint32_t which; /* of the addresses that were asked for */
	uint16_t segment;
	uint8_t protocol, flags; /* FWD_SESSION_* */
	ip4 private_ip, remote_ip, global_ip;
	uint16_t port, remote_port; /* as in show.sessions */
	uint32_t idle_s;
};

struct fwd_listed { /* whose sessions are asked for */
	uint16_t segment;
	ip4 private_ip;
	uint32_t which; /* the asker's own number */
};

struct fwd_list; /* sessions that are being listed */

struct fwd_learnt { /* what became of sessions that another router has noted */
	size_t noted, known, no_room;
};

struct fwd_segment { /* of this router */
	struct fwd_traffic traffic;
	uint64_t macs, macs_moved,
		macs_refused; /* learnt hosts: now, those that moved, those there was no room for */
};

struct fwd_event {
	enum fwd_event_kind kind;
	uint16_t segment;
	struct mac mac;
	ip4 ip;
	uint8_t location;   /* router index: FWD_SELF = own attachment */
	int16_t attachment; /* when location is FWD_SELF */
	uint16_t port;	    /* FWD_LINK_DOWN: index in the configuration */
	/* FWD_HOLD_OVER: packets that waited; of these, went on; lost for want of room or time */
	uint32_t held, released, dropped;
};

struct json_t;
struct config; /* api/kinds.h */
struct watch_params;
struct explain_params;

struct env_config {		   /* one that was read, and may replace the running one */
	const struct config *next; /* valid until publish or abort */
	struct json_t *changed;	   /* what differs, as text; the caller's reference */
	uint8_t private_key[32];
};

struct env_ops {
	/* clock */
	uint64_t (*now_ms)(void *ctx); /* boot-time clock */
	uint64_t (*now_us)(void *ctx); /* for how long something took; never 0 */
	int64_t (*wall_ms)(void *ctx); /* for logs, and for deadlines across a restart */
	const char *(*boot_id)(void *ctx);
	struct env_timer *(*timer_new)(void *ctx, void (*cb)(void *arg), void *arg);
	void (*timer_set)(struct env_timer *t, uint64_t after_ms); /* one shot; sets it anew */
	void (*timer_stop)(struct env_timer *t);
	void (*timer_free)(struct env_timer *t);
	/* random */
	void (*random)(void *ctx, void *buf, size_t n);
	/* streams. Addresses: "192.0.2.1:7411", "unix:/run/nearway/r-x.sock". Whoever was accepted by TCP is a stranger until
	 * something is written to it; of strangers a few are accepted and read in one turn of the loop. */
	struct env_stream *(*dial)(
		void *ctx, const char *address, const struct env_stream_ops *ops, void *arg);
	struct env_listener *(*listen)(void *ctx, const char *address,
		void (*accepted)(void *arg, struct env_stream *s, const struct env_peer_id *id), void *arg,
		struct err *e);
	void (*listener_close)(struct env_listener *l);
	/* Inside accepted(): says who gets the stream's callbacks. */
	void (*stream_attach)(struct env_stream *s, const struct env_stream_ops *ops, void *arg);
	/* Copies; 0 or -ENOSPC when more than ENV_STREAM_QUEUE_MAX bytes wait (then close it). */
	int (*stream_write)(struct env_stream *s, const void *p, size_t n);
	size_t (*stream_waiting)(const struct env_stream *s); /* bytes that were written and have not left */
	void (*stream_close)(struct env_stream *s);	      /* at once; what was not sent is lost */
	/* Stops and resumes reading, so that TCP pushes back. */
	void (*stream_pause)(struct env_stream *s, bool paused);
	/* store: rows are copied; `done(arg, 0 or -errno)` once durable or refused (then nothing was written) */
	void (*commit)(
		void *ctx, const struct env_row *rows, size_t n, void (*done)(void *arg, int rc), void *arg);
	/* Reads what is stored once all commits asked for before are through. `done(arg, 0 or -errno, rows, n)`; the rows are
	 * valid during the call. */
	void (*read)(void *ctx, const struct env_range *range,
		void (*done)(void *arg, int rc, const struct env_row *rows, size_t n), void *arg);
	/* the configuration, while the router runs. read: the file again, checked whole and against the running one; 0 or
	 * -errno with the reason. What was read waits for publish or abort; one at a time. */
	int (*config_read)(void *ctx, struct env_config *out, struct err *e);
	/* The running configuration, where it is, has the new content, and forwarding follows; cannot fail. */
	void (*config_publish)(void *ctx);
	void (*config_abort)(void *ctx);
	/* forwarding. prepare: everything that can fail, nothing visible; `*txn` to publish or abort. */
	int (*fwd_prepare)(
		void *ctx, const struct fwd_change *c, size_t n, struct fwd_txn **txn, struct err *e);
	/* One pointer swap per VM; cannot fail. `retired(arg)` after the grace period, txn is gone then. */
	void (*fwd_publish)(void *ctx, struct fwd_txn *txn, void (*retired)(void *arg), void *arg);
	void (*fwd_abort)(void *ctx, struct fwd_txn *txn);
	/* One frame on this router's own attachments of the segment: an ARP probe for (mac, ip), a RARP of mac, or a
	 * gratuitous ARP of the gateway to mac alone. */
	void (*fwd_announce)(
		void *ctx, enum fwd_announce what, uint16_t segment, const struct mac *mac, ip4 ip);
	/* *n: sessions whose home is this global address, by the last count. False: that is not fresh any more; a new count has
	 * begun, and the call is worth repeating after a second. */
	bool (*fwd_sessions)(void *ctx, ip4 global_ip, uint64_t *n);
	/* Frees the sessions of an address that no VM has; of one whose VM has no other, and is not about to leave, those of TCP: what
	 * is not noted is older than what will be. */
	void (*fwd_sessions_free)(void *ctx, ip4 global_ip);
	/* Lists the noted sessions of some addresses in one walk over all sessions, in pages of about `limit`: a few hundred more
	 * at most, fewer only in the last one. The addresses are copied. NULL: no memory. */
	struct fwd_list *(*fwd_list_new)(void *ctx, const struct fwd_listed *of, size_t n, size_t limit);
	/* The next page; `more` is false with the last one. The rows are valid during the call, which may free the list. One page at
	 * a time. */
	void (*fwd_list_next)(struct fwd_list *l,
		void (*page)(void *arg, const struct fwd_session *rows, size_t n, bool more), void *arg);
	void (*fwd_list_free)(struct fwd_list *l); /* at any time: no page comes any more */
	/* Notes sessions that another router has noted; of those that are noted here, what is here stays, but for a guess. */
	void (*fwd_sessions_learn)(
		void *ctx, const struct fwd_session *rows, size_t n, struct fwd_learnt *out);
	/* A view that only forwarding knows: "status", "neighbours", "ports", "sessions", "macs", "drops", "every-drop" (those of
	 * 0, too), "stages", "routes", and "doctor", which is rows of api/finding.h alone. Returns a new json_t reference
	 * {"rows": [...], "next": cursor or absent} or an object; NULL for an unknown view. */
	struct json_t *(*fwd_show)(void *ctx, const char *what, const char *cursor, uint64_t limit);
	/* Of a VM (all zero where forwarding has none); of a segment. */
	void (*fwd_vm_traffic)(void *ctx, uint16_t segment, const struct mac *mac, struct fwd_traffic *out);
	/* Of a VM of this router's that drains or is about to leave, since it does; all zero where nothing was timed. */
	void (*fwd_round_trips)(
		void *ctx, uint16_t segment, const struct mac *mac, struct fwd_round_trips *out);
	void (*fwd_segment)(void *ctx, uint16_t segment, struct fwd_segment *out);
	/* A peer has been away for long, or is back: VMs whose sessions have their home there are told. */
	void (*fwd_router_away)(void *ctx, uint8_t router, bool away);
	/* Begins to follow packets (trace), or to copy them (capture); one of them at a time. 0 or -errno. */
	int (*fwd_watch)(void *ctx, const struct watch_params *p, bool capture, struct err *e);
	/* What came since the last call: {"rows": [...], "lost": n}; new reference. Sets *more to false with the last rows,
	 * and then it is over. */
	struct json_t *(*fwd_watched)(void *ctx, bool *more);
	void (*fwd_unwatch)(void *ctx); /* whoever asked is gone */
	/* What would happen to a packet: {"rows": [...]}; new reference, or NULL with the reason. */
	struct json_t *(*fwd_explain)(void *ctx, const struct explain_params *p, struct err *e);
	/* Who gets forwarding's events; called once, at start. */
	void (*fwd_subscribe)(void *ctx, void (*event)(void *arg, const struct fwd_event *ev), void *arg);
};

/* Holds what the core may have on its way to one peer: UNACKED_MAX updates of UPDATE_VMS VMs at their longest. */
#define ENV_STREAM_QUEUE_MAX (16u << 20)

struct env {
	const struct env_ops *ops;
	void *ctx;
};

/* env_call(env, now_ms) -> env->ops->now_ms(env->ctx) */
#define env_call(env, op, ...) ((env)->ops->op((env)->ctx, ##__VA_ARGS__))
