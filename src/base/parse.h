/* SPDX-License-Identifier: MIT */
/*
 * Numbers, sizes and durations as people write them, checked: no sign, no white space, no overflow,
 * nothing left over. All return 0, -EINVAL (not one) or -ERANGE (too large), and write on success.
 */
#ifndef BASE_PARSE_H
#define BASE_PARSE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Decimal digits only. */
int parse_u64(const char *text, uint64_t *ret);

/* Bytes: digits, then nothing or one of K M G T (powers of 1024). */
int parse_size(const char *text, uint64_t *ret);

/* Milliseconds: a number, a fraction allowed, then ms, s, min, h or d; without a unit, seconds. */
int parse_duration_ms(const char *text, uint64_t *ret);

/* Permission bits in octal, 0 to 0777. */
int parse_mode(const char *text, mode_t *ret);

/* Writes bytes, or milliseconds, with the largest unit that keeps them exact. */
#define FORMAT_MAX 32
const char *format_size(uint64_t bytes, char buffer[static FORMAT_MAX]);
const char *format_duration_ms(uint64_t ms, char buffer[static FORMAT_MAX]);

/* Writes bytes for people, who want to know about how many: "512 B", "3.4 MiB". */
const char *format_size_about(uint64_t bytes, char buffer[static FORMAT_MAX]);

#endif
