/* SPDX-License-Identifier: MIT */
/*
 * For whom a segment is kept that nobody may have any more. POSIX's programs hand things over by name alone: a
 * process makes a segment, closes it, ends, and the process that forked it has the next one open it. So what a
 * forked process opens as the first is kept for it as long as it lives, and for its parent if it says that it
 * ends by itself (registry_bequeath()). Who is killed says nothing, and leaves nothing.
 */
#ifndef CORE_HEIR_H
#define CORE_HEIR_H

struct estate;
struct segment;

/* It is kept for that process from now on, and for no other. */
void heir_set(struct segment *segment, struct estate *estate);

/* It is kept for nobody. */
void heir_drop(struct segment *segment);

#endif
