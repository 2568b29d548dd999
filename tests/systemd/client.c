/* SPDX-License-Identifier: MIT */
/*
 * What runs inside of the container as clients: `client load ...` runs the load (tests/system/load.h) under
 * `systemctl restart` and kill -9; `client heir NAME` makes a segment whose mapping only a forked child has.
 */
#include <getopt.h>
#include <shmd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "tests/system/load.h"

#define UNIT "shmd.service"

/* --- under systemd ---------------------------------------------------------------------------- */

static void run(const char *command)
{
	if (system(command) != 0)
		fprintf(stderr, "failed: %s\n", command);
}

/* Systemd starts it again by itself after a crash. */
static void restart(bool is_crash, void *context)
{
	(void)context;
	run(is_crash ? "systemctl kill --kill-whom=main --signal=KILL " UNIT
		     : "systemctl restart " UNIT);
}

static const struct option options[] = {
	{"segments", required_argument, NULL, 's'},
	{"clients", required_argument, NULL, 'c'},
	{"holders", required_argument, NULL, 'h'},
	{"waiters", required_argument, NULL, 'w'},
	{"restarts", required_argument, NULL, 'r'},
	{"pause-us", required_argument, NULL, 'p'},
	{"moments-ms", required_argument, NULL, 'm'},
	{"seed", required_argument, NULL, 'S'},
	{0},
};

/* Of the segments that its clients have. */
static void allow_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int load(int argc, char **argv)
{
	struct load_plan plan = {.clients = 200,
				 .segments = 2000,
				 .holders = 50,
				 .waiters = 20,
				 .restarts = 20,
				 .pause_us = 2000,
				 .moments_ms = 500,
				 .seed = (uint64_t)time(NULL),
				 .restart = restart};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		unsigned value = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;
		switch (option) {
		case 's':
			plan.segments = value;
			break;
		case 'c':
			plan.clients = value;
			break;
		case 'h':
			plan.holders = value;
			break;
		case 'w':
			plan.waiters = value;
			break;
		case 'r':
			plan.restarts = value;
			break;
		case 'p':
			plan.pause_us = value;
			break;
		case 'm':
			plan.moments_ms = value;
			break;
		case 'S':
			plan.seed = strtoull(optarg, NULL, 10);
			break;
		default:
			return 2;
		}
	}
	allow_descriptors();
	return load_run(&plan) ? 0 : 1;
}

/* --- an heir ---------------------------------------------------------------------------------- */

static int fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, shmd_error_message());
	return 1;
}

/* The child has the mapping, and does nothing; both wait to be killed. Prints their numbers. */
static int heir(const char *name)
{
	struct shmd *connection;
	struct shmd_segment *segment;

	if (shmd_connect(&connection, NULL) < 0)
		return fail("connect");
	if (shmd_create(connection, name, 4096, NULL, &segment) < 0)
		return fail("create");
	strcpy(shmd_segment_data(segment), "inherited");
	pid_t child = fork();
	if (child > 0)
		printf("%d %d\n", (int)getpid(), (int)child);
	fflush(stdout);
	if (child >= 0)
		pause();
	return 1;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "heir") == 0)
		return heir(argv[2]);
	if (argc > 1 && strcmp(argv[1], "load") == 0)
		return load(argc - 1, argv + 1);
	fputs("Usage: client load [--segments=N ...] | client heir NAME\n", stderr);
	return 2;
}
