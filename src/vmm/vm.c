/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/vm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "vmm/acpi.h"

static int make_events(struct vm *vm, struct err *err)
{
	vm->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vm->parked_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vm->released_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vm->end_fd < 0 || vm->parked_fd < 0 || vm->released_fd < 0)
		return err_errno(err, "eventfd");
	return 0;
}

static int set_slots(const struct vm *vm, struct err *err)
{
	for (unsigned i = 0; i < vm->ram.mem.n; i++) {
		const struct guest_region *g = &vm->ram.mem.regions[i];
		struct kvm_userspace_memory_region m = {.slot = i,
			.guest_phys_addr = g->gpa,
			.memory_size = g->size,
			.userspace_addr = (uintptr_t)g->hva,
			.flags = g->readonly ? KVM_MEM_READONLY : 0};

		if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &m) < 0)
			return err_errno(
				err, "KVM_SET_USER_MEMORY_REGION of %" PRIu64 " bytes at 0x%" PRIx64, g->size, g->gpa);
	}
	return 0;
}

static int add_memory(struct vm *vm, struct err *err)
{
	int r = ram_init(&vm->ram, vm->cfg.memory, vm->cfg.huge_pages, err);

	for (unsigned i = 0; i < vm->cfg.n_more && r == 0; i++) {
		const struct guest_region *g = &vm->cfg.more[i];

		r = g->readonly ? guest_mem_add_ro(&vm->ram.mem, g->gpa, g->size, g->hva, err)
				: guest_mem_add(&vm->ram.mem, g->gpa, g->size, g->hva, err);
	}
	return r;
}

/* Only the local APICs are in KVM; no pin of an I/O APIC is reserved, as there is none. */
static int split_irqchip(const struct vm *vm, struct err *err)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_SPLIT_IRQCHIP};

	return ioctl(vm->fd, KVM_ENABLE_CAP, &cap) < 0 ? err_errno(err, "KVM_CAP_SPLIT_IRQCHIP") : 0;
}

static int make_vcpus(struct vm *vm, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; i < vm->cfg.vcpus && r == 0; i++)
		r = vcpu_init(vm, i, err);
	return r < 0 ? r : vcpu_setup_all(vm, err);
}

static int make_ports(struct vm *vm, struct err *err);

int vm_init(struct vm *vm, const struct vm_config *cfg, struct err *err)
{
	int r;

	vm->cfg = *cfg;
	vm->paused = true;
	vm->allowed = cfg->allowed;
	(void)pthread_mutex_init(&vm->lock, NULL);
	(void)pthread_cond_init(&vm->changed, NULL);
	if (cfg->vcpus < 1 || cfg->vcpus > VCPUS_MAX || cfg->allowed < 1 || cfg->allowed > cfg->vcpus)
		return err_set(err, EINVAL, "%u of %u vCPUs: must be 1 to %u", cfg->allowed, cfg->vcpus, VCPUS_MAX);
	pci_bus_init(&vm->bus);
	uart_init(&vm->uart, cfg->console_fd);
	r = make_events(vm, err);
	if (r == 0)
		r = make_ports(vm, err);
	if (r == 0)
		r = add_memory(vm, err);
	if (r < 0)
		return r;
	vm->fd = ioctl(cfg->kvm_fd, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		return err_errno(err, "KVM_CREATE_VM");
	if (ioctl(vm->fd, KVM_SET_TSS_ADDR, LAYOUT_TSS) < 0)
		return err_errno(err, "KVM_SET_TSS_ADDR");
	r = set_slots(vm, err);
	if (r == 0)
		r = split_irqchip(vm, err);
	return r < 0 ? r : make_vcpus(vm, err);
}

int vm_load(struct vm *vm, struct err *err)
{
	const struct boot_config bc = {
		.kernel_fd = vm->cfg.kernel_fd,
		.initrd_fd = vm->cfg.initrd_fd,
		.cmdline = vm->cfg.cmdline,
		.ports = vm->cfg.ports,
		.rsdp = acpi_put(&vm->ram.mem, vm->cfg.vcpus, vm->cfg.ports),
	};
	int r = boot_load(&vm->ram, &bc, &vm->boot, err);

	/* Whoever gets hold of a thread could open the files anew through them; the mappings do not need them. */
	close_fd(&vm->cfg.kernel_fd);
	close_fd(&vm->cfg.initrd_fd);
	return r < 0 ? r : vcpu_set_entry(&vm->vcpus[0], &vm->boot, err);
}

/* Length 0: an access of any width at that address, which KVM finds without decoding the instruction where it can. */
static int watch_kicks(struct vm *vm, struct vm_device *d, bool on, struct err *err)
{
	for (unsigned i = 0; d->vp && i < d->dev->ops->n_queues; i++) {
		struct kvm_ioeventfd io = {.addr = virtio_pci_notify_gpa(d->vp, i),
			.fd = d->kicks[i].fd,
			.flags = on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN};

		if (ioctl(vm->fd, KVM_IOEVENTFD, &io) < 0)
			return err_errno(err, "KVM_IOEVENTFD of device %s", d->dev->ops->name);
	}
	return 0;
}

int vm_start(struct vm *vm, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; i < PCI_SLOTS && r == 0; i++)
		r = watch_kicks(vm, &vm->devices[i], true, err);

	for (unsigned i = 0; i < vm->cfg.vcpus && r == 0; i++)
		r = vcpu_start(&vm->vcpus[i], err);
	vm->started = r == 0;
	return r;
}

/* ---- devices ---- */

static void on_msix_changed(void *ctx, unsigned slot, unsigned vector, uint64_t addr, uint32_t data, bool masked)
{
	struct vm *vm = ctx;

	if (!masked)
		vm->devices[slot].msi[vector] = (struct vm_msi){addr, data};
}

/* Called under the lock of the device's vectors, as on_msix_changed is. */
static void on_irq(void *ctx, unsigned slot, unsigned vector)
{
	struct vm *vm = ctx;
	struct vm_device *d = &vm->devices[slot];
	const struct vm_msi *m = &d->msi[vector];
	struct kvm_msi msi = {
		.address_lo = (uint32_t)m->addr, .address_hi = (uint32_t)(m->addr >> 32), .data = m->data};

	d->irqs++;
	/* A message to nowhere is the guest's own doing. */
	(void)ioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
}

static const struct virtio_pci_ops pci_ops = {on_msix_changed, on_irq};

static void on_kick(struct loop_fd *src, uint32_t events unused_arg)
{
	struct vm_kick *k = container_of(src, struct vm_kick, src);
	uint64_t n;

	if (read(k->fd, &n, sizeof(n)) != sizeof(n))
		return;
	k->owner->kicks_seen++;
	virtio_pci_kick(k->owner->vp, k->queue);
}

static int add_kick(struct vm_device *d, unsigned queue, struct err *err)
{
	struct vm_kick *k = &d->kicks[queue];

	k->owner = d;
	k->queue = queue;
	k->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (k->fd < 0)
		return err_errno(err, "eventfd");
	return loop_add_fd(d->dev->loop, &k->src, k->fd, EPOLLIN, on_kick, err);
}

gpa_t vm_bar(unsigned slot)
{
	return slot < PCI_SLOTS ? LAYOUT_BARS + slot * VIRTIO_PCI_BAR_SIZE
				: LAYOUT_PORTS + (slot - PCI_SLOTS) * LAYOUT_PORT_SIZE;
}

static int occupy(struct vm *vm, unsigned slot, struct virtio_dev *dev, struct err *err)
{
	struct vm_device *d = &vm->devices[slot];
	int r;

	d->vm = vm;
	d->dev = dev;
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		d->kicks[i].fd = -1;
	r = virtio_pci_new(&d->vp, &vm->bus, slot, dev, &vm->ram.mem, vm_bar(slot), &pci_ops, vm, err);
	for (unsigned i = 0; i < dev->ops->n_queues && r == 0; i++)
		r = add_kick(d, i, err);
	return r < 0 ? err_wrap(err, "device %s", dev->ops->name) : 0;
}

int vm_add_device(struct vm *vm, struct virtio_dev *dev, struct err *err)
{
	unsigned slot = 1;

	while (slot < PCI_SLOTS - vm->cfg.ports && vm->devices[slot].dev)
		slot++;
	if (slot == PCI_SLOTS - vm->cfg.ports)
		return err_set(err, ENOSPC, "no PCI slot is left for device %s", dev->ops->name);
	return occupy(vm, slot, dev, err);
}

/* ---- devices that come and go ---- */

static void on_port_irq(void *ctx, uint64_t addr, uint32_t data)
{
	const struct vm *vm = ctx;
	struct kvm_msi msi = {.address_lo = (uint32_t)addr, .address_hi = (uint32_t)(addr >> 32), .data = data};

	(void)ioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
}

static void on_port_released(void *ctx, unsigned index)
{
	struct vm *vm = ctx;
	const uint64_t one = 1;

	__atomic_fetch_or(&vm->released, 1u << index, __ATOMIC_SEQ_CST);
	(void)!write(vm->released_fd, &one, sizeof(one));
}

static const struct pci_port_ops port_ops = {on_port_irq, on_port_released};

static int make_ports(struct vm *vm, struct err *err)
{
	int r = 0;

	if (vm->cfg.ports > PCI_PORTS_MAX)
		return err_set(err, EINVAL, "%u root ports: must be 0 to %d", vm->cfg.ports, PCI_PORTS_MAX);
	for (unsigned i = 0; i < vm->cfg.ports && r == 0; i++)
		r = pci_port_init(&vm->ports[i], &vm->bus, i, vm_bar(PCI_SLOTS + i), &port_ops, vm, err);
	return r;
}

/* Nothing of the device is left but `dev` itself. */
static void vacate(struct vm *vm, unsigned slot)
{
	struct vm_device *d = &vm->devices[slot];

	(void)watch_kicks(vm, d, false, NULL);
	virtio_pci_free(d->vp);
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		loop_remove_fd(&d->kicks[i].src);
		close_fd(&d->kicks[i].fd);
	}
	*d = (struct vm_device){0};
}

int vm_plug(struct vm *vm, struct virtio_dev *dev, unsigned *ret_port, struct err *err)
{
	unsigned port = 0;
	int r;

	while (port < vm->cfg.ports && vm->devices[PCI_SLOTS + port].dev)
		port++;
	if (!vm->cfg.ports)
		return err_set(err, ENOTSUP, "a device that comes later needs --hotplug-ports");
	if (port == vm->cfg.ports)
		return err_set(err, ENOSPC, "none of %u root ports is free", vm->cfg.ports);
	r = occupy(vm, PCI_SLOTS + port, dev, err);
	if (r == 0)
		r = watch_kicks(vm, &vm->devices[PCI_SLOTS + port], true, err);
	if (r < 0) {
		/* The guest has not seen it: no access can be under way. */
		vacate(vm, PCI_SLOTS + port);
		return r;
	}
	pci_port_plug(&vm->ports[port]);
	*ret_port = port;
	return 0;
}

void vm_unplug(struct vm *vm, unsigned port)
{
	if (pci_port_unplug(&vm->ports[port]))
		on_port_released(vm, port);
}

void vm_take_out(struct vm *vm, unsigned port)
{
	vacate(vm, PCI_SLOTS + port);
	/* Said twice if it was asked twice. What is left of it would be taken for the next device's; nobody can say it now. */
	(void)__atomic_fetch_and(&vm->released, ~(1u << port), __ATOMIC_SEQ_CST);
	pci_port_clear(&vm->ports[port]);
}

/* ---- running and ending ---- */

void vm_pause(struct vm *vm)
{
	(void)pthread_mutex_lock(&vm->lock);
	__atomic_store_n(&vm->paused, true, __ATOMIC_RELEASE);
	(void)pthread_mutex_unlock(&vm->lock);
	for (unsigned i = 0; vm->started && i < vm->cfg.vcpus; i++)
		vcpu_kick(&vm->vcpus[i]);
}

void vm_resume(struct vm *vm)
{
	(void)pthread_mutex_lock(&vm->lock);
	if (vm->end == VM_RUNS) {
		__atomic_store_n(&vm->paused, false, __ATOMIC_RELEASE);
		(void)pthread_cond_broadcast(&vm->changed);
	}
	(void)pthread_mutex_unlock(&vm->lock);
}

bool vm_is_parked(struct vm *vm)
{
	bool r;

	(void)pthread_mutex_lock(&vm->lock);
	r = vm->paused && vm->n_parked == vm->cfg.vcpus;
	(void)pthread_mutex_unlock(&vm->lock);
	return r;
}

unsigned vm_online(const struct vm *vm)
{
	unsigned n = 0;

	for (unsigned i = 0; i < vm->allowed; i++)
		n += vcpu_is_online(&vm->vcpus[i]);
	return n;
}

int vm_allow(struct vm *vm, unsigned n, struct err *err)
{
	if (n < 1 || n > vm->cfg.vcpus)
		return err_set(err, EINVAL, "%u vCPUs: must be 1 to %u", n, vm->cfg.vcpus);
	/* From the others nothing is taken away, even if the guest tried to start them. */
	for (unsigned i = n; i < vm->allowed; i++)
		if (vcpu_is_online(&vm->vcpus[i]))
			return err_set(err, EBUSY, "vCPU %u is on line in the guest", i);
	(void)pthread_mutex_lock(&vm->lock);
	__atomic_store_n(&vm->allowed, n, __ATOMIC_RELEASE);
	(void)pthread_cond_broadcast(&vm->changed);
	(void)pthread_mutex_unlock(&vm->lock);
	return 0;
}

void vm_end(struct vm *vm, enum vm_end how, const char *fmt, ...)
{
	const uint64_t one = 1;
	va_list ap;

	(void)pthread_mutex_lock(&vm->lock);
	if (vm->end == VM_RUNS) {
		va_start(ap, fmt);
		(void)vsnprintf(vm->why, sizeof(vm->why), fmt, ap);
		va_end(ap);
		vm->end = how;
		/* The vCPU that called stands at once, the others soon; the process is about to end. */
		__atomic_store_n(&vm->paused, true, __ATOMIC_RELEASE);
		(void)!write(vm->end_fd, &one, sizeof(one));
	}
	(void)pthread_mutex_unlock(&vm->lock);
}
