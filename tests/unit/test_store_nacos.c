/*
 * What a store promises that is a server: a save compares first, carries the metadata, and is believed only when the text was
 * seen there. Against a server in this program that has one config, and does what it is told wrong.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "nacos/http/client.h"
#include "nacos/transport.h"
#include "util/cleanup.h"
#include "util/hash.h"

/* The store itself, so that reading back ends sooner where the server never has the text. */
#define READ_BACK_SETTLE_MS 200
#include "store/nacos_store.c"

#include "tests/unit/http_peer.h"

#define TEXT_SIZE 256
#define METADATA(tags) \
	"&type=yaml&desc=what%20it%20is&appName=shop&" tags "=a%2Cb&use=often&effect=all&schema=none&"

enum fault {
	NO_FAULT,
	STORES_NOTHING, /* and says yes */
	STORES_THEIRS, /* somebody else saves at the same moment; says yes */
	LOSES_DATA_KEY,
	LOSES_ANSWER, /* stores, and hangs up */
	LOSES_REQUEST, /* hangs up only */
	REMOVES_NOTHING, /* and says yes */
	MAY_NOT_READ, /* from the database; writing is allowed */
};

/* The one config that the server has, and what it does. */
static struct {
	pthread_mutex_t lock;
	bool is_v3;
	enum fault fault;
	bool exists;
	char content[TEXT_SIZE];
	char data_key[TEXT_SIZE]; /* "": none */
	char answer[4096];
} database = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct server server;
static struct nacos_client *client;
static struct nacos_transport *transport;
static struct store *store;

/* ---------------------------------------------------------------- the server */

/* The value of a parameter in a form, decoded; false: it is not there. */
static bool read_form(const char *form, const char *name, char value[TEXT_SIZE])
{
	char start[64];
	size_t length = 0;

	snprintf(start, sizeof(start), "&%s=", name);
	const char *from = strstr(form, start);
	if (!from)
		return false;
	for (from += strlen(start); *from && *from != '&' && length < TEXT_SIZE - 1; from++) {
		unsigned byte = (unsigned char)*from;
		if (byte == '%' && sscanf(from + 1, "%2x", &byte) == 1)
			from += 2;
		value[length++] = (char)byte;
	}
	value[length] = '\0';
	return true;
}

static struct reply database_show(void)
{
	char md5[HASH_MD5_HEX_SIZE], object[3072];

	if (database.fault == MAY_NOT_READ)
		return (struct reply){ 403, NO_RIGHT, NULL };
	if (!database.exists)
		return database.is_v3 ? (struct reply){ 404, "{\"code\":20004,\"message\":\"none\",\"data\":null}", NULL } :
					(struct reply){ 200, "", NULL };
	hash_md5_hex(database.content, strlen(database.content), md5);
	snprintf(object, sizeof(object),
		 "{\"content\":\"%s\",\"md5\":\"%s\",\"type\":\"yaml\",\"encryptedDataKey\":\"%s\",\"desc\":\"what it is\","
		 "\"appName\":\"shop\",\"configTags\":\"a,b\",\"use\":\"often\",\"effect\":\"all\",\"schema\":\"none\"}",
		 database.content, md5, database.data_key);
	snprintf(database.answer, sizeof(database.answer), database.is_v3 ? "{\"code\":0,\"data\":%s}" : "%s", object);
	return (struct reply){ 200, database.answer, NULL };
}

static struct reply database_take(const char *body)
{
	if (database.fault == LOSES_REQUEST)
		return (struct reply){ 200, NULL, NULL };
	if (database.fault != STORES_NOTHING) {
		database.exists = read_form(body, "content", database.content);
		if (!read_form(body, "encryptedDataKey", database.data_key) || database.fault == LOSES_DATA_KEY)
			database.data_key[0] = '\0';
	}
	if (database.fault == STORES_THEIRS)
		strcpy(database.content, "theirs");
	if (database.fault == LOSES_ANSWER)
		return (struct reply){ 200, NULL, NULL };
	return (struct reply){ 200, database.is_v3 ? "{\"code\":0,\"data\":true}" : "true", NULL };
}

static struct reply database_answer(struct server *peer, const char *method, const char *path, const char *head,
				    const char *body)
{
	struct reply reply;

	(void)peer;
	(void)head;
	pthread_mutex_lock(&database.lock);
	if (strstr(path, "state"))
		reply = database.is_v3	      ? (struct reply){ 200, "{\"code\":0,\"data\":{\"version\":\"3.1.0\"}}", NULL } :
			strstr(path, "/v3/") ? (struct reply){ 404, "{}", NULL } :
					       (struct reply){ 200, "{\"version\":\"2.2.4\"}", NULL };
	else if (strstr(path, "login"))
		reply = (struct reply){ 200, "{\"accessToken\":\"good\",\"tokenTtl\":18000}", NULL };
	else if (!strcmp(method, "POST"))
		reply = database_take(body);
	else if (!strcmp(method, "DELETE")) {
		database.exists &= database.fault == REMOVES_NOTHING;
		reply = (struct reply){ 200, database.is_v3 ? "{\"code\":0,\"data\":true}" : "true", NULL };
	} else
		reply = database_show();
	pthread_mutex_unlock(&database.lock);
	return reply;
}

/* ---------------------------------------------------------------- the store */

static char password_path[] = "/tmp/test_store_nacos.XXXXXX";

static int set_up_store(bool is_v3)
{
	struct call call;

	database.is_v3 = is_v3;
	database.fault = NO_FAULT;
	database.exists = false;
	start_server(&server, database_answer);
	const struct nacos_host host = { "127.0.0.1", server.port };
	const struct nacos_client_options options = {
		.hosts = &host, .host_count = 1, .username = "bob", .password_file = password_path,
	};
	call_start(&call, 5000);
	if (nacos_client_new(&options, &client) || nacos_client_connect(client, &call))
		return -1;
	const struct nacos_transport_options transport_options = {
		.client = client, .mode = NACOS_TRANSPORT_HTTP, .hosts = &host, .host_count = 1,
	};
	return nacos_transport_new(&transport_options, &transport) || nacos_store_new(transport, &store);
}

static int set_up_2(void **state)
{
	(void)state;
	return set_up_store(false);
}

static int set_up_3(void **state)
{
	(void)state;
	return set_up_store(true);
}

static int tear_down(void **state)
{
	(void)state;
	store_free(store);
	nacos_transport_free(transport);
	nacos_client_free(client);
	stop_server(&server);
	return 0;
}

static void set_database(enum fault fault, const char *content)
{
	pthread_mutex_lock(&database.lock);
	database.fault = fault;
	database.exists = content;
	snprintf(database.content, sizeof(database.content), "%s", content ? content : "");
	database.data_key[0] = '\0';
	pthread_mutex_unlock(&database.lock);
}

/* NULL: no config. */
static void assert_database_has(const char *content)
{
	pthread_mutex_lock(&database.lock);
	assert_int_equal(database.exists, content != NULL);
	if (content)
		assert_string_equal(database.content, content);
	pthread_mutex_unlock(&database.lock);
}

static struct version *make_version(const char *content)
{
	struct buffer buffer = BUFFER_INIT;
	char md5[HASH_MD5_HEX_SIZE];

	assert_int_equal(buffer_append_text(&buffer, content), 0);
	assert_int_equal(hash_md5_hex(content, strlen(content), md5), 0);
	return version_new(&buffer, md5, "yaml", 0);
}

static char reason[CALL_REASON_SIZE]; /* of the last failure */

static int put_as(const struct put *put, struct version **ret_version)
{
	cleanup_place struct place *place = place_new("dev", "G", "a.yaml");
	struct call call;

	call_start(&call, 5000);
	int error = store_put(store, place, put, &call, ret_version);
	memcpy(reason, call.reason, sizeof(reason));
	return error;
}

/* Saves text over what was base ("": a new config); data_key as in struct put. */
static int put(const char *text, const char *base, const char *data_key)
{
	cleanup_version struct version *before = *base ? make_version(base) : NULL;
	cleanup_version struct version *after = NULL;
	const struct put what = {
		.content = text, .size = strlen(text), .base = before, .new_type = "yaml", .data_key = data_key,
	};
	int error = put_as(&what, &after);

	if (error) {
		assert_null(after);
	} else {
		assert_int_equal(after->content.size, strlen(text));
		assert_memory_equal(after->content.data, text, strlen(text));
	}
	return error;
}

static int remove_at(const char *base)
{
	cleanup_place struct place *place = place_new("dev", "G", "a.yaml");
	cleanup_version struct version *before = make_version(base);
	struct call call;

	call_start(&call, 5000);
	int error = store_remove(store, place, before, &call);
	memcpy(reason, call.reason, sizeof(reason));
	return error;
}

/* ---------------------------------------------------------------- tests */

static void test_saves_are_seen_there(void **state)
{
	(void)state;
	assert_int_equal(put("new", "", NULL), 0);
	assert_database_has("new");
	assert_int_equal(put("newer", "new", NULL), 0);
	assert_database_has("newer");
	assert_int_equal(server.publishes, 2);
}

static void test_a_yes_without_the_text_is_not_believed(void **state)
{
	(void)state;
	set_database(STORES_NOTHING, NULL);
	assert_int_equal(put("new", "", NULL), -EIO);
	assert_non_null(strstr(reason, "said yes but does not have"));
	set_database(STORES_NOTHING, "old");
	assert_int_equal(put("new", "old", NULL), -EIO);
	assert_non_null(strstr(reason, "said yes but does not have"));
	assert_int_equal(server.publishes, 2);
}

static void test_a_text_without_its_data_key_is_not_saved(void **state)
{
	(void)state;
	assert_int_equal(put("secret", "", "key"), 0);
	set_database(LOSES_DATA_KEY, NULL);
	assert_int_equal(put("secret", "", "key"), -EIO);
	assert_non_null(strstr(reason, "lost the data key"));
	/* Also over what was there, and though the text is the same as before. */
	set_database(LOSES_DATA_KEY, "secret");
	assert_int_equal(put("secret", "secret", "key"), -EIO);
	assert_int_equal(server.publishes, 3);
}

static void test_a_text_that_others_overtook_is_not_saved(void **state)
{
	(void)state;
	set_database(STORES_THEIRS, "old");
	assert_int_equal(put("new", "old", NULL), -EBUSY);
	set_database(STORES_THEIRS, NULL);
	assert_int_equal(put("new", "", NULL), -EBUSY);
}

static void test_reading_back_tells_what_a_lost_answer_meant(void **state)
{
	(void)state;
	set_database(LOSES_ANSWER, "old");
	assert_int_equal(put("new", "old", NULL), 0);
	set_database(LOSES_REQUEST, "old");
	assert_int_equal(put("new", "old", NULL), -EIO);
	assert_non_null(strstr(reason, "closed the connection"));
	assert_int_equal(server.publishes, 2);
}

static void test_nothing_is_published_over_what_is_not_the_base(void **state)
{
	(void)state;
	set_database(NO_FAULT, "theirs");
	assert_int_equal(put("new", "old", NULL), -EBUSY);
	assert_int_equal(put("new", "", NULL), -EBUSY);
	set_database(NO_FAULT, NULL);
	assert_int_equal(put("new", "old", NULL), -EBUSY);
	assert_int_equal(server.publishes, 0);
}

static void test_the_same_text_is_not_published(void **state)
{
	(void)state;
	set_database(NO_FAULT, "same");
	assert_int_equal(put("same", "old", NULL), 0);
	assert_int_equal(put("same", "", NULL), 0);
	assert_int_equal(server.publishes, 0);
}

static void test_what_a_server_would_damage_is_not_published(void **state)
{
	(void)state;
	assert_int_equal(put("\xff", "", NULL), -EILSEQ);
	assert_int_equal(put(" \n", "", NULL), -EINVAL);
	assert_int_equal(server.publishes + server.reads, 0);
}

/* A publish replaces the metadata: what it does not carry is gone. */
static void test_metadata_is_published_again(void **state)
{
	char form[sizeof(server.last_publish)];

	(void)state;
	set_database(NO_FAULT, "old");
	assert_int_equal(put("new", "old", NULL), 0);
	pthread_mutex_lock(&server.lock);
	memcpy(form, server.last_publish, sizeof(form));
	pthread_mutex_unlock(&server.lock);
	if (!strstr(form, database.is_v3 ? METADATA("configTags") : METADATA("config_tags")))
		fail_msg("metadata is missing: %s", form);
}

static void test_a_removal_is_seen(void **state)
{
	(void)state;
	set_database(NO_FAULT, "old");
	assert_int_equal(remove_at("old"), 0);
	assert_database_has(NULL);
	assert_int_equal(remove_at("old"), 0);

	set_database(REMOVES_NOTHING, "old");
	assert_int_equal(remove_at("old"), -EEXIST);
	assert_non_null(strstr(reason, "still has it"));

	set_database(NO_FAULT, "theirs");
	assert_int_equal(remove_at("old"), -EBUSY);
	assert_database_has("theirs");
}

/* Where the account may write but not read, only what can't go wrong unseen is published. */
static void test_blind_saves(void **state)
{
	cleanup_version struct version *version = NULL;
	const struct put blind = { .content = "new", .size = 3, .new_type = "yaml", .blind = true };

	(void)state;
	set_database(MAY_NOT_READ, NULL);
	assert_int_equal(put("new", "old", NULL), -EACCES);
	assert_int_equal(server.publishes, 0);

	assert_int_equal(put_as(&blind, &version), 0);
	assert_true(version->unconfirmed);
	assert_database_has("new");
	version_drop(steal_pointer(version));

	/* The right to read came back meanwhile: there is something to compare with. */
	set_database(NO_FAULT, "theirs");
	assert_int_equal(put_as(&blind, &version), -EBUSY);
	assert_database_has("theirs");
}

/* A server may lose the data key, and nobody could tell. */
static void test_secrets_are_not_saved_blindly(void **state)
{
	(void)state;
	set_database(MAY_NOT_READ, NULL);
	assert_int_equal(put("secret", "", "key"), -EACCES);
	assert_non_null(strstr(reason, "can't be saved safely"));
	assert_int_equal(server.publishes, 0);
}

#define ON_BOTH(test) { #test "_on_2", test, set_up_2, tear_down, NULL }, ON_3(test)
#define ON_3(test) { #test "_on_3", test, set_up_3, tear_down, NULL }

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_BOTH(test_saves_are_seen_there),
		ON_BOTH(test_a_yes_without_the_text_is_not_believed),
		ON_3(test_a_text_without_its_data_key_is_not_saved),
		ON_BOTH(test_a_text_that_others_overtook_is_not_saved),
		ON_BOTH(test_reading_back_tells_what_a_lost_answer_meant),
		ON_BOTH(test_nothing_is_published_over_what_is_not_the_base),
		ON_BOTH(test_the_same_text_is_not_published),
		ON_BOTH(test_what_a_server_would_damage_is_not_published),
		ON_BOTH(test_metadata_is_published_again),
		ON_BOTH(test_a_removal_is_seen),
		ON_BOTH(test_blind_saves),
		ON_3(test_secrets_are_not_saved_blindly),
	};
	int descriptor = mkstemp(password_path);

	if (descriptor < 0 || write(descriptor, "word\n", 5) != 5 || close(descriptor))
		return 1;
	int failed = cmocka_run_group_tests_name("store/nacos_store", tests, NULL, NULL);
	unlink(password_path);
	return failed;
}
