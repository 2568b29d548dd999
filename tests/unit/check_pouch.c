/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shmd/pouch.h"

static struct pouch *pouch;
static unsigned descriptors;

static void set_up(void)
{
	descriptors = unit_descriptors();
	ck_assert_int_eq(pouch_new(&pouch, 7), 0);
}

static void tear_down(void)
{
	pouch = pouch_free(pouch);
	ck_assert_uint_eq(unit_descriptors(), descriptors);
}

/* Puts pipes in, as many ends as the key says. */
static ino_t put(uint32_t key)
{
	struct stat st;
	int ends[4];

	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(pipe(ends + 2), 0);
	ck_assert_int_eq(fstat(ends[0], &st), 0);
	ck_assert_int_eq(pouch_put(pouch, key, ends, key % 3 + 1), 0);
	for (int i = 0; i < 4; i++)
		close(ends[i]);
	return st.st_ino;
}

/* The keys that lie there, in their order, as text; each with as many descriptors as it was put in with. */
static const char *contents(void)
{
	static char text[256];
	int fds[POUCH_DESCRIPTORS_MAX], offset = 0, n;
	uint32_t key;

	text[0] = '\0';
	while ((n = pouch_look(pouch, &offset, &key, fds)) >= 0) {
		ck_assert_int_eq(n, (int)(key % 3) + 1);
		sprintf(text + strlen(text), "%u ", key);
		while (n > 0) {
			ck_assert_int_eq(fcntl(fds[--n], F_GETFD), FD_CLOEXEC);
			close(fds[n]);
		}
	}
	ck_assert_int_eq(n, -ENOENT);
	return text;
}

START_TEST(what_is_put_in_is_found)
{
	int fds[POUCH_DESCRIPTORS_MAX], offset = 0;
	struct stat st;
	uint32_t key;
	ino_t inode = put(0);

	put(11);
	put(UINT32_MAX);
	ck_assert_str_eq(contents(), "0 11 4294967295 ");
	/* Looking takes nothing out. */
	ck_assert_str_eq(contents(), "0 11 4294967295 ");
	ck_assert_int_eq(pouch_look(pouch, &offset, &key, fds), 1);
	ck_assert_int_eq(fstat(fds[0], &st), 0);
	ck_assert(st.st_ino == inode);
	close(fds[0]);
	ck_assert_uint_eq(pouch->n, 3);
}
END_TEST

START_TEST(any_of_them_can_be_taken_out)
{
	for (uint32_t i = 0; i < 5; i++)
		put(i);
	ck_assert_int_eq(pouch_take_out(pouch, 2), 0);
	ck_assert_str_eq(contents(), "3 4 0 1 ");
	ck_assert_int_eq(pouch_take_out(pouch, 1), 0);
	ck_assert_str_eq(contents(), "3 4 0 ");
	ck_assert_int_eq(pouch_take_out(pouch, 3), 0);
	ck_assert_str_eq(contents(), "4 0 ");
	ck_assert_int_eq(pouch_take_out(pouch, 2), -ENOENT);
	ck_assert_str_eq(contents(), "4 0 ");
	ck_assert_int_eq(pouch_take_out(pouch, 0), 0);
	ck_assert_int_eq(pouch_take_out(pouch, 4), 0);
	ck_assert_int_eq(pouch_take_out(pouch, 4), -ENOENT);
	ck_assert_uint_eq(pouch->n, 0);
}
END_TEST

/* What lies in it is open, and closed with being taken out. */
START_TEST(what_is_taken_out_is_closed)
{
	int ends[2];

	ck_assert_int_eq(pipe2(ends, O_NONBLOCK), 0);
	put(1);
	ck_assert_int_eq(pouch_put(pouch, 3, &ends[1], 1), 0);
	close(ends[1]);
	ck_assert_int_eq(read(ends[0], &(char){0}, 1), -1);
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_eq(pouch_take_out(pouch, 3), 0);
	ck_assert_int_eq(read(ends[0], &(char){0}, 1), 0);
	close(ends[0]);
}
END_TEST

START_TEST(it_can_be_full)
{
	for (uint32_t i = 0; i < POUCH_ROOM; i++)
		put(3 * i);
	ck_assert_int_eq(pouch_put(pouch, 1, (int[]){0}, 1), -EAGAIN);
	ck_assert_int_eq(pouch_take_out(pouch, 3 * (POUCH_ROOM - 1)), 0);
	ck_assert_uint_eq(pouch->n, POUCH_ROOM - 1);
	put(1);
	for (uint32_t i = 0; i < POUCH_ROOM - 1; i++)
		ck_assert_int_eq(pouch_take_out(pouch, 3 * i), 0);
	ck_assert_str_eq(contents(), "1 ");
}
END_TEST

/* By the next one: whichever end it thinks is the first. */
START_TEST(it_goes_on_with_both_ends)
{
	int ends[2];

	if (_i % 2)
		put(5);
	ends[_i / 2] = dup(pouch->in);
	ends[!(_i / 2)] = dup(pouch->out);
	pouch_free(pouch);
	ck_assert_int_eq(pouch_adopt(&pouch, 9, ends), 0);
	pouch->n = _i % 2 ? 1 : 0;
	ck_assert_str_eq(contents(), _i % 2 ? "5 " : "");
	put(6);
	ck_assert_str_eq(contents(), _i % 2 ? "5 6 " : "6 ");
	ck_assert_int_eq(pouch_take_out(pouch, 6), 0);
	ck_assert_uint_eq(pouch->number, 9);
}
END_TEST

/* As after an end between the two steps of moving the first one behind the others. */
START_TEST(what_is_there_twice_is_taken_out_twice)
{
	put(1);
	put(2);
	put(1);
	ck_assert_int_eq(pouch_take_out(pouch, 1), 0);
	ck_assert_str_eq(contents(), "2 1 ");
	ck_assert_int_eq(pouch_take_out(pouch, 1), 0);
	ck_assert_str_eq(contents(), "2 ");
}
END_TEST

/* Nothing can be moved, nothing is lost, and it can be tried again. */
START_TEST(without_a_descriptor_left)
{
	struct rlimit limit, none;

	put(4);
	put(5);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	/* The first one can be dropped all the same. */
	int last = pouch_take_out(pouch, 5), first = pouch_take_out(pouch, 4);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_lt(last, 0);
	ck_assert_int_ne(last, -ENOENT);
	ck_assert_int_eq(first, 0);
	ck_assert_str_eq(contents(), "5 ");
	ck_assert_int_eq(pouch_take_out(pouch, 5), 0);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, what_is_put_in_is_found);
	tcase_add_test(tests, any_of_them_can_be_taken_out);
	tcase_add_test(tests, what_is_taken_out_is_closed);
	tcase_add_test(tests, it_can_be_full);
	tcase_add_loop_test(tests, it_goes_on_with_both_ends, 0, 4);
	tcase_add_test(tests, what_is_there_twice_is_taken_out_twice);
	tcase_add_test(tests, without_a_descriptor_left);
}
