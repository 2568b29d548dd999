/* SPDX-License-Identifier: MIT */
#include "base/parse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct unit {
	const char *name;
	uint64_t factor;
};

/* Largest first, so that formatting takes the first that divides. */
static const struct unit size_units[] = {
	{"T", UINT64_C(1) << 40},
	{"G", UINT64_C(1) << 30},
	{"M", UINT64_C(1) << 20},
	{"K", UINT64_C(1) << 10},
	{"", 1},
	{NULL, 0},
};

static const struct unit duration_units[] = {
	{"d", 86400000}, {"h", 3600000}, {"min", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0},
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Reads digits and moves *text behind them. */
static int read_digits(const char **text, uint64_t *ret)
{
	uint64_t value = 0;
	const char *p = *text;

	if (!is_digit(*p))
		return -EINVAL;
	for (; is_digit(*p); p++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			return -ERANGE;
	*text = p;
	*ret = value;
	return 0;
}

static const struct unit *find_unit(const struct unit *units, const char *name)
{
	for (; units->name; units++)
		if (strcmp(units->name, name) == 0)
			return units;
	return NULL;
}

int parse_u64(const char *text, uint64_t *ret)
{
	uint64_t value;
	int r = read_digits(&text, &value);

	if (r < 0)
		return r;
	if (*text)
		return -EINVAL;
	*ret = value;
	return 0;
}

int parse_size(const char *text, uint64_t *ret)
{
	uint64_t value;
	int r = read_digits(&text, &value);

	if (r < 0)
		return r;
	const struct unit *unit = find_unit(size_units, text);
	if (!unit)
		return -EINVAL;
	if (__builtin_mul_overflow(value, unit->factor, &value))
		return -ERANGE;
	*ret = value;
	return 0;
}

/* Reads ".25" as 250 thousandths; what is finer is cut off. */
static int read_thousandths(const char **text, uint64_t *ret)
{
	uint64_t value = 0;
	uint64_t weight = 100;

	*ret = 0;
	if (**text != '.')
		return 0;
	if (!is_digit(*++*text))
		return -EINVAL;
	for (; is_digit(**text); ++*text, weight /= 10)
		value += weight * (uint64_t)(**text - '0');
	*ret = value;
	return 0;
}

int parse_duration_ms(const char *text, uint64_t *ret)
{
	uint64_t whole, thousandths, value;
	int r = read_digits(&text, &whole);

	if (r < 0)
		return r;
	r = read_thousandths(&text, &thousandths);
	if (r < 0)
		return r;
	const struct unit *unit = find_unit(duration_units, *text ? text : "s");
	if (!unit)
		return -EINVAL;
	if (__builtin_mul_overflow(whole, unit->factor, &value) ||
	    __builtin_add_overflow(value, thousandths * unit->factor / 1000, &value))
		return -ERANGE;
	*ret = value;
	return 0;
}

int parse_mode(const char *text, mode_t *ret)
{
	mode_t mode = 0;

	if (!*text)
		return -EINVAL;
	for (const char *p = text; *p; p++) {
		if (*p < '0' || *p > '7')
			return -EINVAL;
		mode = mode << 3 | (mode_t)(*p - '0');
		if (mode > 0777)
			return -ERANGE;
	}
	*ret = mode;
	return 0;
}

static const char *format(const struct unit *unit, uint64_t value, char *buffer)
{
	while (unit[1].name && (value < unit->factor || value % unit->factor != 0))
		unit++;
	snprintf(buffer, FORMAT_MAX, "%" PRIu64 "%s", value / unit->factor, unit->name);
	return buffer;
}

const char *format_size(uint64_t bytes, char buffer[static FORMAT_MAX])
{
	return format(size_units, bytes, buffer);
}

const char *format_duration_ms(uint64_t ms, char buffer[static FORMAT_MAX])
{
	return format(duration_units, ms, buffer);
}

const char *format_size_about(uint64_t bytes, char buffer[static FORMAT_MAX])
{
	static const char units[] = "BKMGTPE";
	double value = (double)bytes;
	size_t i = 0;

	/* What would be written as 1024.0 is one of the next. */
	for (; value >= 1023.95 && units[i + 1]; i++)
		value /= 1024;
	if (i == 0)
		snprintf(buffer, FORMAT_MAX, "%d B", (int)value);
	else
		snprintf(buffer, FORMAT_MAX, "%.1f %ciB", value, units[i]);
	return buffer;
}
