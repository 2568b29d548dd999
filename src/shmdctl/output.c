/* SPDX-License-Identifier: MIT */
#include "shmdctl/output.h"

#include <errno.h>
#include <json-c/json.h>
#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

#define COLUMNS_MAX 32

struct table {
	const struct layout *layout; /* the caller's */
	size_t n_columns;
	const struct column *columns[COLUMNS_MAX];
	struct libscols_table *lines; /* for people; else NULL */
	struct json_object *rows;     /* for programs; else NULL */
};

/* Takes the columns that are named in the layout, in that order. */
static int select_named(struct table *table, const struct column *columns)
{
	_cleanup_free_ char *names = strdup(table->layout->columns);
	char *rest = names;

	if (!names)
		return -ENOMEM;
	for (char *name; (name = strsep(&rest, ","));) {
		const struct column *column = column_find(columns, name);
		if (!column || table->n_columns == COLUMNS_MAX)
			return -EINVAL;
		table->columns[table->n_columns++] = column;
	}
	return 0;
}

static int select_columns(struct table *table, const struct column *columns)
{
	if (table->layout->columns)
		return select_named(table, columns);
	for (; columns->key && table->n_columns < COLUMNS_MAX; columns++)
		if (!columns->extra || table->layout->json)
			table->columns[table->n_columns++] = columns;
	return 0;
}

static int alignment(const struct column *column)
{
	switch (column->format) {
	case FORMAT_NUMBER:
	case FORMAT_PID:
	case FORMAT_BYTES:
	case FORMAT_MS:
		return SCOLS_FL_RIGHT;
	default:
		return 0;
	}
}

static int prepare_lines(struct table *table)
{
	table->lines = scols_new_table();
	if (!table->lines)
		return -ENOMEM;
	scols_table_enable_noheadings(table->lines, table->layout->no_headings);
	for (size_t i = 0; i < table->n_columns; i++)
		if (!scols_table_new_column(table->lines, table->columns[i]->heading, 0,
					    alignment(table->columns[i])))
			return -ENOMEM;
	return 0;
}

static int prepare_rows(struct table *table)
{
	table->rows = json_object_new_array();
	return table->rows ? 0 : -ENOMEM;
}

int table_new(struct table **ret, const struct column *columns, const struct layout *layout)
{
	struct table *table = calloc(1, sizeof(*table));
	int r;

	if (!table)
		return -ENOMEM;
	table->layout = layout;
	r = select_columns(table, columns);
	if (r == 0)
		r = layout->json ? prepare_rows(table) : prepare_lines(table);
	if (r < 0)
		table_free(table);
	else
		*ret = table;
	return r;
}

struct table *table_free(struct table *table)
{
	if (table) {
		scols_unref_table(table->lines);
		json_object_put(table->rows);
		free(table);
	}
	return NULL;
}

static int set_text(struct libscols_line *line, size_t n, char *text)
{
	if (!text)
		return -ENOMEM;
	int r = scols_line_refer_data(line, n, text);
	if (r < 0)
		free(text);
	return r;
}

static int add_line(struct table *table, const void *row)
{
	struct libscols_line *line = scols_table_new_line(table->lines, NULL);
	int r = line ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < table->n_columns; i++)
		r = set_text(line, i, column_text(table->columns[i], row, table->layout->bytes));
	return r;
}

static int add_member(struct json_object *object, const struct column *column, const void *row)
{
	return json_object_object_add(object, column->key, column_json(column, row)) < 0 ? -ENOMEM
											 : 0;
}

static int add_row(struct table *table, const void *row)
{
	struct json_object *object = json_object_new_object();
	int r = object ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < table->n_columns; i++)
		r = add_member(object, table->columns[i], row);
	if (r == 0 && json_object_array_add(table->rows, object) < 0)
		r = -ENOMEM;
	if (r < 0)
		json_object_put(object);
	return r;
}

int table_add(struct table *table, const void *row)
{
	return table->rows ? add_row(table, row) : add_line(table, row);
}

struct json_object *table_json(struct table *table)
{
	return json_object_get(table->rows);
}

int table_fill(struct table **ret, const struct column *columns, const struct layout *layout,
	       void *const *rows, size_t n_rows)
{
	int r = table_new(ret, columns, layout);

	for (size_t i = 0; r == 0 && i < n_rows; i++)
		r = table_add(*ret, rows[i]);
	return r;
}

int table_print(struct table *table, const char *key)
{
	struct json_object *object;

	if (table->lines)
		return scols_print_table(table->lines);
	object = json_object_new_object();
	if (!object)
		return -ENOMEM;
	json_object_object_add(object, key, table_json(table));
	return json_print(object);
}

struct json_object *row_json(const struct column *columns, const void *row)
{
	struct json_object *object = json_object_new_object();

	for (; object && columns->key; columns++)
		add_member(object, columns, row);
	return object;
}

static int add_property(struct libscols_table *lines, const struct column *column, const void *row,
			bool bytes)
{
	struct libscols_line *line = scols_table_new_line(lines, NULL);
	char *label;

	if (!line || asprintf(&label, "%s:", column->heading) < 0)
		return -ENOMEM;
	int r = set_text(line, 0, label);
	return r < 0 ? r : set_text(line, 1, column_text(column, row, bytes));
}

static int add_properties(struct libscols_table *lines, const struct facts *facts, bool bytes)
{
	int r = 0;

	for (const struct column *column = facts->columns; r == 0 && column->key; column++)
		r = add_property(lines, column, facts->row, bytes);
	return r;
}

int facts_print(const struct facts *facts, const struct layout *layout)
{
	struct libscols_table *lines = scols_new_table();
	int r = 0;

	if (!lines)
		return -ENOMEM;
	scols_table_enable_noheadings(lines, 1);
	if (!scols_table_new_column(lines, "", 0, 0) || !scols_table_new_column(lines, "", 0, 0))
		r = -ENOMEM;
	for (; r == 0 && facts->columns; facts++)
		r = add_properties(lines, facts, layout->bytes);
	if (r == 0)
		r = scols_print_table(lines);
	scols_unref_table(lines);
	return r;
}

static int print_and_put(struct json_object *object, int flags)
{
	const char *text = object ? json_object_to_json_string_ext(object, flags) : NULL;

	if (text)
		puts(text);
	json_object_put(object);
	return text ? 0 : -ENOMEM;
}

int json_print_line(struct json_object *object)
{
	return print_and_put(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

int json_print(struct json_object *object)
{
	return print_and_put(object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
					     JSON_C_TO_STRING_NOSLASHESCAPE);
}
