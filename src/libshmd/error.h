/* SPDX-License-Identifier: MIT */
/* The last failure of each thread, as a sentence; and what errno each code of the protocol means. */
#ifndef LIBSHMD_ERROR_H
#define LIBSHMD_ERROR_H

/* Notes the sentence and returns r, a negative errno. */
int error_set(int r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for a failed system call: what was being done, and what errno says. */
int error_errno(int r, const char *what);

/* The negative errno for a code of the protocol. */
int error_of_code(unsigned code);

#endif
