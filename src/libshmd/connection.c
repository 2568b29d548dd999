/* SPDX-License-Identifier: MIT */
#include "libshmd/connection.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "libshmd/error.h"
#include "libshmd/fork.h"
#include "libshmd/line.h"

#define SYSTEM_SOCKET "/run/shmd/shmd.sock"

/* --- reaching the daemon ---------------------------------------------------------------------- */

static int choose_path(const char *given, char ret[static CONNECTION_PATH_MAX])
{
	const char *path = given ? given : secure_getenv("SHMD_SOCKET");

	/* An empty variable is as good as none; an empty path is a mistake. */
	if (given && !given[0])
		return error_set(-EINVAL, "the path of the socket is empty");
	if (!path || !path[0])
		path = SYSTEM_SOCKET;
	if (strlen(path) >= CONNECTION_PATH_MAX)
		return error_set(-ENAMETOOLONG,
				 "the path of the socket has %zu bytes; at most %d are allowed",
				 strlen(path), CONNECTION_PATH_MAX - 1);
	text_copy(ret, CONNECTION_PATH_MAX, path);
	return 0;
}

static int greet(struct shmd *connection, struct wire_welcome *ret)
{
	struct line line = {.socket = &connection->socket, .packet = connection->packet};
	int r = line_make_socket(connection->aside.lowest_fd, &connection->socket);

	if (r == 0)
		r = line_connect(&line, connection->path);
	if (r == 0)
		r = line_say_hello(&line);
	if (r == 0)
		r = line_hear_welcome(&line, ret);
	if (r < 0)
		connection->socket = close_fd(connection->socket);
	return r;
}

/* --- a socket that the program does not know of ----------------------------------------------- */

static bool is_still_ours(const struct shmd *connection)
{
	const struct aside *aside = &connection->aside;
	struct stat st;

	return aside->lowest_fd == 0 || (fstat(connection->socket, &st) == 0 &&
					 st.st_dev == aside->device && st.st_ino == aside->inode);
}

void connection_note_socket(struct shmd *connection)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	struct stat st;

	if (connection->aside.lowest_fd == 0 || fstat(connection->socket, &st) < 0)
		return;
	if (getsockopt(connection->socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		peer = (struct ucred){.uid = (uid_t)-1};
	connection->aside.daemon = peer.uid;
	/* 0: it is in another PID namespace than ours, and not below it. */
	connection->aside.has_its_pids = peer.pid > 0;
	connection->aside.device = st.st_dev;
	connection->aside.inode = st.st_ino;
}

void connection_look_after_socket(struct shmd *connection)
{
	if (connection->aside.lowest_fd == 0 || connection_is_inherited(connection) ||
	    is_still_ours(connection))
		return;
	pthread_mutex_lock(&connection->mutex);
	if (connection->broken == 0 && !is_still_ours(connection)) {
		connection->socket = -1;
		connection->broken = -ECONNRESET;
	}
	pthread_mutex_unlock(&connection->mutex);
}

void connection_close_socket(struct shmd *connection)
{
	if (is_still_ours(connection))
		close_fd(connection->socket);
	connection->socket = -1;
}

/* --- greeting --------------------------------------------------------------------------------- */

/* A daemon that ends before it has said a word is followed by another, perhaps. */
#define GREETINGS 4

static int reach_daemon(struct shmd *connection)
{
	struct wire_welcome welcome;
	int r = -ECONNRESET;

	for (int i = 0; i < GREETINGS && r == -ECONNRESET; i++)
		r = greet(connection, &welcome);
	if (r == 0) {
		resume_take_welcome(&connection->resume, &welcome);
		connection_note_socket(connection);
	}
	return r;
}

/* --- life ------------------------------------------------------------------------------------- */

static void init_state(struct shmd *connection)
{
	pthread_mutex_init(&connection->mutex, NULL);
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&connection->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	connection->socket = -1;
	connection->broken = 0;
	connection->is_final = false;
	connection->is_read = false;
	connection->calls = NULL;
	resume_init(&connection->resume);
	holdings_fini_inherited(&connection->holdings);
	notices_fini_inherited(&connection->notices);
}

static struct shmd *allocate(void)
{
	struct shmd *connection = calloc(1, sizeof(*connection));

	if (!connection)
		return NULL;
	connection->packet = malloc(WIRE_PACKET_MAX);
	if (!connection->packet) {
		free(connection);
		return NULL;
	}
	atomic_init(&connection->refs, 1);
	connection->resume.session = 1;
	atomic_init(&connection->generation, fork_generation());
	init_state(connection);
	loop_init(&connection->loop);
	return connection;
}

int cancellation_off(void)
{
	int before;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
	return before;
}

void cancellation_restore(int before)
{
	pthread_setcancelstate(before, NULL);
}

static int make_connection(struct shmd **ret, const char *socket, int lowest_fd)
{
	int r = fork_init();

	if (r < 0)
		return error_errno(r, "cannot prepare for forked children");
	struct shmd *connection = allocate();
	if (!connection)
		return error_errno(-ENOMEM, "cannot make a connection");
	connection->aside = (struct aside){.lowest_fd = lowest_fd, .uid = geteuid()};
	r = choose_path(socket, connection->path);
	if (r == 0)
		r = reach_daemon(connection);
	if (r < 0) {
		connection_unref(connection);
		return r;
	}
	*ret = connection;
	return 0;
}

int shmd_connect(struct shmd **ret, const char *socket)
{
	int before = cancellation_off();
	int r = make_connection(ret, socket, 0);

	cancellation_restore(before);
	return r;
}

/* High enough that a program does not come there, and low enough for select(2). */
static int choose_lowest_fd(void)
{
	struct rlimit limit;
	rlim_t most = FD_SETSIZE;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < most)
		most = limit.rlim_cur;
	return most > 8 ? (int)(most - most / 8) : 1;
}

int connection_new_aside(struct shmd **ret)
{
	int before = cancellation_off();
	int r = make_connection(ret, NULL, choose_lowest_fd());

	cancellation_restore(before);
	return r;
}

/* The socket is shared with forked children, so closing it here would not end the connection; but a
 * child that closes what it inherited must not end its parent's. */
static void end_socket(struct shmd *connection)
{
	if (connection->socket < 0)
		return;
	if (!connection_is_inherited(connection))
		shutdown(connection->socket, SHUT_RDWR);
	connection->socket = close_fd(connection->socket);
}

/* Nobody may have noticed it yet. */
static bool has_hung_up(const struct shmd *connection)
{
	struct pollfd fd = {.fd = connection->socket};

	return connection->broken < 0 || (poll(&fd, 1, 0) == 1 && fd.revents & POLLHUP);
}

/* The daemon takes what we have as let go: also one that has not seen us yet. */
static void say_farewell(struct shmd *connection)
{
	pthread_mutex_lock(&connection->mutex);
	bool is_missed = !connection->is_final && !connection->is_read &&
			 holdings_count(&connection->holdings) > 0 && has_hung_up(connection);
	connection->is_ended = true;
	connection->is_read |= is_missed;
	pthread_mutex_unlock(&connection->mutex);
	if (!is_missed)
		return;
	resume_to_end(connection);
	pthread_mutex_lock(&connection->mutex);
	connection->is_read = false;
	pthread_cond_broadcast(&connection->changed);
	pthread_mutex_unlock(&connection->mutex);
}

/* A thread that has a call under way, for a segment, is told so by the socket's end. Where it reads from
 * that, whoever lets go of the connection last closes it. */
static void end_own(struct shmd *connection)
{
	say_farewell(connection);
	pthread_mutex_lock(&connection->mutex);
	connection->broken = -ENOTCONN;
	connection->is_final = true;
	if (connection->resume.fresh >= 0)
		shutdown(connection->resume.fresh, SHUT_RDWR);
	if (connection->is_read)
		shutdown(connection->socket, SHUT_RDWR);
	else
		end_socket(connection);
	pthread_mutex_unlock(&connection->mutex);
}

/* What was asked for is not called back any more; what was granted went with the connection. */
static void end_notices(struct shmd *connection)
{
	struct notice *notice;

	if (connection_is_inherited(connection)) {
		notices_fini_inherited(&connection->notices);
		loop_fini(&connection->loop);
		return;
	}
	/* A thread may still have a call under way, for a segment. */
	pthread_mutex_lock(&connection->mutex);
	DL_FOREACH (connection->notices.all, notice)
		call_forget(connection, &notice->call);
	notices_fini(&connection->notices);
	loop_fini(&connection->loop);
	pthread_mutex_unlock(&connection->mutex);
}

struct shmd *shmd_disconnect(struct shmd *connection)
{
	if (!connection)
		return NULL;
	int before = cancellation_off();

	if (connection_is_inherited(connection)) {
		connection->is_ended = true;
		end_socket(connection);
		close_fd(steal_fd(&connection->resume.fresh));
	} else {
		end_own(connection);
	}
	end_notices(connection);
	connection_unref(connection);
	cancellation_restore(before);
	return NULL;
}

struct shmd *connection_ref(struct shmd *connection)
{
	atomic_fetch_add(&connection->refs, 1);
	return connection;
}

struct shmd *connection_unref(struct shmd *connection)
{
	if (atomic_fetch_sub(&connection->refs, 1) > 1)
		return NULL;
	end_socket(connection);
	close_fd(connection->resume.fresh);
	if (connection_is_inherited(connection))
		holdings_fini_inherited(&connection->holdings);
	else
		holdings_fini(&connection->holdings);
	/* Mutex and condition own nothing on Linux, and an inherited one may be locked for ever. */
	free(connection->packet);
	free(connection);
	return NULL;
}

/* --- forked children -------------------------------------------------------------------------- */

bool connection_is_inherited(const struct shmd *connection)
{
	return atomic_load_explicit(&connection->generation, memory_order_acquire) !=
	       fork_generation();
}

/* A program that watches the number which it knows hears of this process's connection. */
static int renew_loop(struct shmd *connection)
{
	int r = loop_open(&connection->loop, connection->socket);

	if (r == 0)
		return 0;
	end_socket(connection);
	return error_errno(r, "cannot make the descriptor for a loop anew");
}

void connection_update_loop(struct shmd *connection)
{
	/* The parent's is left alone. */
	if (!connection_is_inherited(connection))
		loop_wake(&connection->loop,
			  connection->broken < 0 || notices_are_queued(&connection->notices));
}

/* Threads of the parent may have been anywhere in it when it was copied. It becomes ours, and is seen
 * to be, only when it works; what fails is tried again with the next call. */
static int make_own(struct shmd *connection)
{
	connection_close_socket(connection);
	/* Another thread was about to exchange it. */
	close_fd(connection->resume.fresh);
	init_state(connection);
	int r = reach_daemon(connection);
	if (r == 0 && loop_is_open(&connection->loop))
		r = renew_loop(connection);
	if (r == 0)
		atomic_store(&connection->generation, fork_generation());
	return r;
}

int connection_enter_locked(struct shmd *connection)
{
	if (connection->is_ended)
		return error_set(-ENOTCONN, "the connection was ended by shmd_disconnect()");
	return connection_is_inherited(connection) ? make_own(connection) : 0;
}

int connection_enter(struct shmd *connection)
{
	if (!connection->is_ended && !connection_is_inherited(connection))
		return 0;
	fork_lock();
	int r = connection_enter_locked(connection);
	fork_unlock();
	return r;
}
