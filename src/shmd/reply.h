/* SPDX-License-Identifier: MIT */
/* A packet of replies being made, and the descriptors that go with it until it is sent. */
#ifndef SHMD_REPLY_H
#define SHMD_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include "wire/packet.h"

struct reply {
	struct packet_writer writer;
	int fds[WIRE_DESCRIPTORS_MAX];
	bool is_ours[WIRE_DESCRIPTORS_MAX]; /* to be closed once it is sent */
	unsigned n_fds;
};

/* `bytes` stays the caller's, has room for WIRE_PACKET_MAX, and is aligned to 8. */
void reply_init(struct reply *reply, void *bytes);

/* Whether there is anything to be sent. */
static inline bool reply_is_empty(const struct reply *reply)
{
	return reply->writer.size == 0;
}

/* Closes the descriptors that are ours. */
void reply_fini(struct reply *reply);

/* Puts a descriptor behind those of the packet; with `ours` it is taken over. */
void reply_add_descriptor(struct reply *reply, int fd, bool ours);

/* Duplicates the descriptors that are not ours, whose owners may close them at any time. Returns 0 or
 * -errno. */
int reply_own(struct reply *reply);

/* Makes the reply outlive the owners of its descriptors, and the caller's memory: moves it to the heap, to
 * where `room` bytes fit. Returns 0, or -errno, and the reply is still the caller's. reply_kept_free()
 * frees what was moved, and returns NULL. */
int reply_keep(struct reply *reply, size_t room, struct reply **ret);
struct reply *reply_kept_free(struct reply *kept);

#endif
