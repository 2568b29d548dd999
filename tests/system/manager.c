/* SPDX-License-Identifier: MIT */
#include "manager.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MESSAGE_MAX     4096 /* as in systemd */
#define DESCRIPTORS_MAX 253  /* the kernel's SCM_MAX_FD */
#define FIRST           3    /* SD_LISTEN_FDS_START */

struct stored {
	int fd;
	dev_t dev;
	ino_t ino;
	char name[MANAGER_NAME_SIZE];
};

struct manager {
	struct test_daemon daemon;
	char notify_path[96];
	int listening;
	int notify;
	int wake[2]; /* a pipe to the thread */
	pthread_t thread;
	pthread_mutex_t lock; /* of all that follows, and the daemon's number */
	pthread_cond_t news;  /* something was heard */
	bool is_held;
	bool is_ending;
	bool is_forking; /* the daemon: it gets the descriptors */
	unsigned max;
	uint64_t watchdog_usec;
	unsigned random;
	struct stored *store; /* in the order of their storing */
	unsigned n, room;
	struct manager_heard heard;
};

/* One message. */
struct message {
	char text[MESSAGE_MAX + 1];
	size_t size;
	pid_t pid;
	int fds[DESCRIPTORS_MAX];
	unsigned n;
};

/* One at a time: what pthread_atfork(3) calls has no parameter. */
static struct manager *the_manager;

/* --- the store -------------------------------------------------------------------------------- */

/* The inode tells most apart. */
static bool is_same(const struct stored *stored, int fd, const struct stat *st)
{
	pid_t self = getpid();

	return stored->ino == st->st_ino && stored->dev == st->st_dev &&
	       syscall(SYS_kcmp, self, self, KCMP_FILE, stored->fd, fd) == 0;
}

static struct stored *add_entry(struct manager *manager)
{
	if (manager->n == manager->room) {
		manager->room = manager->room ? 2 * manager->room : 64;
		manager->store = realloc(manager->store, manager->room * sizeof(*manager->store));
		if (!manager->store)
			abort();
	}
	return &manager->store[manager->n++];
}

/* Takes the descriptor over. */
static void store(struct manager *manager, int fd, const char *name)
{
	struct stat st;

	if (manager->n >= manager->max) {
		manager->heard.refused++;
		close(fd);
		return;
	}
	if (fstat(fd, &st) < 0)
		abort();
	for (unsigned i = 0; i < manager->n; i++)
		if (is_same(&manager->store[i], fd, &st)) {
			manager->heard.doubled++;
			close(fd);
			return;
		}
	struct stored *stored = add_entry(manager);
	*stored = (struct stored){.fd = fd, .dev = st.st_dev, .ino = st.st_ino};
	snprintf(stored->name, sizeof(stored->name), "%s", name);
	manager->heard.stored++;
}

/* NULL: all. */
static void forget(struct manager *manager, const char *name)
{
	unsigned left = 0;

	for (unsigned i = 0; i < manager->n; i++) {
		struct stored *stored = &manager->store[i];
		if (name && strcmp(stored->name, name) != 0) {
			manager->store[left++] = *stored;
			continue;
		}
		close(stored->fd);
		manager->heard.removed++;
	}
	manager->n = left;
}

/* --- hearing ---------------------------------------------------------------------------------- */

/* The value of a variable in the text, ended by a newline or the end, or NULL. */
static bool find(const char *text, const char *variable, char *ret, size_t room)
{
	size_t length = strlen(variable);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, variable, length) != 0 || line[length] != '=')
			continue;
		snprintf(ret, room, "%.*s", (int)strcspn(line + length + 1, "\n"),
			 line + length + 1);
		return true;
	}
	return false;
}

static bool says(const char *text, const char *variable)
{
	char value[16];

	return find(text, variable, value, sizeof(value)) && strcmp(value, "1") == 0;
}

static bool is_name(const char *name)
{
	size_t length = strlen(name);

	for (size_t i = 0; i < length; i++)
		if (name[i] < ' ' || name[i] > '~' || name[i] == ':')
			return false;
	return length < MANAGER_NAME_SIZE;
}

/* In an order that nobody can know, as systemd does, which keeps them in a set meanwhile. */
static void store_all(struct manager *manager, struct message *message, const char *name)
{
	while (message->n) {
		manager->random = manager->random * 1103515245 + 12345;
		unsigned i = (manager->random >> 16) % message->n;
		store(manager, message->fds[i], name);
		message->fds[i] = message->fds[--message->n];
	}
}

static void take_descriptors(struct manager *manager, struct message *message)
{
	/* Longer than any that is valid. */
	char name[MANAGER_NAME_SIZE + 8] = "stored", poll[8];
	bool is_named = find(message->text, "FDNAME", name, sizeof(name));

	if (is_named && !is_name(name)) {
		manager->heard.nonsense++;
		strcpy(name, "stored");
		is_named = false;
	}
	if (says(message->text, "FDSTOREREMOVE")) {
		if (is_named)
			forget(manager, name);
		else
			manager->heard.nonsense++;
	} else if (says(message->text, "FDSTORE")) {
		if (!find(message->text, "FDPOLL", poll, sizeof(poll)) || strcmp(poll, "0") != 0)
			manager->heard.polled += message->n;
		store_all(manager, message, name);
	} else if (message->n && !says(message->text, "BARRIER")) {
		manager->heard.nonsense++;
	}
}

static void take_states(struct manager *manager, const char *text)
{
	struct manager_heard *heard = &manager->heard;
	char value[32];

	heard->states += strncmp(text, "FDSTORE", strlen("FDSTORE")) != 0;
	heard->ready += says(text, "READY");
	heard->stopping += says(text, "STOPPING");
	heard->pings += says(text, "WATCHDOG");
	if (says(text, "RELOADING")) {
		heard->reloading++;
		if (!find(text, "MONOTONIC_USEC", value, sizeof(value)) ||
		    !strtoull(value, NULL, 10))
			heard->nonsense++;
	}
	find(text, "STATUS", heard->status, sizeof(heard->status));
}

static void serve(struct manager *manager, struct message *message)
{
	manager->heard.messages++;
	if (message->pid != manager->daemon.pid) {
		manager->heard.strangers++;
	} else if (message->size > MESSAGE_MAX || memchr(message->text, 0, message->size)) {
		manager->heard.nonsense++;
	} else {
		take_states(manager, message->text);
		take_descriptors(manager, message);
	}
	for (unsigned i = 0; i < message->n; i++)
		close(message->fds[i]);
}

static void take_control(struct message *message, struct msghdr *header)
{
	struct ucred sender;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			message->n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(message->fds, CMSG_DATA(c), message->n * sizeof(int));
		} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&sender, CMSG_DATA(c), sizeof(sender));
			message->pid = sender.pid;
		}
}

static bool receive(int notify, struct message *message)
{
	union {
		char bytes[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int)) +
			   CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	struct iovec part = {message->text, sizeof(message->text)};
	struct msghdr header = {.msg_iov = &part,
				.msg_iovlen = 1,
				.msg_control = control.bytes,
				.msg_controllen = sizeof(control.bytes)};
	ssize_t size = recvmsg(notify, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (size < 0) {
		if (errno != EAGAIN && errno != EINTR)
			abort();
		return false;
	}
	message->size = (size_t)size;
	message->pid = 0;
	message->n = 0;
	message->text[message->size < MESSAGE_MAX ? message->size : MESSAGE_MAX] = '\0';
	take_control(message, &header);
	return true;
}

/* With the lock held. */
static void hear_all(struct manager *manager)
{
	struct message message;

	while (receive(manager->notify, &message))
		serve(manager, &message);
	pthread_cond_broadcast(&manager->news);
}

static void *hear(void *context)
{
	struct manager *manager = context;
	struct pollfd polled[] = {{.fd = manager->wake[0], .events = POLLIN}, {.events = POLLIN}};
	char byte;

	for (;;) {
		pthread_mutex_lock(&manager->lock);
		bool is_ending = manager->is_ending;
		bool is_deaf = manager->is_held || manager->is_forking;
		polled[1].fd = is_deaf ? -1 : manager->notify;
		if (!is_deaf)
			hear_all(manager);
		pthread_mutex_unlock(&manager->lock);
		if (is_ending)
			return NULL;
		if (poll(polled, 2, -1) > 0 && polled[0].revents &&
		    read(polled[0].fd, &byte, 1) < 1)
			abort();
	}
}

static void wake(struct manager *manager)
{
	ck_assert_int_eq(write(manager->wake[1], "x", 1), 1);
}

/* --- forks ------------------------------------------------------------------------------------ */

static void before_fork(void)
{
	if (the_manager)
		pthread_mutex_lock(&the_manager->lock);
}

static void after_fork(void)
{
	if (the_manager)
		pthread_mutex_unlock(&the_manager->lock);
}

/* Clients of the test must not have what they were not given. */
static void after_fork_in_child(void)
{
	struct manager *manager = the_manager;

	if (!manager)
		return;
	if (!manager->is_forking) {
		for (unsigned i = 0; i < manager->n; i++)
			close(manager->store[i].fd);
		close(manager->listening);
		close(manager->notify);
		close(manager->wake[0]);
		close(manager->wake[1]);
		the_manager = NULL;
	}
	pthread_mutex_unlock(&manager->lock);
}

static void watch_forks(void)
{
	static bool is_watched;

	if (!is_watched)
		ck_assert_int_eq(pthread_atfork(before_fork, after_fork, after_fork_in_child), 0);
	is_watched = true;
}

/* --- the daemon's process --------------------------------------------------------------------- */

static void set_number(const char *variable, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%ju", (uintmax_t)value);
	setenv(variable, text, 1);
}

/* One string, which the kernel lets have 128 KiB. */
static void set_names(const struct manager *manager)
{
	char *names = malloc(manager->n * (MANAGER_NAME_SIZE + 1) + sizeof(MANAGER_SOCKET));
	char *end = stpcpy(names, MANAGER_SOCKET);

	for (unsigned i = manager->n; i-- > 0;) {
		*end++ = ':';
		end = stpcpy(end, manager->store[i].name);
	}
	setenv("LISTEN_FDNAMES", names, 1);
	free(names);
}

static void set_environment(const struct manager *manager)
{
	setenv("NOTIFY_SOCKET", manager->notify_path, 1);
	set_number("LISTEN_PID", (uint64_t)getpid());
	set_number("LISTEN_FDS", 1 + manager->n);
	set_names(manager);
	if (manager->max)
		set_number("FDSTORE", manager->max);
	if (manager->watchdog_usec) {
		set_number("WATCHDOG_USEC", manager->watchdog_usec);
		set_number("WATCHDOG_PID", (uint64_t)getpid());
	}
}

/* First all go above the places that they are to have: a place may be another one's now. */
static void place_descriptors(const struct manager *manager)
{
	int n = 1 + (int)manager->n;
	int *high = calloc((size_t)n, sizeof(*high));

	high[0] = fcntl(manager->listening, F_DUPFD, FIRST + n);
	for (int i = 1; i < n; i++)
		high[i] = fcntl(manager->store[n - 1 - i].fd, F_DUPFD, FIRST + n);
	for (int i = 0; i < n; i++) {
		if (dup2(high[i], FIRST + i) < 0)
			_exit(125);
		close(high[i]);
	}
	/* What lies between is closed on exec, or the test's. */
	free(high);
}

static void become_daemon(struct manager *manager)
{
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	set_environment(manager);
	place_descriptors(manager);
	daemon_exec(&manager->daemon, -1);
}

/* Nothing is heard until it is known whom to listen to. */
static void launch(struct manager *manager)
{
	pthread_mutex_lock(&manager->lock);
	manager->is_forking = true;
	pthread_mutex_unlock(&manager->lock);
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		become_daemon(manager);
	pthread_mutex_lock(&manager->lock);
	manager->is_forking = false;
	manager->daemon.pid = pid;
	pthread_mutex_unlock(&manager->lock);
	wake(manager);
}

/* For a moment, or until something is heard. With the lock held. */
static void await_news(struct manager *manager)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += 10 * 1000 * 1000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&manager->news, &manager->lock, &until);
}

static void forget_process(struct manager *manager)
{
	pthread_mutex_lock(&manager->lock);
	hear_all(manager);
	manager->daemon.pid = 0;
	pthread_mutex_unlock(&manager->lock);
}

bool manager_try_start(struct manager *manager, int *ret_status)
{
	double deadline = now_ms() + 60000;
	unsigned before = manager->heard.ready;
	bool is_ready = false;

	ck_assert_int_eq(manager->daemon.pid, 0);
	launch(manager);
	while (!is_ready && waitpid(manager->daemon.pid, ret_status, WNOHANG) == 0) {
		ck_assert_msg(now_ms() < deadline, "the daemon is not ready; see %s",
			      manager->daemon.log);
		pthread_mutex_lock(&manager->lock);
		is_ready = manager->heard.ready != before;
		if (!is_ready)
			await_news(manager);
		pthread_mutex_unlock(&manager->lock);
	}
	if (!is_ready)
		forget_process(manager);
	else
		daemon_read_instance(&manager->daemon);
	return is_ready;
}

void manager_start(struct manager *manager)
{
	int status = 0;

	ck_assert_msg(manager_try_start(manager, &status),
		      "the daemon ended at its start with status 0x%x; see %s", status,
		      manager->daemon.log);
}

static int end_by(struct manager *manager, int signal)
{
	int status;

	ck_assert_int_eq(kill(manager->daemon.pid, signal), 0);
	ck_assert_int_eq(waitpid(manager->daemon.pid, &status, 0), manager->daemon.pid);
	forget_process(manager);
	return status;
}

void manager_end(struct manager *manager)
{
	int status = end_by(manager, SIGTERM);

	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		      "the daemon ended with status 0x%x; see %s", status, manager->daemon.log);
}

void manager_kill(struct manager *manager)
{
	end_by(manager, SIGKILL);
}

void manager_restart(struct manager *manager)
{
	manager_end(manager);
	manager_start(manager);
}

void manager_crash(struct manager *manager)
{
	manager_kill(manager);
	manager_start(manager);
}

/* --- making and ending ------------------------------------------------------------------------ */

static int bind_to(const char *path, int type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	ck_assert_int_eq(fchmod(fd, 0666), 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(chmod(path, 0666), 0);
	return fd;
}

static void open_sockets(struct manager *manager)
{
	static const int yes = 1;

	snprintf(manager->notify_path, sizeof(manager->notify_path), "%s/notify",
		 manager->daemon.folder);
	manager->listening = bind_to(manager->daemon.socket, SOCK_SEQPACKET);
	ck_assert_int_eq(listen(manager->listening, SOMAXCONN), 0);
	manager->notify = bind_to(manager->notify_path, SOCK_DGRAM);
	ck_assert_int_eq(setsockopt(manager->notify, SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes)),
			 0);
	ck_assert_int_eq(pipe2(manager->wake, O_CLOEXEC), 0);
}

static void allow_descriptors(void)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

struct manager *manager_new_as(const char *config, uid_t uid)
{
	struct manager *manager = calloc(1, sizeof(*manager));

	ck_assert_ptr_nonnull(manager);
	ck_assert_ptr_null(the_manager);
	daemon_make(&manager->daemon, config, uid);
	manager->max = 16384;
	manager->random = (unsigned)getpid();
	pthread_mutex_init(&manager->lock, NULL);
	pthread_cond_init(&manager->news, NULL);
	allow_descriptors();
	open_sockets(manager);
	the_manager = manager;
	watch_forks();
	ck_assert_int_eq(pthread_create(&manager->thread, NULL, hear, manager), 0);
	return manager;
}

struct manager *manager_new(const char *config)
{
	return manager_new_as(config, 0);
}

struct test_daemon *manager_daemon(struct manager *manager)
{
	return &manager->daemon;
}

static void remove_semaphores(const struct manager *manager)
{
	DIR *folder = opendir("/dev/shm");

	ck_assert_ptr_nonnull(folder);
	for (struct dirent *entry; (entry = readdir(folder));)
		if (manager->daemon.instance[0] && strstr(entry->d_name, "shmd-") &&
		    strstr(entry->d_name, manager->daemon.instance))
			unlinkat(dirfd(folder), entry->d_name, 0);
	closedir(folder);
}

struct manager *manager_free(struct manager *manager)
{
	if (!manager)
		return NULL;
	if (manager->daemon.pid)
		manager_end(manager);
	pthread_mutex_lock(&manager->lock);
	manager->is_ending = true;
	pthread_mutex_unlock(&manager->lock);
	wake(manager);
	ck_assert_int_eq(pthread_join(manager->thread, NULL), 0);
	the_manager = NULL;
	forget(manager, NULL);
	free(manager->store);
	close(manager->listening);
	close(manager->notify);
	close(manager->wake[0]);
	close(manager->wake[1]);
	unlink(manager->daemon.socket);
	unlink(manager->notify_path);
	remove_semaphores(manager);
	daemon_unmake(&manager->daemon);
	pthread_cond_destroy(&manager->news);
	pthread_mutex_destroy(&manager->lock);
	free(manager);
	return NULL;
}

/* --- orders and questions --------------------------------------------------------------------- */

void manager_empty(struct manager *manager)
{
	pthread_mutex_lock(&manager->lock);
	forget(manager, NULL);
	pthread_mutex_unlock(&manager->lock);
}

void manager_hold(struct manager *manager, bool is_held)
{
	pthread_mutex_lock(&manager->lock);
	manager->is_held = is_held;
	pthread_mutex_unlock(&manager->lock);
	wake(manager);
}

void manager_set_max(struct manager *manager, unsigned max)
{
	pthread_mutex_lock(&manager->lock);
	manager->max = max;
	pthread_mutex_unlock(&manager->lock);
}

void manager_set_watchdog(struct manager *manager, uint64_t usec)
{
	manager->watchdog_usec = usec;
}

static unsigned count(struct manager *manager, const char *name)
{
	unsigned n = 0;

	pthread_mutex_lock(&manager->lock);
	for (unsigned i = 0; i < manager->n; i++)
		n += !name || strcmp(manager->store[i].name, name) == 0;
	pthread_mutex_unlock(&manager->lock);
	return n;
}

unsigned manager_stored(struct manager *manager)
{
	return count(manager, NULL);
}

unsigned manager_stored_as(struct manager *manager, const char *name)
{
	return count(manager, name);
}

unsigned manager_names(struct manager *manager, char (*ret)[MANAGER_NAME_SIZE], unsigned max)
{
	unsigned n = 0;

	pthread_mutex_lock(&manager->lock);
	for (unsigned i = manager->n; i-- > 0 && n < max;)
		memcpy(ret[n++], manager->store[i].name, MANAGER_NAME_SIZE);
	pthread_mutex_unlock(&manager->lock);
	return n;
}

int manager_take(struct manager *manager, const char *name)
{
	int fd = -1;

	pthread_mutex_lock(&manager->lock);
	for (unsigned i = manager->n; i-- > 0 && fd < 0;)
		if (strcmp(manager->store[i].name, name) == 0)
			fd = fcntl(manager->store[i].fd, F_DUPFD_CLOEXEC, 0);
	pthread_mutex_unlock(&manager->lock);
	return fd;
}

int manager_take_first(struct manager *manager, const char *name)
{
	int fd = -1;

	pthread_mutex_lock(&manager->lock);
	for (unsigned i = 0; i < manager->n && fd < 0; i++)
		if (strcmp(manager->store[i].name, name) == 0)
			fd = fcntl(manager->store[i].fd, F_DUPFD_CLOEXEC, 0);
	pthread_mutex_unlock(&manager->lock);
	return fd;
}

void manager_plant(struct manager *manager, int fd, const char *name)
{
	pthread_mutex_lock(&manager->lock);
	store(manager, fcntl(fd, F_DUPFD_CLOEXEC, 0), name);
	pthread_mutex_unlock(&manager->lock);
}

void manager_remove(struct manager *manager, const char *name)
{
	pthread_mutex_lock(&manager->lock);
	forget(manager, name);
	pthread_mutex_unlock(&manager->lock);
}

void manager_heard(struct manager *manager, struct manager_heard *ret)
{
	pthread_mutex_lock(&manager->lock);
	*ret = manager->heard;
	pthread_mutex_unlock(&manager->lock);
}

void manager_drain(struct manager *manager)
{
	pthread_mutex_lock(&manager->lock);
	hear_all(manager);
	pthread_mutex_unlock(&manager->lock);
}

void manager_await_status(struct manager *manager, const char *text)
{
	double deadline = now_ms() + 10000;

	pthread_mutex_lock(&manager->lock);
	while (!strstr(manager->heard.status, text)) {
		if (now_ms() > deadline)
			ck_abort_msg("the status is '%s', and not '%s'", manager->heard.status,
				     text);
		await_news(manager);
	}
	pthread_mutex_unlock(&manager->lock);
}
