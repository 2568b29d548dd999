/* SPDX-License-Identifier: MIT */
#include "shmd/value.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "shmd/account.h"
#include "shmd/config.h"

static int parse_path(const char *text, void *field, char why[static VALUE_WHY_MAX])
{
	size_t where;

	(void)why;
	/* A tab or a carriage return between words is a space; inside a path it is a mistake. */
	if (text[0] != '/' || text_check(text, strlen(text), &where) != TEXT_OK)
		return -EINVAL;
	if (strlen(text) >= CONFIG_PATH_MAX)
		return -ERANGE;
	text_copy(field, CONFIG_PATH_MAX, text);
	return 0;
}

static void print_path(const void *field, FILE *to)
{
	fputs(field, to);
}

static int parse_level(const char *text, void *field, char why[static VALUE_WHY_MAX])
{
	enum log_level level;
	int r = log_level_parse(text, &level);

	(void)why;
	if (r == 0)
		*(uint64_t *)field = level;
	return r;
}

static void print_level(const void *field, FILE *to)
{
	fputs(log_level_name((enum log_level) * (const uint64_t *)field), to);
}

static int parse_count(const char *text, void *field, char why[static VALUE_WHY_MAX])
{
	(void)why;
	return parse_u64(text, field);
}

static void print_count(const void *field, FILE *to)
{
	fprintf(to, "%" PRIu64, *(const uint64_t *)field);
}

static int parse_duration(const char *text, void *field, char why[static VALUE_WHY_MAX])
{
	uint64_t ms;
	int r = parse_duration_ms(text, &ms);

	(void)why;
	if (r == 0 && (ms == 0 || ms > UINT32_MAX))
		r = -ERANGE;
	if (r == 0)
		*(uint64_t *)field = ms;
	return r;
}

static void print_duration(const void *field, FILE *to)
{
	char buffer[FORMAT_MAX];

	fputs(format_duration_ms(*(const uint64_t *)field, buffer), to);
}

static int parse_amount(const char *text, void *field, char why[static VALUE_WHY_MAX])
{
	struct config_amount amount = {.is_percent = text[0] && text[strlen(text) - 1] == '%'};
	char digits[32];

	(void)why;
	if (strlen(text) >= sizeof(digits))
		return -ERANGE;
	text_copy(digits, sizeof(digits), text);
	if (amount.is_percent)
		digits[strlen(text) - 1] = '\0';
	int r = amount.is_percent ? parse_u64(digits, &amount.value)
				  : parse_size(digits, &amount.value);
	if (r == 0 && amount.is_percent && amount.value > 100)
		r = -ERANGE;
	if (r == 0)
		*(struct config_amount *)field = amount;
	return r;
}

static void print_amount(const void *field, FILE *to)
{
	const struct config_amount *amount = field;
	char buffer[FORMAT_MAX];

	if (amount->is_percent)
		fprintf(to, "%" PRIu64 "%%", amount->value);
	else
		fputs(format_size(amount->value, buffer), to);
}

/* Where everybody's limit is to hold. As a number that would not come back as one. */
static int check_own(int r, struct config_amount *amount, const char *text)
{
	if (strcmp(text, "general") == 0) {
		*amount = (struct config_amount){.value = QUOTA_GENERAL};
		return 0;
	}
	return r == 0 && amount->value == QUOTA_GENERAL ? -ERANGE : r;
}

static int parse_own_count(const char *text, void *field, char why[static VALUE_WHY_MAX])
{
	struct config_amount amount = {0};
	int r = check_own(parse_u64(text, &amount.value), &amount, text);

	(void)why;
	if (r == 0)
		*(struct config_amount *)field = amount;
	return r;
}

static int parse_own_amount(const char *text, void *field, char why[static VALUE_WHY_MAX])
{
	struct config_amount amount = {0};
	int r = check_own(parse_amount(text, &amount, why), &amount, text);

	if (r == 0)
		*(struct config_amount *)field = amount;
	return r;
}

static void print_own_count(const void *field, FILE *to)
{
	const struct config_amount *amount = field;

	if (amount->value == QUOTA_GENERAL)
		fputs("general", to);
	else
		print_count(&amount->value, to);
}

static void print_own_amount(const void *field, FILE *to)
{
	if (((const struct config_amount *)field)->value == QUOTA_GENERAL)
		fputs("general", to);
	else
		print_amount(field, to);
}

/* --- users and groups --------------------------------------------------------------------------- */

/* What is wrong with the name of a user or group, in words. */
static int explain_account(int r, const char *kind, const char *text,
			   char why[static VALUE_WHY_MAX])
{
	if (r == -ENOENT)
		snprintf(why, VALUE_WHY_MAX, "there is no %s '%s'", kind, text);
	else if (r == -ERANGE)
		snprintf(why, VALUE_WHY_MAX, "%s is no number of a %s", text, kind);
	else if (r < 0)
		snprintf(why, VALUE_WHY_MAX, "cannot look the %s '%s' up: %s", kind, text,
			 strerror(-r));
	return r;
}

static int find_group(const char *text, gid_t *ret, char why[static VALUE_WHY_MAX])
{
	gid_t gid;
	int r = text[0] ? account_find_group(text, &gid) : -ENOENT;

	if (r < 0)
		return explain_account(r, "group", text, why);
	if (!access_has_group(&(struct ownership){.gid = gid})) {
		snprintf(why, VALUE_WHY_MAX,
			 "group %u stands for all groups that are not known here", gid);
		return -EINVAL;
	}
	*ret = gid;
	return 0;
}

static int parse_administrators(const char *text, void *field, char why[static VALUE_WHY_MAX])
{
	if (strcmp(text, "none") != 0)
		return find_group(text, field, why);
	*(gid_t *)field = ACCESS_NO_GROUP;
	return 0;
}

static void print_administrators(const void *field, FILE *to)
{
	gid_t gid = *(const gid_t *)field;

	if (gid == ACCESS_NO_GROUP)
		fputs("none", to);
	else
		fprintf(to, "%u", gid);
}

/* --- of rules ---------------------------------------------------------------------------------- */

/* Cuts the next word off a list; NULL: there is none. */
static char *next_word(char **rest)
{
	char *word;

	do
		word = strsep(rest, " \t\r");
	while (word && !word[0]);
	return word;
}

/* So long that it can be written back, however it was written. */
static int check_length(const char *text, char why[static VALUE_WHY_MAX])
{
	if (strlen(text) < POLICY_LIST_MAX)
		return 0;
	snprintf(why, VALUE_WHY_MAX, "the list has %zu bytes; at most %d are allowed", strlen(text),
		 POLICY_LIST_MAX - 1);
	return -ERANGE;
}

/* Patterns, each terminated, and an empty one behind them. */
/* What would match nothing, or something else than was meant. */
static int check_glob(const char *glob, char why[static VALUE_WHY_MAX])
{
	const char *bracket = strchr(glob, '[');

	if (strchr(glob, '/'))
		snprintf(why, VALUE_WHY_MAX, "'%s' matches no name, for none has a '/'", glob);
	else if (glob[0] == ';') /* elsewhere in the line it would begin a comment */
		snprintf(why, VALUE_WHY_MAX, "a pattern cannot begin with ';', but with '[;]'");
	else if (strchr(glob, '"'))
		snprintf(why, VALUE_WHY_MAX,
			 "patterns are not quoted; '?' stands for any character");
	else if (glob[strlen(glob) - 1] == ',')
		snprintf(why, VALUE_WHY_MAX, "a pattern cannot end with ',', but with '[,]'");
	else if (bracket && !strchr(bracket, ']'))
		snprintf(why, VALUE_WHY_MAX, "the '[' of '%s' has no ']'", glob);
	else
		return 0;
	return -EINVAL;
}

static int parse_globs(const char *text, void *field, char why[static VALUE_WHY_MAX])
{
	char copy[POLICY_LIST_MAX], globs[POLICY_LIST_MAX + 1] = "";
	char *rest = copy, *end = globs;

	if (check_length(text, why) < 0)
		return -ERANGE;
	text_copy(copy, sizeof(copy), text);
	for (char *word; (word = next_word(&rest)); end += strlen(end) + 1) {
		if (check_glob(word, why) < 0)
			return -EINVAL;
		memcpy(end, word, strlen(word) + 1);
	}
	if (end == globs)
		return -EINVAL;
	*end = '\0';
	memcpy(field, globs, sizeof(globs));
	return 0;
}

static void print_globs(const void *field, FILE *to)
{
	for (const char *glob = field; *glob; glob += strlen(glob) + 1)
		fprintf(to, "%s%s", glob == field ? "" : " ", glob);
}

static int find_user(const char *text, uid_t *ret, char why[static VALUE_WHY_MAX])
{
	uid_t uid;
	int r = text[0] ? account_find_user(text, &uid) : -ENOENT;

	if (r < 0)
		return explain_account(r, "user", text, why);
	if (!access_has_owner(&(struct ownership){.uid = uid})) {
		snprintf(why, VALUE_WHY_MAX, "user %u stands for all users that are not known here",
			 uid);
		return -EINVAL;
	}
	*ret = uid;
	return 0;
}

static int add_user(struct users *list, const char *word, char why[static VALUE_WHY_MAX])
{
	struct users_entry *user = &list->entries[list->n];
	int r;

	if (strcmp(word, "anyone") == 0 || strcmp(word, "nobody") == 0) {
		snprintf(why, VALUE_WHY_MAX, "'%s' stands alone", word);
		return -EINVAL;
	}
	user->is_group = word[0] == '@';
	r = user->is_group ? find_group(word + 1, &user->id, why) : find_user(word, &user->id, why);
	if (r == 0)
		list->n++;
	return r;
}

static int parse_users(const char *text, void *field, char why[static VALUE_WHY_MAX])
{
	struct users list = {.anyone = strcmp(text, "anyone") == 0};
	bool nobody = strcmp(text, "nobody") == 0;
	char copy[POLICY_LIST_MAX];
	char *rest = copy;
	int r = text[0] ? check_length(text, why) : -EINVAL;

	if (r < 0)
		return r;
	text_copy(list.text, sizeof(list.text), list.anyone || nobody ? text : "");
	text_copy(copy, sizeof(copy), list.anyone || nobody ? "" : text);
	for (char *word; r == 0 && (word = next_word(&rest));) {
		r = add_user(&list, word, why);
		strcat(list.text, list.text[0] ? " " : "");
		strcat(list.text, word);
	}
	if (r == 0)
		*(struct users *)field = list;
	return r;
}

static void print_users(const void *field, FILE *to)
{
	fputs(((const struct users *)field)->text, to);
}

static int parse_owner(const char *text, void *field, char why[static VALUE_WHY_MAX])
{
	if (strcmp(text, "creator") != 0)
		return find_user(text, field, why);
	*(uid_t *)field = POLICY_CREATOR;
	return 0;
}

static int parse_group(const char *text, void *field, char why[static VALUE_WHY_MAX])
{
	if (strcmp(text, "creator") != 0)
		return find_group(text, field, why);
	*(gid_t *)field = POLICY_CREATOR;
	return 0;
}

static void print_id(const void *field, FILE *to)
{
	id_t id = *(const id_t *)field;

	if (id == POLICY_CREATOR)
		fputs("creator", to);
	else
		fprintf(to, "%u", id);
}

static int parse_mode_max(const char *text, void *field, char why[static VALUE_WHY_MAX])
{
	(void)why;
	return parse_mode(text, field);
}

static int parse_forced_mode(const char *text, void *field, char why[static VALUE_WHY_MAX])
{
	(void)why;
	if (strcmp(text, "requested") != 0)
		return parse_mode(text, field);
	*(mode_t *)field = POLICY_AS_ASKED;
	return 0;
}

static void print_mode(const void *field, FILE *to)
{
	mode_t mode = *(const mode_t *)field;

	if (mode == POLICY_AS_ASKED)
		fputs("requested", to);
	else
		fprintf(to, "%04o", mode);
}

static int find_lifetime(const char *word)
{
	for (int i = 0; i <= LIFETIME_PERSISTENT; i++)
		if (strcmp(policy_lifetime_names[i], word) == 0)
			return i;
	return -ENOENT;
}

static int parse_lifetimes(const char *text, void *field, char why[static VALUE_WHY_MAX])
{
	char copy[POLICY_LIST_MAX];
	char *rest = copy;
	unsigned lifetimes = 0;

	(void)why;
	text_copy(copy, sizeof(copy), text);
	for (char *word; (word = next_word(&rest));) {
		int lifetime = find_lifetime(word);
		if (lifetime < 0)
			return lifetime;
		lifetimes |= 1u << lifetime;
	}
	if (!lifetimes)
		return -EINVAL;
	*(unsigned *)field = lifetimes;
	return 0;
}

static void print_lifetimes(const void *field, FILE *to)
{
	unsigned lifetimes = *(const unsigned *)field;
	const char *between = "";

	for (int i = 0; i <= LIFETIME_PERSISTENT; i++)
		if (lifetimes & 1u << i) {
			fprintf(to, "%s%s", between, policy_lifetime_names[i]);
			between = " ";
		}
}

/* A limit of that kind, or none. */
static int parse_limit(const char *text, uint64_t *field,
		       int (*parse)(const char *text, uint64_t *ret))
{
	if (strcmp(text, "unlimited") != 0)
		return parse(text, field);
	*field = POLICY_UNLIMITED;
	return 0;
}

static bool print_unlimited(const void *field, FILE *to)
{
	if (*(const uint64_t *)field != POLICY_UNLIMITED)
		return false;
	fputs("unlimited", to);
	return true;
}

static int parse_time_limit(const char *text, void *field, char why[static VALUE_WHY_MAX])
{
	(void)why;
	return parse_limit(text, field, parse_duration_ms);
}

static void print_time_limit(const void *field, FILE *to)
{
	if (!print_unlimited(field, to))
		print_duration(field, to);
}

static int parse_size_limit(const char *text, void *field, char why[static VALUE_WHY_MAX])
{
	(void)why;
	return parse_limit(text, field, parse_size);
}

static void print_size_limit(const void *field, FILE *to)
{
	char buffer[FORMAT_MAX];

	if (!print_unlimited(field, to))
		fputs(format_size(*(const uint64_t *)field, buffer), to);
}

static int parse_count_limit(const char *text, void *field, char why[static VALUE_WHY_MAX])
{
	(void)why;
	return parse_limit(text, field, parse_u64);
}

static void print_count_limit(const void *field, FILE *to)
{
	if (!print_unlimited(field, to))
		print_count(field, to);
}

/* --- the kinds --------------------------------------------------------------------------------- */

const struct value_kind value_path = {"an absolute path of at most 107 bytes", parse_path,
				      print_path};
const struct value_kind value_level = {"error, warning, notice, info or debug", parse_level,
				       print_level};
const struct value_kind value_count = {"a number", parse_count, print_count};
const struct value_kind value_duration = {"a time, with ms, s, min, h or d; from 1ms to 49d",
					  parse_duration, print_duration};
const struct value_kind value_amount = {
	"bytes, with K, M, G or T; or a share of the machine's memory from 0% to 100%",
	parse_amount, print_amount};
const struct value_kind value_administrators = {"a group, by name or number, or none",
						parse_administrators, print_administrators};

const struct value_kind value_own_count = {"a number, or general: what [limits] says",
					   parse_own_count, print_own_count};
const struct value_kind value_own_amount = {
	"bytes, with K, M, G or T; or a share of the machine's memory from 0% to 100%; or general: "
	"what [limits] says",
	parse_own_amount, print_own_amount};

const struct value_kind value_globs = {"patterns as in fnmatch(3), separated by spaces",
				       parse_globs, print_globs};
const struct value_kind value_users = {"anyone, nobody, or users and @groups, by name or number, "
				       "separated by spaces",
				       parse_users, print_users};
const struct value_kind value_owner = {"a user, by name or number, or creator", parse_owner,
				       print_id};
const struct value_kind value_group = {"a group, by name or number, or creator", parse_group,
				       print_id};
const struct value_kind value_forced_mode = {"permission bits in octal, 0 to 0777, or requested",
					     parse_forced_mode, print_mode};
const struct value_kind value_mode_max = {"permission bits in octal, 0 to 0777", parse_mode_max,
					  print_mode};
const struct value_kind value_lifetimes = {
	"some of clients, owner and persistent, separated by spaces", parse_lifetimes,
	print_lifetimes};
const struct value_kind value_time_limit = {"a time, with ms, s, min, h or d; or unlimited",
					    parse_time_limit, print_time_limit};
const struct value_kind value_size_limit = {"bytes, with K, M, G or T; or unlimited",
					    parse_size_limit, print_size_limit};
const struct value_kind value_count_limit = {"a number, or unlimited", parse_count_limit,
					     print_count_limit};
