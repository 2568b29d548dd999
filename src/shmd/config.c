/* SPDX-License-Identifier: MIT */
#include "shmd/config.h"

#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "base/text.h"
#include "shmd/account.h"

#define SYSTEM_FILE   SYSCONFDIR "/shmd/shmd.conf"
#define SYSTEM_FOLDER SYSCONFDIR "/shmd/shmd.conf.d"

/* inih 55 cuts lines at 199 bytes and parses the rest as a line of its own. */
#define LINE_LENGTH_MAX 190

#define WHY_MAX 256

/* --- the kinds of values ---------------------------------------------------------------------- */

struct kind {
	const char *form; /* what a value looks like, for errors and manual */
	/* 0 or a negative errno; what is wrong, where `form` alone does not say it, goes to `why`. */
	int (*parse)(const char *text, void *field, char why[static WHY_MAX]);
	void (*print)(const void *field, FILE *to);
};

static int parse_path(const char *text, void *field, char why[static WHY_MAX])
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

static int parse_level(const char *text, void *field, char why[static WHY_MAX])
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

static int parse_count(const char *text, void *field, char why[static WHY_MAX])
{
	(void)why;
	return parse_u64(text, field);
}

static void print_count(const void *field, FILE *to)
{
	fprintf(to, "%" PRIu64, *(const uint64_t *)field);
}

static int parse_duration(const char *text, void *field, char why[static WHY_MAX])
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

static int parse_amount(const char *text, void *field, char why[static WHY_MAX])
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

/* What is wrong with the name of a user or group, in words. */
static int explain_account(int r, const char *kind, const char *text, char why[static WHY_MAX])
{
	if (r == -ENOENT)
		snprintf(why, WHY_MAX, "there is no %s '%s'", kind, text);
	else if (r == -ERANGE)
		snprintf(why, WHY_MAX, "%s is no number of a %s", text, kind);
	else if (r < 0)
		snprintf(why, WHY_MAX, "cannot look the %s '%s' up: %s", kind, text, strerror(-r));
	return r;
}

static int find_group(const char *text, gid_t *ret, char why[static WHY_MAX])
{
	gid_t gid;
	int r = text[0] ? account_find_group(text, &gid) : -ENOENT;

	if (r < 0)
		return explain_account(r, "group", text, why);
	if (!access_has_group(&(struct ownership){.gid = gid})) {
		snprintf(why, WHY_MAX, "group %u stands for all groups that are not known here",
			 gid);
		return -EINVAL;
	}
	*ret = gid;
	return 0;
}

static int parse_administrators(const char *text, void *field, char why[static WHY_MAX])
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

/* --- the kinds of values in rules --- */

/* Cuts the next word off a list; NULL: there is none. */
static char *next_word(char **rest)
{
	char *word;

	do
		word = strsep(rest, " \t\r");
	while (word && !word[0]);
	return word;
}

/* Patterns, each terminated, and an empty one behind them. */
static int parse_globs(const char *text, void *field, char why[static WHY_MAX])
{
	char copy[POLICY_LIST_MAX], globs[POLICY_LIST_MAX + 1] = "";
	char *rest = copy, *end = globs;

	text_copy(copy, sizeof(copy), text);
	for (char *word; (word = next_word(&rest)); end += strlen(end) + 1) {
		if (strchr(word, '/')) {
			snprintf(why, WHY_MAX, "'%s' matches no name, for none has a '/'", word);
			return -EINVAL;
		}
		/* Elsewhere in the line it would begin a comment. */
		if (word[0] == ';') {
			snprintf(why, WHY_MAX, "a pattern cannot begin with ';', but with '[;]'");
			return -EINVAL;
		}
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

static int find_user(const char *text, uid_t *ret, char why[static WHY_MAX])
{
	uid_t uid;
	int r = text[0] ? account_find_user(text, &uid) : -ENOENT;

	if (r < 0)
		return explain_account(r, "user", text, why);
	if (!access_has_owner(&(struct ownership){.uid = uid})) {
		snprintf(why, WHY_MAX, "user %u stands for all users that are not known here", uid);
		return -EINVAL;
	}
	*ret = uid;
	return 0;
}

static int add_user(struct policy_users *list, const char *word, char why[static WHY_MAX])
{
	struct policy_user *user = &list->users[list->n];
	int r;

	if (strcmp(word, "anyone") == 0 || strcmp(word, "nobody") == 0) {
		snprintf(why, WHY_MAX, "'%s' stands alone", word);
		return -EINVAL;
	}
	user->is_group = word[0] == '@';
	r = user->is_group ? find_group(word + 1, &user->id, why) : find_user(word, &user->id, why);
	if (r == 0)
		list->n++;
	return r;
}

static int parse_users(const char *text, void *field, char why[static WHY_MAX])
{
	struct policy_users list = {.anyone = strcmp(text, "anyone") == 0};
	bool nobody = strcmp(text, "nobody") == 0;
	char copy[POLICY_LIST_MAX];
	char *rest = copy;
	int r = text[0] ? 0 : -EINVAL;

	text_copy(list.text, sizeof(list.text), list.anyone || nobody ? text : "");
	text_copy(copy, sizeof(copy), list.anyone || nobody ? "" : text);
	for (char *word; r == 0 && (word = next_word(&rest));) {
		r = add_user(&list, word, why);
		strcat(list.text, list.text[0] ? " " : "");
		strcat(list.text, word);
	}
	if (r == 0)
		*(struct policy_users *)field = list;
	return r;
}

static void print_users(const void *field, FILE *to)
{
	fputs(((const struct policy_users *)field)->text, to);
}

static int parse_owner(const char *text, void *field, char why[static WHY_MAX])
{
	if (strcmp(text, "creator") != 0)
		return find_user(text, field, why);
	*(uid_t *)field = POLICY_CREATOR;
	return 0;
}

static int parse_group(const char *text, void *field, char why[static WHY_MAX])
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

static int parse_mode_max(const char *text, void *field, char why[static WHY_MAX])
{
	(void)why;
	return parse_mode(text, field);
}

static int parse_forced_mode(const char *text, void *field, char why[static WHY_MAX])
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

static int parse_lifetimes(const char *text, void *field, char why[static WHY_MAX])
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

static int parse_time_limit(const char *text, void *field, char why[static WHY_MAX])
{
	(void)why;
	return parse_limit(text, field, parse_duration_ms);
}

static void print_time_limit(const void *field, FILE *to)
{
	if (!print_unlimited(field, to))
		print_duration(field, to);
}

static int parse_size_limit(const char *text, void *field, char why[static WHY_MAX])
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

static int parse_count_limit(const char *text, void *field, char why[static WHY_MAX])
{
	(void)why;
	return parse_limit(text, field, parse_u64);
}

static void print_count_limit(const void *field, FILE *to)
{
	if (!print_unlimited(field, to))
		print_count(field, to);
}

static const struct kind path = {"an absolute path of at most 107 bytes", parse_path, print_path};
static const struct kind level = {"error, warning, notice, info or debug", parse_level,
				  print_level};
static const struct kind count = {"a number", parse_count, print_count};
static const struct kind duration = {"a time, with ms, s, min, h or d; from 1ms to 49d",
				     parse_duration, print_duration};
static const struct kind amount = {
	"bytes, with K, M, G or T; or a share of the machine's memory from 0% to 100%",
	parse_amount, print_amount};
static const struct kind administrators = {"a group, by name or number, or none",
					   parse_administrators, print_administrators};

static const struct kind globs = {"patterns as in fnmatch(3), separated by spaces", parse_globs,
				  print_globs};
static const struct kind users = {"anyone, nobody, or users and @groups, by name or number, "
				  "separated by spaces",
				  parse_users, print_users};
static const struct kind owner = {"a user, by name or number, or creator", parse_owner, print_id};
static const struct kind group = {"a group, by name or number, or creator", parse_group, print_id};
static const struct kind forced_mode = {"permission bits in octal, 0 to 0777, or requested",
					parse_forced_mode, print_mode};
static const struct kind mode_max = {"permission bits in octal, 0 to 0777", parse_mode_max,
				     print_mode};
static const struct kind lifetimes = {"some of clients, owner and persistent, separated by spaces",
				      parse_lifetimes, print_lifetimes};
static const struct kind time_limit = {"a time, with ms, s, min, h or d; or unlimited",
				       parse_time_limit, print_time_limit};
static const struct kind size_limit = {"bytes, with K, M, G or T; or unlimited", parse_size_limit,
				       print_size_limit};
static const struct kind count_limit = {"a number, or unlimited", parse_count_limit,
					print_count_limit};

/* --- the table -------------------------------------------------------------------------------- */

/* The section of the rules; behind it stands the name of each. */
#define RULE "rule"

static const struct option {
	const char *section;
	const char *name;
	const struct kind *kind;
	size_t offset;        /* in struct config, of a rule's in struct policy_rule */
	const char *standard; /* the default */
	const char *help;
} options[] = {
	{"daemon", "socket", &path, offsetof(struct config, socket), "/run/shmd/shmd.sock",
	 "Where clients connect. Read at start only; -s and --user go before it, and so does a "
	 "socket that systemd hands over."},
	{"daemon", "log_level", &level, offsetof(struct config, log_level), "info",
	 "What is logged: this and everything more important. -l goes before it."},
	{"daemon", "unread_timeout", &duration, offsetof(struct config, unread_timeout_ms), "30s",
	 "A client whose socket is full of replies that it does not read is disconnected after "
	 "so long."},
	{"daemon", "administrators", &administrators, offsetof(struct config, administrators),
	 "none",
	 "A group whose members see what root sees, and may drop any name. To attach and to "
	 "create, "
	 "they may no more than others."},
	{"limits", "clients", &count, offsetof(struct config, clients), "4096",
	 "Connections at a time. Each costs the daemon up to two descriptors, and up to 128 more "
	 "while its socket is full of replies that it does not read."},
	{"limits", "clients_per_user", &count, offsetof(struct config, clients_per_user), "2048",
	 "Connections of one user."},
	{"limits", "segments", &count, offsetof(struct config, segments), "4096",
	 "Segments, also those without a name whose memory is still in use. Each costs the daemon "
	 "two descriptors, without a semaphore one."},
	{"limits", "segments_per_user", &count, offsetof(struct config, segments_per_user), "2048",
	 "Segments that one user created."},
	{"limits", "attachments", &count, offsetof(struct config, attachments), "65536",
	 "Pairs of a connection and a segment that it has attached."},
	{"limits", "attachments_per_user", &count, offsetof(struct config, attachments_per_user),
	 "16384", "The same, of the connections of one user."},
	{"limits", "waits", &count, offsetof(struct config, waits), "16384",
	 "Waits for a name that have not been answered."},
	{"limits", "waits_per_user", &count, offsetof(struct config, waits_per_user), "8192",
	 "The same, of the connections of one user."},
	{"limits", "subscriptions", &count, offsetof(struct config, subscriptions), "256",
	 "Subscriptions to events. Each event is compared with all of them, and each keeps up to "
	 "4,096 that have not been read."},
	{"limits", "subscriptions_per_user", &count,
	 offsetof(struct config, subscriptions_per_user), "64",
	 "The same, of the connections of one user."},
	{"limits", "bytes", &amount, offsetof(struct config, bytes), "75%",
	 "The sizes of all segments together, whether their pages are in use or not."},
	{"limits", "bytes_per_user", &amount, offsetof(struct config, bytes_per_user), "50%",
	 "The sizes of the segments that one user created."},
	{RULE, "names", &globs, offsetof(struct policy_rule, names), "*",
	 "The names that the rule is for. The first rule of all that has a pattern for a name "
	 "decides on it."},
	{RULE, "create", &users, offsetof(struct policy_rule, create), "anyone",
	 "Who may create segments of these names, or publish under them. Privileged users always "
	 "may."},
	{RULE, "owner", &owner, offsetof(struct policy_rule, owner), "creator",
	 "Who owns such a segment. It counts in the limits of its creator all the same."},
	{RULE, "group", &group, offsetof(struct policy_rule, group), "creator",
	 "The group of such a segment."},
	{RULE, "mode", &forced_mode, offsetof(struct policy_rule, mode), "requested",
	 "The mode of such a segment, whatever its creator asks for."},
	{RULE, "mode_max", &mode_max, offsetof(struct policy_rule, mode_max), "0777",
	 "The bits that may be set in the mode that is asked for. With others, the segment is "
	 "refused."},
	{RULE, "lifetimes", &lifetimes, offsetof(struct policy_rule, lifetimes),
	 "clients owner persistent", "The lifetimes that may be asked for."},
	{RULE, "linger_max", &time_limit, offsetof(struct policy_rule, linger_max_ms), "unlimited",
	 "How long such a segment may be asked to linger. 0 lets none linger."},
	{RULE, "size_max", &size_limit, offsetof(struct policy_rule, size_max), "unlimited",
	 "The size of one such segment."},
	{RULE, "segments_max", &count_limit, offsetof(struct policy_rule, segments_max),
	 "unlimited",
	 "Segments that got their names by this rule, of all users together, also those without a "
	 "name by now whose memory is still in use."},
	{RULE, "bytes_max", &size_limit, offsetof(struct policy_rule, bytes_max), "unlimited",
	 "The sizes of those."},
};
#define N_OPTIONS (sizeof(options) / sizeof(options[0]))

static bool is_of_rules(const struct option *option)
{
	return strcmp(option->section, RULE) == 0;
}

void config_init(struct config *config)
{
	char why[WHY_MAX];

	*config = (struct config){0};
	for (const struct option *option = options; option < options + N_OPTIONS; option++)
		if (!is_of_rules(option))
			option->kind->parse(option->standard, (char *)config + option->offset, why);
}

void config_fini(struct config *config)
{
	policy_fini(&config->policy);
}

/* --- reading ---------------------------------------------------------------------------------- */

struct reading {
	const char *path;
	FILE *file;
	int line;
	struct config *config;
	bool seen[N_OPTIONS];
	char *error; /* the first one wins */
};

static void fail(struct reading *reading, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void fail(struct reading *reading, const char *format, ...)
{
	va_list ap;

	if (reading->error[0])
		return;
	int n = snprintf(reading->error, CONFIG_ERROR_MAX, "%s:%d: ", reading->path, reading->line);
	if (n < 0 || n >= CONFIG_ERROR_MAX)
		return;
	va_start(ap, format);
	vsnprintf(reading->error + n, (size_t)(CONFIG_ERROR_MAX - n), format, ap);
	va_end(ap);
}

static bool is_section(const char *name)
{
	for (size_t i = 0; i < N_OPTIONS; i++)
		if (!is_of_rules(&options[i]) && strcmp(options[i].section, name) == 0)
			return true;
	return false;
}

/* The name of a rule whose section that is, or NULL. */
static const char *rule_of(const char *section)
{
	size_t length = strlen(RULE);

	return strncmp(section, RULE, length) == 0 && section[length] == ' ' ? section + length + 1
									     : NULL;
}

static bool is_rule_name(const char *name)
{
	size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "0123456789_.-");

	return length > 0 && length <= POLICY_RULE_NAME_MAX && !name[length];
}

static const char *last_part(const char *file)
{
	const char *slash = strrchr(file, '/');

	return slash ? slash + 1 : file;
}

/* Its options may be given anew; inih calls back for those, and for a section not at all. */
static void begin_rule(struct reading *reading, const char *name)
{
	struct policy *policy = &reading->config->policy;
	const struct policy_rule *former = policy_by_name(policy, name);

	if (!is_rule_name(name))
		fail(reading,
		     "'%s' cannot be the name of a rule: 1 to %d letters, digits, '_', '.' or '-'",
		     name, POLICY_RULE_NAME_MAX);
	else if (former)
		fail(reading, "there is a rule '%s' already, at %s line %u", name, former->file,
		     former->line);
	else if (!policy_add(policy, name, last_part(reading->path), (unsigned)reading->line))
		fail(reading, "there is no memory for one more rule");
	for (size_t i = 0; i < N_OPTIONS; i++)
		if (is_of_rules(&options[i]))
			reading->seen[i] = false;
}

static void check_section(struct reading *reading, char *text)
{
	char *end = strchr(text, ']');

	if (!end) {
		fail(reading, "the section's ']' is missing");
		return;
	}
	*end = '\0';
	if (end[1 + strspn(end + 1, " \t\r")] != '\0')
		fail(reading, "there is something behind the section's ']'");
	else if (rule_of(text + 1))
		begin_rule(reading, rule_of(text + 1));
	else if (!is_section(text + 1))
		fail(reading, "there is no section [%s]", text + 1);
}

/* What inih would pass over or take for something else: see shmd.conf(5). */
static void check_line(struct reading *reading, const char *line, size_t length)
{
	char copy[LINE_LENGTH_MAX + 1];
	size_t where;

	if (length > LINE_LENGTH_MAX) {
		fail(reading, "the line has %zu bytes; at most %d are allowed", length,
		     LINE_LENGTH_MAX);
		return;
	}
	memcpy(copy, line, length);
	copy[length] = '\0';
	for (size_t i = 0; i < length; i++)
		if (copy[i] == '\t' || copy[i] == '\r')
			copy[i] = ' ';
	size_t indent = strspn(copy, " ");
	bool is_empty = copy[indent] == '\0' || copy[indent] == '#' || copy[indent] == ';';
	if (text_check(copy, length, &where) != TEXT_OK)
		fail(reading, "byte %zu of the line is a control character or not UTF-8",
		     where + 1);
	else if (!is_empty && indent > 0)
		fail(reading, "the line is indented; a value cannot go on from the line before");
	else if (copy[0] == '[')
		check_section(reading, copy);
	else if (!is_empty && !strpbrk(copy, "=:"))
		fail(reading, "not of the form 'name = value'");
}

/* The fgets() of inih, which feeds it only lines that it reads as we mean them. */
static char *next_line(char *buffer, int room, void *context)
{
	struct reading *reading = context;
	_cleanup_free_ char *line = NULL;
	size_t allocated = 0;
	ssize_t length = getline(&line, &allocated, reading->file);

	if (length < 0 || reading->error[0])
		return NULL;
	reading->line++;
	if (line[length - 1] == '\n')
		line[--length] = '\0';
	check_line(reading, line, (size_t)length);
	if (reading->error[0] || length >= room)
		return NULL;
	memcpy(buffer, line, (size_t)length + 1);
	return buffer;
}

static const struct option *find_option(const char *section, const char *name)
{
	if (rule_of(section))
		section = RULE;
	for (size_t i = 0; i < N_OPTIONS; i++)
		if (strcmp(options[i].section, section) == 0 && strcmp(options[i].name, name) == 0)
			return &options[i];
	return NULL;
}

static void set(struct reading *reading, const struct option *option, const char *value)
{
	char why[WHY_MAX] = "";
	struct policy *policy = &reading->config->policy;
	char *base = is_of_rules(option) ? (char *)&policy->rules[policy->n - 1]
					 : (char *)reading->config;
	int r = option->kind->parse(value, base + option->offset, why);

	if (r < 0 && why[0])
		fail(reading, "%s = %s: %s", option->name, value, why);
	else if (r < 0)
		fail(reading, "%s = %s: not %s", option->name, value, option->kind->form);
	else
		reading->seen[option - options] = true;
}

/* inih's callback: 1 goes on, 0 is an error. */
static int take_value(void *context, const char *section, const char *name, const char *value)
{
	struct reading *reading = context;
	const struct option *option = find_option(section, name);

	if (!section[0])
		fail(reading, "'%s' stands before the first [section]", name);
	else if (!option)
		fail(reading, "there is no option '%s' in section [%s]", name, section);
	else if (reading->seen[option - options])
		fail(reading, "'%s' is set a second time", name);
	else
		set(reading, option, value);
	return reading->error[0] ? 0 : 1;
}

/* What only shows when all of a rule is there. */
static void check_rules(struct reading *reading, size_t first)
{
	const struct policy *policy = &reading->config->policy;

	for (size_t i = first; i < policy->n; i++) {
		const struct policy_rule *rule = &policy->rules[i];
		reading->line = (int)rule->line;
		if (rule->mode != POLICY_AS_ASKED && rule->mode & ~rule->mode_max)
			fail(reading, "rule '%s' has mode %04o, and allows mode_max %04o",
			     rule->name, rule->mode, rule->mode_max);
	}
}

/* Reads one file into `config`, which is a scratch copy: on error it may have been changed. */
static int read_file(struct config *config, const char *file, char *error)
{
	_cleanup_fclose_ FILE *stream = fopen(file, "re");
	struct reading reading = {.path = file, .file = stream, .config = config, .error = error};
	size_t rules_before = config->policy.n;

	error[0] = '\0';
	if (!stream) {
		snprintf(error, CONFIG_ERROR_MAX, "%s: %s", file, strerror(errno));
		return errno == ENOENT ? -ENOENT : -EINVAL;
	}
	int r = ini_parse_stream(next_line, &reading, take_value, &reading);
	if (r != 0 && !error[0]) {
		reading.line = r > 0 ? r : reading.line;
		fail(&reading, "not of the form 'name = value'");
	}
	if (ferror(stream) && !error[0])
		snprintf(error, CONFIG_ERROR_MAX, "%s: %s", file, strerror(errno));
	if (!error[0])
		check_rules(&reading, rules_before);
	return error[0] ? -EINVAL : 0;
}

static int is_conf(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);

	return entry->d_name[0] != '.' && length > 5 &&
	       strcmp(entry->d_name + length - 5, ".conf") == 0;
}

/* Frees what scandir() returned. */
static void free_entries(struct dirent **entries, int n)
{
	for (int i = 0; i < n; i++)
		free(entries[i]);
	free(entries);
}

static int read_folder(struct config *config, const char *folder, char *error)
{
	struct dirent **entries;
	int n = scandir(folder, &entries, is_conf, alphasort);
	int r = 0;

	if (n < 0 && errno == ENOENT)
		return 0;
	if (n < 0) {
		snprintf(error, CONFIG_ERROR_MAX, "%s: %s", folder, strerror(errno));
		return -EINVAL;
	}
	for (int i = 0; i < n && r == 0; i++) {
		char file[512];
		snprintf(file, sizeof(file), "%s/%s", folder, entries[i]->d_name);
		r = read_file(config, file, error);
	}
	free_entries(entries, n);
	return r < 0 ? -EINVAL : 0;
}

int config_load(struct config *ret, const char *file, char error[static CONFIG_ERROR_MAX])
{
	struct config scratch;

	config_init(&scratch);
	int r = read_file(&scratch, file ? file : SYSTEM_FILE, error);
	if (r == -ENOENT && !file)
		r = 0;
	if (r == 0 && !file)
		r = read_folder(&scratch, SYSTEM_FOLDER, error);
	if (r < 0) {
		config_fini(&scratch);
		return -EINVAL;
	}
	*ret = scratch;
	return 0;
}

/* --- telling ---------------------------------------------------------------------------------- */

static uint64_t resolve(const struct config_amount *bytes)
{
	struct sysinfo info;

	if (!bytes->is_percent)
		return bytes->value;
	if (sysinfo(&info) < 0)
		return 0;
	return (uint64_t)info.totalram * info.mem_unit / 100 * bytes->value;
}

void config_limits(const struct config *config, struct quota_limits *ret)
{
	*ret = (struct quota_limits){
		.total = {[QUOTA_CLIENTS] = config->clients,
			  [QUOTA_SEGMENTS] = config->segments,
			  [QUOTA_ATTACHMENTS] = config->attachments,
			  [QUOTA_WAITS] = config->waits,
			  [QUOTA_SUBSCRIPTIONS] = config->subscriptions,
			  [QUOTA_BYTES] = resolve(&config->bytes)},
		.per_user = {[QUOTA_CLIENTS] = config->clients_per_user,
			     [QUOTA_SEGMENTS] = config->segments_per_user,
			     [QUOTA_ATTACHMENTS] = config->attachments_per_user,
			     [QUOTA_WAITS] = config->waits_per_user,
			     [QUOTA_SUBSCRIPTIONS] = config->subscriptions_per_user,
			     [QUOTA_BYTES] = resolve(&config->bytes_per_user)},
	};
}

/* Writes a comment, broken before column 80. */
static void print_comment(const char *text, FILE *to)
{
	while (*text) {
		size_t length = strlen(text);
		if (length > 77) {
			length = 77;
			while (length > 1 && text[length] != ' ')
				length--;
		}
		fprintf(to, "# %.*s\n", (int)length, text);
		text += length + strspn(text + length, " ");
	}
}

static void print_manual(const struct option *option, FILE *to)
{
	fprintf(to, ".It Ic %s No = Ar %s\n", option->name, option->standard);
	for (const char *p = option->help; *p; p++) {
		/* A plain one would become a hyphen. */
		fputs(*p == '-' ? "\\-" : (char[2]){*p}, to);
		/* mdoc(7): a new sentence, a new line. */
		if (*p == '.' && p[1] == ' ')
			fputc('\n', to), p++;
	}
	fprintf(to, "\n.Pp\nThe value is %s.\n", option->kind->form);
}

static void print_option(const void *base, const struct option *option, enum config_form form,
			 FILE *to)
{
	if (form == CONFIG_MANUAL) {
		print_manual(option, to);
		return;
	}
	fputc('\n', to);
	print_comment(option->help, to);
	fprintf(to, "%s%s = ", form == CONFIG_TEMPLATE ? "#" : "", option->name);
	option->kind->print((const char *)base + option->offset, to);
	fputc('\n', to);
}

static void print_section(const char *section, bool is_first, enum config_form form, FILE *to)
{
	if (form == CONFIG_MANUAL)
		fprintf(to, "%s.Ss [%s\\&]\n.Bl -tag -width Ds\n", is_first ? "" : ".El\n",
			section);
	else
		fprintf(to, "%s[%s]\n", is_first ? "" : "\n", section);
}

/* Here without the explanations, which one rule after another would repeat. */
static void print_rule(const struct policy_rule *rule, FILE *to)
{
	fprintf(to, "\n[" RULE " %s]\n", rule->name);
	for (const struct option *option = options; option < options + N_OPTIONS; option++)
		if (is_of_rules(option)) {
			fprintf(to, "%s = ", option->name);
			option->kind->print((const char *)rule + option->offset, to);
			fputc('\n', to);
		}
}

/* What a rule may have. */
static void print_rule_options(enum config_form form, FILE *to)
{
	struct policy_rule rule;

	policy_rule_init(&rule, "", "", 1);
	if (form == CONFIG_MANUAL)
		print_section(RULE " NAME", false, form, to);
	else
		fputs("\n#[" RULE " NAME]\n", to);
	for (const struct option *option = options; option < options + N_OPTIONS; option++)
		if (is_of_rules(option))
			print_option(&rule, option, form, to);
}

void config_print(const struct config *config, enum config_form form, FILE *to)
{
	const char *section = "";

	for (const struct option *option = options; option < options + N_OPTIONS; option++) {
		if (is_of_rules(option))
			continue;
		if (strcmp(section, option->section) != 0)
			print_section(option->section, option == options, form, to);
		section = option->section;
		print_option(config, option, form, to);
	}
	if (form != CONFIG_VALUES)
		print_rule_options(form, to);
	for (size_t i = 0; form == CONFIG_VALUES && i < config->policy.n; i++)
		print_rule(&config->policy.rules[i], to);
	if (form == CONFIG_MANUAL)
		fputs(".El\n", to);
}
