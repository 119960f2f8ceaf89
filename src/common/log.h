/* SPDX-License-Identifier: BSD-3-Clause */
/* log.h - one line per event, to stderr or to a sink of the caller's. Never called by a worker. */
#pragma once

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

typedef void (*log_sink)(void *arg, enum log_level level, const char *line);

/* Lines above `level` are not made. The default is LOG_INFO to stderr. */
void log_set_level(enum log_level level);
void log_set_sink(log_sink sink, void *arg);

void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
