/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <err.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"

static const char help[] =
	"Usage: bench [OPTION]...\n"
	"Measure what the daemon $SHMD costs, beside bare system calls.\n"
	"\n"
	"  -r, --rounds=N       turns that each side takes (20)\n"
	"  -n, --samples=N      calls a turn (200)\n"
	"  -t, --seconds=TIME   how long several clients run a turn (0.2s)\n"
	"  -w, --wait=TIME      how long a waiter waits (1s)\n"
	"  -s, --size=SIZE      of the segments (64K)\n"
	"  -f, --filter=GLOB    only benchmarks of such names\n"
	"  -c, --cpu=N          the processor to use (the last one allowed)\n"
	"  -a, --all-cpus       many clients use all of them (one client does not)\n"
	"  -R, --ranks=RANKS    with one client: fifo (if allowed), batch, fair; see measure.h\n"
	"  -l, --list           print the names of the benchmarks, and end\n"
	"  -j, --json           print JSON\n"
	"  -o, --output=FILE    write JSON to a file as well\n"
	"  -h, --help           print this, and end\n"
	"\n"
	"Ratios are of times: 1 is as fast as the reference, 2 takes twice as long.\n";

static const struct option long_options[] = {
	{"rounds", required_argument, NULL, 'r'},  {"samples", required_argument, NULL, 'n'},
	{"seconds", required_argument, NULL, 't'}, {"wait", required_argument, NULL, 'w'},
	{"size", required_argument, NULL, 's'},    {"filter", required_argument, NULL, 'f'},
	{"cpu", required_argument, NULL, 'c'},     {"ranks", required_argument, NULL, 'R'},
	{"list", no_argument, NULL, 'l'},          {"all-cpus", no_argument, NULL, 'a'},
	{"json", no_argument, NULL, 'j'},          {"output", required_argument, NULL, 'o'},
	{"help", no_argument, NULL, 'h'},          {0},
};

/* Ends the program unless the text is a number in that range. */
static uint64_t number(const char *text, int parse(const char *, uint64_t *), uint64_t least,
		       uint64_t most)
{
	uint64_t value;

	if (parse(text, &value) < 0 || value < least || value > most)
		errx(2, "'%s' is not what the option takes", text);
	return value;
}

static enum ranks find_ranks(const char *name)
{
	for (unsigned i = 0; i < RANKS_N; i++)
		if (strcmp(name, ranks_names[i]) == 0)
			return i;
	errx(2, "there are no ranks '%s'", name);
}

static void set_option(struct options *options, int letter, const char *value)
{
	struct setting *setting = &options->setting;

	switch (letter) {
	case 'r':
		setting->rounds = (unsigned)number(value, parse_u64, 1, 100000);
		break;
	case 'n':
		setting->samples = (unsigned)number(value, parse_u64, 1, 1000000);
		break;
	case 't':
		setting->seconds = (double)number(value, parse_duration_ms, 1, 3600000) / 1000;
		break;
	case 'w':
		setting->wait = (double)number(value, parse_duration_ms, 1, 3600000) / 1000;
		break;
	case 's':
		setting->size = (size_t)number(value, parse_size, 1, (uint64_t)1 << 30);
		break;
	case 'f':
		options->filter = value;
		break;
	case 'c':
		setting->cpu = (int)number(value, parse_u64, 0, CPU_SETSIZE - 1);
		break;
	case 'a':
		setting->spread = true;
		break;
	case 'R':
		setting->ranks = find_ranks(value);
		break;
	case 'l':
		options->list = true;
		break;
	case 'j':
		options->json = true;
		break;
	case 'o':
		options->output = value;
		break;
	case 'h':
		fputs(help, stdout);
		exit(0);
	default:
		exit(2);
	}
}

struct options options_read(int argc, char **argv)
{
	cpu_set_t allowed = cpus_allowed();
	struct options options = {.setting = {.size = 65536,
					      .rounds = 20,
					      .samples = 200,
					      .seconds = 0.2,
					      .wait = 1,
					      .cpu = cpus_last(&allowed)}};
	int letter;

	while ((letter = getopt_long(argc, argv, "r:n:t:w:s:f:c:aR:ljo:h", long_options, NULL)) !=
	       -1)
		set_option(&options, letter, optarg);
	options.setting.other_cpu = cpus_other(&allowed, options.setting.cpu);
	if (optind < argc)
		errx(2, "what is '%s'?", argv[optind]);
	return options;
}
