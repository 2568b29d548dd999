/* SPDX-License-Identifier: MIT */
#include "preload/request.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "preload/family.h"
#include "preload/mask.h"
#include "preload/options.h"

/* The daemon's own semaphores, which have a name in /dev/shm for everybody. */
#define OWN_PREFIX "shmd-"

/* The name without the slashes before it; NULL if the native function is to judge it: what it refuses is so
 * refused in its own way. */
static const char *plain_name(enum posix_kind kind, const char *name)
{
	name += strspn(name, "/");
	if (!name[0] || strchr(name, '/') || strlen(name) > NAME_MAX)
		return NULL;
	if (kind == POSIX_SEMAPHORE && strncmp(name, OWN_PREFIX, strlen(OWN_PREFIX)) == 0)
		return NULL;
	return name;
}

/* What a new one will be like. */
static int describe(struct posix_request *request)
{
	const struct options *options;
	int r = options_get(&options);

	if (r < 0)
		return r;
	request->lifetime = options->lifetime;
	request->linger_ms = options->linger_ms;
	if (!(request->oflag & O_CREAT))
		return 0;
	request->heir = family_parent();
	return mask_apply(request->mode, &request->mode);
}

int request_open(struct posix_request *request, const char *name, struct posix_answer *ret,
		 struct shmd **ret_connection)
{
	request->name = plain_name(request->kind, name);
	if (!request->name)
		return BROKER_NONE;
	int r = broker_get(ret_connection);
	if (r == 0)
		r = describe(request);
	if (r == 0)
		r = broker_judge(posix_open(*ret_connection, request, ret));
	/* It may have been made by a program that does not ask the daemon. */
	return r == -ENOENT && !(request->oflag & O_CREAT) ? BROKER_NONE : r;
}

int request_unlink(enum posix_kind kind, const char *name)
{
	struct shmd *connection;
	const char *plain = plain_name(kind, name);

	if (!plain)
		return BROKER_NONE;
	int r = broker_get(&connection);
	if (r == 0)
		r = broker_judge(posix_unlink(connection, kind, plain));
	return r == -ENOENT ? BROKER_NONE : r;
}
