/* SPDX-License-Identifier: MIT */
#include "shmd/service.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "shmd/loop.h"
#include "shmd/notify.h"

#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

#define MESSAGE_MAX (2 * SERVICE_STATUS_MAX + 64)

/* What is due is told in this order, whatever the order in which it came up: a reload is over when what
 * follows it is told, and who stops is ready no more. */
enum state { STATE_RELOADING, STATE_READY, STATE_STATUS, STATE_ALIVE, STATE_STOPPING, STATES };

struct service {
	struct notify notify;
	service_status_fn *fn;
	void *context;
	bool is_due[STATES];
	uint64_t reload_usec;             /* CLOCK_MONOTONIC: when it began */
	char status[SERVICE_STATUS_MAX];  /* told last, without what stands behind it */
	char failure[SERVICE_STATUS_MAX]; /* of the last reload */
	bool is_reloaded;                 /* since the status changed */
	bool is_looking;                  /* the next look at the status is set */
	bool is_look_due;
	struct event *on_room;
	struct event *on_look;
	struct event *on_ping;
};

/* --- telling ---------------------------------------------------------------------------------- */

/* The status, and how the last reload went. */
static int tell_status(struct service *service, const char *before)
{
	char text[MESSAGE_MAX], status[SERVICE_STATUS_MAX];
	const char *joint = "", *outcome = "";

	service->fn(status, sizeof(status), service->context);
	if (service->failure[0]) {
		joint = "; configuration not read: ";
		outcome = service->failure;
	} else if (service->is_reloaded) {
		joint = "; configuration read again";
	}
	/* A message may have several lines; what strangers wrote shall not. */
	text_make_plain(status);
	snprintf(text, sizeof(text), "%sSTATUS=%s%s%s", before, status, joint, outcome);
	int r = notify_send(&service->notify, text, NULL, 0);
	if (r == 0) {
		text_copy(service->status, sizeof(service->status), status);
		service->is_due[STATE_STATUS] = false;
	}
	return r;
}

/* Systemd from 253 on wants to know since when (Type=notify-reload), and older ones do not mind. */
static int tell_reloading(struct service *service)
{
	char text[64];

	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, service->reload_usec);
	return notify_send(&service->notify, text, NULL, 0);
}

static int tell(struct service *service, enum state state)
{
	switch (state) {
	case STATE_RELOADING:
		return tell_reloading(service);
	case STATE_READY:
		return tell_status(service, "READY=1\n");
	case STATE_STATUS:
		return tell_status(service, "");
	case STATE_ALIVE:
		return notify_send(&service->notify, "WATCHDOG=1", NULL, 0);
	case STATE_STOPPING:
		return notify_send(&service->notify, "STOPPING=1", NULL, 0);
	case STATES:
		break;
	}
	return -EINVAL;
}

/* What cannot be told for another reason than room is told no more: nobody is there to hear it. */
static void tell_due(struct service *service)
{
	for (enum state state = 0; state < STATES; state++) {
		if (!service->is_due[state])
			continue;
		int r = tell(service, state);
		if (r == -EAGAIN) {
			event_add(service->on_room, NULL);
			return;
		}
		service->is_due[state] = false;
		if (r < 0)
			log_debug("cannot tell the service manager: %s", strerror(-r));
	}
}

static void make_due(struct service *service, enum state state)
{
	if (!service->on_room)
		return;
	service->is_due[state] = true;
	tell_due(service);
}

static void on_room(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	tell_due(context);
}

/* --- states ----------------------------------------------------------------------------------- */

void service_ready(struct service *service)
{
	make_due(service, STATE_READY);
}

void service_stopping(struct service *service)
{
	make_due(service, STATE_STOPPING);
}

void service_reloading(struct service *service)
{
	service->reload_usec = clock_monotonic_ns() / NSEC_PER_USEC;
	make_due(service, STATE_RELOADING);
}

void service_reloaded(struct service *service, const char *failure)
{
	text_copy(service->failure, sizeof(service->failure), failure ? failure : "");
	text_make_plain(service->failure);
	service->is_reloaded = !failure;
	make_due(service, STATE_READY);
}

/* --- from time to time ------------------------------------------------------------------------ */

static void on_ping(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	make_due(context, STATE_ALIVE);
}

static void on_look(evutil_socket_t fd, short what, void *context)
{
	struct service *service = context;

	(void)fd, (void)what;
	service->is_look_due = true;
}

static void look(struct service *service)
{
	char status[SERVICE_STATUS_MAX];

	service->fn(status, sizeof(status), service->context);
	text_make_plain(status);
	if (strcmp(status, service->status) == 0)
		return;
	service->is_reloaded = false;
	make_due(service, STATE_STATUS);
}

/* The look is behind all that woke the loop together with its timer, so that it misses nothing, and sets no
 * other: who only wakes for the look goes to sleep. */
void service_tick(struct service *service)
{
	static const struct timeval pause = {.tv_sec = 1};

	if (!service->on_look)
		return;
	if (service->is_look_due) {
		service->is_look_due = service->is_looking = false;
		look(service);
	} else if (!service->is_looking) {
		service->is_looking = event_add(service->on_look, &pause) == 0;
	}
}

/* --- making and ending ------------------------------------------------------------------------ */

/* How often the manager wants to hear that we are alive. 0: not at all. */
static uint64_t watchdog_usec(void)
{
	uint64_t usec = 0;

#ifdef HAVE_LIBSYSTEMD
	if (sd_watchdog_enabled(0, &usec) <= 0)
		usec = 0;
#endif
	return usec;
}

static int add_ping(struct service *service, struct event_base *loop)
{
	uint64_t usec = watchdog_usec() / 2;
	const struct timeval pause = {.tv_sec = (time_t)(usec / 1000000),
				      .tv_usec = (suseconds_t)(usec % 1000000)};

	if (usec == 0)
		return 0;
	service->on_ping = event_new(loop, -1, EV_PERSIST, on_ping, service);
	return service->on_ping && event_add(service->on_ping, &pause) == 0 ? 0 : -ENOMEM;
}

static int add_events(struct service *service, struct event_base *loop)
{
	service->on_room = event_new(loop, service->notify.fd, EV_WRITE, on_room, service);
	service->on_look = event_new(loop, -1, 0, on_look, service);
	return service->on_room && service->on_look ? add_ping(service, loop) : -ENOMEM;
}

int service_new(struct service **ret, struct event_base *loop, service_status_fn *fn, void *context)
{
	struct service *service = calloc(1, sizeof(*service));

	if (!service)
		return -ENOMEM;
	service->fn = fn;
	service->context = context;
	int r = notify_open(&service->notify);
	if (r < 0 && r != -ENOENT)
		log_warning("cannot reach the service manager: %s", strerror(-r));
	r = r == 0 ? add_events(service, loop) : 0;
	if (r < 0) {
		service_free(service);
		return r;
	}
	*ret = service;
	return 0;
}

struct service *service_free(struct service *service)
{
	if (!service)
		return NULL;
	loop_event_free(service->on_room);
	loop_event_free(service->on_look);
	loop_event_free(service->on_ping);
	notify_close(&service->notify);
	free(service);
	return NULL;
}
