/* SPDX-License-Identifier: MIT */
/* The handlers of what an administrator asks, and how a segment is told of. They change nothing. */
#ifndef SHMD_QUERY_H
#define SHMD_QUERY_H

#include "core/refusal.h"
#include "core/segment.h"
#include "wire/protocol.h"

struct client;
struct reply;

/* What of it goes into the flags of replies. */
uint32_t query_segment_flags(const struct segment *segment);

/* Fills a zeroed structure. */
void query_put_segment(const struct segment *segment, struct wire_segment *ret);

int query_status(struct client *client, const void *body, struct reply *reply, struct refusal *why);
int query_list(struct client *client, const void *body, struct reply *reply, struct refusal *why);
int query_show(struct client *client, const void *body, struct reply *reply, struct refusal *why);
int query_explain(struct client *client, const void *body, struct reply *reply,
		  struct refusal *why);
int query_clients(struct client *client, const void *body, struct reply *reply,
		  struct refusal *why);
int query_holders(struct client *client, const void *body, struct reply *reply,
		  struct refusal *why);

#endif
