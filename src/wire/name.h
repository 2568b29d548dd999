/* SPDX-License-Identifier: MIT */
/* The rules for names of segments, which both sides know. */
#ifndef WIRE_NAME_H
#define WIRE_NAME_H

#include "wire/protocol.h"

/*
 * A name has 1 to WIRE_NAME_MAX bytes of UTF-8 without control characters and '/', and is not "." or
 * "..". One leading '/' is dropped. Returns 0 with *ret pointing into text; -EINVAL or -ENAMETOOLONG
 * with a sentence in why.
 */
int name_check(const char *text, const char **ret, char why[static WIRE_TEXT_SIZE]);

#endif
