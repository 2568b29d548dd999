/* SPDX-License-Identifier: MIT */
#include "shmd/server.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/guard.h"
#include "base/log.h"
#include "base/parse.h"
#include "core/restore.h"
#include "shmd/client.h"
#include "shmd/closer.h"
#include "shmd/handed.h"
#include "shmd/listener.h"
#include "shmd/loop.h"
#include "shmd/notifier.h"
#include "shmd/reaper.h"
#include "shmd/restart.h"
#include "shmd/service.h"
#include "shmd/store.h"
#include "shmd/user.h"
#include "shmd/waker.h"

#define SHM_FOLDER "/dev/shm"

/* Processes whose death is served before the others get their turn. */
#define DEATHS_AT_ONCE 16

/* Connections that begin to end, and with little attached have ended, before anybody else is served; the
 * rest of a process's come with their user's turns. */
#define BURIED_AT_ONCE 16

/* What libevent serves first; everything else has the middle one, its default. */
enum { PRIORITY_DEATH, PRIORITY_OTHERS, PRIORITIES };

/* Descriptors of our own: the log, the loop, the listener, /dev/shm, replies that are being made. */
#define DESCRIPTORS_OWN 256

/* --- what happens to it ----------------------------------------------------------------------- */

static void on_connection(int socket, void *context)
{
	client_accept(context, socket);
}

static void on_closer_full(bool is_full, void *context)
{
	struct server *server = context;

	if (server->listener)
		listener_hold(server->listener, is_full);
}

void server_note_changes(struct server *server)
{
	reaper_hand_over(server->reaper);
	store_push(server->store);
	record_flush(&server->registry->record);
}

void server_bury(struct server *server, struct process *process)
{
	struct client *next;

	registry_bury(server->registry, &process->estate);
	process_retire(process);
	/* The entry goes with its last client, or when its estate is settled. */
	unsigned n = 0;
	for (struct client *client = process->clients; client; client = next) {
		next = client->process_next;
		client_end(client);
		if (n++ < BURIED_AT_ONCE)
			client_serve(client);
	}
}

static void on_death(evutil_socket_t fd, short what, void *context)
{
	struct server *server = context;
	struct process *dead;

	(void)fd, (void)what;
	for (int i = 0; i < DEATHS_AT_ONCE; i++) {
		dead = process_table_next_dead(&server->processes);
		if (!dead)
			break;
		server_bury(server, dead);
	}
	reaper_kick(server->reaper);
}

static void apply_log_level(const struct server *server)
{
	log_set_level(server->log_level_override < LOG_LEVELS
			      ? server->log_level_override
			      : (enum log_level)server->config.log_level);
}

/* Past RLIMIT_NOFILE descriptors in flight the kernel lets us send none to anybody, unless we are
 * privileged. Some may be in flight to others than clients, and half of them are the store's. */
static void read_limits(const struct server *server, struct quota_limits *ret)
{
	struct rlimit limit;

	config_limits(&server->config, ret);
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	uint64_t *total = &ret->total[QUOTA_UNREAD];
	uint64_t share = limit.rlim_cur / 4 * (handed_store_max() > 0 ? 1 : 3);
	if (*total > share)
		*total = share;
}

/* What others ask the configuration for is at hand where they ask. */
static void apply_config(struct server *server)
{
	read_limits(server, &server->registry->quota.limits);
	quota_set_allowances(&server->registry->quota, &server->config.resolved);
	registry_set_policy(server->registry, &server->config.policy);
	access_set_administrators(server->config.administrators);
	apply_log_level(server);
}

static int read_config_again(struct server *server, char error[static CONFIG_ERROR_MAX])
{
	struct config config;
	int r = config_load(&config, server->config_file, error);

	if (r < 0) {
		log_error("%s; the configuration stays as it was", error);
		return r;
	}
	/* The socket is where clients expect it: it changes with the next start. */
	memcpy(config.socket, server->config.socket, sizeof(config.socket));
	config_fini(&server->config);
	server->config = config;
	apply_config(server);
	log_notice("configuration read again");
	return 0;
}

static void on_hangup(evutil_socket_t fd, short what, void *context)
{
	struct server *server = context;
	char error[CONFIG_ERROR_MAX];

	(void)fd, (void)what;
	service_reloading(server->service);
	service_reloaded(server->service, read_config_again(server, error) < 0 ? error : NULL);
}

static void on_end(evutil_socket_t fd, short what, void *context)
{
	struct server *server = context;

	(void)what;
	log_notice("ending on %s", strsignal((int)fd));
	service_stopping(server->service);
	event_base_loopbreak(server->loop);
}

const char *server_trouble(const struct server *server)
{
	const char *trouble = store_trouble(server->store);

	return trouble[0] ? trouble : server->registry->degraded;
}

static void write_status(char *ret, size_t room, void *context)
{
	const struct server *server = context;
	const uint64_t *used = server->registry->quota.used;
	const char *degraded = server_trouble(server);
	char size[FORMAT_MAX];

	snprintf(ret, room, "%" PRIu64 " segment%s, %s, %" PRIu64 " client%s%s%s",
		 used[QUOTA_SEGMENTS], used[QUOTA_SEGMENTS] == 1 ? "" : "s",
		 format_size_about(used[QUOTA_BYTES], size), used[QUOTA_CLIENTS],
		 used[QUOTA_CLIENTS] == 1 ? "" : "s", degraded[0] ? "; " : "", degraded);
}

static void on_log_due(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what, (void)context;
	log_tell_left_out(clock_monotonic_ns());
}

/* --- making and ending ------------------------------------------------------------------------ */

static struct event *add(struct server *server, int fd, short what, event_callback_fn fn)
{
	struct event *event = event_new(server->loop, fd, what | EV_PERSIST, fn, server);

	if (event && event_add(event, NULL) < 0) {
		event_free(event);
		return NULL;
	}
	return event;
}

static int add_events(struct server *server)
{
	server->on_death = add(server, server->processes.epoll, EV_READ, on_death);
	/* Before what their successors ask. */
	if (server->on_death)
		event_priority_set(server->on_death, PRIORITY_DEATH);
	server->on_hangup = add(server, SIGHUP, EV_SIGNAL, on_hangup);
	server->on_terminate = add(server, SIGTERM, EV_SIGNAL, on_end);
	server->on_interrupt = add(server, SIGINT, EV_SIGNAL, on_end);
	server->on_log_due = add(server, log_timer(), EV_READ, on_log_due);
	return server->on_death && server->on_hangup && server->on_terminate &&
			       server->on_interrupt && server->on_log_due
		       ? 0
		       : -ENOMEM;
}

static void change_mask(int how)
{
	sigset_t served;

	sigemptyset(&served);
	sigaddset(&served, SIGHUP);
	sigaddset(&served, SIGTERM);
	sigaddset(&served, SIGINT);
	sigprocmask(how, &served, NULL);
}

void server_block_signals(void)
{
	change_mask(SIG_BLOCK);
}

/* SIGIO tells the holder of a lease that somebody opens the file; nobody is to die of that, nor of a
 * peer that has gone. */
static void ignore_signals(void)
{
	signal(SIGIO, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
}

/* The kernel's table of our descriptors grows by doubling, and for each time it waits until no other thread
 * can be reading the smaller one: tens of milliseconds, in which nobody would be served. As long as there is
 * one thread, it waits for nothing. */
static void stretch_table(uint64_t descriptors)
{
	close_fd(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, (int)descriptors - 1));
}

static void check_descriptors(const struct server *server)
{
	struct rlimit limit;
	/* A client: its socket and its process. A segment: its memory and its semaphore; the few with
	 * several permits have a ledger too. And replies that cannot be sent yet. */
	uint64_t needed = 2 * server->config.clients + server->config.segments +
			  server->config.semaphores + server->config.unread_descriptors +
			  DESCRIPTORS_OWN;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < needed)
		log_warning(
			"the limits clients=%ju, segments=%ju, semaphores=%ju and "
			"unread_descriptors=%ju may need %ju descriptors; RLIMIT_NOFILE lets the "
			"daemon have %ju",
			(uintmax_t)server->config.clients, (uintmax_t)server->config.segments,
			(uintmax_t)server->config.semaphores,
			(uintmax_t)server->config.unread_descriptors, (uintmax_t)needed,
			(uintmax_t)limit.rlim_cur);
	stretch_table(needed < limit.rlim_cur ? needed : limit.rlim_cur);
}

static int set_up(struct server *server, struct image *image)
{
	struct quota_limits limits;

	read_limits(server, &limits);
	int r = restore_registry(&server->registry, &limits, SHM_FOLDER, clock_realtime_ns(),
				 image);
	if (r < 0) {
		log_error("cannot use %s for semaphores: %s", SHM_FOLDER, strerror(-r));
		return r;
	}
	quota_set_allowances(&server->registry->quota, &server->config.resolved);
	registry_set_policy(server->registry, &server->config.policy);
	access_set_administrators(server->config.administrators);
	server->loop = event_base_new();
	if (!server->loop || event_base_priority_init(server->loop, PRIORITIES) < 0)
		return -ENOMEM;
	r = guard_init();
	if (r == 0)
		r = process_table_init(&server->processes, &server->registry->emptied);
	if (r == 0)
		r = reaper_new(&server->reaper, server->loop, &server->turns, server->registry,
			       &server->processes);
	if (r == 0)
		r = closer_new(&server->closer, server->loop, on_closer_full, server);
	if (r == 0)
		r = waker_new(&server->waker, server);
	if (r == 0)
		r = notifier_new(&server->notifier, server);
	if (r == 0)
		r = service_new(&server->service, server->loop, write_status, server);
	if (r == 0)
		r = add_events(server);
	if (r < 0)
		log_error("cannot set up the event loop: %s", strerror(-r));
	return r;
}

int server_new(struct server **ret, struct config *config, struct listener *listener,
	       struct legacy *legacy, const struct handed *handed)
{
	struct server *server = calloc(1, sizeof(*server));

	if (!server) {
		listener_free(listener);
		return -ENOMEM;
	}
	server->config = config_steal(config);
	server->log_level_override = LOG_LEVELS;
	server->listener = listener;
	server->processes.epoll = -1;
	server->next_client = 1;
	server->started_at = clock_boottime_ns();
	ignore_signals();
	check_descriptors(server);
	int r = set_up(server, &legacy->image);
	if (r == 0)
		r = restart_begin(&server->restart, server, legacy, handed);
	if (r < 0) {
		/* What was left to this one is left to the one that starts next. */
		if (server->registry && !legacy->image.is_empty)
			registry_leave_behind(server->registry);
		server_free(server);
		return r;
	}
	*ret = server;
	return 0;
}

struct server *server_free(struct server *server)
{
	struct client *client, *next;
	struct user *user, *other;

	if (!server)
		return NULL;
	server->listener = listener_free(server->listener);
	if (server->restart)
		restart_leave(server);
	server->restart = restart_free(server->restart);
	HASH_ITER (hh, server->clients, client, next)
		client_free(client);
	loop_event_free(server->on_death);
	loop_event_free(server->on_hangup);
	loop_event_free(server->on_terminate);
	loop_event_free(server->on_interrupt);
	loop_event_free(server->on_log_due);
	log_tell_left_out(UINT64_MAX);
	HASH_ITER (hh, server->users, user, other)
		user_free(user);
	server->closer = closer_free(server->closer);
	server->reaper = reaper_free(server->reaper);
	waker_free(server->waker);
	notifier_free(server->notifier);
	service_free(server->service);
	process_table_fini(&server->processes);
	registry_free(server->registry);
	store_free(server->store);
	if (server->loop)
		event_base_free(server->loop);
	config_fini(&server->config);
	free(server);
	return NULL;
}

int server_run(struct server *server)
{
	int r = listener_start(server->listener, server->loop, &server->turns, server->closer,
			       on_connection, server);

	if (r < 0)
		return r;
	change_mask(SIG_UNBLOCK);
	service_ready(server->service);
	while (!event_base_got_break(server->loop)) {
		bool is_busy = turns_are_due(&server->turns);
		if (event_base_loop(server->loop, EVLOOP_ONCE | (is_busy ? EVLOOP_NONBLOCK : 0)) <
		    0)
			return -EIO;
		turns_serve(&server->turns);
		server_note_changes(server);
		service_tick(server->service);
	}
	return 0;
}
