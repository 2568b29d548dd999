/* SPDX-License-Identifier: MIT */
/*
 * The running daemon: the loop, and everything that it serves. Owns all parts, makes them in the
 * order of their dependency and ends them in the reverse.
 */
#ifndef SHMD_SERVER_H
#define SHMD_SERVER_H

#include <stdalign.h>
#include <stdint.h>

#include "core/registry.h"
#include "shmd/config.h"
#include "shmd/process.h"
#include "shmd/turn.h"
#include "wire/protocol.h"

struct client;
struct closer;
struct event;
struct event_base;
struct handed;
struct legacy;
struct listener;
struct notifier;
struct process;
struct reaper;
struct restart;
struct service;
struct store;
struct user;
struct waker;

struct server {
	struct config config;
	const char *config_file;           /* read again at SIGHUP; NULL: the system's */
	enum log_level log_level_override; /* LOG_LEVELS: none */

	struct event_base *loop;
	struct registry *registry;
	struct store *store;     /* NULL: nothing of it outlives the daemon */
	struct restart *restart; /* NULL: it is being set up, or ended */
	struct reaper *reaper;
	struct closer *closer;
	struct waker *waker;
	struct notifier *notifier;
	struct listener *listener;
	struct service *service;
	struct process_table processes;
	struct turns turns;
	struct user *users;
	struct user *looked_at; /* last, for what it leaves unread; NULL: none of them */
	struct client *clients; /* by the id of their session, oldest first */
	uint64_t next_client;
	uint64_t started_at; /* CLOCK_BOOTTIME, ns */

	struct event *on_death;
	struct event *on_hangup;
	struct event *on_terminate;
	struct event *on_interrupt;
	struct event *on_log_due;

	/* One packet each at a time; nothing of them outlives its request. */
	alignas(8) char in[WIRE_PACKET_MAX];
	alignas(8) char out[WIRE_PACKET_MAX];
};

/* Blocks the signals that the loop is to serve, until it can; to be called before anything is made that
 * would have to be cleared up. */
void server_block_signals(void);

/*
 * Sets everything up, with what a daemon before us has left, but accepts nobody yet. Takes the listener
 * over, also on failure, and what the configuration and the legacy own. Returns 0 or -errno, and then the log
 * says why.
 */
int server_new(struct server **ret, struct config *config, struct listener *listener,
	       struct legacy *legacy, const struct handed *handed);
struct server *server_free(struct server *server);

/* A process that is dead has let go of all it had, also where a child holds its sockets. */
void server_bury(struct server *server, struct process *process);

/* What it cannot do now, or "": a loss that threatens goes before what never was. */
const char *server_trouble(const struct server *server);

/* What has changed is noted for the next daemon; to be called before anybody hears of it. */
void server_note_changes(struct server *server);

/* Serves until SIGTERM or SIGINT. Returns 0 or -errno. */
int server_run(struct server *server);

#endif
