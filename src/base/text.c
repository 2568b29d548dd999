/* SPDX-License-Identifier: MIT */
#include "base/text.h"

#include <stdint.h>
#include <string.h>

/* Decodes one character of UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF).
 * Returns its length in bytes, 0 if there is none. */
static size_t decode(const unsigned char *p, size_t size, uint32_t *ret)
{
	static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
	size_t length = p[0] < 0x80       ? 1
			: p[0] >> 5 == 6  ? 2
			: p[0] >> 4 == 14 ? 3
			: p[0] >> 3 == 30 ? 4
					  : 0;

	if (length == 0 || length > size)
		return 0;
	uint32_t c = length == 1 ? p[0] : p[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if (p[i] >> 6 != 2)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*ret = c;
	return length;
}

enum text_fault text_check(const char *text, size_t size, size_t *ret_where)
{
	for (size_t i = 0; i < size;) {
		uint32_t c = 0;
		size_t length = decode((const unsigned char *)text + i, size - i, &c);
		*ret_where = i;
		if (length == 0)
			return TEXT_NOT_UTF8;
		if (c < 0x20 || (c >= 0x7f && c < 0xa0))
			return TEXT_CONTROL;
		i += length;
	}
	return TEXT_OK;
}

void text_make_printable(char *text)
{
	size_t size = strlen(text);
	size_t where = 0;

	while (text_check(text, size, &where) != TEXT_OK) {
		text[where] = '?';
		text += where;
		size -= where;
	}
}

/* Separators of lines and paragraphs, and the marks, embeddings, overrides and isolates of Unicode's
 * bidirectional algorithm (UAX #9). */
static bool misleads(uint32_t c)
{
	return c == 0x061c || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2066 && c <= 0x2069);
}

void text_make_plain(char *text)
{
	text_make_printable(text);
	for (size_t size = strlen(text), length; size > 0; text += length, size -= length) {
		uint32_t c = 0;
		length = decode((const unsigned char *)text, size, &c);
		if (misleads(c))
			memset(text, '?', length);
	}
}

void text_copy(char *to, size_t room, const char *from)
{
	size_t length = strnlen(from, room - 1);

	memcpy(to, from, length);
	memset(to + length, 0, room - length);
}

bool text_is_padded(const char *field, size_t room)
{
	size_t length = strnlen(field, room);

	if (length == room)
		return false;
	for (size_t i = length; i < room; i++)
		if (field[i])
			return false;
	return true;
}
