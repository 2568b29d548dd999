/* SPDX-License-Identifier: MIT */
#include "libshmd/line.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "libshmd/error.h"
#include "wire/channel.h"

/* Calls have positive numbers of an int. */
#define NOT_OF_CALLS 0x80000000u

/* --- packets ---------------------------------------------------------------------------------- */

/* A daemon that ended with requests unread, or that refused us, says reset first, and only then what it had
 * sent. */
void line_receive(int socket, void *packet, line_receive_fn *receive, struct arrival *ret)
{
	for (int tries = 0; tries < 2; tries++) {
		ret->size = receive(socket, packet, WIRE_PACKET_MAX, ret->fds, &ret->n_fds,
				    &ret->lost_fds);
		if (ret->size != -ECONNRESET)
			break;
	}
}

void arrival_close(struct arrival *arrival)
{
	for (size_t i = 0; i < arrival->n_fds; i++)
		close_fd(arrival->fds[i]);
	arrival->n_fds = 0;
}

/* --- opening ---------------------------------------------------------------------------------- */

void line_set_patience(struct line *line, int ms)
{
	line->patience_end = ms < 0 ? 0
				    : clock_monotonic_ns() +
					      (uint64_t)(ms > 0 ? ms : 1) * NSEC_PER_MSEC;
}

/* What is left of it; at least a little, as zero would be no end. */
static uint64_t patience_left(const struct line *line)
{
	uint64_t now = clock_monotonic_ns();

	return now + NSEC_PER_USEC < line->patience_end ? line->patience_end - now : NSEC_PER_USEC;
}

/* Connecting waits for room in the daemon's queue as sending does; and with an end, signals end it. */
static void set_send_timeout(struct line *line)
{
	uint64_t left = line->patience_end ? patience_left(line) : 0;
	struct timeval t = {.tv_sec = (time_t)(left / NSEC_PER_SEC),
			    .tv_usec = (suseconds_t)(left % NSEC_PER_SEC / NSEC_PER_USEC)};

	setsockopt(*line->socket, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

static int connect_patiently(struct line *line, const struct sockaddr_un *address)
{
	int r;

	do {
		if (line->patience_end)
			set_send_timeout(line);
		r = connect(*line->socket, (const struct sockaddr *)address, sizeof(*address));
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

int line_make_socket(int lowest, int *ret)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return error_errno(-errno, "cannot make a socket");
	*ret = lowest > fd ? fcntl(fd, F_DUPFD_CLOEXEC, lowest) : -1;
	if (*ret >= 0)
		close_fd(fd);
	else
		*ret = fd;
	return 0;
}

int line_connect(struct line *line, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char buffer[128];

	text_copy(address.sun_path, sizeof(address.sun_path), path);
	int r = connect_patiently(line, &address);
	if (r == 0)
		return 0;
	return error_set(r, "cannot connect to %s: %s", path,
			 strerror_r(-r, buffer, sizeof(buffer)));
}

void line_be_patient(struct line *line)
{
	line_set_patience(line, -1);
	set_send_timeout(line);
}

/* --- asking ----------------------------------------------------------------------------------- */

void line_begin(struct line *line, struct packet_writer *ret)
{
	packet_writer_init(ret, line->packet, WIRE_PACKET_MAX);
}

void line_put(struct line *line, struct packet_writer *writer, unsigned op, const void *body,
	      size_t body_size)
{
	line->number = (line->number + 1) | NOT_OF_CALLS;
	packet_begin(writer, op, line->number);
	if (body_size > 0)
		memcpy(packet_append(writer, body_size), body, body_size);
	packet_end(writer, 0, 0);
}

static int say_end(ssize_t size)
{
	if (size == 0 || size == -ECONNRESET)
		return error_set(-ECONNRESET, "the daemon closed the connection");
	if (size == -EAGAIN)
		return error_set(-EAGAIN, "the daemon has not answered in time");
	return error_errno((int)size, "cannot receive from the daemon");
}

/* Returns 0: there is something to receive; or a negative errno. */
static int wait_patiently(const struct line *line)
{
	struct pollfd readable = {.fd = *line->socket, .events = POLLIN};
	struct timespec t;
	uint64_t left;
	int n;

	if (!line->patience_end)
		return 0;
	do {
		left = patience_left(line);
		t = (struct timespec){.tv_sec = (time_t)(left / NSEC_PER_SEC),
				      .tv_nsec = (long)(left % NSEC_PER_SEC)};
		n = ppoll(&readable, 1, &t, NULL);
	} while (n < 0 && errno == EINTR);
	return n > 0 ? 0 : n == 0 ? -EAGAIN : -errno;
}

static int receive_reply(struct line *line, struct arrival *ret)
{
	int r = wait_patiently(line);

	if (r < 0)
		return say_end(r);
	line_receive(*line->socket, line->packet, channel_receive, ret);
	if (ret->size > 0)
		return 0;
	/* An empty packet, or one that is too long, may bring some, too. */
	arrival_close(ret);
	return say_end(ret->size);
}

/* A peer that is gone left word of why to be received. */
int line_exchange(struct line *line, const struct packet_writer *writer, struct arrival *ret)
{
	int r = channel_send(*line->socket, line->packet, writer->size, NULL, 0);

	return r == -EAGAIN ? say_end(r) : receive_reply(line, ret);
}

static int refusal(const struct packet_message *message)
{
	struct wire_error error = {0};

	if (message->body_size == sizeof(error))
		memcpy(&error, message->body, sizeof(error));
	error.text[sizeof(error.text) - 1] = '\0';
	return error_set(error_of_code(message->header.code), "%s", error.text);
}

int line_take_reply(struct line *line, const struct arrival *arrival, unsigned op,
		    struct packet_message *ret)
{
	size_t offset = 0;

	if (packet_next_reply(line->packet, (size_t)arrival->size, &offset, ret) != 1)
		return error_set(-EPROTO, "the daemon's reply is malformed");
	if (ret->header.code)
		return refusal(ret);
	if (ret->header.op != op || ret->header.number != line->number)
		return error_set(-EPROTO, "the daemon's reply has another form");
	return 0;
}

static int take_body(struct line *line, struct arrival *arrival, unsigned op, void *reply,
		     size_t reply_size)
{
	struct packet_message message;

	arrival_close(arrival);
	int r = line_take_reply(line, arrival, op, &message);
	if (r == 0 && message.body_size != reply_size)
		r = error_set(-EPROTO, "the daemon's reply has another form");
	if (r == 0 && reply_size > 0)
		memcpy(reply, message.body, reply_size);
	return r;
}

int line_ask(struct line *line, unsigned op, const void *body, size_t body_size, void *reply,
	     size_t reply_size)
{
	struct packet_writer writer;
	struct arrival arrival;

	line_begin(line, &writer);
	line_put(line, &writer, op, body, body_size);
	int r = line_exchange(line, &writer, &arrival);
	return r < 0 ? r : take_body(line, &arrival, op, reply, reply_size);
}

/* --- the first words -------------------------------------------------------------------------- */

#define HELLO_NUMBER (NOT_OF_CALLS + 1)

int line_say_hello(struct line *line)
{
	struct wire_hello hello = {.version = WIRE_VERSION, .word_bits = 8 * sizeof(void *)};
	struct packet_writer writer;

	line->number = HELLO_NUMBER - 1;
	line_begin(line, &writer);
	line_put(line, &writer, WIRE_HELLO, &hello, sizeof(hello));
	int r = channel_send(*line->socket, line->packet, writer.size, NULL, 0);
	return r == -EAGAIN ? say_end(r) : 0;
}

int line_hear_welcome(struct line *line, struct wire_welcome *ret)
{
	struct arrival arrival;

	line->number = HELLO_NUMBER;
	int r = receive_reply(line, &arrival);
	return r < 0 ? r : take_body(line, &arrival, WIRE_HELLO, ret, sizeof(*ret));
}
