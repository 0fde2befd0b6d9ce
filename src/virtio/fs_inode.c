/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inodes of the guest.
 *
 * The guest sends FORGET only when it is short of memory, so it may know far more inodes than we may have descriptors. So an
 * inode is not a descriptor here but an identity, (st_dev, st_ino, mount id), and a place: the inode of the folder and the
 * name where it was seen last. It is
 *
 *   cold     nothing is open. Most inodes stay cold for ever: LOOKUP, GETATTR and OPEN need the folder's descriptor only.
 *   hot      an O_PATH descriptor is open, on a list from which the one used least recently is closed at need
 *   pinned   open, and the place is lost: unlinked, replaced, O_TMPFILE. Only FORGET closes it.
 *
 * An inode on a mount below a volume (nested) is hot only while it is in use and half a second longer, since a descriptor keeps the mount
 * busy for umount(8) on the host, by way of mount propagation.
 *
 * An open handle serves as the descriptor of its inode too. A cold inode is opened by opening its folder (in turn, from the first
 * one above that is open) and the name in it. What is found must have the identity; else somebody on the host has renamed or
 * removed it while it was cold, the place is lost and the guest gets -ESTALE, on which Linux looks the path up again. What
 * the guest itself removes or replaces is opened just before, so that it stays usable as on a local disk.
 *
 * A file of the host that was deleted and made again under the same name with the same number is taken for the old one
 * with other contents; only for symbolic links, whose target the guest may keep, does the identity include the time of
 * the last change. Birth times would not do: overlayfs changes them on copy-up.
 *
 * Every step is one component that holds no "/", is neither "." nor "..", and is never followed if it is a symbolic link,
 * by openat2(2) with RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS. The only magic links used are our own, in /proc/self/fd.
 *
 * Limits: inodes by the guest's memory (fs_inodes_limit), fds_max descriptors, FS_DEPTH_MAX cold folders above one another. Memory:
 * about 200 bytes and the name for each inode. None is given up while the guest may name it: Linux would take the answer to the
 * next LOOKUP for another file, and unmount what is mounted there.
 */
#include "virtio/fs_inode.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "virtio/fs_handle.h"
#include "virtio/fs_proto.h"

#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000u
#endif
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000u
#endif

#define BUCKETS_MIN 64u
#define HOT_MAX 1024u /* descriptors worth keeping: opening one again costs two system calls */

/* ---- hashes ---- */

static uint64_t mix(uint64_t a, uint64_t b)
{
	__uint128_t m = (__uint128_t)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint32_t hash_key(const struct fs_inodes *t, const struct fs_key *key)
{
	uint64_t h = mix(key->ino ^ t->seed[0], key->dev ^ t->seed[1]);

	return (uint32_t)mix(h ^ t->seed[1], key->mnt ^ t->seed[0]);
}

static uint32_t hash_name(const struct fs_inodes *t, const struct fs_inode *parent, const char *name, size_t len)
{
	uint64_t h = parent->nodeid ^ t->seed[0], word;

	for (; len > 0; name += sizeof(word), len -= sizeof(word)) {
		if (len < sizeof(word)) {
			word = len << 56;
			memcpy(&word, name, len);
			return (uint32_t)mix(h ^ word, t->seed[1]);
		}
		memcpy(&word, name, sizeof(word));
		h = mix(h ^ word, t->seed[1]);
	}
	return (uint32_t)mix(h, t->seed[1]);
}

static struct fs_inode **key_bucket(const struct fs_inodes *t, const struct fs_key *key)
{
	return &t->by_key[hash_key(t, key) & (t->n_buckets - 1)];
}

static struct fs_inode **name_bucket(const struct fs_inodes *t, uint32_t hash)
{
	return &t->by_name[hash & (t->n_buckets - 1)];
}

static struct fs_inode *find_name(
	const struct fs_inodes *t, const struct fs_inode *parent, const char *name, uint32_t hash)
{
	struct fs_inode *p = *name_bucket(t, hash);

	while (p && (p->name_hash != hash || p->parent != parent || !str_eq(p->name, name)))
		p = p->name_next;
	return p;
}

static void unhash_key(struct fs_inodes *t, struct fs_inode *ino)
{
	struct fs_inode **p = key_bucket(t, &ino->key);

	while (*p && *p != ino)
		p = &(*p)->key_next;
	if (*p)
		*p = ino->key_next;
	ino->key_next = NULL;
}

static void unhash_name(struct fs_inodes *t, struct fs_inode *ino)
{
	struct fs_inode **p = name_bucket(t, ino->name_hash);

	while (*p != ino)
		p = &(*p)->name_next;
	*p = ino->name_next;
	ino->name_next = NULL;
}

/* Twice the buckets once there are more inodes than buckets. Without memory the chains just grow. */
static void grow_buckets(struct fs_inodes *t)
{
	struct fs_inode **old_key = t->by_key, **old_name = t->by_name, **key, **name;
	uint32_t n_old = t->n_buckets, n = n_old * 2;

	if (t->slots.n <= n_old)
		return;
	key = calloc(n, sizeof(struct fs_inode *));
	name = calloc(n, sizeof(struct fs_inode *));
	if (!key || !name) {
		free(key);
		free(name);
		return;
	}
	t->by_key = key;
	t->by_name = name;
	t->n_buckets = n;
	for (uint32_t i = 0; i < n_old; i++) {
		for (struct fs_inode *p = old_key[i], *next; p; p = next) {
			struct fs_inode **b = key_bucket(t, &p->key);

			next = p->key_next;
			p->key_next = *b;
			*b = p;
		}
		for (struct fs_inode *p = old_name[i], *next; p; p = next) {
			struct fs_inode **b = name_bucket(t, p->name_hash);

			next = p->name_next;
			p->name_next = *b;
			*b = p;
		}
	}
	free(old_key);
	free(old_name);
}

/* ---- places ---- */

static struct fs_key key_of(const struct statx *stx)
{
	return (struct fs_key){
		.dev = (uint64_t)stx->stx_dev_major << 32 | stx->stx_dev_minor,
		.ino = stx->stx_ino,
		.mnt = stx->stx_mnt_id,
	};
}

static uint64_t link_stamp(const struct statx *stx)
{
	return (uint64_t)stx->stx_mtime.tv_sec * 1000000000u + stx->stx_mtime.tv_nsec;
}

bool fs_inode_is(const struct fs_inode *ino, const struct statx *stx)
{
	struct fs_key key = key_of(stx);

	return memcmp(&ino->key, &key, sizeof(key)) == 0 && ino->type == (stx->stx_mode & S_IFMT) &&
	       (ino->type != S_IFLNK || ino->stamp == link_stamp(stx));
}

void fs_inode_touched(struct fs_inode *ino, const struct statx *stx)
{
	if (ino->type == S_IFLNK)
		ino->stamp = link_stamp(stx);
}

/* What is open stays so (pinned). */
void fs_inode_lose_place(struct fs_inodes *t, struct fs_inode *ino)
{
	struct fs_inode *parent = ino->parent;

	if (!parent)
		return;
	unhash_name(t, ino);
	free(ino->name);
	ino->name = NULL;
	ino->parent = NULL;
	fs_lru_remove(t, ino);
	fs_inode_unref(t, parent);
}

/*
 * Moves on the host, seen one after the other, could make a folder its own ancestor here. Then `parent`, which was just open,
 * loses its place; it gets a new one when it is looked up again.
 */
static void break_circle(struct fs_inodes *t, const struct fs_inode *ino, struct fs_inode *parent)
{
	unsigned depth = 0;

	if (ino->type != S_IFDIR || ino->refs <= 1)
		return; /* held by our caller alone: it has no children */
	for (const struct fs_inode *p = parent; p; p = p->parent)
		if (p == ino || ++depth > FS_DEPTH_MAX) {
			fs_inode_lose_place(t, parent);
			return;
		}
}

/* Without memory for the name the inode stays where it was, or without a place: it can still be looked up. */
static int set_place(struct fs_inodes *t, struct fs_inode *ino, struct fs_inode *parent, const char *name)
{
	size_t len = strlen(name);
	uint32_t hash = hash_name(t, parent, name, len);
	struct fs_inode *was = find_name(t, parent, name, hash), **bucket;
	char *copy;

	if (was == ino)
		return 0;
	copy = malloc(len + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, name, len + 1);
	fs_inode_ref(parent);
	if (was)
		fs_inode_lose_place(t, was);
	fs_inode_lose_place(t, ino);
	break_circle(t, ino, parent);
	ino->parent = parent;
	ino->name = copy;
	ino->name_hash = hash;
	bucket = name_bucket(t, hash);
	ino->name_next = *bucket;
	*bucket = ino;
	if (ino->fd >= 0)
		fs_lru_add(t, ino);
	return 0;
}

void fs_inode_keep(struct fs_inodes *t, struct fs_inode *dir, const char *name)
{
	struct fs_inode *ino = find_name(t, dir, name, hash_name(t, dir, name, strlen(name)));
	int r = 0;

	/* If it cannot be opened it will be stale for the guest, no worse. */
	if (ino && ino->nlookup > 0)
		r = fs_inode_fd(t, ino);
	(void)r;
}

void fs_inode_unlinked(struct fs_inodes *t, struct fs_inode *dir, const char *name)
{
	struct fs_inode *ino = find_name(t, dir, name, hash_name(t, dir, name, strlen(name)));

	if (ino)
		fs_inode_lose_place(t, ino);
}

void fs_inode_renamed(struct fs_inodes *t, struct fs_place from, struct fs_place to, bool exchange)
{
	struct fs_inode *src = find_name(t, from.dir, from.name, hash_name(t, from.dir, from.name, strlen(from.name)));
	struct fs_inode *dst = find_name(t, to.dir, to.name, hash_name(t, to.dir, to.name, strlen(to.name)));

	/* rename(2) of two names of one inode does nothing. */
	if (src && src == dst)
		return;
	/* Held, for they lose their places to each other; without memory for a name one may be left without. */
	if (src)
		fs_inode_ref(src);
	if (dst) {
		fs_inode_ref(dst);
		fs_inode_lose_place(t, dst);
	}
	if (src && set_place(t, src, to.dir, to.name) < 0)
		fs_inode_lose_place(t, src);
	if (dst && exchange)
		(void)set_place(t, dst, from.dir, from.name);
	if (src)
		fs_inode_unref(t, src);
	if (dst)
		fs_inode_unref(t, dst);
}

/* ---- life ---- */

void fs_inode_ref(struct fs_inode *ino)
{
	ino->refs++;
}

static void inode_free(struct fs_inodes *t, struct fs_inode *ino)
{
	fs_lru_remove(t, ino);
	if (ino->fd >= 0)
		fs_fd_close(t, ino->fd);
	unhash_key(t, ino);
	if (ino->nodeid != FUSE_ROOT_ID)
		fs_slots_remove(&t->slots, ino->nodeid);
	free(ino->name);
	free(ino);
}

void fs_inode_unref(struct fs_inodes *t, struct fs_inode *ino)
{
	/* A folder may be held by nothing but its last child. */
	while (ino) {
		struct fs_inode *parent = ino->parent;

		assert(ino->refs > 0);
		if (--ino->refs > 0)
			return;
		if (parent)
			unhash_name(t, ino);
		inode_free(t, ino);
		ino = parent;
	}
}

void fs_inode_forget(struct fs_inodes *t, struct fs_inode *ino, uint64_t n)
{
	if (ino == t->root || ino->nlookup == 0)
		return;
	ino->nlookup -= MIN_OF(n, ino->nlookup);
	if (ino->nlookup == 0)
		fs_inode_unref(t, ino);
}

struct fs_inode *fs_inode_get(struct fs_inodes *t, uint64_t nodeid)
{
	struct fs_inode *ino = nodeid == FUSE_ROOT_ID ? t->root : fs_slots_get(&t->slots, nodeid);

	return ino && ino->nlookup > 0 ? ino : NULL;
}

static struct fs_inode *inode_new(const struct statx *stx)
{
	struct fs_inode *ino = calloc(1, sizeof(*ino));

	if (!ino)
		return NULL;
	ino->key = key_of(stx);
	ino->type = stx->stx_mode & S_IFMT;
	ino->stamp = ino->type == S_IFLNK ? link_stamp(stx) : 0;
	ino->fd = -1;
	return ino;
}

/* The mounts of volumes lie on that of the root. */
static bool is_nested(const struct fs_inodes *t, const struct fs_inode *parent, const struct fs_key *key)
{
	return parent && (parent->nested || (parent->key.mnt != key->mnt && parent->key.mnt != t->root->key.mnt));
}

static int find_or_new(
	struct fs_inodes *t, const struct fs_inode *parent, const struct statx *stx, struct fs_inode **ret)
{
	struct fs_key key = key_of(stx);
	struct fs_inode *ino = *key_bucket(t, &key), **bucket;
	int r;

	while (ino && memcmp(&ino->key, &key, sizeof(key)) != 0)
		ino = ino->key_next;
	if (ino && fs_inode_is(ino, stx)) {
		*ret = ino;
		return 0;
	}
	/* The number was given to something else: the old inode, if anybody still holds it, can never be found again. */
	if (ino)
		unhash_key(t, ino);
	ino = inode_new(stx);
	if (!ino)
		return -ENOMEM;
	ino->nested = is_nested(t, parent, &key);
	r = fs_slots_add(&t->slots, ino, &ino->nodeid);
	if (r < 0) {
		free(ino);
		return r;
	}
	grow_buckets(t);
	bucket = key_bucket(t, &key);
	ino->key_next = *bucket;
	*bucket = ino;
	*ret = ino;
	return 0;
}

int fs_inode_enter(
	struct fs_inodes *t, struct fs_inode *parent, const char *name, const struct statx *stx, struct fs_inode **ret)
{
	struct fs_inode *ino;
	int r = find_or_new(t, parent, stx, &ino);

	if (r < 0)
		return r;
	fs_inode_ref(ino);
	if (parent && ino != t->root)
		r = set_place(t, ino, parent, name);
	if (r < 0) {
		fs_inode_unref(t, ino);
		return r;
	}
	if (ino->nlookup++ > 0)
		fs_inode_unref(t, ino);
	*ret = ino;
	return 0;
}

/* What the shared folder is, and which mount ids there are. */
static int stat_root(struct fs_inodes *t, int root_fd, struct statx *ret, struct err *err)
{
	int r;

	/* A kernel that knows the unique id says so in stx_mask; before that it leaves the bit out. */
	t->mnt_mask = STATX_MNT_ID_UNIQUE;
	r = fs_statx(t, root_fd, "", ret);
	if (r == 0 && !(ret->stx_mask & STATX_MNT_ID_UNIQUE)) {
		t->mnt_mask = STATX_MNT_ID;
		r = fs_statx(t, root_fd, "", ret);
	}
	if (r < 0)
		return err_set(err, -r, "virtio-fs: shared folder: %s", strerror(-r));
	if (!S_ISDIR(ret->stx_mode))
		return err_set(err, ENOTDIR, "virtio-fs: shared folder: not a folder");
	if (!(ret->stx_mask & t->mnt_mask))
		return err_set(err, ENOSYS, "virtio-fs: shared folder: statx gives no mount ids (Linux 5.8 is needed)");
	return 0;
}

int fs_inodes_init(struct fs_inodes *t, int root_fd, int proc_fd, unsigned fds_max, struct err *err)
{
	struct statx stx;
	int r;

	assert(fds_max >= 32);
	memset(t, 0, offsetof(struct fs_inodes, walk));
	t->proc_fd = proc_fd;
	t->fds_max = fds_max;
	t->hot_max = MIN_OF(fds_max / 2, HOT_MAX);
	t->lru.prev = t->lru.next = &t->lru;
	t->nested.prev = t->nested.next = &t->nested;
	fs_slots_init(&t->slots, FS_INODES_MIN);
	if (getrandom(t->seed, sizeof(t->seed), 0) != sizeof(t->seed))
		return err_errno(err, "virtio-fs: getrandom");
	t->seed[0] |= 1;
	t->seed[1] |= 1;
	r = stat_root(t, root_fd, &stx, err);
	if (r < 0)
		return r;
	t->n_buckets = BUCKETS_MIN;
	t->by_key = calloc(t->n_buckets, sizeof(struct fs_inode *));
	t->by_name = calloc(t->n_buckets, sizeof(struct fs_inode *));
	t->root = inode_new(&stx);
	if (!t->by_key || !t->by_name || !t->root) {
		free(t->root);
		t->root = NULL;
		fs_inodes_fini(t);
		return err_set(err, ENOMEM, "virtio-fs: shared folder: out of memory");
	}
	t->root->nodeid = FUSE_ROOT_ID;
	t->root->nlookup = t->root->refs = 1;
	t->root->fd = root_fd;
	t->n_fds = 1;
	*key_bucket(t, &t->root->key) = t->root;
	return 0;
}

void fs_inodes_limit(struct fs_inodes *t, uint64_t memory)
{
	uint64_t n = MAX_OF(memory >> 10, (uint64_t)t->slots.max);

	t->slots.max = (uint32_t)MIN_OF(n, (uint64_t)FS_SLOTS_MAX);
}

void fs_inodes_drop(struct fs_inodes *t)
{
	for (uint32_t i = 0; i < t->slots.cap; i++) {
		struct fs_inode *ino = t->slots.slots[i].obj;

		if (!ino)
			continue;
		assert(!ino->handles && !ino->plocks);
		/* Places first: then nobody holds anybody. */
		fs_inode_ref(ino);
		fs_inode_lose_place(t, ino);
		fs_inode_forget(t, ino, UINT64_MAX);
		fs_inode_unref(t, ino);
	}
	assert(t->slots.n == 0);
	fs_slots_fini(&t->slots);
}

void fs_inodes_fini(struct fs_inodes *t)
{
	if (t->root) {
		fs_inodes_drop(t);
		inode_free(t, t->root);
		t->root = NULL;
	}
	free(t->by_key);
	free(t->by_name);
	t->by_key = t->by_name = NULL;
}
