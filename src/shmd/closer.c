/* SPDX-License-Identifier: MIT */
#include "shmd/closer.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "core/quota.h"
#include "shmd/helper.h"
#include "shmd/loop.h"
#include "wire/channel.h"

/* Sockets of clients that were refused, for instance because their user has too many already. */
#define UNPAID_MOST 64

struct closer {
	struct helper *helper; /* the reaper's is not to wait for any of this */
	struct event *on_closed;
	int pipe[2]; /* for the child to wait on */
	unsigned n_unpaid;
	closer_fn *fn;
	void *context;
};

struct closing {
	struct helper_job job; /* first: the job is the closing */
	struct closer *closer;
	int socket;
	struct charge client, unread;
};

/* --- on the thread ---------------------------------------------------------------------------- */

/* In the child: only what is allowed after a fork beside other threads. It ends when the socket is its alone,
 * or when the daemon has died. */
__attribute__((noreturn)) static void hold_until_told(const int *pipe)
{
	char byte;

	syscall(SYS_close, pipe[1]);
	syscall(SYS_read, pipe[0], &byte, 1);
	for (;;)
		syscall(SYS_exit_group, 0);
}

/* Not fork(3), which would make the loop's malloc() wait. Without a signal at its end. */
static pid_t make_child(const int *pipe)
{
	pid_t child = (pid_t)syscall(SYS_clone, 0, 0, 0, 0, 0);

	if (child == 0)
		hold_until_told(pipe);
	return child;
}

/*
 * Sockets linger wherever they are closed, but in a process that ends (PF_EXITING in the kernel's
 * inet_release() and its like). So that a child is made to be the last one that has it: what it brought then
 * goes in no time, however many seconds somebody has set.
 */
static void close_by_a_child(struct helper_job *job)
{
	struct closing *closing = (struct closing *)job;
	const int *pipe = closing->closer->pipe;
	pid_t child = make_child(pipe);

	/* Without one, it takes as long as it takes. */
	close_fd(closing->socket);
	if (child < 0)
		return;
	while (write(pipe[1], "", 1) < 0 && errno == EINTR)
		;
	while (waitpid(child, NULL, __WALL) < 0 && errno == EINTR)
		;
}

/* --- on the loop ------------------------------------------------------------------------------ */

static void free_closing(struct closing *closing)
{
	charge_release(&closing->client);
	charge_release(&closing->unread);
	free(closing);
}

static void closed(struct helper_job *job)
{
	struct closing *closing = (struct closing *)job;
	struct closer *closer = closing->closer;

	if (!closing->client.user && closer->n_unpaid-- == UNPAID_MOST)
		closer->fn(false, closer->context);
	free_closing(closing);
}

static struct charge steal_charge(struct charge *charge)
{
	struct charge stolen = charge ? *charge : (struct charge){0};

	if (charge)
		*charge = (struct charge){0};
	return stolen;
}

static void submit(struct closer *closer, struct closing *closing)
{
	closing->job.run = close_by_a_child;
	closing->job.done = closed;
	if (!closing->client.user && ++closer->n_unpaid == UNPAID_MOST)
		closer->fn(true, closer->context);
	helper_submit(closer->helper, &closing->job);
}

void closer_close(struct closer *closer, int socket, struct charge *client, struct charge *unread)
{
	struct closing *closing = NULL;

	if (closer && channel_may_bring_descriptors(socket) && !channel_empty(socket))
		closing = calloc(1, sizeof(*closing));
	if (!closing) {
		/* Without memory also what was not to be closed here: late for the others, but not lost. */
		close_fd(socket);
		if (client)
			charge_release(client);
		if (unread)
			charge_release(unread);
		return;
	}
	closing->closer = closer;
	closing->socket = socket;
	closing->client = steal_charge(client);
	closing->unread = steal_charge(unread);
	submit(closer, closing);
}

static void on_closed(evutil_socket_t fd, short what, void *context)
{
	struct closer *closer = context;

	(void)fd, (void)what;
	helper_reap(closer->helper);
}

/* --- life ------------------------------------------------------------------------------------- */

static int start(struct closer *closer, struct event_base *loop)
{
	int r = pipe2(closer->pipe, O_CLOEXEC) < 0 ? -errno : helper_new(&closer->helper);

	if (r < 0)
		return r;
	closer->on_closed = event_new(loop, helper_fd(closer->helper), EV_READ | EV_PERSIST,
				      on_closed, closer);
	if (!closer->on_closed || event_add(closer->on_closed, NULL) < 0)
		return -ENOMEM;
	return 0;
}

int closer_new(struct closer **ret, struct event_base *loop, closer_fn *fn, void *context)
{
	struct closer *closer = calloc(1, sizeof(*closer));

	if (!closer)
		return -ENOMEM;
	closer->pipe[0] = closer->pipe[1] = -1;
	closer->fn = fn;
	closer->context = context;
	int r = start(closer, loop);
	if (r < 0) {
		closer_free(closer);
		return r;
	}
	*ret = closer;
	return 0;
}

struct closer *closer_free(struct closer *closer)
{
	if (!closer)
		return NULL;
	loop_event_free(closer->on_closed);
	helper_free(closer->helper);
	close_fd(closer->pipe[0]);
	close_fd(closer->pipe[1]);
	free(closer);
	return NULL;
}
