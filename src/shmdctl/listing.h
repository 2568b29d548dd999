/* SPDX-License-Identifier: MIT */
/*
 * What commands that print one table have in common: their options, their connection and their
 * output; and the options of those that tell of one thing. Knows nothing of what is told.
 */
#ifndef SHMDCTL_LISTING_H
#define SHMDCTL_LISTING_H

#include "shmdctl/command.h"
#include "shmdctl/output.h"

struct listing {
	struct layout layout;
	struct table *table; /* to be filled */
	struct shmd *shmd;
};

/* The only option of a command that tells of one thing, and its reading: how to show that thing.
 * Returns as context_option(). */
extern const struct option_info layout_options[];
int layout_read(struct context *context, struct layout *layout);

/* The options of such a command, whose columns are those of its `struct command`. */
extern const struct option_info listing_options[];

/* Reads the options, and connects. Returns 0, or -1 when it has said why not. */
int listing_init(struct listing *listing, struct context *context);
void listing_fini(struct listing *listing);

/* Prints the table, or a JSON object with one array of that name. Returns as above. */
int listing_print(struct listing *listing, struct context *context, const char *key);

#endif
