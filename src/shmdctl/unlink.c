/* SPDX-License-Identifier: MIT */
/*
 * shmdctl unlink: drops names, as many as it can.
 */
#include "shmdctl/command.h"

static int run(struct context *context)
{
	CLEANUP(cleanup_shmd) struct shmd *shmd = NULL;
	int r = context_option(context);

	if (r < 0 || context_connect(context, &shmd) < 0)
		return -1;
	for (char **name = context->operands; *name; name++)
		if (shmd_unlink(shmd, *name) < 0)
			r = context_refused(context);
	return r;
}

const struct command unlink_command = {
	.name = "unlink",
	.operands = "NAME...",
	.summary = "drop names",
	.min_operands = 1,
	.max_operands = -1,
	.run = run,
};
