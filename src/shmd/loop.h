/* SPDX-License-Identifier: MIT */
/* What libevent's destructors lack: they take NULL here, and return it. */
#ifndef SHMD_LOOP_H
#define SHMD_LOOP_H

#include <event2/event.h>
#include <stddef.h>

static inline struct event *loop_event_free(struct event *event)
{
	if (event)
		event_free(event);
	return NULL;
}

#endif
