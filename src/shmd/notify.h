/* SPDX-License-Identifier: MIT */
/*
 * A socket of one's own to the service manager ($NOTIFY_SOCKET), as sd_notify(3) speaks. Unlike that, it
 * never waits: the manager may be busy, and its queue full. Knows no state; needs no libsystemd.
 */
#ifndef SHMD_NOTIFY_H
#define SHMD_NOTIFY_H

#include <sys/socket.h>
#include <sys/un.h>

struct notify {
	int fd; /* becomes writable when there is room again; -1: closed */
	socklen_t size;
	struct sockaddr_un address;
};

/* Returns 0; -ENOENT: nobody wants to hear; or -errno. It is closed then, and can be sent to in vain. */
int notify_open(struct notify *ret);

/*
 * Sends one message: lines of VARIABLE=VALUE, and up to 192 descriptors, which stay the caller's. All of
 * it or nothing. Returns 0; -EAGAIN: there is no room; -ETOOMANYREFS: too many descriptors are under way;
 * -ENOTCONN: it is closed; or -errno.
 */
int notify_send(struct notify *notify, const char *text, const int *fds, unsigned n);

/* Also one that is closed. */
void notify_close(struct notify *notify);

#endif
