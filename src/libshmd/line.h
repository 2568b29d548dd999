/* SPDX-License-Identifier: MIT */
/*
 * A socket to the daemon. First of a thread's own, which opens it and asks one thing after the other; then a
 * connection's, whose calls share it. Knows no connection.
 */
#ifndef LIBSHMD_LINE_H
#define LIBSHMD_LINE_H

#include <stddef.h>
#include <sys/types.h>

#include "wire/packet.h"
#include "wire/protocol.h"

/* What a receive brought: a packet, or the end. */
struct arrival {
	ssize_t size; /* 0: the daemon closed the connection; negative: errno */
	int fds[WIRE_DESCRIPTORS_MAX];
	size_t n_fds;
	int lost_fds;
};

/* One of wire/channel.h's. */
typedef ssize_t line_receive_fn(int socket, void *bytes, size_t room,
				int fds[static WIRE_DESCRIPTORS_MAX], size_t *ret_n_fds,
				int *ret_truncated);

/* Receives a packet of up to WIRE_PACKET_MAX bytes; also what lies there behind a reset. */
void line_receive(int socket, void *packet, line_receive_fn *receive, struct arrival *ret);

/* Closes the descriptors that have not been taken. */
void arrival_close(struct arrival *arrival);

struct line {
	int *socket;     /* where its owner keeps it; -1: not open */
	void *packet;    /* WIRE_PACKET_MAX bytes */
	uint32_t number; /* of the last request; none of a connection's calls has one like these */
	uint64_t patience_end; /* CLOCK_MONOTONIC, ns; 0: there is none */
};

/*
 * All of these return 0 or a negative errno with the message set: -ECONNRESET, the daemon ended the
 * connection; -EAGAIN, the patience is over; -EPROTO; or what the daemon's refusal means.
 */

/* Has patience for so many milliseconds with what follows; -1: for ever. */
void line_set_patience(struct line *line, int ms);

/* Makes a socket, whose number is at least `lowest` if one can be had; connects it. The second one leaves it open also where it fails. */
int line_make_socket(int lowest, int *ret);
int line_connect(struct line *line, const char *path);

/* From now on without an end to its patience. */
void line_be_patient(struct line *line);

/* The first words, in two steps: the second one may be tried again when the patience was over, also by
 * another line with the same socket. */
int line_say_hello(struct line *line);
int line_hear_welcome(struct line *line, struct wire_welcome *ret);

/* Begins a packet of requests in the line's memory, and adds one. */
void line_begin(struct line *line, struct packet_writer *ret);
void line_put(struct line *line, struct packet_writer *writer, unsigned op, const void *body,
	      size_t body_size);

/* Sends it, and receives the packet of replies into the same memory. */
int line_exchange(struct line *line, const struct packet_writer *writer, struct arrival *ret);

/* Asks one thing, whose reply has exactly that size. */
int line_ask(struct line *line, unsigned op, const void *body, size_t body_size, void *reply,
	     size_t reply_size);

/* Takes a packet's only reply, which may be a refusal. */
int line_take_reply(struct line *line, const struct arrival *arrival, unsigned op,
		    struct packet_message *ret);

#endif
