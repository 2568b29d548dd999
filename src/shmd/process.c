/* SPDX-License-Identifier: MIT */
#include "shmd/process.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "shmd/peer.h"

/* Linux 6.5; the headers of Debian 12 do not have it. */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

int process_table_init(struct process_table *table, struct estate **emptied)
{
	*table = (struct process_table){.epoll = epoll_create1(EPOLL_CLOEXEC), .emptied = emptied};
	return table->epoll < 0 ? -errno : 0;
}

/*
 * The kernel's own answer where there is one. Before Linux 6.5 the pid has to do, and between the
 * peer's connect() and now that number may have been given to another process; a peer that has died
 * has hung up, unless a child of its holds the socket, so that this is the only case left.
 */
static int open_pidfd(int socket, pid_t pid)
{
	int fd;
	socklen_t size = sizeof(fd);

	if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) == 0)
		return fd;
	if (errno != ENOPROTOOPT && errno != EOPNOTSUPP)
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : -ESRCH;
	if (pid == 0)
		return -EOPNOTSUPP;
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return errno == ENOSYS ? -EOPNOTSUPP : -errno;
	struct pollfd hung_up = {.fd = socket};
	if (poll(&hung_up, 1, 0) == 1 && hung_up.revents & POLLHUP) {
		close_fd(fd);
		return -ESRCH;
	}
	return fd;
}

bool process_is_dead(const struct process *process)
{
	struct pollfd dead = {.fd = process->pidfd, .events = POLLIN};

	return poll(&dead, 1, 0) == 1;
}

bool process_is_ending(const struct process *process)
{
	return process->pidfd < 0 || peer_is_ending(process->pid) || process_is_dead(process);
}

/* Connections are accepted in the order they were made, so one that comes with the number of a
 * process that we know, and that still lives, is that process's. */
struct process *process_find(const struct process_table *table, pid_t pid)
{
	struct process *process = NULL;

	if (pid != 0)
		HASH_FIND_INT(table->by_pid, &pid, process);
	return process && !process_is_dead(process) ? process : NULL;
}

static int add_to_table(struct process_table *table, struct process *process)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = process};
	struct process *older;

	if (epoll_ctl(table->epoll, EPOLL_CTL_ADD, process->pidfd, &event) < 0)
		return -errno;
	if (process->pid == 0)
		return 0;
	/* A dead one of the same number, whose end was not served yet, can be found no more. */
	HASH_FIND_INT(table->by_pid, &process->pid, older);
	if (older)
		HASH_DEL(table->by_pid, older);
	HASH_ADD_INT(table->by_pid, pid, process);
	return HASH_ADDED(hh, process) ? 0 : -ENOMEM;
}

static struct process *allocate(struct process_table *table, pid_t pid, int pidfd)
{
	struct process *process = calloc(1, sizeof(*process));

	if (!process) {
		close_fd(pidfd);
		return NULL;
	}
	*process = (struct process){.pid = pid, .pidfd = pidfd, .table = table};
	estate_init(&process->estate, table->emptied);
	process->estate.pid = pid;
	DL_APPEND(table->all, process);
	return process;
}

static void take_out_of_table(struct process *process)
{
	struct process *found = NULL;

	HASH_FIND_INT(process->table->by_pid, &process->pid, found);
	if (found == process)
		HASH_DEL(process->table->by_pid, process);
}

void process_retire(struct process *process)
{
	take_out_of_table(process);
	/* Closing would not do where a child of ours has a duplicate (closer.c). */
	if (process->pidfd >= 0)
		epoll_ctl(process->table->epoll, EPOLL_CTL_DEL, process->pidfd, NULL);
	process->pidfd = close_fd(process->pidfd);
}

static void free_process(struct process *process)
{
	process_retire(process);
	estate_fini(&process->estate);
	charge_release(&process->charge);
	DL_DELETE(process->table->all, process);
	free(process);
}

/* Takes the pidfd over. */
static int make(struct process_table *table, pid_t pid, int pidfd, struct process **ret)
{
	struct process *process = allocate(table, pid, pidfd);

	if (!process)
		return -ENOMEM;
	int r = add_to_table(table, process);
	if (r < 0) {
		free_process(process);
		return r;
	}
	*ret = process;
	return 0;
}

int process_get(struct process_table *table, int socket, pid_t pid, struct process **ret)
{
	struct process *process = process_find(table, pid);

	if (process) {
		*ret = process;
		return 0;
	}
	_cleanup_close_ int pidfd = open_pidfd(socket, pid);
	if (pidfd == -EOPNOTSUPP) {
		*ret = NULL;
		return 0;
	}
	if (pidfd < 0)
		return pidfd;
	return make(table, pid, steal_fd(&pidfd), ret);
}

/* Between the two the number may have been given to another process, which has begun later. Where nobody can
 * tell when, then or now, the number has to do: who is taken for dead loses its locks while it holds them. */
static int open_known(pid_t pid, uint64_t start)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd dead = {.fd = fd, .events = POLLIN};

	if (fd < 0)
		return -errno;
	uint64_t now = peer_start(pid);
	if ((start && now && now != start) || poll(&dead, 1, 0) == 1)
		return -ESRCH;
	return steal_fd(&fd);
}

/* Whose it is, is asked when it cannot be another one's number any more. */
int process_get_by_pid(struct process_table *table, pid_t pid, uid_t uid, struct process **ret)
{
	struct process *process = process_find(table, pid);
	_cleanup_close_ int pidfd = process ? -1 : open_known(pid, 0);

	if (!process && pidfd < 0)
		return pidfd == -ENOSYS ? -EOPNOTSUPP : pidfd;
	if (!peer_is_users(pid, uid))
		return -ESRCH;
	if (!process)
		return make(table, pid, steal_fd(&pidfd), ret);
	*ret = process;
	return 0;
}

/* It says nothing of the process. */
static bool is_our_own(int r)
{
	return r == -EMFILE || r == -ENFILE || r == -ENOMEM;
}

/* A dead one stands in the table as long as it is being restored, and nobody alive has its number. */
static int enter_restored(struct process_table *table, struct process *process)
{
	struct process *other;

	if (process->pidfd >= 0)
		return add_to_table(table, process);
	HASH_FIND_INT(table->by_pid, &process->pid, other);
	if (!other)
		HASH_ADD_INT(table->by_pid, pid, process);
	return 0;
}

int process_restore(struct process_table *table, pid_t pid, uint64_t start, struct process **ret)
{
	struct process *process;

	HASH_FIND_INT(table->by_pid, &pid, process);
	if (process && (process->start == start || (!start && process->pidfd >= 0))) {
		*ret = process;
		return 0;
	}
	int pidfd = open_known(pid, start);
	if (is_our_own(pidfd))
		return pidfd;
	process = allocate(table, pid, pidfd);
	if (!process)
		return -ENOMEM;
	process->start = start || pidfd < 0 ? start : peer_start(pid);
	int r = enter_restored(table, process);
	if (r < 0) {
		free_process(process);
		return r;
	}
	*ret = process;
	return 0;
}

uint64_t process_start(struct process *process)
{
	if (!process || process->pidfd < 0)
		return 0;
	if (process->start == 0)
		process->start = peer_start(process->pid);
	return process->start;
}

const char *process_command(struct process *process)
{
	if (!process)
		return "";
	bool is_dead = process->pidfd < 0;         /* and its number may be another's by now */
	bool may_have_changed = !process->clients; /* by executing another program */

	if (!is_dead && (!process->has_command || may_have_changed))
		peer_command(process->pid, process->command, sizeof(process->command));
	process->has_command = true;
	return process->command;
}

void process_put(struct process *process)
{
	if (process && !process->clients && estate_is_empty(&process->estate))
		free_process(process);
}

void process_table_fini(struct process_table *table)
{
	while (table->all)
		free_process(table->all);
	table->epoll = close_fd(table->epoll);
}

struct process *process_table_next_dead(struct process_table *table)
{
	struct epoll_event event;

	return epoll_wait(table->epoll, &event, 1, 0) == 1 ? event.data.ptr : NULL;
}
