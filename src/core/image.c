/* SPDX-License-Identifier: MIT */
#include "core/image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "core/segment.h"
#include "wire/word.h"

/* More than any configuration lets a daemon have, and little enough to be read in a moment. */
#define ROWS_MAX (1u << 20)
/* The least free key is given, so that there are no more of them than of segments. */
#define KEYS_MAX ROWS_MAX
/* Of what is counted up, by ones or by the clock: others follow it. */
#define NUMBER_MAX ((uint64_t)INT64_MAX)

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

/* --- names ------------------------------------------------------------------------------------ */

const char *const image_record_names[IMAGE_RECORD_NAMES] = {"record0", "record1"};

const char *image_record_name(uint64_t epoch)
{
	return image_record_names[epoch % IMAGE_RECORD_NAMES];
}

void image_pouch_name(unsigned number, char ret[static IMAGE_POUCH_NAME_SIZE])
{
	snprintf(ret, IMAGE_POUCH_NAME_SIZE, "p%u", number);
}

int image_parse_pouch(const char *name, unsigned *ret)
{
	char again[IMAGE_POUCH_NAME_SIZE];

	if (sscanf(name, "p%u", ret) != 1)
		return -EINVAL;
	image_pouch_name(*ret, again);
	return strcmp(again, name) == 0 ? 0 : -EINVAL;
}

/* --- what is refused -------------------------------------------------------------------------- */

static void refuse_row(struct image *image, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void refuse_row(struct image *image, const char *format, ...)
{
	va_list ap;

	if (image->n_refused++ > 0)
		return;
	va_start(ap, format);
	vsnprintf(image->why, sizeof(image->why), format, ap);
	va_end(ap);
}

/* --- the tables ------------------------------------------------------------------------------- */

struct source {
	struct image_descriptor *given[RECORD_TABLES]; /* NULL: there is none */
	struct record_head heads[RECORD_TABLES];
};

/* Returns 0 or -EINVAL: it is no table. */
static int read_head(int fd, struct record_head *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < (off_t)TABLE_HEAD_SIZE ||
	    pread(fd, ret, sizeof(*ret), 0) != (ssize_t)sizeof(*ret) ||
	    memcmp(ret->magic, RECORD_MAGIC, sizeof(RECORD_MAGIC)) != 0)
		return -EINVAL;
	ret->instance[sizeof(ret->instance) - 1] = '\0';
	return 0;
}

static bool is_readable(const struct record_head *head)
{
	return head->table < RECORD_TABLES && head->row_size >= sizeof(struct row_head) &&
	       head->row_size % sizeof(uint64_t) == 0 &&
	       head->row_size <= record_row_sizes[head->table];
}

static int add_table(struct image *image, struct source *source, struct image_descriptor *given)
{
	struct record_head head;

	if (read_head(given->fd, &head) < 0) {
		refuse_row(image, "a table of the record is none");
		return 0;
	}
	if (head.version > RECORD_VERSION)
		return -EPROTONOSUPPORT;
	if (!is_readable(&head)) {
		refuse_row(image, "a table of the record has another form");
		return 0;
	}
	source->given[head.table] = given;
	source->heads[head.table] = head;
	return 0;
}

static bool is_whole(const struct source *source)
{
	return source->given[RECORD_SEGMENTS] && source->heads[RECORD_SEGMENTS].is_complete;
}

static uint64_t epoch_of(const struct source *source)
{
	return source->heads[RECORD_SEGMENTS].epoch;
}

/* Of two, one was being written when its daemon died, or was not given up any more. */
static int find_source(struct image *image, struct image_descriptor *given, size_t n,
		       struct source *ret)
{
	struct source sources[IMAGE_RECORD_NAMES] = {0};
	bool is_any = false;

	for (size_t i = 0; i < n; i++)
		for (int j = 0; j < IMAGE_RECORD_NAMES; j++) {
			if (!given[i].name || strcmp(given[i].name, image_record_names[j]) != 0)
				continue;
			is_any = true;
			int r = add_table(image, &sources[j], &given[i]);
			if (r < 0)
				return r;
		}
	*ret = (struct source){0};
	for (int i = 0; i < IMAGE_RECORD_NAMES; i++)
		if (is_whole(&sources[i]) &&
		    (!is_whole(ret) || epoch_of(ret) < epoch_of(&sources[i])))
			*ret = sources[i];
	if (is_whole(ret))
		return 1;
	if (is_any || n > 0)
		refuse_row(image, "there is no record that is complete");
	return 0;
}

/* --- rows ------------------------------------------------------------------------------------- */

/* Rows of an older form are shorter: what they lack is zero. */
static int read_rows(struct image *image, const struct source *source, enum record_table which,
		     void **ret, size_t *ret_n)
{
	size_t size = source->heads[which].row_size, full = record_row_sizes[which];
	int fd = source->given[which]->fd;
	size_t n = 0, room = 0;
	char *rows = NULL;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	for (uint64_t i = 0; (off_t)(TABLE_HEAD_SIZE + (i + 1) * size) <= st.st_size; i++) {
		_Alignas(8) char row[sizeof(struct record_segment)] = {0};
		if (i == ROWS_MAX) {
			refuse_row(image, "a table of the record has more than %u rows", ROWS_MAX);
			break;
		}
		if (pread(fd, row, size, (off_t)(TABLE_HEAD_SIZE + i * size)) != (ssize_t)size)
			break;
		if (((const struct row_head *)row)->seal == 0)
			continue;
		if (!row_is_whole(row, size)) {
			refuse_row(image, "a row of the record is not whole");
			continue;
		}
		if (n == room) {
			room = 2 * room + 64;
			char *more = realloc(rows, room * full);
			if (!more) {
				free(rows);
				return -ENOMEM;
			}
			rows = more;
		}
		memcpy(rows + n++ * full, row, full);
	}
	*ret = rows;
	*ret_n = n;
	return 0;
}

static int compare_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

/* The newest first, of those that are about one thing. */
static int by_age(const struct row_head *a, const struct row_head *b)
{
	return compare_u64(b->sequence, a->sequence);
}

static int by_segment(const void *a, const void *b)
{
	const struct record_segment *x = a, *y = b;
	int order = compare_u64(x->id, y->id);

	return order ? order : by_age(&x->head, &y->head);
}

static int by_client(const void *a, const void *b)
{
	const struct record_client *x = a, *y = b;
	int order = compare_u64(x->id, y->id);

	return order ? order : by_age(&x->head, &y->head);
}

static int by_attachment(const void *a, const void *b)
{
	const struct record_attachment *x = a, *y = b;
	int order = compare_u64(x->client, y->client);

	order = order ? order : compare_u64(x->segment, y->segment);
	return order ? order : by_age(&x->head, &y->head);
}

static int by_locker(const void *a, const void *b)
{
	const struct record_locker *x = a, *y = b;
	int order = compare_u64(x->segment, y->segment);

	order = order ? order : compare_u64(x->number, y->number);
	return order ? order : by_age(&x->head, &y->head);
}

typedef int compare_fn(const void *a, const void *b);

/* What makes two rows be about one thing stands in so many bytes behind the head. */
static const struct {
	compare_fn *compare;
	size_t key_size;
} orders[RECORD_TABLES] = {
	[RECORD_SEGMENTS] = {by_segment, sizeof(uint64_t)},
	[RECORD_CLIENTS] = {by_client, sizeof(uint64_t)},
	[RECORD_ATTACHMENTS] = {by_attachment, 2 * sizeof(uint64_t)},
	[RECORD_LOCKERS] = {by_locker, 0},
};

static bool is_about_same(enum record_table which, const char *a, const char *b)
{
	const struct record_locker *x = (const void *)a, *y = (const void *)b;

	if (which == RECORD_LOCKERS)
		return x->segment == y->segment && x->number == y->number;
	return memcmp(a + sizeof(struct row_head), b + sizeof(struct row_head),
		      orders[which].key_size) == 0;
}

/* Sorts the rows, and keeps of each thing the newest one. */
static int read_table(struct image *image, const struct source *source, enum record_table which,
		      void *ret, size_t *ret_n)
{
	size_t size = record_row_sizes[which], n = 0, kept = 0;
	void *read = NULL;

	if (!source->given[which] || source->heads[which].epoch != epoch_of(source)) {
		refuse_row(image, "a table of the record is missing");
		return 0;
	}
	int r = read_rows(image, source, which, &read, &n);
	if (r < 0)
		return r;
	char *rows = read;
	if (n > 0)
		qsort(rows, n, size, orders[which].compare);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || !is_about_same(which, rows + (kept - 1) * size, rows + i * size))
			memmove(rows + kept++ * size, rows + i * size, size);
	*(void **)ret = rows;
	*ret_n = kept;
	return 0;
}

/* --- segments --------------------------------------------------------------------------------- */

/* A descriptor under a key. */
struct kept {
	uint32_t key;
	struct image_descriptor *given;
	struct stat st;
};

static int by_key(const void *a, const void *b)
{
	return compare_u64(((const struct kept *)a)->key, ((const struct kept *)b)->key);
}

static int collect_kept(struct image_descriptor *given, size_t n, struct kept **ret, size_t *ret_n)
{
	struct kept *kept = calloc(n + 1, sizeof(*kept));

	*ret_n = 0;
	if (!kept)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct kept *one = &kept[*ret_n];
		one->given = &given[i];
		one->key = given[i].key;
		if (!given[i].name && fstat(given[i].fd, &one->st) == 0)
			++*ret_n;
	}
	qsort(kept, *ret_n, sizeof(*kept), by_key);
	*ret = kept;
	return 0;
}

/* The one of that key which is that file, and a plain one of ours; or NULL. */
static struct kept *find_kept(struct kept *kept, size_t n, uint32_t key,
			      const struct record_file *file)
{
	struct kept wanted = {.key = key};
	struct kept *found = bsearch(&wanted, kept, n, sizeof(*kept), by_key);

	if (!found || file->inode == 0)
		return NULL;
	while (found > kept && found[-1].key == key)
		found--;
	for (; found < kept + n && found->key == key; found++)
		if (found->given->fd >= 0 && found->st.st_dev == file->device &&
		    found->st.st_ino == file->inode && S_ISREG(found->st.st_mode) &&
		    found->st.st_uid == geteuid())
			return found;
	return NULL;
}

static bool is_text(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

/* As semaphore.c draws them: what is unlinked one day is to be ours. */
static bool is_semaphore_name(const char *name, const char *instance)
{
	char prefix[sizeof("shmd--") + INSTANCE_NAME_SIZE];
	int n = snprintf(prefix, sizeof(prefix), "shmd-%s-", instance);

	return strncmp(name, prefix, (size_t)n) == 0 && strlen(name) == (size_t)n + 16 &&
	       strspn(name + n, "0123456789abcdef") == 16;
}

static const char *check_name(const struct record_segment *row)
{
	struct refusal ignored;
	const char *name;

	if (!is_text(row->name, sizeof(row->name)))
		return "its name has no end";
	if (row->name[0] && (name_parse(row->name, &name, &ignored) != 0 || name != row->name))
		return "its name is none";
	if ((row->flags & RECORD_SUPERSEDED) && (!row->name[0] || row->state != SEGMENT_DROPPED))
		return "it lost a name that it has";
	if (row->name[0] && !(row->flags & RECORD_SUPERSEDED) &&
	    (row->state == SEGMENT_DROPPED || row->flags & RECORD_ANONYMOUS))
		return "it has a name, and is to have none";
	return NULL;
}

static bool check_kind(const struct record_segment *row)
{
	uint32_t posix = row->flags & (RECORD_POSIX_MEMORY | RECORD_POSIX_SEMAPHORE);
	uint32_t others = RECORD_ANONYMOUS | RECORD_READERS_LOCK | RECORD_HUGE | RECORD_SEALED |
			  RECORD_ORIGINAL;

	if (!posix)
		return true;
	return !(row->flags & others) && !(posix & (posix - 1)) && !row->semaphore_name[0] &&
	       row->permits <= (posix == RECORD_POSIX_SEMAPHORE ? 1 : 0);
}

/* Returns what is wrong, or NULL. */
static const char *check_segment(const struct record_segment *row, const char *instance)
{
	if (row->id == 0 || row->generation < row->id || row->generation > NUMBER_MAX ||
	    row->size > INT64_MAX || row->key >= KEYS_MAX ||
	    (row->size == 0) != ((row->flags & RECORD_POSIX_MEMORY) != 0))
		return "its numbers are not a segment's";
	if (row->flags & ~(uint32_t)RECORD_SEGMENT_FLAGS || row->mode & ~0777u ||
	    row->permits > INT32_MAX)
		return "its mode, permits or flags are not a segment's";
	if (!check_kind(row))
		return "it is several kinds of segment";
	if (row->lifetime > LIFETIME_PERSISTENT || row->state >= SEGMENT_UNUSED)
		return "its lifetime or state is none";
	if ((row->state == SEGMENT_LINGERING) != (row->deadline != 0))
		return "it lingers without an end";
	if (!is_text(row->semaphore_name, sizeof(row->semaphore_name)) ||
	    (row->semaphore_name[0] && !is_semaphore_name(row->semaphore_name, instance)))
		return "its semaphore's name is not ours";
	if (!is_text(row->rule, sizeof(row->rule)) || strlen(row->rule) > TALLY_NAME_MAX)
		return "its rule's name has no end";
	if (row->flags & RECORD_ANONYMOUS && row->rule[0])
		return "it never had a name, and counts in a rule";
	return check_name(row);
}

static const char *check_memory(const struct kept *memory, const struct record_segment *row)
{
	if (!memory)
		return "its memory was not kept";
	/* As its users have left it. */
	if (row->flags & RECORD_POSIX_MEMORY)
		return NULL;
	int seals = fcntl(memory->given->fd, F_GET_SEALS);
	if (seals < 0 || (seals & SEALS) != SEALS)
		return "its memory is not sealed";
	if (((memory->st.st_mode & 07777) != 0600 && !(row->flags & RECORD_POSIX_SEMAPHORE)) ||
	    (uint64_t)memory->st.st_size != row->size)
		return "its memory has another size or mode";
	return NULL;
}

static int take(struct kept *kept)
{
	return kept ? steal_fd(&kept->given->fd) : -1;
}

/* A segment whose semaphore or ledger is missing is kept for its memory. */
static void take_segment(struct image *image, struct kept *kept, size_t n,
			 const struct record_segment *row)
{
	struct kept *memory = find_kept(kept, n, row->key, &row->memory);
	const char *why = check_segment(row, image->instance);

	if (!why)
		why = check_memory(memory, row);
	if (why) {
		refuse_row(image, "segment %" PRIu64 ": %s", row->id, why);
		return;
	}
	image->segments[image->n_segments++] = (struct image_segment){
		.row = *row,
		.fd = take(memory),
		.semaphore_fd = take(find_kept(kept, n, row->key, &row->semaphore)),
		.ledger_fd = take(find_kept(kept, n, row->key, &row->ledger)),
	};
}

static int read_segments(struct image *image, const struct source *source,
			 struct image_descriptor *given, size_t n)
{
	_cleanup_free_ struct record_segment *rows = NULL;
	_cleanup_free_ struct kept *kept = NULL;
	size_t n_rows = 0, n_kept = 0;
	int r = read_table(image, source, RECORD_SEGMENTS, &rows, &n_rows);

	if (r == 0)
		r = collect_kept(given, n, &kept, &n_kept);
	if (r < 0)
		return r;
	image->segments = calloc(n_rows + 1, sizeof(*image->segments));
	if (!image->segments)
		return -ENOMEM;
	for (size_t i = 0; i < n_rows; i++)
		take_segment(image, kept, n_kept, &rows[i]);
	return 0;
}

/* --- what refers to them ---------------------------------------------------------------------- */

static const struct record_segment *find_segment(const struct image *image, uint64_t id)
{
	size_t low = 0, high = image->n_segments;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (image->segments[middle].row.id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < image->n_segments && image->segments[low].row.id == id
		       ? &image->segments[low].row
		       : NULL;
}

static bool has_client(const struct image *image, uint64_t id)
{
	size_t low = 0, high = image->n_clients;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (image->clients[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < image->n_clients && image->clients[low].id == id;
}

/* What a request did has been done when the row of its segment says so. */
static bool is_done(const struct image *image, const struct deed *deed)
{
	const struct record_segment *row = find_segment(image, deed->id);

	switch (deed->kind) {
	case DEED_CREATED:
		return row != NULL;
	case DEED_PUBLISHED:
		return row && row->generation == deed->generation;
	case DEED_UNLINKED:
		return !row || row->state == SEGMENT_DROPPED;
	default:
		return false;
	}
}

static void keep_clients(struct image *image)
{
	size_t kept = 0;

	for (size_t i = 0; i < image->n_clients; i++) {
		struct record_client *row = &image->clients[i];
		if (row->id == 0 || row->id >= image->next_client) {
			refuse_row(image, "client %" PRIu64 ": its number was not given", row->id);
			continue;
		}
		if (!is_done(image, &row->last))
			row->last = (struct deed){0};
		image->clients[kept++] = *row;
	}
	image->n_clients = kept;
}

/* Those of a segment that has just gone are no news. */
static void keep_attachments(struct image *image)
{
	size_t kept = 0;

	for (size_t i = 0; i < image->n_attachments; i++) {
		const struct record_attachment *row = &image->attachments[i];
		if (find_segment(image, row->segment) && has_client(image, row->client) &&
		    (row->writing > 0 || row->reading > 0))
			image->attachments[kept++] = *row;
	}
	image->n_attachments = kept;
}

static void keep_lockers(struct image *image)
{
	size_t kept = 0;

	for (size_t i = 0; i < image->n_lockers; i++) {
		const struct record_locker *row = &image->lockers[i];
		const struct record_segment *segment = find_segment(image, row->segment);
		if (!segment)
			continue;
		if (segment->permits > 0 && row->number > 0 && row->number <= WORD_NUMBER_MAX &&
		    row->pid > 0 && row->pid <= INT32_MAX &&
		    !(row->flags & ~(uint32_t)RECORD_LOCKER_FLAGS))
			image->lockers[kept++] = *row;
		else
			refuse_row(image, "number %u of segment %" PRIu64 ": it is none",
				   row->number, row->segment);
	}
	image->n_lockers = kept;
}

/* --- all of it -------------------------------------------------------------------------------- */

static bool is_instance(const char *name)
{
	return strlen(name) == INSTANCE_NAME_SIZE - 1 &&
	       strspn(name, "0123456789abcdef") == INSTANCE_NAME_SIZE - 1;
}

static uint64_t read_number(struct image *image, uint64_t number)
{
	if (number <= NUMBER_MAX)
		return number;
	refuse_row(image, "the record's numbers have come to their end");
	return 0;
}

static int read_all(struct image *image, const struct source *source,
		    struct image_descriptor *given, size_t n)
{
	const struct record_head *head = &source->heads[RECORD_SEGMENTS];

	if (!is_instance(head->instance)) {
		refuse_row(image, "the record names no instance");
		return 0;
	}
	image->is_empty = false;
	image->epoch = head->epoch;
	image->next_id = read_number(image, head->next_id);
	if (source->given[RECORD_CLIENTS])
		image->next_client = read_number(image, source->heads[RECORD_CLIENTS].next_client);
	text_copy(image->instance, sizeof(image->instance), head->instance);
	for (size_t i = 0; i < n && !image->has_lock; i++) {
		image->has_lock = given[i].name && strcmp(given[i].name, IMAGE_LOCK_NAME) == 0;
		if (image->has_lock)
			image->lock_fd = steal_fd(&given[i].fd);
	}
	int r = read_segments(image, source, given, n);
	if (r == 0)
		r = read_table(image, source, RECORD_CLIENTS, &image->clients, &image->n_clients);
	if (r == 0)
		r = read_table(image, source, RECORD_ATTACHMENTS, &image->attachments,
			       &image->n_attachments);
	if (r == 0)
		r = read_table(image, source, RECORD_LOCKERS, &image->lockers, &image->n_lockers);
	if (r < 0)
		return r;
	keep_clients(image);
	keep_attachments(image);
	keep_lockers(image);
	return 0;
}

int image_read(struct image *ret, struct image_descriptor *given, size_t n)
{
	struct source source;

	*ret = (struct image){.is_empty = true, .lock_fd = -1};
	int r = find_source(ret, given, n, &source);
	if (r > 0)
		r = read_all(ret, &source, given, n);
	if (r < 0)
		image_fini(ret);
	return r;
}

int image_revoke(int fd)
{
	const uint32_t is_complete = 0;

	return pwrite(fd, &is_complete, sizeof(is_complete),
		      offsetof(struct record_head, is_complete)) == (ssize_t)sizeof(is_complete)
		       ? 0
		       : -errno;
}

void image_fini(struct image *image)
{
	for (size_t i = 0; i < image->n_segments; i++) {
		close_fd(image->segments[i].fd);
		close_fd(image->segments[i].semaphore_fd);
		close_fd(image->segments[i].ledger_fd);
	}
	free(image->segments);
	free(image->clients);
	free(image->attachments);
	free(image->lockers);
	close_fd(image->lock_fd);
	*image = (struct image){.is_empty = true, .lock_fd = -1};
}
