/* SPDX-License-Identifier: MIT */
#include "core/instance.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/lockfile.h"
#include "base/log.h"
#include "base/text.h"

#define DIGITS    (INSTANCE_NAME_SIZE - 1)
#define LOCK_SIZE (sizeof("shmd-.lock") + DIGITS)
#define HEX       "0123456789abcdef"

static inline DIR *close_folder(DIR *folder)
{
	if (folder)
		closedir(folder);
	return NULL;
}
DEFINE_CLEANUP(DIR *, close_folder, cleanup_folder_p);

static void lock_name(const char *instance, char ret[static LOCK_SIZE])
{
	snprintf(ret, LOCK_SIZE, "shmd-%.*s.lock", DIGITS, instance);
}

/* Reads the instance's name out of that of a lock file. */
static bool parse_lock_name(const char *file, char ret[static INSTANCE_NAME_SIZE])
{
	char expected[LOCK_SIZE];

	if (strlen(file) != LOCK_SIZE - 1 || strncmp(file, "shmd-", 5) != 0)
		return false;
	memcpy(ret, file + 5, DIGITS);
	ret[DIGITS] = '\0';
	lock_name(ret, expected);
	return strspn(ret, HEX) == DIGITS && strcmp(file, expected) == 0;
}

static int take_name(struct instance *instance)
{
	char file[LOCK_SIZE];
	unsigned drawn;

	for (int tries = 0; tries < 16; tries++) {
		if (getrandom(&drawn, sizeof(drawn), 0) != (ssize_t)sizeof(drawn))
			return -errno;
		snprintf(instance->name, sizeof(instance->name), "%08x", drawn);
		lock_name(instance->name, file);
		instance->lock = lockfile_take(instance->folder, file);
		/* Somebody else's, or being swept just now: another name will do. */
		if (instance->lock != -EWOULDBLOCK && instance->lock != -EPERM)
			break;
	}
	return instance->lock < 0 ? instance->lock : 0;
}

int instance_init(struct instance *instance, const char *path)
{
	*instance = (struct instance){.lock = -1};
	instance->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (instance->folder < 0)
		return -errno;
	int r = take_name(instance);
	if (r < 0)
		instance->folder = close_fd(instance->folder);
	return r;
}

static bool is_our_lock(int lock)
{
	struct stat st;

	return lock >= 0 && fstat(lock, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid();
}

/* The lock may be somebody else's by now, who found the file without one. */
static int adopt_lock(struct instance *instance, int lock)
{
	char file[LOCK_SIZE];

	lock_name(instance->name, file);
	if (is_our_lock(lock) && lockfile_is_named(instance->folder, file, lock) &&
	    flock(lock, LOCK_EX | LOCK_NB) == 0) {
		instance->lock = lock;
		instance->was_locked = true;
		return 0;
	}
	close_fd(lock);
	instance->lock = lockfile_take(instance->folder, file);
	return instance->lock < 0 ? instance->lock : 0;
}

int instance_take_over(struct instance *instance, const char *path, const char *name, int lock)
{
	*instance = (struct instance){.lock = -1};
	text_copy(instance->name, sizeof(instance->name), name);
	instance->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (instance->folder < 0) {
		int r = -errno;
		close_fd(lock);
		return r;
	}
	int r = adopt_lock(instance, lock);
	if (r < 0)
		instance->folder = close_fd(instance->folder);
	return r;
}

void instance_leave(struct instance *instance)
{
	instance->lock = close_fd(instance->lock);
	instance->folder = close_fd(instance->folder);
}

void instance_fini(struct instance *instance)
{
	char file[LOCK_SIZE];

	if (instance->folder < 0)
		return;
	lock_name(instance->name, file);
	instance->lock = lockfile_remove(instance->folder, file, instance->lock);
	instance->folder = close_fd(instance->folder);
}

/* A new description, so that two readers of the folder do not share a position. */
static DIR *open_folder(const struct instance *instance)
{
	_cleanup_close_ int fd = openat(instance->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return NULL;
	DIR *folder = fdopendir(fd);
	if (folder)
		steal_fd(&fd);
	return folder;
}

static bool is_our_file(const struct instance *instance, const char *file)
{
	struct stat st;

	return fstatat(instance->folder, file, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(st.st_mode) && st.st_uid == geteuid();
}

static bool nothing_is_known(const char *semaphore, void *context)
{
	(void)semaphore, (void)context;
	return false;
}

static int remove_semaphores(const struct instance *instance, const char *of,
			     instance_known_fn *is_known, void *context)
{
	CLEANUP(cleanup_folder_p) DIR *folder = open_folder(instance);
	char prefix[sizeof("sem.shmd--") + DIGITS];
	int removed = 0;

	if (!folder)
		return -errno;
	snprintf(prefix, sizeof(prefix), "sem.shmd-%s-", of);
	for (struct dirent *entry; (entry = readdir(folder));)
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0 &&
		    !is_known(entry->d_name + strlen("sem."), context) &&
		    is_our_file(instance, entry->d_name) &&
		    unlinkat(instance->folder, entry->d_name, 0) == 0)
			removed++;
	return removed;
}

int instance_sweep_own(struct instance *instance, instance_known_fn *is_known, void *context)
{
	return remove_semaphores(instance, instance->name, is_known, context);
}

/* Returns how many semaphores went, 0 also if the instance lives or is not ours, or -errno. */
static int sweep_one(const struct instance *instance, const char *other, const char *file)
{
	int lock = lockfile_take_existing(instance->folder, file);

	if (lock < 0)
		return 0;
	int removed = remove_semaphores(instance, other, nothing_is_known, NULL);
	if (removed < 0) {
		close_fd(lock);
		return removed;
	}
	lockfile_remove(instance->folder, file, lock);
	log_notice("swept dead instance %s: %d semaphores removed", other, removed);
	return removed;
}

int instance_sweep(struct instance *instance)
{
	CLEANUP(cleanup_folder_p) DIR *folder = open_folder(instance);
	char other[INSTANCE_NAME_SIZE];
	int removed = 0;

	if (!folder)
		return -errno;
	for (struct dirent *entry; (entry = readdir(folder));) {
		if (!parse_lock_name(entry->d_name, other) || strcmp(other, instance->name) == 0)
			continue;
		int n = sweep_one(instance, other, entry->d_name);
		if (n < 0)
			return n;
		removed += n;
	}
	return removed;
}
