/* SPDX-License-Identifier: MIT */
/*
 * libshmd: shared memory from the shmd broker.
 *
 * A program connects to the daemon, creates or attaches segments by name, and from then on reads,
 * writes and locks them without the daemon. What a program leaves behind when it dies is reaped by
 * the daemon, after the rule that the segment was created with (enum shmd_lifetime).
 *
 * Results   Functions that return int return 0 or a positive, documented result on success and a
 *           negative errno on failure; shmd_error_message() then has the sentence that says why.
 *           Out-parameters are written on success only. Destructors take NULL and return NULL.
 * Threads   A connection and its segments may be used by several threads at once, except that
 *           nothing else may use a handle while it is being destroyed.
 * Blocking  Calls that ask the daemon (connect, create, attach, publish, detach, unlink, subscribe,
 *           cancel, the queries) block until it has answered, with no time-out of their own;
 *           shmd_acquire() and shmd_wait() block as told. All others never block.
 * Fork      In a forked child every inherited handle stays readable and writable. The child's first
 *           call that needs the daemon makes its own connection; its first shmd_acquire() makes its
 *           own attachment, at the same address and with the same descriptor number, and with file
 *           locks of its own. Permits are not inherited, and neither are subscriptions and waits;
 *           the descriptor of shmd_get_fd() keeps its number, and is the child's own from then on. A
 *           handle that the child destroys leaves the parent's alone.
 * Signals   The library installs no handler, raises no SIGPIPE, prints nothing and starts no thread.
 */
#ifndef SHMD_H
#define SHMD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/** A connection to the daemon. Counted: attached segments keep what they need of it. */
struct shmd;

/** One attached segment: a mapping, a descriptor and, unless it was declined, a semaphore. */
struct shmd_segment;

/** What ends a segment. To end is to drop its name and its semaphore; mappings stay valid. */
enum shmd_lifetime {
	SHMD_LIFETIME_CLIENTS = 0, /**< when no process has it open or mapped any more */
	SHMD_LIFETIME_OWNER = 1,   /**< when its creator, or its publisher, dies or lets go of it */
	SHMD_LIFETIME_PERSISTENT = 2, /**< when it is unlinked */
};

/** @name Flags of shmd_create() (options.flags) and shmd_attach() */
/**@{*/
#define SHMD_OPEN_EXISTING (1u << 0) /**< create: attach the segment if the name exists */
#define SHMD_PREFAULT      (1u << 1) /**< create, attach: map all pages at once, not one by one */
#define SHMD_HUGE_PAGES    (1u << 2) /**< create: huge pages; size is a multiple of theirs */
#define SHMD_NO_SEMAPHORE  (1u << 3) /**< create: no semaphore comes with the segment */
#define SHMD_READERS_LOCK  (1u << 4) /**< create: who may only read may lock all the same */
#define SHMD_READ_ONLY     (1u << 5) /**< attach: the kernel refuses every write */
#define SHMD_LATE_LOCK     (1u << 7) /**< create, attach, wait: the semaphore at its first use */
#define SHMD_WRITABLE      (1u << 6) /**< publish: bound unsealed, for others to write, too */
/**@}*/

/** The longest name of a segment, in bytes, without its terminator. */
#define SHMD_NAME_MAX 200

/** How shmd_create() makes a segment. Start from SHMD_OPTIONS_INIT. */
struct shmd_options {
	size_t struct_size; /**< sizeof(struct shmd_options), as the caller knew it */
	mode_t mode;        /**< permission bits for owner, group and others, as of a file */
	enum shmd_lifetime lifetime; /**< what ends it */
	unsigned linger_ms; /**< milliseconds that it stays after its end; not persistent */
	unsigned permits;   /**< the semaphore's first value, 1 to 2147483647 */
	unsigned flags;     /**< SHMD_OPEN_EXISTING and the other flags of create */
	pid_t heir; /**< 0, or whom it is handed over to by its name; see shmd_hand_over() */
};

/** 0600, SHMD_LIFETIME_CLIENTS, no linger, one permit, no flags, no heir. Also what NULL options mean. */
#define SHMD_OPTIONS_INIT                                                            \
	{                                                                            \
		sizeof(struct shmd_options), 0600, SHMD_LIFETIME_CLIENTS, 0, 1, 0, 0 \
	}

/**
 * Connects to the daemon.
 *
 * @param ret     The connection, which the caller ends with shmd_disconnect().
 * @param socket  The daemon's socket; NULL for $SHMD_SOCKET (not in a set-uid program), else the
 *                system's socket. A user's own daemon is used only when named.
 * @return 0; -ENOENT or -ECONNREFUSED: no daemon there; -EACCES: the socket may not be used;
 *         -EDQUOT: a limit on connections is reached; -EPROTO: no common protocol version;
 *         -EINVAL: an empty path; -ENAMETOOLONG, -EMFILE, -ENOMEM.
 */
int shmd_connect(struct shmd **ret, const char *socket);

/**
 * Ends the connection: the daemon takes all segments attached through it as let go. Their mappings
 * stay valid until shmd_detach(), which still has to be called for each of them. What was asked for
 * without waiting is not called back any more.
 */
struct shmd *shmd_disconnect(struct shmd *connection);

/**
 * Creates a segment and attaches it for reading and writing. It is zeroed, sized and sealed against
 * a change of size before anybody can see its name.
 *
 * @param name     1 to SHMD_NAME_MAX bytes of UTF-8 without '/' and control characters, not "." or
 *                 ".."; one leading '/' is dropped. NULL: anonymous, seen by its creator alone.
 * @param size     Bytes, kept exactly; at least 1.
 * @param options  NULL for the defaults. With SHMD_OPEN_EXISTING, a segment of that name is
 *                 attached as it is; the other options must be valid, and change nothing.
 * @param ret      The segment, which the caller gives back with shmd_detach().
 * @return 0, also when an existing one was attached (shmd_segment_is_new() tells); -EEXIST; -EINVAL:
 *         name, size or options, or an existing segment is smaller than size; -ENAMETOOLONG;
 *         -EACCES; -EDQUOT: a limit, which the message names; -ENOSPC: no room for the semaphore;
 *         -ENOTSUP: no huge pages or no semaphores here; -ENOMEM; -EMFILE or -ENFILE: no
 *         descriptor left here or in the daemon (nothing is left behind); -ECONNRESET: the daemon
 *         ended, and none took its place, or the one that did cannot say whether this was done. A
 *         restart of the daemon under a service manager is no failure: calls go on with the next
 *         one.
 */
int shmd_create(struct shmd *connection, const char *name, size_t size,
		const struct shmd_options *options, struct shmd_segment **ret);

/**
 * Attaches the segment that bears a name.
 *
 * @param flags  SHMD_READ_ONLY, SHMD_PREFAULT, or 0 for reading and writing.
 * @param ret    The segment, which the caller gives back with shmd_detach(). Each attachment has a
 *               file description of its own, so flock(2) and OFD locks exclude each other.
 * @return 0; -ENOENT; -EACCES: mode and owner forbid it; and as shmd_create().
 */
int shmd_attach(struct shmd *connection, const char *name, int flags, struct shmd_segment **ret);

/**
 * Waits until a name exists, or is newer than a generation, and attaches what bears it then: the
 * newest generation, and not each one that came meanwhile.
 *
 * @param newer_than  The generation that the caller knows; 0: any will do.
 * @param timeout_ms  Milliseconds on the monotonic clock; -1 waits for ever, 0 does not wait.
 * @param flags       As of shmd_attach(). What was published can only be attached SHMD_READ_ONLY.
 * @return 0; -ETIMEDOUT; -EINTR: a signal handler ran: with a time-out any, else only one that was
 *         installed without SA_RESTART (noticed unless another thread of the process waits for the
 *         daemon on the same connection); -EDQUOT: the limit of waits; and as shmd_attach().
 */
int shmd_wait(struct shmd *connection, const char *name, uint64_t newer_than, int timeout_ms,
	      int flags, struct shmd_segment **ret);

/**
 * Publishes an anonymous segment: seals it, so that nobody can ever change it again, and binds it to
 * a name in one step, as that name's next generation. What bore the name loses it, and lives on for
 * those who have it. Readers never see half of it, and need no lock.
 *
 * The segment stays attached, at the same address, and can only be read from now on. Until it is
 * superseded or unlinked, or the connection ends, the name counts as a user; then the segment's
 * lifetime and linger decide; with SHMD_LIFETIME_OWNER, the publisher becomes the owner. Its
 * generation (shmd_segment_generation()) is a new one, greater than any that the name had.
 *
 * Sealing is done in the calling thread, and may take a while where the kernel has pages of the segment
 * in its hands. Nothing else may use the handle meanwhile.
 *
 * @param name   As of shmd_create(). If it exists, it must be the caller's, or the caller privileged.
 * @param flags  SHMD_WRITABLE: not sealed, for memory that must be ready before anybody sees it; or 0.
 * @return 0; -EBUSY: some mapping for writing is left, for instance in a forked child, and the segment
 *         is as it was; -EINVAL: it has a name, or is to be writable and was sealed before; -EACCES:
 *         the name is another user's, and the caller not privileged; -ENAMETOOLONG; -ENOENT: the
 *         segment has ended, as an inherited one does that its parent owned; -ENOMEM; -ENOTSUP: the
 *         daemon is older than this function; -ECONNRESET; -ESTALE: the daemon knows nothing of the
 *         segment since it was started anew. When the daemon refuses the name, the
 *         segment is sealed all the same, and can be published by another one.
 */
int shmd_publish(struct shmd_segment *segment, const char *name, unsigned flags);

/**
 * Drops a name, as its owner or as root. The semaphore's name goes with it; mappings stay valid.
 *
 * @return 0; -ENOENT; -EACCES: somebody else's; -EINVAL; -ECONNRESET.
 */
int shmd_unlink(struct shmd *connection, const char *name);

/**
 * Unmaps a segment, closes its descriptor and lets go of it. Permits that are still held stay held
 * until the process ends, or attaches the segment again and releases them.
 */
struct shmd_segment *shmd_detach(struct shmd_segment *segment);

/** The first byte of the mapping; read-only where it was attached so. Valid until shmd_detach(). */
void *shmd_segment_data(const struct shmd_segment *segment);

/** The size in bytes, as it was asked for when the segment was created. It never changes. */
size_t shmd_segment_size(const struct shmd_segment *segment);

/** The segment's descriptor, for file locks. It stays the library's: do not close it. */
int shmd_segment_fd(const struct shmd_segment *segment);

/** The name it was attached under, or NULL for an anonymous one. Valid until shmd_detach(). */
const char *shmd_segment_name(const struct shmd_segment *segment);

/** The semaphore's name, for sem_open(name, 0); NULL if there is none. Valid until shmd_detach(). With
 * SHMD_LATE_LOCK, the first call of this and the next function asks the daemon, and NULL is also failure. */
const char *shmd_segment_semaphore(const struct shmd_segment *segment);

/**
 * A descriptor of the semaphore's file, which begins with a sem_t. It stays the library's. -1 if there
 * is no semaphore, or no right to lock. It shares the daemon's own description of the file, so that a
 * permit taken with sem_wait(3) through a mapping of it is seen by nobody, and may be given back while
 * it is held: take permits with shmd_acquire(), which works without a common /dev/shm, too, or open
 * the file anew.
 */
int shmd_segment_semaphore_fd(const struct shmd_segment *segment);

/** The generation, which listings and events show as the segment's id. It only grows, so that a later
 * segment of the same name has a greater one; shmd_publish() gives the segment a new one. */
uint64_t shmd_segment_generation(const struct shmd_segment *segment);

/** The user whose it is, as the daemon knows that user: who made it, unless the policy gives segments of
 * that name to somebody else. */
uid_t shmd_segment_uid(const struct shmd_segment *segment);

/** 1 if this very call of shmd_create() made the segment, 0 if it existed. */
int shmd_segment_is_new(const struct shmd_segment *segment);

/** What shmd_acquire() returns for a permit whose last holder died with it. */
#define SHMD_OWNER_DIED 1

/**
 * Takes one permit of the segment's semaphore, the same one that sem_open(3) opens by name. A permit
 * belongs to the client, that is, to all threads and handles of this process that share the
 * connection; when the process dies, however it dies, the daemon gives it back.
 *
 * Asks the daemon for nothing, but in a forked child at its first use. Not a cancellation point, and
 * not to be called from a signal handler.
 *
 * @param timeout_ms  Milliseconds on the monotonic clock; -1 waits for ever, 0 only tries.
 * @return 0; SHMD_OWNER_DIED: the permit is held, and a holder died with it, perhaps in the middle of
 *         a change: look at the data before you trust it. Told to the next who
 *         acquires through the library; deaths before that are told together.
 *         -ETIMEDOUT; -EAGAIN: 0 was asked and none is free; -EINTR: a signal handler without
 *         SA_RESTART ran, and nothing is held (before Linux 5.16 with SA_RESTART too);
 *         -EPERM: attached read-only, and readers may not lock it; -ENOTSUP: it has no semaphore, or
 *         permits cannot be given back here, which the message says: sem_open(3) remains;
 *         -EDQUOT: 4,095 clients have attached it to lock it; -EIO: the semaphore was damaged;
 *         -EINVAL. In a forked child also as shmd_attach().
 */
int shmd_acquire(struct shmd_segment *segment, int timeout_ms);

/**
 * Gives one permit back that this client took, in whichever thread.
 *
 * @return 0; -EPERM: it holds none, for instance because a forked child's parent holds it; and where
 *         shmd_acquire() is refused, the same refusal.
 */
int shmd_release(struct shmd_segment *segment);

/**
 * Has the permits that this client holds of the segment at the end of the process given back as
 * by a release, and not as after a death: for a program that takes a permit and then executes another
 * one, as shmdctl lock does. The segment counts the process as a user until then, also when it has
 * let go of it or executed another program. Asks the daemon.
 *
 * @return 0; what shmd_acquire() is refused with; -ECONNRESET; -ENOTCONN after shmd_disconnect().
 */
int shmd_keep_until_exit(struct shmd_segment *segment);

/**
 * Says that this process ends, and hands over by their names the segments that it created with options.heir.
 *
 * A worker that makes a segment, detaches it, tells its parent the name and ends, leaves a moment in which nobody
 * has it. With an heir, a segment is kept, by its name, as long as this process lives; once nobody has it any more
 * while this process lives, or when this function is called, for the heir instead, as long as that lives. A
 * process that is killed with it in hand leaves nothing. Also hands on what was handed over to this process.
 * Asks the daemon.
 *
 * @param heir  A process of the same user, usually the parent, by its number in the daemon's PID namespace.
 * @return 0; -ENOENT: that process has ended; -EINVAL: not a number of a process; -ENOTSUP: the kernel has no
 *         pidfds; -ECONNRESET; -ENOTCONN; in a forked child that has asked nothing yet, also as shmd_connect().
 */
int shmd_hand_over(struct shmd *connection, pid_t heir);

/**
 * The last failure in this thread as one sentence, the daemon's own where it refused. Never NULL;
 * valid until the thread's next call of the library.
 */
const char *shmd_error_message(void);

/* ------------------------------------------------------------------------------------------------
 * For programs with a loop of their own: what is asked for here is answered when shmd_get_fd() is
 * readable and shmd_dispatch() is called, which calls the program back. Nothing here waits, except
 * for the daemon's word that it has heard. What a parent asked for is not its children's.
 */

/** What has happened. */
enum shmd_event_kind {
	SHMD_EVENT_CREATED = 1,
	SHMD_EVENT_ATTACHED,
	SHMD_EVENT_DETACHED, /**< also by the end of a client */
	SHMD_EVENT_UNLINKED,
	SHMD_EVENT_PUBLISHED,
	SHMD_EVENT_REAPED,    /**< its lifetime is over: the name is gone */
	SHMD_EVENT_RECOVERED, /**< permits of a process that died were given back */
	SHMD_EVENT_REFUSED,   /**< a request was; only subscribers to everything hear of it */
	SHMD_EVENT_LOST,      /**< events before this one: not read in time, or by a restart */
};

/** One event. It belongs to the library, is valid during the call, and grows at its end. */
struct shmd_event {
	enum shmd_event_kind kind;
	uint64_t time_ns; /**< nanoseconds since 1970, by the daemon's clock */
	const char *name; /**< NULL: the segment is anonymous, or it is not about a segment */
	uint64_t id;      /**< the segment's generation; 0: not about a segment */
	uint64_t size;    /**< the segment's, in bytes */
	pid_t pid;        /**< who did it; 0: hidden from the subscriber, or the daemon itself */
	uid_t uid;        /**< who did it, or the segment's owner; (uid_t)-1: hidden */
	int read_only;    /**< of an attachment */
	uint64_t count;   /**< RECOVERED: permits; LOST: events, see shmd_subscribe(); 0: unknown */
	const char *text; /**< REFUSED: the sentence that the client was told; else NULL */
};

/** "created" and so on: what `shmdctl watch` prints. NULL for a number that is none. */
const char *shmd_event_name(enum shmd_event_kind kind);

/** Called by shmd_dispatch() for each event. It may use the connection, and cancel. */
typedef void shmd_event_fn(const struct shmd_event *event, void *context);

/**
 * Called by shmd_dispatch() when a wait has ended, once.
 *
 * @param result   0, or what shmd_wait() would have returned, but neither -ETIMEDOUT nor -EINTR;
 *                 shmd_error_message() has the sentence.
 * @param segment  The segment, which the program gives back with shmd_detach(); NULL on failure.
 */
typedef void shmd_wait_fn(int result, struct shmd_segment *segment, void *context);

/**
 * A descriptor that is readable when shmd_dispatch() has something to do, for poll(2), epoll(7) and
 * loops built on them. It may also be so when there is nothing to do. It stays the library's, is the
 * same until shmd_disconnect(), and is made by the first call.
 *
 * @return The descriptor; -EMFILE; -ENOMEM; in a forked child also as shmd_connect().
 */
int shmd_get_fd(struct shmd *connection);

/**
 * Takes in what has arrived and calls back for it, in this thread and in the order of arrival. Does not
 * wait, except for the daemon's word where a segment that came cannot be mapped and is given back, and
 * for the next daemon where the connection is broken. To be
 * called by one thread at a time. Those who are called back may call everything but this function and
 * shmd_disconnect(). The thread cannot be cancelled meanwhile.
 *
 * @return How many times it called back; -ECONNRESET: the connection is broken and could not be
 *         mended, and all waits have been called back; subscriptions stay, and a later call tries
 *         again; -ENOTCONN; in a forked child also as shmd_connect().
 */
int shmd_dispatch(struct shmd *connection);

/**
 * Asks for the events of segments that the caller may see: those that it owns or may read; all for root.
 * They come in the order in which they happened. A program that does not read them in time is told how
 * many it lost, and holds up nobody. The daemon knows of a pattern only what stands before its first
 * '*', '?', '[' or '\', and counts as lost whatever begins so.
 *
 * @param glob  Only of segments whose name matches, as fnmatch(3) does without flags; NULL: of all,
 *              also of those without a name, and the refusals of the caller's own user, or all for root.
 * @return A positive number for shmd_cancel(); -EINVAL; -ENAMETOOLONG; -EDQUOT: the limit of
 *         subscriptions; -ENOMEM; -ECONNRESET.
 */
int shmd_subscribe(struct shmd *connection, const char *glob, shmd_event_fn *fn, void *context);

/**
 * Begins to wait as shmd_wait() does, and returns. shmd_dispatch() calls back when it has ended.
 *
 * @return A positive number for shmd_cancel(); -EINVAL; -ENAMETOOLONG; -ENOMEM; -ECONNRESET.
 */
int shmd_wait_start(struct shmd *connection, const char *name, uint64_t newer_than, int flags,
		    shmd_wait_fn *fn, void *context);

/**
 * Ends a subscription or a wait: it does not call back any more, but a call that another thread's
 * shmd_dispatch() has begun goes on. What a wait had been given meanwhile is given back.
 *
 * @param number  What shmd_subscribe() or shmd_wait_start() returned.
 * @return 0; -ENOENT: it has ended; -ENOTCONN.
 */
int shmd_cancel(struct shmd *connection, int number);

/* ------------------------------------------------------------------------------------------------
 * What an administrator asks. Everybody sees the segments that they own or may read; root, the
 * daemon's own user and the members of a group that its configuration names see all. The structures that follow belong to the library and grow at their
 * end; programs never allocate them.
 */

/** One segment, as shmd_list() and shmd_show() tell of it. */
struct shmd_segment_info {
	uint64_t id;           /**< its generation */
	const char *name;      /**< NULL: anonymous, or dropped and still in use */
	const char *semaphore; /**< NULL: none */
	uint64_t size;         /**< bytes, as asked for */
	uint64_t allocated;    /**< bytes of the pages that it really has */
	uint64_t age_ms;       /**< milliseconds since it was created */
	uid_t uid;
	gid_t gid;
	mode_t mode;
	enum shmd_lifetime lifetime;
	unsigned linger_ms;
	unsigned clients; /**< connections that have it attached */
	unsigned permits; /**< the semaphore's first value; 0 without one */
	int sealed;       /**< 1: nobody can write to it any more */
	int dropped;      /**< 1: its name is gone, its memory still in use */
	int lingering;    /**< 1: it has ended and waits for somebody to pick it up */
	int unsealed;     /**< 1: of the preload shim, whose users may change its size */
};

/** One client that has a segment attached. */
struct shmd_attachment_info {
	uint64_t client; /**< the connection's number in the daemon */
	pid_t pid;       /**< 0: in a PID namespace that the daemon cannot see */
	uid_t uid;
	const char *command; /**< the process's name, escaped; "" if it cannot be read */
	int read_only;
};

/** A process that holds permits of a segment. */
struct shmd_holder_info {
	pid_t pid; /**< 0: in a PID namespace that the daemon cannot see */
	uid_t uid;
	const char *command;
	unsigned permits;
	int until_exit; /**< 1: its end will be a release, see shmd_keep_until_exit() */
};

/** Everything about one segment. */
struct shmd_details {
	struct shmd_segment_info *segment;
	int64_t permits_available; /**< permits not taken now; -1 if it has no semaphore */
	uint64_t old_generations;  /**< of its name, that somebody still has */
	uint64_t old_bytes;        /**< the sizes of those */
	size_t n_attachments;      /**< as many as the caller may see */
	struct shmd_attachment_info **attachments;
	size_t n_holders; /**< likewise, of those who took permits through the library */
	struct shmd_holder_info **holders;
};

/** What the policy of the daemon says about a name and a user. */
struct shmd_explanation {
	uid_t uid;                 /**< whom it is about */
	const char *rule;          /**< the name of the rule that decides; NULL: none matches */
	const char *file;          /**< the last part of the path of its file */
	unsigned line;             /**< where it begins there */
	int may_create;            /**< 1: create, and publish under, the name */
	const char *create_reason; /**< why, or why not */
	uid_t owner;               /**< of a segment that is created; so the following */
	gid_t group;               /**< (gid_t)-1: the user's first one, which is not known */
	mode_t mode;               /**< whatever is asked for; (mode_t)-1: what is asked for */
	mode_t mode_max;           /**< bits that may be asked for */
	unsigned lifetimes;        /**< that may be: 1 << each enum shmd_lifetime */
	uint64_t linger_max_ms;    /**< UINT64_MAX: unlimited, as the other limits */
	uint64_t size_max;         /**< of one segment */
	uint64_t segments_max;     /**< of the rule, all users together */
	uint64_t segments_used;    /**< UINT64_MAX: not counted, or not for the user to know */
	uint64_t bytes_max;
	uint64_t bytes_used;
	int exists;   /**< 1: a segment bears the name */
	int may_read; /**< 1: the user may attach it read-only */
	const char *read_reason;
	int may_write; /**< 1: and read-write */
	const char *write_reason;
};

/** One connection. */
struct shmd_client_info {
	uint64_t id;
	pid_t pid;
	uid_t uid;
	gid_t gid;
	const char *command;
	unsigned segments;     /**< attached now */
	uint64_t bytes;        /**< the sizes of those */
	uint64_t connected_ms; /**< milliseconds since it connected */
};

/** A counter of the daemon: how often something happened since it started. */
struct shmd_counter {
	const char *name;
	uint64_t value;
};

/** A limit and its use; the name is that of the option which sets it. They are those of the whole daemon
 * or, where the name ends in _per_user, of the caller. */
struct shmd_limit {
	const char *name;
	uint64_t value;
	uint64_t use;
};

/** The daemon itself. */
struct shmd_status {
	const char *version;
	pid_t pid;
	uint64_t uptime_ms;
	uint64_t clients;
	uint64_t segments;    /**< whose memory is charged, so also dropped ones that are in use */
	uint64_t bytes;       /**< the sizes of those */
	uint64_t heap_bytes;  /**< of the daemon's own heap in use; 0: unknown */
	uint64_t descriptors; /**< that the daemon has open; 0: unknown */
	const char *
		degraded; /**< what this kernel refuses the daemon, and what follows; "" if nothing */
	size_t n_counters;
	struct shmd_counter **counters;
	size_t n_limits;
	struct shmd_limit **limits;
};

/** Called for each entry of a listing; a result other than 0 ends the listing and is its result. */
typedef int shmd_segment_fn(const struct shmd_segment_info *info, void *context);
typedef int shmd_client_fn(const struct shmd_client_info *info, void *context);

/**
 * Asks for the daemon's status.
 *
 * @param ret  The status, which the caller frees with shmd_status_free().
 * @return 0; -ENOMEM; -ECONNRESET.
 */
int shmd_status(struct shmd *connection, struct shmd_status **ret);
struct shmd_status *shmd_status_free(struct shmd_status *status);

/**
 * Lists the segments that the caller may see, oldest first. A listing is not a snapshot: what comes
 * or goes meanwhile may or may not be in it.
 *
 * @param glob      Only segments whose name matches, as fnmatch(3) does without flags; NULL: all.
 * @param fn        Called in the calling thread; must not use the connection.
 * @return 0, what fn returned, -ENOMEM or -ECONNRESET.
 */
int shmd_list(struct shmd *connection, const char *glob, shmd_segment_fn *fn, void *context);

/**
 * Tells everything about the segment that bears a name.
 *
 * @param ret  The details, which the caller frees with shmd_details_free().
 * @return 0; -ENOENT; -EACCES; -EINVAL; -ENOMEM; -ECONNRESET.
 */
int shmd_show(struct shmd *connection, const char *name, struct shmd_details **ret);
struct shmd_details *shmd_details_free(struct shmd_details *details);

/**
 * Asks what the policy says about a name, which need not exist; nothing is done. It leaves out the
 * limits that do not go by the name, which shmd_status() has.
 *
 * @param uid  The user that it is about: SHMD_OWN_UID for the caller, with the groups that it has. Any
 *             other is for privileged users and administrators, and is taken with the groups that the
 *             machine's databases give; a process of that user's may have others.
 * @param ret  The explanation, which the caller frees with shmd_explanation_free().
 * @return 0; -EACCES: another user; -EINVAL or -ENAMETOOLONG: the name; -ENOMEM; -ECONNRESET.
 */
int shmd_explain(struct shmd *connection, const char *name, uid_t uid,
		 struct shmd_explanation **ret);
struct shmd_explanation *shmd_explanation_free(struct shmd_explanation *explanation);
#define SHMD_OWN_UID ((uid_t)-1)

/** Lists the connections of the caller's user, or all for administrators; otherwise as shmd_list(). */
int shmd_clients(struct shmd *connection, shmd_client_fn *fn, void *context);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
