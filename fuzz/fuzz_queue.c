/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile driver. The input is the layout of the queue, a script of what the device does, and guest memory itself: two
 * regions that touch, so that buffers can end at, and reach over, a border that is one in the host, too.
 *
 *   0      log2 of the size, features, flags
 *   3..11  base, places of the three areas (16 bits each, in units of their alignment)
 *   11     number of steps, then one byte each (and two for a poke)
 *   rest   guest memory from its start
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "virtio/device.h"

#define GPA 0x1000
#define LOW 8192
#define HIGH 4096

static uint8_t low[LOW] __attribute__((aligned(16))), high[HIGH] __attribute__((aligned(16))),
	moved[LOW] __attribute__((aligned(16)));
static struct chain c;

static uint8_t *place(unsigned off)
{
	return off < LOW ? &low[off] : &high[(off - LOW) % HIGH];
}

/* What every chain promises, and that its bytes are there. */
static void check_chain(const struct queue *q)
{
	uint64_t out = 0, in = 0;
	uint8_t b;

	assert(c.head < q->size);
	assert(c.n_out + c.n_in > 0 && c.n_out + c.n_in <= CHAIN_IOV_MAX);
	for (unsigned i = 0; i < c.n_out + c.n_in; i++) {
		volatile uint8_t *p = c.iov[i].iov_base;
		size_t n = c.iov[i].iov_len;

		assert(n > 0);
		(void)p[0];
		(void)p[n - 1];
		*(i < c.n_out ? &out : &in) += n;
	}
	assert(out == c.out_len && in == c.in_len && out + in <= UINT64_C(1) << 32);
	assert(out == 0 || iov_read(chain_out(&c), c.n_out, out - 1, &b, 1) == 1);
	assert(iov_read(chain_out(&c), c.n_out, out, &b, 1) == 0);
	/* The device's writes may well hit the ring. */
	b = 0x41;
	assert(in == 0 || iov_write(chain_in(&c), c.n_in, in - 1, &b, 1) == 1);
}

static void remap(struct queue *q, struct guest_mem *mem)
{
	uint8_t *next = mem->regions[0].hva == low ? moved : low;

	memcpy(next, mem->regions[0].hva, LOW);
	mem->regions[0].hva = next;
	assert(queue_remap(q, mem, NULL) == 0);
}

static void step(struct queue *q, struct guest_mem *mem, uint8_t what, uint64_t features)
{
	bool broken = q->broken;
	uint16_t base;
	int r;

	switch (what % 8) {
	case 0:
	case 1:
		r = queue_pop(q, &c);
		assert(!broken || r == -EPROTO);
		if (r == 1)
			check_chain(q);
		if (r == 1 && what % 8 == 1)
			assert(queue_push(q, c.head, (uint32_t)c.in_len) == 0);
		else if (r == 1 && what & 8)
			queue_unpop(q, c.head);
		break;
	case 2:
		(void)!queue_push(q, what / 8 % 64, what);
		break;
	case 3:
		(void)queue_should_signal(q);
		break;
	case 4:
		queue_kicks_enable(q, what & 8);
		(void)queue_has_avail(q);
		break;
	case 5:
		queue_hold(q, what & 8);
		break;
	case 6:
		remap(q, mem);
		break;
	default:
		base = queue_stop(q);
		assert(queue_in_flight(q) == 0);
		(void)!queue_start(q, mem, features, base, NULL);
		break;
	}
	assert(queue_in_flight(q) <= q->size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct queue q;
	struct guest_mem mem = {0};
	uint64_t features;
	size_t steps, i;

	if (size < 12)
		return 0;
	steps = data[11] % 64;
	if (size - 12 < steps)
		return 0;
	memset(low, 0, sizeof(low));
	memset(high, 0, sizeof(high));
	i = size - 12 - steps < LOW ? size - 12 - steps : LOW;
	memcpy(low, data + 12 + steps, i);
	i = size - 12 - steps - i;
	memcpy(high, data + size - i, i < HIGH ? i : HIGH);
	assert(guest_mem_add(&mem, GPA, LOW, low, NULL) == 0 && guest_mem_add(&mem, GPA + LOW, HIGH, high, NULL) == 0);
	features = (uint64_t)(data[1] & 3) << VIRTIO_BIT_INDIRECT_DESC;
	q = (struct queue){.cfg = {.size = data[2] & 1 ? data[0] : (uint16_t)(1u << data[0] % 12),
				   .desc = 16 * (gpa_t)get_le16(data + 5),
				   .avail = 2 * (gpa_t)get_le16(data + 7),
				   .used = 4 * (gpa_t)get_le16(data + 9)}};
	if (queue_start(&q, &mem, features, get_le16(data + 3), NULL) < 0)
		return 0;
	for (i = 0; i < steps; i++) {
		uint8_t what = data[12 + i];

		/* A poke: the guest changes its memory between two looks. */
		if (what >= 0xf0 && i + 2 < steps) {
			*(mem.regions[0].hva + data[12 + i + 1] * 8 % LOW) = data[12 + i + 2];
			*place(data[12 + i + 1] * 48) ^= data[12 + i + 2];
			i += 2;
			continue;
		}
		step(&q, &mem, what, features);
	}
	(void)queue_stop(&q);
	assert(queue_pop(&q, &c) == 0);
	return 0;
}
