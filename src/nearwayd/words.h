/* SPDX-License-Identifier: BSD-3-Clause */
/* words.h - names of the configuration and of protocols as numbers of the data plane, for trace, capture and explain. */
#pragma once

#include <api/kinds.h>
#include <dataplane/probe.h>

struct dp;

/* Index of a port or segment; -ENOENT naming those that there are. */
int word_port(const struct dp *dp, const char *name, struct err *e);
int word_segment(const struct dp *dp, const char *name, struct err *e);
/* 0 to 255, or -EINVAL. */
int word_proto(const char *word, struct err *e);
/* 0 to 65535, or -EINVAL. */
int word_ethertype(const char *word, struct err *e);
/* A filter; 0 or -errno. */
int word_match(const struct dp *dp, const struct packet_match *m, struct probe_match *q, struct err *e);
