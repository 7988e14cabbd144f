/*
 * Writes the manual page: the hand-written one, with the mount options of the program in the place
 * of its marker line. Runs at build time:
 *
 *	option-manual doc/nacosfs.8 > build/nacosfs.8
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "main/options.h"
#include "util/cleanup.h"

#define MARKER ".\\\" OPTIONS\n"

int main(int argc, char **argv)
{
	cleanup_free char *line = NULL;
	size_t allocated = 0;
	bool found = false;
	FILE *page = NULL;

	if (argc != 2) {
		fprintf(stderr, "usage: option-manual PAGE\n");
		return 2;
	}
	page = fopen(argv[1], "re");
	if (!page) {
		fprintf(stderr, "option-manual: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	while (getline(&line, &allocated, page) >= 0) {
		if (strcmp(line, MARKER)) {
			fputs(line, stdout);
			continue;
		}
		found = true;
		options_print_manual(stdout);
	}
	if (ferror(page) || fclose(page) || fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "option-manual: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	if (!found) {
		fprintf(stderr, "option-manual: %s has no line %s", argv[1], MARKER);
		return 1;
	}
	return 0;
}
