/* SPDX-License-Identifier: MIT */
/* shm_open(3) and shm_unlink(3). */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "libshmd/connection.h"
#include "preload/native.h"
#include "preload/request.h"

#define FLAGS (O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC)

/* As request_open(), but the descriptor where that is 0. */
static int open_memory(const char *name, int oflag, mode_t mode, int *ret_fd)
{
	struct posix_request request = {.kind = POSIX_MEMORY, .oflag = oflag & FLAGS, .mode = mode};
	struct posix_answer answer;
	struct shmd *connection;
	int before = cancellation_off();
	int r = request_open(&request, name, &answer, &connection);

	cancellation_restore(before);
	if (r == 0)
		*ret_fd = answer.fd;
	return r;
}

INTERPOSED int shm_open(const char *name, int oflag, mode_t mode)
{
	int saved = errno;
	int fd = -1;
	int r = open_memory(name, oflag, mode, &fd);

	errno = r < 0 ? -r : saved;
	return r == BROKER_NONE ? native()->shm_open(name, oflag, mode) : fd;
}

INTERPOSED int shm_unlink(const char *name)
{
	int saved = errno;
	int before = cancellation_off();
	int r = request_unlink(POSIX_MEMORY, name);

	cancellation_restore(before);
	errno = r < 0 ? -r : saved;
	return r == BROKER_NONE ? native()->shm_unlink(name) : r < 0 ? -1 : 0;
}
