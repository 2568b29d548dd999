/* SPDX-License-Identifier: MIT */
#include "core/name.h"

#include <string.h>

#include "base/text.h"

int name_parse(const char *text, const char **ret, struct refusal *why)
{
	const char *name = text[0] == '/' ? text + 1 : text;
	size_t length = strlen(name);
	size_t where = 0;

	if (length == 0)
		return refuse(why, REFUSAL_INVALID, "the name is empty");
	if (length > NAME_LENGTH_MAX)
		return refuse(why, REFUSAL_TOO_LONG,
			      "the name has %zu bytes; at most %d are allowed", length,
			      NAME_LENGTH_MAX);
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return refuse(why, REFUSAL_INVALID, "'%s' cannot be a name", name);

	switch (text_check(name, length, &where)) {
	case TEXT_OK:
		break;
	case TEXT_NOT_UTF8:
		return refuse(why, REFUSAL_INVALID, "the name is not UTF-8 at byte %zu", where + 1);
	case TEXT_CONTROL:
		return refuse(why, REFUSAL_INVALID, "the name has a control character at byte %zu",
			      where + 1);
	}
	if (strchr(name, '/'))
		return refuse(why, REFUSAL_INVALID, "the name '%s' has a '/' inside", name);
	*ret = name;
	return 0;
}
