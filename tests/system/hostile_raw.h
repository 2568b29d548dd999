/* SPDX-License-Identifier: MIT */
/*
 * A client without the library, which says what it likes. What it is answered is counted as got. None
 * of this fails the test: the daemon may end a connection at any time.
 */
#ifndef TESTS_SYSTEM_HOSTILE_RAW_H
#define TESTS_SYSTEM_HOSTILE_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/packet.h"

/* Connects; -1 if it cannot. raw_client() says hello, too, which is not counted unless refused. */
int raw_connect(void);
int raw_client(void);
bool raw_hello(int fd);

/* The packet that is written now, or was received last. */
extern char raw_packet[WIRE_PACKET_MAX + 4096];
extern struct packet_writer raw_writer;

void raw_begin(void);
void *raw_add(unsigned op, const void *body, size_t size);

/* The number of the request that was added last. */
uint32_t raw_number(void);

/* Returns false when the connection is of no use any more, or, without waiting, when it is full. */
bool raw_send(int fd);
bool raw_send_now(int fd);

/* What was received last. */
struct raw_reply {
	ssize_t size;
	unsigned code; /* of the first message */
	size_t n_fds;
	int fds[WIRE_DESCRIPTORS_MAX];
};

/* Receives one packet of replies. Returns its size, or 0 when the connection has ended, which is
 * counted. The first closes all descriptors; the second leaves them to the caller. */
ssize_t raw_receive(int fd);
ssize_t raw_receive_keeping(int fd, struct raw_reply *ret);
void raw_close_descriptors(struct raw_reply *reply);

/* The body of the i-th reply of the packet received last, or NULL if it is an error. */
const void *raw_body(ssize_t size, unsigned i);

/* --- on one connection that is made anew whenever it has ended --------------------------------- */

extern int raw_fd;

/* Connects if need be. Returns false if that failed. */
bool raw_ready(void);
void raw_end(void);

/* Sends what was written since raw_ready(), and receives the answer. Returns whether it was answered. */
bool raw_exchange(void);

/* One request. Returns the code of its reply, or -1. */
int raw_ask(unsigned op, const void *body, size_t size);

/* The same, and keeps the descriptors. */
int raw_ask_keeping(unsigned op, const void *body, size_t size, struct raw_reply *ret);

/* A creation that is as good as any. */
struct wire_create raw_creation(const char *name);

#endif
