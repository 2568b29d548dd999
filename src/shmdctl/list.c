/* SPDX-License-Identifier: MIT */
/*
 * shmdctl list: the segments that the caller may see. Owns the columns of a segment.
 */
#include "shmdctl/list.h"

#include "shmdctl/listing.h"

#define SEGMENT(member) FIELD(shmd_segment_info, member)

const struct column segment_columns[] = {
	{"id", "ID", "the number of the segment", FORMAT_NUMBER, true, SEGMENT(id)},
	{"name", "NAME", "its name, unless anonymous or dropped", FORMAT_TEXT, false,
	 SEGMENT(name)},
	{"size", "SIZE", "bytes, as asked for", FORMAT_BYTES, false, SEGMENT(size)},
	{"allocated", "ALLOCATED", "bytes of the pages that it has", FORMAT_BYTES, false,
	 SEGMENT(allocated)},
	{"uid", "UID", "the user who owns it", FORMAT_NUMBER, false, SEGMENT(uid)},
	{"gid", "GID", "its group", FORMAT_NUMBER, true, SEGMENT(gid)},
	{"mode", "MODE", "permission bits", FORMAT_MODE, false, SEGMENT(mode)},
	{"lifetime", "LIFETIME", "what ends it", FORMAT_LIFETIME, false, SEGMENT(lifetime)},
	{"linger_s", "LINGER", "how long it stays after its end", FORMAT_MS, true,
	 SEGMENT(linger_ms)},
	{"clients", "CLIENTS", "connections that have it attached", FORMAT_NUMBER, false,
	 SEGMENT(clients)},
	{"semaphore", "SEMAPHORE", "the name of its semaphore", FORMAT_TEXT, true,
	 SEGMENT(semaphore)},
	{"sealed", "SEALED", "whether nobody can write to it", FORMAT_FLAG, true, SEGMENT(sealed)},
	{"unsealed", "UNSEALED", "whether its users may change its size (of the preload shim)",
	 FORMAT_FLAG, true, SEGMENT(unsealed)},
	{"dropped", "DROPPED", "whether its name is gone and its memory in use", FORMAT_FLAG, true,
	 SEGMENT(dropped)},
	{"lingering", "LINGERING", "whether it has ended and waits to be picked up", FORMAT_FLAG,
	 true, SEGMENT(lingering)},
	{"age_s", "AGE", "time since it was created", FORMAT_MS, false, SEGMENT(age_ms)},
	{0},
};

static int add_segment(const struct shmd_segment_info *info, void *table)
{
	return table_add(table, info);
}

static int run(struct context *context)
{
	CLEANUP(listing_fini) struct listing listing = {0};

	if (listing_init(&listing, context) < 0)
		return -1;
	if (shmd_list(listing.shmd, context->operands[0], add_segment, listing.table) < 0)
		return context_refused(context);
	return listing_print(&listing, context, "segments");
}

const struct command list_command = {
	.name = "list",
	.operands = "[GLOB]",
	.summary = "list segments, all or those whose name matches",
	.options = listing_options,
	.columns = segment_columns,
	.max_operands = 1,
	.run = run,
};
