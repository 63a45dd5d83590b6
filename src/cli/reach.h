/* reach.h -- where the API's unix socket lies, for who makes it and for who looks for it (docs/decisions/0006).
 *
 * Receives the environment (HOB_RUNTIME_DIR, XDG_RUNTIME_DIR) and a server's address. Owns nothing.
 * Emits paths. Refuses folders that somebody else than root or this user could have put a socket into.
 */
#pragma once

#include "base/err.h"

enum { REACH_PATH_MAX = 108 }; /* of struct sockaddr_un */

/* A folder of our own for sockets, made if need be: the first of the candidates that can be had. */
int reach_folder_make(char into[REACH_PATH_MAX], struct err *e) MUST_USE;
int reach_socket_path(const char *folder, unsigned port, char into[REACH_PATH_MAX], struct err *e) MUST_USE;

/* "unix:/path" when `server` is an address of this machine and a socket of its port answers that this
 * user may open; else `server` as it is. */
enum { REACH_SERVER_MAX = REACH_PATH_MAX + 8 };
const char *reach_server(const char *server, char into[REACH_SERVER_MAX]);
