/* SPDX-License-Identifier: MIT */
/*
 * A registry that goes on where another has ended: its books are as they were, whatever they had in them,
 * and what cannot be taken over harms nobody.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "kept.h"
#include "unit.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/guard.h"
#include "base/lockfile.h"
#include "core/ending.h"
#include "core/memory.h"
#include "core/restore.h"

#define FIRST_ID UINT64_C(1000)
#define SECOND   NSEC_PER_SEC
#define ALICE    (geteuid() + 1001)
#define BOB      (geteuid() + 1002)
#define PEOPLE   3

static struct registry *registry;
/* Alice, the same once more, and Bob. */
static struct session people[PEOPLE];
static struct estate estates[2];
static struct estate *const estate_of[PEOPLE] = {&estates[0], &estates[0], &estates[1]};
static struct quota_limits limits;
static struct kept kept;
static struct image image;
static struct refusal why;
static uint64_t now;
static unsigned descriptors;

/* The linker leads allocations here; 0: all that follow are refused. */
static unsigned allocations_left = UINT32_MAX;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

static bool is_refused(void)
{
	if (allocations_left == UINT32_MAX)
		return false;
	if (allocations_left == 0)
		return true;
	allocations_left--;
	return false;
}

void *__wrap_malloc(size_t size)
{
	return is_refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return is_refused() ? NULL : __real_calloc(n, size);
}

/* --- the daemon ------------------------------------------------------------------------------- */

static void enter(unsigned i)
{
	struct credentials who;

	credentials_init(&who, i == 2 ? BOB : ALICE, i == 2 ? BOB : ALICE, NULL, 0);
	session_init(&people[i], i + 1, (pid_t)(i == 2 ? 12 : 11), &who);
	people[i].can_lock = true;
	people[i].estate = estate_of[i];
}

static void enter_all(void)
{
	for (int i = 0; i < 2; i++)
		estate_init(&estates[i], &registry->emptied);
	for (unsigned i = 0; i < PEOPLE; i++)
		enter(i);
}

static void begin_record(uint64_t epoch)
{
	struct record *record = &registry->record;

	ck_assert_int_eq(record_begin(record, epoch, registry->instance.name), 0);
	record_next_id(record, registry->next_id);
	record_next_client(record, PEOPLE + 1);
	for (unsigned i = 0; i < PEOPLE; i++)
		record_client(record, &people[i], 0);
}

static void set_up(void)
{
	for (int i = 0; i < QUOTA_RESOURCES; i++)
		limits.total[i] = limits.per_user[i] = 1000000;
	close_fd(memory_reopen(STDERR_FILENO, true));
	descriptors = unit_descriptors();
	image = (struct image){.is_empty = true, .lock_fd = -1};
	ck_assert_int_eq(guard_init(), 0);
	ck_assert_int_eq(registry_new(&registry, &limits, unit_folder, FIRST_ID), 0);
	enter_all();
	begin_record(1);
	record_complete(&registry->record);
	now = 5000 * SECOND;
}

static void run(void)
{
	struct segment *segment;
	int fds[2];

	registry_run_timers(registry, now);
	while (registry_settle_some(registry, 64, now))
		;
	while ((segment = registry_take_unused(registry, fds))) {
		close_fd(fds[0]);
		close_fd(fds[1]);
		registry_forget(registry, segment);
	}
	record_flush(&registry->record);
}

static void leave_all(void)
{
	for (unsigned i = 0; i < PEOPLE; i++) {
		registry_leave(registry, &people[i], now);
		session_fini(&people[i]);
	}
}

static void end(void)
{
	for (int i = 0; i < 2; i++)
		estate_fini(&estates[i]);
	registry = registry_free(registry);
}

/* Nobody is left, and nothing. */
static void tear_down(void)
{
	if (registry) {
		leave_all();
		run();
		end();
	}
	image_fini(&image);
	kept_close(&kept);
	ck_assert_uint_eq(unit_entries(unit_folder), 0);
	ck_assert_uint_eq(unit_descriptors(), descriptors);
}

/* --- restarting ------------------------------------------------------------------------------- */

/* As if killed: what stands in the record is all that there is. */
static void stop(void)
{
	kept_put_record(&kept, registry);
	kept_put_segments(&kept, registry);
	record_flush(&registry->record);
	registry_leave_behind(registry);
	leave_all();
	end();
	image = kept_read(&kept);
	ck_assert_msg(image.n_refused == 0, "%s", image.why);
}

static struct session *session_of(uint64_t id)
{
	return id ? &people[id - 1] : NULL;
}

static void restore_people(void)
{
	for (size_t i = 0; i < image.n_lockers; i++)
		restore_locker(registry, &image.lockers[i], &estates[image.lockers[i].uid == BOB]);
	for (size_t i = 0; i < image.n_attachments; i++)
		restore_attachment(registry, &image.attachments[i],
				   session_of(image.attachments[i].client));
	for (size_t i = 0; i < image.n_segments; i++)
		restore_bonds(registry, image.segments[i].row.id,
			      session_of(image.segments[i].row.owner),
			      session_of(image.segments[i].row.publisher));
}

static void start(void)
{
	uint64_t epoch = image.epoch + 1;

	ck_assert_int_eq(restore_registry(&registry, &limits, unit_folder, 1, &image), 0);
	enter_all();
	begin_record(epoch);
	restore_people();
	restore_finish(registry);
	record_complete(&registry->record);
	image_fini(&image);
	kept_close(&kept);
}

static void restart(void)
{
	stop();
	start();
	run();
}

/* --- asking ----------------------------------------------------------------------------------- */

static struct grant create(struct session *session, const char *name, struct creation what)
{
	struct grant grant;

	what.name = name;
	what.size = what.size ? what.size : 4096;
	what.mode = 0666;
	int r = registry_create(registry, session, &what, now, &grant, &why);
	ck_assert_msg(r == 0, "refused: %s", why.text);
	close_fd(grant.fd);
	return grant;
}

static struct segment *make(struct session *session, const char *name, enum lifetime lifetime)
{
	return create(session, name, (struct creation){.lifetime = lifetime, .permits = 1}).segment;
}

static struct grant attach(struct session *session, const char *name, bool read_only)
{
	struct grant grant;
	int r = registry_attach(registry, session, 0, name, read_only, now, &grant, &why);

	ck_assert_msg(r == 0, "refused: %s", why.text);
	close_fd(grant.fd);
	return grant;
}

static unsigned lock_number(struct session *session, struct grant grant)
{
	registry_grant_lock(registry, session, false, &grant);
	ck_assert_int_eq(grant.lock, LOCK_GRANTED);
	return grant.number;
}

static uint64_t publish(struct session *session, uint64_t id, const char *name)
{
	uint64_t generation;
	int r = registry_publish(registry, session, id, name, true, now, &generation, &why);

	ck_assert_msg(r == 0, "refused: %s", why.text);
	run();
	return generation;
}

static uint64_t publish_new(struct session *session, const char *name, enum lifetime lifetime)
{
	uint64_t id = make(session, NULL, lifetime)->id;

	publish(session, id, name);
	return id;
}

static struct segment *named(const char *name)
{
	struct segment *segment = registry_by_name(registry, name);

	ck_assert_msg(segment != NULL, "'%s' has gone", name);
	return segment;
}

/* --- books ------------------------------------------------------------------------------------ */

#define BOOKS_MAX 16384

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

static void say_users(struct books *books, const struct segment *segment)
{
	const struct attachment *attachment;
	const struct locker *locker;

	for (unsigned i = 0; i < PEOPLE; i++) {
		attachment = attachment_find(&people[i], segment->id);
		if (attachment)
			say(books, " client %u: %ju %ju %u", i, (uintmax_t)attachment->counts[0],
			    (uintmax_t)attachment->counts[1],
			    attachment->locker ? attachment->locker->number : 0);
	}
	for (unsigned number = 1; number < 20; number++)
		DL_FOREACH (segment->ledger.lockers, locker)
			if (locker->number == number)
				say(books, " number %u: uid %u%s%s", number, locker->uid,
				    locker->until_exit ? " kept" : "",
				    locker->was_left ? " left" : "");
}

static void say_segment(struct books *books, const struct segment *segment)
{
	say(books, "%ju %ju '%s' state %d size %ju of %u:%u %o", (uintmax_t)segment->id,
	    (uintmax_t)segment->generation, segment->name, (int)segment->state,
	    (uintmax_t)segment->size, segment->ownership.uid, segment->ownership.gid,
	    segment->ownership.mode);
	say(books, " lifetime %d %ju made %ju flags %d%d%d payer %u", (int)segment->lifetime,
	    (uintmax_t)segment->linger_ns, (uintmax_t)segment->created_at, segment->is_anonymous,
	    segment->readers_lock, segment->is_sealed, segment_payer(segment));
	say(books, " permits %u '%s' %jd", segment->ledger.permits, segment->semaphore.name,
	    (intmax_t)semaphore_value(&segment->semaphore));
	say(books, " owner %ju publisher %ju", segment->owner ? (uintmax_t)segment->owner->id : 0,
	    segment->publisher ? (uintmax_t)segment->publisher->id : 0);
	if (segment->state == SEGMENT_LINGERING)
		say(books, " until %ju", (uintmax_t)segment->timer.deadline);
	if (segment->lineage)
		say(books, " was '%s': %ju, %ju bytes", segment->lineage->key.name,
		    (uintmax_t)segment->lineage->generations, (uintmax_t)segment->lineage->bytes);
	say_users(books, segment);
	say(books, "\n");
}

/* A name and a key belong to one that there is. */
static void check_tables(void)
{
	const struct record *record = &registry->record;
	unsigned n_named = 0, n_keys = record->n_loose;
	const struct segment *segment;

	for (segment = registry->by_id; segment; segment = segment->by_id.next) {
		n_named += segment->name[0] != '\0';
		n_keys += segment->keeping.has_key;
	}
	ck_assert_uint_eq(HASH_CNT(by_name, registry->by_name), n_named);
	for (uint32_t i = 0; i < record->keys.words; i++)
		n_keys -= (unsigned)__builtin_popcountll(record->keys.taken[i]);
	ck_assert_uint_eq(n_keys, 0);
}

static struct books books_now(void)
{
	const struct segment *segment;
	struct books books = {.size = 0};

	check_tables();
	for (segment = registry->by_id; segment; segment = segment->by_id.next)
		say_segment(&books, segment);
	for (int i = 0; i < QUOTA_RESOURCES; i++)
		say(&books, "%d: %ju = %ju + %ju\n", i, (uintmax_t)registry->quota.used[i],
		    (uintmax_t)quota_used_by(&registry->quota, ALICE, i),
		    (uintmax_t)quota_used_by(&registry->quota, BOB, i));
	for (unsigned i = 0; i < PEOPLE; i++)
		say(&books, "client %u: %u segments, %ju bytes\n", i, session_segments(&people[i]),
		    (uintmax_t)people[i].bytes);
	say(&books, "names %u next %ju\n", HASH_CNT(by_name, registry->by_name),
	    (uintmax_t)registry->next_id);
	return books;
}

static void assert_restarts_as_it_was(void)
{
	run();
	struct books before = books_now();
	for (int i = 0; i < 3; i++) {
		restart();
		struct books after = books_now();
		ck_assert_str_eq(after.text, before.text);
	}
}

/* --- all that there can be -------------------------------------------------------------------- */

static void make_several(void)
{
	make(&people[0], "clients", LIFETIME_CLIENTS);
	make(&people[0], "owner", LIFETIME_OWNER);
	make(&people[2], "persistent", LIFETIME_PERSISTENT);
	make(&people[2], NULL, LIFETIME_CLIENTS);
	create(&people[0], "several", (struct creation){.permits = 7, .readers_lock = true});
	create(&people[0], "without", (struct creation){.size = 12345});
	attach(&people[2], "clients", false);
	attach(&people[2], "clients", true);
	attach(&people[1], "clients", true);
	attach(&people[1], "several", true);
}

START_TEST(segments_are_as_they_were)
{
	make_several();
	assert_restarts_as_it_was();
}
END_TEST

START_TEST(numbers_to_lock_by_are_as_they_were)
{
	for (unsigned permits = 1; permits < 5; permits += 3) {
		const char *name = permits == 1 ? "one" : "four";
		struct grant grant = create(&people[0], name,
					    (struct creation){.permits = permits});
		ck_assert_uint_eq(lock_number(&people[0], grant), 1);
		ck_assert_uint_eq(lock_number(&people[1], attach(&people[1], name, false)), 2);
		ck_assert_uint_eq(lock_number(&people[2], attach(&people[2], name, false)), 3);
		ck_assert_int_eq(registry_keep(registry, &people[2], grant.segment->id, &why), 0);
	}
	assert_restarts_as_it_was();
}
END_TEST

START_TEST(published_names_are_as_they_were)
{
	publish_new(&people[0], "clients", LIFETIME_CLIENTS);
	publish_new(&people[0], "owner", LIFETIME_OWNER);
	publish_new(&people[2], "persistent", LIFETIME_PERSISTENT);
	assert_restarts_as_it_was();
}
END_TEST

START_TEST(former_generations_are_as_they_were)
{
	for (int i = 0; i < 4; i++)
		publish_new(&people[0], "name", LIFETIME_CLIENTS);
	run();
	ck_assert_uint_eq(lineage_find(registry->lineages, ALICE, "name")->generations, 3);
	assert_restarts_as_it_was();
	ck_assert_uint_eq(lineage_find(registry->lineages, ALICE, "name")->generations, 3);
	ck_assert_uint_eq(lineage_find(registry->lineages, ALICE, "name")->bytes, 3 * 4096);
	registry_leave(registry, &people[0], now);
	run();
	ck_assert_ptr_null(registry->lineages);
}
END_TEST

START_TEST(what_has_lost_its_name_is_as_it_was)
{
	make(&people[0], "name", LIFETIME_PERSISTENT);
	ck_assert_int_eq(
		registry_unlink(registry, &people[0], 0, "name", now, &(uint64_t){0}, &why), 0);
	assert_restarts_as_it_was();
	ck_assert_ptr_null(registry_by_name(registry, "name"));
}
END_TEST

START_TEST(what_lingers_goes_on_to_linger)
{
	create(&people[0], "name", (struct creation){.permits = 1, .linger_ns = 10 * SECOND});
	registry_leave(registry, &people[0], now);
	run();
	ck_assert_int_eq(named("name")->state, SEGMENT_LINGERING);
	assert_restarts_as_it_was();
	now += 10 * SECOND - 1;
	run();
	named("name");
	now++;
	run();
	ck_assert_ptr_null(registry->by_id);
}
END_TEST

START_TEST(the_time_is_over_while_nobody_looks)
{
	create(&people[0], "name", (struct creation){.permits = 1, .linger_ns = 10 * SECOND});
	registry_leave(registry, &people[0], now);
	run();
	stop();
	now += 11 * SECOND;
	start();
	run();
	ck_assert_ptr_null(registry->by_id);
}
END_TEST

/* Also where all that had them have gone. */
START_TEST(ids_go_on)
{
	uint64_t last = make(&people[0], "name", LIFETIME_CLIENTS)->id;

	registry_leave(registry, &people[0], now);
	run();
	restart();
	ck_assert_ptr_null(registry->by_id);
	ck_assert_uint_eq(make(&people[0], "name", LIFETIME_CLIENTS)->id, last + 1);
}
END_TEST

/* Whose record says less than its segments, or than the clock. */
START_TEST(an_id_is_never_given_twice)
{
	uint64_t id = publish_new(&people[0], "name", LIFETIME_CLIENTS);
	uint64_t generation = named("name")->generation;

	ck_assert_uint_gt(generation, id);
	stop();
	image.next_id = 7;
	start();
	ck_assert_uint_eq(registry->next_id, generation + 1);
	stop();
	ck_assert_int_eq(restore_registry(&registry, &limits, unit_folder, 99999, &image), 0);
	ck_assert_uint_eq(registry->next_id, 99999);
	enter_all();
}
END_TEST

/* Its maker is told of it before its memory is closed. */
START_TEST(what_was_unlinked_is_gone)
{
	uint64_t id = make(&people[0], "name", LIFETIME_PERSISTENT)->id;

	ck_assert_int_eq(registry_detach(registry, &people[0], id, false, now, &why), 0);
	record_flush(&registry->record);
	ck_assert_int_eq(registry_unlink(registry, &people[0], 0, "name", now, &id, &why), 0);
	record_flush(&registry->record);
	restart();
	ck_assert_ptr_null(registry->by_id);
}
END_TEST

/* What was restored takes its course. */
START_TEST(ends_come_as_before)
{
	make_several();
	restart();
	for (unsigned i = 0; i < PEOPLE; i++)
		registry_leave(registry, &people[i], now);
	run();
	ck_assert_str_eq(registry->by_id->name, "persistent");
	ck_assert_ptr_null(registry->by_id->by_id.next);
	ck_assert_uint_eq(registry->quota.used[QUOTA_ATTACHMENTS], 0);
	ck_assert_int_eq(registry_unlink(registry, &people[2], 0, "persistent", now, &(uint64_t){0},
					 &why),
			 0);
	run();
	ck_assert_ptr_null(registry->quota.users);
}
END_TEST

/* --- what dies in the middle of something ------------------------------------------------------ */

static struct record_segment *row_of(uint64_t id)
{
	for (size_t i = 0; i < image.n_segments; i++)
		if (image.segments[i].row.id == id)
			return &image.segments[i].row;
	ck_abort_msg("there is no segment %ju", (uintmax_t)id);
}

/* Published, and died before the former one's row was written. */
START_TEST(of_two_with_one_name_the_newer_one_has_it)
{
	uint64_t first = make(&people[0], "name", LIFETIME_PERSISTENT)->id;
	uint64_t second = make(&people[0], "other", LIFETIME_PERSISTENT)->id;

	stop();
	strcpy(row_of(second)->name, "name");
	row_of(_i ? first : second)->generation = 5000;
	start();
	uint64_t newer = _i ? first : second, older = _i ? second : first;
	run();
	ck_assert_uint_eq(named("name")->id, newer);
	ck_assert_uint_eq(HASH_CNT(by_name, registry->by_name), 1);
	/* Alice still has it. */
	struct segment *former = registry_next(registry, older - 1);
	ck_assert_uint_eq(former->id, older);
	ck_assert_int_eq(former->state, SEGMENT_DROPPED);
	ck_assert_str_eq(former->name, "");
	ck_assert_str_eq(former->semaphore.name, "");
	ck_assert_uint_eq(lineage_find(registry->lineages, ALICE, "name")->generations, 1);
	/* The lock, and the semaphore of the one. */
	ck_assert_uint_eq(unit_entries(unit_folder), 2);
	assert_restarts_as_it_was();
}
END_TEST

START_TEST(who_has_let_go_owns_nothing)
{
	make(&people[0], "name", LIFETIME_OWNER);
	stop();
	image.n_attachments = 0;
	start();
	run();
	ck_assert_ptr_null(registry->by_id);
}
END_TEST

/* --- what is not ours, or not there ------------------------------------------------------------ */

START_TEST(two_under_one_key_are_one)
{
	uint64_t first = make(&people[0], "first", LIFETIME_PERSISTENT)->id;
	uint64_t second = make(&people[0], "second", LIFETIME_PERSISTENT)->id;

	stop();
	row_of(second)->key = row_of(first)->key;
	start();
	run();
	named("first");
	ck_assert_ptr_null(registry_by_name(registry, "second"));
	ck_assert_uint_eq(registry->quota.used[QUOTA_SEGMENTS], 1);
	ck_assert_uint_eq(registry->quota.used[QUOTA_BYTES], 4096);
	ck_assert_uint_eq(unit_entries(unit_folder), 2);
}
END_TEST

START_TEST(keys_that_are_taken_are_not_given_again)
{
	make(&people[0], "first", LIFETIME_PERSISTENT);
	make(&people[0], "second", LIFETIME_PERSISTENT);
	restart();
	make(&people[0], "third", LIFETIME_PERSISTENT);
	ck_assert_uint_eq(named("first")->keeping.key, 0);
	ck_assert_uint_eq(named("second")->keeping.key, 1);
	ck_assert_uint_eq(named("third")->keeping.key, 2);
}
END_TEST

static const char *in_folder(const char *file)
{
	static char path[sizeof(unit_folder) + 256];

	snprintf(path, sizeof(path), "%s/%s", unit_folder, file);
	return path;
}

static const char *semaphore_file(const char *name)
{
	static char file[SEMAPHORE_NAME_SIZE + 8];

	snprintf(file, sizeof(file), "sem.%s", named(name)->semaphore.name);
	return file;
}

static bool exists(const char *file)
{
	return access(in_folder(file), F_OK) == 0;
}

/* Somebody has put another file where the semaphore was. It is swept, as ours, only if it is ours. */
START_TEST(a_foreign_file_stays)
{
	char file[SEMAPHORE_NAME_SIZE + 8];

	make(&people[0], "name", LIFETIME_PERSISTENT);
	strcpy(file, semaphore_file("name"));
	stop();
	ck_assert_int_eq(unlink(in_folder(file)), 0);
	ck_assert_int_eq(_i ? mkfifo(in_folder(file), 0600) : symlink("lock", in_folder(file)), 0);
	start();
	ck_assert_str_eq(named("name")->semaphore.name, "");
	ck_assert_int_ge(named("name")->semaphore.fd, 0);
	ck_assert_int_eq(
		registry_unlink(registry, &people[0], 0, "name", now, &(uint64_t){0}, &why), 0);
	leave_all();
	run();
	ck_assert_int_eq(unlink(in_folder(file)), 0);
}
END_TEST

START_TEST(a_segment_goes_on_without_its_semaphore)
{
	struct grant grant = create(&people[0], "name", (struct creation){.permits = 1 + 3 * _i});

	lock_number(&people[0], grant);
	run();
	stop();
	int *gone = _i ? &image.segments[0].ledger_fd : &image.segments[0].semaphore_fd;
	*gone = close_fd(*gone);
	start();
	run();
	ck_assert_int_eq(named("name")->semaphore.fd, -1);
	ck_assert_uint_eq(named("name")->ledger.permits, 0);
	ck_assert_uint_eq(unit_entries(unit_folder), 1);
	/* What was charged stays so. */
	ck_assert_uint_eq(registry->quota.used[QUOTA_SEMAPHORES], 1);
	restart();
	named("name");
}
END_TEST

START_TEST(semaphores_of_nobody_are_swept)
{
	char file[64], others[64];

	make(&people[0], "name", LIFETIME_PERSISTENT);
	snprintf(file, sizeof(file), "sem.shmd-%s-00000000000000aa", registry->instance.name);
	snprintf(others, sizeof(others), "sem.shmd-%s.another", registry->instance.name);
	unit_write(file, "x", 1);
	unit_write(others, "x", 1);
	restart();
	ck_assert(!exists(file));
	ck_assert(exists(others));
	ck_assert(exists(semaphore_file("name")));
	ck_assert_int_eq(unlink(in_folder(others)), 0);
}
END_TEST

START_TEST(what_refers_to_nothing_is_refused)
{
	uint64_t id = make(&people[0], "name", LIFETIME_CLIENTS)->id;
	uint64_t without = create(&people[0], "without", (struct creation){.size = 1}).segment->id;
	struct record_locker locker = {.segment = id, .number = 9, .pid = 1};
	struct record_attachment attachment = {.segment = id, .writing = 1};

	ck_assert_int_eq(restore_attachment(registry, &attachment, &people[0]), -EINVAL);
	attachment.segment = id + 100;
	ck_assert_int_eq(restore_attachment(registry, &attachment, &people[2]), -EINVAL);
	ck_assert_int_eq(restore_locker(registry, &locker, &estates[0]), 0);
	ck_assert_int_eq(restore_locker(registry, &locker, &estates[1]), -EINVAL);
	locker.segment = id + 100;
	ck_assert_int_eq(restore_locker(registry, &locker, &estates[0]), -EINVAL);
	locker.segment = without;
	ck_assert_int_eq(restore_locker(registry, &locker, &estates[0]), -EINVAL);
	restore_bonds(registry, id + 100, &people[0], &people[0]);
	ck_assert_uint_eq(registry->quota.used[QUOTA_ATTACHMENTS], 2);
}
END_TEST

START_TEST(a_number_is_of_one_attachment)
{
	struct record_attachment attachment = {.writing = 1, .number = 1};
	struct grant grant = create(&people[0], "name", (struct creation){.permits = 1});

	ck_assert_uint_eq(lock_number(&people[0], grant), 1);
	attachment.segment = grant.segment->id;
	ck_assert_int_eq(restore_attachment(registry, &attachment, &people[2]), 0);
	ck_assert_ptr_null(attachment_find(&people[2], attachment.segment)->locker);
	ck_assert_int_eq(restore_attachment(registry, &attachment, &people[1]), 0);
	ck_assert_ptr_null(attachment_find(&people[1], attachment.segment)->locker);
}
END_TEST

/* --- who comes back --------------------------------------------------------------------------- */

START_TEST(what_was_left_is_taken_up)
{
	struct grant grant = create(&people[0], "name", (struct creation){.permits = 1});

	attach(&people[2], "name", false);
	ck_assert_uint_eq(lock_number(&people[0], grant), 1);
	registry_leave(registry, &people[0], now);
	assert_restarts_as_it_was();
	ck_assert_uint_eq(lock_number(&people[1], attach(&people[1], "name", false)), 1);
	assert_restarts_as_it_was();
	/* One attachment goes by that number, and others by others. */
	ck_assert_uint_eq(lock_number(&people[0], attach(&people[0], "name", false)), 2);
	registry_leave(registry, &people[1], now);
	registry_leave(registry, &people[0], now);
	run();
	ck_assert_uint_eq(registry->quota.used[QUOTA_ATTACHMENTS], 3);
	assert_restarts_as_it_was();
}
END_TEST

START_TEST(a_session_has_what_another_had)
{
	struct session again;
	struct credentials who;

	make(&people[0], "owned", LIFETIME_OWNER);
	uint64_t id = publish_new(&people[0], "published", LIFETIME_OWNER);
	ck_assert_int_eq(registry_detach(registry, &people[0], id, false, now, &why), 0);
	attach(&people[0], "owned", true);
	make(&people[1], "another", LIFETIME_CLIENTS);
	people[0].token = 4711;
	run();
	struct books before = books_now();
	credentials_init(&who, ALICE, ALICE, NULL, 0);
	session_init(&again, 99, 0, &who);
	record_client(&registry->record, &again, 0);
	restore_session(&people[0], &again);
	ck_assert_uint_eq(again.id, 1);
	ck_assert_uint_eq(again.token, 4711);
	ck_assert_ptr_eq(named("owned")->owner, &again);
	ck_assert_ptr_eq(named("published")->owner, &again);
	ck_assert_ptr_eq(named("published")->publisher, &again);
	ck_assert_uint_eq(session_segments(&people[0]), 0);
	ck_assert_ptr_null(people[0].published);
	ck_assert_ptr_null(people[0].row.table);
	session_fini(&people[0]);
	/* And gives it on. */
	enter(0);
	restore_session(&again, &people[0]);
	session_fini(&again);
	struct books after = books_now();
	ck_assert_str_eq(after.text, before.text);
	registry_leave(registry, &people[0], now);
	run();
	ck_assert_uint_eq(HASH_CNT(by_name, registry->by_name), 1);
}
END_TEST

START_TEST(who_stays_away_lets_go_of_what_nobody_has)
{
	make(&people[0], "unused", LIFETIME_CLIENTS);
	struct creation what = {.name = "mapped", .size = 4096, .mode = 0600};
	struct grant grant;
	ck_assert_int_eq(registry_create(registry, &people[0], &what, now, &grant, &why), 0);
	restart();
	uint64_t after = 0;
	ck_assert(restore_let_go(registry, &people[0], 1, &after));
	ck_assert(!restore_let_go(registry, &people[0], 2, &after));
	run();
	ck_assert_ptr_null(registry_by_name(registry, "unused"));
	named("mapped");
	ck_assert_uint_eq(session_segments(&people[0]), 1);
	close_fd(grant.fd);
}
END_TEST

START_TEST(what_is_confirmed_is_kept)
{
	uint64_t id = make(&people[0], "confirmed", LIFETIME_CLIENTS)->id;

	make(&people[0], "forgotten", LIFETIME_CLIENTS);
	attach(&people[0], "confirmed", false);
	restart();
	ck_assert_int_eq(registry_confirm(registry, &people[0], id, 1, 5, &why), 0);
	ck_assert_uint_eq(attachment_find(&people[0], id)->counts[false], 1);
	ck_assert_uint_eq(attachment_find(&people[0], id)->counts[true], 0);
	registry_settle_session(registry, &people[0]);
	run();
	ck_assert_ptr_null(registry_by_name(registry, "forgotten"));
	named("confirmed");
}
END_TEST

/* --- the instance ----------------------------------------------------------------------------- */

static const char *lock_file(const char *name)
{
	static char file[64];

	snprintf(file, sizeof(file), "shmd-%s.lock", name);
	return file;
}

START_TEST(the_instance_goes_on)
{
	char name[INSTANCE_NAME_SIZE];

	strcpy(name, registry->instance.name);
	make(&people[0], "name", LIFETIME_PERSISTENT);
	restart();
	ck_assert_str_eq(registry->instance.name, name);
	ck_assert(registry->instance.was_locked);
	ck_assert(exists(lock_file(name)));
}
END_TEST

START_TEST(a_lock_that_is_missing_is_taken)
{
	make(&people[0], "name", LIFETIME_PERSISTENT);
	stop();
	/* Whoever keeps it keeps it locked. */
	kept_close(&kept);
	image.lock_fd = close_fd(image.lock_fd);
	start();
	named("name");
	ck_assert(!registry->instance.was_locked);
	ck_assert(exists(lock_file(registry->instance.name)));
}
END_TEST

/* The file has gone, or is another by now. */
START_TEST(a_lock_that_leads_nowhere_is_made_anew)
{
	make(&people[0], "name", LIFETIME_PERSISTENT);
	stop();
	ck_assert_int_eq(unlink(in_folder(lock_file(image.instance))), 0);
	if (_i)
		unit_write(lock_file(image.instance), "", 0);
	start();
	named("name");
	ck_assert(!registry->instance.was_locked);
	ck_assert(lockfile_is_named(registry->instance.folder, lock_file(registry->instance.name),
				    registry->instance.lock));
}
END_TEST

/* Somebody who is that instance lives, and what was given to us is theirs. */
START_TEST(what_somebody_else_is_is_not_taken_over)
{
	char file[SEMAPHORE_NAME_SIZE + 8];

	make(&people[0], "name", LIFETIME_PERSISTENT);
	strcpy(file, semaphore_file("name"));
	stop();
	ck_assert_int_eq(unlink(in_folder(lock_file(image.instance))), 0);
	unit_write(lock_file(image.instance), "", 0);
	int other = open(in_folder(lock_file(image.instance)), O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(flock(other, LOCK_EX | LOCK_NB), 0);
	ck_assert_int_eq(restore_registry(&registry, &limits, unit_folder, 1, &image),
			 -EWOULDBLOCK);
	ck_assert_ptr_null(registry);
	ck_assert(exists(file));
	close_fd(other);
	ck_assert_int_eq(unlink(in_folder(lock_file(image.instance))), 0);
	ck_assert_int_eq(unlink(in_folder(file)), 0);
}
END_TEST

/* A lock file that is somebody else's is not removed by us. */
START_TEST(another_users_lock_is_not_ours)
{
	char file[SEMAPHORE_NAME_SIZE + 8];

	if (geteuid() != 0)
		return;
	make(&people[0], "name", LIFETIME_PERSISTENT);
	strcpy(file, semaphore_file("name"));
	stop();
	ck_assert_int_eq(chown(in_folder(lock_file(image.instance)), ALICE, (gid_t)-1), 0);
	ck_assert_int_lt(restore_registry(&registry, &limits, unit_folder, 1, &image), 0);
	ck_assert(exists(lock_file(image.instance)));
	ck_assert_int_eq(unlink(in_folder(lock_file(image.instance))), 0);
	ck_assert_int_eq(unlink(in_folder(file)), 0);
}
END_TEST

/* --- want of memory --------------------------------------------------------------------------- */

/* However early memory ends: what was taken is whole, and what was not is left out. */
START_TEST(without_memory_nothing_breaks)
{
	make_several();
	for (int i = 0; i < 3; i++)
		publish_new(&people[0], "name", LIFETIME_CLIENTS);
	uint64_t first = named("owner")->id, second = named("persistent")->id;
	stop();
	strcpy(row_of(second)->name, row_of(first)->name);
	allocations_left = (unsigned)_i;
	int r = restore_registry(&registry, &limits, unit_folder, 1, &image);
	allocations_left = UINT32_MAX;
	if (r == 0) {
		enter_all();
		restore_people();
		restore_finish(registry);
		image_fini(&image);
		kept_close(&kept);
		books_now();
		leave_all();
		run();
		enter_all();
		return;
	}
	ck_assert_int_eq(r, -ENOMEM);
	registry = NULL;
	image_fini(&image);
	kept_close(&kept);
	ck_assert_uint_gt(unit_entries(unit_folder), 1);
	ck_assert_int_eq(registry_new(&registry, &limits, unit_folder, FIRST_ID), 0);
	enter_all();
}
END_TEST

static void add_tests_of_harm(TCase *tests)
{
	tcase_add_loop_test(tests, of_two_with_one_name_the_newer_one_has_it, 0, 2);
	tcase_add_test(tests, who_has_let_go_owns_nothing);
	tcase_add_test(tests, two_under_one_key_are_one);
	tcase_add_test(tests, keys_that_are_taken_are_not_given_again);
	tcase_add_loop_test(tests, a_foreign_file_stays, 0, 2);
	tcase_add_loop_test(tests, a_segment_goes_on_without_its_semaphore, 0, 2);
	tcase_add_test(tests, semaphores_of_nobody_are_swept);
	tcase_add_test(tests, what_refers_to_nothing_is_refused);
	tcase_add_test(tests, a_number_is_of_one_attachment);
	tcase_add_loop_test(tests, without_memory_nothing_breaks, 0, 80);
}

static void add_tests_of_instances(TCase *tests)
{
	tcase_add_test(tests, the_instance_goes_on);
	tcase_add_test(tests, a_lock_that_is_missing_is_taken);
	tcase_add_loop_test(tests, a_lock_that_leads_nowhere_is_made_anew, 0, 2);
	tcase_add_test(tests, what_somebody_else_is_is_not_taken_over);
	tcase_add_test(tests, another_users_lock_is_not_ours);
}

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, segments_are_as_they_were);
	tcase_add_test(tests, numbers_to_lock_by_are_as_they_were);
	tcase_add_test(tests, published_names_are_as_they_were);
	tcase_add_test(tests, former_generations_are_as_they_were);
	tcase_add_test(tests, what_has_lost_its_name_is_as_it_was);
	tcase_add_test(tests, what_lingers_goes_on_to_linger);
	tcase_add_test(tests, the_time_is_over_while_nobody_looks);
	tcase_add_test(tests, ids_go_on);
	tcase_add_test(tests, an_id_is_never_given_twice);
	tcase_add_test(tests, what_was_unlinked_is_gone);
	tcase_add_test(tests, ends_come_as_before);
	tcase_add_test(tests, what_was_left_is_taken_up);
	tcase_add_test(tests, a_session_has_what_another_had);
	tcase_add_test(tests, who_stays_away_lets_go_of_what_nobody_has);
	tcase_add_test(tests, what_is_confirmed_is_kept);
	add_tests_of_harm(tests);
	add_tests_of_instances(tests);
}
