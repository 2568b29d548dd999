/* SPDX-License-Identifier: MIT */
/*
 * Requests of several clients of several users, against all of the daemon but its sockets and its
 * loop: what the loop does is done by the input, in any order, and time passes as the input says.
 * Processes die, with whatever the input wrote to semaphores and ledgers. After each step the books
 * must agree with each other, and at the end they must be empty.
 */
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/guard.h"
#include "base/log.h"
#include "base/text.h"
#include "core/memory.h"
#include "shmd/client.h"
#include "shmd/dispatch.h"
#include "shmd/reply.h"
#include "shmd/server.h"

#define FIRST_ID  UINT64_C(1000)
#define CLIENTS   6
#define PROCESSES 3 /* each with the connections of two places */
#define HELD      8
#define STEPS_MAX 400
#define GROUP     100 /* of all users but root */
#define USERS     4

static const uid_t users[USERS] = {0, 1001, 1002, 65534};

static char folder[] = "/tmp/fuzz-dispatch-XXXXXX";
static struct server server;
static struct client *clients[CLIENTS];
static struct process processes[PROCESSES];
static uint64_t now;

/* What clients kept of what they were given, and what is being closed by the helper's thread. */
static int held[HELD];
static struct segment *closing[HELD];
static uint64_t newest_id;

/* --- time, in place of base/clock.c ----------------------------------------------------------- */

uint64_t clock_boottime_ns(void)
{
	return now;
}

uint64_t clock_monotonic_ns(void)
{
	return now;
}

uint64_t clock_realtime_ns(void)
{
	return now;
}

/* --- the books -------------------------------------------------------------------------------- */

static void check_attachments(const struct segment *segment)
{
	unsigned n = 0;

	for (const struct attachment *a = segment->attachments; a; a = a->next, n++) {
		HOLDS(a->segment == segment && a->segment_id == segment->id);
		HOLDS(a->counts[0] + a->counts[1] > 0);
		HOLDS(attachment_find(a->session, segment->id) == a);
	}
	HOLDS(n == segment->n_attachments);
}

static bool will_be_looked_at(const struct segment *segment)
{
	return segment->queued || segment->watch.wd || segment->timer.deadline;
}

/* Somebody has it, or wants it to be there until the end of a process. */
static bool is_kept(const struct segment *segment)
{
	return segment->n_attachments > 0 || segment->ledger.n_kept > 0;
}

static bool is_attached_by(const struct segment *segment, const struct session *session)
{
	const struct attachment *a = segment->attachments;

	while (a && a->session != session)
		a = a->next;
	return a != NULL;
}

/* What binds a segment to its name is the connection that published it. */
static void check_binding(const struct segment *segment)
{
	const struct segment *published;

	if (!segment->publisher)
		return;
	published = segment->publisher->published;
	while (published && published != segment)
		published = published->published_next;
	HOLDS(published && segment->name[0] && !segment->is_anonymous);
}

static bool is_in_estate(const struct locker *locker)
{
	const struct locker *l = locker->estate->lockers;

	while (l && l != locker)
		l = l->estate_next;
	return l != NULL;
}

static unsigned count_given(const struct ledger *ledger)
{
	unsigned n = 0;

	for (unsigned i = 0; ledger->taken && i < (WORD_NUMBER_MAX + 1) / 64; i++)
		n += (unsigned)__builtin_popcountll(ledger->taken[i]);
	/* Nobody's number stands as given. */
	return ledger->taken ? n - 1 : 0;
}

/* Returns how many of its lockers are charged for. */
static unsigned check_lockers(const struct segment *segment)
{
	const struct ledger *ledger = &segment->ledger;
	unsigned n = 0, n_dead = 0, n_kept = 0, n_charged = 0;

	for (const struct locker *l = ledger->lockers; l; l = l->next, n++) {
		HOLDS(l->ledger == ledger && l->segment_id == segment->id);
		HOLDS(l->number > 0 && l->number <= WORD_NUMBER_MAX);
		HOLDS(ledger->taken[l->number / 64] >> l->number % 64 & 1);
		HOLDS(is_in_estate(l) && !l->estate->is_listed);
		HOLDS(!l->hh.tbl || l->was_left);
		n_dead += l->is_dead;
		n_kept += l->until_exit && !l->is_dead;
		n_charged += l->charge.user != NULL;
	}
	HOLDS(n == count_given(ledger) && n_dead == ledger->n_dead && n_kept == ledger->n_kept);
	/* The dead are not forgotten. */
	HOLDS(n_dead == 0 || segment->queued || segment->lock_timer.deadline);
	for (const struct attachment *a = segment->attachments; a; a = a->next)
		HOLDS(!a->locker || (a->locker->ledger == ledger && !a->locker->charge.user));
	return n_charged;
}

/* Whether the segment is in the state that it may be in, and, where it is to end, not forgotten. */
static void check_state(const struct registry *registry, const struct segment *segment)
{
	struct segment *named = NULL;

	HASH_FIND(by_name, registry->by_name, segment->name, strlen(segment->name), named);
	HOLDS(segment->name[0] ? named == segment : !named);
	HOLDS(!segment->owner || segment->owner == segment->publisher ||
	      is_attached_by(segment, segment->owner));
	check_binding(segment);
	HOLDS(!segment->is_sealed || memory_is_sealed(segment->fd) ||
	      segment->state == SEGMENT_UNUSED);
	/* Nothing is tested while somebody is known to have it. */
	if (segment->n_attachments > 0 && segment->state != SEGMENT_LINGERING)
		HOLDS(!segment->watch.wd && !segment->timer.deadline);
	switch (segment->state) {
	case SEGMENT_LIVE:
		HOLDS(segment->is_anonymous == !segment->name[0]);
		if (segment->lifetime == LIFETIME_OWNER)
			HOLDS(segment->owner || segment->queued);
		else if (segment->lifetime == LIFETIME_CLIENTS || segment->is_anonymous)
			HOLDS(is_kept(segment) || will_be_looked_at(segment) || segment->publisher);
		break;
	case SEGMENT_LINGERING:
		HOLDS(segment->name[0] && (segment->timer.deadline || segment->queued));
		break;
	case SEGMENT_DROPPED:
		HOLDS(!segment->name[0] && !segment->semaphore.name[0]);
		HOLDS(is_kept(segment) || will_be_looked_at(segment));
		break;
	case SEGMENT_UNUSED:
		HOLDS(!segment->name[0] && !is_kept(segment) && !segment->ledger.lockers);
		HOLDS(!segment->raw_watch.wd && !segment->lock_timer.deadline);
		HOLDS(!will_be_looked_at(segment));
		break;
	}
}

static void check_lineages(const struct registry *registry)
{
	uint64_t old = 0, bytes = 0;

	for (struct segment *segment = registry->by_id; segment; segment = segment->by_id.next) {
		HOLDS(!segment->lineage || !segment->name[0]);
		old += segment->lineage != NULL;
		bytes += segment->lineage ? segment->size : 0;
	}
	for (struct lineage *lineage = registry->lineages; lineage; lineage = lineage->hh.next) {
		HOLDS(lineage->generations > 0 && lineage->generations <= old);
		HOLDS(lineage->bytes <= bytes);
		old -= lineage->generations;
		bytes -= lineage->bytes;
	}
	HOLDS(old == 0 && bytes == 0);
}

/* What rules have counted is what segments say that they were counted for. */
static void check_tallies(const struct registry *registry)
{
	for (struct tally *tally = registry->tallies; tally; tally = tally->hh.next) {
		uint64_t n = 0, bytes = 0;
		for (struct segment *s = registry->by_id; s; s = s->by_id.next) {
			n += s->rule_share.tally == tally;
			bytes += s->rule_share.tally == tally ? s->rule_share.bytes : 0;
			HOLDS(!s->rule_share.tally || s->rule_share.bytes == s->size);
		}
		HOLDS(n > 0 && n == tally->segments && bytes == tally->bytes);
	}
}

/* Nobody who could be answered is left waiting. */
static void check_wait(const struct wait *wait)
{
	const struct segment *segment = registry_by_name(server.registry, wait->name->name);

	HOLDS(wait->is_ready || wait->is_parked || !segment ||
	      segment->generation <= wait->newer_than);
}

static unsigned check_waits(const struct session *session, uint64_t *ret_subscriptions)
{
	unsigned n_subscriptions = 0;
	const struct subscription *subscription;
	const struct wait *wait;
	unsigned n = 0;

	DL_FOREACH2 (session->waits, wait, session_next) {
		HOLDS(wait->session == session && wait->name->refs > 0);
		check_wait(wait);
		n++;
	}
	DL_FOREACH2 (session->subscriptions, subscription, session_next) {
		HOLDS(subscription->session == session && subscription->n <= JOURNAL_QUEUE);
		HOLDS(subscription->is_due || subscription->is_parked || subscription->n == 0);
		HOLDS(!subscription->is_due || !subscription->is_parked);
		for (unsigned i = 0; i < subscription->n; i++)
			HOLDS(subscription_entry(subscription, i)->refs > 0);
		n_subscriptions++;
	}
	*ret_subscriptions += n_subscriptions;
	return n;
}

static void check_segments(const struct registry *registry)
{
	uint64_t n = 0, n_named = 0, n_queued = 0, n_timers = 0, bytes = 0, attachments = 0;
	uint64_t n_semaphores = 0, n_lock_timers = 0;
	uint64_t last = FIRST_ID - 1;

	for (struct segment *segment = registry->by_id; segment; segment = segment->by_id.next) {
		HOLDS(segment->id > last && segment->id < registry->next_id);
		HOLDS(segment->generation >= segment->id &&
		      segment->generation < registry->next_id);
		last = segment->id;
		check_attachments(segment);
		check_state(registry, segment);
		n++;
		n_named += segment->name[0] != '\0';
		n_queued += segment->queued;
		n_timers += segment->timer.deadline != 0;
		bytes += segment->size;
		/* What was left behind costs what the attachment did. */
		attachments += segment->n_attachments + check_lockers(segment);
		n_semaphores += segment->semaphore.name[0] != '\0';
		n_lock_timers += segment->lock_timer.deadline != 0;
	}
	HOLDS(n == HASH_CNT(by_id, registry->by_id));
	HOLDS(n_named == HASH_CNT(by_name, registry->by_name));
	HOLDS(n_timers == registry->timers.n);
	HOLDS(n_semaphores == HASH_CNT(by_semaphore, registry->recovery.by_semaphore));
	HOLDS(n_lock_timers == registry->recovery.timers.n);
	HOLDS(n == registry->quota.used[QUOTA_SEGMENTS]);
	HOLDS(n_semaphores <= registry->quota.used[QUOTA_SEMAPHORES]);
	HOLDS(bytes == registry->quota.used[QUOTA_BYTES]);
	HOLDS(attachments == registry->quota.used[QUOTA_ATTACHMENTS]);
	for (struct segment *segment = registry->queue; segment; segment = segment->next) {
		HOLDS(segment->queued && segment->state != SEGMENT_UNUSED && n_queued > 0);
		HOLDS(!segment->next || segment->next->prev == segment);
		n_queued--;
	}
	HOLDS(n_queued == 0);
	for (struct segment *segment = registry->unused; segment; segment = segment->next)
		HOLDS(segment->state == SEGMENT_UNUSED && !segment->queued);
}

static void check_timers(const struct heap *heap)
{
	for (size_t i = 0; i < heap->n; i++) {
		HOLDS(heap->items[i]->place == i && heap->items[i]->deadline);
		HOLDS(i == 0 || heap->items[(i - 1) / 2]->deadline <= heap->items[i]->deadline);
	}
}

static void check_session(const struct session *session)
{
	uint64_t bytes = 0;

	for (const struct attachment *a = session->attachments; a; a = a->hh.next) {
		HOLDS(a->session == session);
		bytes += a->segment->size;
	}
	HOLDS(bytes == session->bytes);
}

static unsigned count_left_behind(const struct segment *segment, uid_t uid)
{
	unsigned n = 0;

	for (const struct locker *l = segment->ledger.lockers; l; l = l->next)
		n += l->charge.user && l->charge.user->uid == uid;
	return n;
}

static void count_use(const struct registry *registry, uid_t uid, uint64_t ret[QUOTA_RESOURCES])
{
	memset(ret, 0, QUOTA_RESOURCES * sizeof(*ret));
	for (struct segment *segment = registry->by_id; segment; segment = segment->by_id.next) {
		ret[QUOTA_ATTACHMENTS] += count_left_behind(segment, uid);
		/* Its maker's, whosever it is. */
		HOLDS(segment->segment_charge.user && segment->bytes_charge.user);
		if (segment->segment_charge.user->uid == uid) {
			ret[QUOTA_SEGMENTS]++;
			ret[QUOTA_SEMAPHORES] += segment->semaphore_charge.user != NULL;
			ret[QUOTA_BYTES] += segment->size;
		}
	}
	for (int i = 0; i < CLIENTS; i++)
		if (clients[i] && clients[i]->session.who.uid == uid) {
			ret[QUOTA_CLIENTS]++;
			ret[QUOTA_ATTACHMENTS] += session_segments(&clients[i]->session);
			ret[QUOTA_WAITS] += check_waits(&clients[i]->session,
							&ret[QUOTA_SUBSCRIPTIONS]);
		}
}

static void check_users(const struct registry *registry)
{
	uint64_t use[QUOTA_RESOURCES], total[QUOTA_RESOURCES] = {0};
	unsigned n = 0;

	for (int i = 0; i < USERS; i++) {
		bool is_known = false;
		count_use(registry, users[i], use);
		for (int k = 0; k < QUOTA_RESOURCES; k++) {
			HOLDS(quota_used_by(&registry->quota, users[i], k) == use[k]);
			total[k] += use[k];
			is_known = is_known || use[k];
		}
		n += is_known;
	}
	for (int k = 0; k < QUOTA_RESOURCES; k++)
		HOLDS(registry->quota.used[k] == total[k]);
	HOLDS(HASH_COUNT(registry->quota.users) == n);
}

static void check_books(void)
{
	check_segments(server.registry);
	check_lineages(server.registry);
	check_tallies(server.registry);
	check_timers(&server.registry->timers);
	check_timers(&server.registry->recovery.timers);
	for (int i = 0; i < CLIENTS; i++)
		if (clients[i])
			check_session(&clients[i]->session);
	check_users(server.registry);
}

/* --- requests --------------------------------------------------------------------------------- */

/* The names of the fields that hold text end, and ids of new segments grow. */
static void check_granted(const struct packet_message *reply)
{
	const struct wire_segment *segment = reply->body;

	HOLDS(reply->body_size == sizeof(*segment));
	HOLDS(text_is_padded(segment->name, sizeof(segment->name)));
	HOLDS(text_is_padded(segment->semaphore, sizeof(segment->semaphore)));
	bool is_granted = segment->lock == WIRE_LOCK_GRANTED;
	HOLDS(segment->lock < WIRE_LOCKS);
	HOLDS(is_granted == (segment->number > 0) && segment->number <= WORD_NUMBER_MAX);
	unsigned n_fds = reply->header.descriptors - !!(segment->flags & WIRE_SEGMENT_READER);
	HOLDS(n_fds >= 1 && n_fds <= 3);
	HOLDS((n_fds == 3) == (is_granted && segment->permits > 1));
	HOLDS(!is_granted || n_fds >= 2);
	HOLDS(!(segment->flags & WIRE_SEGMENT_READER) || !segment->name[0]);
	if (segment->flags & WIRE_SEGMENT_NEW) {
		HOLDS(segment->id > newest_id);
		newest_id = segment->id;
	}
	HOLDS(segment->id <= newest_id && segment->generation <= newest_id);
}

static void check_entries(const struct packet_message *reply, const struct wire_entries *page,
			  size_t before, size_t entry)
{
	HOLDS(reply->body_size == before + page->entries * entry);
}

static void check_answer(const struct packet_message *reply)
{
	const struct wire_shown *shown = reply->body;
	const struct wire_status *status = reply->body;
	const struct wire_published *published = reply->body;

	switch (reply->header.op) {
	case WIRE_CREATE:
	case WIRE_ATTACH:
	case WIRE_WAIT:
		check_granted(reply);
		return;
	case WIRE_PUBLISH:
		HOLDS(reply->body_size == sizeof(*published) && published->generation > newest_id);
		newest_id = published->generation;
		break;
	case WIRE_LIST:
		check_entries(reply, reply->body, sizeof(struct wire_entries),
			      sizeof(struct wire_entry));
		break;
	case WIRE_CLIENTS:
		check_entries(reply, reply->body, sizeof(struct wire_entries),
			      sizeof(struct wire_client));
		break;
	case WIRE_SHOW:
		check_entries(reply, &shown->page, sizeof(*shown), sizeof(struct wire_attachment));
		break;
	case WIRE_HOLDERS:
		check_entries(reply, reply->body, sizeof(struct wire_entries),
			      sizeof(struct wire_holder));
		break;
	case WIRE_EXPLAIN:
		HOLDS(reply->body_size == sizeof(struct wire_explained));
		break;
	case WIRE_STATUS:
		HOLDS(reply->body_size == sizeof(*status) +
						  status->counters * sizeof(struct wire_counter) +
						  status->limits * sizeof(struct wire_limit));
		break;
	default:
		break;
	}
	HOLDS(reply->header.descriptors == 0);
}

static void check_reply(const struct packet_message *requests, unsigned n,
			const struct reply *reply)
{
	const struct packet_writer *writer = &reply->writer;
	struct packet_message message;
	unsigned n_fds = 0;
	size_t offset = 0;

	/* It waits. */
	if (requests[0].header.op == WIRE_WAIT && writer->size == 0)
		return;
	for (unsigned i = 0; i < n; i++) {
		HOLDS(packet_next_reply(writer->bytes, writer->size, &offset, &message) == 1);
		HOLDS(message.header.op == requests[i].header.op);
		HOLDS(message.header.number == requests[i].header.number);
		HOLDS(message.header.code < WIRE_CODES);
		n_fds += message.header.descriptors;
		if (message.header.code == WIRE_OK) {
			check_answer(&message);
			continue;
		}
		const struct wire_error *error = message.body;
		HOLDS(message.body_size == sizeof(*error) && message.header.descriptors == 0);
		HOLDS(error->text[0] && text_is_padded(error->text, sizeof(error->text)));
	}
	HOLDS(offset == writer->size);
	HOLDS(n_fds == reply->n_fds && n_fds <= WIRE_DESCRIPTORS_MAX);
	for (unsigned i = 0; i < n_fds; i++)
		HOLDS(fcntl(reply->fds[i], F_GETFD) >= 0);
}

/* The receiver keeps a descriptor, in place of what it kept there before. */
static void hold(unsigned place, const struct reply *reply)
{
	if (reply->n_fds == 0)
		return;
	close_fd(held[place % HELD]);
	held[place % HELD] = fcntl(reply->fds[place % reply->n_fds], F_DUPFD_CLOEXEC, 0);
}

/* What client.c does with a packet. */
static void serve(struct client *client, const void *packet, size_t size, unsigned keep)
{
	struct packet_message requests[WIRE_BATCH_MAX];
	const char *why;
	struct reply reply;
	int n = packet_check_requests(packet, size, requests, &why);

	if (n < 0 || (requests[0].header.op == WIRE_HELLO) == client->was_greeted)
		return;
	reply_init(&reply, server.out);
	dispatch(client, requests, (unsigned)n, &reply);
	check_reply(requests, (unsigned)n, &reply);
	if (keep)
		hold(keep, &reply);
	reply_fini(&reply);
}

static void take_name(struct input *input, char to[static WIRE_NAME_SIZE])
{
	static const char *const names[] = {"a", "b",  "c",   "d",        "/a",
					    "",  "..", "a/b", "\xc3\xa9", "\xff"};
	unsigned which = take(input) % 16;

	if (which < sizeof(names) / sizeof(names[0]))
		text_copy(to, WIRE_NAME_SIZE, names[which]);
	else if (which < 13)
		memset(to, 'x', WIRE_NAME_MAX + which - 10);
	else
		take_bytes(input, to, which - 10);
}

/* One that has been, is, or will be. */
static uint64_t take_id(struct input *input)
{
	return FIRST_ID + take(input) % 32;
}

static uint64_t take_size(struct input *input)
{
	static const uint64_t sizes[] = {1,         4096,      4097, 65536, 0, UINT64_C(1) << 40,
					 INT64_MAX, UINT64_MAX};
	unsigned which = take(input) % 16;

	return which < 8 ? sizes[which] : 1 + 100 * which;
}

static void put_create(struct input *input, struct wire_create *create)
{
	static const uint32_t modes[] = {0600, 0660, 0666, 0640, 0644, 0, 0777, 01000};
	static const uint32_t lingers[] = {0, 1, 1000, UINT32_MAX};
	static const uint32_t permits[] = {1, 2, 0, INT32_MAX, UINT32_MAX};
	unsigned rule = take(input), flags = take(input);

	create->size = take_size(input);
	create->mode = modes[rule % 8];
	create->lifetime = rule / 8 % 4;
	create->linger_ms = lingers[rule / 32 % 4];
	create->flags = flags & WIRE_CREATE_FLAGS;
	create->permits = create->flags & WIRE_NO_SEMAPHORE ? 0 : permits[rule / 128 + flags / 64];
	take_name(input, create->name);
}

/* By name or by id. */
static void take_target(struct input *input, uint64_t *id, char name[static WIRE_NAME_SIZE])
{
	if (take(input) & 1)
		*id = take_id(input);
	else
		take_name(input, name);
}

static void put_request(struct input *input, unsigned op, void *body)
{
	struct wire_attach *attach = body;
	struct wire_detach *detach = body;
	struct wire_unlink *request = body;
	struct wire_show *show = body;
	struct wire_page *page = body;
	struct wire_keep *keep = body;
	struct wire_publish *publish = body;
	struct wire_wait *wait = body;
	struct wire_subscribe *subscribe = body;
	struct wire_cancel *cancel = body;
	struct wire_explain *explain = body;

	switch (op) {
	case WIRE_CREATE:
		put_create(input, body);
		break;
	case WIRE_ATTACH:
		attach->flags = take(input) & WIRE_ATTACH_FLAGS;
		take_target(input, &attach->id, attach->name);
		break;
	case WIRE_DETACH:
		detach->flags = take(input) & WIRE_READ_ONLY;
		detach->id = take_id(input);
		break;
	case WIRE_UNLINK:
		take_target(input, &request->id, request->name);
		break;
	case WIRE_LIST:
		page->after = take(input) & 1 ? take_id(input) : 0;
		break;
	case WIRE_KEEP:
		keep->id = take_id(input);
		break;
	case WIRE_PUBLISH:
		publish->id = take_id(input);
		publish->flags = take(input) & WIRE_WRITABLE;
		take_name(input, publish->name);
		break;
	case WIRE_WAIT:
		wait->newer_than = take(input) & 1 ? take_id(input) : 0;
		wait->flags = take(input) & WIRE_ATTACH_FLAGS;
		take_name(input, wait->name);
		break;
	case WIRE_SUBSCRIBE:
		text_copy(subscribe->prefix, WIRE_NAME_SIZE, take(input) & 1 ? "a" : "");
		break;
	case WIRE_CANCEL:
		cancel->number = 1 + take(input) % 4;
		break;
	case WIRE_EXPLAIN:
		explain->uid = take(input) & 1 ? users[take(input) % USERS] : WIRE_NO_ID;
		take_name(input, explain->name);
		break;
	case WIRE_SHOW:
	case WIRE_HOLDERS:
		show->after = take(input) % 4;
		take_name(input, show->name);
		break;
	case WIRE_CLIENTS:
		page->after = take(input) % 16;
		break;
	default:
		break;
	}
}

static size_t body_size(unsigned op)
{
	static const size_t sizes[WIRE_OPS] = {
		[WIRE_HELLO] = sizeof(struct wire_hello),
		[WIRE_CREATE] = sizeof(struct wire_create),
		[WIRE_ATTACH] = sizeof(struct wire_attach),
		[WIRE_DETACH] = sizeof(struct wire_detach),
		[WIRE_UNLINK] = sizeof(struct wire_unlink),
		[WIRE_LIST] = sizeof(struct wire_page),
		[WIRE_SHOW] = sizeof(struct wire_show),
		[WIRE_CLIENTS] = sizeof(struct wire_page),
		[WIRE_HOLDERS] = sizeof(struct wire_show),
		[WIRE_KEEP] = sizeof(struct wire_keep),
		[WIRE_PUBLISH] = sizeof(struct wire_publish),
		[WIRE_WAIT] = sizeof(struct wire_wait),
		[WIRE_SUBSCRIBE] = sizeof(struct wire_subscribe),
		[WIRE_CANCEL] = sizeof(struct wire_cancel),
		[WIRE_EXPLAIN] = sizeof(struct wire_explain),
	};

	return sizes[op];
}

static void step_requests(struct input *input, struct client *client)
{
	static const uint16_t ops[] = {WIRE_CREATE,    WIRE_CREATE,  WIRE_CREATE,  WIRE_CREATE,
				       WIRE_ATTACH,    WIRE_ATTACH,  WIRE_ATTACH,  WIRE_DETACH,
				       WIRE_DETACH,    WIRE_UNLINK,  WIRE_UNLINK,  WIRE_STATUS,
				       WIRE_LIST,      WIRE_SHOW,    WIRE_CLIENTS, WIRE_HELLO,
				       WIRE_KEEP,      WIRE_KEEP,    WIRE_HOLDERS, WIRE_PUBLISH,
				       WIRE_PUBLISH,   WIRE_PUBLISH, WIRE_WAIT,    WIRE_WAIT,
				       WIRE_SUBSCRIBE, WIRE_CANCEL,  WIRE_EXPLAIN};
	unsigned form = take(input);
	unsigned n = form % 8 < 6 ? 1 : form % 8 < 7 ? 2 + form / 8 % 8 : WIRE_BATCH_MAX;
	struct packet_writer writer;

	packet_writer_init(&writer, server.in, sizeof(server.in));
	for (unsigned i = 0; i < n; i++) {
		unsigned op = ops[take(input) % (sizeof(ops) / sizeof(ops[0]))];
		packet_begin(&writer, op, i + 1);
		put_request(input, op, packet_append(&writer, body_size(op)));
		packet_end(&writer, 0, 0);
	}
	serve(client, server.in, writer.size, form / 8);
}

static void step_bytes(struct input *input, struct client *client)
{
	size_t size = take(input);

	take_bytes(input, server.in, size);
	serve(client, server.in, size, 0);
}

/* --- clients that come and go ----------------------------------------------------------------- */

static void greet(struct client *client, uint32_t word_bits)
{
	struct wire_hello hello = {.version = WIRE_VERSION, .word_bits = word_bits};
	struct packet_writer writer;

	packet_writer_init(&writer, server.in, sizeof(server.in));
	packet_begin(&writer, WIRE_HELLO, 1);
	memcpy(packet_append(&writer, sizeof(hello)), &hello, sizeof(hello));
	packet_end(&writer, 0, 0);
	serve(client, server.in, writer.size, 0);
	HOLDS(client->was_greeted);
}

static struct client *connect_as(uid_t uid, uint32_t word_bits, struct process *process)
{
	struct client *client = calloc(1, sizeof(*client));
	gid_t *groups = malloc(sizeof(*groups));
	struct credentials who;
	struct refusal why;

	HOLDS(client && groups);
	groups[0] = uid ? GROUP : 0;
	credentials_init(&who, uid, uid, groups, 1);
	client->server = &server;
	client->socket = -1;
	client->connected_at = now;
	session_init(&client->session, server.next_client++, 0, &who);
	client->session.estate = process ? &process->estate : NULL;
	if (quota_charge(&server.registry->quota, &client->session.who, QUOTA_CLIENTS, 1,
			 &client->charge, &why) != 0)
		return client_free(client);
	HASH_ADD(hh, server.clients, session.id, sizeof(client->session.id), client);
	HOLDS(HASH_ADDED(hh, client));
	greet(client, word_bits);
	return client;
}

static struct process *process_at(const struct client *const *place)
{
	return &processes[(place - (const struct client *const *)clients) / 2];
}

/* A process that has died makes room for another once what it left is settled. */
static bool is_settled(const struct process *process)
{
	return process->pidfd == 0 || !process->estate.lockers;
}

static void step_connect(struct input *input, struct client **place)
{
	unsigned how = take(input);
	struct process *process = process_at((const struct client *const *)place);

	if (*place || !is_settled(process))
		return;
	process->pidfd = 0;
	*place = connect_as(users[how % USERS], how / USERS % 8 == 7 ? 32 : 8 * sizeof(void *),
			    how / USERS / 8 % 4 == 3 ? NULL : process);
}

/* What server.c does; `pidfd` stands for that it has happened. */
static void die(unsigned n)
{
	registry_bury(server.registry, &processes[n].estate);
	processes[n].pidfd = -1;
	for (unsigned i = 2 * n; i < 2 * n + 2; i++)
		clients[i] = client_free(clients[i]);
}

/* --- who may lock, and does what it likes ------------------------------------------------------ */

static struct segment *take_segment(struct input *input)
{
	uint64_t id = take_id(input);
	struct segment *segment = NULL;

	HASH_FIND(by_id, server.registry->by_id, &id, sizeof(id), segment);
	return segment && segment->semaphore.fd >= 0 ? segment : NULL;
}

/* A word, or a slot, that means something in most cases. */
static uint64_t take_word(struct input *input)
{
	unsigned form = take(input);
	uint64_t word;

	if (form % 4 == 0) {
		take_bytes(input, &word, sizeof(word));
		return word;
	}
	word = take(input) | (uint64_t)(take(input) % 8) << WORD_OWNER_SHIFT;
	return word | (uint64_t)(form / 4) << 56;
}

static void step_memory(struct input *input)
{
	static const off_t sizes[] = {0, 4, 16, 32, 4096, 1 << 20};
	struct segment *segment = take_segment(input);
	unsigned where = take(input);
	uint64_t word = take_word(input);

	if (!segment)
		return;
	if (where % 8 == 7)
		HOLDS(ftruncate(segment->semaphore.fd, sizes[where / 8 % 6]) == 0);
	else if (where % 8 > 3 && segment->ledger.fd >= 0)
		HOLDS(pwrite(segment->ledger.fd, &word, sizeof(word), where / 8 * 8) == 8);
	else
		HOLDS(pwrite(segment->semaphore.fd, &word, sizeof(word), 0) == 8);
}

/* A program opens the semaphore by name, and closes another that it had. */
static void step_by_name(struct input *input)
{
	struct segment *segment = take_segment(input);
	unsigned place = take(input) % HELD;
	char file[64];

	held[place] = close_fd(held[place]);
	if (!segment || !segment->semaphore.name[0])
		return;
	snprintf(file, sizeof(file), "sem.%s", segment->semaphore.name);
	held[place] = openat(server.registry->instance.folder, file, O_RDWR | O_CLOEXEC);
	HOLDS(held[place] >= 0);
}

/* --- what the loop does ----------------------------------------------------------------------- */

static void step_close(unsigned place)
{
	int fds[2];

	place %= HELD;
	if (closing[place]) {
		registry_forget(server.registry, closing[place]);
		closing[place] = NULL;
		return;
	}
	closing[place] = registry_take_unused(server.registry, fds);
	if (closing[place]) {
		close_fd(fds[0]);
		close_fd(fds[1]);
	}
}

static void step_time(unsigned how)
{
	now += UINT64_C(1) << how % 52;
	if (how & 64)
		registry_run_timers(server.registry, now);
}

/* What waker.c does. */
static void step_wake(bool is_behind)
{
	struct wait *wait = waits_take_ready(&server.registry->waits);
	struct packet_message message;
	struct reply reply;
	size_t offset = 0;

	if (!wait)
		return;
	wait->is_parked = is_behind;
	if (is_behind)
		return;
	reply_init(&reply, server.out);
	dispatch_wait(client_of(wait->session), wait, &reply);
	if (packet_next_reply(reply.writer.bytes, reply.writer.size, &offset, &message) == 1 &&
	    message.header.code == WIRE_OK)
		check_answer(&message);
	reply_fini(&reply);
}

static void resume(struct client *client)
{
	struct wait *wait, *next;

	struct subscription *subscription;

	DL_FOREACH2 (client->session.subscriptions, subscription, session_next)
		subscription_resume(&server.registry->journal, subscription);
	DL_FOREACH_SAFE2 (client->session.waits, wait, next, session_next)
		if (wait->is_parked)
			wait_make_ready(&server.registry->waits, wait);
}

/* What notifier.c does. */
static void step_notify(bool is_read)
{
	struct journal *journal = &server.registry->journal;
	struct subscription *subscription = journal_take_due(journal);

	if (!subscription)
		return;
	if (is_read)
		subscription_sent(journal, subscription, (subscription->n + 1) / 2);
	else
		subscription_park(subscription);
}

/* A client does with its memory what it may, whether the broker likes it or not. */
static void step_seal(struct input *input)
{
	static const int seals[] = {F_SEAL_WRITE, F_SEAL_WRITE, F_SEAL_SEAL, F_SEAL_FUTURE_WRITE};
	uint64_t id = take_id(input);
	unsigned which = take(input) % 4;
	struct segment *segment = NULL;

	HASH_FIND(by_id, server.registry->by_id, &id, sizeof(id), segment);
	if (segment && segment->fd >= 0)
		fcntl(segment->fd, F_ADD_SEALS, seals[which]);
}

static void step_loop(unsigned how)
{
	switch (how % 4) {
	case 0:
		registry_run_timers(server.registry, now);
		break;
	case 1:
		registry_settle_some(server.registry, how / 4 % 8, now);
		break;
	case 2:
		registry_read_watch(server.registry, now);
		break;
	case 3:
		if (how & 128)
			step_wake(how & 64);
		else if (how & 64)
			step_notify(how & 32);
		else
			step_close(how / 4);
		break;
	}
}

/* As SIGHUP with another policy, whose rules overlap and have had other terms before. */
static void step_policy(unsigned how)
{
	static const char names[][8] = {"[ab]\0", "a\0c\0", "*\0"};
	struct policy policy = {0};

	for (unsigned i = 0; i < how % 4 && i < 3; i++) {
		struct policy_rule *rule = policy_add(&policy, i & 1 ? "one" : "two", "fuzz",
						      1 + i);
		HOLDS(rule);
		memcpy(rule->names, names[(how / 4 + i) % 3], sizeof(names[0]));
		if (how & 16)
			rule->create = (struct users){.n = 1, .entries = {{true, GROUP}}};
		if (how & 32)
			rule->owner = users[2], rule->group = GROUP, rule->mode = 0640;
		if (how & 64)
			rule->segments_max = 2, rule->size_max = 5000, rule->lifetimes = 3;
	}
	access_set_administrators(how & 8 ? GROUP : ACCESS_NO_GROUP);
	registry_set_policy(server.registry, &policy);
}

/* As SIGHUP with another configuration: limits below what is in use. */
static void step_limits(unsigned how)
{
	struct quota_limits *limits = &server.registry->quota.limits;

	if (how & 128) {
		step_policy(how);
		return;
	}
	limits->per_user[how % QUOTA_RESOURCES] = how / 4 % 8 == 7 ? 0 : 1u << how / 4 % 8 * 2;
}

static void step(struct input *input)
{
	unsigned what = take(input);
	struct client **client = &clients[what / 16 % CLIENTS];

	switch (what % 16) {
	case 0:
	case 1:
		step_connect(input, client);
		break;
	case 2:
		*client = client_free(*client);
		break;
	case 3:
		step_time(take(input));
		break;
	case 4:
	case 5:
	case 6:
		step_loop(take(input));
		break;
	case 7:
		held[what / 16 % HELD] = close_fd(held[what / 16 % HELD]);
		if (*client)
			resume(*client);
		break;
	case 12:
		step_seal(input);
		break;
	case 8:
		step_limits(take(input));
		break;
	case 9:
		if (*client)
			step_bytes(input, *client);
		break;
	case 13:
		die(what / 16 % PROCESSES);
		break;
	case 14:
		step_memory(input);
		break;
	case 15:
		step_by_name(input);
		break;
	default:
		if (*client)
			step_requests(input, *client);
		break;
	}
}

/* --- beginning and end ------------------------------------------------------------------------ */

static unsigned count_entries(const char *path)
{
	DIR *entries = opendir(path);
	unsigned n = 0;

	HOLDS(entries);
	while (readdir(entries))
		n++;
	closedir(entries);
	return n;
}

static void begin(void)
{
	struct quota_limits limits = {
		.total = {[QUOTA_CLIENTS] = 5,
			  [QUOTA_SEGMENTS] = 24,
			  [QUOTA_SEMAPHORES] = 20,
			  [QUOTA_BYTES] = 1 << 20,
			  [QUOTA_ATTACHMENTS] = 48,
			  [QUOTA_WAITS] = 16,
			  [QUOTA_SUBSCRIPTIONS] = 6},
		.per_user = {[QUOTA_CLIENTS] = 3,
			     [QUOTA_SEGMENTS] = 16,
			     [QUOTA_SEMAPHORES] = 14,
			     [QUOTA_BYTES] = 1 << 19,
			     [QUOTA_ATTACHMENTS] = 32,
			     [QUOTA_WAITS] = 8,
			     [QUOTA_SUBSCRIPTIONS] = 4},
	};

	memset(held, 0xff, sizeof(held));
	now = 1000 * NSEC_PER_SEC;
	newest_id = FIRST_ID - 1;
	server.next_client = 1;
	server.started_at = now;
	HOLDS(registry_new(&server.registry, &limits, folder, FIRST_ID) == 0);
	for (int i = 0; i < PROCESSES; i++) {
		processes[i] = (struct process){.has_command = true, .command = "fuzz"};
		estate_init(&processes[i].estate, &server.registry->emptied);
	}
}

static void unlink_all(void)
{
	struct session root = {.id = 0};
	struct refusal why;
	struct segment *segment = NULL;
	uint64_t id = 0;

	credentials_init(&root.who, 0, 0, NULL, 0);
	while ((segment = registry_next(server.registry, id))) {
		id = segment->id;
		HOLDS(registry_unlink(server.registry, &root, id, "", now, &why) == 0);
	}
}

static void run_loop_once(void)
{
	registry_read_watch(server.registry, now);
	registry_run_timers(server.registry, now);
	while (registry_settle_some(server.registry, 64, now))
		;
	for (unsigned i = 0; i < 2 * HELD; i++)
		step_close(i);
	while (registry_take_emptied(server.registry))
		;
	check_books();
}

/* Everybody leaves, and lets go of all that they kept. */
static void end(void)
{
	for (int i = 0; i < CLIENTS; i++)
		clients[i] = client_free(clients[i]);
	check_books();
	for (unsigned i = 0; i < PROCESSES; i++)
		die(i);
	check_books();
	unlink_all();
	check_books();
	for (int i = 0; i < HELD; i++)
		held[i] = close_fd(held[i]);
	for (int i = 0; server.registry->by_id; i++) {
		/* A segment that nobody looks at any more would stay here for ever. */
		HOLDS(i < 100);
		run_loop_once();
		if (registry_next_deadline(server.registry) > now)
			now = registry_next_deadline(server.registry);
	}
	HOLDS(!server.registry->queue && !server.registry->unused && !server.registry->by_name);
	HOLDS(!server.clients && !server.registry->quota.users);
	HOLDS(!server.registry->waits.names && !server.registry->waits.users);
	HOLDS(!server.registry->lineages && !server.registry->journal.subscriptions);
	HOLDS(!server.registry->tallies);
	for (int k = 0; k < QUOTA_RESOURCES; k++)
		HOLDS(server.registry->quota.used[k] == 0);
	HOLDS(!server.registry->watch.items && server.registry->timers.n == 0);
	HOLDS(server.registry->recovery.timers.n == 0 && !server.registry->recovery.by_semaphore);
	for (int i = 0; i < PROCESSES; i++) {
		HOLDS(!processes[i].estate.lockers && !processes[i].estate.left);
		estate_fini(&processes[i].estate);
	}
	HOLDS(!server.registry->emptied);
	server.registry = registry_free(server.registry);
	HOLDS(count_entries(folder) == 2);
}

static void remove_folder(void)
{
	rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	log_set_level(LOG_LEVEL_ERROR);
	signal(SIGIO, SIG_IGN);
	HOLDS(guard_init() == 0);
	HOLDS(mkdtemp(folder));
	atexit(remove_folder);
	/* Keeps a descriptor of the folder for good. */
	close_fd(memory_reopen(STDERR_FILENO, true));
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct input input = {bytes, size};
	unsigned descriptors = count_entries("/proc/self/fd");

	begin();
	for (int i = 0; input.left > 0 && i < STEPS_MAX; i++) {
		step(&input);
		check_books();
	}
	end();
	HOLDS(count_entries("/proc/self/fd") == descriptors);
	return 0;
}
