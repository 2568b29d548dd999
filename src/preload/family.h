/* SPDX-License-Identifier: MIT */
/*
 * Who forked this process, and how it ends. POSIX's programs hand things over by name: a worker makes a segment,
 * closes it and ends, and the program that forked it opens the name later. So what a forked process makes is kept
 * while it lives, and when it ends by itself, for the one that forked it (core/heir.h).
 */
#ifndef PRELOAD_FAMILY_H
#define PRELOAD_FAMILY_H

#include <stdbool.h>

/* Whether there is somebody to hand over to: another process forked this one, and it has executed nothing since. */
bool family_has_parent(void);

/* This process is about to end, by its own will. */
void family_hand_over(void);

#endif
