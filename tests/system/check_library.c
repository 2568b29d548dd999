/* SPDX-License-Identifier: MIT */
/* libshmd as programs use it: sharing, refusals, permits, threads, forks, and full tables. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct test_daemon daemon_;
static struct shmd *connection;

static void set_up(void)
{
	daemon_start(&daemon_, "[limits]\nbytes = 16G\nbytes_per_user = 8G\n");
	connection = connect_or_fail();
}

static void tear_down(void)
{
	connection = shmd_disconnect(connection);
	daemon_stop(&daemon_);
}

static int create_with(const struct shmd_options *options, struct shmd_segment **ret)
{
	return shmd_create(connection, "seg", 4096, options, ret);
}

/* --- sharing ---------------------------------------------------------------------------------- */

START_TEST(sizes_are_kept_to_the_byte)
{
	static const size_t sizes[] = {1, 64, 4095, 4096, 4097, 1 << 20, (1 << 20) + 1};
	size_t size = sizes[_i];
	struct shmd_segment *segment = create_or_fail(connection, "seg", size,
						      SHMD_LIFETIME_CLIENTS);
	struct stat st;

	ck_assert_uint_eq(shmd_segment_size(segment), size);
	ck_assert_int_eq(fstat(shmd_segment_fd(segment), &st), 0);
	ck_assert_int_eq(st.st_size, size);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	const char *data = shmd_segment_data(segment);
	for (size_t i = 0; i < size; i++)
		ck_assert_int_eq(data[i], 0);
	ck_assert_uint_eq(status_bytes(connection), size);
	shmd_detach(segment);
}
END_TEST

START_TEST(two_clients_share)
{
	struct shmd *other = connect_or_fail();
	struct shmd_segment *mine = create_or_fail(connection, "/seg", 64, SHMD_LIFETIME_CLIENTS);
	struct shmd_segment *theirs = attach_or_fail(other, "seg", 0);

	ck_assert_str_eq(shmd_segment_name(mine), "seg");
	ck_assert_int_eq(shmd_segment_is_new(mine), 1);
	ck_assert_int_eq(shmd_segment_is_new(theirs), 0);
	ck_assert_uint_eq(shmd_segment_generation(mine), shmd_segment_generation(theirs));
	ck_assert_uint_eq(shmd_segment_uid(theirs), getuid());
	strcpy(shmd_segment_data(mine), "there");
	ck_assert_str_eq(shmd_segment_data(theirs), "there");
	strcpy(shmd_segment_data(theirs), "back");
	ck_assert_str_eq(shmd_segment_data(mine), "back");
	shmd_detach(theirs);
	shmd_detach(mine);
	shmd_disconnect(other);
}
END_TEST

/* A sequence that does not repeat within any page or power of two (xorshift64). */
static uint64_t next_word(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static size_t filled_size(int i)
{
	const size_t sizes[] = {1, 4095, 4097, (1 << 20) + 1, large_size() / 4};

	return sizes[i];
}

/* Another process fills the segment. */
static void filler(struct actor *self, void *context)
{
	struct shmd_segment *segment = attach_or_fail(connect_or_fail(), "seg", 0);
	size_t size = shmd_segment_size(segment);
	char *data = shmd_segment_data(segment);
	uint64_t state = size, word;

	(void)self, (void)context;
	for (size_t i = 0; i < size; i += sizeof(word)) {
		word = next_word(&state);
		memcpy(data + i, &word, size - i < sizeof(word) ? size - i : sizeof(word));
	}
}

START_TEST(what_one_fills_another_reads)
{
	size_t size = filled_size(_i);
	struct shmd_segment *created = create_or_fail(connection, "seg", size,
						      SHMD_LIFETIME_CLIENTS);
	struct actor filling;

	actor_start(&filling, filler, NULL);
	actor_finish(&filling);
	struct shmd_segment *segment = attach_or_fail(connection, "seg", SHMD_READ_ONLY);
	const char *data = shmd_segment_data(segment);
	uint64_t state = size, word;
	for (size_t i = 0; i < size; i += sizeof(word)) {
		word = next_word(&state);
		if (memcmp(data + i, &word, size - i < sizeof(word) ? size - i : sizeof(word)) != 0)
			ck_abort_msg("another byte at %zu of %zu", i, size);
	}
	shmd_detach(segment);
	shmd_detach(created);
}
END_TEST

START_TEST(a_later_segment_has_a_greater_generation)
{
	struct shmd_segment *first = create_or_fail(connection, "seg", 1, SHMD_LIFETIME_CLIENTS);
	uint64_t generation = shmd_segment_generation(first);

	shmd_detach(first);
	struct shmd_segment *second = create_or_fail(connection, "seg", 1, SHMD_LIFETIME_CLIENTS);
	ck_assert_uint_gt(shmd_segment_generation(second), generation);
	shmd_detach(second);
}
END_TEST

START_TEST(nobody_can_change_the_size)
{
	struct shmd_segment *segment = create_or_fail(connection, "seg", 8192,
						      SHMD_LIFETIME_CLIENTS);
	int fd = shmd_segment_fd(segment);

	ck_assert_int_eq(ftruncate(fd, 0), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(ftruncate(fd, 16384), -1);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	ck_assert_int_eq(errno, EPERM);
	shmd_detach(segment);
}
END_TEST

START_TEST(prefault_maps_all_pages)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;
	struct shmd_details *details;

	options.flags = SHMD_PREFAULT;
	ck_assert_int_eq(shmd_create(connection, "seg", 1 << 20, &options, &segment), 0);
	ck_assert_int_eq(shmd_show(connection, "seg", &details), 0);
	ck_assert_uint_eq(details->segment->allocated, 1 << 20);
	shmd_details_free(details);
	struct shmd_segment *reader = attach_or_fail(connection, "seg",
						     SHMD_READ_ONLY | SHMD_PREFAULT);
	shmd_detach(reader);
	shmd_detach(segment);
}
END_TEST

START_TEST(mapping_outlives_the_connection)
{
	struct shmd *mine = connect_or_fail();
	struct shmd_segment *segment = create_or_fail(mine, "seg", 64, SHMD_LIFETIME_CLIENTS);

	shmd_disconnect(mine);
	strcpy(shmd_segment_data(segment), "still here");
	/* The daemon has no client of it, and still knows that it is in use. */
	ck_assert(segment_exists(connection, "seg"));
	shmd_detach(segment);
	await_gone(connection, "seg");
}
END_TEST

START_TEST(open_existing)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *first, *second, *third;

	options.flags = SHMD_OPEN_EXISTING;
	ck_assert_int_eq(create_with(&options, &first), 0);
	ck_assert_int_eq(shmd_segment_is_new(first), 1);
	ck_assert_int_eq(create_with(&options, &second), 0);
	ck_assert_int_eq(shmd_segment_is_new(second), 0);
	ck_assert_int_eq(shmd_create(connection, "seg", 4097, &options, &third), -EINVAL);
	ck_assert_ptr_nonnull(strstr(shmd_error_message(), "4096"));
	ck_assert_ptr_nonnull(strstr(shmd_error_message(), "4097"));
	shmd_detach(first);
	shmd_detach(second);
}
END_TEST

START_TEST(anonymous_segment)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	/* Nobody could unlink it, so even a persistent one ends with its users. */
	options.lifetime = SHMD_LIFETIME_PERSISTENT;
	ck_assert_int_eq(shmd_create(connection, NULL, 64, &options, &segment), 0);
	ck_assert_ptr_null(shmd_segment_name(segment));
	ck_assert_uint_eq(status_segments(connection), 1);
	shmd_detach(segment);
	await_segments(connection, 0);
}
END_TEST

START_TEST(huge_pages_or_a_clear_error)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	options.flags = SHMD_HUGE_PAGES | SHMD_PREFAULT;
	int r = shmd_create(connection, "seg", 2 << 20, &options, &segment);
	printf("# huge pages: %d %s\n", r, r < 0 ? shmd_error_message() : "");
	if (r == 0) {
		memset(shmd_segment_data(segment), 1, 2 << 20);
		shmd_detach(segment);
	} else {
		ck_assert(r == -ENOMEM || r == -ENOTSUP);
		ck_assert_ptr_nonnull(strstr(shmd_error_message(), "huge pages"));
	}
	await_segments(connection, 0);
}
END_TEST

/* --- refusals --------------------------------------------------------------------------------- */

static char long_name[SHMD_NAME_MAX + 2];

static const struct {
	const char *name;
	int result;
	const char *says;
} bad_names[] = {
	{"", -EINVAL, "empty"},
	{"/", -EINVAL, "empty"},
	{"a/b", -EINVAL, "'/'"},
	{"//a", -EINVAL, "'/'"},
	{".", -EINVAL, "cannot be a name"},
	{"..", -EINVAL, "cannot be a name"},
	{"tab\there", -EINVAL, "control character at byte 4"},
	{"bell\a", -EINVAL, "control character"},
	{"csi\xc2\x9b", -EINVAL, "control character"},
	{"\xff\xfe", -EINVAL, "not UTF-8 at byte 1"},
	{"cut\xc3", -EINVAL, "not UTF-8 at byte 4"},
	{long_name, -ENAMETOOLONG, "at most 200"},
};

START_TEST(bad_names_are_refused)
{
	struct shmd_segment *segment = NULL;
	const char *name = bad_names[_i].name;

	memset(long_name, 'x', sizeof(long_name) - 1);
	ck_assert_int_eq(shmd_create(connection, name, 1, NULL, &segment), bad_names[_i].result);
	ck_assert_msg(strstr(shmd_error_message(), bad_names[_i].says) != NULL, "it says: %s",
		      shmd_error_message());
	ck_assert_int_eq(shmd_attach(connection, name, 0, &segment), bad_names[_i].result);
	ck_assert_int_eq(shmd_unlink(connection, name), bad_names[_i].result);
	ck_assert_ptr_null(segment);
	ck_assert_uint_eq(status_segments(connection), 0);
}
END_TEST

START_TEST(good_names_are_taken)
{
	static const char *const names[] = {
		"a",  ".a",   "...",    "mit Leerzeichen", "\xc3\xa4\xe2\x82\xac",
		"-x", "%s%n", long_name};
	const char *name = names[_i];

	memset(long_name, 'x', SHMD_NAME_MAX);
	long_name[SHMD_NAME_MAX] = '\0';
	struct shmd_segment *segment = create_or_fail(connection, name, 1, SHMD_LIFETIME_CLIENTS);
	ck_assert_str_eq(shmd_segment_name(segment), name);
	ck_assert(segment_exists(connection, name));
	shmd_detach(segment);
}
END_TEST

START_TEST(bad_sizes_are_refused)
{
	static const struct {
		size_t size;
		int result;
		const char *says;
	} cases[] = {
		{0, -EINVAL, "size is 0"},
		{SIZE_MAX, -EINVAL, "18446744073709551615"},
		{(size_t)INT64_MAX, -EINVAL, "9223372036854775807"},
		{(size_t)9 << 30, -EDQUOT, "bytes_per_user=8589934592"},
	};
	struct shmd_segment *segment;

	ck_assert_int_eq(shmd_create(connection, "seg", cases[_i].size, NULL, &segment),
			 cases[_i].result);
	ck_assert_msg(strstr(shmd_error_message(), cases[_i].says) != NULL, "it says: %s",
		      shmd_error_message());
	ck_assert_uint_eq(status_segments(connection), 0);
	ck_assert_uint_eq(daemon_files(&daemon_, "sem."), 0);
}
END_TEST

START_TEST(bad_options_are_refused)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	options.struct_size = 8;
	ck_assert_int_eq(create_with(&options, &segment), -EINVAL);
	options = (struct shmd_options)SHMD_OPTIONS_INIT;
	options.mode = 01777;
	ck_assert_int_eq(create_with(&options, &segment), -EINVAL);
	options = (struct shmd_options)SHMD_OPTIONS_INIT;
	options.flags = SHMD_READ_ONLY;
	ck_assert_int_eq(create_with(&options, &segment), -EINVAL);
	options = (struct shmd_options)SHMD_OPTIONS_INIT;
	options.permits = 0;
	ck_assert_int_eq(create_with(&options, &segment), -EINVAL);
	options.permits = 1u << 31;
	ck_assert_int_eq(create_with(&options, &segment), -EINVAL);
	options = (struct shmd_options)SHMD_OPTIONS_INIT;
	options.lifetime = (enum shmd_lifetime)3;
	ck_assert_int_eq(create_with(&options, &segment), -EINVAL);
	options = (struct shmd_options)SHMD_OPTIONS_INIT;
	options.lifetime = SHMD_LIFETIME_PERSISTENT;
	options.linger_ms = 1;
	ck_assert_int_eq(create_with(&options, &segment), -EINVAL);
	ck_assert_ptr_nonnull(strstr(shmd_error_message(), "linger"));
	ck_assert_int_eq(shmd_attach(connection, "seg", SHMD_HUGE_PAGES, &segment), -EINVAL);
	ck_assert_int_eq(shmd_attach(connection, NULL, 0, &segment), -EINVAL);
	ck_assert_uint_eq(status_segments(connection), 0);
}
END_TEST

/* A newer program's options are longer; zeroes in what we do not know mean nothing. */
START_TEST(longer_options)
{
	struct {
		struct shmd_options known;
		unsigned long later;
	} options = {SHMD_OPTIONS_INIT, 0};
	struct shmd_segment *segment;

	options.known.struct_size = sizeof(options);
	ck_assert_int_eq(create_with(&options.known, &segment), 0);
	shmd_detach(segment);
	options.later = 1;
	ck_assert_int_eq(create_with(&options.known, &segment), -EINVAL);
}
END_TEST

START_TEST(what_does_not_exist)
{
	struct shmd_segment *segment;
	struct shmd_details *details;

	ck_assert_int_eq(shmd_attach(connection, "seg", 0, &segment), -ENOENT);
	ck_assert_ptr_nonnull(strstr(shmd_error_message(), "'seg'"));
	ck_assert_int_eq(shmd_unlink(connection, "seg"), -ENOENT);
	ck_assert_int_eq(shmd_show(connection, "seg", &details), -ENOENT);
	segment = create_or_fail(connection, "seg", 1, SHMD_LIFETIME_CLIENTS);
	struct shmd_segment *another;
	ck_assert_int_eq(shmd_create(connection, "seg", 1, NULL, &another), -EEXIST);
	shmd_detach(segment);
}
END_TEST

START_TEST(no_daemon_there)
{
	struct shmd *none;
	char path[200];

	ck_assert_int_eq(shmd_connect(&none, "/nonexistent/socket"), -ENOENT);
	ck_assert_ptr_nonnull(strstr(shmd_error_message(), "/nonexistent/socket"));
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	ck_assert_int_eq(shmd_connect(&none, path), -ENAMETOOLONG);
}
END_TEST

START_TEST(the_daemon_dies)
{
	struct shmd_segment *segment = create_or_fail(connection, "seg", 64, SHMD_LIFETIME_CLIENTS);
	struct shmd_segment *another;
	struct shmd *none;

	daemon_kill(&daemon_);
	ck_assert_int_eq(shmd_create(connection, "b", 1, NULL, &another), -ECONNRESET);
	ck_assert_int_eq(shmd_attach(connection, "seg", 0, &another), -ECONNRESET);
	ck_assert_int_eq(shmd_connect(&none, NULL), -ECONNREFUSED);
	strcpy(shmd_segment_data(segment), "mine");
	ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	ck_assert_int_eq(shmd_release(segment), 0);
	shmd_detach(segment);
	daemon_start_again(&daemon_);
}
END_TEST

/* --- permits ---------------------------------------------------------------------------------- */

START_TEST(semaphore_is_the_one_of_that_name)
{
	struct shmd_segment *segment = create_or_fail(connection, "seg", 1, SHMD_LIFETIME_CLIENTS);
	const char *name = shmd_segment_semaphore(segment);
	sem_t *raw = sem_open(name, 0);
	struct stat st;

	ck_assert_msg(strncmp(name, "shmd-", 5) == 0, "its name is %s", name);
	ck_assert_ptr_ne(raw, SEM_FAILED);
	ck_assert_int_ge(shmd_segment_semaphore_fd(segment), 0);
	ck_assert_int_eq(fstat(shmd_segment_semaphore_fd(segment), &st), 0);
	ck_assert_int_eq(st.st_size, sizeof(sem_t));

	ck_assert_int_eq(shmd_acquire(segment, -1), 0);
	ck_assert_int_eq(sem_trywait(raw), -1);
	ck_assert_int_eq(shmd_release(segment), 0);
	ck_assert_int_eq(sem_trywait(raw), 0);
	ck_assert_int_eq(shmd_acquire(segment, 0), -EAGAIN);
	ck_assert_int_eq(sem_post(raw), 0);
	ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	ck_assert_int_eq(shmd_release(segment), 0);
	sem_close(raw);
	shmd_detach(segment);
}
END_TEST

START_TEST(several_permits)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;
	struct shmd_details *details;

	options.permits = 3;
	ck_assert_int_eq(create_with(&options, &segment), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	ck_assert_int_eq(shmd_acquire(segment, 0), -EAGAIN);
	ck_assert_int_eq(shmd_release(segment), 0);
	ck_assert_int_eq(shmd_show(connection, "seg", &details), 0);
	ck_assert_uint_eq(details->segment->permits, 3);
	ck_assert_int_eq(details->permits_available, 1);
	shmd_details_free(details);
	ck_assert_int_eq(shmd_release(segment), 0);
	ck_assert_int_eq(shmd_release(segment), 0);
	ck_assert_int_eq(shmd_release(segment), -EPERM);
	shmd_detach(segment);
}
END_TEST

START_TEST(acquire_times_out)
{
	struct shmd_segment *segment = create_or_fail(connection, "seg", 1, SHMD_LIFETIME_CLIENTS);

	ck_assert_int_eq(shmd_acquire(segment, 100), 0);
	double before = now_ms();
	ck_assert_int_eq(shmd_acquire(segment, 50), -ETIMEDOUT);
	ck_assert_double_ge(now_ms() - before, 50);
	ck_assert_int_eq(shmd_acquire(segment, -2), -EINVAL);
	shmd_detach(segment);
}
END_TEST

static void on_alarm(int signal)
{
	(void)signal;
}

START_TEST(acquire_is_interrupted_by_a_handler)
{
	struct shmd_segment *segment = create_or_fail(connection, "seg", 1, SHMD_LIFETIME_CLIENTS);
	struct sigaction action = {.sa_handler = on_alarm};

	ck_assert_int_eq(shmd_acquire(segment, 0), 0);
	sigaction(SIGALRM, &action, NULL);
	ualarm(20000, 20000);
	ck_assert_int_eq(shmd_acquire(segment, -1), -EINTR);
	ualarm(0, 0);
	ck_assert_int_eq(shmd_release(segment), 0);
	ck_assert_int_eq(shmd_release(segment), -EPERM);
	shmd_detach(segment);
}
END_TEST

START_TEST(without_a_semaphore)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	options.flags = SHMD_NO_SEMAPHORE;
	ck_assert_int_eq(create_with(&options, &segment), 0);
	ck_assert_ptr_null(shmd_segment_semaphore(segment));
	ck_assert_int_eq(shmd_segment_semaphore_fd(segment), -1);
	ck_assert_int_eq(shmd_acquire(segment, 0), -ENOTSUP);
	ck_assert_int_eq(shmd_release(segment), -ENOTSUP);
	ck_assert_uint_eq(daemon_files(&daemon_, "sem."), 0);
	shmd_detach(segment);
}
END_TEST

START_TEST(readers)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *writer;

	options.flags = _i ? SHMD_READERS_LOCK : 0;
	ck_assert_int_eq(create_with(&options, &writer), 0);
	struct shmd_segment *reader = attach_or_fail(connection, "seg", SHMD_READ_ONLY);
	void *data = shmd_segment_data(reader);
	ck_assert_int_eq(mprotect(data, 4096, PROT_READ | PROT_WRITE), -1);
	ck_assert_int_eq(errno, EACCES);
	ck_assert_int_eq(write(shmd_segment_fd(reader), "x", 1), -1);
	ck_assert_int_eq(shmd_acquire(reader, 0), _i ? 0 : -EPERM);
	ck_assert_int_eq(shmd_release(reader), _i ? 0 : -EPERM);
	shmd_detach(reader);
	shmd_detach(writer);
}
END_TEST

/* --- file locks ------------------------------------------------------------------------------- */

static void flocker(struct actor *self, void *context)
{
	struct shmd_segment *segment = attach_or_fail(connect_or_fail(), "seg", 0);

	(void)context;
	ck_assert_int_eq(flock(shmd_segment_fd(segment), LOCK_EX), 0);
	actor_tell(self);
	actor_await(self);
}

START_TEST(flock_excludes_and_goes_with_its_holder)
{
	struct shmd_segment *segment = create_or_fail(connection, "seg", 1, SHMD_LIFETIME_CLIENTS);
	struct actor holder;

	actor_start(&holder, flocker, NULL);
	actor_await(&holder);
	ck_assert_int_eq(flock(shmd_segment_fd(segment), LOCK_EX | LOCK_NB), -1);
	ck_assert_int_eq(errno, EWOULDBLOCK);
	actor_kill(&holder);
	ck_assert_int_eq(flock(shmd_segment_fd(segment), LOCK_EX), 0);
	shmd_detach(segment);
}
END_TEST

/* --- forked children -------------------------------------------------------------------------- */

static struct shmd_segment *inherited;

static void child_makes_it_its_own(struct actor *self, void *context)
{
	char *data = shmd_segment_data(inherited);
	int fd = shmd_segment_fd(inherited);
	struct stat before, after;

	(void)context;
	ck_assert_str_eq(data, "from the parent");
	strcpy(data, "from the child");
	/* What the parent holds is the parent's. */
	ck_assert_int_eq(shmd_release(inherited), -EPERM);
	ck_assert_int_eq(fstat(fd, &before), 0);
	ck_assert_int_eq(shmd_acquire(inherited, 0), -EAGAIN);
	ck_assert_int_eq(shmd_release(inherited), -EPERM);
	ck_assert_ptr_eq(shmd_segment_data(inherited), data);
	ck_assert_int_eq(shmd_segment_fd(inherited), fd);
	ck_assert_int_eq(fstat(fd, &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	ck_assert_str_eq(data, "from the child");
	/* The file description is now the child's own. */
	ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), -1);
	actor_tell(self);
	actor_await(self);
	ck_assert_int_eq(shmd_acquire(inherited, 5000), 0);
	ck_assert_int_eq(shmd_release(inherited), 0);
	shmd_detach(inherited);
	/* The parent's connection is not ended by this. */
	shmd_disconnect(connection);
}

START_TEST(forked_child)
{
	struct actor child;

	inherited = create_or_fail(connection, "seg", 4096, SHMD_LIFETIME_CLIENTS);
	strcpy(shmd_segment_data(inherited), "from the parent");
	ck_assert_int_eq(shmd_acquire(inherited, 0), 0);
	ck_assert_int_eq(flock(shmd_segment_fd(inherited), LOCK_EX | LOCK_NB), 0);
	actor_start(&child, child_makes_it_its_own, NULL);
	actor_await(&child);
	ck_assert_int_eq(shmd_release(inherited), 0);
	actor_tell(&child);
	actor_finish(&child);
	ck_assert_str_eq(shmd_segment_data(inherited), "from the child");
	ck_assert(segment_exists(connection, "seg"));
	shmd_detach(inherited);
}
END_TEST

/* Its child makes the segment its own before the parent is killed with a file lock. */
static void locking_parent(struct actor *self, void *context)
{
	struct actor *heir = context;
	struct shmd *mine = connect_or_fail();
	struct shmd_segment *segment = create_or_fail(mine, "seg", 64, SHMD_LIFETIME_OWNER);

	ck_assert_int_eq(flock(shmd_segment_fd(segment), LOCK_EX), 0);
	if (fork() == 0) {
		ck_assert_int_eq(shmd_acquire(segment, 0), 0);
		actor_tell(heir);
		actor_await(heir);
		/* Nobody holds the parent's lock any more, not even by our mapping. */
		ck_assert_int_eq(flock(shmd_segment_fd(segment), LOCK_EX | LOCK_NB), 0);
		strcpy(shmd_segment_data(segment), "ours");
		ck_assert_int_eq(shmd_release(segment), 0);
		actor_tell(heir);
		_exit(0);
	}
	actor_tell(self);
	actor_await(self);
}

START_TEST(child_does_not_keep_its_parents_file_lock)
{
	struct actor parent, heir, heirs_side;
	int to[2], from[2];

	ck_assert_int_eq(pipe(to), 0);
	ck_assert_int_eq(pipe(from), 0);
	heir = (struct actor){.to = to[1], .from = from[0]};
	heirs_side = (struct actor){.to = from[1], .from = to[0]};
	actor_start(&parent, locking_parent, &heirs_side);
	actor_await(&parent);
	actor_await(&heir);
	actor_kill(&parent);
	actor_tell(&heir);
	actor_await(&heir);
	await_segments(connection, 0);
}
END_TEST

static void query_in_child(struct actor *self, void *context)
{
	(void)self, (void)context;
	ck_assert_uint_eq(status_segments(connection), 1);
	struct shmd_segment *another = create_or_fail(connection, "childs", 1,
						      SHMD_LIFETIME_CLIENTS);
	shmd_detach(another);
}

START_TEST(forked_child_uses_the_connection)
{
	struct shmd_segment *segment = create_or_fail(connection, "seg", 1, SHMD_LIFETIME_CLIENTS);

	for (int i = 0; i < 5; i++) {
		struct actor child;
		actor_start(&child, query_in_child, NULL);
		ck_assert(segment_exists(connection, "seg"));
		actor_finish(&child);
	}
	shmd_detach(segment);
}
END_TEST

/* --- threads ---------------------------------------------------------------------------------- */

#define THREADS       8
#define ROUNDS        100
#define PERMITS_TAKEN 3000

static void *thread(void *context)
{
	char name[32];

	for (int i = 0; i < ROUNDS; i++) {
		struct shmd_segment *segment, *again;
		snprintf(name, sizeof(name), "t%ld-%d", (long)(intptr_t)context, i);
		if (shmd_create(connection, name, 64, NULL, &segment) < 0 ||
		    shmd_attach(connection, name, SHMD_READ_ONLY, &again) < 0)
			return (void *)"cannot create or attach";
		strcpy(shmd_segment_data(segment), name);
		if (strcmp(shmd_segment_data(again), name) != 0)
			return (void *)"another thread's segment";
		if (shmd_attach(connection, "none", 0, &again) != -ENOENT ||
		    !strstr(shmd_error_message(), "'none'"))
			return (void *)"another thread's message";
		if (shmd_acquire(segment, -1) < 0 || shmd_release(segment) < 0)
			return (void *)"cannot lock";
		shmd_detach(segment);
		shmd_detach(again);
	}
	return NULL;
}

START_TEST(threads_share_a_connection)
{
	pthread_t threads[THREADS];
	void *complaint;

	for (intptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, thread, (void *)i), 0);
	for (int i = 0; i < THREADS; i++) {
		ck_assert_int_eq(pthread_join(threads[i], &complaint), 0);
		ck_assert_msg(complaint == NULL, "%s", (char *)complaint);
	}
	await_segments(connection, 0);
}
END_TEST

/* Some come with a question first, some for a permit. */
static void *first_call(void *context)
{
	static atomic_int order;
	bool asks_first = atomic_fetch_add(&order, 1) % 2;

	pthread_barrier_wait(context);
	if (asks_first && !segment_exists(connection, "seg"))
		return (void *)"cannot ask first";
	if (shmd_acquire(inherited, 5000) < 0)
		return (void *)"cannot acquire";
	if (shmd_release(inherited) < 0)
		return (void *)"cannot release";
	if (!segment_exists(connection, "seg"))
		return (void *)"cannot ask";
	return NULL;
}

static void threads_come_at_once(struct actor *self, void *context)
{
	pthread_t threads[THREADS];
	pthread_barrier_t barrier;
	void *complaint;

	(void)self, (void)context;
	pthread_barrier_init(&barrier, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, first_call, &barrier), 0);
	for (int i = 0; i < THREADS; i++) {
		ck_assert_int_eq(pthread_join(threads[i], &complaint), 0);
		ck_assert_msg(complaint == NULL, "%s: %s", (char *)complaint, shmd_error_message());
	}
}

/* One of them makes the inherited handles the child's own; none finds them half made. */
START_TEST(threads_of_a_forked_child)
{
	inherited = create_or_fail(connection, "seg", 64, SHMD_LIFETIME_CLIENTS);
	for (int i = 0; i < 20; i++) {
		struct actor child;
		actor_start(&child, threads_come_at_once, NULL);
		actor_finish(&child);
	}
	shmd_detach(inherited);
}
END_TEST

static void *cancelled_thread(void *context)
{
	/* Pending from the start: the first cancellation point would take it. */
	pthread_cancel(pthread_self());
	intptr_t r = shmd_acquire(inherited, 0);
	*(intptr_t *)context = r;
	pthread_testcancel();
	return NULL;
}

static void cancel_in_child(struct actor *self, void *context)
{
	intptr_t result = 1;
	pthread_t thread;
	void *returned;

	(void)self, (void)context;
	ck_assert_int_eq(pthread_create(&thread, NULL, cancelled_thread, &result), 0);
	ck_assert_int_eq(pthread_join(thread, &returned), 0);
	ck_assert_ptr_eq(returned, PTHREAD_CANCELED);
	ck_assert_int_eq(result, 0);
	/* The permit is this process's, and nothing is locked for ever. */
	ck_assert_int_eq(shmd_release(inherited), 0);
	ck_assert(segment_exists(connection, "seg"));
}

/* The first call in a child connects and attaches, which has many cancellation points inside. */
START_TEST(acquire_is_no_cancellation_point)
{
	struct actor child;

	inherited = create_or_fail(connection, "seg", 64, SHMD_LIFETIME_CLIENTS);
	actor_start(&child, cancel_in_child, NULL);
	actor_finish(&child);
	shmd_detach(inherited);
}
END_TEST

static void *counting_thread(void *context)
{
	struct shmd_segment *segment = context;
	volatile long *count = shmd_segment_data(segment);

	for (int i = 0; i < PERMITS_TAKEN; i++) {
		if (shmd_acquire(segment, -1) < 0)
			return (void *)"cannot acquire";
		++*count;
		if (shmd_release(segment) < 0)
			return (void *)"cannot release";
	}
	return NULL;
}

START_TEST(threads_share_a_semaphore)
{
	struct shmd_segment *segment = create_or_fail(connection, "seg", sizeof(long),
						      SHMD_LIFETIME_CLIENTS);
	pthread_t threads[THREADS];
	void *complaint;

	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, counting_thread, segment), 0);
	for (int i = 0; i < THREADS; i++) {
		ck_assert_int_eq(pthread_join(threads[i], &complaint), 0);
		ck_assert_ptr_null(complaint);
	}
	ck_assert_int_eq(*(long *)shmd_segment_data(segment), THREADS * (long)PERMITS_TAKEN);
	shmd_detach(segment);
}
END_TEST

/* --- full tables ------------------------------------------------------------------------------ */

static void limit_descriptors(rlim_t n)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = n;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* With no descriptor left, and with one too few: what was granted is given back. */
START_TEST(full_descriptor_table)
{
	struct shmd *other = connect_or_fail();
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment = create_or_fail(other, "seg", 64, SHMD_LIFETIME_CLIENTS);
	struct shmd_segment *another = NULL;
	unsigned before = count_descriptors(getpid());
	int lowest = dup(0);

	/* valgrind keeps a limit on descriptors of its own. */
	if (getenv("SHMD_WRAPPER")) {
		shmd_detach(segment);
		shmd_disconnect(other);
		return;
	}
	close(lowest);
	limit_descriptors((rlim_t)(lowest + _i));
	ck_assert_int_eq(shmd_attach(connection, "seg", 0, &another), -EMFILE);
	options.lifetime = SHMD_LIFETIME_PERSISTENT;
	ck_assert_int_eq(shmd_create(connection, "b", 64, &options, &another), -EMFILE);
	limit_descriptors(1024);
	ck_assert_ptr_null(another);
	ck_assert_uint_eq(count_descriptors(getpid()), before);
	ck_assert_uint_eq(clients_of(connection, "seg"), 1);
	ck_assert(!segment_exists(connection, "b"));
	shmd_detach(attach_or_fail(connection, "seg", 0));
	shmd_detach(segment);
	shmd_disconnect(other);
	await_segments(connection, 0);
}
END_TEST

/* Sanitizers and valgrind need more address space than that for themselves. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CAN_LIMIT_ADDRESS_SPACE 1
START_TEST(full_address_space)
{
	struct rlimit limit = {.rlim_cur = (rlim_t)4 << 30, .rlim_max = RLIM_INFINITY};
	struct shmd_segment *segment;

	if (getenv("SHMD_WRAPPER") || setrlimit(RLIMIT_AS, &limit) < 0)
		return;
	ck_assert_int_eq(shmd_create(connection, "seg", (size_t)8 << 30, NULL, &segment), -ENOMEM);
	ck_assert(!segment_exists(connection, "seg"));
	await_segments(connection, 0);
}
END_TEST
#endif

/* --- queries ---------------------------------------------------------------------------------- */

static int count_segment(const struct shmd_segment_info *info, void *context)
{
	(void)info;
	++*(int *)context;
	return 0;
}

static int stop_at_three(const struct shmd_segment_info *info, void *context)
{
	(void)info;
	return ++*(int *)context == 3 ? 33 : 0;
}

START_TEST(listing_is_paged)
{
	enum { N = 300 };
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segments[N];
	char name[32];
	int n = 0;

	options.flags = SHMD_NO_SEMAPHORE;
	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "seg-%d", i);
		ck_assert_int_eq(shmd_create(connection, name, 1, &options, &segments[i]), 0);
	}
	ck_assert_int_eq(shmd_list(connection, NULL, count_segment, &n), 0);
	ck_assert_int_eq(n, N);
	n = 0;
	ck_assert_int_eq(shmd_list(connection, "seg-1?", count_segment, &n), 0);
	ck_assert_int_eq(n, 10);
	n = 0;
	ck_assert_int_eq(shmd_list(connection, NULL, stop_at_three, &n), 33);
	ck_assert_int_eq(n, 3);
	for (int i = 0; i < N; i++)
		shmd_detach(segments[i]);
}
END_TEST

static int find_self(const struct shmd_client_info *info, void *context)
{
	if (info->pid == getpid()) {
		ck_assert_uint_eq(info->segments, 1);
		ck_assert_uint_eq(info->bytes, 4096);
		ck_assert_uint_eq(info->uid, getuid());
		ck_assert_uint_gt(strlen(info->command), 0);
		++*(int *)context;
	}
	return 0;
}

START_TEST(clients_are_told_of)
{
	struct shmd_segment *segment = create_or_fail(connection, "seg", 4096,
						      SHMD_LIFETIME_CLIENTS);
	struct shmd_segment *again = attach_or_fail(connection, "seg", SHMD_READ_ONLY);
	struct shmd_details *details;
	int n = 0;

	ck_assert_int_eq(shmd_clients(connection, find_self, &n), 0);
	ck_assert_int_eq(n, 1);
	ck_assert_int_eq(shmd_show(connection, "seg", &details), 0);
	ck_assert_uint_eq(details->n_attachments, 1);
	ck_assert_int_eq(details->attachments[0]->pid, getpid());
	ck_assert_int_eq(details->attachments[0]->read_only, 0);
	shmd_details_free(details);
	shmd_detach(segment);
	ck_assert_int_eq(shmd_show(connection, "seg", &details), 0);
	ck_assert_int_eq(details->attachments[0]->read_only, 1);
	shmd_details_free(details);
	shmd_detach(again);
}
END_TEST

START_TEST(destructors_take_null)
{
	ck_assert_ptr_null(shmd_disconnect(NULL));
	ck_assert_ptr_null(shmd_detach(NULL));
	ck_assert_ptr_null(shmd_status_free(NULL));
	ck_assert_ptr_null(shmd_details_free(NULL));
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static TCase *add_case(Suite *suite, const char *name)
{
	TCase *tests = tcase_create(name);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 120);
	suite_add_tcase(suite, tests);
	return tests;
}

static void add_sharing(Suite *suite)
{
	TCase *tests = add_case(suite, "sharing");

	tcase_add_loop_test(tests, sizes_are_kept_to_the_byte, 0, 7);
	tcase_add_test(tests, two_clients_share);
	tcase_add_loop_test(tests, what_one_fills_another_reads, 0, 5);
	tcase_add_test(tests, a_later_segment_has_a_greater_generation);
	tcase_add_test(tests, nobody_can_change_the_size);
	tcase_add_test(tests, prefault_maps_all_pages);
	tcase_add_test(tests, mapping_outlives_the_connection);
	tcase_add_test(tests, open_existing);
	tcase_add_test(tests, anonymous_segment);
	tcase_add_test(tests, huge_pages_or_a_clear_error);
}

static void add_refusals(Suite *suite)
{
	TCase *tests = add_case(suite, "refusals");

	tcase_add_loop_test(tests, bad_names_are_refused, 0, COUNT(bad_names));
	tcase_add_loop_test(tests, good_names_are_taken, 0, 8);
	tcase_add_loop_test(tests, bad_sizes_are_refused, 0, 4);
	tcase_add_test(tests, bad_options_are_refused);
	tcase_add_test(tests, longer_options);
	tcase_add_test(tests, what_does_not_exist);
	tcase_add_test(tests, no_daemon_there);
	tcase_add_test(tests, the_daemon_dies);
}

static void add_permits(Suite *suite)
{
	TCase *tests = add_case(suite, "permits");

	tcase_add_test(tests, semaphore_is_the_one_of_that_name);
	tcase_add_test(tests, several_permits);
	tcase_add_test(tests, acquire_times_out);
	tcase_add_test(tests, acquire_is_interrupted_by_a_handler);
	tcase_add_test(tests, without_a_semaphore);
	tcase_add_loop_test(tests, readers, 0, 2);
	tcase_add_test(tests, flock_excludes_and_goes_with_its_holder);
}

static void add_processes(Suite *suite)
{
	TCase *tests = add_case(suite, "processes");

	tcase_add_test(tests, forked_child);
	tcase_add_test(tests, child_does_not_keep_its_parents_file_lock);
	tcase_add_test(tests, forked_child_uses_the_connection);
	tcase_add_test(tests, threads_share_a_connection);
	tcase_add_test(tests, threads_share_a_semaphore);
	tcase_add_test(tests, threads_of_a_forked_child);
	tcase_add_test(tests, acquire_is_no_cancellation_point);
	tcase_add_loop_test(tests, full_descriptor_table, 0, 2);
#ifdef CAN_LIMIT_ADDRESS_SPACE
	tcase_add_test(tests, full_address_space);
#endif
}

static void add_queries(Suite *suite)
{
	TCase *tests = add_case(suite, "queries");

	tcase_add_test(tests, listing_is_paged);
	tcase_add_test(tests, clients_are_told_of);
	tcase_add_test(tests, destructors_take_null);
}

int main(void)
{
	Suite *suite = suite_create("library");

	add_sharing(suite);
	add_refusals(suite);
	add_permits(suite);
	add_processes(suite);
	add_queries(suite);
	return run_suite(suite);
}
