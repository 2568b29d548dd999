/* SPDX-License-Identifier: MIT */
#include "core/name.h"

#include <errno.h>

#include "wire/name.h"

_Static_assert(NAME_LENGTH_MAX == WIRE_NAME_MAX, "names are as long as the protocol has them");

int name_parse(const char *text, const char **ret, struct refusal *why)
{
	char sentence[WIRE_TEXT_SIZE];
	int r = name_check(text, ret, sentence);

	if (r == 0)
		return 0;
	return refuse(why, r == -ENAMETOOLONG ? REFUSAL_TOO_LONG : REFUSAL_INVALID, "%s", sentence);
}
