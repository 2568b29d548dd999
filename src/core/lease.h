/* SPDX-License-Identifier: MIT */
/*
 * The question "does anybody else still have this file?", answered by the kernel and not by a count
 * of ours: a write lease (fcntl(2), F_SETLEASE) is granted only while no other open file description
 * of the file exists anywhere, be it open, mapped, inherited, in another namespace or in flight.
 *
 * Somebody who opens the file in that moment makes the kernel send us SIGIO: the process ignores it.
 */
#ifndef CORE_LEASE_H
#define CORE_LEASE_H

enum lease_answer {
	LEASE_SOLE_USER,
	LEASE_SHARED,
	LEASE_UNKNOWN, /* the kernel would not say: ask again */
};

/* Whether `fd`, an ordinary read-write descriptor, is the file's only one. The descriptor that
 * memfd_create(2) returned is no ordinary one: the kernel does not count it as a writer, so that it
 * says no while it is alone, and yes beside one other. It must be exchanged and closed first. */
enum lease_answer lease_ask(int fd);

/*
 * Takes the lease of a description that others share, and gives it back. Between the two nobody else
 * can open the file, and who tries waits: some microseconds, not more. lease_take() answers as
 * lease_ask() does, and only LEASE_SOLE_USER took it. One at a time.
 *
 * Who shares a description chooses the signal that its breaking sends (F_SETSIG), be it SIGKILL, and the
 * kernel sends it to whoever took the lease. So a process is made that takes it, and is gone.
 */
enum lease_answer lease_take(int fd);
void lease_give(int fd);

/* Tries on a file of our own that the kernel says yes when it should, and no. 0, or a negative errno:
 * leases tell nothing here. */
int lease_self_test(void);

#endif
