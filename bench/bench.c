/* SPDX-License-Identifier: MIT */
/*
 * What the daemon and the library cost, beside what the kernel alone takes for the same.
 *
 * Every measurement has its reference in the same run: the two take turns, round by round, and who
 * goes first changes with each. A round's value is the median of its samples; what is reported is
 * the median over the rounds, and the quartiles of the rounds' ratios, which say how far to trust it.
 * Only ratios mean anything on a machine that others use. Nothing here fails because of a time.
 */
#include <err.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "contend.h"
#include "crowd.h"
#include "frames.h"
#include "handoff.h"
#include "latency.h"
#include "measure.h"
#include "options.h"
#include "report.h"
#include "stage.h"

#define RESULTS_MAX 64
#define TURN_MAX    (60 * NSEC_PER_MSEC) /* of one client */

#define KEY_CONTENDED "lock-contended"
#define KEY_WAITING   "lock-waiting"

static const unsigned crowds[] = {1, 16, 256};

/* What the rounds of one comparison have brought. */
struct rounds {
	struct series ours;
	struct series reference;
	struct series ratio;
};

static void rounds_init(struct rounds *rounds, unsigned n)
{
	series_init(&rounds->ours, n);
	series_init(&rounds->reference, n);
	series_init(&rounds->ratio, n);
}

static void rounds_add(struct rounds *rounds, double ours, double reference, bool is_rate)
{
	series_add(&rounds->ours, ours);
	series_add(&rounds->reference, reference);
	series_add(&rounds->ratio, is_rate ? reference / ours : ours / reference);
}

/* Moves them into the result. */
static void rounds_fini(struct rounds *rounds, struct result *ret)
{
	ret->ours = series_summary(&rounds->ours);
	ret->reference = series_summary(&rounds->reference);
	ret->ratio = series_summary(&rounds->ratio);
	series_fini(&rounds->ours);
	series_fini(&rounds->reference);
	series_fini(&rounds->ratio);
}

static bool is_wanted(const struct options *options, const char *key)
{
	return !options->filter || fnmatch(options->filter, key, 0) == 0;
}

static struct result *new_result(struct report *report, const char *key, const char *what)
{
	if (report->n_results == RESULTS_MAX)
		errx(1, "more than %d results", RESULTS_MAX);
	struct result *result = &report->results[report->n_results++];
	snprintf(result->key, sizeof(result->key), "%s", key);
	snprintf(result->what, sizeof(result->what), "%s", what);
	return result;
}

/* --- one client ------------------------------------------------------------------------------- */

static double median_of_samples(struct scene *scene, const struct comparison *comparison,
				const struct subject *subject, struct series *samples)
{
	uint64_t end = clock_monotonic_ns() + TURN_MAX;

	series_clear(samples);
	/* Where somebody else keeps the processor busy, fewer samples have to do. */
	do
		series_add(samples, latency_sample(scene, comparison, subject));
	while (samples->n < samples->room && clock_monotonic_ns() < end);
	return series_summary(samples).median;
}

static void run_round(struct scene *scene, const struct comparison *comparison, bool ours_first,
		      struct series *samples, struct rounds *rounds)
{
	double ours = 0, reference;

	if (ours_first)
		ours = median_of_samples(scene, comparison, &comparison->ours, samples);
	reference = median_of_samples(scene, comparison, &comparison->reference, samples);
	if (!ours_first)
		ours = median_of_samples(scene, comparison, &comparison->ours, samples);
	rounds_add(rounds, ours, reference, false);
}

static size_t select_comparisons(const struct options *options,
				 const struct comparison *ret[static RESULTS_MAX])
{
	size_t n = 0;

	for (const struct comparison *c = comparisons; c->key && n < RESULTS_MAX; c++)
		if (is_wanted(options, c->key))
			ret[n++] = c;
	return n;
}

/* Rounds go over all comparisons, so that a slow minute of the machine meets each of them. */
static void measure_latency(const struct options *options, struct scene *scene,
			    struct report *report)
{
	const struct comparison *chosen[RESULTS_MAX];
	struct rounds rounds[RESULTS_MAX];
	struct series samples;
	size_t n = select_comparisons(options, chosen);

	series_init(&samples, options->setting.samples);
	for (size_t i = 0; i < n; i++)
		rounds_init(&rounds[i], options->setting.rounds);
	for (unsigned round = 0; round < options->setting.rounds; round++)
		for (size_t i = 0; i < n; i++)
			run_round(scene, chosen[i], round % 2, &samples, &rounds[i]);
	for (size_t i = 0; i < n; i++) {
		struct result *result = new_result(report, chosen[i]->key, chosen[i]->what);
		result->beside = chosen[i]->beside;
		result->aim = chosen[i]->aim;
		rounds_fini(&rounds[i], result);
	}
	series_fini(&samples);
}

/* --- from a writer to a reader -------------------------------------------------------------- */

static double median_of_handoffs(struct handoff *handoff, struct series *samples)
{
	uint64_t end = clock_monotonic_ns() + TURN_MAX;

	series_clear(samples);
	do
		series_add(samples, handoff_sample(handoff));
	while (samples->n < samples->room && clock_monotonic_ns() < end);
	return series_summary(samples).median;
}

static void run_handoffs(const struct options *options, struct scene *scene,
			 const struct handoff_kind *kind, struct rounds *rounds)
{
	struct handoff us, them;
	struct series samples;
	double ours = 0, bare;

	series_init(&samples, options->setting.samples);
	handoff_start(&us, kind, HANDOFF_OURS, scene);
	handoff_start(&them, kind, HANDOFF_BARE, scene);
	for (unsigned round = 0; round < options->setting.rounds; round++) {
		if (round % 2)
			ours = median_of_handoffs(&us, &samples);
		bare = median_of_handoffs(&them, &samples);
		if (!(round % 2))
			ours = median_of_handoffs(&us, &samples);
		rounds_add(rounds, ours, bare, false);
	}
	handoff_stop(&us);
	handoff_stop(&them);
	series_fini(&samples);
}

static void measure_handoffs(const struct options *options, struct scene *scene,
			     struct report *report)
{
	for (const struct handoff_kind *kind = handoff_kinds; kind->key; kind++) {
		struct rounds rounds;
		if (!is_wanted(options, kind->key))
			continue;
		rounds_init(&rounds, options->setting.rounds);
		run_handoffs(options, scene, kind, &rounds);
		struct result *result = new_result(report, kind->key, kind->what);
		result->beside = kind->beside;
		result->aim = kind->aim;
		rounds_fini(&rounds, result);
	}
}

/* --- two who want the same permit ------------------------------------------------------------- */

static void run_contenders(const struct options *options, const struct scene *scene,
			   struct rounds *rounds, unsigned n_rounds)
{
	const struct setting *setting = &options->setting;
	const int cpus[] = {setting->cpu, setting->other_cpu};
	double ours = 0, direct;
	struct contend us, them;

	contend_start(&us, CONTEND_OURS, 2, cpus, scene);
	contend_start(&them, CONTEND_DIRECT, 2, cpus, scene);
	for (unsigned round = 0; round < n_rounds; round++) {
		if (round % 2)
			ours = contend_run(&us, setting->seconds);
		direct = contend_run(&them, setting->seconds);
		if (!(round % 2))
			ours = contend_run(&us, setting->seconds);
		rounds_add(rounds, ours, direct, false);
	}
	contend_stop(&us);
	contend_stop(&them);
}

/* Nine rounds of twenty. */
static void measure_contention(const struct options *options, const struct scene *scene,
			       struct report *report)
{
	unsigned n_rounds = (options->setting.rounds * 9 + 19) / 20;
	struct rounds rounds;

	if (!is_wanted(options, KEY_CONTENDED))
		return;
	if (options->setting.other_cpu < 0) {
		warnx(KEY_CONTENDED " takes two processors, and one is allowed: left out");
		return;
	}
	rounds_init(&rounds, n_rounds);
	run_contenders(options, scene, &rounds, n_rounds);
	struct result *result = new_result(report, KEY_CONTENDED,
					   "acquire and release, 2 processes contend");
	result->beside = "sem_wait, sem_post; of both, " CONTEND_TIMES;
	result->aim = 1.2;
	rounds_fini(&rounds, result);
}

/* Both sides wait at the same time: sleepers are in nobody's way. */
static void run_waiters(const struct options *options, const struct scene *scene,
			struct rounds *rounds, unsigned n_rounds)
{
	struct contend us, them;

	contend_start(&us, CONTEND_OURS, 1, &options->setting.cpu, scene);
	contend_start(&them, CONTEND_DIRECT, 1, &options->setting.cpu, scene);
	for (unsigned round = 0; round < n_rounds; round++) {
		contend_wait_begin(&us);
		contend_wait_begin(&them);
		pause_for(options->setting.wait);
		double direct = contend_wait_end(&them);
		rounds_add(rounds, contend_wait_end(&us), direct, false);
	}
	contend_stop(&us);
	contend_stop(&them);
}

static void measure_waiting(const struct options *options, const struct scene *scene,
			    struct report *report)
{
	unsigned n_rounds = (options->setting.rounds + 3) / 4;
	struct rounds rounds;
	char what[64];

	if (!is_wanted(options, KEY_WAITING))
		return;
	rounds_init(&rounds, n_rounds);
	run_waiters(options, scene, &rounds, n_rounds);
	snprintf(what, sizeof(what), "processor time of waiting %g s", options->setting.wait);
	struct result *result = new_result(report, KEY_WAITING, what);
	result->beside = "sem_wait";
	rounds_fini(&rounds, result);
}

/* --- many clients ----------------------------------------------------------------------------- */

static void run_crowds(const struct options *options, const struct scene *scene, unsigned n,
		       struct rounds *rounds, unsigned n_rounds)
{
	double seconds = options->setting.seconds, ours = 0, bare;
	struct crowd us, them;

	crowd_start(&us, CROWD_OURS, n, scene);
	crowd_start(&them, CROWD_BARE, n, scene);
	for (unsigned round = 0; round < n_rounds; round++) {
		if (round % 2)
			ours = crowd_run(&us, seconds);
		bare = crowd_run(&them, seconds);
		if (!(round % 2))
			ours = crowd_run(&us, seconds);
		rounds_add(rounds, ours, bare, true);
	}
	crowd_stop(&us);
	crowd_stop(&them);
}

/* A run is long against a sample, so there are fewer. */
static void measure_throughput(const struct options *options, const struct scene *scene,
			       struct report *report)
{
	unsigned n_rounds = (options->setting.rounds + 3) / 4;

	for (size_t i = 0; i < sizeof(crowds) / sizeof(crowds[0]); i++) {
		char key[64], what[64];
		struct rounds rounds;
		snprintf(key, sizeof(key), "throughput-%u", crowds[i]);
		snprintf(what, sizeof(what), "attach and detach, %u client%s", crowds[i],
			 crowds[i] == 1 ? "" : "s");
		if (!is_wanted(options, key))
			continue;
		rounds_init(&rounds, n_rounds);
		run_crowds(options, scene, crowds[i], &rounds, n_rounds);
		struct result *result = new_result(report, key, what);
		result->beside = "bare: the same pairs";
		result->is_rate = true;
		rounds_fini(&rounds, result);
	}
}

/* --- frames ----------------------------------------------------------------------------------- */

static const struct {
	const char *key;
	const char *beside;
	enum frames_side side;
} frames_beside[] = {
	{"frames-socket", "the same through a Unix stream socket", FRAMES_SOCKET},
	{"frames-lock", "the same into one segment that both lock", FRAMES_LOCKED},
};

static void run_frames(const struct options *options, enum frames_side side, struct rounds *rounds,
		       unsigned n_rounds)
{
	double seconds = options->setting.seconds, ours = 0, reference;
	struct frames us, them;

	frames_start(&us, FRAMES_PUBLISHED);
	frames_start(&them, side);
	for (unsigned round = 0; round < n_rounds; round++) {
		if (round % 2)
			ours = frames_run(&us, seconds);
		reference = frames_run(&them, seconds);
		if (!(round % 2))
			ours = frames_run(&us, seconds);
		rounds_add(rounds, ours, reference, true);
	}
	frames_stop(&us);
	frames_stop(&them);
}

static void measure_frames(const struct options *options, struct report *report)
{
	unsigned n_rounds = (options->setting.rounds + 3) / 4;

	for (size_t i = 0; i < sizeof(frames_beside) / sizeof(frames_beside[0]); i++) {
		struct rounds rounds;
		if (!is_wanted(options, frames_beside[i].key))
			continue;
		rounds_init(&rounds, n_rounds);
		run_frames(options, frames_beside[i].side, &rounds, n_rounds);
		struct result *result = new_result(report, frames_beside[i].key,
						   "frames of 1 MiB, published and read");
		result->beside = frames_beside[i].beside;
		result->is_rate = true;
		rounds_fini(&rounds, result);
	}
}

/* --- the run ---------------------------------------------------------------------------------- */

static int write_json(const struct report *report, const char *path)
{
	_cleanup_fclose_ FILE *file = fopen(path, "we");

	return file ? report_json(report, file) : -errno;
}

static int tell(const struct options *options, const struct report *report)
{
	int r = options->json ? report_json(report, stdout) : report_table(report, stdout);

	if (r < 0) {
		warnx("standard output: %s", strerror(-r));
		return 1;
	}
	r = options->output ? write_json(report, options->output) : 0;
	if (r < 0)
		warnx("%s: %s", options->output, strerror(-r));
	return r < 0;
}

/* The daemon is pinned by its own number; who is forked from here on is pinned with us. */
static void pin(const struct stage *stage, int cpu)
{
	int r = cpus_pin(0, cpu);

	if (r == 0)
		r = cpus_pin(stage->daemon, cpu);
	if (r < 0)
		errx(1, "cannot use processor %d: %s", cpu, strerror(-r));
}

static void spread(const struct stage *stage, const cpu_set_t *allowed)
{
	if (cpus_free(0, allowed) < 0 || cpus_free(stage->daemon, allowed) < 0)
		err(1, "sched_setaffinity");
}

/* Best ranks first: without the right to the first, the second. */
static enum ranks rank_servers(const struct stage *stage, const struct scene *scene,
			       enum ranks ranks)
{
	int r = ranks_set(ranks, stage->daemon);

	if (r == 0)
		r = ranks_set(ranks, scene->server.pid);
	if (r == -EPERM && ranks == RANKS_FIFO)
		return rank_servers(stage, scene, RANKS_BATCH);
	if (r < 0)
		errx(1, "sched_setscheduler: %s", strerror(-r));
	return ranks;
}

static int run(const struct stage *stage, void *context)
{
	const struct options *options = context;
	struct result results[RESULTS_MAX] = {0};
	struct report report = {.setting = options->setting, .results = results};
	struct scene scene;

	cpu_set_t allowed = cpus_allowed();

	pin(stage, options->setting.cpu);
	scene_open(&scene, options->setting.size, stage->prefix);
	report.setting.ranks = rank_servers(stage, &scene, options->setting.ranks);
	measure_latency(options, &scene, &report);
	/* Who reads or contends has our rank. */
	measure_handoffs(options, &scene, &report);
	measure_contention(options, &scene, &report);
	measure_waiting(options, &scene, &report);
	rank_servers(stage, &scene, RANKS_FAIR);
	if (options->setting.spread)
		spread(stage, &allowed);
	measure_throughput(options, &scene, &report);
	measure_frames(options, &report);
	scene_close(&scene);
	return tell(options, &report);
}

/* --- the program ------------------------------------------------------------------------------ */

static int list(void)
{
	for (const struct comparison *c = comparisons; c->key; c++)
		puts(c->key);
	for (const struct handoff_kind *kind = handoff_kinds; kind->key; kind++)
		puts(kind->key);
	puts(KEY_CONTENDED);
	puts(KEY_WAITING);
	for (size_t i = 0; i < sizeof(crowds) / sizeof(crowds[0]); i++)
		printf("throughput-%u\n", crowds[i]);
	for (size_t i = 0; i < sizeof(frames_beside) / sizeof(frames_beside[0]); i++)
		puts(frames_beside[i].key);
	return 0;
}

int main(int argc, char **argv)
{
	struct options options = options_read(argc, argv);
	struct stage stage;

	if (options.list)
		return list();
	int status = stage_open(&stage) < 0 ? 1 : stage_run(&stage, run, &options);
	stage_close(&stage);
	return status;
}
