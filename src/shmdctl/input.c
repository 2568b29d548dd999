/* SPDX-License-Identifier: MIT */
#include "shmdctl/input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "shmdctl/command.h"

int input_open(struct context *context, const char *path, struct input *ret)
{
	*ret = (struct input){.context = context, .name = "standard input", .fd = STDIN_FILENO};
	if (!path || strcmp(path, "-") == 0)
		return 0;
	ret->name = path;
	ret->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (ret->fd < 0)
		return context_fail(context, "cannot open '%s': %s", path, strerror(errno));
	return 0;
}

void input_close(struct input *input)
{
	if (input->fd > STDIN_FILENO)
		close_fd(input->fd);
}

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

int input_read(const struct input *input, char *data, size_t size, size_t *ret_size)
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

bool input_size(const struct input *input, uint64_t *ret)
{
	struct stat st;
	off_t offset;

	if (fstat(input->fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
		return false;
	offset = lseek(input->fd, 0, SEEK_CUR);
	if (offset < 0)
		return false;
	*ret = offset < st.st_size ? (uint64_t)(st.st_size - offset) : 0;
	return true;
}
