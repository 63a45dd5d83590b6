/* commands.h -- the rows of the command table, one per cmd_*.c. */
#pragma once

#include "cli/cli.h"

extern const struct cli_command cmd_serve, cmd_server;
extern const struct cli_command cmd_apply, cmd_deploy, cmd_get, cmd_describe, cmd_delete;
extern const struct cli_command cmd_invoke, cmd_invocation, cmd_schedule, cmd_logs, cmd_ps, cmd_explain;
extern const struct cli_command cmd_backup, cmd_restore;
extern const struct cli_command cmd_models, cmd_limits, cmd_kubeconfig, cmd_doctor, cmd_version;
extern const struct cli_command cmd_completion, cmd_complete, cmd_docs;
