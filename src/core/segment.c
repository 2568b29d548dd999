/* SPDX-License-Identifier: MIT */
#include "core/segment.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "core/heir.h"
#include "core/memory.h"

/* Off by one page, so that rounding up in the kernel and in clients cannot overflow. */
#define SIZE_MAX_ALLOWED ((uint64_t)INT64_MAX - 4096)

int segment_check_maker(const struct credentials *who, struct refusal *why)
{
	if (who->is_mapped)
		return 0;
	return refuse(why, REFUSAL_DENIED,
		      "uid %u stands for users that the daemon's namespace does not know",
		      who->uid);
}

static int check(const struct creation *what, struct refusal *why)
{
	if (what->size == 0 && what->kind != SEGMENT_POSIX_MEMORY)
		return refuse(why, REFUSAL_INVALID, "the size is 0; a segment has at least 1 byte");
	if (what->size > SIZE_MAX_ALLOWED)
		return refuse(why, REFUSAL_INVALID,
			      "the size %" PRIu64 " is more than %" PRIu64
			      ", the most there can be",
			      what->size, SIZE_MAX_ALLOWED);
	if (what->permits > INT32_MAX)
		return refuse(why, REFUSAL_INVALID,
			      "%u permits are more than %d, the most there can be", what->permits,
			      INT32_MAX);
	if (what->linger_ns && what->lifetime == LIFETIME_PERSISTENT)
		return refuse(why, REFUSAL_INVALID,
			      "linger is for segments that end; a persistent one does not");
	return 0;
}

static int charge(struct quota *quota, const struct credentials *who, bool has_semaphore,
		  struct segment *segment, struct refusal *why)
{
	int r = quota_charge(quota, who, QUOTA_SEGMENTS, 1, &segment->segment_charge, why);

	if (r == 0 && has_semaphore)
		r = quota_charge(quota, who, QUOTA_SEMAPHORES, 1, &segment->semaphore_charge, why);
	if (r != 0)
		return r;
	return quota_charge(quota, who, QUOTA_BYTES, segment->size, &segment->bytes_charge, why);
}

/* Its descriptor is no original: nobody could open it once more when its mode is another. */
static int make_posix_memory(const char *label, struct segment *segment, unsigned value,
			     struct refusal *why)
{
	int r = memory_new_posix(label, segment->kind == SEGMENT_POSIX_SEMAPHORE, &segment->fd);

	if (r == 0 && segment->kind == SEGMENT_POSIX_SEMAPHORE)
		r = semaphore_write(segment->fd, value);
	if (r == 0 && segment->kind == SEGMENT_POSIX_SEMAPHORE)
		r = memory_end_resizing(segment->fd);
	return r < 0 ? refuse_errno(why, r, "make the memory of a POSIX segment") : 0;
}

static int make_memory(struct segment *segment, unsigned value, struct refusal *why)
{
	char label[NAME_LENGTH_MAX + 32];

	snprintf(label, sizeof(label), "shmd:%" PRIu64 ":%s", segment->id, segment->name);
	if (segment_is_posix(segment))
		return make_posix_memory(label, segment, value, why);
	int r = memory_new(label, segment->size,
			   (segment->huge ? MEMORY_HUGE : 0) |
				   (segment->is_anonymous ? MEMORY_SEALABLE : 0),
			   &segment->fd, why);
	if (r < 0)
		return refuse_errno(why, r, "make the segment's memory");
	segment->fd_is_original = true;
	return r;
}

static int make_semaphore(struct segment *segment, const struct instance *instance,
			  unsigned permits, struct refusal *why)
{
	bool by_descriptor_only = false;

	if (permits == 0)
		return 0;
	int r = semaphore_create(&segment->semaphore, instance, permits, &segment->ownership,
				 segment->readers_lock, &by_descriptor_only);
	if (r < 0)
		return refuse_errno(why, r, "make the segment's semaphore in /dev/shm");
	r = ledger_init(&segment->ledger, permits);
	if (r < 0)
		return refuse_errno(why, r, "make the ledger of the segment's permits");
	if (by_descriptor_only)
		log_debug("semaphore %s can be had by descriptor only", segment->semaphore.name);
	return 0;
}

static struct segment *allocate(uint64_t id, const struct ownership *of,
				const struct creation *what, uint64_t now)
{
	struct segment *segment = calloc(1, sizeof(*segment));

	if (!segment)
		return NULL;
	segment->id = segment->generation = id;
	text_copy(segment->name, sizeof(segment->name), what->name ? what->name : "");
	segment->is_anonymous = !segment->name[0];
	segment->kind = what->kind;
	segment->size = what->size;
	segment->ownership = *of;
	segment->lifetime = what->lifetime;
	segment->linger_ns = what->linger_ns;
	segment->readers_lock = what->readers_lock;
	segment->huge = what->huge;
	segment->created_at = now;
	segment->fd = -1;
	semaphore_init(&segment->semaphore);
	ledger_init(&segment->ledger, 0);
	return segment;
}

int segment_new(struct quota *quota, const struct instance *instance, uint64_t id,
		const struct credentials *who, const struct ownership *of,
		const struct creation *what, uint64_t now, struct segment **ret,
		struct refusal *why)
{
	int r = segment_check_maker(who, why);

	if (r == 0)
		r = check(what, why);
	if (r != 0)
		return r;
	struct segment *segment = allocate(id, of, what, now);
	if (!segment)
		return -ENOMEM;
	r = charge(quota, who, what->permits > 0, segment, why);
	if (r == 0)
		r = make_memory(segment, what->value, why);
	if (r == 0 && what->kind == SEGMENT_POSIX_SEMAPHORE)
		segment_is_its_semaphore(segment, what->value);
	if (r == 0 && what->late_semaphore)
		segment->late_permits = what->permits;
	else if (r == 0)
		r = make_semaphore(segment, instance, what->permits, why);
	if (r != 0) {
		segment_free(segment, instance);
		return r;
	}
	*ret = segment;
	return 0;
}

uint64_t segment_size(const struct segment *segment)
{
	return segment->kind == SEGMENT_POSIX_MEMORY ? memory_size(segment->fd) : segment->size;
}

void segment_is_its_semaphore(struct segment *segment, unsigned permits)
{
	segment->semaphore.fd = segment->fd;
	ledger_init(&segment->ledger, permits == 1 ? 1 : 0);
}

void segment_give_descriptors(struct segment *segment, int ret_fds[static 2])
{
	if (segment->kind == SEGMENT_POSIX_SEMAPHORE)
		segment->semaphore.fd = -1;
	ret_fds[0] = steal_fd(&segment->fd);
	ret_fds[1] = steal_fd(&segment->semaphore.fd);
}

struct segment *segment_free(struct segment *segment, const struct instance *instance)
{
	if (!segment)
		return NULL;
	int fds[2];

	heir_fini(segment);
	ledger_fini(&segment->ledger);
	semaphore_unlink(&segment->semaphore, instance);
	segment_give_descriptors(segment, fds);
	close_fd(fds[0]);
	close_fd(fds[1]);
	charge_release(&segment->bytes_charge);
	charge_release(&segment->semaphore_charge);
	charge_release(&segment->segment_charge);
	tally_release(&segment->rule_share);
	free(segment);
	return NULL;
}

uid_t segment_payer(const struct segment *segment)
{
	const struct quota_user *user = segment->segment_charge.user;

	return user ? user->uid : segment->ownership.uid;
}

static void quote(const char *name, char quoted[static 2 * NAME_LENGTH_MAX + 1])
{
	for (; *name; *quoted++ = *name++)
		if (*name == '\'' || *name == '\\')
			*quoted++ = '\\';
	*quoted = '\0';
}

const char *segment_describe(const struct segment *segment,
			     char buffer[static SEGMENT_DESCRIPTION_MAX])
{
	char quoted[2 * NAME_LENGTH_MAX + 1];

	quote(segment->name, quoted);
	if (segment->name[0])
		snprintf(buffer, SEGMENT_DESCRIPTION_MAX, "'%s' (id %" PRIu64 ")", quoted,
			 segment->generation);
	else
		snprintf(buffer, SEGMENT_DESCRIPTION_MAX, "without a name (id %" PRIu64 ")",
			 segment->generation);
	return buffer;
}

const char *segment_describe_to(const struct segment *segment, const struct credentials *who,
				char buffer[static SEGMENT_DESCRIPTION_MAX])
{
	if (!segment->name[0] || segment_is_visible(segment, who))
		return segment_describe(segment, buffer);
	snprintf(buffer, SEGMENT_DESCRIPTION_MAX, "'%s'", segment->name);
	return buffer;
}

bool segment_is_hidden(const struct segment *segment, const struct credentials *who)
{
	if (access_is_owner(who, &segment->ownership) || access_may_administer(who))
		return false;
	return segment->is_anonymous || !access_allowed(who, &segment->ownership, ACCESS_READ);
}

bool segment_is_visible(const struct segment *segment, const struct credentials *who)
{
	if (access_may_administer(who) || access_is_owner(who, &segment->ownership))
		return true;
	return segment->name[0] && access_allowed(who, &segment->ownership, ACCESS_READ);
}

bool segment_may_lock(const struct segment *segment, bool read_only)
{
	return segment->semaphore.fd >= 0 && (!read_only || segment->readers_lock);
}

int segment_make_late_semaphore(struct segment *segment, const struct instance *instance,
				struct refusal *why)
{
	int r = make_semaphore(segment, instance, segment->late_permits, why);

	if (r == 0) {
		segment->late_permits = 0;
		return 0;
	}
	ledger_fini(&segment->ledger);
	ledger_init(&segment->ledger, 0);
	semaphore_fini(&segment->semaphore, instance);
	return r;
}

int segment_hand_over(struct segment *segment, const struct ownership *to)
{
	int r = semaphore_hand_over(&segment->semaphore, to, segment->readers_lock);

	if (r == 0)
		segment->ownership = *to;
	return r;
}

/* The original descriptor is exchanged only here, which makes creation cheaper. */
static int make_testable(struct segment *segment)
{
	if (!segment->fd_is_original)
		return 0;
	int r = memory_exchange(&segment->fd);
	if (r < 0)
		return r;
	segment->fd_is_original = false;
	return 0;
}

enum lease_answer segment_ask_use(struct segment *segment)
{
	return make_testable(segment) < 0 ? LEASE_UNKNOWN : lease_ask(segment->fd);
}
