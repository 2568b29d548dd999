/* SPDX-License-Identifier: MIT */
/*
 * Brings the registry's deadlines, its watch and its unused segments together with the loop: what the
 * core decides at a time, the reaper wakes it for; what it lets go of, the helper closes. When
 * nothing is due, nothing runs.
 */
#ifndef SHMD_REAPER_H
#define SHMD_REAPER_H

#include "core/registry.h"

struct event_base;
struct process_table;
struct reaper;
struct store;
struct turns;

int reaper_new(struct reaper **ret, struct event_base *loop, struct turns *turns,
	       struct registry *registry, struct process_table *processes);

/* From now on segments are stored there, too; what is large is taken out before the helper closes it. */
void reaper_set_store(struct reaper *reaper, struct store *store);

/* Waits until everything that was handed to the helper is closed. Returns NULL. */
struct reaper *reaper_free(struct reaper *reaper);

/* Gives what was put down to whom it is for: its maker, when it has been told, may be killed. Takes NULL:
 * nobody was served yet. */
void reaper_hand_over(struct reaper *reaper);

/* Looks what the registry has for it; to be called after everything that may have changed it. */
void reaper_kick(struct reaper *reaper);

#endif
