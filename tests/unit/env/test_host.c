/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <common/log.h>
#include <env/host.h>
#include <event2/event.h>

struct world {
	struct host *h;
	struct env *env;
	struct env_timer *guard; /* no test hangs */
	char dir[64], socket[96], address[104];
};

static void
guard_fires(void *arg)
{
	host_stop(((struct world *)arg)->h, 99);
}

static int
set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->h = host_new(NULL);
	assert_non_null(w->h);
	w->env = host_env(w->h);
	w->guard = env_call(w->env, timer_new, guard_fires, w);
	w->env->ops->timer_set(w->guard, 20000);
	strcpy(w->dir, "/tmp/nearway-host-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->socket, sizeof(w->socket), "%s/s", w->dir);
	snprintf(w->address, sizeof(w->address), "unix:%s", w->socket);
	*state = w;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *w = *state;

	w->env->ops->timer_free(w->guard);
	host_free(w->h);
	unlink(w->socket);
	assert_int_equal(rmdir(w->dir), 0);
	free(w);
	return 0;
}

/* ---- clock, timers, random ---- */

struct ticks {
	struct world *w;
	struct env_timer *t[4];
	int order[16], n;
};

struct tick {
	struct ticks *all;
	int id;
};

static void
note_tick(void *arg)
{
	struct tick *t = arg;

	t->all->order[t->all->n++] = t->id;
	if (t->all->n == 3)
		host_stop(t->all->w->h, 7);
}

static void
timers_fire_in_order_and_stopped_ones_do_not(void **state)
{
	struct world *w = *state;
	struct ticks all = {.w = w};
	struct tick ticks[4];

	for (int i = 0; i < 4; i++) {
		ticks[i] = (struct tick){&all, i};
		all.t[i] = env_call(w->env, timer_new, note_tick, &ticks[i]);
	}
	uint64_t start = env_call(w->env, now_ms);

	w->env->ops->timer_set(all.t[1], 10);
	w->env->ops->timer_set(all.t[3], 15);
	w->env->ops->timer_stop(all.t[3]);
	w->env->ops->timer_set(all.t[2], 20); /* what stays is set in order: time may pass in between */
	w->env->ops->timer_set(all.t[1], 30); /* anew */
	w->env->ops->timer_set(all.t[0], 40);
	assert_int_equal(host_run(w->h), 7);
	assert_true(env_call(w->env, now_ms) - start >= 40);
	assert_int_equal(all.order[0], 2);
	assert_int_equal(all.order[1], 1);
	assert_int_equal(all.order[2], 0);
	for (int i = 0; i < 4; i++)
		w->env->ops->timer_free(all.t[i]);
}

struct many {
	struct world *w;
	struct env_timer *t[500];
	uint64_t due[500], late[500],
		last; /* due: at the earliest; late: at the latest, should the clock tick meanwhile */
	unsigned int fired, set;
};

struct one {
	struct many *m;
	int i;
};

static void
check_one(void *arg)
{
	struct one *o = arg;
	struct many *m = o->m;
	uint64_t now = env_call(m->w->env, now_ms);

	assert_true(now >= m->due[o->i]);
	assert_true(m->late[o->i] >= m->last);
	if (m->due[o->i] > m->last)
		m->last = m->due[o->i];
	m->due[o->i] = 0;
	if (++m->fired == m->set)
		host_stop(m->w->h, 0);
}

static void
five_hundred_timers_set_and_stopped_at_random_keep_their_order(void **state)
{
	struct world *w = *state;
	struct many m = {.w = w};
	static struct one ones[500];

	srandom(3);
	for (int i = 0; i < 500; i++) {
		ones[i] = (struct one){&m, i};
		m.t[i] = env_call(w->env, timer_new, check_one, &ones[i]);
	}
	for (int k = 0; k < 3000; k++) {
		int i = (int)(random() % 500);
		uint64_t after = 50 + (uint64_t)random() % 100;

		if (random() % 3 == 0) {
			w->env->ops->timer_stop(m.t[i]);
			m.due[i] = 0;
			continue;
		}
		m.due[i] = env_call(w->env, now_ms) + after;
		w->env->ops->timer_set(m.t[i], after);
		m.late[i] = env_call(w->env, now_ms) + after;
	}
	for (int i = 0; i < 500; i++)
		m.set += m.due[i] != 0;
	assert_true(m.set > 100);
	assert_int_equal(host_run(w->h), 0);
	assert_int_equal(m.fired, m.set);
	for (int i = 0; i < 500; i++)
		w->env->ops->timer_free(m.t[i]);
}

static void
random_fills_all_and_boot_id_is_known(void **state)
{
	struct world *w = *state;
	uint8_t a[64] = {0}, b[64] = {0};

	env_call(w->env, random, a, sizeof(a));
	env_call(w->env, random, b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_int_equal(strlen(env_call(w->env, boot_id)), 36);
	assert_true(env_call(w->env, wall_ms) > INT64_C(1600000000000));
}

/* ---- streams ---- */

struct side {
	struct world *w;
	struct env_stream *s;
	struct env_listener *l;
	struct env_peer_id id;
	size_t got, expected, drained;
	bool echo, connected, hold;
	char why[100];
	uint8_t next; /* byte of the sequence */
};

static void
side_connected(void *arg)
{
	((struct side *)arg)->connected = true;
}

static void
side_data(void *arg, const uint8_t *p, size_t n)
{
	struct side *x = arg;

	for (size_t i = 0; i < n; i++)
		assert_int_equal(p[i], x->next++);
	x->got += n;
	if (x->echo)
		assert_int_equal(x->w->env->ops->stream_write(x->s, p, n), 0);
	if (x->expected != 0 && x->got >= x->expected)
		host_stop(x->w->h, 1);
}

static void
side_drained(void *arg)
{
	((struct side *)arg)->drained++;
}

static void
side_closed(void *arg, const char *why)
{
	struct side *x = arg;

	x->s = NULL;
	snprintf(x->why, sizeof(x->why), "%s", why);
	host_stop(x->w->h, 2);
}

static const struct env_stream_ops side_ops = {side_connected, side_data, side_drained, side_closed};

static void
side_accepted(void *arg, struct env_stream *s, const struct env_peer_id *id)
{
	struct side *x = arg;

	x->s = s;
	x->id = *id;
	x->w->env->ops->stream_attach(s, &side_ops, x);
	if (x->hold)
		x->w->env->ops->stream_pause(s, true);
}

static void
write_sequence(struct side *x, size_t n)
{
	uint8_t *p = malloc(n);

	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)i;
	assert_int_equal(x->w->env->ops->stream_write(x->s, p, n), 0);
	free(p);
}

static void
echo_over(struct world *w, const char *address)
{
	struct side server = {.w = w, .echo = true}, client = {.w = w, .expected = 300000};

	server.l = env_call(w->env, listen, address, side_accepted, &server, NULL);
	assert_non_null(server.l);
	client.s = env_call(w->env, dial, address, &side_ops, &client);
	assert_false(client.connected); /* only from the loop */
	write_sequence(&client, 300000);
	assert_int_equal(host_run(w->h), 1);
	assert_true(client.connected);
	assert_int_equal(client.got, 300000);
	assert_true(client.drained > 0);
	w->env->ops->stream_close(client.s);
	assert_int_equal(host_run(w->h), 2);
	assert_string_equal(server.why, "closed by peer");
	assert_int_equal(server.id.local, strncmp(address, "unix:", 5) == 0);
	if (server.id.local) {
		assert_int_equal(server.id.uid, getuid());
		assert_int_equal(server.id.pid, getpid());
	}
	w->env->ops->listener_close(server.l);
}

/* Of the loopback, with a port that the kernel gives and hardly gives to anybody else soon. False: no such address. */
static bool
free_address(sa_family_t family, const char *format, char *address, size_t size)
{
	struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct sockaddr *any = family == AF_INET ? (struct sockaddr *)&any4 : (struct sockaddr *)&any6;
	socklen_t len = family == AF_INET ? sizeof(any4) : sizeof(any6);
	int fd = socket(family, SOCK_STREAM, 0);
	bool bound = fd >= 0 && bind(fd, any, len) == 0 && getsockname(fd, any, &len) == 0;

	if (fd >= 0)
		close(fd);
	snprintf(address, size, format, ntohs(family == AF_INET ? any4.sin_port : any6.sin6_port));
	return bound;
}

static void
bytes_go_both_ways_over_tcp_and_unix(void **state)
{
	struct world *w = *state;
	char address[64];

	echo_over(w, w->address);
	assert_true(free_address(AF_INET, "127.0.0.1:%u", address, sizeof(address)));
	echo_over(w, address);
	if (free_address(AF_INET6, "[::1]:%u", address, sizeof(address)))
		echo_over(w, address);
	else
		print_message("no IPv6 on this machine\n");
}

static void
socket_file_is_private_and_goes_away_with_its_listener(void **state)
{
	struct world *w = *state;
	struct side server = {.w = w};
	struct stat st;
	mode_t old = umask(0);

	server.l = env_call(w->env, listen, w->address, side_accepted, &server, NULL);
	umask(old);
	assert_int_equal(stat(w->socket, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	w->env->ops->listener_close(server.l);
	assert_int_equal(stat(w->socket, &st), -1);
}

static void
stale_socket_file_is_replaced_a_live_one_and_a_plain_file_are_not(void **state)
{
	struct world *w = *state;
	struct side server = {.w = w};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct err e;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(un.sun_path, w->socket);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	close(fd); /* as after kill -9 */
	server.l = env_call(w->env, listen, w->address, side_accepted, &server, &e);
	assert_non_null(server.l);
	assert_null(env_call(w->env, listen, w->address, side_accepted, &server, &e));
	assert_non_null(strstr(e.text, "another process listens"));
	w->env->ops->listener_close(server.l);
	fd = open(w->socket, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_null(env_call(w->env, listen, w->address, side_accepted, &server, &e));
	assert_non_null(strstr(e.text, "no socket"));
}

static void
dial_that_fails_says_why_from_the_loop(void **state)
{
	static const char *const addresses[] = {
		"127.0.0.1:1", "unix:/nonexistent/x", "nonsense", "host.example:1", ""};
	static const char *const whys[] = {
		"refused", "No such file", "not an address", "not an address", "not an address"};
	struct world *w = *state;

	for (int i = 0; i < 5; i++) {
		struct side client = {.w = w};

		client.s = env_call(w->env, dial, addresses[i], &side_ops, &client);
		assert_non_null(client.s);
		assert_string_equal(client.why, "");
		assert_int_equal(host_run(w->h), 2);
		assert_non_null(strstr(client.why, whys[i]));
	}
}

static void
paused_reader_pushes_back_and_the_queue_is_bounded(void **state)
{
	struct world *w = *state;
	struct side server = {.w = w, .hold = true}, client = {.w = w};
	static uint8_t chunk[65536];
	size_t sent = 0;
	int rc = 0;

	for (size_t i = 0; i < sizeof(chunk); i++)
		chunk[i] = (uint8_t)i;
	server.l = env_call(w->env, listen, w->address, side_accepted, &server, NULL);
	client.s = env_call(w->env, dial, w->address, &side_ops, &client);
	while (sent < (64u << 20) && (rc = w->env->ops->stream_write(client.s, chunk, sizeof(chunk))) == 0)
		sent += sizeof(chunk);
	assert_int_equal(rc, -ENOSPC);
	assert_int_equal(sent, ENV_STREAM_QUEUE_MAX);
	w->env->ops->timer_set(w->guard, 100);
	assert_int_equal(host_run(w->h), 99);
	assert_int_equal(server.got, 0);
	assert_in_range(w->env->ops->stream_waiting(client.s), 1, sent - 1); /* the kernel has the rest */
	w->env->ops->timer_set(w->guard, 20000);
	server.expected = sent;
	w->env->ops->stream_pause(server.s, false);
	assert_int_equal(host_run(w->h), 1);
	assert_int_equal(server.got, sent);
	assert_int_equal(w->env->ops->stream_waiting(client.s), 0);
	w->env->ops->stream_close(client.s);
	w->env->ops->stream_close(server.s);
	w->env->ops->listener_close(server.l);
}

static void
close_in_data(void *arg, const uint8_t *p, size_t n)
{
	struct side *x = arg;

	(void)p;
	(void)n;
	x->w->env->ops->stream_close(x->s);
	host_stop(x->w->h, 3);
}

static void
stream_may_be_closed_inside_its_own_callback(void **state)
{
	static const struct env_stream_ops closing = {
		side_connected, close_in_data, side_drained, side_closed};
	struct world *w = *state;
	struct side server = {.w = w, .echo = true}, client = {.w = w};

	server.l = env_call(w->env, listen, w->address, side_accepted, &server, NULL);
	client.s = env_call(w->env, dial, w->address, &closing, &client);
	write_sequence(&client, 10);
	assert_int_equal(host_run(w->h), 3);
	assert_int_equal(host_run(w->h), 2);
	assert_string_equal(client.why, "");
	w->env->ops->listener_close(server.l);
}

/* ---- strangers ---- */

#define CROWD 40

struct crowd { /* the listener's side of many connections */
	struct world *w;
	size_t accepted, accepted_now, read, read_now;
	struct env_stream *streams[CROWD];
};

static void
crowd_data(void *arg, const uint8_t *p, size_t n)
{
	struct crowd *x = arg;

	(void)p;
	x->read += n;
	x->read_now += n;
}

static void
crowd_closed(void *arg, const char *why)
{
	(void)arg;
	fail_msg("%s", why);
}

static void
crowd_drained(void *arg)
{
	(void)arg;
}

static const struct env_stream_ops crowd_ops = {NULL, crowd_data, crowd_drained, crowd_closed};

static void
crowd_accepted(void *arg, struct env_stream *s, const struct env_peer_id *id)
{
	struct crowd *x = arg;

	(void)id;
	x->streams[x->accepted++] = s;
	x->accepted_now++;
	x->w->env->ops->stream_attach(s, &crowd_ops, x);
}

/* One byte each. */
static void
crowd_dials(const char *address, int fds[CROWD])
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};

	sa.sin_port = htons((uint16_t)atoi(strchr(address, ':') + 1));
	for (size_t i = 0; i < CROWD; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM, 0);
		assert_int_equal(connect(fds[i], (struct sockaddr *)&sa, sizeof(sa)), 0);
		assert_int_equal(send(fds[i], "x", 1, 0), 1);
	}
}

/* C-21: 40 at once, and nobody waits for more than a few of them. */
static void
strangers_are_served_a_few_in_each_turn(void **state)
{
	struct world *w = *state;
	struct side known = {.w = w, .echo = true}, client = {.w = w};
	struct crowd x = {.w = w};
	struct env_listener *l;
	char address[64];
	int fds[CROWD], turns = 0;

	known.l = env_call(w->env, listen, w->address, side_accepted, &known, NULL);
	client.s = env_call(w->env, dial, w->address, &side_ops, &client);
	assert_true(free_address(AF_INET, "127.0.0.1:%u", address, sizeof(address)));
	l = env_call(w->env, listen, address, crowd_accepted, &x, NULL);
	assert_non_null(l);
	crowd_dials(address, fds);
	for (; x.read < CROWD; turns++) {
		x.accepted_now = x.read_now = 0;
		write_sequence(&client, 256);
		event_base_loop(host_base(w->h), EVLOOP_ONCE);
		assert_in_range(x.accepted_now, 0, 8);
		assert_in_range(x.read_now, 0, 4);
		if (turns >
			4) /* what crosses the socket takes a turn each way, and no more for the crowd's sake */
			assert_true(client.got + 4 * 256 >= (size_t)turns * 256);
	}
	assert_in_range(turns, CROWD / 4, 2 * CROWD);
	for (size_t i = 0; i < CROWD; i++) { /* who was answered is a stranger no more */
		assert_int_equal(w->env->ops->stream_write(x.streams[i], "y", 1), 0);
		assert_int_equal(send(fds[i], "x", 1, 0), 1);
	}
	x.read_now = 0;
	event_base_loop(host_base(w->h), EVLOOP_ONCE);
	assert_true(x.read_now > CROWD / 2);
	for (size_t i = 0; i < CROWD; i++) {
		w->env->ops->stream_close(x.streams[i]);
		close(fds[i]);
	}
	w->env->ops->stream_close(client.s);
	w->env->ops->stream_close(known.s);
	w->env->ops->listener_close(known.l);
	w->env->ops->listener_close(l);
}

/* ---- store ---- */

struct fake_store {
	pthread_t thread;
	unsigned int commits, fail_at;
	char log[4096];
};

static int
commit(void *store, const struct env_row *rows, size_t n)
{
	struct fake_store *s = store;

	s->thread = pthread_self();
	s->commits++;
	for (size_t i = 0; i < n; i++) {
		strcat(s->log, rows[i].key);
		strcat(s->log, rows[i].value != NULL ? rows[i].value : "-");
		strcat(s->log, " ");
	}
	usleep(1000);
	return s->commits == s->fail_at ? -ENOSPC : 0;
}

/* Rows a to e, one each. */
static int
read_rows(
	void *store, const struct env_range *range, int (*row)(void *arg, const struct env_row *r), void *arg)
{
	struct fake_store *s = store;

	strcat(s->log, "read ");
	for (char key[] = "a"; key[0] <= 'e'; key[0]++)
		if (strcmp(key, range->after) > 0 && range->limit > 0)
			row(arg, &(struct env_row){range->kind, key, "v"});
	return s->commits == s->fail_at ? -EIO : 0;
}

static const struct host_store_ops store_ops = {.commit = commit, .read = read_rows};

struct commits {
	struct world *w;
	int rc[8];
	unsigned int n, until;
	pthread_t thread;
};

static void
committed(void *arg, int rc)
{
	struct commits *c = arg;

	c->thread = pthread_self();
	c->rc[c->n++] = rc;
	if (c->n == c->until)
		host_stop(c->w->h, 5);
}

static void
commits_run_in_order_on_their_own_thread_and_are_told_in_the_loop(void **state)
{
	struct world *w = *state;
	struct fake_store store = {.fail_at = 2};
	struct commits c = {.w = w, .until = 3};
	struct host_store *s = host_store_new(w->h, &store_ops, &store, NULL);
	char key[8] = "a", value[8] = "1";
	struct env_row rows[2] = {{"vm", key, value}, {"vm", "z", NULL}};

	assert_non_null(s);
	env_call(w->env, commit, rows, 2, committed, &c);
	strcpy(key, "b"); /* rows are copied */
	strcpy(value, "2");
	env_call(w->env, commit, rows, 1, committed, &c);
	strcpy(key, "c");
	env_call(w->env, commit, rows, 1, committed, &c);
	assert_int_equal(c.n, 0);
	assert_int_equal(host_run(w->h), 5);
	assert_string_equal(store.log, "a1 z- b2 c2 ");
	assert_int_equal(c.rc[0], 0);
	assert_int_equal(c.rc[1], -ENOSPC);
	assert_int_equal(c.rc[2], 0);
	assert_true(pthread_equal(c.thread, pthread_self()));
	assert_false(pthread_equal(store.thread, pthread_self()));
	host_store_free(s);
}

struct got {
	struct world *w;
	int rc;
	char text[64];
};

static void
got_rows(void *arg, int rc, const struct env_row *rows, size_t n)
{
	struct got *g = arg;

	g->rc = rc;
	for (size_t i = 0; i < n; i++)
		sprintf(g->text + strlen(g->text), "%s/%s=%s ", rows[i].kind, rows[i].key, rows[i].value);
	host_stop(g->w->h, 6);
}

static void
a_read_sees_what_was_committed_before_and_is_told_in_the_loop(void **state)
{
	struct world *w = *state;
	struct fake_store store = {0};
	struct commits c = {.w = w};
	struct got g = {.w = w};
	struct host_store *s = host_store_new(w->h, &store_ops, &store, NULL);
	char after[] = "c";
	const struct env_row row = {"vm", "k", "v"};

	env_call(w->env, commit, &row, 1, committed, &c);
	env_call(w->env, read, &(struct env_range){"log", after, 2}, got_rows, &g);
	after[0] = 'z'; /* the range is copied */
	assert_int_equal(host_run(w->h), 6);
	assert_string_equal(store.log, "kv read ");
	assert_int_equal(g.rc, 0);
	assert_string_equal(g.text, "log/d=v log/e=v ");
	store.fail_at = store.commits;
	env_call(w->env, read, &(struct env_range){"log", "", 2}, got_rows, &g);
	assert_int_equal(host_run(w->h), 6);
	assert_int_equal(g.rc, -EIO);
	assert_string_equal(g.text, "log/d=v log/e=v "); /* nothing of a read that failed */
	g.rc = 1;
	env_call(w->env, read, &(struct env_range){"log", "", 2}, got_rows, &g);
	host_store_free(s); /* who asked is told, and can free what it waits with */
	assert_int_equal(g.rc, -EIO);
}

static void
freeing_the_store_writes_what_was_accepted_and_tells(void **state)
{
	struct world *w = *state;
	struct fake_store store = {0};
	struct commits c = {.w = w};
	struct host_store *s = host_store_new(w->h, &store_ops, &store, NULL);
	struct env_row row = {"vm", "k", "v"};

	for (int i = 0; i < 5; i++)
		env_call(w->env, commit, &row, 1, committed, &c);
	host_store_free(s);
	assert_int_equal(store.commits, 5);
	assert_int_equal(c.n, 5);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(timers_fire_in_order_and_stopped_ones_do_not),
		TEST(five_hundred_timers_set_and_stopped_at_random_keep_their_order),
		TEST(random_fills_all_and_boot_id_is_known),
		TEST(bytes_go_both_ways_over_tcp_and_unix),
		TEST(socket_file_is_private_and_goes_away_with_its_listener),
		TEST(stale_socket_file_is_replaced_a_live_one_and_a_plain_file_are_not),
		TEST(dial_that_fails_says_why_from_the_loop),
		TEST(paused_reader_pushes_back_and_the_queue_is_bounded),
		TEST(stream_may_be_closed_inside_its_own_callback),
		TEST(strangers_are_served_a_few_in_each_turn),
		TEST(commits_run_in_order_on_their_own_thread_and_are_told_in_the_loop),
		TEST(a_read_sees_what_was_committed_before_and_is_told_in_the_loop),
		TEST(freeing_the_store_writes_what_was_accepted_and_tells),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
