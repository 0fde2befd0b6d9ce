/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/msix.h"

#include <assert.h>
#include <string.h>

#include "base/bytes.h"

enum { ENTRY_ADDR_LOW, ENTRY_ADDR_HIGH, ENTRY_DATA, ENTRY_CONTROL, ENTRY_WORDS };

#define CONTROL_MASKED 1u
#define MESSAGE_ENABLE (1u << 15)
#define MESSAGE_MASK (1u << 14)

void msix_init(struct msix *m, unsigned n_vectors, const struct msix_ops *ops, void *ctx)
{
	assert(n_vectors <= MSIX_VECTORS_MAX);
	*m = (struct msix){.ops = ops, .ctx = ctx, .n = n_vectors};
	(void)pthread_mutex_init(&m->lock, NULL);
	for (unsigned i = 0; i < n_vectors; i++)
		m->vectors[i].masked = true;
}

void msix_fini(struct msix *m)
{
	(void)pthread_mutex_destroy(&m->lock);
}

/* `changed`: what the vector sends may be new. */
static void update(struct msix *m, unsigned i, bool changed)
{
	struct msix_vector *v = &m->vectors[i];
	bool live = m->enabled && !m->masked && !v->masked;

	if (live != v->told || (live && changed)) {
		v->told = live;
		m->ops->changed(m->ctx, i, v->addr, v->data, !live);
	}
	if (!m->enabled)
		v->pending = false;
	if (!live || !v->pending)
		return;
	v->pending = false;
	m->ops->irq(m->ctx, i);
}

void msix_control(struct msix *m, uint16_t control)
{
	(void)pthread_mutex_lock(&m->lock);
	m->enabled = control & MESSAGE_ENABLE;
	m->masked = control & MESSAGE_MASK;
	for (unsigned i = 0; i < m->n; i++)
		update(m, i, false);
	(void)pthread_mutex_unlock(&m->lock);
}

static uint32_t word_get(const struct msix *m, uint32_t word)
{
	const struct msix_vector *v;

	if (word / ENTRY_WORDS >= m->n)
		return 0;
	v = &m->vectors[word / ENTRY_WORDS];
	switch (word % ENTRY_WORDS) {
	case ENTRY_ADDR_LOW:
		return (uint32_t)v->addr;
	case ENTRY_ADDR_HIGH:
		return (uint32_t)(v->addr >> 32);
	case ENTRY_DATA:
		return v->data;
	default:
		return v->masked ? CONTROL_MASKED : 0;
	}
}

static void word_set(struct msix *m, uint32_t word, uint32_t value)
{
	struct msix_vector *v;

	if (word / ENTRY_WORDS >= m->n)
		return;
	v = &m->vectors[word / ENTRY_WORDS];
	switch (word % ENTRY_WORDS) {
	case ENTRY_ADDR_LOW:
		v->addr = (v->addr & ~UINT64_C(0xffffffff)) | (value & ~3u);
		break;
	case ENTRY_ADDR_HIGH:
		v->addr = (v->addr & 0xffffffff) | (uint64_t)value << 32;
		break;
	case ENTRY_DATA:
		v->data = value;
		break;
	default:
		v->masked = value & CONTROL_MASKED;
		break;
	}
}

void msix_table_read(struct msix *m, uint32_t off, void *dst, unsigned len)
{
	memset(dst, 0xff, len);
	if ((len != 4 && len != 8) || off % len)
		return;
	(void)pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < len; i += 4)
		put_le32((uint8_t *)dst + i, word_get(m, (off + i) / 4));
	(void)pthread_mutex_unlock(&m->lock);
}

void msix_table_write(struct msix *m, uint32_t off, const void *src, unsigned len)
{
	uint32_t vector = off / (4 * ENTRY_WORDS);

	if ((len != 4 && len != 8) || off % len || vector >= m->n)
		return;
	(void)pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < len; i += 4)
		word_set(m, (off + i) / 4, get_le32((const uint8_t *)src + i));
	update(m, vector, true);
	(void)pthread_mutex_unlock(&m->lock);
}

void msix_pba_read(struct msix *m, uint32_t off, void *dst, unsigned len)
{
	uint8_t bits[8] = {0};

	memset(dst, 0xff, len);
	if ((len != 4 && len != 8) || off % len)
		return;
	memset(dst, 0, len);
	if (off >= sizeof(bits))
		return;
	(void)pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < m->n; i++)
		bits[i / 8] |= (uint8_t)(m->vectors[i].pending << i % 8);
	(void)pthread_mutex_unlock(&m->lock);
	memcpy(dst, bits + off, len);
}

void msix_raise(struct msix *m, unsigned vector)
{
	struct msix_vector *v;

	if (vector >= m->n)
		return;
	v = &m->vectors[vector];
	(void)pthread_mutex_lock(&m->lock);
	if (m->enabled && !m->masked && !v->masked)
		m->ops->irq(m->ctx, vector);
	else
		v->pending = m->enabled;
	(void)pthread_mutex_unlock(&m->lock);
}
