/* SPDX-License-Identifier: MIT */
/*
 * Clients and daemons in containers: in mount, IPC, PID, network and user namespaces of their own,
 * with a /dev/shm of their own. All that both sides share is the path of the socket. Needs root;
 * what the machine does not let it unshare is skipped, and said.
 */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Linux 6.5; the headers of Debian 12 do not have it. */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* Users of nobody's, who need no entry in /etc/passwd. */
#define DAEMON_UID   64501
#define OWNER_UID    64502
#define STRANGER_UID 64504
#define SOME_GID     64521

static struct test_daemon daemon_;
static struct shmd *connection; /* the conductor's, who is root and in no namespace of its own */

#define NEED(condition, what)                          \
	do {                                           \
		if (!(condition)) {                    \
			printf("# SKIP %s\n", (what)); \
			return;                        \
		}                                      \
	} while (0)

/* --- places ----------------------------------------------------------------------------------- */

/* Where a puppet lives. */
struct place {
	const char *name;
	int namespaces;  /* of its own, CLONE_NEW...; with a mount namespace goes a /dev/shm */
	bool below_init; /* of its PID namespace; else it is the init itself */
	uid_t uid;       /* outside; 0: stays root */
	gid_t gid;
};

#define CONTAINER (CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWPID)

#ifdef HAVE_LIBACL
#define BY_NAME 1
#else
#define BY_NAME 0
#endif

static const struct place here = {.name = "outside"};

static const struct place places[] = {
	{.name = "mount and IPC", .namespaces = CLONE_NEWNS | CLONE_NEWIPC},
	{.name = "mount, IPC and PID", .namespaces = CONTAINER},
	{.name = "mount, IPC, PID and network",
	 .namespaces = CONTAINER | CLONE_NEWNET,
	 .below_init = true},
	{.name = "mount, IPC, PID, network and user",
	 .namespaces = CONTAINER | CLONE_NEWNET | CLONE_NEWUSER,
	 .uid = OWNER_UID,
	 .gid = SOME_GID},
};
#define PLACES ((int)(sizeof(places) / sizeof(places[0])))

static void become(uid_t uid, gid_t gid)
{
	ck_assert_int_eq(setgroups(0, NULL), 0);
	ck_assert_int_eq(setresgid(gid, gid, gid), 0);
	ck_assert_int_eq(setresuid(uid, uid, uid), 0);
	/* That takes both away: the files in our /proc, and the wish to end with the test. */
	ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1), 0);
	ck_assert_int_eq(prctl(PR_SET_PDEATHSIG, SIGKILL), 0);
}

static bool write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

/* As an unprivileged user may do it: that user alone, who is root there. */
static bool map_to_root(uid_t uid, gid_t gid)
{
	char users[32], groups[32];

	snprintf(users, sizeof(users), "0 %u 1\n", uid);
	snprintf(groups, sizeof(groups), "0 %u 1\n", gid);
	return write_to("/proc/self/setgroups", "deny") && write_to("/proc/self/uid_map", users) &&
	       write_to("/proc/self/gid_map", groups);
}

static bool move_to(const struct place *place)
{
	if (place->uid)
		become(place->uid, place->gid);
	if (unshare(place->namespaces) < 0)
		return false;
	if (place->namespaces & CLONE_NEWUSER && !map_to_root(place->uid, place->gid))
		return false;
	if (!(place->namespaces & CLONE_NEWNS))
		return true;
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=1m") == 0;
}

/* Tries it out, and the first fork, which makes the init. */
static bool can_live_in(const struct place *place)
{
	int status = 1;
	pid_t pid = fork();

	if (pid == 0) {
		bool can = move_to(place);
		pid_t init = can ? fork() : -1;
		if (init == 0)
			_exit(0);
		_exit(init < 0 || waitpid(init, &status, 0) != init || status != 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status == 0;
}

/* --- puppets ---------------------------------------------------------------------------------- */

/* What a puppet is told to do, in its place; its answer goes back to the test. */
typedef int deed_fn(long argument);

struct order {
	deed_fn *deed; /* NULL: end */
	long argument;
};

/* Both sides see it. */
struct page {
	pid_t pid;  /* the puppet, as it is known outside */
	pid_t init; /* of its PID namespace, if it is another process */
	atomic_bool is_about_to_wait;
};

struct puppet {
	struct actor actor;
	const struct place *place;
	struct page *page;
};

static struct page *own_page;

/* The outer /proc is still mounted, and knows us by our number there. */
static pid_t outer_pid(void)
{
	char text[16] = "";

	ck_assert_int_gt(readlink("/proc/self", text, sizeof(text) - 1), 0);
	return atoi(text);
}

static void read_order(int fd, struct order *ret)
{
	/* The conductor is gone, with the test. */
	if (read(fd, ret, sizeof(*ret)) != sizeof(*ret))
		_exit(1);
}

static void obey(struct actor *self)
{
	struct order order;

	own_page->pid = outer_pid();
	for (;;) {
		read_order(self->from, &order);
		if (!order.deed)
			_exit(0);
		int answer = order.deed(order.argument);
		ck_assert_int_eq(write(self->to, &answer, sizeof(answer)), sizeof(answer));
	}
}

/* Stays on when the child is killed, so that its death is all that happens, until told to end. */
static void outlive(struct actor *self, pid_t child)
{
	struct order end;
	int status;

	ck_assert_int_eq(waitpid(child, &status, 0), child);
	if (WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	read_order(self->from, &end);
	_exit(0);
}

static void descend(struct actor *self)
{
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child > 0)
		outlive(self, child);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void live(struct actor *self, void *context)
{
	const struct puppet *puppet = context;

	own_page = puppet->page;
	ck_assert(move_to(puppet->place));
	if (puppet->place->namespaces & CLONE_NEWPID)
		descend(self);
	if (puppet->place->below_init) {
		own_page->init = outer_pid();
		descend(self);
	}
	obey(self);
}

static void puppet_begin(struct puppet *puppet, deed_fn *deed, long argument)
{
	struct order order = {deed, argument};

	ck_assert_int_eq(write(puppet->actor.to, &order, sizeof(order)), sizeof(order));
}

static int puppet_end(struct puppet *puppet)
{
	int answer;

	ck_assert_msg(read(puppet->actor.from, &answer, sizeof(answer)) == sizeof(answer),
		      "the puppet (%s) has died", puppet->place->name);
	return answer;
}

static int puppet_do(struct puppet *puppet, deed_fn *deed, long argument)
{
	puppet_begin(puppet, deed, argument);
	return puppet_end(puppet);
}

#define EXPECT(puppet, deed, argument, answer)                                                    \
	do {                                                                                      \
		int answer_ = puppet_do(puppet, deed, argument);                                  \
		ck_assert_msg(answer_ == (answer), #deed "(" #argument "), %s: %d, not " #answer, \
			      (puppet)->place->name, answer_);                                    \
	} while (0)

static bool puppet_has_answered(struct puppet *puppet)
{
	struct pollfd answer = {.fd = puppet->actor.from, .events = POLLIN};

	return poll(&answer, 1, 0) != 0;
}

static int nothing(long argument)
{
	(void)argument;
	return 0;
}

static void puppet_start(struct puppet *puppet, const struct place *place)
{
	puppet->place = place;
	puppet->page = mmap(NULL, sizeof(*puppet->page), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(puppet->page, MAP_FAILED);
	actor_start(&puppet->actor, live, puppet);
	EXPECT(puppet, nothing, 0, 0);
}

/* Also when it has been killed. */
static void puppet_finish(struct puppet *puppet)
{
	puppet_begin(puppet, NULL, 0);
	actor_finish(&puppet->actor);
}

static char process_state(pid_t pid)
{
	char path[64], text[512], state = '?';
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	if (fgets(text, sizeof(text), file) && strrchr(text, ')'))
		sscanf(strrchr(text, ')'), ") %c", &state);
	fclose(file);
	return state;
}

/* Between its word that it is about to and its sleep, it has nothing else to sleep in. */
static void await_waiting(const struct puppet *puppet)
{
	AWAIT(atomic_load(&puppet->page->is_about_to_wait));
	AWAIT(process_state(puppet->page->pid) == 'S');
}

/* --- deeds ------------------------------------------------------------------------------------ */

static struct shmd *own_connection;
static struct shmd_segment *segment;

static const char *const names[] = {"seg", "owned", "shared", "secret", "open"};
enum { SEG, OWNED, SHARED, SECRET, OPEN, ANONYMOUS };

/* Modes and lifetimes in that order; those whom the mode of "seg" lets in, it lets write. */
static const mode_t modes[] = {0666, 0600, 0600, 0600, 0644, 0666};

static struct shmd *own(void)
{
	if (!own_connection)
		own_connection = connect_or_fail();
	return own_connection;
}

static int create_with(long which, mode_t mode)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;

	options.mode = mode;
	options.lifetime = which == OWNED ? SHMD_LIFETIME_OWNER : SHMD_LIFETIME_CLIENTS;
	return shmd_create(own(), which == ANONYMOUS ? NULL : names[which], 4096, &options,
			   &segment);
}

static int create(long which)
{
	return create_with(which, modes[which]);
}

static int create_for_group(long which)
{
	return create_with(which, 0660);
}

static int attach(long which)
{
	return shmd_attach(own(), names[which], 0, &segment);
}

static int attach_read_only(long which)
{
	return shmd_attach(own(), names[which], SHMD_READ_ONLY, &segment);
}

static int detach(long argument)
{
	(void)argument;
	segment = shmd_detach(segment);
	return 0;
}

static int drop(long which)
{
	return shmd_unlink(own(), names[which]);
}

static int put(long value)
{
	*(volatile long *)shmd_segment_data(segment) = value;
	return 0;
}

static int get(long value)
{
	return *(volatile long *)shmd_segment_data(segment) == value;
}

static int acquire(long timeout_ms)
{
	atomic_store(&own_page->is_about_to_wait, true);
	int r = shmd_acquire(segment, (int)timeout_ms);
	atomic_store(&own_page->is_about_to_wait, false);
	return r;
}

static int release(long argument)
{
	(void)argument;
	return shmd_release(segment);
}

static int count_up(long rounds)
{
	volatile long *count = shmd_segment_data(segment);

	for (long i = 0; i < rounds; i++) {
		int r = shmd_acquire(segment, -1);
		if (r < 0)
			return r;
		*count = *count + 1;
		r = shmd_release(segment);
		if (r < 0)
			return r;
	}
	return 0;
}

static int open_semaphore_by_name(long argument)
{
	sem_t *semaphore = sem_open(shmd_segment_semaphore(segment), 0);

	(void)argument;
	if (semaphore == SEM_FAILED)
		return -errno;
	sem_close(semaphore);
	return 0;
}

/* Whoever comes by their names, which all can see. Returns how many there are for it. */
static int open_all_semaphores(long argument)
{
	DIR *folder = opendir("/dev/shm");
	int n = 0;

	(void)argument;
	ck_assert_ptr_nonnull(folder);
	for (struct dirent *entry; (entry = readdir(folder));)
		if (strncmp(entry->d_name, "sem.shmd-", 9) == 0 &&
		    strncmp(entry->d_name + 9, daemon_.instance, 8) == 0)
			n += sem_open(entry->d_name + 4, 0) != SEM_FAILED;
	closedir(folder);
	return n;
}

static int open_own_memory(long flags)
{
	int fd = shm_open("/shmd-check-namespaces", O_RDWR | (int)flags, 0600);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int unlink_own_memory(long argument)
{
	(void)argument;
	return shm_unlink("/shmd-check-namespaces");
}

static int count_segment(const struct shmd_segment_info *info, void *context)
{
	(void)info;
	++*(int *)context;
	return 0;
}

static int count_client(const struct shmd_client_info *info, void *context)
{
	(void)info;
	++*(int *)context;
	return 0;
}

static int list(long argument)
{
	int n = 0;

	(void)argument;
	ck_assert_int_eq(shmd_list(own(), NULL, count_segment, &n), 0);
	return n;
}

static int clients(long argument)
{
	int n = 0;

	(void)argument;
	ck_assert_int_eq(shmd_clients(own(), count_client, &n), 0);
	return n;
}

static int show(long which)
{
	struct shmd_details *details;
	int r = shmd_show(own(), names[which], &details);

	if (r == 0)
		shmd_details_free(details);
	return r;
}

static int own_uid(long argument)
{
	(void)argument;
	return (int)geteuid();
}

/* Knows nothing of the daemon, and has the mapping. */
static int fork_heir(long argument)
{
	(void)argument;
	pid_t pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	return pid < 0 ? -errno : 0;
}

/* --- clients elsewhere ------------------------------------------------------------------------ */

static void set_up(void)
{
	daemon_start_as(&daemon_, NULL, DAEMON_UID);
	connection = connect_or_fail();
}

static void tear_down(void)
{
	connection = shmd_disconnect(connection);
	daemon_stop(&daemon_);
}

static void namespace_of(const char *process, const char *name, char ret[static 64])
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%s/ns/%s", process, name);
	ssize_t n = readlink(path, ret, 63);
	ck_assert_int_gt(n, 0);
	ret[n] = '\0';
}

/* We do not believe unshare(2) either. */
static void check_is_elsewhere(const struct puppet *puppet)
{
	static const struct {
		int flag;
		const char *name;
	} kinds[] = {{CLONE_NEWNS, "mnt"},
		     {CLONE_NEWIPC, "ipc"},
		     {CLONE_NEWPID, "pid"},
		     {CLONE_NEWNET, "net"},
		     {CLONE_NEWUSER, "user"}};
	char process[16], ours[64], theirs[64];

	snprintf(process, sizeof(process), "%d", (int)puppet->page->pid);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		namespace_of("self", kinds[i].name, ours);
		namespace_of(process, kinds[i].name, theirs);
		ck_assert_int_eq(strcmp(ours, theirs) != 0,
				 (puppet->place->namespaces & kinds[i].flag) != 0);
	}
}

static void check_names_lead_nowhere(struct puppet *inside, struct puppet *outside)
{
	EXPECT(outside, open_semaphore_by_name, 0, 0);
	EXPECT(inside, open_semaphore_by_name, 0, -ENOENT);
	EXPECT(inside, open_own_memory, O_CREAT | O_EXCL, 0);
	EXPECT(inside, open_own_memory, 0, 0);
	EXPECT(outside, open_own_memory, 0, -ENOENT);
	EXPECT(inside, unlink_own_memory, 0, 0);
}

/* The waiter gets the permit when the holder gives it, and no sooner. */
static void hand_over(struct puppet *holder, struct puppet *waiter, long token)
{
	EXPECT(holder, acquire, -1, 0);
	EXPECT(waiter, acquire, 0, -EAGAIN);
	puppet_begin(waiter, acquire, -1);
	await_waiting(waiter);
	EXPECT(holder, put, token, 0);
	ck_assert(!puppet_has_answered(waiter));
	ck_assert_int_eq(process_state(waiter->page->pid), 'S');
	EXPECT(holder, release, 0, 0);
	ck_assert_int_eq(puppet_end(waiter), 0);
	EXPECT(waiter, get, token, 1);
	EXPECT(holder, acquire, 0, -EAGAIN);
	EXPECT(waiter, release, 0, 0);
}

static void count_together(struct puppet *one, struct puppet *other)
{
	EXPECT(one, put, 0, 0);
	puppet_begin(one, count_up, 3000);
	puppet_begin(other, count_up, 3000);
	ck_assert_int_eq(puppet_end(one), 0);
	ck_assert_int_eq(puppet_end(other), 0);
	EXPECT(one, get, 6000, 1);
	EXPECT(other, get, 6000, 1);
}

START_TEST(memory_and_semaphore_are_shared)
{
	const struct place *place = &places[_i / 2];
	struct puppet inside, outside;

	NEED(can_live_in(place), place->name);
	puppet_start(&inside, place);
	puppet_start(&outside, &here);
	check_is_elsewhere(&inside);
	EXPECT(_i % 2 ? &inside : &outside, create, SEG, 0);
	EXPECT(_i % 2 ? &outside : &inside, attach, SEG, 0);
	check_names_lead_nowhere(&inside, &outside);
	for (int i = 0; i < 20; i++) {
		hand_over(&outside, &inside, 2 * i + 1);
		hand_over(&inside, &outside, 2 * i + 2);
	}
	count_together(&inside, &outside);
	EXPECT(&inside, detach, 0, 0);
	EXPECT(&outside, detach, 0, 0);
	await_segments(connection, 0);
	puppet_finish(&inside);
	puppet_finish(&outside);
}
END_TEST

/* --- dying elsewhere -------------------------------------------------------------------------- */

enum { THE_INIT_ITSELF, ONE_BELOW, INIT_ABOVE, WAYS_TO_DIE };

static void check_pid(const char *name, pid_t pid)
{
	struct shmd_details *details;

	ck_assert_int_eq(shmd_show(connection, name, &details), 0);
	ck_assert_uint_eq(details->n_attachments, 1);
	ck_assert_int_eq(details->attachments[0]->pid, pid);
	shmd_details_free(details);
}

static void check_nothing_is_left(void)
{
	int n = 0;

	await_gone(connection, "owned");
	await_gone(connection, "shared");
	await_segments(connection, 0);
	ck_assert_uint_eq(daemon_files(&daemon_, "sem.shmd-"), 0);
	ck_assert_int_eq(shmd_clients(connection, count_client, &n), 0);
	ck_assert_int_eq(n, 1);
}

START_TEST(killed_client_is_reaped)
{
	int way = _i % WAYS_TO_DIE;
	struct place place = places[_i < WAYS_TO_DIE ? 2 : 3];
	struct puppet inside;

	place.below_init = way != THE_INIT_ITSELF;
	NEED(can_live_in(&place), place.name);
	puppet_start(&inside, &place);
	EXPECT(&inside, create, OWNED, 0);
	EXPECT(&inside, create, SHARED, 0);
	check_pid("owned", inside.page->pid);
	ck_assert_uint_eq(daemon_files(&daemon_, "sem.shmd-"), 2);
	ck_assert_int_eq(kill(way == INIT_ABOVE ? inside.page->init : inside.page->pid, SIGKILL),
			 0);
	check_nothing_is_left();
	if (way == ONE_BELOW)
		ck_assert_int_ne(process_state(inside.page->init), 'Z');
	puppet_finish(&inside);
}
END_TEST

/* No theft either: who merely inherited the mapping, in a namespace that the daemon is not in,
 * keeps the segment until the namespace ends. */
START_TEST(heir_elsewhere_keeps_the_segment)
{
	struct place place = places[2 + _i];
	struct puppet inside;

	place.below_init = true;
	NEED(can_live_in(&place), place.name);
	puppet_start(&inside, &place);
	EXPECT(&inside, create, SHARED, 0);
	EXPECT(&inside, fork_heir, 0, 0);
	ck_assert_int_eq(kill(inside.page->pid, SIGKILL), 0);
	AWAIT(clients_of(connection, "shared") == 0);
	for (int i = 0; i < 50; i++)
		ck_assert(segment_exists(connection, "shared"));
	ck_assert_int_eq(kill(inside.page->init, SIGKILL), 0);
	await_gone(connection, "shared");
	await_segments(connection, 0);
	puppet_finish(&inside);
}
END_TEST

/* --- root of a user namespace ----------------------------------------------------------------- */

/* As root there, with every capability over what is that namespace's: which the segment is not. */
static int write_all_the_same(long argument)
{
	int fd = shmd_segment_fd(segment);
	char path[64];

	(void)argument;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ck_assert_int_eq(open(path, O_RDWR), -1);
	ck_assert_int_eq(errno, EACCES);
	ck_assert_int_eq(fchmod(fd, 0666), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(fchown(fd, 0, 0), -1);
	ck_assert_int_eq(mprotect(shmd_segment_data(segment), 4096, PROT_READ | PROT_WRITE), -1);
	ck_assert_int_eq(errno, EACCES);
	return 0;
}

struct sought {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	unsigned found;
};

static int find_client(const struct shmd_client_info *info, void *context)
{
	struct sought *sought = context;

	if (info->pid != sought->pid)
		return 0;
	ck_assert_uint_eq(info->uid, sought->uid);
	ck_assert_uint_eq(info->gid, sought->gid);
	sought->found++;
	return 0;
}

START_TEST(root_of_a_user_namespace_is_nobodys_root)
{
	const struct place *place = &places[PLACES - 1];
	struct place owners = {.name = "the same user outside", .uid = OWNER_UID, .gid = SOME_GID};
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct puppet inside, outside;
	struct shmd_segment *secret, *readable;
	struct shmd_details *details;

	NEED(can_live_in(place), place->name);
	options.mode = 0600;
	ck_assert_int_eq(shmd_create(connection, "secret", 4096, &options, &secret), 0);
	options.mode = 0644;
	ck_assert_int_eq(shmd_create(connection, "open", 4096, &options, &readable), 0);

	puppet_start(&inside, place);
	EXPECT(&inside, own_uid, 0, 0);
	EXPECT(&inside, create, OWNED, 0);
	ck_assert_int_eq(shmd_show(connection, "owned", &details), 0);
	ck_assert_uint_eq(details->segment->uid, OWNER_UID);
	ck_assert_uint_eq(details->segment->gid, SOME_GID);
	shmd_details_free(details);
	struct sought sought = {inside.page->pid, OWNER_UID, SOME_GID, 0};
	ck_assert_int_eq(shmd_clients(connection, find_client, &sought), 0);
	ck_assert_uint_eq(sought.found, 1);

	EXPECT(&inside, attach, SECRET, -EACCES);
	EXPECT(&inside, attach_read_only, SECRET, -EACCES);
	EXPECT(&inside, show, SECRET, -EACCES);
	EXPECT(&inside, drop, SECRET, -EACCES);
	EXPECT(&inside, drop, OPEN, -EACCES);
	EXPECT(&inside, list, 0, 2);
	EXPECT(&inside, clients, 0, 1);
	EXPECT(&inside, attach, OPEN, -EACCES);
	EXPECT(&inside, attach_read_only, OPEN, 0);
	EXPECT(&inside, write_all_the_same, 0, 0);

	/* What it made is that user's, wherever that user comes from. */
	puppet_start(&outside, &owners);
	EXPECT(&outside, attach, OWNED, 0);
	EXPECT(&outside, drop, OWNED, 0);
	puppet_finish(&outside);
	puppet_finish(&inside);
	shmd_detach(secret);
	shmd_detach(readable);
	await_segments(connection, 0);
}
END_TEST

/* --- a daemon in a PID namespace -------------------------------------------------------------- */

static void start_in_pid_namespace(bool without_peerpidfd)
{
	char wrapper[1024];
	int ours = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(ours, 0);
	if (without_peerpidfd) {
		snprintf(wrapper, sizeof(wrapper), "%s/tests/system/deny peerpidfd --",
			 getenv("top_builddir"));
		setenv("SHMD_WRAPPER", wrapper, 1);
	}
	/* The next process that we start, which is the daemon, is in it; the others are not. */
	ck_assert_int_eq(unshare(CLONE_NEWPID), 0);
	daemon_start(&daemon_, NULL);
	ck_assert_int_eq(setns(ours, CLONE_NEWPID), 0);
	close(ours);
	connection = connect_or_fail();
}

static bool has_peerpidfd(void)
{
	int sockets[2], fd;
	socklen_t size = sizeof(fd);

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets), 0);
	int r = getsockopt(sockets[0], SOL_SOCKET, SO_PEERPIDFD, &fd, &size);
	if (r == 0)
		close(fd);
	close(sockets[0]);
	close(sockets[1]);
	return r == 0;
}

static int expect_no_pid(const struct shmd_client_info *info, void *context)
{
	ck_assert_int_eq(info->pid, 0);
	ck_assert_str_eq(info->command, "");
	++*(int *)context;
	return 0;
}

/* Its child holds the socket, and outlives it. */
static void daemonizer(struct actor *self, void *context)
{
	(void)context;
	create_or_fail(connect_or_fail(), "seg", 4096, SHMD_LIFETIME_OWNER);
	if (fork() > 0)
		_exit(0);
	actor_tell(self);
	actor_await(self);
}

static void check_inherited_socket(bool death_counts)
{
	struct actor daemonizing;

	actor_start(&daemonizing, daemonizer, NULL);
	actor_await(&daemonizing);
	if (death_counts)
		await_gone(connection, "seg");
	for (int i = 0; i < 50 && !death_counts; i++)
		ck_assert_uint_eq(clients_of(connection, "seg"), 1);
	actor_tell(&daemonizing);
	actor_finish(&daemonizing);
	await_gone(connection, "seg");
}

/* All its clients have the number 0. They are different ones all the same, and where the kernel
 * gives no pidfd, the end of the socket is all that tells of their end. */
START_TEST(clients_whose_pid_is_0)
{
	bool without_peerpidfd = _i;
	struct place place = {.name = "PID", .namespaces = CLONE_NEWPID};
	struct puppet one, other;
	int n = 0;

	NEED(can_live_in(&place), place.name);
	/* valgrind does not get along with the wrapper. */
	NEED(!getenv("SHMD_WRAPPER"), "a wrapper is in use");
	start_in_pid_namespace(without_peerpidfd);
	puppet_start(&one, &here);
	puppet_start(&other, &here);
	EXPECT(&one, create, OWNED, 0);
	EXPECT(&other, create, SHARED, 0);
	ck_assert_int_eq(shmd_clients(connection, expect_no_pid, &n), 0);
	ck_assert_int_eq(n, 3);
	check_pid("owned", 0);
	actor_kill(&one.actor);
	await_gone(connection, "owned");
	ck_assert_uint_eq(clients_of(connection, "shared"), 1);
	EXPECT(&other, list, 0, 1);
	actor_kill(&other.actor);
	check_nothing_is_left();
	check_inherited_socket(!without_peerpidfd && has_peerpidfd());
	tear_down();
}
END_TEST

/* --- a daemon in a user namespace ------------------------------------------------------------- */

/* In it, the daemon's user is root, and there are 65535 more, so that the overflow uid is one of
 * them; all others are nobody there, root included. */
#define FIRST_UID 200000
#define OVERFLOW  65534

static int requests[2], answers[2];

static void enter_user_namespace(void)
{
	pid_t self = getpid();
	char byte;

	if (unshare(CLONE_NEWUSER) < 0 || write(requests[1], &self, sizeof(self)) < 0 ||
	    read(answers[0], &byte, 1) != 1 || byte != 'y')
		_exit(125);
	/* The new capabilities take the wish to end with the test away. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	for (int i = 0; i < 2; i++) {
		close(requests[i]);
		close(answers[i]);
	}
}

/* As root does it. */
static void mapper(struct actor *self, void *context)
{
	char map[64], path[64];
	pid_t pid;

	(void)self, (void)context;
	snprintf(map, sizeof(map), "0 %u 1\n1 %u 65535\n", DAEMON_UID, FIRST_UID + 1);
	ck_assert_int_eq(read(requests[0], &pid, sizeof(pid)), sizeof(pid));
	snprintf(path, sizeof(path), "/proc/%d/gid_map", (int)pid);
	bool done = write_to(path, map);
	snprintf(path, sizeof(path), "/proc/%d/uid_map", (int)pid);
	done = done && write_to(path, map);
	ck_assert_int_eq(write(answers[1], done ? "y" : "n", 1), 1);
}

static void start_in_user_namespace(void)
{
	struct actor mapping;

	ck_assert_int_eq(pipe(requests), 0);
	ck_assert_int_eq(pipe(answers), 0);
	actor_start(&mapping, mapper, NULL);
	daemon_prepare = enter_user_namespace;
	daemon_start_as(&daemon_, NULL, DAEMON_UID);
	daemon_prepare = NULL;
	actor_finish(&mapping);
	for (int i = 0; i < 2; i++) {
		close(requests[i]);
		close(answers[i]);
	}
}

static int create_refused_as_nobody(long which)
{
	ck_assert_int_eq(create(which), -EACCES);
	ck_assert_msg(strstr(shmd_error_message(), "uid 65534 stands for users") != NULL,
		      "it says: %s", shmd_error_message());
	return 0;
}

static int uid_of(long which)
{
	struct shmd_details *details;

	ck_assert_int_eq(shmd_show(own(), names[which], &details), 0);
	int uid = (int)details->segment->uid;
	shmd_details_free(details);
	return uid;
}

static int gid_of(long which)
{
	struct shmd_details *details;

	ck_assert_int_eq(shmd_show(own(), names[which], &details), 0);
	int gid = (int)details->segment->gid;
	shmd_details_free(details);
	return gid;
}

static void check_is_nobody(const struct place *place)
{
	struct puppet puppet;

	puppet_start(&puppet, place);
	EXPECT(&puppet, create_refused_as_nobody, SEG, 0);
	EXPECT(&puppet, create_refused_as_nobody, ANONYMOUS, 0);
	EXPECT(&puppet, attach_read_only, SECRET, -EACCES);
	EXPECT(&puppet, show, SECRET, -EACCES);
	EXPECT(&puppet, drop, SECRET, -EACCES);
	EXPECT(&puppet, drop, OPEN, -EACCES);
	EXPECT(&puppet, list, 0, 1);
	/* Not even its own: it may be another's. */
	EXPECT(&puppet, clients, 0, 0);
	EXPECT(&puppet, attach, OPEN, -EACCES);
	EXPECT(&puppet, attach_read_only, OPEN, 0);
	EXPECT(&puppet, detach, 0, 0);
	puppet_finish(&puppet);
}

START_TEST(overflow_uid_is_never_an_owner)
{
	static const struct place owner = {.name = "owner",
					   .uid = FIRST_UID + 5,
					   .gid = DAEMON_UID};
	static const struct place nobodies[] = {
		{.name = "stranger", .uid = STRANGER_UID, .gid = SOME_GID},
		{.name = "root"},
		{.name = "nobody", .uid = FIRST_UID + OVERFLOW, .gid = FIRST_UID + OVERFLOW},
		{.name = "in their group", .uid = STRANGER_UID, .gid = DAEMON_UID},
	};
	struct puppet owning;

	NEED(can_live_in(&places[0]) && can_live_in(&places[PLACES - 1]), "user namespaces");
	start_in_user_namespace();
	puppet_start(&owning, &owner);
	EXPECT(&owning, create, SECRET, 0);
	EXPECT(&owning, create, OPEN, 0);
	EXPECT(&owning, uid_of, OPEN, 5);
	EXPECT(&owning, clients, 0, 1);
	for (size_t i = 0; i < sizeof(nobodies) / sizeof(nobodies[0]); i++)
		check_is_nobody(&nobodies[i]);
	EXPECT(&owning, drop, OPEN, 0);
	puppet_finish(&owning);
	daemon_stop(&daemon_);
}
END_TEST

/* Likewise, groups that the namespace does not know are not one group. */
START_TEST(overflow_gid_is_no_group)
{
	static const struct place owner = {.uid = FIRST_UID + 5, .gid = SOME_GID};
	static const struct place others[] = {
		{.name = "a user who is known", .uid = FIRST_UID + 6, .gid = SOME_GID + 1},
		{.name = "a stranger", .uid = STRANGER_UID, .gid = SOME_GID + 1},
		{.name = "nogroup", .uid = FIRST_UID + 7, .gid = FIRST_UID + OVERFLOW},
	};
	struct puppet owning, other;

	NEED(can_live_in(&places[0]) && can_live_in(&places[PLACES - 1]), "user namespaces");
	start_in_user_namespace();
	puppet_start(&owning, &owner);
	EXPECT(&owning, create_for_group, SEG, 0);
	EXPECT(&owning, gid_of, SEG, OVERFLOW);
	EXPECT(&owning, open_all_semaphores, 0, BY_NAME);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		puppet_start(&other, &others[i]);
		EXPECT(&other, attach, SEG, -EACCES);
		EXPECT(&other, attach_read_only, SEG, -EACCES);
		EXPECT(&other, list, 0, 0);
		EXPECT(&other, open_all_semaphores, 0, 0);
		puppet_finish(&other);
	}
	puppet_finish(&owning);
	daemon_stop(&daemon_);
}
END_TEST

LEAVES_WITHOUT_A_WORD;

int main(void)
{
	Suite *suite = suite_create("namespaces");
	TCase *with = tcase_create("clients elsewhere");
	TCase *without = tcase_create("daemons elsewhere");

	if (geteuid() != 0) {
		puts("1..0 # SKIP needs root, to make namespaces and to become several users");
		return 0;
	}
	tcase_add_checked_fixture(with, set_up, tear_down);
	tcase_set_timeout(with, 60);
	tcase_add_loop_test(with, memory_and_semaphore_are_shared, 0, 2 * PLACES);
	tcase_add_loop_test(with, killed_client_is_reaped, 0, 2 * WAYS_TO_DIE);
	tcase_add_loop_test(with, heir_elsewhere_keeps_the_segment, 0, 2);
	tcase_add_test(with, root_of_a_user_namespace_is_nobodys_root);
	suite_add_tcase(suite, with);
	tcase_set_timeout(without, 60);
	tcase_add_loop_test(without, clients_whose_pid_is_0, 0, 2);
	tcase_add_test(without, overflow_uid_is_never_an_owner);
	tcase_add_test(without, overflow_gid_is_no_group);
	suite_add_tcase(suite, without);
	return run_suite(suite);
}
