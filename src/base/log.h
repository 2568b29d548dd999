/* SPDX-License-Identifier: MIT */
/*
 * The daemon's log: a line each on standard error, with the priority prefix of sd-daemon(3) when
 * standard error is the journal. What strangers can write into a line stays inside of it: control
 * characters, and those that turn the direction of what stands behind them, become question marks.
 * Nor can they make many: see log_about().
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_NOTICE,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVELS,
};

/* The name of a level, as options spell it. */
const char *log_level_name(enum log_level level);

/* Finds a level by its name; -EINVAL if there is none of that name. */
int log_level_parse(const char *text, enum log_level *ret);

/* Lines above this level are not written. */
void log_set_level(enum log_level level);

/* Decides between the journal's form and the terminal's; call once, first. `program` is kept. */
void log_open(const char *program);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * A line about what a user does, who may do it again and again, also over new connections: so many lines
 * of a level may be about a user in a time (base/loglimit.h), and then one tells how many were left out.
 * Who has set the level debug wants to have all. For the main thread alone.
 */
void log_about(enum log_level level, uid_t uid, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* A descriptor that is readable when it is time for log_tell_left_out(), or -errno. Without it, that is
 * told with the next line that is about anybody. */
int log_timer(void);

/* Tells what was left out and is due at that time of CLOCK_MONOTONIC, in ns; UINT64_MAX: all. */
void log_tell_left_out(uint64_t now);

#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)  log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
