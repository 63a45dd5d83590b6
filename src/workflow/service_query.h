/* service_query.h -- queries between service_query.c and service_poll.c. For nobody else. */
#pragma once

#include "workflow/service_impl.h"

struct query; /* opaque */

struct query *query_take(struct matching_query *mq); /* a poll has it, until one of the next three */
struct journal_key query_key(const struct query *q); /* its run; borrowed */
/* The worker has gone before it got it: it is matched again. */
void query_again(struct query *q);
/* What went wrong before it was given out: it is refused. */
void query_failed(struct query *q, enum code code, const char *text);
/* It goes out with this answer, as a task of its own: token and query are added. */
void query_give(struct query *q, Tp__PollWorkflowTaskQueueResponse *into);
/* The queries that wait for this run's workflow task go out with it. */
void queries_attach(struct service *s, const struct uuid *run, struct run_task_given *task);
/* RespondWorkflowTaskFailed for a query's own task: it has failed. false: the token is none of a query, nothing was done. */
bool query_task_failed(struct service *s, struct service_call *c);
/* A workflow task was completed with these results. */
void queries_answered(struct service *s, const struct uuid *run,
                      Tp__RespondWorkflowTaskCompletedRequest__QueryResultsEntry *const *results, size_t count);
