/* SPDX-License-Identifier: MIT */
/*
 * Whether we are still in the process that made a handle. The kernel wipes one page of ours in every
 * forked child, which makes the question a load from memory; asking for the pid would be a system
 * call each time, and handlers of pthread_atfork(3) do not see every kind of fork.
 */
#ifndef LIBSHMD_FORK_H
#define LIBSHMD_FORK_H

/* Prepares it; to be called before the first handle is made. Returns 0 or -errno. */
int fork_init(void);

/* A number that differs in each generation of forked children. */
unsigned fork_generation(void);

/* Guards what a child makes new in the handles it inherited. It is never inherited locked, and a thread
 * that holds it cannot be cancelled. */
void fork_lock(void);
void fork_unlock(void);

#endif
