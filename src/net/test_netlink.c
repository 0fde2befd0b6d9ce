/* SPDX-License-Identifier: Apache-2.0 */
#include "net/netlink.h"

#include <errno.h>
#include <linux/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void builds_what_it_reads(void **state)
{
	struct ifinfomsg m = {.ifi_index = 7}, got;
	struct nl_request rq;
	struct nl_attrs list, inside;
	struct nl_attr a;
	const void *fixed;
	char text[8];
	uint32_t v;
	size_t nest;

	nl_start(&rq, RTM_NEWLINK, NLM_F_CREATE, &m, sizeof(m));
	nl_put_str(&rq, 3, "abc");
	nest = nl_nest(&rq, 5 | NLA_F_NESTED);
	nl_put_u32(&rq, 9, 0x01020304);
	nl_put(&rq, 10, "x", 1);
	nl_nest_end(&rq, nest);
	assert_false(rq.full);
	assert_int_equal(rq.h.nlmsg_flags, NLM_F_REQUEST | NLM_F_CREATE);
	assert_true(nl_payload(&rq.h, &fixed, sizeof(m), &list));
	memcpy(&got, fixed, sizeof(got));
	assert_int_equal(got.ifi_index, 7);
	assert_true(nl_next(&list, &a));
	assert_int_equal(a.type, 3);
	assert_true(nl_text(&a, text, sizeof(text)));
	assert_string_equal(text, "abc");
	assert_true(nl_next(&list, &a));
	assert_int_equal(a.type, 5);
	inside = nl_inside(&a);
	assert_false(nl_next(&list, &a));
	assert_true(nl_next(&inside, &a));
	assert_true(nl_u32(&a, &v));
	assert_int_equal(v, 0x01020304);
	assert_true(nl_next(&inside, &a));
	assert_int_equal(a.n, 1);
	assert_false(nl_u32(&a, &v));
	assert_false(nl_next(&inside, &a));
}

static void a_request_that_is_too_long_is_refused(void **state)
{
	static const uint8_t big[NL_REQUEST_MAX];
	struct rtmsg m = {0};
	struct nl_request rq;
	struct err err = {0};
	struct nl nl = NL_CLOSED;
	size_t nest;

	nl_start(&rq, RTM_NEWROUTE, 0, &m, sizeof(m));
	nest = nl_nest(&rq, 1);
	nl_put(&rq, 2, big, sizeof(big));
	assert_true(rq.full);
	nl_nest_end(&rq, nest);
	assert_int_equal(nl_ask(&nl, &rq, &err), -EMSGSIZE);
	nl_start(&rq, RTM_NEWROUTE, 0, &m, sizeof(m));
	for (int i = 0; i < 1000; i++)
		nl_put_u32(&rq, 2, 1);
	assert_true(rq.full);
	assert_true(rq.h.nlmsg_len <= NL_REQUEST_MAX);
	nl_put(&rq, 2, big, SIZE_MAX);
	assert_true(rq.full);
}

/* Attributes as bytes: length, type, then a value. */
static void hostile_attributes(void **state)
{
	static const struct {
		uint8_t bytes[16];
		size_t n;
		unsigned count; /* how many are well-formed */
	} table[] = {
		{{0}, 0, 0},
		{{4, 0, 1, 0}, 3, 0}, /* cut header */
		{{0, 0, 1, 0}, 4, 0}, /* shorter than itself */
		{{3, 0, 1, 0}, 4, 0},
		{{4, 0, 1, 0}, 4, 1}, /* empty value */
		{{5, 0, 1, 0}, 4, 0}, /* longer than what is there */
		{{255, 255, 1, 0}, 8, 0},
		{{5, 0, 1, 0, 9}, 5, 1}, /* without its padding at the end */
		{{5, 0, 1, 0, 9, 0, 0, 0, 4, 0, 2, 0}, 12, 2},
		{{5, 0, 1, 0, 9, 0, 0, 0, 9, 0, 2, 0}, 12, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		uint8_t *exact = malloc(table[i].n + 1); /* so that a sanitizer sees every step too far */
		struct nl_attrs list = {.at = exact, .n = table[i].n};
		struct nl_attr a;
		unsigned count = 0;

		assert_non_null(exact);
		memcpy(exact, table[i].bytes, table[i].n);
		while (nl_next(&list, &a))
			count++;
		assert_int_equal(count, table[i].count);
		free(exact);
	}
}

static void texts(void **state)
{
	static const struct {
		const char bytes[8];
		size_t n;
		bool good;
	} table[] = {{"abc", 4, true}, {"abc", 3, true}, {"", 0, true}, {"", 1, true}, {"abcdefg", 7, false},
		{"a\0b", 4, false}, {"abcd", 5, true}};
	char text[6];

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct nl_attr a = {.value = (const uint8_t *)table[i].bytes, .n = table[i].n};

		assert_int_equal(nl_text(&a, text, sizeof(text)), table[i].good);
		if (table[i].good)
			assert_string_equal(text, table[i].bytes);
	}
}

static int count_messages(const struct nlmsghdr *h, void *ctx)
{
	unsigned *n = ctx;

	++*n;
	return h->nlmsg_type == 99 ? 5 : 0;
}

static void walks_messages(void **state)
{
	struct nlmsghdr h[3] = {{.nlmsg_len = sizeof(h[0])}, {.nlmsg_len = sizeof(h[0])}, {.nlmsg_len = sizeof(h[0])}};
	unsigned n = 0;

	assert_int_equal(nl_walk(h, sizeof(h), count_messages, &n), 0);
	assert_int_equal(n, 3);
	n = 0;
	h[1].nlmsg_type = 99;
	assert_int_equal(nl_walk(h, sizeof(h), count_messages, &n), 5);
	assert_int_equal(n, 2);
	n = 0;
	h[1].nlmsg_len = 3; /* shorter than itself: the walk ends */
	assert_int_equal(nl_walk(h, sizeof(h), count_messages, &n), 0);
	assert_int_equal(n, 1);
	n = 0;
	h[1].nlmsg_len = 4096;
	assert_int_equal(nl_walk(h, sizeof(h), count_messages, &n), 0);
	assert_int_equal(n, 1);
	n = 0;
	h[0].nlmsg_len = UINT32_MAX;
	assert_int_equal(nl_walk(h, sizeof(h), count_messages, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(nl_walk(h, sizeof(h[0]) - 1, count_messages, &n), 0);
	assert_int_equal(n, 0);
}

static int on_link(const struct nlmsghdr *h, void *ctx, struct err *err)
{
	struct ifinfomsg m;
	struct nl_attrs list;
	const void *fixed;

	assert_true(nl_payload(h, &fixed, sizeof(m), &list));
	memcpy(&m, fixed, sizeof(m));
	*(bool *)ctx |= (m.ifi_flags & IFF_LOOPBACK) != 0;
	return 0;
}

static int give_up(const struct nlmsghdr *h, void *ctx, struct err *err)
{
	return err_set(err, EXDEV, "no more");
}

/* The running kernel answers; nothing is changed. */
static void asks_the_kernel(void **state)
{
	struct ifinfomsg m = {0};
	struct nl nl = NL_CLOSED;
	struct nl_request rq;
	struct err err = {0};
	bool loopback = false;

	assert_int_equal(nl_open(&nl, &err), 0);
	nl_start(&rq, RTM_GETLINK, 0, &m, sizeof(m));
	assert_int_equal(nl_dump(&nl, &rq, on_link, &loopback, &err), 0);
	assert_true(loopback);
	nl_start(&rq, RTM_GETLINK, 0, &m, sizeof(m));
	assert_int_equal(nl_dump(&nl, &rq, give_up, NULL, &err), -EXDEV);
	/* What is left of that answer does not disturb the next one. */
	m.ifi_index = 0x7ffffff0;
	nl_start(&rq, RTM_GETLINK, 0, &m, sizeof(m));
	assert_int_equal(nl_ask(&nl, &rq, &err), -ENODEV);
	assert_string_equal(err.msg, "No such device");
	nl_close(&nl);
	nl_close(&nl);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(builds_what_it_reads),
		cmocka_unit_test(a_request_that_is_too_long_is_refused),
		cmocka_unit_test(hostile_attributes),
		cmocka_unit_test(texts),
		cmocka_unit_test(walks_messages),
		cmocka_unit_test(asks_the_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
