#include "net/http1.h"
#include "net/http1_body.h"
#include "net/http1_write.h"
#include "tap.h"

TEST(a_plain_request)
{
    struct limits l;
    limits_default(&l);
    struct http1_head h;
    http1_head_init(&h, HTTP1_REQUEST, &l);
    struct str in = STR(
        "GET /a?b=c HTTP/1.1\r\nHost: a.b:80\r\nConnection: x-y, close\r\nX-Y:  1 \r\n\r\nrest");
    CHECK_EQ(http1_head_feed(&h, in.at, in.size), HTTP1_DONE);
    CHECK(str_is(h.path, "/a") && str_is(h.query, "b=c") && str_is(h.host, "a.b"));
    CHECK(h.fields[2].hop && str_is(h.fields[2].value, "1") && !h.keep_alive);
    http1_head_done(&h);
}
TEST_MAIN()
