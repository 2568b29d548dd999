/* SPDX-License-Identifier: MIT */
#include "shmdctl/listing.h"

#include <errno.h>
#include <string.h>

enum { OPTION_NO_HEADINGS = OPTION_LONG };

const struct option_info listing_options[] = {
	OPTION_BYTES,
	{"output", 'o', "COLUMNS", "print these columns, separated by commas"},
	{"noheadings", OPTION_NO_HEADINGS, NULL, "print no headings"},
	{0},
};

const struct option_info layout_options[] = {OPTION_BYTES, {0}};

int layout_read(struct context *context, struct layout *layout)
{
	int option;

	while ((option = context_option(context)) > 0)
		layout->bytes = true;
	layout->json = context->json;
	return option;
}

static int parse(struct context *context, struct layout *layout)
{
	int option;

	while ((option = context_option(context)) > 0) {
		switch (option) {
		case 'b':
			layout->bytes = true;
			break;
		case 'o':
			layout->columns = optarg;
			break;
		case OPTION_NO_HEADINGS:
			layout->no_headings = true;
			break;
		}
	}
	layout->json = context->json;
	return option;
}

int listing_init(struct listing *listing, struct context *context)
{
	if (parse(context, &listing->layout) < 0)
		return -1;
	int r = table_new(&listing->table, context->command->columns, &listing->layout);
	if (r == -EINVAL)
		return context_usage(context, "unknown column in '%s'", listing->layout.columns);
	if (r < 0)
		return context_fail(context, "%s", strerror(-r));
	return context_connect(context, &listing->shmd);
}

void listing_fini(struct listing *listing)
{
	listing->table = table_free(listing->table);
	listing->shmd = shmd_disconnect(listing->shmd);
}

int listing_print(struct listing *listing, struct context *context, const char *key)
{
	int r = table_print(listing->table, key);

	return r < 0 ? context_fail(context, "%s", strerror(-r)) : 0;
}
