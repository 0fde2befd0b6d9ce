/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory that a front end shares is a list of file ranges. Each is mapped by itself, MAP_SHARED.
 *
 * The danger is SIGBUS: a page that is behind the end of the file when we touch it kills the process. So a range must
 * lie within the file when it is mapped, and the file must be a regular one (memfd, hugetlbfs, tmpfs). QEMU seals its
 * memfds against shrinking; such a range is safe for good. What is left: a front end that shares a file without
 * F_SEAL_SHRINK can truncate it later, and so can kill this process, which serves nothing but that front end's VM.
 *
 * Guest addresses are judged by guest_mem_add (overlap, wrap); front-end addresses only choose a guest address for the
 * rings, which is judged like any other, so overlaps among them are harmless.
 */
#include "virtio/vhost_user_mem.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ALIGN_MAX (UINT64_C(1) << 30)

static void unmap(struct vhost_user_mapping *map)
{
	if (map->map)
		(void)munmap(map->map, map->len);
	*map = (struct vhost_user_mapping){0};
}

/* What offsets and lengths are rounded to: a mapping of huge pages begins and ends with one. */
static uint64_t alignment(const struct stat *st)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), block = (uint64_t)st->st_blksize;

	return block > page && block <= ALIGN_MAX && (block & (block - 1)) == 0 ? block : page;
}

static int map_region(struct vhost_user_mapping *ret, const struct vhost_user_region *r, int fd, const struct stat *st,
	struct err *err)
{
	uint64_t align = alignment(st), start = r->offset & ~(align - 1), skip = r->offset - start;
	uint64_t len = (skip + r->size + align - 1) & ~(align - 1);
	void *p;

	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)start);
	if (p == MAP_FAILED)
		return err_errno(err, "map 0x%" PRIx64 " bytes of guest memory", len);
	/* Not in a core file, not in a child: the guest's secrets are not ours to spread. */
	(void)madvise(p, len, MADV_DONTDUMP);
	(void)madvise(p, len, MADV_DONTFORK);
	*ret = (struct vhost_user_mapping){
		.map = p, .len = len, .skip = skip, .dev = st->st_dev, .ino = st->st_ino, .region = *r};
	return 0;
}

static int check_region(const struct vhost_user_region *r, int fd, struct stat *ret_st, struct err *err)
{
	uint64_t end;

	if (r->size == 0 || __builtin_add_overflow(r->offset, r->size, &end) || end > INT64_MAX - ALIGN_MAX)
		return err_set(err, EINVAL,
			"guest memory at 0x%" PRIx64 ": bad size 0x%" PRIx64 " or offset 0x%" PRIx64, r->gpa, r->size,
			r->offset);
	if (fstat(fd, ret_st) < 0)
		return err_errno(err, "guest memory at 0x%" PRIx64 ": fstat", r->gpa);
	if (!S_ISREG(ret_st->st_mode))
		return err_set(err, EINVAL, "guest memory at 0x%" PRIx64 ": not a memory file", r->gpa);
	if (end > (uint64_t)ret_st->st_size)
		return err_set(err, EINVAL,
			"guest memory at 0x%" PRIx64 ": ends at byte 0x%" PRIx64 " of a file of 0x%" PRIx64, r->gpa,
			end, (uint64_t)ret_st->st_size);
	return 0;
}

/* The mapping of the table in force that has the same guest address and the same part of the same file, or NULL. */
static struct vhost_user_mapping *find_same(
	struct vhost_user_mem *m, const struct vhost_user_region *r, const struct stat *st)
{
	for (unsigned i = 0; i < m->n; i++) {
		struct vhost_user_mapping *old = &m->mappings[i];

		if (old->dev == st->st_dev && old->ino == st->st_ino && old->region.gpa == r->gpa &&
			old->region.size == r->size && old->region.offset == r->offset)
			return old;
	}
	return NULL;
}

/* A new table in the making. */
struct draft {
	struct vhost_user_mem *m; /* the table in force */
	struct guest_mem gm;
	unsigned n;
	struct vhost_user_mapping mappings[GUEST_MEM_REGIONS_MAX];
	struct vhost_user_mapping
		*old[GUEST_MEM_REGIONS_MAX]; /* taken over from there, or NULL: mapped for the draft */
};

static int draft_add(struct draft *d, const struct vhost_user_region *r, int fd, struct err *err)
{
	struct vhost_user_mapping *map = &d->mappings[d->n];
	struct stat st;
	int ret;

	ret = check_region(r, fd, &st, err);
	if (ret < 0)
		return ret;
	d->old[d->n] = find_same(d->m, r, &st);
	if (d->old[d->n]) {
		*map = *d->old[d->n];
		map->region.uva = r->uva;
	} else {
		ret = map_region(map, r, fd, &st, err);
		if (ret < 0)
			return ret;
	}
	d->n++;
	/* Refuses the same old mapping twice, too: its guest addresses would overlap. */
	return guest_mem_add(&d->gm, r->gpa, r->size, (uint8_t *)map->map + map->skip, err);
}

int vhost_user_mem_set(
	struct vhost_user_mem *m, const struct vhost_user_region *regions, unsigned n, const int *fds, struct err *err)
{
	struct draft d = {.m = m};
	int r = 0;

	assert(m->n_retired == 0 && n <= GUEST_MEM_REGIONS_MAX);
	for (unsigned i = 0; i < n && r == 0; i++)
		r = draft_add(&d, &regions[i], fds[i], err);
	if (r < 0) {
		for (unsigned i = 0; i < d.n; i++)
			if (!d.old[i])
				unmap(&d.mappings[i]);
		return r;
	}
	for (unsigned i = 0; i < d.n; i++)
		if (d.old[i])
			d.old[i]->map = NULL;
	for (unsigned i = 0; i < m->n; i++)
		if (m->mappings[i].map)
			m->retired[m->n_retired++] = m->mappings[i];
	memcpy(m->mappings, d.mappings, sizeof(m->mappings));
	m->n = d.n;
	m->gm = d.gm;
	return 0;
}

void vhost_user_mem_release(struct vhost_user_mem *m)
{
	while (m->n_retired > 0)
		unmap(&m->retired[--m->n_retired]);
}

void vhost_user_mem_fini(struct vhost_user_mem *m)
{
	vhost_user_mem_release(m);
	while (m->n > 0)
		unmap(&m->mappings[--m->n]);
	m->gm = (struct guest_mem){0};
}

bool vhost_user_mem_gpa(const struct vhost_user_mem *m, uint64_t uva, gpa_t *ret)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct vhost_user_region *r = &m->mappings[i].region;

		/* uva + size may wrap, the difference does not mislead: it is below size only inside. */
		if (uva >= r->uva && uva - r->uva < r->size) {
			*ret = r->gpa + (uva - r->uva);
			return true;
		}
	}
	return false;
}

void vhost_user_mem_drop_rss(struct vhost_user_mem *m)
{
	for (unsigned i = 0; i < m->n; i++)
		(void)madvise(m->mappings[i].map, m->mappings[i].len, MADV_DONTNEED);
}
