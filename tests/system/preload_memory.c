/* SPDX-License-Identifier: MIT */
/* Shared memory, and the connection that stands behind the program's back. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "preload_client.h"

#define SIZE 8192

static char *map_or_fail(int fd)
{
	char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	must(p != MAP_FAILED);
	return p;
}

static char *make(const char *name)
{
	int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);

	must(fd >= 0 && ftruncate(fd, SIZE) == 0);
	char *p = map_or_fail(fd);
	close(fd);
	return p;
}

/* Whether a file of that name is in /dev/shm, where nothing of the daemon's is. */
static bool is_native(const char *name)
{
	char path[300];

	snprintf(path, sizeof(path), "/dev/shm%s", name);
	return access(path, F_OK) == 0;
}

/* --- lifetimes -------------------------------------------------------------------------------- */

/* Has a mapping of it, and nothing else, until told to go on. */
static void hold(void)
{
	strcpy(make(name_of("held")), "held");
	tell();
	await();
}

/* Goes, and leaves a child that has inherited the mapping. */
static void leave_to_child(void)
{
	char *p = make(name_of("inherited"));

	strcpy(p, "here");
	pid_t pid = fork();
	must(pid >= 0);
	if (pid > 0)
		return;
	tell();
	await();
	must(strcmp(p, "here") == 0);
}

static void make_and_leave(void)
{
	strcpy(make("/preload-test-left"), "left");
}

static void find_left(void)
{
	int fd = shm_open("/preload-test-left", O_RDWR, 0);

	must(fd >= 0);
	must(strcmp(map_or_fail(fd), "left") == 0);
	must(shm_unlink("/preload-test-left") == 0);
}

/* Two programs that have nothing in common but the name. */
static void write_there(void)
{
	strcpy(make("/preload-test-shared"), "hello");
	tell();
	await();
}

static void read_there(void)
{
	int fd = shm_open("/preload-test-shared", O_RDONLY, 0);

	must(fd >= 0);
	char *p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	must(p != MAP_FAILED && strcmp(p, "hello") == 0);
}

/* --- the connection --------------------------------------------------------------------------- */

/* The number of the only socket; -1 if there is none. */
static int find_socket(void)
{
	DIR *folder = opendir("/proc/self/fd");
	int found = -1;

	must(folder);
	for (struct dirent *entry; (entry = readdir(folder));) {
		struct stat st;
		int fd = atoi(entry->d_name);
		if (entry->d_name[0] != '.' && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode) &&
		    fd > STDERR_FILENO)
			found = fd;
	}
	closedir(folder);
	return found;
}

static void expect_lowest(const char *name)
{
	int lowest = dup(STDERR_FILENO);

	close(lowest);
	int fd = shm_open(name, O_RDWR, 0);
	must(fd == lowest);
	close(fd);
}

static void close_everything(void)
{
	const char *name = name_of("closed");
	char *p = make(name);

	must(find_socket() >= 0);
	closefrom(STDERR_FILENO + 1);
	must(find_socket() < 0);
	expect_lowest(name);
	must(find_socket() >= 0);
	closefrom(STDERR_FILENO + 1);
	sem_t *sem = sem_open(name, O_CREAT, 0600, 1);
	must(sem != SEM_FAILED && sem_close(sem) == 0);
	must(!is_native(name));
	closefrom(STDERR_FILENO + 1);
	must(shm_unlink(name) == 0);
	p[0] = 'x';
}

/* What stands in its place is the program's, and is neither used nor closed. */
static void take_place(int fd, int ret_pair[2])
{
	must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ret_pair) == 0);
	must(dup2(ret_pair[0], fd) == fd && close(ret_pair[0]) == 0);
	ret_pair[0] = fd;
}

static void expect_untouched(const int pair[2])
{
	char byte = 0;

	must(recv(pair[1], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
	must(write(pair[1], "y", 1) == 1);
	must(read(pair[0], &byte, 1) == 1 && byte == 'y');
}

static void take_its_place(void)
{
	const char *name = name_of("place");
	int pair[2];

	make(name);
	int fd = find_socket();
	must(fd >= 0);
	take_place(fd, pair);
	for (int i = 0; i < 3; i++)
		expect_lowest(name);
	expect_untouched(pair);
	must(shm_unlink(name) == 0);
}

/* A semaphore with a lock is let go of at the daemon. */
static void take_its_place_and_close(void)
{
	const char *name = name_of("place");
	sem_t *sem = sem_open(name, O_CREAT, 0600, 1);
	int pair[2];

	must(sem != SEM_FAILED && sem_unlink(name) == 0);
	take_place(find_socket(), pair);
	/* Who is waited for there never answers. */
	alarm(5);
	must(sem_close(sem) == 0);
	expect_untouched(pair);
}

/* It does not count among the descriptors that a program expects to have. */
static void few_descriptors(void)
{
	struct rlimit limit = {64, 64};
	const char *name = name_of("few");

	make(name);
	must(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	int n = 0, last = 0, fd, lowest;
	while ((lowest = dup(STDERR_FILENO)) >= 0) {
		close(lowest);
		fd = shm_open(name, O_RDWR, 0);
		must(fd == lowest);
		last = fd;
		n++;
	}
	must(n > 64 - 32);
	must(shm_open(name, O_RDWR, 0) < 0 && errno == EMFILE);
	must(shm_open(name_of("few-none"), O_RDWR | O_CREAT, 0600) < 0 && errno == EMFILE);
	must(sem_open(name_of("few-none"), O_CREAT, 0600, 1) == SEM_FAILED && errno == EMFILE);
	close(last);
	must(shm_open(name, O_RDWR, 0) == last);
}

/* --- a daemon that is there or not ------------------------------------------------------------ */

static void await_brokered(const char *word)
{
	double deadline = now_ms() + 20000;
	bool native;

	do {
		const char *name = name_of(word);
		int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
		must(fd >= 0);
		native = is_native(name);
		must(shm_unlink(name) == 0);
		must(shm_open(name, O_RDWR, 0) < 0 && errno == ENOENT);
		close(fd);
		must(now_ms() < deadline);
	} while (native);
}

static void use_native(const char *word)
{
	const char *name = name_of(word);
	int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);

	must(fd >= 0 && close(fd) == 0);
	must(is_native(name));
	must(shm_unlink(name) == 0);
	must(!is_native(name));
	sem_t *sem = sem_open(name, O_CREAT | O_EXCL, 0600, 1);
	must(sem != SEM_FAILED && sem_wait(sem) == 0 && sem_post(sem) == 0);
	must(sem_unlink(name) == 0 && sem_close(sem) == 0);
}

static void survive_restart(void)
{
	const char *name = name_of("former"), *semaphore = name_of("former-sem");

	strcpy(make(name), "former");
	must(!is_native(name));
	sem_t *sem = sem_open(semaphore, O_CREAT, 0600, 1);
	must(sem != SEM_FAILED);
	tell();
	/* There is no daemon now. */
	await();
	use_native("without");
	must(sem_wait(sem) == 0 && sem_trywait(sem) < 0 && sem_post(sem) == 0);
	int pair[2], fd = find_socket();
	if (fd >= 0)
		take_place(fd, pair);
	tell();
	/* There is another one. */
	await();
	await_brokered("again");
	must(sem_wait(sem) == 0 && sem_post(sem) == 0);
	sem_t *next = sem_open(semaphore, O_CREAT | O_EXCL, 0600, 7);
	int value;
	must(next != SEM_FAILED && next != sem);
	must(sem_getvalue(next, &value) == 0 && value == 7);
	must(sem_close(sem) == 0 && sem_close(next) == 0);
	if (fd >= 0)
		expect_untouched(pair);
}

/* All fail in one way, which does not look as if there were no such name. */
static void be_refused(void)
{
	const char *name = name_of("refused");

	must(shm_open(name, O_RDWR | O_CREAT, 0600) < 0 && errno == ECONNREFUSED);
	must(shm_open(name, O_RDWR, 0) < 0 && errno == ECONNREFUSED);
	must(shm_unlink(name) < 0 && errno == ECONNREFUSED);
	must(sem_open(name, O_CREAT, 0600, 1) == SEM_FAILED && errno == ECONNREFUSED);
	must(sem_open(name, 0) == SEM_FAILED && errno == ECONNREFUSED);
	must(sem_unlink(name) < 0 && errno == ECONNREFUSED);
	must(!is_native(name));
}

static void go_native(void)
{
	use_native("native");
}

static void go_brokered(void)
{
	await_brokered("brokered");
}

/* A bad value in the environment. */
static void be_invalid(void)
{
	must(shm_open(name_of("bad"), O_RDWR | O_CREAT, 0600) < 0 && errno == EINVAL);
	must(sem_open(name_of("bad"), O_CREAT, 0600, 1) == SEM_FAILED && errno == EINVAL);
	must(!is_native(name_of("bad")));
}

/* What others made without the daemon is found, and unlinked. */
static void find_native(void)
{
	char path[300];
	const char *name = name_of("others");

	snprintf(path, sizeof(path), "/dev/shm%s", name);
	int file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	must(file >= 0 && write(file, "theirs", 6) == 6);
	int fd = shm_open(name, O_RDWR, 0);
	struct stat a, b;
	must(fd >= 0 && fstat(file, &a) == 0 && fstat(fd, &b) == 0);
	must(a.st_dev == b.st_dev && a.st_ino == b.st_ino);
	must(shm_unlink(name) == 0 && !is_native(name));
	must(shm_unlink(name) < 0 && errno == ENOENT);
}

/* --- threads and forks ------------------------------------------------------------------------ */

#define THREADS 4
#define FORKS   300

static bool is_over;

static void use_once(const char *name)
{
	int fd = shm_open(name, O_RDWR | O_CREAT, 0600);
	sem_t *sem = sem_open(name, O_CREAT, 0600, 1);

	must(fd >= 0 && sem != SEM_FAILED);
	must(sem_post(sem) == 0 && sem_wait(sem) == 0);
	must(sem_close(sem) == 0 && close(fd) == 0);
}

static void *use_often(void *name)
{
	while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED))
		use_once(name);
	return NULL;
}

static const char *word;

static void use_one(void)
{
	use_once(name_of(word));
}

/* In many moments of what the threads do. The children then do the same. */
static void storm(void)
{
	static const char *const words[] = {"a", "b", "c", "d"};
	pthread_t threads[THREADS];
	pid_t children[8] = {0};

	for (int i = 0; i < THREADS; i++)
		must(pthread_create(&threads[i], NULL, use_often, (void *)name_of(words[i])) == 0);
	for (int i = 0; i < FORKS; i++) {
		pid_t *child = &children[i % 8];
		if (*child)
			finish(*child);
		word = words[i % THREADS];
		*child = spawn(use_one);
	}
	for (int i = 0; i < 8; i++)
		finish(children[i]);
	__atomic_store_n(&is_over, true, __ATOMIC_RELAXED);
	for (int i = 0; i < THREADS; i++)
		must(pthread_join(threads[i], NULL) == 0);
}

/* Children of children, each by a connection of its own. */
static void descend(void)
{
	const char *name = name_of("descend");
	char *p = make(name);
	pid_t pid = 0;

	for (int depth = 0; depth < 10 && pid == 0; depth++) {
		pid = fork();
		must(pid >= 0);
		if (pid > 0) {
			finish(pid);
			break;
		}
		int fd = shm_open(name, O_RDWR, 0);
		must(fd >= 0);
		must(map_or_fail(fd)[depth]++ == 0);
		must(p[depth] == 1);
	}
	if (pid == 0)
		_exit(0);
	must(shm_open(name, O_RDWR, 0) >= 0);
}

const struct act acts_memory[] = {{"hold", hold},
				  {"leave-to-child", leave_to_child},
				  {"make-and-leave", make_and_leave},
				  {"find-left", find_left},
				  {"write-there", write_there},
				  {"read-there", read_there},
				  {"close-everything", close_everything},
				  {"take-its-place", take_its_place},
				  {"take-its-place-and-close", take_its_place_and_close},
				  {"few-descriptors", few_descriptors},
				  {"survive-restart", survive_restart},
				  {"be-refused", be_refused},
				  {"go-native", go_native},
				  {"go-brokered", go_brokered},
				  {"be-invalid", be_invalid},
				  {"find-native", find_native},
				  {"storm", storm},
				  {"descend", descend},
				  {NULL}};
