/* SPDX-License-Identifier: MIT */
/*
 * What is published is whole, and stays as it is, whoever tries what; readers never see a generation go
 * back, whatever becomes of its writers.
 *
 * SHMD_TEST_WRITERS says how many writers are killed.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE      8192
#define OTHER_UID 64504

static struct test_daemon daemon_;
static struct shmd *connection;

static void set_up(void)
{
	daemon_start(&daemon_, NULL);
	connection = connect_or_fail();
}

static void tear_down(void)
{
	connection = shmd_disconnect(connection);
	daemon_stop(&daemon_);
}

/* --- making generations ----------------------------------------------------------------------- */

static struct shmd_segment *prepare_as(struct shmd *of, enum shmd_lifetime lifetime, size_t size)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *segment;

	options.lifetime = lifetime;
	options.mode = 0644;
	options.flags = SHMD_NO_SEMAPHORE;
	int r = shmd_create(of, NULL, size, &options, &segment);
	ck_assert_msg(r == 0, "create: %d %s", r, shmd_error_message());
	return segment;
}

static struct shmd_segment *prepare(const char *text)
{
	struct shmd_segment *segment = prepare_as(connection, SHMD_LIFETIME_CLIENTS, SIZE);

	strcpy(shmd_segment_data(segment), text);
	return segment;
}

static void publish_or_fail(struct shmd_segment *segment, const char *name, unsigned flags)
{
	int r = shmd_publish(segment, name, flags);

	ck_assert_msg(r == 0, "publish: %d %s", r, shmd_error_message());
}

static struct shmd_segment *publish_new(const char *name, const char *text)
{
	struct shmd_segment *segment = prepare(text);

	publish_or_fail(segment, name, 0);
	return segment;
}

static void expect_text(const char *name, const char *text)
{
	struct shmd_segment *segment = attach_or_fail(connection, name, SHMD_READ_ONLY);

	ck_assert_str_eq(shmd_segment_data(segment), text);
	shmd_detach(segment);
}

START_TEST(it_stays_where_it_was)
{
	struct shmd_segment *segment = prepare("one");
	char *data = shmd_segment_data(segment);
	int fd = shmd_segment_fd(segment);
	uint64_t id = shmd_segment_generation(segment);

	ck_assert(!segment_exists(connection, "frame"));
	publish_or_fail(segment, "/frame", 0);
	ck_assert_ptr_eq(shmd_segment_data(segment), data);
	ck_assert_str_eq(data, "one");
	ck_assert_int_eq(shmd_segment_fd(segment), fd);
	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	ck_assert_str_eq(shmd_segment_name(segment), "frame");
	ck_assert_uint_gt(shmd_segment_generation(segment), id);
	expect_text("frame", "one");
	ck_assert_int_eq(shmd_publish(segment, "again", 0), -EINVAL);
	shmd_detach(segment);
	/* The name is a user as long as its publisher is here. */
	expect_text("frame", "one");
	connection = shmd_disconnect(connection);
	connection = connect_or_fail();
	await_segments(connection, 0);
}
END_TEST

START_TEST(its_successor_takes_the_name)
{
	struct shmd_segment *first = publish_new("frame", "one");
	struct shmd_segment *reader = attach_or_fail(connection, "frame", SHMD_READ_ONLY);
	struct shmd_segment *second = publish_new("frame", "two");
	struct shmd_details *details;

	ck_assert_uint_gt(shmd_segment_generation(second), shmd_segment_generation(first));
	ck_assert_str_eq(shmd_segment_data(reader), "one");
	expect_text("frame", "two");
	ck_assert_int_eq(shmd_show(connection, "frame", &details), 0);
	ck_assert_int_eq(details->segment->sealed, 1);
	ck_assert_uint_eq(details->old_generations, 1);
	ck_assert_uint_eq(details->old_bytes, SIZE);
	shmd_details_free(details);
	shmd_detach(first);
	shmd_detach(reader);
	ck_assert_int_eq(shmd_show(connection, "frame", &details), 0);
	ck_assert_uint_eq(details->old_generations, 0);
	ck_assert_uint_eq(details->old_bytes, 0);
	shmd_details_free(details);
	shmd_detach(second);
}
END_TEST

START_TEST(writable_for_those_who_may)
{
	struct shmd_segment *segment = prepare("ready");

	publish_or_fail(segment, "state", SHMD_WRITABLE);
	struct shmd_segment *other = attach_or_fail(connection, "state", 0);
	ck_assert_str_eq(shmd_segment_data(other), "ready");
	strcpy(shmd_segment_data(other), "changed");
	ck_assert_str_eq(shmd_segment_data(segment), "changed");
	/* Nobody can seal it behind the others' back. */
	ck_assert_int_eq(fcntl(shmd_segment_fd(other), F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
	ck_assert_int_eq(errno, EPERM);
	shmd_detach(other);
	shmd_detach(segment);
}
END_TEST

START_TEST(arguments_are_checked)
{
	struct shmd_segment *named = create_or_fail(connection, "named", SIZE,
						    SHMD_LIFETIME_CLIENTS);
	struct shmd_segment *segment = prepare("x");
	char longest[SHMD_NAME_MAX + 2];

	memset(longest, 'n', sizeof(longest));
	longest[SHMD_NAME_MAX + 1] = '\0';
	ck_assert_int_eq(shmd_publish(named, "x", 0), -EINVAL);
	ck_assert_int_eq(shmd_publish(named, "x", SHMD_WRITABLE), -EINVAL);
	ck_assert_int_eq(shmd_publish(segment, NULL, 0), -EINVAL);
	ck_assert_int_eq(shmd_publish(segment, "", 0), -EINVAL);
	ck_assert_int_eq(shmd_publish(segment, "x", ~SHMD_WRITABLE), -EINVAL);
	ck_assert_int_eq(shmd_publish(segment, longest, 0), -ENAMETOOLONG);
	ck_assert_int_eq(shmd_publish(segment, "a/b", 0), -EINVAL);
	strcpy(shmd_segment_data(segment), "still writable, unless it was asked for");
	shmd_detach(named);
	shmd_detach(segment);
}
END_TEST

/* --- mappings that are left ------------------------------------------------------------------- */

START_TEST(a_mapping_that_is_left_is_told_of)
{
	struct shmd_segment *segment = prepare("one");
	char *data = shmd_segment_data(segment);
	char *other = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, shmd_segment_fd(segment),
			   0);

	ck_assert(other != MAP_FAILED);
	ck_assert_int_eq(shmd_publish(segment, "frame", 0), -EBUSY);
	ck_assert_ptr_nonnull(strstr(shmd_error_message(), "mapped for writing"));
	/* As it was. */
	ck_assert(!segment_exists(connection, "frame"));
	strcpy(data, "two");
	ck_assert_str_eq(other, "two");
	munmap(other, SIZE);
	publish_or_fail(segment, "frame", 0);
	expect_text("frame", "two");
	shmd_detach(segment);
}
END_TEST

static void hold(struct actor *self, void *context)
{
	(void)context;
	actor_tell(self);
	actor_await(self);
}

START_TEST(a_forked_child_has_one)
{
	struct shmd_segment *segment = prepare("one");
	struct actor child;

	actor_start(&child, hold, NULL);
	actor_await(&child);
	ck_assert_int_eq(shmd_publish(segment, "frame", 0), -EBUSY);
	strcpy(shmd_segment_data(segment), "two");
	actor_kill(&child);
	publish_or_fail(segment, "frame", 0);
	expect_text("frame", "two");
	shmd_detach(segment);
}
END_TEST

struct inheritance {
	struct shmd_segment *segment;
	const char *text;
};

static void read_and_lock_on(struct actor *self, void *context)
{
	const struct inheritance *inherited = context;
	struct shmd_segment *segment = inherited->segment;

	(void)self;
	ck_assert_str_eq(shmd_segment_data(segment), inherited->text);
	/* Its own attachment, by the generation and for reading. */
	ck_assert_int_eq(shmd_acquire(segment, 0), -ENOTSUP);
	ck_assert_str_eq(shmd_segment_data(segment), inherited->text);
	ck_assert_int_eq(fcntl(shmd_segment_fd(segment), F_GETFL) & O_ACCMODE, O_RDONLY);
}

START_TEST(a_child_inherits_what_was_published)
{
	struct inheritance inherited = {publish_new("frame", "one"), "one"};
	struct actor child;

	actor_start(&child, read_and_lock_on, &inherited);
	actor_finish(&child);
	shmd_detach(inherited.segment);
}
END_TEST

static void publish_inherited(struct actor *self, void *context)
{
	const struct inheritance *inherited = context;

	(void)self;
	/* The parent has it mapped, too. */
	ck_assert_int_eq(shmd_publish(inherited->segment, "frame", 0), -EBUSY);
	publish_or_fail(inherited->segment, "frame", SHMD_WRITABLE);
	expect_text("frame", inherited->text);
}

START_TEST(a_child_may_publish)
{
	struct inheritance inherited = {prepare("one"), "one"};
	struct actor child;

	actor_start(&child, publish_inherited, &inherited);
	actor_finish(&child);
	ck_assert_int_eq(shmd_publish(inherited.segment, "frame", 0), -EINVAL);
	ck_assert_int_eq(shmd_publish(inherited.segment, "frame", SHMD_WRITABLE), -EINVAL);
	strcpy(shmd_segment_data(inherited.segment), "two");
	shmd_detach(inherited.segment);
}
END_TEST

/* --- nobody can change it --------------------------------------------------------------------- */

/* One who tries: what the library gave, a descriptor from before, and one opened anew for writing. */
struct hands {
	char *data;
	int fd, before, again;
};

#define AS_ERRNO(call) ((call) < 0 ? -errno : 0)

static int map_writable(int fd)
{
	void *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? -errno : munmap(p, SIZE);
}

static int write_at(int fd)
{
	return AS_ERRNO(pwrite(fd, "bad", 3, 0));
}

static int try_write(const struct hands *hands)
{
	return write_at(hands->fd);
}

static int try_write_before(const struct hands *hands)
{
	return write_at(hands->before);
}

static int try_write_again(const struct hands *hands)
{
	return write_at(hands->again);
}

static int try_map(const struct hands *hands)
{
	return map_writable(hands->fd);
}

static int try_map_before(const struct hands *hands)
{
	return map_writable(hands->before);
}

static int try_map_again(const struct hands *hands)
{
	return map_writable(hands->again);
}

static int try_protect(const struct hands *hands)
{
	return AS_ERRNO(mprotect(hands->data, SIZE, PROT_READ | PROT_WRITE));
}

static int try_remove(const struct hands *hands)
{
	return AS_ERRNO(madvise(hands->data, SIZE, MADV_REMOVE));
}

static int try_hole(const struct hands *hands)
{
	return AS_ERRNO(
		fallocate(hands->again, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE));
}

static int try_zero(const struct hands *hands)
{
	return AS_ERRNO(fallocate(hands->again, FALLOC_FL_ZERO_RANGE, 0, SIZE));
}

static int try_shrink(const struct hands *hands)
{
	return AS_ERRNO(ftruncate(hands->again, 0));
}

static int try_grow(const struct hands *hands)
{
	return AS_ERRNO(ftruncate(hands->before, 2 * (off_t)SIZE));
}

static int try_truncate(const struct hands *hands)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", hands->fd);
	int fd = open(path, O_RDWR | O_TRUNC | O_CLOEXEC);
	int r = AS_ERRNO(fd);
	if (fd >= 0)
		close(fd);
	return r;
}

static int try_seal(const struct hands *hands)
{
	return AS_ERRNO(fcntl(hands->again, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
}

static int try_sendfile(const struct hands *hands)
{
	int file = memfd_create("source", MFD_CLOEXEC);
	off_t at = 0;

	ck_assert_int_eq(pwrite(file, "bad", 3, 0), 3);
	int r = AS_ERRNO(sendfile(hands->again, file, &at, 3));
	close(file);
	return r;
}

static int try_memory(const struct hands *hands)
{
	int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	int r = memory < 0 ? -errno
			   : AS_ERRNO(pwrite(memory, "bad", 3, (off_t)(uintptr_t)hands->data));

	if (memory >= 0)
		close(memory);
	return r;
}

static int try_process_memory(const struct hands *hands)
{
	char bad[] = "bad";
	struct iovec local = {bad, 3}, remote = {hands->data, 3};

	return AS_ERRNO(process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
}

/* A private copy changes nothing but itself. */
static int try_private(const struct hands *hands)
{
	char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, hands->fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	strcpy(p, "bad");
	munmap(p, SIZE);
	return 0;
}

static const struct {
	const char *what;
	int (*act)(const struct hands *hands);
	int expected; /* what the kernel says; 0: it lets that happen, and nothing follows */
} acts[] = {
	{"write", try_write, -EBADF},
	{"write by an old descriptor", try_write_before, -EPERM},
	{"write by one opened anew", try_write_again, -EPERM},
	{"map", try_map, -EACCES},
	{"map an old descriptor", try_map_before, -EPERM},
	{"map one opened anew", try_map_again, -EPERM},
	{"mprotect", try_protect, -EACCES},
	{"remove pages", try_remove, -EACCES},
	{"punch a hole", try_hole, -EPERM},
	{"zero a range", try_zero, -EOPNOTSUPP},
	{"shrink", try_shrink, -EPERM},
	{"grow", try_grow, -EPERM},
	{"truncate by opening", try_truncate, -EPERM},
	{"seal", try_seal, -EPERM},
	{"sendfile", try_sendfile, -EPERM},
	{"/proc/self/mem", try_memory, -EIO},
	{"process_vm_writev", try_process_memory, -EFAULT},
	{"a private mapping", try_private, 0},
};
#define N_ACTS (sizeof(acts) / sizeof(acts[0]))

static int open_again(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int again = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_msg(again >= 0, "open %s: %s", path, strerror(errno));
	return again;
}

static void try_everything(const struct hands *hands, const char *text)
{
	for (size_t i = 0; i < N_ACTS; i++) {
		int r = acts[i].act(hands);
		ck_assert_msg(r == acts[i].expected, "%s: %s", acts[i].what, strerror(-r));
		expect_text("frame", text);
		ck_assert_str_eq(hands->data, text);
	}
}

/* With the rights of the test's own user, which is root in most cases. */
START_TEST(its_maker_cannot_change_it)
{
	struct shmd_segment *segment = prepare("one");
	struct hands hands = {.data = shmd_segment_data(segment), .fd = shmd_segment_fd(segment)};

	hands.before = dup(hands.fd);
	publish_or_fail(segment, "frame", 0);
	hands.again = open_again(hands.fd);
	try_everything(&hands, "one");
	close(hands.before);
	close(hands.again);
	shmd_detach(segment);
}
END_TEST

static void change_as_other(struct actor *self, void *context)
{
	struct shmd_segment *segment;
	char path[64];

	(void)self, (void)context;
	ck_assert_int_eq(setgroups(0, NULL), 0);
	ck_assert_int_eq(setresgid(OTHER_UID, OTHER_UID, OTHER_UID), 0);
	ck_assert_int_eq(setresuid(OTHER_UID, OTHER_UID, OTHER_UID), 0);
	struct shmd *mine = connect_or_fail();
	ck_assert_int_eq(shmd_attach(mine, "frame", 0, &segment), -EACCES);
	ck_assert_int_eq(shmd_attach(mine, "frame", SHMD_READ_ONLY, &segment), 0);
	int fd = shmd_segment_fd(segment);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ck_assert_int_eq(open(path, O_RDWR | O_CLOEXEC), -1);
	ck_assert_int_eq(errno, EACCES);
	ck_assert_int_eq(write_at(fd), -EBADF);
	ck_assert_int_eq(map_writable(fd), -EACCES);
	ck_assert_int_eq(mprotect(shmd_segment_data(segment), SIZE, PROT_WRITE), -1);
	ck_assert_int_eq(shmd_unlink(mine, "frame"), -EACCES);
	/* Nor can it be replaced. */
	struct shmd_segment *own = prepare_as(mine, SHMD_LIFETIME_CLIENTS, SIZE);
	ck_assert_int_eq(shmd_publish(own, "frame", 0), -EACCES);
	ck_assert_ptr_nonnull(strstr(shmd_error_message(), "another user"));
	/* Sealed it is, and another name will do. */
	publish_or_fail(own, "others", 0);
	shmd_detach(own);
	shmd_detach(segment);
}

START_TEST(nor_can_others)
{
	struct actor other;

	if (geteuid() != 0)
		return;
	struct shmd_segment *segment = publish_new("frame", "one");
	ck_assert_int_eq(chmod(daemon_.socket, 0666), 0);
	actor_start(&other, change_as_other, NULL);
	actor_finish(&other);
	expect_text("frame", "one");
	shmd_detach(segment);
}
END_TEST

/* --- generations ------------------------------------------------------------------------------ */

START_TEST(the_next_daemon_goes_on)
{
	struct shmd_segment *old = publish_new("frame", "one");
	uint64_t generation = shmd_segment_generation(old);

	connection = shmd_disconnect(connection);
	daemon_kill(&daemon_);
	daemon_start_again(&daemon_);
	connection = connect_or_fail();
	struct shmd_segment *next = publish_new("frame", "two");
	ck_assert_uint_gt(shmd_segment_generation(next), generation);
	ck_assert_str_eq(shmd_segment_data(old), "one");
	shmd_detach(old);
	shmd_detach(next);
}
END_TEST

#define READERS 8
#define WORDS   (64 * 1024 / sizeof(uint64_t))

/* What a writer writes: a number that only grows, and words that follow from it. */
struct frame {
	uint64_t number;
	uint64_t sum;
	uint64_t words[WORDS];
};

/* In memory that all have. */
static struct scores {
	uint64_t last_number; /* of the frames, by whichever writer lives */
	struct score {
		uint64_t seen, torn, back;
	} readers[READERS];
} * scores;

static uint64_t next_word(uint64_t word)
{
	return word * UINT64_C(6364136223846793005) + 1442695040888963407;
}

static uint64_t sum_up(const struct frame *frame)
{
	uint64_t sum = frame->number;

	for (size_t i = 0; i < WORDS; i++)
		sum = sum * 31 + frame->words[i];
	return sum;
}

static void write_frame(struct frame *frame)
{
	uint64_t word = frame->number = ++scores->last_number;

	for (size_t i = 0; i < WORDS; i++)
		frame->words[i] = word = next_word(word);
	frame->sum = sum_up(frame);
}

static _Noreturn void write_on(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	struct shmd *mine = connect_or_fail();

	for (;;) {
		struct shmd_segment *segment = prepare_as(mine, SHMD_LIFETIME_PERSISTENT,
							  sizeof(struct frame));
		write_frame(shmd_segment_data(segment));
		publish_or_fail(segment, "frame", 0);
		shmd_detach(segment);
	}
}

static void look_at(const struct frame *frame, uint64_t *last_number, struct score *score)
{
	score->seen++;
	score->torn += frame->sum != sum_up(frame) || frame->words[0] != next_word(frame->number);
	score->back += frame->number <= *last_number;
	*last_number = frame->number;
}

static void read_on(struct actor *self, void *context)
{
	struct score *score = context;
	struct shmd *mine = connect_or_fail();
	struct shmd_segment *segment;
	uint64_t generation = 0, number = 0;
	int r;

	(void)self;
	while ((r = shmd_wait(mine, "frame", generation, 1000, SHMD_READ_ONLY, &segment)) == 0) {
		score->back += shmd_segment_generation(segment) <= generation;
		generation = shmd_segment_generation(segment);
		look_at(shmd_segment_data(segment), &number, score);
		shmd_detach(segment);
	}
	ck_assert_msg(r == -ETIMEDOUT, "wait: %d %s", r, shmd_error_message());
}

static unsigned number_from(const char *variable, unsigned standard)
{
	const char *text = getenv(variable);

	return text ? (unsigned)atoi(text) : standard;
}

static uint64_t kill_writers(unsigned n)
{
	unsigned slowness = getenv("SHMD_WRAPPER") ? 60 : 1;
	uint64_t most = 0;

	for (unsigned i = 0; i < n; i++) {
		pid_t writer = fork();
		if (writer == 0)
			write_on();
		usleep(slowness * (500 + i * 7919 % 15000));
		uint64_t bytes = status_bytes(connection);
		most = bytes > most ? bytes : most;
		kill(writer, SIGKILL);
		waitpid(writer, NULL, 0);
	}
	return most;
}

/* The memory is that of the newest, one that is being written, and one or two of each reader: one that
 * it has, and one that is on its way to it. */
START_TEST(writers_are_killed)
{
	unsigned n = number_from("SHMD_TEST_WRITERS", getenv("SHMD_WRAPPER") ? 10 : 200);
	uint64_t seen = 0, torn = 0, back = 0;
	struct actor readers[READERS];

	scores = mmap(NULL, sizeof(*scores), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	for (int i = 0; i < READERS; i++)
		actor_start(&readers[i], read_on, &scores->readers[i]);
	uint64_t most = kill_writers(n) / sizeof(struct frame);
	for (int i = 0; i < READERS; i++) {
		actor_finish(&readers[i]);
		seen += scores->readers[i].seen;
		torn += scores->readers[i].torn;
		back += scores->readers[i].back;
	}
	printf("# %u writers killed, %ju frames published or about to be, %ju seen by %d readers; "
	       "at "
	       "most %ju at once\n",
	       n, (uintmax_t)scores->last_number, (uintmax_t)seen, READERS, (uintmax_t)most);
	ck_assert_uint_eq(torn, 0);
	ck_assert_uint_eq(back, 0);
	ck_assert_uint_gt(seen, n);
	ck_assert_uint_le(most, 4 + 2 * READERS);
	ck_assert_int_eq(shmd_unlink(connection, "frame"), 0);
	await_segments(connection, 0);
	munmap(scores, sizeof(*scores));
}
END_TEST

#define PUBLISHERS 4
#define TURNS      50

static void publish_often(struct actor *self, void *context)
{
	struct shmd *mine = connect_or_fail();
	uint64_t last = 0;

	(void)self, (void)context;
	for (int i = 0; i < TURNS; i++) {
		struct shmd_segment *segment = prepare_as(mine, SHMD_LIFETIME_PERSISTENT, SIZE);
		*(uint64_t *)shmd_segment_data(segment) = (uint64_t)i;
		publish_or_fail(segment, "frame", 0);
		ck_assert_uint_gt(shmd_segment_generation(segment), last);
		last = shmd_segment_generation(segment);
		shmd_detach(segment);
	}
}

START_TEST(several_publishers_are_ordered)
{
	struct actor actors[PUBLISHERS];
	struct shmd_segment *segment;
	uint64_t generation = 0, seen = 0;
	int r;

	for (int i = 0; i < PUBLISHERS; i++)
		actor_start(&actors[i], publish_often, NULL);
	while ((r = shmd_wait(connection, "frame", generation, 500, SHMD_READ_ONLY, &segment)) ==
	       0) {
		ck_assert_uint_gt(shmd_segment_generation(segment), generation);
		generation = shmd_segment_generation(segment);
		shmd_detach(segment);
		seen++;
	}
	ck_assert_int_eq(r, -ETIMEDOUT);
	for (int i = 0; i < PUBLISHERS; i++)
		actor_finish(&actors[i]);
	ck_assert(seen > 1 && seen <= PUBLISHERS * TURNS);
	ck_assert_int_eq(shmd_unlink(connection, "frame"), 0);
	await_segments(connection, 0);
}
END_TEST

LEAVES_WITHOUT_A_WORD;

int main(void)
{
	Suite *suite = suite_create("publish");
	TCase *tests = tcase_create("publish");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, it_stays_where_it_was);
	tcase_add_test(tests, its_successor_takes_the_name);
	tcase_add_test(tests, writable_for_those_who_may);
	tcase_add_test(tests, arguments_are_checked);
	tcase_add_test(tests, a_mapping_that_is_left_is_told_of);
	tcase_add_test(tests, a_forked_child_has_one);
	tcase_add_test(tests, a_child_inherits_what_was_published);
	tcase_add_test(tests, a_child_may_publish);
	tcase_add_test(tests, its_maker_cannot_change_it);
	tcase_add_test(tests, nor_can_others);
	tcase_add_test(tests, the_next_daemon_goes_on);
	tcase_add_test(tests, writers_are_killed);
	tcase_add_test(tests, several_publishers_are_ordered);
	suite_add_tcase(suite, tests);
	return run_suite(suite);
}
