/* SPDX-License-Identifier: MIT */
/* How often something happened since the daemon started. The rows name the counters for `status`. */
#ifndef CORE_STATISTICS_H
#define CORE_STATISTICS_H

#include <stdint.h>

enum statistic {
	STATISTIC_CREATED,
	STATISTIC_ATTACHED,
	STATISTIC_DETACHED,
	STATISTIC_OPENED, /* by POSIX's rules, and not attached */
	STATISTIC_UNLINKED,
	STATISTIC_PUBLISHED,
	STATISTIC_SUPERSEDED, /* by what was published in their place */
	STATISTIC_REAPED,
	STATISTIC_LOCKS_RECOVERED,
	STATISTIC_REFUSED,
	STATISTIC_MALFORMED,
	STATISTICS,
};

struct statistics {
	uint64_t counts[STATISTICS];
};

const char *statistic_name(enum statistic which);

static inline void statistics_count(struct statistics *statistics, enum statistic which)
{
	statistics->counts[which]++;
}

#endif
