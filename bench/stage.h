/* SPDX-License-Identifier: MIT */
/*
 * What must be gone when the program ends, however it ends: the daemon, the folder with its socket,
 * and names in /dev/shm. The measurements run in a process of their own, which may fail or be killed
 * anywhere; the one that set the stage waits for it, and clears up.
 */
#ifndef BENCH_STAGE_H
#define BENCH_STAGE_H

#include <semaphore.h>
#include <sys/types.h>

struct stage {
	char folder[64];
	char socket[96];
	char config[96];
	char log[96];
	char prefix[32]; /* of the names in /dev/shm that are the benchmark's own */
	pid_t daemon;
};

/* Starts the daemon that $SHMD names, with limits that nothing here reaches, and sets SHMD_SOCKET.
 * Returns 0, or -1 when it has said what failed. stage_close() is due either way. */
int stage_open(struct stage *stage);

/* Runs fn in a child process, and passes signals that end this one to it. Returns the child's exit
 * status, or 128 and the signal's number. After a failure it shows the end of the daemon's log. */
int stage_run(struct stage *stage, int fn(const struct stage *stage, void *context), void *context);

/* For children: ends this process with that signal when its parent ends, or has ended. */
void stage_end_with(pid_t parent, int number);

/* Waits until n of this process's children have posted that they are ready. One that has failed has
 * said why, and the others would be waited for in vain: that ends the program. */
void stage_await(sem_t *ready, unsigned n);

void stage_close(struct stage *stage);

#endif
