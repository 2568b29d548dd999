/* SPDX-License-Identifier: MIT */
/*
 * The policy that is in force in the fuzzer of requests: given to the core as the configuration would,
 * and judged by here as shmd.conf(5) says. Rules are drawn from a table of statutes, so that both sides
 * work from the same text.
 */
#ifndef TESTS_FUZZ_LAW_H
#define TESTS_FUZZ_LAW_H

#include <stdbool.h>
#include <stdint.h>

#include "core/registry.h"
#include "people.h"

struct input;

#define LAW_RULES_MAX 4
#define LAW_NO_RULE   (-1)

/* What somebody wants to have a name. */
struct law_case {
	const struct person *who;
	const char *name; /* without the '/' in front */
	uint64_t size;
	mode_t mode;
	unsigned lifetime; /* enum lifetime */
	uint64_t linger_ms;
};

/* As at SIGHUP: the input says which rules, in which order, and who administers. */
void law_take(struct input *input, struct registry *registry);

/* Nothing is forbidden, and nobody administers. */
void law_clear(void);

/* The place of the rule that decides, or LAW_NO_RULE. A place keeps its rule's name through all policies. */
int law_rule_of(const char *name);
const char *law_rule_name(int rule);

/* Whether somebody may create under the name, on whichever terms. */
bool law_lets(const struct person *who, const char *name);

/* Whether what is asked for is denied, or more than the rule has for one. */
bool law_denies(const struct law_case *what);
bool law_limits(const struct law_case *what);

/* Whose it becomes. */
struct ownership law_ownership(const struct law_case *what);

/* What all segments of a rule may be together. */
uint64_t law_segments_max(int rule);
uint64_t law_bytes_max(int rule);

#endif
