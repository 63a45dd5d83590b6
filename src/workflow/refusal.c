#include "workflow/refusal.h"

#include "codec/proto.h"

#include <stdarg.h>
#include <stdio.h>

static void PRINTF_LIKE(3, 0) refuse_text(struct refusal *no, enum code code, const char *fmt, va_list args)
{
    refusal_done(no);
    no->code = code;
    vsnprintf(no->text, sizeof(no->text), fmt, args);
}

int refuse(struct refusal *no, enum code code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    refuse_text(no, code, fmt, args);
    va_end(args);
    return -(int)code;
}

int refuse_with(struct refusal *no, enum code code, const char *type, void *take_detail, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    refuse_text(no, code, fmt, args);
    va_end(args);
    no->detail_type = type;
    no->detail = take_detail;
    return -(int)code;
}

void refusal_done(struct refusal *no)
{
    proto_free(no->detail);
    *no = (struct refusal){ 0 };
}
