/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdint.h>

#include "unit.h"

#include "base/parse.h"

#define UNTOUCHED UINT64_C(4242)

typedef int parse_fn(const char *text, uint64_t *ret);

static void expect(parse_fn *parse, const char *text, uint64_t value)
{
	uint64_t parsed = UNTOUCHED;

	ck_assert_msg(parse(text, &parsed) == 0, "'%s' is not read", text);
	ck_assert_uint_eq(parsed, value);
}

static void expect_error(parse_fn *parse, const char *text, int error)
{
	uint64_t parsed = UNTOUCHED;
	int r = parse(text, &parsed);

	ck_assert_msg(r == error, "'%s' gives %d, not %d", text, r, error);
	ck_assert_uint_eq(parsed, UNTOUCHED);
}

START_TEST(numbers)
{
	expect(parse_u64, "0", 0);
	expect(parse_u64, "007", 7);
	expect(parse_u64, "18446744073709551615", UINT64_MAX);
	expect_error(parse_u64, "18446744073709551616", -ERANGE);
	expect_error(parse_u64, "99999999999999999999999", -ERANGE);
}
END_TEST

START_TEST(what_is_no_number)
{
	static const char *const bad[] = {"",   " 1", "1 ", "+1", "-1", "0x1",
					  "1.", "1K", "a",  "/",  ":"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect_error(parse_u64, bad[i], -EINVAL);
}
END_TEST

START_TEST(sizes)
{
	expect(parse_size, "4097", 4097);
	expect(parse_size, "0", 0);
	expect(parse_size, "1K", 1024);
	expect(parse_size, "3M", 3 << 20);
	expect(parse_size, "2G", UINT64_C(2) << 30);
	expect(parse_size, "16777215T", UINT64_C(16777215) << 40);
	expect_error(parse_size, "16777216T", -ERANGE);
	expect_error(parse_size, "K", -EINVAL);
	expect_error(parse_size, "1k", -EINVAL);
	expect_error(parse_size, "1KB", -EINVAL);
	expect_error(parse_size, "1 K", -EINVAL);
	expect_error(parse_size, "1.5G", -EINVAL);
	expect_error(parse_size, "-1", -EINVAL);
}
END_TEST

START_TEST(durations)
{
	expect(parse_duration_ms, "5", 5000);
	expect(parse_duration_ms, "0", 0);
	expect(parse_duration_ms, "250ms", 250);
	expect(parse_duration_ms, "1.5s", 1500);
	expect(parse_duration_ms, "1.5", 1500);
	expect(parse_duration_ms, "0.25min", 15000);
	expect(parse_duration_ms, "2h", 7200000);
	expect(parse_duration_ms, "1d", 86400000);
	expect(parse_duration_ms, "0.0019s", 1);
	expect(parse_duration_ms, "1.00000000000000000000000000001s", 1000);
	expect_error(parse_duration_ms, "18446744073709551615d", -ERANGE);
	expect_error(parse_duration_ms, "1.", -EINVAL);
	expect_error(parse_duration_ms, ".5s", -EINVAL);
	expect_error(parse_duration_ms, "5m", -EINVAL);
	expect_error(parse_duration_ms, "5 s", -EINVAL);
	expect_error(parse_duration_ms, "-5s", -EINVAL);
	expect_error(parse_duration_ms, "1.2.3", -EINVAL);
	expect_error(parse_duration_ms, "", -EINVAL);
}
END_TEST

static int parse_mode_as_u64(const char *text, uint64_t *ret)
{
	mode_t mode = UNTOUCHED;
	int r = parse_mode(text, &mode);

	*ret = mode;
	return r;
}

START_TEST(modes)
{
	expect(parse_mode_as_u64, "0", 0);
	expect(parse_mode_as_u64, "640", 0640);
	expect(parse_mode_as_u64, "0777", 0777);
	expect_error(parse_mode_as_u64, "1000", -ERANGE);
	expect_error(parse_mode_as_u64, "77777777777777777777777", -ERANGE);
	expect_error(parse_mode_as_u64, "", -EINVAL);
	expect_error(parse_mode_as_u64, "8", -EINVAL);
	expect_error(parse_mode_as_u64, "rw", -EINVAL);
	expect_error(parse_mode_as_u64, "-1", -EINVAL);
}
END_TEST

START_TEST(sizes_are_written_exactly)
{
	char text[FORMAT_MAX];

	ck_assert_str_eq(format_size(0, text), "0");
	ck_assert_str_eq(format_size(1023, text), "1023");
	ck_assert_str_eq(format_size(1024, text), "1K");
	ck_assert_str_eq(format_size(1025, text), "1025");
	ck_assert_str_eq(format_size(UINT64_C(1536) << 20, text), "1536M");
	ck_assert_str_eq(format_size(UINT64_C(5) << 40, text), "5T");
	ck_assert_str_eq(format_size(UINT64_MAX, text), "18446744073709551615");
}
END_TEST

START_TEST(sizes_for_people)
{
	char text[FORMAT_MAX];

	ck_assert_str_eq(format_size_about(0, text), "0 B");
	ck_assert_str_eq(format_size_about(1023, text), "1023 B");
	ck_assert_str_eq(format_size_about(1024, text), "1.0 KiB");
	ck_assert_str_eq(format_size_about(3565158, text), "3.4 MiB");
	ck_assert_str_eq(format_size_about((UINT64_C(1) << 20) - 1, text), "1.0 MiB");
	ck_assert_str_eq(format_size_about(UINT64_MAX, text), "16.0 EiB");
}
END_TEST

START_TEST(durations_are_written_exactly)
{
	char text[FORMAT_MAX];

	ck_assert_str_eq(format_duration_ms(0, text), "0ms");
	ck_assert_str_eq(format_duration_ms(1500, text), "1500ms");
	ck_assert_str_eq(format_duration_ms(30000, text), "30s");
	ck_assert_str_eq(format_duration_ms(60000, text), "1min");
	ck_assert_str_eq(format_duration_ms(90000, text), "90s");
	ck_assert_str_eq(format_duration_ms(172800000, text), "2d");
}
END_TEST

START_TEST(what_is_written_is_read)
{
	char text[FORMAT_MAX];

	for (uint64_t value = 1; value < UINT64_MAX / 7; value = value * 7 + value % 3) {
		expect(parse_size, format_size(value, text), value);
		expect(parse_duration_ms, format_duration_ms(value, text), value);
	}
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_test(tests, numbers);
	tcase_add_test(tests, what_is_no_number);
	tcase_add_test(tests, sizes);
	tcase_add_test(tests, durations);
	tcase_add_test(tests, modes);
	tcase_add_test(tests, sizes_are_written_exactly);
	tcase_add_test(tests, durations_are_written_exactly);
	tcase_add_test(tests, sizes_for_people);
	tcase_add_test(tests, what_is_written_is_read);
}
