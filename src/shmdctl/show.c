/* SPDX-License-Identifier: MIT */
/*
 * shmdctl show: everything about one segment. Owns the columns of its attachments, permits and holders.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "shmdctl/command.h"
#include "shmdctl/list.h"
#include "shmdctl/listing.h"
#include "shmdctl/output.h"

#define ATTACHMENT(member) FIELD(shmd_attachment_info, member)

static const struct column attachment_columns[] = {
	{"pid", "PID", "", FORMAT_PID, false, ATTACHMENT(pid)},
	{"uid", "UID", "", FORMAT_NUMBER, false, ATTACHMENT(uid)},
	{"command", "COMMAND", "", FORMAT_TEXT, false, ATTACHMENT(command)},
	{"access", "ACCESS", "", FORMAT_ACCESS, false, ATTACHMENT(read_only)},
	{0},
};

struct permits {
	uint64_t total;
	uint64_t available;
};

static const struct column permit_columns[] = {
	{"total", "PERMITS", "", FORMAT_NUMBER, false, FIELD(permits, total)},
	{"available", "AVAILABLE", "", FORMAT_NUMBER, false, FIELD(permits, available)},
	{0},
};

#define HOLDER(member) FIELD(shmd_holder_info, member)

static const struct column holder_columns[] = {
	{"pid", "PID", "", FORMAT_PID, false, HOLDER(pid)},
	{"uid", "UID", "", FORMAT_NUMBER, false, HOLDER(uid)},
	{"command", "COMMAND", "", FORMAT_TEXT, false, HOLDER(command)},
	{"permits", "HOLDS", "", FORMAT_NUMBER, false, HOLDER(permits)},
	{"until_exit", "UNTIL EXIT", "", FORMAT_FLAG, false, HOLDER(until_exit)},
	{0},
};

#define DETAILS(member) FIELD(shmd_details, member)

static const struct column old_columns[] = {
	{"count", "OLD GENERATIONS", "", FORMAT_NUMBER, false, DETAILS(old_generations)},
	{"bytes", "OLD BYTES", "", FORMAT_BYTES, false, DETAILS(old_bytes)},
	{0},
};

DEFINE_CLEANUP(struct shmd_details *, shmd_details_free, cleanup_details);

static int print_json(const struct shmd_details *details, const struct permits *permits,
		      struct table *attachments, struct table *holders)
{
	struct json_object *object = row_json(segment_columns, details->segment);

	if (!object)
		return -ENOMEM;
	json_object_object_add(object, "permits",
			       permits ? row_json(permit_columns, permits) : NULL);
	json_object_object_add(object, "old_generations", row_json(old_columns, details));
	json_object_object_add(object, "attachments", table_json(attachments));
	json_object_object_add(object, "holders", table_json(holders));
	return json_print(object);
}

/* A table with nothing in it is not shown. */
static int print_section(struct table *table, size_t n)
{
	if (n == 0)
		return 0;
	putchar('\n');
	return table_print(table, NULL);
}

static int print_text(const struct shmd_details *details, const struct permits *permits,
		      struct table *attachments, struct table *holders, const struct layout *layout)
{
	const struct facts facts[] = {
		{segment_columns, details->segment},
		{permits ? permit_columns : old_columns, permits ? (const void *)permits : details},
		{permits ? old_columns : NULL, details},
		{NULL, NULL},
	};
	int r = facts_print(facts, layout);

	if (r == 0)
		r = print_section(attachments, details->n_attachments);
	return r < 0 ? r : print_section(holders, details->n_holders);
}

static int print(const struct shmd_details *details, const struct layout *layout)
{
	CLEANUP(cleanup_table) struct table *attachments = NULL;
	CLEANUP(cleanup_table) struct table *holders = NULL;
	struct permits permits = {
		.total = details->segment->permits,
		.available = (uint64_t)details->permits_available,
	};
	const struct permits *known = details->permits_available < 0 ? NULL : &permits;
	int r = table_fill(&attachments, attachment_columns, layout,
			   (void *const *)details->attachments, details->n_attachments);

	if (r == 0)
		r = table_fill(&holders, holder_columns, layout, (void *const *)details->holders,
			       details->n_holders);
	if (r < 0)
		return r;
	if (layout->json)
		return print_json(details, known, attachments, holders);
	return print_text(details, known, attachments, holders, layout);
}

static int run(struct context *context)
{
	CLEANUP(cleanup_shmd) struct shmd *shmd = NULL;
	CLEANUP(cleanup_details) struct shmd_details *details = NULL;
	struct layout layout = {0};

	if (layout_read(context, &layout) < 0 || context_connect(context, &shmd) < 0)
		return -1;
	if (shmd_show(shmd, context->operands[0], &details) < 0)
		return context_refused(context);
	int r = print(details, &layout);
	return r < 0 ? context_fail(context, "%s", strerror(-r)) : 0;
}

const struct command show_command = {
	.name = "show",
	.operands = "NAME",
	.summary = "tell everything about one segment",
	.options = layout_options,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
