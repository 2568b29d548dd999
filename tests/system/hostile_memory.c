/* SPDX-License-Identifier: MIT */
/*
 * What can be done with the descriptors that were received: of memory, of semaphores, of ledgers. Much
 * of it must fail; what may succeed harms only those who share.
 */
#include "hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "wire/word.h"

#define SIZE 65536

static struct shmd *connection;

static bool is_connected(void)
{
	if (connection)
		return true;
	return got_result(shmd_connect(&connection, NULL));
}

/* Of its own, under no name; NULL if it could not have one. */
static struct shmd_segment *own_segment(void)
{
	struct shmd_segment *segment;

	if (!is_connected() || !got_result(shmd_create(connection, NULL, SIZE, NULL, &segment)))
		return NULL;
	return segment;
}

/* The first user's, which all processes of the row may lock. */
static struct shmd_segment *shared_segment(const struct hostile *self, unsigned permits)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	(void)self;
	options.mode = 0666;
	options.permits = permits;
	options.flags = SHMD_OPEN_EXISTING;
	if (!is_connected() ||
	    !got_result(shmd_create(connection, "target", SIZE, &options, &segment)))
		return NULL;
	return segment;
}

static struct shmd_segment *kept_segment(void)
{
	struct shmd_segment *segment;

	if (!is_connected() ||
	    !got_result(shmd_attach(connection, KEPT_NAME, SHMD_READ_ONLY, &segment)))
		return NULL;
	return segment;
}

/* --- what must fail ----------------------------------------------------------------------------- */

/* What can be reached through a descriptor for reading alone. */
static void write_all_the_same(const struct hostile *self)
{
	struct shmd_segment *segment = kept_segment();
	char path[64];

	(void)self;
	if (!segment)
		return;
	int fd = shmd_segment_fd(segment);
	void *data = shmd_segment_data(segment);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	must_fail("opening for writing", open(path, O_RDWR | O_CLOEXEC));
	must_fail("opening with truncation", open(path, O_WRONLY | O_TRUNC | O_CLOEXEC));
	must_fail("write", pwrite(fd, "x", 1, 0));
	must_fail("mprotect", mprotect(data, SIZE, PROT_READ | PROT_WRITE));
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must_fail("mmap for writing", p == MAP_FAILED ? -1 : 0);
	must_fail("chmod", chmod(path, 0666));
	must_fail("fallocate", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
	if (got_result(shmd_acquire(segment, 0)))
		breach("locked what it may only read");
	shmd_detach(segment);
}

static void change_size(const struct hostile *self)
{
	struct shmd_segment *segment = shared_segment(self, 1);

	if (!segment)
		return;
	int fd = shmd_segment_fd(segment);
	must_fail("ftruncate to 0", ftruncate(fd, 0));
	must_fail("ftruncate to less", ftruncate(fd, SIZE - 1));
	must_fail("ftruncate to more", ftruncate(fd, SIZE + 1));
	must_fail("fallocate of more", fallocate(fd, 0, 0, SIZE + 4096));
	must_fail("write behind the end", pwrite(fd, "x", 1, SIZE));
	must_fail("sealing", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	must_fail("sealing seals", fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
	must_fail("collapsing a range", fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096));
	shmd_detach(segment);
}

static void change_owner(const struct hostile *self)
{
	struct shmd_segment *segment = shared_segment(self, 1);

	if (!segment)
		return;
	int fds[] = {shmd_segment_fd(segment), shmd_segment_semaphore_fd(segment)};
	for (int i = 0; i < 2; i++) {
		must_fail("fchmod", fchmod(fds[i], 0777));
		must_fail("fchown", fchown(fds[i], self->uid, self->uid));
		must_fail("fsetxattr of a list",
			  fsetxattr(fds[i], "system.posix_acl_access", "", 0, 0));
		must_fail("a lease", fcntl(fds[i], F_SETLEASE, F_RDLCK));
		must_fail("futimens", futimens(fds[i], (struct timespec[2]){{1, 0}, {1, 0}}));
		must_fail("word of changes", fcntl(fds[i], F_NOTIFY, DN_MODIFY));
	}
	shmd_detach(segment);
}

/* --- what may succeed ---------------------------------------------------------------------------- */

/* Seals of its own, before the daemon's, and then whatever needs the memory unsealed. */
static void seal_early(const struct hostile *self)
{
	static const int seals[] = {
		F_SEAL_SEAL,
		F_SEAL_FUTURE_WRITE,
		F_SEAL_WRITE,
		F_SEAL_SEAL | F_SEAL_FUTURE_WRITE,
		F_SEAL_SHRINK | F_SEAL_GROW,
	};
	struct shmd_segment *segment = own_segment();
	static unsigned n;
	char name[32];

	if (!segment)
		return;
	snprintf(name, sizeof(name), "sealed-%u", self->index);
	fcntl(shmd_segment_fd(segment), F_ADD_SEALS, seals[n % 5]);
	got_result(shmd_publish(segment, name, n++ % 2 ? SHMD_WRITABLE : 0));
	shmd_detach(segment);
}

static void fill_and_punch(const struct hostile *self)
{
	struct shmd_segment *segment = shared_segment(self, 1);

	if (!segment)
		return;
	for (int i = 0; i < 100; i++) {
		int fd = shmd_segment_fd(segment);
		if (fallocate(fd, 0, 0, SIZE) == 0 &&
		    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE) == 0)
			got(GOT_ACCEPTED);
	}
	shmd_detach(segment);
}

#define LOCKS 4000

/* Thousands of locks, which the kernel has to drop one by one before the file is closed. */
static void lock_the_file(const struct hostile *self)
{
	struct shmd_segment *segment = own_segment();

	(void)self;
	if (!segment)
		return;
	int fd = shmd_segment_fd(segment);
	flock(fd, LOCK_EX);
	for (unsigned i = 0; i < scaled(LOCKS); i++) {
		struct flock lock = {.l_type = i % 2 ? F_WRLCK : F_RDLCK,
				     .l_whence = SEEK_SET,
				     .l_start = 2 * i,
				     .l_len = 1};
		fcntl(fd, F_OFD_SETLK, &lock);
	}
	shmd_detach(segment);
}

/* Whoever does this is told of what happens to the file; the description is its own. */
static void ask_for_signals(const struct hostile *self)
{
	struct shmd_segment *segment = own_segment();

	(void)self;
	if (!segment)
		return;
	int fds[] = {shmd_segment_fd(segment), shmd_segment_semaphore_fd(segment)};
	signal(SIGIO, SIG_IGN);
	for (int i = 0; i < 2; i++) {
		fcntl(fds[i], F_SETOWN, stage_daemon.pid);
		fcntl(fds[i], F_SETSIG, SIGKILL);
		fcntl(fds[i], F_SETFL, O_ASYNC | O_APPEND | O_NONBLOCK | O_DIRECT);
		fcntl(fds[i], F_SETLEASE, F_WRLCK);
		flock(fds[i], LOCK_EX);
	}
	got(GOT_ACCEPTED);
	shmd_detach(segment);
}

/* The daemon asks whether it is the only one, and there is always somebody just now. */
static void open_and_close(const struct hostile *self)
{
	struct shmd_segment *segment = own_segment();
	char path[64];

	(void)self;
	if (!segment)
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", shmd_segment_fd(segment));
	int fd = open(path, O_RDWR | O_CLOEXEC);
	shmd_detach(segment);
	/* The daemon has lost its last client, and waits for this. */
	for (int i = 0; i < 50 && fd >= 0; i++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		int another = open(path, O_RDONLY | O_CLOEXEC);
		if (another >= 0)
			got(GOT_ACCEPTED);
		close(another);
	}
	close(fd);
}

/* --- the semaphore and the ledger ----------------------------------------------------------------- */

static uint64_t noise(void)
{
	static uint64_t state;

	if (state == 0)
		state = 88172645463325252 ^ (uint64_t)getpid();
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void truncate_it(int fd)
{
	static const off_t sizes[] = {0, 4, 8, 1 << 20, 4096};

	if (ftruncate(fd, sizes[noise() % 5]) == 0)
		got(GOT_ACCEPTED);
}

static void overwrite_it(int fd)
{
	uint64_t words[64];

	for (int i = 0; i < 64; i++)
		words[i] = noise();
	if (pwrite(fd, words, sizeof(words), 0) > 0)
		got(GOT_ACCEPTED);
}

static void raise_it(int fd)
{
	uint64_t word = SEM_VALUE_MAX;

	if (pwrite(fd, &word, sizeof(word), 0) > 0)
		got(GOT_ACCEPTED);
}

static int find_ledger(void)
{
	char path[64], target[128];

	for (int fd = 0; fd < 64; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ssize_t n = readlink(path, target, sizeof(target) - 1);
		target[n > 0 ? n : 0] = '\0';
		if (strstr(target, "shmd:ledger"))
			return fd;
	}
	return -1;
}

/* Victims lock, and die of it or not; the enemy does what it can. */
static void lock_and_die(const struct hostile *self, unsigned permits)
{
	pid_t pid = hostile_fork();

	if (pid == 0) {
		connection = NULL;
		signal(SIGBUS, SIG_DFL);
		struct shmd_segment *segment = shared_segment(self, permits);
		for (int i = 0; segment && i < 20; i++)
			if (shmd_acquire(segment, 1) >= 0 && i % 3)
				shmd_release(segment);
		raise(SIGKILL);
	}
	usleep(500);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void abuse(const struct hostile *self, unsigned permits, void (*act)(int fd))
{
	static struct shmd_segment *segment;

	if (self->index % 2) {
		lock_and_die(self, permits);
		return;
	}
	if (!segment)
		segment = shared_segment(self, permits);
	if (segment && shmd_segment_semaphore_fd(segment) >= 0)
		act(shmd_segment_semaphore_fd(segment));
	usleep(50);
}

static void truncate_semaphores(const struct hostile *self)
{
	abuse(self, 1, truncate_it);
}

static void overwrite_semaphores(const struct hostile *self)
{
	abuse(self, 3, overwrite_it);
}

static void raise_semaphores(const struct hostile *self)
{
	abuse(self, 1, raise_it);
}

static void overwrite_the_ledger(int semaphore)
{
	static uint64_t *slots;

	(void)semaphore;
	if (!slots)
		slots = mmap(NULL, LEDGER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, find_ledger(),
			     0);
	if (slots == MAP_FAILED)
		_exit(1);
	for (unsigned i = 0; i < LEDGER_SIZE / sizeof(*slots); i++)
		__atomic_store_n(&slots[i], noise(), __ATOMIC_RELAXED);
	got(GOT_ACCEPTED);
}

static void overwrite_ledgers(const struct hostile *self)
{
	abuse(self, 3, overwrite_the_ledger);
}

static const struct behaviour rows[] = {
	{.name = "read-only descriptors, written to",
	 .act = write_all_the_same,
	 .processes = 2,
	 .users = 2,
	 .must = ACCEPTED | REFUSED},
	{.name = "sizes and seals of shared segments",
	 .act = change_size,
	 .processes = 2,
	 .users = 2,
	 .must = ACCEPTED | REFUSED},
	{.name = "owners, modes and leases of shared segments",
	 .act = change_owner,
	 .processes = 2,
	 .users = 2,
	 .must = ACCEPTED | REFUSED},
	{.name = "seals before publishing",
	 .act = seal_early,
	 .processes = 2,
	 .users = 2,
	 .must = ACCEPTED},
	{.name = "pages filled and punched out",
	 .act = fill_and_punch,
	 .processes = 2,
	 .users = 2,
	 .must = ACCEPTED},
	{.name = "4000 file locks a descriptor",
	 .act = lock_the_file,
	 .processes = 2,
	 .users = 2,
	 .must = ACCEPTED},
	{.name = "signals and leases for the daemon",
	 .act = ask_for_signals,
	 .processes = 2,
	 .users = 2,
	 .must = ACCEPTED},
	{.name = "opened again after the last detach",
	 .act = open_and_close,
	 .processes = 4,
	 .users = 4,
	 .must = ACCEPTED},
	{.name = "semaphores truncated and grown",
	 .act = truncate_semaphores,
	 .processes = 4,
	 .users = 2,
	 .must = ACCEPTED,
	 .may_die = true},
	{.name = "semaphores overwritten",
	 .act = overwrite_semaphores,
	 .processes = 4,
	 .users = 2,
	 .must = ACCEPTED,
	 .may_die = true},
	{.name = "semaphores raised to the largest value",
	 .act = raise_semaphores,
	 .processes = 4,
	 .users = 2,
	 .must = ACCEPTED,
	 .may_die = true},
	{.name = "ledgers overwritten",
	 .act = overwrite_ledgers,
	 .processes = 4,
	 .users = 2,
	 .must = ACCEPTED,
	 .may_die = true},
};

const struct behaviours hostile_memory = BEHAVIOURS(rows);
