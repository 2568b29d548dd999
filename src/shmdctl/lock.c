/* SPDX-License-Identifier: MIT */
/*
 * shmdctl lock: runs a command with a permit of the segment's semaphore, as flock(1) does with a
 * file lock. Owns what a signal means before the command runs: nothing is held, and shmdctl ends.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/parse.h"
#include "shmdctl/child.h"
#include "shmdctl/command.h"

static const struct option_info options[] = {
	{"nonblock", 'n', NULL, "fail if the permit is not to be had at once"},
	{"timeout", 'w', "SECONDS", "fail if it is not to be had for that long"},
	{"conflict-exit-code", 'E', "STATUS", "the exit status of such a failure; 1"},
	{0},
};

struct request {
	int timeout_ms;
	int conflict_status;
};

/* --- signals before the command runs -------------------------------------------------------- */

static volatile sig_atomic_t caught;

/*
 * A signal may come just before the wait for the permit and would then not interrupt it. The alarm,
 * one of the signals that come here, interrupts it every second until the first has been noticed.
 */
static void note_signal(int signal)
{
	if (!caught)
		caught = signal;
	alarm(1);
}

static void set_handlers(void (*handler)(int))
{
	struct sigaction action = {.sa_handler = handler};

	sigemptyset(&action.sa_mask);
	for (const int *signal = CHILD_SIGNALS_THAT_END; *signal; signal++)
		if (signals_matter(*signal))
			sigaction(*signal, &action, NULL);
}

/* --- the lock ------------------------------------------------------------------------------- */

static int conflict(struct context *context, const struct request *request)
{
	context_refused(context);
	context->status = request->conflict_status;
	return -1;
}

/* Returns 1 with the permit held, 0 if a signal came first, -1 when it has said what is wrong. */
static int acquire(struct context *context, struct shmd_segment *segment,
		   const struct request *request)
{
	int r;

	do {
		r = caught ? -EINTR : shmd_acquire(segment, request->timeout_ms);
	} while (r == -EINTR && !caught);
	if (r == -EINTR)
		return 0;
	if (r == -EAGAIN || r == -ETIMEDOUT)
		return conflict(context, request);
	return r < 0 ? context_refused(context) : 1;
}

/*
 * Returns 1 with the permit held and the signals as events, or -1 when it has said why not. A signal
 * that came before that ends shmdctl here.
 */
static int acquire_guarded(struct context *context, struct shmd_segment *segment,
			   const struct request *request, struct signals *signals)
{
	set_handlers(note_signal);
	int r = acquire(context, segment, request);
	int blocked = signals_init(signals, child_signals);
	int error = errno;
	set_handlers(SIG_DFL);
	if (caught || blocked < 0) {
		if (r > 0)
			shmd_release(segment);
		if (caught)
			signals_end_by(caught);
		return context_fail(context, "cannot take signals: %s", strerror(error));
	}
	if (r < 0)
		signals_fini(signals);
	return r;
}

static int run_locked(struct context *context, struct shmd_segment *segment,
		      const struct request *request, char *const command[])
{
	struct signals signals;

	if (acquire_guarded(context, segment, request, &signals) < 0)
		return -1;
	pid_t pid = child_start(context, &signals, command, NULL, NULL);
	if (pid > 0)
		context->status = child_wait(&signals, pid, NULL, NULL);
	int r = shmd_release(segment) < 0 ? context_refused(context) : 0;
	signals_fini(&signals);
	return pid < 0 ? -1 : r;
}

/* --- options -------------------------------------------------------------------------------- */

static int parse_timeout(struct context *context, struct request *request)
{
	uint64_t ms;

	if (parse_duration_ms(optarg, &ms) < 0 || ms > INT_MAX)
		return context_usage(context, "'%s' is no number of seconds up to 24 days", optarg);
	request->timeout_ms = (int)ms;
	return 0;
}

static int parse_status(struct context *context, struct request *request)
{
	uint64_t status;

	if (parse_u64(optarg, &status) < 0 || status > 255)
		return context_usage(context, "'%s' is no exit status from 0 to 255", optarg);
	request->conflict_status = (int)status;
	return 0;
}

static int parse_option(struct context *context, struct request *request, int option)
{
	switch (option) {
	case 'w':
		return parse_timeout(context, request);
	case 'E':
		return parse_status(context, request);
	default:
		request->timeout_ms = 0;
		return 0;
	}
}

static int parse(struct context *context, struct request *request, char ***ret_command)
{
	int option;

	while ((option = context_option(context)) > 0)
		if (parse_option(context, request, option) < 0)
			return -1;
	if (option < 0)
		return -1;
	char **command = context->operands + 1;
	if (strcmp(*command, "--") == 0)
		command++;
	if (!*command)
		return context_usage(context, "which command?");
	*ret_command = command;
	return 0;
}

static int run(struct context *context)
{
	CLEANUP(cleanup_shmd) struct shmd *shmd = NULL;
	CLEANUP(cleanup_segment) struct shmd_segment *segment = NULL;
	struct request request = {.timeout_ms = -1, .conflict_status = EXIT_FAILED};
	char **command = NULL;

	if (parse(context, &request, &command) < 0 || context_connect(context, &shmd) < 0)
		return -1;
	if (shmd_attach(shmd, context->operands[0], 0, &segment) < 0)
		return context_refused(context);
	return run_locked(context, segment, &request, command);
}

const struct command lock_command = {
	.name = "lock",
	.operands = "NAME -- COMMAND...",
	.summary = "run a command with the segment's semaphore held",
	.options = options,
	.min_operands = 2,
	.max_operands = -1,
	.runs_program = true,
	.run = run,
};
