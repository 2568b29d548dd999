/* SPDX-License-Identifier: MIT */
#include "libshmd/holdings.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/single_threaded.h>

#include "base/hash.h"

struct holding {
	uint64_t id;        /* the key */
	uint32_t counts[2]; /* attached so often for writing, and read-only */
	UT_hash_handle hh;
};

static struct holding *find(const struct holdings *holdings, uint64_t id)
{
	struct holding *holding;

	HASH_FIND(hh, holdings->table, &id, sizeof(id), holding);
	return holding;
}

static struct holding *holding_new(struct holdings *holdings, uint64_t id)
{
	struct holding *holding = calloc(1, sizeof(*holding));

	if (!holding)
		return NULL;
	holding->id = id;
	HASH_ADD(hh, holdings->table, id, sizeof(holding->id), holding);
	if (!HASH_ADDED(hh, holding)) {
		free(holding);
		return NULL;
	}
	return holding;
}

static void holding_free(struct holdings *holdings, struct holding *holding)
{
	HASH_DEL(holdings->table, holding);
	free(holding);
}

int holdings_add(struct holdings *holdings, uint64_t id, bool read_only)
{
	struct holding *holding = find(holdings, id);

	if (!holding)
		holding = holding_new(holdings, id);
	if (!holding)
		return -ENOMEM;
	holding->counts[read_only]++;
	return 0;
}

void holdings_remove(struct holdings *holdings, uint64_t id, bool read_only)
{
	struct holding *holding = find(holdings, id);

	if (!holding || holding->counts[read_only] == 0)
		return;
	holding->counts[read_only]--;
	if (holding->counts[0] == 0 && holding->counts[1] == 0)
		holding_free(holdings, holding);
}

void holdings_drop(struct holdings *holdings, uint64_t id)
{
	struct holding *holding = find(holdings, id);

	if (holding)
		holding_free(holdings, holding);
}

size_t holdings_count(const struct holdings *holdings)
{
	return HASH_COUNT(holdings->table);
}

void holdings_list(const struct holdings *holdings, struct wire_confirm *ret)
{
	const struct holding *holding;

	for (holding = holdings->table; holding; holding = holding->hh.next)
		*ret++ = (struct wire_confirm){.id = holding->id,
					       .writing = holding->counts[0],
					       .reading = holding->counts[1]};
}

void holdings_fini(struct holdings *holdings)
{
	struct holding *holding, *next;

	HASH_ITER (hh, holdings->table, holding, next)
		holding_free(holdings, holding);
}

void holdings_fini_inherited(struct holdings *holdings)
{
	if (__libc_single_threaded)
		holdings_fini(holdings);
	holdings->table = NULL;
}
