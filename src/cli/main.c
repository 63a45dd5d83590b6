/* main.c -- the program. What it can do is the table in commands.c. */
#include "cli/cli.h"

#include <stdio.h>

/* Stands in until serve.c is among the sources of this executable (not of the library: a linker takes
 * nothing from a library for a name that it has already); the strong one then replaces it. */
__attribute__((weak)) int serve_main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    fprintf(stderr, "hob serve: this build has no server in it\n");
    return EXITS_FAILED;
}

int main(int argc, char **argv) { return cli_main(argc, argv); }
