#include "nacos/answer.h"

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

/* Copies as much of text as fits, with anything but printable ASCII shown as '?'. */
static void copy_printable(const char *text, size_t size, char ret_message[NACOS_MESSAGE_SIZE])
{
	size_t length = 0;

	while (size > 0 && strchr("\r\n \t", text[size - 1]))
		size--;
	for (; length < size && length < NACOS_MESSAGE_SIZE - 1; length++) {
		bool printable = text[length] >= ' ' && text[length] <= '~';

		ret_message[length] = printable ? text[length] : '?';
	}
	ret_message[length] = '\0';
}

void nacos_answer_message(const struct http_answer *answer, char ret_message[NACOS_MESSAGE_SIZE])
{
	cleanup_json struct json *document = NULL;
	const char *body = answer->body.data;
	size_t size = answer->body.size;

	ret_message[0] = '\0';
	/* Anything else than a refusal may be content. */
	if (answer->status < 400 || size == 0 || size > ERROR_TEXT_LIMIT)
		return;
	if (json_parse(body, size, &document) == 0) {
		const char *message = json_text(document, "message");
		const char *detail = json_text(document, "data");
		bool wrapped = json_integer(document, "code", NACOS_CODE_NONE) != NACOS_CODE_NONE;

		/*
		 * The wrapped message is a fixed text of its code; the detail says more, but may
		 * quote.
		 */
		if (answer->status < 500 && detail)
			message = detail;
		else if (answer->status >= 500 && !wrapped)
			message = NULL;
		if (message)
			copy_printable(message, strlen(message), ret_message);
		return;
	}
	if (answer->status < 500 && body[0] != '<')
		copy_printable(body, size, ret_message);
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
	char message[NACOS_MESSAGE_SIZE];

	nacos_answer_message(answer, message);
	if (nacos_answer_refusal(answer) != NACOS_REFUSAL_NONE)
		return call_fail(call, -EACCES, "%s: the server refuses (HTTP %d%s%s)", what,
				 answer->status, message[0] ? ": " : "", message);
	if (answer->status >= 300 && answer->status < 400)
		return call_fail(call, -EIO, "%s: the server answered with a redirect (HTTP %d)",
				 what, answer->status);
	if (answer->status == 410)
		return call_fail(call, -EIO,
				 "%s: the server has this API switched off (HTTP 410): mount again",
				 what);
	return call_fail(call, -EIO, "%s: the server answered HTTP %d%s%s", what, answer->status,
			 message[0] ? ": " : "", message);
}

int nacos_answer_fail_malformed(const char *what, struct call *call)
{
	return call_fail(call, -EIO, "%s: the server's answer is malformed", what);
}

const char *nacos_answer_phrase(const struct http_answer *answer)
{
	static const char *const phrases[] = {
		"Param check invalid", "illegal char", "invalid dataId",  "invalid group", "invalid type",
		"is blank",	       "too long",     "beyond the limit", "over limit",   "not present",
	};

	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
		if (nacos_answer_has_text(answer, phrases[i]))
			return phrases[i];
	return "";
}
