/* SPDX-License-Identifier: MIT */
/*
 * Whether each answer is one that its request may have: what is granted is allowed by the law and by
 * owner, group and mode, what is shown may be seen, what is refused is refused for that reason. It
 * remembers of each segment what its maker asked for, and believes the daemon's books only where
 * books.h has checked them.
 */
#ifndef TESTS_FUZZ_ANSWERS_H
#define TESTS_FUZZ_ANSWERS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/access.h"

struct client;
struct packet_message;
struct reply;
struct subscription;
struct wait;
struct wire_wait;

/* A segment as its maker asked for it, and as the law wanted it. */
struct known {
	struct ownership of;
	uint64_t size;
	uid_t maker;
	int rule; /* that its name was given by */
	unsigned lifetime;
	uint64_t linger_ms;
	bool is_anonymous, has_semaphore;
};

/* More ids than can be given in the steps of one input. */
#define KNOWN_MAX (1 << 16)

void answers_begin(void);

const struct known *answers_known(uint64_t id);

/* What the segments are together that a rule let through, and that are there. */
void answers_use_of_rule(int rule, uint64_t *ret_segments, uint64_t *ret_bytes);

/* Whether, since this was asked last, somebody took a name from a segment and was told so. */
bool answers_took_name(void);
void answers_note_taken(void);

/* The greatest id or generation that was told. */
uint64_t answers_newest(void);

/* Before and after requests are served. */
void answers_expect(const struct client *client, const struct packet_message *requests, unsigned n);
void answers_check(const struct client *client, const struct packet_message *requests, unsigned n,
		   const struct reply *reply);

/* Before and after a wait is answered, or not. */
void answers_expect_waited(const struct wait *wait, struct wire_wait *ret);
void answers_check_waited(const struct client *client, const struct wire_wait *asked,
			  const struct reply *reply);

/* Before the subscriber is told. */
void answers_check_events(const struct subscription *subscription);

#endif
