/* SPDX-License-Identifier: MIT */
/*
 * What programs with a loop of their own call: to ask for what will happen, and to be called back for
 * what has. Every call back is made without the mutex, so that it may use the connection.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "libshmd/error.h"
#include "libshmd/fork.h"
#include "libshmd/segment.h"

/* Packets that one call takes in. Others wait their turn: the descriptor stays readable. */
#define PACKETS_MAX 64

/* --- the descriptor --------------------------------------------------------------------------- */

static int get_fd(struct shmd *connection)
{
	int r = 0;

	pthread_mutex_lock(&connection->mutex);
	if (!loop_is_open(&connection->loop)) {
		r = loop_open(&connection->loop, connection->socket);
		connection_update_loop(connection);
	}
	int fd = connection->loop.epoll_fd;
	pthread_mutex_unlock(&connection->mutex);
	return r < 0 ? error_errno(r, "cannot make the descriptor for a loop") : fd;
}

int shmd_get_fd(struct shmd *connection)
{
	int before = cancellation_off();
	int r = connection_enter(connection);

	if (r == 0)
		r = get_fd(connection);
	cancellation_restore(before);
	return r;
}

/* --- asking ----------------------------------------------------------------------------------- */

static void remove_notice(struct shmd *connection, struct notice *notice)
{
	pthread_mutex_lock(&connection->mutex);
	notices_remove(&connection->notices, notice);
	connection_update_loop(connection);
	pthread_mutex_unlock(&connection->mutex);
}

/* Events may arrive before the reply, so the notice is there first. */
static int subscribe(struct shmd *connection, struct notice *notice)
{
	int r = call_perform(connection, &notice->call);

	/* It is in the list from the moment that it has a number. */
	if (r < 0 && notice->number)
		remove_notice(connection, notice);
	return r < 0 ? r : (int)notice->number;
}

/* What every name that matches the pattern begins with: all that the daemon is told of it. */
static void fill_subscribe(struct wire_subscribe *ret, const char *glob)
{
	*ret = (struct wire_subscribe){0};
	memcpy(ret->prefix, glob, strcspn(glob, "*?[\\"));
}

static struct notice *subscription_new(const char *glob, shmd_event_fn *fn, void *context)
{
	struct notice *notice = calloc(1, sizeof(*notice));

	if (!notice)
		return NULL;
	text_copy(notice->glob, sizeof(notice->glob), glob);
	notice->event_fn = fn;
	notice->context = context;
	fill_subscribe(&notice->request.subscribe, glob);
	notice->call = (struct call){.op = WIRE_SUBSCRIBE,
				     .body = &notice->request.subscribe,
				     .body_size = sizeof(notice->request.subscribe),
				     .notice = notice};
	return notice;
}

int shmd_subscribe(struct shmd *connection, const char *glob, shmd_event_fn *fn, void *context)
{
	char pattern[WIRE_NAME_SIZE] = "";
	int r = glob ? call_put_name(pattern, glob) : 0;

	if (r == 0 && glob && !glob[0])
		r = error_set(-EINVAL, "the pattern is empty");
	if (r == 0)
		r = connection_enter(connection);
	if (r < 0)
		return r;
	struct notice *notice = subscription_new(pattern, fn, context);
	if (!notice)
		return error_errno(-ENOMEM, "cannot subscribe");
	r = subscribe(connection, notice);
	if (r < 0)
		free(notice);
	return r;
}

static struct notice *wait_new(const struct wire_wait *request, int flags, shmd_wait_fn *fn,
			       void *context)
{
	struct notice *notice = calloc(1, sizeof(*notice));

	if (!notice)
		return NULL;
	notice->wait_fn = fn;
	notice->context = context;
	notice->read_only = (unsigned)flags & SHMD_READ_ONLY;
	notice->wants_pages = (unsigned)flags & SHMD_PREFAULT;
	notice->request.wait = *request;
	notice->call = (struct call){.op = WIRE_WAIT,
				     .body = &notice->request.wait,
				     .body_size = sizeof(notice->request.wait),
				     .reply = &notice->granted,
				     .room = sizeof(notice->granted),
				     .notice = notice};
	return notice;
}

int shmd_wait_start(struct shmd *connection, const char *name, uint64_t newer_than, int flags,
		    shmd_wait_fn *fn, void *context)
{
	struct wire_wait request;
	int r = segment_fill_wait(&request, name, newer_than, flags);

	if (r == 0)
		r = connection_enter(connection);
	if (r < 0)
		return r;
	struct notice *notice = wait_new(&request, flags, fn, context);
	if (!notice)
		return error_errno(-ENOMEM, "cannot begin to wait");
	int before = cancellation_off();
	r = call_start(connection, &notice->call);
	cancellation_restore(before);
	if (r < 0)
		free(notice);
	return r;
}

/* --- calling off ------------------------------------------------------------------------------ */

/* The notice is the caller's from here on. What it was answered before is in its call. */
static struct notice *take_notice(struct shmd *connection, uint32_t number)
{
	pthread_mutex_lock(&connection->mutex);
	struct notice *notice = notices_find(&connection->notices, number);
	if (notice) {
		notices_remove(&connection->notices, notice);
		notice->is_cancelled = true;
		connection_update_loop(connection);
	}
	pthread_mutex_unlock(&connection->mutex);
	return notice;
}

static void tell_cancelled(struct shmd *connection, uint32_t number)
{
	struct wire_cancel cancel = {.number = number};
	struct call call = {.op = WIRE_CANCEL, .body = &cancel, .body_size = sizeof(cancel)};

	call_perform(connection, &call);
}

/* The daemon answers in order: what it had granted before it heard of this is here by then. */
static void end_wait(struct shmd *connection, struct notice *wait)
{
	pthread_mutex_lock(&connection->mutex);
	bool is_done = wait->call.is_done;
	pthread_mutex_unlock(&connection->mutex);
	if (!is_done)
		tell_cancelled(connection, wait->number);
	pthread_mutex_lock(&connection->mutex);
	is_done = wait->call.is_done;
	call_forget(connection, &wait->call);
	pthread_mutex_unlock(&connection->mutex);
	if (is_done)
		segment_decline_wait(connection, wait);
}

/* It may be being asked for anew. */
static void end_subscription(struct shmd *connection, struct notice *subscription)
{
	tell_cancelled(connection, subscription->number);
	pthread_mutex_lock(&connection->mutex);
	call_forget(connection, &subscription->call);
	pthread_mutex_unlock(&connection->mutex);
}

static int cancel(struct shmd *connection, int number)
{
	struct notice *notice = number > 0 ? take_notice(connection, (uint32_t)number) : NULL;

	if (!notice)
		return error_set(-ENOENT, "there is no wait and no subscription of number %d",
				 number);
	if (notice->wait_fn)
		end_wait(connection, notice);
	else
		end_subscription(connection, notice);
	notice_free(notice);
	return 0;
}

int shmd_cancel(struct shmd *connection, int number)
{
	int before = cancellation_off();
	int r = connection_enter(connection);

	if (r == 0)
		r = cancel(connection, number);
	cancellation_restore(before);
	return r;
}

/* --- calling back ----------------------------------------------------------------------------- */

static const char *const event_names[] = {
	[SHMD_EVENT_CREATED] = "created",     [SHMD_EVENT_ATTACHED] = "attached",
	[SHMD_EVENT_DETACHED] = "detached",   [SHMD_EVENT_UNLINKED] = "unlinked",
	[SHMD_EVENT_PUBLISHED] = "published", [SHMD_EVENT_REAPED] = "reaped",
	[SHMD_EVENT_RECOVERED] = "recovered", [SHMD_EVENT_REFUSED] = "refused",
	[SHMD_EVENT_LOST] = "lost",
};

_Static_assert(SHMD_EVENT_CREATED == (int)WIRE_EVENT_CREATED + 1 &&
		       SHMD_EVENT_ATTACHED == (int)WIRE_EVENT_ATTACHED + 1 &&
		       SHMD_EVENT_DETACHED == (int)WIRE_EVENT_DETACHED + 1 &&
		       SHMD_EVENT_UNLINKED == (int)WIRE_EVENT_UNLINKED + 1 &&
		       SHMD_EVENT_PUBLISHED == (int)WIRE_EVENT_PUBLISHED + 1 &&
		       SHMD_EVENT_REAPED == (int)WIRE_EVENT_REAPED + 1 &&
		       SHMD_EVENT_RECOVERED == (int)WIRE_EVENT_RECOVERED + 1 &&
		       SHMD_EVENT_REFUSED == (int)WIRE_EVENT_REFUSED + 1 &&
		       SHMD_EVENT_LOST == (int)WIRE_EVENT_LOST + 1,
	       "events count alike, from 1 on");

const char *shmd_event_name(enum shmd_event_kind kind)
{
	return (size_t)kind < sizeof(event_names) / sizeof(*event_names) ? event_names[kind] : NULL;
}

/* Returns whether it is of a kind that we know: the daemon may be newer. */
static bool tell_event(const struct notice_delivery *delivery)
{
	const struct wire_event *event = &delivery->event;
	bool is_refusal = event->kind == WIRE_EVENT_REFUSED;

	if (event->kind >= WIRE_EVENTS_KINDS)
		return false;
	const struct shmd_event told = {
		.kind = (enum shmd_event_kind)(event->kind + 1),
		.time_ns = event->time_ns,
		.name = is_refusal || !event->text[0] ? NULL : event->text,
		.id = event->id,
		.size = event->size,
		.pid = (pid_t)event->pid,
		.uid = event->uid,
		.read_only = (event->flags & WIRE_READ_ONLY) != 0,
		.count = event->count,
		.text = is_refusal ? event->text : NULL,
	};
	delivery->event_fn(&told, delivery->context);
	return true;
}

static bool tell_answer(struct shmd *connection, struct notice *wait)
{
	struct shmd_segment *segment = NULL;
	int r = segment_finish_wait(connection, wait, &segment);

	wait->wait_fn(r, segment, wait->context);
	notice_free(wait);
	return true;
}

static bool take_next(struct shmd *connection, struct notice_delivery *ret)
{
	pthread_mutex_lock(&connection->mutex);
	bool is_there = notices_next(&connection->notices, ret);
	connection_update_loop(connection);
	pthread_mutex_unlock(&connection->mutex);
	return is_there;
}

/* While another thread mends it, the descriptor would only say so again; and that thread may stop trying
 * when its own time-out is over. Returns 0; or a negative errno: there is nothing to go on with. */
static int mend(struct shmd *connection)
{
	int r = 0;

	while (connection->broken < 0 && !connection->is_final && r == 0) {
		if (connection->is_read)
			pthread_cond_wait(&connection->changed, &connection->mutex);
		else
			r = call_mend(connection, -1);
	}
	return connection->broken;
}

static int take_in(struct shmd *connection, size_t *ret_n)
{
	pthread_mutex_lock(&connection->mutex);
	call_receive_now(connection, PACKETS_MAX);
	int r = mend(connection);
	*ret_n = notices_count(&connection->notices);
	pthread_mutex_unlock(&connection->mutex);
	return r;
}

/* Subscriptions have no answer that could say so: this says it for them. */
static int check_end(struct shmd *connection, int called)
{
	int r = called;

	pthread_mutex_lock(&connection->mutex);
	if (connection->broken < 0 && !notices_are_queued(&connection->notices))
		r = error_set(-ECONNRESET, "%s", connection->why);
	pthread_mutex_unlock(&connection->mutex);
	return r;
}

/* What comes by the acts of those who are called back waits for the next time. */
static int dispatch(struct shmd *connection)
{
	unsigned generation = fork_generation();
	struct notice_delivery delivery;
	int called = 0;
	size_t left;
	int r = take_in(connection, &left);

	for (; left > 0; left--) {
		if (!take_next(connection, &delivery))
			break;
		called += delivery.wait ? tell_answer(connection, delivery.wait)
					: tell_event(&delivery);
		/* Called back, the program has forked, and here is the child: nothing else is its. */
		if (fork_generation() != generation)
			return called;
	}
	return r < 0 ? check_end(connection, called) : called;
}

int shmd_dispatch(struct shmd *connection)
{
	int before = cancellation_off();
	int r = connection_enter(connection);

	if (r == 0)
		r = dispatch(connection);
	cancellation_restore(before);
	return r;
}
