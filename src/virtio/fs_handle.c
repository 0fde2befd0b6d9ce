/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/fs_handle.h"

#include <assert.h>
#include <errno.h>

void fs_handles_init(struct fs_handles *hs, struct fs_inodes *inodes)
{
	hs->inodes = inodes;
	fs_slots_init(&hs->slots, FS_SLOTS_MAX);
}

void fs_handles_fini(struct fs_handles *hs)
{
	fs_slots_fini(&hs->slots);
}

int fs_handle_new(struct fs_handles *hs, struct fs_inode *ino, int fd, struct fs_handle **ret)
{
	struct fs_handle *h = NULL;
	int r = fs_fd_hold(hs->inodes);

	if (r < 0) {
		fs_fd_close(hs->inodes, fd);
		return r;
	}
	h = calloc(1, sizeof(*h));
	r = h ? fs_slots_add(&hs->slots, h, &h->fh) : -ENOMEM;
	if (r < 0) {
		free(h);
		fs_fd_unhold(hs->inodes);
		fs_fd_close(hs->inodes, fd);
		return r;
	}
	h->fd = fd;
	h->refs = 1;
	h->inode = ino;
	h->next = ino->handles;
	if (h->next)
		h->next->prev = h;
	ino->handles = h;
	fs_inode_ref(ino);
	*ret = h;
	return 0;
}

struct fs_handle *fs_handle_get(const struct fs_handles *hs, uint64_t fh, const struct fs_inode *ino)
{
	struct fs_handle *h = fs_slots_get(&hs->slots, fh);

	return h && h->inode == ino ? h : NULL;
}

/* Out of the guest's reach; jobs may still hold the descriptor. The inode is the caller's to unref. */
static struct fs_inode *detach(struct fs_handles *hs, struct fs_handle *h)
{
	struct fs_inode *ino = h->inode;

	assert(ino);
	fs_slots_remove(&hs->slots, h->fh);
	if (h->next)
		h->next->prev = h->prev;
	if (h->prev)
		h->prev->next = h->next;
	else
		ino->handles = h->next;
	h->prev = h->next = NULL;
	h->inode = NULL;
	return ino;
}

void fs_handle_release(struct fs_handles *hs, struct fs_handle *h)
{
	struct fs_inode *ino = detach(hs, h);

	if (ino->type == S_IFDIR && h->refs == 1 && !h->flocked && ino->nlookup > 0) {
		/* What lies in it is likely to be used soon. */
		fs_inode_donate(hs->inodes, ino, h->fd);
		h->fd = -1;
	} else if (!ino->handles) {
		fs_inode_last_handle(hs->inodes, ino, h->fd);
	}
	fs_inode_unref(hs->inodes, ino);
	fs_handle_unref(hs, h);
}

void fs_handle_ref(struct fs_handle *h)
{
	h->refs++;
}

void fs_handle_unref(struct fs_handles *hs, struct fs_handle *h)
{
	if (--h->refs > 0)
		return;
	fs_fd_unhold(hs->inodes);
	if (h->fd >= 0)
		fs_fd_close(hs->inodes, h->fd);
	free(h);
}

void fs_handles_drop(struct fs_handles *hs)
{
	for (uint32_t i = 0; i < hs->slots.cap; i++) {
		struct fs_handle *h = hs->slots.slots[i].obj;

		if (!h)
			continue;
		fs_inode_unref(hs->inodes, detach(hs, h));
		fs_handle_unref(hs, h);
	}
	fs_slots_fini(&hs->slots);
}
