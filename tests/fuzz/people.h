/* SPDX-License-Identifier: MIT */
/*
 * The users of the fuzzer of requests, and what owner, group and mode let them do: the same as
 * core/access.c, written once more from the manual, so that a mistake would have to be made twice.
 */
#ifndef TESTS_FUZZ_PEOPLE_H
#define TESTS_FUZZ_PEOPLE_H

#include <stdbool.h>
#include <sys/types.h>

#include "core/access.h"

#define PEOPLE 8

#define GROUP          5100
#define ADMINISTRATORS 5900
#define OVERFLOW_ID    65534

struct person {
	uid_t uid;
	gid_t gid;
	unsigned n_groups;
	gid_t groups[3];
};

extern const struct person people[PEOPLE];

/* The one of that uid. */
const struct person *person_of(uid_t uid);

/* The core's credentials, to be ended with credentials_fini(). */
void person_credentials(const struct person *person, struct credentials *ret);

/* Who administers from now on; ACCESS_NO_GROUP: none but the privileged. Told to the core as well. */
void people_set_administrators(gid_t group);

/* False for the overflow uid. */
bool person_is_known(const struct person *person);
bool person_has_group(const struct person *person, gid_t group);
bool person_is_privileged(const struct person *person);
bool person_administers(const struct person *person);
bool person_owns(const struct person *person, const struct ownership *of);

/* Whether those bits, as of others, are in the part of the mode that is about them. */
bool person_has_bits(const struct person *person, const struct ownership *of, mode_t others);

/* Whether owner, group and mode let them attach it, or for reading only. */
bool person_may(const struct person *person, const struct ownership *of, bool read_only);

/* Whether a listing shows it to them. */
bool person_sees(const struct person *person, const struct ownership *of, bool has_name);

/* Whether its id is no id to them. */
bool person_is_kept_from(const struct person *person, const struct ownership *of,
			 bool is_anonymous);

#endif
