/* SPDX-License-Identifier: MIT */
/*
 * What keeps threads of one process apart between the first and the last step of an operation on a
 * segment with several permits: they share a number, and so a slot. One for all handles of the
 * process with the same number, and never inherited.
 */
#ifndef LIBSHMD_GATE_H
#define LIBSHMD_GATE_H

#include <stdbool.h>
#include <stdint.h>

struct gate;

/* A reference to the gate of that number of that segment; NULL: no memory. The caller of these two
 * holds fork_lock(). */
struct gate *gate_get(uint64_t segment_id, unsigned number);

/* Gives a reference back, also one that was inherited. Takes NULL and returns NULL. */
struct gate *gate_put(struct gate *gate);

/* Nobody else of this process is between these two. gate_leave() is told what gate_enter() returned:
 * a process with one thread needs no lock, and gets its second one only outside. */
bool gate_enter(struct gate *gate);
void gate_leave(struct gate *gate, bool entered);

#endif
