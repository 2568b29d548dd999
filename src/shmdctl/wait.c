/* SPDX-License-Identifier: MIT */
/*
 * shmdctl wait: returns when a name exists, or is newer than a generation, and prints its generation.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "base/parse.h"
#include "shmdctl/command.h"

static const struct option_info options[] = {
	{"newer-than", 'n', "GENERATION", "wait for one that is newer"},
	{"timeout", 't', "SECONDS", "fail if it does not come for that long"},
	{0},
};

struct request {
	uint64_t newer_than;
	int timeout_ms;
};

static int parse_option(struct context *context, int option, struct request *request)
{
	uint64_t ms;

	if (option == 'n') {
		if (parse_u64(optarg, &request->newer_than) < 0)
			return context_usage(context, "'%s' is no generation", optarg);
		return 0;
	}
	if (parse_duration_ms(optarg, &ms) < 0 || ms > INT_MAX)
		return context_usage(context, "'%s' is no number of seconds up to 24 days", optarg);
	request->timeout_ms = (int)ms;
	return 0;
}

static int parse(struct context *context, struct request *request)
{
	int option;

	while ((option = context_option(context)) > 0)
		if (parse_option(context, option, request) < 0)
			return -1;
	return option;
}

static int run(struct context *context)
{
	CLEANUP(cleanup_shmd) struct shmd *shmd = NULL;
	CLEANUP(cleanup_segment) struct shmd_segment *segment = NULL;
	struct request request = {.timeout_ms = -1};

	if (parse(context, &request) < 0 || context_connect(context, &shmd) < 0)
		return -1;
	if (shmd_wait(shmd, context->operands[0], request.newer_than, request.timeout_ms,
		      SHMD_READ_ONLY, &segment) < 0)
		return context_refused(context);
	printf("%" PRIu64 "\n", shmd_segment_generation(segment));
	return 0;
}

const struct command wait_command = {
	.name = "wait",
	.operands = "NAME",
	.summary = "wait for a name, or for a newer generation of it",
	.options = options,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
