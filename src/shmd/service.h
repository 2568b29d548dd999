/* SPDX-License-Identifier: MIT */
/* What the service manager gives and is told. Without libsystemd there is none, and nothing happens. */
#ifndef SHMD_SERVICE_H
#define SHMD_SERVICE_H

/* A listening SOCK_SEQPACKET socket that systemd handed over; -ENOENT if it handed none; -EINVAL if
 * what it handed is something else. */
int service_socket(void);

/* Sends a state, as sd_notify(3). */
void service_notify(const char *state);

#endif
