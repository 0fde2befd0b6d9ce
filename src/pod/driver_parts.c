/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/driver_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/bytes.h"
#include "base/fd.h"

#define VSOCK_BACKLOG 1024 /* as many as the device takes: a client that does not block fails when it is full */

void driver_printable(char *dst, size_t size, const char *src, size_t len)
{
	size_t n = MIN_OF(len, size - 1);

	for (size_t i = 0; i < n; i++)
		dst[i] = (unsigned char)src[i] < 0x20 || (unsigned char)src[i] >= 0x7f ? '?' : src[i];
	dst[n] = '\0';
}

void driver_describe_status(char dst[64], int status)
{
	if (status < 0)
		(void)snprintf(dst, 64, "ended, status unknown");
	else if (status > 128)
		(void)snprintf(dst, 64, "was killed by signal %d (%s)", status - 128, sigdescr_np(status - 128));
	else
		(void)snprintf(dst, 64, "ended with exit code %d", status);
}

void driver_find_panic(char *dst, size_t size, const char *line, size_t len)
{
	static const char mark[] = "Kernel panic - not syncing: ";
	const char *at = *dst ? NULL : memmem(line, len, mark, sizeof(mark) - 1);

	if (!at)
		return;
	at += sizeof(mark) - 1;
	driver_printable(dst, size, at, (size_t)(line + len - at));
}

int driver_open_file(int *ret, const char *what, const char *path, struct err *err)
{
	struct stat st;

	*ret = open(path, O_RDONLY | O_CLOEXEC);
	if (*ret < 0 || fstat(*ret, &st) < 0)
		return err_errno(err, "guest's %s '%s'", what, path);
	/* QEMU opens it once more, by descriptor, under its own id. */
	if (!S_ISREG(st.st_mode) || !(st.st_mode & S_IROTH))
		return err_set(err, EACCES, "guest's %s '%s' is no file that everyone may read", what, path);
	return 0;
}

int driver_listen(const char *path, bool *ret_bound, int *ret, struct err *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (!str_copy(sa.sun_path, sizeof(sa.sun_path), path))
		return err_set(
			err, ENAMETOOLONG, "vsock socket '%s': more than %zu bytes", path, sizeof(sa.sun_path) - 1);
	/* The mode before listen(2): nobody else can have connected. */
	if (fd < 0 || bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_errno(err, "bind '%s'", path);
	*ret_bound = true;
	if (chmod(path, 0600) < 0 || listen(fd, VSOCK_BACKLOG) < 0)
		return err_errno(err, "listen on '%s'", path);
	*ret = take_fd(&fd);
	return 0;
}
