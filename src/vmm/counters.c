/* SPDX-License-Identifier: Apache-2.0 */
/* What the machine has done so far, as JSON and for people. Counters of other threads are read as they are. */
#include <inttypes.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "vmm/control.h"
#include "vmm/monitor.h"

static const char *const phase_names[] = {
	[PHASE_MAIN] = "main",
	[PHASE_JAIL] = "jail",
	[PHASE_VM] = "vm",
	[PHASE_LOAD] = "load",
	[PHASE_DEVICES] = "devices",
	[PHASE_START] = "start",
};
_Static_assert(ARRAY_SIZE(phase_names) == PHASES, "a name for every phase");

/* The exits that a healthy guest makes; the rest by number. */
static const char *const exit_names[EXIT_REASONS] = {
	[KVM_EXIT_IO] = "io",
	[KVM_EXIT_MMIO] = "mmio",
	[KVM_EXIT_INTR] = "intr",
	[KVM_EXIT_SHUTDOWN] = "shutdown",
	[KVM_EXIT_INTERNAL_ERROR] = "internal_error",
	[KVM_EXIT_FAIL_ENTRY] = "fail_entry",
};

static uint64_t since_main(const struct monitor *m, uint64_t ns)
{
	return ns > m->phases[PHASE_MAIN] ? (ns - m->phases[PHASE_MAIN]) / 1000 : 0;
}

static void exit_name(char dst[24], unsigned reason)
{
	if (exit_names[reason])
		(void)snprintf(dst, 24, "%s", exit_names[reason]);
	else
		(void)snprintf(dst, 24, "exit_%u", reason);
}

static int put_vcpu(const struct vcpu *v, struct buf *b)
{
	char name[24];
	int r = buf_printf(b, "%s{\"exits\":{", v->id ? "," : "");
	bool first = true;

	for (unsigned i = 0; i < EXIT_REASONS && r == 0; i++) {
		uint64_t n = __atomic_load_n(&v->exits[i], __ATOMIC_RELAXED);

		if (!n)
			continue;
		exit_name(name, i);
		r = buf_printf(b, "%s\"%s\":%" PRIu64, first ? "" : ",", name, n);
		first = false;
	}
	return r < 0 ? r : buf_printf(b, "},\"kicks\":%" PRIu64 "}", __atomic_load_n(&v->kicks, __ATOMIC_RELAXED));
}

static int put_devices(struct monitor *m, struct buf *b)
{
	bool first = true;
	int r = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(m->vm.devices) && r == 0; i++) {
		const struct vm_device *d = &m->vm.devices[i];

		if (!d->vp)
			continue;
		r = buf_printf(b, "%s{\"slot\":%u,\"name\":\"%s\",\"kicks\":%" PRIu64 ",\"irqs\":%" PRIu64 "}",
			first ? "" : ",", i, d->dev->ops->name, __atomic_load_n(&d->kicks_seen, __ATOMIC_RELAXED),
			__atomic_load_n(&d->irqs, __ATOMIC_RELAXED));
		first = false;
	}
	return r;
}

int counters_put(struct monitor *m, struct buf *b)
{
	struct vm *vm = &m->vm;
	int r = buf_printf(b, "\"state\":\"%s\",\"memory\":%" PRIu64 ",\"phases_us\":{",
		vm->end != VM_RUNS ? "ended"
		: vm->paused	   ? "paused"
				   : "running",
		vm->ram.size);

	for (unsigned i = PHASE_JAIL; i < PHASES && r == 0; i++)
		r = buf_printf(b, "\"%s\":%" PRIu64 ",", phase_names[i], since_main(m, m->phases[i]));
	if (r == 0)
		r = buf_printf(b,
			"\"first_run\":%" PRIu64 "},\"console\":{\"written\":%" PRIu64 ",\"dropped\":%" PRIu64
			"},\"vcpus_allowed\":%u,\"vcpus\":[",
			since_main(m, vm->first_run_ns), vm->uart.written, vm->uart.dropped, vm->allowed);
	for (unsigned i = 0; i < vm->cfg.vcpus && r == 0; i++)
		r = put_vcpu(&vm->vcpus[i], b);
	if (r == 0)
		r = buf_append_str(b, "],\"devices\":[");
	if (r == 0)
		r = put_devices(m, b);
	if (r == 0)
		r = buf_append_str(b, "]");
	return r < 0 ? r : devices_put_counters(&m->devices, &m->hotplug, b);
}

/* ---- for people ---- */

static void explain_memory(const struct vm *vm)
{
	for (unsigned i = 0; i < vm->ram.mem.n; i++) {
		const struct guest_region *g = &vm->ram.mem.regions[i];

		log_info("memory: 0x%09" PRIx64 "-0x%09" PRIx64 " %s", g->gpa, g->gpa + g->size - 1,
			g->readonly ? "file, read-only" : "RAM");
	}
	log_info("memory: 0x%09" PRIx64 "-0x%09" PRIx64 " kernel, entered at 0x%" PRIx64, vm->boot.kernel_start,
		vm->boot.kernel_end - 1, vm->boot.entry);
	if (vm->boot.initrd_end)
		log_info("memory: 0x%09" PRIx64 "-0x%09" PRIx64 " initramfs", vm->boot.initrd_start,
			vm->boot.initrd_end - 1);
	log_info("memory: 0x%09" PRIx64 "-0x%09" PRIx64 " PCI config space", LAYOUT_ECAM,
		LAYOUT_ECAM + (vm->cfg.ports + 1) * PCI_ECAM_SIZE - 1);
}

static void explain_devices(const struct vm *vm)
{
	for (unsigned i = 0; i < ARRAY_SIZE(vm->devices); i++) {
		const struct vm_device *d = &vm->devices[i];

		if (!d->vp)
			continue;
		log_info("device: slot %u, %s at 0x%" PRIx64 ", %u queues, %s, %" PRIu64 " kicks, %" PRIu64
			 " interrupts",
			i, d->dev->ops->name, vm_bar(i), d->dev->ops->n_queues,
			d->dev->active ? "active" : "not active", d->kicks_seen, d->irqs);
		for (unsigned q = 0; d->dev->active && q < d->dev->ops->n_queues; q++) {
			const struct queue *queue = &d->dev->queues[q];

			if (queue_is_started(queue))
				log_info("device: slot %u, queue %u: %u entries at 0x%" PRIx64 ", 0x%" PRIx64
					 ", 0x%" PRIx64 ", %u in flight",
					i, q, queue->cfg.size, queue->cfg.desc, queue->cfg.avail, queue->cfg.used,
					queue_in_flight(queue));
		}
	}
}

void counters_explain(struct monitor *m)
{
	const struct vm *vm = &m->vm;
	char name[24];

	explain_memory(vm);
	explain_devices(vm);
	for (unsigned i = 0; i < vm->cfg.vcpus; i++)
		for (unsigned e = 0; e < EXIT_REASONS; e++)
			if (vm->vcpus[i].exits[e]) {
				exit_name(name, e);
				log_info("vCPU %u: %" PRIu64 " exits, %s", i, vm->vcpus[i].exits[e], name);
			}
	for (unsigned i = PHASE_JAIL; i < PHASES; i++)
		log_info("time: %6" PRIu64 " us %s", since_main(m, m->phases[i]), phase_names[i]);
	log_info("time: %6" PRIu64 " us first instruction; now %" PRIu64 " us", since_main(m, vm->first_run_ns),
		since_main(m, time_mono_ns()));
	log_info("console: %" PRIu64 " bytes, %" PRIu64 " dropped", vm->uart.written, vm->uart.dropped);
}
