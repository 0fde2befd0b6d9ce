/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The MSI-X table and pending bits of one function (PCI base spec §6.1.4). A vector that is masked when it is raised
 * becomes pending and fires once when it is unmasked. While MSI-X is off nothing fires and nothing becomes pending.
 *
 * All calls from any thread: the lock is a leaf, held while an op is called, so ops neither call back nor wait for a
 * thread that may be here.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define MSIX_VECTORS_MAX 17
#define MSIX_NO_VECTOR 0xffff

struct msix_ops {
	/* What the vector sends, and whether it does, has changed. Contents of a masked vector are told when unmasked. */
	void (*changed)(void *ctx, unsigned vector, uint64_t addr, uint32_t data, bool masked);
	void (*irq)(void *ctx, unsigned vector);
};

struct msix_vector {
	uint64_t addr;
	uint32_t data;
	bool masked;  /* by its own bit */
	bool pending; /* raised while it was masked */
	bool told;    /* that it is not masked, to ops->changed */
};

struct msix {
	pthread_mutex_t lock;
	const struct msix_ops *ops;
	void *ctx;
	unsigned n;
	bool enabled, masked;
	struct msix_vector vectors[MSIX_VECTORS_MAX];
};

/* All vectors masked, MSI-X off, as after a reset. */
void msix_init(struct msix *m, unsigned n_vectors, const struct msix_ops *ops, void *ctx);
void msix_fini(struct msix *m);
/* Bits 15 (on) and 14 (all masked) of message control. */
void msix_control(struct msix *m, uint16_t control);
/* Offsets into the table and the pending bits; 4 or 8 aligned bytes, others read all ones or are dropped. */
void msix_table_read(struct msix *m, uint32_t off, void *dst, unsigned len);
void msix_table_write(struct msix *m, uint32_t off, const void *src, unsigned len);
void msix_pba_read(struct msix *m, uint32_t off, void *dst, unsigned len);
/* MSIX_NO_VECTOR and others beyond the table: nothing. */
void msix_raise(struct msix *m, unsigned vector);
