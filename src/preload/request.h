/* SPDX-License-Identifier: MIT */
/* What shared memory and semaphores have in common: whether a name is the daemon's business, and what it is
 * asked. */
#ifndef PRELOAD_REQUEST_H
#define PRELOAD_REQUEST_H

#include <stdbool.h>

#include "libshmd/posix.h"
#include "preload/broker.h"

/*
 * Both return 0; BROKER_NONE: the native function is to be called; or the negative errno that the call
 * fails with. Of a request, kind, flags and value are to be filled in; the mode is what the program said.
 * May be called by every thread; none is cancelled meanwhile.
 */
int request_open(struct posix_request *request, const char *name, struct posix_answer *ret,
		 struct shmd **ret_connection);
int request_unlink(enum posix_kind kind, const char *name);

#endif
