/* SPDX-License-Identifier: MIT */
/*
 * A pair of sockets in which descriptors lie as messages that nobody reads: whoever has both ends has all
 * of them. So the service manager keeps two descriptors for those of many segments, and is not told of each
 * that comes and goes: putting one in is a message to ourselves. (It looks at each descriptor that it has
 * when it gets one more, which with thousands takes it milliseconds, and many wake-ups.)
 *
 * What lies there counts as descriptors in flight, and each message has a key.
 */
#ifndef SHMD_POUCH_H
#define SHMD_POUCH_H

#include <stdbool.h>
#include <stdint.h>

/* Segments in one: to take one out, those before it are put behind it, some 3 us each. */
#define POUCH_ROOM 16u

/* Descriptors of a segment. */
#define POUCH_DESCRIPTORS_MAX 3

struct pouch {
	int in, out;
	unsigned number; /* of its name */
	unsigned n;      /* messages */
	bool is_stored;  /* with the service manager */
	struct pouch *prev, *next;
};

/* Returns 0 or -errno. */
int pouch_new(struct pouch **ret, unsigned number);

/* The same out of both ends of one that there was, in any order, which are taken over also on failure. */
int pouch_adopt(struct pouch **ret, unsigned number, const int ends[static 2]);

/* Closes our ends. Takes NULL; returns NULL. */
struct pouch *pouch_free(struct pouch *pouch);

/* Returns 0; -EAGAIN: it is full; -ETOOMANYREFS: too many descriptors are in flight; or -errno. */
int pouch_put(struct pouch *pouch, uint32_t key, const int *fds, unsigned n);

/* Takes one message of that key out, and closes what it brings. An end of ours in the middle of it leaves a
 * message twice, and loses none. Returns 0; -ENOENT: there is none; or -errno, and it can be tried again. */
int pouch_take_out(struct pouch *pouch, uint32_t key);

/* Looks at the messages, one after the other, from the first: `offset` is 0 then, and counted on. Returns the
 * number of descriptors, which are the caller's; -ENOENT: that was all; or -errno. */
int pouch_look(struct pouch *pouch, int *offset, uint32_t *ret_key,
	       int ret_fds[static POUCH_DESCRIPTORS_MAX]);

#endif
