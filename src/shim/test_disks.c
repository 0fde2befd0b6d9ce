/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block devices of tasks, with a VM and an agent that do what a test says: both may be hostile, and each may be late. What they were told
 * is a line each.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"
#include "shim/disks.h"

#define STEPS_MAX 2000
#define SPEC                                                                                                           \
	"{\"ociVersion\":\"1.0.2\",\"linux\":{\"devices\":[{\"path\":\"/dev/"                                          \
	"a\",\"type\":\"b\",\"major\":7,\"minor\":1}]}}"

struct rig {
	struct loop *loop;
	struct shim sh;
	struct vm vm;
	struct ttrpc_server *server; /* the agent */
	vm_disk_done *done;	     /* of the last add_disk */
	void *done_ctx;
	struct ttrpc_request *find, *release; /* FindDisk, ReleaseDisk, or NULL */
	struct ttrpc_request *created[4];
	unsigned n_created;
	char said[800];
};

static struct rig *rig;

static void say(const char *fmt, ...) printf_like(1, 2);

static void say(const char *fmt, ...)
{
	size_t n = strlen(rig->said);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(rig->said + n, sizeof(rig->said) - n, fmt, ap);
	va_end(ap);
}

static void expect(const char *text)
{
	assert_string_equal(rig->said, text);
	*rig->said = '\0';
}

/* ---- the node, the VM, the agent ---- */

int __wrap_disks_open(unsigned major, unsigned minor, bool read_only, int *ret, struct err *err);

int __wrap_disks_open(unsigned major, unsigned minor, bool read_only, int *ret, struct err *err)
{
	*ret = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return *ret >= 0 ? 0 : err_errno(err, "open");
}

static int add_disk(struct vm *vm, const struct vm_disk *disk, vm_disk_done *done, void *ctx, struct err *err)
{
	say("add %s%s\n", disk->name, disk->read_only ? " ro" : "");
	assert_true(fcntl(disk->fd, F_GETFD) >= 0);
	rig->done = done;
	rig->done_ctx = ctx;
	return 0;
}

static int remove_disk(struct vm *vm, const char *name, struct err *err)
{
	say("remove %s\n", name);
	return 0;
}

static const struct vm_driver driver = {.name = "vmm", .add_disk = add_disk, .remove_disk = remove_disk};

static void on_find(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	say("find %s\n", ((const Podvm__Agent__V1__FindDiskRequest *)msg)->serial);
	rig->find = rq;
}

static void on_release(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	say("release %s\n", ((const Podvm__Agent__V1__ReleaseDiskRequest *)msg)->serial);
	rig->release = rq;
}

static void on_create(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Podvm__Agent__V1__CreateContainerRequest *req = (const void *)msg;

	say("create %s %.*s\n", req->container_id, (int)req->oci_spec.len, (const char *)req->oci_spec.data);
	assert_true(rig->n_created < ARRAY_SIZE(rig->created));
	rig->created[rig->n_created++] = rq;
}

static void on_delete(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	Podvm__Agent__V1__Empty reply = PODVM__AGENT__V1__EMPTY__INIT;

	ttrpc_reply(rq, &reply.base);
}

static void on_closed(void *ctx, const struct err *why)
{
}

static int set_up(void **state)
{
	static const struct ttrpc_method methods[] = {
		{"FindDisk", &podvm__agent__v1__find_disk_request__descriptor, on_find},
		{"ReleaseDisk", &podvm__agent__v1__release_disk_request__descriptor, on_release},
		{"CreateContainer", &podvm__agent__v1__create_container_request__descriptor, on_create},
		{"DeleteProcess", &podvm__agent__v1__process_request__descriptor, on_delete},
	};
	static const struct ttrpc_service agent = {
		.name = AGENT_SERVICE, .methods = methods, .n_methods = ARRAY_SIZE(methods)};
	int pair[2];

	rig = calloc(1, sizeof(*rig));
	assert_int_equal(loop_new(&rig->loop, NULL), 0);
	rig->sh.loop = rig->loop;
	rig->sh.vm = VM_UP;
	rig->sh.disk_slots = 2;
	rig->sh.by_sandbox_api = true;
	rig->sh.share.fd = -1;
	rig->vm.driver = rig->sh.sb.driver = &driver;
	rig->sh.sb.vm = &rig->vm;
	assert_int_equal(events_new(&rig->sh.events, rig->loop, "", "", NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(ttrpc_server_new(&rig->server, rig->loop, &agent, 1, 1, 16, NULL), 0);
	assert_int_equal(ttrpc_server_add(rig->server, pair[0], NULL), 0);
	assert_int_equal(ttrpc_client_new(&rig->sh.sb.agent, rig->loop, pair[1], on_closed, NULL, NULL), 0);
	return 0;
}

static int tear_down(void **state)
{
	task_free_all(&rig->sh);
	disks_fini(&rig->sh);
	assert_null(rig->sh.disks);
	ttrpc_client_free(rig->sh.sb.agent);
	events_free(rig->sh.events);
	if (rig->find)
		ttrpc_fail(rig->find, &(struct err){.code = EIO});
	if (rig->release)
		ttrpc_fail(rig->release, &(struct err){.code = EIO});
	while (rig->n_created)
		ttrpc_fail(rig->created[--rig->n_created], &(struct err){.code = EIO});
	ttrpc_server_free(rig->server);
	loop_free(rig->loop);
	free(rig);
	return 0;
}

/* ---- what a test does ---- */

static struct task *new_task(const char *id)
{
	struct task *t = calloc(1, sizeof(*t));

	t->shim = &rig->sh;
	t->kind = SPEC_CONTAINER;
	(void)str_copy(t->id, sizeof(t->id), id);
	(void)str_copy(t->agent_id, sizeof(t->agent_id), id);
	proc_init(&t->init, t, "");
	t->init.in = strdup("");
	t->init.out = strdup("");
	t->init.errout = strdup("");
	t->json = strdup(SPEC);
	t->json_len = strlen(SPEC);
	t->next = rig->sh.tasks;
	rig->sh.tasks = t;
	rig->sh.n_tasks++;
	return t;
}

static int take(struct task *t, unsigned minor, const char *access, struct err *err)
{
	struct spec_disk d = {.path = "/dev/a", .major = 7, .minor = minor};

	(void)str_copy(d.access, sizeof(d.access), access);
	return disks_take(t, &d, err);
}

static struct task *task_with(const char *id, unsigned minor)
{
	struct task *t = new_task(id);

	assert_int_equal(take(t, minor, "rw", NULL), 0);
	task_send_create(t);
	return t;
}

static void run_until(const char *word)
{
	for (unsigned i = 0; !strstr(rig->said, word); i++) {
		assert_true(i < STEPS_MAX);
		assert_int_equal(loop_turn(rig->loop, 1000), 0);
	}
}

/* What is on its way arrives. */
static void settle(void)
{
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(loop_turn(rig->loop, 0), 0);
}

static void plugged(int code)
{
	struct err err = {0};

	if (code)
		(void)err_set(&err, code, "bad disk");
	rig->done(rig->done_ctx, code ? &err : NULL);
}

static void found(unsigned major, unsigned minor)
{
	Podvm__Agent__V1__FindDiskResponse reply = PODVM__AGENT__V1__FIND_DISK_RESPONSE__INIT;

	reply.major = major;
	reply.minor = minor;
	ttrpc_reply(take_ptr(rig->find), &reply.base);
}

/* Its disk is in the guest, and its spec sent. */
static struct task *task_that_has_it(const char *id, unsigned minor)
{
	struct task *t = task_with(id, minor);

	plugged(0);
	run_until("find");
	found(254, 0);
	run_until("create");
	*rig->said = '\0';
	return t;
}

static void released(int code)
{
	Podvm__Agent__V1__Empty reply = PODVM__AGENT__V1__EMPTY__INIT;

	if (code)
		ttrpc_fail(take_ptr(rig->release), &(struct err){.code = code});
	else
		ttrpc_reply(take_ptr(rig->release), &reply.base);
}

/* ---- tests ---- */

static void two_tasks_have_one_disk(void **state)
{
	struct task *a = task_with("a", 1), *b = task_with("b", 1);

	expect("add podvm-1\n");
	plugged(0);
	run_until("find");
	expect("find podvm-1\n");
	found(254, 16);
	run_until("create a");
	run_until("create b");
	assert_non_null(strstr(rig->said, "\"major\":254,\"minor\":16}]"));
	assert_non_null(
		strstr(rig->said, "{\"allow\":true,\"type\":\"b\",\"major\":254,\"minor\":16,\"access\":\"rw\"}"));
	assert_null(strstr(rig->said, "\"major\":7"));
	*rig->said = '\0';
	disks_release(a);
	settle();
	expect("");
	disks_release(b);
	run_until("release");
	expect("release podvm-1\n");
	released(0);
	run_until("remove");
	expect("remove podvm-1\n");
	/* Only what was asked to go has gone. */
	disks_removed(&rig->sh, "podvm-2");
	assert_non_null(rig->sh.disks);
	disks_removed(&rig->sh, "podvm-1");
	assert_null(rig->sh.disks);
	(void)task_with("c", 1);
	expect("add podvm-2\n");
}

static void what_fails_is_told(void **state)
{
	struct task *t = new_task("a");
	struct err err = {0};

	/* The driver. */
	assert_int_equal(take(t, 1, "r", NULL), 0);
	task_send_create(t);
	expect("add podvm-1 ro\n");
	plugged(EIO);
	for (unsigned i = 0; rig->sh.tasks; i++) {
		assert_true(i < STEPS_MAX);
		assert_int_equal(loop_turn(rig->loop, 1000), 0);
	}
	assert_null(rig->sh.disks);
	expect("");
	/* The agent: no such number. What was plugged in is taken out. */
	(void)task_with("b", 1);
	plugged(0);
	run_until("find");
	found(0, 1);
	run_until("remove");
	assert_null(rig->sh.tasks);
	expect("add podvm-2\nfind podvm-2\nremove podvm-2\n");
	/* Slots, one of which is still taken by the disk that goes. */
	(void)task_with("c", 2);
	t = new_task("d");
	assert_int_equal(take(t, 3, "rw", &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "slots for 2 block devices"));
	assert_non_null(strstr(err.msg, "about to let go"));
	rig->sh.disk_slots = 0;
	assert_int_equal(take(t, 3, "rw", &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "no slots for block devices (disks = 0)"));
	rig->sh.disk_slots = 2;
	rig->sh.sb.driver = &vm_driver_qemu;
	assert_int_equal(take(t, 2, "rw", &err), -ENOTSUP);
	rig->sh.sb.driver = &driver;
}

/* ... whose disk is there does not wait for one that has another disk to wait for, and that one is woken when it comes. */
static void a_task_waits_for_its_own_disks(void **state)
{
	struct ttrpc_request *second;
	struct task *b;
	void *first;

	(void)task_with("a", 1);
	first = rig->done_ctx;
	b = new_task("b");
	assert_int_equal(take(b, 1, "rw", NULL), 0);
	assert_int_equal(take(b, 2, "rw", NULL), 0);
	task_send_create(b);
	expect("add podvm-1\nadd podvm-2\n");
	plugged(0);
	run_until("find podvm-2");
	second = take_ptr(rig->find);
	rig->done_ctx = first;
	plugged(0);
	run_until("find podvm-1");
	found(254, 0);
	run_until("create a");
	settle();
	assert_null(strstr(rig->said, "create b"));
	rig->find = second;
	found(254, 16);
	run_until("create b");
}

static void reading_only_stays_so(void **state)
{
	struct task *a = new_task("a"), *b = new_task("b");
	struct err err = {0};

	assert_int_equal(take(a, 1, "r", NULL), 0);
	assert_int_equal(take(b, 1, "rw", &err), -EBUSY);
	assert_int_equal(take(b, 1, "r", NULL), 0);
}

/* An agent that cannot, or that says nothing before the VM takes the disk out all the same. */
static void the_guest_is_asked_when_the_agent_fails(void **state)
{
	struct task *t = task_that_has_it("a", 1);

	disks_release(t);
	run_until("release");
	released(EOPNOTSUPP);
	run_until("remove");
	expect("release podvm-1\nremove podvm-1\n");
	disks_removed(&rig->sh, "podvm-1");
	assert_null(rig->sh.disks);
	t = task_that_has_it("b", 2);
	disks_release(t);
	run_until("release");
	disks_removed(&rig->sh, "podvm-2");
	assert_null(rig->sh.disks);
	released(0);
	settle();
	expect("release podvm-2\n");
}

/* A task that goes at any moment leaves nothing but a disk that was asked to go, and late answers find nobody. */
static void tasks_that_go_early(void **state)
{
	struct task *t = new_task("a");

	assert_int_equal(take(t, 1, "rw", NULL), 0);
	disks_release(t);
	assert_null(rig->sh.disks);
	expect("");
	/* Before the VM has answered: its "removed" comes too soon, and is a lie. */
	t = task_with("b", 1);
	disks_release(t);
	expect("add podvm-2\nremove podvm-2\n");
	disks_removed(&rig->sh, "podvm-2");
	assert_non_null(rig->sh.disks);
	plugged(0);
	disks_removed(&rig->sh, "podvm-2");
	assert_null(rig->sh.disks);
	/* ... or it could not. */
	t = task_with("c", 1);
	disks_release(t);
	plugged(EIO);
	assert_null(rig->sh.disks);
	*rig->said = '\0';
	/* Before the agent has answered. */
	t = task_with("d", 1);
	plugged(0);
	run_until("find");
	disks_release(t);
	found(254, 0);
	settle();
	expect("add podvm-4\nfind podvm-4\nremove podvm-4\n");
	/* When the VM is gone there is nobody to ask. */
	t = task_with("e", 2);
	rig->sh.vm = VM_DOWN;
	disks_release(t);
	expect("add podvm-5\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(two_tasks_have_one_disk, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_fails_is_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_task_waits_for_its_own_disks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(reading_only_stays_so, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_guest_is_asked_when_the_agent_fails, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tasks_that_go_early, set_up, tear_down),
	};

	log_init(STDERR_FILENO, LOG_ERROR, "test", NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
