/* SPDX-License-Identifier: MIT */
/* sem_open(3), sem_close(3) and sem_unlink(3). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <semaphore.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "libshmd/connection.h"
#include "preload/native.h"
#include "preload/options.h"
#include "preload/request.h"
#include "preload/table.h"

#define FLAGS (O_CREAT | O_EXCL)

/* --- opening ---------------------------------------------------------------------------------- */

static int map(int fd, struct table_identity *identity, sem_t **ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	/* Touching what is not there would be fatal. */
	if (st.st_size < (off_t)sizeof(sem_t))
		return -EINVAL;
	void *p = mmap(NULL, sizeof(sem_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	identity->device = st.st_dev;
	identity->inode = st.st_ino;
	*ret = p;
	return 0;
}

/* NULL: nobody wants permits back, or this semaphore's cannot be given back. */
static struct shmd_segment *make_lock(struct shmd *connection, uint64_t id)
{
	const struct options *options;
	struct shmd_segment *lock;

	if (options_get(&options) < 0 || !options->recovers ||
	    posix_lock(connection, id, &lock) < 0)
		return NULL;
	return lock;
}

static void give_up(sem_t *address, struct shmd_segment *lock)
{
	munmap(address, sizeof(*address));
	shmd_detach(lock);
}

/* It seems not to be open in this process. */
static int add(struct shmd *connection, const struct table_identity *identity, sem_t *mine,
	       sem_t **ret)
{
	struct shmd_segment *lock = make_lock(connection, identity->id);
	sem_t *found = table_add(identity, mine, lock);

	if (found != mine)
		give_up(mine, lock);
	*ret = found;
	return found ? 0 : -ENOMEM;
}

static int enter(struct shmd *connection, const struct posix_answer *answer, sem_t **ret)
{
	struct table_identity identity = {.id = answer->id};
	sem_t *mine = NULL;
	int r = map(answer->fd, &identity, &mine);

	if (r < 0)
		return r;
	*ret = table_open(&identity);
	if (!*ret)
		return add(connection, &identity, mine, ret);
	munmap(mine, sizeof(*mine));
	return 0;
}

static int ask(struct posix_request *request, const char *name, sem_t **ret)
{
	struct posix_answer answer;
	struct shmd *connection;
	int r = request_open(request, name, &answer, &connection);

	if (r != 0)
		return r;
	r = enter(connection, &answer, ret);
	close_fd(answer.fd);
	return r;
}

/* A value that cannot be matters only to one that is created; the native function says so. */
static int ask_unless_too_large(struct posix_request *request, const char *name, sem_t **ret)
{
	bool is_too_large = request->oflag & O_CREAT && request->value > SEM_VALUE_MAX;

	if (!is_too_large)
		return ask(request, name, ret);
	if (request->oflag & O_EXCL)
		return -EINVAL;
	request->oflag = O_RDWR;
	return ask(request, name, ret);
}

static int open_semaphore(struct posix_request *request, const char *name, sem_t **ret)
{
	int before = cancellation_off();
	int r = ask_unless_too_large(request, name, ret);

	cancellation_restore(before);
	return r;
}

INTERPOSED sem_t *sem_open(const char *name, int oflag, ...)
{
	struct posix_request request = {.kind = POSIX_SEMAPHORE, .oflag = O_RDWR | (oflag & FLAGS)};
	int saved = errno;
	sem_t *found = SEM_FAILED;
	mode_t mode = 0;

	if (oflag & O_CREAT) {
		va_list ap;
		va_start(ap, oflag);
		request.mode = mode = va_arg(ap, mode_t);
		request.value = va_arg(ap, unsigned);
		va_end(ap);
	}
	int r = open_semaphore(&request, name, &found);
	errno = r < 0 ? -r : saved;
	return r == BROKER_NONE ? native()->sem_open(name, oflag, mode, request.value)
	       : r < 0          ? SEM_FAILED
				: found;
}

/* --- closing ---------------------------------------------------------------------------------- */

static bool close_own(sem_t *sem)
{
	struct shmd_segment *lock;
	bool is_last;
	int before = cancellation_off();
	bool is_own = table_close(sem, &is_last, &lock);

	if (is_last)
		give_up(sem, lock);
	cancellation_restore(before);
	return is_own;
}

INTERPOSED int sem_close(sem_t *sem)
{
	int saved = errno;

	if (!close_own(sem))
		return native()->sem_close(sem);
	errno = saved;
	return 0;
}

INTERPOSED int sem_unlink(const char *name)
{
	int saved = errno;
	int before = cancellation_off();
	int r = request_unlink(POSIX_SEMAPHORE, name);

	cancellation_restore(before);
	errno = r < 0 ? -r : saved;
	return r == BROKER_NONE ? native()->sem_unlink(name) : r < 0 ? -1 : 0;
}
