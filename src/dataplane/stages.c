/* SPDX-License-Identifier: BSD-3-Clause */
#include "stages.h"

#define ENTRY(id, name, help) {name, help},
const struct named stage_names[] = {
#define STAGE ENTRY
#include "stages.def"
#undef STAGE
};
const struct named drop_names[] = {
#define DROP ENTRY
#include "stages.def"
#undef DROP
};
const struct named made_names[] = {
#define MADE ENTRY
#include "stages.def"
#undef MADE
};
const struct named event_names[] = {
#define EVENT(id, name, rate, help) {name, help},
#include "stages.def"
#undef EVENT
};
const unsigned int event_rates[] = {
#define EVENT(id, name, rate, help) rate,
#include "stages.def"
#undef EVENT
};
