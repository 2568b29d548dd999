/* SPDX-License-Identifier: MIT */
#include "core/watch.h"

#include <errno.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/cleanup.h"

int watch_init(struct watch *watch)
{
	watch->items = NULL;
	watch->folder = 0;
	watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	return watch->fd < 0 ? -errno : 0;
}

void watch_fini(struct watch *watch)
{
	watch->fd = close_fd(watch->fd);
}

static int add(const struct watch *watch, int fd, uint32_t mask)
{
	char path[32];

	if (watch->fd < 0)
		return -EMFILE;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int wd = inotify_add_watch(watch->fd, path, mask);
	return wd < 0 ? -errno : wd;
}

int watch_add_folder(struct watch *watch, int folder)
{
	int wd = add(watch, folder, IN_CLOSE_WRITE | IN_EXCL_UNLINK | IN_ONLYDIR);

	if (wd < 0)
		return wd;
	watch->folder = wd;
	return 0;
}

int watch_add(struct watch *watch, struct watch_item *item, int fd, watch_fn *fn)
{
	int wd = add(watch, fd, IN_CLOSE);

	if (wd < 0)
		return wd;
	item->wd = wd;
	item->fn = fn;
	HASH_ADD_INT(watch->items, wd, item);
	if (!HASH_ADDED(hh, item)) {
		inotify_rm_watch(watch->fd, wd);
		item->wd = 0;
		return -ENOMEM;
	}
	return 0;
}

void watch_remove(struct watch *watch, struct watch_item *item)
{
	if (!item->wd)
		return;
	HASH_DEL(watch->items, item);
	inotify_rm_watch(watch->fd, item->wd);
	item->wd = 0;
}

static void tell_all(struct watch *watch, watch_name_fn *on_name, void *context)
{
	struct watch_item *item, *next;

	HASH_ITER (hh, watch->items, item, next)
		item->fn(item, context);
	on_name(NULL, context);
}

static void tell(struct watch *watch, const struct inotify_event *event, watch_name_fn *on_name,
		 void *context)
{
	struct watch_item *item;

	if (event->wd == watch->folder) {
		if (event->len > 0)
			on_name(event->name, context);
		return;
	}
	HASH_FIND_INT(watch->items, &event->wd, item);
	if (item)
		item->fn(item, context);
}

void watch_read(struct watch *watch, watch_name_fn *on_name, void *context)
{
	union {
		struct inotify_event align;
		char bytes[4096];
	} buffer;
	ssize_t n = read(watch->fd, &buffer, sizeof(buffer));

	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *event = (const void *)(buffer.bytes + at);
		if (event->mask & IN_Q_OVERFLOW)
			tell_all(watch, on_name, context);
		else
			tell(watch, event, on_name, context);
		at += (ssize_t)(sizeof(*event) + event->len);
	}
}
