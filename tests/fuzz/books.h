/* SPDX-License-Identifier: MIT */
/* Whether all that the daemon has written down agrees, with itself, with the kernel, and with what the
 * fuzzer of requests knows. */
#ifndef TESTS_FUZZ_BOOKS_H
#define TESTS_FUZZ_BOOKS_H

/* Nothing is used yet. */
void books_begin(void);

/* After each step. */
void books_check(void);

#endif
