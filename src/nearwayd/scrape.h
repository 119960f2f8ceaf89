/* SPDX-License-Identifier: BSD-3-Clause */
/* scrape.h - GET /metrics by HTTP, for Prometheus. Anybody who reaches the address may ask, so it is bounded: SCRAPE_CONNECTIONS at once, each of
 * SCRAPE_MEMORY bytes and SCRAPE_IDLE_S without a word; more are not accepted meanwhile. Nothing else is answered, and nothing is read but headers.
 */
#pragma once

#include <common/err.h>
#include <stddef.h>

#define SCRAPE_CONNECTIONS 16
#define SCRAPE_IDLE_S	   3
#define SCRAPE_MEMORY	   8192

struct event_base;
struct scrape;

/* `listen`: "192.0.2.1:9464". `text(arg, &n)` is called on the loop's thread for each scrape: what it returns is freed, NULL is an internal
 * error. NULL with the reason. */
struct scrape *scrape_new(struct event_base *base, const char *listen, char *(*text)(void *arg, size_t *n),
	void *arg, struct err *e);
void scrape_free(struct scrape *s);
