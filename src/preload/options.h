/* SPDX-License-Identifier: MIT */
/* What the environment says: SHMD_PRELOAD_*. */
#ifndef PRELOAD_OPTIONS_H
#define PRELOAD_OPTIONS_H

#include <stdbool.h>

#include "libshmd/shmd.h"

struct options {
	enum shmd_lifetime lifetime; /* of what is created */
	unsigned linger_ms;
	bool requires_daemon;
	bool recovers;
};

/*
 * Reads the environment at the first call in a process. Where a value is bad, says so once on standard
 * error, and returns -EINVAL from then on: what was asked for by mistake is not to be guessed.
 */
int options_get(const struct options **ret);

#endif
