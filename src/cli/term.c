/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/term.h"

#include <sys/ioctl.h>
#include <unistd.h>

bool term_raw(struct term *t)
{
	struct termios raw;

	if (t->raw)
		return true;
	if (tcgetattr(STDIN_FILENO, &t->saved) < 0 || tcgetpgrp(STDIN_FILENO) != getpgrp())
		return false;
	raw = t->saved;
	cfmakeraw(&raw);
	t->raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
	return t->raw;
}

void term_restore(struct term *t)
{
	if (t->raw)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &t->saved);
	t->raw = false;
}

bool term_size(unsigned *rows, unsigned *columns)
{
	struct winsize ws;

	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &ws) < 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) < 0)
		return false;
	*rows = ws.ws_row;
	*columns = ws.ws_col;
	return ws.ws_row > 0 && ws.ws_col > 0;
}
