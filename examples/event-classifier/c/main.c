/* event-classifier in C: the same function as ../python/handler.py, byte for byte.
 *
 * main -> model (the weights) -> server (connections) -> request (HTTP) -> events -> json.
 * No dependency but libc, linked statically, so that nothing is loaded but this. */
#include "bytes.h"
#include "model.h"
#include "server.h"

#include <signal.h>
#include <unistd.h>

/* Tells the runtime what this start spends its time on (docs/decisions/0004). */
static void phase(const char *line)
{
    const char *fd = getenv("HOB_PHASES_FD");
    if (fd != NULL && *fd >= '0' && *fd <= '9')
        (void)!write(atoi(fd), line, strlen(line)); /* nobody listens: no reason not to serve */
}

static int fail(const char *what, const char *why)
{
    dprintf(STDERR_FILENO, "event-classifier: %s: %s\n", what, why);
    return EXIT_FAILURE;
}

int main(void)
{
    static struct model model;
    const char *path = getenv("MODEL"), *port = getenv("PORT"), *why;
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL); /* the server reads them from a descriptor */
    signal(SIGPIPE, SIG_IGN);            /* a write that nobody reads is an error like others */

    path = path != NULL ? path : "/model/model.bin";
    long number = port != NULL ? strtol(port, NULL, 10) : 8080;
    if (number < 1 || number > 65535)
        return fail("PORT", "not a port");
    phase("model_load begin\n");
    if (model_open(&model, path, &why) < 0)
        return fail(path, why);
    char line[64];
    snprintf(line, sizeof line, "model_load end bytes=%zu\n", model.map_size);
    phase(line);
    if (server_run(&model, (uint16_t)number, &why) < 0)
        return fail("listen", why);
    return EXIT_SUCCESS;
}
