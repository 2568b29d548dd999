/* SPDX-License-Identifier: MIT */
/*
 * The stage on which hostile behaviours are played: a daemon of a user of its own, a client that is
 * honest and measures, and processes of other users that do what a row of a table says. Daemon and
 * honest client share one CPU, the hostile ones have another, if there is one.
 *
 * First the hostile processes only spin, then they act, for as long each; the honest client measures
 * all the while. Then they are killed, and what the daemon keeps must be what it was before. What they
 * got is counted in memory that all share.
 */
#ifndef TESTS_SYSTEM_HOSTILE_H
#define TESTS_SYSTEM_HOSTILE_H

#include "harness.h"

/* Users of nobody's, who need no entry in /etc/passwd. */
#define DAEMON_UID  64501
#define HONEST_UID  64502
#define HOSTILE_UID 64600 /* and those that follow */

/* The name of each segment of the honest client's. Its number reserves it. */
#define HONEST_NAME "64502.next"

/* A segment of root's that everybody may read, and nobody else may write to. */
#define KEPT_NAME "kept"

/* One hostile process. */
struct hostile {
	unsigned index; /* among those of its row */
	unsigned users; /* of its row */
	uid_t uid;
};

/* Called again and again until the time is over. It may also block for ever. */
typedef void hostile_fn(const struct hostile *self);

enum got {
	GOT_ACCEPTED,
	GOT_REFUSED,
	GOT_ENDED, /* the connection, by the daemon */
	GOTS,
};
#define ACCEPTED (1u << GOT_ACCEPTED)
#define REFUSED  (1u << GOT_REFUSED)
#define ENDED    (1u << GOT_ENDED)

/* One hostile behaviour. What is not said is none, or as usual. */
struct behaviour {
	const char *name;
	hostile_fn *act;
	unsigned processes;
	unsigned users;     /* whom they belong to, one after the other */
	const char *config; /* of the daemon */
	unsigned must;      /* they get: ACCEPTED... */
	unsigned never;
	const char *says;    /* some refusal of theirs */
	const int *honestly; /* errors that the honest client may be refused with; ends with 0 */
	bool may_die;        /* by their own acts */
	bool as_root;        /* they begin as, to become others */
	/* As root: before the daemon starts; in the process that becomes the daemon, as its user; before
	 * the honest client comes; when all have gone; after the daemon's end. */
	void (*before)(void);
	void (*prepare)(void);
	void (*set_up)(void);
	void (*check)(void);
	void (*tear_down)(void);
};

struct behaviours {
	const struct behaviour *rows;
	unsigned n;
};

#define BEHAVIOURS(rows)                               \
	{                                              \
		rows, sizeof(rows) / sizeof((rows)[0]) \
	}

/* One file each. */
extern const struct behaviours hostile_floods, hostile_questions, hostile_sockets,
	hostile_processes, hostile_memory, hostile_files, hostile_shortages;

/* Plays one row, and fails the test if the honest client is harmed or anything is not given back. */
void stage_play(const struct behaviour *behaviour);

/* What the columns of stage_play()'s lines are. */
void stage_print_head(void);

extern struct test_daemon stage_daemon;
extern struct shmd *stage_connection; /* root's, for set_up and what follows */

/* --- for hostile processes -------------------------------------------------------------------- */

/* Notes what one has got. A refusal comes with its sentence. */
void got(enum got what);
void got_refused(const char *text);

/* Notes the result of a function of the library. Returns whether it succeeded. */
bool got_result(int r);

/* Something has happened that must never happen: fails the test. */
void breach(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A system call of theirs on what they were given must fail. Notes its error as a refusal. */
void must_fail(const char *what, long result);

/* Becomes that user for ever. */
void become(uid_t uid);

/* A child that is killed with the row. It may outlive its parent. */
pid_t hostile_fork(void);

/* Whether the time to act is over. */
bool is_over(void);

/* Does nothing until the row is over and it is killed. */
void hold(void) __attribute__((noreturn));

/* For `before`: the row has a /dev/shm of its own. */
void own_shm(const char *options);

/* Fewer where everything is slow. */
unsigned scaled(unsigned n);

#endif
