/* SPDX-License-Identifier: MIT */
#include "shmd/reaper.h"

#include <errno.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "core/memory.h"
#include "shmd/helper.h"
#include "shmd/loop.h"
#include "shmd/peer.h"
#include "shmd/process.h"
#include "shmd/store.h"
#include "shmd/turn.h"

/* Segments decided about before others get their turn: some 10 us each, and tenths of a millisecond
 * where a permit is missing and the kernel has to be asked (core/lease.h). */
#define UNIT 2

/* What is freed in less time than it takes to hand it to the helper and to hear of it: at most 64 pages,
 * some 5 us. Who has let go of it then finds its charge returned at once. */
#define SMALL (256 * 1024)

struct reaper {
	struct registry *registry;
	struct process_table *processes;
	struct store *store; /* NULL: there is none */
	struct helper *helper;
	int timerfd;        /* CLOCK_BOOTTIME, which libevent's own timers do not know */
	uint64_t armed_for; /* what it stands at; 0: off */
	struct event *on_timer;
	struct event *on_watch;
	struct event *on_helper;
	struct turn turn;
};

/* A segment's descriptors on their way through the helper. */
struct closing {
	struct helper_job job; /* first: the job is the closing */
	struct reaper *reaper;
	struct segment *segment;
	int fds[2];
};

static void close_them(struct helper_job *job)
{
	struct closing *closing = (struct closing *)job;

	close_fd(closing->fds[0]);
	close_fd(closing->fds[1]);
}

static void closed(struct helper_job *job)
{
	struct closing *closing = (struct closing *)job;

	registry_forget(closing->reaper->registry, closing->segment);
	free(closing);
}

/* What its users have made of it; the segment has no descriptor any more. */
static uint64_t size_of(const struct closing *closing)
{
	return closing->segment->kind == SEGMENT_POSIX_MEMORY ? memory_size(closing->fds[0])
							      : closing->segment->size;
}

static void close_unused(struct reaper *reaper)
{
	struct closing one = {.job = {.run = close_them, .done = closed}, .reaper = reaper};

	while ((one.segment = registry_take_unused(reaper->registry, one.fds))) {
		bool is_small = size_of(&one) <= SMALL;
		struct closing *closing = is_small ? NULL : malloc(sizeof(*closing));
		if (closing) {
			*closing = one;
			store_take_out(reaper->store, closing->segment);
			helper_submit(reaper->helper, &closing->job);
		} else {
			/* Without memory, a large one too: late for the others, but not lost. */
			close_them(&one.job);
			registry_forget(reaper->registry, one.segment);
		}
	}
}

/* Processes that were known for what they held only. */
static void put_processes(struct reaper *reaper)
{
	struct estate *estate;

	while ((estate = registry_take_emptied(reaper->registry)))
		process_put(process_of(estate));
}

/* What nobody has any more because its maker is being killed was not put down; and a parent that has ended in the
 * meantime inherits nothing; nor does who only has the parent's number here, and not where the maker is. */
static struct process *find_heir(struct reaper *reaper, const struct segment *segment, pid_t pid)
{
	const struct process *maker = process_of(segment->heir);
	struct process *process = NULL;

	if (!process_is_ending(maker) && peer_numbers_as_we_do(maker->pid) &&
	    process_get_by_pid(reaper->processes, pid, segment_payer(segment), &process) == 0)
		process->estate.start = process_start(process);
	return process;
}

void reaper_hand_over(struct reaper *reaper)
{
	struct segment *segment;
	pid_t pid;

	while (reaper && (segment = registry_take_put_down(reaper->registry, &pid))) {
		struct process *heir = find_heir(reaper, segment, pid);
		registry_inherit(reaper->registry, segment, heir ? &heir->estate : NULL);
		process_put(heir);
	}
}

static void set_timer(struct reaper *reaper)
{
	uint64_t deadline = registry_next_deadline(reaper->registry);
	struct itimerspec when = {.it_value = {.tv_sec = (time_t)(deadline / NSEC_PER_SEC),
					       .tv_nsec = (long)(deadline % NSEC_PER_SEC)}};

	if (deadline == reaper->armed_for)
		return;
	if (timerfd_settime(reaper->timerfd, TFD_TIMER_ABSTIME, &when, NULL) == 0)
		reaper->armed_for = deadline;
}

void reaper_kick(struct reaper *reaper)
{
	reaper_hand_over(reaper);
	if (reaper->registry->queue)
		turn_ask(&reaper->turn);
	close_unused(reaper);
	put_processes(reaper);
	set_timer(reaper);
}

static bool serve(struct turn *turn)
{
	struct reaper *reaper = (struct reaper *)((char *)turn - offsetof(struct reaper, turn));

	registry_settle_some(reaper->registry, UNIT, clock_boottime_ns());
	reaper_kick(reaper);
	return reaper->registry->queue != NULL;
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct reaper *reaper = context;
	uint64_t count;

	(void)what;
	if (read(fd, &count, sizeof(count)) < 0)
		return;
	reaper->armed_for = 0;
	registry_run_timers(reaper->registry, clock_boottime_ns());
	reaper_kick(reaper);
}

static void on_watch(evutil_socket_t fd, short what, void *context)
{
	struct reaper *reaper = context;

	(void)fd, (void)what;
	registry_read_watch(reaper->registry, clock_boottime_ns());
	reaper_kick(reaper);
}

static void on_helper(evutil_socket_t fd, short what, void *context)
{
	struct reaper *reaper = context;

	(void)fd, (void)what;
	helper_reap(reaper->helper);
}

static struct event *listen_to(struct reaper *reaper, struct event_base *loop, int fd,
			       event_callback_fn callback)
{
	struct event *event = event_new(loop, fd, EV_READ | EV_PERSIST, callback, reaper);

	if (event)
		event_add(event, NULL);
	return event;
}

static int start(struct reaper *reaper, struct event_base *loop)
{
	int r = helper_new(&reaper->helper);

	if (r < 0)
		return r;
	reaper->timerfd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (reaper->timerfd < 0)
		return -errno;
	reaper->on_timer = listen_to(reaper, loop, reaper->timerfd, on_timer);
	reaper->on_helper = listen_to(reaper, loop, helper_fd(reaper->helper), on_helper);
	if (!reaper->on_timer || !reaper->on_helper)
		return -ENOMEM;
	if (reaper->registry->watch.fd < 0)
		return 0;
	reaper->on_watch = listen_to(reaper, loop, reaper->registry->watch.fd, on_watch);
	return reaper->on_watch ? 0 : -ENOMEM;
}

int reaper_new(struct reaper **ret, struct event_base *loop, struct turns *turns,
	       struct registry *registry, struct process_table *processes)
{
	struct reaper *reaper = calloc(1, sizeof(*reaper));

	if (!reaper)
		return -ENOMEM;
	reaper->registry = registry;
	reaper->processes = processes;
	reaper->timerfd = -1;
	turn_init(&reaper->turn, turns, serve);
	int r = start(reaper, loop);
	if (r < 0) {
		reaper_free(reaper);
		return r;
	}
	*ret = reaper;
	return 0;
}

void reaper_set_store(struct reaper *reaper, struct store *store)
{
	reaper->store = store;
}

struct reaper *reaper_free(struct reaper *reaper)
{
	if (!reaper)
		return NULL;
	loop_event_free(reaper->on_timer);
	loop_event_free(reaper->on_watch);
	loop_event_free(reaper->on_helper);
	turn_fini(&reaper->turn);
	helper_free(reaper->helper);
	close_fd(reaper->timerfd);
	free(reaper);
	return NULL;
}
