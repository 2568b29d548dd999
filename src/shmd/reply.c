/* SPDX-License-Identifier: MIT */
#include "shmd/reply.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

void reply_init(struct reply *reply, void *bytes)
{
	packet_writer_init(&reply->writer, bytes, WIRE_PACKET_MAX);
	reply->n_fds = 0;
}

void reply_fini(struct reply *reply)
{
	for (unsigned i = 0; i < reply->n_fds; i++)
		if (reply->is_ours[i])
			close_fd(reply->fds[i]);
	reply->n_fds = 0;
}

void reply_add_descriptor(struct reply *reply, int fd, bool ours)
{
	reply->fds[reply->n_fds] = fd;
	reply->is_ours[reply->n_fds++] = ours;
}

static int keep_descriptors(const struct reply *reply, struct reply *kept)
{
	for (unsigned i = 0; i < reply->n_fds; i++) {
		int fd = fcntl(reply->fds[i], F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return -errno;
		reply_add_descriptor(kept, fd, true);
	}
	return 0;
}

int reply_keep(const struct reply *reply, struct reply **ret)
{
	size_t size = reply->writer.size;
	struct reply *kept = malloc(sizeof(*kept) + size);

	if (!kept)
		return -ENOMEM;
	kept->writer =
		(struct packet_writer){.bytes = (char *)(kept + 1), .room = size, .size = size};
	kept->n_fds = 0;
	memcpy(kept->writer.bytes, reply->writer.bytes, size);
	int r = keep_descriptors(reply, kept);
	if (r < 0) {
		reply_kept_free(kept);
		return r;
	}
	*ret = kept;
	return 0;
}

struct reply *reply_kept_free(struct reply *kept)
{
	if (!kept)
		return NULL;
	reply_fini(kept);
	free(kept);
	return NULL;
}
