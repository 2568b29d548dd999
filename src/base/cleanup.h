/* SPDX-License-Identifier: MIT */
/*
 * Locals that clean up after themselves, and the hand-over of what they own. An owner that goes out
 * of scope frees; `steal` passes ownership on.
 */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(function) __attribute__((cleanup(function)))

/* Defines what CLEANUP(name) calls for a local of `type`; `function` takes what is no owner, too. */
#define DEFINE_CLEANUP(type, function, name) \
	static inline void name(type *local) \
	{                                    \
		function(*local);            \
	}                                    \
	struct cleanup_needs_a_semicolon

/* Closes a descriptor unless it is negative, keeps errno, and returns -1. */
static inline int close_fd(int fd)
{
	if (fd >= 0) {
		int saved = errno;
		close(fd);
		errno = saved;
	}
	return -1;
}

static inline FILE *close_file(FILE *file)
{
	if (file)
		fclose(file);
	return NULL;
}

static inline void cleanup_free_p(void *local)
{
	free(*(void **)local);
}

static inline void cleanup_close_p(int *fd)
{
	close_fd(*fd);
}

static inline void cleanup_fclose_p(FILE **file)
{
	close_file(*file);
}

#define _cleanup_free_   CLEANUP(cleanup_free_p)
#define _cleanup_close_  CLEANUP(cleanup_close_p)
#define _cleanup_fclose_ CLEANUP(cleanup_fclose_p)

static inline int steal_fd(int *fd)
{
	int stolen = *fd;
	*fd = -1;
	return stolen;
}

#define steal_ptr(pointer)                                \
	({                                                \
		__typeof__(pointer) *where_ = &(pointer); \
		__typeof__(pointer) stolen_ = *where_;    \
		*where_ = NULL;                           \
		stolen_;                                  \
	})

#endif
