/* SPDX-License-Identifier: MIT */
#include "libshmd/posix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "libshmd/call.h"
#include "libshmd/connection.h"
#include "libshmd/error.h"
#include "libshmd/segment.h"

/* Those who open a name as sem_open(3) does find nothing that shm_open(3) made: glibc's files begin so, too. */
#define SEMAPHORE_PREFIX "sem."

static int not_to_be_asked(const char *why)
{
	return error_set(-ENOTCONN, "%s", why);
}

/* --- the connection --------------------------------------------------------------------------- */

/* Its files are to be this process's own. A program may have become another user since it connected, and the
 * daemon would not know; and another daemon may have taken its place. */
static int check_users(const struct shmd *connection)
{
	uid_t uid = geteuid();

	return connection->aside.uid == uid && connection->aside.daemon == uid
		       ? 0
		       : not_to_be_asked("the daemon is another user's");
}

/* It says nothing of the daemon. */
static bool is_own_shortage(int r)
{
	return r == -EMFILE || r == -ENOMEM;
}

int posix_connect(struct shmd **ret)
{
	struct shmd *connection;
	int r = connection_new_aside(&connection);

	if (r < 0)
		return is_own_shortage(r) ? r : -ENOTCONN;
	if (check_users(connection) < 0) {
		shmd_disconnect(connection);
		return -ENOTCONN;
	}
	*ret = connection;
	return 0;
}

static int enter(struct shmd *connection)
{
	connection_look_after_socket(connection);
	int r = connection_enter(connection);

	if (r < 0)
		return is_own_shortage(r) ? r : -ENOTCONN;
	return check_users(connection);
}

/* --- opening ---------------------------------------------------------------------------------- */

static int fill_name(char field[static WIRE_NAME_SIZE], enum posix_kind kind, const char *name)
{
	int n = snprintf(field, WIRE_NAME_SIZE, "%s%s",
			 kind == POSIX_SEMAPHORE ? SEMAPHORE_PREFIX : "", name);

	if (n <= SHMD_NAME_MAX)
		return 0;
	return error_set(-ENAMETOOLONG, "the name has %d bytes; at most %d are allowed", n,
			 SHMD_NAME_MAX);
}

static uint32_t flags_on_wire(const struct posix_request *request)
{
	static const uint32_t accesses[] = {[O_RDONLY] = WIRE_OPEN_READ,
					    [O_WRONLY] = WIRE_OPEN_WRITE,
					    [O_RDWR] = WIRE_OPEN_BOTH,
					    [O_ACCMODE] = WIRE_OPEN_BOTH};

	return accesses[request->oflag & O_ACCMODE] |
	       (request->oflag & O_CREAT ? WIRE_OPEN_CREATE : 0) |
	       (request->oflag & O_EXCL ? WIRE_OPEN_EXCLUSIVE : 0) |
	       (request->oflag & O_TRUNC ? WIRE_OPEN_TRUNCATE : 0) |
	       (request->kind == POSIX_SEMAPHORE ? WIRE_OPEN_SEMAPHORE : 0);
}

static int fill_open(const struct posix_request *request, struct wire_open *ret)
{
	ret->flags = flags_on_wire(request);
	ret->mode = request->mode & 07777;
	ret->lifetime = (uint32_t)request->lifetime;
	ret->linger_ms = request->lifetime == SHMD_LIFETIME_PERSISTENT ? 0 : request->linger_ms;
	ret->value = request->value;
	ret->heir = (uint32_t)request->heir;
	if (request->oflag & O_CREAT)
		ret->gid = getegid();
	return fill_name(ret->name, request->kind, request->name);
}

/* A daemon that is gone, or cannot do it, is as good as none. */
static int translate(int r)
{
	return r == -ECONNRESET || r == -EPROTO || r == -ENOTSUP ? -ENOTCONN : r;
}

static void take_back(struct shmd *connection, uint64_t id)
{
	struct wire_unlink request = {.id = id};
	struct call call = {.op = WIRE_UNLINK, .body = &request, .body_size = sizeof(request)};

	call_perform(connection, &call);
}

/* Without a descriptor left nothing may change, and that is known only when the answer has come. */
static int check_room(const struct shmd *connection, int oflag)
{
	if (!(oflag & O_TRUNC))
		return 0;
	int fd = fcntl(connection->socket, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return errno == EBADF ? 0 : -errno;
	close_fd(fd);
	return 0;
}

int posix_open(struct shmd *connection, const struct posix_request *request,
	       struct posix_answer *ret)
{
	struct wire_open open = {0};
	struct wire_opened opened = {0};
	struct call call = {.op = WIRE_OPEN,
			    .body = &open,
			    .body_size = sizeof(open),
			    .reply = &opened,
			    .room = sizeof(opened)};
	int r = fill_open(request, &open);

	if (r == 0)
		r = enter(connection);
	if (r == 0)
		r = check_room(connection, request->oflag);
	if (r < 0)
		return r;
	if (!connection->aside.has_its_pids)
		open.heir = 0;
	r = call_perform(connection, &call);
	if (r < 0 && r == call.lost && opened.flags & WIRE_SEGMENT_NEW)
		take_back(connection, opened.id);
	if (r < 0)
		return translate(r);
	if (call.size != sizeof(opened) || call.n_fds != 1) {
		call_close(&call);
		return -ENOTCONN;
	}
	*ret = (struct posix_answer){.fd = call.fds[0],
				     .id = opened.id,
				     .is_new = (opened.flags & WIRE_SEGMENT_NEW) != 0};
	return 0;
}

int posix_unlink(struct shmd *connection, enum posix_kind kind, const char *name)
{
	struct wire_unlink request = {0};
	struct call call = {.op = WIRE_UNLINK, .body = &request, .body_size = sizeof(request)};
	int r = fill_name(request.name, kind, name);

	if (r == 0)
		r = enter(connection);
	return r < 0 ? r : translate(call_perform(connection, &call));
}

static bool is_idle(struct shmd *connection)
{
	if (connection_is_inherited(connection) || pthread_mutex_trylock(&connection->mutex) != 0)
		return false;
	bool is_idle = connection->aside.has_its_pids && !connection->is_read &&
		       !connection->calls && connection->broken == 0;
	pthread_mutex_unlock(&connection->mutex);
	return is_idle;
}

int posix_bequeath(struct shmd *connection, pid_t heir)
{
	/* First: what a signal handler has interrupted may hold the mutex. */
	if (!is_idle(connection))
		return -EAGAIN;
	connection_look_after_socket(connection);
	return is_idle(connection) ? translate(shmd_hand_over(connection, heir)) : -EAGAIN;
}

/* --- permits ---------------------------------------------------------------------------------- */

int posix_lock(struct shmd *connection, uint64_t id, struct shmd_segment **ret)
{
	int r = enter(connection);

	if (r == 0)
		r = segment_attach_semaphore(connection, id, ret);
	if (r < 0)
		return r;
	r = lock_prepare(*ret);
	if (r < 0)
		*ret = shmd_detach(*ret);
	return r;
}
