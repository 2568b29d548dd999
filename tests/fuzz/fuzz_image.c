/* SPDX-License-Identifier: MIT */
/*
 * What a daemon may find of the one before it: files of all kinds under all names, and a record in which
 * anything may stand. It is read, a registry goes on from there, people ask for something, and it ends:
 * nothing is lost that was valid, no file is removed that is not ours, and no descriptor is left.
 *
 * The input says step by step what is found (step()): seeds.py has what a daemon would have left.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/guard.h"
#include "base/log.h"
#include "core/memory.h"
#include "core/restore.h"
#include "core/segment.h"
#include "shortage.h"

#define INSTANCE "0123abcd"
#define EPOCH    5
#define FILES    12
#define ROWS     24
#define GIVEN    48
#define CLIENTS  3
#define FIRST_ID 1000
#define SIZE     4096
#define SEALS    (F_SEAL_SHRINK | F_SEAL_GROW)

/* The linker leads here what would be logged. */
void __wrap_log_line(enum log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

void __wrap_log_line(enum log_level level, const char *format, ...)
{
	(void)level, (void)format;
}

/* The kernel takes some milliseconds to close such a thing, so that all registries share one. */
int inotify_init1(int flags)
{
	static int shared = -1;

	if (shared < 0)
		shared = (int)syscall(SYS_inotify_init1, flags);
	return fcntl(shared, F_DUPFD_CLOEXEC, 0);
}

/* --- what is found ------------------------------------------------------------------------------ */

enum kind { MEMORY, SEMAPHORE, LEDGER, LOCK, ODD_SIZE, ODD_MODE, NO_SEALS, NO_FILE, KINDS };

/* Where a file stands in a row, until it is known. */
#define BY_NUMBER UINT64_MAX

struct file {
	int fd;
	enum kind kind;
};

static struct file files[FILES];
static unsigned n_files;
static struct table tables[RECORD_TABLES];
static struct image_descriptor given[GIVEN + RECORD_TABLES];
static unsigned given_files[GIVEN];
static size_t n_given;

/* Rows of segments that nothing is wrong with, and the record, as long as nothing else was written. */
static struct record_segment sound[ROWS];
static unsigned n_sound, n_rows;
static bool is_sound;

static char folder[] = "/tmp/fuzz-image-XXXXXX";
static int folder_fd;

/* --- files of the folder that are not ours ------------------------------------------------------- */

static const char *const foreign[] = {
	"outside",
	"sem.shmd",
	"sem.shmd-" INSTANCE,
	"sem.shmd-" INSTANCE "x0123456789abcdef",
	"sem.shmd-0123abce-0123456789abcdef",
	"sem.shmd-" INSTANCE "-fifo",
	"sem.shmd-" INSTANCE "-000000000000000f",
};

#define FOREIGN (sizeof(foreign) / sizeof(foreign[0]))
/* The last ones bear our names, and are no plain files. */
#define PLAIN (FOREIGN - 2)

static void plant(void)
{
	for (size_t i = 0; i < FOREIGN; i++) {
		int r = i < PLAIN ? openat(folder_fd, foreign[i], O_CREAT | O_CLOEXEC, 0600)
				  : mkfifoat(folder_fd, foreign[i], 0600);
		HOLDS(r >= 0);
		if (i < PLAIN)
			close(r);
	}
}

static void check_and_clear_folder(void)
{
	for (size_t i = 0; i < FOREIGN; i++)
		HOLDS(unlinkat(folder_fd, foreign[i], 0) == 0);
	/* What was left by a registry that could not be made. */
	int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *open = fdopendir(fd);
	HOLDS(open);
	for (struct dirent *entry; (entry = readdir(open));)
		if (entry->d_name[0] != '.')
			HOLDS(unlinkat(folder_fd, entry->d_name, 0) == 0);
	closedir(open);
}

static unsigned count_descriptors(void)
{
	DIR *open = opendir("/proc/self/fd");
	unsigned n = 0;

	HOLDS(open);
	while (readdir(open))
		n++;
	closedir(open);
	return n;
}

/* --- making ------------------------------------------------------------------------------------- */

static int make_memory(off_t size, mode_t mode, int seals)
{
	int fd = memfd_create("fuzz-image", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	HOLDS(fd >= 0 && fchmod(fd, mode) == 0 && ftruncate(fd, size) == 0);
	HOLDS(fcntl(fd, F_ADD_SEALS, seals) == 0);
	return fd;
}

static int make_named(const char *name, uint64_t word)
{
	int fd = openat(folder_fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	HOLDS(fd >= 0 && pwrite(fd, &word, sizeof(word), 0) == sizeof(word));
	HOLDS(ftruncate(fd, 32) == 0);
	return fd;
}

static void semaphore_name(unsigned number, char ret[static SEMAPHORE_NAME_SIZE])
{
	snprintf(ret, SEMAPHORE_NAME_SIZE, "shmd-" INSTANCE "-%016x", number);
}

static int make_semaphore(uint64_t word)
{
	char name[SEMAPHORE_NAME_SIZE], file[SEMAPHORE_NAME_SIZE + 4];

	semaphore_name(n_files + 16, name);
	snprintf(file, sizeof(file), "sem.%s", name);
	return make_named(file, word);
}

static int make_file(enum kind kind, unsigned how)
{
	switch (kind) {
	case MEMORY:
		return make_memory(SIZE, 0600, SEALS | (how & 1 ? F_SEAL_WRITE | F_SEAL_SEAL : 0));
	case SEMAPHORE:
		return make_semaphore(how);
	case LEDGER:
		return make_memory(how & 1 ? 8 : 131072, 0600, SEALS);
	case LOCK:
		return make_named("shmd-" INSTANCE ".lock", 0);
	case ODD_SIZE:
		return make_memory((off_t)(how << (how % 48)), 0600, SEALS);
	case ODD_MODE:
		return make_memory(SIZE, how, SEALS);
	case NO_SEALS:
		return make_memory(SIZE, 0600, how & 1 ? F_SEAL_GROW : 0);
	case NO_FILE:
	case KINDS:
		break;
	}
	return open(how & 1 ? "/dev/null" : folder, O_RDONLY | O_CLOEXEC);
}

static void add_file(unsigned what)
{
	if (n_files == FILES)
		return;
	enum kind kind = what % KINDS;
	files[n_files] = (struct file){make_file(kind, what / KINDS), kind};
	n_files++;
}

static void give_as(const char *name, uint32_t key, unsigned file)
{
	if (n_given == GIVEN || file >= n_files)
		return;
	given_files[n_given] = file;
	given[n_given] = (struct image_descriptor){fcntl(files[file].fd, F_DUPFD_CLOEXEC, 0), name,
						   key};
	HOLDS(given[n_given].fd >= 0);
	n_given++;
}

static void give_file(unsigned file, unsigned how)
{
	static const char *const names[] = {"record0", "record1", IMAGE_LOCK_NAME, "~", "",
					    "a/b",     "p0",      "zzzzzzz"};

	give_as(how < 128 ? NULL : names[how % 8], how, file);
}

static struct record_file file_of(unsigned file)
{
	struct stat st;

	if (file >= n_files || fstat(files[file].fd, &st) < 0)
		return (struct record_file){0};
	return (struct record_file){st.st_dev, st.st_ino};
}

/* --- rows --------------------------------------------------------------------------------------- */

static void write_row(enum record_table which, void *row)
{
	struct row at = {0};

	HOLDS(row_write(&at, &tables[which], row) == 0);
}

/* Any bytes of a row may be others, as the input says. Returns whether some are. */
static bool disturb(struct input *input, void *row, size_t size)
{
	unsigned n = take(input) % 4;

	for (unsigned i = 0; i < n; i++) {
		unsigned at = (take(input) << 8 | take(input)) % (unsigned)size;
		((uint8_t *)row)[at] = (uint8_t)take(input);
	}
	return n > 0;
}

static bool find_given(uint32_t key, unsigned file)
{
	for (size_t i = 0; i < n_given; i++)
		if (!given[i].name && given[i].key == key && given_files[i] == file)
			return true;
	return false;
}

/* One that has to be taken: its memory is there, and nobody else's. */
static void note_sound(const struct record_segment *row, unsigned memory)
{
	if (memory >= n_files || files[memory].kind != MEMORY || !find_given(row->key, memory))
		return;
	for (unsigned i = 0; i < n_sound; i++)
		if (sound[i].id == row->id || sound[i].memory.inode == row->memory.inode ||
		    sound[i].key == row->key)
			return;
	sound[n_sound++] = *row;
}

static void set_state(struct record_segment *row, unsigned how)
{
	switch (how % 5) {
	case 1:
		row->state = SEGMENT_LINGERING;
		row->deadline = 1 + how;
		break;
	case 2:
		row->state = SEGMENT_DROPPED;
		row->name[0] = '\0';
		break;
	case 3:
		row->state = SEGMENT_DROPPED;
		row->flags = RECORD_SUPERSEDED;
		row->former_uid = row->uid;
		break;
	case 4:
		row->flags = RECORD_ANONYMOUS;
		row->name[0] = '\0';
		break;
	}
}

static void write_segment(struct input *input)
{
	unsigned what = take(input), memory = take(input), how = take(input);
	unsigned semaphore = take(input), ledger = take(input);
	struct record_segment row = {
		.id = FIRST_ID + what % 8,
		.generation = FIRST_ID + what % 8 + what / 64,
		.size = SIZE,
		.owner = how / 5 % 4,
		.publisher = how / 20 % 4,
		.memory = file_of(memory),
		.semaphore = file_of(semaphore),
		.ledger = file_of(ledger),
		.key = what / 8 % 8,
		.uid = 5000 + how % 3,
		.gid = 5000,
		.mode = 0600,
		.payer = 5000,
		.permits = semaphore < 128 ? 1 + ledger % 4 : 0,
		.lifetime = how / 80 % 3,
	};

	snprintf(row.name, sizeof(row.name), "%c", 'a' + (int)(what % 4));
	if (how & 128)
		snprintf(row.rule, sizeof(row.rule), "rule");
	if (row.permits)
		semaphore_name(semaphore % FILES + 16, row.semaphore_name);
	set_state(&row, how);
	if (n_rows++ == ROWS)
		return;
	bool is_disturbed = disturb(input, &row, sizeof(row));
	is_sound = is_sound && !is_disturbed && !(row.flags & RECORD_ANONYMOUS && row.rule[0]);
	write_row(RECORD_SEGMENTS, &row);
	note_sound(&row, memory);
}

static void write_client(struct input *input)
{
	unsigned what = take(input), deed = take(input);
	struct record_client row = {
		.id = 1 + what % CLIENTS,
		.token = 1,
		.pid = 1,
		.uid = 5000 + what / 4 % 3,
		.flags = what / 16,
		.last = {1, deed % 4, FIRST_ID + deed / 4 % 8, FIRST_ID + deed / 32},
	};

	disturb(input, &row, sizeof(row));
	write_row(RECORD_CLIENTS, &row);
}

static void write_attachment(struct input *input)
{
	unsigned what = take(input), how = take(input);
	struct record_attachment row = {
		.client = 1 + what % 4,
		.segment = FIRST_ID + what / 4 % 8,
		.writing = how % 4,
		.reading = how / 4 % 4,
		.number = how / 16,
	};

	disturb(input, &row, sizeof(row));
	write_row(RECORD_ATTACHMENTS, &row);
}

static void write_locker(struct input *input)
{
	unsigned what = take(input), how = take(input);
	struct record_locker row = {
		.segment = FIRST_ID + what % 8,
		.process_start = 1,
		.number = what / 8,
		.pid = 1 + how % 2,
		.uid = 5000 + how % 3,
		.flags = how / 4,
	};

	disturb(input, &row, sizeof(row));
	write_row(RECORD_LOCKERS, &row);
}

/* --- the record --------------------------------------------------------------------------------- */

static void begin_tables(void)
{
	for (uint32_t i = 0; i < RECORD_TABLES; i++) {
		HOLDS(table_begin(&tables[i], "fuzz-image", record_row_sizes[i]) == 0);
		*(struct record_head *)tables[i].head =
			(struct record_head){.magic = RECORD_MAGIC,
					     .version = RECORD_VERSION,
					     .table = i,
					     .row_size = record_row_sizes[i],
					     .is_complete = i == RECORD_SEGMENTS,
					     .epoch = EPOCH,
					     .next_id = FIRST_ID + 100,
					     .next_client = CLIENTS + 1,
					     .instance = INSTANCE};
	}
}

/* Any byte of a head or a row, without a new seal. */
static void poke(struct input *input)
{
	struct table *table = &tables[take(input) % RECORD_TABLES];
	size_t at = take(input) << 8 | take(input);

	if (at >= sizeof(struct record_head))
		at += TABLE_HEAD_SIZE - sizeof(struct record_head);
	if (at < TABLE_HEAD_SIZE + (size_t)table->rows * table->row_size)
		table->head[at] = (char)take(input);
	is_sound = false;
}

/* Rows as the input has them, behind each other, from the first place on. */
static void write_raw(struct input *input)
{
	struct table *table = &tables[take(input) % RECORD_TABLES];
	size_t size = take(input) << 2;

	take_bytes(input, table->head + TABLE_HEAD_SIZE, size);
	is_sound = false;
}

/* How a table may come: not at all, twice, under the other name, shorter or longer than it is. */
static void give_tables(unsigned how)
{
	static const off_t sizes[] = {
		0, 16, TABLE_HEAD_SIZE, TABLE_HEAD_SIZE + 100, TABLE_HEAD_SIZE + 5000, 1 << 18};
	unsigned which = how / 8 % RECORD_TABLES;

	is_sound = is_sound && how % 8 == 0;
	/* What is mapped of a shorter file is not to be touched any more. */
	if (how % 8 == 1)
		HOLDS(ftruncate(tables[which].fd, sizes[how / 32 % 6]) == 0);
	for (unsigned i = 0; i < RECORD_TABLES; i++)
		for (unsigned n = i == which && how % 8 == 2 ? 0 : 1; n > 0; n--) {
			const char *name = image_record_names[(EPOCH + (how % 8 == 3)) % 2];
			given[n_given] = (struct image_descriptor){
				fcntl(tables[i].fd, F_DUPFD_CLOEXEC, 0), name, 0};
			n_given++;
		}
}

static void step(struct input *input)
{
	unsigned what = take(input), file;

	switch (what % 8) {
	case 0:
		add_file(take(input));
		break;
	case 1:
		file = take(input);
		give_file(file, take(input));
		break;
	case 2:
		write_segment(input);
		break;
	case 3:
		write_client(input);
		break;
	case 4:
		write_attachment(input);
		break;
	case 5:
		write_locker(input);
		break;
	case 6:
		poke(input);
		break;
	case 7:
		write_raw(input);
		break;
	}
}

/* --- what is made of it ------------------------------------------------------------------------- */

static struct image image;
static struct registry *registry;
static struct session clients[CLIENTS];
static struct estate estates[2];

/* A newer row of the same segment, or one that takes its memory or its key, makes it another matter. */
static void check_sound(void)
{
	for (unsigned i = 0; is_sound && n_rows == n_sound && i < n_sound; i++) {
		size_t j = 0;
		while (j < image.n_segments && image.segments[j].row.id != sound[i].id)
			j++;
		HOLDS(j < image.n_segments && image.segments[j].fd >= 0);
	}
}

static void check_image(void)
{
	for (size_t i = 0; i < image.n_segments; i++) {
		const struct image_segment *segment = &image.segments[i];
		HOLDS(i == 0 || segment->row.id > segment[-1].row.id);
		HOLDS(segment->fd >= 0 && memchr(segment->row.name, 0, NAME_LENGTH_MAX + 1));
		HOLDS(segment->fd != segment->semaphore_fd && segment->fd != segment->ledger_fd);
		HOLDS(strncmp(segment->row.semaphore_name, "shmd-" INSTANCE "-",
			      strlen(segment->row.semaphore_name) ? 14 : 0) == 0);
	}
	for (size_t i = 0; i < image.n_clients; i++)
		HOLDS(image.clients[i].id && image.clients[i].id < image.next_client);
}

static void enter_clients(void)
{
	struct credentials who;

	for (int i = 0; i < 2; i++)
		estate_init(&estates[i], &registry->emptied);
	for (unsigned i = 0; i < CLIENTS; i++) {
		credentials_init(&who, 5000 + i, 5000, NULL, 0);
		session_init(&clients[i], i + 1, (pid_t)(i + 1), &who);
		clients[i].can_lock = true;
		clients[i].estate = i < 2 ? &estates[i] : NULL;
	}
}

static struct session *session_of(uint64_t id)
{
	return id >= 1 && id <= CLIENTS ? &clients[id - 1] : NULL;
}

static void restore_rest(void)
{
	for (size_t i = 0; i < image.n_lockers; i++)
		restore_locker(registry, &image.lockers[i], &estates[image.lockers[i].pid % 2]);
	for (size_t i = 0; i < image.n_attachments; i++)
		if (session_of(image.attachments[i].client))
			restore_attachment(registry, &image.attachments[i],
					   session_of(image.attachments[i].client));
	for (size_t i = 0; i < image.n_segments; i++)
		restore_bonds(registry, image.segments[i].row.id,
			      session_of(image.segments[i].row.owner),
			      session_of(image.segments[i].row.publisher));
	restore_finish(registry);
}

static void check_registry(void)
{
	const struct segment *segment;
	unsigned n_named = 0;

	for (segment = registry->by_id; segment; segment = segment->by_id.next) {
		HOLDS(segment->id < registry->next_id && segment->generation < registry->next_id);
		HOLDS(!segment->name[0] || registry_by_name(registry, segment->name) == segment);
		n_named += segment->name[0] != '\0';
	}
	HOLDS(HASH_CNT(by_name, registry->by_name) == n_named);
	/* No two under one name, and nobody's name is lost. */
	for (size_t i = 0; i < image.n_segments && !shortage_was_ever(); i++) {
		const struct record_segment *row = &image.segments[i].row;
		if (row->name[0] && !(row->flags & RECORD_SUPERSEDED) && image.segments[i].fd < 0) {
			segment = registry_by_name(registry, row->name);
			HOLDS(segment && segment->generation >= row->generation);
		}
	}
}

static void settle(uint64_t now)
{
	struct segment *segment;
	int fds[2];

	registry_run_timers(registry, now);
	while (registry_settle_some(registry, 8, now))
		;
	while ((segment = registry_take_unused(registry, fds))) {
		close_fd(fds[0]);
		close_fd(fds[1]);
		registry_forget(registry, segment);
	}
	record_flush(&registry->record);
}

static void ask(struct session *session, unsigned how, const char *name)
{
	struct grant grant = {.fd = -1};
	struct refusal why;
	uint64_t id = FIRST_ID + how / 8 % 8, ignored;

	switch (how % 8) {
	case 0:
		if (registry_attach(registry, session, 0, name, how & 64, 1, &grant, &why) == 0)
			registry_grant_lock(registry, session, how & 64, &grant);
		close_fd(grant.fd);
		break;
	case 1:
		registry_unlink(registry, session, 0, name, 1, &ignored, &why);
		break;
	case 2:
		registry_detach(registry, session, id, how & 64, 1, &why);
		break;
	case 3:
		registry_publish(registry, session, id, name, true, 1, &ignored, &why);
		break;
	case 4:
		registry_confirm(registry, session, id, how / 64, how / 128, &why);
		break;
	case 5:
		registry_settle_session(registry, session);
		break;
	case 6:
		registry_leave(registry, session, 1);
		break;
	case 7:
		registry_keep(registry, session, id, &why);
		break;
	}
}

static void ask_for_something(struct input *input)
{
	uint64_t now = 1;

	for (unsigned i = 0; i < 16 && input->left > 0; i++) {
		unsigned how = take(input);
		char name[] = {(char)('a' + take(input) % 4), '\0'};
		ask(&clients[how % CLIENTS], how / CLIENTS, name);
		if (how & 128)
			settle(now += 1u << (how % 16));
	}
}

static void end_registry(void)
{
	registry_bury(registry, &estates[0]);
	for (unsigned i = 0; i < CLIENTS; i++) {
		registry_leave(registry, &clients[i], UINT64_MAX / 2);
		session_fini(&clients[i]);
	}
	settle(UINT64_MAX / 2);
	for (int i = 0; i < 2; i++)
		estate_fini(&estates[i]);
	HOLDS(registry->quota.used[QUOTA_ATTACHMENTS] == 0);
	registry_free(registry);
}

static void go_on(struct input *input)
{
	struct quota_limits limits;

	for (int i = 0; i < QUOTA_RESOURCES; i++)
		limits.total[i] = limits.per_user[i] = 1000000;
	shortage_begin();
	int r = restore_registry(&registry, &limits, folder, FIRST_ID, &image);
	shortage_end();
	if (r < 0)
		return;
	enter_clients();
	record_begin(&registry->record, EPOCH + 1, registry->instance.name);
	restore_rest();
	check_registry();
	ask_for_something(input);
	end_registry();
}

/* --- beginning and end -------------------------------------------------------------------------- */

static void begin(void)
{
	n_files = n_sound = n_rows = 0;
	n_given = 0;
	is_sound = true;
	shortage_forget();
	begin_tables();
	plant();
}

static void end(void)
{
	image_fini(&image);
	while (n_given > 0)
		close_fd(given[--n_given].fd);
	while (n_files > 0)
		close_fd(files[--n_files].fd);
	for (int i = 0; i < RECORD_TABLES; i++)
		table_fini(&tables[i]);
	check_and_clear_folder();
}

static void remove_folder(void)
{
	rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	signal(SIGIO, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	HOLDS(guard_init() == 0 && mkdtemp(folder));
	/* Keeps a descriptor of a folder. */
	close_fd(memory_reopen(STDERR_FILENO, true));
	close_fd(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
	folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	HOLDS(folder_fd >= 0 && atexit(remove_folder) == 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct input input = {bytes, size};
	unsigned before = count_descriptors();
	unsigned tables_how = take(&input), allocations = take(&input), steps = take(&input);

	begin();
	for (unsigned i = 0; i < steps % 64 && input.left > 0; i++)
		step(&input);
	give_tables(tables_how);
	shortage_plan(SHORTAGE_NONE, allocations < 128 ? SHORTAGE_NONE : allocations - 128);
	if (allocations % 2)
		shortage_begin();
	int r = image_read(&image, given, n_given);
	if (allocations % 2)
		shortage_end();
	if (r == 0 && !shortage_was_ever())
		check_sound();
	if (r == 0 && !image.is_empty) {
		check_image();
		go_on(&input);
	}
	end();
	HOLDS(count_descriptors() == before);
	return 0;
}
