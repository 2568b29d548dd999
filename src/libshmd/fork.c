/* SPDX-License-Identifier: MIT */
#include "libshmd/fork.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

/* What the page holds. A child finds it wiped. */
enum { WIPED, BUSY, KNOWN };

static struct {
	_Atomic int state;
} * page;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int init_result;
static _Atomic unsigned generation = 1;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int cancel_state; /* of the thread that holds it */

static void make_page(void)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		init_result = -errno;
		return;
	}
	if (madvise(p, size, MADV_WIPEONFORK) < 0) {
		init_result = -errno;
		munmap(p, size);
		return;
	}
	page = p;
	atomic_store(&page->state, KNOWN);
}

int fork_init(void)
{
	pthread_once(&once, make_page);
	return init_result;
}

/* The first thread that comes here in a child counts the generation on; the others wait for that. */
static void enter_child(void)
{
	int found = WIPED;

	if (atomic_compare_exchange_strong(&page->state, &found, BUSY)) {
		/* A thread of the parent may have held it; that thread does not exist here. */
		pthread_mutex_init(&mutex, NULL);
		atomic_fetch_add(&generation, 1);
		atomic_store(&page->state, KNOWN);
	}
	while (atomic_load(&page->state) != KNOWN)
		sched_yield();
}

unsigned fork_generation(void)
{
	if (atomic_load_explicit(&page->state, memory_order_acquire) != KNOWN)
		enter_child();
	return atomic_load_explicit(&generation, memory_order_relaxed);
}

void fork_lock(void)
{
	/* In a child, this makes the mutex anew. */
	fork_generation();
	pthread_mutex_lock(&mutex);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
}

void fork_unlock(void)
{
	int before = cancel_state;

	pthread_mutex_unlock(&mutex);
	pthread_setcancelstate(before, NULL);
}
