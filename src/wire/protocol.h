/* SPDX-License-Identifier: MIT */
/*
 * The whole protocol. shmd-protocol(7) says the same to people who write a client of their own.
 *
 * A SOCK_SEQPACKET connection carries packets of at most WIRE_PACKET_MAX bytes. A packet holds one
 * or more messages, each a header and a body of exactly the size that its operation has; a reply may
 * have entries behind its body. Fields are native-endian and naturally aligned, strings are
 * terminated and padded with zeroes, reserved fields are zero. The client speaks first, with HELLO.
 * Each packet of requests is answered by one packet with the replies in the same order and all their
 * descriptors; a packet of several requests may hold only operations marked "batch". Those marked
 * "later" are answered when what they ask for has happened, in a packet of its own, and perhaps after
 * the replies to later requests.
 *
 * What breaks these rules ends the connection. What the daemon refuses gets a reply with an error
 * code and a sentence (struct wire_error), and the connection lives.
 */
#ifndef WIRE_PROTOCOL_H
#define WIRE_PROTOCOL_H

#include <stdint.h>

#define WIRE_VERSION         1u
#define WIRE_VERSION_OLDEST  1u /* the oldest one that this daemon serves */
#define WIRE_PACKET_MAX      65536u
#define WIRE_BATCH_MAX       64u  /* requests in a packet */
#define WIRE_DESCRIPTORS_MAX 192u /* descriptors in a packet, three a request */
#define WIRE_NAME_MAX        200u
#define WIRE_NAME_SIZE       208u
#define WIRE_SEMAPHORE_SIZE  48u
#define WIRE_TEXT_SIZE       512u
#define WIRE_COMMAND_SIZE    32u
#define WIRE_LABEL_SIZE      32u
#define WIRE_RULE_SIZE       48u
#define WIRE_FILE_SIZE       64u
#define WIRE_NO_ID           UINT32_MAX /* of a user or group: none */
#define WIRE_UNLIMITED       UINT64_MAX

enum wire_op {
	WIRE_HELLO = 1, /* -> wire_hello, <- wire_welcome */
	WIRE_CREATE,    /* batch. -> wire_create, <- wire_segment and descriptors */
	WIRE_ATTACH,    /* batch. -> wire_attach, <- wire_segment and descriptors */
	WIRE_DETACH,    /* batch. -> wire_detach, <- nothing */
	WIRE_UNLINK,    /* batch. -> wire_unlink, <- nothing */
	WIRE_STATUS,    /* -> nothing, <- wire_status, wire_counter..., wire_limit... */
	WIRE_LIST,      /* -> wire_page, <- wire_entries, wire_entry... */
	WIRE_SHOW,      /* -> wire_show, <- wire_shown, wire_attachment... */
	WIRE_CLIENTS,   /* -> wire_page, <- wire_entries, wire_client... */
	WIRE_HOLDERS,   /* -> wire_show, <- wire_entries, wire_holder... */
	WIRE_KEEP,      /* batch. -> wire_keep, <- nothing */
	WIRE_PUBLISH,   /* batch. -> wire_publish, <- wire_published */
	WIRE_WAIT,      /* later. -> wire_wait, <- wire_segment and descriptors */
	WIRE_SUBSCRIBE, /* -> wire_subscribe, <- nothing, and then WIRE_EVENTS by its number */
	WIRE_CANCEL,    /* -> wire_cancel, <- nothing */
	WIRE_EXPLAIN,   /* -> wire_explain, <- wire_explained */
	WIRE_RESUME,    /* -> wire_resume, <- wire_resumed */
	WIRE_CONFIRM,   /* batch. -> wire_confirm, <- nothing */
	WIRE_SETTLE,    /* -> nothing, <- nothing */
	WIRE_OPEN,      /* -> wire_open, <- wire_opened and a descriptor */
	WIRE_BEQUEATH,  /* -> wire_bequeath, <- nothing */
	WIRE_OPS,
	WIRE_EVENTS = 128, /* from the daemon alone. <- wire_entries, wire_event... */
};

enum wire_code {
	WIRE_OK = 0,
	WIRE_INVALID,        /* a name, size or option outside its rule */
	WIRE_TOO_LONG,       /* a name longer than WIRE_NAME_MAX */
	WIRE_EXISTS,         /* the name is taken */
	WIRE_NOT_FOUND,      /* nothing of that name or id that the caller may know of */
	WIRE_DENIED,         /* owner, group and mode, or the policy, forbid it */
	WIRE_LIMIT,          /* a limit of the configuration, or of a rule, is reached */
	WIRE_NO_MEMORY,      /* memory, or huge pages */
	WIRE_NO_SPACE,       /* no room in /dev/shm */
	WIRE_NO_DESCRIPTORS, /* the daemon has none left */
	WIRE_UNSUPPORTED,    /* this kernel or build cannot do it */
	WIRE_VERSION_REFUSED,
	WIRE_INTERNAL, /* a system call failed unexpectedly; the text names it */
	WIRE_CODES,
};

/* Begins every message. `size` counts header, body and entries and is a multiple of 8. A reply
 * repeats op and number of its request. `descriptors`, of a reply: how many of the packet's
 * descriptors are this message's, in order. `code` is zero in a request. */
struct wire_header {
	uint32_t size;
	uint16_t op;
	uint16_t descriptors;
	uint32_t number;
	uint32_t code;
};

/* The body of every reply with a code other than WIRE_OK. Number 0: about the connection, which the
 * daemon then ends. */
struct wire_error {
	char text[WIRE_TEXT_SIZE];
};

struct wire_hello {
	uint32_t version;
	uint32_t features; /* none defined: zero */
	uint32_t
		word_bits; /* 64 or 32; a client whose sem_t is not the daemon's gets no semaphores */
	uint32_t reserved;
};

struct wire_welcome {
	uint32_t version; /* the client's, if the daemon serves it */
	uint32_t features;
	uint32_t word_bits;
	uint32_t reserved;
	uint64_t client; /* the connection's number */
	uint64_t token;  /* by which its client, and nobody else, can resume it; 0: it cannot */
	char daemon[WIRE_LABEL_SIZE];
};

/*
 * Goes on with a connection that ended because the daemon did: what it had attached is this one's from now
 * on, and its permits stay held. Asked on a new connection, by the same process, before anything is
 * attached; waits and subscriptions are to be asked for anew. Not found: the daemon knows nothing of that
 * connection.
 *
 * What was under way when the daemon ended may have been done, or not. So the client says of each segment
 * how often it has it (WIRE_CONFIRM, which may make that less than the daemon has noted, and not more), and
 * at the end that this was all (WIRE_SETTLE): what it has not confirmed is let go of.
 */
struct wire_resume {
	uint64_t client; /* of the welcome, as the token */
	uint64_t token;
};

/* The last request of the former connection that changed something and was done: one to create, publish or
 * unlink. Zeroes: none was. */
struct wire_resumed {
	uint32_t number;
	uint32_t op;
	uint64_t id;         /* of the segment */
	uint64_t generation; /* that it was given */
};

struct wire_confirm {
	uint64_t id;
	uint32_t writing; /* attached so often for writing, */
	uint32_t reading; /* and read-only */
};

enum wire_lifetime {
	WIRE_LIFETIME_CLIENTS,
	WIRE_LIFETIME_OWNER,
	WIRE_LIFETIME_PERSISTENT,
	WIRE_LIFETIMES,
};

/* Flags of requests. */
#define WIRE_OPEN_EXISTING  (1u << 0) /* create */
#define WIRE_HUGE_PAGES     (1u << 1) /* create */
#define WIRE_NO_SEMAPHORE   (1u << 2) /* create */
#define WIRE_READERS_LOCK   (1u << 3) /* create */
#define WIRE_READ_ONLY      (1u << 4) /* attach, detach */
#define WIRE_WANT_SEMAPHORE (1u << 5) /* create, attach: send what it takes to lock by oneself */
#define WIRE_WRITABLE       (1u << 6) /* publish */
#define WIRE_WANT_READER \
	(1u << 7) /* create, without a name and not in a batch: send a read-only descriptor, too */
#define WIRE_POSIX \
	(1u << 8) /* attach, by id: a semaphore of WIRE_OPEN, to take its permit by a number */
#define WIRE_LATE_SEMAPHORE \
	(1u << 9) /* create: the semaphore may be made for the first who wants it */
#define WIRE_CREATE_FLAGS                                                               \
	(WIRE_OPEN_EXISTING | WIRE_HUGE_PAGES | WIRE_NO_SEMAPHORE | WIRE_READERS_LOCK | \
	 WIRE_WANT_SEMAPHORE | WIRE_WANT_READER | WIRE_LATE_SEMAPHORE)
#define WIRE_WAIT_FLAGS   (WIRE_READ_ONLY | WIRE_WANT_SEMAPHORE)
#define WIRE_ATTACH_FLAGS (WIRE_WAIT_FLAGS | WIRE_POSIX)

/*
 * An empty name makes an anonymous segment. `heir` is for programs that hand over by name alone, where a worker
 * makes a segment, lets go of it and ends, before its parent, which is the heir, has the next one attach it: a
 * process, by its number in the daemon's PID namespace. What is created is kept for it, as long as it lives, once
 * nobody has it any more while its maker lives; or when the maker says that it ends (WIRE_BEQUEATH). With a name
 * only. 0: it is handed over to nobody.
 */
struct wire_create {
	uint64_t size;
	uint32_t mode;
	uint32_t lifetime;
	uint32_t linger_ms;
	uint32_t permits; /* zero with WIRE_NO_SEMAPHORE */
	uint32_t flags;
	uint32_t heir;
	char name[WIRE_NAME_SIZE];
};

/* By id where it is not zero, else by name. The other one is empty. */
struct wire_attach {
	uint64_t id;
	uint32_t flags;
	uint32_t reserved;
	char name[WIRE_NAME_SIZE];
};

/* Of wire_open. The access is one of the first three. */
#define WIRE_OPEN_READ      0u
#define WIRE_OPEN_WRITE     1u
#define WIRE_OPEN_BOTH      2u
#define WIRE_OPEN_ACCESS    3u
#define WIRE_OPEN_CREATE    (1u << 2) /* if there is none of that name */
#define WIRE_OPEN_EXCLUSIVE (1u << 3) /* with the one before: there must be none */
#define WIRE_OPEN_TRUNCATE  (1u << 4) /* to no bytes */
#define WIRE_OPEN_SEMAPHORE (1u << 5) /* what is created begins with a sem_t, and is as long */
#define WIRE_OPEN_FLAGS     ((1u << 6) - 1)

/*
 * What open(2) does for shm_open(3) and sem_open(3), for a program that knows nothing of us: only of the
 * daemon's own user, because the file is the daemon's. It is not attached: who has it open or mapped is asked
 * of the kernel. Memory that is created has no bytes, and its users change its size and mode as they like; the
 * fields from `mode` on are for what is created. To anything else with that name its own rules apply.
 */
struct wire_open {
	uint32_t flags;
	uint32_t mode; /* permission bits and those above them, 07777 */
	uint32_t lifetime;
	uint32_t linger_ms;
	uint32_t value; /* of a semaphore */
	uint32_t gid;   /* of the file, if the daemon may give it */
	uint32_t heir;  /* as of wire_create */
	uint32_t reserved;
	char name[WIRE_NAME_SIZE];
};

struct wire_opened {
	uint64_t id;
	uint32_t flags; /* WIRE_SEGMENT_ */
	uint32_t reserved;
};

/* The caller's process ends by itself: what it made with an heir, and what was kept for it, is kept for that
 * process from now on. Not found: that has ended. */
struct wire_bequeath {
	uint32_t pid;
	uint32_t reserved;
};

/* Lets go of one attachment of that access. */
struct wire_detach {
	uint64_t id;
	uint32_t flags; /* WIRE_READ_ONLY or zero */
	uint32_t reserved;
};

struct wire_unlink {
	uint64_t id;
	char name[WIRE_NAME_SIZE];
};

/* The permits that this client holds at the end of its process are given back as by a release. */
struct wire_keep {
	uint64_t id;
};

/* Binds an anonymous segment, which this client has attached for writing, to the name as the name's
 * next generation. The client has sealed it with F_SEAL_WRITE before: only then can nobody change it
 * any more, and sealing may take its time. With WIRE_WRITABLE it need not be sealed. */
struct wire_publish {
	uint64_t id;
	uint32_t flags;
	uint32_t reserved;
	char name[WIRE_NAME_SIZE];
};

/* A number greater than any before; the segment's id stays what it is. */
struct wire_published {
	uint64_t generation;
};

/* Attaches what bears the name as soon as its generation is greater than `newer_than`, for reading only with
 * WIRE_READ_ONLY. */
struct wire_wait {
	uint64_t newer_than;
	uint32_t flags;
	uint32_t reserved;
	char name[WIRE_NAME_SIZE];
};

/* Asks for events of segments whose name begins so. Empty: of all segments, also of those without a
 * name, and refusals. */
struct wire_subscribe {
	char prefix[WIRE_NAME_SIZE];
};

/* Ends a wait or a subscription of this connection. Not found: the wait has been answered already. */
struct wire_cancel {
	uint32_t number; /* of its request */
	uint32_t reserved;
};

enum wire_event_kind {
	WIRE_EVENT_CREATED,
	WIRE_EVENT_ATTACHED,
	WIRE_EVENT_DETACHED,
	WIRE_EVENT_UNLINKED,
	WIRE_EVENT_PUBLISHED,
	WIRE_EVENT_REAPED,
	WIRE_EVENT_RECOVERED, /* permits, `count` of them, of a process that died */
	WIRE_EVENT_REFUSED,   /* a request; `text` is the sentence that its client was told */
	WIRE_EVENT_LOST,      /* `count` of them, before the next one: they were not read in time */
	WIRE_EVENTS_KINDS,
};

/* `pid` and `uid` are those of who did it, where the subscriber may know: else pid is 0 and uid is
 * 2^32-1. An event of the daemon's own act has the segment's owner there, and no pid. */
struct wire_event {
	uint64_t time_ns; /* CLOCK_REALTIME */
	uint64_t id;      /* the segment's generation; 0: not about a segment */
	uint64_t size;
	uint64_t count;
	uint32_t kind;
	uint32_t flags; /* WIRE_READ_ONLY of an attachment */
	uint32_t pid;
	uint32_t uid;
	char text[WIRE_TEXT_SIZE]; /* the segment's name, or "" */
};

struct wire_page {
	uint64_t after; /* zero, or `next` of the page before */
};

struct wire_show {
	uint64_t after;
	char name[WIRE_NAME_SIZE];
};

/* What the policy says about a name. Others than the caller's own user are for privileged users and
 * administrators. */
struct wire_explain {
	uint32_t uid; /* WIRE_NO_ID: the caller */
	uint32_t reserved;
	char name[WIRE_NAME_SIZE];
};

/* Facts about a segment, in replies. */
#define WIRE_SEGMENT_NEW      (1u << 0) /* this request made it */
#define WIRE_SEGMENT_READERS  (1u << 1) /* WIRE_READERS_LOCK */
#define WIRE_SEGMENT_SEALED   (1u << 2) /* nobody can write any more */
#define WIRE_SEGMENT_DROPPED  (1u << 3) /* its name is gone, its memory in use */
#define WIRE_SEGMENT_LINGERS  (1u << 4) /* ended, and kept for a while */
#define WIRE_SEGMENT_HUGE     (1u << 5)
#define WIRE_SEGMENT_READER   (1u << 6) /* its last descriptor is the one asked for */
#define WIRE_SEGMENT_POSIX    (1u << 7) /* of WIRE_OPEN: it is never attached */
#define WIRE_SEGMENT_UNSEALED (1u << 8) /* its users may change its size */

/* Whether the client may take permits by itself (wire/word.h), and why not. Only a request with
 * WIRE_WANT_SEMAPHORE is told another than WIRE_LOCK_NONE. */
enum wire_lock {
	WIRE_LOCK_NONE,      /* the segment has no semaphore, or nobody asked */
	WIRE_LOCK_GRANTED,   /* by `number` */
	WIRE_LOCK_READ_ONLY, /* attached read-only, and made without WIRE_READERS_LOCK */
	WIRE_LOCK_LAYOUT, /* the client's sem_t, or the daemon's, is not what wire/word.h needs */
	WIRE_LOCK_UNWATCHED, /* the daemon has no pidfd of the client, and would not learn of its death */
	WIRE_LOCK_NO_NUMBER, /* 4,095 have numbers already */
	WIRE_LOCKS,
};

/* The first descriptor is the segment's; then comes the semaphore's, if there is one; then, with
 * WIRE_LOCK_GRANTED and more than one permit, the ledger's; and last, with WIRE_SEGMENT_READER, one of
 * the segment that can only be read. An empty name or semaphore: none. */
struct wire_segment {
	uint64_t id;
	uint64_t size;
	uint32_t uid;
	uint32_t gid;
	uint32_t mode;
	uint32_t lifetime;
	uint32_t linger_ms;
	uint32_t permits;
	uint32_t flags;
	uint16_t lock;   /* enum wire_lock */
	uint16_t number; /* 1 to 4095: the client's in word and ledger; 0: none */
	char name[WIRE_NAME_SIZE];
	char semaphore[WIRE_SEMAPHORE_SIZE];
	/* The id, until it is published. What people are shown, and the name's readers compare. */
	uint64_t generation;
};

struct wire_status {
	char version[WIRE_LABEL_SIZE];
	uint32_t pid;
	uint32_t counters; /* how many wire_counter follow, and behind them wire_limit */
	uint32_t limits;
	uint32_t reserved;
	uint64_t uptime_ms;
	uint64_t clients;
	uint64_t segments;
	uint64_t bytes;
	uint64_t heap_bytes;  /* in use by the daemon itself; 0: unknown */
	uint64_t descriptors; /* open in the daemon; 0: unknown */
	char degraded[WIRE_TEXT_SIZE];
};

struct wire_counter {
	char name[WIRE_LABEL_SIZE];
	uint64_t value;
};

struct wire_limit {
	char name[WIRE_LABEL_SIZE];
	uint64_t value;
	uint64_t use;
};

/* Begins a page of entries. A page may be empty although others follow. */
struct wire_entries {
	uint64_t next; /* zero: this was the last page */
	uint32_t entries;
	uint32_t reserved;
};

struct wire_entry {
	struct wire_segment segment;
	uint64_t allocated;
	uint64_t age_ms;
	uint32_t clients;
	uint32_t reserved;
};

struct wire_shown {
	struct wire_entry entry;
	int64_t permits_available; /* -1: no semaphore */
	uint64_t old_generations;  /* of the name, whose memory somebody still has */
	uint64_t old_bytes;        /* the sizes of those */
	struct wire_entries page;
};

struct wire_attachment {
	uint64_t client;
	uint32_t pid;
	uint32_t uid;
	uint32_t flags; /* WIRE_READ_ONLY or zero */
	uint32_t reserved;
	char command[WIRE_COMMAND_SIZE];
};

struct wire_holder {
	uint32_t pid;
	uint32_t uid;
	uint32_t permits;
	uint32_t flags; /* WIRE_HOLDER_ */
	char command[WIRE_COMMAND_SIZE];
};

#define WIRE_HOLDER_KEEPS (1u << 0) /* until its process's exit, see wire_keep */

#define WIRE_MAY_CREATE (1u << 0)
#define WIRE_EXISTS_NOW (1u << 1)
#define WIRE_MAY_READ   (1u << 2)
#define WIRE_MAY_WRITE  (1u << 3)

/* `create`, `read` and `write` say why, or why not. */
struct wire_explained {
	uint64_t linger_max_ms; /* WIRE_UNLIMITED, as the other limits */
	uint64_t size_max;
	uint64_t segments_max;
	uint64_t bytes_max;
	uint64_t
		segments_used; /* by the rule; WIRE_UNLIMITED: not counted, or not for that user to know */
	uint64_t bytes_used;
	uint32_t uid;   /* whom it is about */
	uint32_t line;  /* where the rule begins in its file; 0: no rule matches */
	uint32_t owner; /* of a new segment, as the following */
	uint32_t group; /* WIRE_NO_ID: the user's first one, which is not known */
	uint32_t mode;  /* UINT32_MAX: the one that is asked for */
	uint32_t mode_max;
	uint32_t lifetimes; /* 1 << enum wire_lifetime, for each */
	uint32_t flags;
	char rule[WIRE_RULE_SIZE];
	char file[WIRE_FILE_SIZE];
	char create[WIRE_TEXT_SIZE];
	char read[WIRE_TEXT_SIZE];
	char write[WIRE_TEXT_SIZE];
};

struct wire_client {
	uint64_t id;
	uint32_t pid;
	uint32_t uid;
	uint32_t gid;
	uint32_t segments;
	uint64_t bytes;
	uint64_t connected_ms;
	char command[WIRE_COMMAND_SIZE];
};

#endif
