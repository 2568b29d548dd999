/* SPDX-License-Identifier: MIT */
#include "waiting.h"

#include <utlist.h>

#include "core/wait.h"
#include "fuzz.h"
#include "world.h"

/* Of each user: `first` is the wait that was held, and is to be answered before the others. */
static struct {
	bool is_held;
	const struct wait *first;
} users[PEOPLE];

static bool is_asked;

static struct waits *all(void)
{
	return &server.registry->waits;
}

static long index_of(uid_t uid)
{
	return person_of(uid) - people;
}

void waiting_begin(void)
{
	memset(users, 0, sizeof(users));
	is_asked = false;
}

/* --- what happens ----------------------------------------------------------------------------- */

void waiting_ask(void)
{
	is_asked = true;
}

void waiting_done(void)
{
	is_asked = is_asked && all()->ready;
}

void waiting_take(const struct wait *wait)
{
	long i = index_of(wait->session->who.uid);

	HOLDS(!users[i].is_held);
	HOLDS(!users[i].first || users[i].first == wait);
	users[i].first = NULL;
}

void waiting_hold(struct wait *wait)
{
	long i = index_of(wait->session->who.uid);

	wait_hold(all(), wait);
	users[i].is_held = true;
	users[i].first = wait;
}

void waiting_release(const struct person *who)
{
	waits_release(all(), who->uid);
	users[who - people].is_held = false;
}

/* --- whether the core agrees ------------------------------------------------------------------ */

static bool is_one_of(const struct wait *list, const struct wait *wait)
{
	while (list && list != wait)
		list = list->next;
	return list != NULL;
}

static void check_place(const struct wait *wait)
{
	const struct waited_name *name = wait->name;

	if (wait->is_ready)
		HOLDS(is_one_of(wait->user->ready, wait));
	else
		HOLDS(is_one_of(wait->is_far ? name->far : name->waits, wait));
	/* Who is behind is looked at again when they are not; who is held, too. */
	HOLDS(!wait->is_parked || !wait->is_ready);
}

static bool is_in_turn(const struct waiting_user *user)
{
	const struct waiting_user *u = all()->ready;

	while (u && u != user)
		u = u->next;
	return u != NULL;
}

/* Who waits for nothing more is forgotten, and so is that they were held. */
static void check_user(long i, unsigned waits, unsigned ready, bool has_first)
{
	struct waiting_user *user;
	const struct wait *wait;
	unsigned n;

	HASH_FIND(hh, all()->users, &people[i].uid, sizeof(uid_t), user);
	HOLDS(!user == (waits == 0));
	if (!has_first)
		users[i].first = NULL;
	if (!user) {
		users[i].is_held = false;
		return;
	}
	DL_COUNT(user->ready, wait, n);
	HOLDS(user->refs == waits && n == ready);
	HOLDS(user->is_held == users[i].is_held);
	HOLDS(user->is_in_turn == (n > 0 && !user->is_held));
	HOLDS(is_in_turn(user) == user->is_in_turn);
	HOLDS(!users[i].first || user->ready == users[i].first);
}

static unsigned check_users(void)
{
	unsigned waits[PEOPLE] = {0}, ready[PEOPLE] = {0}, n = 0;
	bool has_first[PEOPLE] = {false};
	const struct wait *wait;

	for (unsigned i = 0; i < CLIENTS; i++) {
		if (!clients[i])
			continue;
		long k = index_of(clients[i]->session.who.uid);
		DL_FOREACH2 (clients[i]->session.waits, wait, session_next) {
			check_place(wait);
			waits[k]++;
			ready[k] += wait->is_ready;
			has_first[k] = has_first[k] || wait == users[k].first;
		}
	}
	for (long i = 0; i < PEOPLE; i++) {
		check_user(i, waits[i], ready[i], has_first[i]);
		n += waits[i];
	}
	return n;
}

void waiting_check(void)
{
	unsigned n = check_users();

	for (const struct waited_name *name = all()->names; name; name = name->hh.next)
		n -= name->refs;
	HOLDS(n == 0);
	/* Somebody will come to answer them. */
	HOLDS(!all()->ready || is_asked);
}

void waiting_check_all_answered(void)
{
	const struct segment *segment;
	const struct wait *wait;

	for (unsigned i = 0; i < CLIENTS; i++) {
		if (!clients[i])
			continue;
		DL_FOREACH2 (clients[i]->session.waits, wait, session_next) {
			segment = registry_by_name(server.registry, wait->name->name);
			HOLDS(!wait->is_ready && !wait->is_parked);
			HOLDS(!segment || segment->generation <= wait->newer_than);
		}
	}
}
