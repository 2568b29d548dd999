/* SPDX-License-Identifier: MIT */
/* The functions that would have been called if we were not there. */
#ifndef PRELOAD_NATIVE_H
#define PRELOAD_NATIVE_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

/* What programs see of this library. */
#define INTERPOSED __attribute__((visibility("default")))

struct native {
	int (*shm_open)(const char *, int, mode_t);
	int (*shm_unlink)(const char *);
	sem_t *(*sem_open)(const char *, int, ...);
	int (*sem_close)(sem_t *);
	int (*sem_unlink)(const char *);
	int (*sem_wait)(sem_t *);
	int (*sem_trywait)(sem_t *);
	int (*sem_timedwait)(sem_t *, const struct timespec *);
	int (*sem_clockwait)(sem_t *, clockid_t, const struct timespec *);
	int (*sem_post)(sem_t *);
	void (*_exit)(int);
};

/* --- internal --------------------------------------------------------------------------------- */

extern struct native native_table;
extern atomic_bool native_is_found;

void native_find(void);

/* ---------------------------------------------------------------------------------------------- */

/* They are looked for when this library is loaded; constructors of others may come before that. */
static inline const struct native *native(void)
{
	if (__builtin_expect(!atomic_load_explicit(&native_is_found, memory_order_acquire), 0))
		native_find();
	return &native_table;
}

#endif
