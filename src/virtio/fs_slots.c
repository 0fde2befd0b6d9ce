/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/fs_slots.h"

#include <assert.h>
#include <errno.h>

#define INDEX_BITS 20
#define CAP_MIN 64u

_Static_assert(FS_SLOTS_MAX == 1u << INDEX_BITS, "an index fits into an id");

static uint32_t index_of(uint64_t id)
{
	return id & (FS_SLOTS_MAX - 1);
}

void fs_slots_init(struct fs_slots *s, uint32_t max)
{
	assert(max <= FS_SLOTS_MAX);
	*s = (struct fs_slots){.max = max};
}

void fs_slots_fini(struct fs_slots *s)
{
	free(s->slots);
	fs_slots_init(s, s->max);
}

static int grow(struct fs_slots *s)
{
	uint32_t cap = s->cap ? s->cap * 2 : CAP_MIN;
	struct fs_slot *slots;

	if (cap > s->max)
		cap = s->max;
	if (cap == s->cap)
		return -ENFILE;
	slots = reallocarray(s->slots, cap, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	for (uint32_t i = cap; i-- > s->cap;) {
		slots[i] = (struct fs_slot){.id = s->free};
		s->free = i + 1;
	}
	s->slots = slots;
	s->cap = cap;
	return 0;
}

int fs_slots_add(struct fs_slots *s, void *obj, uint64_t *ret_id)
{
	struct fs_slot *slot;
	uint32_t index;

	if (!s->free) {
		int r = grow(s);

		if (r < 0)
			return r;
	}
	index = s->free - 1;
	slot = &s->slots[index];
	s->free = (uint32_t)slot->id;
	slot->obj = obj;
	slot->id = ++s->count << INDEX_BITS | index;
	s->n++;
	*ret_id = slot->id;
	return 0;
}

void *fs_slots_get(const struct fs_slots *s, uint64_t id)
{
	uint32_t i = index_of(id);

	/* The id of a free place is less than 2^20 + 1, and so never what a guest was given; obj is NULL there anyway. */
	return i < s->cap && s->slots[i].id == id ? s->slots[i].obj : NULL;
}

void fs_slots_remove(struct fs_slots *s, uint64_t id)
{
	uint32_t i = index_of(id);

	assert(fs_slots_get(s, id));
	s->slots[i] = (struct fs_slot){.id = s->free};
	s->free = i + 1;
	s->n--;
}
