/* SPDX-License-Identifier: MIT */
#include "shmd/service.h"

#include <errno.h>
#include <stddef.h>

#ifdef HAVE_LIBSYSTEMD
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

int service_socket(void)
{
	int n = sd_listen_fds(1);

	if (n < 0)
		return n;
	if (n == 0)
		return -ENOENT;
	if (n > 1 || sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_SEQPACKET, 1, NULL, 0) <= 0)
		return -EINVAL;
	return SD_LISTEN_FDS_START;
}

void service_notify(const char *state)
{
	sd_notify(0, state);
}
#else
int service_socket(void)
{
	return -ENOENT;
}

void service_notify(const char *state)
{
	(void)state;
}
#endif
