/* matching.h -- who waits for which task: task queues with waiting polls on one side and offered tasks on the other.
 *
 * Receives polls as they come and go, tasks as they are offered and withdrawn, and the time.
 * Owns, per (namespace, queue name, kind workflow or activity), a list of waiting polls, first come first served, and a backlog of
 * offered tasks, by priority and age. All in memory: a task is a row of its run's state, offered again after a restart.
 * Emits matches to whoever asks (match_poll(), match_task()): it calls nobody.
 * Refuses polls over limits.matching_polls_max, and tasks over matching_tasks_max are left in their state and counted: the
 * queue asks for them again when it runs dry.
 *
 * Pure: no clock, no I/O. Knows when each queue was polled last (sticky: StickyWorkerUnavailable after 10 s), the rate limit a worker
 * asked for, and what DescribeTaskQueue wants to know. */
#pragma once
