/* SPDX-License-Identifier: MIT */
#include "shmdctl/hold.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "shmdctl/output.h"
#include "shmdctl/signals.h"

struct announcement {
	uint64_t id;
	const char *name;
	const char *semaphore;
	uint64_t size;
};

static const struct column columns[] = {
	{"id", "ID", "", FORMAT_NUMBER, false, FIELD(announcement, id)},
	{"name", "NAME", "", FORMAT_TEXT, false, FIELD(announcement, name)},
	{"semaphore", "SEMAPHORE", "", FORMAT_TEXT, false, FIELD(announcement, semaphore)},
	{"size", "SIZE", "", FORMAT_BYTES, false, FIELD(announcement, size)},
	{0},
};

static int print_line(const struct announcement *row)
{
	_cleanup_free_ char *name = column_text(column_find(columns, "name"), row, true);
	_cleanup_free_ char *semaphore = column_text(column_find(columns, "semaphore"), row, true);

	if (!name || !semaphore)
		return -ENOMEM;
	printf("%s\t%s\n", name, semaphore);
	return 0;
}

int hold_announce(struct context *context, const struct shmd_segment *segment)
{
	struct announcement row = {
		.id = shmd_segment_generation(segment),
		.name = shmd_segment_name(segment),
		.semaphore = shmd_segment_semaphore(segment),
		.size = shmd_segment_size(segment),
	};
	int r = context->json ? json_print_line(row_json(columns, &row)) : print_line(&row);

	if (r < 0)
		return context_fail(context, "%s", strerror(-r));
	return context_flush(context);
}

/* Throws away what has arrived. Returns whether more may come. */
static bool drain_input(void)
{
	char buffer[4096];
	ssize_t n = read(STDIN_FILENO, buffer, sizeof(buffer));

	return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

static void wait_for_end(const struct signals *signals)
{
	struct pollfd fds[] = {
		{.fd = STDIN_FILENO, .events = POLLIN},
		{.fd = signals->fd, .events = POLLIN},
	};

	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents)
			return;
		if (fds[0].revents && !drain_input())
			return;
	}
}

int hold_segment(struct context *context, const struct shmd_segment *segment)
{
	static const int list[] = {SIGHUP, SIGINT, SIGTERM, 0};
	struct signals signals;
	struct signalfd_siginfo info;
	int r;

	/* Before the line: who has read it may send the signal. */
	if (signals_init(&signals, list) < 0)
		return context_fail(context, "cannot take signals: %s", strerror(errno));
	r = hold_announce(context, segment);
	if (r == 0)
		wait_for_end(&signals);
	while (signals_next(&signals, 0, &info) > 0)
		; /* it has had its effect */
	signals_fini(&signals);
	return r;
}
