/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest of virtio-fs. The input is a list of requests; each becomes a chain of a real queue, with node ids and handles
 * of earlier replies, so that it gets to the files, in a folder that looks the same before each input. What is checked besides
 * memory: every chain comes back once, replies are well-formed, nothing outside of the folder changes, no descriptor is left.
 *
 * There is one device for all inputs; between two of them it is reset, which has to forget all that the first one did.
 *
 *   record   0 operation, 1 node, 2 handle, 3 how (HOW_ bits), 4 length of the body, then the body
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "virtio/fs.h"
#include "virtio/fs_proto.h"
#include "virtio/test_driver.h"

#define SLOTS 4
#define BUF_LEN 65536u
#define KNOWN_MAX 16
#define STEPS_MAX 64
#define FILE_MAX (1u << 20) /* no file of the target grows beyond */
#define DEADLINE_NS (20 * NS_PER_S)
#define SECRET "what is outside"

enum {
	HOW_RAW_OP = 1,	  /* the operation byte is the opcode */
	HOW_RAW_NODE = 2, /* the node byte is the node id */
	HOW_RAW_BODY = 4, /* handles in the body stay as they came */
	HOW_SPLIT = 8,	  /* the request in many small buffers */
	HOW_INDIRECT = 16,
	HOW_LITTLE_ROOM = 32, /* for the reply */
	HOW_ASYNC = 64,	      /* do not wait for the reply */
	HOW_WRONG_LEN = 128,  /* the header's length is not the chain's */
};

/* Where a request has handles and node ids (+1; 0: none), and 64-bit numbers that would make large files. */
struct op {
	uint8_t code, fh, fh2, node, len;
	bool forget;
};

#define AT(type, field) (offsetof(struct type, field) + 1)

static const struct op ops[] = {
	{FUSE_LOOKUP, 0, 0, 0, 0, false},
	{FUSE_FORGET, 0, 0, 0, 0, true},
	{FUSE_GETATTR, AT(fuse_getattr_in, fh), 0, 0, 0, false},
	{FUSE_SETATTR, AT(fuse_setattr_in, fh), 0, 0, AT(fuse_setattr_in, size), false},
	{FUSE_READLINK, 0, 0, 0, 0, false},
	{FUSE_SYMLINK, 0, 0, 0, 0, false},
	{FUSE_MKNOD, 0, 0, 0, 0, false},
	{FUSE_MKDIR, 0, 0, 0, 0, false},
	{FUSE_UNLINK, 0, 0, 0, 0, false},
	{FUSE_RMDIR, 0, 0, 0, 0, false},
	{FUSE_RENAME, 0, 0, AT(fuse_rename_in, newdir), 0, false},
	{FUSE_LINK, 0, 0, AT(fuse_link_in, oldnodeid), 0, false},
	{FUSE_OPEN, 0, 0, 0, 0, false},
	{FUSE_READ, AT(fuse_read_in, fh), 0, 0, 0, false},
	{FUSE_WRITE, AT(fuse_write_in, fh), 0, 0, AT(fuse_write_in, offset), false},
	{FUSE_STATFS, 0, 0, 0, 0, false},
	{FUSE_RELEASE, AT(fuse_release_in, fh), 0, 0, 0, false},
	{FUSE_FSYNC, AT(fuse_fsync_in, fh), 0, 0, 0, false},
	{FUSE_SETXATTR, 0, 0, 0, 0, false},
	{FUSE_GETXATTR, 0, 0, 0, 0, false},
	{FUSE_LISTXATTR, 0, 0, 0, 0, false},
	{FUSE_REMOVEXATTR, 0, 0, 0, 0, false},
	{FUSE_FLUSH, AT(fuse_flush_in, fh), 0, 0, 0, false},
	{FUSE_INIT, 0, 0, 0, 0, false},
	{FUSE_OPENDIR, 0, 0, 0, 0, false},
	{FUSE_READDIR, AT(fuse_read_in, fh), 0, 0, 0, false},
	{FUSE_READDIRPLUS, AT(fuse_read_in, fh), 0, 0, 0, false},
	{FUSE_RELEASEDIR, AT(fuse_release_in, fh), 0, 0, 0, false},
	{FUSE_FSYNCDIR, AT(fuse_fsync_in, fh), 0, 0, 0, false},
	{FUSE_GETLK, AT(fuse_lk_in, fh), 0, 0, 0, false},
	{FUSE_SETLK, AT(fuse_lk_in, fh), 0, 0, 0, false},
	{FUSE_ACCESS, 0, 0, 0, 0, false},
	{FUSE_CREATE, 0, 0, 0, 0, false},
	{FUSE_INTERRUPT, 0, 0, 0, 0, true},
	{FUSE_DESTROY, 0, 0, 0, 0, false},
	{FUSE_BATCH_FORGET, 0, 0, sizeof(struct fuse_batch_forget_in) + 1, 0, true},
	{FUSE_FALLOCATE, AT(fuse_fallocate_in, fh), 0, 0, AT(fuse_fallocate_in, length), false},
	{FUSE_RENAME2, 0, 0, AT(fuse_rename2_in, newdir), 0, false},
	{FUSE_LSEEK, AT(fuse_lseek_in, fh), 0, 0, 0, false},
	{FUSE_COPY_FILE_RANGE, AT(fuse_copy_file_range_in, fh_in), AT(fuse_copy_file_range_in, fh_out),
		AT(fuse_copy_file_range_in, nodeid_out), AT(fuse_copy_file_range_in, len), false},
	{FUSE_SYNCFS, 0, 0, 0, 0, false},
	{FUSE_TMPFILE, 0, 0, 0, 0, false},
};

struct slot {
	gpa_t in, out;
	uint32_t opcode, room;
	uint16_t head;
	uint64_t unique;
	unsigned queue;
	bool busy;
};

struct target {
	struct drv_vm vm;
	struct drv_queue dq[3];
	struct drv_transport t;
	struct loop *loop;
	struct fs *fs;
	struct slot slots[SLOTS];
	uint64_t unique;
	uint64_t nodes[KNOWN_MAX], handles[KNOWN_MAX];
	unsigned n_nodes, n_handles;
	char top[64];
	int top_fd, share_fd;
	/* The device changes the working directory and the umask of its thread, which are the fuzzer's between inputs. */
	int home_fd, proc_fd;
	mode_t mask;
};

/* ---- replies ---- */

static void learn(uint64_t *list, unsigned *n, uint64_t id)
{
	list[(*n)++ % KNOWN_MAX] = id;
}

static uint64_t known(const uint64_t *list, unsigned n, uint8_t which)
{
	return n ? list[which % (n < KNOWN_MAX ? n : KNOWN_MAX)] : which;
}

static void take_reply(struct target *f, const struct slot *s, uint32_t len)
{
	const uint8_t *bytes = drv_ptr(&f->vm, s->out);
	struct fuse_out_header oh;
	struct fuse_entry_out entry;
	struct fuse_open_out opened;
	uint32_t at = sizeof(oh);

	assert(len <= s->room);
	if (len == 0)
		return;
	assert(len >= sizeof(oh));
	memcpy(&oh, bytes, sizeof(oh));
	assert(oh.len == len && oh.unique == s->unique && oh.error <= 0 && oh.error > -4096);
	assert(oh.error == 0 || len == sizeof(oh));
	if (oh.error)
		return;
	switch (s->opcode) {
	case FUSE_LOOKUP:
	case FUSE_SYMLINK:
	case FUSE_MKNOD:
	case FUSE_MKDIR:
	case FUSE_LINK:
	case FUSE_CREATE:
	case FUSE_TMPFILE:
		assert(len >= at + sizeof(entry));
		memcpy(&entry, bytes + at, sizeof(entry));
		learn(f->nodes, &f->n_nodes, entry.nodeid);
		at += sizeof(entry);
		if (s->opcode != FUSE_CREATE && s->opcode != FUSE_TMPFILE)
			return;
		break;
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		break;
	default:
		return;
	}
	assert(len >= at + sizeof(opened));
	memcpy(&opened, bytes + at, sizeof(opened));
	learn(f->handles, &f->n_handles, opened.fh);
}

static void take_used(struct target *f, unsigned queue)
{
	uint16_t head;
	uint32_t len;

	while (drv_used(&f->dq[queue], &head, &len)) {
		struct slot *s = NULL;

		for (unsigned i = 0; i < SLOTS; i++)
			if (f->slots[i].busy && f->slots[i].head == head && f->slots[i].queue == queue)
				s = &f->slots[i];
		assert(s);
		s->busy = false;
		take_reply(f, s, len);
	}
}

/* Waits until at most `n` requests are out. False: the device has had enough of this driver. */
static bool settle(struct target *f, unsigned n)
{
	uint64_t deadline = time_mono_ns() + DEADLINE_NS;

	for (;;) {
		unsigned busy = 0;

		take_used(f, 0);
		take_used(f, 1);
		for (unsigned i = 0; i < SLOTS; i++)
			busy += f->slots[i].busy;
		if (f->t.broken)
			return false;
		if (busy <= n)
			return true;
		assert(time_mono_ns() < deadline);
		(void)loop_turn(f->loop, 20);
	}
}

/* ---- requests ---- */

static void set64(uint8_t *body, uint32_t len, uint8_t at, uint64_t v)
{
	if (at && len >= (uint32_t)at - 1 + sizeof(v))
		memcpy(body + at - 1, &v, sizeof(v));
}

static void clamp64(uint8_t *body, uint32_t len, uint8_t at)
{
	uint64_t v;

	if (!at || len < (uint32_t)at - 1 + sizeof(v))
		return;
	memcpy(&v, body + at - 1, sizeof(v));
	if (v < UINT64_C(1) << 62)
		v %= FILE_MAX;
	memcpy(body + at - 1, &v, sizeof(v));
}

/* FUSE_BATCH_FORGET's count and other 32-bit sizes stay as they are: those must be refused by the server. */
static uint32_t fill(
	struct target *f, const struct slot *s, const struct op *op, const uint8_t rec[5], const uint8_t *body)
{
	uint8_t *in = drv_ptr(&f->vm, s->in), *b = in + sizeof(struct fuse_in_header);
	struct fuse_in_header h = {
		.opcode = s->opcode,
		.unique = s->unique,
		.nodeid = rec[3] & HOW_RAW_NODE ? rec[1] : known(f->nodes, f->n_nodes, rec[1]),
		.uid = rec[1] & 128 ? 1000 : geteuid(),
		.gid = rec[1] & 64 ? 1000 : getegid(),
		.len = (uint32_t)sizeof(h) + rec[4],
	};

	memcpy(b, body, rec[4]);
	if (op && !(rec[3] & HOW_RAW_BODY)) {
		set64(b, rec[4], op->fh, known(f->handles, f->n_handles, rec[2]));
		set64(b, rec[4], op->fh2, known(f->handles, f->n_handles, rec[2] / 16));
		set64(b, rec[4], op->node, known(f->nodes, f->n_nodes, rec[2] / 16));
	}
	if (op)
		clamp64(b, rec[4], op->len);
	if (rec[3] & HOW_WRONG_LEN)
		h.len += rec[2];
	memcpy(in, &h, sizeof(h));
	return (uint32_t)sizeof(h) + rec[4];
}

static int post(struct target *f, struct slot *s, uint8_t how, uint32_t len)
{
	struct drv_buf bufs[24];
	unsigned n = 0;
	uint32_t step = how & HOW_SPLIT ? 1 + len / 16 : len;

	for (uint32_t at = 0; at < len; at += step)
		bufs[n++] = (struct drv_buf){s->in + at, MIN_OF(step, len - at), false};
	if (s->queue == 1) {
		uint32_t half = how & HOW_SPLIT ? 7 : s->room / 2;

		bufs[n++] = (struct drv_buf){s->out, half, true};
		bufs[n++] = (struct drv_buf){s->out + half, s->room - half, true};
	}
	return how & HOW_INDIRECT ? drv_add_indirect(&f->dq[s->queue], bufs, n) : drv_add(&f->dq[s->queue], bufs, n);
}

static bool request(struct target *f, const uint8_t rec[5], const uint8_t *body)
{
	const struct op *op = rec[3] & HOW_RAW_OP ? NULL : &ops[rec[0] % ARRAY_SIZE(ops)];
	struct slot *s = f->slots;
	int head;

	/* A lock that is waited for may never come; there are unit tests of it. */
	if (!op && (rec[0] == FUSE_SETLKW || rec[0] == FUSE_FALLOCATE || rec[0] == FUSE_SETATTR))
		return true;
	while (s->busy)
		s++;
	s->opcode = op ? op->code : rec[0];
	s->unique = ++f->unique;
	s->queue = op && op->forget ? 0 : 1;
	s->room = rec[3] & HOW_LITTLE_ROOM ? 16 + rec[2] / 2 : BUF_LEN;
	head = post(f, s, rec[3], fill(f, s, op, rec, body));
	assert(head >= 0);
	s->head = (uint16_t)head;
	s->busy = true;
	if (drv_publish(&f->dq[s->queue]) && fs_dev(f->fs)->ops->notify(fs_dev(f->fs), s->queue) < 0)
		return false;
	return settle(f, rec[3] & HOW_ASYNC ? SLOTS - 1 : 0);
}

/* ---- the folder ---- */

static unsigned count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

static void make_file(int dir, const char *name, mode_t mode, const char *text, size_t len)
{
	auto_close int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	int r = fd_write_all(fd, text, len);

	assert(r == 0);
}

/* Where the folders are: made once, removed when the process ends. */
static void make_top(struct target *f)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(f->top, sizeof(f->top), "%.40s/podvm-fuzz-XXXXXX",
		tmp				? tmp
		: access("/dev/shm", W_OK) == 0 ? "/dev/shm"
						: "/tmp");
	assert(mkdtemp(f->top));
	f->top_fd = open(f->top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	make_file(f->top_fd, "outside", 0600, SECRET, sizeof(SECRET));
	assert(mkdirat(f->top_fd, "share", 0777) == 0);
	f->share_fd = openat(f->top_fd, "share", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert(f->share_fd >= 0);
}

static void fill_share(struct target *f)
{
	assert(fchown(f->share_fd, geteuid(), getegid()) == 0 && fchmod(f->share_fd, 0777) == 0);
	assert(symlinkat("../outside", f->share_fd, "link") == 0 && mkdirat(f->share_fd, "d", 0777) == 0);
	make_file(f->share_fd, "f", 0666, "0123456789", 10);
}

static void empty_share(struct target *f)
{
	DIR *dir = fdopendir(openat(f->share_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *e;

	assert(dir);
	while ((e = readdir(dir))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (unlinkat(f->share_fd, e->d_name, 0) < 0 && dir_remove_all(f->share_fd, e->d_name, NULL) < 0)
			abort();
	}
	(void)closedir(dir);
}

/* Nothing came out of the share, and what lies beside it is as it was. */
static void check_folder(struct target *f)
{
	auto_free char *text = NULL;
	size_t len = 0;
	struct stat st;
	unsigned n = 0;
	DIR *dir = fdopendir(openat(f->top_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));

	assert(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	assert(n == 4);
	assert(file_read(f->top_fd, "outside", 64, &text, &len, NULL) == 0 && len == sizeof(SECRET) &&
		memcmp(text, SECRET, len) == 0);
	assert(fstatat(f->top_fd, "outside", &st, 0) == 0 && (st.st_mode & 07777) == 0600 && st.st_nlink == 1);
}

static struct target target;

static void remove_top(void)
{
	empty_share(&target);
	(void)dir_remove_all(AT_FDCWD, target.top, NULL);
}

static void set_up(struct target *f)
{
	struct fs_options opts = {.tag = "fuzz", .n_request_queues = 1, .fds_max = FS_FDS_MIN, .workers = 1};
	mode_t usual = umask(0);
	int r;

	make_top(f);
	(void)atexit(remove_top);
	f->home_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	f->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	opts.root_fd = openat(f->top_fd, "share", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = loop_new(&f->loop, NULL);
	assert(r == 0);
	r = fs_new(&f->fs, f->loop, &opts, NULL);
	assert(r == 0);
	drv_vm_init(&f->vm, (2 * SLOTS + 4) * BUF_LEN);
	r = fchdir(f->home_fd);
	assert(r == 0);
	f->mask = umask(usual);
}

static void start(struct target *f)
{
	int r = fchdir(f->proc_fd);

	assert(r == 0);
	fill_share(f);
	f->vm.used = 0;
	memset(f->slots, 0, sizeof(f->slots));
	f->unique = 0;
	f->n_nodes = f->n_handles = 0;
	r = drv_dev_start(fs_dev(f->fs), &f->t, &f->vm, f->dq, 128);
	assert(r == 0);
	for (unsigned i = 0; i < SLOTS; i++) {
		f->slots[i].in = drv_alloc(&f->vm, BUF_LEN, 16);
		f->slots[i].out = drv_alloc(&f->vm, BUF_LEN, 16);
	}
	learn(f->nodes, &f->n_nodes, FUSE_ROOT_ID);
}

static void finish(struct target *f, unsigned fds)
{
	uint64_t deadline = time_mono_ns() + DEADLINE_NS;
	int r;

	drv_dev_reset(fs_dev(f->fs));
	/* What a worker was at is given up when the loop hears of its end. */
	while (count_fds() != fds) {
		assert(time_mono_ns() < deadline);
		(void)loop_turn(f->loop, 20);
	}
	check_folder(f);
	empty_share(f);
	r = fchdir(f->home_fd);
	assert(r == 0);
}

/* The handshake of a driver that may want all there is, so that inputs need not find it. */
static void say_hello(struct target *f)
{
	const struct fuse_init_in in = {
		.major = 7, .minor = 37, .flags = ~(uint32_t)(UINT32_C(1) << 31), .flags2 = ~UINT32_C(0)};
	uint8_t body[sizeof(in)], rec[5] = {FUSE_INIT, 0, 0, HOW_RAW_OP | HOW_RAW_NODE, sizeof(in)};

	memcpy(body, &in, sizeof(in));
	(void)request(f, rec, body);
}

static void run(struct target *f, const uint8_t *data, size_t size)
{
	size_t at = 1;

	if (!(data[0] & 1))
		say_hello(f);
	for (unsigned i = 0; i < STEPS_MAX && size - at >= 5; i++) {
		const uint8_t *rec = data + at;
		size_t len = MIN_OF((size_t)rec[4], size - at - 5);
		uint8_t body[255] = {0};

		memcpy(body, rec + 5, len);
		at += 5 + len;
		if (!request(f, rec, body))
			break;
	}
	if (!f->t.broken)
		(void)settle(f, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct rlimit limit = {.rlim_cur = FILE_MAX, .rlim_max = RLIM_INFINITY};
	struct target *f = &target;
	struct rlimit old;
	mode_t usual;
	unsigned fds;

	if (size < 1)
		return 0;
	if (!f->fs)
		set_up(f);
	/* The fuzzer's own files are not bound by it: it is for this call alone. */
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)getrlimit(RLIMIT_FSIZE, &old);
	(void)setrlimit(RLIMIT_FSIZE, &limit);
	usual = umask(0);
	fds = count_fds();
	start(f);
	(void)umask(f->mask);
	run(f, data, size);
	f->mask = umask(0);
	finish(f, fds);
	(void)umask(usual);
	(void)setrlimit(RLIMIT_FSIZE, &old);
	return 0;
}
