/*
 * nacos/permission: any grant against any resource. What matches must also be found possible below each of its beginnings,
 * and a grant without marks matches itself only.
 */
#include "tests/fuzz/fuzz.h"

#include "nacos/permission.h"
#include "util/text.h"

FUZZ_SEEDS(FUZZ_SEED("ns:*:*\nns:g:config/d"), FUZZ_SEED("ns:(a|b)+[c-e]*:config/x{2,3}?\nns:abcd:config/xx"),
	   FUZZ_SEED("[^a-c\\w]\\d.*$\n-1x"), FUZZ_SEED("(a*)*(a?){20}b\naaaaaaaaaaaaaaaaaaaaaaaa"), FUZZ_SEED("public:G\nG:public"));

static void check_beginnings(const struct nacos_pattern *pattern, const char *resource)
{
	char begin[256];

	for (size_t size = 0; size < strlen(resource) && size < sizeof(begin) - 1; size++) {
		memcpy(begin, resource, size);
		begin[size] = '\0';
		/* In the middle of a character nothing can be said. */
		if (text_is_utf8(begin, size) && !nacos_pattern_matches_below(pattern, begin))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *grant = malloc(size + 1), *resource;
	struct nacos_pattern *pattern = NULL;

	if (!grant)
		return 0;
	memcpy(grant, data, size);
	grant[size] = '\0';
	resource = strchr(grant, '\n');
	if (resource)
		*resource++ = '\0';
	else
		resource = grant + size;
	if (!nacos_pattern_compile(grant, &pattern)) {
		bool matches = nacos_pattern_matches(pattern, resource);
		if (matches)
			check_beginnings(pattern, resource);
		if (!strpbrk(grant, "*.[](){}|+?^$\\") && matches != !strcmp(grant, resource) &&
		    text_is_utf8(resource, strlen(resource)))
			abort();
		nacos_pattern_free(pattern);
	}
	free(grant);
	return 0;
}
