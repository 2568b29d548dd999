/* SPDX-License-Identifier: MIT */
#include "shmdctl/column.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <shmd.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

#define VALUE_MAX 48

const char *const lifetime_names[] = {
	[SHMD_LIFETIME_CLIENTS] = "clients",
	[SHMD_LIFETIME_OWNER] = "owner",
	[SHMD_LIFETIME_PERSISTENT] = "persistent",
	NULL,
};

static uint64_t load_number(const struct column *column, const void *row)
{
	const char *field = (const char *)row + column->offset;
	uint32_t narrow;
	uint64_t wide;

	if (column->width == sizeof(narrow)) {
		memcpy(&narrow, field, sizeof(narrow));
		return narrow;
	}
	memcpy(&wide, field, sizeof(wide));
	return wide;
}

/* The value where it is a word, NULL where there is none. */
static const char *load_word(const struct column *column, const void *row)
{
	const char *text;

	switch (column->format) {
	case FORMAT_TEXT:
		memcpy(&text, (const char *)row + column->offset, sizeof(text));
		return text && *text ? text : NULL;
	case FORMAT_LIFETIME: {
		uint64_t lifetime = load_number(column, row);
		return lifetime <= SHMD_LIFETIME_PERSISTENT ? lifetime_names[lifetime] : NULL;
	}
	case FORMAT_ACCESS:
		return load_number(column, row) ? "read-only" : "read-write";
	default:
		return NULL;
	}
}

/* A copy of a word without what could move the cursor or break JSON: it comes from strangers. */
static char *copy_word(const char *word)
{
	char *copy = strdup(word);

	if (copy)
		text_make_printable(copy);
	return copy;
}

static void format_bytes(char buffer[static VALUE_MAX], uint64_t bytes)
{
	static const char units[] = "BKMGTPE";
	size_t unit = 0;
	uint64_t whole = bytes, rest = 0;

	for (; whole >= 1024; unit++) {
		rest = whole % 1024;
		whole /= 1024;
	}
	if (rest * 10 / 1024 > 0)
		snprintf(buffer, VALUE_MAX, "%" PRIu64 ".%" PRIu64 "%c", whole, rest * 10 / 1024,
			 units[unit]);
	else
		snprintf(buffer, VALUE_MAX, "%" PRIu64 "%c", whole, units[unit]);
}

/* The two largest units that are not zero, as far as they stand side by side: "3d 4h", "250ms". */
static void format_ms(char buffer[static VALUE_MAX], uint64_t ms)
{
	static const struct {
		const char *name;
		uint64_t factor;
	} units[] = {{"d", 86400000}, {"h", 3600000}, {"min", 60000}, {"s", 1000}, {"ms", 1}};
	const size_t seconds = 3;
	size_t i = 0;

	while (i < seconds + 1 && ms < units[i].factor)
		i++;
	int n = snprintf(buffer, VALUE_MAX, "%" PRIu64 "%s", ms / units[i].factor, units[i].name);
	ms %= units[i].factor;
	if (i < seconds && ms >= units[i + 1].factor)
		snprintf(buffer + n, VALUE_MAX - (size_t)n, " %" PRIu64 "%s",
			 ms / units[i + 1].factor, units[i + 1].name);
}

static void format_number(char buffer[static VALUE_MAX], enum format format, uint64_t number,
			  bool bytes)
{
	switch (format) {
	case FORMAT_BYTES:
		if (!bytes)
			return format_bytes(buffer, number);
		break;
	case FORMAT_MS:
		return format_ms(buffer, number);
	case FORMAT_MODE:
		snprintf(buffer, VALUE_MAX, "%04" PRIo64, number);
		return;
	case FORMAT_FLAG:
		strcpy(buffer, number ? "yes" : "no");
		return;
	default:
		break;
	}
	snprintf(buffer, VALUE_MAX, "%" PRIu64, number);
}

static bool is_word(const struct column *column)
{
	return column->format == FORMAT_TEXT || column->format == FORMAT_LIFETIME ||
	       column->format == FORMAT_ACCESS;
}

static bool is_none(const struct column *column, uint64_t number)
{
	if (column->most_is_none &&
	    number == (column->width == sizeof(uint32_t) ? UINT32_MAX : UINT64_MAX))
		return true;
	return number == 0 && (column->zero_is_none || column->format == FORMAT_PID);
}

char *column_text(const struct column *column, const void *row, bool bytes)
{
	char buffer[VALUE_MAX];

	if (is_word(column)) {
		const char *word = load_word(column, row);
		return copy_word(word ? word : "-");
	}
	enum format format = column->format_of ? column->format_of(row) : column->format;
	uint64_t number = load_number(column, row);
	if (is_none(column, number))
		return strdup("-");
	format_number(buffer, format, number, bytes);
	return strdup(buffer);
}

static struct json_object *json_word(const char *word)
{
	_cleanup_free_ char *copy = word ? copy_word(word) : NULL;

	return copy ? json_object_new_string(copy) : NULL;
}

static struct json_object *json_seconds(uint64_t ms)
{
	char digits[VALUE_MAX];

	snprintf(digits, sizeof(digits), "%" PRIu64 ".%03" PRIu64, ms / 1000, ms % 1000);
	return json_object_new_double_s((double)ms / 1000, digits);
}

struct json_object *column_json(const struct column *column, const void *row)
{
	char mode[VALUE_MAX];

	if (is_word(column))
		return json_word(load_word(column, row));
	uint64_t number = load_number(column, row);
	if (is_none(column, number))
		return NULL;
	switch (column->format) {
	case FORMAT_MS:
		return json_seconds(number);
	case FORMAT_MODE:
		format_number(mode, FORMAT_MODE, number, true);
		return json_object_new_string(mode);
	case FORMAT_FLAG:
		return json_object_new_boolean(number != 0);
	default:
		return json_object_new_uint64(number);
	}
}

const struct column *column_find(const struct column *columns, const char *name)
{
	for (; columns->key; columns++)
		if (strcasecmp(name, columns->key) == 0 || strcasecmp(name, columns->heading) == 0)
			return columns;
	return NULL;
}
