/* SPDX-License-Identifier: MIT */
/*
 * The configuration. The program is built with "." as the folder of the system's files, so that a
 * test in unit_folder plays the whole system.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

#include "base/cleanup.h"
#include "shmd/config.h"

static char error[CONFIG_ERROR_MAX];

static int load_bytes(struct config *ret, const char *bytes, size_t size)
{
	return config_load(ret, unit_write("test.conf", bytes, size), error);
}

static struct config load(const char *text)
{
	struct config config;
	int r = load_bytes(&config, text, strlen(text));

	ck_assert_msg(r == 0, "%s", error);
	return config;
}

/* Expects a failure at a line, with a reason, and that nothing was applied. */
static void refuse_bytes(const char *bytes, size_t size, int line, const char *reason)
{
	struct config before, config;
	char where[sizeof(unit_folder) + 64];

	memset(&config, 0x5a, sizeof(config));
	before = config;
	ck_assert_int_eq(load_bytes(&config, bytes, size), -EINVAL);
	snprintf(where, sizeof(where), "%s/test.conf:%d: ", unit_folder, line);
	ck_assert_msg(strncmp(error, where, strlen(where)) == 0, "'%s' is not about line %d", error,
		      line);
	unit_assert_has(error, reason);
	ck_assert_mem_eq(&config, &before, sizeof(config));
}

static void refuse_text(const char *text, int line, const char *reason)
{
	refuse_bytes(text, strlen(text), line, reason);
}

#define REFUSE_BYTES(bytes, line, reason) refuse_bytes((bytes), sizeof(bytes) - 1, (line), (reason))

/* --- what is good ----------------------------------------------------------------------------- */

START_TEST(defaults_are_as_documented)
{
	struct config config;

	config_init(&config);
	ck_assert_str_eq(config.socket, "/run/shmd/shmd.sock");
	ck_assert_uint_eq(config.log_level, LOG_LEVEL_INFO);
	ck_assert_uint_eq(config.unread_timeout_ms, 30000);
	ck_assert_uint_eq(config.clients, 4096);
	ck_assert_uint_eq(config.attachments_per_user, 16384);
	ck_assert(config.bytes.is_percent);
	ck_assert_uint_eq(config.bytes.value, 75);
}
END_TEST

START_TEST(every_option_is_read)
{
	struct config config = load("# all\n"
				    "[daemon]\n"
				    "socket = /tmp/a b\n"
				    "log_level=debug\n"
				    "unread_timeout = 1.5min\n"
				    "\n"
				    "[limits]\n"
				    "clients = 1\n"
				    "clients_per_user = 2\n"
				    "segments = 3\n"
				    "segments_per_user = 4\n"
				    "semaphores = 41\n"
				    "semaphores_per_user = 42\n"
				    "attachments = 5\n"
				    "attachments_per_user = 18446744073709551615\n"
				    "bytes = 7G ; as an example\n"
				    "bytes_per_user = 8%\n");

	ck_assert_str_eq(config.socket, "/tmp/a b");
	ck_assert_uint_eq(config.log_level, LOG_LEVEL_DEBUG);
	ck_assert_uint_eq(config.unread_timeout_ms, 90000);
	ck_assert_uint_eq(config.clients, 1);
	ck_assert_uint_eq(config.clients_per_user, 2);
	ck_assert_uint_eq(config.segments, 3);
	ck_assert_uint_eq(config.segments_per_user, 4);
	ck_assert_uint_eq(config.semaphores, 41);
	ck_assert_uint_eq(config.semaphores_per_user, 42);
	ck_assert_uint_eq(config.attachments, 5);
	ck_assert_uint_eq(config.attachments_per_user, UINT64_MAX);
	ck_assert(!config.bytes.is_percent);
	ck_assert_uint_eq(config.bytes.value, UINT64_C(7) << 30);
	ck_assert(config.bytes_per_user.is_percent);
	ck_assert_uint_eq(config.bytes_per_user.value, 8);
}
END_TEST

START_TEST(administrators_are_found_by_name_and_number)
{
	ck_assert_uint_eq(load("").administrators, ACCESS_NO_GROUP);
	ck_assert_uint_eq(load("[daemon]\nadministrators = none\n").administrators,
			  ACCESS_NO_GROUP);
	ck_assert_uint_eq(load("[daemon]\nadministrators = 4321\n").administrators, 4321);
	ck_assert_uint_eq(load("[daemon]\nadministrators = root\n").administrators, 0);
	refuse_text("[daemon]\nadministrators = nosuch\n", 2, "there is no group 'nosuch'");
	refuse_text("[daemon]\nadministrators =\n", 2, "there is no group ''");
	refuse_text("[daemon]\nadministrators = 4294967295\n", 2, "no number of a group");
	refuse_text("[daemon]\nadministrators = 65534\n", 2, "stands for all groups");
}
END_TEST

START_TEST(harmless_forms_are_read)
{
	ck_assert_uint_eq(load("").clients, 4096);
	ck_assert_uint_eq(load("\n  \n\t# indented comment\n; another\n").clients, 4096);
	ck_assert_uint_eq(load("[limits]\nclients = 5").clients, 5);
	ck_assert_uint_eq(load("[limits] \r\nclients = 5\r\n\r\n").clients, 5);
	ck_assert_uint_eq(load("[limits]\n[daemon]\n[limits]\nclients\t=\t5\t\n").clients, 5);
	/* A value that stands where the comment says it does not. */
	ck_assert_uint_eq(load("[limits]\n#clients = 5\n").clients, 4096);
}
END_TEST

START_TEST(shares_are_of_the_machine)
{
	struct config config = load("[limits]\nbytes = 50%\nbytes_per_user = 4K\nclients = 9\n"
				    "segments_per_user = 8\nattachments = 7\nsemaphores = 6\n"
				    "semaphores_per_user = 5\n");
	struct quota_limits half, all;

	config_limits(&config, &half);
	config.bytes.value = 100;
	config_limits(&config, &all);
	ck_assert_uint_eq(half.total[QUOTA_BYTES], all.total[QUOTA_BYTES] / 2);
	ck_assert_uint_gt(half.total[QUOTA_BYTES], 1u << 20);
	ck_assert_uint_eq(half.per_user[QUOTA_BYTES], 4096);
	ck_assert_uint_eq(half.total[QUOTA_SEMAPHORES], 6);
	ck_assert_uint_eq(half.per_user[QUOTA_SEMAPHORES], 5);
	ck_assert_uint_eq(half.total[QUOTA_CLIENTS], 9);
	ck_assert_uint_eq(half.per_user[QUOTA_CLIENTS], 2048);
	ck_assert_uint_eq(half.per_user[QUOTA_SEGMENTS], 8);
	ck_assert_uint_eq(half.total[QUOTA_ATTACHMENTS], 7);
}
END_TEST

/* --- rules ------------------------------------------------------------------------------------- */

START_TEST(rules_are_read_in_their_order)
{
	struct config config = load("[rule a]\n"
				    "names = x*\ty[ab] ; as an example\n"
				    "create = root  @root 1234 @4321\n"
				    "owner = root\n"
				    "group = 55\n"
				    "mode_max = 0660\n"
				    "lifetimes = persistent clients\n"
				    "linger_max = 1.5s\n"
				    "size_max = 1M\n"
				    "segments_max = 5\n"
				    "bytes_max = unlimited\n"
				    "[limits]\n"
				    "clients = 5\n"
				    "[rule b.c-D_1]\n"
				    "mode = 640\n"
				    "create = nobody\n");
	const struct policy_rule *a = &config.policy.rules[0], *b = &config.policy.rules[1];

	ck_assert_uint_eq(config.policy.n, 2);
	ck_assert_str_eq(a->name, "a");
	ck_assert_str_eq(a->file, "test.conf");
	ck_assert_uint_eq(a->line, 1);
	ck_assert_mem_eq(a->names, "x*\0y[ab]\0", 10);
	ck_assert_str_eq(a->create.text, "root @root 1234 @4321");
	ck_assert_uint_eq(a->create.n, 4);
	ck_assert(!a->create.entries[0].is_group && a->create.entries[0].id == 0);
	ck_assert(a->create.entries[1].is_group && a->create.entries[1].id == 0);
	ck_assert(!a->create.entries[2].is_group && a->create.entries[2].id == 1234);
	ck_assert(a->create.entries[3].is_group && a->create.entries[3].id == 4321);
	ck_assert(a->owner == 0 && a->group == 55 && a->mode == POLICY_AS_ASKED);
	ck_assert_uint_eq(a->mode_max, 0660);
	ck_assert_uint_eq(a->lifetimes, 1u << LIFETIME_PERSISTENT | 1u << LIFETIME_CLIENTS);
	ck_assert_uint_eq(a->linger_max_ms, 1500);
	ck_assert_uint_eq(a->size_max, 1 << 20);
	ck_assert_uint_eq(a->segments_max, 5);
	ck_assert_uint_eq(a->bytes_max, POLICY_UNLIMITED);
	ck_assert_str_eq(b->name, "b.c-D_1");
	ck_assert_uint_eq(b->line, 14);
	ck_assert(b->mode == 0640 && b->create.n == 0 && !b->create.anyone);
	config_fini(&config);
}
END_TEST

/* What the manual says of them is what a rule without options has. */
START_TEST(a_rule_has_the_defaults_of_the_manual)
{
	struct config plain = load("[rule a]\n");
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	config_print(&plain, CONFIG_MANUAL, file);
	fclose(file);
	char *all = strdup("[rule a]\n");
	for (char *at = strstr(text, "[rule NAME"); (at = strstr(at, ".It Ic ")); at++) {
		char name[32], value[64];
		ck_assert_int_eq(sscanf(at, ".It Ic %31s No = Ar %63[^\n]", name, value), 2);
		char *more;
		ck_assert_int_gt(asprintf(&more, "%s%s = %s\n", all, name, value), 0);
		free(all);
		all = more;
	}
	struct config written = load(all);
	ck_assert_uint_eq(written.policy.n, 1);
	ck_assert_mem_eq(&written.policy.rules[0], &plain.policy.rules[0],
			 sizeof(struct policy_rule));
	ck_assert_int_eq(memcmp(strrchr(all, '\n') - 9, "unlimited", 9), 0);
	free(all);
	config_fini(&written);
	config_fini(&plain);
}
END_TEST

START_TEST(bad_rules_are_errors)
{
	static const struct {
		const char *options, *says;
	} bad[] = {
		{"names =", "names = : not patterns"},
		{"names =;a", "cannot begin with ';'"},
		{"names = a /b", "'/b' matches no name"},
		{"names = \"a b\"", "patterns are not quoted"},
		{"names = a, b", "cannot end with ','"},
		{"names = a [bc", "the '[' of '[bc' has no ']'"},
		{"create =", "not anyone, nobody, or users"},
		{"create = root nosuch", "there is no user 'nosuch'"},
		{"create = @nosuch", "there is no group 'nosuch'"},
		{"create = @", "there is no group ''"},
		{"create = root anyone", "'anyone' stands alone"},
		{"create = nobody root", "'nobody' stands alone"},
		{"create = 4294967295", "4294967295 is no number of a user"},
		{"create = @4294967296", "is no number of a group"},
		{"create = 65534", "user 65534 stands for all users"},
		{"create = @65534", "group 65534 stands for all groups"},
		{"create = root,bin", "there is no user 'root,bin'"},
		{"owner = nosuch", "owner = nosuch: there is no user 'nosuch'"},
		{"owner = @root", "there is no user '@root'"},
		{"group = nosuch", "there is no group 'nosuch'"},
		{"mode = 1777", "mode = 1777: not permission bits"},
		{"mode = rw", "not permission bits"},
		{"mode_max = requested", "not permission bits"},
		{"lifetimes =", "not some of clients"},
		{"lifetimes = clients owners", "not some of clients"},
		{"linger_max = 5 s", "not a time"},
		{"linger_max = -1", "not a time"},
		{"size_max = 50%", "not bytes"},
		{"segments_max = 1K", "not a number"},
		{"bytes_max = many", "not bytes"},
		{"clients = 5", "no option 'clients' in section [rule r]"},
		{"size_max = 1\nsize_max = 2", "'size_max' is set a second"},
	};
	char text[128];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "[rule r]\n%s\n[rule s]\nsize_max = 3\n",
			 bad[i].options);
		refuse_text(text, strstr(bad[i].options, "\n") ? 3 : 2, bad[i].says);
	}
	refuse_text("[rule r]\nmode_max = 0640\n\nmode = 0660\n", 1,
		    "rule 'r' has mode 0660, and allows mode_max 0640");
}
END_TEST

/* --- limits of some --------------------------------------------------------------------------- */

START_TEST(allowances_are_read_in_their_order)
{
	struct config config = load("[limits batch]\n"
				    "users = 1000  @root\n"
				    "bytes_per_user = 4K\n"
				    "[limits]\n"
				    "clients_per_user = 7\n"
				    "[rule batch]\n"
				    "size_max = 9\n"
				    "[limits all]\n"
				    "segments_per_user = 0\n"
				    "users = anyone\n"
				    "semaphores_per_user = 12\n"
				    "attachments_per_user = 11\n"
				    "waits_per_user = general\n"
				    "subscriptions_per_user = 18446744073709551614\n"
				    "clients_per_user = 8\n"
				    "bytes_per_user = 0%\n");
	const struct quota_allowance *batch = &config.resolved.list[0], *all = batch + 1;

	ck_assert_uint_eq(config.resolved.n, 2);
	ck_assert_str_eq(batch->name, "batch");
	ck_assert_str_eq(batch->users.text, "1000 @root");
	ck_assert_uint_eq(batch->per_user[QUOTA_BYTES], 4096);
	ck_assert_uint_eq(batch->per_user[QUOTA_CLIENTS], QUOTA_GENERAL);
	ck_assert_str_eq(all->name, "all");
	ck_assert(all->users.anyone);
	ck_assert_uint_eq(all->per_user[QUOTA_CLIENTS], 8);
	ck_assert_uint_eq(all->per_user[QUOTA_SEGMENTS], 0);
	ck_assert_uint_eq(all->per_user[QUOTA_BYTES], 0);
	ck_assert_uint_eq(all->per_user[QUOTA_SEMAPHORES], 12);
	ck_assert_uint_eq(all->per_user[QUOTA_ATTACHMENTS], 11);
	ck_assert_uint_eq(all->per_user[QUOTA_WAITS], QUOTA_GENERAL);
	ck_assert_uint_eq(all->per_user[QUOTA_SUBSCRIPTIONS], UINT64_MAX - 1);
	ck_assert_uint_eq(config.clients_per_user, 7);
	ck_assert_uint_eq(config.policy.rules[0].size_max, 9);
	config_fini(&config);
}
END_TEST

START_TEST(shares_of_some_are_of_the_machine)
{
	struct config config = load("[limits]\nbytes = 20%\n[limits a]\nusers = 1\n"
				    "bytes_per_user = 20%\n");
	struct quota_limits limits;

	config_limits(&config, &limits);
	ck_assert_uint_gt(limits.total[QUOTA_BYTES], 1u << 20);
	ck_assert_uint_eq(config.resolved.list[0].per_user[QUOTA_BYTES], limits.total[QUOTA_BYTES]);
	config_fini(&config);
}
END_TEST

START_TEST(bad_allowances_are_errors)
{
	refuse_text("[limits a]\nclients_per_user = 5\n[daemon]\n", 1,
		    "[limits a] has no 'users', whose limits these are");
	refuse_text("[limits a]\n", 1, "has no 'users'");
	refuse_text("[limits a]\nusers =\n", 2, "not anyone, nobody, or users");
	refuse_text("[limits a]\nusers = nosuch\n", 2, "there is no user 'nosuch'");
	refuse_text("[limits a]\nclients = 5\n", 2, "no option 'clients' in section [limits a]");
	refuse_text("[limits a]\nsize_max = 5\n", 2, "no option 'size_max' in section");
	refuse_text("[limits]\nusers = 1\n", 2, "no option 'users' in section [limits]");
	refuse_text("[limits]\nclients_per_user = general\n", 2, "not a number");
	refuse_text("[limits a]\nclients_per_user = 18446744073709551615\n", 2,
		    "not a number, or general");
	refuse_text("[limits a]\nclients_per_user = 5%\n", 2, "not a number, or general");
	refuse_text("[limits a]\nbytes_per_user = 101%\n", 2, "not bytes");
	refuse_text("[limits a]\nbytes_per_user = 18446744073709551615\n", 2, "not bytes");
	refuse_text("[limits a]\nusers = 1\nusers = 2\n", 3, "'users' is set a second time");
	refuse_text("[limits ]\n", 1, "'' cannot be the NAME in [limits NAME]");
	refuse_text("[limits a]\nusers = 1\n[limits a]\n", 3,
		    "there is a section [limits a] already, at test.conf line 1");
	refuse_text("[limitsa]\n", 1, "no section [limitsa]");
}
END_TEST

static char *print(const struct config *config, enum config_form form);

/* What can be written without spaces must also be written back with them. */
START_TEST(a_list_is_as_long_as_its_line)
{
	char text[256];

	snprintf(text, sizeof(text), "[rule r]\nnames=%0181d\n", 1);
	struct config config = load(text);
	_cleanup_free_ char *printed = print(&config, CONFIG_VALUES);
	struct config again = load(printed);
	ck_assert_str_eq(again.policy.rules[0].names, config.policy.rules[0].names);
	config_fini(&again);
	config_fini(&config);
	snprintf(text, sizeof(text), "[rule r]\nnames=%0182d\n", 1);
	refuse_text(text, 2, "has 182 bytes; at most 181");
	snprintf(text, sizeof(text), "[rule r]\ncreate=%0182d\n", 1);
	refuse_text(text, 2, "has 182 bytes; at most 181");
}
END_TEST

/* inih would cut a section's name off after 49 bytes, and find its options in another one. */
START_TEST(bad_names_of_rules_are_errors)
{
	char text[128];
	struct config config;

	refuse_text("[rule]\n", 1, "no section [rule]");
	refuse_text("[rule ]\n", 1, "'' cannot be the NAME in [rule NAME]");
	refuse_text("[rule  a]\n", 1, "' a' cannot be");
	refuse_text("[rule a b]\n", 1, "'a b' cannot be");
	refuse_text("[rule a\xc3\xa9]\n", 1, "cannot be");
	refuse_text("[rule a ;b]\n", 1, "cannot be");
	refuse_text("[rule a]\n[limits]\n[rule a]\n", 3,
		    "there is a section [rule a] already, at test.conf line 1");
	snprintf(text, sizeof(text), "[rule %040d]\nsegments_max = 7\n", 1);
	config = load(text);
	ck_assert_uint_eq(config.policy.rules[0].segments_max, 7);
	ck_assert_uint_eq(strlen(config.policy.rules[0].name), 40);
	config_fini(&config);
	snprintf(text, sizeof(text), "[rule %041d]\nsegments_max = 7\n", 1);
	refuse_text(text, 1, "1 to 40 letters");
}
END_TEST

/* --- what inih alone would let through (design.md, fact 17) ----------------------------------- */

/* Text of a line of that length, which sets a path. */
static char *line_of(size_t length)
{
	static char text[1024];
	size_t n = (size_t)snprintf(text, sizeof(text), "[daemon]\nlog_level = debug");

	memset(text + n, ' ', sizeof(text) - n);
	memcpy(text + 9 + length - 1, ";\n", 3);
	return text;
}

START_TEST(a_long_line_is_an_error)
{
	ck_assert_uint_eq(load(line_of(190)).log_level, LOG_LEVEL_DEBUG);
	refuse_text(line_of(191), 2, "191 bytes; at most 190");
	refuse_text(line_of(700), 2, "700 bytes; at most 190");
}
END_TEST

START_TEST(the_tail_of_a_long_line_is_not_read)
{
	char text[512];

	snprintf(text, sizeof(text), "[limits]\n#%198s\nclients = 5\n", "clients = 6");
	refuse_text(text, 2, "at most 190");
}
END_TEST

START_TEST(an_indented_line_is_an_error)
{
	refuse_text("[limits]\nclients = 5\n 6\n", 3, "indented");
	refuse_text("[limits]\n\tclients = 5\n", 2, "indented");
	refuse_text(" [limits]\n", 1, "indented");
}
END_TEST

START_TEST(an_unclosed_section_is_an_error)
{
	refuse_text("[daemon]\n[limits\nclients = 5\n", 2, "']' is missing");
	refuse_text("[daemon]\n[limits] clients = 5\n", 2, "behind the section");
}
END_TEST

START_TEST(an_error_before_good_lines_is_an_error)
{
	refuse_text("[limits]\nclients = x\nsegments = 5\n", 2, "clients = x: not a number");
	refuse_text("[limits]\nnonsense\nsegments = 5\n", 2, "name = value");
	refuse_text("[limits]\n= 5\nsegments = 5\n", 2, "");
}
END_TEST

START_TEST(the_first_error_is_told)
{
	refuse_text("[limits]\nclients = x\nsegments = y\n", 2, "clients");
	refuse_text("[limits]\nnonsense\nsegments = y\n", 2, "name = value");
}
END_TEST

START_TEST(a_duplicate_is_an_error)
{
	refuse_text("[limits]\nclients = 5\nsegments = 5\nclients = 5\n", 4,
		    "'clients' is set a second");
	refuse_text("[limits]\nclients = 5\n[daemon]\n[limits]\nclients = 6\n", 5, "second time");
}
END_TEST

START_TEST(unknown_words_are_errors)
{
	refuse_text("[limits]\nclient = 5\n", 2, "no option 'client' in section [limits]");
	refuse_text("[daemon]\nclients = 5\n", 2, "no option 'clients' in section [daemon]");
	refuse_text("[limits]\nClients = 5\n", 2, "no option 'Clients'");
	refuse_text("[limit]\n", 1, "no section [limit]");
	refuse_text("[]\n", 1, "no section []");
	refuse_text("clients = 5\n[limits]\n", 1, "before the first [section]");
	refuse_text("\xef\xbb\xbf[a = b]\nclients = 5\n", 2, "before the first [section]");
}
END_TEST

START_TEST(bytes_that_hide_are_errors)
{
	REFUSE_BYTES("[limits]\nclients = 5\0x\n", 2, "byte 12 of the line is a control");
	REFUSE_BYTES("[limits]\n\0clients = 5\n", 2, "byte 1 of the line");
	REFUSE_BYTES("[limits]\n# \x1b[2J\n", 2, "control character");
	REFUSE_BYTES("[daemon]\nsocket = /\x7f\n", 2, "control character");
	REFUSE_BYTES("[daemon]\nsocket = /\xc2\x85\n", 2, "control character");
	REFUSE_BYTES("[daemon]\nsocket = /\xff\n", 2, "not UTF-8");
}
END_TEST

START_TEST(bad_values_are_errors)
{
	static const char *const bad[] = {
		"[daemon]\nsocket = run/shmd.sock\n",
		"[daemon]\nsocket =\n",
		"[daemon]\nlog_level = loud\n",
		"[daemon]\nlog_level = 3\n",
		"[daemon]\nunread_timeout = 0\n",
		"[daemon]\nunread_timeout = 0.5ms\n",
		"[daemon]\nunread_timeout = 50d\n",
		"[daemon]\nunread_timeout = 1 s\n",
		"[daemon]\nunread_timeout = -1s\n",
		"[limits]\nclients = -1\n",
		"[limits]\nclients =\n",
		"[limits]\nclients = 1K\n",
		"[limits]\nclients = 0x10\n",
		"[limits]\nclients = 18446744073709551616\n",
		"[limits]\nbytes = 101%\n",
		"[limits]\nbytes = %\n",
		"[limits]\nbytes = 5%%\n",
		"[limits]\nbytes = 1k\n",
		"[limits]\nbytes = 16777216T\n",
		"[limits]\nbytes = 00000000000000000000000000000001\n",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refuse_text(bad[i], 2, ": not ");
}
END_TEST

START_TEST(a_path_has_room)
{
	char text[256];

	snprintf(text, sizeof(text), "[daemon]\nsocket = /%0106d\n", 0);
	ck_assert_uint_eq(strlen(load(text).socket), 107);
	snprintf(text, sizeof(text), "[daemon]\nsocket = /%0107d\n", 0);
	refuse_text(text, 2, "at most 107 bytes");
}
END_TEST

/* --- files ------------------------------------------------------------------------------------ */

START_TEST(a_file_must_be_there_and_readable)
{
	struct config config;

	ck_assert_int_eq(config_load(&config, "/proc/none", error), -EINVAL);
	unit_assert_has(error, "/proc/none: ");
	ck_assert_int_eq(config_load(&config, unit_folder, error), -EINVAL);
	unit_assert_has(error, unit_folder);
}
END_TEST

/* Makes the system's folder and goes where the relative path finds it. */
static void enter_system(void)
{
	ck_assert_int_eq(chdir(unit_folder), 0);
	mkdir("shmd", 0700);
	mkdir("shmd/shmd.conf.d", 0700);
}

START_TEST(the_system_may_have_no_files)
{
	struct config config;

	ck_assert_int_eq(chdir("/proc"), 0);
	ck_assert_int_eq(config_load(&config, NULL, error), 0);
	ck_assert_uint_eq(config.clients, 4096);
}
END_TEST

static void write_text(const char *name, const char *text)
{
	unit_write(name, text, strlen(text));
}

START_TEST(the_folder_is_read_in_order)
{
	struct config config;

	enter_system();
	write_text("shmd/shmd.conf", "[limits]\nclients = 1\nsegments = 1\nattachments = 1\n");
	write_text("shmd/shmd.conf.d/20.conf", "[limits]\nclients = 20\n");
	write_text("shmd/shmd.conf.d/10.conf", "[limits]\nclients = 10\nsegments = 10\n");
	write_text("shmd/shmd.conf.d/30.conf~", "[limits]\nclients = 30\n");
	write_text("shmd/shmd.conf.d/.40.conf", "[limits]\nclients = 40\n");
	write_text("shmd/shmd.conf.d/50", "[limits]\nclients = 50\n");
	ck_assert_int_eq(config_load(&config, NULL, error), 0);
	ck_assert_uint_eq(config.clients, 20);
	ck_assert_uint_eq(config.segments, 10);
	ck_assert_uint_eq(config.attachments, 1);
	ck_assert_uint_eq(config.clients_per_user, 2048);
	/* A file that was named stands alone. */
	ck_assert_int_eq(config_load(&config, "shmd/shmd.conf", error), 0);
	ck_assert_uint_eq(config.clients, 1);
}
END_TEST

START_TEST(one_bad_file_spoils_all)
{
	struct config config = {.clients = 77};

	enter_system();
	write_text("shmd/shmd.conf", "[limits]\nclients = 1\n");
	write_text("shmd/shmd.conf.d/20.conf", "[limits]\nclients = 20\n");
	write_text("shmd/shmd.conf.d/60.conf", "[limits]\n\nclients = a\n");
	ck_assert_int_eq(config_load(&config, NULL, error), -EINVAL);
	unit_assert_has(error, "shmd.conf.d/60.conf:3: ");
	ck_assert_uint_eq(config.clients, 77);
	ck_assert_int_eq(unlink("shmd/shmd.conf.d/60.conf"), 0);
	ck_assert_int_eq(symlink("nowhere", "shmd/shmd.conf.d/60.conf"), 0);
	ck_assert_int_eq(config_load(&config, NULL, error), -EINVAL);
	ck_assert_int_eq(unlink("shmd/shmd.conf.d/60.conf"), 0);
}
END_TEST

/* --- printing --------------------------------------------------------------------------------- */

static char *print(const struct config *config, enum config_form form)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	config_print(config, form, to);
	fclose(to);
	return text;
}

/* Prints, reads back, and prints again: a struct has padding, its text has not. */
static void expect_same_again(const struct config *config)
{
	_cleanup_free_ char *text = print(config, CONFIG_VALUES);
	struct config again = load(text);
	_cleanup_free_ char *text_again = print(&again, CONFIG_VALUES);

	ck_assert_str_eq(text, text_again);
	ck_assert_str_eq(again.socket, config->socket);
	ck_assert_uint_eq(again.log_level, config->log_level);
	ck_assert_uint_eq(again.unread_timeout_ms, config->unread_timeout_ms);
	ck_assert_uint_eq(again.clients, config->clients);
	ck_assert_uint_eq(again.bytes.value, config->bytes.value);
	ck_assert_int_eq(again.bytes_per_user.is_percent, config->bytes_per_user.is_percent);
}

START_TEST(printed_values_read_back)
{
	struct config config;

	config_init(&config);
	expect_same_again(&config);
	config.log_level = LOG_LEVEL_ERROR;
	config.unread_timeout_ms = 90061;
	config.clients = 0;
	config.bytes = (struct config_amount){12345, false};
	config.bytes_per_user = (struct config_amount){UINT64_C(3) << 40, false};
	snprintf(config.socket, sizeof(config.socket), "/%0106d", 0);
	expect_same_again(&config);
}
END_TEST

START_TEST(rules_read_back)
{
	struct config config = load(
		"[rule a]\nnames = x* y?\ncreate = 1 @2\nowner = 3\ngroup = 4\nmode = 0640\n"
		"[rule b]\nmode_max = 0\nlifetimes = owner\nlinger_max = 0\nsize_max = 3K\n"
		"segments_max = 0\nbytes_max = 12345\ncreate = nobody\n");
	_cleanup_free_ char *text = print(&config, CONFIG_VALUES);
	struct config again = load(text);

	ck_assert_uint_eq(again.policy.n, 2);
	for (size_t i = 0; i < 2; i++) {
		again.policy.rules[i].line = config.policy.rules[i].line;
		ck_assert_mem_eq(&again.policy.rules[i], &config.policy.rules[i],
				 sizeof(struct policy_rule));
	}
	config_fini(&again);
	config_fini(&config);
}
END_TEST

START_TEST(allowances_read_back)
{
	struct config config = load("[limits a]\nusers = 1 @2\nclients_per_user = 0\n"
				    "bytes_per_user = 5%\n[limits b]\nusers = nobody\n"
				    "bytes_per_user = 12345\nwaits_per_user = 3\n");
	_cleanup_free_ char *text = print(&config, CONFIG_VALUES);
	struct config again = load(text);
	_cleanup_free_ char *text_again = print(&again, CONFIG_VALUES);

	ck_assert_str_eq(text, text_again);
	unit_assert_has(text, "\n[limits a]\nusers = 1 @2\nclients_per_user = 0\n"
			      "segments_per_user = general\n");
	unit_assert_has(text, "\nbytes_per_user = 5%\n\n[limits b]\nusers = nobody\n");
	ck_assert_uint_eq(again.resolved.n, 2);
	for (size_t i = 0; i < 2; i++)
		ck_assert_mem_eq(&again.resolved.list[i], &config.resolved.list[i],
				 sizeof(struct quota_allowance));
	config_fini(&again);
	config_fini(&config);
}
END_TEST

START_TEST(what_is_stolen_is_the_thief_s)
{
	struct config config = load("[limits a]\nusers = 1\n[rule b]\n");
	struct config thief = config_steal(&config);

	config_fini(&config);
	ck_assert_str_eq(thief.allowances[0].name, "a");
	ck_assert_str_eq(thief.resolved.list[0].name, "a");
	ck_assert_str_eq(thief.policy.rules[0].name, "b");
	config_fini(&thief);
}
END_TEST

START_TEST(the_template_changes_nothing)
{
	struct config config;

	config_init(&config);
	config.clients = 5;
	_cleanup_free_ char *text = print(&config, CONFIG_TEMPLATE);
	unit_assert_has(text, "\n#clients = 5\n");
	ck_assert_uint_eq(load(text).clients, 4096);
}
END_TEST

START_TEST(printed_lines_are_short)
{
	struct config config;

	config_init(&config);
	_cleanup_free_ char *text = print(&config, CONFIG_VALUES);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		ck_assert_uint_lt(strlen(line), 80);
}
END_TEST

START_TEST(the_manual_names_every_option)
{
	struct config config;

	config_init(&config);
	_cleanup_free_ char *text = print(&config, CONFIG_MANUAL);
	unit_assert_has(text, ".Ss [daemon\\&]\n.Bl");
	unit_assert_has(text, ".El\n.Ss [limits\\&]\n");
	unit_assert_has(text, "\n.It Ic socket No = Ar /run/shmd/shmd.sock\n");
	unit_assert_has(text, "\n.It Ic bytes_per_user No = Ar 50%\n");
	/* mdoc(7): a sentence begins on a line of its own. */
	ck_assert_ptr_null(strstr(text, ". "));
}
END_TEST

static char *read_all(const char *path)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;

	ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
	ck_assert_int_gt(getdelim(&text, &size, '\0', file), 0);
	return text;
}

/* Behind its leading comment, that is its first empty line, the file is the template. */
START_TEST(etc_shmd_conf_is_the_template)
{
	const char *source = getenv("top_srcdir");
	struct config config;
	char path[4096];

	snprintf(path, sizeof(path), "%s/etc/shmd.conf", source ? source : ".");
	_cleanup_free_ char *file = read_all(path);
	ck_assert_int_eq(file[0], '#');
	char *behind = strstr(file, "\n\n");
	ck_assert_ptr_nonnull(behind);
	config_init(&config);
	_cleanup_free_ char *text = print(&config, CONFIG_TEMPLATE);
	ck_assert_str_eq(behind + 2, text);
	ck_assert_int_eq(config_load(&config, path, error), 0);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_test(tests, defaults_are_as_documented);
	tcase_add_test(tests, every_option_is_read);
	tcase_add_test(tests, administrators_are_found_by_name_and_number);
	tcase_add_test(tests, harmless_forms_are_read);
	tcase_add_test(tests, shares_are_of_the_machine);
	tcase_add_test(tests, rules_are_read_in_their_order);
	tcase_add_test(tests, a_rule_has_the_defaults_of_the_manual);
	tcase_add_test(tests, bad_rules_are_errors);
	tcase_add_test(tests, bad_names_of_rules_are_errors);
	tcase_add_test(tests, rules_read_back);
	tcase_add_test(tests, allowances_are_read_in_their_order);
	tcase_add_test(tests, shares_of_some_are_of_the_machine);
	tcase_add_test(tests, bad_allowances_are_errors);
	tcase_add_test(tests, allowances_read_back);
	tcase_add_test(tests, what_is_stolen_is_the_thief_s);
	tcase_add_test(tests, a_list_is_as_long_as_its_line);
	tcase_add_test(tests, a_long_line_is_an_error);
	tcase_add_test(tests, the_tail_of_a_long_line_is_not_read);
	tcase_add_test(tests, an_indented_line_is_an_error);
	tcase_add_test(tests, an_unclosed_section_is_an_error);
	tcase_add_test(tests, an_error_before_good_lines_is_an_error);
	tcase_add_test(tests, the_first_error_is_told);
	tcase_add_test(tests, a_duplicate_is_an_error);
	tcase_add_test(tests, unknown_words_are_errors);
	tcase_add_test(tests, bytes_that_hide_are_errors);
	tcase_add_test(tests, bad_values_are_errors);
	tcase_add_test(tests, a_path_has_room);
	tcase_add_test(tests, a_file_must_be_there_and_readable);
	tcase_add_test(tests, the_system_may_have_no_files);
	tcase_add_test(tests, the_folder_is_read_in_order);
	tcase_add_test(tests, one_bad_file_spoils_all);
	tcase_add_test(tests, printed_values_read_back);
	tcase_add_test(tests, the_template_changes_nothing);
	tcase_add_test(tests, printed_lines_are_short);
	tcase_add_test(tests, the_manual_names_every_option);
	tcase_add_test(tests, etc_shmd_conf_is_the_template);
}
