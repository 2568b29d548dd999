/* SPDX-License-Identifier: MIT */
#include "shmd/pouch.h"

#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "wire/channel.h"

/* --- life ------------------------------------------------------------------------------------- */

int pouch_new(struct pouch **ret, unsigned number)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		return -errno;
	return pouch_adopt(ret, number, ends);
}

static bool has_messages(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
}

int pouch_adopt(struct pouch **ret, unsigned number, const int ends[static 2])
{
	struct pouch *pouch = calloc(1, sizeof(*pouch));
	int out = has_messages(ends[0]) ? 0 : 1;

	if (!pouch) {
		close_fd(ends[0]);
		close_fd(ends[1]);
		return -ENOMEM;
	}
	pouch->out = ends[out];
	pouch->in = ends[!out];
	pouch->number = number;
	*ret = pouch;
	return 0;
}

struct pouch *pouch_free(struct pouch *pouch)
{
	if (!pouch)
		return NULL;
	close_fd(pouch->in);
	close_fd(pouch->out);
	free(pouch);
	return NULL;
}

/* --- messages --------------------------------------------------------------------------------- */

static int send_message(const struct pouch *pouch, uint32_t key, const int *fds, unsigned n)
{
	return channel_send(pouch->in, &key, sizeof(key), fds, n);
}

int pouch_put(struct pouch *pouch, uint32_t key, const int *fds, unsigned n)
{
	if (pouch->n >= POUCH_ROOM)
		return -EAGAIN;
	int r = send_message(pouch, key, fds, n);
	if (r == 0)
		pouch->n++;
	return r;
}

/* Without room for control data the kernel gives us no descriptor, and closes what is received so. */
static int look_at_key(const struct pouch *pouch, uint32_t *ret)
{
	ssize_t n = recv(pouch->out, ret, sizeof(*ret), MSG_PEEK | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN ? -ENOENT : -errno;
	return n == (ssize_t)sizeof(*ret) ? 0 : -EBADMSG;
}

static void drop_first(struct pouch *pouch)
{
	uint32_t key;

	if (recv(pouch->out, &key, sizeof(key), MSG_DONTWAIT) >= 0)
		pouch->n--;
}

static void close_all(const int *fds, size_t n)
{
	while (n > 0)
		close_fd(fds[--n]);
}

/* A message with its descriptors, which stays where it is. */
static int peek(const struct pouch *pouch, uint32_t *ret_key,
		int ret_fds[static POUCH_DESCRIPTORS_MAX])
{
	alignas(struct cmsghdr) char control[CMSG_SPACE(POUCH_DESCRIPTORS_MAX * sizeof(int))];
	struct iovec bytes = {.iov_base = ret_key, .iov_len = sizeof(*ret_key)};
	struct msghdr message = {.msg_iov = &bytes,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	ssize_t size = recvmsg(pouch->out, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int n = 0;

	if (size < 0)
		return errno == EAGAIN ? -ENOENT : -errno;
	if (size == 0)
		return -ENOENT;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(ret_fds, CMSG_DATA(c), (size_t)n * sizeof(int));
	}
	if (size == (ssize_t)sizeof(*ret_key) && !(message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)))
		return n;
	close_all(ret_fds, (size_t)n);
	return message.msg_flags & MSG_CTRUNC ? -EMFILE : -EBADMSG;
}

/* First once more behind all others, and then no more in front. */
static int move_first_to_end(struct pouch *pouch)
{
	int fds[POUCH_DESCRIPTORS_MAX];
	uint32_t key;
	int n = peek(pouch, &key, fds);

	if (n < 0)
		return n;
	int r = send_message(pouch, key, fds, (unsigned)n);
	close_all(fds, (size_t)n);
	if (r < 0)
		return r;
	pouch->n++;
	drop_first(pouch);
	return 0;
}

int pouch_take_out(struct pouch *pouch, uint32_t key)
{
	uint32_t first;
	int r = 0;

	for (unsigned left = pouch->n; left > 0 && r == 0; left--) {
		r = look_at_key(pouch, &first);
		if (r == 0 && first == key) {
			drop_first(pouch);
			return 0;
		}
		if (r == 0)
			r = move_first_to_end(pouch);
	}
	return r < 0 ? r : -ENOENT;
}

int pouch_look(struct pouch *pouch, int *offset, uint32_t *ret_key,
	       int ret_fds[static POUCH_DESCRIPTORS_MAX])
{
	const int off = -1;

	if (setsockopt(pouch->out, SOL_SOCKET, SO_PEEK_OFF, offset, sizeof(*offset)) < 0)
		return -errno;
	int r = peek(pouch, ret_key, ret_fds);
	setsockopt(pouch->out, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off));
	if (r >= 0)
		*offset += (int)sizeof(*ret_key);
	return r;
}
