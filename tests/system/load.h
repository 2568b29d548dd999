/* SPDX-License-Identifier: MIT */
/*
 * A load that a daemon is restarted under: many clients with many segments that do everything, some that
 * hold locks all the while, and some that wait for names that come only after a restart. Nothing may be
 * lost, doubled or changed, and no call may fail that has no reason of its own to. Knows neither Check nor
 * who restarts the daemon, so that the same load runs under a manager of the tests' and a real systemd.
 */
#ifndef TESTS_SYSTEM_LOAD_H
#define TESTS_SYSTEM_LOAD_H

#include <stdbool.h>
#include <stdint.h>

struct load_plan {
	unsigned clients;
	unsigned segments;   /* that stay, of all of them */
	unsigned holders;    /* clients that hold a lock each, at most all */
	unsigned waiters;    /* processes besides */
	unsigned restarts;   /* by half of them, and the other half crashes */
	unsigned pause_us;   /* of a client between two calls, on average */
	unsigned moments_ms; /* how far from each other restarts are, at most */
	uint64_t seed;
	const char *kinds[2]; /* what it says they are, odd and even ones; NULL: restart, crash */

	/* Ends the daemon and lets it start again. May return before that is ready. */
	void (*restart)(bool is_crash, void *context);
	void *context;
};

/* Runs it on $SHMD_SOCKET, and says on standard output, in lines that begin with '#', what was seen and what
 * was wrong. Returns whether all was well. Leaves no process. */
bool load_run(const struct load_plan *plan);

#endif
