/* SPDX-License-Identifier: MIT */
#include "preload/native.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

struct native native_table;
atomic_bool native_is_found;

/* A C library that has no such function runs no program that calls it. */
static int missing(void)
{
	errno = ENOSYS;
	return -1;
}

#define FUNCTION(name)                               \
	{                                            \
#name, offsetof(struct native, name) \
	}

static const struct {
	const char *name;
	size_t offset;
} functions[] = {
	FUNCTION(shm_open),    FUNCTION(shm_unlink),    FUNCTION(sem_open),
	FUNCTION(sem_close),   FUNCTION(sem_unlink),    FUNCTION(sem_wait),
	FUNCTION(sem_trywait), FUNCTION(sem_timedwait), FUNCTION(sem_clockwait),
	FUNCTION(sem_post),    FUNCTION(_exit),
};

/* Several threads may do this at once, and find the same. */
void native_find(void)
{
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		void *found = dlsym(RTLD_NEXT, functions[i].name);
		if (!found)
			found = (void *)missing;
		memcpy((char *)&native_table + functions[i].offset, &found, sizeof(found));
	}
	atomic_store_explicit(&native_is_found, true, memory_order_release);
}

/* So that sem_post() never has to, which may be called from a signal handler. */
__attribute__((constructor)) static void find_at_start(void)
{
	native();
}
