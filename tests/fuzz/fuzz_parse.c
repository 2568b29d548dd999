/* SPDX-License-Identifier: MIT */
/* Numbers, names and text from strangers: what is taken comes back the same when it is written and
 * read again, what is not leaves the result alone, and what is shown is safe to show. */
#include "fuzz.h"

#include <errno.h>
#include <inttypes.h>

#include "base/parse.h"
#include "base/text.h"
#include "core/name.h"

#define UNTOUCHED UINT64_C(0x5a5a5a5a5a5a5a5a)

typedef int parse_fn(const char *text, uint64_t *ret);
typedef const char *format_fn(uint64_t value, char *buffer);

static const char *format_u64(uint64_t value, char *buffer)
{
	snprintf(buffer, FORMAT_MAX, "%" PRIu64, value);
	return buffer;
}

static void check_number(parse_fn *parse, format_fn *format, const char *text)
{
	char buffer[FORMAT_MAX];
	uint64_t value = UNTOUCHED, again;
	int r = parse(text, &value);

	if (r < 0) {
		HOLDS(r == -EINVAL || r == -ERANGE);
		HOLDS(value == UNTOUCHED);
		return;
	}
	HOLDS(r == 0);
	HOLDS(parse(format(value, buffer), &again) == 0);
	HOLDS(again == value);
}

static void check_mode(const char *text)
{
	char buffer[FORMAT_MAX];
	mode_t mode = 07777, again;
	int r = parse_mode(text, &mode);

	if (r < 0) {
		HOLDS((r == -EINVAL || r == -ERANGE) && mode == 07777);
		return;
	}
	HOLDS(r == 0 && mode <= 0777);
	snprintf(buffer, sizeof(buffer), "%o", (unsigned)mode);
	HOLDS(parse_mode(buffer, &again) == 0 && again == mode);
}

static void check_name(const char *text)
{
	struct refusal why = {0};
	const char *name = NULL, *again;
	size_t where;
	int r = name_parse(text, &name, &why);

	if (r != 0) {
		HOLDS(r == REFUSAL_INVALID || r == REFUSAL_TOO_LONG);
		HOLDS(why.code == (enum refusal_code)r && why.text[0] && !name);
		return;
	}
	HOLDS(name == text || (text[0] == '/' && name == text + 1));
	HOLDS(strlen(name) >= 1 && strlen(name) <= NAME_LENGTH_MAX);
	HOLDS(!strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
	HOLDS(text_check(name, strlen(name), &where) == TEXT_OK);
	HOLDS(name_parse(name, &again, &why) == 0 && again == name);
}

static void check_text(char *text)
{
	char field[32];
	size_t length = strlen(text), where = 0;
	enum text_fault fault = text_check(text, length, &where);

	HOLDS(fault == TEXT_OK || where < length);
	text_copy(field, sizeof(field), text);
	HOLDS(text_is_padded(field, sizeof(field)));
	HOLDS(strncmp(field, text, sizeof(field) - 1) == 0);
	char *before = strdup(text);
	HOLDS(before);
	text_make_printable(text);
	HOLDS(strlen(text) == length && text_check(text, length, &where) == TEXT_OK);
	HOLDS((strcmp(before, text) == 0) == (fault == TEXT_OK));
	free(before);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char *text = malloc(size + 1);
	size_t where;

	if (!text)
		return 0;
	if (size)
		memcpy(text, bytes, size);
	text[size] = '\0';
	/* With the zeroes inside, too. */
	text_check(text, size, &where);
	text_is_padded(text, size + 1);
	check_number(parse_u64, format_u64, text);
	check_number(parse_size, format_size, text);
	check_number(parse_duration_ms, format_duration_ms, text);
	check_mode(text);
	check_name(text);
	check_text(text);
	free(text);
	return 0;
}
