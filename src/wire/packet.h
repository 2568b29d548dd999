/* SPDX-License-Identifier: MIT */
/*
 * Packets: the framing of messages, and the check of every request before anything acts on it. Knows
 * the form of each operation (one table), and nothing of what it means.
 */
#ifndef WIRE_PACKET_H
#define WIRE_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/protocol.h"

/* A request or a reply inside a packet that was checked. */
struct packet_message {
	struct wire_header header;
	const void *body; /* behind the header, aligned to 8 bytes */
	size_t body_size; /* with entries */
};

/* The operation's name, for logs and statistics; "unknown" where there is none. */
const char *packet_op_name(unsigned op);

/*
 * Checks a packet of requests as a whole: framing, operations, sizes, strings, reserved fields, and
 * what may be batched. `packet` is aligned to 8 bytes. Returns the number of requests and fills
 * `ret`; or -EBADMSG, and *ret_why says which rule was broken.
 */
int packet_check_requests(const void *packet, size_t size,
			  struct packet_message ret[static WIRE_BATCH_MAX], const char **ret_why);

/* Takes the next message off a packet of replies. Returns 1, 0 at the end, -EBADMSG. */
int packet_next_reply(const void *packet, size_t size, size_t *offset, struct packet_message *ret);

/* A packet being written. The memory is the caller's. */
struct packet_writer {
	char *bytes;
	size_t room;
	size_t size;
	size_t message; /* where the open message begins */
};

void packet_writer_init(struct packet_writer *writer, void *bytes, size_t room);

/* Opens a message; its body is what packet_append() adds until packet_end(). */
void packet_begin(struct packet_writer *writer, unsigned op, uint32_t number);

/* Operation and number of the open message. */
unsigned packet_op(const struct packet_writer *writer);
uint32_t packet_number(const struct packet_writer *writer);

/* Takes the open message out of the packet again. */
void packet_drop(struct packet_writer *writer);

/* Adds zeroed room for `size` bytes (a multiple of 8) to the open message; NULL if the packet is
 * full. Valid until the packet is sent. */
void *packet_append(struct packet_writer *writer, size_t size);

void packet_end(struct packet_writer *writer, unsigned code, unsigned descriptors);

/* Throws the open message's body away, for one that turns out to be an error. */
void packet_rewind(struct packet_writer *writer);

/* A whole message with an error code and its sentence. */
void packet_put_error(struct packet_writer *writer, unsigned op, uint32_t number, unsigned code,
		      const char *text);

#endif
