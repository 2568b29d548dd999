/* SPDX-License-Identifier: MIT */
/*
 * shmdctl put: copies a file or standard input into a segment. What does not fit is refused before
 * a byte of the segment has changed, so the size of the input has to be known first: of a regular
 * file it is, anything else is collected in memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shmdctl/command.h"

struct input {
	struct context *context;
	const char *name; /* for people */
	int fd;
};

/* As read(2), but waits for data; 0 is the end, -1 has been told. */
static ssize_t read_some(const struct input *input, void *data, size_t size)
{
	struct pollfd pollfd = {.fd = input->fd, .events = POLLIN};

	for (;;) {
		ssize_t n = read(input->fd, data, size);
		if (n >= 0)
			return n;
		if (errno == EAGAIN)
			poll(&pollfd, 1, -1);
		else if (errno != EINTR)
			return context_fail(input->context, "cannot read %s: %s", input->name,
					    strerror(errno));
	}
}

/* Reads to the end, `size` bytes at most. Returns 0 or -1 when it has said why not. */
static int read_all(const struct input *input, char *data, size_t size, size_t *ret_size)
{
	size_t done = 0;
	ssize_t n = 1;

	while (done < size && n != 0) {
		n = read_some(input, data + done, size - done);
		if (n < 0)
			return -1;
		done += (size_t)n;
	}
	*ret_size = done;
	return 0;
}

/*
 * The bytes from here to the end of a regular file. Returns false for everything else, and for files
 * that say 0, as those in /proc do whatever they hold.
 */
static bool known_size(int fd, uint64_t *ret)
{
	struct stat st;
	off_t offset;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
		return false;
	offset = lseek(fd, 0, SEEK_CUR);
	if (offset < 0)
		return false;
	*ret = offset < st.st_size ? (uint64_t)(st.st_size - offset) : 0;
	return true;
}

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
	return read_all(input, shmd_segment_data(segment), size, &done);
}

/* One byte more than fits is enough to know that it does not. */
static int put_spooled(const struct input *input, struct shmd_segment *segment, char *spool)
{
	size_t room = shmd_segment_size(segment);
	size_t size;

	if (read_all(input, spool, room + 1, &size) < 0)
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

	if (known_size(input->fd, &size))
		return put_file(input, segment, size);
	return put_stream(input, segment);
}

static int open_and_put(struct context *context, struct shmd_segment *segment, const char *path)
{
	_cleanup_close_ int fd = -1;
	struct input input = {.context = context, .name = "standard input", .fd = STDIN_FILENO};

	if (path && strcmp(path, "-") != 0) {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		if (fd < 0)
			return context_fail(context, "cannot open '%s': %s", path, strerror(errno));
		input.name = path;
		input.fd = fd;
	}
	return put(&input, segment);
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
