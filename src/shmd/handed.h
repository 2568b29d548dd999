/* SPDX-License-Identifier: MIT */
/*
 * What the service manager handed over when it started the daemon: the listening socket, and what daemons
 * before this one have stored with it. Without libsystemd that is nothing.
 */
#ifndef SHMD_HANDED_H
#define SHMD_HANDED_H

#include <stddef.h>

/* One from the store. A name may stand for several, and their order says nothing. */
struct handed_descriptor {
	int fd;     /* closed on exec; -1: it was taken out */
	char *name; /* FDNAME= */
};

struct handed {
	int socket; /* listening, SOCK_SEQPACKET; -1: there is none, or it was taken out */
	struct handed_descriptor *stored;
	size_t n;
};

/*
 * Takes all, and clears the variables that tell of it. Returns 0; -ENOENT: nothing was handed over; -EINVAL:
 * several sockets, or one that is not for us; or -errno. Nothing is left open then.
 */
int handed_take(struct handed *ret);

/* Closes what was not taken out. */
void handed_fini(struct handed *handed);

/* How many descriptors the manager stores for us; 0: it did not tell. Systemd does so from 254 on ($FDSTORE);
 * for older ones the unit does ($SHMD_STORE_MAX). */
unsigned handed_store_max(void);

#endif
