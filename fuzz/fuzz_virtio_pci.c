/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest in front of a virtio-pci function with the toy device behind it. The input is a stream of accesses to
 * config space and BAR, at any offset and width; one step brings the device up as a correct driver does, so that the rest
 * meets a running one as well, and one writes anything into guest memory, rings included.
 */
#include "virtio/test_pci_driver.h"

#define MEM 16384

struct script {
	const uint8_t *at;
	size_t left;
};

struct world {
	struct drv_vm vm;
	struct loop *loop;
	struct toy toy;
	struct pd pd;
	struct drv_queue q[TOY_QUEUES];
};

static uint64_t take(struct script *s, unsigned n)
{
	uint8_t v[8] = {0};

	n = n < s->left ? n : (unsigned)s->left;
	memcpy(v, s->at, n);
	s->at += n;
	s->left -= n;
	return get_le64(v);
}

static void bring_up(struct world *w, uint8_t how)
{
	const uint64_t features = UINT64_C(1) << VIRTIO_BIT_VERSION_1 | (uint64_t)(how & 3) << VIRTIO_BIT_INDIRECT_DESC;

	w->vm.used = 0;
	pd_cfg_set(&w->pd, 4, 2, 6);
	if (!pd_negotiate(&w->pd, features))
		return;
	pd_msix_enable(&w->pd, !(how & 4));
	for (unsigned i = 0; i < TOY_QUEUES; i++) {
		pd_queue(&w->pd, &w->q[i], i, (uint16_t)(1u << (how >> 3) % 7), features);
		pd_unmask(&w->pd, i);
	}
	pd_driver_ok(&w->pd);
}

static void access_bar(struct world *w, struct script *s, uint8_t what)
{
	unsigned len = what >> 3 & 1 ? (unsigned)take(s, 1) % 9 : 1u << (what >> 4 & 3);
	uint32_t off = (uint32_t)take(s, 2) % (VIRTIO_PCI_BAR_SIZE + 16);
	uint8_t v[8];

	/* Most of the BAR is empty: bring the offset near something in half of the cases. */
	if (what & 0x80)
		off = off / 0x1000 % 5 * 0x1000 + off % 64;
	if (what & 4) {
		put_le64(v, take(s, len > 8 ? 8 : len));
		(void)pci_mmio_write(&w->pd.bus, PD_BAR + off, v, len);
	} else {
		(void)pci_mmio_read(&w->pd.bus, PD_BAR + off, v, len);
	}
}

static void access_config(struct world *w, struct script *s, uint8_t what)
{
	unsigned len = what >> 3 & 1 ? (unsigned)take(s, 1) % 9 : 1u << (what >> 4 & 3);
	uint64_t off = take(s, what & 0x80 ? 4 : 1);
	uint8_t v[8];

	if (!(what & 0x80))
		off |= PD_SLOT << 15;
	if (what & 4) {
		put_le64(v, take(s, len));
		pci_config_write(&w->pd.bus, off, v, len);
	} else {
		pci_config_read(&w->pd.bus, off, v, len);
	}
}

static void step(struct world *w, struct script *s)
{
	uint8_t what = (uint8_t)take(s, 1), n;

	switch (what & 3) {
	case 0:
		access_bar(w, s, what);
		break;
	case 1:
		access_config(w, s, what);
		break;
	case 2:
		if (what & 4)
			bring_up(w, what >> 3);
		else
			(void)loop_turn(w->loop, 0);
		break;
	default:
		n = what >> 2;
		for (uint16_t at = (uint16_t)take(s, 2); n-- && s->left; at++)
			w->vm.mem[at % MEM] = (uint8_t)take(s, 1);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = {data, size < 4096 ? size : 4096};
	static struct world w;

	drv_vm_init(&w.vm, MEM);
	if (!w.loop && loop_new(&w.loop, NULL) < 0)
		return 0;
	toy_init(&w.toy, w.loop);
	pd_init(&w.pd, &w.vm, &w.toy.dev);
	pd_probe(&w.pd);
	while (s.left)
		step(&w, &s);
	pd_fini(&w.pd);
	assert(w.toy.resets <= w.toy.activations);
	drv_vm_fini(&w.vm);
	return 0;
}
