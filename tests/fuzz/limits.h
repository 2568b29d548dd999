/* SPDX-License-Identifier: MIT */
/*
 * The limits that are in force in the fuzzer of requests, and whether they forbid more. With world.c this
 * is where the fuzzer knows what core/quota.h offers.
 */
#ifndef TESTS_FUZZ_LIMITS_H
#define TESTS_FUZZ_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/quota.h"
#include "people.h"

struct input;

/* Those that a daemon starts with: small, so that all of them are reached. */
extern const struct quota_limits limits_at_start;

/* Before a daemon starts. */
void limits_begin(void);

/* As at SIGHUP: one of them is another, which may be less than what is in use, or other users have
 * limits of their own. */
void limits_take(struct input *input, struct quota *quota);

/* What a user may have, and has. */
uint64_t limits_of(const struct quota *quota, const struct person *who,
		   enum quota_resource resource);

/* Whether so much more would be too much for the user, for all, or for what is kept for others. What is used is taken from the core's
 * own counts: books.h sees that these are right. */
bool limits_forbid(const struct quota *quota, const struct person *who,
		   enum quota_resource resource, uint64_t amount);

/* Whether so much more stays within a limit. */
bool limits_fit(uint64_t limit, uint64_t used, uint64_t amount);

#endif
