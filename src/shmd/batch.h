/* SPDX-License-Identifier: MIT */
/*
 * A packet of requests on its way to one packet of replies: some requests at a time, so that others get
 * their turn meanwhile. Owns what of the packet it has to keep between two turns.
 */
#ifndef SHMD_BATCH_H
#define SHMD_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "shmd/reply.h"
#include "wire/packet.h"

struct client;

struct batch {
	struct packet_message requests[WIRE_BATCH_MAX];
	unsigned n;
	unsigned served;
	uint64_t held_since; /* CLOCK_MONOTONIC, ns; 0: it never was held */
	struct reply *reply; /* to those that are served */
	void *packet;        /* a copy; NULL: that of whoever began it */
};

/* `packet` and `reply` stay the caller's: until the batch is done, or is kept. Returns 0, or -EBADMSG and
 * which rule of the protocol was broken. */
int batch_begin(struct batch *batch, const void *packet, size_t size, struct reply *reply,
		const char **ret_why);

enum batch_state {
	BATCH_DONE,
	BATCH_MORE, /* others are to get their turn */
	BATCH_HELD, /* the next request has to wait until the user's clients have read replies */
};

/* Serves some of the requests. With may_pause false, all of them: none is held then. */
enum batch_state batch_go_on(struct batch *batch, struct client *client, bool may_pause);

/* Whether it was held for so long that its next request is refused where there is no room. */
bool batch_is_overdue(const struct batch *batch, uint64_t now);

/* Makes it outlive the caller's memory. Returns NULL, with nothing changed, where there is no memory or
 * descriptor for that. */
struct batch *batch_keep(const struct batch *batch, size_t size);

/* One that was kept. Takes NULL; returns NULL. */
struct batch *batch_free(struct batch *batch);

#endif
