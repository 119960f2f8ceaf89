/* SPDX-License-Identifier: BSD-3-Clause */
/* metrics.c - what show.* tells in numbers, in the text format of Prometheus (exposition format 0.0.4).
 *
 * Every figure has one source, a view; the table below says where in it a metric is found, and what it is called. Of single VMs there is nothing:
 * a series for each would be too many. `show counters` has them.
 */
#include "state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum type { GAUGE, COUNTER };

struct metric {
	const char *name; /* behind "nearway_" */
	enum type type;
	const char *help; /* NULL: of the metric before, which has the same name */
	const char *view; /* of show.* */
	/* In the view a list of rows, or an object whose members are rows; NULL: the view itself is the only one. Dots lead into objects. */
	const char *rows;
	const char *label; /* its value is the row's `key`, or for an object the member's name */
	const char *key;
	const char *value; /* in the row; NULL: the row */
	const char *is;	   /* the value is a text: 1 when it is this one */
	const char *fixed; /* another label, as it is printed */
	double scale;	   /* 0: as it is */
};

/* view, rows, label, key */
#define IN_STATUS   "status", NULL, NULL, NULL
#define BY_WORKER   "status", "workers", "worker", "worker"
#define BY_STEP	    "move-times", "rows", "step", "what"
#define BY_PORT	    "ports", "rows", "port", "port"
#define BY_SEGMENT  "segments", "rows", "segment", "name"
#define BY_PEER	    "peers", "rows", "peer", "name"
#define BY_STAGE    "stages", "rows", "stage", "stage"
#define MOVES(s)    IN_STATUS, "moves-" s, .fixed = "state=\"" s "\""
#define TABLE(n)    IN_STATUS, "tables." n, .fixed = "table=\"" n "\""
#define QUANTILE(q) .fixed = "quantile=\"" q "\"", .scale = 1e-6

static const struct metric metrics[] = {
	{"uptime_seconds", GAUGE, "How long the router runs.", IN_STATUS, "uptime-ms", .scale = 1e-3},
	{"ready", GAUGE, "1 once it forwards.", IN_STATUS, "ready"},
	{"revision", GAUGE, "Changes of its VMs and routes.", IN_STATUS, "revision"},
	{"vms", GAUGE, "VMs of the group.", IN_STATUS, "vms"},
	{"own_vms", GAUGE, "VMs that are registered here.", IN_STATUS, "own-vms"},
	{"tombstones", GAUGE, "Deleted VMs that are remembered.", IN_STATUS, "tombstones"},
	{"moves", GAUGE, "Moves that are on their way, by state.", MOVES("prepared")},
	{"moves", GAUGE, NULL, MOVES("paused")},
	{"moves", GAUGE, NULL, MOVES("draining")},
	{"move_times_measured_total", COUNTER, "Moves to this router that were measured, by step.", BY_STEP,
		"moves"},
	{"move_time_seconds", GAUGE, "How long the steps of moves to this router took, since its start.",
		BY_STEP, "p50-us", QUANTILE("0.5")},
	{"move_time_seconds", GAUGE, NULL, BY_STEP, "p99-us", QUANTILE("0.99")},
	{"move_time_seconds", GAUGE, NULL, BY_STEP, "max-us", QUANTILE("1")},
	{"store_takes_changes", GAUGE, "0: it refuses, and so changes are refused.", IN_STATUS, "store.state",
		.is = "ok"},
	{"log_entries_total", COUNTER, "Entries of the log of changes.", IN_STATUS, "log.last"},
	{"gateway_conflicts_total", COUNTER, "Claims of a gateway's address by a stranger.", IN_STATUS,
		"evidence.gateway-conflicts"},
	{"loops_total", COUNTER, "Loops between the tunnel and an attachment that were heard.", IN_STATUS,
		"evidence.loops"},
	{"strangers_refused_total", COUNTER, "Callers without a key that is known.", IN_STATUS,
		"strangers.refused"},
	{"strangers_turned_away_total", COUNTER, "Callers for whom there was no room.", IN_STATUS,
		"strangers.turned-away"},

	{"controller_up", GAUGE, "1: a controller or observer is connected.", "controllers", "rows",
		"controller", "name", "state", .is = "up"},
	{"peer_up", GAUGE, "1: it is here, and told all of its VMs.", BY_PEER, "state", .is = "synced"},
	{"peer_agrees", GAUGE, "1: it has the same VMs of either as this router.", BY_PEER, "agrees"},
	{"peer_differing_vms", GAUGE, "Of its VMs those that are not the same here and there.", BY_PEER,
		"differing"},
	{"peer_vms", GAUGE, "VMs that are registered there.", BY_PEER, "vms"},
	{"peer_claims_accepted_total", COUNTER, "What it told of VMs, and was taken.", BY_PEER, "accepted"},
	{"peer_claims_refused_total", COUNTER, "What it told of VMs, and was refused.", BY_PEER, "refused"},
	{"peer_sessions_noted_total", COUNTER,
		"Sessions of moved VMs that it has listed, and that were noted.", BY_PEER, "sessions-noted"},
	{"peer_sessions_no_room_total", COUNTER, "Those that there was no room for.", BY_PEER,
		"sessions-no-room"},

	{"worker_received_packets_total", COUNTER, "Received by a worker.", BY_WORKER, "received"},
	{"worker_made_packets_total", COUNTER, "Made: copies, fragments, answers.", BY_WORKER, "made"},
	{"worker_released_packets_total", COUNTER, "Held before, and released.", BY_WORKER, "released"},
	{"worker_sent_packets_total", COUNTER, "Sent.", BY_WORKER, "sent"},
	{"worker_dropped_packets_total", COUNTER, "Dropped; nearway_drops_total says why.", BY_WORKER,
		"dropped"},
	{"worker_held_packets_total", COUNTER, "Held for a next hop, a VM or a first fragment.", BY_WORKER,
		"held"},
	{"worker_punted_packets_total", COUNTER, "Given to the kernel.", BY_WORKER, "punted"},
	{"worker_passed_packets_total", COUNTER, "Passed on to another worker.", BY_WORKER, "passed"},
	{"worker_sleeps_total", COUNTER, "How often it slept for want of packets.", BY_WORKER, "sleeps"},
	{"imbalance_packets", GAUGE, "Packets that are not accounted for; not 0 is a fault.", IN_STATUS,
		"packets.imbalance"},
	{"drops_total", COUNTER, "Dropped packets, by reason.", "every-drop", "rows", "reason", "reason",
		"packets"},
	{"made_total", COUNTER, "Packets that were made, by reason.", "status", "made", "reason"},
	{"stage_packets_total", COUNTER, "Packets of a stage of the pipeline.", BY_STAGE, "packets"},
	{"stage_calls_total", COUNTER, "Bursts of a stage of the pipeline.", BY_STAGE, "calls"},
	{"worker_events_total", COUNTER, "Events that workers told, by kind.", "status", "events", "kind",
		.value = "told"},
	{"worker_events_lost_total", COUNTER, "Events that were not told, for there were too many.", "status",
		"events", "kind", .value = "lost"},

	{"port_up", GAUGE, "1: the link is up.", BY_PORT, "link", .is = "up"},
	{"port_receive_packets_total", COUNTER, "Received by a port.", BY_PORT, "rx-packets"},
	{"port_receive_bytes_total", COUNTER, "Bytes of these, as Ethernet frames.", BY_PORT, "rx-bytes"},
	{"port_receive_missed_total", COUNTER, "Packets that came when there was no room.", BY_PORT,
		"rx-missed"},
	{"port_transmit_packets_total", COUNTER, "Sent by a port.", BY_PORT, "tx-packets"},
	{"port_transmit_bytes_total", COUNTER, "Bytes of these, as Ethernet frames.", BY_PORT, "tx-bytes"},
	{"port_transmit_drops_total", COUNTER, "Packets that the port did not take.", BY_PORT, "tx-drops"},
	{"port_transmit_errors_total", COUNTER, "Packets that the device failed to send.", BY_PORT,
		"tx-errors"},

	{"segment_vms", GAUGE, "VMs of a segment.", BY_SEGMENT, "vms"},
	{"segment_own_vms", GAUGE, "VMs of a segment that are registered here.", BY_SEGMENT, "own-vms"},
	{"segment_from_packets_total", COUNTER, "What came in on a segment.", BY_SEGMENT, "from-packets"},
	{"segment_from_bytes_total", COUNTER, "Bytes of these, as Ethernet frames.", BY_SEGMENT,
		"from-bytes"},
	{"segment_to_packets_total", COUNTER, "What was given to a segment.", BY_SEGMENT, "to-packets"},
	{"segment_to_bytes_total", COUNTER, "Bytes of these, as Ethernet frames.", BY_SEGMENT, "to-bytes"},
	{"segment_macs", GAUGE, "MAC addresses that were learnt.", BY_SEGMENT, "macs"},
	{"segment_macs_refused_total", COUNTER, "MAC addresses that there was no room for.", BY_SEGMENT,
		"macs-refused"},

	{"table_entries", GAUGE, "Entries of a table of the data plane.", TABLE("vms")},
	{"table_entries", GAUGE, NULL, TABLE("routes")},
	{"table_entries", GAUGE, NULL, TABLE("neighbours")},
	{"table_entries", GAUGE, NULL, TABLE("macs")},
	{"table_entries", GAUGE, NULL, TABLE("sessions")},
	{"sessions_full_total", COUNTER, "Sessions that were not noted: there was no room.", IN_STATUS,
		"sessions-full"},
	{"home_away_total", COUNTER, "Packets of sessions whose home is away for long.", IN_STATUS,
		"home-away"},
	{"packet_buffers", GAUGE, "Packet buffers in all.", IN_STATUS, "mbufs"},
	{"packet_buffers_free", GAUGE, "Those that nobody has.", IN_STATUS, "mbufs-free"},
	{"own_frames_lost_total", COUNTER, "Frames of the router itself that could not be sent.", IN_STATUS,
		"own-frames-lost"},
};

/* ---- values ---- */

/* "a.b" in a row; the row itself for NULL. */
static const json_t *
member(const json_t *row, const char *path)
{
	char key[64];
	size_t n;

	for (; path && row && *path; path += n + (path[n] == '.')) {
		n = strcspn(path, ".");
		snprintf(key, sizeof(key), "%.*s", (int)n, path);
		row = json_object_get(row, key);
	}
	return row;
}

/* False: it is no number, and nothing is told. */
static bool
number_of(const struct metric *m, const json_t *v, double *number)
{
	const char *s = json_string_value(v);

	if (m->is)
		*number = s && strcmp(s, m->is) == 0;
	else if (json_is_boolean(v))
		*number = json_is_true(v);
	else if (json_is_number(v))
		*number = json_number_value(v);
	else
		return false;
	if (m->scale > 0)
		*number *= m->scale;
	return true;
}

/* ---- text; no name that is a label has a character that would have to be marked ---- */

static void
put_sample(FILE *out, const struct metric *m, const char *of, const json_t *row)
{
	const json_t *key = m->key ? json_object_get(row, m->key) : NULL;
	double number;
	char text[32];

	if (!number_of(m, member(row, m->value), &number))
		return;
	if (json_is_integer(key)) { /* of workers */
		snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(key));
		of = text;
	} else if (key) {
		of = json_string_value(key);
	}
	fprintf(out, "nearway_%s", m->name);
	if (m->label || m->fixed) {
		fputc('{', out);
		if (m->label)
			fprintf(out, "%s=\"%s\"", m->label, of ? of : "");
		fprintf(out, "%s%s}", m->label && m->fixed ? "," : "", m->fixed ? m->fixed : "");
	}
	/* Counters are whole, and exact up to 2^53. */
	if (number > -1e15 && number < 1e15 && number == (double)(int64_t)number)
		fprintf(out, " %" PRId64 "\n", (int64_t)number);
	else
		fprintf(out, " %.9g\n", number);
}

static void
put_metric(FILE *out, const struct metric *m, const json_t *view)
{
	const json_t *rows = member(view, m->rows);
	const char *name;
	json_t *row;
	size_t i;

	if (m->help)
		fprintf(out, "# HELP nearway_%s %s\n# TYPE nearway_%s %s\n", m->name, m->help, m->name,
			m->type == COUNTER ? "counter" : "gauge");
	if (!m->rows) {
		put_sample(out, m, NULL, view);
		return;
	}
	json_array_foreach(rows, i, row) put_sample(out, m, NULL, row);
	json_object_foreach((json_t *)(uintptr_t)rows, name, row) put_sample(out, m, name, row);
}

static void
put_info(struct core *c, FILE *out)
{
	fprintf(out,
		"# HELP nearway_info Which router this is.\n# TYPE nearway_info gauge\n"
		"nearway_info{router=\"%s\",site=\"%s\",version=\"%s\"} 1\n",
		c->conf->router.name, c->conf->router.site, NEARWAY_VERSION);
}

/* A view is asked once, so that what belongs together is of one moment. */
static const json_t *
view_of(struct core *c, json_t *views, const char *name)
{
	static const struct show_params all = {.since = UINT64_MAX};
	json_t *v = json_object_get(views, name);

	if (v)
		return v;
	v = show(c, name, &all);
	json_object_set_new(views, name, v ? v : json_null());
	return json_object_get(views, name);
}

char *
core_metrics(struct core *c, size_t *n)
{
	json_t *views = json_object();
	char *text = NULL;
	FILE *out = open_memstream(&text, n);

	if (out) {
		put_info(c, out);
		for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++)
			put_metric(out, &metrics[i], view_of(c, views, metrics[i].view));
		if (fclose(out) != 0) {
			free(text);
			text = NULL;
		}
	}
	json_decref(views);
	return text;
}

void
metrics_call(struct session *s, struct rpc_request *r, const void *params)
{
	size_t n;
	char *text = core_metrics(s->core, &n);

	(void)params;
	if (text)
		rpc_reply(r, json_pack("{s:s}", "text", text));
	else
		rpc_fail(r, RPC_INTERNAL, NULL, "no memory");
	free(text);
}
