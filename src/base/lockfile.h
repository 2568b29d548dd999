/* SPDX-License-Identifier: MIT */
/*
 * A file whose flock(2) says that its holder lives. The kernel drops the lock at the holder's death,
 * so a lock that can be taken belongs to nobody who is still there.
 */
#ifndef BASE_LOCKFILE_H
#define BASE_LOCKFILE_H

#include <stdbool.h>

/*
 * Takes the lock `name` in the open folder `dirfd`, creating the file (mode 0600) where there is
 * none. Never follows a link, and never opens what is not a plain file of our own: others may write
 * to the folder.
 *
 * Returns the descriptor that holds the lock; -EWOULDBLOCK: another process holds it; -EPERM: the
 * name is taken by something that is not ours; or another errno of open(2).
 */
int lockfile_take(int dirfd, const char *name);

/* Takes the lock of a file that exists already; -ENOENT if it does not. */
int lockfile_take_existing(int dirfd, const char *name);

/* Whether the name still leads to the file that is locked: somebody may have cleaned the folder, and
 * then name and all that goes with it are another's. */
bool lockfile_is_named(int dirfd, const char *name, int fd);

/* Removes the file, if the name still leads to it, and then lets go of the lock, so that nobody can take a lock on a file without a
 * name. Returns -1, for the place where the descriptor was kept. */
int lockfile_remove(int dirfd, const char *name, int fd);

#endif
