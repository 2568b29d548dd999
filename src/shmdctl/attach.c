/* SPDX-License-Identifier: MIT */
/*
 * shmdctl attach: stays attached to a segment that exists.
 */
#include "shmdctl/hold.h"

enum { OPTION_READ_ONLY = OPTION_LONG };

static const struct option_info options[] = {
	{"read-only", OPTION_READ_ONLY, NULL, "attach for reading only"},
	{0},
};

static int run(struct context *context)
{
	CLEANUP(cleanup_shmd) struct shmd *shmd = NULL;
	CLEANUP(cleanup_segment) struct shmd_segment *segment = NULL;
	int flags = 0;
	int option;

	while ((option = context_option(context)) > 0)
		flags = SHMD_READ_ONLY;
	if (option < 0 || context_connect(context, &shmd) < 0)
		return -1;
	if (shmd_attach(shmd, context->operands[0], flags, &segment) < 0)
		return context_refused(context);
	return hold_segment(context, segment);
}

const struct command attach_command = {
	.name = "attach",
	.operands = "NAME",
	.summary = "stay attached until end of input or a signal",
	.options = options,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
