/* SPDX-License-Identifier: MIT */
/*
 * The bare exchange that the daemon is measured against: a server on a SOCK_SEQPACKET socket that
 * makes only those system calls that giving out such memory takes, and a client that makes only
 * those that taking it takes. No names, limits, rights or books, no checks, no event loop unless there
 * are many clients, and packets of 16 bytes. The daemon cannot be faster; how much slower it is, is
 * what it costs.
 *
 *   operation      the server's calls between recvmsg and the end of the exchange
 *   plain          sendmsg
 *   attach         openat (of /proc/self/fd), sendmsg with it, close
 *   attach both    the same, sendmsg with a semaphore's descriptor as well
 *   create         memfd_create, fchmod, ftruncate, fcntl (seals), openat, sendmsg with it, close
 *   create both    the same, and before sendmsg openat (O_CREAT|O_EXCL) and pwrite of a semaphore
 *   create raw     memfd_create, fchmod, ftruncate, fcntl (seals), sendmsg with the memfd itself
 *   create sealable  "create", and the client may seal it
 *   pass           openat (for reading), sendmsg with it to the reader, close; no answer to the client
 *   drop           openat and close (the daemon's own description), fcntl twice (the lease, and its
 *                  undoing), unlinkat where there is a semaphore, sendmsg, close of what there is
 *
 * "create" opens the memory anew as "attach" does, and not for luxury: the kernel does not count the
 * description that memfd_create returns, so a client that had it would never be seen to have it.
 * "create raw" shows what a broker would cost that need not know who has its segments.
 *
 * The client's calls: sendmsg, recvmsg with room for descriptors, and mmap to open; munmap, close of
 * each descriptor, sendmsg and recvmsg to close. libshmd does the same, and looks (fstat) before it
 * maps. A reader asks for nothing: it is sent what a client passes.
 */
#ifndef BENCH_REFERENCE_H
#define BENCH_REFERENCE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum bare_op {
	BARE_PLAIN,
	BARE_ATTACH,
	BARE_ATTACH_BOTH,
	BARE_CREATE,
	BARE_CREATE_BOTH,
	BARE_CREATE_RAW,
	BARE_CREATE_SEALABLE,
	BARE_PASS,
	BARE_DROP,
	BARE_OPS,
};

/* A server in a process of its own, which ends with its parent at the latest. */
struct bare_server {
	pid_t pid;
	size_t n_sockets;
	int *sockets; /* the clients' ends */
	int reader;   /* the reader's */
};

/* Starts one for n clients and a reader. `prefix` begins the names of what it makes in /dev/shm. Ends the program
 * on failure, as do all that follow. */
void bare_server_start(struct bare_server *server, size_t n_clients, size_t size,
		       const char *prefix);
void bare_server_stop(struct bare_server *server);

/* A client's view of a segment. */
struct bare_segment {
	void *data; /* NULL: unmapped */
	size_t size;
	int n_fds;
	int fds[2];
};

void bare_open(int socket, enum bare_op op, size_t size, struct bare_segment *ret);
void bare_close(int socket, enum bare_op op, struct bare_segment *segment);

/* Unmaps it, and seals what BARE_CREATE_SEALABLE made against writing. */
void bare_seal(struct bare_segment *segment);

/* Passes what the client made last to the reader, who takes it, waiting for it, and lets go of it. */
void bare_pass(int socket);
void bare_take(int reader, size_t size, struct bare_segment *ret);
void bare_let_go(struct bare_segment *segment);

#endif
