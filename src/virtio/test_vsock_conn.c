/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/vsock_conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "virtio/vsock.h"

static void credit_is_what_the_guest_has_room_for(void **state)
{
	static const struct {
		uint32_t alloc, fwd, sent, want;
	} table[] = {
		{0, 0, 0, 0},
		{1000, 0, 0, 1000},
		{1000, 0, 1000, 0},
		{1000, 400, 1000, 400},
		{1000, 1000, 1000, 1000},
		{1000, 0xfffffff0, 0x10, 1000 - 0x20}, /* the counters wrapped in between */
		{1000, 0, 1001, 0},		       /* the buffer shrank */
		{1000, 5, 0, 0},		       /* more consumed than was ever sent: a lie */
		{UINT32_MAX, 0, 0, UINT32_MAX},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct vsock_hdr h = {.buf_alloc = table[i].alloc, .fwd_cnt = table[i].fwd};
		struct vsock_conn c = {.tx_cnt = table[i].sent};

		vsock_conn_hear(&c, &h);
		if (vsock_conn_credit(&c) != table[i].want)
			fail_msg("row %zu: credit %u, not %u", i, vsock_conn_credit(&c), table[i].want);
	}
}

static void takes_up_to_its_promise(void **state)
{
	struct vsock_conn c = {.state = VSOCK_OPEN,
		.alloc = 100,
		.peer_alloc = 1000,
		.rx_cnt = UINT32_MAX - 10,
		.fwd = UINT32_MAX - 10};

	c.fwd_told = c.fwd;
	assert_true(vsock_conn_take(&c, 60));
	assert_true(vsock_conn_take(&c, 40));
	assert_false(vsock_conn_take(&c, 1));
	vsock_conn_forward(&c, 49);
	assert_int_equal(c.due, 0);
	vsock_conn_forward(&c, 1);
	assert_int_equal(c.due, VSOCK_DUE_CREDIT);
	assert_false(vsock_conn_take(&c, 51));
	assert_false(vsock_conn_take(&c, UINT32_MAX));
	assert_true(vsock_conn_take(&c, 50));
}

/* A guest with a small buffer of its own has no more than that under way: it must hear of half of it, not half of ours. */
static void tells_a_small_guest_early(void **state)
{
	struct vsock_conn c = {.state = VSOCK_OPEN, .alloc = 100, .peer_alloc = 20};
	struct vsock_hdr h = {.buf_alloc = 1000};

	vsock_conn_forward(&c, 9);
	assert_int_equal(c.due, 0);
	vsock_conn_forward(&c, 1);
	assert_int_equal(c.due, VSOCK_DUE_CREDIT);
	vsock_conn_filler_hdr(&c, 3, &h);
	assert_int_equal(c.due, 0);
	/* It shrinks later, with bytes that it has not heard of. */
	c.peer_alloc = 1000;
	vsock_conn_forward(&c, 30);
	assert_int_equal(c.due, 0);
	h.buf_alloc = 60;
	vsock_conn_hear(&c, &h);
	assert_int_equal(c.due, VSOCK_DUE_CREDIT);
	/* Without news there is nothing to tell, however small it is: no answer to an answer. */
	vsock_conn_filler_hdr(&c, 3, &h);
	h.buf_alloc = 0;
	vsock_conn_hear(&c, &h);
	assert_int_equal(c.due, 0);
	vsock_conn_forward(&c, 1);
	assert_int_equal(c.due, VSOCK_DUE_CREDIT);
}

static void tells_in_order(void **state)
{
	struct vsock_conn c = {.state = VSOCK_OPEN, .alloc = 100, .fwd = 70, .host_port = 5, .guest_port = 6};
	struct vsock_hdr h;

	c.due = VSOCK_DUE_RESPONSE | VSOCK_DUE_CREDIT;
	vsock_conn_shut(&c, VSOCK_NO_SEND);
	vsock_conn_shut(&c, VSOCK_NO_SEND);
	assert_true(vsock_conn_next(&c, 3, &h));
	assert_int_equal(h.op, VSOCK_OP_RESPONSE);
	assert_int_equal(h.src_cid, 2);
	assert_int_equal(h.dst_cid, 3);
	assert_int_equal(h.src_port, 5);
	assert_int_equal(h.dst_port, 6);
	assert_int_equal(h.buf_alloc, 100);
	assert_int_equal(h.fwd_cnt, 70);
	/* RESPONSE carried the credit, so only SHUTDOWN is left. */
	assert_true(vsock_conn_next(&c, 3, &h));
	assert_int_equal(h.op, VSOCK_OP_SHUTDOWN);
	assert_int_equal(h.flags, VSOCK_NO_SEND);
	assert_false(vsock_conn_next(&c, 3, &h));
	vsock_conn_shut(&c, VSOCK_NO_SEND);
	assert_false(vsock_conn_next(&c, 3, &h));
	vsock_conn_shut(&c, VSOCK_NO_BOTH);
	c.due |= VSOCK_DUE_RST;
	assert_true(vsock_conn_next(&c, 3, &h));
	assert_int_equal(h.op, VSOCK_OP_RST);
	assert_false(vsock_conn_next(&c, 3, &h));
}

static void data_counts(void **state)
{
	struct vsock_conn c = {.alloc = 100, .due = VSOCK_DUE_CREDIT};
	struct vsock_hdr h;

	vsock_conn_data_hdr(&c, 3, 10, &h);
	assert_int_equal(h.op, VSOCK_OP_RW);
	assert_int_equal(h.len, 10);
	assert_int_equal(c.tx_cnt, 10);
	assert_int_equal(c.due, 0);
}

static void holds_every_connection_and_no_more(void **state)
{
	static struct vsock_conn *conns[VSOCK_CONNS_MAX];
	struct vsock_table t;

	vsock_table_init(&t, 0x1234567890abcdef);
	for (uint32_t i = 0; i < VSOCK_CONNS_MAX; i++) {
		conns[i] = vsock_table_add(&t, NULL, VSOCK_OPEN);
		assert_non_null(conns[i]);
		vsock_table_hash(&t, conns[i], i % 7, i * 4096);
	}
	assert_null(vsock_table_add(&t, NULL, VSOCK_OPEN));
	for (uint32_t i = 0; i < VSOCK_CONNS_MAX; i++)
		assert_ptr_equal(vsock_table_find(&t, i % 7, i * 4096), conns[i]);
	assert_null(vsock_table_find(&t, 7, 0));
	for (uint32_t i = 0; i < VSOCK_CONNS_MAX; i += 2)
		vsock_table_free(&t, conns[i]);
	for (uint32_t i = 0; i < VSOCK_CONNS_MAX; i++)
		assert_ptr_equal(vsock_table_find(&t, i % 7, i * 4096), i % 2 ? conns[i] : NULL);
	assert_int_equal(t.n, VSOCK_CONNS_MAX / 2);
	for (uint32_t i = 1; i < VSOCK_CONNS_MAX; i += 2)
		vsock_table_free(&t, conns[i]);
	assert_null(t.all);
}

static void ports_are_not_given_twice(void **state)
{
	struct vsock_table t;
	struct vsock_conn *c;
	uint32_t first, next;

	vsock_table_init(&t, 1);
	first = vsock_table_port(&t, 1024);
	c = vsock_table_add(&t, NULL, VSOCK_CONNECTING);
	vsock_table_hash(&t, c, first, 1024);
	t.next_port = first;
	next = vsock_table_port(&t, 1024);
	assert_int_equal(next, first + 1);
	/* Another port of the guest may meet the same host port. */
	t.next_port = first;
	assert_int_equal(vsock_table_port(&t, 1025), first);
	t.next_port = (UINT32_C(1) << 31) - 1;
	assert_int_equal(vsock_table_port(&t, 1024), (UINT32_C(1) << 31) - 1);
	assert_int_equal(vsock_table_port(&t, 1025), first);
	vsock_table_free(&t, c);
}

static void runs_in_turn(void **state)
{
	struct vsock_table t;
	struct vsock_conn *c[3];

	vsock_table_init(&t, 1);
	for (int i = 0; i < 3; i++)
		c[i] = vsock_table_add(&t, NULL, VSOCK_OPEN);
	assert_null(vsock_run_pop(&t));
	for (int i = 0; i < 3; i++)
		vsock_run_add(&t, c[i]);
	vsock_run_add(&t, c[0]);
	assert_ptr_equal(vsock_run_pop(&t), c[0]);
	vsock_run_add(&t, c[0]);
	assert_ptr_equal(vsock_run_pop(&t), c[1]);
	vsock_run_unpop(&t, c[1]);
	vsock_table_free(&t, c[2]);
	assert_ptr_equal(vsock_run_pop(&t), c[1]);
	vsock_table_free(&t, c[0]);
	assert_null(vsock_run_pop(&t));
	vsock_run_unpop(&t, c[1]);
	assert_ptr_equal(vsock_run_pop(&t), c[1]);
	assert_null(vsock_run_pop(&t));
	vsock_table_free(&t, c[1]);
	assert_int_equal(t.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(credit_is_what_the_guest_has_room_for),
		cmocka_unit_test(takes_up_to_its_promise),
		cmocka_unit_test(tells_a_small_guest_early),
		cmocka_unit_test(tells_in_order),
		cmocka_unit_test(data_counts),
		cmocka_unit_test(holds_every_connection_and_no_more),
		cmocka_unit_test(ports_are_not_given_twice),
		cmocka_unit_test(runs_in_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
