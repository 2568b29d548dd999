/* SPDX-License-Identifier: MIT */
/*
 * shmdctl watch: a line for each event as it happens. Owns what is told of which event.
 */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "shmdctl/command.h"
#include "shmdctl/listing.h"
#include "shmdctl/output.h"
#include "shmdctl/signals.h"

#define EVENT(member) FIELD(shmd_event, member)

enum {
	TELL_NAME,
	TELL_ID,
	TELL_SIZE,
	TELL_PID,
	TELL_ACCESS,
	TELL_PERMITS,
	TELL_COUNT,
	TELL_TEXT,
};

static const struct column facts[] = {
	[TELL_NAME] = {"name", "NAME", "", FORMAT_TEXT, false, EVENT(name)},
	[TELL_ID] = {"id", "ID", "", FORMAT_NUMBER, false, EVENT(id), .zero_is_none = true},
	[TELL_SIZE] = {"size", "SIZE", "", FORMAT_BYTES, false, EVENT(size), .zero_is_none = true},
	[TELL_PID] = {"pid", "PID", "", FORMAT_PID, false, EVENT(pid)},
	[TELL_ACCESS] = {"access", "", "", FORMAT_ACCESS, false, EVENT(read_only)},
	[TELL_PERMITS] = {"permits", "", "", FORMAT_NUMBER, false, EVENT(count)},
	[TELL_COUNT] = {"count", "", "", FORMAT_NUMBER, false, EVENT(count)},
	[TELL_TEXT] = {"text", "", "", FORMAT_TEXT, false, EVENT(text)},
};

struct watch {
	struct context *context;
	const struct layout *layout;
	int result; /* of writing */
};

/* --- for programs ----------------------------------------------------------------------------- */

static void add(struct json_object *object, int what, const struct shmd_event *event)
{
	json_object_object_add(object, facts[what].key, column_json(&facts[what], event));
}

static void add_uid(struct json_object *object, const struct shmd_event *event)
{
	json_object_object_add(object, "uid",
			       event->uid == (uid_t)-1
				       ? NULL
				       : json_object_new_int64((int64_t)event->uid));
}

static void add_time(struct json_object *object, const struct shmd_event *event)
{
	time_t seconds = (time_t)(event->time_ns / 1000000000);
	struct tm utc = {0};
	char text[80], day[48];

	gmtime_r(&seconds, &utc);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(text, sizeof(text), "%s.%03uZ", day, (unsigned)(event->time_ns / 1000000 % 1000));
	json_object_object_add(object, "time", json_object_new_string(text));
}

static void add_rest(struct json_object *object, const struct shmd_event *event)
{
	switch (event->kind) {
	case SHMD_EVENT_ATTACHED:
	case SHMD_EVENT_DETACHED:
		return add(object, TELL_ACCESS, event);
	case SHMD_EVENT_RECOVERED:
		return add(object, TELL_PERMITS, event);
	case SHMD_EVENT_REFUSED:
		return add(object, TELL_TEXT, event);
	default:
		return;
	}
}

static int print_json(const struct shmd_event *event)
{
	struct json_object *object = json_object_new_object();

	if (!object)
		return -ENOMEM;
	add_time(object, event);
	json_object_object_add(object, "event",
			       json_object_new_string(shmd_event_name(event->kind)));
	add(object, TELL_NAME, event);
	add(object, TELL_ID, event);
	if (event->kind == SHMD_EVENT_LOST) {
		add(object, TELL_COUNT, event);
		return json_print_line(object);
	}
	if (event->kind != SHMD_EVENT_REFUSED)
		add(object, TELL_SIZE, event);
	add(object, TELL_PID, event);
	add_uid(object, event);
	add_rest(object, event);
	return json_print_line(object);
}

/* --- for people ------------------------------------------------------------------------------- */

#define LINE_FORMAT "%-23s  %-9s  %-24s %6s %8s %8s %6s"

static void print_heading(void)
{
	printf(LINE_FORMAT "\n", "TIME", "EVENT", "NAME", "ID", "SIZE", "PID", "UID");
}

/* Over a restart of the daemon nobody has counted. */
static void print_lost(const struct shmd_event *event)
{
	if (event->count == 0)
		puts("  perhaps: the daemon was restarted");
	else
		printf("  %" PRIu64 " event%s\n", event->count, event->count == 1 ? "" : "s");
}

static void print_rest(const struct shmd_event *event, const char *text)
{
	switch (event->kind) {
	case SHMD_EVENT_ATTACHED:
	case SHMD_EVENT_DETACHED:
		printf("  %s\n", event->read_only ? "read-only" : "read-write");
		return;
	case SHMD_EVENT_RECOVERED:
		printf("  %" PRIu64 " permit%s\n", event->count, event->count == 1 ? "" : "s");
		return;
	case SHMD_EVENT_REFUSED:
		printf("  %s\n", text);
		return;
	case SHMD_EVENT_LOST:
		print_lost(event);
		return;
	default:
		putchar('\n');
	}
}

static int print_text(const struct shmd_event *event, const struct layout *layout)
{
	time_t seconds = (time_t)(event->time_ns / 1000000000);
	struct tm local = {0};
	char time[80], day[48], uid[16] = "-";
	_cleanup_free_ char *name = column_text(&facts[TELL_NAME], event, layout->bytes);
	_cleanup_free_ char *id = column_text(&facts[TELL_ID], event, layout->bytes);
	_cleanup_free_ char *size = column_text(&facts[TELL_SIZE], event, layout->bytes);
	_cleanup_free_ char *pid = column_text(&facts[TELL_PID], event, layout->bytes);
	_cleanup_free_ char *text = column_text(&facts[TELL_TEXT], event, layout->bytes);

	if (!name || !id || !size || !pid || !text)
		return -ENOMEM;
	localtime_r(&seconds, &local);
	strftime(day, sizeof(day), "%Y-%m-%d %H:%M:%S", &local);
	snprintf(time, sizeof(time), "%s.%03u", day, (unsigned)(event->time_ns / 1000000 % 1000));
	if (event->uid != (uid_t)-1)
		snprintf(uid, sizeof(uid), "%u", (unsigned)event->uid);
	printf(LINE_FORMAT, time, shmd_event_name(event->kind), name, id, size, pid, uid);
	print_rest(event, text);
	return 0;
}

/* --- watching --------------------------------------------------------------------------------- */

static void print_event(const struct shmd_event *event, void *context)
{
	struct watch *watch = context;

	if (watch->result == 0)
		watch->result = watch->layout->json ? print_json(event)
						    : print_text(event, watch->layout);
}

/* What has come is written at once: somebody may be reading it from a pipe. */
static int print_arrived(struct watch *watch, struct shmd *shmd)
{
	int r = shmd_dispatch(shmd);

	if (context_flush(watch->context) < 0)
		return -1;
	if (watch->result < 0)
		return context_fail(watch->context, "%s", strerror(-watch->result));
	if (r < 0)
		context_refused(watch->context);
	if (r == -ECONNRESET)
		watch->context->status = EXIT_NO_DAEMON;
	return r < 0 ? -1 : 0;
}

static int watch_events(struct watch *watch, struct shmd *shmd, const struct signals *signals)
{
	struct pollfd fds[] = {
		{.fd = shmd_get_fd(shmd), .events = POLLIN},
		{.fd = signals->fd, .events = POLLIN},
	};

	if (fds[0].fd < 0)
		return context_refused(watch->context);
	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents)
			return 0;
		if (fds[0].revents && print_arrived(watch, shmd) < 0)
			return -1;
	}
}

static int begin_and_watch(struct watch *watch, const struct signals *signals)
{
	CLEANUP(cleanup_shmd) struct shmd *shmd = NULL;

	if (context_connect(watch->context, &shmd) < 0)
		return -1;
	if (shmd_subscribe(shmd, watch->context->operands[0], print_event, watch) < 0)
		return context_refused(watch->context);
	if (!watch->layout->json)
		print_heading();
	if (context_flush(watch->context) < 0)
		return -1;
	return watch_events(watch, shmd, signals);
}

static int run(struct context *context)
{
	static const int list[] = {SIGINT, SIGTERM, 0};
	struct layout layout = {0};
	struct watch watch = {.context = context, .layout = &layout};
	struct signals signals;
	struct signalfd_siginfo info;

	if (layout_read(context, &layout) < 0)
		return -1;
	if (signals_init(&signals, list) < 0)
		return context_fail(context, "cannot take signals: %s", strerror(errno));
	int r = begin_and_watch(&watch, &signals);
	while (signals_next(&signals, 0, &info) > 0)
		; /* it has had its effect */
	signals_fini(&signals);
	return r;
}

const struct command watch_command = {
	.name = "watch",
	.operands = "[GLOB]",
	.summary = "print events as they happen, all or of matching names",
	.options = layout_options,
	.max_operands = 1,
	.run = run,
};
