/* SPDX-License-Identifier: MIT */
/*
 * What the service manager is told of the daemon while it runs: that it is ready, reads its configuration
 * again, ends, is alive (WatchdogSec=), and how it is. Never waits: what finds no room is sent when there is
 * some. Without a manager nothing happens. What was handed over is handed.h's, what is stored is not ours.
 */
#ifndef SHMD_SERVICE_H
#define SHMD_SERVICE_H

#include <stddef.h>

struct event_base;
struct service;

#define SERVICE_STATUS_MAX 1024

/* Says in one line how the daemon is, in at most `room` bytes. */
typedef void service_status_fn(char *ret, size_t room, void *context);

/* Begins to tell that the loop runs, if the manager wants to hear that. Returns 0 or -errno. */
int service_new(struct service **ret, struct event_base *loop, service_status_fn *fn,
		void *context);
struct service *service_free(struct service *service);

void service_ready(struct service *service);
void service_stopping(struct service *service);

/* Stand before and behind the reading of the configuration. The outcome is told behind the status: a failure
 * until the next time, a success (NULL) until the status changes. */
void service_reloading(struct service *service);
void service_reloaded(struct service *service, const char *failure);

/* To be called when something was served: tells how the daemon is if that has changed, once a second at
 * most, and with a daemon to which nothing happens not at all. */
void service_tick(struct service *service);

#endif
