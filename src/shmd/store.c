/* SPDX-License-Identifier: MIT */
#include "shmd/store.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/image.h"
#include "core/segment.h"
#include "shmd/loop.h"
#include "shmd/notify.h"
#include "shmd/pouch.h"

#define WAIT_MS 5000

/* Before what failed otherwise than for want of room is tried again. */
#define PAUSE_US 100000

/* A pouch is made and stored before it is needed, when so little room is left in the others. */
#define ROOM_LEAST (POUCH_ROOM / 2)

struct store {
	struct notify notify;
	struct record *record;
	struct event *on_room;
	struct event *on_pause_over;
	unsigned max;
	unsigned segments_max; /* for all of their descriptors are in flight */
	struct pouch *pouches; /* those with room first */
	unsigned n_pouches;
	unsigned n_unstored; /* of them, that the manager does not have yet */
	unsigned room;       /* for segments, in all of them */
	unsigned next_number;
	bool is_full; /* and the log was told */
	bool is_deaf; /* the same, of the service manager */
	int error; /* of the last thing that failed, and not for want of room; the log was told */
	char trouble[160];
};

/* --- messages to the service manager ---------------------------------------------------------- */

static int send_store(struct store *store, const char *name, const int *fds, unsigned n)
{
	char text[64];

	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
	return notify_send(&store->notify, text, fds, n);
}

static int send_remove(struct store *store, const char *name)
{
	char text[64];

	snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	return notify_send(&store->notify, text, NULL, 0);
}

static bool is_for_later(int r)
{
	return r == -EAGAIN || r == -ENOBUFS || r == -ETOOMANYREFS;
}

static int send_pouch(struct store *store, struct pouch *pouch)
{
	const int ends[] = {pouch->in, pouch->out};
	char name[IMAGE_POUCH_NAME_SIZE];

	image_pouch_name(pouch->number, name);
	int r = send_store(store, name, ends, 2);
	if (r < 0)
		return r;
	pouch->is_stored = true;
	store->n_unstored--;
	return 0;
}

/* --- trouble ---------------------------------------------------------------------------------- */

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
		 "the store is full (FileDescriptorStoreMax=%u; LimitNOFILE= for %u segments): a "
		 "restart would lose new segments",
		 store->max, store->segments_max);
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

static void note_error(struct store *store, int r)
{
	if (r == store->error)
		return;
	store->error = r;
	snprintf(store->trouble, sizeof(store->trouble),
		 "segments cannot be stored (%s): a restart would lose new ones", strerror(-r));
	log_error("%s", store->trouble);
}

static void note_all_stored(struct store *store)
{
	if (!store->trouble[0])
		return;
	store->is_full = store->is_deaf = false;
	store->error = 0;
	store->trouble[0] = '\0';
	log_notice("all segments are in the service manager's store again");
}

bool store_is_late(const struct store *store, const struct segment *segment)
{
	const struct segment_keeping *keeping = &segment->keeping;

	if (!store || store->trouble[0])
		return false;
	return keeping->is_unstored || (keeping->pouch && !keeping->pouch->is_stored);
}

/* --- pouches ---------------------------------------------------------------------------------- */

/* The kernel counts what lies there as in flight, up to RLIMIT_NOFILE; the other half is for replies. */
unsigned store_segments_max(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > INT32_MAX)
		limit.rlim_cur = INT32_MAX;
	return (unsigned)limit.rlim_cur / 2 / POUCH_DESCRIPTORS_MAX;
}

uint64_t store_places(uint64_t segments)
{
	return STORE_OWN + 2 * (segments / POUCH_ROOM + 2);
}

static unsigned room_in(const struct pouch *pouch)
{
	return pouch->n < POUCH_ROOM ? POUCH_ROOM - pouch->n : 0;
}

/* Those with room stand in front; which of them is of no importance. */
static void enter(struct store *store, struct pouch *pouch)
{
	if (room_in(pouch) > 0)
		DL_PREPEND(store->pouches, pouch);
	else
		DL_APPEND(store->pouches, pouch);
	store->room += room_in(pouch);
}

static void leave(struct store *store, struct pouch *pouch)
{
	DL_DELETE(store->pouches, pouch);
	store->room -= room_in(pouch);
}

void store_add_found(struct store *store, struct pouch *pouch)
{
	pouch->is_stored = true;
	store->n_pouches++;
	if (store->next_number <= pouch->number)
		store->next_number = pouch->number + 1;
	enter(store, pouch);
}

static int add_pouch(struct store *store)
{
	struct pouch *pouch;

	if (STORE_OWN + 2 * (store->n_pouches + 1) > store->max)
		return -ENOSPC;
	int r = pouch_new(&pouch, store->next_number);
	if (r < 0)
		return r;
	store->next_number++;
	store->n_pouches++;
	store->n_unstored++;
	enter(store, pouch);
	return 0;
}

/* What failed for want of room is tried again when there is some. */
static int take_key_out(struct store *store, struct pouch *pouch, uint32_t key)
{
	leave(store, pouch);
	int r = pouch_take_out(pouch, key);
	enter(store, pouch);
	if (r == 0 || r == -ENOENT)
		record_return_key(store->record, key);
	return r == -ENOENT ? 0 : r;
}

void store_take_out(struct store *store, struct segment *segment)
{
	struct record_loose loose;

	if (store && record_take_out(store->record, segment, &loose) &&
	    take_key_out(store, loose.pouch, loose.key) < 0)
		record_loosen(store->record, &loose);
}

/* --- what is to be done ----------------------------------------------------------------------- */

static int push_loose(struct store *store)
{
	struct record *record = store->record;

	while (record->n_loose > 0) {
		struct record_loose last = record->loose[record->n_loose - 1];
		int r = take_key_out(store, last.pouch, last.key);
		if (r < 0)
			return r;
		record->n_loose--;
	}
	return 0;
}

static int push_segment(struct store *store, struct segment *segment)
{
	unsigned n_segments = store->n_pouches * POUCH_ROOM - store->room;
	int r = n_segments >= store->segments_max ? -ENOSPC
		: store->room == 0                ? add_pouch(store)
						  : 0;
	int fds[RECORD_DESCRIPTORS_MAX];
	unsigned n = record_descriptors(segment, fds);

	if (r < 0)
		return r;
	struct pouch *pouch = store->pouches;
	leave(store, pouch);
	r = pouch_put(pouch, segment->keeping.key, fds, n);
	enter(store, pouch);
	if (r == 0)
		record_note_stored(store->record, segment, pouch);
	return r;
}

static int push_pouches(struct store *store)
{
	struct pouch *pouch;
	int r = 0;

	if (store->room < ROOM_LEAST)
		add_pouch(store);
	if (store->n_unstored == 0)
		return 0;
	DL_FOREACH (store->pouches, pouch)
		if (r == 0 && !pouch->is_stored)
			r = send_pouch(store, pouch);
	return r;
}

static int push(struct store *store)
{
	struct record *record = store->record;
	int r = push_loose(store);

	while (r == 0 && record->unstored)
		r = push_segment(store, record->unstored);
	/* Whatever became of those. */
	int other = push_pouches(store);
	if (r == -ENOSPC)
		note_full(store);
	if (r == -ENOSPC || r == 0)
		r = other;
	if (r == 0 && !record->unstored)
		note_all_stored(store);
	return r;
}

static bool has_to_do(const struct store *store)
{
	return store->record->n_loose || store->record->unstored || store->n_unstored ||
	       store->trouble[0];
}

void store_push(struct store *store)
{
	const struct timeval pause = {.tv_usec = PAUSE_US};

	if (!store || !has_to_do(store))
		return;
	int r = push(store);
	if (r == 0)
		return;
	if (!is_for_later(r))
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

/* --- where it may be waited for --------------------------------------------------------------- */

static uint64_t deadline(void)
{
	return clock_monotonic_ns() + WAIT_MS * NSEC_PER_MSEC;
}

/* Whether to try again: what is for later has time until the deadline. */
static bool try_again(const struct store *store, int r, uint64_t until)
{
	struct pollfd writable = {.fd = store->notify.fd, .events = POLLOUT};

	if (!is_for_later(r) || clock_monotonic_ns() >= until)
		return false;
	poll(&writable, 1, 10);
	return true;
}

void store_drain(struct store *store)
{
	uint64_t until = deadline();
	int r;

	do
		r = push(store);
	while (try_again(store, r, until));
	if (r < 0)
		log_error("not everything could be stored: %s", strerror(-r));
	record_flush(store->record);
}

void store_remove(struct store *store, const char *name)
{
	uint64_t until = deadline();

	while (try_again(store, send_remove(store, name), until))
		;
}

static int store_now(struct store *store, const char *name, const int *fds, unsigned n)
{
	uint64_t until = deadline();
	int r;

	do
		r = send_store(store, name, fds, n);
	while (try_again(store, r, until));
	return r;
}

int store_record(struct store *store, int lock_fd)
{
	struct record *record = store->record;
	int fds[RECORD_TABLES];

	for (int i = 0; i < RECORD_TABLES; i++)
		fds[i] = record->tables[i].fd;
	/* What a daemon that got no further has left there. */
	store_remove(store, image_record_name(record->epoch));
	record_complete(record);
	int r = store_now(store, image_record_name(record->epoch), fds, RECORD_TABLES);
	if (r == 0 && lock_fd >= 0)
		r = store_now(store, IMAGE_LOCK_NAME, &lock_fd, 1);
	if (r == 0)
		store_remove(store, image_record_name(record->epoch + 1));
	if (r == 0)
		store_drain(store);
	return r;
}

void store_give_up(struct store *store)
{
	char name[IMAGE_POUCH_NAME_SIZE];
	struct pouch *pouch;

	store_remove(store, image_record_name(store->record->epoch));
	store_remove(store, IMAGE_LOCK_NAME);
	DL_FOREACH (store->pouches, pouch) {
		image_pouch_name(pouch->number, name);
		store_remove(store, name);
	}
}

/* --- life ------------------------------------------------------------------------------------- */

int store_new(struct store **ret, struct event_base *loop, struct record *record, unsigned max)
{
	struct store *store = max < store_places(0) ? NULL : calloc(1, sizeof(*store));

	if (max < store_places(0))
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
	store->segments_max = store_segments_max();
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
	struct pouch *pouch, *next;

	if (!store)
		return NULL;
	DL_FOREACH_SAFE (store->pouches, pouch, next)
		pouch_free(pouch);
	loop_event_free(store->on_room);
	loop_event_free(store->on_pause_over);
	notify_close(&store->notify);
	free(store);
	return NULL;
}
