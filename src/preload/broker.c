/* SPDX-License-Identifier: MIT */
#include "preload/broker.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "libshmd/posix.h"
#include "preload/options.h"

/* A daemon that was not there is not looked for again for so long: programs may ask often. */
#define FORGET_MS 1000

static struct shmd *_Atomic connection;
static _Atomic uint64_t absent_until; /* ms; 0: it is not known to be absent */

/* --- absence ---------------------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int none(void)
{
	const struct options *options;
	int r = options_get(&options);

	if (r < 0)
		return r;
	return options->requires_daemon ? -ECONNREFUSED : BROKER_NONE;
}

static int note_absence(void)
{
	atomic_store(&absent_until, now_ms() + FORGET_MS);
	return none();
}

static bool is_known_absent(void)
{
	uint64_t until = atomic_load_explicit(&absent_until, memory_order_relaxed);

	if (until == 0)
		return false;
	if (now_ms() < until)
		return true;
	atomic_store(&absent_until, 0);
	return false;
}

/* --- connecting ------------------------------------------------------------------------------- */

static bool is_shortage(int r)
{
	return r == -EMFILE || r == -ENFILE || r == -ENOMEM;
}

/* Without a lock, which a child could inherit: of several threads the first one's is taken. */
static int connect_first(struct shmd **ret)
{
	struct shmd *mine, *others = NULL;
	int r = posix_connect(&mine);

	if (is_shortage(r))
		return r;
	if (r < 0)
		return note_absence();
	if (atomic_compare_exchange_strong(&connection, &others, mine)) {
		*ret = mine;
		return 0;
	}
	shmd_disconnect(mine);
	*ret = others;
	return 0;
}

int broker_get(struct shmd **ret)
{
	struct shmd *found = atomic_load_explicit(&connection, memory_order_acquire);

	if (is_known_absent())
		return none();
	if (!found)
		return connect_first(ret);
	*ret = found;
	return 0;
}

int broker_judge(int r)
{
	switch (r) {
	case -ENOTCONN:
	case -ECONNRESET:
	case -ECONNREFUSED:
	case -EPROTO:
		return note_absence();
	default:
		return r;
	}
}

void broker_hand_over(pid_t heir)
{
	struct shmd *found = atomic_load_explicit(&connection, memory_order_acquire);

	if (found)
		posix_bequeath(found, heir);
}
