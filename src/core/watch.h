/* SPDX-License-Identifier: MIT */
/*
 * Word from the kernel that somebody closed, or last unmapped, a file: one inotify instance with a
 * watch on each segment that is waiting to become unused. Owns the instance; not the items.
 */
#ifndef CORE_WATCH_H
#define CORE_WATCH_H

#include <stdbool.h>

#include "base/hash.h"

struct watch_item {
	int wd; /* 0: not watched */
	UT_hash_handle hh;
};

struct watch {
	int fd; /* readable when there is word; -1: this kernel gave us no instance */
	struct watch_item *items;
};

typedef void watch_fn(struct watch_item *item, void *context);

/* Returns 0, or a negative errno; the watch can be used all the same, and watches nothing. */
int watch_init(struct watch *watch);
void watch_fini(struct watch *watch);

/* Watches the file behind a descriptor for closes. Returns 0 or a negative errno. */
int watch_add(struct watch *watch, struct watch_item *item, int fd);
void watch_remove(struct watch *watch, struct watch_item *item);

/* Reads what has come and calls fn for each item that something happened to, at least once; for all
 * of them if the kernel lost some word. fn may remove its own item. Never blocks. */
void watch_read(struct watch *watch, watch_fn *fn, void *context);

#endif
