/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/uart.h"

#include <sys/uio.h>
#include <unistd.h>

enum {
	REG_DATA = 0,
	REG_LINE_STATUS = 5,
	STATUS_EMPTY = 0x60, /* transmitter and its holding register */
};

void uart_init(struct uart *u, int fd)
{
	*u = (struct uart){.fd = fd};
	(void)pthread_mutex_init(&u->lock, NULL);
}

uint8_t uart_read(struct uart *u, unsigned reg)
{
	return reg == REG_LINE_STATUS ? STATUS_EMPTY : 0;
}

static void send_line(struct uart *u)
{
	ssize_t n = u->len && u->fd >= 0 ? write(u->fd, u->line, u->len) : 0;

	if (n > 0)
		u->written += (uint64_t)n;
	u->dropped += u->len - (n > 0 ? (uint64_t)n : 0);
	u->len = 0;
}

void uart_write(struct uart *u, unsigned reg, uint8_t value)
{
	if (reg != REG_DATA)
		return;
	(void)pthread_mutex_lock(&u->lock);
	u->line[u->len++] = (char)value;
	if (value == '\n' || u->len == UART_LINE)
		send_line(u);
	(void)pthread_mutex_unlock(&u->lock);
}

void uart_line(struct uart *u, const char *text, size_t len)
{
	static const char newline = '\n';
	const struct iovec iov[] = {
		{(void *)(uintptr_t)text, len},
		{(void *)(uintptr_t)&newline, 1},
	};
	ssize_t n;

	(void)pthread_mutex_lock(&u->lock);
	send_line(u);
	n = u->fd >= 0 ? writev(u->fd, iov, 2) : 0;
	if (n > 0)
		u->written += (uint64_t)n;
	u->dropped += len + 1 - (n > 0 ? (uint64_t)n : 0);
	(void)pthread_mutex_unlock(&u->lock);
}

void uart_flush(struct uart *u)
{
	(void)pthread_mutex_lock(&u->lock);
	send_line(u);
	(void)pthread_mutex_unlock(&u->lock);
}
