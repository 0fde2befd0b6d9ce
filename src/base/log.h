/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One line a record, `TIME LEVEL PROC[POD]: message`, written with a single write(2) to one descriptor.
 * Control characters in the message are escaped, a record is cut at LOG_LINE_MAX bytes. Only mains, services and event
 * handlers log above debug; libraries return a struct err instead, so nothing is reported twice.
 */
#include "base/cleanup.h"

#define LOG_LINE_MAX 1024

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_LEVEL_MAX };

/*
 * Sets the sink for the process: `fd` is borrowed and must stay open; `proc` ("vmm", "agent") and `pod` (may be NULL)
 * are borrowed too. Before this call records go to stderr at LOG_INFO.
 */
void log_init(int fd, enum log_level level, const char *proc, const char *pod);

/* Every line begins with `text` (borrowed; at most 8 bytes), for a sink that wants one: "<3>" for the kernel's log. */
void log_set_prefix(const char *text);

/* No TIME in the lines: for a sink that has a better clock than this process. */
void log_omit_time(void);

/* With a hook, records go to it instead of the descriptor (the line without its newline). */
void log_set_hook(void (*fn)(void *ctx, enum log_level level, const char *line), void *ctx);

/* "error", "warn", "info", "debug" to a level; -EINVAL for anything else. */
int log_level_parse(const char *name, enum log_level *ret);

void log_write(enum log_level level, const char *fmt, ...) printf_like(2, 3);

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
