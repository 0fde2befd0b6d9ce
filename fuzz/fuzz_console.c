/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz_dev.h"
#include "virtio/console.h"

static void on_line(void *ctx, const char *text, size_t len)
{
	assert(len <= CONSOLE_LINE_MAX);
	for (size_t i = 0; i < len; i++)
		assert(text[i] != '\n');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct console_options opts = {.line = on_line};
	struct console *c = NULL;

	if (console_new(&c, fuzz_loop(), &opts, NULL) < 0)
		return 0;
	fuzz_play(console_dev(c), fuzz_loop(), data, size, NULL, NULL);
	console_free(c);
	return 0;
}
