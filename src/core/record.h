/* SPDX-License-Identifier: MIT */
/*
 * What the next daemon has to know of this one: a row for each segment, client, attachment and number to
 * lock by, in tables (core/table.h) that are handed to whoever keeps descriptors for us, as those of the
 * segments are. This is their form, and when they are written; core/image.h reads them.
 *
 * Rows of attachments, numbers and clients are written as those change. A segment that has changed is put
 * down for record_flush(), which comes before anybody is answered; what a request did has happened when
 * the row of its segment stands, and so the other rows of it are written before.
 */
#ifndef CORE_RECORD_H
#define CORE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "core/instance.h"
#include "core/name.h"
#include "core/semaphore.h"
#include "core/table.h"
#include "core/tally.h"

struct attachment;
struct locker;
struct pouch;
struct registry;
struct segment;
struct session;

#define RECORD_MAGIC   "shmd's record\n"
#define RECORD_VERSION 1u

enum record_table {
	RECORD_SEGMENTS,
	RECORD_CLIENTS,
	RECORD_ATTACHMENTS,
	RECORD_LOCKERS,
	RECORD_TABLES,
};

/* At the beginning of each table. What has no meaning for a table is zero there. */
struct record_head {
	char magic[16];
	uint32_t version;
	uint32_t table;
	uint32_t row_size;
	uint32_t is_complete; /* of the segments' one: all that there was has been written */
	uint64_t epoch;       /* of the record; each daemon writes a new one, greater by 1 */
	uint64_t next_id;     /* of the segments' one */
	uint64_t next_client; /* of the clients' one */
	char instance[INSTANCE_NAME_SIZE + 7];
};

/* A file that was kept: of no file, zeroes. */
struct record_file {
	uint64_t device;
	uint64_t inode;
};

enum record_segment_flag {
	RECORD_ANONYMOUS = 1 << 0,
	RECORD_READERS_LOCK = 1 << 1,
	RECORD_HUGE = 1 << 2,
	RECORD_SEALED = 1 << 3,
	RECORD_ORIGINAL = 1 << 4,   /* the kept descriptor is the one of memfd_create(2) */
	RECORD_SUPERSEDED = 1 << 5, /* `name` is the one that it lost to a newer generation */
	RECORD_POSIX_MEMORY = 1 << 6,
	RECORD_POSIX_SEMAPHORE = 1 << 7,
	RECORD_SEGMENT_FLAGS = (1 << 8) - 1,
};

struct record_segment {
	struct row_head head;
	uint64_t id;
	uint64_t generation;
	uint64_t size;
	uint64_t created_at; /* CLOCK_BOOTTIME, ns, as the next two */
	uint64_t linger_ns;
	uint64_t deadline;  /* of its linger */
	uint64_t owner;     /* client; 0: none */
	uint64_t publisher; /* client; 0: none */
	struct record_file memory;
	struct record_file semaphore;
	struct record_file ledger;
	uint32_t key; /* under which its descriptors are kept */
	uint32_t uid;
	uint32_t gid;
	uint32_t mode;
	uint32_t payer;
	uint32_t former_uid; /* of the name that it lost */
	uint32_t permits;
	uint32_t lifetime;
	uint32_t state;
	uint32_t flags;
	char name[NAME_LENGTH_MAX + 8]; /* "": none */
	char semaphore_name[SEMAPHORE_NAME_SIZE];
	char rule[TALLY_NAME_MAX + 8]; /* of the policy, in which it counts */
	uint64_t heir_start;           /* of the process that it is kept for; 0: unknown */
	uint32_t heir;                 /* its pid; 0: for none */
	uint32_t next_heir;            /* who follows; 0: nobody */
};

/* What a session did last of these, and the request's number. */
enum deed_kind { DEED_NONE, DEED_CREATED, DEED_PUBLISHED, DEED_UNLINKED };

struct deed {
	uint32_t number;
	uint32_t kind; /* enum deed_kind */
	uint64_t id;
	uint64_t generation;
};

enum record_client_flag {
	RECORD_CAN_LOCK = 1 << 0,
	RECORD_WATCHED = 1 << 1, /* its process is, by its pid */
};

struct record_client {
	struct row_head head;
	uint64_t id;
	uint64_t token;
	uint64_t process_start; /* in the kernel's ticks since it started; 0: unknown */
	uint64_t connected_at;
	uint32_t pid;
	uint32_t uid;
	uint32_t gid;
	uint32_t flags;
	struct deed last;
};

struct record_attachment {
	struct row_head head;
	uint64_t client;
	uint64_t segment;
	uint32_t writing;
	uint32_t reading;
	uint32_t number; /* to lock by; 0: none */
	uint32_t reserved;
};

enum record_locker_flag {
	RECORD_UNTIL_EXIT = 1 << 0,
	RECORD_WAS_LEFT = 1 << 1,
	RECORD_LOCKER_FLAGS = (1 << 2) - 1,
};

struct record_locker {
	struct row_head head;
	uint64_t segment;
	uint64_t process_start;
	uint32_t number;
	uint32_t pid;
	uint32_t uid;
	uint32_t flags;
};

/* Row sizes by table. */
extern const uint32_t record_row_sizes[RECORD_TABLES];

/* Keys under which descriptors are kept, counted from 0. */
struct record_keys {
	uint64_t *taken; /* bits */
	uint32_t words;
};

/* What is to be taken out of where it is kept, because it is gone. */
struct record_loose {
	uint32_t key;
	struct pouch *pouch;
};

struct record {
	struct table tables[RECORD_TABLES];
	uint64_t epoch;
	struct record_keys keys;
	struct segment *stale;    /* to be written */
	struct segment *unstored; /* whose descriptors are to be kept by others */
	struct record_loose *loose;
	uint32_t n_loose, loose_room;
	bool was_told; /* that something could not be noted */
};

/* Not begun: everything is taken, and nothing kept. */
void record_init(struct record *record);
void record_fini(struct record *record);

/* Begins to keep a record. Returns 0 or -errno. */
int record_begin(struct record *record, uint64_t epoch, const char *instance);

/* From now on it is the one to be read. */
void record_complete(struct record *record);

static inline bool record_is_kept(const struct record *record)
{
	return record->tables[RECORD_SEGMENTS].fd >= 0;
}

/* Ids up to there are given. */
void record_next_id(struct record *record, uint64_t next_id);
void record_next_client(struct record *record, uint64_t next_client);

/* Writes what stands about one of them now. */
void record_client(struct record *record, struct session *session, uint64_t connected_at);
void record_attachment(struct record *record, struct attachment *attachment);
void record_locker(struct record *record, struct locker *locker);

/* A segment has changed, or is new: then it is put down to be stored, too. */
void record_note(struct record *record, struct segment *segment);

/* Writes the segments that have changed. */
void record_flush(struct record *record);

/* It is gone, and what is kept of it is loose. */
void record_forget(struct record *record, struct segment *segment);

/* The same for one whose descriptors the caller takes care of: returns whether some are kept, and then which,
 * whose key is to be returned. */
bool record_take_out(struct record *record, struct segment *segment, struct record_loose *ret);

/* It is to be taken out when that is possible. */
void record_loosen(struct record *record, const struct record_loose *loose);

/* For one that was read from another's record: reserves its key. Returns 0, -EEXIST, -ENOMEM. */
int record_take_key(struct record *record, uint32_t key);

/* Its key means nothing to others any more. */
void record_return_key(struct record *record, uint32_t key);

/* How many descriptors of a segment are kept, and which: its memory, semaphore and ledger. */
#define RECORD_DESCRIPTORS_MAX 3
unsigned record_descriptors(const struct segment *segment, int ret[static RECORD_DESCRIPTORS_MAX]);

/* They are kept in that pouch from now on; or they are not, and are to be. */
void record_note_stored(struct record *record, struct segment *segment, struct pouch *pouch);
void record_note_unstored(struct record *record, struct segment *segment);

#endif
