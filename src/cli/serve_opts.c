#include "cli/serve_opts.h"
#include "artifact/origin.h"
#include "cli/cli.h"

#include <stdlib.h>

const struct opt serve_opts[SERVE_OPTS] = {
#define AT(field) offsetof(struct serve_settings, field)
    { "listen-ingress", 0, OPT_TEXT, AT(listen_ingress), "ADDRESS",
      "functions, by Host header (" CLI_INGRESS_DEFAULT "; port 0: any)" },
    { "listen-api", 0, OPT_TEXT, AT(listen_api), "ADDRESS",
      "the API over TCP, with a token (" CLI_SERVER_DEFAULT "; port 0: any)" },
    { "listen-temporal", 0, OPT_TEXT, AT(listen_temporal), "ADDRESS",
      "Temporal's gRPC API, for its SDKs; beyond this machine with the API's token (" CLI_TEMPORAL_DEFAULT
      "; port 0: any; none: nowhere)" },
    { "data", 0, OPT_TEXT, AT(data), "FOLDER", "everything hob keeps on this machine (./hob-data)", NULL, 0, 0,
      OPT_COMPLETE_FILES },
    { "file-root", 0, OPT_LIST, AT(roots), "FOLDER",
      "file:// images and models may come from here; may be repeated (root: none, others: the current folder)", NULL,
      0, 0, OPT_COMPLETE_FILES },
    { "model-origins", 0, OPT_TEXT, AT(model_origins), "LIST",
      "where http(s) models may come from: public, private, loopback, link-local, networks (" ORIGIN_POLICY_DEFAULT ")" },
    { "request-log", 0, OPT_TEXT, AT(request_log), "FILE",
      "one line of JSON per request; - is standard output; SIGHUP opens the file anew (none)", NULL, 0, 0, OPT_COMPLETE_FILES },
    { "otlp-endpoint", 0, OPT_TEXT, AT(otlp_endpoint), "URL",
      "send traces there, OTLP over HTTP, as http://127.0.0.1:4318 (else OTEL_EXPORTER_OTLP_ENDPOINT; else none)" },
    { "trace-sample", 0, OPT_TEXT, AT(trace_sample), "RATIO",
      "of the traces that begin here, 0 to 1 (1; others go on as the caller decided)" },
    { "limit", 0, OPT_LIST, AT(limit_texts), "NAME=N", "change a limit; see hob limits; may be repeated" },
    { "api-group", 0, OPT_TEXT, AT(api_group), "GROUP",
      "a group (name or number) whose members may use the API's socket too" },
    { "api-insecure", 0, OPT_FLAG, AT(api_insecure), NULL,
      "the API's TCP address, and Temporal's beyond this machine, ask for no token: whoever can connect may do all" },
    { "temporal-token", 0, OPT_FLAG, AT(temporal_token), NULL,
      "Temporal's address asks for the API's token on this machine too" },
    { "insecure", 0, OPT_FLAG, AT(insecure), NULL, "allow addresses beyond this machine though there is no TLS" },
    { "ready-fd", 0, OPT_U32, AT(ready_fd), "N", "write one line of JSON with the addresses here when serving", NULL,
      0, 1000000 },
    { "verbose", 0, OPT_FLAG, AT(verbose), NULL, "log what only a developer wants to see" },
#undef AT
};

static const struct opt help_row = { "help", 'h', OPT_FLAG, offsetof(struct serve_settings, help), NULL, "" };

static int limits_read(struct serve_settings *s, struct err *e)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < s->limit_texts.count; i++) {
        struct str value = str_of(s->limit_texts.at[i]), name = str_cut(&value, '=');
        r = limits_set(&s->limits, name, value, e);
    }
    return r;
}

/* "0.25" to a number of a million. */
static int sample_read(struct serve_settings *s, struct err *e)
{
    char *end = NULL;
    const char *text = s->trace_sample;
    double ratio = text ? strtod(text, &end) : 0;
    if (!text)
        return 0;
    if (end == text || *end || !(ratio >= 0 && ratio <= 1))
        return err_set(e, CODE_INVALID, "--trace-sample: '%.40s' is no number from 0 to 1", text);
    s->limits.trace_sample_ppm = (uint64_t)(ratio * 1e6 + 0.5);
    return 0;
}

void serve_settings_default(struct serve_settings *s)
{
    *s = (struct serve_settings){ .listen_ingress = CLI_INGRESS_DEFAULT, .listen_api = CLI_SERVER_DEFAULT,
                                  .listen_temporal = CLI_TEMPORAL_DEFAULT, .data = "hob-data",
                                  .model_origins = ORIGIN_POLICY_DEFAULT, .ready_fd = SERVE_NO_FD };
    limits_default(&s->limits);
}

bool serve_temporal_listens(const struct serve_settings *s)
{
    return strcmp(s->listen_temporal, SERVE_LISTEN_NONE) != 0;
}

int serve_settings_read(struct serve_settings *s, int argc, const char *const *argv, struct err *e)
{
    serve_settings_default(s);
    const struct opt_set sets[] = { { serve_opts, SERVE_OPTS, s }, { &help_row, 1, s } };
    struct opt_words words = { .count = 0 };
    int r = opt_parse(sets, COUNT_OF(sets), argc, argv, false, &words, e);
    if (r >= 0 && words.count > 0)
        r = err_set(e, CODE_INVALID, "'%s' is one word too many: hob serve takes options only", words.at[0]);
    if (r >= 0)
        r = limits_read(s, e);
    return r < 0 ? r : sample_read(s, e);
}

void serve_settings_done(struct serve_settings *s)
{
    const struct opt_set set = { serve_opts, SERVE_OPTS, s };
    opt_lists_done(&set, 1);
    free(s->namespaces.at);
    free(s->attributes.at);
}
