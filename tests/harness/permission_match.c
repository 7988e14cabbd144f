/* Says what nacos/permission makes of lines "VERSION <tab> GRANT <tab> NAMESPACE <tab> GROUP <tab> DATAID": 1, 0, or "-" for a grant of nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nacos/permission.h"

static void say(char *line)
{
	char *rest = line, *fields[5];
	struct nacos_features features;
	struct nacos_pattern *pattern = NULL;
	struct buffer resource = BUFFER_INIT, granted = BUFFER_INIT;

	for (size_t i = 0; i < 5; i++)
		fields[i] = strsep(&rest, "\t");
	if (!fields[4] || nacos_features_from_version(fields[0], &features) ||
	    nacos_resource_append_granted(features.generation, fields[1], &granted) ||
	    nacos_resource_append(features.generation, fields[2], *fields[3] ? fields[3] : NULL,
				  *fields[4] ? fields[4] : NULL, &resource))
		exit(1);
	if (nacos_pattern_compile(granted.data, &pattern))
		puts("-");
	else
		puts(nacos_pattern_matches(pattern, resource.data) ? "1" : "0");
	nacos_pattern_free(pattern);
	buffer_release(&resource);
	buffer_release(&granted);
}

int main(void)
{
	char line[4096];

	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		say(line);
	}
	return 0;
}
