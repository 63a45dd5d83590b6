#include "cli/commands.h"

/* In the order of the overview: what a person does first comes first. */
const struct cli_command *const cli_commands[] = {
    &cmd_serve,  &cmd_server, &cmd_apply,   &cmd_deploy,     &cmd_get,      &cmd_describe, &cmd_delete,
    &cmd_invoke, &cmd_invocation, &cmd_schedule, &cmd_logs,    &cmd_ps,         &cmd_explain,  &cmd_models,   &cmd_limits,
    &cmd_kubeconfig, &cmd_backup, &cmd_restore, &cmd_doctor, &cmd_version, &cmd_completion, &cmd_complete, &cmd_docs,
};
const size_t cli_command_count = COUNT_OF(cli_commands);
