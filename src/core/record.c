/* SPDX-License-Identifier: MIT */
#include "core/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <utlist.h>

#include "base/log.h"
#include "base/text.h"
#include "core/attachment.h"
#include "core/locker.h"
#include "core/segment.h"
#include "core/session.h"

#define WORD_BITS 64u

const uint32_t record_row_sizes[RECORD_TABLES] = {
	[RECORD_SEGMENTS] = sizeof(struct record_segment),
	[RECORD_CLIENTS] = sizeof(struct record_client),
	[RECORD_ATTACHMENTS] = sizeof(struct record_attachment),
	[RECORD_LOCKERS] = sizeof(struct record_locker),
};

_Static_assert(sizeof(struct record_head) <= TABLE_HEAD_SIZE, "the head has its place");
_Static_assert(sizeof(struct record_segment) % 8 == 0 && sizeof(struct record_client) % 8 == 0 &&
		       sizeof(struct record_attachment) % 8 == 0 &&
		       sizeof(struct record_locker) % 8 == 0,
	       "rows are of whole words");

/* --- keys ------------------------------------------------------------------------------------- */

static int make_room(struct record_keys *keys, uint32_t words)
{
	uint64_t *taken = realloc(keys->taken, words * sizeof(*taken));

	if (!taken)
		return -ENOMEM;
	memset(taken + keys->words, 0, (words - keys->words) * sizeof(*taken));
	keys->taken = taken;
	keys->words = words;
	return 0;
}

int record_take_key(struct record *record, uint32_t key)
{
	struct record_keys *keys = &record->keys;
	uint32_t word = key / WORD_BITS;
	uint64_t bit = UINT64_C(1) << key % WORD_BITS;

	if (word >= keys->words && make_room(keys, word + 1) < 0)
		return -ENOMEM;
	if (keys->taken[word] & bit)
		return -EEXIST;
	keys->taken[word] |= bit;
	return 0;
}

void record_return_key(struct record *record, uint32_t key)
{
	if (key / WORD_BITS < record->keys.words)
		record->keys.taken[key / WORD_BITS] &= ~(UINT64_C(1) << key % WORD_BITS);
}

/* The least that is free: the names made from it are the shorter. */
static int take_any_key(struct record *record, uint32_t *ret)
{
	struct record_keys *keys = &record->keys;
	uint32_t word = 0;

	while (word < keys->words && keys->taken[word] == UINT64_MAX)
		word++;
	if (word == keys->words && make_room(keys, 2 * keys->words + 1) < 0)
		return -ENOMEM;
	*ret = word * WORD_BITS + (uint32_t)__builtin_ctzll(~keys->taken[word]);
	return record_take_key(record, *ret);
}

/* Without memory the key stays taken, and what it stands for is kept for nothing. */
void record_loosen(struct record *record, const struct record_loose *loose)
{
	if (record->n_loose == record->loose_room) {
		uint32_t room = 2 * record->loose_room + 16;
		struct record_loose *more = realloc(record->loose, room * sizeof(*more));
		if (!more)
			return;
		record->loose = more;
		record->loose_room = room;
	}
	record->loose[record->n_loose++] = *loose;
}

/* --- life ------------------------------------------------------------------------------------- */

void record_init(struct record *record)
{
	*record = (struct record){0};
	for (int i = 0; i < RECORD_TABLES; i++)
		table_init(&record->tables[i]);
}

void record_fini(struct record *record)
{
	for (int i = 0; i < RECORD_TABLES; i++)
		table_fini(&record->tables[i]);
	free(record->keys.taken);
	free(record->loose);
	record->keys = (struct record_keys){0};
	record->loose = NULL;
	record->n_loose = record->loose_room = 0;
}

static struct record_head *head_of(struct record *record, enum record_table which)
{
	return (struct record_head *)record->tables[which].head;
}

static int begin_table(struct record *record, enum record_table which, const char *instance)
{
	static const char *const labels[RECORD_TABLES] = {
		[RECORD_SEGMENTS] = "shmd:record:segments",
		[RECORD_CLIENTS] = "shmd:record:clients",
		[RECORD_ATTACHMENTS] = "shmd:record:attachments",
		[RECORD_LOCKERS] = "shmd:record:lockers",
	};
	int r = table_begin(&record->tables[which], labels[which], record_row_sizes[which]);

	if (r < 0)
		return r;
	struct record_head *head = head_of(record, which);
	text_copy(head->magic, sizeof(head->magic), RECORD_MAGIC);
	head->version = RECORD_VERSION;
	head->table = which;
	head->row_size = record_row_sizes[which];
	head->epoch = record->epoch;
	text_copy(head->instance, sizeof(head->instance), instance);
	return 0;
}

int record_begin(struct record *record, uint64_t epoch, const char *instance)
{
	int r = 0;

	record->epoch = epoch;
	for (enum record_table i = 0; i < RECORD_TABLES && r == 0; i++)
		r = begin_table(record, i, instance);
	if (r < 0)
		for (int i = 0; i < RECORD_TABLES; i++)
			table_fini(&record->tables[i]);
	return r;
}

void record_complete(struct record *record)
{
	if (record_is_kept(record))
		__atomic_store_n(&head_of(record, RECORD_SEGMENTS)->is_complete, 1,
				 __ATOMIC_RELEASE);
}

void record_next_id(struct record *record, uint64_t next_id)
{
	if (record_is_kept(record))
		head_of(record, RECORD_SEGMENTS)->next_id = next_id;
}

void record_next_client(struct record *record, uint64_t next_client)
{
	if (record_is_kept(record))
		head_of(record, RECORD_CLIENTS)->next_client = next_client;
}

/* --- rows ------------------------------------------------------------------------------------- */

static void write_row(struct record *record, enum record_table which, struct row *row,
		      void *content)
{
	if (row_write(row, &record->tables[which], content) == 0 || record->was_told)
		return;
	record->was_told = true;
	log_error("out of memory for the record: a restart would not find everything again");
}

void record_client(struct record *record, struct session *session, uint64_t connected_at)
{
	struct record_client row = {
		.id = session->id,
		.token = session->token,
		.process_start = session->process_start,
		.connected_at = connected_at,
		.pid = (uint32_t)session->pid,
		.uid = session->who.uid,
		.gid = session->who.gid,
		.flags = (session->can_lock ? RECORD_CAN_LOCK : 0) |
			 (session->estate && session->pid > 0 ? RECORD_WATCHED : 0),
		.last = session->last,
	};

	if (record_is_kept(record))
		write_row(record, RECORD_CLIENTS, &session->row, &row);
}

void record_attachment(struct record *record, struct attachment *attachment)
{
	struct record_attachment row = {
		.client = attachment->session->id,
		.segment = attachment->segment_id,
		.writing = (uint32_t)attachment->counts[false],
		.reading = (uint32_t)attachment->counts[true],
		.number = attachment->locker ? attachment->locker->number : 0,
	};

	if (record_is_kept(record))
		write_row(record, RECORD_ATTACHMENTS, &attachment->row, &row);
}

void record_locker(struct record *record, struct locker *locker)
{
	struct record_locker row = {
		.segment = locker->segment_id,
		.process_start = locker->process_start,
		.number = locker->number,
		.pid = (uint32_t)locker->pid,
		.uid = locker->uid,
		.flags = (locker->until_exit ? RECORD_UNTIL_EXIT : 0) |
			 (locker->was_left ? RECORD_WAS_LEFT : 0),
	};

	if (record_is_kept(record))
		write_row(record, RECORD_LOCKERS, &locker->row, &row);
}

static struct record_file file_of(int fd)
{
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return (struct record_file){0};
	return (struct record_file){.device = st.st_dev, .inode = st.st_ino};
}

/* Which files they are does not change, and is asked once. */
static void look_at_files(struct segment *segment)
{
	struct segment_keeping *keeping = &segment->keeping;

	keeping->memory = file_of(segment->fd);
	keeping->semaphore = file_of(segment_is_posix(segment) ? -1 : segment->semaphore.fd);
	keeping->ledger = file_of(segment->ledger.fd);
}

static uint32_t flags_of(const struct segment *segment)
{
	bool original = segment->keeping.pouch ? segment->keeping.stored_original
					       : segment->fd_is_original;

	return (segment->is_anonymous ? RECORD_ANONYMOUS : 0) |
	       (segment->readers_lock ? RECORD_READERS_LOCK : 0) |
	       (segment->huge ? RECORD_HUGE : 0) | (segment->is_sealed ? RECORD_SEALED : 0) |
	       (segment->kind == SEGMENT_POSIX_MEMORY ? RECORD_POSIX_MEMORY : 0) |
	       (segment->kind == SEGMENT_POSIX_SEMAPHORE ? RECORD_POSIX_SEMAPHORE : 0) |
	       (original ? RECORD_ORIGINAL : 0);
}

static void write_segment(struct record *record, struct segment *segment)
{
	struct record_segment row = {
		.id = segment->id,
		.generation = segment->generation,
		.size = segment->size,
		.created_at = segment->created_at,
		.linger_ns = segment->linger_ns,
		.deadline = segment->state == SEGMENT_LINGERING ? segment->timer.deadline : 0,
		.owner = segment->owner ? segment->owner->id : 0,
		.publisher = segment->publisher ? segment->publisher->id : 0,
		.memory = segment->keeping.memory,
		.semaphore = segment->keeping.semaphore,
		.ledger = segment->keeping.ledger,
		.key = segment->keeping.key,
		.uid = segment->ownership.uid,
		.gid = segment->ownership.gid,
		.mode = segment->ownership.mode,
		.payer = segment_payer(segment),
		.permits = segment->ledger.permits,
		.lifetime = segment->lifetime,
		.state = segment->state,
		.flags = flags_of(segment),
		.heir = segment->heir ? (uint32_t)segment->heir->pid : 0,
		.heir_start = segment->heir ? segment->heir->start : 0,
		.next_heir = (uint32_t)segment->next_heir,
	};

	text_copy(row.name, sizeof(row.name), segment->name);
	text_copy(row.semaphore_name, sizeof(row.semaphore_name), segment->semaphore.name);
	if (segment->rule_share.tally)
		text_copy(row.rule, sizeof(row.rule), segment->rule_share.tally->name);
	if (segment->lineage && !segment->name[0]) {
		row.flags |= RECORD_SUPERSEDED;
		row.former_uid = segment->lineage->key.uid;
		text_copy(row.name, sizeof(row.name), segment->lineage->key.name);
	}
	write_row(record, RECORD_SEGMENTS, &segment->keeping.row, &row);
}

/* --- segments --------------------------------------------------------------------------------- */

unsigned record_descriptors(const struct segment *segment, int ret[static RECORD_DESCRIPTORS_MAX])
{
	unsigned n = 0;

	ret[n++] = segment->fd;
	/* One of POSIX's is the memory. */
	if (segment->semaphore.fd >= 0 && !segment_is_posix(segment))
		ret[n++] = segment->semaphore.fd;
	if (segment->ledger.fd >= 0)
		ret[n++] = segment->ledger.fd;
	return n;
}

void record_note_unstored(struct record *record, struct segment *segment)
{
	segment->keeping.pouch = NULL;
	segment->keeping.is_unstored = true;
	DL_APPEND2(record->unstored, segment, keeping.store_prev, keeping.store_next);
}

static void begin_keeping(struct record *record, struct segment *segment)
{
	if (take_any_key(record, &segment->keeping.key) < 0)
		return;
	look_at_files(segment);
	segment->keeping.has_key = true;
	record_note_unstored(record, segment);
}

static void stop_being_unstored(struct record *record, struct segment *segment)
{
	segment->keeping.is_unstored = false;
	DL_DELETE2(record->unstored, segment, keeping.store_prev, keeping.store_next);
}

void record_note_stored(struct record *record, struct segment *segment, struct pouch *pouch)
{
	stop_being_unstored(record, segment);
	segment->keeping.pouch = pouch;
	segment->keeping.stored_original = segment->fd_is_original;
	record_note(record, segment);
}

void record_note(struct record *record, struct segment *segment)
{
	if (!record_is_kept(record) || segment->keeping.is_stale)
		return;
	if (!segment->keeping.has_key)
		begin_keeping(record, segment);
	segment->keeping.is_stale = true;
	DL_APPEND2(record->stale, segment, keeping.stale_prev, keeping.stale_next);
}

static void stop_being_stale(struct record *record, struct segment *segment)
{
	if (!segment->keeping.is_stale)
		return;
	segment->keeping.is_stale = false;
	DL_DELETE2(record->stale, segment, keeping.stale_prev, keeping.stale_next);
}

/* One that nobody has any more is over for the next daemon, too, before its descriptors are closed. */
static void flush_one(struct record *record, struct segment *segment)
{
	stop_being_stale(record, segment);
	if (segment->state == SEGMENT_UNUSED)
		row_clear(&segment->keeping.row);
	else if (segment->keeping.has_key)
		write_segment(record, segment);
}

/* Who has a name comes before who has lost it: of two that have it the newer one is right, but one that
 * nobody has is lost. */
void record_flush(struct record *record)
{
	struct segment *segment, *next;

	DL_FOREACH_SAFE2 (record->stale, segment, next, keeping.stale_next)
		if (segment->name[0])
			flush_one(record, segment);
	while ((segment = record->stale))
		flush_one(record, segment);
}

bool record_take_out(struct record *record, struct segment *segment, struct record_loose *ret)
{
	struct segment_keeping *keeping = &segment->keeping;

	stop_being_stale(record, segment);
	row_clear(&keeping->row);
	if (keeping->is_unstored) {
		stop_being_unstored(record, segment);
		record_return_key(record, keeping->key);
	}
	*ret = (struct record_loose){keeping->key, keeping->pouch};
	keeping->pouch = NULL;
	return ret->pouch != NULL;
}

void record_forget(struct record *record, struct segment *segment)
{
	struct record_loose loose;

	if (record_take_out(record, segment, &loose))
		record_loosen(record, &loose);
}
