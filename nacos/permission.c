#include "nacos/permission.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/text.h"

/*
 * Thompson's construction: the pattern becomes a list of instructions, which all positions that a match may be at go
 * through side by side, one character of the resource at a time.
 */
#define INSTRUCTIONS_MAX 4096
#define GROWTH 64 /* instructions that room is made for at a time */
#define DEPTH_MAX 64 /* of groups in groups */
#define REPEAT_MAX 255

enum operation {
	OP_CHARACTER, /* exactly one */
	OP_ANY, /* any but a line end */
	OP_CLASS,
	OP_START, /* nothing, at the start */
	OP_END, /* nothing, at the end */
	OP_SPLIT, /* goes on at next and at other */
	OP_JUMP, /* goes on at other */
	OP_MATCH,
};

struct instruction {
	enum operation operation;
	uint32_t character;
	size_t other; /* of OP_SPLIT and OP_JUMP */
	size_t class_index; /* of OP_CLASS */
};

struct range {
	uint32_t first, last;
};

#define RANGES_MAX 64

struct class {
	bool negated;
	size_t count;
	struct range ranges[RANGES_MAX];
};

struct nacos_pattern {
	struct instruction *code;
	size_t size;
	struct class *classes;
	size_t class_count;
};

/* ------------------------------------------------------------------ compiling */

struct compiler {
	const unsigned char *next, *end;
	struct nacos_pattern *pattern;
	unsigned depth;
};

/* One code point of UTF-8 that was checked. */
static uint32_t read_point(const unsigned char **text)
{
	const unsigned char *byte = *text;
	uint32_t point = *byte++;
	int more = point >= 0xf0 ? 3 : point >= 0xe0 ? 2 : point >= 0xc0 ? 1 : 0;

	if (more)
		point &= 0x3fU >> more;
	while (more-- > 0)
		point = point << 6 | (*byte++ & 0x3fU);
	*text = byte;
	return point;
}

static bool at(const struct compiler *compiler, char character)
{
	return compiler->next < compiler->end && *compiler->next == (unsigned char)character;
}

static bool take(struct compiler *compiler, char character)
{
	if (!at(compiler, character))
		return false;
	compiler->next++;
	return true;
}

static int emit(struct compiler *compiler, struct instruction instruction)
{
	struct nacos_pattern *pattern = compiler->pattern;

	if (pattern->size >= INSTRUCTIONS_MAX)
		return -EINVAL;
	if (pattern->size % GROWTH == 0) {
		struct instruction *code = reallocarray(pattern->code, pattern->size + GROWTH, sizeof(*code));
		if (!code)
			return -ENOMEM;
		pattern->code = code;
	}
	pattern->code[pattern->size++] = instruction;
	return 0;
}

/* Puts an instruction before those that begin at place, which are moved with their targets. */
static int insert(struct compiler *compiler, size_t place, struct instruction instruction)
{
	struct nacos_pattern *pattern = compiler->pattern;
	int error = emit(compiler, instruction);

	if (error)
		return error;
	struct instruction *code = pattern->code;
	memmove(code + place + 1, code + place, (pattern->size - 1 - place) * sizeof(*code));
	code[place] = instruction;
	for (size_t i = place + 1; i < pattern->size; i++)
		if ((code[i].operation == OP_SPLIT || code[i].operation == OP_JUMP) && code[i].other >= place)
			code[i].other++;
	return 0;
}

/* Appends a copy of the instructions from first to last (behind it), with their targets. */
static int copy(struct compiler *compiler, size_t first, size_t last)
{
	size_t offset = compiler->pattern->size - first;
	int error = 0;

	for (size_t i = first; i < last && !error; i++) {
		struct instruction instruction = compiler->pattern->code[i];
		if (instruction.operation == OP_SPLIT || instruction.operation == OP_JUMP)
			instruction.other += offset;
		error = emit(compiler, instruction);
	}
	return error;
}

static int add_range(struct class *class, uint32_t first, uint32_t last)
{
	if (first > last || class->count >= RANGES_MAX)
		return -EINVAL;
	class->ranges[class->count++] = (struct range){ first, last };
	return 0;
}

/* \d, \w, \s and their opposites; -ENOENT when it is none of them. */
static int add_named(struct class *class, uint32_t name)
{
	static const struct range digits[] = { { '0', '9' } };
	static const struct range letters[] = { { '0', '9' }, { 'A', 'Z' }, { '_', '_' }, { 'a', 'z' } };
	static const struct range blanks[] = { { '\t', '\r' }, { ' ', ' ' } };
	const struct range *ranges;
	size_t count;
	uint32_t gap = 0;
	int error = 0;

	switch (name | 0x20) {
	case 'd':
		ranges = digits;
		count = 1;
		break;
	case 'w':
		ranges = letters;
		count = 4;
		break;
	case 's':
		ranges = blanks;
		count = 2;
		break;
	default:
		return -ENOENT;
	}
	for (size_t i = 0; i < count && !error; i++) {
		if (name & 0x20)
			error = add_range(class, ranges[i].first, ranges[i].last);
		else if (ranges[i].first > gap)
			error = add_range(class, gap, ranges[i].first - 1);
		gap = ranges[i].last + 1;
	}
	return error || (name & 0x20) ? error : add_range(class, gap, 0x10ffff);
}

static bool is_letter_or_digit(uint32_t point)
{
	return (point >= '0' && point <= '9') || ((point | 0x20) >= 'a' && (point | 0x20) <= 'z');
}

/* Behind a backslash: an escaped mark. Letters and digits mean something, none of which is understood here. */
static int parse_escaped(struct compiler *compiler, uint32_t *ret_point)
{
	if (compiler->next == compiler->end)
		return -EINVAL;
	*ret_point = read_point(&compiler->next);
	return is_letter_or_digit(*ret_point) ? -EINVAL : 0;
}

/* One member of a class, or one end of a range. named: it was \d or the like, and is added already. */
static int parse_member(struct compiler *compiler, struct class *class, uint32_t *ret_point, bool *ret_named)
{
	*ret_named = false;
	if (compiler->next == compiler->end || at(compiler, '['))
		return -EINVAL; /* unclosed, or a class in a class */
	if (compiler->end - compiler->next > 1 && at(compiler, '&') && compiler->next[1] == '&')
		return -EINVAL;
	if (!take(compiler, '\\')) {
		*ret_point = read_point(&compiler->next);
		return 0;
	}
	const unsigned char *behind = compiler->next;
	if (behind == compiler->end)
		return -EINVAL;
	int error = add_named(class, read_point(&behind));
	if (error == -ENOENT)
		return parse_escaped(compiler, ret_point);
	compiler->next = behind;
	*ret_named = true;
	return error;
}

static int parse_members(struct compiler *compiler, struct class *class)
{
	/* "[]" and "[^]" were understood differently by different versions of Java. */
	if (at(compiler, ']'))
		return -EINVAL;
	while (!take(compiler, ']')) {
		uint32_t first = 0, last;
		bool named;
		int error = parse_member(compiler, class, &first, &named);

		if (error)
			return error;
		bool is_range = at(compiler, '-') && compiler->end - compiler->next > 1 &&
				compiler->next[1] != ']';
		if (named) {
			if (is_range)
				return -EINVAL;
			continue;
		}
		last = first;
		if (is_range) {
			compiler->next++;
			error = parse_member(compiler, class, &last, &named);
			if (error || named)
				return error ? error : -EINVAL;
		}
		error = add_range(class, first, last);
		if (error)
			return error;
	}
	return 0;
}

static int new_class(struct nacos_pattern *pattern, struct class **ret_class)
{
	struct class *classes = reallocarray(pattern->classes, pattern->class_count + 1, sizeof(*classes));

	if (!classes)
		return -ENOMEM;
	pattern->classes = classes;
	*ret_class = &classes[pattern->class_count++];
	memset(*ret_class, 0, sizeof(**ret_class));
	return 0;
}

static int emit_class(struct compiler *compiler)
{
	return emit(compiler, (struct instruction){ .operation = OP_CLASS,
						    .class_index = compiler->pattern->class_count - 1 });
}

static int parse_class(struct compiler *compiler)
{
	struct class *class = NULL;
	int error = new_class(compiler->pattern, &class);

	if (error)
		return error;
	class->negated = take(compiler, '^');
	error = parse_members(compiler, class);
	return error ? error : emit_class(compiler);
}

static int parse_backslash(struct compiler *compiler)
{
	const unsigned char *behind = compiler->next;
	struct class *class = NULL;
	uint32_t point = 0;

	if (behind == compiler->end)
		return -EINVAL;
	uint32_t name = read_point(&behind);
	if (name < 0x80 && strchr("dDwWsS", (int)name)) {
		int error = new_class(compiler->pattern, &class);
		if (!error)
			error = add_named(class, name);
		compiler->next = behind;
		return error ? error : emit_class(compiler);
	}
	int error = parse_escaped(compiler, &point);
	return error ? error : emit(compiler, (struct instruction){ .operation = OP_CHARACTER, .character = point });
}

static int parse_choice(struct compiler *compiler);

static int parse_group(struct compiler *compiler)
{
	if (take(compiler, '?') && !take(compiler, ':'))
		return -EINVAL;
	if (++compiler->depth > DEPTH_MAX)
		return -EINVAL;
	int error = parse_choice(compiler);
	compiler->depth--;
	if (!error && !take(compiler, ')'))
		error = -EINVAL;
	return error;
}

/* ret_is_place: it is a place, not a character: nothing that could be repeated. */
static int parse_atom(struct compiler *compiler, bool *ret_is_place)
{
	*ret_is_place = false;
	uint32_t point = read_point(&compiler->next);
	switch (point) {
	case '(':
		return parse_group(compiler);
	case '[':
		return parse_class(compiler);
	case '\\':
		return parse_backslash(compiler);
	case '.':
		return emit(compiler, (struct instruction){ .operation = OP_ANY });
	case '^':
	case '$':
		*ret_is_place = true;
		return emit(compiler, (struct instruction){ .operation = point == '^' ? OP_START : OP_END });
	case '*':
	case '+':
	case '?':
	case '{':
		return -EINVAL; /* nothing there that could be repeated */
	default:
		return emit(compiler, (struct instruction){ .operation = OP_CHARACTER, .character = point });
	}
}

/* A number of a {n,m}; -EINVAL when it is none or too large. */
static int parse_count(struct compiler *compiler, unsigned *ret_count)
{
	unsigned count = 0;

	if (compiler->next == compiler->end || *compiler->next < '0' || *compiler->next > '9')
		return -EINVAL;
	while (compiler->next < compiler->end && *compiler->next >= '0' && *compiler->next <= '9') {
		count = count * 10 + (unsigned)(*compiler->next++ - '0');
		if (count > REPEAT_MAX)
			return -EINVAL;
	}
	*ret_count = count;
	return 0;
}

/* How often: ret_most is UINT_MAX for any number. -ENOENT when it is not repeated. */
static int parse_repetition(struct compiler *compiler, unsigned *ret_least, unsigned *ret_most)
{
	int error = 0;

	*ret_least = 0;
	*ret_most = UINT32_MAX;
	if (take(compiler, '*'))
		;
	else if (take(compiler, '+'))
		*ret_least = 1;
	else if (take(compiler, '?'))
		*ret_most = 1;
	else if (take(compiler, '{')) {
		error = parse_count(compiler, ret_least);
		*ret_most = *ret_least;
		if (!error && take(compiler, ',')) {
			*ret_most = UINT32_MAX;
			if (!at(compiler, '}'))
				error = parse_count(compiler, ret_most);
		}
		if (!error && (!take(compiler, '}') || *ret_most < *ret_least))
			error = -EINVAL;
	} else {
		return -ENOENT;
	}
	if (error)
		return error;
	take(compiler, '?'); /* lazy: of no concern when the whole must match */
	/* Possessive, or repeated repetition: another language, or none. */
	return at(compiler, '+') || at(compiler, '*') || at(compiler, '?') || at(compiler, '{') ? -EINVAL : 0;
}

/* x* becomes: split to behind; x; jump to the split. */
static int repeat_any(struct compiler *compiler, size_t start)
{
	int error = insert(compiler, start, (struct instruction){ .operation = OP_SPLIT });

	if (!error)
		error = emit(compiler, (struct instruction){ .operation = OP_JUMP, .other = start });
	if (!error)
		compiler->pattern->code[start].other = compiler->pattern->size;
	return error;
}

/* Repeats what begins at start, from least to most times. */
static int repeat(struct compiler *compiler, size_t start, unsigned least, unsigned most)
{
	struct nacos_pattern *pattern = compiler->pattern;
	size_t length = pattern->size - start;
	unsigned copies = most == UINT32_MAX ? least + 1 : most;
	int error = 0;

	if (!copies) {
		pattern->size = start;
		return 0;
	}
	for (unsigned i = 1; i < copies && !error; i++)
		error = copy(compiler, start, start + length);
	if (error)
		return error;
	if (most == UINT32_MAX)
		return repeat_any(compiler, start + least * length);
	/* The last ones may be left out: from the last to the first, so that places stay where they are. */
	for (unsigned i = most; i > least && !error; i--) {
		size_t place = start + (i - 1) * length;
		error = insert(compiler, place, (struct instruction){ .operation = OP_SPLIT });
		if (!error)
			pattern->code[place].other = pattern->size;
	}
	return error;
}

static int parse_sequence(struct compiler *compiler)
{
	while (compiler->next < compiler->end && !at(compiler, '|') && !at(compiler, ')')) {
		size_t start = compiler->pattern->size;
		unsigned least, most;
		bool is_place;
		int error = parse_atom(compiler, &is_place);

		if (error)
			return error;
		error = parse_repetition(compiler, &least, &most);
		if (error == -ENOENT)
			continue;
		if (!error)
			error = is_place ? -EINVAL : repeat(compiler, start, least, most);
		if (error)
			return error;
	}
	return 0;
}

/* a|b becomes: split to b; a; jump behind; b. */
static int parse_choice(struct compiler *compiler)
{
	size_t start = compiler->pattern->size;
	int error = parse_sequence(compiler);

	if (error || !take(compiler, '|'))
		return error;
	error = insert(compiler, start, (struct instruction){ .operation = OP_SPLIT });
	size_t jump = compiler->pattern->size;
	if (!error)
		error = emit(compiler, (struct instruction){ .operation = OP_JUMP });
	if (error)
		return error;
	compiler->pattern->code[start].other = compiler->pattern->size;
	if (++compiler->depth > DEPTH_MAX)
		return -EINVAL;
	error = parse_choice(compiler);
	compiler->depth--;
	if (!error)
		compiler->pattern->code[jump].other = compiler->pattern->size;
	return error;
}

/* As servers do: replaceAll("\\*", ".*"). */
static int replace_stars(const char *resource, struct buffer *expression)
{
	int error = 0;

	for (; *resource && !error; resource++)
		error = *resource == '*' ? buffer_append_text(expression, ".*") :
					   buffer_append_byte(expression, *resource);
	return error;
}

int nacos_pattern_compile(const char *resource, struct nacos_pattern **ret_pattern)
{
	cleanup_buffer struct buffer expression = BUFFER_INIT;
	struct nacos_pattern *pattern;
	int error = text_is_utf8(resource, strlen(resource)) ? replace_stars(resource, &expression) : -EINVAL;

	if (error)
		return error;
	pattern = calloc(1, sizeof(*pattern));
	if (!pattern)
		return -ENOMEM;
	struct compiler compiler = { .pattern = pattern };
	compiler.next = (const unsigned char *)(expression.data ? expression.data : "");
	compiler.end = compiler.next + expression.size;
	error = parse_choice(&compiler);
	if (!error && compiler.next < compiler.end)
		error = -EINVAL; /* a ')' too many */
	if (!error)
		error = emit(&compiler, (struct instruction){ .operation = OP_MATCH });
	if (error) {
		nacos_pattern_free(pattern);
		return error;
	}
	*ret_pattern = pattern;
	return 0;
}

void nacos_pattern_free(struct nacos_pattern *pattern)
{
	if (!pattern)
		return;
	free(pattern->code);
	free(pattern->classes);
	free(pattern);
}

/* ------------------------------------------------------------------- matching */

/* The instructions that a match may be at, each once. */
struct places {
	size_t *list;
	size_t count;
	uint32_t *seen; /* by instruction: the number of the step that it was last added in */
};

struct matcher {
	const struct nacos_pattern *pattern;
	size_t *stack;
	uint32_t step;
	bool at_start, at_end;
};

/* Adds an instruction, or where it leads without a character. */
static void add_place(struct matcher *matcher, struct places *places, size_t first)
{
	size_t depth = 0;

	matcher->stack[depth++] = first;
	while (depth) {
		size_t place = matcher->stack[--depth];
		const struct instruction *instruction = &matcher->pattern->code[place];

		if (places->seen[place] == matcher->step)
			continue;
		places->seen[place] = matcher->step;
		switch (instruction->operation) {
		case OP_SPLIT:
			matcher->stack[depth++] = instruction->other;
			matcher->stack[depth++] = place + 1;
			break;
		case OP_JUMP:
			matcher->stack[depth++] = instruction->other;
			break;
		case OP_START:
			if (matcher->at_start)
				matcher->stack[depth++] = place + 1;
			break;
		case OP_END:
			if (matcher->at_end)
				matcher->stack[depth++] = place + 1;
			break;
		case OP_CHARACTER:
		case OP_ANY:
		case OP_CLASS:
		case OP_MATCH:
			places->list[places->count++] = place;
			break;
		}
	}
}

static bool class_has(const struct class *class, uint32_t point)
{
	for (size_t i = 0; i < class->count; i++)
		if (point >= class->ranges[i].first && point <= class->ranges[i].last)
			return !class->negated;
	return class->negated;
}

static bool accepts(const struct nacos_pattern *pattern, const struct instruction *instruction, uint32_t point)
{
	switch (instruction->operation) {
	case OP_CHARACTER:
		return point == instruction->character;
	case OP_ANY:
		return point != '\n' && point != '\r' && point != 0x85 && point != 0x2028 && point != 0x2029;
	case OP_CLASS:
		return class_has(&pattern->classes[instruction->class_index], point);
	case OP_START:
	case OP_END:
	case OP_SPLIT:
	case OP_JUMP:
	case OP_MATCH:
		break;
	}
	return false;
}

static bool has_match(const struct nacos_pattern *pattern, const struct places *places)
{
	for (size_t i = 0; i < places->count; i++)
		if (pattern->code[places->list[i]].operation == OP_MATCH)
			return true;
	return false;
}

/* Is a place left from which a character, or more of them, may lead to a match? */
static bool can_go_on(const struct nacos_pattern *pattern, const struct places *places)
{
	for (size_t i = 0; i < places->count; i++)
		if (pattern->code[places->list[i]].operation != OP_MATCH)
			return true;
	return false;
}

static bool run(const struct nacos_pattern *pattern, const char *text, bool is_prefix)
{
	size_t size = pattern->size;
	/* A stack of twice the instructions: each is looked at once a step, and adds two at most. */
	cleanup_free size_t *memory = calloc(size * 4 + 2, sizeof(*memory));
	cleanup_free uint32_t *seen = calloc(size, sizeof(*seen));
	const unsigned char *next = (const unsigned char *)text, *end = next + strlen(text);

	if (!memory || !seen || !text_is_utf8(text, strlen(text)))
		return false; /* nothing is granted */
	struct places now = { memory, 0, seen }, then = { memory + size, 0, seen };
	struct matcher matcher = { .pattern = pattern, .stack = memory + 2 * size, .step = 1, .at_start = true };
	matcher.at_end = next == end && !is_prefix;
	add_place(&matcher, &now, 0);
	while (next < end && now.count) {
		uint32_t point = read_point(&next);

		matcher.step++;
		matcher.at_start = false;
		matcher.at_end = next == end && !is_prefix;
		then.count = 0;
		for (size_t i = 0; i < now.count; i++)
			if (accepts(pattern, &pattern->code[now.list[i]], point))
				add_place(&matcher, &then, now.list[i] + 1);
		struct places swap = now;
		now = then;
		then = swap;
	}
	return is_prefix ? can_go_on(pattern, &now) : has_match(pattern, &now);
}

bool nacos_pattern_matches(const struct nacos_pattern *pattern, const char *resource)
{
	return run(pattern, resource, false);
}

bool nacos_pattern_matches_below(const struct nacos_pattern *pattern, const char *prefix)
{
	return run(pattern, prefix, true);
}

/* ------------------------------------------------------------------ resources */

int nacos_resource_append(const struct nacos_generation *generation, const char *namespace_id, const char *group,
			  const char *data_id, struct buffer *resource)
{
	return buffer_append_format(resource, "%s:%s:config/%s",
				    nacos_generation_namespace_id(generation, namespace_id), group ? group : "*",
				    data_id ? data_id : "*");
}

int nacos_resource_append_prefix(const struct nacos_generation *generation, const char *namespace_id,
				 const char *group, struct buffer *prefix)
{
	return buffer_append_format(prefix, "%s:%s%s", nacos_generation_namespace_id(generation, namespace_id),
				    group ? group : "", group ? ":config/" : "");
}

int nacos_resource_append_granted(const struct nacos_generation *generation, const char *resource,
				  struct buffer *granted)
{
	bool for_public = resource[0] == ':' && generation->public_id[0];

	return buffer_append_format(granted, "%s%s", for_public ? generation->public_id : "", resource);
}
