/* SPDX-License-Identifier: Apache-2.0 */
/* Folders, and inodes that go cold: what the guest knows must stay usable, or be said to be stale, whatever happens below. */
#include <sys/mount.h>
#include <sys/resource.h>

#include "virtio/test_fs_client.h"

static unsigned open_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 4096; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Reads a whole folder in replies of `size`. Counts entries; the sum of their names' lengths must come out right. */
static unsigned list(struct client *c, uint64_t node, uint64_t fh, uint32_t size, bool plus)
{
	struct fuse_read_in in = {.fh = fh, .size = size};
	unsigned n = 0;

	for (;;) {
		uint32_t at = 0;

		cl_begin(c, plus ? FUSE_READDIRPLUS : FUSE_READDIR, node, &in, sizeof(in));
		assert_int_equal(cl_end(c, size), 0);
		if (c->reply_len == 0)
			return n;
		while (at < c->reply_len) {
			const struct fuse_entry_out *e = plus ? (const struct fuse_entry_out *)(c->reply + at) : NULL;
			const struct fuse_dirent *d;
			bool dots;

			at += plus ? sizeof(*e) : 0;
			d = (const struct fuse_dirent *)(c->reply + at);
			assert_true(at + FUSE_NAME_OFFSET + d->namelen <= c->reply_len);
			at += FUSE_DIRENT_SIZE(d);
			dots = d->namelen <= 2 && d->name[0] == '.';
			if (plus)
				assert_true((e->nodeid == 0) == dots);
			in.offset = d->off;
			n++;
		}
		assert_int_equal(at, c->reply_len);
	}
}

static void lists_large_folders(void **state)
{
	struct client *c = cl_start();
	char name[64];
	uint64_t fh, fh2;

	(void)state;
	for (int i = 0; i < 3000; i++) {
		(void)snprintf(name, sizeof(name), "a-file-with-some-name-%d", i);
		cl_host_file(c, name, "");
	}
	fh = cl_opendir(c, FUSE_ROOT_ID);
	assert_int_equal(list(c, FUSE_ROOT_ID, fh, 4096, false), 3002);
	assert_int_equal(list(c, FUSE_ROOT_ID, fh, 1024 * 1024, false), 3002);
	assert_int_equal(list(c, FUSE_ROOT_ID, fh, 4096, true), 3002);
	/* A new file is seen from the start again. */
	cl_host_file(c, "one-more", "");
	assert_int_equal(list(c, FUSE_ROOT_ID, fh, 65536, true), 3003);
	assert_int_equal(list(c, FUSE_ROOT_ID, fh, 300, false), 3003);
	/* Two readers in turns, more than there are buffers. */
	for (int i = 0; i < 6; i++) {
		fh2 = cl_opendir(c, FUSE_ROOT_ID);
		assert_int_equal(list(c, FUSE_ROOT_ID, fh2, 4096, false), 3003);
	}
	assert_int_equal(list(c, FUSE_ROOT_ID, fh, 4096, false), 3003);
	cl_stop(c);
}

static void goes_on_from_any_offset(void **state)
{
	struct fuse_read_in in = {.size = 600};
	struct client *c = cl_start();
	const struct fuse_dirent *d;
	uint64_t fh[6], off[6] = {0};
	unsigned n[6] = {0};
	char name[16];

	(void)state;
	for (int i = 0; i < 200; i++) {
		(void)snprintf(name, sizeof(name), "f%d", i);
		cl_host_file(c, name, "");
	}
	for (int i = 0; i < 6; i++)
		fh[i] = cl_opendir(c, FUSE_ROOT_ID);
	for (int turn = 0, left = 6; left > 0; turn = (turn + 1) % 6) {
		in.fh = fh[turn];
		in.offset = off[turn];
		assert_int_equal(cl_call(c, FUSE_READDIR, FUSE_ROOT_ID, &in, sizeof(in)), 0);
		left = c->reply_len ? 6 : left - 1;
		for (uint32_t at = 0; at < c->reply_len; at += FUSE_DIRENT_SIZE(d)) {
			d = (const struct fuse_dirent *)(c->reply + at);
			off[turn] = d->off;
			n[turn]++;
		}
	}
	for (int i = 0; i < 6; i++)
		assert_int_equal(n[i], 202);
	in.offset = UINT64_MAX;
	assert_int_equal(cl_call(c, FUSE_READDIR, FUSE_ROOT_ID, &in, sizeof(in)), -EINVAL);
	in.offset = 0;
	in.size = 16;
	assert_int_equal(cl_call(c, FUSE_READDIR, FUSE_ROOT_ID, &in, sizeof(in)), -EINVAL);
	cl_stop(c);
}

/* Far more inodes than descriptors: a tree of 40 folders with 50 files each, all known to the guest, and 64 descriptors. */
static void knows_more_inodes_than_it_may_open(void **state)
{
	enum { DIRS = 40, FILES = 50 };
	static uint64_t dirs[DIRS], files[DIRS][FILES];
	struct fs_options opts = cl_options();
	unsigned before, most = 0;
	struct fuse_attr a;
	struct client *c;
	char name[32];

	(void)state;
	opts.fds_max = 64;
	c = cl_start_with(opts);
	before = open_fds();
	assert_int_equal(cl_init(c), 0);
	for (unsigned d = 0; d < DIRS; d++) {
		(void)snprintf(name, sizeof(name), "d%u", d);
		assert_int_equal(cl_mkdir(c, FUSE_ROOT_ID, name), 0);
		dirs[d] = cl_entry(c)->nodeid;
		for (unsigned f = 0; f < FILES; f++) {
			(void)snprintf(name, sizeof(name), "d%u/f%u", d, f);
			cl_host_file(c, name, "x");
			files[d][f] = cl_lookup(c, dirs[d], name + (d < 10 ? 3 : 4));
		}
	}
	for (unsigned f = 0; f < FILES; f++)
		for (unsigned d = 0; d < DIRS; d++) {
			struct fuse_setattr_in set = {.valid = FATTR_MODE, .mode = 0600};

			assert_int_equal(cl_getattr(c, files[d][f], &a), 0);
			assert_int_equal(a.size, 1);
			assert_int_equal(cl_call(c, FUSE_SETATTR, files[d][f], &set, sizeof(set)), 0);
			if (f % 16 == 0)
				most = MAX_OF(most, open_fds());
		}
	assert_true(most <= before + 64);
	assert_true(most > before + 8);
	/* Handles have a limit of their own, and folders can be reached beyond it. */
	for (unsigned i = 0;; i++) {
		uint64_t fh;
		int r = cl_open_flags(c, FUSE_OPEN, files[i / FILES % DIRS][i % FILES], O_RDONLY, &fh);

		if (r < 0) {
			assert_int_equal(r, -ENFILE);
			assert_true(i > 40 && i < 64);
			break;
		}
	}
	assert_int_equal(cl_getattr(c, files[DIRS - 1][FILES - 1], &a), 0);
	assert_int_equal(cl_lookup(c, dirs[DIRS / 2], "f7"), files[DIRS / 2][7]);
	assert_true(open_fds() <= before + 64);
	drv_dev_reset(cl_dev(c));
	assert_true(open_fds() <= before);
	cl_stop(c);
}

static void deep_trees(void **state)
{
	enum { DEPTH = 300 };
	static uint64_t nodes[DEPTH];
	struct fs_options opts = cl_options();
	struct client *c;
	uint64_t at = FUSE_ROOT_ID;

	(void)state;
	opts.fds_max = 64;
	c = cl_start_with(opts);
	assert_int_equal(cl_init(c), 0);
	for (int i = 0; i < DEPTH; i++) {
		assert_int_equal(cl_mkdir(c, at, "deep"), 0);
		at = nodes[i] = cl_entry(c)->nodeid;
	}
	/* From the top the bottom is cold again. */
	for (int i = 0; i < DEPTH; i++)
		assert_int_equal(cl_lookup(c, i ? nodes[i - 1] : FUSE_ROOT_ID, "deep"), nodes[i]);
	assert_int_equal(cl_getattr(c, nodes[DEPTH - 1], NULL), 0);
	assert_int_equal(cl_create(c, nodes[DEPTH - 1], "f", O_RDWR, 0600), 0);
	/* Ancestors that the guest forgot still lead there. */
	for (int i = 0; i < DEPTH - 1; i++)
		(void)cl_forget(c, nodes[i], 2);
	assert_int_equal(cl_getattr(c, nodes[DEPTH - 2], NULL), -EINVAL);
	assert_int_equal(cl_create(c, nodes[DEPTH - 1], "g", O_RDWR, 0600), 0);
	cl_stop(c);
}

static void the_hosts_changes_make_stale(void **state)
{
	struct client *c = cl_start();
	uint64_t f, g, d, x, l;
	struct fuse_attr a;

	(void)state;
	cl_host_file(c, "f", "f");
	cl_host_file(c, "g", "g");
	assert_int_equal(symlinkat("one", c->dir, "l"), 0);
	assert_int_equal(mkdirat(c->dir, "d", 0755), 0);
	cl_host_file(c, "d/x", "x");
	f = cl_lookup(c, FUSE_ROOT_ID, "f");
	g = cl_lookup(c, FUSE_ROOT_ID, "g");
	d = cl_lookup(c, FUSE_ROOT_ID, "d");
	x = cl_lookup(c, d, "x");
	l = cl_lookup(c, FUSE_ROOT_ID, "l");
	/* Removed; replaced; a symbolic link in a file's place; the way there renamed. */
	assert_int_equal(unlinkat(c->dir, "f", 0), 0);
	assert_int_equal(cl_getattr(c, f, NULL), -ESTALE);
	assert_int_equal(symlinkat("/etc/passwd", c->dir, "f"), 0);
	assert_int_equal(cl_open_flags(c, FUSE_OPEN, f, O_RDONLY, &(uint64_t){0}), -ESTALE);
	assert_true(cl_lookup(c, FUSE_ROOT_ID, "f") != f);
	cl_host_file(c, "g2", "g2");
	assert_int_equal(renameat(c->dir, "g2", c->dir, "g"), 0);
	assert_int_equal(cl_open_flags(c, FUSE_OPEN, g, O_RDONLY, &(uint64_t){0}), -ESTALE);
	assert_true(cl_lookup(c, FUSE_ROOT_ID, "g") != g);
	assert_int_equal(cl_getattr(c, g, NULL), -ESTALE);
	/* The folder is open at the moment, so a rename does not matter. */
	assert_int_equal(renameat(c->dir, "d", c->dir, "d2"), 0);
	assert_int_equal(cl_getattr(c, x, &a), 0);
	assert_int_equal(a.size, 1);
	assert_int_equal(cl_name_call(c, FUSE_LOOKUP, FUSE_ROOT_ID, "d"), -ENOENT);
	assert_int_equal(cl_lookup(c, FUSE_ROOT_ID, "d2"), d);
	/* As kubelet swaps ..data: another link, perhaps with the old inode's number, is another inode. */
	for (int i = 0; i < 20; i++) {
		uint64_t now;

		assert_int_equal(unlinkat(c->dir, "l", 0), 0);
		assert_int_equal(symlinkat(i % 2 ? "one" : "two", c->dir, "l"), 0);
		now = cl_lookup(c, FUSE_ROOT_ID, "l");
		assert_true(now != l);
		assert_int_equal(cl_call(c, FUSE_READLINK, now, NULL, 0), 0);
		assert_memory_equal(c->reply, i % 2 ? "one" : "two", 3);
		l = now;
	}
	cl_stop(c);
}

static void a_folder_moved_below_its_child_by_the_host(void **state)
{
	struct client *c = cl_start();
	uint64_t a, b;

	(void)state;
	assert_int_equal(mkdirat(c->dir, "a", 0755), 0);
	assert_int_equal(mkdirat(c->dir, "a/b", 0755), 0);
	a = cl_lookup(c, FUSE_ROOT_ID, "a");
	b = cl_lookup(c, a, "b");
	for (int i = 0; i < 3; i++) {
		/* So that both are open, and stay known wherever they go. */
		assert_int_equal(cl_name_call(c, FUSE_LOOKUP, b, "none"), -ENOENT);
		assert_int_equal(renameat(c->dir, "a/b", c->dir, "b"), 0);
		assert_int_equal(renameat(c->dir, "a", c->dir, "b/a"), 0);
		/* Here b's place is still below a. */
		assert_int_equal(cl_lookup(c, b, "a"), a);
		assert_int_equal(cl_getattr(c, a, NULL), 0);
		assert_int_equal(cl_lookup(c, FUSE_ROOT_ID, "b"), b);
		assert_int_equal(renameat(c->dir, "b/a", c->dir, "a"), 0);
		assert_int_equal(renameat(c->dir, "b", c->dir, "a/b"), 0);
		assert_int_equal(cl_lookup(c, FUSE_ROOT_ID, "a"), a);
		assert_int_equal(cl_lookup(c, a, "b"), b);
	}
	cl_stop(c);
}

static void announces_submounts(void **state)
{
	struct client *c = cl_start();
	char path[96];
	uint64_t plain;

	(void)state;
	assert_int_equal(mkdirat(c->dir, "m", 0755), 0);
	assert_int_equal(mkdirat(c->dir, "n", 0755), 0);
	(void)cl_lookup(c, FUSE_ROOT_ID, "n");
	assert_int_equal(cl_entry(c)->attr.flags, 0);
	plain = cl_lookup(c, FUSE_ROOT_ID, "m");
	(void)snprintf(path, sizeof(path), "%s/m", c->path);
	if (mount(c->path, path, NULL, MS_BIND, NULL) < 0) {
		cl_stop(c);
		skip(); /* needs CAP_SYS_ADMIN */
	}
	/* The same folder through another mount is another inode. */
	assert_true(cl_lookup(c, FUSE_ROOT_ID, "m") != plain);
	assert_int_equal(cl_entry(c)->attr.flags, FUSE_ATTR_SUBMOUNT);
	assert_true(cl_entry(c)->nodeid != FUSE_ROOT_ID);
	(void)cl_lookup(c, cl_entry(c)->nodeid, "n");
	assert_int_equal(cl_entry(c)->attr.flags, 0);
	assert_int_equal(umount2(path, MNT_DETACH), 0);
	cl_stop(c);
}

/* A mount below a volume can be unmounted by the host soon after the guest looked into it, and not while a file in it is open. */
static void lets_go_of_mounts_below_volumes(void **state)
{
	uint64_t deadline = time_mono_ns() + 30 * NS_PER_S, volume, inner, dir, f, fh;
	struct client *c = cl_start();
	char vol[96], in[100];
	int r = -1;

	(void)state;
	(void)snprintf(vol, sizeof(vol), "%s/vol", c->path);
	(void)snprintf(in, sizeof(in), "%s/in", vol);
	assert_int_equal(mkdir(vol, 0755), 0);
	if (mount("t", vol, "tmpfs", 0, NULL) < 0) {
		cl_stop(c);
		skip(); /* needs CAP_SYS_ADMIN */
	}
	assert_int_equal(mkdir(in, 0755), 0);
	assert_int_equal(mount("t", in, "tmpfs", 0, NULL), 0);
	cl_host_file(c, "vol/in/f", "text");
	volume = cl_lookup(c, FUSE_ROOT_ID, "vol");
	inner = cl_lookup(c, volume, "in");
	assert_int_equal(cl_mkdir(c, inner, "dir"), 0);
	dir = cl_entry(c)->nodeid;
	f = cl_lookup(c, inner, "f");
	fh = cl_open(c, f, O_RDONLY);
	assert_int_equal(cl_mkdir(c, dir, "deep"), 0);
	for (int i = 0; i < 15; i++) /* 1.5 s */
		assert_int_equal(loop_turn(c->loop, 100), 0);
	assert_int_equal(umount2(in, 0), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(cl_release(c, f, fh), 0);
	while (r < 0 && time_mono_ns() < deadline) {
		assert_int_equal(loop_turn(c->loop, 100), 0);
		r = umount2(in, 0);
	}
	assert_int_equal(r, 0);
	assert_int_equal(cl_getattr(c, dir, NULL), -ESTALE);
	assert_true(cl_lookup(c, volume, "in") != inner);
	assert_int_equal(umount2(vol, MNT_DETACH), 0);
	cl_stop(c);
}

static void forgets(void **state)
{
	struct fuse_batch_forget_in bf = {.count = 2};
	struct fuse_forget_one one[2];
	struct client *c = cl_start();
	uint64_t f, g;

	(void)state;
	cl_host_file(c, "f", "");
	cl_host_file(c, "g", "");
	f = cl_lookup(c, FUSE_ROOT_ID, "f");
	assert_int_equal(cl_lookup(c, FUSE_ROOT_ID, "f"), f);
	assert_int_equal(cl_forget(c, f, 1), 0);
	assert_int_equal(cl_getattr(c, f, NULL), 0);
	assert_int_equal(cl_forget(c, f, 1), 0);
	assert_int_equal(cl_getattr(c, f, NULL), -EINVAL);
	/* More than there were; the root never goes. */
	f = cl_lookup(c, FUSE_ROOT_ID, "f");
	g = cl_lookup(c, FUSE_ROOT_ID, "g");
	one[0] = (struct fuse_forget_one){f, UINT64_MAX};
	one[1] = (struct fuse_forget_one){FUSE_ROOT_ID, 100};
	cl_begin(c, FUSE_BATCH_FORGET, 0, &bf, sizeof(bf));
	cl_bytes(c, one, sizeof(one));
	cl_post(c, 16);
	cl_wait_used(c, 1, NULL, &(uint32_t){0});
	assert_int_equal(cl_getattr(c, f, NULL), -EINVAL);
	assert_int_equal(cl_getattr(c, g, NULL), 0);
	/* Open, and forgotten: the handle alone is of no use any more. */
	(void)cl_open(c, g, O_RDONLY);
	(void)cl_forget(c, g, 1);
	assert_int_equal(cl_getattr(c, g, NULL), -EINVAL);
	assert_int_equal(cl_lookup(c, FUSE_ROOT_ID, "g"), g);
	assert_int_equal(cl_getattr(c, g, NULL), 0);
	cl_stop(c);
}

/* Puts a FORGET into queue 0 and kicks if it must. True if it did. */
static bool post_forget(struct client *c, uint64_t node)
{
	struct {
		struct fuse_in_header h;
		struct fuse_forget_in in;
	} msg = {{.len = sizeof(msg), .opcode = FUSE_FORGET, .nodeid = node}, {.nlookup = 1}};
	/* Not where the next request will lie. */
	const struct drv_buf buf = {drv_alloc(&c->vm, sizeof(msg), 8), sizeof(msg), false};
	bool kick;

	memcpy(drv_ptr(&c->vm, buf.gpa), &msg, sizeof(msg));
	assert_true(drv_add(&c->dq[0], &buf, 1) >= 0);
	kick = drv_publish(&c->dq[0]);
	if (kick)
		assert_int_equal(cl_dev(c)->ops->notify(cl_dev(c), 0), 0);
	return kick;
}

/* They come in heaps, and nobody waits: few kicks, few interrupts, but none that never comes. */
static void forgets_disturb_nobody(void **state)
{
	struct client *c = cl_start();
	uint64_t f, deadline = time_mono_ns() + CL_DEADLINE_MS * NS_PER_MS;
	unsigned n;

	(void)state;
	cl_host_file(c, "f", "");
	for (n = 0; n < 5; n++)
		f = cl_lookup(c, FUSE_ROOT_ID, "f");
	c->t.signals[0] = 0;
	assert_true(post_forget(c, f));
	assert_false(post_forget(c, f));
	assert_false(post_forget(c, f));
	assert_int_equal(c->t.signals[0], 0);
	/* The first is done; the others are as soon as something else is, without a turn of the loop. */
	assert_int_equal(drv_used_idx(&c->dq[0]), 1);
	assert_int_equal(cl_getattr(c, f, NULL), 0);
	assert_int_equal(drv_used_idx(&c->dq[0]), 3);
	assert_int_equal(c->t.signals[0], 0);
	/* One interrupt for all of them, after a while; and after one more kicks are wanted again. */
	while (c->t.signals[0] == 0 && time_mono_ns() < deadline)
		assert_int_equal(loop_turn(c->loop, 100), 0);
	assert_int_equal(c->t.signals[0], 1);
	while (drv_used(&c->dq[0], NULL, NULL))
		;
	while (drv_avail_event(&c->dq[0]) != 3 && time_mono_ns() < deadline)
		assert_int_equal(loop_turn(c->loop, 100), 0);
	assert_true(post_forget(c, f));
	/* A silent one is found by the clock alone. */
	assert_false(post_forget(c, f));
	while (drv_used_idx(&c->dq[0]) != 5 && time_mono_ns() < deadline)
		assert_int_equal(loop_turn(c->loop, 100), 0);
	assert_int_equal(cl_getattr(c, f, NULL), -EINVAL);
	/* A session that ends meanwhile leaves nothing behind. */
	f = cl_lookup(c, FUSE_ROOT_ID, "f");
	(void)post_forget(c, f);
	cl_stop(c);
}

/* The guest has to be told in time for a small queue, and for many: an interrupt for half of the queue. */
static void many_forgets(void **state)
{
	struct client *c = cl_start();
	uint64_t f;
	unsigned n;

	(void)state;
	cl_host_file(c, "f", "");
	f = cl_lookup(c, FUSE_ROOT_ID, "f");
	c->t.signals[0] = 0;
	(void)post_forget(c, f);
	for (n = 1; n < 32; n++)
		(void)post_forget(c, f);
	assert_int_equal(c->t.signals[0], 0);
	assert_int_equal(cl_getattr(c, FUSE_ROOT_ID, NULL), 0);
	assert_int_equal(c->t.signals[0], 1);
	cl_stop(c);
}

static void survives_a_process_without_descriptors(void **state)
{
	struct client *c = cl_start();
	struct rlimit old, low;
	uint64_t dirs[30], fh[30];
	char name[16];
	unsigned n;
	int r = 0;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(dirs); i++) {
		(void)snprintf(name, sizeof(name), "d%u", i);
		assert_int_equal(cl_mkdir(c, FUSE_ROOT_ID, name), 0);
		dirs[i] = cl_entry(c)->nodeid;
		assert_int_equal(cl_create(c, dirs[i], "f", O_RDWR, 0600), 0);
		assert_int_equal(cl_release(c, cl_entry(c)->nodeid, cl_created_fh(c)), 0);
	}
	/* Our budget is 1000, the process's limit is what is open now: hot folders must go for others. */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = open_fds();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	for (n = 0; n < ARRAY_SIZE(dirs); n++) {
		r = cl_open_flags(c, FUSE_OPENDIR, dirs[n], 0, &fh[n]);
		if (r < 0)
			break;
	}
	assert_int_equal(r, -EMFILE);
	assert_in_range(n, 20, 29);
	/* All of them are open now, so the guest must close one to go on. */
	assert_int_equal(cl_release(c, dirs[0], fh[0]), 0);
	assert_int_equal(cl_open_flags(c, FUSE_OPENDIR, dirs[29], 0, &fh[0]), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	cl_stop(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_large_folders),
		cmocka_unit_test(goes_on_from_any_offset),
		cmocka_unit_test(knows_more_inodes_than_it_may_open),
		cmocka_unit_test(deep_trees),
		cmocka_unit_test(the_hosts_changes_make_stale),
		cmocka_unit_test(a_folder_moved_below_its_child_by_the_host),
		cmocka_unit_test(announces_submounts),
		cmocka_unit_test(lets_go_of_mounts_below_volumes),
		cmocka_unit_test(forgets),
		cmocka_unit_test(forgets_disturb_nobody),
		cmocka_unit_test(many_forgets),
		cmocka_unit_test(survives_a_process_without_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
