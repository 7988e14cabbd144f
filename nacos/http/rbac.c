#include "nacos/http/rbac.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "nacos/http/answer.h"
#include "nacos/http/request.h"
#include "util/cleanup.h"
#include "util/form.h"
#include "util/json.h"
#include "util/log.h"

#define PAGE_SIZE 1000
#define PASSES_MAX 3 /* of pages that do not agree, because something changed meanwhile */
#define ROWS_MAX 500000
#define ADMIN_ROLE "ROLE_ADMIN"

/* A growing list of names, or of pairs of them. */
struct row {
	char *first, *second, *third;
};

struct rows {
	struct row *list;
	size_t count;
};

static void rows_release(struct rows *rows)
{
	for (size_t i = 0; i < rows->count; i++) {
		free(rows->list[i].first);
		free(rows->list[i].second);
		free(rows->list[i].third);
	}
	free(rows->list);
	*rows = (struct rows){ NULL, 0 };
}
#define cleanup_rows __attribute__((cleanup(rows_release)))

/* What one of the three listings is, and which members of its items are wanted. */
struct page_table {
	const struct nacos_api *api;
	const char *what;
	const char *members[3];
};

static int copy_member(const struct json *item, const char *member, char **ret_text)
{
	const char *text = member ? json_text(item, member) : NULL;

	*ret_text = text ? strdup(text) : NULL;
	return text && !*ret_text ? -ENOMEM : 0;
}

/* An item without one of the members is none. */
static int take_item(const struct page_table *table, const struct json *item, struct rows *rows)
{
	struct row row = { NULL, NULL, NULL };

	for (size_t i = 0; i < 3; i++)
		if (table->members[i] && !json_text(item, table->members[i]))
			return 0;
	if (rows->count % 256 == 0) {
		struct row *list = reallocarray(rows->list, rows->count + 256, sizeof(*list));
		if (!list)
			return -ENOMEM;
		rows->list = list;
	}
	int error = copy_member(item, table->members[0], &row.first);
	if (!error)
		error = copy_member(item, table->members[1], &row.second);
	if (!error)
		error = copy_member(item, table->members[2], &row.third);
	rows->list[rows->count++] = row; /* with an error too: then it is released with the others */
	return error;
}

static int take_page(const struct page_table *table, bool wrapped, const struct http_answer *answer,
		     struct call *call, struct rows *rows, int64_t *ret_total, size_t *ret_count)
{
	cleanup_json struct json *document = NULL;

	if (answer->status == 404 || answer->status == 405 || answer->status == 501)
		return call_fail(call, -EOPNOTSUPP, "%s: the server has no such list (HTTP %d)", table->what,
				 answer->status);
	if (answer->status != 200)
		return nacos_answer_fail(answer, table->what, call);
	int error = json_parse(answer->body.data, answer->body.size, &document);
	if (error)
		return error == -ENOMEM ? error : nacos_answer_fail_malformed(table->what, call);
	const struct json *page = wrapped ? json_member(document, "data") : document;
	const struct json *items = json_member(page, "pageItems");
	*ret_total = json_integer(page, "totalCount", -1);
	*ret_count = json_count(items);
	if (*ret_total < 0 || !json_is_array(items))
		return nacos_answer_fail_malformed(table->what, call);
	if (*ret_total > ROWS_MAX || rows->count > ROWS_MAX)
		return call_fail(call, -EIO, "%s: more than %d", table->what, ROWS_MAX);
	for (const struct json *item = json_first(items); item && !error; item = json_next(item))
		error = take_item(table, item, rows);
	return error;
}

static int get_page(struct nacos_client *client, const struct page_table *table, size_t number, struct call *call,
		    struct http_answer *ret_answer)
{
	cleanup_buffer struct buffer query = BUFFER_INIT;
	struct nacos_request request = {
		.api = table->api,
		.what = table->what,
		.answer_limit = NACOS_ANSWER_LIMIT_CONTENT,
	};

	if (form_append_number(&query, "pageNo", (long)number) ||
	    form_append_number(&query, "pageSize", PAGE_SIZE))
		return call_fail(call, -ENOMEM, "%s: out of memory", table->what);
	request.query = query.data;
	return nacos_request_send_simple(client, &request, call, ret_answer);
}

/* Reads all pages once. ret_settled: their number stood still, and as many came. */
static int read_pass(struct nacos_client *client, const struct page_table *table, bool wrapped, struct call *call,
		     struct rows *rows, bool *ret_settled)
{
	int64_t received = 0, total = 0, first_total = -1;

	*ret_settled = true;
	for (size_t number = 1;; number++) {
		cleanup_http_answer struct http_answer answer = { 0 };
		size_t count = 0;
		int error = get_page(client, table, number, call, &answer);

		if (!error)
			error = take_page(table, wrapped, &answer, call, rows, &total, &count);
		if (error)
			return error;
		if (first_total < 0)
			first_total = total;
		received += (int64_t)count;
		if (total != first_total)
			*ret_settled = false;
		if (!count || received >= total)
			break;
	}
	*ret_settled &= received == total;
	return 0;
}

static int read_table(struct nacos_client *client, const struct page_table *table, bool wrapped, struct call *call,
		      struct rows *rows)
{
	bool settled = false;
	int error = 0;

	for (int pass = 0; pass < PASSES_MAX && !error && !settled; pass++) {
		rows_release(rows);
		error = read_pass(client, table, wrapped, call, rows, &settled);
	}
	if (!error && !settled)
		log_warning("%s: changed while it was read, some may be missing", table->what);
	return error;
}

/* ------------------------------------------------------------------- putting it together */

static int compare_rows(const void *a, const void *b)
{
	const struct row *left = a, *right = b;
	int order = strcmp(left->first, right->first);

	if (!order && left->second)
		order = strcmp(left->second, right->second);
	if (!order && left->third)
		order = strcmp(left->third, right->third);
	return order;
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
	for (; text && *text; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
	return (hash ^ 0xff) * UINT64_C(1099511628211);
}

static uint64_t hash_rows(uint64_t hash, const struct rows *rows)
{
	for (size_t i = 0; i < rows->count; i++) {
		hash = hash_text(hash, rows->list[i].first);
		hash = hash_text(hash, rows->list[i].second);
		hash = hash_text(hash, rows->list[i].third);
	}
	return hash;
}

static void sort_rows(struct rows *rows)
{
	if (rows->count)
		qsort(rows->list, rows->count, sizeof(*rows->list), compare_rows);
}

static int compare_role(const void *name, const void *role)
{
	return strcmp(name, ((const struct nacos_role *)role)->name);
}

static int compare_user(const void *name, const void *user)
{
	return strcmp(name, ((const struct nacos_user *)user)->name);
}

const struct nacos_role *nacos_rbac_role(const struct nacos_rbac *rbac, const char *name)
{
	return rbac->role_count ?
		       bsearch(name, rbac->roles, rbac->role_count, sizeof(*rbac->roles), compare_role) :
		       NULL;
}

const struct nacos_user *nacos_rbac_user(const struct nacos_rbac *rbac, const char *name)
{
	return rbac->user_count ?
		       bsearch(name, rbac->users, rbac->user_count, sizeof(*rbac->users), compare_user) :
		       NULL;
}

/* Roles exist by being bound to somebody, or by having a permission: rows are (role, ...), sorted. */
static int add_roles(struct nacos_rbac *rbac, const struct rows *bindings, const struct rows *permissions)
{
	size_t b = 0, p = 0;

	rbac->roles = calloc(bindings->count + permissions->count + 1, sizeof(*rbac->roles));
	if (!rbac->roles)
		return -ENOMEM;
	while (b < bindings->count || p < permissions->count) {
		bool binding = p == permissions->count ||
			       (b < bindings->count &&
				strcmp(bindings->list[b].first, permissions->list[p].first) <= 0);
		const char *name = binding ? bindings->list[b++].first : permissions->list[p++].first;
		struct nacos_role *last = rbac->role_count ? &rbac->roles[rbac->role_count - 1] : NULL;

		if (last && !strcmp(last->name, name))
			continue;
		struct nacos_role *role = &rbac->roles[rbac->role_count];
		role->name = strdup(name);
		if (!role->name)
			return -ENOMEM;
		role->is_admin = !strcmp(name, ADMIN_ROLE);
		rbac->role_count++;
	}
	return 0;
}

static int add_grant(struct nacos_rbac *rbac, struct nacos_role *role, const struct row *permission)
{
	cleanup_buffer struct buffer resource = BUFFER_INIT;
	struct nacos_pattern *pattern = NULL;
	unsigned actions = (strchr(permission->third, 'r') ? NACOS_ACTION_READ : 0) |
			   (strchr(permission->third, 'w') ? NACOS_ACTION_WRITE : 0);
	int error = nacos_resource_append_granted(rbac->generation, permission->second, &resource);

	if (!error)
		error = nacos_pattern_compile(resource.data, &pattern);
	if (error == -EINVAL) {
		role->spoiled |= actions;
		return 0;
	}
	if (error)
		return error;
	struct nacos_grant *grants = reallocarray(role->grants, role->grant_count + 1, sizeof(*grants));
	if (!grants) {
		nacos_pattern_free(pattern);
		return -ENOMEM;
	}
	role->grants = grants;
	grants[role->grant_count++] = (struct nacos_grant){ pattern, actions };
	return 0;
}

static int add_grants(struct nacos_rbac *rbac, const struct rows *permissions)
{
	int error = 0;

	for (size_t i = 0; i < permissions->count && !error; i++)
		error = add_grant(rbac, (struct nacos_role *)nacos_rbac_role(rbac, permissions->list[i].first),
				  &permissions->list[i]);
	return error;
}

static int add_users(struct nacos_rbac *rbac, const struct rows *users)
{
	rbac->users = calloc(users->count + 1, sizeof(*rbac->users));
	if (!rbac->users)
		return -ENOMEM;
	for (size_t i = 0; i < users->count; i++) {
		if (i && !strcmp(users->list[i].first, users->list[i - 1].first))
			continue;
		char *name = strdup(users->list[i].first);
		if (!name)
			return -ENOMEM;
		rbac->users[rbac->user_count++].name = name;
	}
	return 0;
}

static int bind_users(struct nacos_rbac *rbac, const struct rows *bindings)
{
	for (size_t i = 0; i < bindings->count; i++) {
		const struct nacos_role *role = nacos_rbac_role(rbac, bindings->list[i].first);
		struct nacos_user *user = (struct nacos_user *)nacos_rbac_user(rbac, bindings->list[i].second);

		if (!user)
			continue; /* removed, without its binding */
		size_t *roles = reallocarray(user->roles, user->role_count + 1, sizeof(*roles));
		if (!roles)
			return -ENOMEM;
		user->roles = roles;
		roles[user->role_count++] = (size_t)(role - rbac->roles);
	}
	return 0;
}

int nacos_rbac_load(struct nacos_client *client, struct call *call, struct nacos_rbac **ret_rbac)
{
	const struct nacos_generation *generation = nacos_client_features(client).generation;
	const struct page_table user_table = { &generation->users, "users of Nacos", { "username", NULL, NULL } };
	const struct page_table role_table = { &generation->roles, "roles of Nacos", { "role", "username", NULL } };
	const struct page_table permission_table = { &generation->permissions,
						"permissions of Nacos",
						{ "role", "resource", "action" } };
	cleanup_rows struct rows users = { 0 }, bindings = { 0 }, permissions = { 0 };
	bool wrapped = generation->wrapped;
	int error = read_table(client, &user_table, wrapped, call, &users);

	if (!error)
		error = read_table(client, &role_table, wrapped, call, &bindings);
	if (!error)
		error = read_table(client, &permission_table, wrapped, call, &permissions);
	if (error)
		return error;
	sort_rows(&users);
	sort_rows(&bindings);
	sort_rows(&permissions);
	struct nacos_rbac *rbac = calloc(1, sizeof(*rbac));
	if (!rbac)
		return -ENOMEM;
	rbac->generation = generation;
	rbac->fingerprint = hash_rows(hash_rows(hash_rows(1, &users), &bindings), &permissions);
	error = add_roles(rbac, &bindings, &permissions);
	if (!error)
		error = add_grants(rbac, &permissions);
	if (!error)
		error = add_users(rbac, &users);
	if (!error)
		error = bind_users(rbac, &bindings);
	if (error) {
		nacos_rbac_free(rbac);
		return error;
	}
	*ret_rbac = rbac;
	return 0;
}

void nacos_rbac_free(struct nacos_rbac *rbac)
{
	if (!rbac)
		return;
	for (size_t i = 0; i < rbac->role_count; i++) {
		for (size_t j = 0; j < rbac->roles[i].grant_count; j++)
			nacos_pattern_free(rbac->roles[i].grants[j].pattern);
		free(rbac->roles[i].grants);
		free(rbac->roles[i].name);
	}
	for (size_t i = 0; i < rbac->user_count; i++) {
		free(rbac->users[i].roles);
		free(rbac->users[i].name);
	}
	free(rbac->roles);
	free(rbac->users);
	free(rbac);
}

/* ----------------------------------------------------------------------- evaluating */

static unsigned actions_of(const struct nacos_role *role, const char *text,
			   bool (*matches)(const struct nacos_pattern *pattern, const char *text))
{
	unsigned actions = role->is_admin ? NACOS_ACTION_READ | NACOS_ACTION_WRITE : 0;

	for (size_t i = 0; i < role->grant_count; i++)
		if ((role->grants[i].actions & ~actions) && matches(role->grants[i].pattern, text))
			actions |= role->grants[i].actions;
	return actions;
}

unsigned nacos_role_actions(const struct nacos_role *role, const char *resource)
{
	return actions_of(role, resource, nacos_pattern_matches);
}

unsigned nacos_role_actions_below(const struct nacos_role *role, const char *prefix)
{
	return actions_of(role, prefix, nacos_pattern_matches_below);
}
