/* SPDX-License-Identifier: MIT */
#include "libshmd/gate.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/single_threaded.h>

#include "base/hash.h"
#include "libshmd/fork.h"

struct gate_key {
	uint64_t segment_id;
	uint64_t number;
};

struct gate {
	struct gate_key key;
	unsigned generation; /* of the process that made it */
	unsigned refs;
	pthread_mutex_t mutex;
	UT_hash_handle hh;
};

/* Of this process. A table that was inherited may have been copied in the middle of a change. */
static struct gate *table;
static unsigned table_generation;

static void enter_child(void)
{
	if (table_generation == fork_generation())
		return;
	table = NULL;
	table_generation = fork_generation();
}

static struct gate *gate_new(const struct gate_key *key)
{
	struct gate *gate = calloc(1, sizeof(*gate));

	if (!gate)
		return NULL;
	gate->key = *key;
	gate->generation = fork_generation();
	HASH_ADD(hh, table, key, sizeof(gate->key), gate);
	if (!HASH_ADDED(hh, gate)) {
		free(gate);
		return NULL;
	}
	pthread_mutex_init(&gate->mutex, NULL);
	return gate;
}

struct gate *gate_get(uint64_t segment_id, unsigned number)
{
	struct gate_key key = {segment_id, number};
	struct gate *gate;

	enter_child();
	HASH_FIND(hh, table, &key, sizeof(key), gate);
	if (!gate)
		gate = gate_new(&key);
	if (gate)
		gate->refs++;
	return gate;
}

struct gate *gate_put(struct gate *gate)
{
	if (!gate || --gate->refs > 0)
		return NULL;
	/* The mutex owns nothing on Linux, and an inherited one may be locked for ever. */
	if (gate->generation == fork_generation() && table_generation == gate->generation)
		HASH_DEL(table, gate);
	free(gate);
	return NULL;
}

bool gate_enter(struct gate *gate)
{
	if (__libc_single_threaded)
		return false;
	pthread_mutex_lock(&gate->mutex);
	return true;
}

void gate_leave(struct gate *gate, bool entered)
{
	if (entered)
		pthread_mutex_unlock(&gate->mutex);
}
