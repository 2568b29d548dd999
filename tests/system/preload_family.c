/* SPDX-License-Identifier: MIT */
/* What is handed over by name alone: nobody has it between the one who made it and the one who opens it. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "preload_client.h"

/* Makes one that this process has open. */
static int make_and_have(const char *word)
{
	int fd = shm_open(name_of(word), O_RDWR | O_CREAT | O_EXCL, 0600);

	must(fd >= 0 && ftruncate(fd, 100) == 0 && write(fd, word, strlen(word)) > 0);
	return fd;
}

/* Makes one that nobody has. */
static void make(const char *word)
{
	close(make_and_have(word));
}

static bool is_there(const char *word)
{
	char found[16] = "";
	int fd = shm_open(name_of(word), O_RDWR, 0);

	if (fd < 0) {
		must(errno == ENOENT);
		return false;
	}
	must(read(fd, found, sizeof(found) - 1) > 0 && strcmp(found, word) == 0);
	close(fd);
	return true;
}

static void await_end_of(const char *word)
{
	while (is_there(word))
		usleep(1000);
}

/* The daemon has had time for all that was closed before: it asks the kernel after 0.5, 1, 2 ... ms, and what is
 * made here goes after one of these pauses, or a few. */
static void let_daemon_settle(void)
{
	for (int i = 0; i < 20; i++) {
		make("settling");
		await_end_of("settling");
	}
}

/* The kernel tells of a close before it is one, and the daemon looks again: a maker must not die meanwhile. */
static void let_daemon_hear_of_close(void)
{
	usleep(50000);
	let_daemon_settle();
}

/* --- one child -------------------------------------------------------------------------------- */

static void make_one(void)
{
	make("one");
}

static void make_one_and_exit(void)
{
	make("one");
	exit(0);
}

static void expect_handed_over(void (*fn)(void))
{
	finish(spawn(fn));
	let_daemon_settle();
	must(is_there("one"));
	let_daemon_settle();
	must(is_there("one"));
	must(shm_unlink(name_of("one")) == 0);
	must(!is_there("one"));
}

static void inherit(void)
{
	expect_handed_over(make_one);
	expect_handed_over(make_one_and_exit);
}

/* --- generations ------------------------------------------------------------------------------ */

static void have_one_made(void)
{
	make("mine");
	finish(spawn(make_one));
}

static void inherit_from_grandchild(void)
{
	finish(spawn(have_one_made));
	let_daemon_settle();
	must(is_there("one") && is_there("mine"));
	must(shm_unlink(name_of("one")) == 0 && shm_unlink(name_of("mine")) == 0);
}

/* --- who leaves nothing ----------------------------------------------------------------------- */

static struct steps steps;

static void make_one_and_wait(void)
{
	make_and_have("one");
	steps_say(steps.there);
	steps_hear(steps.back);
}

static void put_one_down_and_wait(void)
{
	make("one");
	steps_say(steps.there);
	steps_hear(steps.back);
}

static void disinherit(void)
{
	steps_init(&steps);
	pid_t pid = spawn(make_one_and_wait);
	steps_hear(steps.there);
	let_daemon_settle();
	must(is_there("one"));
	kill_and_reap(pid);
	await_end_of("one");
	/* But what it had put down before. */
	pid = spawn(put_one_down_and_wait);
	steps_hear(steps.there);
	let_daemon_hear_of_close();
	kill_and_reap(pid);
	let_daemon_settle();
	must(is_there("one") && shm_unlink(name_of("one")) == 0);
	/* And who was executed keeps nothing for anybody. */
	make("two");
	await_end_of("two");
}

/* Its end is not its parent's, whose memory it has. */
static void have_vfork_child(void)
{
	make_and_have("one");
	pid_t pid = vfork();
	must(pid >= 0);
	if (pid == 0)
		_exit(0);
	finish(pid);
	steps_say(steps.there);
	steps_hear(steps.back);
}

static void see_through_vfork(void)
{
	steps_init(&steps);
	pid_t pid = spawn(have_vfork_child);
	steps_hear(steps.there);
	must(is_there("one"));
	kill_and_reap(pid);
	await_end_of("one");
}

/* A handler may interrupt what asks the daemon, and end the process. */
static void end_on_signal(int signal)
{
	(void)signal;
	_exit(0);
}

static void ask_without_end(void)
{
	signal(SIGALRM, end_on_signal);
	make("one");
	ualarm(2000, 0);
	for (;;)
		is_there("one");
}

static void end_in_handlers(void)
{
	for (int i = 0; i < 100; i++) {
		finish(spawn(ask_without_end));
		shm_unlink(name_of("one"));
	}
}

/* A handler may also come while the shim finds its socket gone. */
static void lose_socket_without_end(void)
{
	signal(SIGALRM, end_on_signal);
	make("one");
	ualarm(2000, 0);
	for (;;) {
		closefrom(STDERR_FILENO + 1);
		is_there("one");
	}
}

static void end_without_socket(void)
{
	for (int i = 0; i < 300; i++) {
		finish(spawn(lose_socket_without_end));
		shm_unlink(name_of("one"));
	}
}

/* By a number that is another process's where the daemon is: its init's. */
static const char *name_outside;

static void make_that(void)
{
	close(shm_open(name_outside, O_RDWR | O_CREAT | O_EXCL, 0600));
	exit(0);
}

static void be_init_of_namespace(void)
{
	finish(spawn(make_that));
}

static void leave_namespace(void)
{
	int fd;

	/* It takes root. The group has another number in there. */
	name_outside = name_of("one");
	if (unshare(CLONE_NEWPID) < 0)
		return;
	finish(spawn(be_init_of_namespace));
	alarm(5);
	while ((fd = shm_open(name_outside, O_RDWR, 0)) >= 0) {
		close(fd);
		usleep(1000);
	}
	must(errno == ENOENT);
}

/* The threads of a process outlive its first one. */
static void *put_one_down_late(void *first)
{
	must(pthread_join(*(pthread_t *)first, NULL) == 0);
	put_one_down_and_wait();
	_exit(0);
}

static void leave_it_to_another_thread(void)
{
	static pthread_t first, other;

	first = pthread_self();
	must(pthread_create(&other, NULL, put_one_down_late, &first) == 0);
	pthread_exit(NULL);
}

static void outlive_first_thread(void)
{
	steps_init(&steps);
	pid_t pid = spawn(leave_it_to_another_thread);
	steps_hear(steps.there);
	let_daemon_hear_of_close();
	must(is_there("one"));
	kill_and_reap(pid);
	let_daemon_settle();
	must(is_there("one") && shm_unlink(name_of("one")) == 0);
}

const struct act acts_family[] = {{"inherit", inherit},
				  {"inherit-from-grandchild", inherit_from_grandchild},
				  {"disinherit", disinherit},
				  {"see-through-vfork", see_through_vfork},
				  {"end-in-handlers", end_in_handlers},
				  {"end-without-socket", end_without_socket},
				  {"leave-namespace", leave_namespace},
				  {"outlive-first-thread", outlive_first_thread},
				  {NULL}};
