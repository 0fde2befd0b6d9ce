/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * virtio-console (virtio 1.2 §5.3) for the boot log: one port, hvc0, output only. What the guest writes is cut into lines
 * of at most CONSOLE_LINE_MAX bytes without their end and given to `line`; bytes are as hostile as the guest. Of one chain
 * at most CONSOLE_CHAIN_MAX bytes are looked at, the rest is dropped and counted.
 */
#include "virtio/device.h"

#define CONSOLE_LINE_MAX 512
#define CONSOLE_CHAIN_MAX 65536

struct console;

struct console_options {
	/* On the device's loop. The text is not terminated and only valid during the call. Must not block. */
	void (*line)(void *ctx, const char *text, size_t len);
	void *ctx;
};

int console_new(
	struct console **ret, struct loop *loop, const struct console_options *opts, struct err *err) must_check;
/* Gives the last line, if it was not ended, to `line`. */
void console_free(struct console *c);
struct virtio_dev *console_dev(struct console *c);
/* Bytes that were dropped so far. */
uint64_t console_dropped(const struct console *c);
