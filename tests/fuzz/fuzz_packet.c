/* SPDX-License-Identifier: MIT */
/* The decoder, on bytes of any kind: as a packet of requests, and as one of replies. */
#include "fuzz.h"

#include <errno.h>

#include "base/text.h"
#include "wire/packet.h"

static void check_message(const struct packet_message *message, const char *packet, size_t size,
			  size_t offset)
{
	HOLDS(message->header.size >= sizeof(struct wire_header));
	HOLDS(message->header.size % 8 == 0);
	HOLDS(message->header.size <= size - offset);
	HOLDS(message->body == packet + offset + sizeof(struct wire_header));
	HOLDS(message->body_size == message->header.size - sizeof(struct wire_header));
}

/* What the handlers trust without looking again. */
static void check_body(const struct packet_message *message)
{
	const struct wire_create *create = message->body;
	const struct wire_attach *attach = message->body;
	const struct wire_unlink *request = message->body;
	const struct wire_show *show = message->body;

	switch (message->header.op) {
	case WIRE_CREATE:
		HOLDS(message->body_size == sizeof(*create));
		HOLDS(create->lifetime < WIRE_LIFETIMES && (create->mode & ~0777u) == 0);
		HOLDS((create->flags & ~WIRE_CREATE_FLAGS) == 0);
		HOLDS(text_is_padded(create->name, sizeof(create->name)));
		break;
	case WIRE_ATTACH:
		HOLDS(message->body_size == sizeof(*attach));
		HOLDS((attach->flags & ~WIRE_ATTACH_FLAGS) == 0);
		HOLDS(text_is_padded(attach->name, sizeof(attach->name)));
		HOLDS(!attach->id || !attach->name[0]);
		break;
	case WIRE_UNLINK:
		HOLDS(message->body_size == sizeof(*request));
		HOLDS(text_is_padded(request->name, sizeof(request->name)));
		break;
	case WIRE_SHOW:
		HOLDS(message->body_size == sizeof(*show));
		HOLDS(text_is_padded(show->name, sizeof(show->name)));
		break;
	default:
		break;
	}
}

static void check_requests(const char *packet, size_t size)
{
	struct packet_message requests[WIRE_BATCH_MAX];
	const char *why = NULL;
	size_t offset = 0;
	int n = packet_check_requests(packet, size, requests, &why);

	if (n < 0) {
		HOLDS(n == -EBADMSG && why && why[0]);
		return;
	}
	HOLDS(n >= 1 && n <= (int)WIRE_BATCH_MAX);
	for (int i = 0; i < n; i++) {
		check_message(&requests[i], packet, size, offset);
		check_body(&requests[i]);
		HOLDS(strcmp(packet_op_name(requests[i].header.op), "unknown") != 0);
		offset += requests[i].header.size;
	}
	HOLDS(offset == size);
}

static void check_replies(const char *packet, size_t size)
{
	struct packet_message message;
	size_t offset = 0, before = 0;
	int r;

	while ((r = packet_next_reply(packet, size, &offset, &message)) == 1) {
		check_message(&message, packet, size, before);
		HOLDS(offset == before + message.header.size && offset <= size);
		before = offset;
	}
	HOLDS(r == 0 ? offset == size : r == -EBADMSG && offset == before);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	if (size > WIRE_PACKET_MAX)
		return 0;
	/* Of that very size, so that a byte read behind the end is found; aligned, as malloc does. */
	char *packet = malloc(size ? size : 1);

	if (!packet)
		return 0;
	if (size)
		memcpy(packet, bytes, size);
	check_requests(packet, size);
	check_replies(packet, size);
	free(packet);
	return 0;
}
