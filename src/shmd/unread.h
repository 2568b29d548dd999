/* SPDX-License-Identifier: MIT */
/*
 * Descriptors that were sent in replies, and lie in a client's socket until it reads them. The kernel
 * counts them for the daemon's user, and past RLIMIT_NOFILE of them nobody can be sent any more: so they
 * are charged, to the user of the client, before a reply is made.
 *
 * The kernel tells of each socket only whether all was read (SIOCOUTQ). It is asked where a charge does
 * not fit, so that who reads pays nothing; until then a charge may be greater than what is unread, and
 * never less. Closing the socket takes nothing back while the other side has its own open: what a client
 * leaves unread outlives the client here.
 */
#ifndef SHMD_UNREAD_H
#define SHMD_UNREAD_H

#include <stdbool.h>

#include "core/quota.h"

struct closer;
struct unread;

/* Sockets with unread descriptors, or such that had some when they were last looked at. */
struct unread_list {
	struct unread *first;
	unsigned n_left;       /* whose clients have gone */
	struct closer *closer; /* somebody else's */
};

/* One socket's, which it takes over. Charges nothing yet. 0, a refusal or -ENOMEM. */
int unread_new(struct unread **ret, int socket, struct unread_list *list, struct quota *quota,
	       const struct credentials *who, struct refusal *why);

/* The client goes. Closes the socket once all is read, which is charged as a client until it is closed:
 * takes that charge over, or, where it is needed for something else, makes another. Takes NULL; returns
 * NULL. */
struct unread *unread_leave(struct unread *unread, struct charge *client);

/* Closes all that clients have left. */
void unread_list_fini(struct unread_list *list);

/* There may come so many descriptors with the next reply. 0 or REFUSAL_LIMIT. */
int unread_reserve(struct unread *unread, const struct credentials *who, unsigned n,
		   struct refusal *why);

/* So many of the reserved ones did not come, or were sent. */
void unread_return(struct unread *unread, unsigned n);
void unread_sent(struct unread *unread, unsigned n);

/* Whether others than those of a reply that is being made are unread, of anybody's, as far as is known. */
bool unread_others(const struct unread *unread);

/* Looks at some of a list's sockets. Returns whether anything was read. */
bool unread_look(struct unread_list *list, unsigned most);

#endif
