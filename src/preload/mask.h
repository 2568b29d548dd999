/* SPDX-License-Identifier: MIT */
/* The umask of a process with threads, who must not see it changed. */
#ifndef PRELOAD_MASK_H
#define PRELOAD_MASK_H

#include <sys/types.h>

/*
 * The permission bits that a file in /dev/shm would get which this thread created with that mode. Asks the
 * kernel to create one, without a name: umask(2) cannot be read without changing it. Returns 0; -EMFILE or
 * -ENFILE, as creating would; or another negative errno.
 */
int mask_apply(mode_t mode, mode_t *ret);

#endif
