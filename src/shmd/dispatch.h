/* SPDX-License-Identifier: MIT */
/*
 * From a checked request to the core and back to a reply: one handler an operation, in a table. Here,
 * and only here, the protocol's structures meet the core's.
 */
#ifndef SHMD_DISPATCH_H
#define SHMD_DISPATCH_H

#include "core/refusal.h"
#include "wire/packet.h"

struct client;
struct reply;
struct wait;

/* The most descriptors that the reply to an operation carries. */
unsigned dispatch_descriptors(unsigned op);

/* Says no without asking the core. */
void dispatch_refuse(struct client *client, const struct packet_message *request,
		     struct refusal *why, struct reply *reply);

/* Serves requests in their order. */
void dispatch(struct client *client, const struct packet_message *requests, unsigned n,
	      struct reply *reply);

/* Answers a wait that is ready, and ends it; or writes nothing, and it goes on. */
void dispatch_wait(struct client *client, struct wait *wait, struct reply *reply);

/* The protocol's code for a refusal of the core. */
enum wire_code dispatch_code(enum refusal_code code);

#endif
