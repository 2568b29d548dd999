/* SPDX-License-Identifier: MIT */
/*
 * Segments that are opened and never attached: what open(2) would have done is done, and the kernel alone
 * says who has one, also to the next daemon.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kept.h"
#include "unit.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/guard.h"
#include "core/memory.h"
#include "core/restore.h"

#define FIRST_ID UINT64_C(1000)
#define SECOND   NSEC_PER_SEC

static struct registry *registry;
static struct session ours, others;
static struct estate estate; /* our process's */
static struct quota_limits limits;
static struct refusal why;
static struct opened opened;
static struct kept kept;
static struct image image;
static uint64_t now;
static unsigned descriptors;

static void enter(struct session *session, uint64_t id, uid_t uid)
{
	struct credentials who;

	credentials_init(&who, uid, getegid(), NULL, 0);
	session_init(session, id, 11, &who);
	session->can_lock = true;
	session->estate = &estate;
}

static void enter_all(void)
{
	estate_init(&estate, &registry->emptied);
	enter(&ours, 1, geteuid());
	enter(&others, 2, geteuid() + 1001);
}

static void begin_record(uint64_t epoch)
{
	struct record *record = &registry->record;

	ck_assert_int_eq(record_begin(record, epoch, registry->instance.name), 0);
	record_next_id(record, registry->next_id);
	record_next_client(record, 3);
	record_client(record, &ours, 0);
}

static void set_up(void)
{
	for (int i = 0; i < QUOTA_RESOURCES; i++)
		limits.total[i] = limits.per_user[i] = 1000;
	close_fd(memory_reopen(STDERR_FILENO, true));
	descriptors = unit_descriptors();
	image = (struct image){.is_empty = true, .lock_fd = -1};
	ck_assert_int_eq(guard_init(), 0);
	ck_assert_int_eq(registry_new(&registry, &limits, unit_folder, FIRST_ID), 0);
	ck_assert(registry->has_leases);
	enter_all();
	begin_record(1);
	record_complete(&registry->record);
	opened = (struct opened){.fd = -1};
	now = 5000 * SECOND;
}

static void run_at(uint64_t when)
{
	struct segment *segment;
	int fds[2];

	now = when;
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
	registry_leave(registry, &ours, now);
	registry_leave(registry, &others, now);
	session_fini(&ours);
	session_fini(&others);
}

static void end(void)
{
	estate_fini(&estate);
	registry = registry_free(registry);
}

static void tear_down(void)
{
	leave_all();
	run_at(now);
	end();
	image_fini(&image);
	kept_close(&kept);
	ck_assert_uint_eq(unit_entries(unit_folder), 0);
	close_fd(opened.fd);
	ck_assert_uint_eq(unit_descriptors(), descriptors);
}

/* As if killed, and started again. */
static void restart(void)
{
	kept_put_record(&kept, registry);
	kept_put_segments(&kept, registry);
	record_flush(&registry->record);
	registry_leave_behind(registry);
	leave_all();
	end();
	image = kept_read(&kept);
	ck_assert_msg(image.n_refused == 0, "%s", image.why);
	ck_assert_int_eq(restore_registry(&registry, &limits, unit_folder, FIRST_ID, &image), 0);
	enter_all();
	begin_record(image.epoch + 1);
	for (size_t i = 0; i < image.n_lockers; i++)
		ck_assert_int_eq(restore_locker(registry, &image.lockers[i], &estate), 0);
	for (size_t i = 0; i < image.n_attachments; i++)
		ck_assert_int_eq(restore_attachment(registry, &image.attachments[i], &ours), 0);
	restore_finish(registry);
	record_complete(&registry->record);
}

/* --- asking ----------------------------------------------------------------------------------- */

static struct opening memory(const char *name, int flags)
{
	return (struct opening){
		.flags = flags,
		.gid = getegid(),
		.of = {.name = name, .kind = SEGMENT_POSIX_MEMORY, .mode = 0600},
	};
}

static struct opening semaphore(const char *name, int flags, unsigned value)
{
	struct opening what = memory(name, flags);

	what.of.kind = SEGMENT_POSIX_SEMAPHORE;
	what.of.size = sizeof(sem_t);
	what.of.value = value;
	return what;
}

/* What is opened replaces, and closes, what was opened before. */
static int ask(const struct opening *what)
{
	struct opened answer;
	int r = registry_open(registry, &ours, what, now, &answer, &why);

	if (r != 0)
		return r;
	close_fd(opened.fd);
	opened = answer;
	return 0;
}

static int open_as(struct opening what)
{
	return ask(&what);
}

static void must_open(struct opening what)
{
	int r = ask(&what);

	ck_assert_msg(r == 0, "refused: %s", why.text);
}

static void let_go(void)
{
	opened.fd = close_fd(opened.fd);
}

/* From the word of a close to the test that follows. */
static void hear_of_close(void)
{
	unit_wait(registry->watch.fd);
	registry_read_watch(registry, now);
	ck_assert_uint_ne(registry_next_deadline(registry), 0);
	run_at(registry_next_deadline(registry));
}

static void assert_nothing_left(void)
{
	ck_assert_ptr_null(registry_next(registry, 0));
	ck_assert_uint_eq(registry_next_deadline(registry), 0);
	for (int i = 0; i < QUOTA_RESOURCES; i++)
		ck_assert_uint_eq(registry->quota.used[i], 0);
}

/* --- as open(2) ------------------------------------------------------------------------------- */

#define NEW (O_RDWR | O_CREAT | O_EXCL)

START_TEST(what_is_created_is_empty_and_has_its_mode)
{
	struct opening what = memory("/a", NEW);
	struct stat st;

	what.of.mode = 01751;
	must_open(what);
	ck_assert(opened.is_new);
	ck_assert_int_eq(fstat(opened.fd, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 01751);
	ck_assert_uint_eq(st.st_uid, geteuid());
	ck_assert_uint_eq(st.st_gid, getegid());
	ck_assert_int_eq(st.st_size, 0);
	ck_assert_int_eq(fcntl(opened.fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(fcntl(opened.fd, F_GETFL) & O_ACCMODE, O_RDWR);
}
END_TEST

START_TEST(its_group_is_given_where_that_can_be)
{
	struct opening what = memory("a", NEW);
	struct stat st;

	what.gid = getegid() + 1;
	must_open(what);
	ck_assert_int_eq(fstat(opened.fd, &st), 0);
	ck_assert_uint_eq(st.st_gid, geteuid() == 0 ? what.gid : getegid());
}
END_TEST

START_TEST(its_users_change_its_size)
{
	must_open(memory("a", NEW));
	ck_assert_int_eq(ftruncate(opened.fd, 10000), 0);
	ck_assert_uint_eq(segment_size(opened.segment), 10000);
	ck_assert_int_eq(ftruncate(opened.fd, 5), 0);
	ck_assert_uint_eq(segment_size(opened.segment), 5);
	ck_assert_int_eq(fcntl(opened.fd, F_ADD_SEALS, F_SEAL_GROW), -1);
}
END_TEST

/* Who creates has what was asked for, whatever the mode lets others do. */
START_TEST(a_creator_needs_no_permission)
{
	struct opening what = memory("a", NEW);

	what.of.mode = 0;
	must_open(what);
	ck_assert_int_eq(ftruncate(opened.fd, 1), 0);
	must_open(memory("b", O_RDONLY | O_CREAT));
	ck_assert_int_eq(fcntl(opened.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
}
END_TEST

START_TEST(there_is_one_or_none)
{
	ck_assert_int_eq(open_as(memory("a", O_RDWR)), REFUSAL_NOT_FOUND);
	must_open(memory("a", O_RDWR | O_CREAT));
	ck_assert(opened.is_new);
	struct segment *a = opened.segment;
	ck_assert_int_eq(open_as(memory("a", NEW)), REFUSAL_EXISTS);
	must_open(memory("a", O_RDWR | O_CREAT));
	ck_assert(!opened.is_new);
	ck_assert_ptr_eq(opened.segment, a);
	must_open(memory("a", O_RDONLY));
	ck_assert_int_eq(fcntl(opened.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	ck_assert_uint_eq(registry->statistics.counts[STATISTIC_OPENED], 2);
	ck_assert_uint_eq(registry->statistics.counts[STATISTIC_CREATED], 1);
}
END_TEST

START_TEST(each_has_a_description_of_its_own)
{
	must_open(memory("a", NEW));
	ck_assert_int_eq(write(opened.fd, "abc", 3), 3);
	must_open(memory("a", O_RDWR));
	ck_assert_int_eq(lseek(opened.fd, 0, SEEK_CUR), 0);
}
END_TEST

START_TEST(truncating_empties_it)
{
	must_open(memory("a", NEW));
	ck_assert_int_eq(write(opened.fd, "abc", 3), 3);
	must_open(memory("a", O_RDWR | O_TRUNC));
	ck_assert_uint_eq(segment_size(opened.segment), 0);
}
END_TEST

START_TEST(names_have_their_rules)
{
	ck_assert_int_eq(open_as(memory("a/b", NEW)), REFUSAL_INVALID);
	ck_assert_int_eq(open_as(memory("", NEW)), REFUSAL_INVALID);
}
END_TEST

START_TEST(it_is_for_our_own_user)
{
	struct opening what = memory("a", NEW);
	struct opened answer;

	ck_assert_int_eq(registry_open(registry, &others, &what, now, &answer, &why),
			 REFUSAL_DENIED);
	unit_assert_has(why.text, "daemon's own user");
}
END_TEST

START_TEST(without_leases_nothing_is_opened)
{
	registry->has_leases = false;
	ck_assert_int_eq(open_as(memory("a", NEW)), REFUSAL_UNSUPPORTED);
	registry->has_leases = true;
}
END_TEST

START_TEST(no_owner_and_no_impossible_value)
{
	struct opening what = memory("a", NEW);

	what.of.lifetime = LIFETIME_OWNER;
	ck_assert_int_eq(open_as(what), REFUSAL_INVALID);
	ck_assert_int_eq(open_as(semaphore("a", NEW, (unsigned)SEM_VALUE_MAX + 1)),
			 REFUSAL_INVALID);
	assert_nothing_left();
}
END_TEST

START_TEST(it_is_not_attached)
{
	struct creation creation = {.name = "a", .size = 1, .mode = 0600, .open_existing = true};
	struct grant grant;

	must_open(memory("a", NEW));
	ck_assert_int_eq(registry_attach(registry, &ours, 0, "a", true, now, &grant, &why),
			 REFUSAL_DENIED);
	unit_assert_has(why.text, "preload shim");
	ck_assert_int_eq(registry_attach(registry, &ours, opened.segment->id, "", true, now, &grant,
					 &why),
			 REFUSAL_DENIED);
	ck_assert_int_eq(registry_create(registry, &ours, &creation, now, &grant, &why),
			 REFUSAL_DENIED);
	ck_assert_int_eq(registry_attach_semaphore(registry, &ours, opened.segment->id, now, &grant,
						   &why),
			 REFUSAL_NOT_FOUND);
}
END_TEST

/* What libshmd made can be opened, as it is. */
START_TEST(what_is_brokered_opens_too)
{
	struct creation creation = {.name = "a", .size = 100, .mode = 0600};
	struct grant grant;

	ck_assert_int_eq(registry_create(registry, &ours, &creation, now, &grant, &why), 0);
	close_fd(grant.fd);
	must_open(memory("a", O_RDWR));
	ck_assert_int_eq(ftruncate(opened.fd, 200), -1);
	registry_leave(registry, &ours, now);
	run_at(now);
	ck_assert_ptr_nonnull(registry_by_name(registry, "a"));
	let_go();
	hear_of_close();
	assert_nothing_left();
}
END_TEST

/* --- its end ---------------------------------------------------------------------------------- */

START_TEST(it_ends_with_the_last_descriptor)
{
	must_open(memory("a", NEW));
	int fd = dup(opened.fd);
	let_go();
	run_at(now);
	ck_assert_ptr_nonnull(registry_by_name(registry, "a"));
	close_fd(fd);
	hear_of_close();
	assert_nothing_left();
	ck_assert_uint_eq(registry->statistics.counts[STATISTIC_REAPED], 1);
}
END_TEST

START_TEST(it_ends_with_the_last_mapping)
{
	must_open(memory("a", NEW));
	ck_assert_int_eq(ftruncate(opened.fd, 4096), 0);
	void *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, opened.fd, 0);
	let_go();
	run_at(now);
	registry_read_watch(registry, now);
	run_at(now + SECOND);
	ck_assert_ptr_nonnull(registry_by_name(registry, "a"));
	munmap(p, 4096);
	hear_of_close();
	assert_nothing_left();
}
END_TEST

/* Its creator may be gone before anybody looks. */
START_TEST(who_is_gone_at_once_leaves_nothing)
{
	must_open(memory("a", NEW));
	let_go();
	run_at(now);
	assert_nothing_left();
}
END_TEST

START_TEST(another_user_keeps_it)
{
	must_open(memory("a", NEW));
	int fd = opened.fd;
	opened.fd = -1;
	run_at(now);
	must_open(memory("a", O_RDONLY));
	close_fd(fd);
	hear_of_close();
	ck_assert_ptr_nonnull(registry_by_name(registry, "a"));
	let_go();
	hear_of_close();
	assert_nothing_left();
}
END_TEST

START_TEST(its_session_is_no_user)
{
	must_open(memory("a", NEW));
	registry_leave(registry, &ours, now);
	run_at(now);
	ck_assert_ptr_nonnull(registry_by_name(registry, "a"));
}
END_TEST

START_TEST(it_lingers)
{
	struct opening what = memory("a", NEW);

	what.of.linger_ns = 2 * SECOND;
	must_open(what);
	let_go();
	run_at(now);
	ck_assert_int_eq(opened.segment->state, SEGMENT_LINGERING);
	run_at(now + SECOND);
	ck_assert_int_eq(open_as(memory("a", NEW)), REFUSAL_EXISTS);
	must_open(memory("a", O_RDONLY));
	run_at(now + 10 * SECOND);
	ck_assert_int_eq(opened.segment->state, SEGMENT_LIVE);
	let_go();
	hear_of_close();
	ck_assert_int_eq(opened.segment->state, SEGMENT_LINGERING);
	run_at(now + 2 * SECOND);
	assert_nothing_left();
}
END_TEST

START_TEST(persistent_stays_until_unlinked)
{
	struct opening what = memory("a", NEW);

	what.of.lifetime = LIFETIME_PERSISTENT;
	must_open(what);
	let_go();
	run_at(now + 1000 * SECOND);
	ck_assert_ptr_nonnull(registry_by_name(registry, "a"));
	ck_assert_int_eq(registry_unlink(registry, &ours, 0, "a", now, &(uint64_t){0}, &why), 0);
	run_at(now);
	assert_nothing_left();
}
END_TEST

START_TEST(unlinking_drops_the_name_alone)
{
	must_open(memory("a", NEW));
	run_at(now);
	uint64_t id = opened.segment->id;
	ck_assert_int_eq(registry_unlink(registry, &ours, 0, "a", now, &(uint64_t){0}, &why), 0);
	run_at(now);
	ck_assert_int_eq(ftruncate(opened.fd, 1), 0);
	int fd = opened.fd;
	opened.fd = -1;
	must_open(memory("a", NEW));
	ck_assert_uint_ne(opened.segment->id, id);
	close_fd(fd);
	hear_of_close();
	ck_assert_ptr_null(registry_by_id(registry, id));
}
END_TEST

/* --- what is handed over by name -------------------------------------------------------------- */

#define HEIR 4712

static struct estate heir;

/* Made by a process that another forked, which still has it. */
static void make_kept(const char *name)
{
	struct opening what = memory(name, NEW);

	what.of.heir = HEIR;
	must_open(what);
	run_at(now);
}

static void put_down(void)
{
	let_go();
	hear_of_close();
}

/* As the daemon does, where that process lives. */
static unsigned hand_over(struct estate *estate_of_heir)
{
	struct segment *segment;
	unsigned n = 0;
	pid_t pid;

	while ((segment = registry_take_put_down(registry, &pid))) {
		ck_assert_int_eq(pid, HEIR);
		registry_inherit(registry, segment, estate_of_heir);
		n++;
	}
	run_at(now);
	return n;
}

START_TEST(what_is_put_down_goes_to_the_heir)
{
	estate_init(&heir, &registry->emptied);
	make_kept("a");
	ck_assert_uint_eq(hand_over(&heir), 0);
	put_down();
	ck_assert_uint_eq(hand_over(&heir), 1);
	ck_assert(estate_is_empty(&estate));
	registry_bury(registry, &estate);
	registry_leave(registry, &ours, now);
	run_at(now + 1000 * SECOND);
	must_open(memory("a", O_RDWR));
	let_go();
	run_at(now + SECOND);
	ck_assert_ptr_nonnull(registry_by_name(registry, "a"));
	registry_bury(registry, &heir);
	run_at(now);
	assert_nothing_left();
	estate_fini(&heir);
}
END_TEST

START_TEST(a_maker_that_dies_with_it_hands_over_nothing)
{
	make_kept("a");
	registry_bury(registry, &estate);
	registry_leave(registry, &ours, now);
	run_at(now);
	put_down();
	ck_assert_uint_eq(hand_over(&heir), 0);
	assert_nothing_left();
}
END_TEST

/* Nobody can tell any more whether it was put down before. */
START_TEST(a_maker_that_dies_then_hands_over_nothing_either)
{
	make_kept("a");
	put_down();
	registry_bury(registry, &estate);
	registry_leave(registry, &ours, now);
	run_at(now);
	ck_assert_uint_eq(hand_over(&heir), 0);
	assert_nothing_left();
}
END_TEST

START_TEST(without_an_heir_it_ends)
{
	make_kept("a");
	put_down();
	ck_assert_uint_eq(hand_over(NULL), 1);
	assert_nothing_left();
	make_kept("a");
	registry_bequeath(registry, &ours, NULL);
	let_go();
	run_at(now);
	assert_nothing_left();
}
END_TEST

START_TEST(who_ends_by_itself_hands_over_all)
{
	estate_init(&heir, &registry->emptied);
	make_kept("a");
	make_kept("b");
	registry_bequeath(registry, &ours, &heir);
	ck_assert(estate_is_empty(&estate));
	registry_bury(registry, &estate);
	let_go();
	run_at(now + SECOND);
	ck_assert_uint_eq(hand_over(&heir), 0);
	must_open(memory("a", O_RDWR));
	ck_assert_ptr_nonnull(registry_by_name(registry, "b"));
	registry_bury(registry, &heir);
	run_at(now);
	ck_assert_ptr_null(registry_by_name(registry, "b"));
	ck_assert_ptr_nonnull(registry_by_name(registry, "a"));
	ck_assert(estate_is_empty(&heir));
	estate_fini(&heir);
}
END_TEST

START_TEST(what_is_unlinked_is_kept_for_nobody)
{
	make_kept("a");
	put_down();
	ck_assert_int_eq(registry_unlink(registry, &ours, 0, "a", now, &(uint64_t){0}, &why), 0);
	run_at(now);
	ck_assert_uint_eq(hand_over(&heir), 0);
	assert_nothing_left();
	ck_assert(estate_is_empty(&estate));
}
END_TEST

START_TEST(an_heir_that_ends_in_disorder_leaves_nothing_behind)
{
	estate_init(&heir, &registry->emptied);
	make_kept("a");
	registry_bequeath(registry, &ours, &heir);
	estate_fini(&heir);
	ck_assert_ptr_null(registry_by_name(registry, "a")->heir);
}
END_TEST

/* What was attached goes the same way. */
START_TEST(what_is_brokered_is_handed_over_too)
{
	struct creation creation = {.name = "a", .size = 1, .mode = 0600, .heir = HEIR};
	struct grant grant;

	estate_init(&heir, &registry->emptied);
	ck_assert_int_eq(registry_create(registry, &ours, &creation, now, &grant, &why), 0);
	close_fd(grant.fd);
	ck_assert_int_eq(registry_detach(registry, &ours, grant.segment->id, false, now, &why), 0);
	ck_assert_uint_eq(hand_over(&heir), 1);
	ck_assert_ptr_nonnull(registry_by_name(registry, "a"));
	registry_bury(registry, &heir);
	run_at(now);
	assert_nothing_left();
	estate_fini(&heir);
}
END_TEST

static int unlink_as(struct session *session, const char *name)
{
	return registry_unlink(registry, session, 0, name, now, &(uint64_t){0}, &why);
}

/* POSIX has its programs unlink what they have closed before, as their last users. */
START_TEST(what_was_reaped_can_be_unlinked_once)
{
	must_open(memory("a", NEW));
	let_go();
	run_at(now);
	assert_nothing_left();
	ck_assert_int_eq(open_as(memory("a", O_RDWR)), REFUSAL_NOT_FOUND);
	ck_assert_int_eq(unlink_as(&others, "a"), REFUSAL_NOT_FOUND);
	ck_assert_int_eq(unlink_as(&ours, "/a"), 0);
	ck_assert_int_eq(unlink_as(&ours, "a"), REFUSAL_NOT_FOUND);
}
END_TEST

START_TEST(a_new_one_is_unlinked_once_too)
{
	must_open(memory("a", NEW));
	let_go();
	run_at(now);
	must_open(memory("a", NEW));
	ck_assert_int_eq(unlink_as(&ours, "a"), 0);
	ck_assert_int_eq(unlink_as(&ours, "a"), REFUSAL_NOT_FOUND);
}
END_TEST

START_TEST(of_many_that_were_reaped_the_oldest_are_forgotten)
{
	char name[16];

	for (int i = 0; i <= REAPED_MAX; i++) {
		snprintf(name, sizeof(name), "a%d", i);
		must_open(memory(name, NEW));
		let_go();
		run_at(now);
	}
	ck_assert_int_eq(unlink_as(&ours, "a0"), REFUSAL_NOT_FOUND);
	ck_assert_int_eq(unlink_as(&ours, "a1"), 0);
	ck_assert_int_eq(unlink_as(&ours, name), 0);
}
END_TEST

START_TEST(limits_hold)
{
	registry->quota.limits.per_user[QUOTA_SEGMENTS] = 1;
	must_open(memory("a", NEW));
	ck_assert_int_eq(open_as(memory("b", NEW)), REFUSAL_LIMIT);
	unit_assert_has(why.text, "segments_per_user=1");
}
END_TEST

/* --- semaphores ------------------------------------------------------------------------------- */

static sem_t *map_semaphore(void)
{
	void *p = mmap(NULL, sizeof(sem_t), PROT_READ | PROT_WRITE, MAP_SHARED, opened.fd, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	return p;
}

static int value_of(sem_t *semaphore_mapped)
{
	int value;

	ck_assert_int_eq(sem_getvalue(semaphore_mapped, &value), 0);
	return value;
}

START_TEST(a_semaphore_is_ready_when_it_is_seen)
{
	struct stat st;

	must_open(semaphore("s", NEW, 7));
	ck_assert_int_eq(fstat(opened.fd, &st), 0);
	ck_assert_int_eq(st.st_size, sizeof(sem_t));
	sem_t *s = map_semaphore();
	ck_assert_int_eq(value_of(s), 7);
	ck_assert_int_eq(sem_wait(s), 0);
	ck_assert_int_eq(semaphore_value(&opened.segment->semaphore), 6);
	ck_assert_int_eq(ftruncate(opened.fd, 0), -1);
	munmap(s, sizeof(*s));
}
END_TEST

/* Takes the permit as a client of that number does, with one step. */
static unsigned take_by_number(struct grant *grant)
{
	ck_assert_int_eq(registry_attach_semaphore(registry, &ours, opened.segment->id, now, grant,
						   &why),
			 0);
	close_fd(grant->fd);
	registry_grant_lock(registry, &ours, false, grant);
	ck_assert_int_eq(grant->lock, LOCK_GRANTED);
	uint64_t *word = (uint64_t *)map_semaphore();
	ck_assert_uint_eq(*word, 1);
	*word = word_of_owner(grant->number);
	munmap(word, sizeof(sem_t));
	return grant->number;
}

START_TEST(a_dead_holder_gives_its_permit_back)
{
	struct grant grant;

	must_open(semaphore("s", NEW, 1));
	take_by_number(&grant);
	ck_assert_int_eq(semaphore_value(&opened.segment->semaphore), 0);
	registry_bury(registry, &estate);
	registry_leave(registry, &ours, now);
	run_at(now);
	ck_assert_int_eq(semaphore_value(&opened.segment->semaphore), 1);
	ck_assert_uint_eq(registry->statistics.counts[STATISTIC_LOCKS_RECOVERED], 1);
	let_go();
	hear_of_close();
	assert_nothing_left();
}
END_TEST

START_TEST(another_value_is_nobodys_lock)
{
	struct grant grant;

	must_open(semaphore("s", NEW, 0));
	ck_assert_int_eq(registry_attach_semaphore(registry, &ours, opened.segment->id, now, &grant,
						   &why),
			 REFUSAL_UNSUPPORTED);
}
END_TEST

/* What holds a semaphore by a number keeps it, also without a descriptor of its own. */
START_TEST(who_has_a_number_keeps_the_semaphore)
{
	struct grant grant;

	must_open(semaphore("s", NEW, 1));
	take_by_number(&grant);
	let_go();
	run_at(now + SECOND);
	ck_assert_ptr_nonnull(registry_by_name(registry, "s"));
	ck_assert_int_eq(registry_unlink(registry, &ours, 0, "s", now, &(uint64_t){0}, &why), 0);
	run_at(now + SECOND);
	ck_assert_ptr_nonnull(registry_by_id(registry, opened.segment->id));
	/* Of one file there is one watch, and that is the memory's. */
	ck_assert_int_eq(opened.segment->raw_watch.wd, 0);
	registry_bury(registry, &estate);
	registry_leave(registry, &ours, now);
	run_at(now);
	assert_nothing_left();
}
END_TEST

/* --- the next daemon -------------------------------------------------------------------------- */

START_TEST(the_next_daemon_goes_on)
{
	struct opening what = memory("a", NEW);

	what.of.mode = 04751;
	must_open(what);
	ck_assert_int_eq(write(opened.fd, "abc", 3), 3);
	run_at(now);
	restart();
	run_at(now);
	int fd = opened.fd;
	opened.fd = -1;
	must_open(memory("a", O_RDONLY));
	char text[4] = "";
	ck_assert_int_eq(read(opened.fd, text, 3), 3);
	ck_assert_str_eq(text, "abc");
	ck_assert_uint_eq(memory_mode(opened.segment->fd), 0751);
	ck_assert_int_eq(opened.segment->kind, SEGMENT_POSIX_MEMORY);
	close_fd(fd);
	let_go();
	hear_of_close();
	assert_nothing_left();
}
END_TEST

START_TEST(the_next_daemon_knows_the_heir)
{
	estate.pid = 4711;
	estate.start = 17;
	make_kept("a");
	let_go();
	restart();
	const struct record_segment *row = &image.segments[0].row;
	ck_assert_uint_eq(row->heir, 4711);
	ck_assert_uint_eq(row->heir_start, 17);
	ck_assert_uint_eq(row->next_heir, HEIR);
	restore_heir(registry, row->id, &estate, HEIR);
	run_at(now + SECOND);
	estate_init(&heir, &registry->emptied);
	ck_assert_uint_eq(hand_over(&heir), 1);
	registry_bury(registry, &heir);
	run_at(now);
	assert_nothing_left();
	estate_fini(&heir);
}
END_TEST

START_TEST(what_nobody_has_ends_with_the_restart)
{
	must_open(memory("a", NEW));
	run_at(now);
	let_go();
	restart();
	run_at(now);
	assert_nothing_left();
}
END_TEST

START_TEST(a_holder_dies_between_two_daemons)
{
	struct grant grant;

	must_open(semaphore("s", NEW, 1));
	take_by_number(&grant);
	run_at(now);
	restart();
	run_at(now);
	struct segment *s = registry_by_name(registry, "s");
	ck_assert_int_eq(s->kind, SEGMENT_POSIX_SEMAPHORE);
	ck_assert_int_eq(semaphore_value(&s->semaphore), 0);
	registry_bury(registry, &estate);
	registry_leave(registry, &ours, now);
	run_at(now);
	ck_assert_int_eq(semaphore_value(&s->semaphore), 1);
}
END_TEST

/* Those who take by a number have it open like those who do not: so the kernel is not asked who may have taken
 * what is missing. */
START_TEST(nobody_looks_for_those_without_a_number)
{
	must_open(semaphore("s", NEW, 1));
	sem_t *s = map_semaphore();
	ck_assert_int_eq(sem_wait(s), 0);
	munmap(s, sizeof(*s));
	run_at(now);
	restart();
	run_at(now);
	ck_assert_ptr_null(heap_first(&registry->recovery.timers));
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, what_is_created_is_empty_and_has_its_mode);
	tcase_add_test(tests, its_group_is_given_where_that_can_be);
	tcase_add_test(tests, its_users_change_its_size);
	tcase_add_test(tests, a_creator_needs_no_permission);
	tcase_add_test(tests, there_is_one_or_none);
	tcase_add_test(tests, each_has_a_description_of_its_own);
	tcase_add_test(tests, truncating_empties_it);
	tcase_add_test(tests, names_have_their_rules);
	tcase_add_test(tests, it_is_for_our_own_user);
	tcase_add_test(tests, without_leases_nothing_is_opened);
	tcase_add_test(tests, no_owner_and_no_impossible_value);
	tcase_add_test(tests, it_is_not_attached);
	tcase_add_test(tests, what_is_brokered_opens_too);
	tcase_add_test(tests, it_ends_with_the_last_descriptor);
	tcase_add_test(tests, it_ends_with_the_last_mapping);
	tcase_add_test(tests, who_is_gone_at_once_leaves_nothing);
	tcase_add_test(tests, another_user_keeps_it);
	tcase_add_test(tests, its_session_is_no_user);
	tcase_add_test(tests, it_lingers);
	tcase_add_test(tests, persistent_stays_until_unlinked);
	tcase_add_test(tests, unlinking_drops_the_name_alone);
	tcase_add_test(tests, what_is_put_down_goes_to_the_heir);
	tcase_add_test(tests, a_maker_that_dies_with_it_hands_over_nothing);
	tcase_add_test(tests, a_maker_that_dies_then_hands_over_nothing_either);
	tcase_add_test(tests, without_an_heir_it_ends);
	tcase_add_test(tests, who_ends_by_itself_hands_over_all);
	tcase_add_test(tests, what_is_unlinked_is_kept_for_nobody);
	tcase_add_test(tests, an_heir_that_ends_in_disorder_leaves_nothing_behind);
	tcase_add_test(tests, what_is_brokered_is_handed_over_too);
	tcase_add_test(tests, what_was_reaped_can_be_unlinked_once);
	tcase_add_test(tests, a_new_one_is_unlinked_once_too);
	tcase_add_test(tests, of_many_that_were_reaped_the_oldest_are_forgotten);
	tcase_add_test(tests, limits_hold);
	tcase_add_test(tests, a_semaphore_is_ready_when_it_is_seen);
	tcase_add_test(tests, a_dead_holder_gives_its_permit_back);
	tcase_add_test(tests, another_value_is_nobodys_lock);
	tcase_add_test(tests, who_has_a_number_keeps_the_semaphore);
	tcase_add_test(tests, the_next_daemon_goes_on);
	tcase_add_test(tests, the_next_daemon_knows_the_heir);
	tcase_add_test(tests, what_nobody_has_ends_with_the_restart);
	tcase_add_test(tests, a_holder_dies_between_two_daemons);
	tcase_add_test(tests, nobody_looks_for_those_without_a_number);
}
