#include "store/rbac.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "nacos/http/rbac.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/log.h"

#define MAP_SIZE_MAX ((size_t)1 << 20)
#define KNOWN_MAX 100000 /* places whose access is remembered; beyond, all of them are worked out anew */
#define RECENT_COUNT 64 /* lists that are compared with a new one, as most places have the same */
#define GROUPS_MAX 1024 /* local groups that one user belongs to */

/* -------------------------------------------------------------------- map files */

struct mapping {
	char *nacos, *local;
	bool ambiguous; /* one of the two stands there twice */
};

struct map {
	char *text; /* the mappings point into it */
	struct mapping *list;
	size_t count;
};

static void map_release(struct map *map)
{
	free(map->text);
	free(map->list);
	*map = (struct map){ 0 };
}

static char *trim(char *text)
{
	text += strspn(text, " \t\r");
	size_t size = strlen(text);
	while (size && strchr(" \t\r", text[size - 1]))
		text[--size] = '\0';
	return text;
}

static void take_line(struct map *map, char *line, const char *path, size_t number)
{
	char *nacos = trim(line), *equals = strchr(nacos, '=');

	if (!*nacos || *nacos == '#')
		return;
	if (equals)
		*equals = '\0';
	char *local = equals ? trim(equals + 1) : NULL;
	nacos = trim(nacos);
	if (!local || !*local || !*nacos) {
		log_error("%s:%zu: not NACOS NAME = LOCAL NAME, left out", path, number);
		return;
	}
	struct mapping *added = &map->list[map->count++];
	*added = (struct mapping){ nacos, local, false };
	for (struct mapping *other = map->list; other < added; other++) {
		if (strcmp(other->nacos, nacos) && strcmp(other->local, local))
			continue;
		if (!added->ambiguous)
			log_error("%s:%zu: \"%s\" or \"%s\" stands there twice, neither line counts", path, number, nacos,
				  local);
		other->ambiguous = added->ambiguous = true;
	}
}

static int read_map(const char *path, struct call *call, struct map *map)
{
	cleanup_buffer struct buffer content = BUFFER_INIT;
	size_t lines = 1, number = 0;
	int error = path ? file_read_whole(path, MAP_SIZE_MAX, call, &content) : 0;

	if (error || !path)
		return error;
	for (size_t i = 0; i < content.size; i++)
		lines += content.data[i] == '\n';
	map->text = strdup(content.data ? content.data : "");
	map->list = calloc(lines, sizeof(*map->list));
	if (!map->text || !map->list)
		return -ENOMEM;
	for (char *rest = map->text, *line; (line = strsep(&rest, "\n"));)
		take_line(map, line, path, ++number);
	return 0;
}

/* The local name for one of Nacos; NULL: none. What a map gives away, nobody has by name. */
static const char *map_name(const struct map *map, const char *nacos)
{
	for (size_t i = 0; i < map->count; i++)
		if (!strcmp(map->list[i].nacos, nacos))
			return map->list[i].ambiguous ? NULL : map->list[i].local;
	for (size_t i = 0; i < map->count; i++)
		if (!strcmp(map->list[i].local, nacos))
			return NULL;
	return nacos;
}

/* --------------------------------------------------------------------- snapshots */

/* A user or group of this machine, and the roles that it has. */
struct principal {
	bool is_group;
	unsigned id;
	size_t *roles;
	size_t role_count;
};

struct snapshot {
	struct nacos_rbac *rbac;
	uint64_t fingerprint; /* of all that follows, and of the grants */
	struct principal *principals; /* users, then groups, by id */
	size_t count;
	bool *role_is_used; /* by index: somebody here has it */
};

struct known {
	struct place_entry place_entry; /* first */
	struct access *access;
};

struct rbac {
	struct nacos_client *client;
	struct map users, groups;
	bool refused; /* the last refresh was; only the thread that refreshes looks at it */
	bool told_truncated;

	pthread_mutex_t lock; /* all below */
	struct snapshot *snapshot; /* NULL: nobody may do anything */
	struct table known; /* by place, of this snapshot */
	struct access *recent[RECENT_COUNT];
	unsigned recent_next;
};

static void snapshot_free(struct snapshot *snapshot)
{
	if (!snapshot)
		return;
	for (size_t i = 0; i < snapshot->count; i++)
		free(snapshot->principals[i].roles);
	free(snapshot->principals);
	free(snapshot->role_is_used);
	nacos_rbac_free(snapshot->rbac);
	free(snapshot);
}

static int add_role(struct principal *principal, size_t role)
{
	for (size_t i = 0; i < principal->role_count; i++)
		if (principal->roles[i] == role)
			return 0;
	size_t *roles = reallocarray(principal->roles, principal->role_count + 1, sizeof(*roles));
	if (!roles)
		return -ENOMEM;
	principal->roles = roles;
	roles[principal->role_count++] = role;
	return 0;
}

static struct principal *find_principal(const struct snapshot *snapshot, bool is_group, unsigned id)
{
	for (size_t i = 0; i < snapshot->count; i++)
		if (snapshot->principals[i].is_group == is_group && snapshot->principals[i].id == id)
			return &snapshot->principals[i];
	return NULL;
}

static int find_local(const char *name, bool is_group, unsigned *ret_id)
{
	if (is_group) {
		const struct group *group = getgrnam(name);
		if (!group)
			return -ENOENT;
		*ret_id = group->gr_gid;
		return 0;
	}
	const struct passwd *user = getpwnam(name);
	if (!user)
		return -ENOENT;
	*ret_id = user->pw_uid;
	return 0;
}

/* Adds who is called so here. root needs no entry. 0, -ENOENT when there is nobody, or -ENOMEM. */
static int add_principal(struct snapshot *snapshot, const char *local, bool is_group,
			 struct principal **ret_principal)
{
	unsigned id = 0;
	int error = find_local(local, is_group, &id);

	if (error || (!is_group && !id))
		return -ENOENT;
	*ret_principal = find_principal(snapshot, is_group, id);
	if (*ret_principal)
		return 0;
	struct principal *principals =
		reallocarray(snapshot->principals, snapshot->count + 1, sizeof(*principals));
	if (!principals)
		return -ENOMEM;
	snapshot->principals = principals;
	*ret_principal = &principals[snapshot->count++];
	**ret_principal = (struct principal){ .is_group = is_group, .id = id };
	return 0;
}

static int add_group_principals(struct snapshot *snapshot, const struct map *map)
{
	for (size_t i = 0; i < snapshot->rbac->role_count; i++) {
		const char *local = map_name(map, snapshot->rbac->roles[i].name);
		struct principal *principal = NULL;
		int error = local ? add_principal(snapshot, local, true, &principal) : -ENOENT;

		if (!error)
			error = add_role(principal, i);
		if (error == -ENOMEM)
			return error;
	}
	return 0;
}

/* A user's entry is all that counts for him, so it has what his groups have too. */
static int add_roles_of_groups(struct snapshot *snapshot, const char *local, struct principal *user)
{
	gid_t groups[GROUPS_MAX];
	int count = GROUPS_MAX, error = 0;
	const struct passwd *entry = getpwnam(local);

	if (!entry || getgrouplist(local, entry->pw_gid, groups, &count) < 0)
		return 0;
	for (int i = 0; i < count && !error; i++) {
		const struct principal *group = find_principal(snapshot, true, groups[i]);
		for (size_t j = 0; group && j < group->role_count && !error; j++)
			error = add_role(user, group->roles[j]);
	}
	return error;
}

static int add_user_principals(struct snapshot *snapshot, const struct map *map)
{
	for (size_t i = 0; i < snapshot->rbac->user_count; i++) {
		const struct nacos_user *user = &snapshot->rbac->users[i];
		const char *local = user->role_count ? map_name(map, user->name) : NULL;
		struct principal *principal = NULL;
		int error = local ? add_principal(snapshot, local, false, &principal) : -ENOENT;

		for (size_t j = 0; j < user->role_count && !error; j++)
			error = add_role(principal, user->roles[j]);
		if (!error)
			error = add_roles_of_groups(snapshot, local, principal);
		if (error == -ENOMEM)
			return error;
	}
	return 0;
}

/* Two snapshots that grant the same have the same. */
static uint64_t fingerprint(const struct snapshot *snapshot)
{
	uint64_t hash = snapshot->rbac->fingerprint;

	for (size_t i = 0; i < snapshot->count; i++) {
		const struct principal *principal = &snapshot->principals[i];

		hash = (hash ^ principal->id ^ (uint64_t)principal->is_group << 33) * UINT64_C(1099511628211);
		for (size_t j = 0; j < principal->role_count; j++)
			hash = (hash ^ principal->roles[j]) * UINT64_C(1099511628211);
	}
	return hash;
}

static int compare_principals(const void *a, const void *b)
{
	const struct principal *left = a, *right = b;

	if (left->is_group != right->is_group)
		return left->is_group - right->is_group;
	return left->id < right->id ? -1 : left->id > right->id;
}

static int mark_used_roles(struct snapshot *snapshot)
{
	snapshot->role_is_used = calloc(snapshot->rbac->role_count + 1, sizeof(bool));
	if (!snapshot->role_is_used)
		return -ENOMEM;
	for (size_t i = 0; i < snapshot->count; i++)
		for (size_t j = 0; j < snapshot->principals[i].role_count; j++)
			snapshot->role_is_used[snapshot->principals[i].roles[j]] = true;
	return 0;
}

/* Takes rbac. */
static int snapshot_new(struct nacos_rbac *rbac, const struct map *users, const struct map *groups,
			struct snapshot **ret_snapshot)
{
	struct snapshot *snapshot = calloc(1, sizeof(*snapshot));

	if (!snapshot) {
		nacos_rbac_free(rbac);
		return -ENOMEM;
	}
	snapshot->rbac = rbac;
	int error = add_group_principals(snapshot, groups);
	if (!error)
		error = add_user_principals(snapshot, users);
	if (!error)
		error = mark_used_roles(snapshot);
	if (error) {
		snapshot_free(snapshot);
		return error;
	}
	if (snapshot->count)
		qsort(snapshot->principals, snapshot->count, sizeof(*snapshot->principals), compare_principals);
	snapshot->fingerprint = fingerprint(snapshot);
	*ret_snapshot = snapshot;
	return 0;
}

/* --------------------------------------------------------------------- evaluating */

/* What each role that somebody here has grants at a place. */
struct evaluation {
	unsigned *rights; /* by role */
};

static int evaluate_config(const struct snapshot *snapshot, const struct place *place,
			   struct evaluation *evaluation)
{
	cleanup_buffer struct buffer resource = BUFFER_INIT;

	if (nacos_resource_append(snapshot->rbac->generation, place_namespace_id(place), place_group(place),
				  place_data_id(place), &resource))
		return -ENOMEM;
	for (size_t i = 0; i < snapshot->rbac->role_count; i++)
		if (snapshot->role_is_used[i])
			evaluation->rights[i] = nacos_role_actions(&snapshot->rbac->roles[i], resource.data);
	return 0;
}

/* Of a directory: listing is reading all of it; what is granted on anything in it lets one in, and create that. */
static int evaluate_directory(const struct snapshot *snapshot, const struct place *place,
			      struct evaluation *evaluation)
{
	cleanup_buffer struct buffer resource = BUFFER_INIT, prefix = BUFFER_INIT;
	const struct nacos_generation *generation = snapshot->rbac->generation;

	const char *namespace_id = place_namespace_id(place), *group = place_group(place);

	if (namespace_id && (nacos_resource_append(generation, namespace_id, group, NULL, &resource) ||
			     nacos_resource_append_prefix(generation, namespace_id, group, &prefix)))
		return -ENOMEM;
	for (size_t i = 0; i < snapshot->rbac->role_count; i++) {
		const struct nacos_role *role = &snapshot->rbac->roles[i];
		unsigned below;

		if (!snapshot->role_is_used[i])
			continue;
		below = nacos_role_actions_below(role, prefix.data ? prefix.data : "");
		/* Everybody may see which namespaces there are; only an admin makes one. */
		if (namespace_id)
			evaluation->rights[i] = (below & RIGHT_WRITE) |
						(nacos_role_actions(role, resource.data) & RIGHT_READ);
		else
			evaluation->rights[i] = (below ? RIGHT_READ : 0) | (role->is_admin ? RIGHT_WRITE : 0);
		if (below)
			evaluation->rights[i] |= RIGHT_ENTER;
	}
	return 0;
}

static unsigned rights_of(const struct snapshot *snapshot, const struct principal *principal,
			  const struct evaluation *evaluation)
{
	unsigned rights = 0, spoiled = 0;
	bool is_admin = false;

	for (size_t i = 0; i < principal->role_count; i++) {
		const struct nacos_role *role = &snapshot->rbac->roles[principal->roles[i]];

		rights |= evaluation->rights[principal->roles[i]];
		spoiled |= role->spoiled;
		is_admin |= role->is_admin;
	}
	if (!is_admin)
		rights &= ~spoiled;
	return rights;
}

static struct access *make_access(struct rbac *rbac, const struct snapshot *snapshot,
				  const struct evaluation *evaluation)
{
	struct access *access = calloc(1, sizeof(*access) + snapshot->count * sizeof(*access->entries));

	if (!access)
		return NULL;
	atomic_init(&access->references, 1);
	for (size_t i = 0; i < snapshot->count; i++) {
		const struct principal *principal = &snapshot->principals[i];
		unsigned rights = rights_of(snapshot, principal, evaluation);

		if (!(rights & (RIGHT_READ | RIGHT_WRITE | RIGHT_ENTER)))
			continue;
		if (access->count == RBAC_ENTRIES_MAX) {
			if (!rbac->told_truncated)
				log_error("rights=rbac: more than %d local users and groups have rights at one place; "
					  "the rest gets none",
					  RBAC_ENTRIES_MAX);
			rbac->told_truncated = true;
			break;
		}
		access->entries[access->count++] =
			(struct access_entry){ principal->is_group, principal->id, rights };
	}
	return access;
}

static bool same_access(const struct access *a, const struct access *b)
{
	if (!a || a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (a->entries[i].is_group != b->entries[i].is_group || a->entries[i].id != b->entries[i].id ||
		    a->entries[i].rights != b->entries[i].rights)
			return false;
	return true;
}

/* Most places have the same list: one of them is kept for all. Takes access. */
static struct access *share_access(struct rbac *rbac, struct access *access)
{
	for (size_t i = 0; i < RECENT_COUNT; i++) {
		if (!same_access(rbac->recent[i], access))
			continue;
		access_drop(access);
		return access_hold(rbac->recent[i]);
	}
	struct access **place = &rbac->recent[rbac->recent_next++ % RECENT_COUNT];
	access_drop(*place);
	*place = access_hold(access);
	return access;
}

static struct access *work_out(struct rbac *rbac, const struct place *place)
{
	const struct snapshot *snapshot = rbac->snapshot;
	size_t roles = snapshot->rbac->role_count;
	cleanup_free unsigned *rights = calloc(roles + 1, sizeof(*rights));
	struct evaluation evaluation = { .rights = rights };

	if (!rights)
		return NULL;
	int error = place->depth == PLACE_CONFIG ? evaluate_config(snapshot, place, &evaluation) :
				     evaluate_directory(snapshot, place, &evaluation);
	struct access *access = error ? NULL : make_access(rbac, snapshot, &evaluation);
	return access ? share_access(rbac, access) : NULL;
}

/* ----------------------------------------------------------------- what was worked out */

static void forget_known(struct rbac *rbac)
{
	for (struct table_link *link = table_next(&rbac->known, NULL), *next; link; link = next) {
		struct known *known = (struct known *)link;

		next = table_next(&rbac->known, link);
		access_drop(known->access);
		place_drop(known->place_entry.place);
		free(known);
	}
	table_release(&rbac->known);
	for (size_t i = 0; i < RECENT_COUNT; i++) {
		access_drop(rbac->recent[i]);
		rbac->recent[i] = NULL;
	}
}

static void remember(struct rbac *rbac, struct place *place, struct access *access)
{
	struct known *known = calloc(1, sizeof(*known));

	if (!known)
		return;
	known->access = access_hold(access);
	place_table_add(&rbac->known, &known->place_entry, place);
}

struct access *rbac_find(struct rbac *rbac, struct place *place)
{
	struct access *access = NULL;

	pthread_mutex_lock(&rbac->lock);
	const struct known *known = (struct known *)place_table_find(&rbac->known, place);
	if (known) {
		access = access_hold(known->access);
	} else if (rbac->snapshot) {
		if (rbac->known.count >= KNOWN_MAX)
			forget_known(rbac);
		access = work_out(rbac, place);
		if (access)
			remember(rbac, place, access);
	}
	pthread_mutex_unlock(&rbac->lock);
	return access;
}

/* -------------------------------------------------------------------- life and death */

static void use_snapshot(struct rbac *rbac, struct snapshot *snapshot)
{
	pthread_mutex_lock(&rbac->lock);
	struct snapshot *old = rbac->snapshot;
	rbac->snapshot = snapshot;
	forget_known(rbac);
	pthread_mutex_unlock(&rbac->lock);
	snapshot_free(old);
}

/* One line for each role whose grants are no use, when it comes to be so. */
static void report_spoiled(const struct snapshot *old, const struct nacos_rbac *rbac)
{
	for (size_t i = 0; i < rbac->role_count; i++) {
		const struct nacos_role *before = old ? nacos_rbac_role(old->rbac, rbac->roles[i].name) : NULL;

		if (rbac->roles[i].spoiled && (!before || before->spoiled != rbac->roles[i].spoiled))
			log_error("rights=rbac: role %s has a permission that is no pattern which is understood: "
				  "who has it gets nothing of that kind",
				  rbac->roles[i].name);
	}
}

int rbac_refresh(struct rbac *rbac, struct call *call, bool *ret_changed)
{
	struct nacos_rbac *loaded = NULL;
	struct snapshot *snapshot = NULL;
	int error = nacos_rbac_load(rbac->client, call, &loaded);

	if (!error) {
		report_spoiled(rbac->snapshot, loaded);
		error = snapshot_new(loaded, &rbac->users, &rbac->groups, &snapshot);
	}
	if (!error) {
		if (rbac->refused)
			log_info("rights=rbac: users and roles can be read again");
		rbac->refused = false;
		*ret_changed = !rbac->snapshot || rbac->snapshot->fingerprint != snapshot->fingerprint;
		if (*ret_changed)
			use_snapshot(rbac, snapshot);
		else
			snapshot_free(snapshot);
		return 0;
	}
	if (error == -EACCES || error == -EOPNOTSUPP) {
		if (!rbac->refused && rbac->snapshot)
			log_error("rights=rbac: nobody gets any rights from now on: %s", call->reason);
		rbac->refused = true;
		*ret_changed = rbac->snapshot;
		use_snapshot(rbac, NULL);
	}
	return error;
}

static struct access *find_access(void *rbac, struct place *place)
{
	return rbac_find(rbac, place);
}

static int refresh(void *rbac, struct call *call, bool *ret_changed)
{
	return rbac_refresh(rbac, call, ret_changed);
}

struct rights_users rbac_users(struct rbac *rbac)
{
	return (struct rights_users){ .find = find_access, .refresh = refresh, .arg = rbac, .owner = CALL_NO_USER };
}

static void report_unknown(const struct map *map, bool is_group)
{
	unsigned id;

	for (size_t i = 0; i < map->count; i++)
		if (!map->list[i].ambiguous && find_local(map->list[i].local, is_group, &id))
			log_warning("%s \"%s\" of the map is not known here", is_group ? "group" : "user",
				    map->list[i].local);
}

int rbac_new(struct nacos_client *client, const struct rbac_options *options, struct call *call,
	     struct rbac **ret_rbac)
{
	struct rbac *rbac = calloc(1, sizeof(*rbac));

	if (!rbac)
		return -ENOMEM;
	pthread_mutex_init(&rbac->lock, NULL);
	rbac->client = client;
	int error = read_map(options->usermap_file, call, &rbac->users);
	if (!error)
		error = read_map(options->rolemap_file, call, &rbac->groups);
	bool changed;
	if (!error)
		error = rbac_refresh(rbac, call, &changed);
	if (error) {
		rbac_free(rbac);
		return error == -EACCES ? call_fail(call, error, "rights=rbac needs an admin account: it may not read the "
								 "users, roles and permissions") :
					  error;
	}
	report_unknown(&rbac->users, false);
	report_unknown(&rbac->groups, true);
	*ret_rbac = rbac;
	return 0;
}

void rbac_free(struct rbac *rbac)
{
	if (!rbac)
		return;
	forget_known(rbac);
	snapshot_free(rbac->snapshot);
	map_release(&rbac->users);
	map_release(&rbac->groups);
	pthread_mutex_destroy(&rbac->lock);
	free(rbac);
}
