#include "nacos/poll/answer.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define FIELD_END '\002'
#define RECORD_END '\001'

static int hex_value(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

/* In place. False when it is not encoded text, or hides a NUL. */
static bool decode(struct buffer *body)
{
	size_t out = 0;

	if (body->size == 0)
		return true;
	for (size_t in = 0; in < body->size; in++) {
		char byte = body->data[in];

		if (byte == '%') {
			int high = in + 2 < body->size ? hex_value(body->data[in + 1]) : -1;
			int low = high >= 0 ? hex_value(body->data[in + 2]) : -1;

			if (low < 0)
				return false;
			byte = (char)(high << 4 | low);
			in += 2;
		} else if (byte == '+') {
			byte = ' '; /* as Java's URLEncoder writes it */
		} else if ((unsigned char)byte <= ' ' || (unsigned char)byte >= 0x7f) {
			return false;
		}
		if (byte == '\0')
			return false;
		body->data[out++] = byte;
	}
	body->data[out] = '\0';
	body->size = out;
	return true;
}

static void trim_line_end(struct buffer *body)
{
	while (body->size > 0 && (body->data[body->size - 1] == '\n' || body->data[body->size - 1] == '\r'))
		body->data[--body->size] = '\0';
}

/* Ends the field that begins at *text, which moves behind it. */
static char *take_field(char **text)
{
	char *field = *text;

	*text = strchrnul(field, FIELD_END);
	if (**text)
		*(*text)++ = '\0';
	return field;
}

int nacos_poll_answer_next(struct buffer *body, size_t *offset, struct place **ret_place)
{
	char *record, *end, *data_id, *group, *namespace_id;

	if (*offset == 0) {
		trim_line_end(body);
		if (!decode(body))
			return -EBADMSG;
	}
	if (*offset >= body->size)
		return 0;
	record = body->data + *offset;
	end = strchr(record, RECORD_END);
	if (!end)
		return -EBADMSG;
	*end = '\0';
	*offset = (size_t)(end + 1 - body->data);
	data_id = take_field(&record);
	group = take_field(&record);
	namespace_id = take_field(&record);
	if (!data_id[0] || !group[0] || *record)
		return -EBADMSG;
	*ret_place = place_new(namespace_id[0] ? namespace_id : "public", group, data_id);
	return *ret_place ? 1 : -ENOMEM;
}
