/* SPDX-License-Identifier: MIT */
#include "shmd/listener.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/lockfile.h"
#include "base/log.h"
#include "base/text.h"
#include "shmd/client.h"
#include "shmd/closer.h"
#include "shmd/loop.h"
#include "shmd/turn.h"
#include "wire/channel.h"
#include "wire/protocol.h"

/* Connections before others get their turn: some 20 us each. */
#define UNIT 2

#define TOLD_PAUSE (10 * NSEC_PER_SEC)
#define PATH_SIZE  sizeof(((struct sockaddr_un *)0)->sun_path)

struct listener {
	int socket;
	int spare;  /* /dev/null: what the reserve is made of */
	int folder; /* of the socket; -1 for one that was handed to us */
	int lock;
	bool is_held;
	bool is_short;        /* of descriptors, and the log was told */
	uint64_t told_at;     /* CLOCK_MONOTONIC, ns; 0: it never was */
	char file[PATH_SIZE]; /* in that folder */
	char lock_file[PATH_SIZE + 8];
	struct turn turn;
	struct closer *closer;
	struct event *on_connect;
	struct event *on_pause_over;
	listener_fn *fn;
	void *context;
};

/* --- making ----------------------------------------------------------------------------------- */

static struct listener *allocate(void)
{
	struct listener *listener = calloc(1, sizeof(*listener));

	if (!listener)
		return NULL;
	listener->socket = listener->folder = listener->lock = -1;
	listener->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return listener;
}

static int split_path(struct listener *listener, const char *path)
{
	char folder[PATH_SIZE], file[PATH_SIZE];

	if (strlen(path) >= PATH_SIZE)
		return -ENAMETOOLONG;
	text_copy(folder, sizeof(folder), path);
	text_copy(file, sizeof(file), path);
	text_copy(listener->file, sizeof(listener->file), basename(file));
	snprintf(listener->lock_file, sizeof(listener->lock_file), "%s.lock", listener->file);
	listener->folder = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return listener->folder < 0 ? -errno : 0;
}

/* With the lock in our hands, a socket of ours by that name is a dead daemon's. What is no socket, or
 * another user's, is not for us to remove, even where the folder lets us. */
static int remove_stale(const struct listener *listener)
{
	struct stat st;

	if (fstatat(listener->folder, listener->file, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	if (st.st_uid != geteuid())
		return -EPERM;
	return unlinkat(listener->folder, listener->file, 0) < 0 ? -errno : 0;
}

/* Before Linux 6.16 each client has to be looked at (closer.h). */
static int refuse_descriptors(int socket)
{
	int r = channel_refuse_descriptors(socket);

	return r == -ENOPROTOOPT ? 0 : r;
}

static int bind_path(struct listener *listener, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	text_copy(address.sun_path, sizeof(address.sun_path), path);
	listener->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener->socket < 0)
		return -errno;
	/* The file gets the mode that the socket has at bind(2), so that it never has another. */
	if (fchmod(listener->socket, 0666) < 0 || refuse_descriptors(listener->socket) < 0 ||
	    bind(listener->socket, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener->socket, SOMAXCONN) < 0)
		return -errno;
	return 0;
}

static int open_path(struct listener *listener, const char *path)
{
	int r = split_path(listener, path);

	if (r < 0)
		return r;
	listener->lock = lockfile_take(listener->folder, listener->lock_file);
	if (listener->lock == -EWOULDBLOCK)
		return -EADDRINUSE;
	if (listener->lock < 0)
		return listener->lock;
	r = remove_stale(listener);
	return r < 0 ? r : bind_path(listener, path);
}

int listener_open(struct listener **ret, const char *path)
{
	struct listener *listener = allocate();

	if (!listener)
		return -ENOMEM;
	int r = open_path(listener, path);
	if (r < 0) {
		listener_free(listener);
		return r;
	}
	*ret = listener;
	return 0;
}

int listener_adopt(struct listener **ret, int socket)
{
	struct listener *listener = allocate();
	int flags = fcntl(socket, F_GETFL);

	if (!listener)
		return -ENOMEM;
	listener->socket = socket;
	int r = flags < 0 || fcntl(socket, F_SETFL, flags | O_NONBLOCK) < 0
			? -errno
			: refuse_descriptors(socket);
	if (r < 0) {
		listener->socket = -1;
		listener_free(listener);
		return r;
	}
	*ret = listener;
	return 0;
}

struct listener *listener_free(struct listener *listener)
{
	if (!listener)
		return NULL;
	turn_fini(&listener->turn);
	loop_event_free(listener->on_connect);
	loop_event_free(listener->on_pause_over);
	/* Without the lock, the socket of that name is another daemon's. */
	if (listener->lock >= 0) {
		if (listener->socket >= 0 &&
		    lockfile_is_named(listener->folder, listener->lock_file, listener->lock))
			unlinkat(listener->folder, listener->file, 0);
		listener->lock = lockfile_remove(listener->folder, listener->lock_file,
						 listener->lock);
	}
	/* The socket is the kernel's to close when the process ends: so does nobody wait for what those whom
	 * nobody accepted have sent (closer.h). */
	close_fd(listener->folder);
	close_fd(listener->spare);
	free(listener);
	return NULL;
}

/* --- accepting -------------------------------------------------------------------------------- */

static void pause_accepting(struct listener *listener)
{
	static const struct timeval one_second = {.tv_sec = 1};

	log_warning("cannot accept (%s): no client is accepted for a second", strerror(errno));
	event_del(listener->on_connect);
	event_add(listener->on_pause_over, &one_second);
}

static void on_pause_over(evutil_socket_t fd, short what, void *context)
{
	struct listener *listener = context;

	(void)fd, (void)what;
	listener->spare = listener->spare < 0 ? open("/dev/null", O_RDONLY | O_CLOEXEC)
					      : listener->spare;
	if (!listener->is_held)
		event_add(listener->on_connect, NULL);
}

void listener_hold(struct listener *listener, bool is_held)
{
	listener->is_held = is_held;
	if (is_held)
		event_del(listener->on_connect);
	else if (!event_pending(listener->on_pause_over, EV_TIMEOUT, NULL))
		event_add(listener->on_connect, NULL);
}

/* Once, and not each time that one client goes and two others come. */
static void tell_short(struct listener *listener)
{
	uint64_t now = clock_monotonic_ns();

	if (!listener->is_short && (!listener->told_at || now - listener->told_at >= TOLD_PAUSE)) {
		log_warning(
			"no descriptor is left (RLIMIT_NOFILE): clients are refused until one is");
		listener->told_at = now;
	}
	listener->is_short = true;
}

/* Spends the reserve on telling one client why it is not served. */
static void refuse_one(struct listener *listener)
{
	if (listener->spare < 0) {
		errno = EMFILE;
		pause_accepting(listener);
		return;
	}
	tell_short(listener);
	listener->spare = close_fd(listener->spare);
	int socket = accept4(listener->socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (socket >= 0)
		client_refuse(socket, WIRE_NO_DESCRIPTORS,
			      "the daemon has no descriptor left (RLIMIT_NOFILE)");
	else if (errno != EAGAIN)
		pause_accepting(listener);
	if (socket >= 0)
		closer_close(listener->closer, socket, NULL, NULL);
	listener->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Returns whether there may be another one waiting. */
static bool accept_one(struct listener *listener)
{
	int socket = accept4(listener->socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (socket >= 0) {
		listener->is_short = false;
		listener->fn(socket, listener->context);
		return true;
	}
	switch (errno) {
	case ECONNABORTED:
	case EINTR:
		return true;
	case EMFILE:
	case ENFILE:
		refuse_one(listener);
		return false;
	case EAGAIN:
		return false;
	default:
		pause_accepting(listener);
		return false;
	}
}

/* If there are more, the loop says so again. */
static bool serve(struct turn *turn)
{
	struct listener *listener = (struct listener *)((char *)turn -
							offsetof(struct listener, turn));

	for (int i = 0; i < UNIT && !listener->is_held && accept_one(listener); i++)
		;
	return false;
}

static void on_connect(evutil_socket_t fd, short what, void *context)
{
	struct listener *listener = context;

	(void)fd, (void)what;
	turn_ask(&listener->turn);
}

int listener_start(struct listener *listener, struct event_base *loop, struct turns *turns,
		   struct closer *closer, listener_fn *fn, void *context)
{
	turn_init(&listener->turn, turns, serve);
	listener->closer = closer;
	listener->fn = fn;
	listener->context = context;
	listener->on_connect = event_new(loop, listener->socket, EV_READ | EV_PERSIST, on_connect,
					 listener);
	listener->on_pause_over = evtimer_new(loop, on_pause_over, listener);
	if (!listener->on_connect || !listener->on_pause_over ||
	    event_add(listener->on_connect, NULL) < 0)
		return -ENOMEM;
	return 0;
}
