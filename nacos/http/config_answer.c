#include "nacos/http/config_answer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "nacos/http/answer.h"
#include "util/cleanup.h"
#include "util/json.h"

/*
 * The year 9999: what is beyond it is not a time, and still far from where milliseconds overflow.
 */
#define TIME_MS_MAX INT64_C(253402300799999)

/*
 * A node that is writing a config down is done within a tenth of a second, or, when it had to wait,
 * a whole one.
 */
#define BUSY_PAUSE_MS 200
#define TORN_PAUSE_MS 300
#define TORN_ATTEMPTS 5

/* Copies a hex MD5, in lower case. False when it is none. */
static bool copy_md5(const char *text, char ret_md5[HASH_MD5_HEX_SIZE])
{
	char md5[HASH_MD5_HEX_SIZE];

	if (strlen(text) != HASH_MD5_HEX_SIZE - 1)
		return false;
	for (size_t i = 0; i < HASH_MD5_HEX_SIZE - 1; i++) {
		char digit = text[i];

		if (digit >= 'A' && digit <= 'F')
			digit = (char)(digit - 'A' + 'a');
		if (!((digit >= '0' && digit <= '9') || (digit >= 'a' && digit <= 'f')))
			return false;
		md5[i] = digit;
	}
	md5[HASH_MD5_HEX_SIZE - 1] = '\0';
	memcpy(ret_md5, md5, sizeof(md5));
	return true;
}

/* A type that is not one word, or that stands for "none", is none. */
static void copy_type(const char *text, char ret_type[NACOS_TYPE_SIZE])
{
	static const char marks[] = "-_.+/";

	ret_type[0] = '\0';
	if (!text || strlen(text) >= NACOS_TYPE_SIZE || strcasecmp(text, "unset") == 0)
		return;
	for (const char *byte = text; *byte; byte++) {
		bool good = (*byte >= '0' && *byte <= '9') || (*byte >= 'A' && *byte <= 'Z') ||
			    (*byte >= 'a' && *byte <= 'z') || strchr(marks, *byte);

		if (!good)
			return;
	}
	strcpy(ret_type, text);
}

/*
 * Reads "Sat, 21 Nov 2026 19:38:32 GMT". Not strptime(), which knows the locale's months only. 0
 * when it is no date.
 */
static int64_t read_http_date(const char *text)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct tm time = { 0 };
	char month[4] = "";
	const char *found;

	if (!text ||
	    sscanf(text, "%*3s, %2d %3s %4d %2d:%2d:%2d GMT", &time.tm_mday, month, &time.tm_year,
		   &time.tm_hour, &time.tm_min, &time.tm_sec) != 6)
		return 0;
	found = strstr(months, month);
	if (!found || strlen(month) != 3 || (found - months) % 3 != 0 || time.tm_year < 1970)
		return 0;
	time.tm_mon = (int)(found - months) / 3;
	time.tm_year -= 1900;
	return (int64_t)timegm(&time) * 1000;
}

/* NULL and "" are none. 0 or -ENOMEM. */
static int copy_text(const char *text, char **ret_copy)
{
	char *copy;

	if (!text || !text[0])
		return 0;
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	*ret_copy = copy;
	return 0;
}

/* One bare word, which is all that the older calls say; a line end behind it is no harm. */
static bool body_is(const struct http_answer *answer, const char *word)
{
	size_t size = answer->body.size;

	while (size > 0 && strchr("\r\n ", answer->body.data[size - 1]))
		size--;
	return size == strlen(word) && memcmp(answer->body.data, word, size) == 0;
}

static int fail_memory(const char *what, struct call *call)
{
	return call_fail(call, -ENOMEM, "%s: out of memory", what);
}

/*
 * Fills in md5, which the server gave (NULL: it did not), and sees that it is the one of the
 * content.
 */
static int check_md5(struct nacos_config *config, const char *md5,
		     const struct nacos_config_question *question, struct call *call)
{
	char computed[HASH_MD5_HEX_SIZE];
	int error = hash_md5_hex(config->content.data ? config->content.data : "",
				 config->content.size, computed);

	if (error)
		return call_fail(call, error, "%s: can't compute an MD5", question->what);
	if (!md5 || !md5[0]) {
		memcpy(config->md5, computed, sizeof(computed));
		return 0;
	}
	if (!copy_md5(md5, config->md5))
		return nacos_answer_fail_malformed(question->what, call);
	if (strcmp(config->md5, computed) != 0 && !question->may_be_decrypted)
		return call_fail(call, -EAGAIN, "%s: the content does not match its MD5",
				 question->what);
	return 0;
}

/*
 * What all the calls that read a config say when they have none to give. The question was nothing
 * but a name.
 */
static int fail_read(const struct http_answer *answer, const char *what, struct call *call)
{
	if (answer->status == 400)
		return call_fail(call, -ENOENT, "%s: the server does not take such a name", what);
	if (answer->status == 409)
		return call_fail(call, -EBUSY, "%s: the server is just writing it", what);
	return nacos_answer_fail(answer, what, call);
}

int nacos_config_answer_read_raw(struct http_answer *answer,
				 const struct nacos_config_question *question, struct call *call,
				 struct nacos_config *ret_config, bool *ret_is_gray)
{
	cleanup_nacos_config struct nacos_config config = { 0 };
	const char *beta = http_answer_header(answer, "isBeta");
	int error;

	/* A gateway's 404 says nothing about configs. */
	if (answer->status == 404 && nacos_answer_has_text(answer, "config data not exist"))
		return call_fail(call, -ENOENT, "%s: there is none", question->what);
	if (answer->status != 200)
		return fail_read(answer, question->what, call);

	buffer_move(&config.content, &answer->body);
	copy_type(http_answer_header(answer, "Config-Type"), config.type);
	config.modified_ms = read_http_date(http_answer_header(answer, "Last-Modified"));
	if (copy_text(http_answer_header(answer, "Encrypted-Data-Key"), &config.encrypted_data_key))
		return fail_memory(question->what, call);
	error = check_md5(&config, http_answer_header(answer, "Content-MD5"), question, call);
	if (error)
		return error;

	*ret_is_gray = (beta && strcasecmp(beta, "true") == 0) ||
		       http_answer_header(answer, "Vipserver-Tag") ||
		       http_answer_header(answer, "tag");
	*ret_config = config;
	config = (struct nacos_config){ 0 };
	return 0;
}

/* The members of a config that are text; where two names are given, generations differ. */
static int read_texts(const struct json *object, struct nacos_config *config)
{
	const struct {
		const char *name;
		char **text;
	} members[] = {
		{ "encryptedDataKey", &config->encrypted_data_key },
		{ "desc", &config->description },
		{ "appName", &config->app_name },
		{ "configTags", &config->tags },
		{ "use", &config->use },
		{ "effect", &config->effect },
		{ "schema", &config->schema },
	};

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		int error = copy_text(json_text(object, members[i].name), members[i].text);

		if (error)
			return error;
	}
	return 0;
}

static int read_object(const struct json *object, const struct nacos_config_question *question,
		       struct call *call, struct nacos_config *ret_config, bool *ret_is_gray)
{
	cleanup_nacos_config struct nacos_config config = { 0 };
	const char *type = json_text(object, "type"), *tag = json_text(object, "tag");
	int64_t modified_ms = json_integer(object, "modifyTime", 0);
	int error = json_bytes(object, "content", &config.content);

	if (error == -ENOENT)
		return nacos_answer_fail_malformed(question->what, call);
	if (!error)
		error = read_texts(object, &config);
	if (error)
		return fail_memory(question->what, call);
	copy_type(type ? type : json_text(object, "contentType"), config.type);
	if (modified_ms == 0)
		modified_ms = json_integer(object, "lastModified", 0);
	config.modified_ms = modified_ms > 0 && modified_ms <= TIME_MS_MAX ? modified_ms : 0;
	error = check_md5(&config, json_text(object, "md5"), question, call);
	if (error)
		return error;
	*ret_is_gray = json_is_true(json_member(object, "beta")) || (tag && tag[0]);
	*ret_config = config;
	config = (struct nacos_config){ 0 };
	return 0;
}

/*
 * Parses the body and finds the object. 0, and NULL when the server says that there is no such
 * config.
 */
static int find_object(const struct http_answer *answer, bool wrapped, const char *what,
		       struct call *call, struct json **ret_document,
		       const struct json **ret_object)
{
	int64_t code = NACOS_CODE_OK;
	int error;

	if (wrapped) {
		error = nacos_answer_unwrap(answer, ret_document, &code);
		if (error)
			return fail_memory(what, call);
		if (code == NACOS_CODE_NOT_FOUND && answer->status < 500)
			return 0;
		if (code == NACOS_CODE_CONFLICT)
			return call_fail(call, -EBUSY, "%s: the server is just writing it", what);
	}
	if (answer->status != 200)
		return fail_read(answer, what, call);
	if (wrapped) {
		if (code != NACOS_CODE_OK)
			return nacos_answer_fail_malformed(what, call);
		*ret_object = json_member(*ret_document, "data");
	} else {
		const struct buffer *body = &answer->body;

		if (body->size == 0 || body_is(answer, "null"))
			return 0;
		error = json_parse(body->data, body->size, ret_document);
		if (error == -ENOMEM)
			return fail_memory(what, call);
		*ret_object = *ret_document;
	}
	return json_is_object(*ret_object) ? 0 : nacos_answer_fail_malformed(what, call);
}

int nacos_config_answer_read_object(const struct http_answer *answer, bool wrapped,
				    const struct nacos_config_question *question, struct call *call,
				    struct nacos_config *ret_config, bool *ret_is_gray)
{
	cleanup_json struct json *document = NULL;
	const struct json *object = NULL;
	int error = find_object(answer, wrapped, question->what, call, &document, &object);

	if (error)
		return error;
	if (!object)
		return call_fail(call, -ENOENT, "%s: there is none", question->what);
	return read_object(object, question, call, ret_config, ret_is_gray);
}

int nacos_config_answer_read_json(const struct buffer *json, const struct nacos_config_question *question,
				  struct call *call, struct nacos_config *ret_config, bool *ret_is_gray)
{
	cleanup_json struct json *document = NULL;

	if (json_parse(json->data, json->size, &document) == -ENOMEM)
		return fail_memory(question->what, call);
	if (!json_is_object(document))
		return nacos_answer_fail_malformed(question->what, call);
	return read_object(document, question, call, ret_config, ret_is_gray);
}

bool nacos_config_answer_ask_again(const char *what, struct call *call, int *error, unsigned *torn_count)
{
	if (*error != -EBUSY && *error != -EAGAIN)
		return false;
	if (*error == -EAGAIN && ++*torn_count == TORN_ATTEMPTS) {
		*error = -EIO;
		return false;
	}
	int ended = call_sleep(call, *error == -EBUSY ? BUSY_PAUSE_MS : TORN_PAUSE_MS);
	if (!ended)
		return true;
	*error = call_fail(call, ended, "%s: the server is still writing it", what);
	return false;
}

/* Is it an answer of success to something that returns just that? */
static bool is_done(const struct http_answer *answer, bool wrapped, const struct json *document,
		    int64_t code)
{
	if (answer->status != 200)
		return false;
	if (!wrapped)
		return body_is(answer, "true");
	return code == NACOS_CODE_OK && json_is_true(json_member(document, "data"));
}

/* The errno for a publish that was refused because of what was asked; 0 when it was not. */
static int publish_refusal(const struct http_answer *answer, int64_t code)
{
	switch (code) {
	case NACOS_CODE_PARAMETER_MISSING:
	case NACOS_CODE_PARAMETER_INVALID:
	case NACOS_CODE_NAMESPACE_INVALID:
	case NACOS_CODE_NAMESPACE_UNKNOWN:
		return -EINVAL;
	case NACOS_CODE_ACCESS_DENIED:
		return -EACCES;
	case NACOS_CODE_OVER_CLUSTER_QUOTA:
	case NACOS_CODE_OVER_GROUP_QUOTA:
	case NACOS_CODE_OVER_NAMESPACE_QUOTA:
		return -EDQUOT;
	case NACOS_CODE_OVER_SIZE_QUOTA:
		return -EFBIG;
	}
	switch (answer->status) {
	case 400:
		return -EINVAL;
	case 413:
		return -EFBIG;
	case 429:
		return -EDQUOT;
	}
	return 0;
}

/*
 * Did the server find another text than that of casMd5? Where a version says no more than false,
 * that is the likeliest cause, but not the only one.
 */
static bool is_cas_refusal(const struct http_answer *answer, bool wrapped, int64_t code,
			   bool *ret_uncertain)
{
	if (code == NACOS_CODE_CONFLICT || nacos_answer_has_text(answer, "Cas publish fail")) {
		*ret_uncertain = false;
		return true;
	}
	return !wrapped && (answer->status == 500 || answer->status == 200) &&
	       body_is(answer, "false");
}

int nacos_config_answer_read_publish(const struct http_answer *answer, bool wrapped, bool had_cas,
				     const char *what, struct call *call, bool *ret_uncertain)
{
	cleanup_json struct json *document = NULL;
	int64_t code = NACOS_CODE_NONE;
	int error = 0;

	/* Whatever is not known to mean "not stored" may have been stored. */
	*ret_uncertain = true;
	if (wrapped)
		error = nacos_answer_unwrap(answer, &document, &code);
	if (error)
		return fail_memory(what, call);
	if (is_done(answer, wrapped, document, code)) {
		*ret_uncertain = false;
		return 0;
	}
	if (had_cas && is_cas_refusal(answer, wrapped, code, ret_uncertain))
		return call_fail(call, -EBUSY, "%s: changed on the server meanwhile", what);

	error = publish_refusal(answer, code);
	/*
	 * A 4xx speaks of the request, before anything is done about it; 408 may come from anything
	 * in between.
	 */
	if (error || (answer->status >= 300 && answer->status < 500 && answer->status != 408))
		*ret_uncertain = false;
	if (!error)
		error = nacos_answer_refusal(answer) != NACOS_REFUSAL_NONE ? -EACCES : -EIO;
	const char *phrase = nacos_answer_phrase(answer);
	return call_fail(call, error, "%s: the server does not take it (HTTP %d%s%s)", what,
			 answer->status, phrase[0] ? ": " : "", phrase);
}

int nacos_config_answer_read_remove(const struct http_answer *answer, bool wrapped,
				    const char *what, struct call *call)
{
	cleanup_json struct json *document = NULL;
	int64_t code = NACOS_CODE_NONE;

	if (wrapped && nacos_answer_unwrap(answer, &document, &code))
		return fail_memory(what, call);
	if (is_done(answer, wrapped, document, code) || code == NACOS_CODE_NOT_FOUND)
		return 0;
	if (answer->status == 200)
		return nacos_answer_fail_malformed(what, call);
	return nacos_answer_fail(answer, what, call);
}

int nacos_config_answer_read_write_check(const struct http_answer *answer, const char *what,
					 struct call *call)
{
	/* Among the grants of this account is one that is no pattern, over which the server stumbles. */
	if (nacos_answer_has_text(answer, "near index"))
		return call_fail(call, -EACCES, "%s: a permission of this account is no valid pattern", what);
	/*
	 * Rights are checked first. Then come quotas, the name, and the content, all of which is
	 * beside the question.
	 */
	if (answer->status == 400 || answer->status == 429)
		return 0;
	if (answer->status == 500 && (nacos_answer_has_text(answer, "Required") ||
				      nacos_answer_has_text(answer, "invalid") ||
				      nacos_answer_has_text(answer, "content")))
		return 0;
	if (answer->status == 200)
		return call_fail(call, -EIO, "%s: the server took an empty content", what);
	return nacos_answer_fail(answer, what, call);
}
