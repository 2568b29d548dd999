/* SPDX-License-Identifier: MIT */
/* The decoder, on bytes of any kind: as a packet of requests, and as one of replies. And the same bytes
 * through a socket, with descriptors and without, where nothing may be lost, nor found twice. */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "wire/channel.h"
#include "wire/packet.h"

/* --- what is in it ---------------------------------------------------------------------------- */

static void check_message(const struct packet_message *message, const char *packet, size_t size,
			  size_t offset)
{
	HOLDS(message->header.size >= sizeof(struct wire_header));
	HOLDS(message->header.size % 8 == 0);
	HOLDS(message->header.size <= size - offset);
	HOLDS(message->body == packet + offset + sizeof(struct wire_header));
	HOLDS(message->body_size == message->header.size - sizeof(struct wire_header));
}

/* What the handlers trust without looking again. */
static void check_body(const struct packet_message *message)
{
	const struct wire_create *create = message->body;
	const struct wire_open *open = message->body;
	const struct wire_attach *attach = message->body;
	const struct wire_unlink *request = message->body;
	const struct wire_show *show = message->body;
	const struct wire_publish *publish = message->body;
	const struct wire_wait *wait = message->body;
	const struct wire_explain *explain = message->body;
	const struct wire_keep *keep = message->body;

	switch (message->header.op) {
	case WIRE_CREATE:
		HOLDS(message->body_size == sizeof(*create));
		HOLDS(create->lifetime < WIRE_LIFETIMES && (create->mode & ~0777u) == 0);
		HOLDS((create->flags & ~WIRE_CREATE_FLAGS) == 0);
		HOLDS(text_is_padded(create->name, sizeof(create->name)));
		break;
	case WIRE_ATTACH:
		HOLDS(message->body_size == sizeof(*attach));
		HOLDS((attach->flags & ~WIRE_ATTACH_FLAGS) == 0);
		HOLDS(text_is_padded(attach->name, sizeof(attach->name)));
		HOLDS(!attach->id || !attach->name[0]);
		HOLDS(attach->id || !(attach->flags & WIRE_POSIX));
		break;
	case WIRE_OPEN:
		HOLDS(message->body_size == sizeof(*open));
		HOLDS((open->flags & ~WIRE_OPEN_FLAGS) == 0 && (open->mode & ~07777u) == 0);
		HOLDS((open->flags & WIRE_OPEN_ACCESS) <= WIRE_OPEN_BOTH);
		HOLDS(open->lifetime < WIRE_LIFETIMES);
		HOLDS(text_is_padded(open->name, sizeof(open->name)));
		break;
	case WIRE_UNLINK:
		HOLDS(message->body_size == sizeof(*request));
		HOLDS(text_is_padded(request->name, sizeof(request->name)));
		HOLDS(!request->id || !request->name[0]);
		break;
	case WIRE_KEEP:
		HOLDS(message->body_size == sizeof(*keep) && keep->id);
		break;
	case WIRE_PUBLISH:
		HOLDS(message->body_size == sizeof(*publish));
		HOLDS((publish->flags & ~WIRE_WRITABLE) == 0);
		HOLDS(text_is_padded(publish->name, sizeof(publish->name)));
		break;
	case WIRE_WAIT:
		HOLDS(message->body_size == sizeof(*wait));
		HOLDS((wait->flags & ~WIRE_WAIT_FLAGS) == 0);
		HOLDS(text_is_padded(wait->name, sizeof(wait->name)));
		break;
	case WIRE_SUBSCRIBE:
		HOLDS(message->body_size == sizeof(struct wire_subscribe));
		HOLDS(text_is_padded(message->body, WIRE_NAME_SIZE));
		break;
	case WIRE_EXPLAIN:
		HOLDS(message->body_size == sizeof(*explain));
		HOLDS(text_is_padded(explain->name, sizeof(explain->name)));
		break;
	case WIRE_SHOW:
	case WIRE_HOLDERS:
		HOLDS(message->body_size == sizeof(*show));
		HOLDS(text_is_padded(show->name, sizeof(show->name)));
		break;
	default:
		break;
	}
}

static void check_requests(const char *packet, size_t size)
{
	struct packet_message requests[WIRE_BATCH_MAX];
	const char *why = NULL;
	size_t offset = 0;
	int n = packet_check_requests(packet, size, requests, &why);

	if (n < 0) {
		HOLDS(n == -EBADMSG && why && why[0]);
		return;
	}
	HOLDS(n >= 1 && n <= (int)WIRE_BATCH_MAX);
	for (int i = 0; i < n; i++) {
		check_message(&requests[i], packet, size, offset);
		check_body(&requests[i]);
		HOLDS(strcmp(packet_op_name(requests[i].header.op), "unknown") != 0);
		offset += requests[i].header.size;
	}
	HOLDS(offset == size);
}

static void check_replies(const char *packet, size_t size)
{
	struct packet_message message;
	size_t offset = 0, before = 0;
	int r;

	while ((r = packet_next_reply(packet, size, &offset, &message)) == 1) {
		check_message(&message, packet, size, before);
		HOLDS(offset == before + message.header.size && offset <= size);
		before = offset;
	}
	HOLDS(r == 0 ? offset == size : r == -EBADMSG && offset == before);
}

/* --- writing ---------------------------------------------------------------------------------- */

/* An error of any text is a message of its own, and what has no room is not written. */
static void check_writer(const char *packet, size_t size)
{
	union {
		uint64_t align;
		char bytes[sizeof(struct wire_header) + sizeof(struct wire_error) + 8];
	} room;
	struct packet_writer writer;
	struct packet_message message;
	size_t offset = 0, n = size < 600 ? size : 600;
	_cleanup_free_ char *text = strndup(packet, n);

	HOLDS(text);
	packet_writer_init(&writer, &room, sizeof(room));
	packet_put_error(&writer, WIRE_ATTACH, (uint32_t)size, WIRE_DENIED, text);
	HOLDS(packet_op(&writer) == WIRE_ATTACH && packet_number(&writer) == (uint32_t)size);
	HOLDS(!packet_append(&writer, sizeof(room) - writer.size + 1));
	HOLDS(packet_next_reply(&room, writer.size, &offset, &message) == 1);
	HOLDS(message.header.code == WIRE_DENIED && message.body_size == sizeof(struct wire_error));
	HOLDS(text_is_padded(message.body, WIRE_TEXT_SIZE));
	HOLDS(strncmp(message.body, text, WIRE_TEXT_SIZE - 1) == 0);
	HOLDS(packet_next_reply(&room, writer.size, &offset, &message) == 0);
	packet_drop(&writer);
	HOLDS(writer.size == 0);
}

/* --- on the way ------------------------------------------------------------------------------- */

static int sockets[2];

typedef ssize_t receive_fn(int socket, void *bytes, size_t room,
			   int fds[static WIRE_DESCRIPTORS_MAX], size_t *ret_n_fds,
			   int *ret_truncated);

static receive_fn *const receivers[] = {channel_receive, channel_receive_interruptible,
					channel_receive_now};

static void send_packet(const void *packet, size_t size, unsigned n_fds)
{
	int fds[WIRE_DESCRIPTORS_MAX + 1];

	for (unsigned i = 0; i <= WIRE_DESCRIPTORS_MAX; i++)
		fds[i] = sockets[0];
	HOLDS(channel_send(sockets[0], packet, size, fds, WIRE_DESCRIPTORS_MAX + 1) == -EINVAL);
	HOLDS(channel_send(sockets[0], packet, size, fds, n_fds) == 0);
}

/* To the daemon: a packet with descriptors is none. */
static void check_plain(const char *packet, size_t size, unsigned n_fds, size_t room)
{
	_cleanup_free_ char *received = malloc(room + 1);

	HOLDS(received);
	send_packet(packet, size, n_fds);
	ssize_t n = channel_receive_plain(sockets[1], received, room);
	if (size > room)
		HOLDS(n == -EMSGSIZE);
	else if (n_fds > 0)
		HOLDS(n == -EPROTO);
	else
		HOLDS(n == (ssize_t)size && memcmp(received, packet, size) == 0);
}

/* So many descriptors there can be from now on; 0: as before. */
static void limit_descriptors(unsigned left)
{
	static struct rlimit usual;
	struct rlimit limit;

	if (usual.rlim_cur == 0)
		HOLDS(getrlimit(RLIMIT_NOFILE, &usual) == 0);
	limit = usual;
	if (left > 0) {
		int lowest = dup(STDERR_FILENO);
		HOLDS(lowest >= 0);
		close_fd(lowest);
		limit.rlim_cur = (rlim_t)lowest + left;
	}
	HOLDS(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

/* To a client, whose table of descriptors may be full. */
static void check_with_descriptors(const char *packet, size_t size, unsigned n_fds, size_t room,
				   receive_fn *receive, unsigned left)
{
	_cleanup_free_ char *received = malloc(room + 1);
	int fds[WIRE_DESCRIPTORS_MAX], truncated = -1;
	size_t n_received = SIZE_MAX;

	HOLDS(received);
	send_packet(packet, size, n_fds);
	limit_descriptors(left);
	ssize_t n = receive(sockets[1], received, room, fds, &n_received, &truncated);
	limit_descriptors(0);
	HOLDS(n == (size > room ? -EMSGSIZE : (ssize_t)size));
	HOLDS(n < 0 || memcmp(received, packet, size) == 0);
	HOLDS(n_received <= n_fds && truncated == (n_received < n_fds));
	HOLDS(!truncated || left > 0);
	for (size_t i = 0; i < n_received; i++) {
		HOLDS(fcntl(fds[i], F_GETFD) == FD_CLOEXEC);
		close_fd(fds[i]);
	}
}

static void check_full(const char *packet, size_t size)
{
	_cleanup_free_ char *received = malloc(size + 1);
	size_t n = 0;

	HOLDS(received);
	while (channel_send_now(sockets[0], packet, size) == 0)
		n++;
	HOLDS(n > 0 && errno == EAGAIN);
	for (; n > 0; n--)
		HOLDS(channel_receive_plain(sockets[1], received, size) == (ssize_t)size);
}

/* Of any number of descriptors, into any room. */
static void check_channel(const char *packet, size_t size)
{
	unsigned how = size > 0 ? (unsigned char)packet[size - 1] : 0;
	unsigned n_fds = how & 32 ? WIRE_DESCRIPTORS_MAX : how / 64;
	size_t room = how & 16 ? size / 2 : WIRE_PACKET_MAX, n_received;
	int fds[WIRE_DESCRIPTORS_MAX], truncated;

	if (how % 4 == 3)
		check_plain(packet, size, n_fds, room);
	else
		check_with_descriptors(packet, size, n_fds, room, receivers[how % 4], how / 4 % 4);
	if (how == 0 && size >= 4096)
		check_full(packet, size);
	HOLDS(channel_receive_now(sockets[1], NULL, 0, fds, &n_received, &truncated) == -EAGAIN);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	HOLDS(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	if (size > WIRE_PACKET_MAX)
		return 0;
	/* Of that very size, so that a byte read behind the end is found; aligned, as malloc does. */
	char *packet = malloc(size ? size : 1);

	if (!packet)
		return 0;
	if (size)
		memcpy(packet, bytes, size);
	check_requests(packet, size);
	check_replies(packet, size);
	check_writer(packet, size);
	check_channel(packet, size);
	free(packet);
	return 0;
}
