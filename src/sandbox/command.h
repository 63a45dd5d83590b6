/* command.h -- execvp for the inside of a sandbox. Receives arguments and the environment to run in, whose PATH
 * counts; owns nothing; returns only when it failed. Unlike execvp it hands unknown formats to no shell. */
#pragma once

#include "base/err.h"

int command_exec(char *const *argv, char *const *env, struct err *e) MUST_USE;
