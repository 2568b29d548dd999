/* SPDX-License-Identifier: MIT */
/*
 * A binary heap of deadlines, earliest first. The items belong to whoever puts them in and carry
 * their place, so that one can be moved or taken out in logarithmic time.
 */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_item {
	uint64_t deadline; /* 0: not in the heap */
	size_t place;
};

struct heap {
	struct heap_item **items;
	size_t n;
	size_t room;
};

void heap_init(struct heap *heap);
void heap_fini(struct heap *heap);

/* Puts an item in, or moves it, to a deadline other than 0. Returns -ENOMEM, and then it is out. */
int heap_set(struct heap *heap, struct heap_item *item, uint64_t deadline);

/* Takes an item out, if it is in. */
void heap_remove(struct heap *heap, struct heap_item *item);

/* The item with the earliest deadline, or NULL. */
struct heap_item *heap_first(const struct heap *heap);

#endif
