/* SPDX-License-Identifier: MIT */
/*
 * shmdctl status: the daemon itself. Owns the columns of its totals, counters and limits.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "shmdctl/command.h"
#include "shmdctl/listing.h"
#include "shmdctl/output.h"

#define STATUS(member) FIELD(shmd_status, member)

static const struct column columns[] = {
	{"version", "VERSION", "", FORMAT_TEXT, false, STATUS(version)},
	{"pid", "PID", "", FORMAT_PID, false, STATUS(pid)},
	{"uptime_s", "UPTIME", "", FORMAT_MS, false, STATUS(uptime_ms)},
	{"clients", "CLIENTS", "", FORMAT_NUMBER, false, STATUS(clients)},
	{"segments", "SEGMENTS", "", FORMAT_NUMBER, false, STATUS(segments)},
	{"bytes", "BYTES", "", FORMAT_BYTES, false, STATUS(bytes)},
	{"heap_bytes", "HEAP", "", FORMAT_BYTES, false, STATUS(heap_bytes), .zero_is_none = true},
	{"descriptors", "DESCRIPTORS", "", FORMAT_NUMBER, false, STATUS(descriptors),
	 .zero_is_none = true},
	{"degraded", "DEGRADED", "", FORMAT_TEXT, false, STATUS(degraded)},
	{0},
};

static const struct column counter_columns[] = {
	{"name", "COUNTER", "", FORMAT_TEXT, false, FIELD(shmd_counter, name)},
	{"value", "VALUE", "", FORMAT_NUMBER, false, FIELD(shmd_counter, value)},
	{0},
};

static enum format limit_format(const void *row)
{
	const struct shmd_limit *limit = row;

	return strncmp(limit->name, "bytes", 5) == 0 ? FORMAT_BYTES : FORMAT_NUMBER;
}

static const struct column limit_columns[] = {
	{"name", "LIMIT", "", FORMAT_TEXT, false, FIELD(shmd_limit, name)},
	{"value", "VALUE", "", FORMAT_NUMBER, false, FIELD(shmd_limit, value), limit_format},
	{"use", "USE", "", FORMAT_NUMBER, false, FIELD(shmd_limit, use), limit_format},
	{0},
};

DEFINE_CLEANUP(struct shmd_status *, shmd_status_free, cleanup_status);

static struct json_object *counters_json(const struct shmd_status *status)
{
	struct json_object *object = json_object_new_object();

	for (size_t i = 0; object && i < status->n_counters; i++)
		json_object_object_add(object, status->counters[i]->name,
				       json_object_new_uint64(status->counters[i]->value));
	return object;
}

static int print_json(const struct shmd_status *status, struct table *limits)
{
	struct json_object *object = row_json(columns, status);

	if (!object)
		return -ENOMEM;
	json_object_object_add(object, "counters", counters_json(status));
	json_object_object_add(object, "limits", table_json(limits));
	return json_print(object);
}

static int print_text(const struct shmd_status *status, struct table *limits,
		      const struct layout *layout)
{
	CLEANUP(cleanup_table) struct table *counters = NULL;
	const struct facts facts[] = {{columns, status}, {NULL, NULL}};
	int r = table_fill(&counters, counter_columns, layout, (void *const *)status->counters,
			   status->n_counters);

	if (r == 0)
		r = facts_print(facts, layout);
	if (r < 0)
		return r;
	putchar('\n');
	r = table_print(counters, NULL);
	putchar('\n');
	return r < 0 ? r : table_print(limits, NULL);
}

static int print(const struct shmd_status *status, const struct layout *layout)
{
	CLEANUP(cleanup_table) struct table *limits = NULL;
	int r = table_fill(&limits, limit_columns, layout, (void *const *)status->limits,
			   status->n_limits);

	if (r < 0)
		return r;
	return layout->json ? print_json(status, limits) : print_text(status, limits, layout);
}

static int run(struct context *context)
{
	CLEANUP(cleanup_shmd) struct shmd *shmd = NULL;
	CLEANUP(cleanup_status) struct shmd_status *status = NULL;
	struct layout layout = {0};

	if (layout_read(context, &layout) < 0 || context_connect(context, &shmd) < 0)
		return -1;
	if (shmd_status(shmd, &status) < 0)
		return context_refused(context);
	int r = print(status, &layout);
	return r < 0 ? context_fail(context, "%s", strerror(-r)) : 0;
}

const struct command status_command = {
	.name = "status",
	.operands = "",
	.summary = "tell about the daemon: totals, counters, limits",
	.options = layout_options,
	.run = run,
};
