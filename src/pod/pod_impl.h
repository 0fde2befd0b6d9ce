/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the files of the pod engine share: pod.c (life cycle), container.c, output.c (streams), ports.c, record.c. */
#include "pod/pod.h"
#include "pod/sandbox.h"
#include "pod/storage.h"
#include "pod/usage.h"

#define LINE_MAX_LEN 8192

enum pod_phase {
	PHASE_STARTING,
	PHASE_INITIALIZING,
	PHASE_RUNNING,
	PHASE_STOPPING,
	PHASE_SUCCEEDED,
	PHASE_FAILED,
	PHASE_MAX,
};

enum container_state {
	CONTAINER_WAITING,  /* not started yet, or waiting to be restarted */
	CONTAINER_CREATING, /* CreateContainer, streams, StartProcess are under way */
	CONTAINER_RUNNING,
	CONTAINER_DRAINING, /* the process ended; output is still coming */
	CONTAINER_ENDED,
};

struct pod_container;

struct output {
	struct pod_container *c;
	enum pod_stream stream;
	struct hvsock_dial dial;
	struct loop_fd src;
	int fd;
	bool open; /* dialling or connected */
	size_t n;
	bool part;  /* a part of the current line has been written already */
	char *line; /* LINE_MAX_LEN bytes, made when the first byte comes */
	char *rest; /* what was read when the stream was held; NULL: nothing */
	size_t rest_len;
};

struct input {
	struct pod_container *c;
	struct hvsock_dial dial;
	struct loop_fd src;
	int fd;
	bool open, closing;
	struct buf pending;
};

/* How an instance of a container ended. */
struct ending {
	const char *reason; /* static text: "Completed", "Error", "OOMKilled", "StartError"; NULL: none has ended */
	int exit_code;
	uint64_t started_ns, finished_ns; /* CLOCK_REALTIME; started_ns 0: it never ran */
	char message[400];		  /* why it could not be started; "" */
};

struct pod_container {
	struct pod *pod;
	const struct kube_container *spec;
	const struct image *image;
	size_t index;
	unsigned attempt;
	char id[STREAM_ID_MAX + 1];
	enum container_state state;
	const char *reason; /* static text: "Completed", "Error", "OOMKilled" ... */
	bool asked_to_stop;
	bool stored;	/* storage_container was called for id */
	unsigned dials; /* streams that are being attached */
	int exit_code;
	char message[400];  /* of this instance: why it could not be started; "" */
	struct ending last; /* the instance before this one */
	unsigned restarts;
	uint64_t started_ns, finished_ns; /* CLOCK_REALTIME */
	uint64_t started_mono;
	uint64_t backoff_ns;	 /* before the next restart */
	struct loop_timer timer; /* back-off, or the bound on draining */
	bool output_came;	 /* since that was set */
	struct output out[2];
	struct input in;
	unsigned rows, columns; /* of the terminal; 0: not known */
	int timing;		/* index of the current phase's timing */
};

struct pod {
	struct loop *loop;
	struct pod_options opts;
	const struct kube_pod *spec;
	struct sandbox sb;
	struct storage storage;
	struct ports *ports;
	struct loop_timer stop_timer, deadline_timer, usage_timer, end_timer;
	struct usage usage;  /* of the volume that is being counted */
	size_t usage_volume; /* its index */

	enum pod_phase phase;
	char message[240];
	int exit_code;
	bool told_running, ending, stop_kill;
	bool held[2];	   /* stdout, stderr: see pod_hold_output */
	bool reader_moves; /* it let a stream go on since this was cleared */
	uint64_t created_ns, finished_ns;
	size_t next_init; /* the init container whose turn it is */
	struct pod_container *containers;
};

/* ---- pod.c ---- */

/* Ends the pod with this result: the VM is killed, `ended` runs at the next turn of the loop. */
void pod_end(struct pod *pod, int exit_code, const char *fmt, ...) printf_like(3, 4);
/* Something about a container changed: decides what comes next. */
void pod_advance(struct pod *pod);
bool pod_stopping(const struct pod *pod);
/* Output is held: what does not end may be waiting for it. */
bool pod_held(const struct pod *pod);
/* A container that is to be started again may never run: who waits for a detached pod is told now. */
void pod_restarts(struct pod *pod);

/* ---- container.c ---- */

void container_init(struct pod_container *c, struct pod *pod, size_t index);
void container_fini(struct pod_container *c);
void container_start(struct pod_container *c);
/* SIGTERM (or the image's stop signal); kill: SIGKILL to all of its processes. */
void container_stop(struct pod_container *c, bool kill);
/* How it ended, one line: why it could not be started, or its exit code and reason. */
void container_ending(const struct pod_container *c, char dst[480]);
/* Tells the guest c->rows and c->columns, if there is a terminal to tell. */
void container_resize(struct pod_container *c);
/* Has ended and will not come back? */
bool container_done(const struct pod_container *c);
const char *container_state_name(enum container_state s);

/* ---- output.c ---- */

/* Attaches the streams of a container that was created; container_attached runs when all are there, or container_failed. */
int output_attach(struct pod_container *c, struct err *err) must_check;
void output_close(struct pod_container *c);
/* pod->held of its stream has changed. */
void output_hold(struct output *o);
/* All output of the container has been read. */
bool output_drained(const struct pod_container *c);
size_t input_write(struct pod_container *c, const char *bytes, size_t n);
void input_close(struct pod_container *c);
void container_attached(struct pod_container *c);
void container_failed(struct pod_container *c, const struct err *err);
void container_drained(struct pod_container *c);

/* ---- ports.c ---- */

struct ports;
/* Listens on 127.0.0.1 for every TCP and UDP port of the pod. NULL when it has none. -EADDRINUSE names port and container. */
int ports_open(struct ports **ret, struct pod *pod, struct err *err) must_check;
void ports_free(struct ports *ports);

/* ---- ports_udp.c: of ports.c alone ---- */

struct ports_udp;
int ports_udp_open(struct ports_udp **ret, struct pod *pod, struct err *err) must_check;
void ports_udp_free(struct ports_udp *all);

/* ---- record.c ---- */

void record_write(struct pod *pod);
const char *phase_name(enum pod_phase phase);
