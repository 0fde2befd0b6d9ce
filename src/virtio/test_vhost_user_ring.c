/* SPDX-License-Identifier: Apache-2.0 */
/* Rings and sessions behind vhost-user: when the device is activated, what a stop keeps, what ends a session. */
#include "virtio/vhost_user.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "virtio/test_vhost_front.h"

#define READY (FRONT_VERSION_1 | FRONT_EVENT_IDX | FRONT_PROTOCOL)

static const uint8_t zero_page[4096];

/* One chain there and back, on a ring that keeps nothing. */
static void works(struct front *f, unsigned ring)
{
	uint16_t before = drv_used_idx(&f->dq[ring]);

	assert_true(front_add(f, ring));
	assert_int_equal((uint16_t)(drv_used_idx(&f->dq[ring]) - before), 1);
	assert_int_equal(drv_used(&f->dq[ring], NULL, NULL), 1);
	assert_int_equal(front_events(f->call[ring]), 1);
}

static void is_dead(struct front *f, unsigned ring)
{
	uint16_t before = drv_used_idx(&f->dq[ring]);
	unsigned notifies = f->fd.notifies[ring];

	assert_true(front_add(f, ring));
	assert_int_equal(drv_used_idx(&f->dq[ring]), before);
	assert_int_equal(f->fd.notifies[ring], notifies);
}

/* --- start --- */

static void activates_when_all_configured_rings_are_enabled(void **state)
{
	struct front *f = front_new();

	front_u64(f, VHOST_USER_SET_FEATURES, READY);
	front_share(f);
	front_configure(f, 0, 0);
	front_configure(f, 1, 0);
	front_state(f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	assert_int_equal(f->fd.activations, 0);
	front_state(f, VHOST_USER_SET_VRING_ENABLE, 1, 1);
	assert_int_equal(f->fd.activations, 1);
	assert_true(f->fd.started[0] && f->fd.started[1] && !f->fd.started[2]);
	assert_int_equal(f->fd.dev.features, FRONT_VERSION_1 | FRONT_EVENT_IDX);
	/* What the driver offered before its ring ran is not forgotten: each ring is notified once by itself. */
	assert_int_equal(f->fd.notifies[0], 1);
	assert_int_equal(f->fd.notifies[1], 1);
	works(f, 0);
	works(f, 1);
	/* A late one. */
	front_configure(f, 2, 0);
	assert_true(front_add(f, 2));
	assert_int_equal(drv_used_idx(&f->dq[2]), 0);
	front_state(f, VHOST_USER_SET_VRING_ENABLE, 2, 1);
	assert_int_equal(f->fd.activations, 1);
	assert_int_equal(drv_used_idx(&f->dq[2]), 1);
	front_free(f);
}

static void starts_enabled_without_protocol_features(void **state)
{
	struct front *f = front_new();

	front_u64(f, VHOST_USER_SET_FEATURES, FRONT_VERSION_1);
	front_share(f);
	front_configure(f, 0, 0);
	assert_int_equal(f->fd.activations, 1);
	assert_true(front_add(f, 0));
	assert_int_equal(drv_used_idx(&f->dq[0]), 1);
	front_configure(f, 1, 0);
	assert_true(front_add(f, 1));
	assert_int_equal(drv_used_idx(&f->dq[1]), 1);
	front_free(f);
}

/* The pieces of one ring's start, in any order. */
static void piece(struct front *f, unsigned which)
{
	switch (which) {
	case 0:
		front_u64(f, VHOST_USER_SET_FEATURES, READY);
		break;
	case 1:
		front_share(f);
		break;
	case 2:
		front_state(f, VHOST_USER_SET_VRING_NUM, 1, FRONT_SIZE);
		break;
	case 3:
		front_addr(f, 1, &f->dq[1].cfg);
		break;
	case 4:
		front_ring_fd(f, VHOST_USER_SET_VRING_KICK, 1, f->kick[1]);
		break;
	case 5:
		front_state(f, VHOST_USER_SET_VRING_ENABLE, 1, 1);
		break;
	default:
		front_ring_fd(f, VHOST_USER_SET_VRING_CALL, 1, f->call[1]);
		break;
	}
}

#define PIECES 7
#define PIECES_NEEDED 6

static void in_order(const unsigned order[PIECES])
{
	struct front *f = front_new();
	unsigned needed = 0;

	for (unsigned i = 0; i < PIECES; i++) {
		piece(f, order[i]);
		needed += order[i] < PIECES_NEEDED;
		if (f->closed || f->fd.activations != (needed == PIECES_NEEDED))
			fail_msg("order %u%u%u%u%u%u%u: %u activations after %u pieces, %s", order[0], order[1],
				order[2], order[3], order[4], order[5], order[6], f->fd.activations, i + 1, f->why.msg);
	}
	works(f, 1);
	front_free(f);
}

/* Heap's algorithm, stepped through by counters; every 11th of the 5040 orders is tried. */
static void takes_messages_in_any_order(void **state)
{
	unsigned order[PIECES], count[PIECES] = {0}, n = 0, i = 1;

	for (unsigned p = 0; p < PIECES; p++)
		order[p] = p;
	in_order(order);
	while (i < PIECES) {
		if (count[i] >= i) {
			count[i++] = 0;
			continue;
		}
		unsigned j = i % 2 ? count[i] : 0, swap = order[j];

		order[j] = order[i];
		order[i] = swap;
		count[i]++;
		i = 1;
		if (++n % 11 == 0)
			in_order(order);
	}
	assert_int_equal(n, 5039);
}

/* Before there is a call descriptor, or while QEMU masks it away, an interrupt waits. */
static void an_interrupt_waits_for_its_descriptor(void **state)
{
	struct front *f = front_new();

	front_start(f, 1);
	front_ring_fd(f, VHOST_USER_SET_VRING_CALL, 0, -1);
	assert_true(front_add(f, 0));
	assert_int_equal(drv_used_idx(&f->dq[0]), 1);
	assert_int_equal(front_events(f->call[0]), 0);
	front_ring_fd(f, VHOST_USER_SET_VRING_CALL, 0, f->call[0]);
	assert_int_equal(front_events(f->call[0]), 1);
	front_ring_fd(f, VHOST_USER_SET_VRING_CALL, 0, f->call[0]);
	assert_int_equal(front_events(f->call[0]), 0);
	front_free(f);
}

/* --- stop, and what comes after --- */

static void stop_all(struct front *f, unsigned n)
{
	front_enable(f, n, 0);
	for (unsigned i = 0; i < n; i++)
		(void)front_stop(f, i);
}

static void a_pause_keeps_the_session(void **state)
{
	struct front *f = front_new();
	unsigned notifies;

	front_start(f, 2);
	works(f, 0);
	works(f, 1);
	works(f, 1);
	front_enable(f, 2, 0);
	is_dead(f, 1);
	notifies = f->fd.notifies[1];
	assert_int_equal(front_stop(f, 0), 1);
	assert_int_equal(front_stop(f, 1), 2);
	assert_int_equal(front_stop(f, 1), 2); /* once more */
	assert_false(queue_is_started(&f->fd.dev.queues[1]));
	/* QEMU goes on: all of it again, from where the rings stopped */
	front_u64(f, VHOST_USER_SET_FEATURES, READY);
	front_share(f);
	front_configure(f, 0, 1);
	front_configure(f, 1, 2);
	assert_int_equal(drv_used_idx(&f->dq[1]), 2);
	front_enable(f, 2, 1);
	/* the chain that came during the pause is served */
	assert_int_equal(drv_used_idx(&f->dq[1]), 3);
	assert_true(f->fd.notifies[1] > notifies);
	assert_int_equal(drv_used(&f->dq[1], NULL, NULL), 1);
	(void)front_events(f->call[1]);
	works(f, 0);
	works(f, 1);
	assert_int_equal(f->fd.activations, 1);
	assert_int_equal(f->fd.resets, 0);
	front_free(f);
}

static void disable_and_enable_alone_hold_a_ring(void **state)
{
	struct front *f = front_new();

	front_start(f, 2);
	front_state(f, VHOST_USER_SET_VRING_ENABLE, 0, 0);
	is_dead(f, 0);
	works(f, 1);
	front_state(f, VHOST_USER_SET_VRING_ENABLE, 0, 0);
	front_state(f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	assert_int_equal(drv_used_idx(&f->dq[0]), 1);
	assert_int_equal(f->fd.activations, 1);
	front_free(f);
}

static void other_index(struct front *f)
{
	stop_all(f, 2);
	front_state(f, VHOST_USER_SET_VRING_BASE, 1, 0);
}

static void other_features(struct front *f)
{
	stop_all(f, 2);
	front_u64(f, VHOST_USER_SET_FEATURES, FRONT_VERSION_1 | FRONT_PROTOCOL);
}

static void reset_device(struct front *f)
{
	front_send(f, &(struct front_msg){.request = VHOST_USER_RESET_DEVICE});
}

static void reset_owner(struct front *f)
{
	front_send(f, &(struct front_msg){.request = VHOST_USER_RESET_OWNER});
}

static void reset_after_stop(struct front *f)
{
	stop_all(f, 2);
	reset_device(f);
}

static void stop_in_flight(struct front *f)
{
	f->fd.keep = true;
	assert_true(front_add(f, 1));
	assert_int_equal(queue_in_flight(&f->fd.dev.queues[1]), 1);
	front_enable(f, 2, 0);
	assert_int_equal(f->fd.resets, 0);
	(void)front_stop(f, 0);
	assert_int_equal(f->fd.resets, 0);
	assert_int_equal(front_stop(f, 1), 2);
	f->fd.keep = false;
}

/* All that tells that the driver's session is over; a new one starts afterwards. */
static void ends_of_sessions(void **state)
{
	static const struct {
		const char *what;
		void (*end)(struct front *f);
	} cases[] = {
		{"restart at another index", other_index},
		{"other features", other_features},
		{"RESET_DEVICE", reset_device},
		{"RESET_OWNER", reset_owner},
		{"RESET_DEVICE after a stop", reset_after_stop},
		{"stop with a chain in flight", stop_in_flight},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct front *f = front_new();

		front_start(f, 2);
		works(f, 1);
		cases[i].end(f);
		if (f->fd.resets != 1 || f->fd.dev.active || f->closed)
			fail_msg("%s: %u resets, closed: %s", cases[i].what, f->fd.resets, f->why.msg);
		for (unsigned r = 0; r < 2; r++) {
			assert_false(queue_is_started(&f->fd.dev.queues[r]));
			drv_queue_init(&f->dq[r], &f->vm, FRONT_SIZE, FRONT_EVENT_IDX);
		}
		front_start(f, 2);
		assert_int_equal(f->closed, 0);
		assert_int_equal(f->fd.activations, 2);
		(void)front_events(f->call[1]);
		works(f, 0);
		works(f, 1);
		assert_int_equal(f->fd.resets, 1);
		front_free(f);
	}
}

/* A session that ended at the first of two stops must not begin again with the second ring before that is stopped. */
static void the_rest_of_a_stop_starts_nothing(void **state)
{
	struct front *f = front_new();

	front_u64(f, VHOST_USER_SET_FEATURES, FRONT_VERSION_1 | FRONT_EVENT_IDX); /* rings are always enabled */
	front_share(f);
	front_configure(f, 0, 0);
	front_configure(f, 1, 0);
	f->fd.keep = true;
	assert_true(front_add(f, 0));
	assert_int_equal(front_stop(f, 0), 1);
	assert_int_equal(f->fd.resets, 1);
	assert_int_equal(f->fd.activations, 1);
	is_dead(f, 1);
	assert_int_equal(front_stop(f, 1), 0);
	assert_int_equal(f->fd.activations, 1);
	front_configure(f, 0, 0);
	assert_int_equal(f->fd.activations, 2);
	front_free(f);
}

static void chains_in_flight_may_end_while_disabled(void **state)
{
	struct front *f = front_new();

	front_start(f, 1);
	f->fd.keep = true;
	assert_true(front_add(f, 0));
	front_enable(f, 1, 0);
	assert_int_equal(queue_push(&f->fd.dev.queues[0], f->fd.kept, 0), 0);
	virtio_signal(&f->fd.dev, 0);
	assert_int_equal(drv_used_idx(&f->dq[0]), 1);
	assert_int_equal(front_events(f->call[0]), 1);
	assert_int_equal(front_stop(f, 0), 1);
	assert_int_equal(f->fd.resets, 0);
	front_free(f);
}

static void a_stop_lets_go_of_an_interrupt_held_back(void **state)
{
	struct front *f = front_new();

	front_start(f, 1);
	f->fd.keep = true;
	assert_true(front_add(f, 0));
	assert_int_equal(queue_push(&f->fd.dev.queues[0], f->fd.kept, 0), 0);
	assert_int_equal(front_events(f->call[0]), 0);
	front_enable(f, 1, 0);
	assert_int_equal(front_stop(f, 0), 1);
	assert_int_equal(front_events(f->call[0]), 1);
	assert_int_equal(f->fd.resets, 0);
	front_free(f);
}

static void a_running_ring_keeps_its_index(void **state)
{
	struct front *f = front_new();
	const uint32_t base[2] = {0, 7}, num[2] = {0, 4};
	struct front_msg m = {.request = VHOST_USER_SET_VRING_BASE, .payload = base, .size = 8};

	front_start(f, 1);
	assert_int_equal(front_ask(f, m), 1);
	/* Size and addresses may be set again, they count at the next start. */
	m = (struct front_msg){.request = VHOST_USER_SET_VRING_NUM, .payload = num, .size = 8};
	assert_int_equal(front_ask(f, m), 0);
	front_addr(f, 0, &f->dq[1].cfg);
	works(f, 0);
	const uint64_t features = FRONT_VERSION_1 | FRONT_PROTOCOL;
	m = (struct front_msg){.request = VHOST_USER_SET_FEATURES, .payload = &features, .size = 8};
	assert_int_equal(front_ask(f, m), 1);
	works(f, 0);
	front_free(f);
}

/* --- broken rings --- */

static void expect_broken(struct front *f, unsigned culprit)
{
	for (unsigned i = 0; i < 2; i++)
		if (front_events(f->err[i]) != (i == culprit))
			fail_msg("err of ring %u", i);
	assert_int_equal(f->closed, 0);
	for (unsigned i = 0; i < 2; i++)
		is_dead(f, i);
}

static void restart(struct front *f)
{
	stop_all(f, 2);
	assert_false(f->fd.dev.active);
	for (unsigned i = 0; i < FRONT_RINGS; i++) {
		drv_queue_init(&f->dq[i], &f->vm, FRONT_SIZE, FRONT_EVENT_IDX);
		(void)front_events(f->call[i]);
		(void)front_events(f->kick[i]);
	}
	front_start(f, 2);
	works(f, 0);
	works(f, 1);
}

static void a_broken_rule_stops_the_device_not_the_connection(void **state)
{
	struct front *f = front_new();

	front_start(f, 2);
	f->fd.break_rule = true;
	assert_true(front_add(f, 1));
	f->fd.break_rule = false;
	expect_broken(f, 1);
	/* The device itself is not reset before the front end stops it. */
	assert_int_equal(f->fd.resets, 0);
	front_state(f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	is_dead(f, 0);
	restart(f);
	assert_int_equal(f->fd.resets, 1);
	assert_int_equal(f->fd.activations, 2);
	/* the other way out */
	f->fd.break_rule = true;
	assert_true(front_add(f, 0));
	f->fd.break_rule = false;
	reset_device(f);
	assert_int_equal(f->fd.resets, 2);
	front_free(f);
}

static void a_hostile_ring_breaks(void **state)
{
	struct front *f = front_new();
	const uint64_t one = 1;

	front_start(f, 2);
	drv_set_avail(&f->dq[0], 0, 0xffff);
	drv_set_avail_idx(&f->dq[0], 1);
	assert_int_equal(write(f->kick[0], &one, sizeof(one)), sizeof(one));
	front_run(f);
	f->dq[0].avail_idx = f->dq[0].published_idx = 0;
	expect_broken(f, 0);
	restart(f);
	front_free(f);
}

static void broken_outside_notify_tells_every_ring(void **state)
{
	struct front *f = front_new();

	front_start(f, 2);
	virtio_broken(&f->fd.dev);
	virtio_broken(&f->fd.dev);
	assert_int_equal(front_events(f->err[0]), 1);
	assert_int_equal(front_events(f->err[1]), 1);
	is_dead(f, 0);
	restart(f);
	front_free(f);
}

/* A kick descriptor that hangs up, or cannot be read, takes its ring with it and no time. */
static void a_dead_kick_descriptor_breaks_its_ring(void **state)
{
	for (unsigned how = 0; how < 2; how++) {
		struct front *f = front_new();
		int p[2];

		front_start(f, 2);
		assert_int_equal(pipe2(p, O_CLOEXEC), 0);
		front_ring_fd(f, VHOST_USER_SET_VRING_KICK, 1, p[how]);
		assert_int_equal(f->closed, 0);
		close_fd(&p[0]);
		close_fd(&p[1]);
		front_run(f);
		assert_int_equal(front_events(f->err[1]), 1);
		assert_false(f->fd.dev.queues[1].broken);
		is_dead(f, 0);
		front_free(f);
	}
}

static void a_pipe_will_do_for_kicks(void **state)
{
	struct front *f = front_new();
	int p[2];

	front_start(f, 1);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0); /* blocking */
	front_ring_fd(f, VHOST_USER_SET_VRING_KICK, 0, p[0]);
	assert_true(front_add(f, 0)); /* its kick goes to the descriptor of before */
	assert_int_equal(drv_used_idx(&f->dq[0]), 0);
	assert_int_equal(write(p[1], "12345678", 8), 8);
	front_run(f);
	assert_int_equal(drv_used_idx(&f->dq[0]), 1);
	/* A full call pipe does not stop us. */
	front_ring_fd(f, VHOST_USER_SET_VRING_CALL, 0, p[1]);
	front_ring_fd(f, VHOST_USER_SET_VRING_KICK, 0, f->kick[0]);
	while (write(p[1], zero_page, sizeof(zero_page)) > 0)
		;
	for (unsigned i = 0; i < 4; i++)
		assert_true(front_add(f, 0));
	assert_int_equal(drv_used_idx(&f->dq[0]), 5);
	close_fd(&p[0]);
	close_fd(&p[1]);
	front_free(f);
}

static void a_kick_descriptor_that_cannot_be_watched_ends_the_connection(void **state)
{
	struct front *f = front_new();

	front_start(f, 2);
	front_ring_fd(f, VHOST_USER_SET_VRING_KICK, 0, f->vm.fd); /* a file */
	assert_int_equal(f->closed, 1);
	assert_int_equal(f->why.code, EPERM);
	front_free(f);
}

/* Rings that the driver put where they cannot be: found at the start, told by err, repaired by another start. */
static void bad_rings_do_not_start(void **state)
{
	static const struct {
		const char *what;
		uint32_t num;
		uint64_t desc, used, avail; /* added to good addresses */
	} cases[] = {
		{"size 3", 3, 0, 0, 0},
		{"size 0", 0, 0, 0, 0},
		{"size 2048", 2048, 0, 0, 0},
		{"size 2^32 - 1", UINT32_MAX, 0, 0, 0},
		{"size 0x10010", 0x10010, 0, 0, 0}, /* 16 in 16 bits */
		{"desc misaligned", FRONT_SIZE, 8, 0, 0},
		{"used misaligned", FRONT_SIZE, 0, 2, 0},
		{"avail misaligned", FRONT_SIZE, 0, 0, 1},
		{"desc outside", FRONT_SIZE, FRONT_MEM, 0, 0},
		{"used outside", FRONT_SIZE, 0, FRONT_MEM, 0},
		{"avail outside", FRONT_SIZE, 0, 0, FRONT_MEM},
		{"desc below", FRONT_SIZE, (uint64_t)0 - FRONT_MEM, 0, 0},
		{"used at a guest address", FRONT_SIZE, 0, DRV_GPA - FRONT_UVA, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct front *f = front_new();
		struct queue_cfg cfg = f->dq[0].cfg;

		cfg.desc += cases[i].desc;
		cfg.used += cases[i].used;
		cfg.avail += cases[i].avail;
		front_u64(f, VHOST_USER_SET_FEATURES, READY);
		front_share(f);
		front_configure(f, 0, 0);
		front_configure(f, 1, 0);
		front_state(f, VHOST_USER_SET_VRING_NUM, 0, cases[i].num);
		front_addr(f, 0, &cfg);
		front_enable(f, 2, 1);
		if (f->closed || f->fd.activations || front_events(f->err[0]) != 1)
			fail_msg("%s: %u activations, %s", cases[i].what, f->fd.activations, f->why.msg);
		restart(f);
		assert_int_equal(f->fd.resets, 0);
		front_free(f);
	}
}

/* --- the memory map changes --- */

/* Moves guest memory to another memfd, contents and all. */
static void move_memory(struct front *f)
{
	struct drv_vm vm;

	drv_vm_init_shared(&vm, FRONT_MEM);
	memcpy(vm.mem, f->vm.mem, FRONT_MEM);
	vm.used = f->vm.used;
	drv_vm_fini(&f->vm);
	f->vm = vm;
}

static void memory_moves_under_running_rings(void **state)
{
	struct front *f = front_new();
	const void *at;

	front_start(f, 2);
	works(f, 0);
	at = guest_mem_at(f->fd.dev.mem, f->buf, 1);
	front_share(f);
	assert_ptr_equal(guest_mem_at(f->fd.dev.mem, f->buf, 1), at); /* the same memory stays where it is */
	works(f, 0);
	move_memory(f);
	front_share(f);
	assert_ptr_not_equal(guest_mem_at(f->fd.dev.mem, f->buf, 1), at);
	works(f, 0);
	works(f, 1);
	assert_int_equal(f->fd.activations, 1);
	assert_int_equal(f->fd.resets, 0);
	front_free(f);
}

static void buffers_in_flight_outlive_their_table(void **state)
{
	struct front *f = front_new();
	const struct front_region r = {DRV_GPA, FRONT_MEM, FRONT_UVA, 0};
	uint8_t payload[264];
	uint32_t n = front_mem_payload(payload, &r, 1);
	struct front_msg m = {
		.request = VHOST_USER_SET_MEM_TABLE, .payload = payload, .size = n, .fds = &f->vm.fd, .n_fds = 1};

	front_start(f, 2);
	f->fd.keep = true;
	assert_true(front_add(f, 0));
	move_memory(f);
	assert_int_equal(front_ask(f, m), 0);
	memset(f->fd.c.iov[0].iov_base, 0x77, 64); /* where a worker would write */
	/* A second change finds the old table still in use. The first remains in force. */
	move_memory(f);
	assert_int_equal(front_ask(f, m), 1);
	/* The chain returns: into the ring of the table in force, which the last move left behind. */
	assert_int_equal(queue_push(&f->fd.dev.queues[0], f->fd.kept, 0), 0);
	assert_int_equal(front_ask(f, m), 0);
	assert_int_equal(drv_used_idx(&f->dq[0]), 0);
	assert_int_equal(f->closed, 0);
	front_free(f);
}

static void rings_that_the_new_table_lacks_break(void **state)
{
	struct front *f = front_new();
	const struct front_region r = {0, FRONT_MEM, FRONT_UVA, 0}; /* elsewhere in the guest */
	uint8_t payload[264];
	uint32_t n = front_mem_payload(payload, &r, 1);

	front_start(f, 2);
	assert_int_equal(front_ask(f, (struct front_msg){.request = VHOST_USER_SET_MEM_TABLE,
					      .payload = payload,
					      .size = n,
					      .fds = &f->vm.fd,
					      .n_fds = 1}),
		0);
	assert_int_equal(front_events(f->err[0]) + front_events(f->err[1]), 1);
	is_dead(f, 0);
	is_dead(f, 1);
	restart(f);
	front_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(activates_when_all_configured_rings_are_enabled),
		cmocka_unit_test(starts_enabled_without_protocol_features),
		cmocka_unit_test(takes_messages_in_any_order),
		cmocka_unit_test(an_interrupt_waits_for_its_descriptor),
		cmocka_unit_test(a_pause_keeps_the_session),
		cmocka_unit_test(disable_and_enable_alone_hold_a_ring),
		cmocka_unit_test(ends_of_sessions),
		cmocka_unit_test(the_rest_of_a_stop_starts_nothing),
		cmocka_unit_test(chains_in_flight_may_end_while_disabled),
		cmocka_unit_test(a_stop_lets_go_of_an_interrupt_held_back),
		cmocka_unit_test(a_running_ring_keeps_its_index),
		cmocka_unit_test(a_broken_rule_stops_the_device_not_the_connection),
		cmocka_unit_test(a_hostile_ring_breaks),
		cmocka_unit_test(broken_outside_notify_tells_every_ring),
		cmocka_unit_test(a_dead_kick_descriptor_breaks_its_ring),
		cmocka_unit_test(a_pipe_will_do_for_kicks),
		cmocka_unit_test(a_kick_descriptor_that_cannot_be_watched_ends_the_connection),
		cmocka_unit_test(bad_rings_do_not_start),
		cmocka_unit_test(memory_moves_under_running_rings),
		cmocka_unit_test(buffers_in_flight_outlive_their_table),
		cmocka_unit_test(rings_that_the_new_table_lacks_break),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
