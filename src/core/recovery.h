/* SPDX-License-Identifier: MIT */
/*
 * When permits are given back: what makes a segment's ledger due, and when an attempt that had to
 * wait is made again. How they are given back is the ledger's business.
 *
 * Its owner calls recovery_settle() for a segment that is due, and for those whose timers have run.
 */
#ifndef CORE_RECOVERY_H
#define CORE_RECOVERY_H

#include <stdint.h>

#include "base/heap.h"
#include "core/journal.h"
#include "core/segment.h"
#include "core/statistics.h"

struct recovery {
	struct heap timers;           /* of segments to be tried again */
	struct segment *by_semaphore; /* whose semaphores have names */
	struct watch *watch;
	struct statistics *statistics;
	struct journal *journal;
};

void recovery_init(struct recovery *recovery, struct watch *watch, struct statistics *statistics,
		   struct journal *journal);
void recovery_fini(struct recovery *recovery);

/* Enters a new segment, with or without a semaphore. Returns 0 or -ENOMEM. */
int recovery_add(struct recovery *recovery, struct segment *segment);

/* Its semaphore is about to lose its name. `on_close` is told when somebody closes it from now on. */
void recovery_drop_name(struct recovery *recovery, struct segment *segment, watch_fn *on_close);

/* Nobody has it any more: its lockers are freed, and it is in no table of ours. */
void recovery_remove(struct recovery *recovery, struct segment *segment);

/* The segment whose semaphore is that file of the folder, or NULL. */
struct segment *recovery_find(const struct recovery *recovery, const char *file);

/* A program may have died that had opened the semaphore by name: recovery_settle() is to look. */
void recovery_note_close(struct segment *segment);

/* Gives back what can be given back now, and sets the timer for the rest. */
void recovery_settle(struct recovery *recovery, struct segment *segment, uint64_t now);

/* One whose timer has run, or NULL. */
struct segment *recovery_take_expired(struct recovery *recovery, uint64_t now);

#endif
