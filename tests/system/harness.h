/* SPDX-License-Identifier: MIT */
/*
 * What system tests are made of: a real daemon on a private socket, and client processes that are
 * started, told to go on, and killed, at known moments. A daemon ends with the test that started it,
 * also when that fails; its log then stays, and the test says where.
 */
#ifndef TESTS_SYSTEM_HARNESS_H
#define TESTS_SYSTEM_HARNESS_H

#include <check.h>
#include <shmd.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct test_daemon {
	pid_t pid;
	uid_t uid; /* it runs as; 0: as the test does */
	char folder[64];
	char socket[96];
	char log[96];
	char config[96];
	char instance[16];
};

/* Starts a daemon that reads `config` (the contents of a file; NULL: none), and returns when clients
 * can connect. SHMD_SOCKET is set to its socket. daemon_start_again() uses the same socket. */
void daemon_start(struct test_daemon *daemon, const char *config);
void daemon_start_as(struct test_daemon *daemon, const char *config, uid_t uid);
void daemon_start_again(struct test_daemon *daemon);

/* The parts of that, for those who start it otherwise (manager.h): make its folder and files; become it,
 * without --ready-fd if that is -1; learn its instance from its log; and remove what was made. */
void daemon_make(struct test_daemon *daemon, const char *config, uid_t uid);
void daemon_exec(const struct test_daemon *daemon, int ready) __attribute__((noreturn));
void daemon_read_instance(struct test_daemon *daemon);
void daemon_unmake(struct test_daemon *daemon);

/* The level of its log: debug, unless a test sets another one. */
extern const char *daemon_log_level;

/* Called, unless NULL, in the process that becomes the daemon, as the daemon's user: to put it into
 * namespaces of its own, for instance. */
extern void (*daemon_prepare)(void);

/* Ends it with SIGTERM, and checks that it ended well and left nothing, and removes its folder. */
void daemon_stop(struct test_daemon *daemon);

/* Kills it with SIGKILL. */
void daemon_kill(struct test_daemon *daemon);

/* Whether a line of its log contains the text. */
bool daemon_logged(const struct test_daemon *daemon, const char *text);

/* Entries of /dev/shm that begin with the prefix and contain the daemon's instance. */
unsigned daemon_files(const struct test_daemon *daemon, const char *prefix);

/* Open descriptors of a process. */
unsigned count_descriptors(pid_t pid);

/* A process of the test's. Each side waits for the other with a byte in a pipe. */
struct actor {
	pid_t pid;
	int to, from;
};

typedef void actor_fn(struct actor *self, void *context);

/* Forks a process that runs fn and exits with 0; a failed assertion in it exits with 1. */
void actor_start(struct actor *actor, actor_fn *fn, void *context);

/* Waits until the other side has said so. Fails the test if it died instead. */
void actor_await(struct actor *actor);
void actor_tell(struct actor *actor);

/* Kills it with SIGKILL, or waits for it and checks that it ended well. */
void actor_kill(struct actor *actor);
void actor_finish(struct actor *actor);

/* $SHMD_TEST_LARGE, the size in bytes of what tests with much memory; 256 MiB unless set. */
size_t large_size(void);

/* Connects or fails the test. */
struct shmd *connect_or_fail(void);

/* Creates or attaches, or fails the test. */
struct shmd_segment *create_or_fail(struct shmd *connection, const char *name, size_t size,
				    enum shmd_lifetime lifetime);
struct shmd_segment *attach_or_fail(struct shmd *connection, const char *name, int flags);

/* Whether the daemon knows a segment of that name. */
bool segment_exists(struct shmd *connection, const char *name);

/* How many clients have it attached; fails the test if there is none of that name. */
unsigned clients_of(struct shmd *connection, const char *name);

/* Asks until the name is gone and returns how long that took, in ms; fails the test after 10 s. */
double await_gone(struct shmd *connection, const char *name);

/* What the daemon keeps now. */
uint64_t status_segments(struct shmd *connection);
uint64_t status_bytes(struct shmd *connection);
void await_segments(struct shmd *connection, uint64_t n);

/* Waits, by asking again, for what has no event of its own; fails the test after 10 s. */
#define AWAIT(condition)                                                                       \
	do {                                                                                   \
		double deadline_ = now_ms() + 10000;                                           \
		while (!(condition))                                                           \
			ck_assert_msg(now_ms() < deadline_, "waited in vain for " #condition); \
	} while (0)

double now_ms(void);

/* The test program's main(): runs the suite under TAP. */
int run_suite(Suite *suite);

/* For programs whose clients end without a word, as clients do: what they lose is no leak. The daemon's
 * leaks are looked for all the same. */
#define LEAVES_WITHOUT_A_WORD                                                  \
	__attribute__((visibility("default"))) int __lsan_is_turned_off(void); \
	int __lsan_is_turned_off(void)                                         \
	{                                                                      \
		return 1;                                                      \
	}                                                                      \
	struct harness_needs_a_semicolon

#endif
