/* SPDX-License-Identifier: MIT */
#include "libshmd/resume.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "libshmd/connection.h"
#include "libshmd/error.h"
#include "libshmd/line.h"

/* Daemons that end one after the other with nothing answered: what we ask may be what ends them. */
#define FUTILE_MAX 4

/* One that lived for so long did not end by us. */
#define LIVED_S 1

/* For a daemon that is told of nothing but our end. */
#define END_PATIENCE_MS 1000

/* --- who we are ------------------------------------------------------------------------------- */

void resume_init(struct resume *resume)
{
	resume->fresh = -1;
	resume->is_greeted = false;
	resume->who.token = 0;
	resume->n_futile = 0;
}

void resume_take_welcome(struct resume *resume, const struct wire_welcome *welcome)
{
	resume->who = (struct wire_resume){.client = welcome->client, .token = welcome->token};
}

int resume_check_session(const struct resume *resume, unsigned session)
{
	if (session == 0 || session == resume->session)
		return 0;
	return error_set(-ESTALE,
			 "the daemon that knew of this segment has ended, and the one that there "
			 "is now does not: create or attach it anew");
}

static bool has_lived(const struct resume *resume)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec - resume->since.tv_sec > LIVED_S;
}

bool resume_is_futile(const struct resume *resume)
{
	return resume->n_futile >= FUTILE_MAX && !has_lived(resume);
}

/* --- a daemon that knows us ------------------------------------------------------------------- */

static bool is_unknown(int r)
{
	return r == -ENOENT || r == -EACCES || r == -EINVAL || r == -ENOTSUP;
}

/* A connection that was resumed is the former one, also to the daemon after the next. Returns 1; 0: we are
 * not known; or a negative errno. */
static int ask_resume(const struct resume *resume, struct line *line, struct wire_resumed *ret)
{
	if (!resume->who.token)
		return 0;
	int r = line_ask(line, WIRE_RESUME, &resume->who, sizeof(resume->who), ret, sizeof(*ret));
	if (r == 0)
		return 1;
	return is_unknown(r) ? 0 : r;
}

static struct call *find_done(const struct shmd *connection, const struct wire_resumed *done)
{
	struct call *call = done->number ? call_find(connection, done->number) : NULL;

	return call && call->op == done->op ? call : NULL;
}

static void finish_publish(struct shmd *connection, struct call *call, uint64_t generation)
{
	struct wire_published published = {.generation = generation};

	call->size = call->room < sizeof(published) ? 0 : sizeof(published);
	memcpy(call->reply, &published, call->size);
	call_finish(connection, call, 0, NULL);
}

static bool is_named_create(const struct call *call)
{
	return call->op == WIRE_CREATE && ((const struct wire_create *)call->body)->name[0];
}

/* What the former daemon did, without our having heard of it. Returns whether something is left to do:
 * to attach what was created. */
static bool finish_done(struct shmd *connection, const struct wire_resumed *done)
{
	struct call *call = find_done(connection, done);

	if (call && call->op == WIRE_UNLINK)
		call_finish(connection, call, 0, NULL);
	else if (call && call->op == WIRE_PUBLISH)
		finish_publish(connection, call, done->generation);
	else
		return call && is_named_create(call);
	return false;
}

/* The reply to attaching becomes the one to creating. Returns 0, or why there is none: then it is created
 * anew. */
static int deliver_created(struct shmd *connection, struct line *line, struct arrival *arrival,
			   uint32_t number)
{
	struct packet_message message;
	int r = line_take_reply(line, arrival, WIRE_ATTACH, &message);

	if (r < 0)
		return r;
	if (message.body_size == sizeof(struct wire_segment))
		((struct wire_segment *)message.body)->flags |= WIRE_SEGMENT_NEW;
	message.header.op = WIRE_CREATE;
	message.header.number = number;
	pthread_mutex_lock(&connection->mutex);
	call_take_reply(connection, &message, arrival);
	pthread_mutex_unlock(&connection->mutex);
	return 0;
}

/* The mode may be one by which not even its owner may attach it: without its name, it is let go of. */
static int unlink_created(struct line *line, uint64_t id)
{
	struct wire_unlink request = {.id = id};
	int r = line_ask(line, WIRE_UNLINK, &request, sizeof(request), NULL, 0);

	return is_unknown(r) ? 0 : r;
}

static int attach_created(struct shmd *connection, struct line *line,
			  const struct wire_resumed *done)
{
	struct wire_attach attach = {.id = done->id, .flags = WIRE_WANT_SEMAPHORE};
	struct packet_writer writer;
	struct arrival arrival;

	line_begin(line, &writer);
	line_put(line, &writer, WIRE_ATTACH, &attach, sizeof(attach));
	int r = line_exchange(line, &writer, &arrival);
	if (r < 0)
		return r;
	r = deliver_created(connection, line, &arrival, done->number);
	arrival_close(&arrival);
	return r == -EACCES ? unlink_created(line, done->id) : is_unknown(r) ? 0 : r;
}

static void finish_detaches(struct shmd *connection)
{
	struct call *call, *next;

	DL_FOREACH_SAFE (connection->calls, call, next)
		if (call->op == WIRE_DETACH)
			call_finish(connection, call, 0, NULL);
}

/* Who detaches from now on is not in it any more, and asks the next daemon for it. */
static size_t list_holdings(struct shmd *connection, struct wire_confirm *ret)
{
	pthread_mutex_lock(&connection->mutex);
	finish_detaches(connection);
	size_t n = holdings_count(&connection->holdings);
	holdings_list(&connection->holdings, ret);
	pthread_mutex_unlock(&connection->mutex);
	return n;
}

/* Room for all that can be there by then: what is created may still come. */
static struct wire_confirm *make_list(struct shmd *connection)
{
	pthread_mutex_lock(&connection->mutex);
	size_t n = holdings_count(&connection->holdings) + 1;
	pthread_mutex_unlock(&connection->mutex);
	return calloc(n, sizeof(struct wire_confirm));
}

/* What the daemon does not know to be attached, it will not know by its handle either. */
static int take_confirmed(struct shmd *connection, struct line *line, const struct arrival *arrival,
			  const struct wire_confirm *confirms, size_t n)
{
	struct packet_message message;
	size_t offset = 0;

	for (size_t i = 0; i < n; i++) {
		if (packet_next_reply(line->packet, (size_t)arrival->size, &offset, &message) != 1)
			return error_set(-EPROTO, "the daemon's reply is malformed");
		if (message.header.code == 0)
			continue;
		pthread_mutex_lock(&connection->mutex);
		holdings_drop(&connection->holdings, confirms[i].id);
		pthread_mutex_unlock(&connection->mutex);
	}
	return 0;
}

static int confirm_batch(struct shmd *connection, struct line *line,
			 const struct wire_confirm *confirms, size_t n)
{
	struct packet_writer writer;
	struct arrival arrival;

	line_begin(line, &writer);
	for (size_t i = 0; i < n; i++)
		line_put(line, &writer, WIRE_CONFIRM, &confirms[i], sizeof(*confirms));
	int r = line_exchange(line, &writer, &arrival);
	if (r < 0)
		return r;
	arrival_close(&arrival);
	return take_confirmed(connection, line, &arrival, confirms, n);
}

static int confirm(struct shmd *connection, struct line *line, struct wire_confirm *list)
{
	size_t n = list_holdings(connection, list);
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i += WIRE_BATCH_MAX)
		r = confirm_batch(connection, line, list + i,
				  n - i < WIRE_BATCH_MAX ? n - i : WIRE_BATCH_MAX);
	return r < 0 ? r : line_ask(line, WIRE_SETTLE, NULL, 0, NULL, 0);
}

static int claim(struct shmd *connection, struct line *line, const struct wire_resumed *done,
		 struct wire_confirm *list)
{
	pthread_mutex_lock(&connection->mutex);
	bool is_created = finish_done(connection, done);
	pthread_mutex_unlock(&connection->mutex);
	int r = is_created ? attach_created(connection, line, done) : 0;
	return r < 0 ? r : confirm(connection, line, list);
}

/* --- a daemon that does not ------------------------------------------------------------------- */

/* To do it twice would be an error, and not to do it too. */
static bool changes_names(const struct call *call)
{
	return is_named_create(call) || call->op == WIRE_PUBLISH || call->op == WIRE_UNLINK;
}

static void give_up(struct shmd *connection, struct call *call)
{
	if (call->op == WIRE_DETACH)
		call_finish(connection, call, 0, NULL);
	else if (call->is_sent && changes_names(call))
		call_finish(
			connection, call, -ECONNRESET,
			"the daemon ended before it had answered, and the one that there is now "
			"knows nothing of it: this may have been done, or not");
	else if (resume_check_session(&connection->resume, call->needs_session) < 0)
		call_finish(connection, call, -ESTALE, shmd_error_message());
}

/* What the handles share goes on: memory, and permits among those that have them. */
static void begin_session(struct shmd *connection)
{
	struct call *call, *next;

	pthread_mutex_lock(&connection->mutex);
	connection->resume.session++;
	holdings_fini(&connection->holdings);
	DL_FOREACH_SAFE (connection->calls, call, next)
		give_up(connection, call);
	pthread_mutex_unlock(&connection->mutex);
}

/* --- both ------------------------------------------------------------------------------------- */

/* Once it has resumed, the socket is not let go of: its end would be that of all attachments. */
static int go_on(struct shmd *connection, struct line *line, const struct wire_welcome *welcome)
{
	struct resume *resume = &connection->resume;
	_cleanup_free_ struct wire_confirm *list = make_list(connection);
	struct wire_resumed done;

	if (!list)
		return error_errno(-ENOMEM, "cannot list what is attached");
	int r = ask_resume(resume, line, &done);
	if (r > 0)
		return claim(connection, line, &done, list);
	if (r == 0) {
		resume_take_welcome(resume, welcome);
		begin_session(connection);
	}
	return r;
}

/* Others may end it from then on; unless they have ended the connection before. */
static int make_fresh(struct shmd *connection)
{
	int fd;
	int r = line_make_socket(connection->aside.lowest_fd, &fd);

	if (r < 0)
		return r;
	pthread_mutex_lock(&connection->mutex);
	if (!connection->is_final)
		connection->resume.fresh = steal_fd(&fd);
	pthread_mutex_unlock(&connection->mutex);
	if (fd < 0)
		return 0;
	close_fd(fd);
	return error_set(-ECONNRESET, "the connection was ended");
}

static int begin_greeting(struct shmd *connection, struct line *line)
{
	int r = make_fresh(connection);

	if (r == 0)
		r = line_connect(line, connection->path);
	if (r == 0)
		r = line_say_hello(line);
	connection->resume.is_greeted = r == 0;
	return r;
}

/* Where the patience was over before, what was begun then goes on: a daemon that is slow would never be
 * reached by who asks often and waits for short. */
static int greet(struct shmd *connection, struct line *line, struct wire_welcome *ret,
		 int patience_ms)
{
	line_set_patience(line, patience_ms);
	int r = connection->resume.is_greeted ? 0 : begin_greeting(connection, line);
	return r < 0 ? r : line_hear_welcome(line, ret);
}

static int resume(struct shmd *connection, struct line *line, int patience_ms)
{
	struct wire_welcome welcome;
	int r = greet(connection, line, &welcome, patience_ms);

	if (r < 0)
		return r;
	line_be_patient(line);
	return go_on(connection, line, &welcome);
}

/* What it has missed is not known. At first it is among the calls; it may also be there again. */
static void subscribe_again(struct shmd *connection, struct notice *notice)
{
	if (!notice->event_fn || !(notice->call.is_done || notice->is_renewed))
		return;
	notices_lose(notice);
	if (notice->call.is_done)
		DL_PREPEND(connection->calls, &notice->call);
	notice->call.is_done = false;
	notice->is_renewed = true;
}

/* From here on, they are the next daemon's. */
static void restart_calls(struct shmd *connection)
{
	struct notice *notice;
	struct call *call;

	DL_FOREACH (connection->notices.all, notice)
		subscribe_again(connection, notice);
	DL_FOREACH (connection->calls, call)
		call->is_sent = false;
}

static int exchange_sockets(struct shmd *connection)
{
	struct resume *resume = &connection->resume;
	int r = loop_exchange(&connection->loop, connection->socket, resume->fresh);

	if (r < 0)
		return error_errno(r, "cannot watch the new connection");
	connection_close_socket(connection);
	connection->socket = steal_fd(&resume->fresh);
	connection_note_socket(connection);
	connection->broken = 0;
	return 0;
}

/* A child must not close what has that number next. */
static void close_fresh(struct resume *resume)
{
	close_fd(steal_fd(&resume->fresh));
	resume->is_greeted = false;
}

int resume_once(struct shmd *connection, int patience_ms)
{
	struct resume *state = &connection->resume;
	struct line line = {.socket = &state->fresh, .packet = connection->packet};
	unsigned n_futile = state->n_futile;

	state->n_futile = has_lived(state) ? 1 : n_futile + 1;
	pthread_mutex_unlock(&connection->mutex);
	int r = resume(connection, &line, patience_ms);
	pthread_mutex_lock(&connection->mutex);
	/* That says nothing of the daemon. */
	if (r == -EAGAIN)
		state->n_futile = n_futile;
	else
		clock_gettime(CLOCK_MONOTONIC, &state->since);
	if (r == 0 && connection->is_final)
		r = error_set(-ECONNRESET, "the connection was ended");
	if (r == 0)
		r = exchange_sockets(connection);
	if (r == 0)
		restart_calls(connection);
	if (r != -EAGAIN || !state->is_greeted)
		close_fresh(state);
	return r;
}

void resume_to_end(struct shmd *connection)
{
	struct resume *state = &connection->resume;
	struct line line = {.socket = &state->fresh, .packet = connection->packet};
	struct wire_welcome welcome;
	struct wire_resumed done;

	if (state->who.token && greet(connection, &line, &welcome, END_PATIENCE_MS) == 0)
		ask_resume(state, &line, &done);
	pthread_mutex_lock(&connection->mutex);
	close_fresh(state);
	pthread_mutex_unlock(&connection->mutex);
}
