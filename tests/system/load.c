/* SPDX-License-Identifier: MIT */
#include "load.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load_client.h"

#define PATIENCE_NS (UINT64_C(120) * 1000 * 1000 * 1000)

struct load {
	const struct load_plan *plan;
	struct load_board *board;
	struct shmd *connection;
	pid_t *pids; /* clients, then waiters; 0: it has ended */
	uint64_t chance;
};

/* --- processes -------------------------------------------------------------------------------- */

static unsigned processes(const struct load_plan *plan)
{
	return plan->clients + plan->waiters;
}

static pid_t fork_one(struct load *load, unsigned i)
{
	const struct load_plan *plan = load->plan;
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	bool is_well = i < plan->clients ? load_client(plan, load->board, i)
					 : load_waiter(plan, load->board, i - plan->clients);
	_exit(is_well ? 0 : 1);
}

/* Whoever ends without a reason to has failed, also if it could not say so. */
static void note_ended(struct load *load)
{
	int status;

	for (unsigned i = 0; i < processes(load->plan); i++)
		if (load->pids[i] > 0 && waitpid(load->pids[i], &status, WNOHANG) > 0) {
			load->pids[i] = 0;
			if (status != 0)
				load_fail(load->board, "process %u ended with status 0x%x", i,
					  status);
		}
}

static unsigned running(const struct load *load)
{
	unsigned n = 0;

	for (unsigned i = 0; i < processes(load->plan); i++)
		n += load->pids[i] > 0;
	return n;
}

static void kill_all(struct load *load)
{
	for (unsigned i = 0; i < processes(load->plan); i++)
		if (load->pids[i] > 0) {
			kill(load->pids[i], SIGKILL);
			waitpid(load->pids[i], NULL, 0);
			load->pids[i] = 0;
		}
}

/* Waits for what clients or waiters do. Returns false, and says so, if they do not, or one has failed. */
static bool await(struct load *load, const unsigned *counter, unsigned n, const char *what)
{
	uint64_t deadline = load_now_ns() + PATIENCE_NS;

	while (__atomic_load_n(counter, __ATOMIC_SEQ_CST) < n) {
		note_ended(load);
		if (load_now_ns() > deadline)
			load_fail(load->board, "%s: %u, and not %u", what,
				  __atomic_load_n(counter, __ATOMIC_SEQ_CST), n);
		if (__atomic_load_n(&load->board->failed, __ATOMIC_SEQ_CST))
			return false;
		usleep(1000);
	}
	return true;
}

static void set_phase(struct load *load, enum load_phase phase)
{
	__atomic_store_n(&load->board->phase, phase, __ATOMIC_SEQ_CST);
}

/* --- the driver's own calls ------------------------------------------------------------------- */

static bool call(struct load *load, const char *what, int r)
{
	if (r != 0)
		load_fail(load->board, "driver, %s: %d %s", what, r, shmd_error_message());
	return r == 0;
}

/* Their content is zeroes. */
static bool make_shared_locks(struct load *load)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;
	char name[LOAD_NAME_SIZE];

	options.lifetime = SHMD_LIFETIME_PERSISTENT;
	for (unsigned i = 0; i < LOAD_SHARED_LOCKS; i++) {
		load_name(name, "lock", i);
		if (!call(load, "create",
			  shmd_create(load->connection, name, 8, &options, &segment)))
			return false;
		shmd_detach(segment);
	}
	return true;
}

static bool remove_shared_locks(struct load *load)
{
	struct shmd_segment *segment;
	char name[LOAD_NAME_SIZE];

	for (unsigned i = 0; i < LOAD_SHARED_LOCKS; i++) {
		load_name(name, "lock", i);
		if (!call(load, "attach", shmd_attach(load->connection, name, 0, &segment)))
			return false;
		uint64_t counted = *(uint64_t *)shmd_segment_data(segment);
		if (counted != load->board->taken[i])
			load_fail(load->board, "%s was taken %ju times, and counted %ju", name,
				  (uintmax_t)load->board->taken[i], (uintmax_t)counted);
		shmd_detach(segment);
		if (!call(load, "unlink", shmd_unlink(load->connection, name)))
			return false;
	}
	return true;
}

/* What waiter `number` waits for after this restart. */
static bool answer(struct load *load, unsigned number, unsigned round)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	char kind[16], name[LOAD_NAME_SIZE];
	struct shmd_segment *segment;

	options.lifetime = SHMD_LIFETIME_PERSISTENT;
	snprintf(kind, sizeof(kind), "wait%u", number);
	load_name(name, kind, round);
	if (!call(load, "create", shmd_create(load->connection, NULL, 500, &options, &segment)))
		return false;
	load_fill(segment, round);
	bool is_well = call(load, "publish", shmd_publish(segment, name, 0));
	shmd_detach(segment);
	return is_well;
}

static bool answer_all(struct load *load, unsigned round)
{
	const struct load_plan *plan = load->plan;
	char kind[16], name[LOAD_NAME_SIZE];

	for (unsigned i = 0; i < plan->waiters; i++)
		if (!answer(load, i, round))
			return false;
	if (!await(load, &load->board->waited, round * plan->waiters, "waits were answered"))
		return false;
	for (unsigned i = 0; i < plan->waiters; i++) {
		snprintf(kind, sizeof(kind), "wait%u", i);
		load_name(name, kind, round);
		if (!call(load, "unlink", shmd_unlink(load->connection, name)))
			return false;
	}
	return true;
}

static bool await_served(struct load *load)
{
	struct shmd_status *status;

	if (!call(load, "status", shmd_status(load->connection, &status)))
		return false;
	shmd_status_free(status);
	return true;
}

static bool count_segments(struct load *load, uint64_t *ret)
{
	struct shmd_status *status;

	if (!call(load, "status", shmd_status(load->connection, &status)))
		return false;
	*ret = status->segments;
	shmd_status_free(status);
	return true;
}

/* What has ended is reaped soon, and nothing else is. */
static bool await_segments(struct load *load, uint64_t expected)
{
	uint64_t deadline = load_now_ns() + PATIENCE_NS / 4, n;

	do {
		if (!count_segments(load, &n))
			return false;
		if (n == expected)
			return true;
		usleep(1000);
	} while (load_now_ns() < deadline);
	load_fail(load->board, "there are %ju segments, and not %ju", (uintmax_t)n,
		  (uintmax_t)expected);
	return false;
}

/* --- restarts --------------------------------------------------------------------------------- */

static bool restart(struct load *load, unsigned round)
{
	const struct load_plan *plan = load->plan;
	struct load_board *board = load->board;

	load->chance = load->chance * UINT64_C(6364136223846793005) + 1442695040888963407;
	usleep((unsigned)((load->chance >> 33) % (plan->moments_ms * 1000 + 1)));
	note_ended(load);
	__atomic_store_n(&board->is_restarting, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&board->round, round, __ATOMIC_SEQ_CST);
	plan->restart(round % 2 == 0, plan->context);
	bool is_well = await_served(load);
	__atomic_store_n(&board->is_restarting, 0, __ATOMIC_SEQ_CST);
	return is_well && answer_all(load, round) && !board->failed;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The restarts of odd rounds, or the crashes of the even ones. */
static void tell_gaps(const struct load *load, unsigned first, const char *what)
{
	const struct load_plan *plan = load->plan;
	uint64_t *gaps = calloc((size_t)plan->restarts * plan->clients + 1, sizeof(*gaps));
	size_t n = 0;

	for (unsigned round = first; round <= plan->restarts; round += 2)
		for (unsigned i = 0; i < plan->clients; i++) {
			uint64_t gap = load->board->gaps[(size_t)round * plan->clients + i];
			if (gap)
				gaps[n++] = gap;
		}
	qsort(gaps, n, sizeof(*gaps), compare);
	if (n)
		printf("# longest call around each %s: median %.1f ms, worst %.1f ms (%zu seen)\n",
		       what, (double)gaps[n / 2] / 1e6, (double)gaps[n - 1] / 1e6, n);
	free(gaps);
}

static void tell(const struct load *load)
{
	const struct load_board *board = load->board;

	printf("# %u segments, %u clients, %u holders, %u waiters, %u restarts, seed %ju: %ju "
	       "calls, "
	       "locks held through %ju restarts\n",
	       load->plan->segments, load->plan->clients, load->plan->holders, load->plan->waiters,
	       board->round, (uintmax_t)load->plan->seed, (uintmax_t)board->calls,
	       (uintmax_t)board->held_through);
	tell_gaps(load, 1, load->plan->kinds[0] ? load->plan->kinds[0] : "restart");
	tell_gaps(load, 2, load->plan->kinds[1] ? load->plan->kinds[1] : "crash");
	printf("# longest call at other times: %.1f ms\n", (double)board->quiet_worst_ns / 1e6);
	if (board->failed)
		printf("# %u failures, the first: %s\n", board->failed, board->first);
	fflush(stdout);
}

/* --- the run ---------------------------------------------------------------------------------- */

static bool start(struct load *load)
{
	for (unsigned i = 0; i < processes(load->plan); i++) {
		load->pids[i] = fork_one(load, i);
		if (load->pids[i] < 0) {
			load_fail(load->board, "fork: %s", strerror(errno));
			return false;
		}
	}
	if (!call(load, "connect", shmd_connect(&load->connection, NULL)) ||
	    !make_shared_locks(load))
		return false;
	return await(load, &load->board->arrived[PHASE_MAKING], load->plan->clients,
		     "clients have made theirs");
}

static unsigned count_published(const struct load *load)
{
	struct shmd_details *details;
	char name[LOAD_NAME_SIZE];
	unsigned n = 0;

	for (unsigned i = 0; i < load->plan->clients; i++) {
		load_name(name, "pub", i);
		if (shmd_show(load->connection, name, &details) == 0) {
			shmd_details_free(details);
			n++;
		}
	}
	return n;
}

static bool end(struct load *load)
{
	const struct load_plan *plan = load->plan;

	set_phase(load, PHASE_REST);
	if (!await(load, &load->board->arrived[PHASE_REST], plan->clients,
		   "clients have found theirs"))
		return false;
	if (!await_segments(load, plan->segments + plan->holders + LOAD_SHARED_LOCKS +
					  count_published(load)) ||
	    !remove_shared_locks(load))
		return false;
	set_phase(load, PHASE_LEAVING);
	uint64_t deadline = load_now_ns() + PATIENCE_NS;
	while (running(load) && load_now_ns() < deadline && !load->board->failed) {
		note_ended(load);
		usleep(1000);
	}
	if (running(load))
		load_fail(load->board, "%u processes did not end", running(load));
	return !load->board->failed && await_segments(load, 0);
}

static bool run(struct load *load)
{
	if (!start(load))
		return false;
	set_phase(load, PHASE_WORK);
	for (unsigned round = 1; round <= load->plan->restarts; round++)
		if (!restart(load, round))
			return false;
	/* All go on for a while. */
	usleep(load->plan->moments_ms * 1000);
	return end(load);
}

bool load_run(const struct load_plan *plan)
{
	struct load load = {.plan = plan, .board = load_board_new(plan), .chance = plan->seed};

	load.pids = calloc(processes(plan), sizeof(*load.pids));
	bool is_well = run(&load) && !load.board->failed;
	kill_all(&load);
	tell(&load);
	shmd_disconnect(load.connection);
	free(load.pids);
	load_board_free(load.board, plan);
	return is_well;
}
