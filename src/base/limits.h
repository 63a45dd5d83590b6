/* limits.h -- every bound hob has, in one table: name, default, range, unit, and what it is for.
 *
 * `hob limits` prints it, `hob serve --limit name=value` changes it, docs/reference/limits.md is
 * made from it. Reaching a limit is refused or counted, and counted by name
 * (hob_limit_reached_total{limit="…"}); never silent. */
#pragma once

#include "base/err.h"
#include "base/str.h"

/* X(name, unit, default, min, max, help). Times are in the unit that the name ends with. */
// clang-format off
#define LIMITS(X)                                                                                   \
    /* --- HTTP, both sides ------------------------------------------------------------------- */  \
    X(connections_max,            "",      4096, 1, 65536, "client connections on one listener")    \
    X(http_head_bytes_max,        "bytes", 32768, 1024, 1048576, "request line and header fields together") \
    X(http_line_bytes_max,        "bytes", 8192, 256, 65536, "one line of a head")                   \
    X(http_fields_max,            "",      100, 8, 1000, "header fields in one message")            \
    X(http_head_ms,               "ms",    10000, 100, 600000, "for a whole request head to arrive") \
    X(http_idle_ms,               "ms",    60000, 100, 3600000, "a kept-alive connection without a request") \
    X(http_body_rate_bytes_s,     "bytes", 512, 0, 1073741824, "slowest body, per second, after the first 5 s; 0: none") \
    X(http_stream_buffer_bytes,   "bytes", 65536, 4096, 16777216, "held per direction of a stream before its source is paused") \
    X(http_chunk_line_bytes_max,  "bytes", 256, 32, 8192, "one chunk-size line with its extensions") \
    X(http_trailer_bytes_max,     "bytes", 8192, 0, 65536, "all trailer fields of one message")      \
    X(upgrade_idle_ms,            "ms",    3600000, 1000, 86400000, "an upgraded connection (WebSocket) in silence") \
    X(h2_streams_max,             "",      100, 1, 10000, "HTTP/2: streams open at once on one connection") \
    X(h2_head_list_bytes_max,     "bytes", 65536, 1024, 1048576, "HTTP/2: header list uncompressed, 32 more for each field") \
    X(h2_continuations_max,       "",      8, 0, 1000, "HTTP/2: CONTINUATION frames of one header block") \
    X(h2_resets_max,              "",      200, 1, 1000000, "HTTP/2: streams a peer may reset, or have reset, per 30 s") \
    X(h2_controls_max,            "",      20, 2, 1000000, "HTTP/2: SETTINGS and PING per 10 s, beyond one for each frame of data") \
    X(h2_light_frames_max,        "",      1000, 16, 1000000, "HTTP/2: other frames without content per 10 s, beyond what data and streams bring with them") \
    X(h2_window_bytes,            "bytes", 65536, 16384, 16777216, "HTTP/2: of one stream, received and not yet passed on") \
    X(h2_connection_window_bytes, "bytes", 1048576, 65535, 1073741824, "HTTP/2: the same for all streams of a client together") \
    X(h2_streams_all_max,         "",      16384, 1, 10000000, "HTTP/2: streams of all client connections together; more are refused (REFUSED_STREAM)") \
    X(h2_held_bytes_max,          "bytes", 268435456, 1048576, 1099511627776, "HTTP/2: held for the streams of all client connections together; beyond it new ones are refused") \
    X(h2_stall_ms,                "ms",    10000, 100, 3600000, "HTTP/2: a complete answer of which the client's window lets nothing through") \
    X(h2_function_wait_ms,        "ms",    5000, 100, 3600000, "HTTP/2: a connection to an instance that takes no streams at all while requests wait") \
    X(h2_function_ping_ms,        "ms",    30000, 100, 86400000, "HTTP/2: an instance's silence while requests run on its connection, until it is asked (PING) whether it is there") \
    X(h2_function_pong_ms,        "ms",    30000, 100, 3600000, "HTTP/2: for its answer; then the connection ends, and the second time in ten minutes the instance") \
    X(h2_function_idle_ms,        "ms",    5000, 100, 3600000, "HTTP/2: a connection to an instance without a request") \
    X(h2_stream_idle_ms,          "ms",    3600000, 1000, 86400000, "HTTP/2: a gRPC stream in silence, both ways") \
    X(api_body_bytes_max,         "bytes", 3145728, 1024, 67108864, "a request body on the API, as in Kubernetes") \
    X(api_bodies_bytes_max,       "bytes", 67108864, 1024, 17179869184, "request bodies of all the API's connections over the network together; its unix socket has as much again") \
    X(api_answer_bytes_max,       "bytes", 268435456, 65536, 4294967296, "a whole answer of the API; a larger one is answered with 500") \
    X(api_answers_bytes_max,      "bytes", 536870912, 65536, 17179869184, "answers of the API that clients have not taken yet, together; its unix socket has as much again") \
    X(api_watchers_max,           "",      256, 1, 65536, "open watch and log streams")               \
    X(api_resolves_max,           "",      4, 1, 64, "references that are read at once to tell their digest (hob apply of what lies in a folder)") \
    /* --- gRPC, for clients and workers ------------------------------------------------------- */ \
    X(grpc_connections_max,       "",      1024, 1, 65536, "gRPC: connections of clients and workers")   \
    X(grpc_streams_max,           "",      1000, 1, 100000, "gRPC: calls at once on one connection; workers hold many polls open") \
    X(grpc_calls_max,             "",      20000, 1, 10000000, "gRPC: calls at once of all connections; more are refused (REFUSED_STREAM)") \
    X(grpc_message_bytes_max,     "bytes", 4194304, 1024, 134217728, "gRPC: the message of a request, unpacked too, as in Temporal") \
    X(grpc_answer_bytes_max,      "bytes", 134217728, 1024, 1073741824, "gRPC: the message of an answer, as Temporal's clients accept") \
    X(grpc_held_bytes_max,        "bytes", 268435456, 1048576, 1099511627776, "gRPC: held for all calls together: requests that are not whole, answers that are not taken") \
    X(grpc_window_bytes,          "bytes", 262144, 16384, 16777216, "gRPC: of one call, received or sent ahead")      \
    X(grpc_resets_max,            "",      1000, 1, 1000000, "gRPC: calls that a client may reset per 30 s and connection") \
    X(grpc_details_bytes_max,     "bytes", 8192, 0, 49152, "gRPC: details of an error; larger ones are left out, because clients refuse such a head") \
    X(grpc_read_ms,               "ms",    60000, 100, 3600000, "gRPC: for the next part of a request to come")      \
    X(grpc_stall_ms,              "ms",    60000, 100, 3600000, "gRPC: a client that takes nothing of an answer")    \
    X(grpc_ping_ms,               "ms",    60000, 100, 86400000, "gRPC: a client's silence while its calls wait, until it is asked (PING) whether it is there") \
    X(grpc_pong_ms,               "ms",    20000, 100, 3600000, "gRPC: for its answer; then its calls are cancelled") \
    X(grpc_idle_ms,               "ms",    600000, 100, 86400000, "gRPC: a connection without a call")               \
    X(grpc_gzip_bytes,            "bytes", 16384, 0, 1073741824, "gRPC: answers from this size on are packed for clients on other machines that take gzip; 0: none") \
    /* --- admission --------------------------------------------------------------------------- */ \
    X(queue_depth_max,            "",      1000, 0, 1000000, "requests that wait for an instance, per revision (hob.dev/queue-depth)") \
    X(queue_wait_ms,              "ms",    60000, 1, 3600000, "longest wait for an instance, if the request's own deadline is later") \
    X(overload_wait_ms,           "ms",    500, 0, 3600000, "wait for an instance of a function that gets more than it can do, or two of its service times; 0: until its queue is full") \
    X(overload_ms,                "ms",    1000, 50, 3600000, "so long a queue keeps new requests waiting for more than overload_wait_ms before that is an overload") \
    X(doubt_ms,                   "ms",    250, 0, 60000, "an instance that broke a connection gets no request until a new one holds, and for so long only those that no other has room for; 0: it gets them") \
    X(request_timeout_s_max,      "s",     600, 1, 86400, "largest timeoutSeconds (Knative: max-revision-timeout-seconds)") \
    X(request_timeout_s,          "s",     300, 1, 86400, "timeoutSeconds of a revision that does not say (revision-timeout-seconds)") \
    X(idle_timeout_s,             "s",     0, 0, 86400, "idleTimeoutSeconds likewise (revision-idle-timeout-seconds)") \
    X(container_concurrency,      "",      0, 0, 100000, "containerConcurrency likewise (container-concurrency)") \
    X(container_concurrency_zero, "",      1, 0, 1, "1: containerConcurrency may be 0, no limit (allow-container-concurrency-zero)") \
    X(container_cpu_request_milli, "milli", 0, 0, 1024000, "cpu request of a container that does not say; 0: none (revision-cpu-request)") \
    X(container_cpu_limit_milli,  "milli", 0, 0, 1024000, "cpu limit likewise (revision-cpu-limit)") \
    X(container_memory_request_bytes, "bytes", 0, 0, 1099511627776, "memory request likewise (revision-memory-request)") \
    X(container_memory_limit_bytes, "bytes", 0, 0, 1099511627776, "memory limit likewise (revision-memory-limit)") \
    X(container_storage_request_bytes, "bytes", 0, 0, 1099511627776, "ephemeral-storage request likewise (revision-ephemeral-storage-request)") \
    X(container_storage_limit_bytes, "bytes", 0, 0, 1099511627776, "ephemeral-storage limit likewise (revision-ephemeral-storage-limit)") \
    X(feature_multi_container,    "",      1, 0, 1, "1: a Revision may have several containers (config-features: multi-container)") \
    X(feature_multi_container_probing, "", 1, 0, 1, "1: those beside the one that serves may have probes (multi-container-probing)") \
    X(feature_init_containers,    "",      1, 0, 1, "1: a Revision may have init containers (kubernetes.podspec-init-containers)") \
    X(feature_empty_dir,          "",      1, 0, 1, "1: a Revision may have emptyDir volumes (kubernetes.podspec-volumes-emptydir)") \
    X(feature_tag_header,         "",      1, 0, 1, "1: a request may choose a tag by its header Knative-Serving-Tag (tag-header-based-routing)") \
    X(container_concurrency_max,  "",      1000, 1, 100000, "largest containerConcurrency (Knative: container-concurrency-max-limit)") \
    /* --- scale ------------------------------------------------------------------------------- */ \
    X(scale_max,                  "",      64, 1, 10000, "instances of one revision when max-scale is 0") \
    X(scale_target,               "",      100, 1, 1000000, "requests at once per instance aimed at, without target and containerConcurrency (Knative: container-concurrency-target-default)") \
    X(scale_rps_target,           "",      200, 1, 1000000, "requests per second and instance aimed at, with metric rps (requests-per-second-target-default)") \
    X(scale_target_percent,       "",      70, 1, 100, "of the target that is aimed at (container-concurrency-target-percentage)") \
    X(scale_burst,                "",      211, 0, 1000000, "target burst capacity (target-burst-capacity)") \
    X(scale_window_s,             "s",     60, 6, 3600, "stable window of the autoscaler (stable-window)") \
    X(scale_panic_window_percent, "",      10, 1, 100, "of the stable window, for the panic window (panic-window-percentage)") \
    X(scale_panic_percent,        "",      200, 110, 1000, "of what is ready, needed to begin a panic (panic-threshold-percentage)") \
    X(scale_up_percent,           "",      100000, 101, 10000000, "of what is ready, wanted at most by one tick (max-scale-up-rate)") \
    X(scale_down_percent,         "",      200, 101, 100000, "what is ready is divided by that at most by one tick (max-scale-down-rate)") \
    X(scale_min_default,          "",      0, 0, 10000, "min-scale of a revision that does not say (min-scale)") \
    X(scale_max_default,          "",      0, 0, 10000, "max-scale of a revision that does not say; 0: scale_max (max-scale)") \
    X(scale_limit,                "",      0, 0, 10000, "largest max-scale that is accepted; 0: any (max-scale-limit)") \
    X(scale_initial,              "",      1, 0, 10000, "instances of a new revision before it is Ready (initial-scale)") \
    X(scale_initial_zero,         "",      1, 0, 1, "1: initial-scale may be 0 (allow-zero-initial-scale)") \
    X(scale_to_zero,              "",      1, 0, 1, "1: a revision without load goes to zero; 0: one instance stays (enable-scale-to-zero)") \
    X(scale_down_delay_ms,        "ms",    0, 0, 3600000, "before fewer instances are wanted (scale-down-delay)") \
    X(scale_retention_ms,         "ms",    0, 0, 3600000, "the last instance stays so much longer (scale-to-zero-pod-retention-period)") \
    X(instances_max,              "",      256, 1, 10000, "instances on this node, all together")      \
    X(instances_first_percent,    "",      6, 0, 50, "of instances_max, kept for the first instance of a service") \
    X(starts_max,                 "",      16, 1, 1000, "cold starts in progress on this node; more wait their turn") \
    X(start_ms,                   "ms",    120000, 100, 3600000, "a cold start without the fetches, until ready") \
    X(start_slow_ms,              "ms",    5000, 100, 3600000, "a first start, until its conditions say in which phase it hangs, and why") \
    X(start_slow_again_ms,        "ms",    10000, 1000, 3600000, "between two of these messages") \
    X(drain_ms,                   "ms",    30000, 0, 3600000, "from SIGTERM to SIGKILL when timeoutSeconds is not longer") \
    X(start_backoff_ms,           "ms",    500, 10, 60000, "first pause after a failed start; doubles up to 64 times") \
    /* --- sandbox ----------------------------------------------------------------------------- */ \
    X(sandbox_pool,               "",      4, 0, 256, "sandboxes kept ready and empty; 0: none, ever")  \
    X(sandbox_pool_max,           "",      64, 0, 1024, "sandboxes kept ready after as many starts came at once; about a megabyte of memory each") \
    X(sandbox_pool_ahead,         "",      16, 0, 1024, "sandboxes kept ready for as many functions, which may all be called at once; sandbox_pool_max at most") \
    X(sandbox_pool_keep_s,        "s",     300, 1, 86400, "how long a burst of starts is remembered so, at least; at most twice that") \
    X(sandbox_memory_bytes,       "bytes", 536870912, 4194304, 1099511627776, "memory of an instance without a memory limit") \
    X(sandbox_cpu_milli,          "milli", 1000, 10, 1024000, "CPU of an instance without a cpu limit") \
    X(sandbox_pids,               "",      256, 4, 32768, "processes and threads of an instance")      \
    X(sandbox_fds,                "",      1024, 16, 1048576, "open descriptors per process of an instance") \
    X(sandbox_scratch_bytes,      "bytes", 67108864, 65536, 1099511627776, "/tmp and emptyDir of an instance without an ephemeral-storage limit") \
    X(sandbox_args_bytes_max,     "bytes", 131072, 4096, 1048576, "arguments and environment of an instance") \
    X(sandbox_mounts_max,         "",      16, 1, 64, "volumes of an instance")                       \
    X(config_bytes_max,           "bytes", 2097152, 4096, 3145728, "values from ConfigMaps and Secrets in one instance: environment and files together") \
    X(config_files_max,           "",      1024, 1, 4096, "files from ConfigMaps and Secrets in one instance") \
    X(pod_containers_max,         "",      8, 1, 16, "containers of one revision, init containers among them; 1: several are off") \
    X(container_backoff_ms,       "ms",    10000, 10, 300000, "second restart of a sidecar that ends; doubles up to container_backoff_ms_max") \
    X(container_backoff_ms_max,   "ms",    300000, 10, 3600000, "longest pause before a sidecar is started again; one that ran twice as long begins anew") \
    X(probe_command_bytes_max,    "bytes", 8192, 64, 32000, "the command of an exec probe, all its words")  \
    X(log_line_bytes_max,         "bytes", 16384, 256, 1048576, "one line of a function's log; longer ones are cut") \
    X(log_ring_bytes,             "bytes", 262144, 4096, 67108864, "log kept in memory per revision")    \
    X(log_rate_bytes_s,           "bytes", 1048576, 1024, 1073741824, "log taken per instance and second; beyond it the function waits") \
    /* --- artifacts --------------------------------------------------------------------------- */ \
    X(fetch_concurrent_max,       "",      4, 1, 64, "downloads at once")                             \
    X(fetch_connect_ms,           "ms",    10000, 100, 600000, "to connect to an origin")             \
    X(fetch_stall_ms,             "ms",    30000, 1000, 600000, "a download without a byte, before it is cut and resumed") \
    X(fetch_attempts_max,         "",      5, 1, 100, "tries of one download, each resuming the last") \
    X(fetch_redirects_max,        "",      5, 0, 50, "redirects followed")                            \
    X(fetch_waiters_max,          "",      10000, 1, 1000000, "instances waiting for one download")    \
    X(artifact_bytes_max,         "bytes", 274877906944, 1048576, 17592186044416, "one model or image")  \
    X(artifact_files_max,         "",      100000, 1, 10000000, "files in one bundle")                 \
    X(store_bytes_max,            "bytes", 0, 0, 1125899906842624, "content store; 0: what the disk allows") \
    X(store_free_bytes_min,       "bytes", 268435456, 0, 1099511627776, "disk left free by every download") \
    /* --- objects and records ------------------------------------------------------------------ */ \
    X(traffic_targets_max,        "",      100, 1, 1000, "targets in the traffic of one service")     \
    X(gc_create_s,                "s",     172800, 0, 4294967295, "a revision that nobody sends to is kept so long after it was made; 4294967295: age does not matter (retain-since-create-time)") \
    X(gc_active_s,                "s",     54000, 0, 4294967295, "and so long after it was last sent to; 4294967295: that does not matter (retain-since-last-active-time)") \
    X(gc_min,                     "",      20, 0, 4294967295, "so many of these are kept whatever their age, per configuration (min-non-active-revisions)") \
    X(gc_max,                     "",      1000, 0, 4294967295, "and never more than these; 4294967295: any number (max-non-active-revisions)") \
    X(objects_max,                "",      10000, 1, 1000000, "services")                             \
    X(object_bytes_max,           "bytes", 1572864, 1024, 16777216, "one object in the store: a Secret of 1 MiB in base64, and as etcd has it") \
    X(registry_objects_max,       "",      10000, 16, 1000000, "objects of one kind beside the services: config maps, secrets, …") \
    X(events_max,                 "",      1000, 0, 100000, "Events kept; the oldest go")              \
    X(events_age_s,               "s",     3600, 60, 31536000, "Events older than this go")           \
    X(watch_events_max,           "",      4096, 1, 1000000, "changes that a watch can still be told of; the oldest go, and slower watchers list again") \
    X(watch_ms,                   "ms",    1800000, 1000, 86400000, "a watch, if the client does not ask for less") \
    X(watch_log_bytes,            "bytes", 8388608, 65536, 4294967296, "memory of those changes")       \
    X(json_depth_max,             "",      100, 8, 1000, "nesting of JSON and YAML")                  \
    X(json_patch_ops_max,         "",      10000, 1, 1000000, "operations of one JSON patch, as in Kubernetes") \
    X(json_patch_copy_bytes_max,  "bytes", 3145728, 1024, 67108864, "what the copies of one JSON patch add up to, as in Kubernetes") \
    X(list_elements_max,          "",      1000, 16, 100000, "elements of one list of a service whose elements have names: env, ports, volumes, …") \
    X(json_nodes_max,             "",      100000, 100, 10000000, "values in one JSON or YAML document") \
    X(records_max,                "",      1000000, 100, 1000000000, "invocation records kept; the oldest go first") \
    X(records_age_s,              "s",     604800, 60, 315360000, "invocation records older than this go")  \
    X(records_waiting_max,        "",      65536, 256, 10000000, "records not yet written; more are dropped and counted") \
    X(store_waiting_bytes_max,    "bytes", 67108864, 1048576, 1099511627776, "text of the changes waiting for their commit") \
    X(store_waiting_max,          "",      4096, 16, 1000000, "changes waiting for their commit")       \
    X(filter_bytes_max,           "bytes", 16384, 256, 1048576, "the filter of a list or count of workflows")     \
    X(filter_depth_max,           "",      64, 4, 200, "parentheses in parentheses of such a filter") \
    X(filter_parts_max,           "",      1000, 8, 30000, "its conditions and values together")      \
    /* --- workflows ---------------------------------------------------------------------------- */ \
    X(matching_polls_max,         "",      100000, 16, 10000000, "workers' polls that wait for a task, all task queues together") \
    X(matching_queues_max,        "",      100000, 16, 10000000, "task queues known at once, sticky ones included; one without polls and tasks makes room") \
    X(matching_tasks_max,         "",      1000000, 16, 100000000, "tasks that wait for a worker and are held in memory; further ones are asked for again when half of these are done") \
    X(matching_queries_max,       "",      10000, 1, 1000000, "queries that wait for a worker")        \
    X(namespaces_max,             "",      1000, 1, 100000, "namespaces of workflows")                \
    X(namespace_sweep_max,        "",      100, 1, 10000, "runs of a deleted namespace that are deleted at once; the others follow") \
    X(batch_running_max,          "",      10, 1, 1000, "batch operations on workflows that run at once in one namespace") \
    X(batch_page_max,             "",      100, 1, 1000, "runs that one of them works on at once") \
    X(batch_operations_per_s,     "",      1000, 1, 1000000, "runs per second that one of them does at most; its request may say less") \
    X(batch_executions_max,       "",      1000, 1, 10000, "runs that its request may name instead of a query") \
    X(batch_tries_max,            "",      50, 1, 10000, "for one run that cannot be changed now, a second apart; then it has failed") \
    X(batch_kept_ms,              "ms",    604800000, 1000, 31536000000, "a batch operation that is over") \
    X(worker_stickies_max,        "",      64, 1, 10000, "sticky queues of such an instance that are known to be its; of others its end shows only with time") \
    X(worker_cached_runs_max,     "",      10000, 1, 1000000, "open workflows that an instance bound to a task queue is known to have at hand; those known longest are forgotten") \
    X(journal_waiting_max,        "",      16384, 16, 1000000, "commits of the durable journal that wait to be written") \
    X(journal_waiting_bytes_max,  "bytes", 67108864, 1048576, 1099511627776, "what they hold, together") \
    X(journal_value_bytes_max,    "bytes", 16777216, 65536, 1073741824, "one state, or one piece of a history, in the durable journal") \
    X(journal_reads_max,          "",      4096, 16, 1000000, "questions to the durable journal that wait, of single entities and of many, each") \
    X(journal_query_ms,           "ms",    10000, 10, 600000, "one list or count of the durable journal") \
    X(journal_log_bytes_max,      "bytes", 1073741824, 16777216, 1099511627776, "the log of durable.db while a backup or a disk keeps it from being written back; then nothing is committed") \
    /* --- durable ------------------------------------------------------------------------------ */ \
    X(durable_waiting_max,        "",      10000, 16, 10000000, "signals, answers and questions that wait for the turn of one workflow id; more are refused") \
    X(durable_waiting_all_max,    "",      100000, 16, 100000000, "the same of all ids together")      \
    X(durable_state_bytes_max,    "bytes", 16777216, 4096, 1073741824, "state of one run (what is open in it; not its history)") \
    X(durable_memory_bytes,       "bytes", 268435456, 0, 1099511627776, "states of runs held in memory; those used longest ago go back to be rows") \
    X(durable_history_bytes,      "bytes", 134217728, 0, 1099511627776, "last events of histories held in memory; others are read from the journal") \
    X(durable_due_window_ms,      "ms",    60000, 1000, 3600000, "timers and timeouts of so long a time are held in memory; later ones are rows") \
    X(durable_dues_max,           "",      100000, 16, 100000000, "of them at once; more are read as these go") \
    X(durable_clock_ms,           "ms",    1000, 10, 60000, "until the wall clock, which may jump, is looked at again for what is due") \
    X(durable_retry_ms,           "ms",    1000, 10, 600000, "after a commit that failed, until what was due or ready is tried again") \
    /* --- durable invocations ------------------------------------------------------------------ */ \
    X(invoke_waiting_max,         "",      100000, 1, 10000000, "durable invocations that wait for their attempt in memory; new ones are refused") \
    X(invoke_attempts_max,        "",      256, 1, 100000, "attempts of durable invocations at once, all functions together") \
    X(invoke_attempts_service_max, "",     32, 1, 100000, "the same of one function; functions take turns") \
    X(invoke_callbacks_max,       "",      16, 1, 1000, "callbacks under way at once")                \
    X(invoke_callback_ms,         "ms",    10000, 100, 600000, "for a receiver to answer a callback")  \
    X(invoke_callback_tries_max,  "",      10, 1, 1000, "tries of one callback; then it is given up, and the invocation says so") \
    X(invoke_answer_bytes_max,    "bytes", 4194304, 1024, 16000000, "content of its answer, as kept; the rest is left out, and the answer says so") \
    X(invoke_checkpoint_bytes_max, "bytes", 8192, 1, 65536, "one checkpoint; a quarter of http_head_bytes_max at most: the next attempt has it in its head") \
    X(invoke_checkpoint_connections_max, "", 16, 1, 1024, "from inside one instance, to leave checkpoints (hob.dev/checkpoints); more are turned away (503)") \
    X(invoke_request_bytes_max,   "bytes", 4194304, 1024, 16000000, "content of a request that becomes a durable invocation; a larger one is refused (413)") \
    X(invoke_bodies_bytes_max,    "bytes", 67108864, 1024, 17179869184, "such requests that are being read or written down, and answers of such being sent, together; more are refused") \
    X(invoke_wait_ms_max,         "ms",    600000, 1, 86400000, "for the end of one, by a client that waits (Prefer: wait, ?wait=); who wants longer asks again") \
    /* --- traces ------------------------------------------------------------------------------- */ \
    X(trace_sample_ppm,           "",      1000000, 0, 1000000, "traces that begin here and are sampled, of a million (--trace-sample); others go on as the caller decided") \
    X(starts_kept_max,            "",      64, 1, 10000, "services whose last start is kept for hob explain; the oldest go first") \
    X(request_log_bytes_max,      "bytes", 4194304, 65536, 1073741824, "lines of the request log that wait to be written (--request-log); more are dropped and counted") \
    X(trace_batch_bytes,          "bytes", 524288, 65536, 16777216, "spans sent to the collector at once (--otlp-endpoint)") \
    X(trace_batch_ms,             "ms",    1000, 10, 600000, "a span waits for others")              \
    X(trace_held_bytes_max,       "bytes", 8388608, 131072, 1073741824, "spans that wait for the collector; more are dropped and counted") \
    X(trace_attempts_max,         "",      5, 1, 100, "tries of one batch")                         \
    X(trace_post_ms,              "ms",    10000, 100, 600000, "for the collector to take a batch")  \
    X(trace_flush_ms,             "ms",    3000, 0, 600000, "for what is held when hob stops")       \
    X(hops_max,                   "",      16, 1, 1000, "functions calling functions (Hob-Hops)")
// clang-format on

#define LIMIT_DISABLED UINT64_C(4294967295) /* of a gc_* row: it does not hold */

struct limits {
#define X(name, unit, initial, low, high, help) uint64_t name;
    LIMITS(X)
#undef X
};

struct limit_row {
    const char *name, *unit, *help;
    uint64_t initial, min, max;
    size_t offset; /* of the field in struct limits */
};
extern const struct limit_row limit_rows[];
extern const size_t limit_row_count;

void limits_default(struct limits *l);
int limits_set(struct limits *l, struct str name, struct str value, struct err *e) MUST_USE;
uint64_t limit_value(const struct limits *l, const struct limit_row *row);
