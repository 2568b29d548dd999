/* SPDX-License-Identifier: MIT */
/*
 * What a private daemon reaped while a command ran, and what it still has when the command has ended: heard
 * from its events, and told at the end on standard error. Knows nothing of the command.
 */
#ifndef SHMDCTL_REPORT_H
#define SHMDCTL_REPORT_H

struct context;
struct report;

/* Connects to the daemon at that socket, and listens. Returns 0, or -1 when it has said why not. */
int report_new(struct report **ret, struct context *context, const char *socket);

/* Readable when report_take_in() has something to do. */
int report_fd(const struct report *report);

/* Takes in the events that have come. Returns 0, or -1: the daemon is gone, and no more will come. */
int report_take_in(struct report *report);

/* Waits, a second at most, until what the dead have left is reaped, and tells everything. */
void report_tell(struct report *report);

/* Takes NULL; returns NULL. */
struct report *report_free(struct report *report);

#endif
