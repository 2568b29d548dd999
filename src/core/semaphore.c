/* SPDX-License-Identifier: MIT */
#include "core/semaphore.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef HAVE_LIBACL
#include <sys/acl.h>
#endif

#include "base/cleanup.h"
#include "base/lockfile.h"
#include "base/log.h"

#define FILE_NAME_SIZE (SEMAPHORE_NAME_SIZE + sizeof("sem."))

static void file_name(const struct semaphore *semaphore, char ret[static FILE_NAME_SIZE])
{
	snprintf(ret, FILE_NAME_SIZE, "sem.%s", semaphore->name);
}

void semaphore_init(struct semaphore *semaphore)
{
	*semaphore = (struct semaphore){.fd = -1};
}

void semaphore_fini(struct semaphore *semaphore, const struct instance *instance)
{
	semaphore_unlink(semaphore, instance);
	semaphore->fd = close_fd(semaphore->fd);
}

bool semaphore_is_named(const struct semaphore *semaphore, const struct instance *instance)
{
	char file[FILE_NAME_SIZE];

	file_name(semaphore, file);
	return lockfile_is_named(instance->folder, file, semaphore->fd);
}

void semaphore_leave(struct semaphore *semaphore)
{
	semaphore->name[0] = '\0';
}

void semaphore_unlink(struct semaphore *semaphore, const struct instance *instance)
{
	char file[FILE_NAME_SIZE];

	if (!semaphore->name[0])
		return;
	file_name(semaphore, file);
	unlinkat(instance->folder, file, 0);
	semaphore->name[0] = '\0';
}

static int draw_name(struct semaphore *semaphore, const struct instance *instance)
{
	uint64_t drawn;

	if (getrandom(&drawn, sizeof(drawn), 0) != (ssize_t)sizeof(drawn))
		return -errno;
	snprintf(semaphore->name, sizeof(semaphore->name), "shmd-%s-%016" PRIx64, instance->name,
		 drawn);
	return 0;
}

/* O_EXCL: a file or link that somebody planted under a name they guessed is never opened. */
static int open_new(struct semaphore *semaphore, const struct instance *instance)
{
	char file[FILE_NAME_SIZE];
	int r = 0;

	for (int tries = 0; tries < 16 && r == 0; tries++) {
		r = draw_name(semaphore, instance);
		if (r < 0)
			break;
		file_name(semaphore, file);
		semaphore->fd = openat(instance->folder, file,
				       O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (semaphore->fd >= 0)
			return 0;
		if (errno != EEXIST)
			r = -errno;
	}
	semaphore->name[0] = '\0';
	return r < 0 ? r : -EEXIST;
}

int semaphore_write(int fd, unsigned permits)
{
	sem_t value;

	memset(&value, 0, sizeof(value));
	if (sem_init(&value, 1, permits) < 0)
		return -errno;
	ssize_t n = pwrite(fd, &value, sizeof(value), 0);
	if (n < 0)
		return -errno;
	return n == (ssize_t)sizeof(value) ? 0 : -ENOSPC;
}

/* Who besides the daemon may open the file. Who writes may post, and who reads must be able to wait:
 * both need both. */
struct audience {
	bool owner;
	bool group;
	bool others;
};

static struct audience audience_of(const struct ownership *of, bool readers_lock)
{
	mode_t bit = readers_lock ? ACCESS_READ : ACCESS_WRITE;

	return (struct audience){
		.owner = of->uid != geteuid() && of->mode & bit << 6,
		.group = access_has_group(of) && of->mode & bit << 3,
		.others = of->mode & bit,
	};
}

#ifdef HAVE_LIBACL
static acl_t free_acl(acl_t acl)
{
	if (acl)
		acl_free(acl);
	return NULL;
}
DEFINE_CLEANUP(acl_t, free_acl, cleanup_acl_p);

static int add_entry(acl_t *acl, acl_tag_t tag, const id_t *id, bool allowed)
{
	acl_entry_t entry;
	acl_permset_t permissions;

	if (acl_create_entry(acl, &entry) < 0 || acl_set_tag_type(entry, tag) < 0 ||
	    (id && acl_set_qualifier(entry, id) < 0) || acl_get_permset(entry, &permissions) < 0)
		return -1;
	if (!allowed)
		return 0;
	return acl_add_perm(permissions, ACL_READ) < 0 || acl_add_perm(permissions, ACL_WRITE) < 0
		       ? -1
		       : 0;
}

static int set_list(int fd, const struct ownership *of, const struct audience *to)
{
	CLEANUP(cleanup_acl_p) acl_t acl = acl_init(6);

	if (!acl || add_entry(&acl, ACL_USER_OBJ, NULL, true) < 0 ||
	    (of->uid != geteuid() && add_entry(&acl, ACL_USER, &of->uid, to->owner) < 0) ||
	    add_entry(&acl, ACL_GROUP_OBJ, NULL, false) < 0 ||
	    (access_has_group(of) && add_entry(&acl, ACL_GROUP, &of->gid, to->group) < 0) ||
	    add_entry(&acl, ACL_MASK, NULL, true) < 0 ||
	    add_entry(&acl, ACL_OTHER, NULL, to->others) < 0 || acl_set_fd(fd, acl) < 0)
		return -errno;
	return 0;
}
#else
static int set_list(int fd, const struct ownership *of, const struct audience *to)
{
	(void)fd, (void)of, (void)to;
	return -ENOTSUP;
}
#endif

/* Without lists the file stays the daemon's own, and the descriptor is the only way in: a mode that
 * others may open would let those in whom the list would have kept out. */
static bool let_in(int fd, const struct ownership *of, bool readers_lock)
{
	struct audience to = audience_of(of, readers_lock);

	if (!to.owner && !to.group && !to.others)
		return true;
	return set_list(fd, of, &to) == 0;
}

int semaphore_create(struct semaphore *semaphore, const struct instance *instance, unsigned permits,
		     const struct ownership *of, bool readers_lock, bool *ret_by_descriptor_only)
{
	int r = open_new(semaphore, instance);

	if (r < 0)
		return r;
	r = semaphore_write(semaphore->fd, permits);
	if (r < 0) {
		semaphore_fini(semaphore, instance);
		return r;
	}
	*ret_by_descriptor_only = !let_in(semaphore->fd, of, readers_lock);
	return 0;
}

int semaphore_hand_over(struct semaphore *semaphore, const struct ownership *to, bool readers_lock)
{
	if (semaphore->fd < 0)
		return 0;
	/* Those whom the list lets in are out with this, whatever becomes of the new list. */
	if (fchmod(semaphore->fd, 0600) < 0)
		return -errno;
	if (!let_in(semaphore->fd, to, readers_lock))
		log_debug("semaphore %s can be had by descriptor only", semaphore->name);
	return 0;
}

/* A file that cannot be made, or not be filled, says nothing about lists. */
int semaphore_self_test(const struct instance *instance)
{
	struct ownership another = {.uid = geteuid() + 1, .gid = getegid(), .mode = 0600};
	struct semaphore semaphore;
	bool has_lists = true;

	semaphore_init(&semaphore);
	int r = open_new(&semaphore, instance);
	if (r == 0) {
		has_lists = let_in(semaphore.fd, &another, false);
		r = semaphore_write(semaphore.fd, 1);
	}
	semaphore_fini(&semaphore, instance);
	if (r < 0)
		log_warning("no semaphore can be made in /dev/shm now (%s): until one can, only "
			    "segments without one are created",
			    strerror(-r));
	return has_lists ? 0 : -ENOTSUP;
}

/* Read, not mapped: whoever may lock could truncate the file under a mapping. */
int64_t semaphore_value(const struct semaphore *semaphore)
{
	sem_t copy;
	int value;

	if (semaphore->fd < 0 ||
	    pread(semaphore->fd, &copy, sizeof(copy), 0) != (ssize_t)sizeof(copy) ||
	    sem_getvalue(&copy, &value) < 0)
		return -1;
	return value;
}
