/* SPDX-License-Identifier: MIT */
#include "core/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"

#define ROWS_FIRST 64u
#define ROWS_MAX   (1u << 26)

/* --- the memory ------------------------------------------------------------------------------- */

void table_init(struct table *table)
{
	*table = (struct table){.fd = -1};
}

static size_t file_size(uint32_t row_size, uint32_t rows)
{
	return TABLE_HEAD_SIZE + (size_t)row_size * rows;
}

static char *row_at(const struct table *table, uint32_t index)
{
	return table->head + file_size(table->row_size, index);
}

static int make_room_for_free(struct table *table, uint32_t rows)
{
	uint32_t *free_rows = realloc(table->free_rows, rows * sizeof(*free_rows));

	if (!free_rows)
		return -ENOMEM;
	table->free_rows = free_rows;
	return 0;
}

/* What is mapped comes last: it is to be as long as table->rows says. The last of the new rows is the first
 * to be taken, which does not matter. */
static int grow(struct table *table, uint32_t rows)
{
	size_t size = file_size(table->row_size, rows);

	if (rows > ROWS_MAX || make_room_for_free(table, rows) < 0 ||
	    ftruncate(table->fd, (off_t)size) < 0)
		return -ENOMEM;
	char *head = table->head
			     ? mremap(table->head, file_size(table->row_size, table->rows), size,
				      MREMAP_MAYMOVE)
			     : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, table->fd, 0);
	if (head == MAP_FAILED)
		return -ENOMEM;
	table->head = head;
	while (table->rows < rows)
		table->free_rows[table->n_free++] = table->rows++;
	return 0;
}

int table_begin(struct table *table, const char *label, uint32_t row_size)
{
	table_init(table);
	table->row_size = row_size;
	table->fd = memfd_create(label, MFD_CLOEXEC);
	if (table->fd < 0)
		return -errno;
	int r = grow(table, ROWS_FIRST);
	if (r < 0)
		table_fini(table);
	return r;
}

void table_fini(struct table *table)
{
	if (table->head)
		munmap(table->head, file_size(table->row_size, table->rows));
	free(table->free_rows);
	close_fd(table->fd);
	table_init(table);
}

/* --- rows ------------------------------------------------------------------------------------- */

/* FNV-1a by words: what it guards against is our own end in the middle of a row. Never 0. */
static uint64_t seal_of(const void *content, size_t size)
{
	const char *bytes = content;
	uint64_t seal = UINT64_C(14695981039346656037);
	uint64_t word;

	for (size_t i = sizeof(seal); i < size; i += sizeof(word)) {
		memcpy(&word, bytes + i, sizeof(word));
		seal = (seal ^ word) * UINT64_C(1099511628211);
		seal ^= seal >> 32;
	}
	return seal ? seal : 1;
}

bool row_is_whole(const void *content, size_t size)
{
	const struct row_head *head = content;

	return head->seal != 0 && head->seal == seal_of(content, size);
}

static int take_free(struct table *table, uint32_t *ret)
{
	int r = table->n_free > 0 ? 0 : grow(table, 2 * table->rows);

	if (r == 0)
		*ret = table->free_rows[--table->n_free];
	return r;
}

static void commit(struct table *table, uint32_t index, const void *content)
{
	struct row_head *head = (struct row_head *)row_at(table, index);

	memcpy((char *)head + sizeof(head->seal), (const char *)content + sizeof(head->seal),
	       table->row_size - sizeof(head->seal));
	__atomic_store_n(&head->seal, ((const struct row_head *)content)->seal, __ATOMIC_RELEASE);
}

int row_write(struct row *row, struct table *table, void *content)
{
	struct row_head *head = content;
	uint32_t index = 0;

	if (table->fd < 0)
		return 0;
	int r = take_free(table, &index);
	if (r < 0)
		return r;
	head->sequence = ++table->sequence;
	head->seal = seal_of(content, table->row_size);
	commit(table, index, content);
	row_clear(row);
	*row = (struct row){table, index};
	return 0;
}

void row_clear(struct row *row)
{
	struct table *table = row->table;
	uint32_t index = row->index;

	*row = (struct row){0};
	if (!table || !table->head)
		return;
	struct row_head *head = (struct row_head *)row_at(table, index);

	__atomic_store_n(&head->seal, 0, __ATOMIC_RELEASE);
	table->free_rows[table->n_free++] = index;
}
