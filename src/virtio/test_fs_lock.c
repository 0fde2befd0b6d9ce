/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/file.h>

#include "virtio/test_fs_client.h"

static struct fuse_lk_in lk(uint64_t fh, uint64_t owner, uint32_t type)
{
	return (struct fuse_lk_in){
		.fh = fh,
		.owner = owner,
		.lk = {.start = 10, .end = 19, .type = type, .pid = (uint32_t)owner + 100},
	};
}

static int lock(struct client *c, uint32_t op, uint64_t node, struct fuse_lk_in in)
{
	return cl_call(c, op, node, &in, sizeof(in));
}

static uint64_t make_file(struct client *c)
{
	cl_host_file(c, "f", "0123456789012345678901234567890");
	return cl_lookup(c, FUSE_ROOT_ID, "f");
}

static void fcntl_locks(void **state)
{
	struct client *c = cl_start();
	uint64_t f = make_file(c), fh = cl_open(c, f, O_RDWR), fh2 = cl_open(c, f, O_RDONLY);
	const struct fuse_lk_out *out = NULL;
	struct fuse_flush_in flush = {.fh = fh2, .lock_owner = 1};
	struct fuse_lk_in in;

	(void)state;
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(fh, 1, F_WRLCK)), 0);
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(fh, 1, F_WRLCK)), 0);
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(fh, 2, F_RDLCK)), -EAGAIN);
	assert_int_equal(lock(c, FUSE_GETLK, f, lk(fh, 2, F_RDLCK)), 0);
	out = (const struct fuse_lk_out *)c->reply;
	assert_int_equal(out->lk.type, F_WRLCK);
	assert_int_equal(out->lk.start, 10);
	assert_int_equal(out->lk.end, 19);
	assert_int_equal(out->lk.pid, 101);
	assert_int_equal(lock(c, FUSE_GETLK, f, lk(fh, 1, F_WRLCK)), 0);
	assert_int_equal(((const struct fuse_lk_out *)c->reply)->lk.type, F_UNLCK);
	/* To the end of the file. */
	in = lk(fh, 2, F_WRLCK);
	in.lk.start = 20;
	in.lk.end = INT64_MAX;
	assert_int_equal(lock(c, FUSE_SETLK, f, in), 0);
	in.owner = 1;
	assert_int_equal(lock(c, FUSE_GETLK, f, in), 0);
	assert_int_equal(((const struct fuse_lk_out *)c->reply)->lk.end, INT64_MAX);
	/* close(2) of any descriptor of the file by the owner. */
	assert_int_equal(cl_call(c, FUSE_FLUSH, f, &flush, sizeof(flush)), 0);
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(fh, 2, F_RDLCK)), 0);
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(fh, 3, F_RDLCK)), 0);
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(fh, 1, F_WRLCK)), -EAGAIN);
	/* All handles gone: all locks gone. */
	assert_int_equal(cl_release(c, f, fh), 0);
	assert_int_equal(cl_release(c, f, fh2), 0);
	fh = cl_open(c, f, O_RDWR);
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(fh, 9, F_WRLCK)), 0);
	cl_stop(c);
}

static bool opened_without_flush(const struct client *c)
{
	return ((const struct fuse_open_out *)c->reply)->open_flags & FOPEN_NOFLUSH;
}

/* Files opened for reading send no FLUSH: their locks go with the handle, and nobody else's do. */
static void locks_without_flush(void **state)
{
	struct client *c = cl_start();
	uint64_t f = make_file(c), rw = cl_open(c, f, O_RDWR), r1, r2;
	struct fuse_flush_in flush = {.fh = rw, .lock_owner = 1};

	(void)state;
	assert_false(opened_without_flush(c));
	r1 = cl_open(c, f, O_RDONLY);
	assert_true(opened_without_flush(c));
	r2 = cl_open(c, f, O_RDONLY);
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(r1, 1, F_RDLCK)), 0);
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(r2, 2, F_RDLCK)), 0);
	/* While somebody has locks each close counts. */
	(void)cl_open(c, f, O_RDONLY);
	assert_false(opened_without_flush(c));
	assert_int_equal(cl_release(c, f, r2), 0);
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(rw, 3, F_WRLCK)), -EAGAIN);
	assert_int_equal(cl_release(c, f, r1), 0);
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(rw, 3, F_WRLCK)), 0);
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(rw, 3, F_UNLCK)), 0);
	flush.lock_owner = 3;
	assert_int_equal(cl_call(c, FUSE_FLUSH, f, &flush, sizeof(flush)), 0);
	/* The first is taken for reading and inherited by a child, the second locked later: what the child does counts no more. */
	r1 = cl_open(c, f, O_RDONLY);
	assert_true(opened_without_flush(c));
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(r1, 1, F_RDLCK)), 0);
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(rw, 1, F_WRLCK)), 0);
	assert_int_equal(cl_release(c, f, r1), 0);
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(rw, 2, F_RDLCK)), -EAGAIN);
	flush.lock_owner = 1;
	assert_int_equal(cl_call(c, FUSE_FLUSH, f, &flush, sizeof(flush)), 0);
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(rw, 2, F_RDLCK)), 0);
	cl_stop(c);
}

static void a_closed_handle_wakes_those_who_wait(void **state)
{
	struct client *c = cl_start();
	uint64_t f = make_file(c), rw = cl_open(c, f, O_RDWR), ro = cl_open(c, f, O_RDONLY);
	struct fuse_lk_in in = lk(rw, 2, F_WRLCK);
	const struct fuse_release_in rel = {.fh = ro};
	uint32_t len;

	(void)state;
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(ro, 1, F_RDLCK)), 0);
	cl_begin(c, FUSE_SETLKW, f, &in, sizeof(in));
	cl_post(c, 0);
	assert_int_equal(drv_used(&c->dq[1], NULL, NULL), 0);
	cl_begin(c, FUSE_RELEASE, f, &rel, sizeof(rel));
	cl_post(c, 0);
	assert_int_equal(drv_used(&c->dq[1], NULL, &len), 1);
	assert_int_equal(drv_used(&c->dq[1], NULL, &len), 1);
	assert_int_equal(len, sizeof(struct fuse_out_header));
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(rw, 1, F_RDLCK)), -EAGAIN);
	cl_stop(c);
}

static void waiting(void **state)
{
	struct client *c = cl_start();
	uint64_t f = make_file(c), fh = cl_open(c, f, O_RDWR), waiting_unique;
	struct fuse_lk_in in = lk(fh, 2, F_WRLCK);
	uint32_t len;

	(void)state;
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(fh, 1, F_WRLCK)), 0);
	cl_begin(c, FUSE_SETLKW, f, &in, sizeof(in));
	waiting_unique = c->unique;
	cl_post(c, 0);
	assert_int_equal(drv_used(&c->dq[1], NULL, NULL), 0);
	/* Its reply lies where the next ones do, so look at it before they are sent. */
	in = lk(fh, 1, F_UNLCK);
	cl_begin(c, FUSE_SETLK, f, &in, sizeof(in));
	cl_post(c, 0);
	assert_int_equal(drv_used(&c->dq[1], NULL, &len), 1);
	assert_int_equal(len, sizeof(struct fuse_out_header));
	assert_int_equal(drv_used(&c->dq[1], NULL, &len), 1);
	assert_int_equal(len, sizeof(struct fuse_out_header));
	assert_int_equal(((struct fuse_out_header *)drv_ptr(&c->vm, c->out))->error, 0);
	assert_true(waiting_unique < c->unique);
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(fh, 1, F_RDLCK)), -EAGAIN);
	cl_stop(c);
}

static void the_host_holds_the_lock(void **state)
{
	struct client *c = cl_start();
	uint64_t f = make_file(c), fh = cl_open(c, f, O_RDWR);
	struct fuse_lk_in in = lk(fh, 2, F_WRLCK);
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	uint32_t len;
	int fd = openat(c->dir, "f", O_RDWR | O_CLOEXEC);

	(void)state;
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &fl), 0);
	assert_int_equal(lock(c, FUSE_SETLK, f, in), -EAGAIN);
	cl_begin(c, FUSE_SETLKW, f, &in, sizeof(in));
	cl_post(c, 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(loop_turn(c->loop, 10), 0);
	assert_int_equal(drv_used(&c->dq[1], NULL, NULL), 0);
	fl.l_type = F_UNLCK;
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &fl), 0);
	cl_wait_used(c, 1, NULL, &len);
	assert_int_equal(cl_reply(c, len), 0);
	/* And the other way round. */
	fl.l_type = F_RDLCK;
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &fl), -1);
	(void)close(fd);
	cl_stop(c);
}

static void interrupted(void **state)
{
	struct client *c = cl_start();
	uint64_t f = make_file(c), fh = cl_open(c, f, O_RDWR);
	struct fuse_lk_in in = lk(fh, 2, F_WRLCK);
	struct fuse_interrupt_in intr;
	struct fuse_in_header *h = drv_ptr(&c->vm, c->in);
	struct drv_buf buf = {c->in, sizeof(*h) + sizeof(intr), false};
	uint32_t len;

	(void)state;
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(fh, 1, F_WRLCK)), 0);
	cl_begin(c, FUSE_SETLKW, f, &in, sizeof(in));
	cl_post(c, 0);
	for (int i = 0; i < 2; i++) {
		/* First for a request that does not wait. */
		intr.unique = i == 0 ? 4711 : c->unique - 1;
		cl_begin(c, FUSE_INTERRUPT, 0, &intr, sizeof(intr));
		h->len = c->in_len;
		assert_true(drv_add(&c->dq[0], &buf, 1) >= 0);
		cl_kick(c, 0);
		cl_wait_used(c, 0, NULL, &len);
		assert_int_equal(len, 0);
		assert_int_equal(drv_used(&c->dq[1], NULL, &len), i);
	}
	assert_int_equal(((struct fuse_out_header *)drv_ptr(&c->vm, c->out))->error, -EINTR);
	cl_stop(c);
}

static void flocks(void **state)
{
	struct client *c = cl_start();
	uint64_t f = make_file(c), a = cl_open(c, f, O_RDWR), b = cl_open(c, f, O_RDONLY), d;
	struct fuse_lk_in in = {.fh = a, .lk = {.type = F_WRLCK, .end = INT64_MAX}, .lk_flags = FUSE_LK_FLOCK};
	uint32_t len;
	int fd = openat(c->dir, "f", O_RDWR | O_CLOEXEC);

	(void)state;
	assert_int_equal(lock(c, FUSE_SETLK, f, in), 0);
	assert_int_equal(flock(fd, LOCK_SH | LOCK_NB), -1);
	in.fh = b;
	assert_int_equal(lock(c, FUSE_SETLK, f, in), -EAGAIN);
	/* fcntl locks are another matter. */
	assert_int_equal(lock(c, FUSE_SETLK, f, lk(a, 5, F_WRLCK)), 0);
	cl_begin(c, FUSE_SETLKW, f, &in, sizeof(in));
	cl_post(c, 0);
	assert_int_equal(drv_used(&c->dq[1], NULL, NULL), 0);
	cl_begin(c, FUSE_RELEASE, f, &(struct fuse_release_in){.fh = a}, sizeof(struct fuse_release_in));
	cl_post(c, 0);
	cl_wait_used(c, 1, NULL, &len);
	cl_wait_used(c, 1, NULL, &len);
	assert_int_equal(flock(fd, LOCK_SH | LOCK_NB), -1);
	in.lk.type = F_UNLCK;
	assert_int_equal(lock(c, FUSE_SETLK, f, in), 0);
	assert_int_equal(flock(fd, LOCK_SH | LOCK_NB), 0);
	/* Folders can be locked like this too; a released one keeps nothing. */
	d = cl_opendir(c, FUSE_ROOT_ID);
	in.fh = d;
	in.lk.type = F_WRLCK;
	assert_int_equal(lock(c, FUSE_SETLK, FUSE_ROOT_ID, in), 0);
	assert_int_equal(flock(c->dir, LOCK_SH | LOCK_NB), -1);
	cl_begin(c, FUSE_RELEASEDIR, FUSE_ROOT_ID, &(struct fuse_release_in){.fh = d}, sizeof(struct fuse_release_in));
	assert_int_equal(cl_end(c, 0), 0);
	assert_int_equal(flock(c->dir, LOCK_SH | LOCK_NB), 0);
	(void)close(fd);
	cl_stop(c);
}

static void resets_with_waiters_and_jobs(void **state)
{
	struct fs_options opts = cl_options();

	(void)state;
	for (unsigned workers = 0; workers < 2; workers++) {
		struct fuse_fsync_in sync = {0};
		struct fuse_lk_in in;
		struct client *c;
		uint64_t f, fh;

		opts.workers = workers;
		c = cl_start_with(opts);
		assert_int_equal(cl_init(c), 0);
		f = make_file(c);
		fh = cl_open(c, f, O_RDWR);
		assert_int_equal(lock(c, FUSE_SETLK, f, lk(fh, 1, F_WRLCK)), 0);
		for (uint64_t owner = 2; owner < 12; owner++) {
			in = lk(fh, owner, F_WRLCK);
			cl_begin(c, FUSE_SETLKW, f, &in, sizeof(in));
			cl_post(c, 0);
		}
		sync.fh = fh;
		for (int i = 0; i < 4; i++) {
			cl_begin(c, FUSE_FSYNC, f, &sync, sizeof(sync));
			cl_post(c, 0);
		}
		assert_int_equal(drv_used(&c->dq[1], NULL, NULL), workers == 0);
		drv_dev_reset(cl_dev(c));
		/* The jobs' ends are heard of later, and go nowhere. */
		for (int i = 0; i < 3; i++)
			assert_int_equal(loop_turn(c->loop, 10), 0);
		assert_int_equal(c->t.broken, 0);
		cl_stop(c);
	}
}

static void bad_locks(void **state)
{
	struct client *c = cl_start();
	uint64_t f = make_file(c), fh = cl_open(c, f, O_RDWR);
	struct fuse_lk_in bad[] = {
		lk(fh + 1, 1, F_WRLCK), lk(fh, 1, 17), lk(fh, 1, F_WRLCK), lk(fh, 1, F_WRLCK), lk(fh, 1, F_WRLCK)};

	(void)state;
	bad[2].lk.start = UINT64_MAX;
	bad[2].lk.end = UINT64_MAX;
	bad[3].lk.end = 0;
	bad[4].lk.start = (uint64_t)INT64_MAX + 1;
	bad[4].lk.end = UINT64_MAX - 1;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(lock(c, FUSE_SETLK, f, bad[i]), i == 0 ? -EBADF : -EINVAL);
		assert_int_equal(lock(c, FUSE_SETLKW, f, bad[i]), i == 0 ? -EBADF : -EINVAL);
		assert_int_equal(lock(c, FUSE_GETLK, f, bad[i]), i == 0 ? -EBADF : -EINVAL);
	}
	assert_int_equal(lock(c, FUSE_SETLK, FUSE_ROOT_ID, lk(fh, 1, F_WRLCK)), -EBADF);
	/* Of owners there can be as many as descriptors. */
	for (uint64_t owner = 1;; owner++) {
		int r = lock(c, FUSE_SETLK, f, lk(fh, owner, F_RDLCK));

		if (r < 0) {
			assert_int_equal(r, -ENOLCK);
			assert_in_range(owner, 900, 1000);
			break;
		}
	}
	cl_stop(c);
}

static void left_to_the_guest(void **state)
{
	struct fs_options opts = cl_options();
	struct client *c;

	(void)state;
	opts.local_locks = true;
	c = cl_start_with(opts);
	assert_int_equal(cl_init(c), 0);
	assert_false(c->init.flags & (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS));
	cl_stop(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fcntl_locks),
		cmocka_unit_test(locks_without_flush),
		cmocka_unit_test(a_closed_handle_wakes_those_who_wait),
		cmocka_unit_test(waiting),
		cmocka_unit_test(the_host_holds_the_lock),
		cmocka_unit_test(interrupted),
		cmocka_unit_test(flocks),
		cmocka_unit_test(resets_with_waiters_and_jobs),
		cmocka_unit_test(bad_locks),
		cmocka_unit_test(left_to_the_guest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
