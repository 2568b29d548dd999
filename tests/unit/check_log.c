/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, NULL);
	tcase_add_test(tests, lines_name_program_and_level);
	tcase_add_test(tests, lower_levels_are_not_written);
	tcase_add_test(tests, the_journal_gets_priorities);
	tcase_add_test(tests, another_stream_is_not_the_journal);
	tcase_add_test(tests, levels_have_names);
	tcase_add_test(tests, errno_is_kept_and_long_lines_are_cut);
}
