#include "api/docket_query.h"

void docket_place_write(struct str place, struct buf *into)
{
    for (size_t i = 0; i < place.size; i++)
        buf_printf(into, "%02x", (unsigned)(unsigned char)place.at[i]);
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int place_read(struct str after, struct docket_query *q, struct err *e)
{
    bool good = after.size % 2 == 0 && after.size / 2 <= sizeof q->place;
    for (size_t i = 0; good && i < after.size; i += 2) {
        int high = digit(after.at[i]), low = digit(after.at[i + 1]);
        good = high >= 0 && low >= 0;
        if (good)
            q->place[q->place_size++] = (char)(unsigned char)(high * 16 + low);
    }
    return good ? 0 : err_set(e, CODE_INVALID, "after: want what a list before gave as \"next\"");
}

static void text_condition(struct filter_node *all, enum filter_column column, struct str text)
{
    if (text.size == 0)
        return;
    struct filter_node *n = filter_condition(FILTER_EQ, column, JOURNAL_KEYWORD, (struct str){ 0 });
    filter_add_value(n, (struct filter_value){ .type = JOURNAL_KEYWORD, .text = text });
    filter_add(all, n);
}

static int status_condition(struct filter_node *all, struct str statuses, struct err *e)
{
    if (statuses.size == 0)
        return 0;
    AUTO(filter_node) struct filter_node *n = filter_condition(FILTER_IN, FILTER_STATUS, JOURNAL_INT, (struct str){ 0 });
    while (statuses.size > 0) {
        struct str name = str_cut(&statuses, ',');
        enum invoked_status status;
        if (!invoked_status_parse(name, &status))
            return err_set(e, CODE_INVALID,
                           "status \"" STR_FMT "\": want accepted, running, done, failed, cancelled, dead or ambiguous, or some of "
                           "them with commas between",
                           (int)MIN(name.size, 40), name.at ? name.at : "");
        filter_add_value(n, (struct filter_value){ .type = JOURNAL_INT, .integer = (int64_t)status });
    }
    filter_add(all, TAKE(n));
    return 0;
}

int docket_query_read(struct str ns, struct str service, struct str statuses, struct str after, struct docket_query *ret,
                      struct err *e)
{
    *ret = (struct docket_query){ 0 };
    int r = place_read(after, ret, e);
    if (r < 0 || ns.size + service.size + statuses.size == 0)
        return r;
    AUTO(filter) struct filter *f = filter_new();
    f->root = filter_node_new(FILTER_AND);
    text_condition(f->root, FILTER_QUEUE, ns);
    text_condition(f->root, FILTER_TYPE, service);
    r = status_condition(f->root, statuses, e);
    if (r == 0) {
        filter_check(f);
        ret->filter = TAKE(f);
    }
    return r;
}

void docket_query_done(struct docket_query *q)
{
    filter_free(TAKE(q->filter));
}
