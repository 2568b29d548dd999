/* SPDX-License-Identifier: MIT */
#include "core/users.h"

bool users_include(const struct users *users, const struct credentials *who)
{
	if (users->anyone)
		return true;
	for (size_t i = 0; i < users->n; i++)
		if (users->entries[i].is_group ? access_is_member(who, users->entries[i].id)
					       : who->uid == users->entries[i].id)
			return true;
	return false;
}
