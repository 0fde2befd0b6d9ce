/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes wrong without: Linux (arch/x86/kernel/apic/apic.c, calibrate_APIC_clock) counts how far its timer gets while the time stamp
 * counter, whose frequency it was told, advances by 25 ticks of 4 ms. It looks at the counter in a loop, each time for one tick more. A
 * guest that is not scheduled for those 100 ms finds all ticks gone at once and its timer hardly moved: "APIC frequency too slow,
 * disabling apic timer". A machine without PIT and HPET then has no timer at all, boots nevertheless, and sleeps for ever in the first
 * nanosleep that it cannot be woken from by a device. 24 Pods started at once on two cores: 5 stood still.
 *
 * Nobody can be told to wake the next one when a flock is dropped by a kill -9, so those who wait look again: rarely at first, often
 * when they have waited long, which is all the fairness there is.
 */
#include "pod/turn.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/paths.h"

#define LOOK_NS (100 * NS_PER_MS)
#define LOOK_LATE_NS (10 * NS_PER_MS)
#define LATE_NS (10 * NS_PER_S)

/* 1: taken, or there is nothing to take. 0: taken by others. */
static int take(int *ret)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	char path[PATH_LEN];

	for (long i = 0; i < MIN_OF(MAX_OF(cpus, 1), TURNS_MAX); i++) {
		auto_close int fd = -1;

		if (str_format(path, sizeof(path), NULL, "%s/boot.%ld", path_run(), i) < 0)
			return 1;
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return 1;
		if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
			*ret = take_fd(&fd);
			return 1;
		}
		if (errno != EWOULDBLOCK && errno != EINTR)
			return 1;
	}
	return 0;
}

static void look(struct loop_timer *t)
{
	struct turn *turn = container_of(t, struct turn, timer);
	uint64_t waited = time_mono_ns() - turn->since_ns;

	if (take(&turn->fd) || waited > TURN_WAIT_MAX_MS * NS_PER_MS)
		turn->mine(turn);
	else
		loop_timer_set(turn->loop, t, waited > LATE_NS ? LOOK_LATE_NS : LOOK_NS, look);
}

int turn_wait(struct turn *ret, struct loop *loop, void (*mine)(struct turn *turn))
{
	*ret = (struct turn){.loop = loop, .since_ns = time_mono_ns(), .fd = -1, .mine = mine};
	if (take(&ret->fd))
		return 1;
	loop_timer_set(loop, &ret->timer, LOOK_NS, look);
	return 0;
}

void turn_end(struct turn *turn)
{
	if (!turn->loop)
		return;
	loop_timer_cancel(&turn->timer);
	close_fd(&turn->fd);
	turn->loop = NULL;
}
