/* SPDX-License-Identifier: MIT */
/* Who connected, as the kernel noted it at connect(2). */
#ifndef SHMD_PEER_H
#define SHMD_PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/access.h"

/* Reads pid, user and groups of a socket's peer. Returns 0, and then the caller frees the credentials
 * with credentials_fini(); or -errno. The pid is 0 in a PID namespace that we cannot see. */
int peer_read(int socket, pid_t *ret_pid, struct credentials *ret);

/* Writes the name of a process as it is now, made printable; "" if it cannot be read. */
void peer_command(pid_t pid, char *ret, size_t room);

/* When a process began, in the kernel's ticks: with the pid, which process it is. 0: it cannot be read. */
uint64_t peer_start(pid_t pid);

/* Whether a process is in our PID namespace, so that numbers that it tells us mean to it what they mean to us. */
bool peer_numbers_as_we_do(pid_t pid);

/* Whether a process is a user's, by its effective id; false if it cannot be looked at. */
bool peer_is_users(pid_t pid, uid_t uid);

/* Whether a process is about to end, or has, or cannot be looked at: what it had may have gone by that. */
bool peer_is_ending(pid_t pid);

#endif
