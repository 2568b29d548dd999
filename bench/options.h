/* SPDX-License-Identifier: MIT */
/* The command line of the benchmarks. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>

#include "report.h"

struct options {
	struct setting setting;
	const char *filter; /* a glob for the names of benchmarks; NULL: all */
	const char *output; /* a file for JSON; NULL: none */
	bool json;          /* instead of the table */
	bool list;
};

/* Ends the program after --help, and where an option is wrong. The strings are argv's. */
struct options options_read(int argc, char **argv);

#endif
