/* SPDX-License-Identifier: MIT */
/*
 * uthash, with a keyed hash and without exit(): names come from strangers, who must not be able to
 * choose names that all fall into one bucket, and a failed allocation must not end the daemon.
 *
 * Include this instead of <uthash.h>. After HASH_ADD, HASH_ADDED(hh, item) says whether it worked.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* SipHash-1-3 of `size` bytes under a key drawn once a process. */
uint64_t hash_bytes(const void *bytes, size_t size);

#define HASH_FUNCTION(key, length, value)                        \
	do {                                                     \
		(value) = (unsigned)hash_bytes((key), (length)); \
	} while (0)
#define HASH_NONFATAL_OOM 1

#include <uthash.h>

/* With HASH_NONFATAL_OOM, an item that could not be added has no table. */
#define HASH_ADDED(hh, item) ((item)->hh.tbl != NULL)

#endif
