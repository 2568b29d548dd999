/* SPDX-License-Identifier: MIT */
/*
 * A daemon that dies between any two instructions of what it does: a child process does one thing on a
 * registry whose record the tracer has mapped as well, and is single-stepped. What is read of the record
 * then says that the thing was done, or that it was not; and once the answer is out, that it was. Names are
 * never lost, and never borne twice; and a client is told by its deed what has become of it.
 *
 * One test looks at the record after each instruction that changed it; another kills the child after each
 * change that counts, and goes on from there as the next daemon. SHMD_TEST_POINTS is how often it dies after
 * any instruction, besides (1; more take longer).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utlist.h>

#include "kept.h"
#include "unit.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/guard.h"
#include "core/restore.h"
#include "wire/channel.h"

#define FIRST_ID  UINT64_C(1000)
#define SECOND    NSEC_PER_SEC
#define CLIENTS   2
#define NUMBER    4711 /* of the request that is under way */
#define BOOKS_MAX 4096

static struct registry *registry;
static struct session clients[CLIENTS];
static struct estate estates[CLIENTS];
static struct quota_limits limits;
static struct kept kept;
static struct image image;
static uint64_t now;
static int line[2]; /* by which descriptors come that are to be kept */

/* In memory that the child shares. */
static struct told {
	volatile bool is_at_row; /* and is to be stepped; else it runs up to the next one */
	volatile bool is_answered;
	volatile unsigned n_changes; /* rows that have come, or gone */
	volatile unsigned wanted;    /* so many are passed without a stop */
	char books[BOOKS_MAX];
} * told;

/* --- where the record is written --------------------------------------------------------------- */

static bool is_traced;

/* The linker leads calls of them here. */
int __real_row_write(struct row *row, struct table *table, void *content);
int __wrap_row_write(struct row *row, struct table *table, void *content);
void __real_row_clear(struct row *row);
void __wrap_row_clear(struct row *row);

static void stop_for_tracer(void)
{
	if (is_traced)
		raise(SIGSTOP);
}

/* What comes before what is wanted is not stepped. */
static void begin_row(unsigned changes)
{
	told->n_changes += changes;
	told->is_at_row = is_traced && told->n_changes >= told->wanted;
	if (told->is_at_row)
		stop_for_tracer();
}

int __wrap_row_write(struct row *row, struct table *table, void *content)
{
	begin_row(row->table ? 2 : 1);
	int r = __real_row_write(row, table, content);
	told->is_at_row = false;
	return r;
}

void __wrap_row_clear(struct row *row)
{
	begin_row(row->table ? 1 : 0);
	__real_row_clear(row);
	told->is_at_row = false;
}

/* --- the daemon ------------------------------------------------------------------------------- */

static void enter_all(void)
{
	struct credentials who;

	for (unsigned i = 0; i < CLIENTS; i++) {
		estate_init(&estates[i], &registry->emptied);
		credentials_init(&who, 1001, 1001, NULL, 0);
		session_init(&clients[i], i + 1, (pid_t)(i + 11), &who);
		clients[i].can_lock = true;
		clients[i].estate = &estates[i];
	}
}

static void begin_record(uint64_t epoch)
{
	struct record *record = &registry->record;

	ck_assert_int_eq(record_begin(record, epoch, registry->instance.name), 0);
	record_next_id(record, registry->next_id);
	record_next_client(record, CLIENTS + 1);
	for (unsigned i = 0; i < CLIENTS; i++)
		record_client(record, &clients[i], 0);
	record_complete(record);
}

/* A step goes back and forth between tracer and child: on one processor that is ten times as quick. */
static void stay_here(void)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET((unsigned)sched_getcpu(), &here);
	sched_setaffinity(0, sizeof(here), &here);
}

static void set_up(void)
{
	stay_here();
	for (int i = 0; i < QUOTA_RESOURCES; i++)
		limits.total[i] = limits.per_user[i] = 1000000;
	image = (struct image){.is_empty = true, .lock_fd = -1};
	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(told, MAP_FAILED);
	ck_assert_int_eq(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, line), 0);
	ck_assert_int_eq(guard_init(), 0);
	ck_assert_int_eq(registry_new(&registry, &limits, unit_folder, FIRST_ID), 0);
	enter_all();
	begin_record(1);
	now = 5000 * SECOND;
}

static void close_unused(void)
{
	struct segment *segment;
	int fds[2];

	while ((segment = registry_take_unused(registry, fds))) {
		close_fd(fds[0]);
		close_fd(fds[1]);
		registry_forget(registry, segment);
	}
}

static void run(void)
{
	registry_run_timers(registry, now);
	while (registry_settle_some(registry, 64, now))
		;
	close_unused();
	record_flush(&registry->record);
}

static void end_registry(void)
{
	for (unsigned i = 0; i < CLIENTS; i++) {
		registry_leave(registry, &clients[i], now);
		session_fini(&clients[i]);
		estate_fini(&estates[i]);
	}
	registry = registry_free(registry);
}

static void tear_down(void)
{
	end_registry();
	image_fini(&image);
	kept_close(&kept);
	close_fd(line[0]);
	close_fd(line[1]);
	munmap(told, sizeof(*told));
	ck_assert_uint_eq(unit_entries(unit_folder), 0);
}

/* --- what is done ----------------------------------------------------------------------------- */

static struct segment *create(unsigned client, const char *name, struct creation what)
{
	struct refusal why;
	struct grant grant;

	what.name = name;
	what.size = 4096;
	what.mode = 0600;
	int r = registry_create(registry, &clients[client], &what, now, &grant, &why);
	ck_assert_msg(r == 0, "%s", why.text);
	close_fd(grant.fd);
	return grant.segment;
}

static struct grant attach(unsigned client, const char *name)
{
	struct refusal why;
	struct grant grant;
	int r = registry_attach(registry, &clients[client], 0, name, false, now, &grant, &why);

	ck_assert_msg(r == 0, "%s", why.text);
	close_fd(grant.fd);
	return grant;
}

static struct segment *named(const char *name)
{
	struct segment *segment = registry_by_name(registry, name);

	ck_assert_ptr_nonnull(segment);
	return segment;
}

/* As shmd/dispatch.c does. */
static void note_deed(enum deed_kind kind, uint64_t id, uint64_t generation)
{
	clients[0].last = (struct deed){NUMBER, kind, id, generation};
	record_client(&registry->record, &clients[0], 0);
}

static void publish(uint64_t id)
{
	struct refusal why;
	uint64_t generation;
	int r = registry_publish(registry, &clients[0], id, "name", true, now, &generation, &why);

	ck_assert_msg(r == 0, "%s", why.text);
	note_deed(DEED_PUBLISHED, id, generation);
}

static void unlink_name(void)
{
	struct refusal why;
	uint64_t id;

	ck_assert_int_eq(registry_unlink(registry, &clients[0], 0, "name", now, &id, &why), 0);
	note_deed(DEED_UNLINKED, id, 0);
}

static void detach(unsigned client)
{
	struct refusal why;

	ck_assert_int_eq(registry_detach(registry, &clients[client], named("name")->id, false, now,
					 &why),
			 0);
}

static void lock(void)
{
	struct grant grant = attach(0, "name");

	registry_grant_lock(registry, &clients[0], false, &grant);
	ck_assert_int_eq(grant.lock, LOCK_GRANTED);
}

static uint64_t anonymous; /* to be published */

static void have_nothing(void)
{
}

static void have_persistent(void)
{
	create(1, "name", (struct creation){.permits = 1, .lifetime = LIFETIME_PERSISTENT});
}

static void have_unused(void)
{
	have_persistent();
	detach(1);
}

static void have_anonymous(void)
{
	anonymous = create(0, NULL, (struct creation){.permits = 1})->id;
}

static void have_both(void)
{
	have_persistent();
	have_anonymous();
}

static void have_both_of_a_client(void)
{
	create(1, "name", (struct creation){.permits = 1});
	have_anonymous();
}

static void have_published(void)
{
	have_anonymous();
	publish(anonymous);
	have_anonymous();
}

static void have_owned(void)
{
	create(0, "name", (struct creation){.permits = 4, .lifetime = LIFETIME_OWNER});
}

static void have_lingering(void)
{
	create(0, "name", (struct creation){.permits = 1, .linger_ns = 10 * SECOND});
	detach(0);
}

static void have_to_linger(void)
{
	create(0, "name", (struct creation){.permits = 1, .linger_ns = 10 * SECOND});
}

static void have_number(void)
{
	have_persistent();
	lock();
}

static void do_create(void)
{
	struct segment *segment = create(0, "name", (struct creation){.permits = 3});

	note_deed(DEED_CREATED, segment->id, segment->generation);
}

static void do_publish(void)
{
	publish(anonymous);
}

/* What it replaces has just lost a client, and is to be written already. */
static void do_publish_over_changed(void)
{
	registry_leave(registry, &clients[1], now);
	registry_settle_some(registry, 64, now);
	publish(anonymous);
}

/* And here nobody has looked yet. */
static void do_publish_over_queued(void)
{
	registry_leave(registry, &clients[1], now);
	publish(anonymous);
}

static void do_attach(void)
{
	attach(0, "name");
}

static void do_detach(void)
{
	detach(0);
}

static void do_keep(void)
{
	struct refusal why;

	ck_assert_int_eq(registry_keep(registry, &clients[0], named("name")->id, &why), 0);
}

static void do_leave(void)
{
	registry_leave(registry, &clients[0], now);
	registry_settle_some(registry, 64, now);
}

static void do_time(void)
{
	now += 11 * SECOND;
	registry_run_timers(registry, now);
	registry_settle_some(registry, 64, now);
}

static const struct thing {
	const char *what;
	void (*prepare)(void);
	void (*act)(void);
	enum deed_kind deed;
	bool ends_first; /* what bore the name before has ended, and may be gone already */
} things[] = {
	{"create", have_nothing, do_create, DEED_CREATED},
	{"attach", have_persistent, do_attach, DEED_NONE},
	{"attach what lingers", have_lingering, do_attach, DEED_NONE},
	{"take a number", have_persistent, lock, DEED_NONE},
	{"keep", have_number, do_keep, DEED_NONE},
	{"publish", have_anonymous, do_publish, DEED_PUBLISHED},
	{"publish over a name", have_both, do_publish, DEED_PUBLISHED},
	{"publish over what was published", have_published, do_publish, DEED_PUBLISHED},
	{"publish over what has changed", have_both, do_publish_over_changed, DEED_PUBLISHED},
	{"publish over what has ended", have_both_of_a_client, do_publish_over_changed,
	 DEED_PUBLISHED, .ends_first = true},
	{"publish over what is queued", have_both, do_publish_over_queued, DEED_PUBLISHED},
	{"unlink", have_persistent, unlink_name, DEED_UNLINKED},
	{"unlink what nobody has", have_unused, unlink_name, DEED_UNLINKED},
	{"detach", have_number, do_detach, DEED_NONE},
	{"detach one's own", have_owned, do_detach, DEED_NONE},
	{"begin to linger", have_to_linger, do_detach, DEED_NONE},
	{"linger no more", have_lingering, do_time, DEED_NONE},
	{"leave with a number", have_number, do_leave, DEED_NONE},
	{"leave one's own", have_owned, do_leave, DEED_NONE},
};

#define THINGS (int)(sizeof(things) / sizeof(things[0]))

static const struct thing *thing;

/* --- books ------------------------------------------------------------------------------------ */

struct books {
	char text[BOOKS_MAX];
	size_t size;
};

static void say(struct books *books, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct books *books, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	books->size += (size_t)vsnprintf(books->text + books->size, BOOKS_MAX - books->size, format,
					 ap);
	va_end(ap);
	ck_assert_uint_lt(books->size, BOOKS_MAX);
}

/* Names and what they lead to. What has none is there as long as somebody has it, which is not looked at. */
static struct books books_now(void)
{
	struct books books = {.size = 0};
	const struct segment *segment;

	for (segment = registry->by_id; segment; segment = segment->by_id.next)
		if (segment->name[0])
			say(&books, "'%s' %ju %ju state %d\n", segment->name,
			    (uintmax_t)segment->id, (uintmax_t)segment->generation,
			    (int)segment->state);
	return books;
}

/* Of two in the record that have one name, the one with the greater generation has it. */
static bool has_newer(const struct record_segment *row)
{
	for (size_t i = 0; i < image.n_segments; i++) {
		const struct record_segment *other = &image.segments[i].row;
		if (!(other->flags & RECORD_SUPERSEDED) && strcmp(other->name, row->name) == 0 &&
		    other->generation > row->generation)
			return true;
	}
	return false;
}

static struct books books_of_image(void)
{
	struct books books = {.size = 0};

	for (size_t i = 0; i < image.n_segments; i++) {
		const struct record_segment *row = &image.segments[i].row;
		if (row->name[0] && !(row->flags & RECORD_SUPERSEDED) && !has_newer(row))
			say(&books, "'%s' %ju %ju state %d\n", row->name, (uintmax_t)row->id,
			    (uintmax_t)row->generation, (int)row->state);
	}
	return books;
}

/* --- the child -------------------------------------------------------------------------------- */

/* As the store does: before the record says that there is something. */
static void store(void)
{
	struct record *record = &registry->record;
	int fds[RECORD_DESCRIPTORS_MAX];

	while (record->unstored) {
		struct segment *segment = record->unstored;
		unsigned n = record_descriptors(segment, fds);
		ck_assert_int_eq(channel_send(line[1], &segment->keeping.key,
					      sizeof(segment->keeping.key), fds, n),
				 0);
		record_note_stored(record, segment, kept_pouch);
	}
}

static void act(void)
{
	thing->act();
	store();
	record_flush(&registry->record);
	told->is_answered = true;
	stop_for_tracer();
	run();
}

/* The folder of descriptors that core/memory.c keeps is the tracer's. */
static void find_own_descriptors(void)
{
	char path[64], target[64], wanted[64];

	snprintf(wanted, sizeof(wanted), "/proc/%d/fd", (int)getppid());
	for (int fd = 0; fd < 1024; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ssize_t n = readlink(path, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (strcmp(target, wanted) != 0)
			continue;
		int own = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
		ck_assert_int_eq(dup3(own, fd, O_CLOEXEC), fd);
		close_fd(own);
	}
}

static pid_t start_child(void)
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(77);
		find_own_descriptors();
		is_traced = true;
		stop_for_tracer();
		act();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
	if (WIFSTOPPED(status))
		return pid;
	ck_assert_int_eq(WEXITSTATUS(status), 77);
	return -1;
}

static bool is_nobodys(const char *semaphore, void *context)
{
	(void)semaphore, (void)context;
	return false;
}

/* One that does it all, in a folder and on tables of its own, and tells what came of it. */
static struct books books_afterwards(void)
{
	char elsewhere[sizeof(unit_folder) + 16];
	struct books books;
	int status;

	snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", unit_folder);
	ck_assert_int_eq(mkdir(elsewhere, 0700), 0);
	pid_t pid = fork();
	if (pid == 0) {
		find_own_descriptors();
		registry->instance.folder = open(elsewhere, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		for (int i = 0; i < RECORD_TABLES; i++) {
			struct table *table = &registry->record.tables[i];
			mmap(table->head, TABLE_HEAD_SIZE + (size_t)table->row_size * table->rows,
			     PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, table->fd, 0);
		}
		line[1] = socket(AF_UNIX, SOCK_DGRAM, 0);
		while (registry->record.unstored)
			record_note_stored(&registry->record, registry->record.unstored,
					   kept_pouch);
		thing->act();
		run();
		books = books_now();
		memcpy(told->books, books.text, sizeof(told->books));
		instance_sweep_own(&registry->instance, is_nobodys, NULL);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	memcpy(books.text, told->books, sizeof(books.text));
	ck_assert_int_eq(rmdir(elsewhere), 0);
	return books;
}

/* --- stepping --------------------------------------------------------------------------------- */

/* One run of the child, and the record as it was after the last step. */
struct steps {
	pid_t pid;
	struct books before, after;
	char *copies[RECORD_TABLES];
	bool was_answered;
	unsigned n_changes;
};

static size_t size_of(const struct table *table)
{
	return TABLE_HEAD_SIZE + (size_t)table->row_size * table->rows;
}

static bool begin(struct steps *steps, const struct thing *what)
{
	thing = what;
	*steps = (struct steps){.n_changes = 0};
	thing->prepare();
	run();
	clients[0].last = (struct deed){0};
	record_client(&registry->record, &clients[0], 0);
	kept_put_record(&kept, registry);
	kept_put_segments(&kept, registry);
	record_flush(&registry->record);
	steps->before = books_now();
	steps->after = books_afterwards();
	for (int i = 0; i < RECORD_TABLES; i++) {
		const struct table *table = &registry->record.tables[i];
		steps->copies[i] = malloc(size_of(table));
		memcpy(steps->copies[i], table->head, size_of(table));
	}
	told->n_changes = 0;
	steps->pid = start_child();
	return steps->pid > 0;
}

static void finish(struct steps *steps)
{
	kill(steps->pid, SIGKILL);
	waitpid(steps->pid, NULL, 0); /* fails if it was over */
	for (int i = 0; i < RECORD_TABLES; i++)
		free(steps->copies[i]);
}

/* One instruction, where it is at a row; else up to the next one. Returns false when it is over. */
static bool step(struct steps *steps)
{
	int status;

	ck_assert_int_eq(ptrace(told->is_at_row ? PTRACE_SINGLESTEP : PTRACE_CONT, steps->pid, NULL,
				NULL),
			 0);
	ck_assert_int_eq(waitpid(steps->pid, &status, 0), steps->pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return false;
	ck_assert_msg(WIFSTOPPED(status) &&
			      (WSTOPSIG(status) == SIGTRAP || WSTOPSIG(status) == SIGSTOP),
		      "%s: status 0x%x", thing->what, status);
	return true;
}

/* That it is answered from now on says something, too. */
static bool is_answered_now(struct steps *steps)
{
	bool was_answered = steps->was_answered;

	steps->was_answered = told->is_answered;
	return steps->was_answered != was_answered;
}

static bool has_changed(struct steps *steps)
{
	bool has_changed = is_answered_now(steps);

	for (int i = 0; i < RECORD_TABLES; i++) {
		const struct table *table = &registry->record.tables[i];
		if (memcmp(steps->copies[i], table->head, size_of(table)) == 0)
			continue;
		has_changed = true;
		memcpy(steps->copies[i], table->head, size_of(table));
	}
	return has_changed;
}

/* How many rows have come, and gone. */
static unsigned count_changes(struct steps *steps)
{
	unsigned n = is_answered_now(steps);

	for (int i = 0; i < RECORD_TABLES; i++) {
		const struct table *table = &registry->record.tables[i];
		for (uint32_t j = 0; j < table->rows; j++) {
			size_t at = TABLE_HEAD_SIZE + (size_t)j * table->row_size;
			uint64_t *was = (uint64_t *)(steps->copies[i] + at);
			uint64_t is = ((struct row_head *)(table->head + at))->seal;
			n += *was != is;
			*was = is;
		}
	}
	return n;
}

/* What the child has sent is in the store. */
static void receive(void)
{
	int fds[WIRE_DESCRIPTORS_MAX], truncated;
	uint32_t key;
	size_t n;

	while (channel_receive(line[0], &key, sizeof(key), fds, &n, &truncated) ==
	       (ssize_t)sizeof(key)) {
		for (size_t i = 0; i < n; i++) {
			kept_put_key(&kept, key, fds[i]);
			close_fd(fds[i]);
		}
	}
}

/* --- laws ------------------------------------------------------------------------------------- */

static const struct record_client *client_row(uint64_t id)
{
	for (size_t i = 0; i < image.n_clients; i++)
		if (image.clients[i].id == id)
			return &image.clients[i];
	ck_abort_msg("%s: client %ju has gone", thing->what, (uintmax_t)id);
}

static void check_books(const struct steps *steps, const struct books *books)
{
	bool is_before = strcmp(books->text, steps->before.text) == 0 ||
			 (thing->ends_first && books->size == 0);
	bool is_after = strcmp(books->text, steps->after.text) == 0;

	ck_assert_msg(is_before || is_after, "%s: neither\n%snor\n%sis\n%s", thing->what,
		      steps->before.text, steps->after.text, books->text);
	ck_assert_msg(is_after || !told->is_answered, "%s: answered, and yet\n%s", thing->what,
		      books->text);
	if (thing->deed == DEED_NONE)
		return;
	bool is_told = client_row(1)->last.kind != DEED_NONE;
	ck_assert_msg(is_told ? is_after : is_before, "%s: deed %d, and\n%s", thing->what, is_told,
		      books->text);
	ck_assert(!is_told || client_row(1)->last.number == NUMBER);
}

/* Descriptors are the image's for as long as it is looked at. */
static void read_copy(void)
{
	struct kept copy = {.n = 0};

	receive();
	for (size_t i = 0; i < kept.n; i++)
		if (kept.given[i].name)
			kept_put(&copy, kept.given[i].name, kept.given[i].fd);
		else
			kept_put_key(&copy, kept.given[i].key, kept.given[i].fd);
	image_fini(&image);
	image = kept_read(&copy);
	kept_close(&copy);
	ck_assert_msg(image.n_refused == 0, "%s: %s", thing->what, image.why);
	ck_assert_uint_eq(image.n_clients, CLIENTS);
}

static struct session *session_of(uint64_t id)
{
	return id ? &clients[id - 1] : NULL;
}

/* The next daemon. */
static void go_on(void)
{
	registry_leave_behind(registry);
	end_registry();
	image_fini(&image);
	image = kept_read(&kept);
	ck_assert_int_eq(restore_registry(&registry, &limits, unit_folder, 1, &image), 0);
	enter_all();
	begin_record(image.epoch + 1);
	for (size_t i = 0; i < image.n_lockers; i++)
		ck_assert_int_eq(restore_locker(registry, &image.lockers[i],
						&estates[image.lockers[i].pid - 11]),
				 0);
	for (size_t i = 0; i < image.n_attachments; i++)
		ck_assert_int_eq(restore_attachment(registry, &image.attachments[i],
						    session_of(image.attachments[i].client)),
				 0);
	for (size_t i = 0; i < image.n_segments; i++)
		restore_bonds(registry, image.segments[i].row.id,
			      session_of(image.segments[i].row.owner),
			      session_of(image.segments[i].row.publisher));
	restore_finish(registry);
	kept_close(&kept);
	if (thing->act == do_time && told->is_answered)
		now += 11 * SECOND;
	run();
}

/* --- tests ------------------------------------------------------------------------------------ */

START_TEST(the_record_is_right_after_each_instruction)
{
	struct steps steps;

	if (!begin(&steps, &things[_i]))
		return;
	do {
		if (!has_changed(&steps))
			continue;
		steps.n_changes++;
		read_copy();
		struct books books = books_of_image();
		check_books(&steps, &books);
	} while (step(&steps));
	ck_assert_uint_gt(steps.n_changes, 0);
	finish(&steps);
	/* What the child has made. */
	instance_sweep_own(&registry->instance, is_nobodys, NULL);
}
END_TEST

static void go_on_from_there(struct steps *steps)
{
	finish(steps);
	read_copy();
	go_on();
	struct books books = books_now();
	check_books(steps, &books);
}

/* Returns whether there were so many changes. */
static bool go_on_after(unsigned changes)
{
	struct steps steps;

	if (!begin(&steps, thing))
		return false;
	told->wanted = changes;
	while (steps.n_changes < changes && step(&steps))
		steps.n_changes += count_changes(&steps);
	go_on_from_there(&steps);
	return steps.n_changes >= changes;
}

START_TEST(the_next_daemon_goes_on)
{
	thing = &things[_i];
	for (unsigned changes = 0; go_on_after(changes); changes++) {
		tear_down();
		set_up();
	}
}
END_TEST

START_TEST(it_goes_on_from_anywhere)
{
	struct steps steps;

	srand((unsigned)getpid());
	if (!begin(&steps, &things[_i % THINGS]))
		return;
	for (int left = rand() % 2000; left > 0 && step(&steps); left--)
		;
	go_on_from_there(&steps);
}
END_TEST

static int points(void)
{
	const char *wanted = getenv("SHMD_TEST_POINTS");

	return wanted ? atoi(wanted) : 1;
}

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_loop_test(tests, the_record_is_right_after_each_instruction, 0, THINGS);
	tcase_add_loop_test(tests, the_next_daemon_goes_on, 0, THINGS);
	tcase_add_loop_test(tests, it_goes_on_from_anywhere, 0, THINGS * points());
}
