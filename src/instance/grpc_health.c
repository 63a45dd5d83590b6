#include "instance/grpc_health.h"

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5, FIELD_STATUS = 1 };

const char *grpc_health_name(uint64_t status)
{
    static const char *const names[] = { "UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN" };
    return status < COUNT_OF(names) ? names[status] : "UNRECOGNIZED";
}

static void varint_put(struct buf *b, uint64_t n)
{
    for (; n >= 0x80; n >>= 7) {
        const unsigned char byte = (unsigned char)(n | 0x80);
        buf_append(b, &byte, 1);
    }
    const unsigned char last = (unsigned char)n;
    buf_append(b, &last, 1);
}

void grpc_health_ask(const char *service, struct buf *into)
{
    if (!service || !*service) /* proto3: an empty text is not sent */
        return;
    varint_put(into, FIELD_STATUS << 3 | WIRE_BYTES);
    varint_put(into, strlen(service));
    buf_text(into, service);
}

static bool varint_take(struct str *rest, uint64_t *ret)
{
    uint64_t n = 0;
    for (unsigned shift = 0; rest->size > 0 && shift < 64; shift += 7) {
        const unsigned char byte = (unsigned char)rest->at[0];
        *rest = str_from(*rest, 1);
        n |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = n;
            return true;
        }
    }
    return false;
}

/* A field that is newer than us is stepped over. */
static bool skip(struct str *rest, unsigned wire)
{
    uint64_t size = 0;
    switch (wire) {
    case WIRE_VARINT: return varint_take(rest, &size);
    case WIRE_64: size = 8; break;
    case WIRE_32: size = 4; break;
    case WIRE_BYTES:
        if (!varint_take(rest, &size))
            return false;
        break;
    default: return false;
    }
    if (size > rest->size)
        return false;
    *rest = str_from(*rest, (size_t)size);
    return true;
}

bool grpc_health_parse(struct str message, uint64_t *ret_status)
{
    uint64_t status = GRPC_HEALTH_UNKNOWN, tag;
    while (message.size > 0) {
        if (!varint_take(&message, &tag) || tag >> 3 == 0)
            return false;
        bool ok = tag == (FIELD_STATUS << 3 | WIRE_VARINT) ? varint_take(&message, &status)
                                                            : skip(&message, (unsigned)(tag & 7));
        if (!ok)
            return false;
    }
    *ret_status = status;
    return true;
}
