/* SPDX-License-Identifier: Apache-2.0 */
/* The small parts of the QEMU driver: lines, the broker, the TSC, QEMU's command line. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "pod/lines.h"
#include "pod/qemu_args.h"
#include "pod/tsc.h"
#include "pod/vm_broker.h"
#include "vmm/broker.h"

#define DEADLINE_MS 60000
#define MIB (UINT64_C(1) << 20)

/* ---- lines ---- */

struct got {
	unsigned n;
	char text[8][LINES_LEN_MAX + 1];
};

static void on_line(void *ctx, const char *line, size_t len)
{
	struct got *g = ctx;

	assert_true(len <= LINES_LEN_MAX);
	if (g->n < ARRAY_SIZE(g->text)) {
		memcpy(g->text[g->n], line, len);
		g->text[g->n][len] = '\0';
	}
	g->n++;
}

static void turn_until(struct loop *loop, const unsigned *what, unsigned n)
{
	uint64_t end = time_mono_ns() + DEADLINE_MS * NS_PER_MS;

	while (*what < n) {
		assert_true(time_mono_ns() < end);
		assert_int_equal(loop_turn(loop, 100), 0);
	}
}

static void lines_whole_and_bounded(void **state)
{
	struct got *g = calloc(1, sizeof(*g));
	struct lines l = {0};
	struct loop *loop;
	char longer[3 * LINES_LEN_MAX];
	int p[2];

	assert_non_null(g);
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(lines_init(&l, loop, p[0], on_line, g, NULL), 0);
	assert_int_equal(fd_write_all(p[1], "one\r\ntwo", 8), 0);
	turn_until(loop, &g->n, 1);
	assert_int_equal(g->n, 1);
	assert_int_equal(fd_write_all(p[1], " and\n\n", 6), 0);
	turn_until(loop, &g->n, 3);
	assert_string_equal(g->text[0], "one");
	assert_string_equal(g->text[1], "two and");
	assert_string_equal(g->text[2], "");
	memset(longer, 'x', sizeof(longer));
	assert_int_equal(fd_write_all(p[1], longer, sizeof(longer)), 0);
	assert_int_equal(fd_write_all(p[1], "\nshort\nlast", 11), 0);
	turn_until(loop, &g->n, 5);
	assert_int_equal(strlen(g->text[3]), LINES_LEN_MAX);
	assert_string_equal(g->text[4], "short");
	/* What has no end is a line, too, once it is known that no more comes. */
	(void)close(p[1]);
	turn_until(loop, &g->n, 6);
	assert_string_equal(g->text[5], "last");
	assert_int_equal(l.fd, -1);
	lines_drain(&l);
	lines_fini(&l);
	lines_fini(&(struct lines){0});
	loop_free(loop);
	free(g);
}

static void a_flood_leaves_the_loop_its_turns(void **state)
{
	struct got *g = calloc(1, sizeof(*g));
	struct lines l = {0};
	struct loop *loop;
	char chunk[65536];
	int p[2];

	assert_non_null(g);
	memset(chunk, '\n', sizeof(chunk));
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(lines_init(&l, loop, p[0], on_line, g, NULL), 0);
	assert_int_equal(write(p[1], chunk, sizeof(chunk)), sizeof(chunk));
	assert_int_equal(loop_turn(loop, 1000), 0);
	assert_in_range(g->n, 1, sizeof(chunk) / 2);
	lines_drain(&l);
	assert_int_equal(g->n, sizeof(chunk));
	(void)close(p[1]);
	lines_fini(&l);
	loop_free(loop);
	free(g);
}

/* ---- broker ---- */

struct broker_rig {
	struct loop *loop;
	struct vm_broker b;
	int peer, listener;
	char dir[64], path[100], listen_path[108];
	unsigned failed;
};

static void on_failed(void *ctx, const struct err *why)
{
	struct broker_rig *rig = ctx;

	assert_int_not_equal(why->code, 0);
	rig->failed++;
}

static int broker_set_up(void **state)
{
	struct broker_rig *rig = calloc(1, sizeof(*rig));
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int pair[2];

	assert_non_null(rig);
	(void)strcpy(rig->dir, "/tmp/podvm-test-XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	assert_int_equal(str_format(rig->path, sizeof(rig->path), NULL, "%s/vsock.sock", rig->dir), 0);
	assert_int_equal(str_format(rig->listen_path, sizeof(rig->listen_path), NULL, "%s_1234", rig->path), 0);
	rig->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void)strcpy(sa.sun_path, rig->listen_path);
	assert_int_equal(bind(rig->listener, (const struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(rig->listener, 5), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	rig->peer = pair[1];
	assert_int_equal(loop_new(&rig->loop, NULL), 0);
	assert_int_equal(vm_broker_init(&rig->b, rig->loop, pair[0], rig->path, on_failed, rig, NULL), 0);
	*state = rig;
	return 0;
}

static int broker_tear_down(void **state)
{
	struct broker_rig *rig = *state;

	vm_broker_fini(&rig->b);
	loop_free(rig->loop);
	close_fd(&rig->peer);
	close_fd(&rig->listener);
	(void)unlink(rig->listen_path);
	assert_int_equal(rmdir(rig->dir), 0);
	free(rig);
	return 0;
}

static void dial(struct broker_rig *rig, uint64_t token, uint32_t port)
{
	struct broker_dial d = {.token = token, .port = port};

	assert_int_equal(fd_send(rig->peer, &d, sizeof(d), NULL, 0, NULL), 0);
}

/* The next answer; its descriptor, or -1. */
static int take_answer(struct broker_rig *rig, struct broker_answer *a)
{
	uint64_t end = time_mono_ns() + DEADLINE_MS * NS_PER_MS;
	int fds[FD_PASS_MAX], r;
	unsigned n_fds = 0;
	size_t n = 0;

	assert_int_equal(fd_set_nonblock(rig->peer, true, NULL), 0);
	while ((r = fd_recv(rig->peer, a, sizeof(*a), &n, fds, &n_fds, NULL)) == -EAGAIN) {
		assert_true(time_mono_ns() < end);
		assert_int_equal(loop_turn(rig->loop, 10), 0);
	}
	assert_int_equal(r, 0);
	assert_int_equal(n, sizeof(*a));
	assert_int_equal(n_fds, a->ok);
	return n_fds ? fds[0] : -1;
}

static void a_dial_gets_its_socket(void **state)
{
	struct broker_rig *rig = *state;
	struct broker_answer a;
	int fd, other;
	char c;

	dial(rig, UINT64_MAX, 1234);
	dial(rig, 5, 1235); /* nobody listens */
	dial(rig, 6, UINT32_MAX);
	fd = take_answer(rig, &a);
	assert_true(fd >= 0);
	assert_int_equal(a.token, UINT64_MAX);
	other = accept(rig->listener, NULL, NULL);
	assert_true(other >= 0);
	assert_int_equal(fd_write_all(other, "x", 1), 0);
	assert_int_equal(fd_read_all(fd, &c, 1), 0);
	(void)close(fd);
	(void)close(other);
	for (uint64_t token = 5; token <= 6; token++) {
		assert_int_equal(take_answer(rig, &a), -1);
		assert_int_equal(a.token, token);
		assert_int_equal(a.ok, 0);
	}
	/* The end of the other side is no failure: its process tells. */
	close_fd(&rig->peer);
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_turn(rig->loop, 10), 0);
	assert_int_equal(rig->failed, 0);
	assert_int_equal(rig->b.fd, -1);
}

static void broken_requests_are_failures(void **state)
{
	static const char bytes[64];

	for (int kind = 0; kind < 3; kind++) {
		void *s = NULL;
		struct broker_rig *rig;
		int fd = 0;

		(void)broker_set_up(&s);
		rig = s;
		if (kind < 2)
			assert_int_equal(fd_send(rig->peer, bytes, kind ? 64 : 11, NULL, 0, NULL), 0);
		else
			assert_int_equal(fd_send(rig->peer, bytes, sizeof(struct broker_dial), &fd, 1, NULL), 0);
		turn_until(rig->loop, &rig->failed, 1);
		assert_int_equal(rig->b.fd, -1);
		(void)broker_tear_down(&s);
	}
}

/* ---- tsc ---- */

static void tsc_of_this_machine(void **state)
{
	struct tsc_sample a, b;
	uint32_t one, two;

	tsc_sample(&a);
	one = tsc_khz_since(&a);
	tsc_sample(&a);
	two = tsc_khz_since(&a);
	assert_in_range(one, 100000, 10000000);
	/* Far apart only when another process ran in the middle of every try. */
	assert_in_range(two, one - one / 1000, one + one / 1000);
	b = a;
	assert_int_equal(tsc_khz(&a, &b), 0);
	b.ns += TSC_SPAN_NS;
	assert_int_equal(tsc_khz(&a, &b), 0); /* the counter stands still */
	b.tsc = a.tsc + 6000000;
	assert_int_equal(tsc_khz(&a, &b), 3000000);
	assert_int_equal(tsc_khz(&b, &a), 0);
	b.ns = a.ns + 10;
	assert_int_equal(tsc_khz(&a, &b), 0);
}

/* ---- command line ---- */

static const struct vm_config base_cfg = {.id = "p1", .cmdline_extra = "", .vcpus = 1, .memory = 256 * MIB};

static const char *after(const struct qemu_args *a, const char *option)
{
	for (unsigned i = 0; i + 1 < a->n; i++)
		if (str_eq(a->v[i], option))
			return a->v[i + 1];
	fail_msg("no option %s", option);
	return "";
}

static bool has(const struct qemu_args *a, const char *option)
{
	for (unsigned i = 0; i < a->n; i++)
		if (str_eq(a->v[i], option))
			return true;
	return false;
}

static void args_of_a_guest(void **state)
{
	struct vm_config cfg = base_cfg;
	struct qemu_args a;

	assert_int_equal(qemu_args_fill(&a, "qemu", &cfg, 2600000, NULL), 0);
	assert_null(a.v[a.n]);
	assert_string_equal(a.v[0], "qemu");
	assert_string_equal(after(&a, "-accel"), "tcg");
	assert_string_equal(after(&a, "-m"), "256M");
	assert_non_null(strstr(after(&a, "-append"), " tsc_early_khz=2600000 tsc=reliable"));
	assert_non_null(strstr(after(&a, "-append"), " noreplace-smp"));
	assert_non_null(strstr(after(&a, "-append"), " preempt=none "));
	assert_string_equal(after(&a, "-smp"), "cpus=1,maxcpus=2,sockets=1,cores=2,threads=1");
	assert_non_null(strstr(after(&a, "-sandbox"), "spawn=deny"));
	assert_false(has(&a, "-S"));
	cfg.held = true;
	assert_int_equal(qemu_args_fill(&a, "qemu", &cfg, 2600000, NULL), 0);
	assert_true(has(&a, "-S"));
	cfg.held = false;
	cfg.vcpus = 3;
	cfg.cmdline_extra = "podvm.x=1";
	assert_int_equal(qemu_args_fill(&a, "qemu", &cfg, 2600000, NULL), 0);
	assert_string_equal(after(&a, "-smp"), "cpus=3,maxcpus=3,sockets=1,cores=3,threads=1");
	assert_string_equal(after(&a, "-accel"), "tcg,thread=single");
	assert_null(strstr(after(&a, "-append"), "noreplace-smp"));
	assert_true(str_has_suffix(after(&a, "-append"), " podvm.x=1"));
	cfg.kvm = true;
	assert_int_equal(qemu_args_fill(&a, "qemu", &cfg, 0, NULL), 0);
	assert_string_equal(after(&a, "-accel"), "kvm");
	assert_string_equal(after(&a, "-cpu"), "host");
	assert_null(strstr(after(&a, "-append"), "tsc_early_khz"));
}

static void args_refused(void **state)
{
	static char huge[QEMU_ARGS_TEXT + 1];
	struct vm_config cfg = base_cfg;
	struct qemu_args a;

	assert_int_equal(qemu_args_fill(&a, "qemu", &cfg, 0, NULL), -EINVAL);
	cfg.vcpus = 0;
	assert_int_equal(qemu_args_fill(&a, "qemu", &cfg, 1, NULL), -EINVAL);
	cfg.vcpus = 33;
	assert_int_equal(qemu_args_fill(&a, "qemu", &cfg, 1, NULL), -EINVAL);
	cfg.vcpus = 1;
	cfg.memory = 256 * MIB + 4096;
	assert_int_equal(qemu_args_fill(&a, "qemu", &cfg, 1, NULL), -EINVAL);
	cfg.memory = 256 * MIB;
	memset(huge, 'x', QEMU_ARGS_TEXT);
	cfg.cmdline_extra = huge;
	assert_int_equal(qemu_args_fill(&a, "qemu", &cfg, 1, NULL), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_whole_and_bounded),
		cmocka_unit_test(a_flood_leaves_the_loop_its_turns),
		cmocka_unit_test_setup_teardown(a_dial_gets_its_socket, broker_set_up, broker_tear_down),
		cmocka_unit_test(broken_requests_are_failures),
		cmocka_unit_test(tsc_of_this_machine),
		cmocka_unit_test(args_of_a_guest),
		cmocka_unit_test(args_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
