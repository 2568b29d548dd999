/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "unit.h"

#include "base/text.h"

static void expect(enum text_fault fault, const char *text, size_t at)
{
	size_t where = 99;

	ck_assert_int_eq(text_check(text, strlen(text), &where), fault);
	if (fault != TEXT_OK)
		ck_assert_uint_eq(where, at);
}

START_TEST(good_text)
{
	expect(TEXT_OK, "", 0);
	expect(TEXT_OK, "plain ~", 0);
	/* The first and last of each length. */
	expect(TEXT_OK, "\xc2\xa0 \xdf\xbf", 0);
	expect(TEXT_OK, "\xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xef\xbf\xbf", 0);
	expect(TEXT_OK, "\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf", 0);
}
END_TEST

START_TEST(control_characters)
{
	expect(TEXT_CONTROL, "ab\n", 2);
	expect(TEXT_CONTROL, "\x1b[0m", 0);
	expect(TEXT_CONTROL, "a\x1f", 1);
	expect(TEXT_CONTROL, "\x7f", 0);
	expect(TEXT_CONTROL, "\xc2\x80", 0);
	expect(TEXT_CONTROL, "a\xc2\x9f", 1);
}
END_TEST

START_TEST(a_zero_inside_is_a_control_character)
{
	size_t where;

	ck_assert_int_eq(text_check("a\0b", 3, &where), TEXT_CONTROL);
	ck_assert_uint_eq(where, 1);
}
END_TEST

START_TEST(what_is_not_utf8)
{
	expect(TEXT_NOT_UTF8, "\x80", 0);
	expect(TEXT_NOT_UTF8, "a\xff", 1);
	expect(TEXT_NOT_UTF8, "\xc3", 0);
	expect(TEXT_NOT_UTF8, "\xe2\x82", 0);
	expect(TEXT_NOT_UTF8, "\xc3(", 0);
	expect(TEXT_NOT_UTF8, "\xf0\x9f\x98", 0);
	/* Overlong: another spelling of '/' and of zero. */
	expect(TEXT_NOT_UTF8, "\xc0\xaf", 0);
	expect(TEXT_NOT_UTF8, "\xc1\xbf", 0);
	expect(TEXT_NOT_UTF8, "\xe0\x80\xaf", 0);
	expect(TEXT_NOT_UTF8, "\xe0\x9f\xbf", 0);
	expect(TEXT_NOT_UTF8, "\xf0\x8f\xbf\xbf", 0);
	/* Surrogates, and beyond the last. */
	expect(TEXT_NOT_UTF8, "\xed\xa0\x80", 0);
	expect(TEXT_NOT_UTF8, "\xed\xbf\xbf", 0);
	expect(TEXT_NOT_UTF8, "\xf4\x90\x80\x80", 0);
	expect(TEXT_NOT_UTF8, "\xf8\x88\x80\x80\x80", 0);
}
END_TEST

/* The size counts, not what lies behind it. */
START_TEST(nothing_is_read_behind_the_end)
{
	static const char euro[] = "\xe2\x82\xac";
	size_t where;

	ck_assert_int_eq(text_check(euro, 2, &where), TEXT_NOT_UTF8);
	ck_assert_int_eq(text_check(euro, 3, &where), TEXT_OK);
	ck_assert_int_eq(text_check("a\n", 1, &where), TEXT_OK);
}
END_TEST

START_TEST(bad_bytes_become_question_marks)
{
	char text[] = "a\n\xff\xc3\xa4\x1b[m\xe2\x82";

	text_make_printable(text);
	ck_assert_str_eq(text, "a??\xc3\xa4?[m??");
	char empty[] = "";
	text_make_printable(empty);
	ck_assert_str_eq(empty, "");
	/* A C1 character has two bytes; the second alone is not UTF-8. */
	char c1[] = "\xc2\x9b";
	text_make_printable(c1);
	ck_assert_str_eq(c1, "??");
}
END_TEST

START_TEST(what_turns_lines_becomes_question_marks)
{
	char text[] = "a\xe2\x80\xae"
		      "b\xe2\x81\xa6"
		      "c\xd8\x9c"
		      "d\xe2\x80\x8f"
		      "e\n\xff";
	/* Their neighbours, and what other scripts are written in. */
	char good[] = "\xe2\x80\x8d \xe2\x80\xa7 \xe2\x80\xaf \xe2\x81\xa5 \xe2\x81\xaa \xd7\x90 "
		      "\xd8\x9b \xf0\x9f\x98\x80";
	char copy[sizeof(good)];

	text_make_plain(text);
	ck_assert_str_eq(text, "a???b???c??d???e??");
	memcpy(copy, good, sizeof(good));
	text_make_plain(good);
	ck_assert_str_eq(good, copy);
	/* Both kinds of separators, and the first and the last of each range. */
	char all[] = "\xe2\x80\x8e\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa\xe2\x81\xa9";
	text_make_plain(all);
	ck_assert_str_eq(all, "???????????????");
	char empty[] = "";
	text_make_plain(empty);
	ck_assert_str_eq(empty, "");
}
END_TEST

START_TEST(copies_are_terminated_and_padded)
{
	static const char expected[8] = "abc";
	char field[8];

	memset(field, 'x', sizeof(field));
	text_copy(field, sizeof(field), "abc");
	ck_assert_mem_eq(field, expected, sizeof(field));
	text_copy(field, sizeof(field), "abcdefghij");
	ck_assert_str_eq(field, "abcdefg");
	text_copy(field, 1, "abc");
	ck_assert_str_eq(field, "");
}
END_TEST

START_TEST(padding_is_checked)
{
	ck_assert(text_is_padded("abc\0\0\0\0", 8));
	ck_assert(text_is_padded("\0\0\0\0", 4));
	ck_assert(text_is_padded("abc", 4));
	ck_assert(!text_is_padded("abcd", 4));
	ck_assert(!text_is_padded("a\0b\0", 4));
	ck_assert(!text_is_padded("\0\0\0b", 4));
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_test(tests, good_text);
	tcase_add_test(tests, control_characters);
	tcase_add_test(tests, a_zero_inside_is_a_control_character);
	tcase_add_test(tests, what_is_not_utf8);
	tcase_add_test(tests, nothing_is_read_behind_the_end);
	tcase_add_test(tests, bad_bytes_become_question_marks);
	tcase_add_test(tests, what_turns_lines_becomes_question_marks);
	tcase_add_test(tests, copies_are_terminated_and_padded);
	tcase_add_test(tests, padding_is_checked);
}
