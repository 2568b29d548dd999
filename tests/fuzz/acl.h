/* SPDX-License-Identifier: MIT */
/* Whom the kernel lets open a file, by its mode and its list: acl(5), written down once more. */
#ifndef TESTS_FUZZ_ACL_H
#define TESTS_FUZZ_ACL_H

#include <stdbool.h>

#include "people.h"

/* Whether they may open it for reading and writing. It is not about those who may everything. */
bool acl_lets(int fd, const struct person *who);

#endif
