/* SPDX-License-Identifier: MIT */
/* Times of want: no more descriptors, or no more memory and room in the kernel's tables, while the
 * daemon does one thing. */
#ifndef TESTS_FUZZ_SHORTAGE_H
#define TESTS_FUZZ_SHORTAGE_H

#include <stdbool.h>

/* The next thing is done with so many descriptors, and so many allocations, at most. */
#define SHORTAGE_NONE 255
void shortage_plan(unsigned descriptors, unsigned allocations);

/* Around what is done. */
void shortage_begin(void);
void shortage_end(void);

/* Whether there was want in what was done last, and since shortage_forget(). */
bool shortage_was_now(void);
bool shortage_was_ever(void);
void shortage_forget(void);

#endif
