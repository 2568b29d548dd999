/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

static const struct {
	const char *name;
	int priority;
} levels[LOG_LEVELS] = {
	[LOG_LEVEL_ERROR] = {"error", LOG_ERR},      [LOG_LEVEL_WARNING] = {"warning", LOG_WARNING},
	[LOG_LEVEL_NOTICE] = {"notice", LOG_NOTICE}, [LOG_LEVEL_INFO] = {"info", LOG_INFO},
	[LOG_LEVEL_DEBUG] = {"debug", LOG_DEBUG},
};

static enum log_level highest = LOG_LEVEL_INFO;
static const char *program_name = "";
static bool to_journal;

const char *log_level_name(enum log_level level)
{
	return levels[level].name;
}

int log_level_parse(const char *text, enum log_level *ret)
{
	for (size_t i = 0; i < LOG_LEVELS; i++)
		if (strcmp(text, levels[i].name) == 0) {
			*ret = (enum log_level)i;
			return 0;
		}
	return -EINVAL;
}

void log_set_level(enum log_level level)
{
	highest = level;
}

/* systemd sets JOURNAL_STREAM to the device and inode of the socket it made our standard error. */
static bool stderr_is_journal(void)
{
	const char *text = getenv("JOURNAL_STREAM");
	uintmax_t device, inode;
	struct stat st;

	return text && sscanf(text, "%ju:%ju", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void log_open(const char *program)
{
	program_name = program;
	to_journal = stderr_is_journal();
}

void log_line(enum log_level level, const char *format, ...)
{
	char text[1024];
	va_list ap;

	if (level > highest)
		return;
	int saved = errno;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	/* One call, so that lines of several threads do not mix. */
	if (to_journal)
		fprintf(stderr, "<%d>%s\n", levels[level].priority, text);
	else
		fprintf(stderr, "%s: %s: %s\n", program_name, levels[level].name, text);
	errno = saved;
}
