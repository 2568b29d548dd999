/* SPDX-License-Identifier: MIT */
#include "shmd/batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "shmd/client.h"
#include "shmd/dispatch.h"
#include "shmd/unread.h"
#include "shmd/user.h"

/* Requests before others get their turn: some 10 us each. */
#define UNIT 2

/* How long a packet is held in all before its requests are refused. */
#define HOLD_MOST (1000 * NSEC_PER_MSEC)

/* The largest reply to a request that may be one of several. */
#define REPLY_MAX (sizeof(struct wire_header) + sizeof(struct wire_error))
_Static_assert(sizeof(struct wire_segment) <= sizeof(struct wire_error),
	       "no reply that grants something is larger than one that refuses it");

int batch_begin(struct batch *batch, const void *packet, size_t size, struct reply *reply,
		const char **ret_why)
{
	int n = packet_check_requests(packet, size, batch->requests, ret_why);

	if (n < 0)
		return n;
	batch->n = (unsigned)n;
	batch->served = 0;
	batch->held_since = 0;
	batch->reply = reply;
	batch->packet = NULL;
	return 0;
}

bool batch_is_overdue(const struct batch *batch, uint64_t now)
{
	return now - batch->held_since >= HOLD_MOST;
}

/* Whether the packet may still wait for others to read. */
static bool may_hold(struct batch *batch)
{
	uint64_t now = clock_monotonic_ns();

	if (!batch->held_since)
		batch->held_since = now;
	return !batch_is_overdue(batch, now);
}

/* Returns false if nothing was done, because it is held. */
static bool serve_next(struct batch *batch, struct client *client, bool may_pause)
{
	const struct packet_message *request = &batch->requests[batch->served];
	unsigned n = dispatch_descriptors(request->header.op);
	unsigned before = batch->reply->n_fds;
	struct refusal why;
	int r = n > 0 ? user_reserve(client, n, &why) : 0;

	if (r != 0 && may_pause && user_may_hold(client) && may_hold(batch))
		return false;
	batch->served++;
	if (r != 0) {
		dispatch_refuse(client, request, &why, batch->reply);
		return true;
	}
	dispatch(client, request, 1, batch->reply);
	if (n > 0)
		unread_return(client->unread, n - (batch->reply->n_fds - before));
	return true;
}

enum batch_state batch_go_on(struct batch *batch, struct client *client, bool may_pause)
{
	for (unsigned i = 0; batch->served < batch->n; i++) {
		if (i >= UNIT && may_pause)
			return BATCH_MORE;
		if (!serve_next(batch, client, may_pause))
			return BATCH_HELD;
	}
	return BATCH_DONE;
}

/* The requests' bodies are in the copy from now on. */
static int copy_packet(struct batch *kept, const struct batch *from, size_t size)
{
	const char *packet = (const char *)from->requests[0].body - sizeof(struct wire_header);

	kept->packet = malloc(size);
	if (!kept->packet)
		return -ENOMEM;
	memcpy(kept->packet, packet, size);
	for (unsigned i = 0; i < kept->n; i++)
		kept->requests[i].body = (char *)kept->packet +
					 ((const char *)from->requests[i].body - packet);
	return 0;
}

struct batch *batch_keep(const struct batch *batch, size_t size)
{
	struct batch *kept = malloc(sizeof(*kept));
	size_t room = batch->reply->writer.size + (batch->n - batch->served) * REPLY_MAX;

	if (!kept)
		return NULL;
	*kept = *batch;
	if (copy_packet(kept, batch, size) < 0 ||
	    reply_keep(batch->reply, room, &kept->reply) < 0) {
		free(kept->packet);
		free(kept);
		return NULL;
	}
	return kept;
}

struct batch *batch_free(struct batch *batch)
{
	if (!batch)
		return NULL;
	reply_kept_free(batch->reply);
	free(batch->packet);
	free(batch);
	return NULL;
}
