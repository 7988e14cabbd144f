#include "nacos/http/listing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nacos/http/answer.h"
#include "nacos/http/name_set.h"
#include "util/hash.h"
#include "util/json.h"
#include "util/log.h"

#define PAGE_SIZE_FIRST 200 /* where pages carry contents of unknown size */
#define PAGE_SIZE_MIN 100
#define PAGE_SIZE_MAX 5000 /* far below the 50,000 rows at which servers cut */
#define PAGE_BYTES_WANTED ((size_t)6 << 20)

#define PAUSE_BETWEEN_PASSES_MS 200

struct listing {
	const struct nacos_listing_question *question;
	struct nacos_name_set names;
	size_t page_size;
	bool page_size_settled; /* chosen by bytes, or needs no choice */
	bool saw_strange_items;

	/* Of the pass under way. */
	unsigned pass;
	int64_t total; /* the server's count, as of the last page */
	int64_t total_max;
	bool total_moved;
	size_t pass_count; /* different names, wanted or not */
};

/* What one page did. */
struct page_result {
	size_t item_count;
	size_t new_count; /* items that this pass had not seen before */
	size_t bytes;
};

static int fail_memory(const struct listing *listing, struct call *call)
{
	return call_fail(call, -ENOMEM, "%s: out of memory", listing->question->what);
}

/*
 * The MD5 of what is stored, where the item tells it: in words, or by its content. Not by the
 * content of a "cipher-" name, which the server may have decrypted.
 */
static int read_item_md5(const struct json *item, const char *data_id,
			 char ret_md5[HASH_MD5_HEX_SIZE])
{
	cleanup_buffer struct buffer content = BUFFER_INIT;
	const char *md5 = json_text(item, "md5");
	int error;

	ret_md5[0] = '\0';
	if (md5 && strlen(md5) == HASH_MD5_HEX_SIZE - 1 &&
	    strspn(md5, "0123456789abcdef") == HASH_MD5_HEX_SIZE - 1) {
		memcpy(ret_md5, md5, HASH_MD5_HEX_SIZE);
		return 0;
	}
	if (strncmp(data_id, "cipher-", strlen("cipher-")) == 0)
		return 0;
	error = json_bytes(item, "content", &content);
	if (error == -ENOENT || content.size == 0)
		return error == -ENOMEM ? error : 0;
	return hash_md5_hex(content.data, content.size, ret_md5);
}

/* Takes one item in. What is no item is skipped; the count then tells that something is missing. */
static int take_item(struct listing *listing, const struct json *item, struct page_result *page)
{
	const struct nacos_listing_question *question = listing->question;
	const char *namespace_id = json_text(item, question->namespace_member);
	const char *group = json_text(item, question->group_member);
	const char *data_id = json_text(item, "dataId");
	struct nacos_name *name;
	bool wanted;
	int error;

	page->item_count++;
	/* The public namespace of older servers is "", which some databases make NULL. */
	if (!namespace_id)
		namespace_id = "";
	if (!group || !data_id || !group[0] || !data_id[0]) {
		listing->saw_strange_items = true;
		return 0;
	}
	wanted = strcmp(namespace_id, question->namespace_id) == 0 &&
		 (!question->group || strcmp(group, question->group) == 0);
	error = nacos_name_set_add(&listing->names, namespace_id, group, data_id, wanted, &name);
	if (error || name->pass == listing->pass)
		return error;
	name->pass = listing->pass;
	listing->pass_count++;
	page->new_count++;
	return wanted ? read_item_md5(item, data_id, name->listed.md5) : 0;
}

/* Finds the page object and its count. */
static int open_page(const struct listing *listing, const struct http_answer *answer,
		     struct call *call, struct json **ret_document,
		     const struct json **ret_page, int64_t *ret_total)
{
	const char *what = listing->question->what;
	const struct json *page;
	int64_t code, total;
	int error;

	if (answer->status != 200)
		return nacos_answer_fail(answer, what, call);
	error = json_parse(answer->body.data, answer->body.size, ret_document);
	if (error == -ENOMEM)
		return error;
	if (error)
		return nacos_answer_fail_malformed(what, call);
	page = *ret_document;
	if (listing->question->wrapped) {
		code = json_integer(*ret_document, "code", NACOS_CODE_NONE);
		if (code != NACOS_CODE_OK)
			return nacos_answer_fail(answer, what, call);
		page = json_member(*ret_document, "data");
	}
	total = json_integer(page, "totalCount", -1);
	if (total < 0 || !json_is_array(json_member(page, "pageItems")))
		return nacos_answer_fail_malformed(what, call);
	*ret_page = page;
	*ret_total = total;
	return 0;
}

static int take_page(struct listing *listing, const struct http_answer *answer, bool first,
		     struct call *call, struct page_result *ret_page)
{
	cleanup_json struct json *document = NULL;
	struct page_result result = { .bytes = answer->body.size };
	const struct json *page = NULL, *item;
	int64_t total = 0;
	int error = open_page(listing, answer, call, &document, &page, &total);

	if (error)
		return error == -ENOMEM ? fail_memory(listing, call) : error;
	if (!first && total != listing->total)
		listing->total_moved = true;
	listing->total = total;
	if (total > listing->total_max)
		listing->total_max = total;
	for (item = json_first(json_member(page, "pageItems")); item; item = json_next(item)) {
		error = take_item(listing, item, &result);
		if (error == -ENOMEM)
			return fail_memory(listing, call);
		if (error)
			return call_fail(call, error, "%s: can't compute an MD5",
					 listing->question->what);
	}
	if (listing->names.names.count > NACOS_LISTING_NAMES_MAX)
		return call_fail(call, -EIO, "%s: the server names more than %d configs",
				 listing->question->what, NACOS_LISTING_NAMES_MAX);
	*ret_page = result;
	return 0;
}

/* How many names a page should have for it to be of a good size, going by one page. */
static size_t choose_page_size(const struct page_result *page)
{
	size_t size = PAGE_SIZE_MAX;

	if (page->item_count > 0 && page->bytes > 0)
		size = PAGE_BYTES_WANTED / (page->bytes / page->item_count + 1);
	if (size < PAGE_SIZE_MIN)
		size = PAGE_SIZE_MIN;
	return size > PAGE_SIZE_MAX ? PAGE_SIZE_MAX : size;
}

static void start_pass(struct listing *listing)
{
	listing->pass++;
	listing->total = 0;
	listing->total_max = 0;
	listing->total_moved = false;
	listing->pass_count = 0;
}

/*
 * Is this the end of a pass? A page with nothing new ends it too: then the server does not know
 * about pages, or its rows move under us, and either way the count decides what the pass is worth.
 */
static bool is_last_page(const struct listing *listing, const struct page_result *page)
{
	/* Not by the size of pages that was asked for: a server may have a smaller one of its own. */
	return page->new_count == 0 || (int64_t)listing->pass_count >= listing->total_max;
}

/*
 * Reads all pages once. -EAGAIN when they must be read again because the size of pages has changed.
 */
static int read_pass(struct listing *listing, struct call *call)
{
	const struct nacos_listing_question *question = listing->question;

	start_pass(listing);
	for (size_t number = 1;; number++) {
		cleanup_http_answer struct http_answer answer = { 0 };
		struct page_result page = { 0 };
		int error = question->get_page(question->arg, number, listing->page_size, call,
					       &answer);

		if (error == -EMSGSIZE && listing->page_size > 1) {
			listing->page_size = (listing->page_size + 3) / 4;
			listing->page_size_settled = true;
			return -EAGAIN;
		}
		if (error)
			return error == -EMSGSIZE ? -EIO : error;
		error = take_page(listing, &answer, number == 1, call, &page);
		if (error || is_last_page(listing, &page))
			return error;
		if (!listing->page_size_settled) {
			listing->page_size_settled = true;
			listing->page_size = choose_page_size(&page);
			/* With an offset in pages, another size means to begin again. */
			return -EAGAIN;
		}
	}
}

static bool pass_is_complete(const struct listing *listing)
{
	return !listing->total_moved && (int64_t)listing->pass_count == listing->total;
}

static int read_passes(struct listing *listing, struct call *call, bool *ret_settled)
{
	for (int passes = 1;; passes++) {
		int error;

		/* Ends: a page only ever gets smaller after its size was chosen once. */
		do {
			error = read_pass(listing, call);
		} while (error == -EAGAIN);
		if (error)
			return error;
		if (pass_is_complete(listing)) {
			*ret_settled = true;
			return 0;
		}
		if (passes == NACOS_LISTING_PASSES_MAX) {
			*ret_settled = false;
			return 0;
		}
		error = call_sleep(call, PAUSE_BETWEEN_PASSES_MS);
		if (error)
			return error;
	}
}

int nacos_listing_read(const struct nacos_listing_question *question, struct call *call,
		       struct nacos_listing *ret_listing)
{
	struct listing listing = {
		.question = question,
		.page_size = question->has_contents ? PAGE_SIZE_FIRST : PAGE_SIZE_MAX,
		.page_size_settled = !question->has_contents,
	};
	struct nacos_listing result = { 0 };
	int error = read_passes(&listing, call, &result.settled);

	/*
	 * A complete pass is the whole truth; of incomplete ones, each may have seen what the
	 * others missed.
	 */
	if (!error) {
		error = nacos_name_set_take(&listing.names, result.settled ? listing.pass : 0,
					    &result.items, &result.count);
		if (error)
			fail_memory(&listing, call);
	}
	if (!error && listing.saw_strange_items)
		log_debug("%s: skipped items without a name", question->what);
	nacos_name_set_release(&listing.names);
	if (!error)
		*ret_listing = result;
	return error;
}

int nacos_listing_read_count(const struct nacos_listing_question *question, struct call *call,
			     int64_t *ret_count)
{
	const struct listing listing = { .question = question };
	cleanup_http_answer struct http_answer answer = { 0 };
	cleanup_json struct json *document = NULL;
	const struct json *page = NULL;
	int error = question->get_page(question->arg, 1, 1, call, &answer);

	if (!error)
		error = open_page(&listing, &answer, call, &document, &page, ret_count);
	if (error == -ENOMEM)
		return fail_memory(&listing, call);
	return error == -EMSGSIZE ? -EIO : error;
}
