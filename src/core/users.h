/* SPDX-License-Identifier: MIT */
/* A list of users and groups, as the configuration names those whom something is for. */
#ifndef CORE_USERS_H
#define CORE_USERS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/access.h"

#define USERS_TEXT_MAX 182 /* so that the option's name fits before it, in one line */
#define USERS_MAX      (USERS_TEXT_MAX / 2)

/* Without anybody in it, it is nobody. */
struct users {
	char text[USERS_TEXT_MAX]; /* as it was written */
	bool anyone;
	size_t n;
	struct users_entry {
		bool is_group;
		id_t id;
	} entries[USERS_MAX];
};

/* Whether somebody is in the list, or has a group that is. */
bool users_include(const struct users *users, const struct credentials *who);

#endif
