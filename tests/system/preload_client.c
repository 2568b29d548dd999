/* SPDX-License-Identifier: MIT */
#include "preload_client.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* More than any act takes: one that hangs fails. */
#define ALARM_S 120

static const struct act *const all[] = {acts_table, acts_memory, acts_semaphores, acts_recovery,
					acts_family};

double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* The same program without the shim must not meet its files; and those of a test that failed stay few. */
const char *name_of(const char *word)
{
	static char names[8][256];
	static unsigned next;
	char *name = names[next++ % 8];

	snprintf(name, sizeof(names[0]), "/preload-test-%d-%s", (int)getpgrp(), word);
	return name;
}

void tell(void)
{
	must(write(STDOUT_FILENO, "x", 1) == 1);
}

void await(void)
{
	char byte;

	must(read(STDIN_FILENO, &byte, 1) == 1);
}

pid_t spawn(void (*fn)(void))
{
	pid_t pid = fork();

	must(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fn();
		_exit(0);
	}
	return pid;
}

void finish(pid_t pid)
{
	int status;

	must(waitpid(pid, &status, 0) == pid);
	must(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void kill_and_reap(pid_t pid)
{
	int status;

	must(kill(pid, SIGKILL) == 0);
	must(waitpid(pid, &status, 0) == pid);
	must(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

void steps_init(struct steps *steps)
{
	must(pipe(steps->there) == 0 && pipe(steps->back) == 0);
}

void steps_say(const int pipe[2])
{
	must(write(pipe[1], "x", 1) == 1);
}

void steps_hear(const int pipe[2])
{
	char byte;

	must(read(pipe[0], &byte, 1) == 1);
}

int main(int argc, char **argv)
{
	const char *wanted = argc == 2 ? argv[1] : "";

	/* Names are made of the group, and nothing outlives the test. */
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(ALARM_S);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		for (const struct act *act = all[i]; act->name; act++)
			if (strcmp(act->name, wanted) == 0) {
				act->run();
				return 0;
			}
	fprintf(stderr, "there is no act '%s'\n", wanted);
	return 2;
}
