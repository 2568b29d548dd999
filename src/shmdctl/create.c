/* SPDX-License-Identifier: MIT */
/*
 * shmdctl create: makes a segment. Owns the options of a new one, as a user writes them.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/parse.h"
#include "shmdctl/hold.h"

enum {
	OPTION_HOLD = OPTION_LONG,
	OPTION_HUGE,
	OPTION_LIFETIME,
	OPTION_LINGER,
	OPTION_MODE,
	OPTION_NO_SEMAPHORE,
	OPTION_PERMITS,
};

static const struct option_info options[] = {
	{"lifetime", OPTION_LIFETIME, "LIFETIME", "persistent (the default), owner or clients"},
	{"linger", OPTION_LINGER, "DURATION", "how long it stays after its end; implies clients"},
	{"mode", OPTION_MODE, "OCTAL", "permission bits, 0600 unless told otherwise"},
	{"permits", OPTION_PERMITS, "N", "the semaphore's first value, 1 unless told otherwise"},
	{"huge", OPTION_HUGE, NULL, "of huge pages"},
	{"no-semaphore", OPTION_NO_SEMAPHORE, NULL, "without a semaphore"},
	{"hold", OPTION_HOLD, NULL, "stay attached until end of input or a signal"},
	{0},
};

struct request {
	struct shmd_options options;
	uint64_t size;
	bool has_lifetime;
	bool hold;
};

static int parse_lifetime(struct context *context, struct request *request)
{
	for (int i = 0; lifetime_names[i]; i++)
		if (strcmp(optarg, lifetime_names[i]) == 0) {
			request->options.lifetime = (enum shmd_lifetime)i;
			request->has_lifetime = true;
			return 0;
		}
	return context_usage(context, "there is no lifetime '%s'", optarg);
}

static int parse_linger(struct context *context, struct request *request)
{
	uint64_t ms;

	/* Zero would quietly be none at all, and the segment persistent. */
	if (parse_duration_ms(optarg, &ms) < 0 || ms == 0 || ms > UINT_MAX)
		return context_usage(context, "'%s' is no duration from 1ms to 49 days", optarg);
	request->options.linger_ms = (unsigned)ms;
	return 0;
}

static int parse_permits(struct context *context, struct request *request)
{
	uint64_t permits;

	if (parse_u64(optarg, &permits) < 0 || permits < 1 || permits > INT_MAX)
		return context_usage(context, "'%s' is no number from 1 to %d", optarg, INT_MAX);
	request->options.permits = (unsigned)permits;
	return 0;
}

static int parse_option(struct context *context, struct request *request, int option)
{
	switch (option) {
	case OPTION_LIFETIME:
		return parse_lifetime(context, request);
	case OPTION_LINGER:
		return parse_linger(context, request);
	case OPTION_PERMITS:
		return parse_permits(context, request);
	case OPTION_MODE:
		if (parse_mode(optarg, &request->options.mode) < 0)
			return context_usage(context, "'%s' is no octal mode", optarg);
		return 0;
	case OPTION_HUGE:
		request->options.flags |= SHMD_HUGE_PAGES;
		return 0;
	case OPTION_NO_SEMAPHORE:
		request->options.flags |= SHMD_NO_SEMAPHORE;
		return 0;
	default:
		request->hold = true;
		return 0;
	}
}

/* Settles the lifetime, and refuses one that would end before anybody could use the segment. */
static int check_lifetime(struct context *context, struct request *request)
{
	struct shmd_options *wanted = &request->options;

	if (!request->has_lifetime)
		wanted->lifetime = wanted->linger_ms > 0 ? SHMD_LIFETIME_CLIENTS
							 : SHMD_LIFETIME_PERSISTENT;
	if (wanted->lifetime == SHMD_LIFETIME_PERSISTENT)
		return wanted->linger_ms == 0
			       ? 0
			       : context_usage(context, "a persistent segment does not linger");
	if (request->hold || wanted->linger_ms > 0)
		return 0;
	return context_usage(context,
			     "with --lifetime=%s the segment would end with this command; "
			     "add --hold or --linger=DURATION",
			     lifetime_names[wanted->lifetime]);
}

static int parse(struct context *context, struct request *request)
{
	int option;

	while ((option = context_option(context)) > 0)
		if (parse_option(context, request, option) < 0)
			return -1;
	if (option < 0)
		return -1;
	const char *size = context->operands[1];
	if (parse_size(size, &request->size) < 0 || request->size > SIZE_MAX)
		return context_usage(context, "'%s' is no size", size);
	return check_lifetime(context, request);
}

static int run(struct context *context)
{
	CLEANUP(cleanup_shmd) struct shmd *shmd = NULL;
	CLEANUP(cleanup_segment) struct shmd_segment *segment = NULL;
	struct request request = {.options = SHMD_OPTIONS_INIT};

	if (parse(context, &request) < 0 || context_connect(context, &shmd) < 0)
		return -1;
	if (shmd_create(shmd, context->operands[0], request.size, &request.options, &segment) < 0)
		return context_refused(context);
	return request.hold ? hold_segment(context, segment) : hold_announce(context, segment);
}

const struct command create_command = {
	.name = "create",
	.operands = "NAME SIZE",
	.summary = "make a segment and print its name and semaphore",
	.options = options,
	.min_operands = 2,
	.max_operands = 2,
	.run = run,
};
