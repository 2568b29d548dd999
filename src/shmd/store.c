/* SPDX-License-Identifier: MIT */
#include "shmd/store.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "core/image.h"
#include "core/segment.h"
#include "shmd/loop.h"
#include "shmd/notify.h"

/* MAX_ARG_STRLEN of the kernel for the variable with all names, less what else stands in it. */
#define NAMES_MAX (128 * 1024 - 512)

#define WAIT_MS 5000

/* Before what failed otherwise than for want of room is tried again. */
#define PAUSE_US 100000

struct store {
	struct notify notify;
	struct record *record;
	struct event *on_room;
	struct event *on_pause_over;
	unsigned max;
	unsigned used;
	size_t names;  /* bytes, with what parts them */
	bool is_full;  /* and the log was told */
	bool is_deaf;  /* the same, of the service manager */
	bool has_sent; /* something, since that was looked at last */
	int error;     /* of the last message that could not be sent, and not for want of room */
	char trouble[160];
};

/* --- messages --------------------------------------------------------------------------------- */

static int send_store(struct store *store, const char *name, const int *fds, unsigned n)
{
	char text[64];

	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
	return notify_send(&store->notify, text, fds, n);
}

static int send_remove(struct notify *notify, const char *name)
{
	char text[64];

	snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	return notify_send(notify, text, NULL, 0);
}

static bool is_for_later(int r)
{
	return r == -EAGAIN || r == -ENOBUFS || r == -ETOOMANYREFS;
}

/* What fails for good is told once. */
static void note_error(struct store *store, int r)
{
	if (is_for_later(r) || r == store->error)
		return;
	store->error = r;
	log_error("cannot send to the service manager: %s; a restart would lose segments",
		  strerror(-r));
}

/* --- what is in it ---------------------------------------------------------------------------- */

static size_t names_of(uint32_t key, unsigned descriptors)
{
	char name[IMAGE_KEY_NAME_SIZE];

	image_key_name(key, name);
	return descriptors * (strlen(name) + 1);
}

void store_note_found(struct store *store, uint32_t key, unsigned descriptors)
{
	store->used += descriptors;
	store->names += names_of(key, descriptors);
}

void store_note_removed(struct store *store, uint32_t key, unsigned descriptors)
{
	store->used -= descriptors;
	store->names -= names_of(key, descriptors);
	record_return_key(store->record, key);
	store_push(store);
}

static bool has_room(const struct store *store, uint32_t key, unsigned descriptors)
{
	return store->used + descriptors <= store->max &&
	       store->names + names_of(key, descriptors) <= NAMES_MAX;
}

const char *store_trouble(const struct store *store)
{
	return store ? store->trouble : "";
}

static void note_full(struct store *store)
{
	if (store->is_full)
		return;
	store->is_full = true;
	snprintf(store->trouble, sizeof(store->trouble),
		 "the service manager's store of %u descriptors is full "
		 "(FileDescriptorStoreMax=): a restart would lose new segments",
		 store->max);
	log_warning("%s", store->trouble);
}

void store_note_deaf(struct store *store)
{
	if (store->is_deaf)
		return;
	store->is_deaf = true;
	snprintf(store->trouble, sizeof(store->trouble),
		 "the service manager does not take what is to be stored: a restart would lose new "
		 "segments");
	log_warning("%s", store->trouble);
}

bool store_is_late(const struct store *store, const struct segment *segment)
{
	return store && segment->keeping.is_unstored && !store->is_full && !store->is_deaf;
}

/* Nothing is left to be stored, and the manager hears. */
static void note_all_stored(struct store *store)
{
	if (!store->is_full && !store->is_deaf)
		return;
	store->is_full = store->is_deaf = false;
	store->trouble[0] = '\0';
	log_notice("all segments are in the service manager's store again");
}

/* --- sending ---------------------------------------------------------------------------------- */

/* The last one first: in which order they go is of no importance. */
static int push_loose(struct store *store)
{
	struct record *record = store->record;
	char name[IMAGE_KEY_NAME_SIZE];

	while (record->n_loose > 0) {
		struct record_loose last = record->loose[record->n_loose - 1];
		image_key_name(last.key, name);
		int r = send_remove(&store->notify, name);
		if (r < 0)
			return r;
		record->n_loose--;
		store->has_sent = true;
		store->used -= last.descriptors;
		store->names -= names_of(last.key, last.descriptors);
		record_return_key(record, last.key);
	}
	return 0;
}

static int push_segment(struct store *store, struct segment *segment)
{
	uint32_t key = segment->keeping.key;
	char name[IMAGE_KEY_NAME_SIZE];
	int fds[RECORD_DESCRIPTORS_MAX];
	unsigned n = record_descriptors(segment, fds);

	if (!has_room(store, key, n))
		return -ENOSPC;
	image_key_name(key, name);
	int r = send_store(store, name, fds, n);
	if (r < 0)
		return r;
	store->used += n;
	store->names += names_of(key, n);
	store->has_sent = true;
	record_note_stored(store->record, segment);
	return 0;
}

static int push(struct store *store)
{
	struct record *record = store->record;
	int r = 0;

	/* Somebody may wait for these. */
	while (r == 0 && record->unstored)
		r = push_segment(store, record->unstored);
	if (r == -ENOSPC)
		note_full(store);
	bool had_loose = record->n_loose > 0;
	if (r == 0 || r == -ENOSPC)
		r = push_loose(store);
	/* With what has gone there may be room again. */
	if (r == 0 && had_loose && record->unstored)
		return push(store);
	if (!record->unstored && store->has_sent)
		note_all_stored(store);
	store->has_sent = false;
	return r;
}

void store_push(struct store *store)
{
	const struct timeval pause = {.tv_usec = PAUSE_US};

	if (!store || (!store->record->n_loose && !store->record->unstored))
		return;
	int r = push(store);
	if (r == 0)
		return;
	note_error(store, r);
	/* Of anything but a full queue no socket tells that it is over. */
	if (r == -EAGAIN)
		event_add(store->on_room, NULL);
	else
		event_add(store->on_pause_over, &pause);
}

static void on_room(evutil_socket_t fd, short what, void *context)
{
	struct store *store = context;

	(void)fd, (void)what;
	store_push(store);
	record_flush(store->record);
}

/* Waits until a message may find room. Returns whether the time is not over. */
static bool wait_for_room(int fd, uint64_t deadline)
{
	struct pollfd writable = {.fd = fd, .events = POLLOUT};
	uint64_t now = clock_monotonic_ns();

	if (now >= deadline)
		return false;
	/* Where too many descriptors are under way no socket becomes writable: so it is asked again. */
	poll(&writable, 1, 10);
	return true;
}

void store_drain(struct store *store)
{
	uint64_t deadline = clock_monotonic_ns() + WAIT_MS * NSEC_PER_MSEC;
	int r;

	if (!store)
		return;
	while ((r = push(store)) < 0 && is_for_later(r))
		if (!wait_for_room(store->notify.fd, deadline))
			break;
	if (r < 0)
		log_error("not everything could be stored: %s", strerror(-r));
	record_flush(store->record);
}

static int remove_within(struct notify *notify, const char *name, uint64_t deadline)
{
	int r;

	while ((r = send_remove(notify, name)) < 0 && is_for_later(r))
		if (!wait_for_room(notify->fd, deadline))
			break;
	return r;
}

static int store_within(struct store *store, const char *name, const int *fds, unsigned n,
			uint64_t deadline)
{
	int r;

	while ((r = send_store(store, name, fds, n)) < 0 && is_for_later(r))
		if (!wait_for_room(store->notify.fd, deadline))
			break;
	return r;
}

int store_record(struct store *store, int lock_fd)
{
	uint64_t deadline = clock_monotonic_ns() + WAIT_MS * NSEC_PER_MSEC;
	struct record *record = store->record;
	int fds[RECORD_TABLES];

	for (int i = 0; i < RECORD_TABLES; i++)
		fds[i] = record->tables[i].fd;
	/* What a daemon that got no further has left there. */
	int r = remove_within(&store->notify, image_record_name(record->epoch), deadline);
	record_complete(record);
	if (r == 0)
		r = store_within(store, image_record_name(record->epoch), fds, RECORD_TABLES,
				 deadline);
	if (r == 0 && lock_fd >= 0)
		r = store_within(store, IMAGE_LOCK_NAME, &lock_fd, 1, deadline);
	if (r == 0)
		r = remove_within(&store->notify, image_record_name(record->epoch + 1), deadline);
	return r;
}

void store_give_up(struct store *store)
{
	uint64_t deadline = clock_monotonic_ns() + WAIT_MS * NSEC_PER_MSEC;

	remove_within(&store->notify, image_record_name(store->record->epoch), deadline);
	remove_within(&store->notify, IMAGE_LOCK_NAME, deadline);
}

void store_remove(struct store *store, const char *name)
{
	remove_within(&store->notify, name, clock_monotonic_ns() + WAIT_MS * NSEC_PER_MSEC);
}

/* --- from another thread ---------------------------------------------------------------------- */

/* A descriptor that the manager closes when it has done what was said before. */
static void wait_until_done(struct notify *notify, uint64_t deadline)
{
	int ends[2], r;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return;
	while ((r = notify_send(notify, "BARRIER=1", &ends[1], 1)) < 0 && is_for_later(r))
		if (!wait_for_room(notify->fd, deadline))
			break;
	close_fd(ends[1]);
	struct pollfd closed = {.fd = ends[0]};
	if (r == 0)
		poll(&closed, 1, WAIT_MS);
	close_fd(ends[0]);
}

void store_remove_and_wait(uint32_t key)
{
	uint64_t deadline = clock_monotonic_ns() + WAIT_MS * NSEC_PER_MSEC;
	char name[IMAGE_KEY_NAME_SIZE];
	struct notify notify;

	image_key_name(key, name);
	if (notify_open(&notify) < 0)
		return;
	if (remove_within(&notify, name, deadline) == 0)
		wait_until_done(&notify, deadline);
	notify_close(&notify);
}

/* --- life ------------------------------------------------------------------------------------- */

int store_new(struct store **ret, struct event_base *loop, struct record *record, unsigned max)
{
	struct store *store = max <= STORE_OWN ? NULL : calloc(1, sizeof(*store));

	if (max <= STORE_OWN)
		return -ENOENT;
	if (!store)
		return -ENOMEM;
	int r = notify_open(&store->notify);
	if (r < 0) {
		free(store);
		return r;
	}
	store->record = record;
	store->max = max;
	store->used = STORE_OWN;
	store->on_room = event_new(loop, store->notify.fd, EV_WRITE, on_room, store);
	store->on_pause_over = evtimer_new(loop, on_room, store);
	if (!store->on_room || !store->on_pause_over) {
		store_free(store);
		return -ENOMEM;
	}
	*ret = store;
	return 0;
}

struct store *store_free(struct store *store)
{
	if (!store)
		return NULL;
	loop_event_free(store->on_room);
	loop_event_free(store->on_pause_over);
	notify_close(&store->notify);
	free(store);
	return NULL;
}
