/* SPDX-License-Identifier: MIT */
/*
 * Whether we are still in the process that made a handle. The kernel wipes one page of ours in every
 * forked child, which makes the question a load from memory; asking for the pid would be a system
 * call each time, and handlers of pthread_atfork(3) do not see every kind of fork.
 */
#ifndef LIBSHMD_FORK_H
#define LIBSHMD_FORK_H

#include <stdatomic.h>

/* Prepares it; to be called before the first handle is made. Returns 0 or -errno. */
int fork_init(void);

/* The wiped page: the generation of this process, and 0 in a child that has not asked yet. */
struct fork_page {
	_Atomic unsigned generation;
};

extern struct fork_page *fork_page;

/* Counts a child's generation on, and is the only one that does. */
unsigned fork_enter_child(void);

/* A number, not 0, that differs in each generation of forked children. */
static inline unsigned fork_generation(void)
{
	unsigned generation = atomic_load_explicit(&fork_page->generation, memory_order_acquire);

	return __builtin_expect(generation != 0, 1) ? generation : fork_enter_child();
}

/* Guards what a child makes new in the handles it inherited. It is never inherited locked, and a thread
 * that holds it cannot be cancelled. */
void fork_lock(void);
void fork_unlock(void);

#endif
