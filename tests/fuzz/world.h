/* SPDX-License-Identifier: MIT */
/*
 * All of the daemon but its sockets and its loop, for the fuzzer of requests: what client.c, server.c
 * and the others do when something happens is done here when the input says so. Time passes as the
 * input says, processes are entries in the table without a pidfd, and what clients keep of the
 * descriptors that they were given is kept here.
 *
 * This is the only file that knows how a client is made and served.
 */
#ifndef TESTS_FUZZ_WORLD_H
#define TESTS_FUZZ_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "people.h"
#include "shmd/client.h"
#include "shmd/process.h"
#include "shmd/server.h"

#define FIRST_ID  UINT64_C(1000)
#define CLIENTS   8
#define PROCESSES 4 /* each with the connections of two places */
#define HELD      16

extern struct server server;
extern struct client *clients[CLIENTS];
extern uint64_t now;

/* Once, before anything else. */
void world_init(void);

/* A daemon without clients. `how`: in the low three bits how few descriptors, or allocations, it has to
 * start with, 0 being enough; and what it finds, or does not. */
#define WORLD_LEFTOVERS  8u /* of a daemon that was killed */
#define WORLD_NO_INOTIFY 16u
#define WORLD_NO_LEASES  32u
#define WORLD_NO_WORDS   64u
#define WORLD_NO_MEMORY  128u
void world_begin(unsigned how);

/* Its end: after everybody has left, by which everything must have been given back, or before. */
void world_end(bool is_orderly);

/* As dispatch_wait(), and all others that look for a segment. */
struct segment *world_segment(uint64_t id);

/* A connection at a place that has none, greeted in that version; nothing happens where the limits
 * forbid it, or where its process is dead and not settled. Unwatched: no pidfd is to be had. */
void world_connect(unsigned place, const struct person *who, uint32_t version, uint32_t word_bits,
		   bool is_watched);
void world_disconnect(unsigned place);

/* The process behind the places dies, and what it held is closed, by the kernel's order or against it;
 * what its children inherited stays. */
void world_die(unsigned process, bool is_closed_first);

/* A packet of that client's, as in server.in. `keep`: where its process keeps one of the descriptors of
 * the reply; 0: it closes all. */
void world_serve(struct client *client, size_t size, unsigned keep);

/* What the process behind a client holds there, or -1, and what happens to it. */
int world_held(unsigned place);
void world_hold(const struct client *client, unsigned place, int fd);
void world_drop(unsigned place);

/* Whether anybody holds that file. */
bool world_is_held(const struct stat *file);
void world_inherit(unsigned from, unsigned to);

/* What the loop does, one thing at a time. Who waits is answered, or has not read what came before, or
 * nothing can be sent to their user. */
enum waking { WAKE_ANSWER, WAKE_BEHIND, WAKE_HELD };
void world_close_some(unsigned place);
void world_put_processes(void);
void world_lose_events(void);
void world_wake(enum waking how);
void world_notify(bool is_read);
void world_resume(struct client *client);

#endif
