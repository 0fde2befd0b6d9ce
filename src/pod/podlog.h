/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A pod's timeline: one file with every line of every part, on one clock (the host's CLOCK_REALTIME at arrival):
 *
 *   TIME SOURCE STREAM TAG TEXT
 *   2026-11-23T08:30:00.123456789Z container/web stdout F hello
 *
 * SOURCE: podvm, vmm, qemu, console, agent, container/<name>. STREAM: stdout, stderr or -. TAG: F a full line, P a part of
 * one that is longer than PODLOG_TEXT_MAX (as in CRI log files). TEXT is as it came, without its newline: a reader that
 * prints it to a terminal decides about escapes. The file is rotated once to `log.1` at PODLOG_FILE_MAX bytes, so a
 * pod keeps at most twice that.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define PODLOG_TEXT_MAX 8192
#define PODLOG_FILE_MAX (16u << 20)

struct podlog;

/* Opens `dir`/log for appending. */
int podlog_open(struct podlog **ret, const char *dir, struct err *err) must_check;
void podlog_close(struct podlog *log);
/* Appends one record; text longer than PODLOG_TEXT_MAX becomes P records and an F. Write errors are counted, not reported. */
void podlog_write(struct podlog *log, const char *source, const char *stream, const char *text, size_t len);
/* The same with the TAG given: "P" for a part of a line that goes on in the next record of that source and stream. */
void podlog_write_part(struct podlog *log, const char *source, const char *stream, const char *text, size_t len);

struct podlog_record {
	uint64_t time_ns;
	const char *source, *stream, *text; /* source and stream are NUL-terminated; text is text_len bytes */
	size_t text_len;
	int partial;
};

/* Parses one line in place (its newline already replaced by NUL; len without it). -EINVAL for a line that is not a record. */
int podlog_parse(struct podlog_record *ret, char *line, size_t len) must_check;
