#include "workflow/filter_fields.h"

#include "codec/civil.h"
#include "codec/duration.h"

#include <math.h>

static const struct {
    const char *name;
    enum filter_column column;
} columns[] = {
    { "WorkflowId", FILTER_ID },
    { "RunId", FILTER_RUN },
    { "WorkflowType", FILTER_TYPE },
    { "TaskQueue", FILTER_QUEUE },
    { "ExecutionStatus", FILTER_STATUS },
    { "StartTime", FILTER_START_TIME },
    { "ExecutionTime", FILTER_EXECUTION_TIME },
    { "CloseTime", FILTER_CLOSE_TIME },
    { "ExecutionDuration", FILTER_EXECUTION_DURATION },
    { "HistoryLength", FILTER_HISTORY_LENGTH },
    { "HistorySizeBytes", FILTER_HISTORY_BYTES },
    { "StateTransitionCount", FILTER_TRANSITIONS },
    { "ParentWorkflowId", FILTER_PARENT_ID },
    { "ParentRunId", FILTER_PARENT_RUN },
    { "RootWorkflowId", FILTER_ROOT_ID },
    { "RootRunId", FILTER_ROOT_RUN },
    { "TemporalNamespaceDivision", FILTER_DIVISION },
};

static const struct {
    const char *name;
    enum journal_type type;
} predefined[] = {
    { "BatcherUser", JOURNAL_KEYWORD },
    { "BinaryChecksums", JOURNAL_KEYWORDS },
    { "BuildIds", JOURNAL_KEYWORDS },
    { "TemporalChangeVersion", JOURNAL_KEYWORDS },
    { "TemporalPauseInfo", JOURNAL_KEYWORDS },
    { "TemporalReportedProblems", JOURNAL_KEYWORDS },
    { "TemporalScheduledById", JOURNAL_KEYWORD },
    { "TemporalSchedulePaused", JOURNAL_BOOL },
    { "TemporalScheduledStartTime", JOURNAL_TIME },
    { "TemporalUsedWorkerDeploymentVersions", JOURNAL_KEYWORDS },
    { "TemporalWorkerDeployment", JOURNAL_KEYWORD },
    { "TemporalWorkerDeploymentVersion", JOURNAL_KEYWORD },
    { "TemporalWorkflowVersioningBehavior", JOURNAL_KEYWORD },
};

static const char *const statuses[] = { "Unspecified", "Running",    "Completed",      "Failed",  "Canceled",
                                        "Terminated",  "ContinuedAsNew", "TimedOut", "Paused" };
static const char *const long_statuses[] = { "UNSPECIFIED", "RUNNING",    "COMPLETED",        "FAILED",   "CANCELED",
                                             "TERMINATED",  "CONTINUED_AS_NEW", "TIMED_OUT", "PAUSED" };
_Static_assert(COUNT_OF(statuses) == COUNT_OF(long_statuses), "each status has both names");

static bool system_field(struct str name, struct filter_field *ret)
{
    for (size_t i = 0; i < COUNT_OF(columns); i++)
        if (str_is(name, columns[i].name)) {
            *ret = (struct filter_field){ name, columns[i].column, filter_column_type(columns[i].column),
                                          { 0 } };
            return true;
        }
    return false;
}

static const char *predefined_name(struct str name, bool prefixed, enum journal_type *ret)
{
    const struct str prefix = STR("Temporal");
    for (size_t i = 0; i < COUNT_OF(predefined); i++) {
        struct str known = str_of(predefined[i].name);
        if (prefixed && !str_starts(known, prefix))
            continue;
        if (str_eq(name, prefixed ? str_from(known, prefix.size) : known)) {
            *ret = predefined[i].type;
            return predefined[i].name;
        }
    }
    return NULL;
}

bool filter_field_predefined(struct str name, enum journal_type *ret)
{
    return predefined_name(name, false, ret) != NULL;
}

const char *filter_field_nth(size_t n, enum journal_type *ret)
{
    if (n < COUNT_OF(columns)) {
        *ret = columns[n].column == FILTER_STATUS ? JOURNAL_KEYWORD : filter_column_type(columns[n].column);
        return columns[n].name;
    }
    n -= COUNT_OF(columns);
    if (n >= COUNT_OF(predefined))
        return NULL;
    *ret = predefined[n].type;
    return predefined[n].name;
}

bool filter_field_reserved(struct str name)
{
    struct filter_field f;
    enum journal_type t;
    return system_field(name, &f) || predefined_name(name, false, &t) || str_starts(name, STR("Temporal"));
}

int filter_field_find(struct str name, bool (*find)(void *ctx, struct str name, enum journal_type *ret),
                      void *ctx, struct filter_field *ret, struct err *e)
{
    struct filter_field f = { .name = name };
    const char *known;
    if (system_field(name, &f)) {
        *ret = f;
        return 0;
    }
    f.attribute = name;
    if (find && find(ctx, name, &f.type)) {
        *ret = f;
        return 0;
    }
    if (str_is(name, "ScheduleId")) {
        *ret = (struct filter_field){ name, FILTER_ID, JOURNAL_KEYWORD, { 0 } };
        return 0;
    }
    if (str_is(name, "TemporalBuildIds")) /* the one that is stored without the prefix that it may be asked with */
        name = str_of("BuildIds");
    known = predefined_name(name, false, &f.type);
    if (!known)
        known = predefined_name(name, true, &f.type);
    if (!known)
        return err_set(e, CODE_INVALID, "invalid query: invalid search attribute: %.*s",
                       (int)MIN(name.size, 100), name.at);
    f.attribute = str_of(known);
    *ret = f;
    return 0;
}

const char *filter_field_type_name(const struct filter_field *f)
{
    if (f->column == FILTER_STATUS)
        return "Keyword";
    switch (f->type) {
    case JOURNAL_KEYWORD: return "Keyword";
    case JOURNAL_TEXT: return "Text";
    case JOURNAL_INT: return "Int";
    case JOURNAL_DOUBLE: return "Double";
    case JOURNAL_BOOL: return "Bool";
    case JOURNAL_TIME: return "Datetime";
    case JOURNAL_KEYWORDS: return "KeywordList";
    }
    UNREACHABLE("all types have a name");
}

static int misfit(const struct filter_field *f, const struct filter_literal *l, struct err *e)
{
    static const char *const kinds[] = { "string", "int64", "float64", "bool" };
    const int name_size = (int)MIN(f->name.size, 100), size = (int)MIN(l->text.size, 100);
    return err_set(e, CODE_INVALID,
                   "invalid query: invalid expression: invalid value type for search attribute %.*s of type %s: "
                   "%.*s (type: %s)",
                   name_size, f->name.at, filter_field_type_name(f), size, l->text.at, kinds[l->kind]);
}

static int of_status(const struct filter_field *f, const struct filter_literal *l, struct filter_value *ret,
                     struct err *e)
{
    struct str text = l->text;
    bool is_long = str_starts(text, STR("WORKFLOW_EXECUTION_STATUS_"));
    if (l->kind == FILTER_LITERAL_INT && l->integer >= 0 && l->integer < (int64_t)COUNT_OF(statuses)) {
        *ret = (struct filter_value){ .type = JOURNAL_INT, .integer = l->integer };
        return 0;
    }
    if (is_long)
        text = str_from(text, sizeof "WORKFLOW_EXECUTION_STATUS_" - 1);
    for (size_t i = 0; i < COUNT_OF(statuses) && l->kind == FILTER_LITERAL_STRING; i++)
        if (str_is(text, is_long ? long_statuses[i] : statuses[i])) {
            *ret = (struct filter_value){ .type = JOURNAL_INT, .integer = (int64_t)i };
            return 0;
        }
    if (l->kind != FILTER_LITERAL_INT && l->kind != FILTER_LITERAL_STRING)
        return misfit(f, l, e);
    return err_set(e, CODE_INVALID, "invalid query: invalid expression: invalid ExecutionStatus value '%.*s'",
                   (int)MIN(l->text.size, 100), l->text.at);
}

/* "hh:mm:ss" */
static bool clock_duration(struct str text, int64_t *ret_ns)
{
    struct str hours = str_cut(&text, ':'), minutes = str_cut(&text, ':');
    uint64_t h, m, s;
    if (!str_u64(hours, &h) || !str_u64(minutes, &m) || !str_u64(text, &s) || h > 2500000 || m > 59 || s > 59)
        return false;
    *ret_ns = (int64_t)(h * 3600 + m * 60 + s) * 1000000000;
    return true;
}

static int of_duration(const struct filter_field *f, const struct filter_literal *l, struct filter_value *ret,
                       struct err *e)
{
    struct err ignored;
    int64_t ns = l->integer;
    if (l->kind != FILTER_LITERAL_INT && l->kind != FILTER_LITERAL_STRING)
        return misfit(f, l, e);
    if (l->kind == FILTER_LITERAL_STRING && duration_parse_days(l->text, &ns, &ignored) < 0 &&
        !clock_duration(l->text, &ns)) {
        uint64_t plain;
        if (!str_u64(l->text, &plain) || plain > INT64_MAX)
            return err_set(e, CODE_INVALID,
                           "invalid query: invalid expression: invalid duration value for search attribute "
                           "%.*s: %.*s",
                           (int)MIN(f->name.size, 100), f->name.at, (int)MIN(l->text.size, 100), l->text.at);
        ns = (int64_t)plain;
    }
    *ret = (struct filter_value){ .type = JOURNAL_INT, .integer = ns };
    return 0;
}

static int of_time(const struct filter_field *f, const struct filter_literal *l, struct filter_value *ret,
                   struct err *e)
{
    struct err ignored;
    int64_t s;
    int32_t ns;
    *ret = (struct filter_value){ .type = JOURNAL_TIME, .integer = l->integer };
    if (l->kind == FILTER_LITERAL_INT)
        return 0;
    if (l->kind != FILTER_LITERAL_STRING)
        return misfit(f, l, e);
    if (civil_rfc3339_parse(l->text, &s, &ns, &ignored) < 0)
        return err_set(e, CODE_INVALID, "invalid query: invalid expression: unable to parse datetime '%.*s'",
                       (int)MIN(l->text.size, 100), l->text.at);
    ret->integer = civil_ns(s, ns);
    return 0;
}

static int of_number(const struct filter_field *f, const struct filter_literal *l, struct filter_value *ret,
                     struct err *e)
{
    if (l->kind != FILTER_LITERAL_INT && l->kind != FILTER_LITERAL_REAL)
        return misfit(f, l, e);
    if (l->kind == FILTER_LITERAL_REAL)
        *ret = (struct filter_value){ .type = JOURNAL_DOUBLE, .real = l->real };
    else if (f->type == JOURNAL_DOUBLE)
        *ret = (struct filter_value){ .type = JOURNAL_DOUBLE, .real = (double)l->integer };
    else
        *ret = (struct filter_value){ .type = JOURNAL_INT, .integer = l->integer };
    return 0;
}

int filter_field_value(const struct filter_field *f, const struct filter_literal *l,
                       struct filter_value *ret, struct err *e)
{
    if (f->column == FILTER_STATUS)
        return of_status(f, l, ret, e);
    if (f->column == FILTER_EXECUTION_DURATION)
        return of_duration(f, l, ret, e);
    switch (f->type) {
    case JOURNAL_TIME: return of_time(f, l, ret, e);
    case JOURNAL_INT:
    case JOURNAL_DOUBLE: return of_number(f, l, ret, e);
    case JOURNAL_BOOL:
        if (l->kind != FILTER_LITERAL_BOOL)
            return misfit(f, l, e);
        *ret = (struct filter_value){ .type = JOURNAL_BOOL, .integer = l->integer };
        return 0;
    case JOURNAL_KEYWORD:
    case JOURNAL_KEYWORDS:
        if (l->kind != FILTER_LITERAL_STRING)
            return misfit(f, l, e);
        *ret = (struct filter_value){ .type = JOURNAL_KEYWORD, .text = l->text };
        return 0;
    case JOURNAL_TEXT: break;
    }
    if (l->kind != FILTER_LITERAL_STRING)
        return misfit(f, l, e);
    *ret = (struct filter_value){ .type = JOURNAL_TEXT, .text = l->text };
    return 0;
}
