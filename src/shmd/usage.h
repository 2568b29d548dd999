/* SPDX-License-Identifier: MIT */
/* What the daemon itself costs its machine. Cheap enough for everybody to ask. */
#ifndef SHMD_USAGE_H
#define SHMD_USAGE_H

#include <stdint.h>

/* Bytes of the heap in use, as the C library counts them; 0: it does not tell. */
uint64_t usage_heap(void);

/* Open descriptors; 0: the kernel does not tell (before Linux 6.2). */
uint64_t usage_descriptors(void);

#endif
