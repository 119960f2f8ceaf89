/* SPDX-License-Identifier: BSD-3-Clause */
/* target.h - what libFuzzer asks of a target, or replay.c in its place. */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerInitialize(int *argc, char ***argv); /* once, before the first input */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Of targets that know how their inputs are made. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
/* libFuzzer's own. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
