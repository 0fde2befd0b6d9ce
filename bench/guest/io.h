/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What bench/vsock asks of io_init.c, over a vsock connection or a serial port alike; same machine, same byte order. */
#include <stdint.h>

#define IO_PORT 5000
#define IO_CHUNK_MAX (1u << 20)

enum io_op {
	IO_SINK = 1, /* read `bytes`, then answer with their number (u64) */
	IO_SOURCE,   /* send `bytes` */
	IO_ECHO,     /* `bytes` times: read `chunk` bytes and send them back */
	IO_POWEROFF,
};

struct io_request {
	uint32_t op, chunk; /* bytes a system call */
	uint64_t bytes;
};
