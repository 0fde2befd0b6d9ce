/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * As much of a 16550 UART as early kernel messages need: what is written to it goes to a descriptor, line by line; it is always
 * ready, never interrupts and receives nothing. A driver that probes for a real one finds none (its interrupt enable register
 * does not hold what is written).
 *
 * What the reader does not take in time is dropped and counted: a guest can flood its own log, but not stop at it.
 */
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define UART_LINE 512

struct uart {
	pthread_mutex_t lock;
	int fd; /* borrowed, non-blocking; -1: everything is dropped */
	unsigned len;
	uint64_t written, dropped; /* bytes */
	char line[UART_LINE];
};

void uart_init(struct uart *u, int fd);
/* `reg` is the offset from the first port, 0 to 7. From any thread. */
uint8_t uart_read(struct uart *u, unsigned reg);
void uart_write(struct uart *u, unsigned reg, uint8_t value);
/* A whole line that came another way (virtio-console), without its newline. */
void uart_line(struct uart *u, const char *text, size_t len);
/* Passes on what has no newline yet. */
void uart_flush(struct uart *u);
