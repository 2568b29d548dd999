/* SPDX-License-Identifier: MIT */
/*
 * Waits as those who wait see them, for the fuzzer of requests: whoever can be sent nothing has their
 * waits held, all together and in their order, and whatever can be answered is, or will be.
 */
#ifndef TESTS_FUZZ_WAITING_H
#define TESTS_FUZZ_WAITING_H

struct person;
struct wait;

/* Before a daemon starts. */
void waiting_begin(void);

/* That one is ready; the loop comes round, and waiting_done() when it has answered as many as it likes. */
void waiting_ask(void);
void waiting_done(void);

/* That one is to be answered now, which none is that is held; held it is put back. */
void waiting_take(const struct wait *wait);
void waiting_hold(struct wait *wait);
void waiting_release(const struct person *who);

/* After each step: that the core's lists are what they should be. */
void waiting_check(void);

/* When nobody is held, or behind, and nothing is left to be answered: that nothing was forgotten. */
void waiting_check_all_answered(void);

#endif
