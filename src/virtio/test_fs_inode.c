/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest's inodes cost the host, and that there is an end to them. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "virtio/fs_inode.h"
#include "virtio/fs_proto.h"

#define MANY (1u << 16)

static void start(struct fs_inodes *t, uint64_t memory)
{
	int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), proc = open("/proc/self/fd", O_PATH | O_CLOEXEC);

	assert_int_equal(fs_inodes_init(t, root, proc, 64, NULL), 0);
	fs_inodes_limit(t, memory);
}

static void stop(struct fs_inodes *t)
{
	int proc = t->proc_fd;

	fs_inodes_fini(t);
	(void)close(proc);
}

/* Files that need not exist, in the root: names of `len` bytes. Returns how many were taken. */
static uint32_t enter_many(struct fs_inodes *t, uint32_t n, size_t len, int *ret_last)
{
	struct statx stx = {.stx_mode = S_IFREG | 0644};
	char name[FS_NAME_MAX + 1], number[16];
	struct fs_inode *ino;

	for (uint32_t i = 0; i < n; i++) {
		memset(name, 'x', len);
		(void)snprintf(number, sizeof(number), "%08x", i);
		memcpy(name, number, 8);
		name[len] = '\0';
		stx.stx_ino = UINT64_C(1) << 40 | i;
		*ret_last = fs_inode_enter(t, t->root, name, &stx, &ino);
		if (*ret_last < 0)
			return i;
	}
	return n;
}

static void as_many_as_the_guest_could_remember(void **state)
{
	static const struct {
		uint64_t memory;
		uint32_t max;
	} rows[] = {
		{0, FS_INODES_MIN}, {64u << 20, FS_INODES_MIN}, {100u << 20, 100u << 10}, {UINT64_MAX, FS_SLOTS_MAX}};
	struct fs_inodes *t = calloc(1, sizeof(*t));
	int r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		start(t, rows[i].memory);
		assert_int_equal(t->slots.max, rows[i].max);
		stop(t);
	}
	start(t, 0);
	assert_int_equal(enter_many(t, FS_INODES_MIN + 1, 8, &r), FS_INODES_MIN);
	assert_int_equal(r, -ENFILE);
	/* More memory, more inodes; less does not take any away. */
	fs_inodes_limit(t, 65u << 20);
	assert_int_equal(enter_many(t, FS_INODES_MIN + 1, 8, &r), FS_INODES_MIN + 1);
	fs_inodes_limit(t, 0);
	assert_int_equal(t->slots.max, 65u << 10);
	/* What it forgets makes room. */
	fs_inodes_drop(t);
	assert_int_equal(t->slots.n, 0);
	assert_int_equal(enter_many(t, 100, 8, &r), 100);
	stop(t);
	free(t);
}

#ifndef __SANITIZE_ADDRESS__ /* whose allocator tells no numbers */
static void each_costs_little(void **state)
{
	static const struct {
		size_t name, bytes;
	} rows[] = {{12, FS_INODE_COST - FS_NAME_MAX}, {FS_NAME_MAX, FS_INODE_COST}};
	struct fs_inodes *t = calloc(1, sizeof(*t));
	int r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		size_t before, after;

		start(t, UINT64_MAX);
		before = mallinfo2().uordblks + mallinfo2().hblkhd;
		assert_int_equal(enter_many(t, MANY, rows[i].name, &r), MANY);
		after = mallinfo2().uordblks + mallinfo2().hblkhd;
		print_message("names of %zu bytes: %zu bytes an inode\n", rows[i].name, (after - before) / MANY);
		assert_in_range((after - before) / MANY, sizeof(struct fs_inode), rows[i].bytes);
		stop(t);
	}
	free(t);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_many_as_the_guest_could_remember),
#ifndef __SANITIZE_ADDRESS__
		cmocka_unit_test(each_costs_little),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
