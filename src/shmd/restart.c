/* SPDX-License-Identifier: MIT */
#include "shmd/restart.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "core/restore.h"
#include "shmd/client.h"
#include "shmd/handed.h"
#include "shmd/loop.h"
#include "shmd/pouch.h"
#include "shmd/reaper.h"
#include "shmd/server.h"
#include "shmd/store.h"

struct restart {
	struct server *server;
	struct event *on_grace_over;
	uint64_t next_client; /* to be looked at, when the time is over */
	uint64_t after;       /* and behind which of its segments */
};

/* Attachments that are looked at before others get their turn: some 5 us each. */
#define LET_GO_UNIT 16

/* --- reading ---------------------------------------------------------------------------------- */

/* Where a key lies. */
struct legacy_place {
	uint32_t key;
	struct pouch *pouch; /* NULL: one end of it is missing, and it is of no use any more */
};

/* What is being read. */
struct reading {
	struct legacy *legacy;
	struct handed *handed;
	struct image_descriptor *given;
	size_t n, room;
	size_t places_room;
};

/* Returns 0 or -ENOMEM; the descriptor is taken over. */
static int add_given(struct reading *reading, int fd, const char *name, uint32_t key)
{
	if (reading->n == reading->room) {
		size_t room = 2 * reading->room + 64;
		void *more = realloc(reading->given, room * sizeof(*reading->given));
		if (!more) {
			close_fd(fd);
			return -ENOMEM;
		}
		reading->given = more;
		reading->room = room;
	}
	reading->given[reading->n++] = (struct image_descriptor){fd, name, key};
	return 0;
}

static int add_place(struct reading *reading, uint32_t key, struct pouch *pouch)
{
	struct legacy *legacy = reading->legacy;

	if (legacy->n_places == reading->places_room) {
		size_t room = 2 * reading->places_room + 64;
		void *more = realloc(legacy->places, room * sizeof(*legacy->places));
		if (!more)
			return -ENOMEM;
		legacy->places = more;
		reading->places_room = room;
	}
	legacy->places[legacy->n_places++] = (struct legacy_place){key, pouch};
	return 0;
}

/* All that lies in it, and stays there: what cannot be read for want of something is not to be lost. A message
 * that is none of ours ends it. */
static int read_messages(struct reading *reading, struct pouch *pouch, bool is_whole)
{
	int fds[POUCH_DESCRIPTORS_MAX], offset = 0, n = 0, r = 0;
	uint32_t key;

	while (r == 0 && (n = pouch_look(pouch, &offset, &key, fds)) >= 0) {
		pouch->n++;
		r = add_place(reading, key, is_whole ? pouch : NULL);
		for (int i = 0; i < n; i++)
			if (r == 0)
				r = add_given(reading, fds[i], NULL, key);
			else
				close_fd(fds[i]);
	}
	return r < 0 || n >= 0 || n == -ENOENT || n == -EBADMSG ? r : n;
}

/* The other end of the same name, from there on; -1: there is none. */
static int take_other_end(struct handed *handed, size_t from, const char *name)
{
	for (size_t i = from; i < handed->n; i++)
		if (handed->stored[i].fd >= 0 && strcmp(handed->stored[i].name, name) == 0)
			return steal_fd(&handed->stored[i].fd);
	return -1;
}

static int read_pouch(struct reading *reading, size_t i, unsigned number)
{
	struct handed *handed = reading->handed;
	const char *name = handed->stored[i].name;
	int ends[] = {steal_fd(&handed->stored[i].fd), take_other_end(handed, i + 1, name)};
	bool is_whole = ends[1] >= 0;
	struct pouch *pouch;
	int r = pouch_adopt(&pouch, number, ends);

	if (r < 0)
		return r;
	r = read_messages(reading, pouch, is_whole);
	if (is_whole)
		DL_APPEND(reading->legacy->pouches, pouch);
	else
		pouch_free(pouch);
	return r;
}

static int read_handed(struct reading *reading)
{
	struct handed *handed = reading->handed;
	unsigned number;
	int r = 0;

	for (size_t i = 0; i < handed->n && r == 0; i++) {
		struct handed_descriptor *stored = &handed->stored[i];
		if (stored->fd < 0)
			continue;
		if (image_parse_pouch(stored->name, &number) == 0)
			r = read_pouch(reading, i, number);
		else
			r = add_given(reading, steal_fd(&stored->fd), stored->name, 0);
	}
	return r;
}

static bool is_record_name(const char *name)
{
	for (int i = 0; i < IMAGE_RECORD_NAMES; i++)
		if (strcmp(name, image_record_names[i]) == 0)
			return true;
	return false;
}

static void tell_outcome(const struct image *image, int r)
{
	if (r == -EPROTONOSUPPORT)
		log_error("the record of the daemon before this one has a newer form than version "
			  "%u, which is the newest that shmd " PACKAGE_VERSION " reads",
			  RECORD_VERSION);
	else if (r < 0)
		log_error("cannot read what the daemon before this one has left: %s", strerror(-r));
	if (r == 0 && image->n_refused > 0)
		log_error("%zu parts of what the daemon before this one has left cannot be taken "
			  "over; the first one: %s",
			  image->n_refused, image->why);
}

int legacy_read(struct legacy *ret, struct handed *handed)
{
	struct reading reading = {.legacy = ret, .handed = handed};

	*ret = (struct legacy){.image = {.is_empty = true, .lock_fd = -1}};
	int r = read_handed(&reading);
	if (r == 0)
		r = image_read(&ret->image, reading.given, reading.n);
	for (size_t i = 0; i < reading.n; i++)
		if (reading.given[i].name && is_record_name(reading.given[i].name) &&
		    ret->n_records < LEGACY_RECORDS_MAX)
			ret->records[ret->n_records++] = reading.given[i].fd;
		else
			close_fd(reading.given[i].fd);
	free(reading.given);
	tell_outcome(&ret->image, r);
	return r;
}

void legacy_fini(struct legacy *legacy)
{
	struct pouch *pouch, *next;

	image_fini(&legacy->image);
	DL_FOREACH_SAFE (legacy->pouches, pouch, next)
		pouch_free(pouch);
	legacy->pouches = NULL;
	free(legacy->places);
	legacy->places = NULL;
	while (legacy->n_records > 0)
		close_fd(legacy->records[--legacy->n_records]);
	legacy->n_places = 0;
}

/* --- clients and what they had ---------------------------------------------------------------- */

static struct client *find_client(const struct server *server, uint64_t id)
{
	struct client *client = NULL;

	if (id)
		HASH_FIND(hh, server->clients, &id, sizeof(id), client);
	return client;
}

static struct session *find_session(const struct server *server, uint64_t id)
{
	struct client *client = find_client(server, id);

	return client ? &client->session : NULL;
}

/* Of what the record alone can be blamed for, -EINVAL, it is left out; whatever else it is, another start may
 * do better, and nothing is to be lost by this one. */
static int note_failure(const char *what, uint64_t id, int r)
{
	if (r < 0)
		log_error("cannot take %s %" PRIu64 " over: %s", what, id, strerror(-r));
	return r == -EINVAL ? 0 : r;
}

static int restore_client(struct server *server, const struct record_client *row)
{
	struct process *process = NULL;
	struct client *client;
	int r = row->flags & RECORD_WATCHED ? process_restore(&server->processes, (pid_t)row->pid,
							      row->process_start, &process)
					    : 0;

	return r < 0 ? r : client_restore(server, row, process, &client);
}

static int restore_clients(struct server *server, const struct image *image)
{
	int r = 0;

	for (size_t i = 0; i < image->n_clients && r == 0; i++)
		r = note_failure("client", image->clients[i].id,
				 restore_client(server, &image->clients[i]));
	if (server->next_client < image->next_client)
		server->next_client = image->next_client;
	record_next_client(&server->registry->record, server->next_client);
	return r;
}

static int restore_number(struct server *server, const struct record_locker *row)
{
	struct process *process;
	int r = process_restore(&server->processes, (pid_t)row->pid, row->process_start, &process);

	if (r < 0)
		return r;
	r = restore_locker(server->registry, row, &process->estate);
	if (r < 0)
		process_put(process);
	return r;
}

static int restore_lockers(struct server *server, const struct image *image)
{
	int r = 0;

	for (size_t i = 0; i < image->n_lockers && r == 0; i++)
		r = note_failure("a number to lock by, of segment", image->lockers[i].segment,
				 restore_number(server, &image->lockers[i]));
	return r;
}

static int restore_attachments(struct server *server, const struct image *image)
{
	int r = 0;

	for (size_t i = 0; i < image->n_attachments && r == 0; i++) {
		const struct record_attachment *row = &image->attachments[i];
		struct session *session = find_session(server, row->client);
		if (session)
			r = note_failure("an attachment of segment", row->segment,
					 restore_attachment(server->registry, row, session));
	}
	return r;
}

/* A dead one is found so, and buried like the others. */
static int restore_heir_of(struct server *server, const struct record_segment *row)
{
	struct process *process;
	int r = process_restore(&server->processes, (pid_t)row->heir, row->heir_start, &process);

	if (r < 0)
		return r;
	process->estate.start = process->start;
	restore_heir(server->registry, row->id, &process->estate, (pid_t)row->next_heir);
	process_put(process);
	return 0;
}

static int restore_heirs(struct server *server, const struct image *image)
{
	int r = 0;

	for (size_t i = 0; i < image->n_segments && r == 0; i++)
		if (image->segments[i].row.heir)
			r = note_failure("whom it is kept for, of segment",
					 image->segments[i].row.id,
					 restore_heir_of(server, &image->segments[i].row));
	return r;
}

static void restore_bonds_of_all(struct server *server, const struct image *image)
{
	for (size_t i = 0; i < image->n_segments; i++) {
		const struct record_segment *row = &image->segments[i].row;
		restore_bonds(server->registry, row->id, find_session(server, row->owner),
			      find_session(server, row->publisher));
	}
}

/* Returns how many have died in the meantime. */
static unsigned bury_dead(struct server *server)
{
	struct process *process, *next;
	unsigned n = 0;

	for (process = server->processes.all; process; process = next) {
		next = process->next;
		if (process->pidfd >= 0)
			continue;
		n++;
		server_bury(server, process);
	}
	return n;
}

/* --- the time for coming back ----------------------------------------------------------------- */

/* One that nobody watches is not coming any more. Another may just have nothing to say; but what nobody has
 * open, it has let go of. Returns false if there is more to look at. */
static bool end_absence(struct restart *restart, struct client *client)
{
	if (client->process && restore_let_go(restart->server->registry, &client->session,
					      LET_GO_UNIT, &restart->after))
		return false;
	if (!client->process)
		log_about(LOG_LEVEL_NOTICE, client->session.who.uid,
			  "client %" PRIu64 " (uid %u) did not come back", client->session.id,
			  client->session.who.uid);
	if (!client->process ||
	    (session_segments(&client->session) == 0 && !client->session.published))
		client_end(client);
	return true;
}

/* One client each time, or some of what it has, so that the others are served between them. */
static void on_grace_over(evutil_socket_t fd, short what, void *context)
{
	struct restart *restart = context;
	struct server *server = restart->server;
	const struct timeval at_once = {0};
	struct client *client;

	(void)fd, (void)what;
	for (client = server->clients; client; client = client->hh.next)
		if (client->session.id >= restart->next_client && client_is_absent(client))
			break;
	if (!client)
		return;
	if (restart->next_client != client->session.id)
		restart->after = 0;
	restart->next_client = client->session.id;
	if (end_absence(restart, client)) {
		restart->next_client++;
		restart->after = 0;
	}
	reaper_kick(server->reaper);
	event_add(restart->on_grace_over, &at_once);
}

static int wait_for_absent(struct restart *restart)
{
	struct server *server = restart->server;
	uint64_t ms = server->config.grace_ms;
	struct timeval grace = {.tv_sec = (time_t)(ms / 1000),
				.tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	restart->on_grace_over = evtimer_new(server->loop, on_grace_over, restart);
	return !restart->on_grace_over || event_add(restart->on_grace_over, &grace) < 0 ? -ENOMEM
											: 0;
}

/* --- the store -------------------------------------------------------------------------------- */

static void check_room(const struct server *server)
{
	uint64_t segments = server->config.segments;
	unsigned max = handed_store_max();

	if (max < store_places(segments))
		log_warning("the limit segments=%ju may need %ju places in the service manager's "
			    "store; it has %u (FileDescriptorStoreMax=), and what finds none would "
			    "be lost by a restart",
			    (uintmax_t)segments, (uintmax_t)store_places(segments), max);
	if (store_segments_max() < segments)
		log_warning("of the limit segments=%ju, %u can be stored for the next daemon: six "
			    "descriptors each of RLIMIT_NOFILE",
			    (uintmax_t)segments, store_segments_max());
}

/* Returns 0, also where nothing can be kept, or -errno: what was left would be taken over, and lost. */
static int begin_record(struct server *server, const struct image *image)
{
	struct record *record = &server->registry->record;
	int r = store_new(&server->store, server->loop, record, handed_store_max());

	if (r == 0)
		r = record_begin(record, image->epoch + 1, server->registry->instance.name);
	if (r == 0) {
		check_room(server);
		record_next_id(record, server->registry->next_id);
		reaper_set_store(server->reaper, server->store);
		return 0;
	}
	server->store = store_free(server->store);
	if (r != -ENOENT)
		log_error("nothing is kept for the next daemon: %s", strerror(-r));
	else if (!image->is_empty)
		log_warning(
			"the service manager does not say how much it stores for us, if anything: "
			"nothing is kept for the next daemon");
	return r == -ENOENT || image->is_empty ? 0 : r;
}

static int by_key(const void *a, const void *b)
{
	uint32_t x = ((const struct legacy_place *)a)->key;
	uint32_t y = ((const struct legacy_place *)b)->key;

	return x < y ? -1 : x > y;
}

/* The segments by their keys; NULL: none has it. */
static struct segment **index_segments(const struct registry *registry, uint32_t *ret_n)
{
	struct segment *segment;
	uint32_t n = 0;

	for (segment = registry->by_id; segment; segment = segment->by_id.next)
		if (segment->keeping.key >= n)
			n = segment->keeping.key + 1;
	struct segment **index = calloc(n + 1, sizeof(*index));
	for (segment = registry->by_id; index && segment; segment = segment->by_id.next)
		index[segment->keeping.key] = segment;
	*ret_n = n;
	return index;
}

/* Each segment goes on to lie where it lies. What is there for nothing, or twice, goes: if it stayed, its key
 * would be another's one day. */
static int place_segments(struct server *server, const struct legacy *legacy)
{
	struct registry *registry = server->registry;
	uint32_t n;
	struct segment **index = index_segments(registry, &n);

	if (!index)
		return -ENOMEM;
	if (legacy->n_places > 0)
		qsort(legacy->places, legacy->n_places, sizeof(*legacy->places), by_key);
	int r = 0;
	for (size_t i = 0; i < legacy->n_places && r == 0; i++) {
		const struct legacy_place *place = &legacy->places[i];
		struct segment *segment = place->key < n ? index[place->key] : NULL;
		if (segment && place->pouch)
			segment->keeping.pouch = place->pouch;
		else if (place->pouch)
			r = pouch_take_out(place->pouch, place->key);
		if (segment && place->pouch)
			index[place->key] = NULL;
	}
	for (uint32_t key = 0; key < n && r == 0; key++)
		if (index[key])
			record_note_unstored(&registry->record, index[key]);
	free(index);
	return r;
}

static bool is_used(const struct legacy *legacy, const char *name)
{
	const struct pouch *pouch;
	unsigned number;

	if (is_record_name(name))
		return true;
	if (image_parse_pouch(name, &number) == 0)
		DL_FOREACH (legacy->pouches, pouch)
			if (pouch->number == number)
				return true;
	return strcmp(name, IMAGE_LOCK_NAME) == 0;
}

/* Names of which we have nothing. */
static void clear_store(struct server *server, const struct legacy *legacy,
			const struct handed *handed)
{
	for (size_t i = 0; i < handed->n; i++)
		if (!is_used(legacy, handed->stored[i].name))
			store_remove(server->store, handed->stored[i].name);
}

static void add_pouches(struct server *server, struct legacy *legacy)
{
	struct pouch *pouch;

	while ((pouch = legacy->pouches)) {
		DL_DELETE(legacy->pouches, pouch);
		store_add_found(server->store, pouch);
	}
}

/* Without a store the former record stays in there, and says less of what there is with each request. */
static void revoke_record(const struct legacy *legacy)
{
	for (unsigned i = 0; i < legacy->n_records; i++)
		if (image_revoke(legacy->records[i]) < 0)
			log_warning("cannot revoke the record of the daemon before this one: %s",
				    strerror(errno));
}

static int keep_record(struct server *server, struct legacy *legacy, const struct handed *handed)
{
	const struct instance *instance = &server->registry->instance;

	if (!server->store) {
		revoke_record(legacy);
		return 0;
	}
	clear_store(server, legacy, handed);
	int r = place_segments(server, legacy);
	add_pouches(server, legacy);
	if (legacy->image.has_lock && !instance->was_locked)
		store_remove(server->store, IMAGE_LOCK_NAME);
	if (r == 0)
		r = store_record(server->store, instance->was_locked ? -1 : instance->lock);
	if (r < 0)
		log_error("cannot store the record with the service manager: %s", strerror(-r));
	return r;
}

/* --- life ------------------------------------------------------------------------------------- */

static int take_over(struct restart *restart, struct image *image)
{
	struct server *server = restart->server;

	int r = restore_clients(server, image);
	if (r == 0)
		r = restore_lockers(server, image);
	if (r == 0)
		r = restore_attachments(server, image);
	if (r == 0)
		r = restore_heirs(server, image);
	if (r < 0)
		return r;
	restore_bonds_of_all(server, image);
	restore_finish(server->registry);
	log_notice("took over %zu segments, %zu clients and %zu numbers to lock by",
		   image->n_segments, image->n_clients, image->n_lockers);
	return wait_for_absent(restart);
}

int restart_begin(struct restart **ret, struct server *server, struct legacy *legacy,
		  const struct handed *handed)
{
	struct image *image = &legacy->image;
	struct restart *restart = calloc(1, sizeof(*restart));

	if (!restart)
		return -ENOMEM;
	restart->server = server;
	int r = begin_record(server, image);
	if (r == 0 && !image->is_empty)
		r = take_over(restart, image);
	if (r == 0)
		r = keep_record(server, legacy, handed);
	if (r < 0) {
		restart_free(restart);
		return r;
	}
	unsigned dead = bury_dead(server);
	if (dead > 0)
		log_notice("%u processes of those have died in the meantime", dead);
	reaper_kick(server->reaper);
	*ret = restart;
	return 0;
}

struct restart *restart_free(struct restart *restart)
{
	if (!restart)
		return NULL;
	loop_event_free(restart->on_grace_over);
	free(restart);
	return NULL;
}

void restart_leave(struct server *server)
{
	if (!server->store)
		return;
	/* A client without a segment may have a request under way, and wants to know what became of it. */
	if (!server->registry->by_id && !server->clients) {
		store_give_up(server->store);
		return;
	}
	store_drain(server->store);
	registry_leave_behind(server->registry);
}

/* --- clients that come back ------------------------------------------------------------------- */

static uint32_t op_of(enum deed_kind kind)
{
	switch (kind) {
	case DEED_CREATED:
		return WIRE_CREATE;
	case DEED_PUBLISHED:
		return WIRE_PUBLISH;
	case DEED_UNLINKED:
		return WIRE_UNLINK;
	case DEED_NONE:
		break;
	}
	return 0;
}

/* One that nobody watches has no numbers to lock by, so that the user and the pid have to do, or 0 for it. */
static bool is_of_the_same(const struct client *client, const struct client *absent)
{
	if (absent->process)
		return client->process == absent->process;
	return client->session.who.uid == absent->session.who.uid &&
	       client->session.pid == absent->session.pid;
}

/* The token proves that it is that client; and its numbers to lock by are its process's. */
static bool is_the_same(const struct client *client, const struct client *absent, uint64_t token)
{
	return client_is_absent(absent) && !absent->is_leaving && token != 0 &&
	       absent->session.token == token && is_of_the_same(client, absent);
}

int restart_resume(struct client *client, const struct wire_resume *resume,
		   struct wire_resumed *ret, struct refusal *why)
{
	struct client *absent = find_client(client->server, resume->client);

	if (session_segments(&client->session) > 0 || client->session.published)
		return refuse(why, REFUSAL_INVALID,
			      "a connection is resumed before anything is attached by another");
	if (!absent || !is_the_same(client, absent, resume->token))
		return refuse(why, REFUSAL_NOT_FOUND,
			      "this daemon knows nothing of the connection %" PRIu64,
			      resume->client);
	client_take_over(client, absent);
	const struct deed *last = &client->session.last;
	*ret = (struct wire_resumed){last->number, op_of((enum deed_kind)last->kind), last->id,
				     last->generation};
	return 0;
}
