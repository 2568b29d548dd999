/* SPDX-License-Identifier: MIT */
/* Where a command reads what goes into a segment: a file, or standard input. Says itself what fails. */
#ifndef SHMDCTL_INPUT_H
#define SHMDCTL_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct context;

struct input {
	struct context *context;
	const char *name; /* for people */
	int fd;
};

/* Opens the file; NULL or "-" is standard input. Returns 0, or -1 when it has said why not. */
int input_open(struct context *context, const char *path, struct input *ret);
void input_close(struct input *input);

/*
 * The bytes from here to the end of a regular file. Returns false for everything else, and for files
 * that say 0, as those in /proc do whatever they hold.
 */
bool input_size(const struct input *input, uint64_t *ret);

/* Reads to the end, `size` bytes at most. Returns 0, or -1 when it has said why not. */
int input_read(const struct input *input, char *data, size_t size, size_t *ret_size);

#endif
