/*
 * A struct json is a cJSON under another name.
 *
 * cJSON keeps strings as C strings, so NUL is smuggled through it as C0 80, the overlong form that Java calls modified
 * UTF-8. Valid UTF-8 never holds these bytes, so nothing else can be mistaken for it.
 */
#include "util/json.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "util/text.h"

#define NUL_ESCAPE "u0000" /* behind a backslash */
#define NUL_STANDIN "\xc0\x80"
#define NUL_STANDIN_SIZE 2
/* 2^53 itself is out: as a double it may have been 2^53 + 1. */
#define EXACT_INTEGER_MAX 9007199254740991.0

/* cJSON answers NULL for bad input and for want of memory alike; this tells them apart. */
static __thread bool allocation_failed;

static void *allocate(size_t size)
{
	void *memory = malloc(size);

	if (!memory)
		allocation_failed = true;
	return memory;
}

/* Documents hold tokens and configs: what cJSON frees, also half a document that did not parse, is overwritten. */
static void wipe_and_free(void *memory)
{
	if (!memory)
		return;
	explicit_bzero(memory, malloc_usable_size(memory));
	free(memory);
}

static void install_hooks(void)
{
	cJSON_Hooks hooks = { .malloc_fn = allocate, .free_fn = wipe_and_free };

	cJSON_InitHooks(&hooks);
}

static bool starts_with_four_hex_digits(const char *data, size_t size)
{
	if (size < 4)
		return false;
	for (size_t i = 0; i < 4; i++) {
		char byte = data[i];

		if (!((byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F')))
			return false;
	}
	return true;
}

/*
 * Appends data to ret_text with C0 80 for each \u0000. Backslashes are taken in pairs with what follows, so the one in
 * \\u0000 is not one. Hex digits are checked here, because cJSON takes bad ones for \u0000 and cuts the string there.
 */
static int replace_nul_escapes(const char *data, size_t size, struct buffer *ret_text)
{
	const char *end = data + size;
	int error = buffer_reserve(ret_text, size); /* it only gets shorter */

	while (!error && data < end) {
		const char *backslash = memchr(data, '\\', (size_t)(end - data));
		size_t left;

		if (!backslash)
			return buffer_append(ret_text, data, (size_t)(end - data));
		error = buffer_append(ret_text, data, (size_t)(backslash - data));
		if (error)
			return error;
		left = (size_t)(end - backslash) - 1;
		if (left == 0)
			return -EBADMSG;
		if (backslash[1] == 'u' && !starts_with_four_hex_digits(backslash + 2, left - 1))
			return -EBADMSG;
		if (left >= strlen(NUL_ESCAPE) && memcmp(backslash + 1, NUL_ESCAPE, strlen(NUL_ESCAPE)) == 0) {
			error = buffer_append(ret_text, NUL_STANDIN, NUL_STANDIN_SIZE);
			data = backslash + 1 + strlen(NUL_ESCAPE);
		} else {
			error = buffer_append(ret_text, backslash, 2);
			data = backslash + 2;
		}
	}
	return error;
}

static bool is_json_blank(char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

int json_parse(const char *data, size_t size, struct json **ret_document)
{
	static pthread_once_t hooks_installed = PTHREAD_ONCE_INIT;
	cleanup_buffer_wipe struct buffer text = BUFFER_INIT;
	const char *rest = NULL;
	cJSON *document;
	int error;

	/* This also refuses C0 80 in the input, which would be taken for our own. */
	if (size == 0 || memchr(data, '\0', size) || !text_is_utf8(data, size))
		return -EBADMSG;
	error = replace_nul_escapes(data, size, &text);
	if (error)
		return error;

	pthread_once(&hooks_installed, install_hooks);
	allocation_failed = false;
	/* With the NUL in the length, as cJSON_Parse() does: 1.7.15 looks one byte past the end in places. */
	document = cJSON_ParseWithLengthOpts(text.data, text.size + 1, &rest, false);
	if (!document)
		return allocation_failed ? -ENOMEM : -EBADMSG;
	while (is_json_blank(*rest))
		rest++;
	if (rest != text.data + text.size) {
		cJSON_Delete(document);
		return -EBADMSG;
	}
	*ret_document = (struct json *)document;
	return 0;
}

void json_free(struct json *document)
{
	cJSON_Delete((cJSON *)document);
}

bool json_is_object(const struct json *value)
{
	return cJSON_IsObject((const cJSON *)value);
}

bool json_is_array(const struct json *value)
{
	return cJSON_IsArray((const cJSON *)value);
}

bool json_is_true(const struct json *value)
{
	return cJSON_IsTrue((const cJSON *)value);
}

const struct json *json_member(const struct json *value, const char *name)
{
	/* cJSON would look for members in an array as well, and crash on the elements' missing names. */
	if (!json_is_object(value))
		return NULL;
	return (const struct json *)cJSON_GetObjectItemCaseSensitive((const cJSON *)value, name);
}

/* The string as cJSON holds it, with stand-ins for NUL, or NULL. */
static const char *member_string(const struct json *value, const char *name)
{
	return cJSON_GetStringValue((const cJSON *)json_member(value, name));
}

const char *json_text(const struct json *value, const char *name)
{
	const char *string = member_string(value, name);

	return string && !strstr(string, NUL_STANDIN) ? string : NULL;
}

int json_bytes(const struct json *value, const char *name, struct buffer *ret_bytes)
{
	const char *string = member_string(value, name);
	size_t length;
	char *out;
	int error;

	if (!string)
		return -ENOENT;
	length = strlen(string);
	error = buffer_reserve(ret_bytes, length);
	if (error)
		return error;

	out = ret_bytes->data + ret_bytes->size;
	while (*string) {
		if (strncmp(string, NUL_STANDIN, NUL_STANDIN_SIZE) == 0) {
			*out++ = '\0';
			string += NUL_STANDIN_SIZE;
		} else {
			*out++ = *string++;
		}
	}
	*out = '\0';
	ret_bytes->size = (size_t)(out - ret_bytes->data);
	return 0;
}

/* A whole number in decimal digits and nothing else; strtoll() alone would also take blanks and a plus. */
static int64_t digits_to_integer(const char *digits, int64_t fallback)
{
	const char *first = digits[0] == '-' ? digits + 1 : digits;
	size_t count = strspn(first, "0123456789");
	long long number;

	if (count == 0 || first[count] != '\0')
		return fallback;
	errno = 0;
	number = strtoll(digits, NULL, 10);
	return errno ? fallback : number;
}

int64_t json_integer(const struct json *value, const char *name, int64_t fallback)
{
	const cJSON *member = (const cJSON *)json_member(value, name);
	double number;

	if (cJSON_IsString(member))
		return digits_to_integer(member->valuestring, fallback);
	if (!cJSON_IsNumber(member))
		return fallback;
	number = member->valuedouble;
	/* Written so that a NaN fails it too, and before the conversion, which is undefined beyond int64_t. */
	if (!(number >= -EXACT_INTEGER_MAX && number <= EXACT_INTEGER_MAX))
		return fallback;
	return (double)(int64_t)number == number ? (int64_t)number : fallback;
}

const struct json *json_first(const struct json *value)
{
	return json_is_array(value) ? (const struct json *)((const cJSON *)value)->child : NULL;
}

const struct json *json_next(const struct json *element)
{
	return (const struct json *)((const cJSON *)element)->next;
}

size_t json_count(const struct json *value)
{
	size_t count = 0;

	/* Not cJSON_GetArraySize(), whose int would wrap. */
	for (const struct json *element = json_first(value); element; element = json_next(element))
		count++;
	return count;
}

int json_append_string(struct buffer *json, const char *text)
{
	int error = buffer_append_byte(json, '"');

	for (; !error && *text; text++) {
		unsigned char byte = (unsigned char)*text;

		if (byte < 0x20)
			error = buffer_append_format(json, "\\u%04x", byte);
		else if (byte == '"' || byte == '\\')
			error = buffer_append_format(json, "\\%c", byte);
		else
			error = buffer_append_byte(json, (char)byte);
	}
	return error ? error : buffer_append_byte(json, '"');
}
