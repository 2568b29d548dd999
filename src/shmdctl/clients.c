/* SPDX-License-Identifier: MIT */
/*
 * shmdctl clients: the daemon's connections. Owns the columns of a client.
 */
#include "shmdctl/listing.h"

#define CLIENT(member) FIELD(shmd_client_info, member)

static const struct column columns[] = {
	{"id", "ID", "the number of the connection", FORMAT_NUMBER, false, CLIENT(id)},
	{"pid", "PID", "the process, where the daemon can see it", FORMAT_PID, false, CLIENT(pid)},
	{"uid", "UID", "its user", FORMAT_NUMBER, false, CLIENT(uid)},
	{"gid", "GID", "its group", FORMAT_NUMBER, true, CLIENT(gid)},
	{"command", "COMMAND", "its name", FORMAT_TEXT, false, CLIENT(command)},
	{"segments", "SEGMENTS", "segments that it has attached", FORMAT_NUMBER, false,
	 CLIENT(segments)},
	{"bytes", "BYTES", "the sizes of those", FORMAT_BYTES, false, CLIENT(bytes)},
	{"connected_s", "CONNECTED", "time since it connected", FORMAT_MS, false,
	 CLIENT(connected_ms)},
	{0},
};

static int add_client(const struct shmd_client_info *info, void *table)
{
	return table_add(table, info);
}

static int run(struct context *context)
{
	CLEANUP(listing_fini) struct listing listing = {0};

	if (listing_init(&listing, context) < 0)
		return -1;
	if (shmd_clients(listing.shmd, add_client, listing.table) < 0)
		return context_refused(context);
	return listing_print(&listing, context, "clients");
}

const struct command clients_command = {
	.name = "clients",
	.operands = "",
	.summary = "list clients of the daemon",
	.options = listing_options,
	.columns = columns,
	.run = run,
};
