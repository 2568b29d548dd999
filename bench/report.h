/* SPDX-License-Identifier: MIT */
/* Results on paper: a table for people (libsmartcols), JSON for programs (json-c). */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "measure.h"

struct result {
	char key[64];
	char what[64];
	const char *beside; /* what the reference is */
	double aim;         /* of the ratio; 0: none */
	bool is_rate;       /* in 1/s, else in microseconds */
	struct summary ours;
	struct summary reference;
	struct summary ratio; /* of times, so a rate's is the other way round; of each round */
};

/* What a reader must know to compare with another run. */
struct setting {
	size_t size;
	unsigned rounds, samples;
	double seconds;
	double wait; /* seconds that a waiter waits */
	int cpu;
	int other_cpu; /* for the second of two who contend; -1: none */
	enum ranks ranks;
	bool spread; /* many clients on all processors, not on that one */
};

struct report {
	struct setting setting;
	size_t n_results;
	struct result *results;
};

/* Both return 0 or -ENOMEM, or -errno where the file could not be written. */
int report_table(const struct report *report, FILE *file);
int report_json(const struct report *report, FILE *file);

#endif
