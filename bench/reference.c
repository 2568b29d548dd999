/* SPDX-License-Identifier: MIT */
#include "reference.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "stage.h"

#define EVENTS_MAX 64
#define SEALS      (F_SEAL_SHRINK | F_SEAL_GROW)

struct bare_packet {
	uint32_t op;
	uint32_t reserved;
	uint64_t size;
};

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(2 * sizeof(int))];
};

/* --- packets ---------------------------------------------------------------------------------- */

static ssize_t send_packet(int socket, const struct bare_packet *packet, const int *fds, int n_fds)
{
	struct iovec iov = {.iov_base = (void *)packet, .iov_len = sizeof(*packet)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	union control control = {0};

	if (n_fds > 0) {
		size_t size = (size_t)n_fds * sizeof(int);
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(size);
		struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
		*cmsg = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
					 .cmsg_type = SCM_RIGHTS,
					 .cmsg_len = CMSG_LEN(size)};
		memcpy(CMSG_DATA(cmsg), fds, size);
	}
	return sendmsg(socket, &message, MSG_NOSIGNAL);
}

static ssize_t receive_plain(int socket, struct bare_packet *ret)
{
	struct iovec iov = {.iov_base = ret, .iov_len = sizeof(*ret)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	return recvmsg(socket, &message, 0);
}

static ssize_t receive_packet(int socket, struct bare_packet *ret, int fds[static 2], int *ret_n)
{
	struct iovec iov = {.iov_base = ret, .iov_len = sizeof(*ret)};
	union control control;
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	struct cmsghdr *cmsg = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;

	*ret_n = 0;
	if (cmsg) {
		size_t size = cmsg->cmsg_len - CMSG_LEN(0);
		memcpy(fds, CMSG_DATA(cmsg), size);
		*ret_n = (int)(size / sizeof(int));
	}
	return n;
}

/* --- the server ------------------------------------------------------------------------------- */

/* What the server has: a segment that stays, and the one that its client made last. */
struct made {
	int fd;
	int semaphore_fd; /* -1: none */
	char file[64];    /* the semaphore's, in /dev/shm */
};

struct house {
	int self;   /* /proc/self/fd */
	int folder; /* /dev/shm */
	int reader;
	const char *prefix;
	unsigned long n_files;
	struct made kept;
	struct made fresh;
};

static int reopen(const struct house *house, int fd, int flags)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", fd);
	int again = openat(house->self, number, flags | O_CLOEXEC);
	if (again < 0)
		err(1, "bare server: open of /proc/self/fd");
	return again;
}

static void make_memory(struct made *made, uint64_t size, int seals)
{
	made->semaphore_fd = -1;
	made->fd = memfd_create("bench", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (made->fd < 0 || fchmod(made->fd, 0600) < 0 || ftruncate(made->fd, (off_t)size) < 0 ||
	    fcntl(made->fd, F_ADD_SEALS, seals) < 0)
		err(1, "bare server: memfd");
}

static void make_semaphore(struct house *house, struct made *made)
{
	sem_t value;

	memset(&value, 0, sizeof(value));
	sem_init(&value, 1, 1);
	snprintf(made->file, sizeof(made->file), "sem.%s-%016lx", house->prefix, house->n_files++);
	made->semaphore_fd = openat(house->folder, made->file,
				    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (made->semaphore_fd < 0 || pwrite(made->semaphore_fd, &value, sizeof(value), 0) < 0)
		err(1, "bare server: semaphore");
}

static void answer(int socket, const struct bare_packet *request, const int *fds, int n_fds)
{
	if (send_packet(socket, request, fds, n_fds) < 0 && errno != EPIPE)
		err(1, "bare server: sendmsg");
}

static void serve_attach(struct house *house, int socket, const struct bare_packet *request,
			 const struct made *made, int n_fds)
{
	int fds[2] = {reopen(house, made->fd, O_RDWR), made->semaphore_fd};

	answer(socket, request, fds, n_fds);
	close(fds[0]);
}

static void serve_pass(struct house *house, const struct bare_packet *request)
{
	int fd = reopen(house, house->fresh.fd, O_RDONLY);

	answer(house->reader, request, &fd, 1);
	close(fd);
}

static void serve_drop(struct house *house, int socket, const struct bare_packet *request)
{
	struct made *made = &house->fresh;
	int fd = reopen(house, made->fd, O_RDWR);

	close(made->fd);
	/* Of a raw one the client's description is not counted; here it is gone anyway. */
	if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0 || fcntl(fd, F_SETLEASE, F_UNLCK) < 0)
		err(1, "bare server: lease");
	if (made->semaphore_fd >= 0)
		unlinkat(house->folder, made->file, 0);
	answer(socket, request, NULL, 0);
	close(fd);
	made->fd = -1;
	made->semaphore_fd = close_fd(made->semaphore_fd);
}

static void serve(struct house *house, int socket, const struct bare_packet *request)
{
	switch ((enum bare_op)request->op) {
	case BARE_ATTACH:
		return serve_attach(house, socket, request, &house->kept, 1);
	case BARE_ATTACH_BOTH:
		return serve_attach(house, socket, request, &house->kept, 2);
	case BARE_CREATE:
		make_memory(&house->fresh, request->size, SEALS | F_SEAL_SEAL);
		return serve_attach(house, socket, request, &house->fresh, 1);
	case BARE_CREATE_BOTH:
		make_memory(&house->fresh, request->size, SEALS | F_SEAL_SEAL);
		make_semaphore(house, &house->fresh);
		return serve_attach(house, socket, request, &house->fresh, 2);
	case BARE_CREATE_RAW:
		make_memory(&house->fresh, request->size, SEALS | F_SEAL_SEAL);
		return answer(socket, request, &house->fresh.fd, 1);
	case BARE_CREATE_SEALABLE:
		make_memory(&house->fresh, request->size, SEALS);
		return serve_attach(house, socket, request, &house->fresh, 1);
	case BARE_PASS:
		return serve_pass(house, request);
	case BARE_DROP:
		return serve_drop(house, socket, request);
	case BARE_PLAIN:
	case BARE_OPS:
		break;
	}
	answer(socket, request, NULL, 0);
}

/* Returns false when the client has gone. */
static bool serve_next(struct house *house, int socket)
{
	struct bare_packet request;

	if (receive_plain(socket, &request) != (ssize_t)sizeof(request))
		return false;
	serve(house, socket, &request);
	return true;
}

/* One packet a client and turn, as the daemon does it. */
static void serve_many(struct house *house, const int *sockets, size_t n)
{
	struct epoll_event events[EVENTS_MAX];
	int loop = epoll_create1(EPOLL_CLOEXEC);

	for (size_t i = 0; i < n; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = sockets[i]};
		if (epoll_ctl(loop, EPOLL_CTL_ADD, sockets[i], &event) < 0)
			err(1, "bare server: epoll");
	}
	while (n > 0) {
		int ready = epoll_wait(loop, events, EVENTS_MAX, -1);
		for (int i = 0; i < ready; i++)
			if (!serve_next(house, events[i].data.fd)) {
				close(events[i].data.fd);
				n--;
			}
	}
}

static void run_server(const int *sockets, size_t n, int reader, size_t size, const char *prefix)
{
	struct house house = {
		.self = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC),
		.folder = open("/dev/shm", O_PATH | O_DIRECTORY | O_CLOEXEC),
		.reader = reader,
		.prefix = prefix,
	};

	make_memory(&house.kept, size, SEALS | F_SEAL_SEAL);
	make_semaphore(&house, &house.kept);
	unlinkat(house.folder, house.kept.file, 0);
	if (n > 1)
		serve_many(&house, sockets, n);
	else
		while (serve_next(&house, sockets[0]))
			continue;
	_exit(0);
}

/* Returns the server's end. */
static int new_pair(int *ret_client)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		err(1, "socketpair");
	*ret_client = pair[0];
	return pair[1];
}

void bare_server_start(struct bare_server *server, size_t n_clients, size_t size,
		       const char *prefix)
{
	_cleanup_free_ int *theirs = calloc(n_clients, sizeof(int));

	*server = (struct bare_server){.n_sockets = n_clients,
				       .sockets = calloc(n_clients, sizeof(int))};
	if (!theirs || !server->sockets)
		errx(1, "out of memory");
	for (size_t i = 0; i < n_clients; i++)
		theirs[i] = new_pair(&server->sockets[i]);
	int reader = new_pair(&server->reader);
	pid_t self = getpid();
	server->pid = fork();
	if (server->pid < 0)
		err(1, "fork");
	if (server->pid == 0) {
		stage_end_with(self, SIGKILL);
		/* Else the clients' ends would never be seen to close. */
		for (size_t i = 0; i < n_clients; i++)
			close(server->sockets[i]);
		run_server(theirs, n_clients, reader, size, prefix);
	}
	for (size_t i = 0; i < n_clients; i++)
		close(theirs[i]);
	close(reader);
}

void bare_server_stop(struct bare_server *server)
{
	for (size_t i = 0; i < server->n_sockets; i++)
		close(server->sockets[i]);
	close(server->reader);
	free(server->sockets);
	kill(server->pid, SIGKILL);
	waitpid(server->pid, NULL, 0);
}

/* --- the client ------------------------------------------------------------------------------- */

static void send_request(int socket, enum bare_op op, size_t size)
{
	struct bare_packet packet = {.op = op, .size = size};

	if (send_packet(socket, &packet, NULL, 0) < 0)
		errx(1, "the bare server is gone");
}

static void receive_reply(int socket, struct bare_segment *segment)
{
	struct bare_packet packet;

	if (receive_packet(socket, &packet, segment->fds, &segment->n_fds) <= 0)
		errx(1, "the bare server is gone");
}

static void map(struct bare_segment *segment, int protection)
{
	if (segment->n_fds == 0)
		errx(1, "the bare server sent no descriptor");
	segment->data = mmap(NULL, segment->size, protection, MAP_SHARED, segment->fds[0], 0);
	if (segment->data == MAP_FAILED)
		err(1, "mmap");
}

void bare_open(int socket, enum bare_op op, size_t size, struct bare_segment *ret)
{
	ret->size = size;
	send_request(socket, op, size);
	receive_reply(socket, ret);
	map(ret, PROT_READ | PROT_WRITE);
}

void bare_let_go(struct bare_segment *segment)
{
	if (segment->data)
		munmap(segment->data, segment->size);
	for (int i = 0; i < segment->n_fds; i++)
		close(segment->fds[i]);
}

void bare_close(int socket, enum bare_op op, struct bare_segment *segment)
{
	bare_let_go(segment);
	send_request(socket, op, segment->size);
	receive_reply(socket, segment);
}

void bare_seal(struct bare_segment *segment)
{
	munmap(segment->data, segment->size);
	segment->data = NULL;
	if (fcntl(segment->fds[0], F_ADD_SEALS, F_SEAL_WRITE) < 0)
		err(1, "fcntl (F_ADD_SEALS)");
}

void bare_pass(int socket)
{
	send_request(socket, BARE_PASS, 0);
}

void bare_take(int reader, size_t size, struct bare_segment *ret)
{
	ret->size = size;
	receive_reply(reader, ret);
	map(ret, PROT_READ);
}
