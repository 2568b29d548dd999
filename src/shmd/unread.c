/* SPDX-License-Identifier: MIT */
#include "shmd/unread.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <utlist.h>

#include "shmd/closer.h"

/* So many are worth a look at the client's own socket, before its charge keeps others from something. */
#define WORTH_A_LOOK 16

struct unread {
	int socket;
	bool has_left;
	unsigned reserved; /* of the charge: they are in no socket yet */
	struct charge charge;
	struct charge client; /* of one that has left */
	struct unread_list *list;
	bool is_listed; /* there is something to look for */
	struct unread *prev, *next;
};

int unread_new(struct unread **ret, int socket, struct unread_list *list, struct quota *quota,
	       const struct credentials *who, struct refusal *why)
{
	struct unread *unread = calloc(1, sizeof(*unread));

	if (!unread)
		return -ENOMEM;
	unread->socket = socket;
	unread->list = list;
	int r = quota_charge(quota, who, QUOTA_UNREAD, 0, &unread->charge, why);
	if (r != 0) {
		free(unread);
		return r;
	}
	*ret = unread;
	return 0;
}

static void set_listed(struct unread *unread, bool listed)
{
	if (listed == unread->is_listed)
		return;
	unread->is_listed = listed;
	if (listed)
		DL_APPEND(unread->list->first, unread);
	else
		DL_DELETE(unread->list->first, unread);
}

static void destroy(struct unread *unread)
{
	set_listed(unread, false);
	unread->list->n_left -= unread->has_left;
	closer_close(unread->list->closer, unread->socket, &unread->client, &unread->charge);
	free(unread);
}

static bool all_is_read(const struct unread *unread)
{
	int bytes;

	return ioctl(unread->socket, SIOCOUTQ, &bytes) < 0 || bytes == 0;
}

struct unread *unread_leave(struct unread *unread, struct charge *client)
{
	if (!unread)
		return NULL;
	unread->client = *client;
	*client = (struct charge){0};
	if (!unread->is_listed || all_is_read(unread)) {
		destroy(unread);
		return NULL;
	}
	/* The client sees its end, behind what it has not read. */
	shutdown(unread->socket, SHUT_RDWR);
	unread->has_left = true;
	unread->reserved = 0;
	unread->list->n_left++;
	/* Its own went with its process, which holds permits. */
	if (!unread->client.user)
		charge_anyway(&unread->charge, QUOTA_CLIENTS, 1, &unread->client);
	return NULL;
}

void unread_list_fini(struct unread_list *list)
{
	struct unread *unread, *next;

	DL_FOREACH_SAFE (list->first, unread, next)
		if (unread->has_left)
			destroy(unread);
}

/* --- charging --------------------------------------------------------------------------------- */

static void settle(struct unread *unread)
{
	charge_shrink(&unread->charge, unread->charge.amount - unread->reserved);
	set_listed(unread, unread->reserved > 0);
}

int unread_reserve(struct unread *unread, const struct credentials *who, unsigned n,
		   struct refusal *why)
{
	if (unread->charge.amount - unread->reserved >= WORTH_A_LOOK && all_is_read(unread))
		settle(unread);
	int r = charge_grow(&unread->charge, who, n, why);
	if (r != 0)
		return r;
	unread->reserved += n;
	set_listed(unread, true);
	return 0;
}

void unread_return(struct unread *unread, unsigned n)
{
	unread->reserved -= n;
	charge_shrink(&unread->charge, n);
	set_listed(unread, unread->charge.amount > 0);
}

void unread_sent(struct unread *unread, unsigned n)
{
	unread->reserved -= n;
}

bool unread_others(const struct unread *unread)
{
	return unread->charge.quota->used[QUOTA_UNREAD] > unread->reserved;
}

/* --- looking ---------------------------------------------------------------------------------- */

/* Returns whether anything was read. The entry may be gone then. */
static bool look_at(struct unread *unread)
{
	bool is_news = unread->charge.amount > unread->reserved && all_is_read(unread);

	if (is_news && unread->has_left)
		destroy(unread);
	else if (is_news)
		settle(unread);
	return is_news;
}

bool unread_look(struct unread_list *list, unsigned most)
{
	struct unread *last = list->first ? list->first->prev : NULL;
	bool is_news = false;

	while (list->first && most-- > 0) {
		struct unread *unread = list->first;
		bool is_last = unread == last;
		/* The next look goes on where this one ends. */
		DL_DELETE(list->first, unread);
		DL_APPEND(list->first, unread);
		is_news |= look_at(unread);
		if (is_last)
			break;
	}
	return is_news;
}
