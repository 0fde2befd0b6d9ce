/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * QMP, the control protocol of QEMU (QEMU docs/interop/qmp-spec.rst): one JSON object a line. The codec does no I/O; the
 * client runs on a loop over a connected socket. QEMU is input that may be hostile (its guest may have taken it over): lines,
 * depth, names and queues are bounded, and what breaks a bound ends the connection.
 */
#include "base/loop.h"

#define QMP_LINE_MAX (64u * 1024u) /* bytes a line, without its end */
#define QMP_CALLS_MAX 8		   /* calls without an answer at one time */

enum qmp_kind { QMP_GREETING, QMP_RETURN, QMP_ERROR, QMP_EVENT };

struct qmp_message {
	enum qmp_kind kind;
	uint32_t id;   /* RETURN, ERROR: of the call; 0: the peer gave none */
	char name[48]; /* EVENT: its name; ERROR: its class; GREETING: the version, "7.2.0" */
	char text
		[160]; /* ERROR: its description; EVENT: data.reason or data.action; RETURN: return.status. Printable. */
	bool guest;    /* EVENT: data.guest */
};

/* One line, without its end. -EPROTO: no JSON object, or none of the four kinds. Text that is too long is cut. */
int qmp_decode(struct qmp_message *ret, const char *line, size_t n, struct err *err) must_check;
/* A command without arguments, with the line's end. Returns its length; the name is our own and fits. */
size_t qmp_encode(char dst[96], const char *command, uint32_t id);

struct qmp;

struct qmp_callbacks {
	/* `ev` is good during the call. Must not free the client. */
	void (*event)(void *ctx, const struct qmp_message *ev);
	/* Once: the peer hung up (code 0) or broke the protocol; free the client later, not inside. Calls fail before. */
	void (*closed)(void *ctx, const struct err *why);
	void *ctx;
};

/* Takes the connected stream socket `sock` (consumed, also on failure) and negotiates. Loop is borrowed. */
int qmp_new(struct qmp **ret, struct loop *loop, int sock, const struct qmp_callbacks *cb, struct err *err) must_check;
/* Calls without an answer are forgotten. NULL is fine. */
void qmp_free(struct qmp *q);
DEFINE_FREEP(qmp);

/*
 * Sends a command; `done` (may be NULL) runs once on the loop with the answer, or with err when QEMU refused, timed out
 * or went away. -EBUSY: QMP_CALLS_MAX; -EPIPE: closed.
 */
int qmp_call(struct qmp *q, const char *command, unsigned timeout_ms,
	void (*done)(void *ctx, const struct qmp_message *answer, const struct err *err), void *ctx,
	struct err *err) must_check;
/* Reads and delivers what is there already; for the moment when QEMU is known to have died. */
void qmp_drain(struct qmp *q);
