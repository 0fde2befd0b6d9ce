/* SPDX-License-Identifier: Apache-2.0 */
/* The operations of the fs device as a well-behaved guest uses them. */
#include "virtio/test_fs_client.h"

#include <sys/xattr.h>

static void starts(void **state)
{
	struct client *c = cl_start_with(cl_options());
	uint8_t cfg[40] = {0};

	(void)state;
	assert_int_equal(cl_dev(c)->ops->device_id, 26);
	assert_int_equal(cl_dev(c)->ops->n_queues, 2);
	assert_int_equal(cl_dev(c)->ops->config_len, sizeof(cfg));
	cl_dev(c)->ops->config_read(cl_dev(c), 0, cfg, sizeof(cfg));
	assert_memory_equal(cfg, "test\0\0", 6);
	assert_int_equal(get_le32(cfg + 36), 1);
	assert_int_equal(cl_getattr(c, FUSE_ROOT_ID, NULL), -EIO);
	assert_int_equal(cl_init(c), 0);
	assert_int_equal(c->init.major, 7);
	assert_int_equal(c->init.minor, 37);
	assert_int_equal(c->init.max_write, 1024 * 1024);
	assert_int_equal(c->init.max_pages, 256);
	assert_true(c->init.flags & FUSE_SUBMOUNTS && c->init.flags & FUSE_HANDLE_KILLPRIV_V2);
	assert_true(c->init.flags & FUSE_POSIX_LOCKS && c->init.flags & FUSE_FLOCK_LOCKS);
	assert_false(c->init.flags & FUSE_WRITEBACK_CACHE);
	assert_int_equal(cl_getattr(c, FUSE_ROOT_ID, NULL), 0);
	assert_int_equal(cl_call(c, FUSE_DESTROY, 0, NULL, 0), 0);
	assert_int_equal(cl_getattr(c, FUSE_ROOT_ID, NULL), -EIO);
	cl_stop(c);
}

static void negotiates_the_version(void **state)
{
	static const struct {
		uint32_t major, minor;
		int error;
		uint32_t minor_out;
	} cases[] = {
		{7, 26, -EPROTO, 0}, {6, 99, -EPROTO, 0}, {7, 27, 0, 27}, {7, 31, 0, 31}, {7, 99, 0, FS_MINOR_MAX},
		{8, 0, 0, FS_MINOR_MAX}, /* the guest shall try again with 7 */
	};
	struct client *c = cl_start_with(cl_options());

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct fuse_init_in in = {.major = cases[i].major, .minor = cases[i].minor};

		assert_int_equal(cl_call(c, FUSE_INIT, 0, &in, FS_INIT_IN_MIN), cases[i].error);
		if (cases[i].error == 0) {
			assert_int_equal(((const struct fuse_init_out *)c->reply)->major, 7);
			assert_int_equal(((const struct fuse_init_out *)c->reply)->minor, cases[i].minor_out);
			assert_int_equal(((const struct fuse_init_out *)c->reply)->flags, 0);
		}
		assert_int_equal(cl_getattr(c, FUSE_ROOT_ID, NULL), cases[i].error || cases[i].major > 7 ? -EIO : 0);
	}
	cl_stop(c);
}

static void creates_writes_reads(void **state)
{
	static char big[900 * 1024];
	struct client *c = cl_start();
	uint64_t node, fh;
	struct fuse_attr attr;

	(void)state;
	assert_int_equal(cl_create(c, FUSE_ROOT_ID, "a", O_RDWR | O_CREAT, 0640), 0);
	node = cl_entry(c)->nodeid;
	fh = cl_created_fh(c);
	assert_true(node > FUSE_ROOT_ID && fh != 0);
	assert_int_equal(cl_entry(c)->attr.mode, S_IFREG | 0640);
	assert_int_equal(cl_entry(c)->entry_valid, FS_VALID_S);
	assert_int_equal(cl_create(c, FUSE_ROOT_ID, "a", O_RDWR | O_CREAT | O_EXCL, 0640), -EEXIST);

	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)(i * 31 + i / 4096);
	assert_int_equal(cl_write(c, node, (struct fuse_write_in){.fh = fh, .offset = 3, .size = sizeof(big)}, big), 0);
	assert_int_equal(((const struct fuse_write_out *)c->reply)->size, sizeof(big));
	assert_int_equal(cl_getattr(c, node, &attr), 0);
	assert_int_equal(attr.size, sizeof(big) + 3);
	assert_int_equal(cl_read(c, node, fh, 0, 1024 * 1024), 0);
	assert_int_equal(c->reply_len, sizeof(big) + 3);
	assert_memory_equal(c->reply, "\0\0\0", 3);
	assert_memory_equal(c->reply + 3, big, sizeof(big));
	assert_int_equal(cl_read(c, node, fh, sizeof(big) + 3, 4096), 0);
	assert_int_equal(c->reply_len, 0);
	assert_int_equal(cl_release(c, node, fh), 0);
	assert_int_equal(cl_read(c, node, fh, 0, 1), -EBADF);

	/* An existing file by CREATE, truncated. */
	assert_int_equal(cl_create(c, FUSE_ROOT_ID, "a", O_WRONLY | O_CREAT | O_TRUNC, 0600), 0);
	assert_int_equal(cl_entry(c)->nodeid, node);
	assert_int_equal(cl_entry(c)->attr.size, 0);
	assert_int_equal(cl_entry(c)->attr.mode, S_IFREG | 0640);
	cl_stop(c);
}

static void appends_where_the_end_is(void **state)
{
	struct client *c = cl_start();
	uint64_t node, fh;

	(void)state;
	cl_host_file(c, "log", "12345");
	node = cl_lookup(c, FUSE_ROOT_ID, "log");
	fh = cl_open(c, node, O_WRONLY | O_APPEND);
	/* The guest thinks the end is at 2; the host has written since. */
	assert_int_equal(
		cl_write(c, node, (struct fuse_write_in){.fh = fh, .offset = 2, .size = 2, .flags = O_APPEND}, "ab"),
		0);
	/* O_APPEND was taken back with fcntl. */
	assert_int_equal(cl_write(c, node, (struct fuse_write_in){.fh = fh, .offset = 0, .size = 1}, "X"), 0);
	assert_int_equal(cl_release(c, node, fh), 0);
	fh = cl_open(c, node, O_RDONLY);
	assert_int_equal(cl_read(c, node, fh, 0, 100), 0);
	assert_int_equal(c->reply_len, 7);
	assert_memory_equal(c->reply, "X2345ab", 7);
	assert_int_equal(cl_write(c, node, (struct fuse_write_in){.fh = fh, .size = 1}, "X"), -EBADF);
	cl_stop(c);
}

static int setattr(struct client *c, uint64_t node, struct fuse_setattr_in in, struct fuse_attr *ret)
{
	int r = cl_call(c, FUSE_SETATTR, node, &in, sizeof(in));

	if (r == 0)
		*ret = ((const struct fuse_attr_out *)c->reply)->attr;
	return r;
}

static void sets_attributes(void **state)
{
	struct client *c = cl_start();
	struct fuse_attr a;
	uint64_t node, fh, link;

	(void)state;
	cl_host_file(c, "f", "hello");
	assert_int_equal(symlinkat("f", c->dir, "l"), 0);
	node = cl_lookup(c, FUSE_ROOT_ID, "f");
	assert_int_equal(setattr(c, node, (struct fuse_setattr_in){.valid = FATTR_MODE, .mode = 0751}, &a), 0);
	assert_int_equal(a.mode, S_IFREG | 0751);
	assert_int_equal(setattr(c, node, (struct fuse_setattr_in){.valid = FATTR_SIZE, .size = 2}, &a), 0);
	assert_int_equal(a.size, 2);
	fh = cl_open(c, node, O_RDWR);
	assert_int_equal(
		setattr(c, node, (struct fuse_setattr_in){.valid = FATTR_SIZE | FATTR_FH, .fh = fh, .size = 9}, &a), 0);
	assert_int_equal(a.size, 9);
	assert_int_equal(
		setattr(c, node, (struct fuse_setattr_in){.valid = FATTR_SIZE | FATTR_FH, .fh = fh + 1}, &a), -EBADF);
	assert_int_equal(
		setattr(c, node, (struct fuse_setattr_in){.valid = FATTR_MTIME, .mtime = 1234, .mtimensec = 5}, &a), 0);
	assert_int_equal(a.mtime, 1234);
	assert_int_equal(a.mtimensec, 5);
	assert_int_equal(
		setattr(c, node, (struct fuse_setattr_in){.valid = FATTR_MTIME | FATTR_MTIME_NOW | FATTR_ATIME}, &a),
		0);
	assert_true(a.mtime > 1234);
	assert_int_equal(a.atime, 0);
	/* Nanoseconds with a special meaning for utimensat are none for the guest. */
	assert_int_equal(
		setattr(c, node, (struct fuse_setattr_in){.valid = FATTR_MTIME, .mtimensec = UTIME_OMIT}, &a), -EINVAL);
	link = cl_lookup(c, FUSE_ROOT_ID, "l");
	assert_int_equal(setattr(c, link, (struct fuse_setattr_in){.valid = FATTR_MTIME, .mtime = 77}, &a), 0);
	assert_int_equal(a.mode & S_IFMT, S_IFLNK);
	assert_int_equal(a.mtime, 77);
	assert_int_equal(cl_getattr(c, link, &a), 0);
	assert_int_equal(
		setattr(c, link, (struct fuse_setattr_in){.valid = FATTR_MODE, .mode = 0777}, &a), -EOPNOTSUPP);
	assert_int_equal(setattr(c, link, (struct fuse_setattr_in){.valid = FATTR_SIZE}, &a), -EINVAL);
	assert_int_equal(setattr(c, FUSE_ROOT_ID, (struct fuse_setattr_in){.valid = FATTR_SIZE}, &a), -EISDIR);
	cl_stop(c);
}

static void names(void **state)
{
	struct client *c = cl_start();
	const struct fuse_rename2_in swap = {.newdir = FUSE_ROOT_ID, .flags = RENAME_EXCHANGE};
	const struct fuse_rename2_in keep = {.newdir = FUSE_ROOT_ID, .flags = RENAME_NOREPLACE};
	uint64_t d, f, g;

	(void)state;
	assert_int_equal(cl_mkdir(c, FUSE_ROOT_ID, "d"), 0);
	d = cl_entry(c)->nodeid;
	assert_int_equal(cl_entry(c)->attr.mode, S_IFDIR | 0755);
	cl_host_file(c, "f", "f");
	cl_host_file(c, "g", "gg");
	f = cl_lookup(c, FUSE_ROOT_ID, "f");
	g = cl_lookup(c, FUSE_ROOT_ID, "g");
	assert_int_equal(cl_rename(c, FUSE_ROOT_ID, "f", d, "f2"), 0);
	assert_int_equal(cl_getattr(c, f, NULL), 0);
	assert_int_equal(cl_lookup(c, d, "f2"), f);
	assert_int_equal(cl_name_call(c, FUSE_LOOKUP, FUSE_ROOT_ID, "f"), -ENOENT);

	cl_begin(c, FUSE_RENAME2, d, &keep, sizeof(keep));
	cl_text(c, "f2");
	cl_text(c, "g");
	assert_int_equal(cl_end(c, 0), -EEXIST);
	cl_begin(c, FUSE_RENAME2, d, &swap, sizeof(swap));
	cl_text(c, "f2");
	cl_text(c, "g");
	assert_int_equal(cl_end(c, 0), 0);
	assert_int_equal(cl_lookup(c, d, "f2"), g);
	assert_int_equal(cl_lookup(c, FUSE_ROOT_ID, "g"), f);

	assert_int_equal(cl_name_call(c, FUSE_UNLINK, FUSE_ROOT_ID, "d"), -EISDIR);
	assert_int_equal(cl_name_call(c, FUSE_RMDIR, FUSE_ROOT_ID, "d"), -ENOTEMPTY);
	assert_int_equal(cl_name_call(c, FUSE_UNLINK, d, "f2"), 0);
	assert_int_equal(cl_name_call(c, FUSE_RMDIR, FUSE_ROOT_ID, "d"), 0);
	assert_false(cl_host_has(c, "d"));
	cl_stop(c);
}

static void links(void **state)
{
	struct client *c = cl_start();
	struct fuse_link_in in = {0};
	struct fuse_attr a;
	uint64_t f, l;

	(void)state;
	cl_host_file(c, "f", "f");
	f = cl_lookup(c, FUSE_ROOT_ID, "f");
	in.oldnodeid = f;
	cl_begin(c, FUSE_LINK, FUSE_ROOT_ID, &in, sizeof(in));
	cl_text(c, "f2");
	assert_int_equal(cl_end(c, sizeof(struct fuse_entry_out)), 0);
	assert_int_equal(cl_entry(c)->nodeid, f);
	assert_int_equal(cl_entry(c)->attr.nlink, 2);
	assert_int_equal(cl_name_call(c, FUSE_UNLINK, FUSE_ROOT_ID, "f"), 0);
	assert_int_equal(cl_getattr(c, f, &a), 0);
	assert_int_equal(a.nlink, 1);

	cl_begin(c, FUSE_SYMLINK, FUSE_ROOT_ID, "l", 2);
	cl_text(c, "/etc/../target");
	assert_int_equal(cl_end(c, sizeof(struct fuse_entry_out)), 0);
	l = cl_entry(c)->nodeid;
	assert_int_equal(cl_entry(c)->attr.mode & S_IFMT, S_IFLNK);
	assert_int_equal(cl_call(c, FUSE_READLINK, l, NULL, 0), 0);
	assert_int_equal(c->reply_len, 14);
	assert_memory_equal(c->reply, "/etc/../target", 14);
	/* A hard link to a symbolic link is one, and does not follow it. */
	in.oldnodeid = l;
	cl_begin(c, FUSE_LINK, FUSE_ROOT_ID, &in, sizeof(in));
	cl_text(c, "l2");
	assert_int_equal(cl_end(c, sizeof(struct fuse_entry_out)), 0);
	assert_int_equal(cl_entry(c)->nodeid, l);
	cl_stop(c);
}

static void unlinked_files_stay_usable(void **state)
{
	const struct fuse_link_in in_zero = {0};
	struct fuse_link_in in = in_zero;
	struct client *c = cl_start();
	const struct fuse_create_in tmp = {.flags = O_RDWR, .mode = S_IFREG | 0600};
	struct fuse_attr a;
	uint64_t f, g, fh;

	(void)state;
	cl_host_file(c, "f", "data");
	cl_host_file(c, "g", "gone");
	f = cl_lookup(c, FUSE_ROOT_ID, "f");
	g = cl_lookup(c, FUSE_ROOT_ID, "g");
	fh = cl_open(c, f, O_RDONLY);
	assert_int_equal(cl_name_call(c, FUSE_UNLINK, FUSE_ROOT_ID, "f"), 0);
	assert_int_equal(cl_getattr(c, f, &a), 0);
	assert_int_equal(a.nlink, 0);
	/* Opened again through the node, as by /proc/self/fd in the guest; then without any handle. */
	assert_int_equal(cl_release(c, f, cl_open(c, f, O_RDWR)), 0);
	assert_int_equal(cl_release(c, f, fh), 0);
	assert_int_equal(cl_getattr(c, f, &a), 0);
	fh = cl_open(c, f, O_RDONLY);
	assert_int_equal(cl_read(c, f, fh, 0, 10), 0);
	assert_memory_equal(c->reply, "data", 4);
	/* Replaced by rename, never open. */
	cl_host_file(c, "h", "new");
	(void)cl_lookup(c, FUSE_ROOT_ID, "h");
	assert_int_equal(cl_rename(c, FUSE_ROOT_ID, "h", FUSE_ROOT_ID, "g"), 0);
	assert_int_equal(cl_getattr(c, g, &a), 0);
	assert_int_equal(a.nlink, 0);

	cl_begin(c, FUSE_TMPFILE, FUSE_ROOT_ID, &tmp, sizeof(tmp));
	cl_text(c, "/");
	assert_int_equal(cl_end(c, 1000), 0);
	f = cl_entry(c)->nodeid;
	fh = cl_created_fh(c);
	assert_int_equal(cl_entry(c)->attr.nlink, 0);
	assert_int_equal(cl_write(c, f, (struct fuse_write_in){.fh = fh, .size = 3}, "tmp"), 0);
	in.oldnodeid = f;
	cl_begin(c, FUSE_LINK, FUSE_ROOT_ID, &in, sizeof(in));
	cl_text(c, "named");
	assert_int_equal(cl_end(c, sizeof(struct fuse_entry_out)), 0);
	assert_int_equal(cl_release(c, f, fh), 0);
	assert_int_equal(cl_getattr(c, f, &a), 0);
	assert_int_equal(a.size, 3);
	assert_true(cl_host_has(c, "named"));
	cl_stop(c);
}

static void special_files(void **state)
{
	static const struct {
		uint32_t mode;
		int error;
	} cases[] = {
		{S_IFREG | 0644, 0},
		{S_IFIFO | 0600, 0},
		{S_IFSOCK | 0700, 0},
		{S_IFCHR | 0600, -EPERM},
		{S_IFBLK | 0600, -EPERM},
		{S_IFDIR | 0600, -EINVAL},
		{S_IFLNK | 0600, -EINVAL},
		{0600, -EINVAL},
	};
	struct client *c = cl_start();
	uint64_t fh;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct fuse_mknod_in in = {.mode = cases[i].mode, .rdev = 0x103};
		char name[] = {(char)('a' + i), '\0'};

		cl_begin(c, FUSE_MKNOD, FUSE_ROOT_ID, &in, sizeof(in));
		cl_text(c, name);
		assert_int_equal(cl_end(c, sizeof(struct fuse_entry_out)), cases[i].error);
		if (cases[i].error)
			continue;
		assert_int_equal(cl_entry(c)->attr.mode, cases[i].mode);
		/* Fifos and sockets are opened by the guest's kernel, never here. */
		assert_int_equal(cl_open_flags(c, FUSE_OPEN, cl_entry(c)->nodeid, O_RDONLY, &fh),
			S_ISREG(cases[i].mode) ? 0 : -EACCES);
	}
	cl_stop(c);
}

static void device_nodes_are_seen_but_never_opened(void **state)
{
	struct client *c = cl_start();
	uint64_t node, fh;

	(void)state;
	if (mknodat(c->dir, "null", S_IFCHR | 0666, makedev(1, 3)) < 0 || mknodat(c->dir, "whiteout", S_IFCHR, 0) < 0) {
		cl_stop(c);
		skip(); /* needs CAP_MKNOD */
	}
	node = cl_lookup(c, FUSE_ROOT_ID, "null");
	assert_int_equal(cl_entry(c)->attr.mode, S_IFCHR | 0666);
	assert_int_equal(cl_entry(c)->attr.rdev, 1 << 8 | 3);
	assert_int_equal(cl_open_flags(c, FUSE_OPEN, node, O_RDWR, &fh), -EACCES);
	(void)cl_lookup(c, FUSE_ROOT_ID, "whiteout");
	assert_int_equal(cl_entry(c)->attr.rdev, 0);
	assert_int_equal(cl_create(c, FUSE_ROOT_ID, "null", O_WRONLY | O_CREAT, 0600), -ESTALE);
	cl_stop(c);
}

static int xattr(struct client *c, uint32_t op, uint64_t node, const char *name, uint32_t size)
{
	const struct fuse_getxattr_in in = {.size = size};

	cl_begin(c, op, node, &in, sizeof(in));
	if (name)
		cl_text(c, name);
	return cl_end(c, size ? size : sizeof(struct fuse_getxattr_out));
}

static int setxattr_in(struct client *c, uint64_t node, const char *name, const char *value, uint32_t flags)
{
	const struct fuse_setxattr_in in = {.size = (uint32_t)strlen(value), .flags = flags};

	cl_begin(c, FUSE_SETXATTR, node, &in, sizeof(in));
	cl_text(c, name);
	cl_bytes(c, value, strlen(value));
	return cl_end(c, 0);
}

/* What is not open is asked for by its place: nothing but the inode may answer, and no link is followed. */
static void attributes_of_cold_inodes(void **state)
{
	struct client *c = cl_start();
	int fd = openat(c->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t f, l;

	(void)state;
	cl_host_file(c, "f", "f");
	cl_host_file(c, "g", "g");
	assert_int_equal(symlinkat("f", c->dir, "l"), 0);
	f = cl_lookup(c, FUSE_ROOT_ID, "f");
	l = cl_lookup(c, FUSE_ROOT_ID, "l");
	for (int i = 0; i < 2; i++) {
		int file = openat(fd, i ? "g" : "f", O_RDWR | O_CLOEXEC);

		assert_int_equal(fsetxattr(file, "user.a", i ? "other" : "value", 5, 0), 0);
		(void)close(file);
	}
	assert_int_equal(xattr(c, FUSE_GETXATTR, f, "user.a", 100), 0);
	assert_memory_equal(c->reply, "value", 5);
	assert_int_equal(xattr(c, FUSE_GETXATTR, l, "user.a", 100), -ENODATA);
	/* Another file took its name. */
	assert_int_equal(renameat(fd, "g", fd, "f"), 0);
	assert_int_equal(xattr(c, FUSE_GETXATTR, f, "user.a", 100), -ESTALE);
	assert_int_equal(xattr(c, FUSE_GETXATTR, f, "user.a", 100), -ESTALE);
	assert_int_equal(unlinkat(fd, "l", 0), 0);
	assert_int_equal(xattr(c, FUSE_GETXATTR, l, "user.a", 100), -ESTALE);
	(void)close(fd);
	cl_stop(c);
}

static void extended_attributes(void **state)
{
	struct client *c = cl_start();
	uint64_t f;
	int fd;

	(void)state;
	cl_host_file(c, "f", "f");
	f = cl_lookup(c, FUSE_ROOT_ID, "f");
	assert_int_equal(setxattr_in(c, f, "user.a", "value", 0), 0);
	assert_int_equal(setxattr_in(c, f, "user.a", "value", XATTR_CREATE), -EEXIST);
	assert_int_equal(xattr(c, FUSE_GETXATTR, f, "user.a", 100), 0);
	assert_int_equal(c->reply_len, 5);
	assert_memory_equal(c->reply, "value", 5);
	assert_int_equal(xattr(c, FUSE_GETXATTR, f, "user.a", 0), 0);
	assert_int_equal(((const struct fuse_getxattr_out *)c->reply)->size, 5);
	assert_int_equal(xattr(c, FUSE_GETXATTR, f, "user.a", 4), -ERANGE);
	assert_int_equal(xattr(c, FUSE_GETXATTR, f, "user.b", 4), -ENODATA);
	assert_int_equal(xattr(c, FUSE_GETXATTR, f, "security.capability", 100), -ENODATA);
	assert_int_equal(setxattr_in(c, f, "trusted.overlay.opaque", "y", 0), -EPERM);
	assert_int_equal(setxattr_in(c, f, "security.selinux", "y", 0), -EOPNOTSUPP);
	assert_int_equal(setxattr_in(c, f, "nonsense", "y", 0), -EOPNOTSUPP);
	assert_int_equal(setxattr_in(c, f, "user.", "y", 0), -EOPNOTSUPP);

	/* What the host put there does not show. */
	fd = openat(c->dir, "f", O_RDWR | O_CLOEXEC);
	if (geteuid() == 0)
		assert_int_equal(fsetxattr(fd, "trusted.secret", "x", 1, 0), 0);
	(void)close(fd);
	assert_int_equal(xattr(c, FUSE_GETXATTR, f, "trusted.secret", 100), -ENODATA);
	assert_int_equal(xattr(c, FUSE_LISTXATTR, f, NULL, 100), 0);
	assert_int_equal(c->reply_len, 7);
	assert_memory_equal(c->reply, "user.a", 7);
	assert_int_equal(xattr(c, FUSE_LISTXATTR, f, NULL, 0), 0);
	assert_int_equal(((const struct fuse_getxattr_out *)c->reply)->size, 7);
	assert_int_equal(xattr(c, FUSE_LISTXATTR, f, NULL, 6), -ERANGE);
	assert_int_equal(cl_name_call(c, FUSE_REMOVEXATTR, f, "trusted.secret"), -EPERM);
	assert_int_equal(cl_name_call(c, FUSE_REMOVEXATTR, f, "user.a"), 0);
	assert_int_equal(xattr(c, FUSE_LISTXATTR, f, NULL, 100), 0);
	assert_int_equal(c->reply_len, 0);
	cl_stop(c);
}

static void copies_seeks_allocates_syncs(void **state)
{
	struct client *c = cl_start();
	struct fuse_copy_file_range_in cp = {.len = 1000};
	struct fuse_lseek_in seek = {.whence = SEEK_HOLE};
	struct fuse_fallocate_in alloc = {.length = 8192};
	struct fuse_fsync_in sync = {0};
	const struct fuse_syncfs_in syncfs_in = {0};
	struct fuse_attr a;
	uint64_t f, g;

	(void)state;
	cl_host_file(c, "f", "0123456789");
	cl_host_file(c, "g", "");
	f = cl_lookup(c, FUSE_ROOT_ID, "f");
	g = cl_lookup(c, FUSE_ROOT_ID, "g");
	cp.fh_in = cl_open(c, f, O_RDONLY);
	cp.off_in = 4;
	cp.nodeid_out = g;
	cp.fh_out = cl_open(c, g, O_RDWR);
	assert_int_equal(cl_call(c, FUSE_COPY_FILE_RANGE, f, &cp, sizeof(cp)), 0);
	assert_int_equal(((const struct fuse_write_out *)c->reply)->size, 6);
	/* Large: on a worker. */
	cp.len = UINT64_MAX;
	assert_int_equal(cl_call(c, FUSE_COPY_FILE_RANGE, f, &cp, sizeof(cp)), 0);
	assert_int_equal(((const struct fuse_write_out *)c->reply)->size, 6);
	assert_int_equal(cl_read(c, g, cp.fh_out, 0, 100), 0);
	assert_int_equal(c->reply_len, 6);
	assert_memory_equal(c->reply, "456789", 6);
	cp.flags = 1;
	assert_int_equal(cl_call(c, FUSE_COPY_FILE_RANGE, f, &cp, sizeof(cp)), -EINVAL);

	alloc.fh = seek.fh = sync.fh = cp.fh_out;
	alloc.offset = 1 << 20;
	assert_int_equal(cl_call(c, FUSE_FALLOCATE, g, &alloc, sizeof(alloc)), 0);
	assert_int_equal(cl_getattr(c, g, &a), 0);
	assert_int_equal(a.size, (1 << 20) + 8192);
	seek.offset = 100000;
	assert_int_equal(cl_call(c, FUSE_LSEEK, g, &seek, sizeof(seek)), 0);
	assert_int_equal(((const struct fuse_lseek_out *)c->reply)->offset, 100000);
	seek.whence = SEEK_SET;
	assert_int_equal(cl_call(c, FUSE_LSEEK, g, &seek, sizeof(seek)), -EINVAL);
	assert_int_equal(cl_call(c, FUSE_FSYNC, g, &sync, sizeof(sync)), 0);
	sync.fsync_flags = FUSE_FSYNC_FDATASYNC;
	assert_int_equal(cl_call(c, FUSE_FSYNC, g, &sync, sizeof(sync)), 0);
	sync.fh = cl_opendir(c, FUSE_ROOT_ID);
	assert_int_equal(cl_call(c, FUSE_FSYNCDIR, FUSE_ROOT_ID, &sync, sizeof(sync)), 0);
	assert_int_equal(cl_call(c, FUSE_SYNCFS, FUSE_ROOT_ID, &syncfs_in, sizeof(syncfs_in)), 0);
	assert_int_equal(cl_call(c, FUSE_SYNCFS, f, &syncfs_in, sizeof(syncfs_in)), -EINVAL);
	assert_int_equal(cl_call(c, FUSE_STATFS, f, NULL, 0), 0);
	assert_true(((const struct fuse_statfs_out *)c->reply)->st.blocks > 0);
	cl_stop(c);
}

/* ctime cannot be set, so a file gets older only by waiting. */
static void let_age(struct client *c)
{
	for (uint64_t end = time_mono_ns() + 100 * NS_PER_MS; time_mono_ns() < end;)
		assert_int_equal(loop_turn(c->loop, 10), 0);
}

static void keeps_the_page_cache_of_unchanged_files(void **state)
{
	const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	struct client *c = cl_start();
	uint64_t f, fh;
	int keep[4], i = 0;

	(void)state;
	cl_host_file(c, "f", "one");
	f = cl_lookup(c, FUSE_ROOT_ID, "f");
	/* What was changed a moment ago cannot be told from what is changed the next moment. */
	(void)cl_open(c, f, O_RDONLY);
	(void)cl_open(c, f, O_RDONLY);
	assert_false(((const struct fuse_open_out *)c->reply)->open_flags & FOPEN_KEEP_CACHE);
	let_age(c);
	for (; i < 2; i++) {
		fh = cl_open(c, f, O_RDONLY);
		keep[i] = ((const struct fuse_open_out *)c->reply)->open_flags & FOPEN_KEEP_CACHE;
		assert_int_equal(cl_release(c, f, fh), 0);
	}
	/* The host changes it, with the same size and the same mtime: ctime tells. */
	cl_host_file(c, "f", "two");
	assert_int_equal(utimensat(c->dir, "f", old, 0), 0);
	let_age(c);
	for (; i < 4; i++) {
		fh = cl_open(c, f, O_RDONLY);
		keep[i] = ((const struct fuse_open_out *)c->reply)->open_flags & FOPEN_KEEP_CACHE;
		assert_int_equal(cl_release(c, f, fh), 0);
	}
	assert_false(keep[0]);
	assert_true(keep[1]);
	assert_false(keep[2]);
	assert_true(keep[3]);
	cl_stop(c);
}

static void made_for_the_guests_users(void **state)
{
	struct fuse_create_in in = {.flags = O_RDWR, .mode = S_IFREG | 06777, .umask = 022};
	struct client *c = cl_start();
	struct fuse_attr a;
	uint64_t node, fh;

	(void)state;
	if (geteuid() != 0) {
		cl_stop(c);
		skip();
	}
	c->uid = 1234;
	c->gid = 4321;
	assert_int_equal(cl_create(c, FUSE_ROOT_ID, "f", O_RDWR, 0600), 0);
	assert_int_equal(cl_entry(c)->attr.uid, 1234);
	assert_int_equal(cl_entry(c)->attr.gid, 4321);
	assert_int_equal(cl_mkdir(c, FUSE_ROOT_ID, "d"), 0);
	assert_int_equal(cl_entry(c)->attr.uid, 1234);
	/* A setgid folder of another group: the new file is in it, and without setgid. */
	assert_int_equal(mkdirat(c->dir, "sg", 0), 0);
	assert_int_equal(fchownat(c->dir, "sg", 0, 77, 0), 0);
	assert_int_equal(fchmodat(c->dir, "sg", 02777, 0), 0);
	cl_begin(c, FUSE_CREATE, cl_lookup(c, FUSE_ROOT_ID, "sg"), &in, sizeof(in));
	cl_text(c, "f");
	assert_int_equal(cl_end(c, 1000), 0);
	assert_int_equal(cl_entry(c)->attr.gid, 77);
	assert_int_equal(cl_entry(c)->attr.mode, S_IFREG | 04755);
	/* A write by an ordinary user takes setuid away, if the guest says so. */
	node = cl_entry(c)->nodeid;
	fh = cl_created_fh(c);
	assert_int_equal(cl_write(c, node, (struct fuse_write_in){.fh = fh, .size = 1}, "x"), 0);
	assert_int_equal(cl_getattr(c, node, &a), 0);
	assert_int_equal(a.mode, S_IFREG | 04755);
	assert_int_equal(
		cl_write(c, node, (struct fuse_write_in){.fh = fh, .size = 1, .write_flags = FUSE_WRITE_KILL_SUIDGID},
			"x"),
		0);
	assert_int_equal(cl_getattr(c, node, &a), 0);
	assert_int_equal(a.mode, S_IFREG | 0755);
	c->uid = UINT32_MAX;
	assert_int_equal(cl_create(c, FUSE_ROOT_ID, "nobody", O_RDWR, 0600), -EPERM);
	c->uid = c->gid = 0;
	assert_int_equal(cl_create(c, FUSE_ROOT_ID, "root", O_RDWR, 0600), 0);
	assert_int_equal(cl_entry(c)->attr.uid, 0);
	cl_stop(c);
}

static void access_bits(void **state)
{
	static const struct {
		uint32_t uid, gid, mode, mask;
		int error;
	} cases[] = {
		{1000, 1000, 0400, R_OK, 0},
		{1000, 1000, 0400, W_OK, -EACCES},
		{1000, 1, 0044, R_OK, -EACCES},
		{1, 1000, 0040, R_OK, 0},
		{1, 1, 0001, X_OK, 0},
		{1, 1, 0770, R_OK, -EACCES},
		{0, 0, 0000, R_OK | W_OK, 0},
		{0, 0, 0600, X_OK, -EACCES},
		{0, 0, 0100, X_OK, 0},
		{0, 0, 0100, 8, -EINVAL},
	};
	struct client *c = cl_start();
	uint64_t f;

	(void)state;
	if (geteuid() != 0) {
		cl_stop(c);
		skip();
	}
	cl_host_file(c, "f", "f");
	assert_int_equal(fchownat(c->dir, "f", 1000, 1000, 0), 0);
	f = cl_lookup(c, FUSE_ROOT_ID, "f");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct fuse_access_in in = {.mask = cases[i].mask};

		assert_int_equal(fchmodat(c->dir, "f", cases[i].mode, 0), 0);
		c->uid = cases[i].uid;
		c->gid = cases[i].gid;
		assert_int_equal(cl_call(c, FUSE_ACCESS, f, &in, sizeof(in)), cases[i].error);
	}
	cl_stop(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts),
		cmocka_unit_test(negotiates_the_version),
		cmocka_unit_test(creates_writes_reads),
		cmocka_unit_test(appends_where_the_end_is),
		cmocka_unit_test(sets_attributes),
		cmocka_unit_test(names),
		cmocka_unit_test(links),
		cmocka_unit_test(unlinked_files_stay_usable),
		cmocka_unit_test(special_files),
		cmocka_unit_test(device_nodes_are_seen_but_never_opened),
		cmocka_unit_test(attributes_of_cold_inodes),
		cmocka_unit_test(extended_attributes),
		cmocka_unit_test(copies_seeks_allocates_syncs),
		cmocka_unit_test(keeps_the_page_cache_of_unchanged_files),
		cmocka_unit_test(made_for_the_guests_users),
		cmocka_unit_test(access_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
