/* SPDX-License-Identifier: MIT */
/*
 * A program that knows nothing of shmd: what check_preload runs with libshmd-preload.so, and in part without
 * it. `preload_client ACT` does one thing, and says on standard error what was wrong; a byte on its standard
 * output and input each is a step's end.
 */
#ifndef TESTS_SYSTEM_PRELOAD_CLIENT_H
#define TESTS_SYSTEM_PRELOAD_CLIENT_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#define must(condition)                                                                     \
	do {                                                                                \
		if (!(condition)) {                                                         \
			fprintf(stderr, "%s:%d: %s: %m\n", __FILE__, __LINE__, #condition); \
			_exit(1);                                                           \
		}                                                                           \
	} while (0)

struct act {
	const char *name;
	void (*run)(void);
};

/* All end with an act without a name. */
extern const struct act acts_table[], acts_memory[], acts_semaphores[], acts_recovery[],
	acts_family[];

/* Unused in /dev/shm, and the same again for the same word within one process and its children. */
const char *name_of(const char *word);

void tell(void);
void await(void);

double now_ms(void);

/* A child that runs `fn`, and one's end: that it went well, or by SIGKILL. */
pid_t spawn(void (*fn)(void));
void finish(pid_t pid);
void kill_and_reap(pid_t pid);

/* For steps between a program and its children. */
struct steps {
	int there[2], back[2];
};
void steps_init(struct steps *steps);
void steps_say(const int pipe[2]);
void steps_hear(const int pipe[2]);

#endif
