/* SPDX-License-Identifier: MIT */
/*
 * For whom a segment is kept that nobody has any more. Programs hand things over by name alone: a worker makes a
 * segment, lets go of it, ends, and its parent has the next one open it. The first heir is its maker's process,
 * and while that lives, nobody else comes into question. Once nobody has the segment, and the maker still lives, it
 * was put down, and not left by a death: then the one that the maker named follows. So it does where a maker says
 * that it ends by itself (registry_bequeath()). Who is killed with it in hand leaves nothing.
 */
#ifndef CORE_HEIR_H
#define CORE_HEIR_H

#include <stdbool.h>
#include <sys/types.h>

struct estate;
struct registry;
struct segment;

/* Its maker is the first heir, and that process the next. */
void heir_begin(struct segment *segment, struct estate *maker, pid_t next);

/* It is kept for that process from now on, and none follows. */
void heir_set(struct registry *registry, struct segment *segment, struct estate *estate);

/* It is kept for nobody. */
void heir_drop(struct registry *registry, struct segment *segment);

/* The same for one that is freed, with its registry or out of it. */
void heir_fini(struct segment *segment);

/* The process is dead: nobody picks up any more what was kept for it. */
void heir_release(struct registry *registry, struct estate *estate);

/* Whether it is kept although nobody has it. What its maker has put down goes to registry_take_put_down(). */
bool heir_keeps(struct registry *registry, struct segment *segment);

#endif
