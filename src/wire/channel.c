/* SPDX-License-Identifier: MIT */
#include "wire/channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* Linux 6.16; the headers may be older */
#endif

/* What is dropped before something else is done about it: some 0.5 us each. */
#define DROPPED_MOST 32

/* Room for the control data of a packet, aligned as cmsg(3) wants it. */
union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * WIRE_DESCRIPTORS_MAX)];
};

static void put_descriptors(struct msghdr *message, union control *control, const int *fds,
			    size_t n)
{
	message->msg_control = control->bytes;
	message->msg_controllen = CMSG_SPACE(sizeof(int) * n);
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(message);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int) * n);
	memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * n);
}

static int send_message(int socket, const struct msghdr *message, int flags)
{
	ssize_t n;

	do
		n = sendmsg(socket, message, MSG_NOSIGNAL | flags);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int channel_send(int socket, const void *bytes, size_t size, const int *fds, size_t n_fds)
{
	struct iovec iov = {.iov_base = (void *)bytes, .iov_len = size};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	union control control;

	if (n_fds > WIRE_DESCRIPTORS_MAX)
		return -EINVAL;
	if (n_fds > 0) {
		memset(&control, 0, CMSG_SPACE(sizeof(int) * n_fds));
		put_descriptors(&message, &control, fds, n_fds);
	}
	return send_message(socket, &message, 0);
}

int channel_send_now(int socket, const void *bytes, size_t size)
{
	struct iovec iov = {.iov_base = (void *)bytes, .iov_len = size};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	return send_message(socket, &message, MSG_DONTWAIT);
}

static ssize_t receive_once(int socket, struct msghdr *message, int flags)
{
	ssize_t n = recvmsg(socket, message, MSG_CMSG_CLOEXEC | flags);

	return n < 0 ? -errno : n;
}

static ssize_t receive(int socket, struct msghdr *message, int flags)
{
	ssize_t n;

	do
		n = receive_once(socket, message, flags);
	while (n == -EINTR);
	return n;
}

ssize_t channel_receive_plain(int socket, void *bytes, size_t room)
{
	struct iovec iov = {.iov_base = bytes, .iov_len = room};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n = receive(socket, &message, 0);

	if (n < 0)
		return n;
	if (message.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	if (message.msg_flags & MSG_CTRUNC)
		return -EPROTO;
	return n;
}

/* --- what nobody asked for -------------------------------------------------------------------- */

int channel_refuse_descriptors(int socket)
{
	int off = 0;

	return setsockopt(socket, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof(off)) < 0 ? -errno : 0;
}

bool channel_may_bring_descriptors(int socket)
{
	int on;
	socklen_t size = sizeof(on);

	return getsockopt(socket, SOL_SOCKET, SO_PASSRIGHTS, &on, &size) < 0 || on;
}

/* The copies that the kernel makes for who looks are not the last ones. */
int channel_look(int socket)
{
	struct msghdr message = {0};
	ssize_t n = receive(socket, &message, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0)
		return (int)n;
	return message.msg_flags & MSG_CTRUNC ? -EPROTO : 0;
}

enum look { LOOK_NOTHING, LOOK_PLAIN, LOOK_DESCRIPTORS, LOOK_AGAIN };

/* With SO_PASSCRED each packet comes with its sender, also an empty one, which SIOCINQ does not count. For
 * descriptors there is no room then. */
static enum look look_with_sender(int socket)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct msghdr message = {.msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};

	/* An error is told once, and before what lies there. */
	if (receive(socket, &message, MSG_PEEK | MSG_DONTWAIT) < 0)
		return LOOK_AGAIN;
	if (message.msg_flags & MSG_CTRUNC)
		return LOOK_DESCRIPTORS;
	return message.msg_controllen > 0 ? LOOK_PLAIN : LOOK_NOTHING;
}

bool channel_empty(int socket)
{
	int on = 1;
	struct msghdr message = {0};
	enum look look = LOOK_AGAIN;

	/* Nothing comes between the last look and the end. */
	shutdown(socket, SHUT_RDWR);
	if (setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return false;
	for (int i = 0; i < DROPPED_MOST; i++) {
		look = look_with_sender(socket);
		if (look == LOOK_NOTHING || look == LOOK_DESCRIPTORS)
			break;
		if (look == LOOK_PLAIN)
			receive(socket, &message, MSG_DONTWAIT);
	}
	return look == LOOK_NOTHING;
}

/* --- with descriptors ------------------------------------------------------------------------- */

static size_t take_descriptors(struct msghdr *message, int *fds)
{
	size_t n = 0;

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(message); cmsg;
	     cmsg = CMSG_NXTHDR(message, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		size_t size = cmsg->cmsg_len - CMSG_LEN(0);
		memcpy(fds + n, CMSG_DATA(cmsg), size);
		n += size / sizeof(int);
	}
	return n;
}

typedef ssize_t receive_fn(int socket, struct msghdr *message, int flags);

static ssize_t receive_with_descriptors(int socket, void *bytes, size_t room,
					int fds[static WIRE_DESCRIPTORS_MAX], size_t *ret_n_fds,
					int *ret_truncated, receive_fn *fn, int flags)
{
	struct iovec iov = {.iov_base = bytes, .iov_len = room};
	union control control;
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	ssize_t n = fn(socket, &message, flags);

	*ret_n_fds = 0;
	*ret_truncated = 0;
	if (n < 0)
		return n;
	*ret_n_fds = take_descriptors(&message, fds);
	*ret_truncated = (message.msg_flags & MSG_CTRUNC) != 0;
	return message.msg_flags & MSG_TRUNC ? -EMSGSIZE : n;
}

ssize_t channel_receive(int socket, void *bytes, size_t room, int fds[static WIRE_DESCRIPTORS_MAX],
			size_t *ret_n_fds, int *ret_truncated)
{
	return receive_with_descriptors(socket, bytes, room, fds, ret_n_fds, ret_truncated, receive,
					0);
}

ssize_t channel_receive_interruptible(int socket, void *bytes, size_t room,
				      int fds[static WIRE_DESCRIPTORS_MAX], size_t *ret_n_fds,
				      int *ret_truncated)
{
	return receive_with_descriptors(socket, bytes, room, fds, ret_n_fds, ret_truncated,
					receive_once, 0);
}

ssize_t channel_receive_now(int socket, void *bytes, size_t room,
			    int fds[static WIRE_DESCRIPTORS_MAX], size_t *ret_n_fds,
			    int *ret_truncated)
{
	return receive_with_descriptors(socket, bytes, room, fds, ret_n_fds, ret_truncated, receive,
					MSG_DONTWAIT);
}
