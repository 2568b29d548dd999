/* SPDX-License-Identifier: MIT */
/*
 * Facts on standard output: as tables for people (libsmartcols) or JSON for programs (json-c), both
 * from the same columns. Knows what the user asked for, and nothing of what the facts are.
 */
#ifndef SHMDCTL_OUTPUT_H
#define SHMDCTL_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "shmdctl/column.h"

/* How the user wants to see things. */
struct layout {
	bool json;
	bool bytes;          /* sizes to the byte */
	bool no_headings;    /* of tables */
	const char *columns; /* "NAME,SIZE"; NULL: the usual ones, in JSON all */
};

/* Many rows, and the columns of them that are shown. */
struct table;

/* Returns 0; -EINVAL: the layout wants a column that does not exist, or too many; -ENOMEM. */
int table_new(struct table **ret, const struct column *columns, const struct layout *layout);

/* Copies what it needs of the row. Returns 0 or -ENOMEM. */
int table_add(struct table *table, const void *row);

/* Makes a table of an array of pointers to rows. Returns as table_new(); *ret is the caller's also
 * when a row could not be added. */
int table_fill(struct table **ret, const struct column *columns, const struct layout *layout,
	       void *const *rows, size_t n_rows);

/* Prints the table, or as JSON an object with one array called `key`. Returns 0 or -ENOMEM. */
int table_print(struct table *table, const char *key);

/* The rows as a JSON array, which the caller owns, of a table whose layout is JSON. */
struct json_object *table_json(struct table *table);

struct table *table_free(struct table *table);
DEFINE_CLEANUP(struct table *, table_free, cleanup_table);

/* One row as a JSON object, which the caller owns. */
struct json_object *row_json(const struct column *columns, const void *row);

/* A row and what can be told of it. */
struct facts {
	const struct column *columns; /* ends an array of facts where NULL */
	const void *row;
};

/* One thing for people, a line for each column of all its facts. Returns 0 or -ENOMEM. */
int facts_print(const struct facts *facts, const struct layout *layout);

/* Print a JSON object and put it: in one line, or over many for people who look at it. */
int json_print_line(struct json_object *object);
int json_print(struct json_object *object);

#endif
