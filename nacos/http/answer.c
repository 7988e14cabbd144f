#include "nacos/http/answer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* An error text is looked for in so much of a body, and a body longer than this is not one. */
#define ERROR_TEXT_LIMIT 16384

bool nacos_answer_has_text(const struct http_answer *answer, const char *text)
{
	size_t size = answer->body.size;

	if (size == 0)
		return false;
	if (size > ERROR_TEXT_LIMIT)
		size = ERROR_TEXT_LIMIT;
	return memmem(answer->body.data, size, text, strlen(text)) != NULL;
}

/*
 * What the login module of a server says about a token, in any letter case; the rest is about
 * rights.
 */
static bool is_about_token(const char *words)
{
	static const char *const phrases[] = {
		"token expired", "token invalid", "user not found", "unknown user", "code: 401",
		"invalid signature", /* made by another server, or before its key was changed */
	};

	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++) {
		if (strcasestr(words, phrases[i]))
			return true;
	}
	return false;
}

enum nacos_refusal nacos_answer_refusal(const struct http_answer *answer)
{
	char words[512];
	size_t size = answer->body.size;

	if (answer->status == 401)
		return NACOS_REFUSAL_TOKEN;
	if (answer->status != 403)
		return NACOS_REFUSAL_NONE;
	if (size >= sizeof(words))
		size = sizeof(words) - 1;
	if (size > 0)
		memcpy(words, answer->body.data, size);
	words[size] = '\0';
	for (size_t i = 0; i < size; i++) {
		if (words[i] == '\0')
			words[i] = ' ';
	}
	return is_about_token(words) ? NACOS_REFUSAL_TOKEN : NACOS_REFUSAL_RIGHT;
}

int nacos_answer_unwrap(const struct http_answer *answer, struct json **ret_document,
			int64_t *ret_code)
{
	struct json *document = NULL;
	int64_t code = NACOS_CODE_NONE;
	int error = json_parse(answer->body.data, answer->body.size, &document);

	if (error == -ENOMEM)
		return error;
	if (!error)
		code = json_integer(document, "code", NACOS_CODE_NONE);
	if (code == NACOS_CODE_NONE) {
		json_free(document);
		document = NULL;
	}
	*ret_document = document;
	*ret_code = code;
	return 0;
}

int nacos_answer_fail(const struct http_answer *answer, const char *what, struct call *call)
{
	const char *phrase = nacos_answer_phrase(answer);

	if (nacos_answer_refusal(answer) != NACOS_REFUSAL_NONE)
		return call_fail(call, -EACCES, "%s: the server refuses (HTTP %d%s%s)", what,
				 answer->status, phrase[0] ? ": " : "", phrase);
	if (answer->status >= 300 && answer->status < 400)
		return call_fail(call, -EIO, "%s: the server answered with a redirect (HTTP %d)",
				 what, answer->status);
	if (answer->status == 410)
		return call_fail(call, -EIO,
				 "%s: the server has this API switched off (HTTP 410): mount again",
				 what);
	return call_fail(call, -EIO, "%s: the server answered HTTP %d%s%s", what, answer->status,
			 phrase[0] ? ": " : "", phrase);
}

int nacos_answer_fail_malformed(const char *what, struct call *call)
{
	return call_fail(call, -EIO, "%s: the server's answer is malformed", what);
}

const char *nacos_answer_phrase(const struct http_answer *answer)
{
	static const char *const phrases[] = {
		"authorization failed", "Invalid signature", "token expired", "token invalid", "user not found",
		"unknown user", "access denied", "Param check invalid", "illegal char",
		"invalid dataId", "invalid group", "invalid type", "is blank", "too long",
		"beyond the limit", "over limit", "not present", "server limit match",
	};

	if (answer->status < 400)
		return "";
	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
		if (nacos_answer_has_text(answer, phrases[i]))
			return phrases[i];
	return "";
}
