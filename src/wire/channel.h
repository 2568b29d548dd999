/* SPDX-License-Identifier: MIT */
/* One packet in or out of a SOCK_SEQPACKET socket, with its descriptors. Owns no socket. */
#ifndef WIRE_CHANNEL_H
#define WIRE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "wire/protocol.h"

/*
 * Sends one packet. Nothing is ever sent in part, and no SIGPIPE is raised. The descriptors stay the
 * caller's. Returns 0 or a negative errno; -EAGAIN only from a socket that does not block.
 */
int channel_send(int socket, const void *bytes, size_t size, const int *fds, size_t n_fds);

/* The same without descriptors, and without waiting: -EAGAIN if there is no room. */
int channel_send_now(int socket, const void *bytes, size_t size);

/*
 * Receives one packet from a client, whose descriptors nobody asked for: without room for control
 * data the kernel discards them itself, so that none is ever held here.
 *
 * Returns the size; 0 at the end of the connection, or for an empty packet, which is as good as one;
 * -EMSGSIZE for a packet that is too long; -EPROTO for one with descriptors; or another errno.
 */
ssize_t channel_receive_plain(int socket, void *bytes, size_t room);

/*
 * Descriptors that a packet brings go with it, at the latest when the socket is closed; and with the last
 * of a file goes what is left of that, for which the kernel may take as long as the sender likes: a socket
 * that lingers, much memory.
 */

/* From now on, whoever sends descriptors to the socket gets EPERM; those accepted from it are like it. What
 * came before stays. Returns 0, or -ENOPROTOOPT before Linux 6.16. */
int channel_refuse_descriptors(int socket);
bool channel_may_bring_descriptors(int socket);

/* Looks at the next packet without taking it: 0, -EPROTO if it brings descriptors, or another errno. */
int channel_look(int socket);

/*
 * Drops the packets that are left in a socket, as far as none brings descriptors, and some dozens at most.
 * Returns whether all of them are gone. No more can come then, and what is sent last has to be sent before.
 */
bool channel_empty(int socket);

/*
 * Receives one packet from the daemon with up to WIRE_DESCRIPTORS_MAX descriptors, closed on exec,
 * which become the caller's.
 *
 * Returns the size; 0 at the end; -EMSGSIZE; or another errno. *ret_truncated: some of the packet's
 * descriptors did not arrive, because this process's table was full.
 */
ssize_t channel_receive(int socket, void *bytes, size_t room, int fds[static WIRE_DESCRIPTORS_MAX],
			size_t *ret_n_fds, int *ret_truncated);

/* The same, but returns -EINTR when a signal handler without SA_RESTART ran. */
ssize_t channel_receive_interruptible(int socket, void *bytes, size_t room,
				      int fds[static WIRE_DESCRIPTORS_MAX], size_t *ret_n_fds,
				      int *ret_truncated);

/* The same without waiting: -EAGAIN if there is none. */
ssize_t channel_receive_now(int socket, void *bytes, size_t room,
			    int fds[static WIRE_DESCRIPTORS_MAX], size_t *ret_n_fds,
			    int *ret_truncated);

#endif
