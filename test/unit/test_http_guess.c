/* A server that speaks the other HTTP gives itself away with its first bytes. */
#include "net/http_guess.h"
#include "tap.h"

#define FIRST(text) (struct str){ text, sizeof(text) - 1 }

TEST(an_http_2_server_is_known_by_its_first_frame)
{
    static const struct {
        struct str first;
        bool h2;
    } rows[] = {
        { FIRST("\0\0\0\4\0\0\0\0\0"), true },                                     /* SETTINGS, none */
        { FIRST("\0\0\x12\4\0\0\0\0\0\0\3\0\0\0\x64\0\4\0\0\xff\xff\0\5\0\0\x40\0"), true }, /* with three */
        { FIRST("\0\0\x8\7\0\0\0\0\0\0\0\0\0\0\0\0\1"), true },                      /* GOAWAY */
        { FIRST("\0\0\0\4"), true },                                               /* cut short */
        { FIRST("\0\0\0"), false },                                                /* too short to tell */
        { FIRST(""), false },
        { FIRST("\0\0\5\4\0\0\0\0\0"), false },       /* no whole setting */
        { FIRST("\0\0\0\4\0\0\0\0\1"), false },       /* of a stream */
        { FIRST("\0\0\0\1\4\0\0\0\1"), false },       /* HEADERS never come first */
        { FIRST("\0\xff\xfc\4\0\0\0\0\0"), false },    /* larger than anybody allowed yet */
        { FIRST("HTTP/1.1 400 Bad Request\r\n"), false },
        { FIRST("<!DOCTYPE HTML>"), false },          /* Python's answer to the greeting */
        { FIRST("\x16\3\1\2\0\1\0\1\xfc"), false },    /* TLS */
        { FIRST("\x15\3\1\0\2\2\x46"), false },        /* its alert */
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (http_guess_is_h2(rows[i].first) != rows[i].h2)
            FAIL("row %zu", i);
}

TEST_MAIN()
