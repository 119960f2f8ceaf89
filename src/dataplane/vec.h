/* SPDX-License-Identifier: BSD-3-Clause */
/* vec.h - a vector of packets. */
#pragma once

#include <rte_mbuf.h>
#include <stdint.h>

#define BURST_MAX 64 /* packets in one run of the pipeline */
#define RX_MAX	  32 /* of which received */
#define VEC_MAX	  512

struct vec {
	uint16_t n;
	struct rte_mbuf *m[VEC_MAX];
};

static inline void
vec_add(struct vec *v, struct rte_mbuf *m)
{
	v->m[v->n++] = m;
}

#define vec_foreach(v, mbuf, i) for (i = 0; i < (v)->n && ((mbuf) = (v)->m[i], 1); i++)
