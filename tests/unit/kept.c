/* SPDX-License-Identifier: MIT */
#include "kept.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"

#include "base/cleanup.h"

static char nothing;
struct pouch *const kept_pouch = (struct pouch *)&nothing;

static void put(struct kept *kept, const char *name, uint32_t key, int fd)
{
	ck_assert_uint_lt(kept->n, KEPT_MAX);
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	ck_assert_int_ge(copy, 0);
	kept->given[kept->n++] = (struct image_descriptor){copy, name, key};
}

void kept_put(struct kept *kept, const char *name, int fd)
{
	snprintf(kept->names[kept->n], sizeof(kept->names[0]), "%s", name);
	put(kept, kept->names[kept->n], 0, fd);
}

void kept_put_key(struct kept *kept, uint32_t key, int fd)
{
	put(kept, NULL, key, fd);
}

void kept_put_record(struct kept *kept, const struct registry *registry)
{
	const struct record *record = &registry->record;

	for (int i = 0; i < RECORD_TABLES; i++)
		kept_put(kept, image_record_name(record->epoch), record->tables[i].fd);
	kept_put(kept, IMAGE_LOCK_NAME, registry->instance.lock);
}

static void put_segment(struct kept *kept, const struct segment *segment)
{
	int fds[RECORD_DESCRIPTORS_MAX];
	unsigned n = record_descriptors(segment, fds);

	for (unsigned i = 0; i < n; i++)
		kept_put_key(kept, segment->keeping.key, fds[i]);
}

void kept_put_segments(struct kept *kept, struct registry *registry)
{
	struct record *record = &registry->record;
	const struct segment *segment;

	while (record->unstored)
		record_note_stored(record, record->unstored, kept_pouch);
	for (segment = registry->by_id; segment; segment = segment->by_id.next)
		put_segment(kept, segment);
}

struct image kept_read(struct kept *kept)
{
	struct image image;

	ck_assert_int_eq(image_read(&image, kept->given, kept->n), 0);
	return image;
}

void kept_close(struct kept *kept)
{
	while (kept->n > 0)
		close_fd(kept->given[--kept->n].fd);
}
