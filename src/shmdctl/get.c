/* SPDX-License-Identifier: MIT */
/*
 * shmdctl get: copies all bytes of a segment to a file or to standard output.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "shmdctl/command.h"

#define CHUNK (256 * 1024)

struct target {
	struct context *context;
	const char *name; /* for people */
	int fd;
};

static int write_all(const struct target *target, const char *data, size_t size)
{
	struct pollfd pollfd = {.fd = target->fd, .events = POLLOUT};

	while (size > 0) {
		ssize_t n = write(target->fd, data, size);
		if (n >= 0) {
			data += n;
			size -= (size_t)n;
		} else if (errno == EAGAIN) {
			poll(&pollfd, 1, -1);
		} else if (errno != EINTR) {
			return context_fail(target->context, "cannot write %s: %s", target->name,
					    strerror(errno));
		}
	}
	return 0;
}

/*
 * Reads the descriptor and not the mapping: a read fault would give the segment a page wherever it
 * has none yet.
 */
static int get(const struct target *target, const struct shmd_segment *segment)
{
	_cleanup_free_ char *chunk = malloc(CHUNK);
	size_t size = shmd_segment_size(segment);
	int r = chunk ? 0 : context_fail(target->context, "%s", strerror(ENOMEM));

	for (size_t done = 0; r == 0 && done < size;) {
		size_t wanted = size - done < CHUNK ? size - done : CHUNK;
		ssize_t n = pread(shmd_segment_fd(segment), chunk, wanted, (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return context_fail(target->context, "cannot read the segment: %s",
					    n < 0 ? strerror(errno) : "it is too short");
		r = write_all(target, chunk, (size_t)n);
		done += (size_t)n;
	}
	return r;
}

static int get_to_file(struct context *context, const struct shmd_segment *segment,
		       const char *path)
{
	struct target target = {.context = context, .name = path};

	target.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
	if (target.fd < 0)
		return context_fail(context, "cannot open '%s': %s", path, strerror(errno));
	int r = get(&target, segment);
	if (close(target.fd) < 0 && r == 0)
		return context_fail(context, "cannot write %s: %s", path, strerror(errno));
	return r;
}

static int run(struct context *context)
{
	CLEANUP(cleanup_shmd) struct shmd *shmd = NULL;
	CLEANUP(cleanup_segment) struct shmd_segment *segment = NULL;
	const struct target output = {context, "to standard output", STDOUT_FILENO};

	if (context_option(context) < 0 || context_connect(context, &shmd) < 0)
		return -1;
	if (shmd_attach(shmd, context->operands[0], SHMD_READ_ONLY, &segment) < 0)
		return context_refused(context);
	signal(SIGPIPE, SIG_IGN); /* a reader that goes away is told of as an error */
	const char *path = context->operands[1];
	if (path && strcmp(path, "-") != 0)
		return get_to_file(context, segment, path);
	return get(&output, segment);
}

const struct command get_command = {
	.name = "get",
	.operands = "NAME [FILE]",
	.summary = "copy all of a segment to a file or standard output",
	.min_operands = 1,
	.max_operands = 2,
	.run = run,
};
