/* SPDX-License-Identifier: MIT */
#include "shmd/query.h"

#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "core/explain.h"
#include "core/memory.h"
#include "shmd/account.h"
#include "shmd/client.h"
#include "shmd/process.h"
#include "shmd/reply.h"
#include "shmd/server.h"
#include "shmd/usage.h"
#include "shmd/user.h"

/* Entries in a page, so that it fits a packet, and entries looked at for one, so that a listing in
 * which the caller may see nothing does not hold up the others. */
#define PAGE_SEGMENTS    32
#define PAGE_ATTACHMENTS 64
#define PAGE_CLIENTS     64
#define PAGE_HOLDERS     64
#define PAGE_LOOKED_AT   1024

_Static_assert(sizeof(struct wire_header) + sizeof(struct wire_entries) +
			       PAGE_SEGMENTS * sizeof(struct wire_entry) <=
		       WIRE_PACKET_MAX,
	       "a page of segments fits a packet");
_Static_assert(sizeof(struct wire_header) + sizeof(struct wire_shown) +
			       PAGE_ATTACHMENTS * sizeof(struct wire_attachment) <=
		       WIRE_PACKET_MAX,
	       "a page of attachments fits a packet");
_Static_assert(sizeof(struct wire_header) + sizeof(struct wire_entries) +
			       PAGE_CLIENTS * sizeof(struct wire_client) <=
		       WIRE_PACKET_MAX,
	       "a page of clients fits a packet");

_Static_assert(sizeof(struct wire_header) + sizeof(struct wire_entries) +
			       PAGE_HOLDERS * sizeof(struct wire_holder) <=
		       WIRE_PACKET_MAX,
	       "a page of holders fits a packet");

/* --- segments --------------------------------------------------------------------------------- */

static uint32_t lifetime_on_wire(enum lifetime lifetime)
{
	switch (lifetime) {
	case LIFETIME_CLIENTS:
		return WIRE_LIFETIME_CLIENTS;
	case LIFETIME_OWNER:
		return WIRE_LIFETIME_OWNER;
	case LIFETIME_PERSISTENT:
		return WIRE_LIFETIME_PERSISTENT;
	}
	return WIRE_LIFETIME_CLIENTS;
}

uint32_t query_segment_flags(const struct segment *segment)
{
	return (segment->readers_lock ? WIRE_SEGMENT_READERS : 0) |
	       (segment->huge ? WIRE_SEGMENT_HUGE : 0) |
	       (segment->is_sealed ? WIRE_SEGMENT_SEALED : 0) |
	       (segment_is_posix(segment) ? WIRE_SEGMENT_POSIX : 0) |
	       (segment->kind == SEGMENT_POSIX_MEMORY ? WIRE_SEGMENT_UNSEALED : 0) |
	       (segment->state == SEGMENT_DROPPED ? WIRE_SEGMENT_DROPPED : 0) |
	       (segment->state == SEGMENT_LINGERING ? WIRE_SEGMENT_LINGERS : 0);
}

void query_put_segment(const struct segment *segment, struct wire_segment *ret)
{
	ret->id = segment->id;
	ret->generation = segment->generation;
	ret->size = segment_size(segment);
	ret->uid = segment->ownership.uid;
	ret->gid = segment->ownership.gid;
	ret->mode = segment_is_posix(segment) ? memory_mode(segment->fd) : segment->ownership.mode;
	ret->lifetime = lifetime_on_wire(segment->lifetime);
	ret->linger_ms = (uint32_t)(segment->linger_ns / NSEC_PER_MSEC);
	ret->permits = segment->late_permits ? segment->late_permits : segment->ledger.permits;
	ret->flags = query_segment_flags(segment);
	text_copy(ret->name, sizeof(ret->name), segment->name);
	text_copy(ret->semaphore, sizeof(ret->semaphore), segment->semaphore.name);
}

static void put_entry(const struct segment *segment, struct wire_entry *ret)
{
	query_put_segment(segment, &ret->segment);
	ret->allocated = memory_allocated(segment->fd);
	ret->age_ms = (clock_boottime_ns() - segment->created_at) / NSEC_PER_MSEC;
	ret->clients = segment->n_attachments;
}

int query_list(struct client *client, const void *body, struct reply *reply, struct refusal *why)
{
	const struct registry *registry = client->server->registry;
	uint64_t last = ((const struct wire_page *)body)->after;
	struct wire_entries *page = packet_append(&reply->writer, sizeof(*page));
	struct segment *segment = registry_next(registry, last);

	(void)why;
	for (unsigned n = 0; segment && n < PAGE_LOOKED_AT && page->entries < PAGE_SEGMENTS; n++) {
		if (segment_is_visible(segment, &client->session.who)) {
			put_entry(segment,
				  packet_append(&reply->writer, sizeof(struct wire_entry)));
			page->entries++;
		}
		last = segment->id;
		segment = registry_next(registry, last);
	}
	page->next = segment ? last : 0;
	return 0;
}

/* Processes of other users stay hidden, but from the segment's owner and from administrators. */
static bool may_see(const struct client *client, const struct segment *segment, uid_t uid)
{
	const struct credentials *who = &client->session.who;

	return access_may_administer(who) || access_is_owner(who, &segment->ownership) ||
	       (who->is_mapped && who->uid == uid);
}

static void put_attachment(const struct attachment *attachment, struct wire_attachment *ret)
{
	const struct session *session = attachment->session;

	ret->client = session->id;
	ret->pid = (uint32_t)session->pid;
	ret->uid = session->who.uid;
	ret->flags = attachment_is_read_only(attachment) ? WIRE_READ_ONLY : 0;
	text_copy(ret->command, sizeof(ret->command), process_command(client_of(session)->process));
}

/* The cursor counts attachments: their list has no order that would last longer. */
static void put_attachments(struct client *client, const struct segment *segment, uint64_t after,
			    struct wire_entries *page, struct reply *reply)
{
	uint64_t at = 0;

	for (const struct attachment *a = segment->attachments; a; a = a->next, at++) {
		if (at < after || !may_see(client, segment, a->session->who.uid))
			continue;
		if (page->entries == PAGE_ATTACHMENTS) {
			page->next = at;
			return;
		}
		put_attachment(a, packet_append(&reply->writer, sizeof(struct wire_attachment)));
		page->entries++;
	}
}

static void put_lineage(const struct registry *registry, const struct segment *segment,
			struct wire_shown *ret)
{
	const struct lineage *lineage = lineage_find(registry->lineages, segment->ownership.uid,
						     segment->name);

	if (!lineage)
		return;
	ret->old_generations = lineage->generations;
	ret->old_bytes = lineage->bytes;
}

int query_show(struct client *client, const void *body, struct reply *reply, struct refusal *why)
{
	const struct wire_show *show = body;
	struct segment *segment;
	int r = registry_find(client->server->registry, &client->session.who, 0, show->name,
			      &segment, why);

	if (r != 0)
		return r;
	struct wire_shown *shown = packet_append(&reply->writer, sizeof(*shown));
	put_entry(segment, &shown->entry);
	shown->permits_available = segment->late_permits ? segment->late_permits
							 : semaphore_value(&segment->semaphore);
	put_lineage(client->server->registry, segment, shown);
	put_attachments(client, segment, show->after, &shown->page, reply);
	return 0;
}

static void put_holder(const struct locker *locker, uint32_t permits, struct wire_holder *ret)
{
	ret->pid = (uint32_t)locker->pid;
	ret->uid = locker->uid;
	ret->permits = permits;
	ret->flags = locker->until_exit ? WIRE_HOLDER_KEEPS : 0;
	text_copy(ret->command, sizeof(ret->command), process_command(process_of(locker->estate)));
}

/* The cursor counts numbers that are given, as that of the attachments does. */
static void put_holders(struct client *client, const struct segment *segment, uint64_t after,
			struct wire_entries *page, struct reply *reply)
{
	uint64_t at = 0;

	for (const struct locker *l = segment->ledger.lockers; l; l = l->next, at++) {
		if (at < after || !may_see(client, segment, l->uid))
			continue;
		if (page->entries == PAGE_HOLDERS || at == after + PAGE_LOOKED_AT) {
			page->next = at;
			return;
		}
		uint32_t permits = ledger_held(&segment->ledger, &segment->semaphore, l);
		if (permits == 0)
			continue;
		put_holder(l, permits, packet_append(&reply->writer, sizeof(struct wire_holder)));
		page->entries++;
	}
}

int query_holders(struct client *client, const void *body, struct reply *reply, struct refusal *why)
{
	const struct wire_show *show = body;
	struct segment *segment;
	int r = registry_find(client->server->registry, &client->session.who, 0, show->name,
			      &segment, why);

	if (r != 0)
		return r;
	struct wire_entries *page = packet_append(&reply->writer, sizeof(*page));
	put_holders(client, segment, show->after, page, reply);
	return 0;
}

/* --- the policy ------------------------------------------------------------------------------- */

_Static_assert(WIRE_RULE_SIZE > POLICY_RULE_NAME_MAX && WIRE_FILE_SIZE >= POLICY_FILE_MAX,
	       "where a rule stands fits its fields");
_Static_assert(WIRE_UNLIMITED == POLICY_UNLIMITED && WIRE_NO_ID == ACCESS_NO_GROUP &&
		       POLICY_AS_ASKED == UINT32_MAX,
	       "what stands for none is the same on the wire");

/* Whose rights are asked for. Another user's groups are looked up: `ret_known` is the caller's to end. */
static int find_asked(const struct client *client, uid_t uid, struct credentials *ret_known,
		      const struct credentials **ret, struct refusal *why)
{
	const struct credentials *own = &client->session.who;

	if (uid == WIRE_NO_ID || (own->is_mapped && uid == own->uid)) {
		*ret = own;
		return 0;
	}
	if (!access_may_administer(own))
		return refuse(why, REFUSAL_DENIED,
			      "what uid %u may do is told to itself, to privileged users and to "
			      "administrators; uid %u is none of these",
			      uid, own->uid);
	*ret = ret_known;
	return account_credentials(uid, ret_known);
}

static uint32_t lifetimes_on_wire(unsigned lifetimes)
{
	uint32_t bits = 0;

	for (int i = 0; i <= LIFETIME_PERSISTENT; i++)
		if (lifetimes & 1u << i)
			bits |= 1u << lifetime_on_wire((enum lifetime)i);
	return bits;
}

static void put_terms(const struct explanation *explanation, struct wire_explained *ret)
{
	const struct policy_rule *rule = explanation->rule;

	ret->linger_max_ms = rule->linger_max_ms;
	ret->size_max = rule->size_max;
	ret->segments_max = rule->segments_max;
	ret->bytes_max = rule->bytes_max;
	ret->segments_used = explanation->segments_used;
	ret->bytes_used = explanation->bytes_used;
	ret->line = rule->line;
	ret->owner = explanation->ownership.uid;
	ret->group = explanation->ownership.gid;
	ret->mode = explanation->ownership.mode;
	ret->mode_max = rule->mode_max;
	ret->lifetimes = lifetimes_on_wire(rule->lifetimes);
	text_copy(ret->rule, sizeof(ret->rule), rule->name);
	text_copy(ret->file, sizeof(ret->file), rule->file);
}

static void put_answers(const struct explanation *explanation, struct wire_explained *ret)
{
	ret->flags = (explanation->create.code == 0 ? WIRE_MAY_CREATE : 0) |
		     (explanation->exists ? WIRE_EXISTS_NOW : 0) |
		     (explanation->read.code == 0 ? WIRE_MAY_READ : 0) |
		     (explanation->write.code == 0 ? WIRE_MAY_WRITE : 0);
	text_copy(ret->create, sizeof(ret->create), explanation->create.text);
	text_copy(ret->read, sizeof(ret->read), explanation->read.text);
	text_copy(ret->write, sizeof(ret->write), explanation->write.text);
}

int query_explain(struct client *client, const void *body, struct reply *reply, struct refusal *why)
{
	const struct wire_explain *explain = body;
	CLEANUP(credentials_fini) struct credentials known = {0};
	const struct credentials *who;
	struct explanation explanation;
	int r = find_asked(client, explain->uid, &known, &who, why);

	if (r == 0)
		r = registry_explain(client->server->registry, who, explain->name,
				     clock_boottime_ns(), &explanation, why);
	if (r != 0)
		return r;
	struct wire_explained *explained = packet_append(&reply->writer, sizeof(*explained));
	explained->uid = who->uid;
	put_terms(&explanation, explained);
	put_answers(&explanation, explained);
	return 0;
}

/* --- clients ---------------------------------------------------------------------------------- */

static struct client *next_client(const struct server *server, uint64_t after)
{
	struct client *client;

	HASH_FIND(hh, server->clients, &after, sizeof(after), client);
	if (client)
		return client->hh.next;
	for (client = server->clients; client && client->session.id <= after;)
		client = client->hh.next;
	return client;
}

static void put_client(const struct client *client, struct wire_client *ret)
{
	const struct session *session = &client->session;

	ret->id = session->id;
	ret->pid = (uint32_t)session->pid;
	ret->uid = session->who.uid;
	ret->gid = session->who.gid;
	ret->segments = session_segments(session);
	ret->bytes = session->bytes;
	ret->connected_ms = (clock_boottime_ns() - client->connected_at) / NSEC_PER_MSEC;
	text_copy(ret->command, sizeof(ret->command), process_command(client->process));
}

int query_clients(struct client *client, const void *body, struct reply *reply, struct refusal *why)
{
	const struct credentials *who = &client->session.who;
	uint64_t last = ((const struct wire_page *)body)->after;
	struct wire_entries *page = packet_append(&reply->writer, sizeof(*page));
	struct client *other = next_client(client->server, last);

	(void)why;
	for (unsigned n = 0; other && n < PAGE_LOOKED_AT && page->entries < PAGE_CLIENTS; n++) {
		if (access_may_administer(who) ||
		    (who->is_mapped && other->session.who.uid == who->uid)) {
			put_client(other,
				   packet_append(&reply->writer, sizeof(struct wire_client)));
			page->entries++;
		}
		last = other->session.id;
		other = other->hh.next;
	}
	page->next = other ? last : 0;
	return 0;
}

/* --- the daemon ------------------------------------------------------------------------------- */

static void put_counters(const struct statistics *statistics, struct reply *reply)
{
	for (enum statistic i = 0; i < STATISTICS; i++) {
		struct wire_counter *counter = packet_append(&reply->writer, sizeof(*counter));
		text_copy(counter->name, sizeof(counter->name), statistic_name(i));
		counter->value = statistics->counts[i];
	}
}

static void put_limit(const char *name, uint64_t value, uint64_t use, struct reply *reply)
{
	struct wire_limit *limit = packet_append(&reply->writer, sizeof(*limit));

	text_copy(limit->name, sizeof(limit->name), name);
	limit->value = value;
	limit->use = use;
}

/* Those for each user are the ones that hold for who asks. */
static void put_limits(const struct quota *quota, const struct credentials *who,
		       struct reply *reply)
{
	for (enum quota_resource i = 0; i < QUOTA_RESOURCES; i++) {
		put_limit(quota_total_name(i), quota->limits.total[i], quota->used[i], reply);
		put_limit(quota_per_user_name(i), quota_per_user_limit(quota, who, i),
			  quota_used_by(quota, who->uid, i), reply);
	}
}

int query_status(struct client *client, const void *body, struct reply *reply, struct refusal *why)
{
	struct server *server = client->server;
	const struct quota *quota = &server->registry->quota;
	struct wire_status *status = packet_append(&reply->writer, sizeof(*status));

	(void)body, (void)why;
	user_look_at_some(server);
	text_copy(status->version, sizeof(status->version), PACKAGE_VERSION);
	status->pid = (uint32_t)getpid();
	status->counters = STATISTICS;
	status->limits = 2 * QUOTA_RESOURCES;
	status->uptime_ms = (clock_boottime_ns() - server->started_at) / NSEC_PER_MSEC;
	status->clients = quota->used[QUOTA_CLIENTS];
	status->segments = quota->used[QUOTA_SEGMENTS];
	status->bytes = quota->used[QUOTA_BYTES];
	status->heap_bytes = usage_heap();
	status->descriptors = usage_descriptors();
	text_copy(status->degraded, sizeof(status->degraded), server_trouble(server));
	put_counters(&server->registry->statistics, reply);
	put_limits(quota, &client->session.who, reply);
	return 0;
}
