/* SPDX-License-Identifier: Apache-2.0 */
/* Stands in for fs_thread.c until virtio/fs.c is there. */
#include <errno.h>

#include "base/fd.h"
#include "vmm/fs_thread.h"

int fs_thread_start(struct fs_thread *t, const struct options *opts, int root_fd, int proc_fd, struct err *err)
{
	*t = (struct fs_thread){.opts = opts, .end_fd = -1};
	close_fd(&root_fd);
	close_fd(&proc_fd);
	return err_set(err, ENOTSUP, "fs is not built in");
}
