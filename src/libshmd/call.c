/* SPDX-License-Identifier: MIT */
#include "libshmd/call.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdalign.h>
#include <string.h>
#include <time.h>
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
	if (call->notice)
		notices_take_answer(&connection->notices, call->notice);
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

/* Returns 0, or -EBADMSG. */
static int take_message(struct shmd *connection, const struct packet_message *message,
			struct arrival *arrival)
{
	const struct wire_header *header = &message->header;

	/* Events may come before the reply to their subscription has been looked at. */
	if (header->op == WIRE_EVENTS && !header->code)
		return notices_take_events(&connection->notices, header->number, message->body,
					   message->body_size);
	struct call *call = find_call(connection, header->number);
	if (call) {
		deliver(connection, call, message, arrival);
	} else if (header->number == 0 && header->code) {
		struct call about = {0};
		copy_text(&about, message);
		break_off(connection, error_of_code(header->code), about.text);
	}
	return 0;
}

/* Each packet of ours has one request, so each of the daemon's has one reply. */
static void take_packet(struct shmd *connection, struct arrival *arrival)
{
	struct packet_message message;
	size_t offset = 0;

	if (packet_next_reply(connection->packet, (size_t)arrival->size, &offset, &message) != 1 ||
	    take_message(connection, &message, arrival) < 0)
		break_off(connection, -EPROTO, "the daemon's reply is malformed");
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
	connection_update_loop(connection);
}

typedef ssize_t receive_fn(int socket, void *bytes, size_t room,
			   int fds[static WIRE_DESCRIPTORS_MAX], size_t *ret_n_fds,
			   int *ret_truncated);

/* A connection that was refused says reset first, and only then why. */
static void receive(const struct shmd *connection, receive_fn *receive_packet,
		    struct arrival *arrival)
{
	for (int tries = 0; tries < 2; tries++) {
		arrival->size = receive_packet(connection->socket, connection->packet,
					       WIRE_PACKET_MAX, arrival->fds, &arrival->n_fds,
					       &arrival->lost_fds);
		if (arrival->size != -ECONNRESET)
			break;
	}
}

/* Receives one packet for whoever it is for; the mutex is open meanwhile. Returns 0, or -EINTR where
 * receive_packet does. */
static int receive_for_all(struct shmd *connection, receive_fn *receive_packet)
{
	struct arrival arrival;

	connection->is_read = true;
	pthread_mutex_unlock(&connection->mutex);
	receive(connection, receive_packet, &arrival);
	pthread_mutex_lock(&connection->mutex);
	connection->is_read = false;
	if (arrival.size != -EINTR)
		take_arrival(connection, &arrival);
	/* Somebody else has to read now, or finds that its reply has come. */
	pthread_cond_broadcast(&connection->changed);
	return arrival.size == -EINTR ? -EINTR : 0;
}

/* Returns whether there was a packet, or the end. Nobody else may be receiving. */
static bool receive_one_now(struct shmd *connection)
{
	struct arrival arrival;

	receive(connection, channel_receive_now, &arrival);
	if (arrival.size == -EAGAIN)
		return false;
	take_arrival(connection, &arrival);
	pthread_cond_broadcast(&connection->changed);
	return true;
}

/* What stays in the socket is not lost: a daemon that cannot send keeps count, and knows the place. */
void call_receive_now(struct shmd *connection, unsigned packets_max)
{
	while (packets_max-- > 0 && !connection->is_read && connection->broken == 0 &&
	       notices_have_room(&connection->notices) && receive_one_now(connection))
		;
}

/* --- sending ---------------------------------------------------------------------------------- */

/* Another thread that receives may stop, and does not say so to those who send. */
#define LOOK_AGAIN_MS 10

/* Packets that are taken in before sending is tried again. */
#define TAKEN_MAX 64

/* Waits for room as the thread that reads for all; the mutex is open meanwhile. */
static void read_until_writable(struct shmd *connection)
{
	struct pollfd ready = {.fd = connection->socket, .events = POLLIN | POLLOUT};

	connection->is_read = true;
	pthread_mutex_unlock(&connection->mutex);
	poll(&ready, 1, -1);
	pthread_mutex_lock(&connection->mutex);
	connection->is_read = false;
	/* Events that find no room are counted: better lost than that nothing moves. */
	for (int i = 0; i < TAKEN_MAX && connection->broken == 0; i++)
		if (!receive_one_now(connection))
			break;
	/* Somebody else has to read now. */
	pthread_cond_broadcast(&connection->changed);
}

static void wait_writable(struct shmd *connection)
{
	struct pollfd writable = {.fd = connection->socket, .events = POLLOUT};

	pthread_mutex_unlock(&connection->mutex);
	poll(&writable, 1, LOOK_AGAIN_MS);
	pthread_mutex_lock(&connection->mutex);
}

/* Returns 0, or why there will be no room any more. */
static int make_room(struct shmd *connection)
{
	pthread_mutex_lock(&connection->mutex);
	if (connection->broken == 0 && connection->is_read)
		wait_writable(connection);
	else if (connection->broken == 0)
		read_until_writable(connection);
	int r = connection->broken < 0 ? -ECONNRESET : 0;
	pthread_mutex_unlock(&connection->mutex);
	return r;
}

/* The daemon reads no requests while our socket is full of its replies: so those are taken in, as else
 * each would wait for the other. */
static int send_packet(struct shmd *connection, const void *packet, size_t size)
{
	int r = channel_send_now(connection->socket, packet, size);

	while (r == -EAGAIN) {
		r = make_room(connection);
		if (r == 0)
			r = channel_send_now(connection->socket, packet, size);
	}
	return r;
}

/* --- the call --------------------------------------------------------------------------------- */

/* Number 0 is the daemon's, for what is about the connection. Those of notices are told to programs as
 * an int, and may be in use for long. */
static uint32_t next_number(struct shmd *connection)
{
	do
		connection->last_number = connection->last_number % INT32_MAX + 1;
	while (find_call(connection, connection->last_number) ||
	       notices_find(&connection->notices, connection->last_number));
	return connection->last_number;
}

static int begin(struct shmd *connection, struct call *call)
{
	int r = connection->broken;

	if (r < 0)
		return error_set(r, "the connection to the daemon is gone");
	call->number = next_number(connection);
	DL_APPEND(connection->calls, call);
	if (call->notice)
		notices_add(&connection->notices, call->notice, call->number);
	return 0;
}

#define REQUEST_MAX 1024

/* Returns its size. */
static size_t write_request(const struct call *call, char packet[static REQUEST_MAX])
{
	struct packet_writer writer;

	packet_writer_init(&writer, packet, REQUEST_MAX);
	packet_begin(&writer, call->op, call->number);
	if (call->body_size > 0)
		memcpy(packet_append(&writer, call->body_size), call->body, call->body_size);
	packet_end(&writer, 0, 0);
	return writer.size;
}

static int send_request(struct shmd *connection, const struct call *call)
{
	alignas(8) char packet[REQUEST_MAX];
	size_t size = write_request(call, packet);

	return send_packet(connection, packet, size);
}

static void wait_for_reply(struct shmd *connection, struct call *call)
{
	while (!call->is_done) {
		if (connection->is_read)
			pthread_cond_wait(&connection->changed, &connection->mutex);
		else
			receive_for_all(connection, channel_receive);
	}
}

/* --- waiting with an end ---------------------------------------------------------------------- */

static struct timespec after_ms(int ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += ms % 1000 * 1000000L;
	if (t.tv_nsec >= 1000000000L) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000L;
	}
	return t;
}

/* What is left until then; never negative. */
static struct timespec left_until(const struct timespec *deadline)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	now.tv_sec = deadline->tv_sec - now.tv_sec;
	now.tv_nsec = deadline->tv_nsec - now.tv_nsec;
	if (now.tv_nsec < 0) {
		now.tv_sec--;
		now.tv_nsec += 1000000000L;
	}
	if (now.tv_sec < 0)
		now = (struct timespec){0};
	return now;
}

/* Waits as the thread that reads for all; the mutex is open meanwhile. 0: there is something to read. */
static int wait_readable(struct shmd *connection, const struct timespec *deadline)
{
	struct pollfd readable = {.fd = connection->socket, .events = POLLIN};

	connection->is_read = true;
	pthread_mutex_unlock(&connection->mutex);
	struct timespec left = left_until(deadline);
	int n = ppoll(&readable, 1, &left, NULL);
	int r = n > 0 ? 0 : n == 0 ? -ETIMEDOUT : -errno;
	pthread_mutex_lock(&connection->mutex);
	connection->is_read = false;
	if (r < 0)
		/* Somebody else has to read now. */
		pthread_cond_broadcast(&connection->changed);
	return r;
}

static int wait_for_turn(struct shmd *connection, const struct timespec *deadline)
{
	return deadline
		       ? -pthread_cond_timedwait(&connection->changed, &connection->mutex, deadline)
		       : -pthread_cond_wait(&connection->changed, &connection->mutex);
}

/* Without a deadline, one system call less. */
static int receive_until(struct shmd *connection, const struct timespec *deadline)
{
	if (!deadline)
		return receive_for_all(connection, channel_receive_interruptible);
	int r = wait_readable(connection, deadline);
	return r < 0 ? r : receive_for_all(connection, channel_receive);
}

static int wait_until(struct shmd *connection, struct call *call, const struct timespec *deadline)
{
	int r = 0;

	while (!call->is_done && r == 0)
		r = connection->is_read ? wait_for_turn(connection, deadline)
					: receive_until(connection, deadline);
	return call->is_done ? 0 : r;
}

int call_result(struct call *call)
{
	if (call->result < 0)
		return error_set(call->result, "%s", call->text);
	if (!call->lost_fds)
		return 0;
	call_close(call);
	return error_set(-EMFILE, "this process has no descriptor left (RLIMIT_NOFILE)");
}

static bool is_gone(int r)
{
	return r == -EPIPE || r == -ECONNRESET || r == -ENOTCONN;
}

/* A peer that is gone left word of why to be received; with any other failure nothing will come. */
static void abandon_unsent(struct shmd *connection, struct call *call, int r)
{
	if (r == 0 || is_gone(r) || call->is_done)
		return;
	text_copy(call->text, sizeof(call->text), "cannot send to the daemon");
	finish(connection, call, r);
}

/* Sends it. Returns 0 with the mutex held, for the caller to wait and to unlock; or a negative errno. */
static int ask(struct shmd *connection, struct call *call)
{
	pthread_mutex_lock(&connection->mutex);
	int r = begin(connection, call);
	pthread_mutex_unlock(&connection->mutex);
	if (r < 0)
		return r;
	r = send_request(connection, call);
	pthread_mutex_lock(&connection->mutex);
	abandon_unsent(connection, call, r);
	return 0;
}

static int exchange(struct shmd *connection, struct call *call)
{
	int r = ask(connection, call);

	if (r < 0)
		return r;
	wait_for_reply(connection, call);
	pthread_mutex_unlock(&connection->mutex);
	return call_result(call);
}

/* Calls it off. The daemon answers in order: what it had answered before is here by then, and counts. */
static int call_off(struct shmd *connection, struct call *call, int why)
{
	struct wire_cancel cancel = {.number = call->number};
	struct call off = {.op = WIRE_CANCEL, .body = &cancel, .body_size = sizeof(cancel)};

	exchange(connection, &off);
	pthread_mutex_lock(&connection->mutex);
	if (!call->is_done)
		finish(connection, call, why);
	pthread_mutex_unlock(&connection->mutex);
	return call->result;
}

static int exchange_within(struct shmd *connection, struct call *call, int timeout_ms)
{
	struct timespec deadline = after_ms(timeout_ms < 0 ? 0 : timeout_ms);
	int r = ask(connection, call);

	if (r < 0)
		return r;
	r = wait_until(connection, call, timeout_ms < 0 ? NULL : &deadline);
	pthread_mutex_unlock(&connection->mutex);
	if (r < 0 && call_off(connection, call, r) == r)
		return r == -EINTR ? error_set(r, "a signal handler ran while waiting")
				   : error_set(r, "it did not happen within %d ms", timeout_ms);
	return call_result(call);
}

/* What was not sent, and nobody has been told of, is the caller's again. Else it is called back. */
static int take_back_unsent(struct shmd *connection, uint32_t number, int r)
{
	struct call *call = r < 0 ? find_call(connection, number) : NULL;

	if (!call)
		return 0;
	call_forget(connection, call);
	notices_remove(&connection->notices, call->notice);
	return is_gone(r) ? error_set(-ECONNRESET, "the connection to the daemon is gone")
			  : error_errno(r, "cannot send to the daemon");
}

int call_start(struct shmd *connection, struct call *call)
{
	alignas(8) char packet[REQUEST_MAX];
	size_t size = 0;
	uint32_t number = 0;

	pthread_mutex_lock(&connection->mutex);
	int r = begin(connection, call);
	if (r == 0) {
		size = write_request(call, packet);
		number = call->number;
	}
	pthread_mutex_unlock(&connection->mutex);
	if (r < 0)
		return r;
	/* From here on another thread may have called back for it, and freed it. */
	r = send_packet(connection, packet, size);
	pthread_mutex_lock(&connection->mutex);
	r = take_back_unsent(connection, number, r);
	connection_update_loop(connection);
	pthread_mutex_unlock(&connection->mutex);
	return r < 0 ? r : (int)number;
}

void call_forget(struct shmd *connection, struct call *call)
{
	if (!call->is_done)
		DL_DELETE(connection->calls, call);
}

int call_perform_within(struct shmd *connection, struct call *call, int timeout_ms)
{
	int before = cancellation_off();
	int r = exchange_within(connection, call, timeout_ms);

	cancellation_restore(before);
	return r;
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

int call_steal_last_fd(struct call *call)
{
	return call->n_fds > 0 ? call->fds[--call->n_fds] : -1;
}

int call_put_name(char field[static WIRE_NAME_SIZE], const char *name)
{
	if (!name)
		return error_set(-EINVAL, "the name is NULL");
	if (strlen(name) >= WIRE_NAME_SIZE)
		return error_set(-ENAMETOOLONG, "the name has %zu bytes; at most %d are allowed",
				 strlen(name), SHMD_NAME_MAX);
	text_copy(field, WIRE_NAME_SIZE, name);
	return 0;
}

void call_close(struct call *call)
{
	for (unsigned i = 0; i < call->n_fds; i++)
		call->fds[i] = close_fd(call->fds[i]);
	call->n_fds = 0;
}
