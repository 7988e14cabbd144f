#include "nacos/grpc/json.h"

#include <string.h>

/* What JSON wants escaped in a string; the rest of UTF-8 may stand as it is. */
static int append_escaped(struct buffer *json, unsigned char byte)
{
	if (byte == '\n')
		return buffer_append_text(json, "\\n");
	if (byte < 0x20)
		return buffer_append_format(json, "\\u%04x", byte);
	return buffer_append_format(json, "\\%c", byte);
}

static int append_string(struct buffer *json, const char *data, size_t size)
{
	size_t begin = 0; /* of what is not appended yet: it goes over in one piece */
	int error = buffer_append_byte(json, '"');

	for (size_t i = 0; !error && i < size; i++) {
		unsigned char byte = (unsigned char)data[i];

		if (byte >= 0x20 && byte != '"' && byte != '\\')
			continue;
		error = buffer_append(json, data + begin, i - begin);
		if (!error)
			error = append_escaped(json, byte);
		begin = i + 1;
	}
	if (!error)
		error = buffer_append(json, data + begin, size - begin);
	return error ? error : buffer_append_byte(json, '"');
}

int nacos_grpc_json_add_bytes(struct buffer *json, const char *name, const void *data, size_t size)
{
	int error = buffer_reserve(json, strlen(name) + size + strlen(",\"\":\"\""));

	if (!error && json->data[json->size - 1] != '{')
		error = buffer_append_byte(json, ',');
	if (!error)
		error = buffer_append_format(json, "\"%s\":", name);
	return error ? error : append_string(json, size ? data : "", size);
}

int nacos_grpc_json_add(struct buffer *json, const char *name, const char *value)
{
	return nacos_grpc_json_add_bytes(json, name, value, strlen(value));
}
