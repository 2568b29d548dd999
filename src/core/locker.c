/* SPDX-License-Identifier: MIT */
#include "core/locker.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "core/heir.h"
#include "core/ledger.h"

void estate_init(struct estate *estate, struct estate **emptied)
{
	*estate = (struct estate){.emptied = emptied};
}

static void estate_list(struct estate *estate)
{
	if (estate->is_listed)
		return;
	estate->is_listed = true;
	DL_APPEND(*estate->emptied, estate);
}

void estate_unlist(struct estate *estate)
{
	if (!estate->is_listed)
		return;
	estate->is_listed = false;
	DL_DELETE(*estate->emptied, estate);
}

void estate_note_change(struct estate *estate)
{
	if (estate_is_empty(estate))
		estate_list(estate);
	else
		estate_unlist(estate);
}

void estate_fini(struct estate *estate)
{
	struct locker *locker, *next;

	DL_FOREACH_SAFE2 (estate->lockers, locker, next, estate_next)
		locker_free(locker);
	while (estate->kept)
		heir_fini(estate->kept);
	estate_unlist(estate);
}

/* `wanted`: that number; 0: any. */
static int make(struct ledger *ledger, struct estate *estate, uint64_t segment_id, pid_t pid,
		uid_t uid, unsigned wanted, struct locker **ret)
{
	struct locker *locker = calloc(1, sizeof(*locker));

	if (!locker)
		return -ENOMEM;
	int number = wanted ? ledger_take_this_number(ledger, wanted) : ledger_take_number(ledger);
	if (number < 0) {
		free(locker);
		return number;
	}
	*locker = (struct locker){.ledger = ledger,
				  .estate = estate,
				  .number = (unsigned)number,
				  .segment_id = segment_id,
				  .pid = pid,
				  .uid = uid};
	DL_APPEND(ledger->lockers, locker);
	DL_APPEND2(estate->lockers, locker, estate_prev, estate_next);
	estate_note_change(estate);
	*ret = locker;
	return 0;
}

int locker_new(struct ledger *ledger, struct estate *estate, uint64_t segment_id, pid_t pid,
	       uid_t uid, struct locker **ret)
{
	return make(ledger, estate, segment_id, pid, uid, 0, ret);
}

int locker_restore(struct ledger *ledger, struct estate *estate, uint64_t segment_id, pid_t pid,
		   uid_t uid, unsigned number, struct locker **ret)
{
	return make(ledger, estate, segment_id, pid, uid, number, ret);
}

static void take_out_of_left(struct locker *locker)
{
	if (!HASH_ADDED(hh, locker))
		return;
	HASH_DEL(locker->estate->left, locker);
	locker->hh.tbl = NULL;
}

struct locker *locker_free(struct locker *locker)
{
	if (!locker)
		return NULL;
	take_out_of_left(locker);
	DL_DELETE(locker->ledger->lockers, locker);
	DL_DELETE2(locker->estate->lockers, locker, estate_prev, estate_next);
	ledger_return_number(locker->ledger, locker);
	charge_release(&locker->charge);
	row_clear(&locker->row);
	estate_note_change(locker->estate);
	free(locker);
	return NULL;
}

void locker_leave(struct locker *locker, struct charge *charge)
{
	locker->was_left = true;
	locker->charge = *charge;
	*charge = (struct charge){0};
	/* Without memory it stays all the same, and is only not taken up again. */
	HASH_ADD(hh, locker->estate->left, segment_id, sizeof(locker->segment_id), locker);
}

void locker_take_up_this(struct locker *locker)
{
	take_out_of_left(locker);
	charge_release(&locker->charge);
}

struct locker *locker_take_up(struct estate *estate, uint64_t segment_id)
{
	struct locker *locker;

	HASH_FIND(hh, estate->left, &segment_id, sizeof(segment_id), locker);
	if (locker)
		locker_take_up_this(locker);
	return locker;
}
