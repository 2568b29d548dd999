/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "unit.h"

#include "base/log.h"

static int pipe_end;

/* Standard error of this test's own process becomes a pipe. */
static void set_up(void)
{
	int ends[2];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	close(ends[1]);
	pipe_end = ends[0];
	unsetenv("JOURNAL_STREAM");
	log_open("unit");
	log_set_level(LOG_LEVEL_INFO);
}

static const char *written(void)
{
	static char text[4096];
	ssize_t n = read(pipe_end, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

START_TEST(lines_name_program_and_level)
{
	log_error("number %d", 7);
	ck_assert_str_eq(written(), "unit: error: number 7\n");
	log_notice("plain");
	ck_assert_str_eq(written(), "unit: notice: plain\n");
}
END_TEST

START_TEST(lower_levels_are_not_written)
{
	log_debug("not");
	ck_assert_str_eq(written(), "");
	log_info("yes");
	ck_assert_str_eq(written(), "unit: info: yes\n");
	log_set_level(LOG_LEVEL_ERROR);
	log_warning("not");
	ck_assert_str_eq(written(), "");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("yes");
	ck_assert_str_eq(written(), "unit: debug: yes\n");
}
END_TEST

static void name_stream(ino_t inode)
{
	char text[64];
	struct stat st;

	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	snprintf(text, sizeof(text), "%ju:%ju", (uintmax_t)st.st_dev,
		 inode ? (uintmax_t)inode : (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", text, 1);
	log_open("unit");
}

START_TEST(the_journal_gets_priorities)
{
	name_stream(0);
	log_error("a");
	ck_assert_str_eq(written(), "<3>a\n");
	log_warning("b");
	ck_assert_str_eq(written(), "<4>b\n");
	log_info("c");
	ck_assert_str_eq(written(), "<6>c\n");
}
END_TEST

START_TEST(another_stream_is_not_the_journal)
{
	name_stream(1);
	log_error("a");
	ck_assert_str_eq(written(), "unit: error: a\n");
	setenv("JOURNAL_STREAM", "nonsense", 1);
	log_open("unit");
	log_error("a");
	ck_assert_str_eq(written(), "unit: error: a\n");
}
END_TEST

START_TEST(levels_have_names)
{
	enum log_level level;

	for (unsigned i = 0; i < LOG_LEVELS; i++) {
		ck_assert_int_eq(log_level_parse(log_level_name(i), &level), 0);
		ck_assert_uint_eq(level, i);
	}
	ck_assert_int_eq(log_level_parse("loud", &level), -EINVAL);
	ck_assert_int_eq(log_level_parse("", &level), -EINVAL);
	ck_assert_int_eq(log_level_parse("Error", &level), -EINVAL);
}
END_TEST

START_TEST(errno_is_kept_and_long_lines_are_cut)
{
	char text[3000];

	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	errno = EXDEV;
	log_error("%s", text);
	ck_assert_int_eq(errno, EXDEV);
	const char *line = written();
	ck_assert_uint_lt(strlen(line), 1100);
	ck_assert_int_eq(line[strlen(line) - 1], '\n');
}
END_TEST

START_TEST(a_line_stays_one_line)
{
	log_error("a\nunit: error: b \x1b[2J \xff '\xe2\x80\xae' \xe2\x80\xa8 \xc3\xa4");
	ck_assert_str_eq(written(), "unit: error: a?unit: error: b ?[2J ? '??"
				    "?' ??"
				    "? \xc3\xa4\n");
	/* Cut in the middle of a character. */
	log_error("%1022s\xc3\xa4", "");
	const char *line = written();
	ck_assert_str_eq(line + strlen(line) - 3, " ?\n");
}
END_TEST

/* A pipe in packet mode has each write(2) for itself. */
START_TEST(a_line_is_one_write)
{
	char long_text[1000], line[4096];
	int ends[2];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK | O_DIRECT), 0);
	ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	memset(long_text, 'a', sizeof(long_text));
	long_text[sizeof(long_text) - 1] = '\0';
	log_error("%s", long_text);
	log_about(LOG_LEVEL_ERROR, 1001, "b");
	ck_assert_int_eq(read(ends[0], line, sizeof(line)), 999 + 14);
	ck_assert_int_eq(read(ends[0], line, sizeof(line)), 14 + 1);
}
END_TEST

static unsigned count_lines(const char *text)
{
	unsigned n = 0;

	for (; (text = strchr(text, '\n')); text++)
		n++;
	return n;
}

START_TEST(lines_about_a_user_are_limited)
{
	for (int i = 0; i < 30; i++) {
		errno = EXDEV;
		log_about(LOG_LEVEL_NOTICE, 1001, "line %d", i);
		ck_assert_int_eq(errno, EXDEV);
	}
	const char *text = written();
	ck_assert_uint_eq(count_lines(text), 20);
	unit_assert_has(text, "unit: notice: line 19\n");
	/* These are nobody's, and somebody else's. */
	log_notice("plain");
	log_about(LOG_LEVEL_NOTICE, 1002, "other");
	ck_assert_str_eq(written(), "unit: notice: plain\nunit: notice: other\n");
	log_tell_left_out(0);
	ck_assert_str_eq(written(), "");
	log_tell_left_out(UINT64_MAX);
	ck_assert_str_eq(written(), "unit: notice: 10 more lines about uid 1001 were left out\n");
	log_tell_left_out(UINT64_MAX);
	ck_assert_str_eq(written(), "");
}
END_TEST

START_TEST(lines_that_are_not_limited_do_not_count)
{
	log_set_level(LOG_LEVEL_NOTICE);
	for (int i = 0; i < 30; i++)
		log_about(LOG_LEVEL_INFO, 1001, "no");
	ck_assert_str_eq(written(), "");
	log_set_level(LOG_LEVEL_DEBUG);
	for (int i = 0; i < 60; i++)
		log_about(i % 2 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, 1001, "yes");
	ck_assert_uint_eq(count_lines(written()), 60);
	log_set_level(LOG_LEVEL_INFO);
	log_about(LOG_LEVEL_INFO, 1001, "yes");
	ck_assert_str_eq(written(), "unit: info: yes\n");
	log_tell_left_out(UINT64_MAX);
	ck_assert_str_eq(written(), "");
}
END_TEST

/* Ten seconds after the first of the lines, and not before: from the timer's own word. */
START_TEST(a_timer_says_when_it_is_over)
{
	struct itimerspec when;
	int timer = log_timer();

	ck_assert_int_ge(timer, 0);
	ck_assert_int_eq(timerfd_gettime(timer, &when), 0);
	ck_assert_int_eq(when.it_value.tv_sec, 0);
	for (int i = 0; i < 21; i++)
		log_about(LOG_LEVEL_NOTICE, 1001, "line");
	ck_assert_int_eq(timerfd_gettime(timer, &when), 0);
	ck_assert_int_ge(when.it_value.tv_sec, 5);
	ck_assert_int_le(when.it_value.tv_sec, 10);
	log_tell_left_out(UINT64_MAX);
	ck_assert_int_eq(timerfd_gettime(timer, &when), 0);
	ck_assert_int_eq(when.it_value.tv_sec + when.it_value.tv_nsec, 0);
	ck_assert_int_eq(log_timer(), timer);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, NULL);
	tcase_add_test(tests, lines_name_program_and_level);
	tcase_add_test(tests, lower_levels_are_not_written);
	tcase_add_test(tests, the_journal_gets_priorities);
	tcase_add_test(tests, another_stream_is_not_the_journal);
	tcase_add_test(tests, levels_have_names);
	tcase_add_test(tests, errno_is_kept_and_long_lines_are_cut);
	tcase_add_test(tests, a_line_stays_one_line);
	tcase_add_test(tests, a_line_is_one_write);
	tcase_add_test(tests, lines_about_a_user_are_limited);
	tcase_add_test(tests, lines_that_are_not_limited_do_not_count);
	tcase_add_test(tests, a_timer_says_when_it_is_over);
}
