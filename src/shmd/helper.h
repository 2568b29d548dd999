/* SPDX-License-Identifier: MIT */
/*
 * One thread for what may take long and must not hold up the loop: closing the last descriptor of a
 * large segment frees its pages, which takes seconds for 16 GiB. The thread owns nothing but the job
 * it was handed, and logs nothing. Jobs are done in the order they came.
 */
#ifndef SHMD_HELPER_H
#define SHMD_HELPER_H

struct helper;

/* Embedded in what the job is about. run() is called on the thread, done() afterwards on the loop. */
struct helper_job {
	void (*run)(struct helper_job *job);
	void (*done)(struct helper_job *job);
	struct helper_job *prev, *next;
};

/* Starts the thread. Returns 0 or -errno. */
int helper_new(struct helper **ret);

/* Waits for the jobs that were handed over, calls done() for each, and ends the thread. NULL. */
struct helper *helper_free(struct helper *helper);

/* Readable when jobs are done and helper_reap() should be called. Stays the helper's. */
int helper_fd(const struct helper *helper);

void helper_submit(struct helper *helper, struct helper_job *job);

/* Calls done() for the jobs that are. Never blocks. */
void helper_reap(struct helper *helper);

#endif
