/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel_world.h"

#include <net/channel_priv.h>

static void
on_up(void *arg, struct channel *c)
{
	struct end *e = arg;

	assert_ptr_equal(e->c, c);
	e->up++;
}

static void
on_message(void *arg, struct channel *c, json_t *msg)
{
	struct end *e = arg;

	e->messages++;
	e->not_json += msg == NULL;
	e->last_len = json_string_length(json_object_get(msg, "text"));
	if (e->close_in_message) {
		e->c = NULL;
		channel_close(c);
	}
}

static void
on_down(void *arg, struct channel *c, const char *why)
{
	struct end *e = arg;

	e->c = NULL;
	e->down++;
	e->room = c->frame.cap;
	snprintf(e->why, sizeof(e->why), "%s", why);
}

const struct channel_ops ops = {on_up, on_message, on_down};

struct world *world_of_find;

static const struct channel_identity *
find(void *arg, const uint8_t key[32])
{
	(void)arg;
	world_of_find->finds++;
	return memcmp(key, world_of_find->known_clc.key, 32) == 0 ? &world_of_find->known_clc : NULL;
}

static void
accepted(void *arg, struct env_stream *s, const struct env_peer_id *id)
{
	struct world *w = arg;

	w->b.c = channel_accept(&w->router, s, id, find, &ops, &w->b);
}

static void
play_trick(struct world *w, struct buf *bytes)
{
	if (w->trick == REPLAY) {
		buf_append(&w->held, buf_head(bytes), buf_len(bytes));
		buf_append(bytes, buf_head(&w->held), buf_len(&w->held));
	} else if (w->trick == SWAP && buf_len(&w->held) == 0) {
		buf_append(&w->held, buf_head(bytes), buf_len(bytes));
		buf_consume(bytes, buf_len(bytes));
		return;
	} else if (w->trick == SWAP) {
		buf_append(bytes, buf_head(&w->held), buf_len(&w->held));
	} else if (w->trick == LOSE) {
		buf_consume(bytes, buf_len(bytes));
	}
	w->trick = NONE;
}

static void
wire(void *arg, bool by_dialler, struct buf *bytes)
{
	struct world *w = arg;
	int d = by_dialler ? 0 : 1;
	long start = (long)buf_len(&w->sent[d]), len = (long)buf_len(bytes), at = w->flip_at[d];

	if (at >= start && at < start + len)
		buf_head(bytes)[at - start] ^= 0x10;
	buf_append(&w->sent[d], buf_head(bytes), (size_t)len);
	if (by_dialler)
		play_trick(w, bytes);
	at = w->cut_at[d];
	if (at >= 0 && start + len > at)
		bytes->tail = bytes->head + (size_t)(at > start ? at - start : 0);
}

static void
name_keys(struct channel_local *l, struct channel_identity *known, const char *name, uint8_t private_key[32])
{
	snprintf(l->name, sizeof(l->name), "%s", name);
	snprintf(known->name, sizeof(known->name), "%s", name);
	assert_int_equal(key_generate(private_key), 0);
	key_public(private_key, known->key);
	l->private_key = private_key;
}

void
world_init(struct world *w)
{
	memset(w, 0, sizeof(*w));
	fake_init(&w->f);
	name_keys(&w->clc, &w->known_clc, "clc", w->clc_key);
	name_keys(&w->router, &w->known_router, "r-x", w->router_key);
	w->clc.role = w->known_clc.role = ROLE_CONTROLLER;
	w->router.role = w->known_router.role = ROLE_PEER;
	w->clc.env = w->router.env = &w->f.env;
	w->flip_at[0] = w->flip_at[1] = w->cut_at[0] = w->cut_at[1] = -1;
	w->listener = env_call(&w->f.env, listen, ADDRESS, accepted, w, NULL);
	w->f.wire = wire;
	w->f.wire_arg = w;
	world_of_find = w;
}

void
world_fini(struct world *w)
{
	channel_close(w->a.c);
	channel_close(w->b.c);
	w->f.ops.listener_close(w->listener);
	fake_run(&w->f); /* strangers hear that it is over */
	buf_fini(&w->sent[0]);
	buf_fini(&w->sent[1]);
	buf_fini(&w->held);
	fake_fini(&w->f);
}

void
connect_world(struct world *w)
{
	w->a.c = channel_dial(&w->clc, &w->known_router, ADDRESS, &ops, &w->a);
	assert_non_null(w->a.c);
	fake_run(&w->f);
}

void
send_text(struct channel *c, size_t len, int expected)
{
	json_t *msg;
	char *text = malloc(len + 1);

	memset(text, 'x', len);
	text[len] = '\0';
	msg = json_pack("{s:s}", "text", text);
	assert_int_equal(channel_send(c, msg), expected);
	json_decref(msg);
	free(text);
}

/* ---- strangers ---- */

static void
stranger_data(void *arg, const uint8_t *p, size_t n)
{
	(void)p;
	((struct stranger *)arg)->got += n;
}

static void
stranger_closed(void *arg, const char *why)
{
	(void)why;
	((struct stranger *)arg)->closed = true;
}

static void
stranger_nothing(void *arg)
{
	(void)arg;
}

const struct env_stream_ops stranger_ops = {
	stranger_nothing, stranger_data, stranger_nothing, stranger_closed};

void
stranger_write(struct world *w, struct stranger *x, const void *p, size_t n)
{
	if (!x->closed)
		w->f.ops.stream_write(x->s, p, n);
	fake_run(&w->f);
}

void
mutate(uint8_t *p, size_t *n, size_t room)
{
	for (int i = 1 + (int)(random() % 4); i > 0 && *n > 0; i--) {
		size_t at = (size_t)random() % *n, len = (size_t)random() % (*n - at) % 64;

		switch (random() % 5) {
		case 0:
			p[at] ^= (uint8_t)(1 << random() % 8);
			break;
		case 1:
			p[at] = (uint8_t)random();
			break;
		case 2: /* cut out */
			memmove(p + at, p + at + len, *n - at - len);
			*n -= len;
			break;
		case 3: /* repeat */
			if (*n + len > room)
				break;
			memmove(p + at + len, p + at, *n - at);
			*n += len;
			break;
		case 4:
			*n = at;
			break;
		}
	}
}
