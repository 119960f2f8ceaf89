/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <api/methods.h>
#include <cmocka.h>
#include <net/channel_priv.h>
#include <net/rpc.h>

#include "fake_env.h"

/* Two plain channels; `a` calls, `b` handles. What b answers is also kept as text. */
struct world {
	struct fake_env f;
	struct env_listener *listener;
	struct channel *a, *b;
	struct rpc *ra, *rb;
	struct rpc_request *kept; /* by the handler, for later */
	struct rpc_request *waiting[1024];
	size_t n_waiting;
	size_t handled, done;
	int code;
	char answer[256]; /* last reply that `a` got, as text */
	char result[256]; /* last result of a call */
	bool raw;	  /* a's messages do not go to its rpc */
};

static void
handler(void *arg, struct rpc_request *q, const char *method, json_t *params)
{
	struct world *w = arg;

	w->handled++;
	if (strcmp(method, "echo") == 0)
		rpc_reply(q, json_incref(params));
	else if (strcmp(method, "fail") == 0)
		rpc_fail(q, RPC_CONFLICT, json_pack("{s:i}", "epoch", 5), "no %s", "way");
	else if (strcmp(method, "cut") == 0)
		rpc_fail(q, RPC_CONFLICT, NULL, "\"%.4s\" is no name", "caf\xc3\xa9");
	else if (strcmp(method, "later") == 0)
		w->kept = q;
	else if (strcmp(method, "wait") == 0)
		w->waiting[w->n_waiting++] = q;
	else
		rpc_fail(q, RPC_NO_METHOD, NULL, "no method %s", method);
}

static void
nothing(void *arg, struct channel *c)
{
	(void)arg;
	(void)c;
}

static void
message_a(void *arg, struct channel *c, json_t *msg)
{
	struct world *w = arg;
	char *text = json_dumps(msg, JSON_COMPACT);

	(void)c;
	snprintf(w->answer, sizeof(w->answer), "%s", text);
	free(text);
	if (!w->raw)
		rpc_message(w->ra, msg);
}

static void
message_b(void *arg, struct channel *c, json_t *msg)
{
	(void)c;
	rpc_message(((struct world *)arg)->rb, msg);
}

static void
down_a(void *arg, struct channel *c, const char *why)
{
	struct world *w = arg;

	(void)c;
	(void)why;
	w->a = NULL;
	rpc_free(w->ra);
	w->ra = NULL;
}

static void
down_b(void *arg, struct channel *c, const char *why)
{
	struct world *w = arg;

	(void)c;
	(void)why;
	w->b = NULL;
	rpc_free(w->rb);
	w->rb = NULL;
}

static const struct channel_ops a_ops = {nothing, message_a, down_a}, b_ops = {nothing, message_b, down_b};

static void
accepted(void *arg, struct env_stream *s, const struct env_peer_id *id)
{
	struct world *w = arg;

	w->b = channel_plain_accept(&w->f.env, s, id, &b_ops, w);
	w->rb = rpc_new(w->b, handler, w);
}

static int
set_up(void **state)
{
	static const struct env_stream_ops none;
	struct world *w = calloc(1, sizeof(*w));

	fake_init(&w->f);
	w->listener = env_call(&w->f.env, listen, "unix:/x", accepted, w, NULL);
	w->a = channel_plain_accept(
		&w->f.env, env_call(&w->f.env, dial, "unix:/x", &none, NULL), NULL, &a_ops, w);
	w->ra = rpc_new(w->a, handler, w);
	fake_run(&w->f);
	*state = w;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *w = *state;

	channel_close(w->a);
	channel_close(w->b);
	rpc_free(w->ra);
	rpc_free(w->rb);
	w->f.ops.listener_close(w->listener);
	fake_fini(&w->f);
	free(w);
	return 0;
}

static void
done(void *arg, int code, json_t *result)
{
	struct world *w = arg;
	char *text = result != NULL ? json_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

	w->done++;
	w->code = code;
	snprintf(w->result, sizeof(w->result), "%s", text != NULL ? text : "");
	free(text);
}

/* Sends a raw message and returns b's answer, "" when there is none. */
static const char *
ask(struct world *w, const char *text)
{
	json_t *msg = json_loads(text, JSON_DECODE_ANY, NULL);

	assert_non_null(msg);
	w->raw = true;
	w->answer[0] = '\0';
	assert_int_equal(channel_send(w->a, msg), 0);
	json_decref(msg);
	fake_run(&w->f);
	return w->answer;
}

static void
call_gets_its_result_or_its_error(void **state)
{
	struct world *w = *state;

	assert_int_equal(rpc_call(w->ra, "echo", json_pack("{s:i}", "n", 3), done, w), 0);
	fake_run(&w->f);
	assert_int_equal(w->done, 1);
	assert_int_equal(w->code, 0);
	assert_string_equal(w->result, "{\"n\":3}");
	assert_int_equal(rpc_call(w->ra, "fail", NULL, done, w), 0);
	fake_run(&w->f);
	assert_int_equal(w->code, RPC_CONFLICT);
	assert_string_equal(w->result, "{\"code\":3,\"message\":\"no way\",\"data\":{\"epoch\":5}}");
	/* Both ends may call. */
	assert_int_equal(rpc_call(w->rb, "nope", NULL, done, w), 0);
	fake_run(&w->f);
	assert_int_equal(w->code, RPC_NO_METHOD);
}

static int
call_text(struct world *w, const char *method, const char *params, size_t len)
{
	struct buf b;
	int rc;

	buf_init(&b, 0);
	assert_int_equal(buf_append(&b, params, len), 0);
	rc = rpc_call_text(w->ra, method, &b, done, w);
	buf_fini(&b);
	return rc;
}

static void
call_with_parameters_that_are_text_is_as_any_other(void **state)
{
	struct world *w = *state;
	char *big = malloc(1u << 20);

	memset(big, ' ', 1u << 20);
	assert_int_equal(call_text(w, "echo", "{\"n\":[7,\"x\"]}", 13), 0);
	fake_run(&w->f);
	assert_int_equal(w->done, 1);
	assert_int_equal(w->code, 0);
	assert_string_equal(w->result, "{\"n\":[7,\"x\"]}");
	assert_int_equal(call_text(w, "echo", big, 1u << 20), -EMSGSIZE);
	assert_int_equal(call_text(w, "fail", "{}", 2), 0);
	fake_run(&w->f);
	assert_int_equal(w->done, 2);
	assert_int_equal(w->code, RPC_CONFLICT);
	free(big);
}

static void
answers_out_of_order_find_their_calls(void **state)
{
	struct world *w = *state;

	assert_int_equal(rpc_call(w->ra, "later", NULL, done, w), 0);
	assert_int_equal(rpc_call(w->ra, "echo", json_pack("{s:i}", "n", 1), done, w), 0);
	fake_run(&w->f);
	assert_int_equal(w->done, 1);
	assert_string_equal(w->result, "{\"n\":1}");
	rpc_reply(w->kept, json_true());
	fake_run(&w->f);
	assert_int_equal(w->done, 2);
	assert_string_equal(w->result, "true");
}

static void
notification_is_handled_and_never_answered(void **state)
{
	struct world *w = *state;

	assert_int_equal(rpc_notify(w->ra, "echo", NULL), 0);
	assert_int_equal(rpc_notify(w->ra, "fail", NULL), 0);
	fake_run(&w->f);
	assert_int_equal(w->handled, 2);
	assert_string_equal(w->answer, "");
	assert_string_equal(ask(w, "{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":[1]}"), "");
	assert_int_equal(w->handled, 2);
}

static void
lost_channel_fails_calls_and_forgets_requests(void **state)
{
	struct world *w = *state;

	assert_int_equal(rpc_call(w->ra, "later", NULL, done, w), 0);
	fake_run(&w->f);
	assert_ptr_equal(rpc_request_channel(w->kept), w->b);
	channel_close(w->b);
	w->b = NULL;
	rpc_free(w->rb);
	w->rb = NULL;
	assert_null(rpc_request_channel(w->kept));
	rpc_reply(w->kept, json_true());
	fake_run(&w->f);
	assert_int_equal(w->done, 1);
	assert_int_equal(w->code, -ECONNRESET);
}

/* C-32: id, method, batches, replies that nobody asked for. */
static void
malformed_requests_earn_the_error_of_the_specification(void **state)
{
	static const struct {
		const char *text, *answer;
	} cases[] = {
		{"[]", "\"id\":null,\"error\":{\"code\":-32600"},
		{"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\"}]",
			"\"id\":null,\"error\":{\"code\":-32600"},
		{"7", "\"code\":-32600"},
		{"{}", "\"id\":null,\"error\":{\"code\":-32600"},
		{"{\"id\":1,\"method\":\"echo\"}", "\"id\":1,\"error\":{\"code\":-32600"},
		{"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"echo\"}", "\"id\":1,\"error\":{\"code\":-32600"},
		{"{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"echo\"}",
			"\"id\":null,\"error\":{\"code\":-32600"},
		{"{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"echo\"}",
			"\"id\":null,\"error\":{\"code\":-32600"},
		{"{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"echo\"}",
			"\"id\":null,\"error\":{\"code\":-32600"},
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}", "\"id\":1,\"error\":{\"code\":-32600"},
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"result\":1}",
			"\"id\":1,\"error\":{\"code\":-32600"},
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":[1]}",
			"\"id\":1,\"error\":{\"code\":-32602"},
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":null}",
			"\"id\":1,\"error\":{\"code\":-32602"},
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"nope\"}", "\"id\":1,\"error\":{\"code\":-32601"},
		{"{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"echo\"}", "\"id\":\"x\",\"result\":{}"},
		/* Replies that nobody asked for, and malformed ones: no answer. */
		{"{\"jsonrpc\":\"2.0\",\"id\":99,\"result\":1}", ""},
		{"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":1,\"message\":\"\"}}", ""},
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1,\"error\":{}}", ""},
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *answer = ask(w, cases[i].text);

		if (cases[i].answer[0] == '\0')
			assert_string_equal(answer, "");
		else if (strstr(answer, cases[i].answer) == NULL)
			fail_msg("%s -> %s", cases[i].text, answer);
	}
	w->answer[0] = '\0';
	rpc_message(w->rb, NULL);
	fake_run(&w->f);
	assert_non_null(strstr(w->answer, "\"id\":null,\"error\":{\"code\":-32700"));
}

/* C-32: what an id means is the caller's business. */
static void
a_repeated_id_is_answered_each_time(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 3; i++)
		assert_non_null(strstr(
			ask(w, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"echo\"}"), "\"id\":7,\"result\""));
	assert_int_equal(w->handled, 3);
}

static void
reply_that_does_not_fit_becomes_an_error(void **state)
{
	struct world *w = *state;
	char *text = malloc(1u << 20);

	assert_int_equal(rpc_call(w->ra, "later", NULL, done, w), 0);
	fake_run(&w->f);
	memset(text, 'x', 1u << 20);
	rpc_reply(w->kept, json_stringn(text, 1u << 20));
	fake_run(&w->f);
	assert_int_equal(w->code, RPC_LIMIT);
	assert_int_equal(rpc_call(w->ra, "later", NULL, done, w), 0);
	fake_run(&w->f);
	rpc_fail(w->kept, RPC_CONFLICT, json_stringn(text, 1u << 20), "x");
	fake_run(&w->f);
	assert_int_equal(w->code, RPC_CONFLICT);
	/* And a call that does not fit says so to its caller. */
	assert_int_equal(
		rpc_call(w->ra, "echo", json_pack("{s:s#}", "t", text, 1 << 20), done, w), -EMSGSIZE);
	free(text);
}

static void
error_that_quotes_half_a_character_is_still_told(void **state)
{
	struct world *w = *state;

	assert_int_equal(rpc_call(w->ra, "cut", NULL, done, w), 0);
	fake_run(&w->f);
	assert_int_equal(w->done, 1);
	assert_int_equal(w->code, RPC_CONFLICT);
	assert_string_equal(w->result, "{\"code\":3,\"message\":\"\\\"caf?\\\" is no name\"}");
}

static void
reply_to(struct world *w, size_t n)
{
	while (n-- > 0)
		rpc_reply(w->waiting[--w->n_waiting], json_null());
	fake_run(&w->f);
}

/* C-49: the sender's bytes wait, nothing is refused, and all is answered in the end. */
static void
a_flood_of_requests_is_read_no_faster_than_it_is_answered(void **state)
{
	struct world *w = *state;

	w->f.chunk = 61; /* requests and reads begin anywhere */
	for (int i = 0; i < 5000; i++)
		assert_int_equal(rpc_call(w->ra, "wait", NULL, done, w), 0);
	fake_run(&w->f);
	assert_int_equal(w->handled, 1024);
	reply_to(w, 511);
	assert_int_equal(w->handled, 1024);
	reply_to(w, 1); /* half of them */
	assert_int_equal(w->handled, 1024 + 512);
	while (w->n_waiting > 0)
		reply_to(w, w->n_waiting);
	assert_int_equal(w->done, 5000);
	assert_int_equal(w->code, 0);
}

/* C-49: memory is bounded, whatever the requests' size. */
static void
a_flood_of_large_requests_is_bounded_by_their_bytes(void **state)
{
	struct world *w = *state;
	char *text = calloc(1, 100001);

	memset(text, 'x', 100000);
	for (int i = 0; i < 100; i++)
		assert_int_equal(rpc_call(w->ra, "wait", json_pack("{s:s}", "t", text), done, w), 0);
	fake_run(&w->f);
	assert_int_equal(w->handled, (4u << 20) / 100000 + 1);
	while (w->n_waiting > 0)
		reply_to(w, w->n_waiting);
	assert_int_equal(w->done, 100);
	free(text);
}

/* C-19: who does not read its replies is not read either. */
static void
requests_of_a_caller_that_does_not_read_wait(void **state)
{
	struct world *w = *state;
	char *text = calloc(1, 50001);

	memset(text, 'x', 50000);
	w->f.ops.stream_pause(w->a->stream, true);
	for (int i = 0; i < 300; i++)
		assert_int_equal(rpc_call(w->ra, "echo", json_pack("{s:s}", "t", text), done, w), 0);
	fake_advance(&w->f, 3600 * 1000);
	assert_int_equal(w->handled, CHANNEL_WAITING_MAX / 50000 + 1);
	w->f.ops.stream_pause(w->a->stream, false);
	fake_run(&w->f);
	assert_int_equal(w->done, 300);
	free(text);
}

/* Changes one node of a tree, or takes one away. */
static void
mutate(json_t *node)
{
	json_t *values[] = {json_null(), json_true(), json_integer(random() - random()), json_real(1.5),
		json_string("2.0"), json_string(""), json_array(), json_object(),
		json_pack("[{s:i}]", "id", 1), json_integer(1)};
	static const char *const keys[] = {"jsonrpc", "id", "method", "params", "result", "error", "x"};
	const char *key = keys[random() % 7];

	if (random() % 4 == 0)
		json_object_del(node, key);
	else
		json_object_set(node, key, values[random() % 10]);
	for (int i = 0; i < 10; i++)
		json_decref(values[i]);
}

static void
mutated_messages_are_answered_or_dropped_and_the_next_call_works(void **state)
{
	struct world *w = *state;

	srandom(22);
	for (int i = 0; i < 30000; i++) {
		json_t *msg = random() % 3 != 0 ? json_pack("{s:s, s:i, s:s, s:{s:i}}", "jsonrpc", "2.0",
							  "id", i, "method", "echo", "params", "n", i)
						: json_pack("{s:s, s:i, s:{s:i, s:s}}", "jsonrpc", "2.0",
							  "id", 1, "error", "code", 5, "message", "x");

		for (int k = (int)(random() % 4); k > 0; k--)
			mutate(msg);
		rpc_message(w->rb, msg);
		json_decref(msg);
		if (i % 100 == 0)
			fake_run(&w->f);
	}
	fake_run(&w->f);
	w->done = 0;
	assert_int_equal(rpc_call(w->ra, "echo", NULL, done, w), 0);
	fake_run(&w->f);
	assert_int_equal(w->done, 1);
	assert_int_equal(w->code, 0);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(call_gets_its_result_or_its_error),
		TEST(call_with_parameters_that_are_text_is_as_any_other),
		TEST(answers_out_of_order_find_their_calls),
		TEST(notification_is_handled_and_never_answered),
		TEST(lost_channel_fails_calls_and_forgets_requests),
		TEST(malformed_requests_earn_the_error_of_the_specification),
		TEST(a_repeated_id_is_answered_each_time),
		TEST(reply_that_does_not_fit_becomes_an_error),
		TEST(error_that_quotes_half_a_character_is_still_told),
		TEST(a_flood_of_requests_is_read_no_faster_than_it_is_answered),
		TEST(a_flood_of_large_requests_is_bounded_by_their_bytes),
		TEST(requests_of_a_caller_that_does_not_read_wait),
		TEST(mutated_messages_are_answered_or_dropped_and_the_next_call_works),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
