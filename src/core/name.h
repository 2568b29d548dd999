/* SPDX-License-Identifier: MIT */
/* What may be a segment's name. */
#ifndef CORE_NAME_H
#define CORE_NAME_H

#include "core/refusal.h"

#define NAME_LENGTH_MAX 200

/*
 * Checks a name: 1 to 200 bytes of UTF-8 without '/' and control characters, not "." or "..". One
 * leading '/' is dropped, so that POSIX spellings work: *ret points behind it, into `text`.
 *
 * Returns 0, REFUSAL_INVALID or REFUSAL_TOO_LONG. A name that passed is safe to print.
 */
int name_parse(const char *text, const char **ret, struct refusal *why);

#endif
