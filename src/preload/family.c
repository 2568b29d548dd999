/* SPDX-License-Identifier: MIT */
#include "preload/family.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "preload/broker.h"
#include "preload/native.h"

/* Of a child of vfork(2), or of one that was made behind the C library's back, these are still its parent's. */
static pid_t self;
static pid_t parent; /* 0: none that has this program's memory */

static void note_fork(void)
{
	parent = self;
	self = getpid();
}

__attribute__((constructor)) static void note_start(void)
{
	self = getpid();
	pthread_atfork(NULL, NULL, note_fork);
}

pid_t family_parent(void)
{
	return parent != 0 && self == getpid() ? parent : 0;
}

void family_hand_over(void)
{
	pid_t heir = family_parent();

	if (heir)
		broker_hand_over(heir);
}

/* exit(3), and the end of main(). */
__attribute__((destructor)) static void note_end(void)
{
	family_hand_over();
}

/* These may be called by signal handlers. */
INTERPOSED void _exit(int status)
{
	family_hand_over();
	native()->_exit(status);
	__builtin_unreachable();
}

INTERPOSED void _Exit(int status)
{
	_exit(status);
}
