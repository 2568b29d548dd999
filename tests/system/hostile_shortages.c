/* SPDX-License-Identifier: MIT */
/*
 * Enemies that use up what the machine, or the daemon, has. Then the honest client may be refused what
 * is new, with the error that says so, and nothing else; what it has works on, and afterwards all is
 * well.
 */
#include "hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hostile_raw.h"

/* --- descriptors -------------------------------------------------------------------------------- */

static void few_descriptors(void)
{
	struct rlimit few = {200, 200};

	if (setrlimit(RLIMIT_NOFILE, &few) < 0)
		_exit(125);
}

static void take_descriptors(const struct hostile *self)
{
	static unsigned n;

	(void)self;
	if (n++ % 2) {
		if (raw_client() >= 0)
			got(GOT_ACCEPTED);
		return;
	}
	struct wire_create create = raw_creation("");
	raw_ask(WIRE_CREATE, &create, sizeof(create));
}

/* --- limits of all together --------------------------------------------------------------------- */

static void take_connections(const struct hostile *self)
{
	(void)self;
	if (raw_client() >= 0)
		got(GOT_ACCEPTED);
}

static void take_segments(const struct hostile *self)
{
	struct wire_create create = raw_creation("");

	(void)self;
	raw_ask(WIRE_CREATE, &create, sizeof(create));
}

/* --- /dev/shm ----------------------------------------------------------------------------------- */

static void tiny_shm(void)
{
	own_shm("mode=1777,size=256k");
}

static void take_semaphores(const struct hostile *self)
{
	struct wire_create create = raw_creation("");

	(void)self;
	if (!raw_ready())
		return;
	raw_begin();
	for (unsigned i = 0; i < WIRE_BATCH_MAX; i++)
		raw_add(WIRE_CREATE, &create, sizeof(create));
	raw_exchange();
}

/* A file of the daemon's, which whoever may lock can make as large as there is room. */
static void grow_a_semaphore(const struct hostile *self)
{
	struct wire_create create = raw_creation("");
	struct raw_reply reply;

	(void)self;
	create.flags = WIRE_WANT_SEMAPHORE;
	raw_ask_keeping(WIRE_CREATE, &create, sizeof(create), &reply);
	for (off_t size = 1 << 20; reply.n_fds == 2 && size >= 4096; size /= 2)
		if (fallocate(reply.fds[1], 0, 0, size) == 0)
			got(GOT_ACCEPTED);
	raw_close_descriptors(&reply);
	usleep(1000);
	raw_end();
}

/* --- the daemon's memory ------------------------------------------------------------------------- */

static struct rlimit memory_before;

/* AddressSanitizer ends a program that gets none. */
#ifdef __SANITIZE_ADDRESS__
#define CAN_BE_SHORT_OF_MEMORY 0
#else
#define CAN_BE_SHORT_OF_MEMORY 1
#endif

/* Who is no administrator of the machine's may do so as the daemon's user. */
static void set_limit(rlim_t bytes)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct rlimit limit = {bytes, memory_before.rlim_max};
		become(DAEMON_UID);
		_exit(prlimit(stage_daemon.pid, RLIMIT_AS, &limit, NULL) < 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

/* Leaves it a little more than it has. */
static void limit_memory(void)
{
	unsigned long pages = 0;
	char path[64];

	if (!CAN_BE_SHORT_OF_MEMORY || getenv("SHMD_WRAPPER"))
		return;
	snprintf(path, sizeof(path), "/proc/%d/statm", (int)stage_daemon.pid);
	FILE *file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fscanf(file, "%lu", &pages), 1);
	fclose(file);
	ck_assert_int_eq(getrlimit(RLIMIT_AS, &memory_before), 0);
	set_limit(pages * (unsigned long)sysconf(_SC_PAGESIZE) + (1 << 20));
}

static void give_memory_back(void)
{
	if (memory_before.rlim_cur)
		set_limit(memory_before.rlim_cur);
}

/* Names that somebody waits for are of the largest that one byte on the wire makes it keep. */
static void take_memory(const struct hostile *self)
{
	static unsigned n;

	if (!raw_ready())
		return;
	for (int i = 0; i < 64; i++) {
		struct wire_wait wait = {0};
		memset(wait.name, 'w', WIRE_NAME_MAX);
		snprintf(wait.name, sizeof(wait.name), "%u-%u", self->index, n++);
		wait.name[strlen(wait.name)] = 'w';
		raw_begin();
		raw_add(WIRE_WAIT, &wait, sizeof(wait));
		raw_send(raw_fd);
	}
	struct wire_create create = raw_creation("");
	create.permits = 3;
	raw_ask(WIRE_CREATE, &create, sizeof(create));
	take_connections(self);
}

static const int no_descriptors[] = {-ENFILE, 0};
static const int over_limit[] = {-EDQUOT, 0};
static const int no_space[] = {-ENOSPC, 0};
static const int no_memory[] = {-ENOMEM, -EDQUOT, 0};

static const struct behaviour rows[] = {
	{.name = "the daemon's descriptors used up",
	 .act = take_descriptors,
	 .processes = 4,
	 .users = 4,
	 .prepare = few_descriptors,
	 .honestly = no_descriptors,
	 .must = ACCEPTED | REFUSED,
	 .says = "descriptor"},
	{.name = "all connections taken",
	 .act = take_connections,
	 .processes = 4,
	 .users = 4,
	 .config = "[limits]\nclients = 100\nclients_per_user = 40\n",
	 .honestly = over_limit,
	 .must = ACCEPTED | REFUSED,
	 .says = "clients"},
	{.name = "all segments taken",
	 .act = take_segments,
	 .processes = 4,
	 .users = 4,
	 .config = "[limits]\nsegments = 100\nsegments_per_user = 40\n",
	 .honestly = over_limit,
	 .must = ACCEPTED | REFUSED,
	 .says = "segments"},
	{.name = "/dev/shm filled with semaphores",
	 .act = take_semaphores,
	 .processes = 2,
	 .users = 2,
	 .before = tiny_shm,
	 .honestly = no_space,
	 .must = ACCEPTED | REFUSED,
	 .says = "/dev/shm"},
	{.name = "/dev/shm filled through a semaphore",
	 .act = grow_a_semaphore,
	 .processes = 2,
	 .users = 2,
	 .before = tiny_shm,
	 .honestly = no_space,
	 .must = ACCEPTED},
	{.name = "the daemon's memory used up",
	 .act = take_memory,
	 .processes = 4,
	 .users = 4,
	 .honestly = no_memory,
	 .set_up = limit_memory,
	 .check = give_memory_back,
	 .must = ACCEPTED},
};

const struct behaviours hostile_shortages = BEHAVIOURS(rows);
