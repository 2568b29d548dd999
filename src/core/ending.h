/* SPDX-License-Identifier: MIT */
/*
 * How segments end: when nobody has one any more by its lifetime, what is dropped then, what lingers,
 * and how it is found out that the memory is gone. A part of the registry, which it works on; what its
 * owner calls is declared in registry.h.
 */
#ifndef CORE_ENDING_H
#define CORE_ENDING_H

#include "base/log.h"
#include "core/registry.h"

/* Its users have changed: it is settled with the queue's turn. */
void ending_enqueue(struct registry *registry, struct segment *segment);

/* Brings a segment to the state that follows from who has it now; the second form says how remarkable
 * its end is. */
void ending_settle(struct registry *registry, struct segment *segment, uint64_t now);
void ending_settle_as(struct registry *registry, struct segment *segment, enum log_level level,
		      uint64_t now);

/* Brings what a name leads to up to date before anybody is answered about it: its users may have gone,
 * and its turn in the queue not come. Returns what the name leads to then, or NULL. */
struct segment *ending_settle_name(struct registry *registry, const char *name, uint64_t now);

/* The name leads to it no more, and its semaphore loses its own. */
void ending_drop_name(struct registry *registry, struct segment *segment);

/* The binding of what was published is a user no more. */
void ending_release_binding(struct segment *segment);

/* It is in use again. */
void ending_stop_tests(struct registry *registry, struct segment *segment);

#endif
