/* SPDX-License-Identifier: MIT */
#include "hostile_raw.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "hostile.h"
#include "wire/channel.h"

_Alignas(8) char raw_packet[WIRE_PACKET_MAX + 4096];
struct packet_writer raw_writer;
int raw_fd = -1;

int raw_connect(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	strcpy(address.sun_path, stage_daemon.socket);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* --- packets ---------------------------------------------------------------------------------- */

static uint32_t last_number;

void raw_begin(void)
{
	packet_writer_init(&raw_writer, raw_packet, sizeof(raw_packet));
}

void *raw_add(unsigned op, const void *body, size_t size)
{
	/* 0 is no request's. */
	if (++last_number == 0)
		last_number = 1;
	packet_begin(&raw_writer, op, last_number);
	void *p = packet_append(&raw_writer, size);
	memcpy(p, body, size);
	packet_end(&raw_writer, 0, 0);
	return p;
}

uint32_t raw_number(void)
{
	return last_number;
}

bool raw_send(int fd)
{
	return channel_send(fd, raw_packet, raw_writer.size, NULL, 0) == 0;
}

bool raw_send_now(int fd)
{
	return channel_send_now(fd, raw_packet, raw_writer.size) == 0;
}

static void note_message(const struct packet_message *message)
{
	const struct wire_error *error = message->body;

	if (message->header.op == WIRE_EVENTS || message->header.op == WIRE_HELLO)
		return;
	if (message->header.code == WIRE_OK)
		got(GOT_ACCEPTED);
	else
		got_refused(error->text);
}

static void note_packet(struct raw_reply *reply)
{
	struct packet_message message;
	size_t offset = 0;

	reply->code = ((const struct wire_header *)raw_packet)->code;
	while (packet_next_reply(raw_packet, (size_t)reply->size, &offset, &message) > 0)
		note_message(&message);
}

/* A connection that the daemon ended while requests were unread says so once, before its last word. */
ssize_t raw_receive_keeping(int fd, struct raw_reply *ret)
{
	int truncated;

	*ret = (struct raw_reply){0};
	ret->size = channel_receive(fd, raw_packet, sizeof(raw_packet), ret->fds, &ret->n_fds,
				    &truncated);
	if (ret->size == -ECONNRESET)
		ret->size = channel_receive(fd, raw_packet, sizeof(raw_packet), ret->fds,
					    &ret->n_fds, &truncated);
	if (ret->size <= 0) {
		got(GOT_ENDED);
		ret->size = 0;
		return 0;
	}
	note_packet(ret);
	return ret->size;
}

void raw_close_descriptors(struct raw_reply *reply)
{
	for (size_t i = 0; i < reply->n_fds; i++)
		close(reply->fds[i]);
	reply->n_fds = 0;
}

ssize_t raw_receive(int fd)
{
	struct raw_reply reply;

	raw_receive_keeping(fd, &reply);
	raw_close_descriptors(&reply);
	return reply.size;
}

const void *raw_body(ssize_t size, unsigned i)
{
	struct packet_message message;
	size_t offset = 0;

	do
		if (packet_next_reply(raw_packet, (size_t)size, &offset, &message) <= 0)
			return NULL;
	while (i-- > 0);
	return message.header.code == WIRE_OK ? message.body : NULL;
}

/* --- connections ------------------------------------------------------------------------------ */

bool raw_hello(int fd)
{
	struct wire_hello hello = {.version = WIRE_VERSION, .word_bits = 64};

	raw_begin();
	raw_add(WIRE_HELLO, &hello, sizeof(hello));
	if (!raw_send(fd)) {
		/* Perhaps it was told why not. */
		raw_receive(fd);
		return false;
	}
	return raw_receive(fd) > 0 && ((const struct wire_header *)raw_packet)->code == WIRE_OK;
}

int raw_client(void)
{
	int fd = raw_connect();

	if (fd < 0 || raw_hello(fd))
		return fd;
	close(fd);
	return -1;
}

bool raw_ready(void)
{
	if (raw_fd < 0)
		raw_fd = raw_client();
	return raw_fd >= 0;
}

void raw_end(void)
{
	if (raw_fd >= 0)
		close(raw_fd);
	raw_fd = -1;
}

static bool exchange_keeping(struct raw_reply *ret)
{
	const struct wire_header *header = (void *)raw_packet;

	*ret = (struct raw_reply){0};
	if (raw_fd < 0)
		return false;
	raw_send(raw_fd);
	if (raw_receive_keeping(raw_fd, ret) > 0 && header->op != 0)
		return true;
	/* Operation 0 is the daemon's last word. */
	if (ret->size > 0)
		got(GOT_ENDED);
	raw_end();
	return false;
}

bool raw_exchange(void)
{
	struct raw_reply reply;
	bool answered = exchange_keeping(&reply);

	raw_close_descriptors(&reply);
	return answered;
}

int raw_ask_keeping(unsigned op, const void *body, size_t size, struct raw_reply *ret)
{
	*ret = (struct raw_reply){0};
	if (!raw_ready())
		return -1;
	raw_begin();
	raw_add(op, body, size);
	return exchange_keeping(ret) ? (int)ret->code : -1;
}

int raw_ask(unsigned op, const void *body, size_t size)
{
	struct raw_reply reply;
	int code = raw_ask_keeping(op, body, size, &reply);

	raw_close_descriptors(&reply);
	return code;
}

struct wire_create raw_creation(const char *name)
{
	struct wire_create create = {.size = 4096, .mode = 0600, .permits = 1};

	strcpy(create.name, name);
	return create;
}
