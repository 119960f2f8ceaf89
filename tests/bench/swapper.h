/* SPDX-License-Identifier: BSD-3-Clause */
/* swapper.h - a thread that changes VMs' records at a rate, in transactions, and frees what is old after the grace period, as the control
 * thread does. */
#pragma once

#include "rig.h"

#include <pthread.h>
#include <stdatomic.h>

struct swapper {
	/* Set by the caller. */
	struct rig *rig;
	bool exchange;	/* two VMs get each other's global address; else records are renewed, for the same */
	uint32_t batch; /* records in a transaction: even, at most the VMs */
	double rate;	/* records a second */
	void (*begin)(void); /* its thread calls it first: where it runs */
	/* Its own. */
	pthread_t thread;
	atomic_bool on, resting, stop;
	atomic_ullong made;
	uint32_t next; /* pair of VMs */
	bool *exchanged;
	uint32_t *cycles, batches; /* of the writer, for each transaction */
	uint64_t longest_grace;	   /* cycles */
};

void swapper_start(struct swapper *s);
/* For the thread that is worker 0, which it tells of its being quiescent until the other one rests. */
void swapper_set(struct swapper *s, bool on);
/* Records that were changed. */
uint64_t swapper_made(struct swapper *s);
/* Once it rests: microseconds of the writer for a record, without the grace period, in the median transaction. */
double swapper_us(struct swapper *s);
void swapper_stop(struct swapper *s);
