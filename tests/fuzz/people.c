/* SPDX-License-Identifier: MIT */
#include "people.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

/* No accounts of the machine's, so that looking them up finds no groups. */
const struct person people[PEOPLE] = {
	{.uid = 0, .gid = 0},
	{.uid = 5001, .gid = GROUP},
	{.uid = 5002, .gid = 5200, .n_groups = 2, .groups = {5300, GROUP}},
	{.uid = 5003, .gid = 5300},
	{.uid = 5004, .gid = 5400, .n_groups = 1, .groups = {ADMINISTRATORS}},
	/* Whoever cannot be told from others has nothing by it, be it a group. */
	{.uid = OVERFLOW_ID, .gid = GROUP, .n_groups = 2, .groups = {ADMINISTRATORS, OVERFLOW_ID}},
	{.uid = 5006, .gid = OVERFLOW_ID, .n_groups = 1, .groups = {OVERFLOW_ID}},
	{.uid = 5007, .gid = GROUP, .n_groups = 3, .groups = {5200, 5400, OVERFLOW_ID}},
};

static gid_t administrators = ACCESS_NO_GROUP;

const struct person *person_of(uid_t uid)
{
	for (int i = 0; i < PEOPLE; i++)
		if (people[i].uid == uid)
			return &people[i];
	HOLDS(!"a user of the fuzzer's");
	return NULL;
}

void person_credentials(const struct person *person, struct credentials *ret)
{
	gid_t *groups = malloc(sizeof(person->groups));

	HOLDS(groups);
	memcpy(groups, person->groups, sizeof(person->groups));
	credentials_init(ret, person->uid, person->gid, groups, person->n_groups);
}

void people_set_administrators(gid_t group)
{
	administrators = group;
	access_set_administrators(group);
}

bool person_is_known(const struct person *person)
{
	return person->uid != OVERFLOW_ID;
}

bool person_has_group(const struct person *person, gid_t group)
{
	bool has = person->gid == group;

	for (unsigned i = 0; i < person->n_groups; i++)
		has = has || person->groups[i] == group;
	return has && person_is_known(person) && group != OVERFLOW_ID;
}

bool person_is_privileged(const struct person *person)
{
	return person->uid == 0 || (person_is_known(person) && person->uid == geteuid());
}

bool person_administers(const struct person *person)
{
	return person_is_privileged(person) || person_has_group(person, administrators);
}

bool person_owns(const struct person *person, const struct ownership *of)
{
	return person_is_known(person) && person->uid == of->uid;
}

bool person_has_bits(const struct person *person, const struct ownership *of, mode_t others)
{
	if (person_is_privileged(person))
		return true;
	if (person_owns(person, of))
		others <<= 6;
	else if (person_has_group(person, of->gid))
		others <<= 3;
	return !(others & ~of->mode);
}

bool person_may(const struct person *person, const struct ownership *of, bool read_only)
{
	return person_has_bits(person, of, read_only ? S_IROTH : S_IROTH | S_IWOTH);
}

bool person_sees(const struct person *person, const struct ownership *of, bool has_name)
{
	return person_administers(person) || person_owns(person, of) ||
	       (has_name && person_may(person, of, true));
}

bool person_is_kept_from(const struct person *person, const struct ownership *of, bool is_anonymous)
{
	return !person_sees(person, of, !is_anonymous);
}
