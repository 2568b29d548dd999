/* SPDX-License-Identifier: MIT */
/* Configuration files of any contents: what is taken is written back as it was, and what is not
 * leaves the configuration alone and says why. */
#include "fuzz.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "shmd/config.h"

/* A file in memory, and its path. */
static int make_file(char path[static 64])
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	HOLDS(fd >= 0);
	snprintf(path, 64, "/proc/self/fd/%d", fd);
	return fd;
}

static void check_same_amount(const struct config_amount *a, const struct config_amount *b)
{
	HOLDS(a->value == b->value && a->is_percent == b->is_percent);
}

/* But for where they stand. */
static void check_same_rules(const struct policy *a, const struct policy *b)
{
	HOLDS(a->n == b->n);
	for (size_t i = 0; i < a->n; i++) {
		struct policy_rule moved = b->rules[i];
		moved.line = a->rules[i].line;
		memcpy(moved.file, a->rules[i].file, sizeof(moved.file));
		HOLDS(memcmp(&moved, &a->rules[i], sizeof(moved)) == 0);
	}
}

static void check_same_allowances(const struct config *a, const struct config *b)
{
	HOLDS(a->resolved.n == b->resolved.n && a->resolved.n == a->n_allowances);
	for (size_t i = 0; i < a->resolved.n; i++) {
		HOLDS(a->resolved.list[i].users.text[0]);
		HOLDS(memcmp(&a->resolved.list[i], &b->resolved.list[i],
			     sizeof(struct quota_allowance)) == 0);
	}
}

/* What policy.c walks through has its ends. */
static void check_rule(const struct policy_rule *rule)
{
	const char *glob = rule->names;

	HOLDS(rule->line > 0 && rule->name[0] && memchr(rule->name, '\0', sizeof(rule->name)));
	while (*glob)
		glob += strlen(glob) + 1;
	HOLDS(glob < rule->names + sizeof(rule->names));
	HOLDS(rule->create.n <= USERS_MAX && memchr(rule->create.text, '\0', POLICY_LIST_MAX));
	HOLDS(rule->mode_max <= 0777 && (rule->mode <= 0777 || rule->mode == POLICY_AS_ASKED));
	HOLDS(rule->lifetimes && !(rule->lifetimes & ~POLICY_ALL_LIFETIMES));
}

static void check_same(const struct config *a, const struct config *b)
{
	struct quota_limits limits, limits_again;

	HOLDS(strcmp(a->socket, b->socket) == 0);
	HOLDS(a->log_level == b->log_level && a->unread_timeout_ms == b->unread_timeout_ms);
	HOLDS(a->administrators == b->administrators);
	config_limits(a, &limits);
	config_limits(b, &limits_again);
	HOLDS(memcmp(&limits, &limits_again, sizeof(limits)) == 0);
	check_same_amount(&a->bytes, &b->bytes);
	check_same_amount(&a->bytes_per_user, &b->bytes_per_user);
	check_same_allowances(a, b);
	check_same_rules(&a->policy, &b->policy);
}

/* What the daemon relies on. */
static void check_values(const struct config *config)
{
	struct quota_limits limits;

	HOLDS(memchr(config->socket, '\0', sizeof(config->socket)) && config->socket[0] == '/');
	HOLDS(config->log_level < LOG_LEVELS);
	HOLDS(config->unread_timeout_ms > 0 && config->unread_timeout_ms <= UINT32_MAX);
	HOLDS(!config->bytes.is_percent || config->bytes.value <= 100);
	HOLDS(!config->bytes_per_user.is_percent || config->bytes_per_user.value <= 100);
	for (size_t i = 0; i < config->policy.n; i++)
		check_rule(&config->policy.rules[i]);
	config_limits(config, &limits);
}

static void check_read_back(const struct config *config)
{
	struct config again;
	char path[64], error[CONFIG_ERROR_MAX];
	_cleanup_close_ int fd = make_file(path);
	_cleanup_fclose_ FILE *file = fopen(path, "we");

	HOLDS(fd >= 0 && file);
	config_print(config, CONFIG_VALUES, file);
	HOLDS(fflush(file) == 0);
	int r = config_load(&again, path, error);
	if (r < 0)
		fprintf(stderr, "%s\n", error);
	HOLDS(r == 0);
	check_same(config, &again);
	config_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct config config, untouched;
	char path[64], error[CONFIG_ERROR_MAX];
	_cleanup_close_ int fd = make_file(path);

	HOLDS(size == 0 || write(fd, bytes, size) == (ssize_t)size);
	memset(&config, 0x5a, sizeof(config));
	untouched = config;
	memset(error, 'x', sizeof(error));
	int r = config_load(&config, path, error);
	if (r < 0) {
		HOLDS(r == -EINVAL && memchr(error, '\0', sizeof(error)) && error[0]);
		HOLDS(memcmp(&config, &untouched, sizeof(config)) == 0);
		return 0;
	}
	check_values(&config);
	check_read_back(&config);
	config_fini(&config);
	return 0;
}
