/* SPDX-License-Identifier: BSD-3-Clause */
#include "client.h"
#include "wait.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static const char *
advice(int code)
{
	switch (code) {
	case ENOENT:
		return "; is nearwayd running? its control.socket is given with -s";
	case ECONNREFUSED:
		return "; nearwayd does not run any more";
	case EACCES:
		return "; only root may speak to the router";
	default:
		return "";
	}
}

int
client_open(struct client *c, const char *socket_path, struct err *e)
{
	struct timeval timeout = {.tv_sec = CLIENT_TIMEOUT_S};
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int code;

	if (strlen(socket_path) >= sizeof(to.sun_path))
		return err_set(
			e, ENAMETOOLONG, "%s: the path of a socket has at most 107 bytes", socket_path);
	strcpy(to.sun_path, socket_path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return err_set(e, errno, "socket: %s", strerror(errno));
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return 0;
	code = errno;
	client_close(c);
	return err_set(e, code, "cannot connect to %s: %s%s", socket_path, strerror(code), advice(code));
}

void
client_close(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

static int
lost(struct client *c, struct err *e)
{
	int code = errno;

	client_close(c);
	if (code == ETIMEDOUT)
		return err_set(e, ETIMEDOUT,
			"the router gave no answer within %d s; whether it did it is not known",
			CLIENT_TIMEOUT_S);
	if (code == EINTR)
		return err_set(e, EINTR, "interrupted; whether the router did it is not known");
	if (code == 0 || code == EPIPE || code == ECONNRESET)
		return err_set(e, ECONNRESET, "the router closed the connection");
	return err_set(e, code, "the connection to the router broke: %s", strerror(code));
}

static int
send_all(struct client *c, const void *p, size_t n)
{
	const char *from = p;

	while (n > 0) {
		ssize_t sent;

		if (wait_for(c->fd, POLLOUT, c->interrupt, CLIENT_TIMEOUT_S * 1000) < 0)
			return -1;
		sent = send(c->fd, from, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno != EAGAIN)
			return -1;
		from += sent > 0 ? sent : 0;
		n -= sent > 0 ? (size_t)sent : 0;
	}
	return 0;
}

static int
receive_all(struct client *c, void *p, size_t n)
{
	char *to = p;

	while (n > 0) {
		ssize_t got;

		if (wait_for(c->fd, POLLIN, c->interrupt, CLIENT_TIMEOUT_S * 1000) < 0)
			return -1;
		got = recv(c->fd, to, n, 0);
		if (got <= 0) {
			errno = got == 0 ? 0 : errno;
			return -1;
		}
		to += got;
		n -= (size_t)got;
	}
	return 0;
}

static int
send_message(struct client *c, const json_t *msg, struct err *e)
{
	char *text = json_dumps(msg, JSON_COMPACT);
	size_t n = text != NULL ? strlen(text) : 0;
	uint32_t length = htonl((uint32_t)n);
	int rc = 0;

	if (text == NULL)
		return err_set(e, ENOMEM, "out of memory");
	if (n > CLIENT_MESSAGE_MAX)
		rc = err_set(e, EMSGSIZE, "the command is %zu bytes long, more than 1 MiB; split it", n);
	else if (send_all(c, &length, sizeof(length)) < 0 || send_all(c, text, n) < 0)
		rc = lost(c, e);
	free(text);
	return rc;
}

static int
receive_message(struct client *c, json_t **msg, struct err *e)
{
	uint32_t length;
	char *text;
	int rc = 0;

	*msg = NULL;
	if (receive_all(c, &length, sizeof(length)) < 0)
		return lost(c, e);
	length = ntohl(length);
	text = length <= CLIENT_MESSAGE_MAX ? malloc(length + 1) : NULL;
	if (text != NULL && receive_all(c, text, length) < 0)
		rc = lost(c, e);
	else if (text != NULL)
		*msg = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
	free(text);
	if (rc == 0 && *msg == NULL) {
		client_close(c);
		rc = err_set(e, EPROTO, "the answer is not a JSON message; is this a router's socket?");
	}
	return rc;
}

int
client_next(struct client *c, json_t **msg, struct err *e)
{
	return wait_for(c->fd, POLLIN, c->interrupt, -1) < 0 ? lost(c, e) : receive_message(c, msg, e);
}

/* Answers to other ids, and notifications, are not ours. */
static bool
is_reply(const json_t *msg, long long id)
{
	return json_integer_value(json_object_get(msg, "id")) == id &&
	       (json_object_get(msg, "result") != NULL || json_is_object(json_object_get(msg, "error")));
}

int
client_call(struct client *c, const char *method, json_t *params, json_t **reply, struct err *e)
{
	json_t *request;
	int rc;

	request = json_pack("{s:s, s:I, s:s, s:O}", "jsonrpc", "2.0", "id", (json_int_t)++c->id, "method",
		method, "params", params);
	if (request == NULL)
		return err_set(e, ENOMEM, "out of memory");
	rc = send_message(c, request, e);
	json_decref(request);
	while (rc == 0) {
		rc = receive_message(c, reply, e);
		if (rc != 0 || is_reply(*reply, c->id))
			break;
		json_decref(*reply);
	}
	return rc;
}
