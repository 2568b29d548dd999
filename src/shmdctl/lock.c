/* SPDX-License-Identifier: MIT */
/*
 * shmdctl lock: runs a command with a permit of the segment's semaphore, as flock(1) does with a
 * file lock. The process that becomes the command takes the permit itself, and keeps it until its
 * exit, so that the lock lives as long as the command does, whatever becomes of shmdctl.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

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

/* --- in the child ----------------------------------------------------------------------------- */

struct job {
	struct context *context;
	const struct request *request;
	const struct signals *signals;
	pid_t parent;
};

/* Whoever kills shmdctl while it waits wants no command that runs later; once it runs, it is its own. */
static void die_with_parent(const struct job *job)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != job->parent)
		_exit(EXIT_OWN_FAILURE);
}

static int conflict(struct context *context, const struct request *request)
{
	context_refused(context);
	context->status = request->conflict_status;
	return -1;
}

/* Returns 0 with the permit held until the exit of this process, or -1 when it has said why not. */
static int acquire(struct context *context, struct shmd_segment *segment,
		   const struct request *request)
{
	int r;

	do
		r = shmd_acquire(segment, request->timeout_ms);
	while (r == -EINTR);
	if (r == -EAGAIN || r == -ETIMEDOUT)
		return conflict(context, request);
	if (r == SHMD_OWNER_DIED)
		context_say(context, "the last holder of '%s' died with it", context->operands[0]);
	if (r < 0 || shmd_keep_until_exit(segment) < 0)
		return context_refused(context);
	return 0;
}

static int take_lock(struct context *context, const struct request *request)
{
	struct shmd *shmd;
	struct shmd_segment *segment;

	/* Nothing is given back here: the permit and its number are to outlive this program. */
	if (context_connect(context, &shmd) < 0)
		return -1;
	int r = shmd_attach(shmd, context->operands[0], 0, &segment);
	/* Readers of some segments may lock them. */
	if (r == -EACCES)
		r = shmd_attach(shmd, context->operands[0], SHMD_READ_ONLY, &segment);
	if (r < 0)
		return context_refused(context);
	return acquire(context, segment, request);
}

static void prepare(void *argument)
{
	const struct job *job = argument;

	die_with_parent(job);
	/* A signal that comes while it waits ends it, as it would end shmdctl. */
	sigprocmask(SIG_SETMASK, &job->signals->before, NULL);
	if (take_lock(job->context, job->request) < 0)
		_exit(job->context->status);
	prctl(PR_SET_PDEATHSIG, 0);
}

/* --- in shmdctl -------------------------------------------------------------------------------- */

static int run_locked(struct context *context, const struct request *request, char *const command[])
{
	struct signals signals;
	struct job job = {context, request, &signals, getpid()};

	if (signals_init(&signals, child_signals) < 0)
		return context_fail(context, "cannot take signals: %s", strerror(errno));
	pid_t pid = child_start(context, &signals, command, prepare, &job);
	if (pid > 0)
		context->status = child_wait(&signals, pid, NULL);
	signals_fini(&signals);
	return pid < 0 ? -1 : 0;
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
	struct request request = {.timeout_ms = -1, .conflict_status = EXIT_FAILED};
	char **command = NULL;

	if (parse(context, &request, &command) < 0)
		return -1;
	return run_locked(context, &request, command);
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
