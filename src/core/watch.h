/* SPDX-License-Identifier: MIT */
/*
 * Word from the kernel that somebody closed, or last unmapped, a file: one inotify instance with a
 * watch on each segment that is waiting to become unused. Owns the instance; not the items.
 */
#ifndef CORE_WATCH_H
#define CORE_WATCH_H

#include <stdbool.h>

#include "base/hash.h"

struct watch_item;
typedef void watch_fn(struct watch_item *item, void *context);

struct watch_item {
	int wd;       /* 0: not watched */
	watch_fn *fn; /* what to call when something happened to it */
	UT_hash_handle hh;
};

struct watch {
	int fd; /* readable when there is word; -1: this kernel gave us no instance */
	struct watch_item *items;
	int folder; /* the watch on it; 0: none */
};

/* Returns 0, or a negative errno; the watch can be used all the same, and watches nothing. */
int watch_init(struct watch *watch);
void watch_fini(struct watch *watch);

/* Watches the file behind a descriptor for closes, which are told to fn. Returns 0 or a negative errno. */
int watch_add(struct watch *watch, struct watch_item *item, int fd, watch_fn *fn);
void watch_remove(struct watch *watch, struct watch_item *item);

/* Watches a folder for closes of files in it that were open for writing and still have their name:
 * one watch for them all, and none to be made and ended with each of them. 0 or a negative errno. */
int watch_add_folder(struct watch *watch, int folder);

/* A file of the folder was closed; NULL: it may have been any. */
typedef void watch_name_fn(const char *name, void *context);

/* Reads what has come and calls the function of each item that something happened to, at least once,
 * and on_name for files of the folder; for all of them if the kernel lost some word. A function may
 * remove its own item. Never blocks. */
void watch_read(struct watch *watch, watch_name_fn *on_name, void *context);

#endif
