/* SPDX-License-Identifier: MIT */
#include "shmd/handed.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/parse.h"

#ifdef HAVE_LIBSYSTEMD
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

/* What is stored are files, and sockets that do not listen. */
static int sort(struct handed *handed, int fd, char *name)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode) || sd_is_socket_unix(fd, SOCK_SEQPACKET, 0, NULL, 0) > 0) {
		handed->stored[handed->n++] = (struct handed_descriptor){.fd = fd, .name = name};
		return 0;
	}
	free(name);
	if (handed->socket >= 0 || sd_is_socket_unix(fd, SOCK_SEQPACKET, 1, NULL, 0) <= 0)
		return -EINVAL;
	handed->socket = fd;
	return 0;
}

/* Of the n descriptors and names, which are taken over in any case. */
static int sort_all(struct handed *handed, char **names, int n)
{
	int r = 0;

	handed->stored = calloc((size_t)n, sizeof(*handed->stored));
	if (!handed->stored)
		r = -ENOMEM;
	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;
		if (r == 0)
			r = sort(handed, fd, names[i]);
		else
			free(names[i]);
		if (r < 0)
			close_fd(fd);
	}
	return r;
}

int handed_take(struct handed *ret)
{
	struct handed handed = {.socket = -1};
	char **names;
	int n = sd_listen_fds_with_names(1, &names);

	*ret = (struct handed){.socket = -1};
	if (n <= 0)
		return n < 0 ? n : -ENOENT;
	int r = sort_all(&handed, names, n);
	free(names);
	if (r < 0)
		handed_fini(&handed);
	else
		*ret = handed;
	return r;
}
#else
int handed_take(struct handed *ret)
{
	*ret = (struct handed){.socket = -1};
	return -ENOENT;
}
#endif

void handed_fini(struct handed *handed)
{
	handed->socket = close_fd(handed->socket);
	for (size_t i = 0; i < handed->n; i++) {
		close_fd(handed->stored[i].fd);
		free(handed->stored[i].name);
	}
	free(handed->stored);
	handed->stored = NULL;
	handed->n = 0;
}

unsigned handed_store_max(void)
{
	static const char *const variables[] = {"FDSTORE", "SHMD_STORE_MAX"};
	uint64_t max;

	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
		const char *text = getenv(variables[i]);
		if (text && parse_u64(text, &max) == 0)
			return max < UINT_MAX ? (unsigned)max : UINT_MAX;
	}
	return 0;
}
