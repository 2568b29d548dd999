/* SPDX-License-Identifier: MIT */
/*
 * What runs inside of the container as clients: `client load ...` runs the load (tests/system/load.h) under
 * `systemctl restart` and kill -9, or other commands; `client heir NAME` makes a segment whose mapping only a
 * forked child has; `client hold NAME` has segments and a lock until its input ends, and looks at them then;
 * `client knock` connects all the while, and says how that went when its input ends.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <shmd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/system/load_client.h"

#define UNIT "shmd.service"

/* --- under systemd ---------------------------------------------------------------------------- */

struct commands {
	/* Systemd starts it again by itself after a crash. */
	const char *restart, *crash;
	bool have_failed;
};

static void restart(bool is_crash, void *context)
{
	struct commands *commands = context;
	const char *command = is_crash ? commands->crash : commands->restart;

	if (system(command) == 0)
		return;
	printf("# failed: %s\n", command);
	fflush(stdout);
	commands->have_failed = true;
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
	{"restart-by", required_argument, NULL, 'R'},
	{"restart-name", required_argument, NULL, 'n'},
	{"crash-by", required_argument, NULL, 'C'},
	{"crash-name", required_argument, NULL, 'N'},
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
	struct commands commands = {
		.restart = "systemctl restart " UNIT,
		.crash = "systemctl kill --kill-whom=main --signal=KILL " UNIT,
	};
	struct load_plan plan = {.clients = 200,
				 .segments = 2000,
				 .holders = 50,
				 .waiters = 20,
				 .restarts = 20,
				 .pause_us = 2000,
				 .moments_ms = 500,
				 .seed = (uint64_t)time(NULL),
				 .restart = restart,
				 .context = &commands};
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
		case 'R':
			commands.restart = optarg;
			break;
		case 'n':
			plan.kinds[0] = optarg;
			break;
		case 'C':
			commands.crash = optarg;
			break;
		case 'N':
			plan.kinds[1] = optarg;
			break;
		default:
			return 2;
		}
	}
	allow_descriptors();
	return load_run(&plan) && !commands.have_failed ? 0 : 1;
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

/* --- a holder --------------------------------------------------------------------------------- */

#define HELD 8

static bool is_intact(struct shmd_segment *segment, struct shmd_segment *again, unsigned number)
{
	if (!load_is_filled(segment, number) || !load_is_filled(again, number))
		return false;
	/* They are one, and can be written to. */
	*(char *)shmd_segment_data(segment) ^= 1;
	bool is_one = !load_is_filled(again, number);
	*(char *)shmd_segment_data(segment) ^= 1;
	return is_one;
}

static void await_end_of_input(void)
{
	char byte;

	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
}

static int hold(const char *name)
{
	struct shmd_segment *held[HELD], *again[HELD];
	char each[LOAD_NAME_SIZE + 16];
	struct shmd *connection;

	if (shmd_connect(&connection, NULL) < 0)
		return fail("connect");
	for (unsigned i = 0; i < HELD; i++) {
		snprintf(each, sizeof(each), "%.32s-%u", name, i);
		if (shmd_create(connection, each, load_size(i), NULL, &held[i]) < 0)
			return fail("create");
		load_fill(held[i], i);
		if (shmd_attach(connection, each, SHMD_READ_ONLY, &again[i]) < 0)
			return fail("attach");
	}
	if (shmd_acquire(held[0], 0) != 0)
		return fail("acquire");
	puts("holds");
	fflush(stdout);
	await_end_of_input();
	for (unsigned i = 0; i < HELD; i++)
		if (!is_intact(held[i], again[i], i)) {
			printf("segment %u is not what it was\n", i);
			return 1;
		}
	if (shmd_release(held[0]) != 0 || shmd_acquire(held[0], 0) != 0)
		return fail("release and acquire");
	/* What needs the daemon says that there is none, and does not wait for ever. */
	uint64_t begin = load_now_ns();
	struct shmd_segment *none;
	int r = shmd_attach(connection, "none", 0, &none);
	printf("# attach, then: %s after %.1f ms\n", r < 0 ? shmd_error_message() : "done",
	       (double)(load_now_ns() - begin) / 1e6);
	/* Its mappings end with it. */
	return 0;
}

/* --- a visitor -------------------------------------------------------------------------------- */

static bool input_has_ended(void)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

	return poll(&input, 1, 1) > 0;
}

/* Only connects: what says no is the socket, and no library asks twice. */
static int visit(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/shmd/shmd.sock"};
	int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int r = connect(s, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;

	close(s);
	return r;
}

static int ask(void)
{
	struct shmd *connection;
	struct shmd_status *status;
	int r = shmd_connect(&connection, NULL);

	if (r < 0)
		return r;
	r = shmd_status(connection, &status);
	if (r == 0)
		shmd_status_free(status);
	shmd_disconnect(connection);
	return r;
}

static int go_on(const char *what, int (*once)(void))
{
	unsigned times = 0, failures = 0;
	uint64_t worst = 0;
	int first = 0;

	while (!input_has_ended()) {
		uint64_t begin = load_now_ns();
		int r = once();
		uint64_t took = load_now_ns() - begin;
		if (r < 0 && failures++ == 0)
			first = r;
		if (took > worst)
			worst = took;
		times++;
	}
	printf("# %s: %u times, %u failed%s%s, the longest took %.1f ms\n", what, times, failures,
	       failures ? ": " : "", failures ? strerror(-first) : "", (double)worst / 1e6);
	fflush(stdout);
	return times && !failures ? 0 : 1;
}

static int knock(void)
{
	pid_t child = fork();
	int status = 1;

	if (child == 0)
		_exit(go_on("connected alone", visit));
	int r = go_on("connected and asked for the status", ask);
	return waitpid(child, &status, 0) == child && status == 0 && r == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "heir") == 0)
		return heir(argv[2]);
	if (argc == 3 && strcmp(argv[1], "hold") == 0)
		return hold(argv[2]);
	if (argc == 2 && strcmp(argv[1], "knock") == 0)
		return knock();
	if (argc > 1 && strcmp(argv[1], "load") == 0)
		return load(argc - 1, argv + 1);
	fputs("Usage: client load [--segments=N ...] | heir NAME | hold NAME | knock\n", stderr);
	return 2;
}
