/* SPDX-License-Identifier: MIT */
/* Text that comes from strangers: is it UTF-8, and is it safe to show. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

enum text_fault {
	TEXT_OK,
	TEXT_NOT_UTF8,
	TEXT_CONTROL, /* C0, DEL or C1 */
};

/* Says what is wrong with `size` bytes of text, and where (*ret_where, in bytes). */
enum text_fault text_check(const char *text, size_t size, size_t *ret_where);

/* Replaces every byte that text_check() objects to by '?', in place. */
void text_make_printable(char *text);

/* The same for a line of a log, where somebody reads other things, too: also every byte of characters
 * that break a line, or turn the direction in which what stands behind them is shown. */
void text_make_plain(char *text);

/* Copies what fits, always terminated and padded with zeroes to the whole size. */
void text_copy(char *to, size_t room, const char *from);

/* Whether the field holds a terminated string and nothing but zeroes behind it. */
bool text_is_padded(const char *field, size_t room);

#endif
