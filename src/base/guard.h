/* SPDX-License-Identifier: MIT */
/*
 * Access to memory whose file somebody else may truncate, which the kernel answers with SIGBUS. What
 * runs under guard is cut short by that instead of ending the process.
 */
#ifndef BASE_GUARD_H
#define BASE_GUARD_H

typedef void guard_fn(void *context);

/* Takes SIGBUS over, for the whole process. One that comes without a guard ends the process as
 * before. Returns 0 or -errno. */
int guard_init(void);

/* Runs fn; returns 0, or -EFAULT if SIGBUS cut it short, at any of its instructions: it may own
 * nothing that would have to be freed. Guards do not nest. */
int guard_run(guard_fn *fn, void *context);

#endif
