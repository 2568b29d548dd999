/* SPDX-License-Identifier: MIT */
/*
 * What programs pay for libshmd-preload.so: POSIX's calls with it beside the same calls without it. Two
 * processes, of which one was started with it, take turns on one processor, which the daemon is bound to,
 * too. A round's value is the median of its samples; what is reported is the median over the rounds, and the
 * quartiles of the rounds' ratios. Nothing here fails because of a time.
 *
 *   preload DAEMON SHIM [ROUNDS]
 */
#include <err.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "measure.h"

#define ROUNDS  20
#define SAMPLES 200

static char name[64], kept[64];
static sem_t *semaphore;

static void need(int ok, const char *what)
{
	if (!ok)
		err(1, "%s", what);
}

/* --- what is measured ------------------------------------------------------------------------- */

static void open_and_close(void)
{
	int fd = shm_open(kept, O_RDWR, 0);

	need(fd >= 0, "shm_open");
	close(fd);
}

static void create_and_unlink(void)
{
	int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);

	need(fd >= 0 && ftruncate(fd, 4096) == 0, "shm_open");
	close(fd);
	need(shm_unlink(name) == 0, "shm_unlink");
}

static void open_semaphore(void)
{
	sem_t *sem = sem_open(kept, 0);

	need(sem != SEM_FAILED, "sem_open");
	sem_close(sem);
}

static void create_semaphore(void)
{
	sem_t *sem = sem_open(name, O_CREAT | O_EXCL, 0600, 1);

	need(sem != SEM_FAILED, "sem_open");
	sem_close(sem);
	need(sem_unlink(name) == 0, "sem_unlink");
}

static void wait_and_post(void)
{
	sem_wait(semaphore);
	sem_post(semaphore);
}

static const struct row {
	const char *what;
	void (*call)(void);
	unsigned calls; /* of one sample */
} rows[] = {
	{"shm_open, close", open_and_close, 1},
	{"shm_open (new), ftruncate, close, shm_unlink", create_and_unlink, 1},
	{"sem_open, sem_close", open_semaphore, 1},
	{"sem_open (new), sem_close, sem_unlink", create_semaphore, 1},
	{"sem_wait, sem_post", wait_and_post, 1000},
};

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static double measure(const struct row *row)
{
	struct series samples;

	series_init(&samples, SAMPLES);
	for (unsigned i = 0; i < SAMPLES; i++) {
		uint64_t before = clock_monotonic_ns();
		for (unsigned j = 0; j < row->calls; j++)
			row->call();
		series_add(&samples, (double)(clock_monotonic_ns() - before) / row->calls);
	}
	double median = series_summary(&samples).median;
	series_fini(&samples);
	return median;
}

/* --- the processes ---------------------------------------------------------------------------- */

/* Measures the rows that it is told of on standard input, until that ends. */
static void work(void)
{
	unsigned char row;

	snprintf(name, sizeof(name), "/bench-preload-%d-new", (int)getpid());
	snprintf(kept, sizeof(kept), "/bench-preload-%d", (int)getpid());
	int fd = shm_open(kept, O_RDWR | O_CREAT | O_EXCL, 0600);
	need(fd >= 0 && ftruncate(fd, 4096) == 0, "shm_open");
	semaphore = sem_open(kept, O_CREAT | O_EXCL, 0600, 1);
	need(semaphore != SEM_FAILED, "sem_open");
	while (read(STDIN_FILENO, &row, 1) == 1 && row < N_ROWS) {
		double ns = measure(&rows[row]);
		need(write(STDOUT_FILENO, &ns, sizeof(ns)) == sizeof(ns), "write");
	}
	sem_close(semaphore);
	sem_unlink(kept);
	shm_unlink(kept);
}

struct worker {
	pid_t pid;
	int to, from;
};

static void start(struct worker *worker, const char *self, const char *shim)
{
	int there[2], back[2];

	need(pipe2(there, O_CLOEXEC) == 0 && pipe2(back, O_CLOEXEC) == 0, "pipe");
	worker->pid = fork();
	need(worker->pid >= 0, "fork");
	if (worker->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(there[0], STDIN_FILENO);
		dup2(back[1], STDOUT_FILENO);
		setenv("SHMD_PRELOAD_REQUIRE", "1", 1);
		if (shim)
			setenv("LD_PRELOAD", shim, 1);
		execl(self, self, "work", NULL);
		err(1, "%s", self);
	}
	close(there[0]);
	close(back[1]);
	worker->to = there[1];
	worker->from = back[0];
}

static double ask(const struct worker *worker, unsigned char row)
{
	double ns;

	need(write(worker->to, &row, 1) == 1, "write");
	if (read(worker->from, &ns, sizeof(ns)) != sizeof(ns))
		errx(1, "a worker has ended");
	return ns;
}

static void finish(const struct worker *worker)
{
	close(worker->to);
	waitpid(worker->pid, NULL, 0);
}

static pid_t start_daemon(const char *program, char *socket)
{
	int ready[2];
	char byte, option[32];

	need(pipe(ready) == 0, "pipe");
	pid_t pid = fork();
	need(pid >= 0, "fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		close(ready[0]);
		snprintf(option, sizeof(option), "--ready-fd=%d", ready[1]);
		execl(program, program, "-c", "/dev/null", "-s", socket, "-l", "warning", option,
		      NULL);
		err(1, "%s", program);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		errx(1, "the daemon did not start");
	close(ready[0]);
	return pid;
}

/* --- reporting -------------------------------------------------------------------------------- */

enum { NATIVE, SHIMMED, RECOVERING, WORKERS };

struct column {
	struct series times, ratios;
};

static void compare(const struct worker *workers, unsigned char row, unsigned rounds)
{
	struct column columns[WORKERS];
	double ns[WORKERS];

	for (int i = 0; i < WORKERS; i++) {
		series_init(&columns[i].times, rounds);
		series_init(&columns[i].ratios, rounds);
	}
	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < WORKERS; i++) {
			unsigned turn = (i + round) % WORKERS;
			ns[turn] = ask(&workers[turn], row);
		}
		for (int i = 0; i < WORKERS; i++) {
			series_add(&columns[i].times, ns[i]);
			series_add(&columns[i].ratios, ns[i] / ns[NATIVE]);
		}
	}
	printf("%-46s", rows[row].what);
	for (int i = 0; i < WORKERS; i++) {
		struct summary ratio = series_summary(&columns[i].ratios);
		printf(" %9.3f", series_summary(&columns[i].times).median / 1000);
		if (i != NATIVE)
			printf(" %6.2f (%.2f-%.2f)", ratio.median, ratio.low, ratio.high);
		series_fini(&columns[i].times);
		series_fini(&columns[i].ratios);
	}
	printf("\n");
}

int main(int argc, char **argv)
{
	char folder[] = "/tmp/shmd-bench-XXXXXX", socket[64];
	struct worker workers[WORKERS];

	if (argc == 2 && strcmp(argv[1], "work") == 0) {
		work();
		return 0;
	}
	if (argc < 3 || argc > 4)
		errx(2, "usage: preload DAEMON SHIM [ROUNDS]");
	unsigned rounds = argc == 4 ? (unsigned)atoi(argv[3]) : ROUNDS;
	cpu_set_t allowed = cpus_allowed();
	need(cpus_pin(0, cpus_last(&allowed)) == 0, "sched_setaffinity");
	need(mkdtemp(folder) != NULL, "mkdtemp");
	snprintf(socket, sizeof(socket), "%s/s", folder);
	setenv("SHMD_SOCKET", socket, 1);
	pid_t daemon = start_daemon(argv[1], socket);
	start(&workers[NATIVE], argv[0], NULL);
	start(&workers[SHIMMED], argv[0], argv[2]);
	setenv("SHMD_PRELOAD_RECOVER", "1", 1);
	start(&workers[RECOVERING], argv[0], argv[2]);
	printf("%-46s %9s %9s %6s %13s %9s %6s\n", "us, on one processor", "native", "shim",
	       "ratio", "", "recover", "ratio");
	for (unsigned char row = 0; row < N_ROWS; row++)
		compare(workers, row, rounds);
	for (int i = 0; i < WORKERS; i++)
		finish(&workers[i]);
	kill(daemon, SIGTERM);
	waitpid(daemon, NULL, 0);
	rmdir(folder);
	return 0;
}
