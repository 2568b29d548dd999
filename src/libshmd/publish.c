/* SPDX-License-Identifier: MIT */
/*
 * Publishing: an anonymous segment is sealed here, in the thread that asks for it, as that may take its
 * time; the daemon then only looks at the seal, and binds the name.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "libshmd/error.h"
#include "libshmd/segment.h"
#include "wire/name.h"

static int ask_publish(struct shmd_segment *segment, const char *name, uint32_t flags)
{
	struct wire_publish request = {.id = segment->id, .flags = flags};
	struct wire_published published;
	struct call call = {.op = WIRE_PUBLISH,
			    .body = &request,
			    .body_size = sizeof(request),
			    .reply = &published,
			    .room = sizeof(published),
			    .needs_session = segment->session};
	int r = call_put_name(request.name, name);

	if (r == 0)
		r = call_perform(segment->connection, &call);
	if (r < 0)
		return r;
	if (call.size != sizeof(published))
		return error_set(-EPROTO, "the daemon's reply has another form");
	segment->generation = published.generation;
	text_copy(segment->name, sizeof(segment->name), name);
	return 0;
}

/* Puts the writable mapping back. If even that fails, the memory stays readable where it is, and
 * publishing can be tried again. */
static int undo(struct shmd_segment *segment, int r)
{
	segment->is_sealed = false;
	if (segment_map_over(segment) < 0) {
		segment->is_sealed = true;
		return -ENOMEM;
	}
	if (r == -EPERM)
		return error_set(-EINVAL,
				 "another process has published the segment to be written");
	if (r != -EBUSY)
		return error_errno(r, "cannot seal the segment");
	return error_set(r, "the segment is mapped for writing somewhere else, perhaps in a forked "
			    "child, or a device uses its pages, and so it cannot be sealed");
}

static bool is_sealed_memory(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & F_SEAL_WRITE);
}

/* An earlier attempt, perhaps a parent's or a child's, may have sealed it, and the daemon have forbidden
 * further seals for it. */
static int add_seal(int fd)
{
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0)
		return 0;
	int r = -errno;
	return r == -EPERM && is_sealed_memory(fd) ? 0 : r;
}

/* Nobody may have it mapped for writing, and the mere right to make a mapping writable counts as that.
 * So a description that can only read takes the place of our mapping's first. */
static int seal(struct shmd_segment *segment)
{
	if (segment->is_sealed && is_sealed_memory(segment->fd))
		return 0;
	segment->is_sealed = true;
	int r = segment_map_over(segment);
	if (r < 0) {
		segment->is_sealed = false;
		return r;
	}
	r = add_seal(segment->fd);
	return r < 0 ? undo(segment, r) : 0;
}

/* The program may know the number of the descriptor, so it stays. Both are open: this cannot fail. */
static void exchange_descriptors(struct shmd_segment *segment)
{
	dup3(segment->reader_fd, segment->fd, O_CLOEXEC);
	segment->reader_fd = close_fd(segment->reader_fd);
}

static int publish_sealed(struct shmd_segment *segment, const char *name)
{
	if (segment->reader_fd < 0)
		return error_set(-ENOTSUP,
				 "the daemon sent no descriptor that can only read, which "
				 "sealing needs");
	int r = seal(segment);
	if (r == 0)
		r = ask_publish(segment, name, 0);
	if (r == 0)
		exchange_descriptors(segment);
	return r;
}

static int publish_writable(struct shmd_segment *segment, const char *name)
{
	if (segment->is_sealed)
		return error_set(-EINVAL, "the segment was sealed by an earlier attempt to publish "
					  "it, and cannot be published for writing");
	int r = ask_publish(segment, name, WIRE_WRITABLE);
	if (r == 0)
		segment->reader_fd = close_fd(segment->reader_fd);
	return r;
}

static int check_session(struct shmd_segment *segment)
{
	struct shmd *connection = segment->connection;

	pthread_mutex_lock(&connection->mutex);
	int r = resume_check_session(&connection->resume, segment->session);
	pthread_mutex_unlock(&connection->mutex);
	return r;
}

static int publish(struct shmd_segment *segment, const char *name, unsigned flags)
{
	int r = segment_enter(segment);

	if (r == 0)
		r = connection_enter(segment->connection);
	/* Before anything is sealed for it. */
	if (r == 0)
		r = check_session(segment);
	if (r < 0)
		return r;
	if (segment->name[0] || segment->is_read_only)
		return error_set(-EINVAL, "only a segment that was created without a name, and not "
					  "published yet, can be published");
	return flags & SHMD_WRITABLE ? publish_writable(segment, name)
				     : publish_sealed(segment, name);
}

int shmd_publish(struct shmd_segment *segment, const char *name, unsigned flags)
{
	char why[WIRE_TEXT_SIZE];
	int r = name ? name_check(name, &name, why) : -EINVAL;

	if (r < 0)
		return error_set(r, "%s", name ? why : "the name is NULL");
	if (flags & ~SHMD_WRITABLE)
		return error_set(-EINVAL, "flags 0x%x are not for publishing", flags);
	int before = cancellation_off();
	r = publish(segment, name, flags);
	cancellation_restore(before);
	return r;
}
