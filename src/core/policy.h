/* SPDX-License-Identifier: MIT */
/*
 * Who may give a segment a name, and on which terms: rules in the order of the configuration, of which
 * the first one whose pattern matches the name decides. It is asked when a segment is created under a
 * name or published under one; what exists stays as it is. Owns the rules; what they have counted is
 * the registry's, and outlives them (tally.h).
 *
 * A rule's list of creators does not bind the privileged, its limits and what it forces bind everybody.
 */
#ifndef CORE_POLICY_H
#define CORE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/access.h"
#include "core/refusal.h"
#include "core/segment.h"
#include "core/tally.h"
#include "core/users.h"

#define POLICY_RULE_NAME_MAX TALLY_NAME_MAX
#define POLICY_FILE_MAX      64
#define POLICY_LIST_MAX      USERS_TEXT_MAX

#define POLICY_UNLIMITED UINT64_MAX
#define POLICY_CREATOR   ((id_t)-1)   /* of owner and group: the creator's own */
#define POLICY_AS_ASKED  ((mode_t)-1) /* of a mode: what the creator asks for */

#define POLICY_ALL_LIFETIMES \
	(1u << LIFETIME_CLIENTS | 1u << LIFETIME_OWNER | 1u << LIFETIME_PERSISTENT)

struct policy_rule {
	char name[POLICY_RULE_NAME_MAX + 1];
	char file[POLICY_FILE_MAX];      /* its last part: for messages */
	unsigned line;                   /* 0: no rule, what holds where none matches */
	char names[POLICY_LIST_MAX + 1]; /* patterns, each terminated; an empty one is the last */
	struct users create;
	uid_t owner;
	gid_t group;
	mode_t mode;
	mode_t mode_max;
	unsigned lifetimes; /* a bit for each enum lifetime */
	uint64_t linger_max_ms;
	uint64_t size_max;
	uint64_t segments_max;
	uint64_t bytes_max;
};

struct policy {
	struct policy_rule *rules;
	size_t n;
};

/* A rule that matches every name and forbids nothing, where none of the fields is changed. */
void policy_rule_init(struct policy_rule *rule, const char *name, const char *file, unsigned line);

/* Adds it behind the others. The rule stays the policy's, until the next one is added. NULL: no memory. */
struct policy_rule *policy_add(struct policy *policy, const char *name, const char *file,
			       unsigned line);
void policy_fini(struct policy *policy);

/* The rule of that name, or NULL. */
const struct policy_rule *policy_by_name(const struct policy *policy, const char *name);

/* The rule that decides on a name; where none matches, what holds then. Never NULL. */
const struct policy_rule *policy_find(const struct policy *policy, const char *name);

/* What messages call it: "rule 'sensors' (shmd.conf line 12)". Returns the buffer. */
#define POLICY_DESCRIPTION_MAX 160
const char *policy_describe(const struct policy_rule *rule,
			    char buffer[static POLICY_DESCRIPTION_MAX]);

/* --- what it decides --------------------------------------------------------------------------- */

/* Why somebody may create under a name, or may not. */
enum policy_ground {
	POLICY_OPEN,                 /* no rule matches */
	POLICY_OWN_NAME,             /* none matches, and it is reserved for that user */
	POLICY_LISTED,               /* the rule lets them */
	POLICY_PRIVILEGED,           /* the rule or the reservation does not bind them */
	POLICY_NOT_LISTED,           /* from here on: they may not */
	POLICY_RESERVED_FOR_ANOTHER, /* none matches, and it is reserved for another user */
	POLICY_UNKNOWN_USER,         /* who stands for many */
};

static inline bool policy_lets(enum policy_ground ground)
{
	return ground < POLICY_NOT_LISTED;
}

enum policy_ground policy_ground(const struct policy_rule *rule, const struct credentials *who,
				 const char *name);

/* Says why in a sentence, which is a refusal where they may not. */
void policy_tell_ground(enum policy_ground ground, const struct policy_rule *rule,
			const struct credentials *who, const char *name, struct refusal *ret);

/* Whose a new segment becomes, and with which mode, where that one is asked for. */
struct ownership policy_ownership(const struct policy_rule *rule, const struct credentials *who,
				  mode_t asked);

/*
 * All of it: somebody wants a segment to have a name. Counts it in its rule, and says whose it becomes.
 * Returns 0, REFUSAL_DENIED or REFUSAL_LIMIT with rule, line and value, or -ENOMEM.
 */
int policy_admit(const struct policy *policy, struct tally **tallies, const struct credentials *who,
		 const struct creation *what, struct ownership *ret, struct tally_share *ret_share,
		 struct refusal *why);

/* The names of enum lifetime in the configuration. */
extern const char *const policy_lifetime_names[LIFETIME_PERSISTENT + 1];

#endif
