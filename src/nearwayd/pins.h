/* SPDX-License-Identifier: BSD-3-Clause */
/* pins.h - keeps the gateway MAC pinned to our ports in learning switches: a small frame for each DC port and VLAN, at
 * least every 60 s and whenever a link comes up. A silent site would otherwise flood what its VMs send to the gateway.
 */
#pragma once

#include <stdint.h>

struct dp;
struct pins;

struct pins *pins_new(struct dp *dp);
void pins_run(struct pins *p);
void pins_send(struct pins *p, uint16_t port); /* now, for every segment on the port */
void pins_free(struct pins *p);
