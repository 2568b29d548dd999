/* SPDX-License-Identifier: MIT */
/*
 * shmdctl put: copies a file or standard input into a segment. What does not fit is refused before
 * a byte of the segment has changed, so the size of the input has to be known first: of a regular
 * file it is, anything else is collected in memory.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "shmdctl/command.h"
#include "shmdctl/input.h"

/* Not more than the size that was checked is read: the file may grow meanwhile. */
static int put_file(const struct input *input, struct shmd_segment *segment, uint64_t size)
{
	size_t room = shmd_segment_size(segment);
	size_t done;

	if (size > room)
		return context_fail(input->context,
				    "%s has %" PRIu64
				    " bytes, the segment only %zu; nothing was written",
				    input->name, size, room);
	return input_read(input, shmd_segment_data(segment), size, &done);
}

/* One byte more than fits is enough to know that it does not. */
static int put_spooled(const struct input *input, struct shmd_segment *segment, char *spool)
{
	size_t room = shmd_segment_size(segment);
	size_t size;

	if (input_read(input, spool, room + 1, &size) < 0)
		return -1;
	if (size > room)
		return context_fail(
			input->context,
			"%s has %zu bytes or more, the segment only %zu; nothing was written",
			input->name, size, room);
	memcpy(shmd_segment_data(segment), spool, size);
	return 0;
}

static int put_stream(const struct input *input, struct shmd_segment *segment)
{
	size_t size = shmd_segment_size(segment) + 1;
	void *spool = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (spool == MAP_FAILED)
		return context_fail(input->context, "cannot collect %s: %s", input->name,
				    strerror(errno));
	int r = put_spooled(input, segment, spool);
	munmap(spool, size);
	return r;
}

static int put(const struct input *input, struct shmd_segment *segment)
{
	uint64_t size;

	if (input_size(input, &size))
		return put_file(input, segment, size);
	return put_stream(input, segment);
}

static int open_and_put(struct context *context, struct shmd_segment *segment, const char *path)
{
	struct input input;

	if (input_open(context, path, &input) < 0)
		return -1;
	int r = put(&input, segment);
	input_close(&input);
	return r;
}

static int run(struct context *context)
{
	CLEANUP(cleanup_shmd) struct shmd *shmd = NULL;
	CLEANUP(cleanup_segment) struct shmd_segment *segment = NULL;

	if (context_option(context) < 0 || context_connect(context, &shmd) < 0)
		return -1;
	if (shmd_attach(shmd, context->operands[0], 0, &segment) < 0)
		return context_refused(context);
	return open_and_put(context, segment, context->operands[1]);
}

const struct command put_command = {
	.name = "put",
	.operands = "NAME [FILE]",
	.summary = "copy a file or standard input into a segment",
	.min_operands = 1,
	.max_operands = 2,
	.run = run,
};
