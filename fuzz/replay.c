/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A main for a fuzz target without a fuzzer: runs every file of the folders given through it, with any compiler and any
 * sanitizer. The corpus is small and kept in the tree, so that what was found once is tested for ever.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (4u << 20)

static int replay_folder(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	struct err err;
	int n = 0;

	if (!dir) {
		(void)fprintf(stderr, "cannot open '%s'\n", path);
		return -1;
	}
	while ((e = readdir(dir))) {
		char *bytes = NULL;
		uint8_t *exact;
		size_t len;

		if (e->d_name[0] == '.')
			continue;
		if (file_read(dirfd(dir), e->d_name, INPUT_MAX, &bytes, &len, &err) < 0) {
			(void)fprintf(stderr, "%s\n", err.msg);
			(void)closedir(dir);
			return -1;
		}
		/* A copy of the exact size, so that a sanitizer sees a read past its end. */
		exact = malloc(len ? len : 1);
		if (exact) {
			memcpy(exact, bytes, len);
			(void)LLVMFuzzerTestOneInput(exact, len);
		}
		free(exact);
		free(bytes);
		n++;
	}
	(void)closedir(dir);
	return n;
}

int main(int argc, char **argv)
{
	int total = 0;

	for (int i = 1; i < argc; i++) {
		int n = replay_folder(argv[i]);

		if (n < 0)
			return 1;
		total += n;
	}
	(void)printf("%d inputs\n", total);
	return total ? 0 : 1; /* an empty corpus proves nothing */
}
