/* SPDX-License-Identifier: BSD-3-Clause */
/* guest.h - the flows of a guest's traffic. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define LATE 1.0 /* seconds: a question that has waited so long is lost, unless an answer still comes */

enum kind { NONE, TCP, GREETING, UDP, PING };

struct flow {
	enum kind kind;
	int fd;
	char name[64];
	bool opener, idle, closed;
	char error[64];
	double last_rx, gap, next_send;

	/* TCP: one end of a session */
	uint8_t *out, *expect, queue[65536], partial[2048];
	uint64_t sent, received, sent0, received0, answers;
	size_t queued, have;

	/* numbered questions */
	double period, *asked, rtt_min;
	uint32_t id;
	uint64_t seq, first, answered, late, stray;
};

double guest_now(void);

/* guest_session.c: one end of a TCP session; every byte is checked. */
void session_accept(struct flow *f, int listener);
const char *session_open(struct flow *f, const char *mode, const struct sockaddr_in *to);
void session_wake(struct flow *f); /* idle: one exchange, asked for by this end */
void session_readable(struct flow *f);
bool session_tick(struct flow *f, double t); /* sends what is due; whether anything will be due soon */
void session_report(const struct flow *f, FILE *to);

/* guest_ask.c: numbered questions, by UDP or ping, and the answers to those of others. */
const char *ask_open(struct flow *f, enum kind kind, const char *rate, const struct sockaddr_in *to);
void ask_readable(struct flow *f);
bool ask_tick(struct flow *f, double t);
void ask_report(const struct flow *f, FILE *to);
void echo_readable(int fd);
