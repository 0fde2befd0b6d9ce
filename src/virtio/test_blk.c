/* SPDX-License-Identifier: Apache-2.0 */
/* Every test runs with both engines. */
#include "virtio/blk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <cmocka.h>

#include "virtio/test_dev_rig.h"

#define SECTORS 64
#define F_FLUSH (UINT64_C(1) << 9)

enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8, DISCARD = 11, ZEROES = 13 };
enum { OK, IOERR, UNSUPP };

static enum blk_engine engine;

struct world {
	struct rig rig;
	struct blk *b;
	int fd; /* the file, for the test */
};

static int disk(void)
{
	char path[] = "/tmp/podvm-test-blk-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);
	uint8_t sector[BLK_SECTOR];

	assert_true(fd >= 0);
	assert_int_equal(unlink(path), 0);
	for (unsigned i = 0; i < SECTORS; i++) {
		memset(sector, (int)i + 1, sizeof(sector));
		assert_int_equal(pwrite(fd, sector, sizeof(sector), (off_t)i * BLK_SECTOR), sizeof(sector));
	}
	return fd;
}

static void start(struct world *w, bool read_only, uint64_t without)
{
	struct blk_options opts = {.read_only = read_only, .id = "serial-0123456789abc", .engine = engine};

	*w = (struct world){.fd = disk()};
	opts.fd = fcntl(w->fd, F_DUPFD_CLOEXEC, 0);
	rig_open(&w->rig);
	assert_int_equal(blk_new(&w->b, w->rig.loop, &opts, NULL), 0);
	assert_int_equal(rig_start_without(&w->rig, blk_dev(w->b), without), 0);
}

static void end(struct world *w)
{
	rig_stop(&w->rig);
	blk_free(w->b);
	close_fd(&w->fd);
	rig_close(&w->rig);
}

static void header(uint8_t *p, uint32_t type, uint64_t sector)
{
	put_le32(p, type);
	put_le32(p + 4, 0);
	put_le64(p + 8, sector);
}

/* The status, or -EPROTO. `in` gets in_len bytes of data. */
static int ask(
	struct world *w, uint32_t type, uint64_t sector, const void *out, uint32_t out_len, void *in, uint32_t in_len)
{
	static uint8_t req[16 + 65536], answer[65537];
	int64_t n;

	header(req, type, sector);
	if (out)
		memcpy(req + 16, out, out_len);
	n = rig_request(&w->rig, 0, req, 16 + out_len, answer, in_len + 1);
	if (n < 0)
		return (int)n;
	assert_int_equal(n, answer[in_len] == OK ? in_len + 1 : 1);
	if (in)
		memcpy(in, answer, in_len);
	return answer[in_len];
}

static void reads_and_writes(void **state)
{
	static struct world w;
	static uint8_t buf[8192];

	start(&w, false, 0);
	assert_int_equal(ask(&w, IN, 3, NULL, 0, buf, 1024), OK);
	assert_int_equal(buf[0], 4);
	assert_int_equal(buf[1023], 5);
	memset(buf, 0xaa, sizeof(buf));
	assert_int_equal(ask(&w, OUT, 10, buf, 4096, NULL, 0), OK);
	assert_int_equal(ask(&w, IN, 9, NULL, 0, buf, 5120), OK);
	assert_int_equal(buf[511], 10);
	assert_int_equal(buf[512], 0xaa);
	assert_int_equal(buf[4607], 0xaa);
	assert_int_equal(buf[4608], 19);
	assert_int_equal(pread(w.fd, buf, 1, 10 * BLK_SECTOR), 1);
	assert_int_equal(buf[0], 0xaa);
	assert_int_equal(ask(&w, FLUSH, 0, NULL, 0, NULL, 0), OK);
	assert_int_equal(ask(&w, IN, 0, NULL, 0, NULL, SECTORS * BLK_SECTOR), OK);
	assert_int_equal(blk_get_counters(w.b)->reads, 3);
	assert_int_equal(blk_get_counters(w.b)->written_bytes, 4096);
	end(&w);
}

static void the_id(void **state)
{
	static struct world w;
	char id[64];

	start(&w, true, 0);
	assert_int_equal(ask(&w, GET_ID, 0, NULL, 0, id, 20), OK);
	assert_memory_equal(id, "serial-0123456789abc", 20);
	end(&w);
	start(&w, true, 0);
	assert_int_equal(ask(&w, GET_ID, 0, NULL, 0, id, 3), OK);
	assert_memory_equal(id, "ser", 3);
	end(&w);
}

/* ---- what reaches the disk: by the calls of the threads, and by the entries of the ring, which stay there ---- */

static unsigned syncs, synchronous;

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
ssize_t __real_pwritev64v2(int fd, const struct iovec *iov, int n, off_t off, int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int n, off_t off, int flags);

int __wrap_fdatasync(int fd)
{
	(void)__atomic_add_fetch(&syncs, 1, __ATOMIC_SEQ_CST);
	return __real_fdatasync(fd);
}

ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	if (flags & RWF_DSYNC)
		(void)__atomic_add_fetch(&synchronous, 1, __ATOMIC_SEQ_CST);
	return __real_pwritev64v2(fd, iov, n, off, flags);
}

/* The one ring of this process; a copy of its descriptor. */
static int open_ring(void)
{
	char link[64];
	int fd = -1;

	for (int i = 3; fd < 0 && i < 64; i++) {
		char path[32];
		ssize_t n;

		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", i);
		n = readlink(path, link, sizeof(link) - 1);
		link[n > 0 ? n : 0] = '\0';
		if (strstr(link, "io_uring"))
			fd = fcntl(i, F_DUPFD_CLOEXEC, 0);
	}
	assert_true(fd >= 0);
	return fd;
}

static void count_entries(void)
{
	size_t len = BLK_JOBS_MAX * sizeof(struct io_uring_sqe);
	int fd = open_ring();
	const struct io_uring_sqe *e = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, IORING_OFF_SQES);

	assert_true(e != MAP_FAILED);
	for (unsigned i = 0; i < BLK_JOBS_MAX; i++) {
		syncs += e[i].opcode == IORING_OP_FSYNC && e[i].fsync_flags == IORING_FSYNC_DATASYNC;
		synchronous += e[i].opcode == IORING_OP_WRITEV && e[i].rw_flags & RWF_DSYNC;
	}
	(void)munmap((void *)(uintptr_t)e, len);
	(void)close(fd);
}

static void what_was_asked_of_the_disk(struct world *w, unsigned want_syncs, unsigned want_synchronous)
{
	if (engine == BLK_ENGINE_URING)
		count_entries();
	end(w);
	assert_int_equal(syncs, want_syncs);
	assert_int_equal(synchronous, want_synchronous);
	syncs = synchronous = 0;
}

static void a_flush_syncs_and_without_it_writes_are_synchronous(void **state)
{
	static struct world w;
	uint8_t buf[512] = {9};

	syncs = synchronous = 0;
	start(&w, false, 0);
	assert_int_equal(ask(&w, OUT, 0, buf, 512, NULL, 0), OK);
	assert_int_equal(ask(&w, FLUSH, 0, NULL, 0, NULL, 0), OK);
	what_was_asked_of_the_disk(&w, 1, 0);
	start(&w, false, F_FLUSH);
	assert_int_equal(ask(&w, OUT, 0, buf, 512, NULL, 0), OK);
	assert_int_equal(pread(w.fd, buf, 1, 0), 1);
	assert_int_equal(buf[0], 9);
	what_was_asked_of_the_disk(&w, 0, 1);
}

/* Whoever takes the process over has a ring that does nothing else. */
static void the_ring_is_locked_down(void **state)
{
	static struct world w;
	int fd;

	if (engine != BLK_ENGINE_URING)
		return;
	start(&w, false, 0);
	fd = open_ring();
	assert_int_equal(syscall(SYS_io_uring_register, fd, IORING_UNREGISTER_FILES, NULL, 0), -1);
	assert_int_equal(errno, EACCES);
	(void)close(fd);
	end(&w);
}

static int range(struct world *w, uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	uint8_t r[16];

	put_le64(r, sector);
	put_le32(r + 8, sectors);
	put_le32(r + 12, flags);
	return ask(w, type, 0, r, sizeof(r), NULL, 0);
}

static void discard_and_zeroes(void **state)
{
	static struct world w;
	uint8_t buf[512];
	int r;

	start(&w, false, 0);
	assert_int_equal(range(&w, DISCARD, 8, 8, 0), OK);
	assert_int_equal(ask(&w, IN, 8, NULL, 0, buf, 512), OK);
	assert_int_equal(buf[0] | buf[511], 0);
	assert_int_equal(range(&w, ZEROES, 21, 1, 1), OK);
	assert_int_equal(ask(&w, IN, 21, NULL, 0, buf, 512), OK);
	assert_int_equal(buf[0] | buf[511], 0);
	assert_int_equal(ask(&w, IN, 22, NULL, 0, buf, 512), OK);
	assert_int_equal(buf[0], 23);
	/* Without unmap it needs FALLOC_FL_ZERO_RANGE, which tmpfs and overlayfs lack: then the driver writes zeros itself. */
	r = range(&w, ZEROES, 30, 2, 0);
	assert_true(r == OK || r == UNSUPP);
	assert_int_equal(ask(&w, IN, 30, NULL, 0, buf, 512), OK);
	assert_int_equal(buf[0], r == OK ? 0 : 31);
	end(&w);
}

static void hostile_requests(void **state)
{
	static const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t out, in;
		int want;
		bool read_only;
	} rows[] = {
		{IN, SECTORS, 0, 512, IOERR, false},
		{IN, SECTORS - 1, 0, 1024, IOERR, false},
		{IN, UINT64_MAX, 0, 512, IOERR, false},
		{IN, UINT64_MAX / 512, 0, 512, IOERR, false},
		{IN, UINT64_C(1) << 55, 0, 512, IOERR, false},
		{IN, 0, 0, 511, IOERR, false},
		{IN, 0, 0, 0, IOERR, false},
		{IN, SECTORS - 1, 0, 512, OK, false},
		{OUT, SECTORS, 512, 0, IOERR, false},
		{OUT, 0, 100, 0, IOERR, false},
		{OUT, 0, 0, 0, IOERR, false},
		{OUT, 0, 512, 0, IOERR, true},
		{OUT, SECTORS - 1, 1024, 0, IOERR, false},
		{FLUSH, 5, 0, 0, OK, true},
		{2, 0, 0, 512, UNSUPP, false},
		{UINT32_MAX, 0, 512, 512, UNSUPP, false},
		{DISCARD, 0, 15, 0, IOERR, false},
		{DISCARD, 0, 32, 0, IOERR, false},
		{DISCARD, 0, 0, 0, IOERR, false},
		{ZEROES, 0, 16, 0, IOERR, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		static struct world w;
		static uint8_t out[1024];
		int r;

		start(&w, rows[i].read_only, 0);
		r = ask(&w, rows[i].type, rows[i].sector, out, rows[i].out, NULL, rows[i].in);
		if (r != rows[i].want)
			fail_msg("row %zu: %d", i, r);
		end(&w);
	}
}

static void hostile_ranges(void **state)
{
	static const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t sectors, flags;
		int want;
	} rows[] = {
		{DISCARD, SECTORS, 1, 0, IOERR},
		{DISCARD, 0, SECTORS + 1, 0, IOERR},
		{DISCARD, 0, 0, 0, IOERR},
		{DISCARD, UINT64_MAX, 2, 0, IOERR},
		{DISCARD, 0, UINT32_MAX, 0, IOERR},
		{DISCARD, 0, 1, 1, UNSUPP},
		{ZEROES, 0, 1, 2, UNSUPP},
		{ZEROES, 1, SECTORS, 1, IOERR},
		{ZEROES, UINT64_C(1) << 55, 1, 1, IOERR},
	};
	static struct world w;

	start(&w, false, 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (range(&w, rows[i].type, rows[i].sector, rows[i].sectors, rows[i].flags) != rows[i].want)
			fail_msg("row %zu", i);
	end(&w);
}

static void requests_that_cannot_be_answered(void **state)
{
	static const struct {
		uint32_t out, in;
	} rows[] = {{15, 513}, {0, 513}, {16, 0}, {528, 0}, {1, 1}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		static struct world w;

		start(&w, false, 0);
		if (rig_request(&w.rig, 0, NULL, rows[i].out, NULL, rows[i].in) != -EPROTO)
			fail_msg("row %zu", i);
		assert_int_equal(w.rig.dev->ops->notify(w.rig.dev, 0), 0);
		end(&w);
	}
}

static void buffers_are_counted(void **state)
{
	for (unsigned n = BLK_SEGS_MAX; n <= BLK_SEGS_MAX + 1; n++) {
		static struct world w;
		struct drv_buf bufs[BLK_SEGS_MAX + 3];
		unsigned k = 0;
		uint8_t *status;
		gpa_t last;

		start(&w, false, 0);
		bufs[k++] = (struct drv_buf){drv_alloc(&w.rig.vm, 16, 8), 16, false};
		header(drv_ptr(&w.rig.vm, bufs[0].gpa), IN, 0);
		for (unsigned i = 0; i < n - 2; i++)
			bufs[k++] = (struct drv_buf){drv_alloc(&w.rig.vm, 8, 8), 4, true};
		bufs[k++] = (struct drv_buf){drv_alloc(&w.rig.vm, 512, 8), 512 - 4 * (n - 2) % 512, true};
		last = drv_alloc(&w.rig.vm, 8, 8);
		bufs[k++] = (struct drv_buf){last, 1, true};
		/* One more piece, so that it is n of data. */
		bufs[k - 1].len = 5;
		bufs[k - 2].len -= 4;
		status = drv_ptr(&w.rig.vm, last + 4);
		*status = 0x55;
		assert_true(drv_add_indirect(&w.rig.q[0], bufs, k) >= 0);
		assert_int_equal(rig_kick(&w.rig, 0), 0);
		assert_true(rig_wait(&w.rig, 0, NULL, NULL));
		assert_int_equal(*status, n <= BLK_SEGS_MAX ? OK : IOERR);
		end(&w);
	}
}

static void many_at_once_and_a_reset(void **state)
{
	static struct world w;
	unsigned done = 0;

	start(&w, false, 0);
	for (int round = 0; round < 20; round++) {
		for (unsigned i = 0; i < RIG_QUEUE / 2; i++) {
			uint8_t req[16 + 4096] = {0};

			header(req, i % 2 ? OUT : IN, i % 8 * 8);
			assert_true(rig_add(&w.rig, 0, req, i % 2 ? sizeof(req) : 16, i % 2 ? 1 : 4097, NULL) >= 0);
		}
		assert_int_equal(rig_kick(&w.rig, 0), 0);
		if (round % 2) {
			while (done < RIG_QUEUE / 2 && rig_wait(&w.rig, 0, NULL, NULL))
				done++;
			assert_int_equal(done, RIG_QUEUE / 2);
			done = 0;
		}
		rig_stop(&w.rig); /* with everything in flight in half of the rounds */
		memset(w.rig.vm.mem, 0xee, RIG_MEM);
		for (size_t i = 0; i < RIG_MEM; i += 4096)
			assert_int_equal(w.rig.vm.mem[i], 0xee);
		rig_start(&w.rig, blk_dev(w.b));
	}
	end(&w);
}

/* The file is shorter than it was. */
static void a_file_that_shrinks(void **state)
{
	static struct world w;

	start(&w, false, 0);
	assert_int_equal(ftruncate(w.fd, 5 * BLK_SECTOR), 0);
	assert_int_equal(ask(&w, IN, 4, NULL, 0, NULL, 512), OK);
	assert_int_equal(ask(&w, IN, 4, NULL, 0, NULL, 1024), IOERR);
	assert_int_equal(ask(&w, IN, 40, NULL, 0, NULL, 512), IOERR);
	assert_int_equal(blk_get_counters(w.b)->errors, 2);
	end(&w);
}

static void configuration(void **state)
{
	static struct world w;
	uint8_t v[60];

	start(&w, false, 0);
	w.rig.dev->ops->config_read(w.rig.dev, 0, v, sizeof(v));
	assert_int_equal(get_le64(v), SECTORS);
	assert_int_equal(get_le32(v + 12), BLK_SEGS_MAX);
	assert_true(w.rig.dev->ops->features >> 13 & 1 && !(w.rig.dev->ops->features >> 5 & 1));
	end(&w);
	start(&w, true, 0);
	assert_true(!(w.rig.dev->ops->features >> 13 & 1) && w.rig.dev->ops->features >> 5 & 1);
	end(&w);
}

static void what_is_refused(void **state)
{
	struct blk_options opts = {.fd = open("/dev/null", O_RDWR | O_CLOEXEC), .engine = engine};
	struct loop *loop = NULL;
	struct blk *b = NULL;
	struct err err;

	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(blk_new(&b, loop, &opts, &err), -EINVAL);
	opts.fd = -1;
	assert_int_equal(blk_new(&b, loop, &opts, &err), -EBADF);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_and_writes),
		cmocka_unit_test(the_id),
		cmocka_unit_test(a_flush_syncs_and_without_it_writes_are_synchronous),
		cmocka_unit_test(the_ring_is_locked_down),
		cmocka_unit_test(discard_and_zeroes),
		cmocka_unit_test(hostile_requests),
		cmocka_unit_test(hostile_ranges),
		cmocka_unit_test(requests_that_cannot_be_answered),
		cmocka_unit_test(buffers_are_counted),
		cmocka_unit_test(many_at_once_and_a_reset),
		cmocka_unit_test(a_file_that_shrinks),
		cmocka_unit_test(configuration),
		cmocka_unit_test(what_is_refused),
	};
	struct blk_io io;
	struct loop *loop = NULL;
	static const struct blk_io_ops none;
	int r;

	engine = BLK_ENGINE_THREADS;
	r = cmocka_run_group_tests_name("threads", tests, NULL, NULL);
	if (r || loop_new(&loop, NULL) < 0)
		return 1;
	engine = BLK_ENGINE_URING;
	if (blk_io_init(&io, loop, 0, engine, &none, NULL, NULL) == -ENOSYS) {
		(void)printf("no io_uring here: half of the tests did not run\n");
		loop_free(loop);
		return getenv("PODVM_TEST_STRICT") ? 1 : 77;
	}
	blk_io_fini(&io);
	loop_free(loop);
	return cmocka_run_group_tests_name("io_uring", tests, NULL, NULL);
}
