/* SPDX-License-Identifier: MIT */
#include "core/lineage.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static struct lineage_key key_of(uid_t uid, const char *name)
{
	struct lineage_key key;

	memset(&key, 0, sizeof(key));
	key.uid = uid;
	text_copy(key.name, sizeof(key.name), name);
	return key;
}

static struct lineage *find(struct lineage *table, const struct lineage_key *key)
{
	struct lineage *lineage;

	HASH_FIND(hh, table, key, sizeof(*key), lineage);
	return lineage;
}

const struct lineage *lineage_find(struct lineage *table, uid_t uid, const char *name)
{
	struct lineage_key key = key_of(uid, name);

	return find(table, &key);
}

static struct lineage *lineage_new(struct lineage **table, const struct lineage_key *key)
{
	struct lineage *lineage = calloc(1, sizeof(*lineage));

	if (!lineage)
		return NULL;
	lineage->table = table;
	memcpy(&lineage->key, key, sizeof(*key));
	HASH_ADD(hh, *table, key, sizeof(*key), lineage);
	if (HASH_ADDED(hh, lineage))
		return lineage;
	free(lineage);
	return NULL;
}

struct lineage *lineage_add(struct lineage **table, uid_t uid, const char *name, uint64_t bytes)
{
	struct lineage_key key = key_of(uid, name);
	struct lineage *lineage = find(*table, &key);

	if (!lineage)
		lineage = lineage_new(table, &key);
	if (!lineage)
		return NULL;
	lineage->generations++;
	lineage->bytes += bytes;
	return lineage;
}

struct lineage *lineage_remove(struct lineage *lineage, uint64_t bytes)
{
	if (!lineage)
		return NULL;
	lineage->bytes -= bytes;
	if (--lineage->generations == 0) {
		HASH_DEL(*lineage->table, lineage);
		free(lineage);
	}
	return NULL;
}
