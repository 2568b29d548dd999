/* SPDX-License-Identifier: MIT */
/*
 * Who forked this process, and how it ends. POSIX's programs hand things over by name: a worker makes a segment,
 * closes it and ends, and the program that forked it opens the name later. So the one that forked it is the heir of
 * what a process makes (core/heir.h).
 */
#ifndef PRELOAD_FAMILY_H
#define PRELOAD_FAMILY_H

#include <sys/types.h>

/* The process that forked this one, which has executed nothing since; 0: there is none. */
pid_t family_parent(void);

/* This process is about to end, by its own will. */
void family_hand_over(void);

#endif
