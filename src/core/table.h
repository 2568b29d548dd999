/* SPDX-License-Identifier: MIT */
/*
 * Rows of one size in a file in memory that can outlive us. Whoever reads it then finds each row whole, in
 * the form that it had before the instant of our death or after it: a row is never changed, but written
 * anew beside the former one, and ends with the one store that makes it valid.
 *
 * Knows nothing of what the rows say. A table that was not begun takes everything and keeps nothing.
 */
#ifndef CORE_TABLE_H
#define CORE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Begins each row. */
struct row_head {
	uint64_t seal;     /* of the rest of the row; 0: there is none */
	uint64_t sequence; /* of two rows about one thing, the one with the greater is the newer */
};

/* In front of the rows, at the beginning of the file. */
#define TABLE_HEAD_SIZE 4096u

struct table {
	int fd;     /* -1: it was not begun */
	char *head; /* mapped: TABLE_HEAD_SIZE bytes, which are its owner's, and the rows */
	uint32_t row_size;
	uint32_t rows; /* for so many there is room */
	uint32_t *free_rows;
	uint32_t n_free;
	uint64_t sequence;
};

/* Where something stands, embedded in it. */
struct row {
	struct table *table; /* NULL: nowhere */
	uint32_t index;
};

/* Not begun. */
void table_init(struct table *table);

/* `label` shows in /proc. Returns 0 or -errno, and then it is as not begun. */
int table_begin(struct table *table, const char *label, uint32_t row_size);
void table_fini(struct table *table);

/*
 * Writes a row of the table's size that begins with a struct row_head, which is filled here; `row` says
 * where it stands then, and what stood there before is gone. Returns 0, or -ENOMEM: it is as it was.
 */
int row_write(struct row *row, struct table *table, void *content);

/* Takes it out; nothing happens if it stands nowhere. */
void row_clear(struct row *row);

/* Whether a row that was read is one that was written. */
bool row_is_whole(const void *content, size_t size);

#endif
