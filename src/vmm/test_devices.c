/* SPDX-License-Identifier: Apache-2.0 */
/* What devices count, in the words that an owner reads. */
#include "vmm/devices.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/buf.h"
#include "virtio/balloon.h"
#include "virtio/test_dev_rig.h"
#include "vmm/hotplug.h"

enum { BALLOON_STATSQ = 2, STAT_BYTES = 10 };

/* By tag, virtio 1.2 §5.5.6.4; the names are ours. */
static const char *const names[] = {
	[0] = "swap_in",      /* VIRTIO_BALLOON_S_SWAP_IN */
	[1] = "swap_out",     /* _SWAP_OUT */
	[2] = "major_faults", /* _MAJFLT */
	[3] = "minor_faults", /* _MINFLT */
	[4] = "free",	      /* _MEMFREE */
	[5] = "total",	      /* _MEMTOT */
	[6] = "available",    /* _AVAIL */
	[7] = "caches",	      /* _CACHES */
	[8] = "huge_pages",   /* _HTLB_PGALLOC */
	[9] = "huge_page_failures",
};

/* The driver tells of `tags`, each with 1000 more than the tag. */
static void send_stats(struct rig *r, const uint16_t *tags, unsigned n)
{
	uint8_t bytes[16 * STAT_BYTES];

	assert_true(n <= 16);
	for (unsigned i = 0; i < n; i++) {
		put_le16(bytes + (size_t)i * STAT_BYTES, tags[i]);
		put_le64(bytes + (size_t)i * STAT_BYTES + 2, 1000u + tags[i]);
	}
	assert_true(rig_add(r, BALLOON_STATSQ, bytes, n * STAT_BYTES, 0, NULL) >= 0);
	assert_int_equal(rig_kick(r, BALLOON_STATSQ), 0);
}

/* Each name is there with its number if `told` has its tag's bit, else not at all. */
static void expect_stats(struct devices *d, uint32_t told)
{
	static const struct hotplug none;
	auto_buf struct buf b = BUF_INIT(4096);
	const char *text;

	assert_int_equal(devices_put_counters(d, &none, &b), 0);
	assert_int_equal(buf_append(&b, "", 1), 0);
	text = (const char *)buf_data(&b);
	for (unsigned tag = 0; tag < ARRAY_SIZE(names); tag++) {
		char name[40], want[60];

		(void)snprintf(name, sizeof(name), ",\"%s\":", names[tag]);
		(void)snprintf(want, sizeof(want), "%s%u", name, 1000 + tag);
		if (told & 1u << tag ? !strstr(text, want) : strstr(text, name) != NULL)
			fail_msg("tag %u, '%s': '%s'", tag, want, text);
	}
	assert_null(strstr(text, ":1015"));
}

static void statistics_have_their_names(void **state)
{
	static const uint16_t all[] = {9, 4, 0, 6, 5, 1, 2, 3, 7, 8, 15, 16}, few[] = {6, 4};
	struct devices d = {0};
	struct rig r;

	rig_open(&r);
	assert_int_equal(balloon_new(&d.balloon, r.loop, NULL, NULL), 0);
	rig_start(&r, balloon_dev(d.balloon));
	expect_stats(&d, 0);
	send_stats(&r, all, ARRAY_SIZE(all));
	expect_stats(&d, UINT32_MAX);
	send_stats(&r, few, ARRAY_SIZE(few)); /* counters have asked for news, so the driver has its buffer back */
	expect_stats(&d, 1u << 4 | 1u << 6);
	rig_stop(&r);
	balloon_free(d.balloon);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(statistics_have_their_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
