/* SPDX-License-Identifier: MIT */
/*
 * Sends events to those who have subscribed, some at a time, so that many subscribers hold nobody up.
 * One that does not read is left alone until it does, and loses what comes meanwhile.
 */
#ifndef SHMD_NOTIFIER_H
#define SHMD_NOTIFIER_H

struct client;
struct notifier;
struct server;

int notifier_new(struct notifier **ret, struct server *server);
struct notifier *notifier_free(struct notifier *notifier);

/* The client reads again. */
void notifier_resume(struct client *client);

#endif
