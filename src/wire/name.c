/* SPDX-License-Identifier: MIT */
#include "wire/name.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static int bad(int r, char why[static WIRE_TEXT_SIZE], const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int bad(int r, char why[static WIRE_TEXT_SIZE], const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(why, WIRE_TEXT_SIZE, format, ap);
	va_end(ap);
	return r;
}

static int check_text(const char *name, size_t length, char why[static WIRE_TEXT_SIZE])
{
	size_t where = 0;

	switch (text_check(name, length, &where)) {
	case TEXT_OK:
		return 0;
	case TEXT_NOT_UTF8:
		return bad(-EINVAL, why, "the name is not UTF-8 at byte %zu", where + 1);
	case TEXT_CONTROL:
		break;
	}
	return bad(-EINVAL, why, "the name has a control character at byte %zu", where + 1);
}

int name_check(const char *text, const char **ret, char why[static WIRE_TEXT_SIZE])
{
	const char *name = text[0] == '/' ? text + 1 : text;
	size_t length = strlen(name);

	if (length == 0)
		return bad(-EINVAL, why, "the name is empty");
	if (length > WIRE_NAME_MAX)
		return bad(-ENAMETOOLONG, why, "the name has %zu bytes; at most %u are allowed",
			   length, WIRE_NAME_MAX);
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return bad(-EINVAL, why, "'%s' cannot be a name", name);
	int r = check_text(name, length, why);
	if (r < 0)
		return r;
	if (strchr(name, '/'))
		return bad(-EINVAL, why, "the name '%s' has a '/' inside", name);
	*ret = name;
	return 0;
}
