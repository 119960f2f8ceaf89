/* SPDX-License-Identifier: BSD-3-Clause */
/* scrape.h - GET /metrics by HTTP, for Prometheus. Anybody who reaches the address may ask, so it is bounded: SCRAPE_CONNECTIONS at once, of one
 * address SCRAPE_OF_ONE, each of SCRAPE_MEMORY bytes, SCRAPE_IDLE_S without a word and SCRAPE_MOST_S in all; more wait in the kernel, or, of one address, are
 * closed. A connection is one request; nothing is read but headers; and the text is made once a second, however many ask.
 */
#pragma once

#include <common/err.h>
#include <stddef.h>

#define SCRAPE_CONNECTIONS 16
#define SCRAPE_OF_ONE	   4
#define SCRAPE_IDLE_S	   3
#define SCRAPE_MOST_S	   10
#define SCRAPE_MEMORY	   8192

struct event_base;
struct scrape;

/* `listen`: "192.0.2.1:9464". `text(arg, &n)` is called on the loop's thread for each scrape: what it returns is freed, NULL is an internal
 * error. NULL with the reason. */
struct scrape *scrape_new(struct event_base *base, const char *listen, char *(*text)(void *arg, size_t *n),
	void *arg, struct err *e);
void scrape_free(struct scrape *s);
