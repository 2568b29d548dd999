/* SPDX-License-Identifier: MIT */
/*
 * The processes at the other ends, each with one pidfd, however many connections it has. End-of-file
 * is not death: a forked child keeps its parent's socket open. Death is what the pidfd says.
 *
 * All pidfds stand in one epoll of their own, which the loop watches as a single descriptor.
 */
#ifndef SHMD_PROCESS_H
#define SHMD_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/hash.h"
#include "core/locker.h"
#include "core/quota.h"

struct client;

struct process {
	pid_t pid; /* 0: in a PID namespace that we cannot see */
	int pidfd;
	uint64_t start;   /* peer_start(), when it was asked for; 0: it was not, or is unknown */
	bool has_command; /* read once, when it was first asked for */
	char command[32];
	struct client *clients; /* through process_prev and process_next */
	struct estate estate; /* its numbers in segments' ledgers, which outlive its connections */
	struct charge charge; /* its last client's, while only its estate keeps it */
	struct process_table *table;
	struct process *prev, *next; /* in table->all */
	UT_hash_handle hh;
};

struct process_table {
	int epoll; /* readable when somebody has died */
	struct process *all;
	struct process *by_pid;  /* those whose pid we know, and that live */
	struct estate **emptied; /* where their estates go that hold nothing any more */
};

int process_table_init(struct process_table *table, struct estate **emptied);

/* No process may have clients any more; the estates that are left go, and so does what they hold of the
 * segments' numbers. */
void process_table_fini(struct process_table *table);

/*
 * Finds or makes the entry of the process that connected `socket`, whose pid SO_PEERCRED told.
 * Entries are shared and end with process_put() when their last client has gone and their estate is
 * empty.
 *
 * Returns 0 and the entry, or NULL where the kernel offers no pidfd and end-of-file must do;
 * -ESRCH: the process is dead already; or another errno.
 */
int process_get(struct process_table *table, int socket, pid_t pid, struct process **ret);

/* The entry of the process that has that pid now, or NULL: none is known. */
struct process *process_find(const struct process_table *table, pid_t pid);

/*
 * Finds or makes the entry of a process that a daemon before us knew, which has clients or an estate again
 * when its entry is looked at next. Returns 0 and the entry; of one that is dead, or that cannot be watched
 * any more, one that is retired, and to be buried. Or -errno: whether it lives could not be found out.
 */
int process_restore(struct process_table *table, pid_t pid, uint64_t start, struct process **ret);

/* Finds or makes the entry of a process of that user's that lives, by its pid alone. -ESRCH: there is none;
 * -EOPNOTSUPP: the kernel offers no pidfd. */
int process_get_by_pid(struct process_table *table, pid_t pid, uid_t uid, struct process **ret);

/* When the process began; with its pid, which process it is. 0: unknown. Takes NULL. */
uint64_t process_start(struct process *process);

/* Ends the entry if it has no clients and no estate. Takes NULL. */
void process_put(struct process *process);

/* The process is dead: it is not named again, nor found. What keeps the entry has to go by itself. */
void process_retire(struct process *process);

/* The process that an estate is embedded in. */
static inline struct process *process_of(const struct estate *estate)
{
	return (struct process *)((char *)estate - offsetof(struct process, estate));
}

bool process_is_dead(const struct process *process);

/* The same, or it is about to be: its files and mappings go before its pidfd tells. */
bool process_is_ending(const struct process *process);

/* The process's name, made printable; "" if it could not be read. Takes NULL. */
const char *process_command(struct process *process);

/* One of the processes that have died, or NULL if no other has. It is named again until it is
 * retired. Never blocks. */
struct process *process_table_next_dead(struct process_table *table);

#endif
