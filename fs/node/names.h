/*
 * What a file name says: is it a config, or an editor's private file that must never be published?
 *
 * The patterns are what vim, neovim, nano, emacs, joe, mg, sed, perl, rsync, patch, augeas,
 * ansible, crudini, Python, Java and Go were seen to make beside a file that they save.
 */
#ifndef NACOSFS_FS_NODE_NAMES_H
#define NACOSFS_FS_NODE_NAMES_H

#include <stdbool.h>

/* The directory at the root of the mount in which the daemon tells of itself. */
#define NAMES_CONTROL ".nacosfs"

/* Does it name a config whose content is a secret? Its text must not lie on a disk in clear. */
bool name_is_cipher(const char *name);

/*
 * Does the name of a private file say that it is one of such a config (.cipher-x.swp, cipher-x~)?
 */
bool name_is_of_cipher(const char *name);

/*
 * Is it, by its pattern, a swap, backup, probe, lock or temp file? Ask only of names that the
 * server does not have.
 */
bool name_is_private(const char *name);

/* May a directory of that name be made among configs, in memory (.git, .~tmp~)? */
bool name_is_private_directory(const char *name);

/*
 * Does name look like a temp file for config, though no pattern tells: the config's name and six or
 * more characters behind it (app.yamlX3fQ9a, app.yaml.oTcB007)?
 */
bool name_extends(const char *name, const char *config);

/* Nacos's type for a new config of that name, by its extension; "text" where it says nothing. */
const char *name_type(const char *name);

#endif
