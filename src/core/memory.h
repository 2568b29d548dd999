/* SPDX-License-Identifier: MIT */
/* The memory of a segment: a memfd, made so that no client can pull it away under another. */
#ifndef CORE_MEMORY_H
#define CORE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/refusal.h"

#define MEMORY_HUGE     (1u << 0)
#define MEMORY_SEALABLE (1u << 1) /* seals may be added, until memory_end_sealing() */

/*
 * Makes zeroed memory of exactly `size` bytes, of mode 0600, not executable, and sealed against
 * shrinking, growing and further seals. Huge pages are reserved, so that touching them cannot fail.
 *
 * Returns 0 and the descriptor of memfd_create(2), a refusal, or a negative errno.
 */
int memory_new(const char *label, uint64_t size, unsigned flags, int *ret_fd, struct refusal *why);

/* Makes memory of no bytes as shm_open(3) would: its users change its size and mode. The descriptor is an
 * ordinary one. Its mode is memfd_create(2)'s until memory_set_access(). `sealable`: memory_end_resizing() is to
 * follow. Returns 0 or a negative errno. */
int memory_new_posix(const char *label, bool sealable, int *ret_fd);
int memory_end_resizing(int fd);

/* Opens it for somebody as open(2) does, with its flags: the kernel decides whether they may. */
int memory_open(int fd, int flags);

/* Gives it its mode, and the group if we may. 0 or a negative errno. */
int memory_set_access(int fd, gid_t gid, mode_t mode);

/* Whether it is sealed against writing, by anybody, for ever. */
bool memory_is_sealed(int fd);

/* Nobody can seal it further from now on. Never blocks. Returns 0 or a negative errno. */
int memory_end_sealing(int fd);

/* Opens the same file once more, as a file description of its own, with its own access mode and its
 * own file locks. Returns the descriptor or a negative errno. */
int memory_reopen(int fd, bool read_only);

/* Opens it once more for writing and closes the first one, also where no descriptor is left: one is kept
 * for that. Returns 0, or -errno, and nothing has changed. */
int memory_exchange(int *fd);

/* Bytes that it has now, and its permission bits. 0 if that cannot be told. */
uint64_t memory_size(int fd);
mode_t memory_mode(int fd);

/* Bytes of the pages that a file really has; 0 if that cannot be told. */
uint64_t memory_allocated(int fd);

#endif
