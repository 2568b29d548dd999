/* SPDX-License-Identifier: MIT */
#include "libshmd/fork.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

/* Before there is a page, nothing was made that a child could inherit. */
static struct fork_page no_page = {1};
struct fork_page *fork_page = &no_page;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int init_result;
static _Atomic unsigned latest = 1; /* generation; copied into children, unlike the page */
static atomic_bool is_being_entered;
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
	fork_page = p;
	atomic_store(&fork_page->generation, atomic_load(&latest));
}

int fork_init(void)
{
	pthread_once(&once, make_page);
	return init_result;
}

/* The first thread that comes here in a child counts the generation on; the others wait for that. */
unsigned fork_enter_child(void)
{
	unsigned found;

	while ((found = atomic_load(&fork_page->generation)) == 0) {
		if (atomic_exchange(&is_being_entered, true)) {
			sched_yield();
			continue;
		}
		/* Whoever comes late finds it done. */
		if (atomic_load(&fork_page->generation) == 0) {
			/* A thread of the parent may have held it; that thread does not exist here. */
			pthread_mutex_init(&mutex, NULL);
			atomic_store(&fork_page->generation, atomic_fetch_add(&latest, 1) + 1);
		}
		atomic_store(&is_being_entered, false);
	}
	return found;
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
