/* SPDX-License-Identifier: MIT */
#include "base/heap.h"

#include <errno.h>
#include <stdlib.h>

void heap_init(struct heap *heap)
{
	*heap = (struct heap){0};
}

void heap_fini(struct heap *heap)
{
	free(heap->items);
	*heap = (struct heap){0};
}

static void put_at(struct heap *heap, size_t place, struct heap_item *item)
{
	heap->items[place] = item;
	item->place = place;
}

static void sift_up(struct heap *heap, struct heap_item *item)
{
	size_t place = item->place;

	while (place > 0) {
		size_t parent = (place - 1) / 2;
		if (heap->items[parent]->deadline <= item->deadline)
			break;
		put_at(heap, place, heap->items[parent]);
		place = parent;
	}
	put_at(heap, place, item);
}

static void sift_down(struct heap *heap, struct heap_item *item)
{
	size_t place = item->place;

	for (;;) {
		size_t child = 2 * place + 1;
		if (child >= heap->n)
			break;
		if (child + 1 < heap->n &&
		    heap->items[child + 1]->deadline < heap->items[child]->deadline)
			child++;
		if (item->deadline <= heap->items[child]->deadline)
			break;
		put_at(heap, place, heap->items[child]);
		place = child;
	}
	put_at(heap, place, item);
}

static int make_room(struct heap *heap)
{
	if (heap->n < heap->room)
		return 0;
	size_t room = heap->room ? 2 * heap->room : 16;
	struct heap_item **items = reallocarray(heap->items, room, sizeof(struct heap_item *));
	if (!items)
		return -ENOMEM;
	heap->items = items;
	heap->room = room;
	return 0;
}

int heap_set(struct heap *heap, struct heap_item *item, uint64_t deadline)
{
	if (!item->deadline) {
		int r = make_room(heap);
		if (r < 0)
			return r;
		put_at(heap, heap->n++, item);
	}
	item->deadline = deadline;
	sift_up(heap, item);
	sift_down(heap, item);
	return 0;
}

void heap_remove(struct heap *heap, struct heap_item *item)
{
	if (!item->deadline)
		return;
	struct heap_item *last = heap->items[--heap->n];
	if (last != item) {
		put_at(heap, item->place, last);
		sift_up(heap, last);
		sift_down(heap, last);
	}
	item->deadline = 0;
}

struct heap_item *heap_first(const struct heap *heap)
{
	return heap->n ? heap->items[0] : NULL;
}
