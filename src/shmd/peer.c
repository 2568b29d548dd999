/* SPDX-License-Identifier: MIT */
#include "shmd/peer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/text.h"

#define GROUPS_USUAL 64

/* SO_PEERGROUPS answers ERANGE with the size that it needs. */
static int read_groups(int socket, gid_t **ret, size_t *ret_n)
{
	socklen_t size = GROUPS_USUAL * sizeof(gid_t);
	_cleanup_free_ gid_t *groups = malloc(size);

	if (!groups)
		return -ENOMEM;
	while (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0) {
		if (errno != ERANGE)
			return errno == ENODATA || errno == ENOPROTOOPT ? 0 : -errno;
		gid_t *larger = realloc(groups, size);
		if (!larger)
			return -ENOMEM;
		groups = larger;
	}
	*ret_n = size / sizeof(gid_t);
	if (*ret_n > 0)
		*ret = steal_ptr(groups);
	return 0;
}

int peer_read(int socket, pid_t *ret_pid, struct credentials *ret)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	gid_t *groups = NULL;
	size_t n_groups = 0;

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return -errno;
	int r = read_groups(socket, &groups, &n_groups);
	if (r < 0)
		return r;
	credentials_init(ret, peer.uid, peer.gid, groups, n_groups);
	*ret_pid = peer.pid;
	return 0;
}

void peer_command(pid_t pid, char *ret, size_t room)
{
	char file[32];

	ret[0] = '\0';
	snprintf(file, sizeof(file), "/proc/%d/comm", (int)pid);
	_cleanup_close_ int fd = pid > 0 ? open(file, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t n = fd < 0 ? 0 : read(fd, ret, room - 1);
	if (n < 0)
		n = 0;
	ret[n] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
	text_make_printable(ret);
}

/* A field of proc_pid_stat(5), counted from 1; the second one is a name in parentheses, which may hold anything.
 * 0: it cannot be read. */
static uint64_t read_field(const char *file, int which)
{
	char text[1024];
	uint64_t value = 0;
	_cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	const char *field = strrchr(text, ')');
	for (int i = 2; field && i < which; i++)
		field = strchr(field + 1, ' ');
	if (field)
		sscanf(field, "%" SCNu64, &value);
	return value;
}

static uint64_t read_stat(pid_t pid, int which)
{
	char file[32];

	snprintf(file, sizeof(file), "/proc/%d/stat", (int)pid);
	return pid > 0 ? read_field(file, which) : 0;
}

uint64_t peer_start(pid_t pid)
{
	return read_stat(pid, 22);
}

bool peer_is_users(pid_t pid, uid_t uid)
{
	char file[32];
	struct stat st;

	snprintf(file, sizeof(file), "/proc/%d", (int)pid);
	return pid > 0 && stat(file, &st) == 0 && st.st_uid == uid;
}

bool peer_numbers_as_we_do(pid_t pid)
{
	char file[32];
	_cleanup_free_ char *line = NULL;
	size_t room = 0;

	snprintf(file, sizeof(file), "/proc/%d/status", (int)pid);
	_cleanup_fclose_ FILE *status = pid > 0 ? fopen(file, "re") : NULL;
	if (!status)
		return false;
	/* A number for each namespace that it is in, from ours downwards. */
	while (getline(&line, &room, status) > 0) {
		if (strncmp(line, "NSpid:", 6) == 0)
			return strchr(line, '\t') == strrchr(line, '\t');
	}
	return false;
}

/* PF_EXITING of linux/sched.h, which proc_pid_stat(5) shows: a thread that ends has it before anything is taken
 * from it. */
#define EXITING 0x4

/* The daemon waits for the kernel meanwhile. */
#define THREADS_AT_MOST 64

static bool is_exiting(uint64_t flags)
{
	return flags == 0 || flags & EXITING;
}

/* What it has goes with the last of its threads, and the first one, whose flags are the process's, may have gone
 * before. */
static bool has_thread(pid_t pid)
{
	char name[32], file[sizeof(name) + NAME_MAX + 8];
	bool found = false;

	snprintf(name, sizeof(name), "/proc/%d/task", (int)pid);
	DIR *folder = opendir(name);
	for (int i = 0; folder && i < THREADS_AT_MOST && !found; i++) {
		struct dirent *entry = readdir(folder);
		if (!entry)
			break;
		snprintf(file, sizeof(file), "%s/%s/stat", name, entry->d_name);
		found = entry->d_name[0] != '.' && !is_exiting(read_field(file, 9));
	}
	if (folder)
		closedir(folder);
	return found;
}

bool peer_is_ending(pid_t pid)
{
	return is_exiting(read_stat(pid, 9)) && !has_thread(pid);
}
