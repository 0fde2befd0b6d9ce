/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A FUSE client for tests: a virtio-fs device on a scratch folder, driven request by request through a real queue.
 *
 *   cl_start -> cl_call, or cl_begin + cl_text ... + cl_end, or cl_raw -> cl_stop (removes the folder)
 *
 * cl_dir is a descriptor of the scratch folder, for looking at it, and changing it, as the host.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* after those that it needs */
#include <cmocka.h>

#include "base/fd.h"
#include "virtio/fs.h"
#include "virtio/fs_proto.h"
#include "virtio/test_driver.h"

#define CL_BUF (1536u * 1024u)
#define CL_DEADLINE_MS 60000
#define cl_fn static __attribute__((unused))

struct client {
	struct drv_vm vm;
	struct drv_queue dq[3];
	struct drv_transport t;
	struct loop *loop;
	struct fs *fs;
	char path[64];
	int dir;
	uint64_t unique;
	uint32_t uid, gid;
	gpa_t in, out; /* CL_BUF each */
	uint32_t in_len;
	const uint8_t *reply; /* behind the header */
	uint32_t reply_len;
	struct fuse_init_out init;
};

cl_fn struct virtio_dev *cl_dev(struct client *c)
{
	return fs_dev(c->fs);
}

/* Serves until the request queue has something, or fails the test. */
cl_fn void cl_wait_used(struct client *c, unsigned queue, uint16_t *head, uint32_t *len)
{
	uint64_t deadline = time_mono_ns() + CL_DEADLINE_MS * NS_PER_MS;

	while (!drv_used(&c->dq[queue], head, len)) {
		assert_true(time_mono_ns() < deadline);
		assert_int_equal(loop_turn(c->loop, 100), 0);
	}
}

cl_fn void cl_kick(struct client *c, unsigned queue)
{
	if (drv_publish(&c->dq[queue]))
		assert_int_equal(cl_dev(c)->ops->notify(cl_dev(c), queue), 0);
}

/* The reply that lies in c->out: its error. */
cl_fn int cl_reply(struct client *c, uint32_t len)
{
	const struct fuse_out_header *oh = drv_ptr(&c->vm, c->out);

	assert_true(len >= sizeof(*oh));
	assert_int_equal(oh->len, len);
	assert_int_equal(oh->unique, c->unique);
	c->reply = (const uint8_t *)(oh + 1);
	c->reply_len = len - (uint32_t)sizeof(*oh);
	if (oh->error)
		assert_int_equal(c->reply_len, 0);
	return oh->error;
}

/* A request in pieces: header and a struct, then texts or bytes. */
cl_fn void cl_begin(struct client *c, uint32_t op, uint64_t node, const void *body, size_t len)
{
	struct fuse_in_header *h = drv_ptr(&c->vm, c->in);

	*h = (struct fuse_in_header){
		.opcode = op, .unique = ++c->unique, .nodeid = node, .uid = c->uid, .gid = c->gid, .pid = 1};
	c->in_len = sizeof(*h);
	if (len)
		memcpy((uint8_t *)h + c->in_len, body, len);
	c->in_len += (uint32_t)len;
}

cl_fn void cl_bytes(struct client *c, const void *bytes, size_t len)
{
	assert_true(c->in_len + len <= CL_BUF);
	if (len)
		memcpy((uint8_t *)drv_ptr(&c->vm, c->in) + c->in_len, bytes, len);
	c->in_len += (uint32_t)len;
}

cl_fn void cl_text(struct client *c, const char *text)
{
	cl_bytes(c, text, strlen(text) + 1);
}

/* Puts it into the queue without waiting. `room` is for the reply behind its header. */
cl_fn void cl_post(struct client *c, uint32_t room)
{
	struct fuse_in_header *h = drv_ptr(&c->vm, c->in);
	const struct drv_buf bufs[] = {
		{c->in, sizeof(*h), false},
		{c->in + sizeof(*h), c->in_len - (uint32_t)sizeof(*h), false},
		{c->out, sizeof(struct fuse_out_header), true},
		{c->out + sizeof(struct fuse_out_header), room, true},
	};
	struct drv_buf used[ARRAY_SIZE(bufs)];
	unsigned n = 0;

	h->len = c->in_len;
	for (unsigned i = 0; i < ARRAY_SIZE(bufs); i++)
		if (bufs[i].len)
			used[n++] = bufs[i];
	assert_true(drv_add(&c->dq[1], used, n) >= 0);
	cl_kick(c, 1);
}

/* Sends it and waits. Returns the reply's error. */
cl_fn int cl_end(struct client *c, uint32_t room)
{
	uint32_t len;

	cl_post(c, room);
	cl_wait_used(c, 1, NULL, &len);
	return cl_reply(c, len);
}

cl_fn int cl_call(struct client *c, uint32_t op, uint64_t node, const void *body, size_t len)
{
	cl_begin(c, op, node, body, len);
	return cl_end(c, 64 * 1024);
}

cl_fn int cl_name_call(struct client *c, uint32_t op, uint64_t node, const char *name)
{
	return cl_call(c, op, node, name, strlen(name) + 1);
}

cl_fn int cl_init(struct client *c)
{
	struct fuse_init_in in = {
		.major = 7,
		.minor = 37,
		.max_readahead = 128 * 1024,
		.flags = ~((uint32_t)FUSE_WRITEBACK_CACHE | UINT32_C(1) << 31), /* FUSE_INIT_RESERVED */
		.flags2 = ~UINT32_C(0),
	};
	int r = cl_call(c, FUSE_INIT, 0, &in, sizeof(in));

	if (r == 0) {
		assert_int_equal(c->reply_len, sizeof(c->init));
		memcpy(&c->init, c->reply, sizeof(c->init));
	}
	return r;
}

cl_fn struct client *cl_start_with(struct fs_options opts)
{
	struct client *c = calloc(1, sizeof(*c));
	struct err err;

	assert_non_null(c);
	assert_int_equal(loop_new(&c->loop, NULL), 0);
	(void)snprintf(c->path, sizeof(c->path), "%s/podvm-fs-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(c->path));
	assert_int_equal(chmod(c->path, 0755), 0);
	c->dir = open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(c->dir >= 0);
	c->uid = geteuid();
	c->gid = getegid();
	opts.root_fd = open(c->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fs_new(&c->fs, c->loop, &opts, &err) < 0)
		fail_msg("%s", err.msg);
	drv_vm_init(&c->vm, 8 * 1024 * 1024);
	assert_int_equal(drv_dev_start(cl_dev(c), &c->t, &c->vm, c->dq, 64), 0);
	c->in = drv_alloc(&c->vm, CL_BUF, 4096);
	c->out = drv_alloc(&c->vm, CL_BUF, 4096);
	return c;
}

cl_fn struct fs_options cl_options(void)
{
	return (struct fs_options){.tag = "test", .n_request_queues = 1, .fds_max = 1000, .workers = 1};
}

cl_fn struct client *cl_start(void)
{
	struct client *c = cl_start_with(cl_options());

	assert_int_equal(cl_init(c), 0);
	return c;
}

cl_fn void cl_stop(struct client *c)
{
	struct err err;

	drv_dev_reset(cl_dev(c));
	fs_free(c->fs);
	drv_vm_fini(&c->vm);
	loop_free(c->loop);
	(void)close(c->dir);
	if (dir_remove_all(AT_FDCWD, c->path, &err) < 0)
		fail_msg("%s", err.msg);
	free(c);
}

/* ---- what most tests need ---- */

cl_fn const struct fuse_entry_out *cl_entry(const struct client *c)
{
	assert_true(c->reply_len >= sizeof(struct fuse_entry_out));
	return (const struct fuse_entry_out *)c->reply;
}

/* The node id of a name that must be there. */
cl_fn uint64_t cl_lookup(struct client *c, uint64_t dir, const char *name)
{
	assert_int_equal(cl_name_call(c, FUSE_LOOKUP, dir, name), 0);
	return cl_entry(c)->nodeid;
}

cl_fn int cl_open_flags(struct client *c, uint32_t op, uint64_t node, uint32_t flags, uint64_t *ret_fh)
{
	const struct fuse_open_in in = {.flags = flags};
	int r = cl_call(c, op, node, &in, sizeof(in));

	if (r == 0)
		*ret_fh = ((const struct fuse_open_out *)c->reply)->fh;
	return r;
}

cl_fn uint64_t cl_open(struct client *c, uint64_t node, uint32_t flags)
{
	uint64_t fh = 0;

	assert_int_equal(cl_open_flags(c, FUSE_OPEN, node, flags, &fh), 0);
	return fh;
}

cl_fn uint64_t cl_opendir(struct client *c, uint64_t node)
{
	uint64_t fh = 0;

	assert_int_equal(cl_open_flags(c, FUSE_OPENDIR, node, 0, &fh), 0);
	return fh;
}

cl_fn int cl_release(struct client *c, uint64_t node, uint64_t fh)
{
	const struct fuse_release_in in = {.fh = fh};

	return cl_call(c, FUSE_RELEASE, node, &in, sizeof(in));
}

cl_fn int cl_create(struct client *c, uint64_t dir, const char *name, uint32_t flags, uint32_t mode)
{
	const struct fuse_create_in in = {.flags = flags, .mode = mode | S_IFREG};

	cl_begin(c, FUSE_CREATE, dir, &in, sizeof(in));
	cl_text(c, name);
	return cl_end(c, sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out));
}

cl_fn uint64_t cl_created_fh(const struct client *c)
{
	return ((const struct fuse_open_out *)(cl_entry(c) + 1))->fh;
}

cl_fn int cl_mkdir(struct client *c, uint64_t dir, const char *name)
{
	const struct fuse_mkdir_in in = {.mode = 0755};

	cl_begin(c, FUSE_MKDIR, dir, &in, sizeof(in));
	cl_text(c, name);
	return cl_end(c, sizeof(struct fuse_entry_out));
}

cl_fn int cl_read(struct client *c, uint64_t node, uint64_t fh, uint64_t off, uint32_t size)
{
	const struct fuse_read_in in = {.fh = fh, .offset = off, .size = size};

	cl_begin(c, FUSE_READ, node, &in, sizeof(in));
	return cl_end(c, size);
}

cl_fn int cl_write(struct client *c, uint64_t node, struct fuse_write_in in, const void *bytes)
{
	cl_begin(c, FUSE_WRITE, node, &in, sizeof(in));
	cl_bytes(c, bytes, in.size);
	return cl_end(c, sizeof(struct fuse_write_out));
}

cl_fn int cl_forget(struct client *c, uint64_t node, uint64_t n)
{
	const struct fuse_forget_in in = {.nlookup = n};
	struct fuse_in_header *h = drv_ptr(&c->vm, c->in);
	struct drv_buf buf = {c->in, sizeof(*h) + sizeof(in), false};
	uint32_t len;

	cl_begin(c, FUSE_FORGET, node, &in, sizeof(in));
	h->len = c->in_len;
	assert_true(drv_add(&c->dq[0], &buf, 1) >= 0);
	cl_kick(c, 0);
	cl_wait_used(c, 0, NULL, &len);
	return (int)len;
}

cl_fn int cl_getattr(struct client *c, uint64_t node, struct fuse_attr *ret)
{
	const struct fuse_getattr_in in = {0};
	int r = cl_call(c, FUSE_GETATTR, node, &in, sizeof(in));

	if (r == 0 && ret)
		*ret = ((const struct fuse_attr_out *)c->reply)->attr;
	return r;
}

cl_fn int cl_rename(struct client *c, uint64_t dir, const char *name, uint64_t new_dir, const char *new_name)
{
	const struct fuse_rename_in in = {.newdir = new_dir};

	cl_begin(c, FUSE_RENAME, dir, &in, sizeof(in));
	cl_text(c, name);
	cl_text(c, new_name);
	return cl_end(c, 0);
}

/* Makes a file as the host. */
cl_fn void cl_host_file(const struct client *c, const char *name, const char *text)
{
	int fd = openat(c->dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
	(void)close(fd);
}

cl_fn bool cl_host_has(const struct client *c, const char *name)
{
	struct stat st;

	return fstatat(c->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}
