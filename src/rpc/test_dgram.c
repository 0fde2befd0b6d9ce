/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/dgram.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/fd.h"

struct rig {
	struct loop *loop;
	struct dgram d;
	int ours, peer;
	unsigned n, ended;
	size_t lens[64];
	uint8_t last[DGRAM_MAX];
};

static void on_deliver(struct dgram *d, const uint8_t *bytes, size_t n)
{
	struct rig *rig = container_of(d, struct rig, d);

	rig->lens[rig->n++ % 64] = n;
	memcpy(rig->last, bytes, n);
}

static void on_ended(struct dgram *d)
{
	struct rig *rig = container_of(d, struct rig, d);

	rig->ended++;
	dgram_close(d);
}

static struct rig *rig_new(void)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	int pair[2];

	assert_non_null(rig);
	assert_int_equal(loop_new(&rig->loop, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	rig->ours = pair[0];
	rig->peer = pair[1];
	dgram_init(&rig->d, rig->loop, on_deliver, on_ended);
	return rig;
}

static void rig_free(struct rig *rig)
{
	dgram_close(&rig->d);
	close_fd(&rig->ours);
	close_fd(&rig->peer);
	loop_free(rig->loop);
	free(rig);
}

static void turn(struct rig *rig)
{
	for (int i = 0; i < 50; i++)
		assert_int_equal(loop_turn(rig->loop, 0), 0);
}

static void datagrams_keep_their_borders(void **state)
{
	static const uint8_t wire[] = {3, 0, 'a', 'b', 'c', 0, 0, 1, 0, 'z'};
	struct rig *rig = rig_new();

	assert_int_equal(dgram_open(&rig->d, rig->ours, NULL), 0);
	/* However they are cut. */
	for (size_t i = 0; i < sizeof(wire); i++) {
		assert_int_equal(write(rig->peer, &wire[i], 1), 1);
		turn(rig);
		assert_int_equal(rig->n, i < 4 ? 0 : i < 6 ? 1 : i < 9 ? 2 : 3);
	}
	assert_int_equal(write(rig->peer, wire, sizeof(wire)), sizeof(wire));
	turn(rig);
	assert_int_equal(rig->n, 6);
	assert_int_equal(rig->lens[3], 3);
	assert_int_equal(rig->lens[4], 0);
	assert_int_equal(rig->lens[5], 1);
	assert_int_equal(rig->last[0], 'z');
	rig_free(rig);
}

static void what_is_sent_early_waits(void **state)
{
	uint8_t got[16];
	struct rig *rig = rig_new();

	assert_true(dgram_send(&rig->d, "hi", 2));
	assert_true(dgram_send(&rig->d, "", 0));
	assert_int_equal(dgram_open(&rig->d, rig->ours, NULL), 0);
	turn(rig);
	assert_int_equal(read(rig->peer, got, sizeof(got)), 6);
	assert_memory_equal(got, "\2\0hi\0\0", 6);
	rig_free(rig);
}

static void the_largest_passes_and_one_more_does_not(void **state)
{
	auto_free uint8_t *big = calloc(1, 65536);
	struct rig *rig = rig_new();

	assert_int_equal(dgram_open(&rig->d, rig->ours, NULL), 0);
	assert_false(dgram_send(&rig->d, big, DGRAM_MAX + 1));
	assert_true(dgram_send(&rig->d, big, DGRAM_MAX));
	/* Back to ourselves, as the other end would send it. */
	for (size_t got = 0; got < DGRAM_MAX + 2;) {
		ssize_t n = read(rig->peer, big, 65536);

		turn(rig);
		if (n <= 0)
			continue;
		assert_int_equal(write(rig->peer, big, (size_t)n), n);
		got += (size_t)n;
	}
	turn(rig);
	assert_int_equal(rig->n, 1);
	assert_int_equal(rig->lens[0], DGRAM_MAX);
	rig_free(rig);
}

static void what_nobody_reads_is_dropped(void **state)
{
	auto_free uint8_t *bytes = calloc(1, 1000);
	struct rig *rig = rig_new();
	unsigned taken = 0;

	assert_int_equal(dgram_open(&rig->d, rig->ours, NULL), 0);
	for (unsigned i = 0; i < 10000; i++)
		taken += dgram_send(&rig->d, bytes, 1000);
	assert_in_range(taken, 100, 5000);
	assert_true(rig->d.out.len <= DGRAM_PENDING_MAX);
	assert_int_equal(rig->ended, 0);
	rig_free(rig);
}

static void ends_are_told_once(void **state)
{
	static const struct {
		const char *what, *bytes;
		size_t n;
		bool hang_up;
	} cases[] = {
		{"hung up", "", 0, true},
		{"hung up in the middle of one", "\5\0ab", 4, true},
		{"longer than UDP has", "\xe4\xff", 2, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig *rig = rig_new();

		assert_int_equal(dgram_open(&rig->d, rig->ours, NULL), 0);
		assert_int_equal(write(rig->peer, cases[i].bytes, cases[i].n), cases[i].n);
		if (cases[i].hang_up)
			close_fd(&rig->peer);
		turn(rig);
		if (rig->ended != 1 || rig->n != 0)
			fail_msg("%s: ended %u, delivered %u", cases[i].what, rig->ended, rig->n);
		rig_free(rig);
	}
}

static void quiet_ones_end(void **state)
{
	struct rig *rig = rig_new();

	assert_int_equal(dgram_open(&rig->d, rig->ours, NULL), 0);
	/* The timer's look at the clock, without the wait. */
	rig->d.idle.fn(&rig->d.idle);
	assert_int_equal(rig->ended, 0);
	rig->d.used_ns -= DGRAM_IDLE_NS;
	rig->d.idle.fn(&rig->d.idle);
	assert_int_equal(rig->ended, 1);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(datagrams_keep_their_borders),
		cmocka_unit_test(what_is_sent_early_waits),
		cmocka_unit_test(the_largest_passes_and_one_more_does_not),
		cmocka_unit_test(what_nobody_reads_is_dropped),
		cmocka_unit_test(ends_are_told_once),
		cmocka_unit_test(quiet_ones_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
