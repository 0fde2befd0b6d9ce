/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/console.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "virtio/test_dev_rig.h"

#define TX 1

struct log {
	struct rig rig;
	struct console *c;
	char text[300000]; /* lines, each ended by | */
	size_t len, longest;
	unsigned lines;
};

static void on_line(void *ctx, const char *text, size_t len)
{
	struct log *l = ctx;

	l->lines++;
	l->longest = MAX_OF(l->longest, len);
	assert_true(l->len + len + 1 < sizeof(l->text));
	memcpy(l->text + l->len, text, len);
	l->len += len;
	l->text[l->len++] = '|';
	l->text[l->len] = '\0';
}

static struct log *started(void)
{
	struct log *l = calloc(1, sizeof(*l));
	const struct console_options opts = {on_line, l};

	assert_non_null(l);
	rig_open(&l->rig);
	assert_int_equal(console_new(&l->c, l->rig.loop, &opts, NULL), 0);
	rig_start(&l->rig, console_dev(l->c));
	return l;
}

static void end(struct log *l)
{
	rig_stop(&l->rig);
	console_free(l->c);
	rig_close(&l->rig);
	free(l);
}

static void say(struct log *l, const char *text)
{
	assert_int_equal(rig_request(&l->rig, TX, text, (uint32_t)strlen(text), NULL, 0), 0);
}

static void lines_are_cut(void **state)
{
	struct log *l = started();

	say(l, "one\r\ntw");
	assert_string_equal(l->text, "one|");
	say(l, "o\n\nthree");
	assert_string_equal(l->text, "one|two||");
	rig_stop(&l->rig);
	console_free(l->c);
	assert_string_equal(l->text, "one|two||three|");
	rig_close(&l->rig);
	free(l);
}

static void long_lines_and_nul_bytes(void **state)
{
	struct log *l = started();
	char text[3 * CONSOLE_LINE_MAX];

	memset(text, 'x', sizeof(text));
	text[0] = '\0';
	assert_int_equal(rig_request(&l->rig, TX, text, sizeof(text), NULL, 0), 0);
	assert_int_equal(l->lines, 2);
	assert_int_equal(l->longest, CONSOLE_LINE_MAX);
	say(l, "\n");
	assert_int_equal(l->lines, 3);
	end(l);
}

static void one_chain_is_bounded(void **state)
{
	struct log *l = started();
	gpa_t at = drv_alloc(&l->rig.vm, 1 << 20, 8);
	const struct drv_buf bufs[] = {{at, 1 << 20, false}, {at, 1 << 20, false}};

	memset(drv_ptr(&l->rig.vm, at), 'y', 1 << 20);
	assert_true(drv_add(&l->rig.q[TX], bufs, 2) >= 0);
	assert_int_equal(rig_kick(&l->rig, TX), 0);
	assert_true(rig_wait(&l->rig, TX, NULL, NULL));
	assert_int_equal(console_dropped(l->c), (2 << 20) - CONSOLE_CHAIN_MAX);
	assert_true(l->len <= CONSOLE_CHAIN_MAX + CONSOLE_CHAIN_MAX / CONSOLE_LINE_MAX);
	end(l);
}

static void one_turn_is_bounded(void **state)
{
	struct log *l = started();
	gpa_t at = drv_alloc(&l->rig.vm, 40000, 8);
	const struct drv_buf buf = {at, 40000, false};
	unsigned done = 0;

	for (int i = 0; i < 5; i++)
		assert_true(drv_add(&l->rig.q[TX], &buf, 1) >= 0);
	assert_int_equal(rig_kick(&l->rig, TX), 0);
	while (drv_used(&l->rig.q[TX], NULL, NULL))
		done++;
	assert_int_equal(done, 2);
	rig_settle(&l->rig);
	while (drv_used(&l->rig.q[TX], NULL, NULL))
		done++;
	assert_int_equal(done, 5);
	end(l);
}

static void input_is_left_alone(void **state)
{
	struct log *l = started();

	assert_true(rig_add(&l->rig, 0, NULL, 0, 64, NULL) >= 0);
	assert_int_equal(rig_kick(&l->rig, 0), 0);
	rig_settle(&l->rig);
	assert_int_equal(drv_used(&l->rig.q[0], NULL, NULL), 0);
	end(l);
}

static void a_broken_ring(void **state)
{
	struct log *l = started();

	drv_set_avail_idx(&l->rig.q[TX], 500);
	assert_int_equal(l->rig.dev->ops->notify(l->rig.dev, TX), -EPROTO);
	end(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_cut),
		cmocka_unit_test(long_lines_and_nul_bytes),
		cmocka_unit_test(one_chain_is_bounded),
		cmocka_unit_test(one_turn_is_bounded),
		cmocka_unit_test(input_is_left_alone),
		cmocka_unit_test(a_broken_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
