/* SPDX-License-Identifier: MIT */
#include "preload/options.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"
#include "base/text.h"

static struct options options = {.lifetime = SHMD_LIFETIME_CLIENTS};

/* --- values ----------------------------------------------------------------------------------- */

static int read_lifetime(const char *value)
{
	if (strcmp(value, "persistent") == 0)
		options.lifetime = SHMD_LIFETIME_PERSISTENT;
	else if (strcmp(value, "clients") != 0)
		return -EINVAL;
	return 0;
}

static int read_linger(const char *value)
{
	uint64_t ms;
	int r = parse_duration_ms(value, &ms);

	if (r == 0 && ms > UINT32_MAX)
		r = -ERANGE;
	if (r == 0)
		options.linger_ms = (unsigned)ms;
	return r;
}

static int read_switch(const char *value, bool *ret)
{
	if (strcmp(value, "0") != 0 && strcmp(value, "1") != 0)
		return -EINVAL;
	*ret = value[0] == '1';
	return 0;
}

static int read_require(const char *value)
{
	return read_switch(value, &options.requires_daemon);
}

static int read_recover(const char *value)
{
	return read_switch(value, &options.recovers);
}

static const struct variable {
	const char *name;
	int (*read)(const char *value);
	const char *rule;
} variables[] = {
	{"SHMD_PRELOAD_LIFETIME", read_lifetime, "'clients' or 'persistent'"},
	{"SHMD_PRELOAD_LINGER", read_linger,
	 "a duration of less than 50 days, like 500ms, 2s or 1min"},
	{"SHMD_PRELOAD_REQUIRE", read_require, "0 or 1"},
	{"SHMD_PRELOAD_RECOVER", read_recover, "0 or 1"},
};

/* --- reading ---------------------------------------------------------------------------------- */

/* In one system call, so that lines of several processes stay whole. */
static void complain(const struct variable *variable, const char *value)
{
	char shown[64], line[256];

	text_copy(shown, sizeof(shown), value);
	text_make_plain(shown);
	int n = snprintf(
		line, sizeof(line),
		"libshmd-preload: %s is '%s', and must be %s: shm_open and sem_open fail\n",
		variable->name, shown, variable->rule);
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

/* An empty variable is as good as none. */
static int read_variable(const struct variable *variable)
{
	const char *value = secure_getenv(variable->name);
	int r = value && value[0] ? variable->read(value) : 0;

	if (r < 0)
		complain(variable, value);
	return r;
}

static int result;

static void read_all(void)
{
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		if (read_variable(&variables[i]) < 0)
			result = -EINVAL;
	/* What nothing ends does not linger. */
	if (options.lifetime == SHMD_LIFETIME_PERSISTENT)
		options.linger_ms = 0;
}

int options_get(const struct options **ret)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, read_all);
	if (result == 0)
		*ret = &options;
	return result;
}
