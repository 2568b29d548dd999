/* SPDX-License-Identifier: MIT */
/*
 * Columns: one row for each fact about a kind of thing, from which tables, JSON, --output and --help
 * are made. Owns how a value is written for people and for programs; knows nothing of the daemon.
 */
#ifndef SHMDCTL_COLUMN_H
#define SHMDCTL_COLUMN_H

#include <stdbool.h>
#include <stddef.h>

struct json_object;

enum format {
	FORMAT_TEXT,     /* const char *; NULL or empty: none */
	FORMAT_NUMBER,   /* unsigned, 4 or 8 bytes wide; so are all that follow */
	FORMAT_PID,      /* 0: none */
	FORMAT_BYTES,    /* for people "1.5M", unless they ask for bytes */
	FORMAT_MS,       /* milliseconds; in JSON seconds, for people "3min 5s" */
	FORMAT_MODE,     /* "0600" */
	FORMAT_LIFETIME, /* enum shmd_lifetime */
	FORMAT_ACCESS,   /* 1: "read-only", 0: "read-write" */
	FORMAT_FLAG,     /* a boolean; for people "yes" and "no" */
};

struct column {
	const char *key;     /* in JSON; ends the table of columns where NULL */
	const char *heading; /* for people */
	const char *help;
	enum format format;
	bool extra; /* only when asked for, except in JSON */
	size_t offset;
	size_t width;
	enum format (*format_of)(const void *row); /* instead of `format` where rows differ */
	bool zero_is_none;                         /* of a number; always so with FORMAT_PID */
	bool most_is_none; /* of a number: the largest that the field has room for */
};

/* Where a column finds its value: `offset` and `width`. */
#define FIELD(type, member) offsetof(struct type, member), sizeof(((struct type *)0)->member)

/* The names of enum shmd_lifetime, NULL at the end. */
extern const char *const lifetime_names[];

/* The value for people, "-" for none; to be freed. NULL: no memory. */
char *column_text(const struct column *column, const void *row, bool bytes);

/* The value for programs; NULL is how json-c says null. */
struct json_object *column_json(const struct column *column, const void *row);

/* The column of that key or heading, whatever the case; NULL if there is none. */
const struct column *column_find(const struct column *columns, const char *name);

#endif
