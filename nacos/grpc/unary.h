/*
 * One request and its answer as gRPC frames them on an HTTP/2 stream. Belongs to the thread of the
 * connection; used by the modules of nacos/grpc only.
 *
 *	nacos_grpc_unary_start -> done(), or nacos_grpc_unary_cancel -> start again, or
 *	nacos_grpc_unary_release
 */
#ifndef NACOSFS_NACOS_GRPC_UNARY_H
#define NACOSFS_NACOS_GRPC_UNARY_H

#include <stdbool.h>
#include <stddef.h>

#include "nacos/grpc/payload.h"
#include "util/buffer.h"
#include "util/call.h"
#include "util/h2.h"

/* What both RPCs of the service have in common. */
#define NACOS_GRPC_HEADER_COUNT 2
extern const struct h2_header nacos_grpc_headers[NACOS_GRPC_HEADER_COUNT];
#define NACOS_GRPC_USER_AGENT "nacosfs/" NACOSFS_VERSION

struct nacos_grpc_outcome {
	/*
	 * 0: the answer is in frames.message; -EMSGSIZE: it, or the request, was too large; -EIO:
	 * there is none, or it is torn; -ENOMEM.
	 */
	int error;
	bool unprocessed; /* the server has certainly not acted on the request */
	char reason[CALL_REASON_SIZE];
};

/* All zeros but `done` is a fresh one. */
struct nacos_grpc_unary {
	void (*done)(struct nacos_grpc_unary *unary, const struct nacos_grpc_outcome *outcome);

	struct h2_stream *stream; /* NULL: not under way */
	struct nacos_frames frames;
	int http_status;
	int grpc_status; /* -1: not said */
};

/*
 * frame must stay as it is until done() or the cancellation; limit is for the answer. 0, -EIO,
 * -ENOMEM.
 */
int nacos_grpc_unary_start(struct nacos_grpc_unary *unary, struct h2 *h2,
			   const struct buffer *frame, size_t limit);

/* done() will not be called. Does nothing when it is not under way. */
void nacos_grpc_unary_cancel(struct nacos_grpc_unary *unary);

void nacos_grpc_unary_release(struct nacos_grpc_unary *unary);

#endif
