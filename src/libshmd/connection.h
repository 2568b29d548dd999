/* SPDX-License-Identifier: MIT */
/* The connection: its socket, who waits on it, and what a forked child makes of it. */
#ifndef LIBSHMD_CONNECTION_H
#define LIBSHMD_CONNECTION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "libshmd/call.h"
#include "libshmd/holdings.h"
#include "libshmd/loop.h"
#include "libshmd/notice.h"
#include "libshmd/resume.h"
#include "libshmd/shmd.h"

#define CONNECTION_PATH_MAX 108 /* of sockaddr_un.sun_path */

/* Of a connection behind a program's back (posix.h): the program may close what it knows nothing of, and use
 * the number for something else. */
struct aside {
	int lowest_fd; /* of its socket; 0: the program knows of it */
	dev_t device;  /* which file the socket is */
	ino_t inode;
	uid_t uid;         /* of this process when it connected, */
	uid_t daemon;      /* and of the daemon that there is now */
	bool has_its_pids; /* our numbers of processes are the daemon's, too */
};

struct shmd {
	atomic_uint refs; /* the program's, and one for each segment */
	char path[CONNECTION_PATH_MAX];
	atomic_bool is_ended;        /* by shmd_disconnect() */
	_Atomic unsigned generation; /* of the process whose socket this is; see fork.h */

	pthread_mutex_t mutex; /* guards what follows */
	pthread_cond_t changed;
	struct aside aside;
	int socket;
	int broken;               /* why it is of no use, until it is mended; 0: it is of use */
	bool is_final;            /* it cannot be mended */
	char why[WIRE_TEXT_SIZE]; /* it is final, or could not be mended the last time */
	bool is_read;             /* a thread is receiving for all, or mending */
	struct resume resume;
	struct holdings holdings; /* what the daemon takes for attached by it */
	uint32_t last_number;
	struct call *calls;     /* those that wait for a reply */
	struct notices notices; /* what nobody waits for */
	struct loop loop;       /* readable if some of it has come, or the connection is broken */
	char *packet;           /* WIRE_PACKET_MAX bytes, of the thread that receives */
};

/* A connection behind a program's back. As shmd_connect(). */
int connection_new_aside(struct shmd **ret);

/* The socket is another one from now on. Of others than those aside, nothing is noted. */
void connection_note_socket(struct shmd *connection);

/* Notices that the program has taken the socket away: the connection is broken, and what has its number now is
 * left alone. */
void connection_look_after_socket(struct shmd *connection);

/* Closes the socket, if it is still ours. */
void connection_close_socket(struct shmd *connection);

/* Makes the connection this process's own, if it was inherited. 0 or a negative errno, with the
 * message set. The second form is for those who hold fork_lock(). */
int connection_enter(struct shmd *connection);
int connection_enter_locked(struct shmd *connection);

/* Lets a program's loop know of what is queued, or that nothing is. With the mutex held. */
void connection_update_loop(struct shmd *connection);

/* Whether the connection was inherited and is not (yet) this process's own. */
bool connection_is_inherited(const struct shmd *connection);

/* Between these two no thread is cancelled: one that were would leave half of the work. */
int cancellation_off(void);
void cancellation_restore(int before);

struct shmd *connection_ref(struct shmd *connection);
struct shmd *connection_unref(struct shmd *connection);

#endif
