/* SPDX-License-Identifier: MIT */
#include "shmdctl/report.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "shmdctl/command.h"

/* How long the daemon may take to see that the dead are dead, and how often it is asked meanwhile. */
#define SETTLE_MS 1000
#define ASK_MS    10

/* A name that nobody has: an attachment is refused, and the word of that stands behind all events. */
#define NOBODYS_NAME "shmdctl run --report"

enum fate {
	FATE_REAPED,
	FATE_IN_USE,
	FATE_LINGERED,
	FATE_PERSISTENT,
};

static const struct {
	const char *key;  /* for programs */
	const char *text; /* for people */
} fates[] = {
	[FATE_REAPED] = {"reaped", "nobody was left to keep it"},
	[FATE_IN_USE] = {"in use", "still in use when the command ended"},
	[FATE_LINGERED] = {"lingering", "it lingered, and ended with the daemon"},
	[FATE_PERSISTENT] = {"persistent", "it was persistent, and ended with the daemon"},
};

struct entry {
	char *name; /* NULL: it has none */
	uint64_t id;
	uint64_t size;
	enum fate fate;
};

struct entries {
	struct entry *all;
	size_t n;
	size_t room;
	uint64_t bytes;
};

struct report {
	struct context *context;
	struct shmd *shmd;
	int fd;
	struct entries reaped;
	struct entries left;
	bool is_unsettled; /* one of those that are left may be about to go */
	bool is_marked;    /* what was asked to be refused has been heard of */
	bool is_cut;       /* what the daemon knew at the end is not known here */
	uint64_t n_reaped; /* as the daemon counts */
	uint64_t n_recovered;
};

/* --- entries -------------------------------------------------------------------------------- */

static void entries_clear(struct entries *entries)
{
	for (size_t i = 0; i < entries->n; i++)
		free(entries->all[i].name);
	entries->n = 0;
	entries->bytes = 0;
}

static void entries_fini(struct entries *entries)
{
	entries_clear(entries);
	free(entries->all);
}

static int entries_add(struct entries *entries, const char *name, uint64_t id, uint64_t size,
		       enum fate fate)
{
	_cleanup_free_ char *copy = name ? strdup(name) : NULL;

	if (name && !copy)
		return -ENOMEM;
	if (entries->n == entries->room) {
		size_t room = entries->room ? 2 * entries->room : 16;
		struct entry *all = reallocarray(entries->all, room, sizeof(*all));
		if (!all)
			return -ENOMEM;
		entries->all = all;
		entries->room = room;
	}
	if (copy)
		text_make_plain(copy);
	entries->all[entries->n++] = (struct entry){steal_ptr(copy), id, size, fate};
	entries->bytes += size;
	return 0;
}

/* --- listening ------------------------------------------------------------------------------ */

/* Events that are lost, and entries for which there is no memory, are missing from what the daemon counts. */
static void on_event(const struct shmd_event *event, void *context)
{
	struct report *report = context;

	switch (event->kind) {
	case SHMD_EVENT_REAPED:
		entries_add(&report->reaped, event->name, event->id, event->size, FATE_REAPED);
		return;
	case SHMD_EVENT_LOST:
		/* The one that was waited for may be among them. */
		report->is_marked = true;
		return;
	case SHMD_EVENT_REFUSED:
		report->is_marked |= event->pid == getpid();
		return;
	default:
		return;
	}
}

static int begin(struct report *report, const char *socket)
{
	if (shmd_connect(&report->shmd, socket) < 0 ||
	    shmd_subscribe(report->shmd, NULL, on_event, report) < 0)
		return context_refused(report->context);
	report->fd = shmd_get_fd(report->shmd);
	return report->fd < 0 ? context_refused(report->context) : 0;
}

int report_new(struct report **ret, struct context *context, const char *socket)
{
	struct report *report = calloc(1, sizeof(*report));

	if (!report)
		return context_fail(context, "%s", strerror(errno));
	report->context = context;
	if (begin(report, socket) < 0) {
		report_free(report);
		return -1;
	}
	*ret = report;
	return 0;
}

struct report *report_free(struct report *report)
{
	if (report) {
		shmd_disconnect(report->shmd);
		entries_fini(&report->reaped);
		entries_fini(&report->left);
		free(report);
	}
	return NULL;
}

int report_fd(const struct report *report)
{
	return report->fd;
}

int report_take_in(struct report *report)
{
	if (report->fd < 0)
		return -1;
	if (shmd_dispatch(report->shmd) >= 0)
		return 0;
	report->fd = -1;
	report->is_cut = true;
	return -1;
}

/* --- the end -------------------------------------------------------------------------------- */

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* Events are sent in turns, and a reply may overtake them: waits for one that comes after all others. */
static int take_in_all(struct report *report)
{
	struct pollfd pollfd = {.fd = report->fd, .events = POLLIN};
	struct shmd_segment *segment;

	report->is_marked = false;
	int r = shmd_attach(report->shmd, NOBODYS_NAME, SHMD_READ_ONLY, &segment);
	if (r == 0)
		shmd_detach(segment); /* the command has made it, then */
	while (r == -ENOENT && !report->is_marked) {
		poll(&pollfd, 1, SETTLE_MS);
		if (pollfd.revents == 0 || report_take_in(report) < 0)
			return -1;
	}
	return r == 0 || r == -ENOENT ? 0 : -1;
}

static int on_segment(const struct shmd_segment_info *info, void *context)
{
	struct report *report = context;
	enum fate fate = FATE_IN_USE;

	if (info->lingering)
		fate = FATE_LINGERED;
	else if (info->lifetime == SHMD_LIFETIME_PERSISTENT && info->name)
		fate = FATE_PERSISTENT;
	else if (info->clients == 0)
		report->is_unsettled = true;
	return entries_add(&report->left, info->name, info->id, info->size, fate);
}

/* What is left. What was reaped while that was asked is in both lists, and has to be asked for again. */
static int list_left(struct report *report)
{
	size_t n_before;

	do {
		n_before = report->reaped.n;
		entries_clear(&report->left);
		report->is_unsettled = false;
		if (shmd_list(report->shmd, NULL, on_segment, report) < 0 ||
		    take_in_all(report) < 0)
			return -1;
	} while (report->reaped.n != n_before);
	return 0;
}

static int count(struct report *report)
{
	struct shmd_status *status;

	if (shmd_status(report->shmd, &status) < 0)
		return -1;
	for (size_t i = 0; i < status->n_counters; i++) {
		if (strcmp(status->counters[i]->name, "reaped") == 0)
			report->n_reaped = status->counters[i]->value;
		if (strcmp(status->counters[i]->name, "locks_recovered") == 0)
			report->n_recovered = status->counters[i]->value;
	}
	shmd_status_free(status);
	return 0;
}

/*
 * The daemon sees the end of a process a little after its parent. What has no client may belong to a process
 * that the command left behind, which only inherited it, and is still there: that is not waited for.
 */
static void settle(struct report *report)
{
	int64_t deadline = now_ms() + SETTLE_MS;
	struct pollfd pollfd = {.fd = report->fd, .events = POLLIN};

	do {
		if (report->fd < 0 || list_left(report) < 0) {
			report->is_cut = true;
			return;
		}
		if (report->is_unsettled)
			poll(&pollfd, 1, ASK_MS);
	} while (report->is_unsettled && now_ms() < deadline);
	report->is_cut = count(report) < 0;
}

/* --- telling -------------------------------------------------------------------------------- */

#define ENTRY(member) FIELD(entry, member)

static const struct column columns[] = {
	{"name", "", "", FORMAT_TEXT, false, ENTRY(name)},
	{"id", "", "", FORMAT_NUMBER, false, ENTRY(id)},
	{"size", "", "", FORMAT_BYTES, false, ENTRY(size)},
	{0},
};

static const struct column bytes_column = {"bytes",      "",    "",
					   FORMAT_BYTES, false, FIELD(entries, bytes)};

static void tell_entries(struct report *report, const struct entries *entries, const char *verb)
{
	for (size_t i = 0; i < entries->n; i++) {
		const struct entry *entry = &entries->all[i];
		_cleanup_free_ char *size = column_text(&columns[2], entry, false);
		const char *why = fates[entry->fate].text;

		if (entry->name)
			context_say(report->context, "%s '%s', %s: %s", verb, entry->name,
				    size ? size : "?", why);
		else
			context_say(report->context,
				    "%s segment %" PRIu64 " without a name, %s: %s", verb,
				    entry->id, size ? size : "?", why);
	}
}

static void tell_totals(struct report *report)
{
	_cleanup_free_ char *reaped = column_text(&bytes_column, &report->reaped, false);
	_cleanup_free_ char *left = column_text(&bytes_column, &report->left, false);
	char text[64] = "nothing was reaped";

	if (report->reaped.n > 0)
		snprintf(text, sizeof(text), "%zu reaped (%s)", report->reaped.n,
			 reaped ? reaped : "?");
	if (report->left.n > 0)
		context_say(report->context, "%s, %zu left (%s)", text, report->left.n,
			    left ? left : "?");
	else
		context_say(report->context, "%s, nothing was left", text);
}

static uint64_t count_untold(const struct report *report)
{
	return report->n_reaped > report->reaped.n ? report->n_reaped - report->reaped.n : 0;
}

static void tell_people(struct report *report)
{
	uint64_t n_untold = count_untold(report);

	tell_entries(report, &report->reaped, "reaped");
	tell_entries(report, &report->left, "left");
	if (report->n_recovered > 0)
		context_say(report->context, "%" PRIu64 " permit%s of dead holders given back",
			    report->n_recovered, report->n_recovered == 1 ? "" : "s");
	if (report->is_cut)
		context_say(report->context, "the daemon could not be asked at the end: "
					     "more may have been reaped or left than is told here");
	if (n_untold > 0)
		context_say(report->context,
			    "%" PRIu64 " more %s reaped, whose names were not heard in time",
			    n_untold, n_untold == 1 ? "was" : "were");
	if (n_untold == 0 && !report->is_cut)
		tell_totals(report);
}

static struct json_object *entries_json(const struct entries *entries)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; array && i < entries->n; i++) {
		struct json_object *object = json_object_new_object();
		for (const struct column *column = columns; object && column->key; column++)
			json_object_object_add(object, column->key,
					       column_json(column, &entries->all[i]));
		if (object)
			json_object_object_add(object, "fate",
					       json_object_new_string(
						       fates[entries->all[i].fate].key));
		json_object_array_add(array, object);
	}
	return array;
}

static void tell_program(struct report *report)
{
	struct json_object *object = json_object_new_object();

	if (!object)
		return;
	json_object_object_add(object, "reaped", entries_json(&report->reaped));
	json_object_object_add(object, "left", entries_json(&report->left));
	json_object_object_add(object, "reaped_untold",
			       json_object_new_int64((int64_t)count_untold(report)));
	json_object_object_add(object, "locks_recovered",
			       json_object_new_int64((int64_t)report->n_recovered));
	json_object_object_add(object, "complete",
			       json_object_new_boolean(!report->is_cut && !count_untold(report)));
	fprintf(stderr, "%s\n",
		json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN |
							       JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}

void report_tell(struct report *report)
{
	settle(report);
	if (report->context->json)
		tell_program(report);
	else
		tell_people(report);
}
