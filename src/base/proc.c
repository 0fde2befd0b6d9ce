/* SPDX-License-Identifier: Apache-2.0 */
#include "base/proc.h"

#include <fcntl.h>
#include <string.h>

#include "base/fd.h"

uint64_t proc_stat(pid_t pid, unsigned field)
{
	char path[64];
	auto_free char *text = NULL;
	char *at;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (file_read(AT_FDCWD, path, 4096, &text, NULL, NULL) < 0)
		return 0;
	at = strrchr(text, ')'); /* the name before it may hold anything */
	for (unsigned i = 2; at && i < field; i++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}
