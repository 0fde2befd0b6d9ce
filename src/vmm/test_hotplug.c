/* SPDX-License-Identifier: Apache-2.0 */
/* A machine without KVM: what is said of a port that a device has left must not concern the next one there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "vmm/hotplug.h"

struct rig {
	struct vm vm;
	struct hotplug h;
	struct loop *loop;
	unsigned asked, removed; /* calls */
};

static void on_released(void *ctx)
{
	struct rig *rig = ctx;

	rig->asked++;
}

static void on_removed(void *ctx, const char *name)
{
	struct rig *rig = ctx;

	assert_string_equal(name, "first");
	rig->removed++;
}

static void on_port_irq(void *ctx, uint64_t addr, uint32_t data)
{
}

static void on_port_released(void *ctx, unsigned index)
{
}

static void rig_init(struct rig *rig)
{
	static const struct pci_port_ops ops = {on_port_irq, on_port_released};
	struct vm_device *d = &rig->vm.devices[PCI_SLOTS];
	struct err err = {0};

	*rig = (struct rig){.h = {.on_released = on_released, .on_removed = on_removed, .ctx = rig}};
	rig->vm.fd = -1;
	rig->vm.released_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		d->kicks[i].fd = -1;
	pci_bus_init(&rig->vm.bus);
	assert_int_equal(pci_port_init(&rig->vm.ports[0], &rig->vm.bus, 0, vm_bar(PCI_SLOTS), &ops, &rig->vm, &err), 0);
	assert_int_equal(loop_new(&rig->loop, &err), 0);
	assert_int_equal(hotplug_start(&rig->h, &rig->vm, rig->loop, &err), 0);
	(void)str_copy(rig->h.devices[0].name, sizeof(rig->h.devices[0].name), "first");
}

static void rig_fini(struct rig *rig)
{
	loop_remove_fd(&rig->h.src);
	loop_free(rig->loop);
	(void)close(rig->vm.released_fd);
}

/* What the guest's side says of port 0 (on_port_released in vm.c). */
static void say_released(struct rig *rig)
{
	const uint64_t one = 1;

	__atomic_fetch_or(&rig->vm.released, 1, __ATOMIC_SEQ_CST);
	assert_int_equal(write(rig->vm.released_fd, &one, sizeof(one)), sizeof(one));
}

static void said_twice_counts_once(void **state)
{
	static struct rig rig;

	rig_init(&rig);
	say_released(&rig);
	assert_int_equal(loop_turn(rig.loop, 0), 0);
	assert_int_equal(rig.asked, 1);
	/* Before the vCPUs stand it is said again, by an owner who asked twice. */
	say_released(&rig);
	hotplug_take_out(&rig.h);
	assert_int_equal(rig.removed, 1);
	/* The next one in the same port stays. */
	(void)str_copy(rig.h.devices[0].name, sizeof(rig.h.devices[0].name), "second");
	assert_int_equal(loop_turn(rig.loop, 0), 0);
	assert_int_equal(rig.asked, 1);
	assert_false(hotplug_waits(&rig.h));
	assert_string_equal(rig.h.devices[0].name, "second");
	rig_fini(&rig);
}

/* It was empty when that was said: nothing is taken out. */
static void of_an_empty_port_is_nothing(void **state)
{
	static struct rig rig;

	rig_init(&rig);
	*rig.h.devices[0].name = '\0';
	say_released(&rig);
	assert_int_equal(loop_turn(rig.loop, 0), 0);
	hotplug_take_out(&rig.h);
	assert_int_equal(rig.removed, 0);
	assert_false(hotplug_waits(&rig.h));
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(said_twice_counts_once),
		cmocka_unit_test(of_an_empty_port_is_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
