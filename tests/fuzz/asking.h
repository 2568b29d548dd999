/* SPDX-License-Identifier: MIT */
/* Requests, made from the input so that most of them mean something. */
#ifndef TESTS_FUZZ_ASKING_H
#define TESTS_FUZZ_ASKING_H

#include <stddef.h>
#include <stdint.h>

struct input;

/* A packet with one request of that operation, or with several of any that may stand with others.
 * Writes it to server.in and returns its size. */
size_t asking_one(struct input *input, unsigned op);
size_t asking_batch(struct input *input);

/* The id of a segment that has been, is, or will be. */
uint64_t asking_id(struct input *input);

#endif
