/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <libsmartcols/libsmartcols.h>
#include <sys/utsname.h>

#include "base/cleanup.h"

#define CELL_MAX 32

/* --- for people ------------------------------------------------------------------------------- */

static void unref_table(struct libscols_table *table)
{
	scols_unref_table(table);
}
DEFINE_CLEANUP(struct libscols_table *, unref_table, cleanup_table);

static const struct {
	const char *heading;
	int flags;
} columns[] = {
	{"WHAT", 0},
	{"SHMD", SCOLS_FL_RIGHT},
	{"REFERENCE", SCOLS_FL_RIGHT},
	{"RATIO", SCOLS_FL_RIGHT},
	{"QUARTILES", 0},
	{"AIM", 0},
	{"BESIDE", 0},
};

static void format_value(char cell[static CELL_MAX], double value, bool is_rate)
{
	if (is_rate)
		snprintf(cell, CELL_MAX, "%.1f k/s", value / 1000);
	else
		snprintf(cell, CELL_MAX, value < 1 ? "%.3f us" : "%.2f us", value);
}

static void format_aim(char cell[static CELL_MAX], const struct result *result)
{
	if (result->aim > 0)
		snprintf(cell, CELL_MAX, "<= %g%s", result->aim,
			 result->ratio.median > result->aim ? " missed" : "");
	else
		cell[0] = '\0';
}

static int add_line(struct libscols_table *table, const struct result *result)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	char ours[CELL_MAX], reference[CELL_MAX], ratio[CELL_MAX], spread[CELL_MAX], aim[CELL_MAX];

	if (!line)
		return -ENOMEM;
	format_value(ours, result->ours.median, result->is_rate);
	format_value(reference, result->reference.median, result->is_rate);
	snprintf(ratio, CELL_MAX, "%.2f", result->ratio.median);
	snprintf(spread, CELL_MAX, "%.2f-%.2f", result->ratio.low, result->ratio.high);
	format_aim(aim, result);
	const char *cells[] = {result->what, ours, reference, ratio, spread, aim, result->beside};
	for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++)
		if (scols_line_set_data(line, i, cells[i]) < 0)
			return -ENOMEM;
	return 0;
}

int report_table(const struct report *report, FILE *file)
{
	CLEANUP(cleanup_table) struct libscols_table *table = scols_new_table();

	if (!table)
		return -ENOMEM;
	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
		if (!scols_table_new_column(table, columns[i].heading, 0, columns[i].flags))
			return -ENOMEM;
	for (size_t i = 0; i < report->n_results; i++)
		if (add_line(table, &report->results[i]) < 0)
			return -ENOMEM;
	scols_table_set_stream(table, file);
	return scols_print_table(table);
}

/* --- for programs ----------------------------------------------------------------------------- */

/* json-c copies what it is given; a NULL in between is a missing value, and -ENOMEM at the end. */
static void put(struct json_object *object, const char *key, struct json_object *value)
{
	json_object_object_add(object, key, value);
}

static struct json_object *json_number(double value)
{
	char digits[CELL_MAX];

	snprintf(digits, sizeof(digits), "%.4f", value);
	return json_object_new_double_s(value, digits);
}

static struct json_object *json_summary(const struct summary *summary)
{
	struct json_object *object = json_object_new_object();

	put(object, "median", json_number(summary->median));
	put(object, "low", json_number(summary->low));
	put(object, "high", json_number(summary->high));
	return object;
}

static struct json_object *json_result(const struct result *result)
{
	struct json_object *object = json_object_new_object();

	put(object, "name", json_object_new_string(result->key));
	put(object, "what", json_object_new_string(result->what));
	put(object, "reference", json_object_new_string(result->beside));
	put(object, "unit", json_object_new_string(result->is_rate ? "1/s" : "us"));
	put(object, "shmd", json_summary(&result->ours));
	put(object, "reference_value", json_summary(&result->reference));
	put(object, "ratio", json_summary(&result->ratio));
	put(object, "aim", result->aim > 0 ? json_number(result->aim) : NULL);
	return object;
}

static struct json_object *json_setting(const struct setting *setting)
{
	struct json_object *object = json_object_new_object();
	struct utsname name;

	put(object, "version", json_object_new_string(PACKAGE_VERSION));
	if (uname(&name) == 0)
		put(object, "kernel", json_object_new_string(name.release));
	put(object, "size", json_object_new_uint64(setting->size));
	put(object, "rounds", json_object_new_int((int)setting->rounds));
	put(object, "samples", json_object_new_int((int)setting->samples));
	put(object, "seconds", json_number(setting->seconds));
	put(object, "wait_seconds", json_number(setting->wait));
	put(object, "cpu", json_object_new_int(setting->cpu));
	put(object, "other_cpu",
	    setting->other_cpu < 0 ? NULL : json_object_new_int(setting->other_cpu));
	put(object, "ranks", json_object_new_string(ranks_names[setting->ranks]));
	put(object, "all_cpus", json_object_new_boolean(setting->spread));
	return object;
}

int report_json(const struct report *report, FILE *file)
{
	struct json_object *object = json_object_new_object();
	struct json_object *rows = json_object_new_array();

	put(object, "setting", json_setting(&report->setting));
	for (size_t i = 0; i < report->n_results; i++)
		json_object_array_add(rows, json_result(&report->results[i]));
	put(object, "benchmarks", rows);
	const char *text = json_object_to_json_string_ext(object,
							  JSON_C_TO_STRING_PRETTY |
								  JSON_C_TO_STRING_SPACED |
								  JSON_C_TO_STRING_NOSLASHESCAPE);
	int r = text ? 0 : -ENOMEM;
	if (text && (fprintf(file, "%s\n", text) < 0 || fflush(file) != 0))
		r = -errno;
	json_object_put(object);
	return r;
}
