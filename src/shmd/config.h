/* SPDX-License-Identifier: MIT */
/*
 * The configuration. One table of options drives defaults, parsing, --dump-config, etc/shmd.conf and
 * shmd.conf(5). A file is read as a whole or not at all.
 */
#ifndef SHMD_CONFIG_H
#define SHMD_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/log.h"
#include "core/access.h"
#include "core/policy.h"
#include "core/quota.h"

#define CONFIG_ERROR_MAX 512
#define CONFIG_PATH_MAX  108 /* of sockaddr_un.sun_path */

/* Bytes, or a share of the machine's memory. */
struct config_amount {
	uint64_t value;
	bool is_percent;
};

/* A section [limits NAME], as it was written. */
struct config_allowance {
	char name[QUOTA_NAME_MAX + 1];
	char file[POLICY_FILE_MAX]; /* its last part: for messages */
	unsigned line;
	struct users users;
	struct config_amount per_user[QUOTA_RESOURCES]; /* QUOTA_GENERAL: as in [limits] */
};

struct config {
	char socket[CONFIG_PATH_MAX];
	uint64_t log_level; /* enum log_level */
	uint64_t unread_timeout_ms;
	uint64_t grace_ms;
	gid_t administrators; /* ACCESS_NO_GROUP: none */
	uint64_t clients, clients_per_user;
	uint64_t segments, segments_per_user;
	uint64_t semaphores, semaphores_per_user;
	uint64_t attachments, attachments_per_user;
	uint64_t waits, waits_per_user;
	uint64_t subscriptions, subscriptions_per_user;
	uint64_t unread_descriptors, unread_descriptors_per_user;
	struct config_amount bytes, bytes_per_user;
	struct config_allowance *allowances; /* owned, as what follows */
	size_t n_allowances;
	struct quota_allowances resolved; /* the same, with shares resolved for this machine */
	struct policy policy;
};

/* The defaults alone. */
void config_init(struct config *config);
void config_fini(struct config *config);

/*
 * Reads FILE alone, or where it is NULL the system's file, if there is one, and then its .conf.d/
 * files in the order of their names, on top of the defaults.
 *
 * Users and groups are looked up now, and shares of the allowances resolved. Returns 0, or -EINVAL with file, line and what is wrong in `error`; then *ret is untouched.
 */
int config_load(struct config *ret, const char *file, char error[static CONFIG_ERROR_MAX]);

/* Hands all that it owns on. */
struct config config_steal(struct config *config);

/* The limits, with shares resolved for this machine. */
void config_limits(const struct config *config, struct quota_limits *ret);

/* How config_print() writes the options. */
enum config_form {
	CONFIG_VALUES,   /* as a file that says the same */
	CONFIG_TEMPLATE, /* the same, each option behind a '#' */
	CONFIG_MANUAL,   /* as a list in mdoc(7) */
};

void config_print(const struct config *config, enum config_form form, FILE *to);

#endif
