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

int reply_own(struct reply *reply)
{
	for (unsigned i = 0; i < reply->n_fds; i++) {
		if (reply->is_ours[i])
			continue;
		int fd = fcntl(reply->fds[i], F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return -errno;
		reply->fds[i] = fd;
		reply->is_ours[i] = true;
	}
	return 0;
}

int reply_keep(struct reply *reply, size_t room, struct reply **ret)
{
	struct reply *kept = malloc(sizeof(*kept) + room);
	int r = kept ? reply_own(reply) : -ENOMEM;

	if (r < 0) {
		free(kept);
		return r;
	}
	*kept = *reply;
	kept->writer.bytes = (char *)(kept + 1);
	kept->writer.room = room;
	memcpy(kept->writer.bytes, reply->writer.bytes, reply->writer.size);
	reply->n_fds = 0;
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
