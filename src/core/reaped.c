/* SPDX-License-Identifier: MIT */
#include "core/reaped.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/text.h"
#include "core/name.h"

struct reaped_name {
	char name[NAME_LENGTH_MAX + 1];
	UT_hash_handle hh;
};

static void forget(struct reaped *reaped, struct reaped_name *entry)
{
	HASH_DEL(reaped->names, entry);
	free(entry);
}

void reaped_fini(struct reaped *reaped)
{
	while (reaped->names)
		forget(reaped, reaped->names);
}

void reaped_note(struct reaped *reaped, const char *name)
{
	struct reaped_name *entry;

	reaped_take(reaped, name);
	if (HASH_COUNT(reaped->names) >= REAPED_MAX)
		forget(reaped, reaped->names);
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return;
	text_copy(entry->name, sizeof(entry->name), name);
	HASH_ADD_STR(reaped->names, name, entry);
	if (!HASH_ADDED(hh, entry))
		free(entry);
}

bool reaped_take(struct reaped *reaped, const char *name)
{
	struct reaped_name *entry;

	HASH_FIND_STR(reaped->names, name, entry);
	if (!entry)
		return false;
	forget(reaped, entry);
	return true;
}
