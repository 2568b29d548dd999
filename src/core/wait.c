/* SPDX-License-Identifier: MIT */
#include "core/wait.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/text.h"
#include "core/session.h"

/* --- names ------------------------------------------------------------------------------------ */

static struct waited_name *find_name(const struct waits *waits, const char *text)
{
	struct waited_name *name;

	HASH_FIND_STR(waits->names, text, name);
	return name;
}

static struct waited_name *get_name(struct waits *waits, const char *text)
{
	struct waited_name *name = find_name(waits, text);

	if (name) {
		name->refs++;
		return name;
	}
	name = calloc(1, sizeof(*name));
	if (!name)
		return NULL;
	name->refs = 1;
	text_copy(name->name, sizeof(name->name), text);
	HASH_ADD_STR(waits->names, name, name);
	if (HASH_ADDED(hh, name))
		return name;
	free(name);
	return NULL;
}

/* A name is kept by its waits, ready ones too. */
static void put_name(struct waits *waits, struct waited_name *name)
{
	if (--name->refs > 0)
		return;
	HASH_DEL(waits->names, name);
	free(name);
}

/* --- users ------------------------------------------------------------------------------------ */

static struct waiting_user *get_user(struct waits *waits, uid_t uid)
{
	struct waiting_user *user;

	HASH_FIND(hh, waits->users, &uid, sizeof(uid), user);
	if (user) {
		user->refs++;
		return user;
	}
	user = calloc(1, sizeof(*user));
	if (!user)
		return NULL;
	user->refs = 1;
	user->uid = uid;
	HASH_ADD(hh, waits->users, uid, sizeof(uid), user);
	if (HASH_ADDED(hh, user))
		return user;
	free(user);
	return NULL;
}

/* In turn are those who have waits that can be answered. */
static void set_turn(struct waits *waits, struct waiting_user *user)
{
	bool is_in_turn = user->ready && !user->is_held;

	if (is_in_turn == user->is_in_turn)
		return;
	user->is_in_turn = is_in_turn;
	if (!is_in_turn) {
		DL_DELETE(waits->ready, user);
		return;
	}
	DL_APPEND(waits->ready, user);
	if (waits->on_ready)
		waits->on_ready(waits->context);
}

static void put_user(struct waits *waits, struct waiting_user *user)
{
	if (--user->refs > 0)
		return;
	HASH_DEL(waits->users, user);
	free(user);
}

/* --- waits ------------------------------------------------------------------------------------ */

void waits_fini(struct waits *waits)
{
	HASH_CLEAR(hh, waits->names);
	HASH_CLEAR(hh, waits->users);
}

static void take_off_list(struct waits *waits, struct wait *wait)
{
	struct waiting_user *user = wait->user;

	if (wait->is_ready) {
		DL_DELETE(user->ready, wait);
		set_turn(waits, user);
	} else if (wait->is_far) {
		DL_DELETE(wait->name->far, wait);
	} else {
		DL_DELETE(wait->name->waits, wait);
	}
}

/* Ids and generations come from one counter, so only one that was never given is far. */
static void put_on_list(struct waits *waits, struct wait *wait)
{
	struct waited_name *name = wait->name;

	wait->is_far = wait->newer_than > waits->newest;
	if (!wait->is_far) {
		DL_APPEND(name->waits, wait);
		return;
	}
	if (!name->far || wait->newer_than < name->far_least)
		name->far_least = wait->newer_than;
	DL_APPEND(name->far, wait);
}

static void destroy(struct waits *waits, struct wait *wait)
{
	if (wait->name)
		put_name(waits, wait->name);
	if (wait->user)
		put_user(waits, wait->user);
	charge_release(&wait->charge);
	free(wait);
}

int wait_new(struct waits *waits, struct quota *quota, struct session *session, uint32_t number,
	     const char *name, uint64_t newer_than, uint32_t flags, struct wait **ret,
	     struct refusal *why)
{
	struct wait *wait = calloc(1, sizeof(*wait));

	if (!wait)
		return -ENOMEM;
	*wait = (struct wait){
		.session = session, .number = number, .flags = flags, .newer_than = newer_than};
	int r = quota_charge(quota, &session->who, QUOTA_WAITS, 1, &wait->charge, why);
	if (r == 0) {
		wait->name = get_name(waits, name);
		wait->user = get_user(waits, session->who.uid);
		r = wait->name && wait->user ? 0 : -ENOMEM;
	}
	if (r != 0) {
		destroy(waits, wait);
		return r;
	}
	put_on_list(waits, wait);
	DL_APPEND2(session->waits, wait, session_prev, session_next);
	*ret = wait;
	return 0;
}

struct wait *wait_free(struct waits *waits, struct wait *wait)
{
	if (!wait)
		return NULL;
	take_off_list(waits, wait);
	DL_DELETE2(wait->session->waits, wait, session_prev, session_next);
	destroy(waits, wait);
	return NULL;
}

struct wait *wait_find(const struct session *session, uint32_t number)
{
	struct wait *wait;

	DL_FOREACH2 (session->waits, wait, session_next)
		if (wait->number == number)
			return wait;
	return NULL;
}

void wait_make_ready(struct waits *waits, struct wait *wait)
{
	if (wait->is_ready)
		return;
	take_off_list(waits, wait);
	wait->is_ready = true;
	wait->is_parked = false;
	DL_APPEND(wait->user->ready, wait);
	set_turn(waits, wait->user);
}

void wait_hold(struct waits *waits, struct wait *wait)
{
	wait->user->is_held = true;
	take_off_list(waits, wait);
	wait->is_ready = true;
	DL_PREPEND(wait->user->ready, wait);
	set_turn(waits, wait->user);
}

void waits_release(struct waits *waits, uid_t uid)
{
	struct waiting_user *user;

	HASH_FIND(hh, waits->users, &uid, sizeof(uid), user);
	if (!user)
		return;
	user->is_held = false;
	set_turn(waits, user);
}

static void wake_far(struct waits *waits, struct waited_name *waited, uint64_t generation)
{
	struct wait *wait, *next;

	if (!waited->far || waited->far_least >= generation)
		return;
	waited->far_least = UINT64_MAX;
	DL_FOREACH_SAFE (waited->far, wait, next)
		if (wait->newer_than < generation)
			wait_make_ready(waits, wait);
		else if (wait->newer_than < waited->far_least)
			waited->far_least = wait->newer_than;
}

/* Those that wait for what nobody will see cost the others nothing. */
void waits_wake(struct waits *waits, const char *name, uint64_t generation)
{
	struct waited_name *waited = find_name(waits, name);

	waits->newest = generation;
	if (!waited)
		return;
	while (waited->waits)
		wait_make_ready(waits, waited->waits);
	wake_far(waits, waited, generation);
}

struct wait *waits_take_ready(struct waits *waits)
{
	struct waiting_user *user = waits->ready;

	if (!user)
		return NULL;
	/* The next one is another user's. */
	DL_DELETE(waits->ready, user);
	DL_APPEND(waits->ready, user);
	struct wait *wait = user->ready;
	take_off_list(waits, wait);
	wait->is_ready = false;
	put_on_list(waits, wait);
	return wait;
}
