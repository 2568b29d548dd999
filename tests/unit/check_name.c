/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "unit.h"

#include "core/name.h"

static struct refusal why;

static void accept_as(const char *text, const char *name)
{
	const char *parsed = NULL;

	ck_assert_msg(name_parse(text, &parsed, &why) == 0, "'%s': %s", text, why.text);
	ck_assert_str_eq(parsed, name);
	ck_assert(parsed >= text && parsed <= text + 1);
}

static void refuse_name(const char *text, enum refusal_code code, const char *reason)
{
	static const char untouched[] = "untouched";
	const char *parsed = untouched;

	ck_assert_int_eq(name_parse(text, &parsed, &why), (int)code);
	ck_assert_int_eq(why.code, code);
	unit_assert_has(why.text, reason);
	ck_assert_ptr_eq(parsed, untouched);
}

START_TEST(good_names)
{
	accept_as("a", "a");
	accept_as("/a", "a");
	accept_as("...", "...");
	accept_as(".hidden", ".hidden");
	accept_as(" spaces are fine ", " spaces are fine ");
	accept_as("/\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
	accept_as("%s%n", "%s%n");
}
END_TEST

START_TEST(bad_names)
{
	refuse_name("", REFUSAL_INVALID, "empty");
	refuse_name("/", REFUSAL_INVALID, "empty");
	refuse_name(".", REFUSAL_INVALID, "'.'");
	refuse_name("..", REFUSAL_INVALID, "'..'");
	refuse_name("/..", REFUSAL_INVALID, "'..'");
	refuse_name("//a", REFUSAL_INVALID, "'/' inside");
	refuse_name("a/b", REFUSAL_INVALID, "'a/b'");
	refuse_name("a/", REFUSAL_INVALID, "'/' inside");
	refuse_name("ab\n", REFUSAL_INVALID, "control character at byte 3");
	refuse_name("\x1b[2J/", REFUSAL_INVALID, "control character at byte 1");
	refuse_name("a\x7f", REFUSAL_INVALID, "control");
	refuse_name("a\xc2\x9b", REFUSAL_INVALID, "control");
	refuse_name("a\xff", REFUSAL_INVALID, "not UTF-8 at byte 2");
	refuse_name("\xc0\xaf", REFUSAL_INVALID, "not UTF-8");
}
END_TEST

START_TEST(a_name_has_200_bytes_at_most)
{
	char text[1 + NAME_LENGTH_MAX + 2];

	memset(text, 'a', sizeof(text));
	text[0] = '/';
	text[1 + NAME_LENGTH_MAX] = '\0';
	accept_as(text, text + 1);
	text[1 + NAME_LENGTH_MAX] = 'a';
	text[2 + NAME_LENGTH_MAX] = '\0';
	refuse_name(text, REFUSAL_TOO_LONG, "201 bytes; at most 200");
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_test(tests, good_names);
	tcase_add_test(tests, bad_names);
	tcase_add_test(tests, a_name_has_200_bytes_at_most);
}
