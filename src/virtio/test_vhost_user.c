/* SPDX-License-Identifier: Apache-2.0 */
/* The connection: negotiation, refusals, the stream, descriptors, guest memory. Rings are in test_vhost_user_ring.c. */
#include "virtio/vhost_user.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "virtio/test_vhost_front.h"

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

/* Mappings of the guest's memfd in this process. */
static unsigned count_maps(void)
{
	auto_fclose FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned n = 0;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		n += strstr(line, "memfd:guest") != NULL;
	return n;
}

static uint64_t rss_shared_kib(void)
{
	auto_fclose FILE *status = fopen("/proc/self/status", "re");
	unsigned long kib = 0;
	char line[256];

	assert_non_null(status);
	while (fgets(line, sizeof(line), status))
		if (sscanf(line, "RssShmem: %lu", &kib) == 1)
			return kib;
	fail_msg("no RssShmem");
	return 0;
}

static void negotiates(void **state)
{
	struct front *f = front_new();

	/* VERSION_1 32, PROTOCOL_FEATURES 30, EVENT_IDX 29, INDIRECT_DESC 28, the device's 3 */
	assert_int_equal(front_get_u64(f, VHOST_USER_GET_FEATURES), UINT64_C(0x170000008));
	/* MQ 0, REPLY_ACK 3, CONFIG 9, RESET_DEVICE 13 */
	assert_int_equal(front_get_u64(f, VHOST_USER_GET_PROTOCOL_FEATURES), 0x2209);
	assert_int_equal(front_get_u64(f, VHOST_USER_GET_QUEUE_NUM), FRONT_RINGS);
	f->fd.ops.device_id = 26; /* virtio-fs: the front end has the config space */
	assert_int_equal(front_get_u64(f, VHOST_USER_GET_PROTOCOL_FEATURES), 0x2009);
	f->fd.ops.device_id = 19;
	f->fd.ops.config_len = 0;
	assert_int_equal(front_get_u64(f, VHOST_USER_GET_PROTOCOL_FEATURES), 0x2009);
	assert_int_equal(f->closed, 0);
	front_free(f);
}

static void reads_config_space(void **state)
{
	static const struct {
		uint32_t offset, size;
		int want; /* bytes of the reply's payload */
	} cases[] = {
		{0, 8, 20},
		{0, 12, 24},
		{11, 1, 13},
		{12, 0, 12},
		{0, 13, 0},
		{12, 1, 0},
		{13, 0, 0},
		{UINT32_MAX, 8, 0},
		{8, 256, 0},
	};
	struct front *f = front_new();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t payload[12 + 256] = {0}, reply[12 + 256] = {0};
		const uint32_t words[3] = {cases[i].offset, cases[i].size, 0};

		memcpy(payload, words, sizeof(words));
		front_send(
			f, &(struct front_msg){
				   .request = VHOST_USER_GET_CONFIG, .payload = payload, .size = 12 + cases[i].size});
		if (front_reply(f, VHOST_USER_GET_CONFIG, reply, sizeof(reply)) != cases[i].want)
			fail_msg("case %zu: want %d bytes", i, cases[i].want);
		for (uint32_t b = 0; cases[i].want > 12 && b < cases[i].size; b++)
			assert_int_equal(reply[12 + b], cases[i].offset + b + 1);
	}
	assert_int_equal(f->closed, 0);
	front_free(f);
}

/* --- refusals --- */

static const uint64_t all_ones = UINT64_MAX, no_version_1 = FRONT_PROTOCOL, legal_features = FRONT_VERSION_1,
		      unknown_protocol = 1 << 1 | FRONT_REPLY_ACK;
static const uint32_t ring_3[2] = {3, 1}, ring_max[2] = {UINT32_MAX, 0}, base_big[2] = {0, 0x10000},
		      enable_2[2] = {0, 2};
static const uint64_t kick_none = 1 << 8, call_ring_3 = 3, call_bits = 1 << 9, err_ring_max = 255 | 1 << 8;
static const uint8_t zeros[VHOST_USER_PAYLOAD_MAX];
static const struct {
	uint32_t index, flags;
	uint64_t a[4];
} addr_log = {0, 1, {0}}, addr_ring_3 = {3, 0, {0}};

static const struct {
	const char *what;
	uint32_t request;
	const void *payload;
	uint32_t size;
} refused[] = {
	{"features that were not offered", VHOST_USER_SET_FEATURES, &all_ones, 8},
	{"features without VERSION_1", VHOST_USER_SET_FEATURES, &no_version_1, 8},
	{"protocol features that were not offered", VHOST_USER_SET_PROTOCOL_FEATURES, &unknown_protocol, 8},
	{"NUM of ring 3", VHOST_USER_SET_VRING_NUM, ring_3, 8},
	{"NUM of ring 2^32 - 1", VHOST_USER_SET_VRING_NUM, ring_max, 8},
	{"BASE of ring 3", VHOST_USER_SET_VRING_BASE, ring_3, 8},
	{"BASE beyond 16 bits", VHOST_USER_SET_VRING_BASE, base_big, 8},
	{"ENABLE of ring 3", VHOST_USER_SET_VRING_ENABLE, ring_3, 8},
	{"ENABLE with 2", VHOST_USER_SET_VRING_ENABLE, enable_2, 8},
	{"ADDR with logging", VHOST_USER_SET_VRING_ADDR, &addr_log, 40},
	{"ADDR of ring 3", VHOST_USER_SET_VRING_ADDR, &addr_ring_3, 40},
	{"KICK without a descriptor", VHOST_USER_SET_VRING_KICK, &kick_none, 8},
	{"CALL of ring 3", VHOST_USER_SET_VRING_CALL, &call_ring_3, 8},
	{"CALL with unknown bits", VHOST_USER_SET_VRING_CALL, &call_bits, 8},
	{"ERR of ring 255", VHOST_USER_SET_VRING_ERR, &err_ring_max, 8},
	{"SET_CONFIG", VHOST_USER_SET_CONFIG, zeros, 12},
	{"SET_LOG_BASE", 6, zeros, 16},
	{"SET_LOG_FD", 7, NULL, 0},
	{"SET_STATUS", 39, zeros, 8},
	{"ADD_MEM_REG", 37, zeros, 40},
	{"GET_INFLIGHT_FD", 31, zeros, 24},
	{"POSTCOPY_ADVISE", 28, NULL, 0},
	{"request 1000", 1000, zeros, 100},
	{"SET_OWNER with a payload", VHOST_USER_SET_OWNER, zeros, 8},
	{"RESET_OWNER with a payload", VHOST_USER_RESET_OWNER, zeros, 1},
	{"SET_MEM_TABLE, empty", VHOST_USER_SET_MEM_TABLE, zeros, 8},
};

static void a_refusal_is_answered_where_that_was_asked_for(void **state)
{
	struct front *f = front_new();

	front_start(f, 2);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		int64_t v = front_ask(f, (struct front_msg){.request = refused[i].request,
						 .payload = refused[i].payload,
						 .size = refused[i].size,
						 .fds = f->call,
						 .n_fds = 1});

		if (v != 1 || f->closed)
			fail_msg("%s: answer %d, connection: %s", refused[i].what, (int)v,
				f->closed ? f->why.msg : "open");
	}
	/* and nothing has changed: the rings work */
	assert_true(front_add(f, 0));
	assert_int_equal(drv_used_idx(&f->dq[0]), 1);
	assert_int_equal(f->fd.resets, 0);
	front_free(f);
}

static void a_refusal_that_cannot_be_told_ends_the_connection(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct front *f = front_new();

		front_start(f, 2);
		front_send(f, &(struct front_msg){.request = refused[i].request,
				      .payload = refused[i].payload,
				      .size = refused[i].size,
				      .fds = f->call,
				      .n_fds = 1});
		if (f->closed != 1 || f->why.code == 0 || !strstr(f->why.msg, "vhost-user test: "))
			fail_msg("%s: closed %u, %s", refused[i].what, f->closed, f->why.msg);
		assert_int_equal(f->fd.resets, 1);
		assert_false(f->fd.dev.active);
		front_free(f);
	}
}

static void acknowledges_only_when_negotiated(void **state)
{
	struct front *f = front_new();
	struct front_msg m = {.request = VHOST_USER_SET_FEATURES, .payload = &legal_features, .size = 8};

	assert_int_equal(front_ask(f, m), -1);
	front_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES, FRONT_REPLY_ACK);
	assert_int_equal(front_ask(f, m), 0);
	front_send(f, &m);
	assert_int_equal(front_reply(f, m.request, NULL, 0), -1);
	/* A request with a reply of its own has no second one. */
	m = (struct front_msg){.request = VHOST_USER_GET_QUEUE_NUM};
	assert_int_equal(front_ask(f, m), FRONT_RINGS);
	assert_int_equal(front_reply(f, m.request, NULL, 0), -1);
	front_free(f);
}

/* --- the stream --- */

static void streams_that_cannot_be_understood_end(void **state)
{
	static const uint32_t hdrs[][3] = {
		{1, 0, 0},			    /* version 0 */
		{1, 2, 0},			    /* version 2 */
		{1, 1 | 4, 0},			    /* a reply */
		{1, 1, VHOST_USER_PAYLOAD_MAX + 1}, /* longer than anything known */
		{24, 1 | 8, UINT32_MAX},
		{UINT32_MAX, UINT32_MAX, UINT32_MAX},
	};

	for (size_t i = 0; i < ARRAY_SIZE(hdrs); i++) {
		struct front *f = front_new();

		front_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES, FRONT_REPLY_ACK);
		front_send_fds(f, hdrs[i], 12, f->kick, 3);
		front_run(f);
		if (f->closed != 1 || f->why.code != EPROTO)
			fail_msg("case %zu: closed %u, %s", i, f->closed, f->why.msg);
		front_free(f);
	}
}

static void takes_messages_byte_by_byte(void **state)
{
	struct front *f = front_new();
	const uint64_t v = FRONT_VERSION_1;
	uint8_t bytes[64];
	size_t n = front_encode(bytes, VHOST_USER_SET_FEATURES, 0, &v, 8);

	n += front_encode(bytes + n, VHOST_USER_GET_QUEUE_NUM, 0, NULL, 0);
	for (size_t i = 0; i < n; i++) {
		uint64_t reply;

		assert_int_equal(front_reply(f, VHOST_USER_GET_QUEUE_NUM, &reply, 8), -1);
		front_send_fds(f, bytes + i, 1, NULL, 0);
		front_run(f);
	}
	assert_int_equal(front_get_u64(f, VHOST_USER_GET_QUEUE_NUM), FRONT_RINGS); /* the first of two */
	front_free(f);
}

/* Messages that lie in the socket together, descriptors in the middle: each gets its own. */
static void descriptors_stay_with_their_message(void **state)
{
	struct front *f = front_new();
	const struct front_region r = {DRV_GPA, FRONT_MEM, FRONT_UVA, 0};
	uint8_t bytes[512], payload[264];
	uint64_t v = FRONT_VERSION_1;
	const uint32_t num[2] = {0, FRONT_SIZE};
	size_t n;

	n = front_encode(bytes, VHOST_USER_SET_OWNER, 0, NULL, 0);
	n += front_encode(bytes + n, VHOST_USER_SET_FEATURES, 0, &v, 8);
	front_send_fds(f, bytes, n, NULL, 0);
	n = front_encode(bytes, VHOST_USER_SET_MEM_TABLE, 0, payload, front_mem_payload(payload, &r, 1));
	front_send_fds(f, bytes, n, &f->vm.fd, 1);
	n = front_encode(bytes, VHOST_USER_SET_VRING_NUM, 0, num, 8);
	front_send_fds(f, bytes, n, NULL, 0);
	v = 0;
	n = front_encode(bytes, VHOST_USER_SET_VRING_KICK, 0, &v, 8);
	front_send_fds(f, bytes, n, &f->kick[0], 1);
	n = front_encode(bytes, VHOST_USER_SET_VRING_CALL, 0, &v, 8);
	front_send_fds(f, bytes, n, &f->call[0], 1);
	assert_int_equal(f->fd.activations, 0);
	front_addr(f, 0, &f->dq[0].cfg);
	assert_int_equal(f->closed, 0);
	assert_int_equal(f->fd.activations, 1);
	assert_true(front_add(f, 0));
	assert_int_equal(front_events(f->call[0]), 1);
	front_free(f);
}

static void tells_that_the_front_end_hung_up(void **state)
{
	struct front *f = front_new();

	front_start(f, 1);
	close_fd(&f->sock);
	front_run(f);
	assert_int_equal(f->closed, 1);
	assert_int_equal(f->why.code, 0);
	assert_int_equal(f->fd.resets, 1);
	front_run(f);
	assert_int_equal(f->closed, 1);
	front_free(f);

	/* In the middle of a message it is an error; freeing in the callback is allowed. */
	f = front_new();
	f->free_in_closed = true;
	front_send_fds(f, "\5\0\0", 3, f->kick, 2);
	close_fd(&f->sock);
	front_run(f);
	assert_int_equal(f->closed, 1);
	assert_int_equal(f->why.code, EPROTO);
	assert_null(f->vu);
	front_free(f);
}

/* A second front end is refused and hung up on; the first, whose ring runs, notices nothing. */
static void a_device_has_one_front_end(void **state)
{
	struct front *f = front_new();
	struct vhost_user *second = NULL;
	struct err err = {0};
	int pair[2];
	char byte;

	front_start(f, 1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(vhost_user_new(&second, f->loop, &f->fd.dev, pair[1], front_closed, f, &err), -EBUSY);
	assert_null(second);
	assert_non_null(strstr(err.msg, "has a front end already"));
	assert_int_equal(recv(pair[0], &byte, 1, 0), 0);
	(void)close(pair[0]);
	assert_true(front_add(f, 0));
	assert_int_equal(front_events(f->call[0]), 1);
	assert_int_equal(f->fd.resets, 0);
	assert_int_equal(f->closed, 0);
	front_free(f);
}

static void hang_up_with_unread_replies(void **state)
{
	struct front *f = front_new();

	front_send(f, &(struct front_msg){.request = VHOST_USER_GET_FEATURES});
	close_fd(&f->sock); /* the reply is still in our end: the back end sees ECONNRESET */
	front_run(f);
	assert_int_equal(f->closed, 1);
	assert_int_equal(f->why.code, 0);
	front_free(f);
}

static void cuts_off_who_does_not_read_replies(void **state)
{
	struct front *f = front_new();
	uint8_t bytes[12];
	size_t n = front_encode(bytes, VHOST_USER_GET_FEATURES, 0, NULL, 0);

	for (unsigned i = 0; i < 1000000 && !f->closed; i++) {
		if (send(f->sock, bytes, n, MSG_NOSIGNAL) != (ssize_t)n)
			break;
		assert_int_equal(loop_turn(f->loop, 0), 0);
	}
	assert_int_equal(f->closed, 1);
	assert_int_equal(f->why.code, EAGAIN);
	front_free(f);
}

static void a_device_that_cannot_be_activated_ends_the_connection(void **state)
{
	struct front *f = front_new();

	f->fd.fail_activate = true;
	front_start(f, 1);
	assert_int_equal(f->closed, 1);
	assert_int_equal(f->why.code, ENOMEM);
	assert_int_equal(f->fd.resets, 0);
	assert_false(f->fd.dev.active);
	front_free(f);
}

/* --- descriptors --- */

static void keeps_no_descriptor(void **state)
{
	unsigned fds = count_fds(), maps = count_maps();
	int many[FD_PASS_MAX];
	const struct front_region r = {DRV_GPA, FRONT_MEM, FRONT_UVA, 0};
	uint8_t payload[264];
	uint32_t n = front_mem_payload(payload, &r, 1);
	unsigned with_front, full;
	struct front *f = front_new();

	with_front = count_fds();
	front_start(f, 3);
	full = count_fds();
	assert_int_equal(full, with_front + 9); /* kick, call, err of 3 rings; the memory needs none */
	assert_int_equal(count_maps(), maps + 2);
	/* Again and again, in any state; QEMU does it with CALL. */
	for (unsigned i = 0; i < 40; i++) {
		front_ring_fd(f, VHOST_USER_SET_VRING_KICK, i % 3, f->kick[i % 3]);
		front_ring_fd(f, VHOST_USER_SET_VRING_CALL, i % 3, f->call[i % 3]);
		front_ring_fd(f, VHOST_USER_SET_VRING_ERR, i % 3, f->err[i % 3]);
		front_share(f);
	}
	assert_int_equal(count_fds(), full);
	assert_int_equal(count_maps(), maps + 2);
	front_ring_fd(f, VHOST_USER_SET_VRING_CALL, 1, -1);
	front_ring_fd(f, VHOST_USER_SET_VRING_ERR, 1, -1);
	assert_int_equal(count_fds(), full - 2);

	/* Descriptors where none belong, and too many. */
	for (unsigned i = 0; i < FD_PASS_MAX; i++)
		many[i] = f->call[0];
	front_send(f, &(struct front_msg){.request = VHOST_USER_SET_OWNER, .fds = many, .n_fds = FD_PASS_MAX});
	front_send(f, &(struct front_msg){.request = VHOST_USER_GET_FEATURES, .fds = many, .n_fds = 3});
	front_send(f, &(struct front_msg){.request = VHOST_USER_SET_MEM_TABLE,
			      .flags = FRONT_NEED_REPLY,
			      .payload = payload,
			      .size = n,
			      .fds = (int[]){f->vm.fd, f->kick[0], f->kick[1]},
			      .n_fds = 3});
	front_send(f, &(struct front_msg){.request = VHOST_USER_SET_VRING_NUM,
			      .flags = FRONT_NEED_REPLY,
			      .payload = ring_3,
			      .size = 8,
			      .fds = many,
			      .n_fds = 1});
	assert_int_equal(f->closed, 0);
	assert_int_equal(count_fds(), full - 2);

	/* A message that never ends, with descriptors; more arrive with its later bytes. */
	front_send_fds(f, "\5\0\0\0\1\0\0", 7, many, 5);
	front_send_fds(f, "\0\10\0", 3, many, 5);
	front_run(f);
	assert_int_equal(count_fds(), full - 2 + 8);

	vhost_user_free(f->vu);
	f->vu = NULL;
	assert_int_equal(count_maps(), maps + 1);
	front_free(f);
	assert_int_equal(count_fds(), fds);
	assert_int_equal(count_maps(), maps);
}

/* --- guest memory --- */

struct bad_memory {
	const char *what;
	struct front_region r[3];
	uint32_t n;
	int (*fd)(struct front *f); /* NULL: the test's memory */
};

static int fd_pipe(struct front *f)
{
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	(void)close(p[1]);
	return p[0];
}

static int fd_socket(struct front *f)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int fd_zero(struct front *f)
{
	return open("/dev/zero", O_RDWR | O_CLOEXEC);
}

static int fd_read_only(struct front *f)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", f->vm.fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int fd_path(struct front *f)
{
	return open("/", O_PATH | O_CLOEXEC);
}

static int fd_empty(struct front *f)
{
	return memfd_create("guest", MFD_CLOEXEC);
}

static const struct bad_memory bad_memory[] = {
	{"empty region", {{DRV_GPA, 0, FRONT_UVA, 0}}, 1, NULL},
	{"longer than the file", {{DRV_GPA, FRONT_MEM + 1, FRONT_UVA, 0}}, 1, NULL},
	{"much longer", {{0, UINT64_C(1) << 62, FRONT_UVA, 0}}, 1, NULL},
	{"longest", {{0, UINT64_MAX, FRONT_UVA, 0}}, 1, NULL},
	{"over the end by its offset", {{DRV_GPA, FRONT_MEM, FRONT_UVA, 1}}, 1, NULL},
	{"offset at the end", {{DRV_GPA, 1, FRONT_UVA, FRONT_MEM}}, 1, NULL},
	{"offset beyond", {{DRV_GPA, 1, FRONT_UVA, UINT64_MAX}}, 1, NULL},
	{"offset + size wraps", {{DRV_GPA, 4096, FRONT_UVA, UINT64_MAX - 4095}}, 1, NULL},
	{"offset + size is negative", {{DRV_GPA, 4096, FRONT_UVA, INT64_MAX - 4095}}, 1, NULL},
	{"guest address wraps", {{UINT64_MAX - 4095, 4096, FRONT_UVA, 0}}, 1, NULL},
	{"the same twice", {{DRV_GPA, FRONT_MEM, FRONT_UVA, 0}, {DRV_GPA, FRONT_MEM, FRONT_UVA, 0}}, 2, NULL},
	{"overlap by a byte", {{0, 4096, 0, 0}, {4095, 4096, 0, 0}}, 2, NULL},
	{"third is bad", {{0, 4096, 0, 0}, {4096, 4096, 0, 0}, {8192, 0, 0, 0}}, 3, NULL},
	{"a pipe", {{DRV_GPA, 4096, FRONT_UVA, 0}}, 1, fd_pipe},
	{"a socket", {{DRV_GPA, 4096, FRONT_UVA, 0}}, 1, fd_socket},
	{"/dev/zero", {{DRV_GPA, 4096, FRONT_UVA, 0}}, 1, fd_zero},
	{"a file to read", {{DRV_GPA, 4096, FRONT_UVA, 0}}, 1, fd_read_only},
	{"a folder", {{DRV_GPA, 4096, FRONT_UVA, 0}}, 1, fd_path},
	{"an empty file", {{DRV_GPA, 4096, FRONT_UVA, 0}}, 1, fd_empty},
};

static void bad_memory_tables_change_nothing(void **state)
{
	struct front *f = front_new();
	unsigned fds, maps;

	front_start(f, 2);
	fds = count_fds();
	maps = count_maps();
	for (size_t i = 0; i < ARRAY_SIZE(bad_memory); i++) {
		int fd = bad_memory[i].fd ? bad_memory[i].fd(f) : f->vm.fd;
		uint8_t payload[264];
		uint32_t n = front_mem_payload(payload, bad_memory[i].r, bad_memory[i].n);
		int64_t v;

		assert_true(fd >= 0);
		v = front_ask(f, (struct front_msg){.request = VHOST_USER_SET_MEM_TABLE,
					 .payload = payload,
					 .size = n,
					 .fds = (int[]){fd, fd, fd},
					 .n_fds = bad_memory[i].n});
		if (v != 1)
			fail_msg("%s: answer %d", bad_memory[i].what, (int)v);
		if (fd != f->vm.fd)
			close_fd(&fd);
		assert_int_equal(count_fds(), fds);
		assert_int_equal(count_maps(), maps);
		assert_true(front_add(f, 0));
		assert_int_equal(drv_used(&f->dq[0], NULL, NULL), 1);
	}
	front_free(f);
}

/* A region need not begin at a page of its file. */
static void maps_regions_at_any_offset(void **state)
{
	struct front *f = front_new();
	const struct front_region r[2] = {
		{DRV_GPA, 0x6420, FRONT_UVA, 0}, {DRV_GPA + 0x6420, FRONT_MEM - 0x6420, FRONT_UVA + 0x6420, 0x6420}};
	uint8_t payload[264];
	uint32_t n = front_mem_payload(payload, r, 2);

	front_u64(f, VHOST_USER_SET_FEATURES, FRONT_VERSION_1);
	front_send(f, &(struct front_msg){.request = VHOST_USER_SET_MEM_TABLE,
			      .payload = payload,
			      .size = n,
			      .fds = (int[]){f->vm.fd, f->vm.fd},
			      .n_fds = 2});
	f->buf = drv_alloc(&f->vm, 64, 64);
	assert_true(f->buf > DRV_GPA + 0x1000);
	f->buf = DRV_GPA + 0x7000;
	front_configure(f, 0, 0);
	assert_int_equal(f->closed, 0);
	assert_true(front_add(f, 0));
	assert_int_equal(drv_used_idx(&f->dq[0]), 1);
	*(uint32_t *)drv_ptr(&f->vm, f->buf) = 0x12345678;
	assert_int_equal(*(uint32_t *)guest_mem_at(f->fd.dev.mem, f->buf, 4), 0x12345678);
	/* across the border of the two there is no buffer */
	assert_null(guest_mem_at(f->fd.dev.mem, DRV_GPA + 0x6410, 0x20));
	front_free(f);
}

static void gives_memory_back_when_idle(void **state)
{
	struct front *f = front_new();
	uint64_t before, touched, after;
	uint8_t *p;

	front_start(f, 1);
	p = guest_mem_at(f->fd.dev.mem, DRV_GPA, FRONT_MEM);
	assert_non_null(p);
	before = rss_shared_kib();
	memset(p + FRONT_MEM / 2, 0x5a, FRONT_MEM / 2);
	touched = rss_shared_kib();
	assert_true(touched >= before + FRONT_MEM / 2 / 1024);
	vhost_user_drop_rss(f->vu);
	after = rss_shared_kib();
	assert_true(after <= before);
	for (size_t i = FRONT_MEM / 2; i < FRONT_MEM; i += 4096)
		assert_int_equal(p[i], 0x5a);
	assert_true(front_add(f, 0));
	assert_int_equal(drv_used_idx(&f->dq[0]), 1);
	front_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(negotiates),
		cmocka_unit_test(reads_config_space),
		cmocka_unit_test(a_refusal_is_answered_where_that_was_asked_for),
		cmocka_unit_test(a_refusal_that_cannot_be_told_ends_the_connection),
		cmocka_unit_test(acknowledges_only_when_negotiated),
		cmocka_unit_test(streams_that_cannot_be_understood_end),
		cmocka_unit_test(takes_messages_byte_by_byte),
		cmocka_unit_test(descriptors_stay_with_their_message),
		cmocka_unit_test(tells_that_the_front_end_hung_up),
		cmocka_unit_test(a_device_has_one_front_end),
		cmocka_unit_test(hang_up_with_unread_replies),
		cmocka_unit_test(cuts_off_who_does_not_read_replies),
		cmocka_unit_test(a_device_that_cannot_be_activated_ends_the_connection),
		cmocka_unit_test(keeps_no_descriptor),
		cmocka_unit_test(bad_memory_tables_change_nothing),
		cmocka_unit_test(maps_regions_at_any_offset),
		cmocka_unit_test(gives_memory_back_when_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
