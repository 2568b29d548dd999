/* SPDX-License-Identifier: MIT */
/*
 * Answers the waits that are ready, some at a time, so that thousands who wait for one name hold
 * nobody else up. A client that does not read its replies is left out until it does.
 */
#ifndef SHMD_WAKER_H
#define SHMD_WAKER_H

struct client;
struct server;
struct waker;

int waker_new(struct waker **ret, struct server *server);
struct waker *waker_free(struct waker *waker);

/* The client reads again: what was ready for it in the meantime is. */
void waker_resume(struct client *client);

#endif
