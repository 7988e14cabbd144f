#include "store/store.h"

#include <errno.h>
#include <stdlib.h>

void namespace_names_release(struct namespace_names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->ids[i]);
	free(names->ids);
	*names = (struct namespace_names){ NULL, 0 };
}

bool store_error_is_outage(int error)
{
	return error == -EHOSTUNREACH || error == -ETIMEDOUT || error == -ECONNABORTED || error == -EIO ||
	       error == -EPROTO;
}
