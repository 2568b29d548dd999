/* SPDX-License-Identifier: MIT */
/*
 * What shm_open(3) and sem_open(3) ask for: segments that are opened, and never attached. The kernel says who
 * has one, and, by the mode of its file, who may open it: which is why they are for the daemon's own user.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <semaphore.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "core/ending.h"
#include "core/entering.h"
#include "core/heir.h"
#include "core/memory.h"

static int check_caller(const struct registry *registry, const struct credentials *who,
			struct refusal *why)
{
	if (!who->is_mapped || who->uid != geteuid())
		return refuse(why, REFUSAL_DENIED,
			      "POSIX's segments are for the daemon's own user, uid %u; uid %u asks",
			      geteuid(), who->uid);
	if (!registry->has_leases)
		return refuse(why, REFUSAL_UNSUPPORTED,
			      "without leases nobody can say who has what was opened");
	return 0;
}

static int check_new(const struct creation *what, struct refusal *why)
{
	if (what->lifetime == LIFETIME_OWNER)
		return refuse(why, REFUSAL_INVALID,
			      "what is opened and not attached has no owner's lifetime");
	if (what->kind == SEGMENT_POSIX_SEMAPHORE && what->value > SEM_VALUE_MAX)
		return refuse(why, REFUSAL_INVALID,
			      "a semaphore's value is at most %d; %u was asked for", SEM_VALUE_MAX,
			      what->value);
	return 0;
}

/* What the kernel says to it is what POSIX has it say. */
static int open_memory(const struct segment *segment, int flags, int *ret, struct refusal *why)
{
	char text[SEGMENT_DESCRIPTION_MAX];
	int fd = memory_open(segment->fd, flags & (O_ACCMODE | O_TRUNC));

	if (fd >= 0) {
		*ret = fd;
		return 0;
	}
	if (fd == -EACCES || fd == -EPERM)
		return refuse(why, REFUSAL_DENIED, "segment %s has mode %04o%s",
			      segment_describe(segment, text), memory_mode(segment->fd),
			      fd == -EPERM ? ", and is sealed" : "");
	return refuse_errno(why, fd, "open the segment's memory once more");
}

/* --- one that there is ------------------------------------------------------------------------ */

/* That there is a new user is to be found out by who lets go of it: by the watch, if that stands already. */
static void take_up(struct registry *registry, struct segment *segment)
{
	if (segment->state == SEGMENT_LINGERING && segment->lifetime != LIFETIME_OWNER)
		entering_revive(registry, segment, NULL, false);
	if (!segment->watch.wd)
		ending_enqueue(registry, segment);
}

static int open_existing(struct registry *registry, struct session *session,
			 struct segment *segment, int flags, uint64_t now, struct opened *ret,
			 struct refusal *why)
{
	bool read_only = (flags & O_ACCMODE) == O_RDONLY && !(flags & O_TRUNC);
	int r = segment_is_posix(segment)
			? 0
			: registry_check_attach(segment, &session->who, read_only, why);

	if (r == 0)
		r = open_memory(segment, flags, &ret->fd, why);
	if (r != 0)
		return r;
	ret->segment = segment;
	ret->is_new = false;
	take_up(registry, segment);
	statistics_count(&registry->statistics, STATISTIC_OPENED);
	journal_tell(&registry->journal, EVENT_ATTACHED, segment, session, read_only, now);
	return 0;
}

/* --- a new one -------------------------------------------------------------------------------- */

/* Its creator may do with it what was asked for, whatever its mode is. */
static int hand_out(struct segment *segment, const struct opening *what, int *ret,
		    struct refusal *why)
{
	_cleanup_close_ int fd = -1;
	int r = open_memory(segment, what->flags, &fd, why);

	if (r != 0)
		return r;
	r = memory_set_access(segment->fd, what->gid, what->of.mode);
	if (r < 0)
		return refuse_errno(why, r, "give the segment its mode");
	*ret = steal_fd(&fd);
	return 0;
}

static int enter(struct registry *registry, struct segment *segment, const struct opening *what,
		 int *ret, struct refusal *why)
{
	int r = entering_add(registry, segment);

	if (r < 0) {
		segment_free(segment, &registry->instance);
		return r;
	}
	record_next_id(&registry->record, ++registry->next_id);
	r = hand_out(segment, what, ret, why);
	if (r == 0) {
		record_note(&registry->record, segment);
		return 0;
	}
	ending_drop_name(registry, segment);
	registry_forget(registry, segment);
	return r;
}

static int create(struct registry *registry, struct session *session, const struct opening *what,
		  uint64_t now, struct opened *ret, struct refusal *why)
{
	const struct credentials *who = &session->who;
	struct tally_share share = {0};
	struct ownership of;
	struct segment *segment;
	int r = check_new(&what->of, why);

	if (r == 0)
		r = policy_admit(&registry->policy, &registry->tallies, who, &what->of, &of, &share,
				 why);
	if (r == 0)
		r = segment_new(&registry->quota, &registry->instance, registry->next_id, who, &of,
				&what->of, now, &segment, why);
	if (r != 0) {
		tally_release(&share);
		return r;
	}
	segment->rule_share = share;
	/* The bits above are the file's alone. */
	segment->ownership.mode &= 0777;
	reaped_take(&registry->reaped, segment->name);
	r = enter(registry, segment, what, &ret->fd, why);
	if (r != 0)
		return r;
	ret->segment = segment;
	ret->is_new = true;
	if (what->of.heir && session->estate)
		heir_begin(segment, session->estate, what->of.heir);
	/* Its creator is its first user, and may be gone by then. */
	ending_enqueue(registry, segment);
	statistics_count(&registry->statistics, STATISTIC_CREATED);
	journal_tell(&registry->journal, EVENT_CREATED, segment, session, false, now);
	return 0;
}

int registry_open(struct registry *registry, struct session *session, const struct opening *what,
		  uint64_t now, struct opened *ret, struct refusal *why)
{
	struct opening parsed = *what;
	int r = check_caller(registry, &session->who, why);

	if (r == 0)
		r = name_parse(what->of.name, &parsed.of.name, why);
	if (r != 0)
		return r;
	struct segment *existing = ending_settle_name(registry, parsed.of.name, now);
	if (existing && what->flags & O_CREAT && what->flags & O_EXCL)
		return refuse(why, REFUSAL_EXISTS, "a segment '%s' exists", parsed.of.name);
	if (existing)
		return open_existing(registry, session, existing, what->flags, now, ret, why);
	if (!(what->flags & O_CREAT))
		return refuse(why, REFUSAL_NOT_FOUND, "there is no segment '%s'", parsed.of.name);
	return create(registry, session, &parsed, now, ret, why);
}

/* --- permits ---------------------------------------------------------------------------------- */

int registry_attach_semaphore(struct registry *registry, struct session *session, uint64_t id,
			      uint64_t now, struct grant *ret, struct refusal *why)
{
	struct segment *segment = registry_by_id(registry, id);
	char text[SEGMENT_DESCRIPTION_MAX];
	int r = check_caller(registry, &session->who, why);

	if (r != 0)
		return r;
	if (!segment || segment->kind != SEGMENT_POSIX_SEMAPHORE)
		return refuse(why, REFUSAL_NOT_FOUND, "no semaphore has the id %" PRIu64, id);
	if (segment->ledger.permits != 1)
		return refuse(why, REFUSAL_UNSUPPORTED,
			      "semaphore %s was not made with the value 1: nobody can say what a "
			      "process holds of it",
			      segment_describe(segment, text));
	r = entering_attach(registry, session, segment, false, ret, why);
	if (r == 0)
		journal_tell(&registry->journal, EVENT_ATTACHED, segment, session, false, now);
	return r;
}
