/* SPDX-License-Identifier: Apache-2.0 */
#include "image/tree.h"

#include <errno.h>
#include <fts.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/bytes.h"

#define XATTR_LIST_MAX 65536 /* the kernel's own limit */

static void close_fts(FTS **f)
{
	if (*f)
		(void)fts_close(*f);
}

/* `names` has room for XATTR_LIST_MAX. */
static int drop_overlay_xattrs(const char *path, char *names, struct err *err)
{
	ssize_t n = llistxattr(path, names, XATTR_LIST_MAX);

	if (n < 0)
		return errno == ENOTSUP ? 0 : err_errno(err, "read attributes of '%s'", path);
	for (char *p = names; p < names + n; p += strlen(p) + 1)
		if ((str_has_prefix(p, "trusted.overlay.") || str_has_prefix(p, "user.overlay.")) &&
			lremovexattr(path, p) < 0)
			return err_errno(err, "remove attribute '%s' of '%s'", p, path);
	return 0;
}

int tree_settle(const char *path, uint64_t *ret_bytes, struct err *err)
{
	char *const roots[] = {(char *)(uintptr_t)path, NULL};
	cleanup_with(close_fts) FTS *walk = NULL;
	auto_free char *names = NULL;
	uint64_t bytes = 0;
	FTSENT *e;

	walk = fts_open(roots, FTS_PHYSICAL | FTS_XDEV, NULL);
	if (!walk)
		return err_errno(err, "walk '%s'", path);
	names = malloc(XATTR_LIST_MAX);
	if (!names)
		return err_set(err, ENOMEM, "walk '%s': out of memory", path);
	while ((errno = 0, e = fts_read(walk))) {
		int r;

		if (e->fts_info == FTS_DP)
			continue;
		if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR || e->fts_info == FTS_NS) {
			errno = e->fts_errno;
			return err_errno(err, "walk '%s'", e->fts_path);
		}
		if (e->fts_level == 0 && e->fts_info != FTS_D)
			return err_set(err, EBADMSG, "the layers make no root folder");
		/* A file with several names counts once in all. */
		bytes += (uint64_t)e->fts_statp->st_blocks * 512 /
			 (e->fts_info == FTS_D ? 1 : MAX_OF(e->fts_statp->st_nlink, (nlink_t)1));
		r = drop_overlay_xattrs(e->fts_accpath, names, err);
		if (r < 0)
			return r;
	}
	if (errno)
		return err_errno(err, "walk '%s'", path);
	*ret_bytes = bytes;
	return 0;
}
