/* SPDX-License-Identifier: MIT */
/*
 * Plays the service manager for a daemon: owns the listening socket, hears its notifications, keeps
 * descriptors for it, and hands all of that to the next one. Does what systemd does (as of 252), where a
 * daemon could tell the difference:
 *
 * - Only the daemon's own process is heard.
 * - The descriptors of one message are stored in no certain order; they are handed over in the reverse
 *   order of their storing, behind the socket, each with its name. A name may stand for several.
 * - A description that is stored already is not stored again, under whatever name.
 * - What comes when the store is full is closed. Nobody is told.
 * - What a daemon sent before its end is stored, also if it was killed.
 *
 * A thread hears. Processes that the test forks get none of the descriptors.
 */
#ifndef TESTS_SYSTEM_MANAGER_H
#define TESTS_SYSTEM_MANAGER_H

#include "harness.h"

#define MANAGER_NAME_SIZE 256
#define MANAGER_SOCKET    "shmd.socket" /* the listening socket's name */

struct manager;

/* What was told since the manager was made. */
struct manager_heard {
	unsigned messages;
	unsigned states;                            /* of them that are about no descriptors */
	unsigned ready, reloading, stopping, pings; /* messages of READY=1, WATCHDOG=1 ... */
	unsigned stored, removed;                   /* descriptors */
	unsigned doubled;                           /* were in the store already */
	unsigned refused;                           /* came when the store was full */
	unsigned polled;                            /* came without FDPOLL=0 */
	unsigned strangers;                         /* messages of other processes */
	unsigned nonsense; /* RELOADING without its time, a name that is none, and so on */
	char status[512];
};

/* Makes folder, configuration (NULL: none) and sockets as daemon_start() does. No daemon runs yet. */
struct manager *manager_new(const char *config);
struct manager *manager_new_as(const char *config, uid_t uid);

/* For daemon_logged(), daemon_files() and the like. */
struct test_daemon *manager_daemon(struct manager *manager);

/* Starts the daemon with all that is stored, and returns when it is ready; the second one returns false if
 * it ended first, with its status. */
void manager_start(struct manager *manager);
bool manager_try_start(struct manager *manager, int *ret_status);

/* Ends the daemon with SIGTERM, and checks that it ended well; or with SIGKILL. All that it sent has then
 * been heard. The sockets and the store stay. */
void manager_end(struct manager *manager);
void manager_kill(struct manager *manager);

/* As `systemctl restart`, and as a crash. */
void manager_restart(struct manager *manager);
void manager_crash(struct manager *manager);

/* Forgets all descriptors, as systemd does when a service was stopped. */
void manager_empty(struct manager *manager);

/* Ends the daemon as manager_end() does, if it runs, and removes everything, also its semaphores: those of
 * a daemon that may come back stay. Returns NULL. */
struct manager *manager_free(struct manager *manager);

/* Hears nothing for a while, so that the queue fills up (with net.unix.max_dgram_qlen messages and one). */
void manager_hold(struct manager *manager, bool is_held);

/* The store is full with so many descriptors (FileDescriptorStoreMax=). The daemon is told at its next start,
 * as by systemd 254, unless it is 0. At first: 16384. */
void manager_set_max(struct manager *manager, unsigned max);

/* Wants to hear so often from a daemon that is started (WatchdogSec=). 0: not at all. Nobody is killed. */
void manager_set_watchdog(struct manager *manager, uint64_t usec);

/* The store: how many descriptors there are in all or by a name; the names, in the order in which they are
 * handed over, up to `max` of them, returning how many. */
unsigned manager_stored(struct manager *manager);
unsigned manager_stored_as(struct manager *manager, const char *name);
unsigned manager_names(struct manager *manager, char (*ret)[MANAGER_NAME_SIZE], unsigned max);

/* A duplicate of the descriptor of that name that was stored last, or first, closed on exec; -1 if there is
 * none. */
int manager_take(struct manager *manager, const char *name);
int manager_take_first(struct manager *manager, const char *name);

/* Stores a duplicate, or removes, what the daemon did not send: for those that should not trust it. */
void manager_plant(struct manager *manager, int fd, const char *name);
void manager_remove(struct manager *manager, const char *name);

void manager_heard(struct manager *manager, struct manager_heard *ret);

/* Waits until all that was sent so far was heard. */
void manager_drain(struct manager *manager);

/* Waits for a status that contains the text; fails the test after 10 s. */
void manager_await_status(struct manager *manager, const char *text);

#endif
