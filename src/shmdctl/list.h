/* SPDX-License-Identifier: MIT */
/* The columns of a segment, of struct shmd_segment_info. */
#ifndef SHMDCTL_LIST_H
#define SHMDCTL_LIST_H

#include "shmdctl/column.h"

extern const struct column segment_columns[];

#endif
