/* SPDX-License-Identifier: BSD-3-Clause */
/* stages.h - numbers and names from stages.def. */
#pragma once

enum stage {
#define STAGE(id, name, help) STAGE_##id,
#include "stages.def"
#undef STAGE
	STAGES
};

enum drop {
#define DROP(id, name, help) DROP_##id,
#include "stages.def"
#undef DROP
	DROPS
};

enum made {
#define MADE(id, name, help) MADE_##id,
#include "stages.def"
#undef MADE
	MADES
};

enum dp_event_kind {
#define EVENT(id, name, rate, help) EVENT_##id,
#include "stages.def"
#undef EVENT
	EVENTS
};

struct named {
	const char *name, *help;
};

extern const struct named stage_names[STAGES], drop_names[DROPS], made_names[MADES], event_names[EVENTS];
extern const unsigned int event_rates[EVENTS]; /* per second and worker */
