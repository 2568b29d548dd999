/* SPDX-License-Identifier: MIT */
#include "libshmd/call.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "libshmd/connection.h"
#include "libshmd/error.h"
#include "libshmd/line.h"
#include "wire/channel.h"
#include "wire/packet.h"

/* --- receiving, with the connection's mutex held ---------------------------------------------- */

struct call *call_find(const struct shmd *connection, uint32_t number)
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
	if (call->notice && !call->is_starting)
		notices_take_answer(&connection->notices, call->notice);
}

void call_finish(struct shmd *connection, struct call *call, int result, const char *text)
{
	if (result < 0)
		text_copy(call->text, sizeof(call->text), text);
	finish(connection, call, result);
}

/* Nobody will answer any more. What the daemon lets go of with the connection is let go of. */
static void fail_calls(struct shmd *connection, int why, const char *text)
{
	struct call *call, *next;

	text_copy(connection->why, sizeof(connection->why), text);
	DL_FOREACH_SAFE (connection->calls, call, next) {
		call->is_unanswered = true;
		call_finish(connection, call, call->op == WIRE_DETACH ? 0 : why, text);
	}
}

/* For good. */
static void break_off(struct shmd *connection, int why, const char *text)
{
	connection->broken = why;
	connection->is_final = true;
	fail_calls(connection, why, text);
}

/* The daemon has ended, perhaps to be followed by another. */
static void break_down(struct shmd *connection)
{
	connection->broken = -ECONNRESET;
	if (connection->is_ended)
		break_off(connection, -ENOTCONN, "the connection was ended by shmd_disconnect()");
}

static void copy_text(struct call *call, const struct packet_message *message)
{
	struct wire_error error = {0};

	if (message->body_size == sizeof(error))
		memcpy(&error, message->body, sizeof(error));
	error.text[sizeof(error.text) - 1] = '\0';
	text_copy(call->text, sizeof(call->text), error.text);
}

static bool is_for_reading(const struct call *call)
{
	uint32_t flags = 0;

	if (call->op == WIRE_ATTACH)
		flags = ((const struct wire_attach *)call->body)->flags;
	else if (call->op == WIRE_WAIT)
		flags = ((const struct wire_wait *)call->body)->flags;
	return flags & WIRE_READ_ONLY;
}

static bool is_grant(const struct call *call)
{
	return call->size == sizeof(struct wire_segment) &&
	       (call->op == WIRE_CREATE || call->op == WIRE_ATTACH || call->op == WIRE_WAIT);
}

/* It is in our books from now on, whenever its caller gets round to it. */
static void note_grant(struct shmd *connection, struct call *call)
{
	const struct wire_segment *granted = call->reply;

	call->session = connection->resume.session;
	if (holdings_add(&connection->holdings, granted->id, is_for_reading(call)) < 0)
		call->lost = -ENOMEM;
}

/* Not at the wish of the program, and so again with each daemon. */
static bool is_by_itself(const struct call *call)
{
	return call->notice && call->notice->is_renewed;
}

/* Moves the reply into the call that waits for it. Descriptors that it takes are struck from the
 * arrival. */
static void deliver(struct shmd *connection, struct call *call,
		    const struct packet_message *message, struct arrival *arrival)
{
	if (!is_by_itself(call))
		connection->resume.n_futile = 0;
	if (message->header.code) {
		copy_text(call, message);
		finish(connection, call, error_of_code(message->header.code));
		return;
	}
	if (message->header.op != call->op || message->body_size > call->room ||
	    arrival->n_fds > CALL_FDS_MAX) {
		call_finish(connection, call, -EPROTO, "the daemon's reply has another form");
		return;
	}
	if (message->body_size > 0)
		memcpy(call->reply, message->body, message->body_size);
	call->size = message->body_size;
	call->n_fds = (unsigned)arrival->n_fds;
	memcpy(call->fds, arrival->fds, arrival->n_fds * sizeof(int));
	arrival->n_fds = 0;
	call->lost = arrival->lost_fds ? -EMFILE : 0;
	if (is_grant(call))
		note_grant(connection, call);
	finish(connection, call, 0);
}

void call_take_reply(struct shmd *connection, const struct packet_message *message,
		     struct arrival *arrival)
{
	struct call *call = call_find(connection, message->header.number);

	if (call)
		deliver(connection, call, message, arrival);
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
	if (header->number == 0 && header->code) {
		struct call about = {0};
		copy_text(&about, message);
		break_off(connection, error_of_code(header->code), about.text);
	}
	call_take_reply(connection, message, arrival);
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
		break_down(connection);
	else
		break_off(connection, (int)arrival->size, "cannot receive from the daemon");
	arrival_close(arrival);
	connection_update_loop(connection);
}

/* Receives one packet for whoever it is for; the mutex is open meanwhile. Returns 0, or -EINTR where
 * receive_packet does. */
static int receive_for_all(struct shmd *connection, line_receive_fn *receive_packet)
{
	struct arrival arrival;

	connection->is_read = true;
	pthread_mutex_unlock(&connection->mutex);
	line_receive(connection->socket, connection->packet, receive_packet, &arrival);
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

	line_receive(connection->socket, connection->packet, channel_receive_now, &arrival);
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

/* The daemon reads no requests while our socket is full of its replies: so those are taken in, as else
 * each would wait for the other. */
static void make_room(struct shmd *connection)
{
	if (connection->is_read)
		wait_writable(connection);
	else
		read_until_writable(connection);
}

#define REQUEST_MAX 1024

static int send_request(const struct shmd *connection, const struct call *call)
{
	alignas(8) char packet[REQUEST_MAX];
	struct packet_writer writer;

	packet_writer_init(&writer, packet, sizeof(packet));
	packet_begin(&writer, call->op, call->number);
	if (call->body_size > 0)
		memcpy(packet_append(&writer, call->body_size), call->body, call->body_size);
	packet_end(&writer, 0, 0);
	return channel_send_now(connection->socket, packet, writer.size);
}

static bool is_gone(int r)
{
	return r == -EPIPE || r == -ECONNRESET || r == -ECONNREFUSED || r == -ENOTCONN;
}

/* The daemon is gone, and left word of why to be received, or replies. */
static void take_in_last(struct shmd *connection)
{
	if (connection->is_read)
		pthread_cond_wait(&connection->changed, &connection->mutex);
	else if (!receive_one_now(connection))
		break_down(connection);
}

/* Those that have been sent come first in the list. */
static struct call *first_unsent(struct shmd *connection)
{
	struct call *call = connection->calls ? connection->calls->prev : NULL;

	if (!call || call->is_sent)
		return NULL;
	while (call != connection->calls && !call->prev->is_sent)
		call = call->prev;
	return call;
}

static void send_first(struct shmd *connection)
{
	struct call *call = first_unsent(connection);
	int r = send_request(connection, call);

	call->is_sent = r == 0;
	if (r == -EAGAIN)
		make_room(connection);
	else if (is_gone(r))
		take_in_last(connection);
	else if (r < 0)
		call_finish(connection, call, r, "cannot send to the daemon");
}

/* Sends the calls that have not been sent, up to that one, with the mutex held, which may be opened
 * meanwhile. Whoever mends the connection sends it, too. */
static void send_up_to(struct shmd *connection, const struct call *call)
{
	while (connection->broken == 0 && !call->is_done && !call->is_sent)
		send_first(connection);
}

/* --- mending ---------------------------------------------------------------------------------- */

static int mend(struct shmd *connection, int patience_ms)
{
	int r = -ECONNRESET;

	/* One daemon may end after the other. */
	while (r == -ECONNRESET && !connection->is_ended) {
		if (resume_is_futile(&connection->resume))
			return error_set(r, "it ends whenever it is asked, without an answer");
		r = resume_once(connection, patience_ms);
	}
	return r;
}

static int fail_mending(struct shmd *connection)
{
	char text[WIRE_TEXT_SIZE];

	if (connection->is_ended)
		return break_down(connection), -ECONNRESET;
	snprintf(text, sizeof(text), "the daemon has ended, and nobody takes its place: %.400s",
		 shmd_error_message());
	connection->resume.n_futile = 0;
	fail_calls(connection, -ECONNRESET, text);
	return -ECONNRESET;
}

static void send_again(struct shmd *connection)
{
	while (connection->broken == 0 && first_unsent(connection))
		send_first(connection);
}

int call_mend(struct shmd *connection, int patience_ms)
{
	connection->is_read = true;
	int r = mend(connection, patience_ms);
	connection->is_read = false;
	if (r < 0 && r != -EAGAIN)
		r = fail_mending(connection);
	/* Somebody else may have to mend now. */
	pthread_cond_broadcast(&connection->changed);
	if (r == 0)
		send_again(connection);
	connection_update_loop(connection);
	return r;
}

/* --- the call --------------------------------------------------------------------------------- */

/* Number 0 is the daemon's, for what is about the connection. Those of notices are told to programs as
 * an int, and may be in use for long. */
static uint32_t next_number(struct shmd *connection)
{
	do
		connection->last_number = connection->last_number % INT32_MAX + 1;
	while (call_find(connection, connection->last_number) ||
	       notices_find(&connection->notices, connection->last_number));
	return connection->last_number;
}

/* What is about to be let go of is not confirmed to the next daemon. */
static void note_detach(struct shmd *connection, const struct wire_detach *detach)
{
	holdings_remove(&connection->holdings, detach->id, detach->flags & WIRE_READ_ONLY);
}

static int begin(struct shmd *connection, struct call *call)
{
	if (connection->is_final)
		return error_set(connection->broken, "the connection to the daemon is gone: %s",
				 connection->why);
	int r = resume_check_session(&connection->resume, call->needs_session);
	if (r < 0)
		return r;
	call->number = next_number(connection);
	DL_APPEND(connection->calls, call);
	if (call->notice)
		notices_add(&connection->notices, call->notice, call->number);
	if (call->op == WIRE_DETACH)
		note_detach(connection, call->body);
	return 0;
}

static void wait_for_reply(struct shmd *connection, struct call *call)
{
	while (!call->is_done) {
		if (connection->is_read)
			pthread_cond_wait(&connection->changed, &connection->mutex);
		else if (connection->broken < 0)
			call_mend(connection, -1);
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

static int milliseconds(const struct timespec *t)
{
	return t->tv_sec < INT_MAX / 1000 ? (int)(t->tv_sec * 1000 + t->tv_nsec / 1000000)
					  : INT_MAX;
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

/* Each step of it has the patience that is left. */
static int mend_until(struct shmd *connection, const struct timespec *deadline)
{
	struct timespec left = deadline ? left_until(deadline) : (struct timespec){0};
	int r = call_mend(connection, deadline ? milliseconds(&left) : -1);

	return r == -EAGAIN ? -ETIMEDOUT : 0;
}

static int wait_until(struct shmd *connection, struct call *call, const struct timespec *deadline)
{
	int r = 0;

	while (!call->is_done && r == 0) {
		if (connection->is_read)
			r = wait_for_turn(connection, deadline);
		else if (connection->broken < 0)
			r = mend_until(connection, deadline);
		else
			r = receive_until(connection, deadline);
	}
	return call->is_done ? 0 : r;
}

int call_result(struct call *call)
{
	if (call->result < 0)
		return error_set(call->result, "%s", call->text);
	if (!call->lost)
		return 0;
	call_close(call);
	return call->lost == -EMFILE
		       ? error_set(-EMFILE, "this process has no descriptor left (RLIMIT_NOFILE)")
		       : error_errno(call->lost, "cannot note what is attached");
}

/* Sends it. Returns 0 with the mutex held, for the caller to wait and to unlock; or a negative errno. */
static int ask(struct shmd *connection, struct call *call)
{
	pthread_mutex_lock(&connection->mutex);
	int r = begin(connection, call);
	if (r < 0)
		pthread_mutex_unlock(&connection->mutex);
	else
		send_up_to(connection, call);
	return r;
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

/* A call that no daemon has heard of, as the connection is broken, is just dropped. */
static bool drop(struct shmd *connection, struct call *call, int why)
{
	pthread_mutex_lock(&connection->mutex);
	bool is_broken = connection->broken < 0;
	if (is_broken && !call->is_done)
		finish(connection, call, why);
	pthread_mutex_unlock(&connection->mutex);
	return is_broken;
}

/* Calls it off. The daemon answers in order: what it had answered before is here by then, and counts. */
static int call_off(struct shmd *connection, struct call *call, int why)
{
	struct wire_cancel cancel = {.number = call->number};
	struct call off = {.op = WIRE_CANCEL, .body = &cancel, .body_size = sizeof(cancel)};

	if (drop(connection, call, why))
		return call->result;
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

/* Until it was sent once, or is done. */
static void wait_until_sent(struct shmd *connection, struct call *call)
{
	send_up_to(connection, call);
	while (!call->is_done && !call->is_sent) {
		if (connection->broken == 0)
			send_up_to(connection, call);
		else if (connection->is_read)
			pthread_cond_wait(&connection->changed, &connection->mutex);
		else
			call_mend(connection, -1);
	}
}

/* What was not sent, and nobody has been told of, is the caller's again. Else it is called back. */
static int end_start(struct shmd *connection, struct call *call)
{
	int r = (int)call->number;

	call->is_starting = false;
	if (call->is_done && (call->is_unanswered || !call->is_sent)) {
		notices_remove(&connection->notices, call->notice);
		return call_result(call);
	}
	if (call->is_done)
		notices_take_answer(&connection->notices, call->notice);
	return r;
}

int call_start(struct shmd *connection, struct call *call)
{
	pthread_mutex_lock(&connection->mutex);
	call->is_starting = true;
	int r = begin(connection, call);
	if (r == 0) {
		wait_until_sent(connection, call);
		r = end_start(connection, call);
		connection_update_loop(connection);
	}
	pthread_mutex_unlock(&connection->mutex);
	return r;
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

	connection_look_after_socket(connection);
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
