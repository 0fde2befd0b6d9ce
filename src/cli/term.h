/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Our own terminal, while it stands in for one in a container. */
#include <stdbool.h>
#include <termios.h>

struct term {
	bool raw;
	struct termios saved;
};

/*
 * Standard input into raw mode; true when it is now. False and no change: it is no terminal, or another process group has it
 * (touching it from the background would stop us).
 */
bool term_raw(struct term *t);
/* Back to what it was. No-op when it was not changed. */
void term_restore(struct term *t);
/* The window of standard input or else output; false without one. */
bool term_size(unsigned *rows, unsigned *columns);
