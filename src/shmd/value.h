/* SPDX-License-Identifier: MIT */
/*
 * The kinds of values that options of the configuration have: how each is read from text, checked, and
 * written again. Knows nothing of which options there are.
 */
#ifndef SHMD_VALUE_H
#define SHMD_VALUE_H

#include <stdio.h>

#define VALUE_WHY_MAX 256

struct value_kind {
	const char *form; /* what a value looks like, for errors and manual */
	/* 0 or a negative errno; what is wrong, where `form` alone does not say it, goes to `why`. */
	int (*parse)(const char *text, void *field, char why[static VALUE_WHY_MAX]);
	void (*print)(const void *field, FILE *to);
};

/* The type of the field stands behind each. */
extern const struct value_kind value_path;  /* char[CONFIG_PATH_MAX] */
extern const struct value_kind value_level; /* uint64_t, as the next two; enum log_level */
extern const struct value_kind value_count;
extern const struct value_kind value_duration;       /* ms */
extern const struct value_kind value_amount;         /* struct config_amount */
extern const struct value_kind value_administrators; /* gid_t */

/* Of limits for some users. */
extern const struct value_kind value_users;      /* struct users */
extern const struct value_kind value_own_count;  /* struct config_amount, as the next one */
extern const struct value_kind value_own_amount; /* QUOTA_GENERAL: none of their own */

/* Of rules, as policy.h has them; value_users too. */
extern const struct value_kind value_globs;
extern const struct value_kind value_owner;
extern const struct value_kind value_group;
extern const struct value_kind value_forced_mode;
extern const struct value_kind value_mode_max;
extern const struct value_kind value_lifetimes;
extern const struct value_kind value_time_limit;
extern const struct value_kind value_size_limit;
extern const struct value_kind value_count_limit;

#endif
