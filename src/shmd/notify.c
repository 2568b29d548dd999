/* SPDX-License-Identifier: MIT */
#include "shmd/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "wire/channel.h"

/* A path, or the name of an abstract socket behind an '@'. */
static int read_address(struct notify *notify, const char *name)
{
	size_t length = strlen(name);

	if (name[0] != '/' && name[0] != '@')
		return -EAFNOSUPPORT;
	if (length >= sizeof(notify->address.sun_path))
		return -ENAMETOOLONG;
	notify->address = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(notify->address.sun_path, name, length);
	notify->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	if (name[0] == '@')
		notify->address.sun_path[0] = '\0';
	else
		notify->size++;
	return 0;
}

static int reach(struct notify *notify)
{
	return connect(notify->fd, (struct sockaddr *)&notify->address, notify->size) < 0 ? -errno
											  : 0;
}

int notify_open(struct notify *ret)
{
	const char *name = getenv("NOTIFY_SOCKET");

	ret->fd = -1;
	if (!name || !name[0])
		return -ENOENT;
	int r = read_address(ret, name);
	if (r < 0)
		return r;
	/* Connected: only then poll(2) looks at the manager's queue, too. */
	ret->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = ret->fd < 0 ? -errno : reach(ret);
	if (r < 0)
		notify_close(ret);
	return r;
}

int notify_send(struct notify *notify, const char *text, const int *fds, unsigned n)
{
	if (notify->fd < 0)
		return -ENOTCONN;
	int r = channel_send(notify->fd, text, strlen(text), fds, n);
	/* The manager has made its socket anew. */
	if ((r == -ECONNREFUSED || r == -ENOTCONN || r == -ECONNRESET) && reach(notify) == 0)
		r = channel_send(notify->fd, text, strlen(text), fds, n);
	return r;
}

void notify_close(struct notify *notify)
{
	notify->fd = close_fd(notify->fd);
}
