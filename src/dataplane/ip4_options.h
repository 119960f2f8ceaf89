/* SPDX-License-Identifier: BSD-3-Clause */
/* ip4_options.h - IP options: RFC 791, section 3.1.
 *
 * They are carried as they are; the router neither records nor stamps anything in them, as RFC 7126 allows. The one
 * exception are source routes: who could say by where a packet goes would get around the checks of where it may come
 * from (RFC 7126, sections 4.3 and 4.4). A list that is not whole may hide one.
 */
#pragma once

#include "stages.h"

#include <stdint.h>

enum { IP4_OPT_END = 0, IP4_OPT_NOP = 1, IP4_OPT_LSRR = 131, IP4_OPT_SSRR = 137 };

/* DROPS when the list of `len` bytes may pass. */
static inline enum drop
ip4_options_check(const uint8_t *opt, uint16_t len)
{
	for (uint16_t i = 0; i < len && opt[i] != IP4_OPT_END;) {
		if (opt[i] == IP4_OPT_NOP) {
			i++;
			continue;
		}
		if (opt[i] == IP4_OPT_LSRR || opt[i] == IP4_OPT_SSRR)
			return DROP_SOURCE_ROUTE;
		if (i + 1 == len || opt[i + 1] < 2 || opt[i + 1] > len - i)
			return DROP_IP_MALFORMED;
		i += opt[i + 1];
	}
	return DROPS;
}
