/* SPDX-License-Identifier: MIT */
/*
 * usage: posix [TURNS]
 *
 * The twin of turns.c and semaphore.c without shmd: shm_open(3) and sem_open(3). What it has to do by
 * itself is to choose names, to size the memory before anybody maps it, and to unlink both. A process
 * that is killed in its turn stops the other for ever, and leaves memory and semaphore behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIZE 64

static int turns = 1000;

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(2);
}

/* One byte after the other, so that who is not kept out meanwhile sees a mixture. */
static int write_turn(volatile char *data, int turn)
{
	for (int i = 0; i < SIZE; i++)
		data[i] = (char)('A' + turn % 26);
	return 0;
}

/* Returns 1 for a torn read. */
static int read_turn(volatile char *data, int turn)
{
	(void)turn;
	for (int i = 1; i < SIZE; i++)
		if (data[i] != data[0])
			return 1;
	return 0;
}

typedef int turn_fn(volatile char *data, int turn);

/* Takes the turns and returns how many of them went wrong. */
static int take_turns(volatile char *data, sem_t *semaphore, turn_fn *fn)
{
	int wrong = 0;

	for (int turn = 0; turn < turns; turn++) {
		if (sem_wait(semaphore) < 0)
			fail("cannot enter");
		wrong += fn(data, turn);
		if (sem_post(semaphore) < 0)
			fail("cannot leave");
	}
	return wrong;
}

/* Returns when both children have come here: each closes its end of the pipe, and end of file is when
 * the last one has. */
static void wait_for_the_other(const int meeting[2])
{
	char byte;

	close(meeting[1]);
	if (read(meeting[0], &byte, 1) != 0)
		exit(2);
}

static volatile char *attach(const char *name)
{
	int fd = shm_open(name, O_RDWR, 0);

	if (fd < 0)
		fail("cannot open");
	void *data = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		fail("cannot map");
	close(fd);
	return data;
}

/* A child: opens both by name, and leaves all clearing up to its end. */
static pid_t start(const char *name, const int meeting[2], turn_fn *fn)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	volatile char *data = attach(name);
	sem_t *semaphore = sem_open(name, 0);
	if (semaphore == SEM_FAILED)
		fail("cannot open the semaphore");
	wait_for_the_other(meeting);
	_exit(take_turns(data, semaphore, fn) > 0);
}

static int finish(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

int main(int argc, char *argv[])
{
	char name[32];
	int meeting[2];

	if (argc > 1 && (turns = atoi(argv[1])) < 1)
		return 2;
	snprintf(name, sizeof(name), "/turns-%d", (int)getpid());
	int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || ftruncate(fd, SIZE) < 0)
		fail("cannot create");
	sem_t *semaphore = sem_open(name, O_CREAT | O_EXCL, 0600, 1);
	if (semaphore == SEM_FAILED)
		fail("cannot create the semaphore");
	if (pipe(meeting) < 0)
		return 2;
	double start_ns = now_ns();
	pid_t writer = start(name, meeting, write_turn);
	pid_t reader = start(name, meeting, read_turn);
	close(meeting[0]);
	close(meeting[1]);
	int written = finish(writer);
	int torn = finish(reader);
	printf("%d turns each, %.0f ns a turn: %s\n", turns, (now_ns() - start_ns) / turns,
	       torn ? "torn reads" : "every read was whole");
	sem_close(semaphore);
	sem_unlink(name);
	shm_unlink(name);
	return written ? written : torn;
}
