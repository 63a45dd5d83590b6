/* hob server start-dev: hob where a development server of Temporal's is expected, started as that one is. SDKs' own test
 * environments run it; so does a person who knows Temporal's command line. */
#include "cli/commands.h"
#include "cli/start_dev.h"

#include <stdio.h>
#include <string.h>

enum { ADDRESS_MAX = 80 };

struct start_dev {
    struct serve_settings serve;
    const char *ip, *db, *log_level, *log_format, *ui_ip, *log_config;
    struct opt_list namespaces, attributes, dynamic, pragmas;
    uint32_t port, ui_port, http_port, metrics_port;
    bool headless, help, export_api;
};
static struct start_dev dev; /* what is read lives as long as the process */
static char temporal_address[ADDRESS_MAX], api_address[ADDRESS_MAX];

#define AT(field) offsetof(struct start_dev, field)
static const struct opt start_dev_opts[] = {
    { "port", 'p', OPT_U32, AT(port), "PORT", "Temporal's gRPC API (7233; 0: any)", NULL, 0, 65535 },
    { "ip", 0, OPT_TEXT, AT(ip), "ADDRESS", "where it listens (127.0.0.1)" },
    { "namespace", 'n', OPT_LIST, AT(namespaces), "NAME", "made at the start, beside 'default'; may be repeated" },
    { "search-attribute", 0, OPT_LIST, AT(attributes), "NAME=TYPE",
      "made at the start: Text, Keyword, Int, Double, Bool, Datetime, KeywordList; may be repeated" },
    { "db-filename", 'f', OPT_TEXT, AT(db), "PATH", "keeps everything in the folder PATH.hob (a folder that is removed at the end)",
      NULL, 0, 0, OPT_COMPLETE_FILES },
    { "log-level", 0, OPT_CHOICE, AT(log_level), "LEVEL", "how much is logged (info)", "debug|info|warn|error|never" },
    { "log-format", 0, OPT_TEXT, AT(log_format), "FORMAT", "taken, and left aside: hob logs as it always does" },
    { "dynamic-config-value", 0, OPT_LIST, AT(dynamic), "KEY=VALUE", "taken, and left aside" },
    { "headless", 0, OPT_FLAG, AT(headless), NULL, "without a web page: there is none yet" },
    { "ui-port", 0, OPT_U32, AT(ui_port), "PORT", "taken, and left aside", NULL, 0, 65535 },
    { "ui-ip", 0, OPT_TEXT, AT(ui_ip), "ADDRESS", "taken, and left aside" },
    { "http-port", 0, OPT_U32, AT(http_port), "PORT", "taken, and left aside", NULL, 0, 65535 },
    { "metrics-port", 0, OPT_U32, AT(metrics_port), "PORT", "hob's API, with /metrics (any)", NULL, 0, 65535 },
    { "sqlite-pragma", 0, OPT_LIST, AT(pragmas), "NAME=VALUE", "taken, and left aside: what is acknowledged is on disk" },
    { "log-config", 0, OPT_FLAG, AT(export_api), NULL, "taken, and left aside" },
};
static const struct opt help_row = { "help", 'h', OPT_FLAG, AT(help), NULL, "" };
#undef AT

static bool among(const struct opt_list *l, const char *text)
{
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->at[i], text) == 0)
            return true;
    return false;
}

static void namespaces_fill(struct serve_settings *s)
{
    bool has = among(&dev.namespaces, "default");
    s->namespaces.at = xcalloc(dev.namespaces.count + 1, sizeof *s->namespaces.at);
    for (size_t i = 0; i < dev.namespaces.count; i++)
        s->namespaces.at[s->namespaces.count++] = dev.namespaces.at[i];
    if (!has)
        s->namespaces.at[s->namespaces.count++] = "default";
    s->attributes = dev.attributes;
    dev.attributes = (struct opt_list){ 0 };
}

static int words_read(struct serve_settings *s, int argc, const char *const *argv, struct err *e)
{
    const struct opt_set sets[] = { { start_dev_opts, COUNT_OF(start_dev_opts), &dev }, { &help_row, 1, &dev } };
    struct opt_words words = { .count = 0 };
    dev = (struct start_dev){ .ip = "127.0.0.1", .port = 7233, .log_level = "info" };
    serve_settings_default(s);
    int r = opt_parse(sets, COUNT_OF(sets), argc, argv, false, &words, e);
    s->help = dev.help;
    if (r < 0 || dev.help)
        return r;
    if (words.count != 1 || strcmp(words.at[0], "start-dev") != 0)
        return err_set(e, CODE_INVALID, "it is: hob server start-dev [--port N] …");
    snprintf(temporal_address, sizeof temporal_address, strchr(dev.ip, ':') ? "[%.45s]:%u" : "%.45s:%u", dev.ip, dev.port);
    snprintf(api_address, sizeof api_address, "127.0.0.1:%u", dev.metrics_port);
    s->listen_temporal = temporal_address;
    s->listen_ingress = "127.0.0.1:0";
    s->listen_api = api_address;
    s->data = dev.db; /* NULL: a folder of its own */
    s->verbose = strcmp(dev.log_level, "debug") == 0;
    s->quiet = strcmp(dev.log_level, "warn") == 0 || strcmp(dev.log_level, "error") == 0 || strcmp(dev.log_level, "never") == 0;
    namespaces_fill(s);
    return 0;
}

int start_dev_read(struct serve_settings *s, int argc, const char *const *argv, struct err *e)
{
    const struct opt_set set = { start_dev_opts, COUNT_OF(start_dev_opts), &dev };
    int r = words_read(s, argc, argv, e);
    opt_lists_done(&set, 1); /* what is kept of them is the settings' */
    return r;
}

const struct cli_command cmd_server = {
    .name = "server",
    .summary = "hob as a development server for Temporal's SDKs",
    .words = "start-dev",
    .examples = "hob server start-dev  Temporal's API on 127.0.0.1:7233, kept until it ends\n"
                "hob server start-dev --port 7300 --db-filename dev  kept in dev.hob\n"
                "hob server start-dev --search-attribute CustomKeywordField=Keyword  with an attribute",
    .notes = "For `temporal server start-dev`'s users, and for SDKs that start their own server. It is hob serve with other defaults.",
    .opts = start_dev_opts,
    .opt_count = COUNT_OF(start_dev_opts),
    .args_size = sizeof(struct start_dev),
    .local = true,
    .run_raw = server_main,
};
