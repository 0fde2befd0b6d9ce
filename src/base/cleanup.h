/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Scope-bound ownership. A variable marked auto_* owns what it names and releases it at the end of its scope, so it
 * must be initialised where it is declared. Ownership leaves the scope only by take_fd() or take_ptr().
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define must_check __attribute__((warn_unused_result))
#define printf_like(fmt_index, first_arg) __attribute__((format(printf, fmt_index, first_arg)))
#define cleanup_with(fn) __attribute__((cleanup(fn)))
#define unused_arg __attribute__((unused))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* The struct that holds `member` at `ptr`. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

#define auto_free cleanup_with(cleanup_free)
#define auto_close cleanup_with(cleanup_close)
#define auto_fclose cleanup_with(cleanup_fclose)

/* Defines <T>_freep for use as cleanup_with(<T>_freep) on a `struct T *`; <T>_free(NULL) must be a no-op. */
#define DEFINE_FREEP(T)                                                                                                \
	static inline void T##_freep(struct T **p)                                                                     \
	{                                                                                                              \
		T##_free(*p);                                                                                          \
	}                                                                                                              \
	struct T

/* Hands over the descriptor: returns it and leaves -1 behind. */
static inline int take_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

/* Closes the descriptor if there is one and leaves -1 behind. Safe to call twice. */
static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

/* Hands over the pointer: returns it and leaves NULL behind. */
#define take_ptr(p)                                                                                                    \
	__extension__({                                                                                                \
		__typeof__(p) taken_ = (p);                                                                            \
		(p) = NULL;                                                                                            \
		taken_;                                                                                                \
	})
