/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utlist.h>

#include "answers.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/guard.h"
#include "base/log.h"
#include "books.h"
#include "core/memory.h"
#include "fuzz.h"
#include "law.h"
#include "limits.h"
#include "shmd/dispatch.h"
#include "shmd/notifier.h"
#include "shmd/reply.h"
#include "shmd/waker.h"
#include "shortage.h"
#include "waiting.h"

/* Segments that the helper's thread is closing. */
#define CLOSING 4

struct server server;
struct client *clients[CLIENTS];
uint64_t now;

static char folder[] = "/tmp/fuzz-dispatch-XXXXXX";
static unsigned usual_descriptors;
static struct segment *closing[CLOSING];

static struct process *processes[PROCESSES];
static bool is_dead[PROCESSES];

/* `process`: who has it; NULL: somebody who outlives them all. */
static struct holding {
	int fd;
	const struct process *process;
	struct stat file;
} held[HELD];

/* --- in place of base/clock.c ----------------------------------------------------------------- */

uint64_t clock_boottime_ns(void)
{
	return now;
}

uint64_t clock_monotonic_ns(void)
{
	return now;
}

uint64_t clock_realtime_ns(void)
{
	return now;
}

static bool has_inotify = true;

/* The kernel takes some milliseconds to close such a thing, so that all daemons share one. */
int inotify_init1(int flags)
{
	static int shared = -1;

	if (!has_inotify) {
		errno = EMFILE;
		return -1;
	}
	if (shared < 0)
		shared = (int)syscall(SYS_inotify_init1, flags);
	return fcntl(shared, F_DUPFD_CLOEXEC, 0);
}

static void forget_events(int fd)
{
	char buffer[4096];

	while (fd >= 0 && read(fd, buffer, sizeof(buffer)) > 0)
		;
}

/* The kernel has lost events, as the next read is told. */
static bool has_overflown;

ssize_t __real_read(int fd, void *bytes, size_t room);
ssize_t __wrap_read(int fd, void *bytes, size_t room);

ssize_t __wrap_read(int fd, void *bytes, size_t room)
{
	struct inotify_event overflow = {.wd = -1, .mask = IN_Q_OVERFLOW};

	if (!has_overflown || fd != server.registry->watch.fd)
		return __real_read(fd, bytes, room);
	has_overflown = false;
	memcpy(bytes, &overflow, sizeof(overflow));
	return sizeof(overflow);
}

void world_lose_events(void)
{
	has_overflown = server.registry->watch.fd >= 0;
}

/* --- what processes hold ----------------------------------------------------------------------- */

int world_held(unsigned place)
{
	return held[place % HELD].fd;
}

void world_drop(unsigned place)
{
	held[place % HELD].fd = close_fd(held[place % HELD].fd);
}

void world_hold(const struct client *client, unsigned place, int fd)
{
	world_drop(place);
	held[place % HELD] = (struct holding){fd, client ? client->process : NULL, {0}};
	HOLDS(fd < 0 || fstat(fd, &held[place % HELD].file) == 0);
}

bool world_is_held(const struct stat *file)
{
	for (unsigned i = 0; i < HELD; i++)
		if (held[i].fd >= 0 && held[i].file.st_ino == file->st_ino &&
		    held[i].file.st_dev == file->st_dev)
			return true;
	return false;
}

void world_inherit(unsigned from, unsigned to)
{
	if (from % HELD == to % HELD || world_held(from) < 0)
		return;
	world_hold(NULL, to, fcntl(world_held(from), F_DUPFD_CLOEXEC, 0));
}

static void close_held(const struct process *process)
{
	for (unsigned i = 0; i < HELD; i++)
		if (held[i].process == process)
			world_drop(i);
}

/* --- processes -------------------------------------------------------------------------------- */

/* The table frees entries by itself. What such a one held is nobody's that we know. */
static void forget_gone(void)
{
	struct process *process;

	for (unsigned i = 0; i < PROCESSES; i++) {
		process = server.processes.all;
		while (process && process != processes[i])
			process = process->next;
		if (process || !processes[i])
			continue;
		for (unsigned k = 0; k < HELD; k++)
			if (held[k].process == processes[i])
				held[k].process = NULL;
		processes[i] = NULL;
		is_dead[i] = false;
	}
}

static struct process *make_process(void)
{
	struct process *process = calloc(1, sizeof(*process));

	HOLDS(process);
	*process = (struct process){
		.pidfd = -1, .has_command = true, .command = "fuzz", .table = &server.processes};
	estate_init(&process->estate, &server.registry->emptied);
	DL_APPEND(server.processes.all, process);
	return process;
}

static void join_process(struct client *client, unsigned n)
{
	if (!processes[n])
		processes[n] = make_process();
	client->process = processes[n];
	DL_APPEND2(client->process->clients, client, process_prev, process_next);
	charge_release(&client->process->charge);
	client->session.estate = &client->process->estate;
}

void world_die(unsigned n, bool is_closed_first)
{
	struct process *process = processes[n];

	if (!process || is_dead[n])
		return;
	if (is_closed_first)
		close_held(process);
	registry_bury(server.registry, &process->estate);
	process_retire(process);
	is_dead[n] = true;
	for (unsigned i = 2 * n; i < 2 * n + 2; i++)
		if (clients[i] && clients[i]->process)
			clients[i] = client_free(clients[i]);
	if (!is_closed_first)
		close_held(process);
	forget_gone();
}

void world_put_processes(void)
{
	struct estate *estate;

	while ((estate = registry_take_emptied(server.registry)))
		process_put(process_of(estate));
	forget_gone();
}

/* --- clients ---------------------------------------------------------------------------------- */

static void greet(struct client *client, uint32_t version, uint32_t word_bits)
{
	struct wire_hello hello = {.version = version, .word_bits = word_bits};
	struct packet_writer writer;

	packet_writer_init(&writer, server.in, sizeof(server.in));
	packet_begin(&writer, WIRE_HELLO, 1);
	memcpy(packet_append(&writer, sizeof(hello)), &hello, sizeof(hello));
	packet_end(&writer, 0, 0);
	world_serve(client, writer.size, 0);
	HOLDS(client->was_greeted == (version == WIRE_VERSION));
}

void world_connect(unsigned place, const struct person *who, uint32_t version, uint32_t word_bits,
		   bool is_watched)
{
	struct client *client;
	struct credentials credentials;
	struct refusal why;

	if (clients[place] || is_dead[place / 2])
		return;
	client = calloc(1, sizeof(*client));
	HOLDS(client);
	client->server = &server;
	client->socket = -1;
	client->connected_at = now;
	person_credentials(who, &credentials);
	session_init(&client->session, server.next_client++, (pid_t)(100 + place / 2),
		     &credentials);
	shortage_begin();
	int r = quota_charge(&server.registry->quota, &client->session.who, QUOTA_CLIENTS, 1,
			     &client->charge, &why);
	shortage_end();
	if (r != 0) {
		client_free(client);
		return;
	}
	if (is_watched)
		join_process(client, place / 2);
	HASH_ADD(hh, server.clients, session.id, sizeof(client->session.id), client);
	HOLDS(HASH_ADDED(hh, client));
	clients[place] = client;
	greet(client, version, word_bits);
}

void world_disconnect(unsigned place)
{
	clients[place] = client_free(clients[place]);
	forget_gone();
}

/* The receiver keeps one. */
static void keep_one(const struct client *client, unsigned keep, const struct reply *reply)
{
	if (keep == 0 || reply->n_fds == 0)
		return;
	world_hold(client, keep, fcntl(reply->fds[keep % reply->n_fds], F_DUPFD_CLOEXEC, 0));
}

void world_serve(struct client *client, size_t size, unsigned keep)
{
	struct packet_message requests[WIRE_BATCH_MAX];
	struct reply reply;
	const char *why;
	int n = packet_check_requests(server.in, size, requests, &why);

	if (n < 0 || (requests[0].header.op == WIRE_HELLO) == client->was_greeted)
		return;
	answers_expect(client, requests, (unsigned)n);
	reply_init(&reply, server.out);
	shortage_begin();
	dispatch(client, requests, (unsigned)n, &reply);
	shortage_end();
	answers_check(client, requests, (unsigned)n, &reply);
	keep_one(client, keep, &reply);
	reply_fini(&reply);
}

/* --- what the loop does ----------------------------------------------------------------------- */

struct segment *world_segment(uint64_t id)
{
	struct segment *segment = NULL;

	HASH_FIND(by_id, server.registry->by_id, &id, sizeof(id), segment);
	return segment;
}

void world_close_some(unsigned place)
{
	int fds[2];

	place %= CLOSING;
	if (closing[place]) {
		registry_forget(server.registry, closing[place]);
		closing[place] = NULL;
		return;
	}
	closing[place] = registry_take_unused(server.registry, fds);
	if (closing[place]) {
		close_fd(fds[0]);
		close_fd(fds[1]);
	}
}

static void answer(struct wait *wait)
{
	struct client *client = client_of(wait->session);
	struct wire_wait asked;
	struct reply reply;

	answers_expect_waited(wait, &asked);
	reply_init(&reply, server.out);
	shortage_begin();
	dispatch_wait(client, wait, &reply);
	shortage_end();
	answers_check_waited(client, &asked, &reply);
	reply_fini(&reply);
}

void world_wake(enum waking how)
{
	struct wait *wait = waits_take_ready(&server.registry->waits);

	if (wait)
		waiting_take(wait);
	if (wait && how == WAKE_BEHIND)
		wait->is_parked = true;
	else if (wait && how == WAKE_HELD)
		waiting_hold(wait);
	else if (wait)
		answer(wait);
	waiting_done();
}

/* What notifier.c does. */
void world_notify(bool is_read)
{
	struct journal *journal = &server.registry->journal;
	struct subscription *subscription = journal_take_due(journal);

	if (!subscription)
		return;
	if (!is_read) {
		subscription_park(subscription);
		return;
	}
	answers_check_events(subscription);
	subscription_sent(journal, subscription, (subscription->n + 1) / 2);
}

void world_resume(struct client *client)
{
	waker_resume(client);
	notifier_resume(client);
}

/* --- beginning and end ------------------------------------------------------------------------ */

static unsigned count_entries(const char *path)
{
	DIR *entries = opendir(path);
	unsigned n = 0;

	HOLDS(entries);
	while (readdir(entries))
		n++;
	closedir(entries);
	return n;
}

static void remove_folder(void)
{
	rmdir(folder);
}

void world_init(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	signal(SIGIO, SIG_IGN);
	HOLDS(guard_init() == 0);
	HOLDS(mkdtemp(folder));
	atexit(remove_folder);
	/* Both keep a descriptor for good. */
	close_fd(memory_reopen(STDERR_FILENO, true));
	close_fd(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
}

/* Who is to be told that there is something to do. */
static void on_ready(void *context)
{
	(void)context;
	HOLDS(server.registry->waits.ready);
	waiting_ask();
}

static void on_news(void *context)
{
	(void)context;
	HOLDS(server.registry->journal.due);
}

static void leave_file(int at, const char *name, bool is_link)
{
	int fd;

	if (is_link) {
		HOLDS(symlinkat("/etc/passwd", at, name) == 0);
		return;
	}
	fd = openat(at, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	HOLDS(fd >= 0);
	close_fd(fd);
}

/* Of a daemon that was killed: its semaphore and its lock. The others are no daemon's. */
static const struct {
	const char *name;
	bool is_link, stays;
} leftovers[] = {
	{"shmd-0badcafe.lock", false, false},   {"sem.shmd-0badcafe-0001", false, false},
	{"sem.shmd-0badcafe-0002", true, true}, {"sem.shmd-0badc0de-0001", false, true},
	{"shmd-0badc0de.lock", true, true},     {"shmd-0BADCAFE.lock", false, true},
};

#define LEFTOVERS (sizeof(leftovers) / sizeof(leftovers[0]))

static void leave_files(void)
{
	int at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	HOLDS(at >= 0);
	for (unsigned i = 0; i < LEFTOVERS; i++)
		leave_file(at, leftovers[i].name, leftovers[i].is_link);
	close_fd(at);
}

/* Only what the dead one's were is swept, and for want of descriptors by the next daemon. */
static void check_leftovers(void)
{
	int at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	HOLDS(at >= 0);
	for (unsigned i = 0; i < LEFTOVERS; i++)
		HOLDS((unlinkat(at, leftovers[i].name, 0) == 0) == leftovers[i].stays ||
		      (shortage_was_ever() && !leftovers[i].stays));
	close_fd(at);
}

static int start(void)
{
	shortage_begin();
	int r = registry_new(&server.registry, &limits_at_start, folder, FIRST_ID);
	shortage_end();
	return r;
}

/* It may not come up for want of something, and must have left nothing then. */
static void start_somehow(unsigned how)
{
	unsigned left = how % 8;

	if (left > 0 && how & WORLD_NO_MEMORY)
		shortage_plan(SHORTAGE_NONE, left - 1);
	else if (left > 0)
		shortage_plan(left - 1, SHORTAGE_NONE);
	has_inotify = !(how & WORLD_NO_INOTIFY);
	if (start() < 0) {
		HOLDS(shortage_was_now());
		HOLDS(count_entries("/proc/self/fd") == usual_descriptors);
		HOLDS(start() == 0);
	}
	has_inotify = true;
	if (how & WORLD_NO_LEASES)
		server.registry->has_leases = false;
	if (how & WORLD_NO_WORDS)
		server.registry->has_words = false;
}

void world_begin(unsigned how)
{
	usual_descriptors = count_entries("/proc/self/fd");
	for (int i = 0; i < HELD; i++)
		held[i] = (struct holding){.fd = -1};
	now = 1000 * NSEC_PER_SEC;
	server.processes.epoll = -1;
	server.next_client = 1;
	server.started_at = now;
	has_overflown = false;
	shortage_forget();
	law_clear();
	limits_begin();
	waiting_begin();
	answers_begin();
	books_begin();
	if (how & WORLD_LEFTOVERS)
		leave_files();
	start_somehow(how);
	if (how & WORLD_LEFTOVERS)
		check_leftovers();
	forget_events(server.registry->watch.fd);
	server.registry->waits.on_ready = on_ready;
	server.registry->journal.on_news = on_news;
}

static void unlink_all(void)
{
	struct session root = {.id = 0};
	struct refusal why;
	struct segment *segment = NULL;
	uint64_t id = 0;

	credentials_init(&root.who, 0, 0, NULL, 0);
	while ((segment = registry_next(server.registry, id))) {
		id = segment->id;
		HOLDS(registry_unlink(server.registry, &root, id, "", now, &(uint64_t){0}, &why) ==
		      0);
	}
	answers_note_taken();
}

static void run_loop_once(void)
{
	registry_read_watch(server.registry, now);
	registry_run_timers(server.registry, now);
	while (registry_settle_some(server.registry, 64, now))
		;
	for (unsigned i = 0; i < 2 * CLOSING; i++)
		world_close_some(i);
	world_put_processes();
	books_check();
}

/* Everybody reads, and is told what they waited for. */
static void end_waits(void)
{
	for (int i = 0; i < PEOPLE; i++)
		waiting_release(&people[i]);
	for (unsigned i = 0; i < CLIENTS; i++)
		if (clients[i])
			world_resume(clients[i]);
	while (server.registry->waits.ready)
		world_wake(WAKE_ANSWER);
	books_check();
	waiting_check_all_answered();
}

/* Everybody leaves, and lets go of all that they kept. */
static void end_people(void)
{
	for (unsigned i = 0; i < CLIENTS; i++)
		world_disconnect(i);
	books_check();
	for (unsigned i = 0; i < PROCESSES; i++)
		world_die(i, false);
	books_check();
	for (unsigned i = 0; i < HELD; i++)
		world_drop(i);
}

static void end_segments(void)
{
	unlink_all();
	books_check();
	for (int i = 0; server.registry->by_id; i++) {
		/* A segment that nobody looks at any more would stay here for ever. */
		HOLDS(i < 100);
		run_loop_once();
		if (registry_next_deadline(server.registry) > now)
			now = registry_next_deadline(server.registry);
	}
	world_put_processes();
}

static void check_nothing_left(const struct registry *registry)
{
	HOLDS(!registry->queue && !registry->unused && !registry->by_name);
	HOLDS(!server.clients && !registry->quota.users && !server.processes.all);
	HOLDS(!registry->waits.names && !registry->waits.users && !registry->waits.ready);
	HOLDS(!registry->lineages && !registry->tallies && !registry->emptied);
	HOLDS(!registry->journal.subscriptions && !registry->journal.due);
	for (int k = 0; k < QUOTA_RESOURCES; k++)
		HOLDS(registry->quota.used[k] == 0);
	HOLDS(!registry->watch.items && registry->timers.n == 0);
	HOLDS(registry->recovery.timers.n == 0 && !registry->recovery.by_semaphore);
}

/* In the midst of it all, and by nobody's wish: what is left is the kernel's to end. */
static void stop(void)
{
	for (unsigned i = 0; i < CLIENTS; i++)
		world_disconnect(i);
	for (unsigned i = 0; i < 2 * CLOSING; i++)
		if (closing[i % CLOSING])
			world_close_some(i);
	process_table_fini(&server.processes);
	forget_gone();
}

/* No daemon has fewer descriptors than are open, as shortage.c may let it have: what it closes is then no
 * room for the spare one, which it has again after the next exchange. */
static void restore_spare(void)
{
	int fd = memory_reopen(STDERR_FILENO, true);

	HOLDS(memory_exchange(&fd) == 0);
	close_fd(fd);
}

void world_end(bool is_orderly)
{
	if (is_orderly) {
		end_waits();
		end_people();
		end_segments();
		check_nothing_left(server.registry);
	} else {
		stop();
	}
	server.registry = registry_free(server.registry);
	for (unsigned i = 0; i < HELD; i++)
		world_drop(i);
	HOLDS(count_entries(folder) == 2);
	restore_spare();
	HOLDS(count_entries("/proc/self/fd") == usual_descriptors);
}
