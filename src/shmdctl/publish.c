/* SPDX-License-Identifier: MIT */
/*
 * shmdctl publish: makes a file or standard input the next generation of a name. The name has the old
 * one until all of the new one is there.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "shmdctl/command.h"
#include "shmdctl/input.h"

static const struct option_info options[] = {
	{"mode", 'm', "OCTAL", "permission bits, 0600 unless told otherwise"},
	{0},
};

/* What a stream brought so far. */
struct spool {
	char *data;
	size_t size;
	size_t room;
};

static int spool_grow(const struct input *input, struct spool *spool)
{
	size_t room = spool->room ? 2 * spool->room : 1 << 16;
	char *larger = realloc(spool->data, room);

	if (!larger)
		return context_fail(input->context, "cannot collect %s: %s", input->name,
				    strerror(ENOMEM));
	spool->data = larger;
	spool->room = room;
	return 0;
}

/* Reads until the room is not filled: that is the end. */
static int spool_read(const struct input *input, struct spool *spool)
{
	size_t n;

	do {
		if (spool_grow(input, spool) < 0 ||
		    input_read(input, spool->data + spool->size, spool->room - spool->size, &n) < 0)
			return -1;
		spool->size += n;
	} while (spool->size == spool->room);
	return 0;
}

static int create(struct context *context, struct shmd *shmd, size_t size, mode_t mode,
		  struct shmd_segment **ret)
{
	struct shmd_options how = SHMD_OPTIONS_INIT;

	how.mode = mode;
	how.lifetime = SHMD_LIFETIME_PERSISTENT;
	how.flags = SHMD_NO_SEMAPHORE;
	return shmd_create(shmd, NULL, size, &how, ret) < 0 ? context_refused(context) : 0;
}

static int fill_from_file(const struct input *input, struct shmd *shmd, mode_t mode, uint64_t size,
			  struct shmd_segment **ret)
{
	size_t n;

	if (create(input->context, shmd, (size_t)size, mode, ret) < 0 ||
	    input_read(input, shmd_segment_data(*ret), (size_t)size, &n) < 0)
		return -1;
	if (n < size)
		return context_fail(input->context,
				    "%s became shorter while it was read; nothing was published",
				    input->name);
	return 0;
}

static int fill_from_stream(const struct input *input, struct shmd *shmd, mode_t mode,
			    struct shmd_segment **ret)
{
	struct spool spool = {0};
	int r = spool_read(input, &spool);

	if (r == 0)
		r = create(input->context, shmd, spool.size, mode, ret);
	if (r == 0)
		memcpy(shmd_segment_data(*ret), spool.data, spool.size);
	free(spool.data);
	return r;
}

static int fill(const struct input *input, struct shmd *shmd, mode_t mode,
		struct shmd_segment **ret)
{
	uint64_t size;

	if (input_size(input, &size))
		return fill_from_file(input, shmd, mode, size, ret);
	return fill_from_stream(input, shmd, mode, ret);
}

static int publish(struct context *context, struct shmd *shmd, const struct input *input,
		   mode_t mode)
{
	CLEANUP(cleanup_segment) struct shmd_segment *segment = NULL;

	if (fill(input, shmd, mode, &segment) < 0)
		return -1;
	if (shmd_publish(segment, context->operands[0], 0) < 0)
		return context_refused(context);
	printf("%" PRIu64 "\n", shmd_segment_generation(segment));
	return 0;
}

static int parse(struct context *context, mode_t *ret_mode)
{
	int option;

	while ((option = context_option(context)) > 0)
		if (parse_mode(optarg, ret_mode) < 0)
			return context_usage(context, "'%s' is no octal mode", optarg);
	return option;
}

static int run(struct context *context)
{
	CLEANUP(cleanup_shmd) struct shmd *shmd = NULL;
	struct input input;
	mode_t mode = 0600;

	if (parse(context, &mode) < 0 || context_connect(context, &shmd) < 0 ||
	    input_open(context, context->operands[1], &input) < 0)
		return -1;
	int r = publish(context, shmd, &input, mode);
	input_close(&input);
	return r;
}

const struct command publish_command = {
	.name = "publish",
	.operands = "NAME [FILE]",
	.summary = "make a file or standard input the next generation of a name",
	.options = options,
	.min_operands = 1,
	.max_operands = 2,
	.run = run,
};
