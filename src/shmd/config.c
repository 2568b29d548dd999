/* SPDX-License-Identifier: MIT */
#include "shmd/config.h"

#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "shmd/value.h"

#define SYSTEM_FILE   SYSCONFDIR "/shmd/shmd.conf"
#define SYSTEM_FOLDER SYSCONFDIR "/shmd/shmd.conf.d"

/* inih 55 cuts lines at 199 bytes and parses the rest as a line of its own. */
#define LINE_LENGTH_MAX 190

/* --- the table -------------------------------------------------------------------------------- */

/* Sections of which there may be many, each with a name of its own. */
#define ALLOWANCE "limits NAME"
#define RULE      "rule NAME"

static const struct option {
	const char *section;
	const char *name;
	const struct value_kind *kind;
	size_t offset;        /* in struct config, config_allowance or policy_rule */
	const char *standard; /* the default; NULL: it has to be set */
	const char *help;
} options[] = {
	{"daemon", "socket", &value_path, offsetof(struct config, socket), "/run/shmd/shmd.sock",
	 "Where clients connect. Read at start only; -s and --user go before it, and so does a "
	 "socket that systemd hands over."},
	{"daemon", "log_level", &value_level, offsetof(struct config, log_level), "info",
	 "What is logged: this and everything more important. -l goes before it."},
	{"daemon", "unread_timeout", &value_duration, offsetof(struct config, unread_timeout_ms),
	 "30s",
	 "A client whose socket is full of replies that it does not read is disconnected after "
	 "so long."},
	{"daemon", "grace", &value_duration, offsetof(struct config, grace_ms), "30s",
	 "After a restart, clients whose processes the daemon cannot watch have so long to come "
	 "back for what they had. Of others, what no process has open any more is let go of "
	 "then."},
	{"daemon", "administrators", &value_administrators, offsetof(struct config, administrators),
	 "none",
	 "A group whose members see what root sees, and may drop any name. To attach and "
	 "to create, they may no more than others."},
	{"limits", "clients", &value_count, offsetof(struct config, clients), "4096",
	 "Connections at a time. Each costs the daemon up to two descriptors, and up to 128 more "
	 "while its socket is full of replies that it does not read."},
	{"limits", "clients_per_user", &value_count, offsetof(struct config, clients_per_user),
	 "2048", "Connections of one user."},
	{"limits", "segments", &value_count, offsetof(struct config, segments), "4096",
	 "Segments, also those without a name whose memory is still in use. Each costs the daemon "
	 "two descriptors, without a semaphore one."},
	{"limits", "segments_per_user", &value_count, offsetof(struct config, segments_per_user),
	 "2048", "Segments that one user created."},
	{"limits", "semaphores", &value_count, offsetof(struct config, semaphores), "4096",
	 "Semaphores, of the segments that were not created without one."},
	{"limits", "semaphores_per_user", &value_count,
	 offsetof(struct config, semaphores_per_user), "2048",
	 "Those of the segments that one user created."},
	{"limits", "attachments", &value_count, offsetof(struct config, attachments), "65536",
	 "Pairs of a connection and a segment that it has attached."},
	{"limits", "attachments_per_user", &value_count,
	 offsetof(struct config, attachments_per_user), "16384",
	 "The same, of the connections of one user."},
	{"limits", "waits", &value_count, offsetof(struct config, waits), "16384",
	 "Waits for a name that have not been answered."},
	{"limits", "waits_per_user", &value_count, offsetof(struct config, waits_per_user), "8192",
	 "The same, of the connections of one user."},
	{"limits", "subscriptions", &value_count, offsetof(struct config, subscriptions), "256",
	 "Subscriptions to events. Each event is compared with all of them, and each keeps up to "
	 "4,096 that have not been read."},
	{"limits", "subscriptions_per_user", &value_count,
	 offsetof(struct config, subscriptions_per_user), "64",
	 "The same, of the connections of one user."},
	{"limits", "unread_descriptors", &value_count, offsetof(struct config, unread_descriptors),
	 "3072",
	 "Descriptors in replies that clients have not read; at most three quarters of the "
	 "daemon's RLIMIT_NOFILE, past which the kernel lets it send none to anybody. A user may "
	 "have an eighth of what is left, or while half is left, as many as fit in a packet. A "
	 "request that would pass this limit or the next is held for up to a second, and then "
	 "refused."},
	{"limits", "unread_descriptors_per_user", &value_count,
	 offsetof(struct config, unread_descriptors_per_user), "1024", "The same, of one user."},
	{"limits", "bytes", &value_amount, offsetof(struct config, bytes), "75%",
	 "The sizes of all segments together, whether their pages are in use or not."},
	{"limits", "bytes_per_user", &value_amount, offsetof(struct config, bytes_per_user), "50%",
	 "The sizes of the segments that one user created."},
	{ALLOWANCE, "users", &value_users, offsetof(struct config_allowance, users), NULL,
	 "Whose limits these are. The first of all these sections that lists a user is the "
	 "user's, and the only one."},
	{ALLOWANCE, "clients_per_user", &value_own_count,
	 offsetof(struct config_allowance, per_user[QUOTA_CLIENTS]), "general",
	 "Connections of each of these users."},
	{ALLOWANCE, "segments_per_user", &value_own_count,
	 offsetof(struct config_allowance, per_user[QUOTA_SEGMENTS]), "general",
	 "Segments that each of them created."},
	{ALLOWANCE, "semaphores_per_user", &value_own_count,
	 offsetof(struct config_allowance, per_user[QUOTA_SEMAPHORES]), "general",
	 "Semaphores of these segments."},
	{ALLOWANCE, "attachments_per_user", &value_own_count,
	 offsetof(struct config_allowance, per_user[QUOTA_ATTACHMENTS]), "general",
	 "Pairs of a connection of each of them and a segment that it has attached."},
	{ALLOWANCE, "waits_per_user", &value_own_count,
	 offsetof(struct config_allowance, per_user[QUOTA_WAITS]), "general",
	 "Waits of the connections of each of them."},
	{ALLOWANCE, "subscriptions_per_user", &value_own_count,
	 offsetof(struct config_allowance, per_user[QUOTA_SUBSCRIPTIONS]), "general",
	 "Subscriptions of the connections of each of them."},
	{ALLOWANCE, "unread_descriptors_per_user", &value_own_count,
	 offsetof(struct config_allowance, per_user[QUOTA_UNREAD]), "general",
	 "Descriptors in replies that were not read."},
	{ALLOWANCE, "bytes_per_user", &value_own_amount,
	 offsetof(struct config_allowance, per_user[QUOTA_BYTES]), "general",
	 "The sizes of the segments that each of them created."},
	{RULE, "names", &value_globs, offsetof(struct policy_rule, names), "*",
	 "The names that the rule is for. The first rule of all that has a pattern for a name "
	 "decides on it."},
	{RULE, "create", &value_users, offsetof(struct policy_rule, create), "anyone",
	 "Who may create segments of these names, or publish under them. Privileged users always "
	 "may."},
	{RULE, "owner", &value_owner, offsetof(struct policy_rule, owner), "creator",
	 "Who owns such a segment, and is shown as its owner: whoever may create can speak in that "
	 "user's name. It counts in the limits of its creator all the same."},
	{RULE, "group", &value_group, offsetof(struct policy_rule, group), "creator",
	 "The group of such a segment."},
	{RULE, "mode", &value_forced_mode, offsetof(struct policy_rule, mode), "requested",
	 "The mode of such a segment, whatever its creator asks for."},
	{RULE, "mode_max", &value_mode_max, offsetof(struct policy_rule, mode_max), "0777",
	 "The bits that may be set in the mode that is asked for. With others, the segment is "
	 "refused."},
	{RULE, "lifetimes", &value_lifetimes, offsetof(struct policy_rule, lifetimes),
	 "clients owner persistent", "The lifetimes that may be asked for."},
	{RULE, "linger_max", &value_time_limit, offsetof(struct policy_rule, linger_max_ms),
	 "unlimited", "How long such a segment may be asked to linger. 0 lets none linger."},
	{RULE, "size_max", &value_size_limit, offsetof(struct policy_rule, size_max), "unlimited",
	 "The size of one such segment."},
	{RULE, "segments_max", &value_count_limit, offsetof(struct policy_rule, segments_max),
	 "unlimited",
	 "Segments that got their names by this rule, of all users together, also those without a "
	 "name by now whose memory is still in use."},
	{RULE, "bytes_max", &value_size_limit, offsetof(struct policy_rule, bytes_max), "unlimited",
	 "The sizes of those."},
};
#define N_OPTIONS (sizeof(options) / sizeof(options[0]))

/* How many bytes of such a section, as "rule NAME", stand before the name; of another one, 0. */
static size_t word_length(const char *section)
{
	const char *space = strchr(section, ' ');

	return space ? (size_t)(space - section) + 1 : 0;
}

static bool is_of_many(const struct option *option)
{
	return word_length(option->section) > 0;
}

/* What is set in the fields of `base` before anything is read. */
static void set_default(void *base, const struct option *option)
{
	char why[VALUE_WHY_MAX];

	if (option->standard)
		option->kind->parse(option->standard, (char *)base + option->offset, why);
}

/* --- sections with names ------------------------------------------------------------------------ */

struct place {
	const char *name, *file;
	unsigned line;
};

static void *add_allowance(struct config *config, const struct place *place)
{
	struct config_allowance *larger = reallocarray(config->allowances, config->n_allowances + 1,
						       sizeof(*config->allowances));

	if (!larger)
		return NULL;
	config->allowances = larger;
	struct config_allowance *allowance = &larger[config->n_allowances++];
	*allowance = (struct config_allowance){.line = place->line};
	text_copy(allowance->name, sizeof(allowance->name), place->name);
	text_copy(allowance->file, sizeof(allowance->file), place->file);
	for (const struct option *option = options; option < options + N_OPTIONS; option++)
		if (strcmp(option->section, ALLOWANCE) == 0)
			set_default(allowance, option);
	return allowance;
}

static const void *allowance_at(const struct config *config, size_t i, struct place *ret)
{
	if (i >= config->n_allowances)
		return NULL;
	const struct config_allowance *allowance = &config->allowances[i];
	*ret = (struct place){allowance->name, allowance->file, allowance->line};
	return allowance;
}

static void *add_rule(struct config *config, const struct place *place)
{
	return policy_add(&config->policy, place->name, place->file, place->line);
}

static const void *rule_at(const struct config *config, size_t i, struct place *ret)
{
	if (i >= config->policy.n)
		return NULL;
	const struct policy_rule *rule = &config->policy.rules[i];
	*ret = (struct place){rule->name, rule->file, rule->line};
	return rule;
}

static const struct family {
	const char *section;
	void *(*add)(struct config *config, const struct place *place);
	const void *(*at)(const struct config *config, size_t i, struct place *ret);
} families[] = {
	{ALLOWANCE, add_allowance, allowance_at},
	{RULE, add_rule, rule_at},
};
#define N_FAMILIES (sizeof(families) / sizeof(families[0]))

_Static_assert(QUOTA_NAME_MAX == POLICY_RULE_NAME_MAX, "all these names are of one kind");

/* --- life -------------------------------------------------------------------------------------- */

void config_init(struct config *config)
{
	*config = (struct config){0};
	for (const struct option *option = options; option < options + N_OPTIONS; option++)
		if (!is_of_many(option))
			set_default(config, option);
}

void config_fini(struct config *config)
{
	free(config->allowances);
	config->allowances = NULL;
	config->n_allowances = 0;
	quota_allowances_fini(&config->resolved);
	policy_fini(&config->policy);
}

struct config config_steal(struct config *config)
{
	struct config stolen = *config;

	config->allowances = NULL;
	config->n_allowances = 0;
	config->resolved = (struct quota_allowances){0};
	config->policy = (struct policy){0};
	return stolen;
}

/* --- reading ---------------------------------------------------------------------------------- */

struct reading {
	const char *path;
	FILE *file;
	int line;
	struct config *config;
	const char *section; /* of the options that may come, as the table has it; NULL: none */
	void *base;          /* where their fields are */
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

/* As the table has it, or NULL. */
static const char *plain_section(const char *text)
{
	for (size_t i = 0; i < N_OPTIONS; i++)
		if (!is_of_many(&options[i]) && strcmp(options[i].section, text) == 0)
			return options[i].section;
	return NULL;
}

/* Of "rule sensors", that of the rules, and the name; or NULL. */
static const struct family *family_of(const char *text, const char **ret_name)
{
	for (const struct family *family = families; family < families + N_FAMILIES; family++) {
		size_t length = word_length(family->section);
		*ret_name = text + length;
		if (strncmp(text, family->section, length) == 0)
			return family;
	}
	return NULL;
}

static bool is_name(const char *name)
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

static bool is_there(const struct family *family, const struct config *config, const char *name,
		     struct place *ret)
{
	for (size_t i = 0; family->at(config, i, ret); i++)
		if (strcmp(ret->name, name) == 0)
			return true;
	return false;
}

/* Its options may be given anew; inih calls back for those, and for a section not at all. */
static void begin_named(struct reading *reading, const struct family *family, const char *name)
{
	struct place place = {name, last_part(reading->path), (unsigned)reading->line}, former;
	int length = (int)word_length(family->section);

	reading->section = family->section;
	if (!is_name(name))
		fail(reading,
		     "'%s' cannot be the NAME in [%s]: 1 to %d letters, digits, '_', '.' or '-'",
		     name, family->section, QUOTA_NAME_MAX);
	else if (is_there(family, reading->config, name, &former))
		fail(reading, "there is a section [%.*s%s] already, at %s line %u", length,
		     family->section, name, former.file, former.line);
	else if (!(reading->base = family->add(reading->config, &place)))
		fail(reading, "there is no memory for one more section [%s]", family->section);
	for (size_t i = 0; i < N_OPTIONS; i++)
		if (is_of_many(&options[i]))
			reading->seen[i] = false;
}

static void begin_section(struct reading *reading, const char *text)
{
	const char *name;
	const struct family *family = family_of(text, &name);

	if (family) {
		begin_named(reading, family, name);
		return;
	}
	reading->section = plain_section(text);
	reading->base = reading->config;
	if (!reading->section)
		fail(reading, "there is no section [%s]", text);
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
	else
		begin_section(reading, text + 1);
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
	for (size_t i = 0; i < N_OPTIONS; i++)
		if (strcmp(options[i].section, section) == 0 && strcmp(options[i].name, name) == 0)
			return &options[i];
	return NULL;
}

static void set(struct reading *reading, const struct option *option, const char *value)
{
	char why[VALUE_WHY_MAX] = "";
	int r = option->kind->parse(value, (char *)reading->base + option->offset, why);

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
	/* Which one it is, check_line() has found: behind a byte order mark, inih sees others. */
	const struct option *option = reading->section ? find_option(reading->section, name) : NULL;

	if (!reading->section)
		fail(reading, "'%s' stands before the first [section]", name);
	else if (!option)
		fail(reading, "there is no option '%s' in section [%s]", name, section);
	else if (reading->seen[option - options])
		fail(reading, "'%s' is set a second time", name);
	else
		set(reading, option, value);
	return reading->error[0] ? 0 : 1;
}

/* What only shows when all of a section is there. */
static void check_allowances(struct reading *reading, size_t first)
{
	const struct config *config = reading->config;

	for (size_t i = first; i < config->n_allowances; i++) {
		reading->line = (int)config->allowances[i].line;
		if (!config->allowances[i].users.text[0])
			fail(reading, "[limits %s] has no 'users', whose limits these are",
			     config->allowances[i].name);
	}
}

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
	size_t allowances_before = config->n_allowances, rules_before = config->policy.n;

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
		check_allowances(&reading, allowances_before);
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

static uint64_t resolve(const struct config_amount *bytes)
{
	struct sysinfo info;

	if (!bytes->is_percent)
		return bytes->value;
	if (sysinfo(&info) < 0)
		return 0;
	return (uint64_t)info.totalram * info.mem_unit / 100 * bytes->value;
}

/* For the quota, which knows no shares. */
static int resolve_allowances(struct config *config, char *error)
{
	size_t n = config->n_allowances;
	struct quota_allowance *list = n ? calloc(n, sizeof(*list)) : NULL;

	if (n && !list) {
		snprintf(error, CONFIG_ERROR_MAX, "there is no memory for the limits of some");
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++) {
		const struct config_allowance *allowance = &config->allowances[i];
		text_copy(list[i].name, sizeof(list[i].name), allowance->name);
		list[i].users = allowance->users;
		for (enum quota_resource k = 0; k < QUOTA_RESOURCES; k++)
			list[i].per_user[k] = resolve(&allowance->per_user[k]);
	}
	config->resolved = (struct quota_allowances){list, n};
	return 0;
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
	if (r == 0)
		r = resolve_allowances(&scratch, error);
	if (r < 0) {
		config_fini(&scratch);
		return -EINVAL;
	}
	*ret = scratch;
	return 0;
}

/* --- telling ---------------------------------------------------------------------------------- */

void config_limits(const struct config *config, struct quota_limits *ret)
{
	*ret = (struct quota_limits){
		.total = {[QUOTA_CLIENTS] = config->clients,
			  [QUOTA_SEGMENTS] = config->segments,
			  [QUOTA_SEMAPHORES] = config->semaphores,
			  [QUOTA_ATTACHMENTS] = config->attachments,
			  [QUOTA_WAITS] = config->waits,
			  [QUOTA_SUBSCRIPTIONS] = config->subscriptions,
			  [QUOTA_UNREAD] = config->unread_descriptors,
			  [QUOTA_BYTES] = resolve(&config->bytes)},
		.per_user = {[QUOTA_CLIENTS] = config->clients_per_user,
			     [QUOTA_SEGMENTS] = config->segments_per_user,
			     [QUOTA_SEMAPHORES] = config->semaphores_per_user,
			     [QUOTA_ATTACHMENTS] = config->attachments_per_user,
			     [QUOTA_WAITS] = config->waits_per_user,
			     [QUOTA_SUBSCRIPTIONS] = config->subscriptions_per_user,
			     [QUOTA_UNREAD] = config->unread_descriptors_per_user,
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
	fprintf(to, ".It Ic %s", option->name);
	if (option->standard)
		fprintf(to, " No = Ar %s", option->standard);
	fputc('\n', to);
	for (const char *p = option->help; *p; p++) {
		/* A plain one would become a hyphen. */
		fputs(*p == '-' ? "\\-" : (char[2]){*p}, to);
		/* mdoc(7): a new sentence, a new line. */
		if (*p == '.' && p[1] == ' ')
			fputc('\n', to), p++;
	}
	fprintf(to, "\n.Pp\nThe value %sis %s.\n", option->standard ? "" : "has to be set, and ",
		option->kind->form);
}

/* With the default, where there is no `base`. */
static void print_option(const void *base, const struct option *option, enum config_form form,
			 FILE *to)
{
	if (form == CONFIG_MANUAL) {
		print_manual(option, to);
		return;
	}
	fputc('\n', to);
	print_comment(option->help, to);
	fprintf(to, "%s%s =", form == CONFIG_TEMPLATE ? "#" : "", option->name);
	if (base || option->standard)
		fputc(' ', to);
	if (base)
		option->kind->print((const char *)base + option->offset, to);
	else if (option->standard)
		fputs(option->standard, to);
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

/* Here without the explanations, which one section after another would repeat. */
static void print_named(const struct family *family, const void *base, const char *name, FILE *to)
{
	fprintf(to, "\n[%.*s%s]\n", (int)word_length(family->section), family->section, name);
	for (const struct option *option = options; option < options + N_OPTIONS; option++)
		if (strcmp(option->section, family->section) == 0) {
			fprintf(to, "%s = ", option->name);
			option->kind->print((const char *)base + option->offset, to);
			fputc('\n', to);
		}
}

/* What such a section may have. */
static void print_family_options(const struct family *family, enum config_form form, FILE *to)
{
	if (form == CONFIG_MANUAL)
		print_section(family->section, false, form, to);
	else
		fprintf(to, "\n#[%s]\n", family->section);
	for (const struct option *option = options; option < options + N_OPTIONS; option++)
		if (strcmp(option->section, family->section) == 0)
			print_option(NULL, option, form, to);
}

static void print_family(const struct config *config, const struct family *family,
			 enum config_form form, FILE *to)
{
	struct place place;
	const void *base;

	if (form != CONFIG_VALUES)
		print_family_options(family, form, to);
	for (size_t i = 0; form == CONFIG_VALUES && (base = family->at(config, i, &place)); i++)
		print_named(family, base, place.name, to);
}

void config_print(const struct config *config, enum config_form form, FILE *to)
{
	const char *section = "";

	for (const struct option *option = options; option < options + N_OPTIONS; option++) {
		if (is_of_many(option))
			continue;
		if (strcmp(section, option->section) != 0)
			print_section(option->section, option == options, form, to);
		section = option->section;
		print_option(config, option, form, to);
	}
	for (size_t i = 0; i < N_FAMILIES; i++)
		print_family(config, &families[i], form, to);
	if (form == CONFIG_MANUAL)
		fputs(".El\n", to);
}
