/* SPDX-License-Identifier: MIT */
/*
 * shmdctl explain: what the policy says about a name, and who may attach what bears it. Owns the columns
 * of an explanation.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "shmdctl/command.h"
#include "shmdctl/listing.h"
#include "shmdctl/output.h"

enum { OPTION_UID = OPTION_LONG };

#define LIFETIMES_SIZE 64

/* What an explanation says in other forms than people want. */
struct shown {
	const char *name;
	const char *lifetimes;
};

#define SHOWN(member)       FIELD(shown, member)
#define EXPLANATION(member) FIELD(shmd_explanation, member)

static const struct column name_columns[] = {
	{"name", "NAME", "", FORMAT_TEXT, false, SHOWN(name)},
	{0},
};

static const struct column decision_columns[] = {
	{"uid", "UID", "", FORMAT_NUMBER, false, EXPLANATION(uid)},
	{"rule", "RULE", "", FORMAT_TEXT, false, EXPLANATION(rule)},
	{"file", "FILE", "", FORMAT_TEXT, false, EXPLANATION(file)},
	{"line", "LINE", "", FORMAT_NUMBER, false, EXPLANATION(line), .zero_is_none = true},
	{"create", "MAY CREATE", "", FORMAT_FLAG, false, EXPLANATION(may_create)},
	{"create_reason", "WHY", "", FORMAT_TEXT, false, EXPLANATION(create_reason)},
	{"owner", "OWNER", "", FORMAT_NUMBER, false, EXPLANATION(owner)},
	{"group", "GROUP", "", FORMAT_NUMBER, false, EXPLANATION(group), .most_is_none = true},
	{"mode", "FORCED MODE", "", FORMAT_MODE, false, EXPLANATION(mode), .most_is_none = true},
	{"mode_max", "MODE MAX", "", FORMAT_MODE, false, EXPLANATION(mode_max)},
	{0},
};

static const struct column lifetimes_columns[] = {
	{"lifetimes", "LIFETIMES", "", FORMAT_TEXT, false, SHOWN(lifetimes)},
	{0},
};

static const struct column limit_columns[] = {
	{"linger_max_s", "LINGER MAX", "", FORMAT_MS, false, EXPLANATION(linger_max_ms),
	 .most_is_none = true},
	{"size_max", "SIZE MAX", "", FORMAT_BYTES, false, EXPLANATION(size_max),
	 .most_is_none = true},
	{"segments_max", "SEGMENTS MAX", "", FORMAT_NUMBER, false, EXPLANATION(segments_max),
	 .most_is_none = true},
	{"segments_used", "SEGMENTS USED", "", FORMAT_NUMBER, false, EXPLANATION(segments_used),
	 .most_is_none = true},
	{"bytes_max", "BYTES MAX", "", FORMAT_BYTES, false, EXPLANATION(bytes_max),
	 .most_is_none = true},
	{"bytes_used", "BYTES USED", "", FORMAT_BYTES, false, EXPLANATION(bytes_used),
	 .most_is_none = true},
	{"exists", "EXISTS", "", FORMAT_FLAG, false, EXPLANATION(exists)},
	{"read", "MAY READ", "", FORMAT_FLAG, false, EXPLANATION(may_read)},
	{"read_reason", "WHY", "", FORMAT_TEXT, false, EXPLANATION(read_reason)},
	{"write", "MAY WRITE", "", FORMAT_FLAG, false, EXPLANATION(may_write)},
	{"write_reason", "WHY", "", FORMAT_TEXT, false, EXPLANATION(write_reason)},
	{0},
};

DEFINE_CLEANUP(struct shmd_explanation *, shmd_explanation_free, cleanup_explanation);

static struct json_object *lifetimes_json(unsigned lifetimes)
{
	struct json_object *array = json_object_new_array();

	for (unsigned i = 0; array && lifetime_names[i]; i++)
		if (lifetimes & 1u << i)
			json_object_array_add(array, json_object_new_string(lifetime_names[i]));
	return array;
}

static void add_columns(struct json_object *object, const struct column *columns, const void *row)
{
	for (; columns->key; columns++)
		json_object_object_add(object, columns->key, column_json(columns, row));
}

static int print_json(const struct shmd_explanation *explanation, const struct shown *shown)
{
	struct json_object *object = row_json(name_columns, shown);

	if (!object)
		return -ENOMEM;
	add_columns(object, decision_columns, explanation);
	json_object_object_add(object, "lifetimes", lifetimes_json(explanation->lifetimes));
	add_columns(object, limit_columns, explanation);
	return json_print(object);
}

static void join_lifetimes(unsigned lifetimes, char ret[static LIFETIMES_SIZE])
{
	ret[0] = '\0';
	for (unsigned i = 0; lifetime_names[i]; i++)
		if (lifetimes & 1u << i) {
			strcat(ret, ret[0] ? " " : "");
			strcat(ret, lifetime_names[i]);
		}
}

static int print(const struct shmd_explanation *explanation, const char *name,
		 const struct layout *layout)
{
	char lifetimes[LIFETIMES_SIZE];
	struct shown shown = {name, lifetimes};
	const struct facts facts[] = {
		{name_columns, &shown},
		{decision_columns, explanation},
		{lifetimes_columns, &shown},
		{limit_columns, explanation},
		{NULL, NULL},
	};

	join_lifetimes(explanation->lifetimes, lifetimes);
	return layout->json ? print_json(explanation, &shown) : facts_print(facts, layout);
}

static int read_options(struct context *context, struct layout *layout, uid_t *uid)
{
	uint64_t value = 0;
	int option;

	while ((option = context_option(context)) > 0) {
		if (option == 'b') {
			layout->bytes = true;
			continue;
		}
		if (parse_u64(optarg, &value) < 0 || value >= UINT32_MAX)
			return context_usage(context, "'%s' is no number of a user", optarg);
		*uid = (uid_t)value;
	}
	layout->json = context->json;
	return option;
}

static int run(struct context *context)
{
	CLEANUP(cleanup_shmd) struct shmd *shmd = NULL;
	CLEANUP(cleanup_explanation) struct shmd_explanation *explanation = NULL;
	struct layout layout = {0};
	uid_t uid = SHMD_OWN_UID;

	if (read_options(context, &layout, &uid) < 0 || context_connect(context, &shmd) < 0)
		return -1;
	if (shmd_explain(shmd, context->operands[0], uid, &explanation) < 0)
		return context_refused(context);
	int r = print(explanation, context->operands[0], &layout);
	return r < 0 ? context_fail(context, "%s", strerror(-r)) : 0;
}

static const struct option_info options[] = {
	OPTION_BYTES,
	{"uid", OPTION_UID, "UID", "for this user, by number, and not the caller"},
	{0},
};

const struct command explain_command = {
	.name = "explain",
	.operands = "NAME",
	.summary = "tell what the policy says about a name, and why",
	.options = options,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
