/* SPDX-License-Identifier: MIT */
#include "libshmd/call.h"

#include <errno.h>
#include <pthread.h>
#include <stdalign.h>
#include <string.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "libshmd/connection.h"
#include "libshmd/error.h"
#include "wire/channel.h"
#include "wire/packet.h"

/* What a receive brought: a packet, or the end. */
struct arrival {
	ssize_t size; /* 0: the daemon closed the connection; negative: errno */
	int fds[WIRE_DESCRIPTORS_MAX];
	size_t n_fds;
	int lost_fds;
};

/* --- receiving, with the connection's mutex held ---------------------------------------------- */

static struct call *find_call(struct shmd *connection, uint32_t number)
{
	struct call *call;

	DL_SEARCH_SCALAR(connection->calls, call, number, number);
	return call;
}

static void finish(struct shmd *connection, struct call *call, int result)
{
	call->result = result;
	call->is_done = true;
	DL_DELETE(connection->calls, call);
}

/* Nobody will answer any more. */
static void break_off(struct shmd *connection, int why, const char *text)
{
	struct call *call, *next;

	connection->broken = why;
	DL_FOREACH_SAFE (connection->calls, call, next) {
		text_copy(call->text, sizeof(call->text), text);
		finish(connection, call, why);
	}
}

static void copy_text(struct call *call, const struct packet_message *message)
{
	struct wire_error error = {0};

	if (message->body_size == sizeof(error))
		memcpy(&error, message->body, sizeof(error));
	error.text[sizeof(error.text) - 1] = '\0';
	text_copy(call->text, sizeof(call->text), error.text);
}

/* Moves the reply into the call that waits for it. Descriptors that it takes are struck from the
 * arrival. */
static void deliver(struct shmd *connection, struct call *call,
		    const struct packet_message *message, struct arrival *arrival)
{
	if (message->header.code) {
		copy_text(call, message);
		finish(connection, call, error_of_code(message->header.code));
		return;
	}
	if (message->header.op != call->op || message->body_size > call->room ||
	    arrival->n_fds > CALL_FDS_MAX) {
		text_copy(call->text, sizeof(call->text), "the daemon's reply has another form");
		finish(connection, call, -EPROTO);
		return;
	}
	if (message->body_size > 0)
		memcpy(call->reply, message->body, message->body_size);
	call->size = message->body_size;
	call->n_fds = (unsigned)arrival->n_fds;
	memcpy(call->fds, arrival->fds, arrival->n_fds * sizeof(int));
	arrival->n_fds = 0;
	call->lost_fds = arrival->lost_fds;
	finish(connection, call, 0);
}

/* Each packet of ours has one request, so each of the daemon's has one reply. */
static void take_packet(struct shmd *connection, struct arrival *arrival)
{
	struct packet_message message;
	size_t offset = 0;

	if (packet_next_reply(connection->packet, (size_t)arrival->size, &offset, &message) != 1) {
		break_off(connection, -EPROTO, "the daemon's reply is malformed");
		return;
	}
	struct call *call = find_call(connection, message.header.number);
	if (call) {
		deliver(connection, call, &message, arrival);
	} else if (message.header.number == 0 && message.header.code) {
		struct call about = {0};
		copy_text(&about, &message);
		break_off(connection, error_of_code(message.header.code), about.text);
	}
}

static void take_arrival(struct shmd *connection, struct arrival *arrival)
{
	if (arrival->size > 0)
		take_packet(connection, arrival);
	else if (arrival->size == 0 || arrival->size == -ECONNRESET)
		break_off(connection, -ECONNRESET, "the daemon closed the connection");
	else
		break_off(connection, (int)arrival->size, "cannot receive from the daemon");
	for (size_t i = 0; i < arrival->n_fds; i++)
		close_fd(arrival->fds[i]);
}

/* Receives one packet for whoever it is for; the mutex is open meanwhile. */
static void receive_for_all(struct shmd *connection)
{
	struct arrival arrival;

	connection->is_read = true;
	pthread_mutex_unlock(&connection->mutex);
	/* A connection that was refused says reset first, and only then why. */
	for (int tries = 0; tries < 2; tries++) {
		arrival.size = channel_receive(connection->socket, connection->packet,
					       WIRE_PACKET_MAX, arrival.fds, &arrival.n_fds,
					       &arrival.lost_fds);
		if (arrival.size != -ECONNRESET)
			break;
	}
	pthread_mutex_lock(&connection->mutex);
	connection->is_read = false;
	take_arrival(connection, &arrival);
	pthread_cond_broadcast(&connection->changed);
}

/* --- the call --------------------------------------------------------------------------------- */

static int begin(struct shmd *connection, struct call *call)
{
	int r = connection->broken;

	if (r < 0)
		return error_set(r, "the connection to the daemon is gone");
	/* Number 0 is the daemon's, for what is about the connection. */
	if (++connection->last_number == 0)
		connection->last_number = 1;
	call->number = connection->last_number;
	DL_APPEND(connection->calls, call);
	return 0;
}

static int send_request(const struct shmd *connection, const struct call *call)
{
	alignas(8) char packet[1024];
	struct packet_writer writer;

	packet_writer_init(&writer, packet, sizeof(packet));
	packet_begin(&writer, call->op, call->number);
	if (call->body_size > 0)
		memcpy(packet_append(&writer, call->body_size), call->body, call->body_size);
	packet_end(&writer, 0, 0);
	return channel_send(connection->socket, packet, writer.size, NULL, 0);
}

static void wait_for_reply(struct shmd *connection, struct call *call)
{
	while (!call->is_done) {
		if (connection->is_read)
			pthread_cond_wait(&connection->changed, &connection->mutex);
		else
			receive_for_all(connection);
	}
}

static int check_result(struct call *call)
{
	if (call->result < 0)
		return error_set(call->result, "%s", call->text);
	if (!call->lost_fds)
		return 0;
	call_close(call);
	return error_set(-EMFILE, "this process has no descriptor left (RLIMIT_NOFILE)");
}

/* A peer that is gone left word of why to be received; with any other failure nothing will come. */
static void abandon_unsent(struct shmd *connection, struct call *call, int r)
{
	if (r == 0 || r == -EPIPE || r == -ECONNRESET || r == -ENOTCONN || call->is_done)
		return;
	text_copy(call->text, sizeof(call->text), "cannot send to the daemon");
	finish(connection, call, r);
}

static int exchange(struct shmd *connection, struct call *call)
{
	pthread_mutex_lock(&connection->mutex);
	int r = begin(connection, call);
	pthread_mutex_unlock(&connection->mutex);
	if (r < 0)
		return r;
	r = send_request(connection, call);
	pthread_mutex_lock(&connection->mutex);
	abandon_unsent(connection, call, r);
	wait_for_reply(connection, call);
	pthread_mutex_unlock(&connection->mutex);
	return check_result(call);
}

int call_perform(struct shmd *connection, struct call *call)
{
	/* A thread that were cancelled in here would leave the others without a reader. */
	int before = cancellation_off();
	int r = exchange(connection, call);

	cancellation_restore(before);
	return r;
}

int call_fd(const struct call *call, unsigned which)
{
	return which < call->n_fds ? call->fds[which] : -1;
}

void call_close(struct call *call)
{
	for (unsigned i = 0; i < call->n_fds; i++)
		call->fds[i] = close_fd(call->fds[i]);
	call->n_fds = 0;
}
