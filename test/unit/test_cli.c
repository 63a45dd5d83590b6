/* The command table and the small texts around it. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/start_dev.h"
#include "cli/complete.h"
#include "cli/exits.h"
#include "cli/help.h"
#include "cli/human.h"
#include "cli/manifest.h"
#include "cli/redeploy.h"
#include "cli/remote.h"
#include "cli/table.h"
#include "cli/warnings.h"
#include "tap.h"

int serve_main(int argc, char **argv) { return argc + (argv != NULL); }
int server_main(int argc, char **argv) { return argc + (argv != NULL); }

/* ---- exit status ---- */

TEST(a_code_of_the_server_becomes_the_documented_status)
{
    static const struct {
        int http;
        const char *reason;
        int exits;
    } cases[] = {
        { 400, "BadRequest", 1 }, { 401, NULL, 4 },       { 403, "Forbidden", 4 },
        { 404, "NotFound", 3 },   { 409, "Conflict", 5 }, { 409, "AlreadyExists", 5 },
        { 412, NULL, 5 },         { 422, "Invalid", 1 },  { 429, NULL, 6 },
        { 500, NULL, 1 },         { 503, NULL, 6 },       { 504, NULL, 7 },
        { 418, NULL, 1 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int got = (int)exits_of_code(exits_code_of_http(cases[i].http, cases[i].reason));
        if (got != cases[i].exits)
            FAIL("%d: %d, expected %d", cases[i].http, got, cases[i].exits);
    }
    CHECK_EQ(exits_of_code(CODE_UNAVAILABLE), 1); /* no server there: waiting does not help */
}

TEST(an_invocation_tells_hobs_failures_from_the_functions)
{
    CHECK_EQ(exits_of_invocation(200, NULL), 0);
    CHECK_EQ(exits_of_invocation(404, NULL), 0); /* a function's 404 is its answer */
    CHECK_EQ(exits_of_invocation(500, NULL), 8);
    CHECK_EQ(exits_of_invocation(503, NULL), 8);
    CHECK_EQ(exits_of_invocation(404, "unknown-host"), 3);
    CHECK_EQ(exits_of_invocation(429, "overloaded"), 6);
    CHECK_EQ(exits_of_invocation(503, "queue-full"), 6);
    CHECK_EQ(exits_of_invocation(503, "start-failed"), 6);
    CHECK_EQ(exits_of_invocation(504, "deadline"), 7);
    CHECK_EQ(exits_of_invocation(502, "instance-died"), 7);
}

TEST(what_the_server_says_is_what_the_error_says)
{
    struct limits l;
    struct err e = { 0 };
    limits_default(&l);
    int r = remote_error(409,
                         STR("{\"kind\":\"Status\",\"reason\":\"AlreadyExists\","
                             "\"message\":\"services \\\"a\\\" already exists\"}"),
                         &l, &e);
    CHECK_EQ(r, -CODE_EXISTS);
    CHECK_STR(e.text, "services \"a\" already exists");
    r = remote_error(503,
                     STR("{\"type\":\"urn:hob:problem:queue-full\",\"title\":\"t\","
                         "\"detail\":\"1000 wait\\u001b[31m\"}"),
                     &l, &e);
    CHECK_EQ(r, -CODE_EXHAUSTED);
    CHECK_STR(e.text, "1000 wait?[31m");
    r = remote_error(500, STR("<html>oops\nmore"), &l, &e);
    CHECK_EQ(r, -CODE_INTERNAL);
    CHECK_STR(e.text, "<html>oops");
    r = remote_error(502, STR(""), &l, &e);
    CHECK_STR(e.text, "the server answered 502");
}

TEST(names_are_encoded_into_targets)
{
    AUTO_FREE char *t = remote_target("/ns/", "a b/../c", "/services/", "x?y=\xc3\xa9", NULL);
    CHECK_STR(t, "/ns/a%20b%2F..%2Fc/services/x%3Fy%3D%C3%A9");
}

/* ---- numbers and times ---- */

TEST(durations_have_three_digits)
{
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {
        { 0, "0 ms" },          { 1, "0.001 ms" },      { 9, "0.009 ms" },
        { 10, "0.01 ms" },      { 214, "0.21 ms" },     { 9994, "9.99 ms" },
        { 9996, "10.0 ms" },    { 99940, "99.9 ms" },   { 99960, "100 ms" },
        { 412300, "412 ms" },   { 999600, "1000 ms" },  { 9999999, "10000 ms" },
        { 10000000, "10.0 s" }, { 119900000, "120 s" }, { 125000000, "2 min 05 s" },
        { -3600, "-3.60 ms" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (strcmp(human_us(cases[i].us, HUMAN), cases[i].text) != 0)
            FAIL("%lld is '%s', expected '%s'", (long long)cases[i].us,
                 human_us(cases[i].us, HUMAN), cases[i].text);
    (void)human_us(INT64_MIN, HUMAN);
}

TEST(bytes_and_ages)
{
    CHECK_STR(human_bytes(0, HUMAN), "0 B");
    CHECK_STR(human_bytes(999, HUMAN), "999 B");
    CHECK_STR(human_bytes(1000, HUMAN), "0.98 KiB");
    CHECK_STR(human_bytes(46137344, HUMAN), "44.0 MiB");
    CHECK_STR(human_bytes(UINT64_MAX, HUMAN), "16.0 EiB");
    CHECK_STR(human_rate(46137344, 212000, HUMAN), "208 MiB/s");
    CHECK_STR(human_rate(1, 0, HUMAN), "");
    CHECK_STR(human_age(-5, HUMAN), "0s");
    CHECK_STR(human_age(119, HUMAN), "119s");
    CHECK_STR(human_age(300, HUMAN), "5m");
    CHECK_STR(human_age(301, HUMAN), "5m1s");
    CHECK_STR(human_age(4 * 3600 + 720, HUMAN), "4h12m");
    CHECK_STR(human_age(86400 * 3, HUMAN), "3d");
    CHECK_STR(human_permille(996, HUMAN), "99.6 %");
    CHECK_STR(human_permille(-5, HUMAN), "-0.5 %");
}

TEST(rfc3339_both_ways)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1: refused */
    } cases[] = {
        { "1970-01-01T00:00:00Z", 0 },
        { "2026-11-23T11:04:05.123Z", 1795431845123 },
        { "2026-11-23T12:04:05.123456+01:00", 1795431845123 },
        { "2024-02-29T23:59:60Z", 1709251200000 },
        { "2026-13-01T00:00:00Z", -1 },
        { "2026-11-23 11:04:05Z", -1 },
        { "2026-11-23T11:04:05", -1 },
        { "2026-11-23T11:04:05.Z", -1 },
        { "2026-11-23T11:04:05Zx", -1 },
        { "", -1 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t ms = -7;
        bool ok = human_rfc3339_parse(str_of(cases[i].text), &ms);
        if (ok != (cases[i].ms >= 0) || ms != (ok ? cases[i].ms : -7))
            FAIL("'%s': %d %lld", cases[i].text, ok, (long long)ms);
    }
    CHECK_STR(human_rfc3339(1795431845123, HUMAN), "2026-11-23T11:04:05.123Z");
    CHECK_STR(human_rfc3339(-1, HUMAN), "1969-12-31T23:59:59.999Z");
}

/* ---- terminal ---- */

static const char *const *fake_env; /* pairs, NULL at the end */
static const char *env_of(void *ctx, const char *name)
{
    (void)ctx;
    for (const char *const *at = fake_env; *at; at += 2)
        if (strcmp(at[0], name) == 0)
            return at[1];
    return NULL;
}
static struct term decide(bool tty, uint32_t columns, const char *colour, const char *const *env)
{
    fake_env = env;
    return term_decide(&(struct term_facts){ tty, columns, colour, env_of, NULL });
}
#define ENV(...) ((const char *const[]){ __VA_ARGS__, NULL })

TEST(colour_is_for_terminals_that_want_it)
{
    CHECK(decide(true, 80, NULL, ENV("TERM", "xterm")).colour);
    CHECK(!decide(false, 80, NULL, ENV("TERM", "xterm")).colour);
    CHECK(!decide(true, 80, NULL, ENV("TERM", "dumb")).colour);
    CHECK(!decide(true, 80, NULL, ENV("TERM", "xterm", "NO_COLOR", "1")).colour);
    CHECK(decide(true, 80, NULL, ENV("TERM", "xterm", "NO_COLOR", "")).colour);
    CHECK(decide(false, 80, "always", ENV("NO_COLOR", "1")).colour); /* said by name */
    CHECK(!decide(true, 80, "never", ENV("TERM", "xterm")).colour);
}

TEST(width_and_characters)
{
    CHECK_EQ(decide(true, 132, NULL, ENV("COLUMNS", "90")).width, 132);
    CHECK_EQ(decide(false, 0, NULL, ENV("COLUMNS", "90")).width, 90);
    CHECK_EQ(decide(false, 0, NULL, ENV("COLUMNS", "x")).width, 100);
    CHECK_EQ(decide(true, 3, NULL, ENV("LANG", "C")).width, 40);
    CHECK(decide(true, 80, NULL, ENV("LANG", "de_AT.UTF-8")).utf8);
    CHECK(!decide(true, 80, NULL, ENV("LANG", "de_AT.UTF-8", "LC_ALL", "C")).utf8);
    CHECK(decide(true, 80, NULL, ENV("LC_CTYPE", "C.utf8")).utf8);
    CHECK_EQ(term_columns(STR("a\xc3\xa9\xe6\x97\xa5\xcc\x81")), 4);
}

TEST(outside_text_loses_its_power_and_keeps_its_words)
{
    static const struct {
        const char *text, *clean, *coloured;
    } cases[] = {
        { "plain", "plain", "plain" },
        { "\033[31mred", "?[31mred", "\033[31mred\033[0m" },
        { "\033[2Jgone", "?[2Jgone", "?[2Jgone" },
        { "\033]0;title\007", "?]0;title?", "?]0;title?" },
        { "a\xc2\x9b"
          "31mb",
          "a?31mb", "a?31mb" },
        { "\xe2\x80\xae"
          "cba",
          "?cba", "?cba" },
        { "\xff\xc3", "??", "??" },
        { "\xc0\xaf", "??", "??" },
        { "tab\tand\nline", "tab\tand?line", "tab\tand?line" },
        { "\xf0\x9f\x99\x82", "\xf0\x9f\x99\x82", "\xf0\x9f\x99\x82" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (int colour = 0; colour < 2; colour++) {
            struct buf b;
            buf_init(&b, 1000);
            term_clean(&b, str_of(cases[i].text), colour);
            AUTO_FREE char *got = buf_take_text(&b);
            if (strcmp(got, colour ? cases[i].coloured : cases[i].clean) != 0)
                FAIL("row %zu with colour %d: '%s'", i, colour, got);
        }
}

TEST(lines_of_a_message_stay_lines_and_cannot_steer)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        { "", "" },
        { "one", "one" },
        { "what: why?\nan image is a folder", "what: why?\n  an image is a folder" },
        { "a\r\n\n\tb\n", "a\n  b" },
        { "\n\033[2J\na\rb\n\x9b", "?[2J\n  a?b\n  ?" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        for (int again = 0; again < 2; again++) {
            struct buf b;
            buf_init(&b, 1000);
            term_clean_lines(&b, str_of(again ? rows[i].want : rows[i].text), 2);
            AUTO_FREE char *got = buf_take_text(&b);
            CHECK_STR(got, rows[i].want);
        }
}

TEST(a_table_lines_up_by_columns_not_by_bytes)
{
    static const struct table_column columns[] = {
        { "NAME" }, { "N", .right = true }, { "W", .wide = true }, { "END" }
    };
    const struct term plain = { .width = 80 };
    struct table t;
    struct buf b;
    buf_init(&b, 4096);
    table_init(&t, columns, 4, false);
    table_cell(&t, STYLE_PLAIN, "\xc3\xa9t\xc3\xa9");
    table_cell(&t, STYLE_PLAIN, "%d", 7);
    table_cell(&t, STYLE_PLAIN, "hidden");
    table_cell(&t, STYLE_BAD, "x\033");
    table_cell(&t, STYLE_PLAIN, "longer");
    table_cell(&t, STYLE_PLAIN, "1234");
    table_cell(&t, STYLE_PLAIN, "hidden");
    table_cell(&t, STYLE_PLAIN, "%s", "");
    table_write(&t, &plain, &b);
    table_done(&t);
    AUTO_FREE char *text = buf_take_text(&b);
    CHECK_STR(text, "NAME       N  END\n\xc3\xa9t\xc3\xa9        7  x?\nlonger  1234  \n");
}

static char *table_of(const struct term *term, const char *name, const char *message)
{
    static const struct table_column columns[] = { { "NAME" }, { "MESSAGE" } };
    struct table t;
    struct buf b;
    buf_init(&b, 32768);
    table_init(&t, columns, 2, false);
    table_cell(&t, STYLE_PLAIN, "%s", name);
    table_cell(&t, STYLE_PLAIN, "%s", message);
    table_write(&t, term, &b);
    table_done(&t);
    return buf_take_text(&b);
}

TEST(a_cell_of_several_lines_is_one_of_words)
{
    const struct term plain = { .width = 40 };
    AUTO_FREE char *text = table_of(&plain, "a\tb", " Traceback:\n\tFile \"f\"\r\n  \xc3\xa9t\xc3\xa9\033[2J\n");
    CHECK_STR(text, "NAME  MESSAGE\na b   Traceback: File \"f\" \xc3\xa9t\xc3\xa9?[2J\n");
}

TEST(a_cell_that_is_too_long_ends_with_a_whole_character)
{
    char many[6001] = "x";
    for (size_t i = 1; i + 2 < sizeof many; i += 2)
        memcpy(many + i, "\xc3\xa9", 3);
    for (size_t shift = 0; shift < 2; shift++) {
        const struct term plain = { .width = 40 };
        AUTO_FREE char *text = table_of(&plain, "a", many + shift);
        CHECK(!strchr(text, '?'));
        CHECK(strstr(text, "\xc3\xa9 ...\n"));
    }
}

TEST(the_last_column_stays_within_the_terminal)
{
    const struct term narrow = { .tty = true, .width = 40 }, piped = { .width = 40 };
    const char *words = "the model was not found where \xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e said it would be";
    AUTO_FREE char *folded = table_of(&narrow, "greeter", words);
    CHECK_STR(folded, "NAME     MESSAGE\n"
                      "greeter  the model was not found where\n"
                      "         \xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e said it would be\n");
    struct str rest = str_of(folded);
    while (rest.size)
        CHECK(term_columns(str_cut(&rest, '\n')) <= 40);
    AUTO_FREE char *line = table_of(&piped, "greeter", words);
    CHECK(strstr(line, "where \xe6\x97\xa5")); /* a program reads one line per row */
    AUTO_FREE char *tight = table_of(&narrow, "a-name-that-leaves-no-room-at-all", words);
    CHECK(strstr(tight, "where \xe6\x97\xa5"));
}

TEST(a_word_that_is_wider_than_its_column_is_cut_between_characters)
{
    const struct str wide = STR("\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e");
    CHECK_EQ(term_fit(wide, 5).size, 6);
    CHECK_EQ(term_fit(wide, 1).size, 3); /* at least one, or nobody would ever be done */
    CHECK_EQ(term_fit(STR("one two"), 5).size, 3);
    CHECK_EQ(term_fit(STR("one two"), 7).size, 7);
}

TEST(columns_are_counted_as_a_terminal_does)
{
    static const struct {
        const char *text;
        uint32_t columns;
    } rows[] = {
        { "\xe2\x9c\x85", 2 },          /* U+2705, a check mark as a picture */
        { "\xf0\x9f\x9a\x80", 2 },      /* U+1F680 */
        { "\xe2\x9c\x93", 1 },          /* U+2713, one as a letter */
        { "\xe0\xb8\x81\xe0\xb8\xb4", 1 }, /* Thai: a vowel above */
        { "e\xcc\x81", 1 },             { "\xef\xbc\xa1", 2 }, /* U+FF21 */
        { "\xef\xbd\xb1", 1 },          /* U+FF71, half wide */
        { "\xe2\x96\x88", 1 },          /* the bars of the waterfall */
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (term_columns(str_of(rows[i].text)) != rows[i].columns)
            FAIL("row %zu: %u", i, term_columns(str_of(rows[i].text)));
}

/* ---- the command table ---- */

TEST(every_command_has_a_page_of_fifty_lines_with_examples_first)
{
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *command = cli_commands[i];
        struct buf b;
        int lines = 0;
        buf_init(&b, KIB(64));
        help_command(command, &(struct term){ .width = 80 }, &b);
        AUTO_FREE char *text = buf_take_text(&b);
        for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
            lines++;
        if (lines > 50)
            FAIL("%s: %d lines", command->name, lines);
        if (!command->hidden &&
            !(strstr(text, "examples") && strstr(text, "examples") < strstr(text, "usage")))
            FAIL("%s: no examples before the usage", command->name);
        CHECK(command->run || command->run_raw);
        CHECK(!command->opt_count || command->args_size > 0);
    }
}

TEST(no_option_of_a_command_hides_another)
{
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *command = cli_commands[i];
        size_t total = command->opt_count + (command->run_raw ? 0 : cli_global_opt_count); /* those have only their own */
        for (size_t a = 0; a < total; a++)
            for (size_t b = a + 1; b < total; b++) {
                const struct opt *x = a < command->opt_count
                                          ? &command->opts[a]
                                          : &cli_global_opts[a - command->opt_count];
                const struct opt *y = b < command->opt_count
                                          ? &command->opts[b]
                                          : &cli_global_opts[b - command->opt_count];
                if (strcmp(x->name, y->name) == 0 || (x->letter && x->letter == y->letter))
                    FAIL("%s: --%s and --%s", command->name, x->name, y->name);
            }
    }
}

TEST(start_dev_understands_what_sdks_say_to_it)
{
    static const char *const words[] = { "start-dev", "--port", "7300", "--namespace", "default", "--ip", "127.0.0.1",
                                         "--log-format", "pretty", "--log-level", "warn", "--dynamic-config-value", "a.b=true",
                                         "--dynamic-config-value", "c=1", "--db-filename", "x", "--headless",
                                         "--search-attribute", "A=Int", "--search-attribute", "B=Keyword" };
    static const char *const nothing[] = { "--port", "7300" };
    struct serve_settings s;
    struct err e;
    CHECK_EQ(start_dev_read(&s, COUNT_OF(words), words, &e), 0);
    CHECK_STR(s.listen_temporal, "127.0.0.1:7300");
    CHECK_STR(s.listen_ingress, "127.0.0.1:0"); /* beside another hob */
    CHECK_STR(s.data, "x");
    CHECK(s.quiet && s.namespaces.count == 1 && s.attributes.count == 2);
    CHECK_STR(s.namespaces.at[0], "default");
    CHECK_STR(s.attributes.at[1], "B=Keyword");
    serve_settings_done(&s);
    CHECK_EQ(start_dev_read(&s, COUNT_OF(nothing), nothing, &e), -CODE_INVALID);
    serve_settings_done(&s);
}

/* ---- completion ---- */

static void two_services(void *ctx, enum opt_complete of, struct buf *into)
{
    (void)ctx;
    if (of == OPT_COMPLETE_SERVICES)
        buf_text(into, "greeter\nclassifier\n");
}
static const char *completed(char into[4096], const char *const *words)
{
    const struct complete_source source = { two_services, NULL };
    size_t count = 0;
    struct buf b;
    while (words[count])
        count++;
    buf_init(&b, 4000);
    complete_write(words, count, &source, &b);
    snprintf(into, 4096, STR_FMT, STR_ARG(buf_str(&b)));
    buf_done(&b);
    return into;
}
#define COMPLETED(...) completed((char[4096]){ 0 }, (const char *const[]){ __VA_ARGS__, NULL })

TEST(completion_knows_what_can_stand_where)
{
    CHECK_STR(COMPLETED("expl"), "explain\twhere the time of an invocation went, phase by phase\n");
    CHECK_STR(COMPLETED("invoke", "g"), "greeter\t\n");
    CHECK_STR(COMPLETED("get", "re"), "revisions\t\n");
    CHECK_STR(COMPLETED("get", "services", "c"), "classifier\t\n");
    CHECK_STR(COMPLETED("get", "services", "rev"), "");
    CHECK_STR(COMPLETED("get", "-o", "y"), "yaml\t\n");
    CHECK_STR(COMPLETED("get", "--output=y"), "--output=yaml\t\n");
    CHECK_STR(COMPLETED("-n", "get", "invoke", "gr"), "greeter\t\n"); /* get: a namespace here */
    CHECK_STR(COMPLETED("apply", "-f", ""), ":files\n");
    CHECK_STR(COMPLETED("describe", "greeter", ""), ""); /* takes one name only */
    CHECK_STR(COMPLETED("nonsense", ""), "");
    CHECK_STR(COMPLETED("get", "--", "-"), "");
    CHECK(strstr(COMPLETED(""), "__complete") == NULL);
    CHECK(strstr(COMPLETED("logs", "--f"), "--follow\t") != NULL);
    CHECK(strstr(COMPLETED("logs", "--n"), "--namespace\t") != NULL);
}

/* ---- manifest ---- */

TEST(a_model_is_divided_at_the_last_path)
{
    static const struct {
        const char *given, *reference, *path;
    } cases[] = {
        { "file:///m.bin:/model", "file:///m.bin", "/model" },
        { "http://h:80/a/b@sha256:00:/models/w", "http://h:80/a/b@sha256:00", "/models/w" },
        { "https://h/x:/y:/z", "https://h/x:/y", "/z" },
        { "file:///m.bin", NULL, NULL },
        { "http://h/x", NULL, NULL },
        { "x:/", NULL, NULL },
        { ":/", NULL, NULL },
        { "", NULL, NULL },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct str reference, path;
        bool ok = manifest_split_model(cases[i].given, &reference, &path);
        if (ok != (cases[i].path != NULL) ||
            (ok && (!str_is(reference, cases[i].reference) || !str_is(path, cases[i].path))))
            FAIL("'%s'", cases[i].given);
    }
}

TEST(flags_become_the_manifest_that_knative_reads)
{
    const char *env[] = { "A=1", "B=x=y" }, *models[] = { "file:///m.bin:/model" };
    const struct manifest_flags f = {
        .name = "g",
        .ns = "default",
        .image = "file:///g",
        .memory = "64Mi",
        .port = 9000,
        .env = { env, 2 },
        .models = { models, 1 },
        .min_scale = 0,
        .has_min_scale = true,
        .timeout_s = 5,
    };
    struct err e = { 0 };
    struct buf b;
    AUTO_JSON json_t *j = NULL;
    CHECK_EQ(manifest_build(&f, &j, &e), 0);
    buf_init(&b, 4096);
    json_write(j, &b);
    AUTO_FREE char *text = buf_take_text(&b);
    CHECK_STR(
        text,
        "{\"apiVersion\":\"serving.knative.dev/v1\",\"kind\":\"Service\",\"metadata\":{\"name\":"
        "\"g\",\"namespace\":\"default\"},\"spec\":{\"template\":{\"spec\":{\"timeoutSeconds\":5,"
        "\"volumes\":[{\"name\":\"model-0\",\"image\":{\"reference\":\"file:///m.bin\"}}],"
        "\"containers\":[{\"image\":\"file:///g\",\"ports\":[{\"containerPort\":9000}],"
        "\"resources\":{\"limits\":{\"memory\":\"64Mi\"}},\"env\":[{\"name\":\"A\",\"value\":"
        "\"1\"},{\"name\":\"B\",\"value\":\"x=y\"}],\"volumeMounts\":[{\"name\":\"model-0\","
        "\"mountPath\":\"/model\",\"readOnly\":true}]}]},\"metadata\":{\"annotations\":"
        "{\"autoscaling.knative.dev/min-scale\":\"0\"}}}}}");
}

TEST(a_manifest_is_refused_where_a_flag_makes_no_sense)
{
    const char *bad_env[] = { "A" }, *bad_model[] = { "file:///m.bin" };
    struct manifest_flags f = { .name = "g", .ns = "d", .image = "i", .env = { bad_env, 1 } };
    struct err e = { 0 };
    json_t *j = NULL;
    CHECK_EQ(manifest_build(&f, &j, &e), -CODE_INVALID);
    CHECK(strstr(e.text, "--env: 'A'") && !j);
    f = (struct manifest_flags){ .name = "g", .ns = "d", .image = "i", .models = { bad_model, 1 } };
    CHECK_EQ(manifest_build(&f, &j, &e), -CODE_INVALID);
    CHECK(strstr(e.text, "REFERENCE:/PATH") && !j);
    f = (struct manifest_flags){ .name = "g", .ns = "d", .image = "\xff" };
    CHECK_EQ(manifest_build(&f, &j, &e), -CODE_INVALID);
    CHECK(!j);
}

TEST(a_folder_that_changed_makes_a_revision_and_the_same_again_none)
{
    static const struct {
        const char *pinned, *was, *now;
        bool failed;
        const char *wanted;
    } rows[] = {
        { "a", "", "a", false, NULL },  /* nothing changed */
        { "a", "", "b", false, "b" },   /* it did */
        { "b", "b", "b", false, "b" },  /* applied again: the mark stays */
        { "b", "b", "a", false, "a" },  /* and back */
        { "a", "b", "a", false, "b" },  /* changed back before its first start */
        { "a", "", "", false, NULL },   /* nobody could look */
        { "a", "b", "", false, "b" },
        { "", "", "b", false, NULL },   /* the first start is still to come, and takes what is there */
        { "", "", "b", true, "b" },     /* it never will */
        { "", "b", "b", true, "b" },    /* and with this one neither */
        { "", "a", "b", true, "b" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *got = redeploy_digest(rows[i].pinned, rows[i].was, rows[i].now, rows[i].failed);
        if (!got != !rows[i].wanted || (got && strcmp(got, rows[i].wanted) != 0))
            FAIL("row %zu: %s", i, got ? got : "none");
    }
}

TEST(warnings_are_read_as_they_were_meant)
{
    static const struct {
        const char *head, *shown;
    } rows[] = {
        { "HTTP/1.1 200 OK\r\nWarning: 299 - \"one\"\r\nDate: x\r\nwarning: 299 hob \"say \\\"two\\\"\"\r\n\r\n",
          "Warning: one\nWarning: say \"two\"\n" },
        { "HTTP/1.1 200 OK\r\nWarning: 199 - \"other\"\r\nWarning: 299 - none\r\nWarning: 299\r\n\r\n", "" },
        { "HTTP/1.1 200 OK\r\nWarning: 299 - \"\"\r\n\r\n", "Warning: \n" },
        { "HTTP/1.1 200 OK\r\nWarning: 299 \"\r\n\r\n", "" },
        { "", "" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf b;
        buf_init(&b, 1024);
        warnings_read(str_of(rows[i].head), &b);
        AUTO_FREE char *got = buf_take_text(&b);
        CHECK_STR(got ? got : "", rows[i].shown);
    }
}

TEST_MAIN()
