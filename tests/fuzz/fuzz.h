/* SPDX-License-Identifier: MIT */
/* What the fuzzers share: an assertion that stands in every build, and a reader of the input. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOLDS(condition)                                                                  \
	do {                                                                              \
		if (!(condition)) {                                                       \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, \
				#condition);                                              \
			abort();                                                          \
		}                                                                         \
	} while (0)

/* libFuzzer calls them. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* The input, taken from its beginning; behind its end there are zeroes. */
struct input {
	const uint8_t *p;
	size_t left;
};

static inline unsigned take(struct input *input)
{
	if (input->left == 0)
		return 0;
	input->left--;
	return *input->p++;
}

static inline void take_bytes(struct input *input, void *to, size_t size)
{
	size_t n = size < input->left ? size : input->left;

	memset(to, 0, size);
	if (n > 0)
		memcpy(to, input->p, n);
	input->p += n;
	input->left -= n;
}

#endif
