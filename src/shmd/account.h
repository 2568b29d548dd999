/* SPDX-License-Identifier: MIT */
/*
 * Users and groups as the machine's databases know them (nsswitch.conf). Asking may block, where a
 * database lies across the network: only when the configuration is read, and for administrators.
 */
#ifndef SHMD_ACCOUNT_H
#define SHMD_ACCOUNT_H

#include "core/access.h"

/* By name, or by a decimal number, which need not be known. Return 0; -ENOENT: there is none of that
 * name; -ERANGE: no number that can be one; or another negative errno. */
int account_find_user(const char *text, uid_t *ret);
int account_find_group(const char *text, gid_t *ret);

/* The groups that a user would have after a login. Nothing is known of a user who is in no database:
 * then there are no groups, and the first one is ACCESS_NO_GROUP. Returns 0 or -errno. */
int account_credentials(uid_t uid, struct credentials *ret);

#endif
