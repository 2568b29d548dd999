/* SPDX-License-Identifier: MIT */
#include "libshmd/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "libshmd/error.h"
#include "libshmd/fork.h"
#include "wire/name.h"

/* Linux 5.14; the headers of Debian 11 do not have it. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

/* --- asking ----------------------------------------------------------------------------------- */

static bool has_form_of_segment(const struct call *call, const struct wire_segment *granted)
{
	if (call->size != sizeof(*granted))
		return false;
	return call->n_fds >= (granted->flags & WIRE_SEGMENT_READER ? 2 : 1);
}

static bool is_lost(const struct call *call, int r)
{
	return r < 0 && r == call->lost;
}

/* Looks at what call_perform() has returned. With what it was lost by, what was granted is known. */
static int check_reply(struct call *call, int r, struct wire_segment *ret)
{
	/* What was granted without reaching us is given back. */
	if (r < 0 && !is_lost(call, r))
		return r;
	if (r == 0 && !has_form_of_segment(call, ret)) {
		call_close(call);
		return error_set(-EPROTO, "the daemon's reply has another form");
	}
	ret->name[sizeof(ret->name) - 1] = '\0';
	ret->semaphore[sizeof(ret->semaphore) - 1] = '\0';
	return r;
}

static int ask(struct shmd *connection, struct call *call, struct wire_segment *ret)
{
	call->reply = ret;
	call->room = sizeof(*ret);
	int r = call->op == WIRE_WAIT ? call_perform_within(connection, call, call->timeout_ms)
				      : call_perform(connection, call);

	return check_reply(call, r, ret);
}

void segment_tell_detached(struct shmd *connection, unsigned session, uint64_t id, bool read_only)
{
	struct wire_detach detach = {.id = id, .flags = read_only ? WIRE_READ_ONLY : 0};
	struct call call = {.op = WIRE_DETACH,
			    .body = &detach,
			    .body_size = sizeof(detach),
			    .needs_session = session};

	call_perform(connection, &call);
}

/* By id only in the session that the id is of; 0 with a name. */
static int unlink_it(struct shmd *connection, const struct wire_unlink *request, unsigned session)
{
	struct call call = {.op = WIRE_UNLINK,
			    .body = request,
			    .body_size = sizeof(*request),
			    .needs_session = session};

	return call_perform(connection, &call);
}

/* Takes back a grant that cannot be used, and with it the segment, if it was made for it. The
 * message of the failure stays. */
static int give_back(struct shmd *connection, unsigned session, const struct wire_segment *granted,
		     bool read_only, int r)
{
	char text[512];

	text_copy(text, sizeof(text), shmd_error_message());
	if (granted->flags & WIRE_SEGMENT_NEW)
		unlink_it(connection, &(struct wire_unlink){.id = granted->id}, session);
	segment_tell_detached(connection, session, granted->id, read_only);
	return error_set(r, "%s", text);
}

/* --- mapping ---------------------------------------------------------------------------------- */

static int protection(bool read_only)
{
	return read_only ? PROT_READ : PROT_READ | PROT_WRITE;
}

/* A descriptor that came from elsewhere is looked at before it is trusted with an address. */
static int map(const struct wire_segment *granted, int fd, bool read_only, void **ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_errno(-errno, "cannot look at the segment's descriptor");
	if (granted->size == 0 || granted->size > SIZE_MAX || st.st_size < 0 ||
	    (uint64_t)st.st_size < granted->size)
		return error_set(-EPROTO, "the segment's memory is smaller than the daemon says");
	void *p = mmap(NULL, (size_t)granted->size, protection(read_only), MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return error_errno(-errno, "cannot map the segment");
	*ret = p;
	return 0;
}

/* Kernels before 6.7 map sealed memory only through a description that cannot write: so reader_fd
 * serves until publishing has put it in the place of the other one. */
int segment_map_over(struct shmd_segment *segment)
{
	bool read_only = segment->is_read_only || segment->is_sealed;
	int fd = segment->is_sealed && segment->reader_fd >= 0 ? segment->reader_fd : segment->fd;
	void *p = mmap(segment->data, segment->size, protection(read_only), MAP_SHARED | MAP_FIXED,
		       fd, 0);

	return p == MAP_FAILED ? error_errno(-errno, "cannot map the segment anew") : 0;
}

/* Kernels before 5.14 fault the pages in one by one. */
static void touch_pages(char *data, size_t size, bool read_only)
{
	size_t step = (size_t)sysconf(_SC_PAGESIZE);

	for (size_t i = 0; i < size; i += step) {
		if (read_only)
			(void)*(volatile char *)(data + i);
		else
			__atomic_fetch_or(data + i, 0, __ATOMIC_RELAXED);
	}
}

static int prefault(void *data, size_t size, bool read_only)
{
	if (madvise(data, size, read_only ? MADV_POPULATE_READ : MADV_POPULATE_WRITE) == 0)
		return 0;
	if (errno != EINVAL)
		return error_errno(errno == EFAULT ? -ENOMEM : -errno,
				   "cannot prefault the segment");
	touch_pages(data, size, read_only);
	return 0;
}

/* --- handles ---------------------------------------------------------------------------------- */

static struct shmd_segment *handle_free(struct shmd_segment *segment)
{
	if (segment->data)
		munmap(segment->data, segment->size);
	lock_fini(&segment->lock);
	close_fd(segment->fd);
	close_fd(segment->reader_fd);
	connection_unref(segment->connection);
	free(segment);
	return NULL;
}

static struct shmd_segment *handle_new(struct shmd *connection, const struct wire_segment *granted,
				       struct call *call, bool read_only)
{
	struct shmd_segment *segment = calloc(1, sizeof(*segment));

	if (!segment)
		return NULL;
	int reader_fd = granted->flags & WIRE_SEGMENT_READER ? call_steal_last_fd(call) : -1;
	segment->connection = connection_ref(connection);
	segment->session = call->session;
	atomic_init(&segment->process, fork_generation());
	segment->id = granted->id;
	segment->generation = granted->generation;
	segment->size = (size_t)granted->size;
	segment->is_read_only = read_only;
	segment->is_new = (granted->flags & WIRE_SEGMENT_NEW) != 0;
	segment->uid = granted->uid;
	text_copy(segment->name, sizeof(segment->name), granted->name);
	text_copy(segment->semaphore_name, sizeof(segment->semaphore_name), granted->semaphore);
	segment->fd = segment->reader_fd = -1;
	if (lock_init(&segment->lock, granted, call_fd(call, CALL_SEMAPHORE),
		      call_fd(call, CALL_LEDGER)) < 0) {
		close_fd(reader_fd);
		handle_free(segment);
		return NULL;
	}
	segment->fd = call->fds[CALL_SEGMENT];
	segment->reader_fd = reader_fd;
	call->n_fds = 0;
	return segment;
}

/* From a granted request to a mapped handle; what fails is given back to the daemon. */
static int finish(struct shmd *connection, struct call *call, const struct wire_segment *granted,
		  bool read_only, bool wants_pages, struct shmd_segment **ret)
{
	struct shmd_segment *segment = handle_new(connection, granted, call, read_only);
	int r = segment ? 0 : error_errno(-ENOMEM, "cannot make a handle");

	if (r == 0)
		r = map(granted, segment->fd, read_only, &segment->data);
	if (r == 0 && wants_pages)
		r = prefault(segment->data, segment->size, read_only);
	if (r == 0) {
		*ret = segment;
		return 0;
	}
	if (segment)
		handle_free(segment);
	call_close(call);
	return give_back(connection, call->session, granted, read_only, r);
}

static int finish_checked(struct shmd *connection, struct call *call, int r,
			  const struct wire_segment *granted, bool read_only, bool wants_pages,
			  struct shmd_segment **ret)
{
	if (is_lost(call, r))
		return give_back(connection, call->session, granted, read_only, r);
	if (r < 0)
		return r;
	return finish(connection, call, granted, read_only, wants_pages, ret);
}

static int request_segment(struct shmd *connection, struct call *call, bool read_only,
			   bool wants_pages, struct shmd_segment **ret)
{
	struct wire_segment granted;
	int r = ask(connection, call, &granted);

	return finish_checked(connection, call, r, &granted, read_only, wants_pages, ret);
}

int segment_finish_wait(struct shmd *connection, struct notice *wait, struct shmd_segment **ret)
{
	int r = check_reply(&wait->call, call_result(&wait->call), &wait->granted);

	return finish_checked(connection, &wait->call, r, &wait->granted, wait->read_only,
			      wait->wants_pages, ret);
}

void segment_decline_wait(struct shmd *connection, struct notice *wait)
{
	int r = check_reply(&wait->call, call_result(&wait->call), &wait->granted);

	if (r == 0 || is_lost(&wait->call, r))
		segment_tell_detached(connection, wait->call.session, wait->granted.id,
				      wait->read_only);
}

/* Options of a newer program may be longer than ours, as long as it does not use what we lack. */
static int read_options(const struct shmd_options *given, struct shmd_options *ret)
{
	*ret = (struct shmd_options)SHMD_OPTIONS_INIT;
	if (!given)
		return 0;
	if (given->struct_size < sizeof(*ret))
		return error_set(-EINVAL,
				 "struct_size of the options is %zu; start from SHMD_OPTIONS_INIT",
				 given->struct_size);
	for (size_t i = sizeof(*ret); i < given->struct_size; i++)
		if (((const char *)given)[i])
			return error_set(
				-EINVAL,
				"the options have fields that this library (" PACKAGE_VERSION
				") does not know");
	*ret = *given;
	ret->struct_size = sizeof(*ret);
	return 0;
}

static int translate_flags(unsigned flags, uint32_t *ret)
{
	static const struct {
		unsigned ours;
		uint32_t wire;
	} table[] = {
		{SHMD_OPEN_EXISTING, WIRE_OPEN_EXISTING},
		{SHMD_HUGE_PAGES, WIRE_HUGE_PAGES},
		{SHMD_NO_SEMAPHORE, WIRE_NO_SEMAPHORE},
		{SHMD_READERS_LOCK, WIRE_READERS_LOCK},
		{SHMD_PREFAULT, 0},
		{SHMD_LATE_LOCK, WIRE_LATE_SEMAPHORE},
	};

	*ret = flags & SHMD_LATE_LOCK ? 0 : WIRE_WANT_SEMAPHORE;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (flags & table[i].ours)
			*ret |= table[i].wire;
		flags &= ~table[i].ours;
	}
	return flags ? error_set(-EINVAL, "flags 0x%x are not for creating", flags) : 0;
}

static void put_off_lock(struct shmd_segment *segment, unsigned late)
{
	atomic_store_explicit(&segment->is_late, late != 0, memory_order_release);
}

static int fill_create(const char *name, size_t size, const struct shmd_options *options,
		       struct wire_create *ret)
{
	int r = name ? call_put_name(ret->name, name) : 0;

	if (r < 0)
		return r;
	if (name && !name[0])
		return error_set(-EINVAL, "the name is empty");
	if (options->mode & ~0777u)
		return error_set(-EINVAL, "mode 0%o has more than permission bits", options->mode);
	if ((unsigned)options->lifetime > SHMD_LIFETIME_PERSISTENT)
		return error_set(-EINVAL, "there is no lifetime %u", (unsigned)options->lifetime);
	ret->size = size;
	ret->mode = options->mode;
	if (options->heir < 0)
		return error_set(-EINVAL, "a process has no number %jd", (intmax_t)options->heir);
	ret->heir = (uint32_t)options->heir;
	/* enum shmd_lifetime and enum wire_lifetime count alike. */
	ret->lifetime = (uint32_t)options->lifetime;
	ret->linger_ms = options->linger_ms;
	ret->permits = options->flags & SHMD_NO_SEMAPHORE ? 0 : options->permits;
	r = translate_flags(options->flags, &ret->flags);
	if (!name)
		ret->flags |= WIRE_WANT_READER;
	return r;
}

_Static_assert(SHMD_LIFETIME_CLIENTS == (int)WIRE_LIFETIME_CLIENTS &&
		       SHMD_LIFETIME_OWNER == (int)WIRE_LIFETIME_OWNER &&
		       SHMD_LIFETIME_PERSISTENT == (int)WIRE_LIFETIME_PERSISTENT,
	       "lifetimes count alike");

int shmd_create(struct shmd *connection, const char *name, size_t size,
		const struct shmd_options *options, struct shmd_segment **ret)
{
	struct wire_create create = {0};
	struct shmd_options used;
	struct call call = {.op = WIRE_CREATE, .body = &create, .body_size = sizeof(create)};
	int r = read_options(options, &used);

	if (r == 0)
		r = fill_create(name, size, &used, &create);
	if (r == 0)
		r = connection_enter(connection);
	if (r < 0)
		return r;
	r = request_segment(connection, &call, false, used.flags & SHMD_PREFAULT, ret);
	if (r == 0)
		put_off_lock(*ret, used.flags & SHMD_LATE_LOCK);
	return r;
}

int shmd_attach(struct shmd *connection, const char *name, int flags, struct shmd_segment **ret)
{
	bool read_only = (unsigned)flags & SHMD_READ_ONLY;
	bool is_late = (unsigned)flags & SHMD_LATE_LOCK;
	struct wire_attach attach = {.flags = (is_late ? 0 : WIRE_WANT_SEMAPHORE) |
					      (read_only ? WIRE_READ_ONLY : 0)};
	struct call call = {.op = WIRE_ATTACH, .body = &attach, .body_size = sizeof(attach)};
	int r = call_put_name(attach.name, name);

	if (r == 0 && ((unsigned)flags & ~(SHMD_READ_ONLY | SHMD_PREFAULT | SHMD_LATE_LOCK)))
		r = error_set(-EINVAL, "flags 0x%x are not for attaching", (unsigned)flags);
	if (r == 0)
		r = connection_enter(connection);
	if (r < 0)
		return r;
	r = request_segment(connection, &call, read_only, (unsigned)flags & SHMD_PREFAULT, ret);
	if (r == 0)
		put_off_lock(*ret, is_late);
	return r;
}

int segment_attach_semaphore(struct shmd *connection, uint64_t id, struct shmd_segment **ret)
{
	struct wire_attach attach = {.id = id, .flags = WIRE_WANT_SEMAPHORE | WIRE_POSIX};
	struct call call = {.op = WIRE_ATTACH, .body = &attach, .body_size = sizeof(attach)};
	int r = request_segment(connection, &call, false, false, ret);

	if (r == 0)
		(*ret)->is_posix = true;
	return r;
}

/* What can never be a name is not waited for. */
static int put_checked_name(char field[static WIRE_NAME_SIZE], const char *name)
{
	char why[WIRE_TEXT_SIZE];
	int r = name ? name_check(name, &name, why) : -EINVAL;

	return r < 0 ? error_set(r, "%s", name ? why : "the name is NULL")
		     : call_put_name(field, name);
}

int segment_fill_wait(struct wire_wait *ret, const char *name, uint64_t newer_than, int flags)
{
	*ret = (struct wire_wait){.newer_than = newer_than,
				  .flags = (unsigned)flags & SHMD_LATE_LOCK ? 0
									    : WIRE_WANT_SEMAPHORE};
	if ((unsigned)flags & ~(SHMD_READ_ONLY | SHMD_PREFAULT | SHMD_LATE_LOCK))
		return error_set(-EINVAL, "flags 0x%x are not for waiting", (unsigned)flags);
	if ((unsigned)flags & SHMD_READ_ONLY)
		ret->flags |= WIRE_READ_ONLY;
	return put_checked_name(ret->name, name);
}

static int say_what_did_not_come(const struct wire_wait *wait, int timeout_ms)
{
	if (wait->newer_than == 0)
		return error_set(-ETIMEDOUT, "there was no segment '%s' within %d ms", wait->name,
				 timeout_ms);
	return error_set(-ETIMEDOUT,
			 "there was no generation of '%s' newer than %" PRIu64 " within %d ms",
			 wait->name, wait->newer_than, timeout_ms);
}

int shmd_wait(struct shmd *connection, const char *name, uint64_t newer_than, int timeout_ms,
	      int flags, struct shmd_segment **ret)
{
	bool read_only = (unsigned)flags & SHMD_READ_ONLY;
	struct wire_wait wait;
	struct call call = {.op = WIRE_WAIT,
			    .body = &wait,
			    .body_size = sizeof(wait),
			    .timeout_ms = timeout_ms};
	int r = segment_fill_wait(&wait, name, newer_than, flags);

	if (r == 0 && timeout_ms < -1)
		r = error_set(-EINVAL, "a time-out of %d ms", timeout_ms);
	if (r == 0)
		r = connection_enter(connection);
	if (r < 0)
		return r;
	r = request_segment(connection, &call, read_only, (unsigned)flags & SHMD_PREFAULT, ret);
	if (r == 0)
		put_off_lock(*ret, (unsigned)flags & SHMD_LATE_LOCK);
	return r == -ETIMEDOUT ? say_what_did_not_come(&wait, timeout_ms) : r;
}

int shmd_unlink(struct shmd *connection, const char *name)
{
	struct wire_unlink request = {0};
	int r = call_put_name(request.name, name);

	if (r == 0)
		r = connection_enter(connection);
	return r < 0 ? r : unlink_it(connection, &request, 0);
}

int shmd_hand_over(struct shmd *connection, pid_t heir)
{
	struct wire_bequeath request = {.pid = (uint32_t)heir};
	struct call call = {.op = WIRE_BEQUEATH, .body = &request, .body_size = sizeof(request)};
	int r = heir > 0 ? connection_enter(connection)
			 : error_set(-EINVAL, "a process has no number %jd", (intmax_t)heir);

	return r < 0 ? r : call_perform(connection, &call);
}

struct shmd_segment *shmd_detach(struct shmd_segment *segment)
{
	if (!segment)
		return NULL;
	struct shmd *connection = connection_ref(segment->connection);
	bool is_ours = !segment_is_inherited(segment) && !connection->is_ended;
	bool read_only = segment->is_read_only;
	unsigned session = segment->session;
	uint64_t id = segment->id;
	int before = cancellation_off();

	/* First unmapped, then told: the daemon looks at once whether it is still in use. */
	handle_free(segment);
	if (is_ours)
		segment_tell_detached(connection, session, id, read_only);
	connection_unref(connection);
	cancellation_restore(before);
	return NULL;
}

/* --- forked children -------------------------------------------------------------------------- */

/* The parent's file description carries the parent's file locks, so the child's mapping must not
 * keep it: everything is exchanged in place, each in one step. */
static int replace(struct shmd_segment *segment, const struct wire_segment *granted,
		   struct call *call)
{
	if (dup3(call->fds[0], segment->fd, O_CLOEXEC) < 0)
		return error_errno(-errno, "cannot exchange the segment's descriptor");
	int r = segment_map_over(segment);
	if (r < 0)
		return r;
	return lock_renew(&segment->lock, granted, call_fd(call, CALL_SEMAPHORE),
			  call_fd(call, CALL_LEDGER));
}

/* In a child, it has come with the attachment. */
static void take_lock_of(struct shmd_segment *segment, const struct wire_segment *granted)
{
	text_copy(segment->semaphore_name, sizeof(segment->semaphore_name), granted->semaphore);
	put_off_lock(segment, 0);
}

/* What was sealed and not published is still attached for writing: to publish it. */
static bool is_to_be_read_only(const struct shmd_segment *segment)
{
	return segment->is_read_only || (segment->is_sealed && segment->name[0]);
}

/* Attaches the same segment once more, with its semaphore. */
static int ask_again(const struct shmd_segment *segment, bool read_only, struct call *call,
		     struct wire_segment *ret)
{
	struct wire_attach attach = {.id = segment->id,
				     .flags = WIRE_WANT_SEMAPHORE |
					      (read_only ? WIRE_READ_ONLY : 0) |
					      (segment->is_posix ? WIRE_POSIX : 0)};

	*call = (struct call){.op = WIRE_ATTACH,
			      .body = &attach,
			      .body_size = sizeof(attach),
			      .needs_session = segment->session};
	int r = ask(segment->connection, call, ret);

	call->body = NULL;
	return is_lost(call, r) ? give_back(segment->connection, call->session, ret, read_only, r)
				: r;
}

static int attach_anew(struct shmd_segment *segment)
{
	bool read_only = is_to_be_read_only(segment);
	struct wire_segment granted;
	struct call call;
	int r = ask_again(segment, read_only, &call, &granted);

	if (r < 0)
		return r;
	r = replace(segment, &granted, &call);
	call_close(&call);
	if (r < 0)
		return give_back(segment->connection, call.session, &granted, read_only, r);
	segment->session = call.session;
	take_lock_of(segment, &granted);
	segment->generation = granted.generation;
	segment->is_read_only = read_only;
	atomic_store(&segment->process, fork_generation());
	return 0;
}

int segment_enter(struct shmd_segment *segment)
{
	if (!segment_is_inherited(segment))
		return 0;
	fork_lock();
	int r = connection_enter_locked(segment->connection);
	if (r == 0 && segment_is_inherited(segment))
		r = attach_anew(segment);
	fork_unlock();
	return r;
}

/* With another attachment, which is let go of again: what it has brought stays. With fork_lock() held. */
static int fetch_lock(struct shmd_segment *segment)
{
	bool read_only = is_to_be_read_only(segment);
	struct wire_segment granted;
	struct call call;
	int r = ask_again(segment, read_only, &call, &granted);

	if (r < 0)
		return r;
	r = lock_renew(&segment->lock, &granted, call_fd(&call, CALL_SEMAPHORE),
		       call_fd(&call, CALL_LEDGER));
	call_close(&call);
	if (r < 0)
		return give_back(segment->connection, call.session, &granted, read_only, r);
	take_lock_of(segment, &granted);
	segment_tell_detached(segment->connection, call.session, segment->id, read_only);
	return 0;
}

int segment_fetch_lock(struct shmd_segment *segment)
{
	int r = segment_enter(segment);

	if (r < 0 || !atomic_load_explicit(&segment->is_late, memory_order_acquire))
		return r;
	fork_lock();
	if (atomic_load(&segment->is_late))
		r = fetch_lock(segment);
	fork_unlock();
	return r;
}

/* --- accessors -------------------------------------------------------------------------------- */

void *shmd_segment_data(const struct shmd_segment *segment)
{
	return segment->data;
}

size_t shmd_segment_size(const struct shmd_segment *segment)
{
	return segment->size;
}

int shmd_segment_fd(const struct shmd_segment *segment)
{
	return segment->fd;
}

const char *shmd_segment_name(const struct shmd_segment *segment)
{
	return segment->name[0] ? segment->name : NULL;
}

/* What is put off is no change that the program sees. */
static void fetch_late_lock(const struct shmd_segment *segment)
{
	if (atomic_load_explicit(&segment->is_late, memory_order_acquire))
		segment_fetch_lock((struct shmd_segment *)segment);
}

const char *shmd_segment_semaphore(const struct shmd_segment *segment)
{
	fetch_late_lock(segment);
	return segment->semaphore_name[0] ? segment->semaphore_name : NULL;
}

int shmd_segment_semaphore_fd(const struct shmd_segment *segment)
{
	fetch_late_lock(segment);
	return segment->lock.semaphore_fd;
}

uint64_t shmd_segment_generation(const struct shmd_segment *segment)
{
	return segment->generation;
}

uid_t shmd_segment_uid(const struct shmd_segment *segment)
{
	return segment->uid;
}

int shmd_segment_is_new(const struct shmd_segment *segment)
{
	return segment->is_new;
}
