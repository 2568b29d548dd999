/* SPDX-License-Identifier: MIT */
#include "answers.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "acl.h"
#include "base/text.h"
#include "fuzz.h"
#include "law.h"
#include "limits.h"
#include "shmd/reply.h"
#include "shortage.h"
#include "world.h"

_Static_assert((int)WIRE_LIFETIME_CLIENTS == (int)LIFETIME_CLIENTS &&
		       (int)WIRE_LIFETIME_OWNER == (int)LIFETIME_OWNER &&
		       (int)WIRE_LIFETIME_PERSISTENT == (int)LIFETIME_PERSISTENT,
	       "lifetimes have the same numbers here and there");

static struct known known[KNOWN_MAX];
static uint64_t newest_id;
static bool took_name;

/* Of a request that came alone: what its name led to before it, and what its answer is about. */
static uint64_t id_before;

/* Of a detachment that came alone: the number by which it could lock, which is nobody else's. */
static unsigned number_before;

/* One request and its answer. */
struct exchange {
	const struct client *client;
	const struct person *who;
	const struct packet_message *request;
	const struct packet_message *answer;
	const int *fds; /* of the answer */
};

/* --- what is known ---------------------------------------------------------------------------- */

void answers_begin(void)
{
	for (uint64_t id = FIRST_ID; id <= newest_id; id++)
		known[id - FIRST_ID] = (struct known){0};
	newest_id = FIRST_ID - 1;
	took_name = false;
}

static struct known *known_of(uint64_t id)
{
	HOLDS(id >= FIRST_ID && id - FIRST_ID < KNOWN_MAX && known[id - FIRST_ID].size > 0);
	return &known[id - FIRST_ID];
}

const struct known *answers_known(uint64_t id)
{
	return known_of(id);
}

uint64_t answers_newest(void)
{
	return newest_id;
}

bool answers_took_name(void)
{
	bool took = took_name;

	took_name = false;
	return took;
}

void answers_note_taken(void)
{
	took_name = true;
}

void answers_use_of_rule(int rule, uint64_t *ret_segments, uint64_t *ret_bytes)
{
	*ret_segments = *ret_bytes = 0;
	for (struct segment *s = server.registry->by_id; s; s = s->by_id.next)
		if (known_of(s->id)->rule == rule) {
			++*ret_segments;
			*ret_bytes += known_of(s->id)->size;
		}
}

static void note_new(uint64_t id)
{
	HOLDS(id > newest_id);
	newest_id = id;
}

/* --- names ------------------------------------------------------------------------------------ */

static const char *plain(const char *name)
{
	return name[0] == '/' ? name + 1 : name;
}

static bool is_too_long(const char *name)
{
	return strlen(plain(name)) > WIRE_NAME_MAX;
}

static bool is_bad(const char *name)
{
	name = plain(name);
	if (!name[0] || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return true;
	for (const char *p = name; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return true;
	return false;
}

/* Bytes that are no UTF-8, or one of its control characters, may be among these. */
static bool may_be_bad(const char *name)
{
	bool is_ascii = true;

	for (const char *p = name; *p; p++)
		is_ascii = is_ascii && (unsigned char)*p < 0x80;
	return is_bad(name) || !is_ascii;
}

static bool is_good(const char *name)
{
	return !is_bad(name) && !is_too_long(name);
}

static const struct segment *named(const char *name)
{
	return registry_by_name(server.registry, plain(name));
}

/* --- limits ----------------------------------------------------------------------------------- */

static bool is_at_limit(const struct person *who, enum quota_resource resource, uint64_t amount)
{
	return limits_forbid(&server.registry->quota, who, resource, amount);
}

static bool is_rule_full(const char *name, uint64_t size)
{
	int rule = law_rule_of(name);
	uint64_t segments, bytes;

	if (rule == LAW_NO_RULE)
		return false;
	answers_use_of_rule(rule, &segments, &bytes);
	return !limits_fit(law_segments_max(rule), segments, 1) ||
	       !limits_fit(law_bytes_max(rule), bytes, size);
}

/* --- creating --------------------------------------------------------------------------------- */

static struct law_case case_of(const struct exchange *x)
{
	const struct wire_create *create = x->request->body;

	return (struct law_case){.who = x->who,
				 .name = plain(create->name),
				 .size = create->size,
				 .mode = create->mode,
				 .lifetime = create->lifetime,
				 .linger_ms = create->linger_ms};
}

/* Who may lock may open the semaphore by its name, and nobody else; where there are no lists, nobody. */
static void check_semaphore(uint64_t id)
{
	const struct segment *segment = world_segment(id);
	const struct known *k = known_of(id);
	mode_t bit = segment && segment->readers_lock ? S_IROTH : S_IWOTH;

	if (!segment || segment->semaphore.fd < 0 || !segment->semaphore.name[0])
		return;
	/* Published by what came behind it in the batch: it is looked at then. */
	if (segment->is_anonymous != k->is_anonymous)
		return;
	for (int i = 0; i < PEOPLE; i++) {
		const struct person *who = &people[i];
		bool may = person_has_bits(who, &k->of, bit);
		/* The kernel knows who somebody is that we do not know. */
		if (!person_is_known(who) || person_is_privileged(who))
			continue;
		bool lets = acl_lets(segment->semaphore.fd, who);
		HOLDS(may || !lets);
		HOLDS(lets || !may || shortage_was_now() || server.registry->degraded[0]);
	}
}

static void check_created(const struct exchange *x, const struct wire_segment *segment)
{
	const struct wire_create *create = x->request->body;
	struct law_case what = case_of(x);
	bool has_name = create->name[0];
	struct known *k;

	note_new(segment->id);
	HOLDS(segment->id - FIRST_ID < KNOWN_MAX);
	k = &known[segment->id - FIRST_ID];
	HOLDS(person_is_known(x->who));
	HOLDS(!has_name || (!law_denies(&what) && !law_limits(&what)));
	HOLDS(segment->size == create->size && segment->lifetime == create->lifetime);
	HOLDS(segment->linger_ms == create->linger_ms && segment->permits == create->permits);
	HOLDS(segment->generation == segment->id);
	*k = (struct known){.of = {x->who->uid, x->who->gid, create->mode},
			    .size = create->size,
			    .maker = x->who->uid,
			    .rule = has_name ? law_rule_of(what.name) : LAW_NO_RULE,
			    .lifetime = create->lifetime,
			    .linger_ms = create->linger_ms,
			    .is_anonymous = !has_name,
			    .has_semaphore = create->permits > 0};
	if (has_name)
		k->of = law_ownership(&what);
	check_semaphore(segment->id);
}

static bool is_invalid_creation(const struct wire_create *create)
{
	return create->size == 0 || create->size > (uint64_t)INT64_MAX - 4096 ||
	       create->permits > INT32_MAX ||
	       !create->permits != !!(create->flags & WIRE_NO_SEMAPHORE) ||
	       (create->linger_ms && create->lifetime == WIRE_LIFETIME_PERSISTENT) ||
	       (create->flags & WIRE_WANT_READER && create->name[0]);
}

/* Huge pages may be refused for reasons of the machine's. */
static bool creation_may_be(enum wire_code code, const struct exchange *x)
{
	const struct wire_create *create = x->request->body;
	struct law_case what = case_of(x);
	const struct segment *existing = create->name[0] ? named(create->name) : NULL;
	bool is_huge = create->flags & WIRE_HUGE_PAGES;

	switch (code) {
	case WIRE_INVALID:
		return is_invalid_creation(create) || is_huge ||
		       (create->name[0] && may_be_bad(create->name)) ||
		       (existing && existing->size < create->size);
	case WIRE_TOO_LONG:
		return is_too_long(create->name);
	case WIRE_EXISTS:
		return existing && !(create->flags & WIRE_OPEN_EXISTING);
	case WIRE_DENIED:
		if (existing)
			return !person_may(x->who, &existing->ownership, false) ||
			       existing->is_sealed;
		return !person_is_known(x->who) || (create->name[0] && law_denies(&what));
	case WIRE_LIMIT:
		return is_at_limit(x->who, QUOTA_ATTACHMENTS, 1) ||
		       (!existing &&
			(is_at_limit(x->who, QUOTA_SEGMENTS, 1) ||
			 (create->permits && is_at_limit(x->who, QUOTA_SEMAPHORES, 1)) ||
			 is_at_limit(x->who, QUOTA_BYTES, create->size))) ||
		       (!existing && create->name[0] &&
			(law_limits(&what) || is_rule_full(what.name, what.size)));
	default:
		return is_huge && (code == WIRE_NO_MEMORY || code == WIRE_UNSUPPORTED);
	}
}

/* --- attaching -------------------------------------------------------------------------------- */

/* What comes with a segment, as far as the flags say. */
static unsigned lock_expected(const struct exchange *x, const struct wire_segment *segment,
			      uint32_t flags)
{
	const struct session *session = &x->client->session;

	if (!(flags & WIRE_WANT_SEMAPHORE) || segment->permits == 0)
		return WIRE_LOCK_NONE;
	if (flags & WIRE_READ_ONLY && !(segment->flags & WIRE_SEGMENT_READERS))
		return WIRE_LOCK_READ_ONLY;
	if (!session->can_lock || !server.registry->has_words)
		return WIRE_LOCK_LAYOUT;
	return session->estate ? WIRE_LOCK_GRANTED : WIRE_LOCK_UNWATCHED;
}

static void check_lock(const struct exchange *x, const struct wire_segment *segment, uint32_t flags)
{
	unsigned expected = lock_expected(x, segment, flags);
	bool is_granted = segment->lock == WIRE_LOCK_GRANTED;

	HOLDS(segment->lock == expected || (segment->lock == WIRE_LOCK_NO_NUMBER &&
					    expected == WIRE_LOCK_GRANTED && shortage_was_now()));
	HOLDS(is_granted == (segment->number > 0) && segment->number <= WORD_NUMBER_MAX);
	HOLDS(x->client->session.can_lock || !segment->semaphore[0]);
}

static unsigned fds_expected(const struct exchange *x, const struct wire_segment *segment,
			     uint32_t flags)
{
	unsigned lock = lock_expected(x, segment, flags);
	unsigned n = segment->flags & WIRE_SEGMENT_READER ? 2 : 1;

	/* Where only the daemon cannot look into it, the client may have it all the same. */
	if (lock == WIRE_LOCK_GRANTED || lock == WIRE_LOCK_UNWATCHED ||
	    (lock == WIRE_LOCK_LAYOUT && x->client->session.can_lock))
		n++;
	return n + (segment->lock == WIRE_LOCK_GRANTED && segment->permits > 1);
}

static void check_memory(int fd, const struct wire_segment *segment, bool read_only)
{
	struct stat st;

	HOLDS((fcntl(fd, F_GETFL) & O_ACCMODE) == (read_only ? O_RDONLY : O_RDWR));
	HOLDS(fstat(fd, &st) == 0 && (uint64_t)st.st_size == segment->size);
}

/* The descriptors are what they are said to be. */
static void check_descriptors(const struct exchange *x, const struct wire_segment *segment,
			      uint32_t flags)
{
	unsigned n = x->answer->header.descriptors;

	HOLDS(n == fds_expected(x, segment, flags));
	check_memory(x->fds[0], segment, flags & WIRE_READ_ONLY);
	if (segment->flags & WIRE_SEGMENT_READER)
		check_memory(x->fds[n - 1], segment, true);
}

/* Somebody was given a segment. */
static void check_granted(const struct exchange *x, uint32_t flags)
{
	const struct wire_segment *segment = x->answer->body;
	bool read_only = flags & WIRE_READ_ONLY;
	const struct known *k = known_of(segment->id);

	HOLDS(text_is_padded(segment->name, sizeof(segment->name)));
	HOLDS(text_is_padded(segment->semaphore, sizeof(segment->semaphore)));
	HOLDS(segment->generation <= newest_id);
	HOLDS(segment->uid == k->of.uid && segment->gid == k->of.gid &&
	      segment->mode == k->of.mode);
	HOLDS(segment->size == k->size);
	check_lock(x, segment, flags);
	check_descriptors(x, segment, flags);
	/* By the creation itself, whatever the mode. */
	if (segment->flags & WIRE_SEGMENT_NEW)
		return;
	HOLDS(person_may(x->who, &k->of, read_only));
	HOLDS(read_only || !(segment->flags & WIRE_SEGMENT_SEALED));
}

static void check_create(const struct exchange *x)
{
	const struct wire_create *create = x->request->body;
	const struct wire_segment *segment = x->answer->body;

	HOLDS(x->answer->body_size == sizeof(*segment));
	HOLDS(!create->name[0] || is_good(create->name));
	HOLDS(!(segment->flags & WIRE_SEGMENT_READER) == !(create->flags & WIRE_WANT_READER));
	HOLDS(strcmp(segment->name, plain(create->name)) == 0);
	HOLDS(!is_invalid_creation(create) || !(segment->flags & WIRE_SEGMENT_NEW));
	HOLDS(segment->size >= create->size);
	if (segment->flags & WIRE_SEGMENT_NEW)
		check_created(x, segment);
	else
		HOLDS(create->name[0] && create->flags & WIRE_OPEN_EXISTING);
	check_granted(x, create->flags & ~WIRE_READ_ONLY);
}

static void check_attach(const struct exchange *x)
{
	const struct wire_attach *attach = x->request->body;
	const struct wire_segment *segment = x->answer->body;

	HOLDS(x->answer->body_size == sizeof(*segment));
	HOLDS(!(segment->flags & (WIRE_SEGMENT_NEW | WIRE_SEGMENT_READER)));
	if (attach->id) {
		const struct known *k = known_of(attach->id);
		HOLDS(segment->id == attach->id);
		HOLDS(!person_is_kept_from(x->who, &k->of, k->is_anonymous));
	} else {
		HOLDS(is_good(attach->name) && strcmp(segment->name, plain(attach->name)) == 0);
	}
	check_granted(x, attach->flags);
}

static void check_wait(const struct exchange *x)
{
	const struct wire_wait *wait = x->request->body;
	const struct wire_segment *segment = x->answer->body;

	HOLDS(x->answer->body_size == sizeof(*segment));
	HOLDS(segment->generation > wait->newer_than);
	HOLDS(is_good(wait->name) && strcmp(segment->name, plain(wait->name)) == 0);
	HOLDS(!(segment->flags & (WIRE_SEGMENT_NEW | WIRE_SEGMENT_READER)));
	check_granted(x, wait->flags);
}

/* By id where that is not 0. */
static const struct segment *found(const struct exchange *x, uint64_t id, const char *name)
{
	const struct segment *segment;

	if (!id)
		return named(name);
	segment = world_segment(id);
	if (!segment || segment->state == SEGMENT_UNUSED ||
	    person_is_kept_from(x->who, &segment->ownership, segment->is_anonymous))
		return NULL;
	return segment;
}

static bool finding_may_be(enum wire_code code, const struct exchange *x, uint64_t id,
			   const char *name)
{
	if (code == WIRE_NOT_FOUND)
		return !found(x, id, name);
	if (code == WIRE_INVALID)
		return !id && may_be_bad(name);
	return code == WIRE_TOO_LONG && !id && is_too_long(name);
}

static bool attaching_may_be(enum wire_code code, const struct exchange *x, uint64_t id,
			     const char *name, uint32_t flags)
{
	const struct segment *segment = found(x, id, name);
	bool read_only = flags & WIRE_READ_ONLY;

	if (code == WIRE_DENIED)
		return segment && (!person_may(x->who, &segment->ownership, read_only) ||
				   (segment->is_sealed && !read_only));
	if (code == WIRE_LIMIT)
		return segment && is_at_limit(x->who, QUOTA_ATTACHMENTS, 1);
	return finding_may_be(code, x, id, name);
}

static bool waiting_may_be(enum wire_code code, const struct exchange *x)
{
	const struct wire_wait *wait = x->request->body;

	if (code == WIRE_LIMIT && is_at_limit(x->who, QUOTA_WAITS, 1))
		return true;
	return attaching_may_be(code, x, 0, wait->name, wait->flags);
}

/* --- unlinking, publishing -------------------------------------------------------------------- */

static bool may_drop(const struct person *who, const struct ownership *of)
{
	return person_owns(who, of) || person_administers(who);
}

static void check_unlink(const struct exchange *x)
{
	const struct wire_unlink *unlink = x->request->body;
	uint64_t id = unlink->id ? unlink->id : id_before;

	answers_note_taken();
	HOLDS(unlink->id || is_good(unlink->name));
	/* In a batch the name may have led to what was made there. */
	if (id)
		HOLDS(may_drop(x->who, &known_of(id)->of));
}

static bool unlinking_may_be(enum wire_code code, const struct exchange *x)
{
	const struct wire_unlink *unlink = x->request->body;
	const struct segment *segment = found(x, unlink->id, unlink->name);

	if (code == WIRE_DENIED)
		return segment && !may_drop(x->who, &segment->ownership);
	return finding_may_be(code, x, unlink->id, unlink->name);
}

static struct law_case publication(const struct exchange *x, const struct known *k)
{
	const struct wire_publish *publish = x->request->body;

	return (struct law_case){.who = x->who,
				 .name = plain(publish->name),
				 .size = k->size,
				 .mode = k->of.mode,
				 .lifetime = k->lifetime,
				 .linger_ms = k->linger_ms};
}

static void check_publish(const struct exchange *x)
{
	const struct wire_publish *publish = x->request->body;
	const struct wire_published *published = x->answer->body;
	const struct segment *segment = world_segment(publish->id);
	struct known *k = known_of(publish->id);
	struct law_case what = publication(x, k);

	HOLDS(x->answer->body_size == sizeof(*published));
	answers_note_taken();
	note_new(published->generation);
	HOLDS(is_good(publish->name) && k->is_anonymous && person_owns(x->who, &k->of));
	HOLDS(!law_denies(&what) && !law_limits(&what));
	if (segment && segment->fd >= 0 && !(publish->flags & WIRE_WRITABLE))
		HOLDS(fcntl(segment->fd, F_GET_SEALS) & F_SEAL_WRITE);
	if (id_before)
		HOLDS(may_drop(x->who, &known_of(id_before)->of));
	k->of = law_ownership(&what);
	k->is_anonymous = false;
	k->rule = law_rule_of(what.name);
	check_semaphore(publish->id);
}

static bool is_publishable(const struct segment *segment)
{
	return segment->state == SEGMENT_LIVE &&
	       (segment->lifetime != LIFETIME_OWNER || segment->owner);
}

static bool publishing_may_be(enum wire_code code, const struct exchange *x)
{
	const struct wire_publish *publish = x->request->body;
	const struct attachment *attachment = attachment_find(&x->client->session, publish->id);
	const struct segment *existing = named(publish->name), *segment;
	struct law_case what;

	if (!attachment || attachment->counts[false] == 0)
		return code == WIRE_NOT_FOUND;
	segment = attachment->segment;
	what = publication(x, known_of(publish->id));
	switch (code) {
	case WIRE_NOT_FOUND:
		return !is_publishable(segment);
	case WIRE_DENIED:
		return !person_owns(x->who, &segment->ownership) || law_denies(&what) ||
		       (existing && !may_drop(x->who, &existing->ownership));
	case WIRE_INVALID:
		return !segment->is_anonymous || may_be_bad(publish->name) ||
		       (!(publish->flags & WIRE_WRITABLE) &&
			!(fcntl(segment->fd, F_GET_SEALS) & F_SEAL_WRITE));
	case WIRE_TOO_LONG:
		return is_too_long(publish->name);
	case WIRE_LIMIT:
		return law_limits(&what) || is_rule_full(what.name, what.size);
	default:
		return false;
	}
}

/* --- what is shown ---------------------------------------------------------------------------- */

static void check_page(const struct exchange *x, const struct wire_entries *page, size_t before,
		       size_t entry)
{
	HOLDS(x->answer->body_size == before + page->entries * entry);
}

/* Of what there are never enough of for another page. */
static void check_only_page(const struct exchange *x, const struct wire_entries *page,
			    size_t before, size_t entry)
{
	check_page(x, page, before, entry);
	HOLDS(page->next == 0);
}

static void check_entry(const struct person *who, const struct wire_entry *entry)
{
	const struct wire_segment *segment = &entry->segment;
	const struct known *k = known_of(segment->id);

	HOLDS(person_sees(who, &k->of, segment->name[0]));
	HOLDS(segment->uid == k->of.uid && segment->gid == k->of.gid &&
	      segment->mode == k->of.mode);
	HOLDS(segment->size == k->size && text_is_padded(segment->name, sizeof(segment->name)));
	HOLDS(entry->clients == world_segment(segment->id)->n_attachments);
}

/* All that somebody may see, in the order of their ids, up to where the next page begins. */
static void check_list(const struct exchange *x)
{
	const struct wire_page *asked = x->request->body;
	const struct wire_entries *page = x->answer->body;
	const struct wire_entry *entries = (const void *)(page + 1);
	uint32_t n = 0;

	check_page(x, page, sizeof(*page), sizeof(*entries));
	HOLDS(page->next == 0 || page->next > asked->after);
	for (struct segment *s = server.registry->by_id; s; s = s->by_id.next) {
		if (page->next && s->id > page->next)
			break;
		if (s->id <= asked->after || s->state == SEGMENT_UNUSED ||
		    !person_sees(x->who, &s->ownership, s->name[0]))
			continue;
		HOLDS(n < page->entries && entries[n].segment.id == s->id);
		check_entry(x->who, &entries[n++]);
	}
	HOLDS(n == page->entries);
}

/* Whether somebody may know of another's part in a segment. */
static bool may_know(const struct person *who, const struct segment *segment, uid_t uid)
{
	return may_drop(who, &segment->ownership) || (person_is_known(who) && who->uid == uid);
}

static void check_show(const struct exchange *x)
{
	const struct wire_show *asked = x->request->body;
	const struct wire_shown *shown = x->answer->body;
	const struct wire_attachment *attachments = (const void *)(shown + 1);
	const struct segment *segment = named(asked->name);
	uint64_t at = 0;
	uint32_t n = 0;

	HOLDS(segment && person_sees(x->who, &segment->ownership, true));
	HOLDS(shown->entry.segment.id == segment->id);
	check_only_page(x, &shown->page, sizeof(*shown), sizeof(*attachments));
	check_entry(x->who, &shown->entry);
	for (const struct attachment *a = segment->attachments; a; a = a->next, at++)
		if (at >= asked->after && may_know(x->who, segment, a->session->who.uid)) {
			HOLDS(n < shown->page.entries);
			HOLDS(attachments[n].client == a->session->id);
			HOLDS(attachments[n++].uid == a->session->who.uid);
		}
	HOLDS(n == shown->page.entries);
}

static void check_holders(const struct exchange *x)
{
	const struct wire_show *asked = x->request->body;
	const struct wire_entries *page = x->answer->body;
	const struct wire_holder *holders = (const void *)(page + 1);
	const struct segment *segment = named(asked->name);

	HOLDS(segment && person_sees(x->who, &segment->ownership, true));
	check_only_page(x, page, sizeof(*page), sizeof(*holders));
	for (uint32_t i = 0; i < page->entries; i++) {
		HOLDS(holders[i].permits > 0);
		HOLDS(may_know(x->who, segment, holders[i].uid));
	}
}

static void check_clients(const struct exchange *x)
{
	const struct wire_page *asked = x->request->body;
	const struct wire_entries *page = x->answer->body;
	const struct wire_client *entries = (const void *)(page + 1);
	uint32_t n = 0;

	check_only_page(x, page, sizeof(*page), sizeof(*entries));
	for (const struct client *c = server.clients; c; c = c->hh.next) {
		const struct session *session = &c->session;
		if (session->id <= asked->after ||
		    !(person_administers(x->who) ||
		      (person_is_known(x->who) && session->who.uid == x->who->uid)))
			continue;
		HOLDS(n < page->entries && entries[n].id == session->id);
		HOLDS(entries[n].uid == session->who.uid && entries[n].bytes == session->bytes);
		n++;
	}
	HOLDS(n == page->entries);
}

static bool may_ask_about(const struct person *who, uint32_t uid)
{
	return uid == WIRE_NO_ID || (person_is_known(who) && uid == who->uid) ||
	       person_administers(who);
}

/* Another user's groups are the machine's business, and it knows none of ours. */
static struct person asked_about(const struct person *who, uint32_t uid)
{
	if (uid == WIRE_NO_ID || uid == who->uid)
		return *who;
	return (struct person){.uid = uid, .gid = ACCESS_NO_GROUP};
}

static void check_terms(const struct wire_explained *explained, const struct person *who,
			const char *name)
{
	uint64_t segments = WIRE_UNLIMITED, bytes = WIRE_UNLIMITED;
	int rule = law_rule_of(name);
	struct law_case what = {.who = who, .name = name, .mode = POLICY_AS_ASKED};
	struct ownership of = law_ownership(&what);

	HOLDS(explained->line == (uint32_t)(rule + 1));
	HOLDS(explained->owner == of.uid && explained->mode == of.mode);
	/* The machine may know the group of root, and of nobody. */
	HOLDS(explained->group == of.gid || of.gid == ACCESS_NO_GROUP);
	if (rule != LAW_NO_RULE)
		HOLDS(explained->segments_max == law_segments_max(rule) &&
		      explained->bytes_max == law_bytes_max(rule));
	if (rule != LAW_NO_RULE && law_lets(who, name))
		answers_use_of_rule(rule, &segments, &bytes);
	HOLDS(explained->segments_used == segments && explained->bytes_used == bytes);
}

static void check_explain(const struct exchange *x)
{
	const struct wire_explain *asked = x->request->body;
	const struct wire_explained *explained = x->answer->body;
	struct person who = asked_about(x->who, asked->uid);
	const struct segment *segment = named(asked->name);
	const struct ownership *of = segment ? &segment->ownership : NULL;

	HOLDS(x->answer->body_size == sizeof(*explained));
	HOLDS(may_ask_about(x->who, asked->uid) && is_good(asked->name));
	HOLDS(!(explained->flags & WIRE_MAY_CREATE) == !law_lets(&who, plain(asked->name)));
	HOLDS(!(explained->flags & WIRE_EXISTS_NOW) == !segment);
	HOLDS(!(explained->flags & WIRE_MAY_READ) == !(segment && person_may(&who, of, true)));
	HOLDS(!(explained->flags & WIRE_MAY_WRITE) ==
	      !(segment && person_may(&who, of, false) && !segment->is_sealed));
	HOLDS(explained->create[0] && explained->read[0] && explained->write[0]);
	check_terms(explained, &who, plain(asked->name));
}

static void check_status(const struct exchange *x)
{
	const struct wire_status *status = x->answer->body;
	const struct quota *quota = &server.registry->quota;
	const struct wire_counter *counters = (const void *)(status + 1);
	const struct wire_limit *limits = (const void *)(counters + status->counters);

	HOLDS(x->answer->body_size == sizeof(*status) + status->counters * sizeof(*counters) +
					      status->limits * sizeof(*limits));
	HOLDS(status->segments == HASH_CNT(by_id, server.registry->by_id));
	HOLDS(status->limits == 2 * QUOTA_RESOURCES);
	for (int k = 0; k < QUOTA_RESOURCES; k++) {
		HOLDS(limits[2 * k].use == quota->used[k]);
		HOLDS(limits[2 * k].value == quota->limits.total[k]);
		HOLDS(limits[2 * k + 1].value == limits_of(quota, x->who, k));
		HOLDS(limits[2 * k + 1].use == quota_used_by(quota, x->who->uid, k));
	}
}

static bool showing_may_be(enum wire_code code, const struct exchange *x)
{
	const struct wire_show *asked = x->request->body;
	const struct segment *segment = named(asked->name);

	if (code == WIRE_DENIED)
		return segment && !person_sees(x->who, &segment->ownership, true);
	return finding_may_be(code, x, 0, asked->name);
}

static bool explaining_may_be(enum wire_code code, const struct exchange *x)
{
	const struct wire_explain *asked = x->request->body;

	if (code == WIRE_DENIED)
		return !may_ask_about(x->who, asked->uid);
	return code != WIRE_NOT_FOUND && finding_may_be(code, x, 0, asked->name);
}

/* --- the rest --------------------------------------------------------------------------------- */

static unsigned number_of(const struct client *client, uint64_t id)
{
	const struct attachment *attachment = attachment_find(&client->session, id);
	const struct locker *locker = attachment ? attachment->locker : NULL;

	return locker && !locker->was_left ? locker->number : 0;
}

/* Who holds nothing, and says that it lets go, has no number any more. */
static void check_detach(const struct exchange *x)
{
	const struct wire_detach *asked = x->request->body;
	const struct segment *segment = world_segment(asked->id);

	HOLDS(x->answer->body_size == 0);
	if (number_before == 0 || !segment || attachment_find(&x->client->session, asked->id))
		return;
	for (const struct locker *l = segment->ledger.lockers; l; l = l->next)
		HOLDS(l->number != number_before ||
		      ledger_held(&segment->ledger, &segment->semaphore, l) > 0);
}

static bool detaching_may_be(enum wire_code code, const struct exchange *x)
{
	const struct wire_detach *asked = x->request->body;
	const struct attachment *attachment = attachment_find(&x->client->session, asked->id);
	bool read_only = asked->flags & WIRE_READ_ONLY;

	return code == WIRE_NOT_FOUND && (!attachment || attachment->counts[read_only] == 0);
}

static bool keeping_may_be(enum wire_code code, const struct exchange *x)
{
	const struct wire_keep *asked = x->request->body;
	const struct attachment *attachment = attachment_find(&x->client->session, asked->id);

	return code == WIRE_NOT_FOUND && (!attachment || !attachment->locker);
}

static bool subscribing_may_be(enum wire_code code, const struct exchange *x)
{
	const struct wire_subscribe *asked = x->request->body;

	if (code == WIRE_TOO_LONG)
		return strlen(asked->prefix) > WIRE_NAME_MAX;
	return code == WIRE_LIMIT && is_at_limit(x->who, QUOTA_SUBSCRIPTIONS, 1);
}

static bool cancelling_may_be(enum wire_code code, const struct exchange *x)
{
	const struct wire_cancel *asked = x->request->body;
	const struct session *session = &x->client->session;

	return code == WIRE_NOT_FOUND && !wait_find(session, asked->number) &&
	       !subscription_find(session, asked->number);
}

static bool greeting_may_be(enum wire_code code, const struct exchange *x)
{
	const struct wire_hello *hello = x->request->body;

	return code == WIRE_VERSION_REFUSED && hello->version != WIRE_VERSION;
}

/* --- all of them ------------------------------------------------------------------------------ */

static void check_nothing(const struct exchange *x)
{
	HOLDS(x->answer->body_size == 0);
}

static void check_welcome(const struct exchange *x)
{
	const struct wire_welcome *welcome = x->answer->body;

	HOLDS(x->answer->body_size == sizeof(*welcome));
	HOLDS(welcome->version == WIRE_VERSION && welcome->client == x->client->session.id);
}

static bool by_name_or_id_may_be(enum wire_code code, const struct exchange *x)
{
	const struct wire_attach *attach = x->request->body;

	return attaching_may_be(code, x, attach->id, attach->name, attach->flags);
}

static bool never(enum wire_code code, const struct exchange *x)
{
	(void)code, (void)x;
	return false;
}

static const struct {
	void (*check)(const struct exchange *x);
	bool (*may_be)(enum wire_code code, const struct exchange *x);
	bool has_descriptors;
} kinds[WIRE_OPS] = {
	[WIRE_HELLO] = {check_welcome, greeting_may_be, false},
	[WIRE_CREATE] = {check_create, creation_may_be, true},
	[WIRE_ATTACH] = {check_attach, by_name_or_id_may_be, true},
	[WIRE_DETACH] = {check_detach, detaching_may_be, false},
	[WIRE_UNLINK] = {check_unlink, unlinking_may_be, false},
	[WIRE_STATUS] = {check_status, never, false},
	[WIRE_LIST] = {check_list, never, false},
	[WIRE_SHOW] = {check_show, showing_may_be, false},
	[WIRE_CLIENTS] = {check_clients, never, false},
	[WIRE_HOLDERS] = {check_holders, showing_may_be, false},
	[WIRE_KEEP] = {check_nothing, keeping_may_be, false},
	[WIRE_PUBLISH] = {check_publish, publishing_may_be, false},
	[WIRE_WAIT] = {check_wait, waiting_may_be, true},
	[WIRE_SUBSCRIBE] = {check_nothing, subscribing_may_be, false},
	[WIRE_CANCEL] = {check_nothing, cancelling_may_be, false},
	[WIRE_EXPLAIN] = {check_explain, explaining_may_be, false},
};

/* In a batch others came after it, and what it was refused for may be gone. */
static void check_refused(const struct exchange *x, bool is_alone)
{
	const struct wire_error *error = x->answer->body;
	enum wire_code code = x->answer->header.code;
	bool is_want = code == WIRE_NO_MEMORY || code == WIRE_NO_DESCRIPTORS ||
		       code == WIRE_NO_SPACE;

	HOLDS(code < WIRE_CODES && code != WIRE_INTERNAL);
	HOLDS(x->answer->body_size == sizeof(*error) && x->answer->header.descriptors == 0);
	HOLDS(error->text[0] && text_is_padded(error->text, sizeof(error->text)));
	if (is_alone && !(is_want && shortage_was_now()))
		HOLDS(kinds[x->request->header.op].may_be(code, x));
}

static void check_one(const struct exchange *x, bool is_alone)
{
	unsigned op = x->request->header.op;

	HOLDS(x->answer->header.op == op);
	HOLDS(x->answer->header.number == x->request->header.number);
	HOLDS(x->answer->header.descriptors == 0 || kinds[op].has_descriptors);
	if (x->answer->header.code == WIRE_OK)
		kinds[op].check(x);
	else
		check_refused(x, is_alone);
}

/* What the name of a request leads to that takes it from there. */
static const char *name_taken(const struct packet_message *request)
{
	const struct wire_unlink *unlink = request->body;
	const struct wire_publish *publish = request->body;

	if (request->header.op == WIRE_UNLINK)
		return unlink->name;
	return request->header.op == WIRE_PUBLISH ? publish->name : NULL;
}

void answers_expect(const struct client *client, const struct packet_message *requests, unsigned n)
{
	const char *name = n == 1 ? name_taken(&requests[0]) : NULL;
	const struct segment *segment = name && is_good(name) ? named(name) : NULL;
	const struct wire_detach *detach = requests[0].body;

	number_before = 0;
	if (n == 1 && requests[0].header.op == WIRE_DETACH)
		number_before = number_of(client, detach->id);
	/* One that is to be settled yet may be gone by the time that it is looked at. */
	id_before = segment && !segment->queued ? segment->id : 0;
}

void answers_check(const struct client *client, const struct packet_message *requests, unsigned n,
		   const struct reply *reply)
{
	const struct packet_writer *writer = &reply->writer;
	struct packet_message answer;
	unsigned n_fds = 0;
	size_t offset = 0;

	/* It waits. */
	if (requests[0].header.op == WIRE_WAIT && writer->size == 0)
		return;
	for (unsigned i = 0; i < n; i++) {
		HOLDS(packet_next_reply(writer->bytes, writer->size, &offset, &answer) == 1);
		struct exchange x = {client, person_of(client->session.who.uid), &requests[i],
				     &answer, reply->fds + n_fds};
		n_fds += answer.header.descriptors;
		HOLDS(n_fds <= reply->n_fds);
		check_one(&x, n == 1);
	}
	HOLDS(offset == writer->size);
	HOLDS(n_fds == reply->n_fds && n_fds <= WIRE_DESCRIPTORS_MAX);
}

/* --- later ------------------------------------------------------------------------------------ */

void answers_expect_waited(const struct wait *wait, struct wire_wait *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->newer_than = wait->newer_than;
	ret->flags = wait->flags;
	text_copy(ret->name, sizeof(ret->name), wait->name->name);
	id_before = wait->number;
}

void answers_check_waited(const struct client *client, const struct wire_wait *asked,
			  const struct reply *reply)
{
	struct packet_message request = {.header = {.op = WIRE_WAIT, .number = (uint32_t)id_before},
					 .body = asked,
					 .body_size = sizeof(*asked)};

	answers_check(client, &request, 1, reply);
}

void answers_check_events(const struct subscription *subscription)
{
	const struct person *who = person_of(subscription->session->who.uid);

	for (unsigned i = 0; i < subscription->n; i++) {
		const struct journal_entry *entry = subscription_entry(subscription, i);
		HOLDS(subscription_may_know_actor(subscription, entry) ==
		      (may_drop(who, &entry->ownership) ||
		       (person_is_known(who) && who->uid == entry->uid)));
	}
}
