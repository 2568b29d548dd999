/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <syslog.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loglimit.h"
#include "base/text.h"

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

static void write_line(enum log_level level, const char *format, va_list ap)
	__attribute__((format(printf, 2, 0)));

static void write_line(enum log_level level, const char *format, va_list ap)
{
	char text[1024];

	if (level > highest)
		return;
	int saved = errno;
	vsnprintf(text, sizeof(text), format, ap);
	text_make_plain(text);
	/* One call, so that lines of several threads do not mix. */
	if (to_journal)
		fprintf(stderr, "<%d>%s\n", levels[level].priority, text);
	else
		fprintf(stderr, "%s: %s: %s\n", program_name, levels[level].name, text);
	errno = saved;
}

void log_line(enum log_level level, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	write_line(level, format, ap);
	va_end(ap);
}

/* --- lines about users ------------------------------------------------------------------------ */

static struct loglimit limit;
static int timer = -1;

static void set_timer(void)
{
	struct itimerspec when = {
		.it_value = {.tv_sec = (time_t)(limit.deadline / NSEC_PER_SEC),
			     .tv_nsec = (long)(limit.deadline % NSEC_PER_SEC)},
	};

	if (timer >= 0)
		timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

int log_timer(void)
{
	if (timer < 0)
		timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	return timer < 0 ? -errno : timer;
}

void log_tell_left_out(uint64_t now)
{
	struct loglimit_entry entry;

	if (limit.deadline == 0 || limit.deadline > now)
		return;
	while (loglimit_take(&limit, now, &entry))
		if (entry.uid == LOGLIMIT_OTHERS)
			log_line((enum log_level)entry.level,
				 "%" PRIu64 " more lines about other users were left out",
				 entry.left_out);
		else
			log_line((enum log_level)entry.level,
				 "%" PRIu64 " more lines about uid %u were left out",
				 entry.left_out, entry.uid);
	set_timer();
}

/* Whether a line about somebody may be written now. */
static bool admit(enum log_level level, uid_t uid)
{
	uint64_t now = clock_monotonic_ns(), before;

	log_tell_left_out(now);
	before = limit.deadline;
	bool may = loglimit_admit(&limit, uid, level, now);
	if (limit.deadline != before)
		set_timer();
	return may;
}

void log_about(enum log_level level, uid_t uid, const char *format, ...)
{
	va_list ap;

	if (level > highest)
		return;
	int saved = errno;
	if (highest == LOG_LEVEL_DEBUG || admit(level, uid)) {
		va_start(ap, format);
		write_line(level, format, ap);
		va_end(ap);
	}
	errno = saved;
}
