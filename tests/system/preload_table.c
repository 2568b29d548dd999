/* SPDX-License-Identifier: MIT */
/*
 * POSIX's functions in every case that has an answer of its own, told in lines: without the shim they are
 * what its lines have to be. Lines never tell names or numbers that differ from run to run.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <semaphore.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "preload_client.h"

static const char *error_name(int r)
{
	return r < 0 ? strerrorname_np(errno) : "ok";
}

/* --- shared memory ---------------------------------------------------------------------------- */

static void say_file(const char *what, int fd)
{
	struct stat st;

	if (fd < 0) {
		printf("%s: %s\n", what, error_name(fd));
		return;
	}
	must(fstat(fd, &st) == 0);
	printf("%s: fd %d%s, access %d, mode %o, size %jd, uid %u, gid %u\n", what, fd,
	       fcntl(fd, F_GETFD) & FD_CLOEXEC ? " closed on exec" : "",
	       fcntl(fd, F_GETFL) & O_ACCMODE, st.st_mode, (intmax_t)st.st_size, st.st_uid,
	       st.st_gid);
}

/* Opens, says, and closes. */
static void open_and_say(const char *what, const char *name, int oflag, mode_t mode)
{
	int fd = shm_open(name, oflag, mode);

	say_file(what, fd);
	if (fd >= 0)
		close(fd);
}

static void say(const char *what, int r)
{
	printf("%s: %s\n", what, error_name(r));
}

static void opening(void)
{
	const char *name = name_of("open");

	open_and_say("missing", name, O_RDWR, 0);
	open_and_say("missing, to truncate", name, O_RDWR | O_TRUNC, 0);
	open_and_say("missing, exclusively, but not to create", name, O_RDWR | O_EXCL, 0);
	open_and_say("new", name, O_RDWR | O_CREAT | O_EXCL, 0640);
	open_and_say("exclusively again", name, O_RDWR | O_CREAT | O_EXCL, 0640);
	open_and_say("created again", name, O_RDWR | O_CREAT, 0600);
	open_and_say("with nothing to create", name, O_RDWR | O_EXCL, 0);
	open_and_say("reading", name, O_RDONLY, 0);
	open_and_say("writing", name, O_WRONLY, 0);
	open_and_say("without a slash", name + 1, O_RDWR, 0);
	char slashes[300];
	snprintf(slashes, sizeof(slashes), "//%s", name);
	open_and_say("with more slashes", slashes, O_RDWR, 0);
	say("unlinked", shm_unlink(slashes));
	say("unlinked again", shm_unlink(name));
	open_and_say("after that", name, O_RDWR, 0);
	open_and_say("new and only to be read", name, O_RDONLY | O_CREAT, 0600);
	shm_unlink(name);
	open_and_say("new and truncated", name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	shm_unlink(name);
}

static void names(void)
{
	char text[400];

	static const char *const bad[] = {
		"", "/", "///", "a/b", "/a/b", "/a/", "/preload-test/none"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		printf("'%s'\n", bad[i]);
		open_and_say("  opened", bad[i], O_RDWR, 0);
		open_and_say("  created", bad[i], O_RDWR | O_CREAT, 0600);
		say("  unlinked", shm_unlink(bad[i]));
		say("  semaphore", sem_open(bad[i], O_CREAT, 0600, 1) == SEM_FAILED ? -1 : 0);
		say("  unlinked", sem_unlink(bad[i]));
	}
	static const unsigned lengths[] = {256, 257, 260, 300};
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		memset(text, 'a', lengths[i]);
		text[lengths[i]] = '\0';
		printf("%u bytes\n", lengths[i]);
		open_and_say("  created", text, O_RDWR | O_CREAT, 0600);
		say("  unlinked", shm_unlink(text));
		say("  semaphore", sem_open(text, O_CREAT, 0600, 1) == SEM_FAILED ? -1 : 0);
		say("  unlinked", sem_unlink(text));
	}
}

/* What root may do with it natively, whatever the mode, the daemon of root has no privilege for. */
static bool is_for_privileged(mode_t mode)
{
	return geteuid() == 0 && (mode & 0600) != 0600;
}

static void modes(void)
{
	static const mode_t all[] = {0777, 0666, 0640, 0444, 0200, 0000, 01777, 07777};
	static const mode_t masks[] = {022, 0, 077, 0777, 027};
	const char *name = name_of("mode");
	mode_t before = umask(022);

	for (size_t m = 0; m < sizeof(masks) / sizeof(masks[0]); m++)
		for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
			if (is_for_privileged(all[i] & ~masks[m]))
				continue;
			umask(masks[m]);
			printf("%03o without %03o\n", all[i], masks[m]);
			open_and_say("  created", name, O_RDWR | O_CREAT, all[i]);
			open_and_say("  read", name, O_RDONLY, 0);
			open_and_say("  written", name, O_WRONLY, 0);
			open_and_say("  both", name, O_RDWR, 0);
			open_and_say("  created again", name, O_RDWR | O_CREAT, 0777);
			shm_unlink(name);
			printf("  umask %03o\n", umask(022));
		}
	umask(before);
}

static void changing_modes(void)
{
	static const mode_t all[] = {0400, 0200, 0, 0666};
	const char *name = name_of("chmod");
	int fd = shm_open(name, O_RDWR | O_CREAT, 0600);

	must(fd >= 0);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (is_for_privileged(all[i]))
			continue;
		say("fchmod", fchmod(fd, all[i]));
		open_and_say("  read", name, O_RDONLY, 0);
		open_and_say("  written", name, O_WRONLY, 0);
		open_and_say("  both", name, O_RDWR, 0);
		open_and_say("  truncated", name, O_RDONLY | O_TRUNC, 0);
	}
	close(fd);
	say("unlinked", shm_unlink(name));
}

static void say_mapping(const char *what, int fd, int protection)
{
	char *p = mmap(NULL, 4096, protection, MAP_SHARED, fd, 0);

	say(what, p == MAP_FAILED ? -1 : 0);
	if (p != MAP_FAILED)
		munmap(p, 4096);
}

static void sizes(void)
{
	const char *name = name_of("size");
	char byte = 0;
	int fd = shm_open(name, O_RDWR | O_CREAT, 0600);

	must(fd >= 0);
	say("grown", ftruncate(fd, 10000));
	open_and_say("after that", name, O_RDWR, 0);
	say("shrunk", ftruncate(fd, 5000));
	open_and_say("after that", name, O_RDWR, 0);
	char *p = mmap(NULL, 5000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(p != MAP_FAILED);
	p[4999] = 'x';
	printf("read: %zd", pread(fd, &byte, 1, 4999));
	printf(" %c\n", byte);
	printf("written: %zd\n", pwrite(fd, "yz", 2, 4999));
	printf("mapped: %c\n", p[4999]);
	open_and_say("after that", name, O_RDWR, 0);
	say("allocated", posix_fallocate(fd, 0, 20000));
	open_and_say("after that", name, O_RDWR, 0);
	int reader = shm_open(name, O_RDONLY, 0);
	say("a reader grows it", ftruncate(reader, 1));
	say("a reader writes", (int)write(reader, "x", 1));
	say_mapping("a reader maps to read", reader, PROT_READ);
	say_mapping("a reader maps to write", reader, PROT_WRITE);
	int writer = shm_open(name, O_WRONLY, 0);
	say("a writer reads", (int)read(writer, &byte, 1));
	say_mapping("a writer maps", writer, PROT_WRITE);
	open_and_say("created again, truncated", name, O_RDWR | O_CREAT | O_TRUNC, 0);
	say("grown", ftruncate(fd, 100));
	open_and_say("truncated", name, O_RDWR | O_TRUNC, 0);
	say("grown again", ftruncate(fd, 100));
	open_and_say("truncated by a reader", name, O_RDONLY | O_TRUNC, 0);
	munmap(p, 5000);
	close(writer);
	close(reader);
	close(fd);
	shm_unlink(name);
}

static void unlinking(void)
{
	const char *name = name_of("unlink");
	char byte = 0;
	int former = shm_open(name, O_RDWR | O_CREAT, 0600);

	must(former >= 0 && write(former, "1", 1) == 1);
	say("unlinked", shm_unlink(name));
	open_and_say("it", name, O_RDWR, 0);
	int next = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	say_file("the next", next);
	say_file("the former", former);
	must(pread(former, &byte, 1, 0) == 1);
	printf("says %c\n", byte);
	say("unlinked", shm_unlink(name));
	close(former);
	close(next);
}

static void descriptors(void)
{
	const char *name = name_of("fd");
	struct rlimit limit, low;
	int holes[5];

	for (int i = 0; i < 5; i++)
		holes[i] = dup(STDERR_FILENO);
	close(holes[1]);
	close(holes[3]);
	int first = shm_open(name, O_RDWR | O_CREAT, 0600);
	int second = shm_open(name, O_RDWR, 0600);
	int third = shm_open(name, O_RDONLY, 0600);
	say_file("first", first);
	say_file("second", second);
	say_file("third", third);
	must(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	low = (struct rlimit){.rlim_cur = (rlim_t)third + 1, .rlim_max = limit.rlim_max};
	must(setrlimit(RLIMIT_NOFILE, &low) == 0);
	open_and_say("one too many", name, O_RDWR, 0);
	open_and_say("one too many, created", name_of("fd-none"), O_RDWR | O_CREAT, 0600);
	sem_t *semaphore = sem_open(name_of("fd-sem"), O_CREAT, 0600, 1);
	say("a semaphore", semaphore == SEM_FAILED ? -1 : 0);
	close(third);
	open_and_say("the last", name, O_RDWR, 0);
	semaphore = sem_open(name_of("fd-sem2"), O_CREAT, 0600, 1);
	say("a semaphore", semaphore == SEM_FAILED ? -1 : 0);
	must(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	open_and_say("what was not created", name_of("fd-none"), O_RDWR, 0);
	say("it", sem_open(name_of("fd-sem"), 0) == SEM_FAILED ? -1 : 0);
	if (semaphore != SEM_FAILED)
		sem_close(semaphore);
	sem_unlink(name_of("fd-sem2"));
	close(first);
	close(second);
	close(holes[0]);
	close(holes[2]);
	close(holes[4]);
	shm_unlink(name);
}

static void preserving_errno(void)
{
	const char *name = name_of("errno");

	errno = EDOM;
	int fd = shm_open(name, O_RDWR | O_CREAT, 0600);
	printf("opened: %s", strerrorname_np(errno));
	shm_unlink(name);
	printf(", unlinked: %s\n", strerrorname_np(errno));
	close(fd);
}

/* --- semaphores ------------------------------------------------------------------------------- */

static void say_semaphore(const char *what, sem_t *sem)
{
	int value = -1;

	if (sem == SEM_FAILED) {
		printf("%s: %s\n", what, strerrorname_np(errno));
		return;
	}
	must(sem_getvalue(sem, &value) == 0);
	printf("%s: value %d\n", what, value);
}

static void open_semaphores(void)
{
	const char *name = name_of("sem");

	say_semaphore("missing", sem_open(name, 0));
	say_semaphore("missing, exclusively, but not to create", sem_open(name, O_EXCL));
	say_semaphore("too large", sem_open(name, O_CREAT, 0600, SEM_VALUE_MAX + 1u));
	sem_t *sem = sem_open(name, O_CREAT | O_EXCL, 0600, 3);
	say_semaphore("new", sem);
	say_semaphore("exclusively again", sem_open(name, O_CREAT | O_EXCL, 0600, 3));
	say_semaphore("exclusively, too large",
		      sem_open(name, O_CREAT | O_EXCL, 0600, SEM_VALUE_MAX + 1u));
	sem_t *again = sem_open(name, O_CREAT, 0600, 5);
	say_semaphore("again", again);
	printf("the same: %d\n", sem == again);
	again = sem_open(name, O_CREAT, 0600, SEM_VALUE_MAX + 1u);
	say_semaphore("again, too large", again);
	printf("the same: %d\n", sem == again);
	again = sem_open(name + 1, O_EXCL);
	say_semaphore("without a slash", again);
	say("closed", sem_close(again));
	for (int i = 0; i < 2; i++)
		say("closed", sem_close(sem));
	say("posted", sem_post(sem));
	say_semaphore("open still", sem);
	say("unlinked", sem_unlink(name));
	say("unlinked again", sem_unlink(name));
	say_semaphore("gone", sem_open(name, 0));
	sem_t *next = sem_open(name, O_CREAT, 0600, SEM_VALUE_MAX);
	say_semaphore("the next", next);
	say_semaphore("the former", sem);
	printf("the same: %d\n", sem == next);
	say("posted once too often", sem_post(next));
	say("closed", sem_close(sem));
	say("closed", sem_close(next));
	say("unlinked", sem_unlink(name));
}

static struct timespec in_ms(clockid_t clock, long ms)
{
	struct timespec t;

	clock_gettime(clock, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += ms % 1000 * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return t;
}

static void wait_on(unsigned value)
{
	const char *name = name_of("wait");
	sem_t *sem = sem_open(name, O_CREAT, 0600, value);
	struct timespec past = {.tv_sec = 1}, before = {.tv_sec = -1}, soon;
	struct timespec bad = {.tv_nsec = 1000000000}, negative = {.tv_nsec = -1};

	say_semaphore("to wait on", sem);
	say("timed, too many nanoseconds", sem_timedwait(sem, &bad));
	say("clocked, too few nanoseconds", sem_clockwait(sem, CLOCK_MONOTONIC, &negative));
	say("clocked, another clock", sem_clockwait(sem, CLOCK_PROCESS_CPUTIME_ID, &past));
	for (unsigned i = 0; i < value; i++)
		say("waited", i % 2 ? sem_trywait(sem) : sem_wait(sem));
	say("tried", sem_trywait(sem));
	say("timed", sem_timedwait(sem, &past));
	say("timed", sem_timedwait(sem, &before));
	say("timed, too many nanoseconds", sem_timedwait(sem, &bad));
	soon = in_ms(CLOCK_REALTIME, 20);
	say("timed", sem_timedwait(sem, &soon));
	soon = in_ms(CLOCK_MONOTONIC, 20);
	say("clocked", sem_clockwait(sem, CLOCK_MONOTONIC, &soon));
	say("posted", sem_post(sem));
	say("posted", sem_post(sem));
	say_semaphore("posted", sem);
	soon = in_ms(CLOCK_REALTIME, 60000);
	say("timed", sem_timedwait(sem, &soon));
	soon = in_ms(CLOCK_MONOTONIC, 60000);
	say("clocked", sem_clockwait(sem, CLOCK_MONOTONIC, &soon));
	say_semaphore("at last", sem);
	say("closed", sem_close(sem));
	say("unlinked", sem_unlink(name));
}

static void wait_on_semaphores(void)
{
	wait_on(0);
	wait_on(1);
	wait_on(3);
}

static void semaphore_modes(void)
{
	static const mode_t all[] = {0666, 0600, 0400, 0};
	const char *name = name_of("sem-mode");

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (is_for_privileged(all[i]))
			continue;
		printf("%03o\n", all[i]);
		sem_t *sem = sem_open(name, O_CREAT, all[i], 1);
		say_semaphore("  new", sem);
		sem_t *again = sem_open(name, 0);
		say_semaphore("  again", again);
		if (again != SEM_FAILED)
			sem_close(again);
		if (sem != SEM_FAILED)
			sem_close(sem);
		say_semaphore("  later", again = sem_open(name, 0));
		if (again != SEM_FAILED)
			sem_close(again);
		sem_unlink(name);
	}
}

/* Memory and semaphores have names of their own. */
static void two_kinds(void)
{
	const char *name = name_of("both");
	int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	sem_t *sem = sem_open(name, O_CREAT | O_EXCL, 0600, 2);

	say_file("memory", fd);
	say_semaphore("semaphore", sem);
	say("unlinked", sem_unlink(name));
	open_and_say("memory still", name, O_RDWR, 0);
	say("unlinked", shm_unlink(name));
	close(fd);
	sem_close(sem);
}

/* Semaphores that are none of the daemon's, and those that it refuses to be asked for. */
static void unnamed(void)
{
	sem_t sem;

	say("made", sem_init(&sem, 0, 1));
	say("waited", sem_wait(&sem));
	say("tried", sem_trywait(&sem));
	say("posted", sem_post(&sem));
	say_semaphore("unnamed", &sem);
	sem_destroy(&sem);
}

static void nothing_left(void)
{
	int next = dup(STDERR_FILENO);

	printf("the next descriptor: %d\n", next);
	close(next);
}

static void table(void)
{
	static void (*const parts[])(void) = {opening,         names,
					      modes,           changing_modes,
					      sizes,           unlinking,
					      descriptors,     preserving_errno,
					      open_semaphores, wait_on_semaphores,
					      semaphore_modes, two_kinds,
					      unnamed,         nothing_left};

	setvbuf(stdout, NULL, _IONBF, 0);
	umask(022);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		parts[i]();
	must(fflush(stdout) == 0);
}

const struct act acts_table[] = {{"table", table}, {NULL}};
