/* SPDX-License-Identifier: MIT */
#include "core/statistics.h"

static const char *const names[STATISTICS] = {
	[STATISTIC_CREATED] = "created",
	[STATISTIC_ATTACHED] = "attached",
	[STATISTIC_DETACHED] = "detached",
	[STATISTIC_UNLINKED] = "unlinked",
	[STATISTIC_REAPED] = "reaped",
	[STATISTIC_REFUSED] = "refused",
	[STATISTIC_PUBLISHED] = "published",
	[STATISTIC_SUPERSEDED] = "superseded",
	[STATISTIC_OPENED] = "opened",
	[STATISTIC_MALFORMED] = "malformed",
	[STATISTIC_LOCKS_RECOVERED] = "locks_recovered",
};

const char *statistic_name(enum statistic which)
{
	return names[which];
}
