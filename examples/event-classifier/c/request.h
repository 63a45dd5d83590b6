/* request.h -- one HTTP/1.1 request taken from arriving bytes: its head, then its body.
 *
 * Receives bytes in any pieces. Owns the body collected so far. Emits whole requests. Refuses, with
 * a status and a reason, what is malformed, ambiguous about its own length, or over a limit; after
 * that nothing says where the next request would begin, so the connection must end. No I/O.
 */
#pragma once

#include "events.h"

#include <stdbool.h>

enum {
    REQUEST_HEAD_BYTES_MAX = 16384,
    REQUEST_BODY_BYTES_MAX = 1 << 20,
    REQUEST_CHUNK_LINE_BYTES_MAX = 256,
};

enum request_method { METHOD_GET, METHOD_HEAD, METHOD_POST, METHOD_OTHER };
enum request_path { PATH_ROOT, PATH_HEALTHZ, PATH_OTHER };
enum request_content { CONTENT_JSON, CONTENT_CLOUD, CONTENT_CLOUD_BATCH, CONTENT_OTHER };

enum request_stage { STAGE_HEAD, STAGE_BODY, STAGE_CHUNK_SIZE, STAGE_CHUNK, STAGE_CHUNK_END,
                     STAGE_TRAILERS };

struct request {
    enum request_stage stage;
    size_t left; /* of the body, or of the chunk */
    struct bytes body;

    /* Valid once the head was read. */
    enum request_method method;
    enum request_path path;
    enum request_content content;
    bool keep_alive, wants_continue;
    bool has_ce_version, ce_version_is_1_0, ce_id_fits;
    char ce_id[EVENT_ID_BYTES_MAX + 1];
};

void request_init(struct request *q); /* also for the next one; keeps the body's memory */
void request_done(struct request *q);
bool request_begun(const struct request *q, const struct bytes *in);

/* Takes from `in` what belongs to this request. 1: whole; 0: more must come; -1: refused. */
int request_take(struct request *q, struct bytes *in, struct refusal *ret_refusal);
