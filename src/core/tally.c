/* SPDX-License-Identifier: MIT */
#include "core/tally.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static struct tally *find(struct tally *table, const char *name)
{
	struct tally *tally;

	HASH_FIND_STR(table, name, tally);
	return tally;
}

const struct tally *tally_find(struct tally *table, const char *name)
{
	return find(table, name);
}

static struct tally *tally_new(struct tally **table, const char *name)
{
	struct tally *tally = calloc(1, sizeof(*tally));

	if (!tally)
		return NULL;
	tally->table = table;
	text_copy(tally->name, sizeof(tally->name), name);
	HASH_ADD_STR(*table, name, tally);
	if (HASH_ADDED(hh, tally))
		return tally;
	free(tally);
	return NULL;
}

int tally_add(struct tally **table, const char *name, uint64_t bytes, struct tally_share *ret)
{
	struct tally *tally = find(*table, name);

	if (!tally)
		tally = tally_new(table, name);
	if (!tally)
		return -ENOMEM;
	tally->segments++;
	tally->bytes += bytes;
	*ret = (struct tally_share){tally, bytes};
	return 0;
}

void tally_release(struct tally_share *share)
{
	struct tally *tally = share->tally;

	if (!tally)
		return;
	share->tally = NULL;
	tally->bytes -= share->bytes;
	if (--tally->segments > 0)
		return;
	HASH_DEL(*tally->table, tally);
	free(tally);
}
