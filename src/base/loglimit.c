/* SPDX-License-Identifier: MIT */
#include "base/loglimit.h"

#include "base/hash.h"

/* How many entries are looked at for a user: enough until most of the table is in use. */
#define PROBES 16

/* Nothing of it is lost if it becomes another's. */
static bool is_free(const struct loglimit_entry *entry, uint64_t now)
{
	return entry->ends <= now && entry->left_out == 0;
}

/* A user has the same entry as long as its window lasts, whatever has become free before it. */
static struct loglimit_entry *find(struct loglimit *limit, uid_t uid, unsigned level, uint64_t now)
{
	const uint32_t key[2] = {uid, level};
	uint64_t place = hash_bytes(key, sizeof(key));
	struct loglimit_entry *free = NULL;

	for (unsigned i = 0; i < PROBES; i++) {
		struct loglimit_entry *entry = &limit->entries[(place + i) % LOGLIMIT_ENTRIES];
		if (entry->ends && entry->uid == uid && entry->level == level)
			return entry;
		if (!free && is_free(entry, now))
			free = entry;
	}
	if (!free)
		return &limit->entries[LOGLIMIT_ENTRIES];
	*free = (struct loglimit_entry){.uid = uid, .level = level};
	return free;
}

bool loglimit_admit(struct loglimit *limit, uid_t uid, unsigned level, uint64_t now)
{
	struct loglimit_entry *entry = find(limit, uid, level, now);

	if (entry->ends <= now) {
		entry->ends = now + LOGLIMIT_WINDOW;
		entry->lines = 0;
	}
	/* What is told of the others is as important as the most important line of theirs. */
	if (entry == &limit->entries[LOGLIMIT_ENTRIES]) {
		entry->uid = LOGLIMIT_OTHERS;
		entry->level = entry->left_out && entry->level < level ? entry->level : level;
	}
	if (entry->lines < LOGLIMIT_LINES) {
		entry->lines++;
		return true;
	}
	entry->left_out++;
	if (limit->deadline == 0 || entry->ends < limit->deadline)
		limit->deadline = entry->ends;
	return false;
}

bool loglimit_take(struct loglimit *limit, uint64_t now, struct loglimit_entry *ret)
{
	uint64_t next = 0;

	if (limit->deadline == 0 || limit->deadline > now)
		return false;
	for (unsigned i = 0; i <= LOGLIMIT_ENTRIES; i++) {
		struct loglimit_entry *entry = &limit->entries[i];
		if (entry->left_out == 0)
			continue;
		if (entry->ends <= now) {
			*ret = *entry;
			entry->left_out = 0;
			return true;
		}
		if (next == 0 || entry->ends < next)
			next = entry->ends;
	}
	limit->deadline = next;
	return false;
}
